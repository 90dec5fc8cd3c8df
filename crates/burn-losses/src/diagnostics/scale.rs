use core::f64::consts::SQRT_2;

/// The scale of a softmax over cosines that suits so many classes: `sqrt(2)·ln(classes - 1)`.
///
/// With it, the probability of the class of the label rises steepest at an angle of 45°, when the other classes are at right
/// angles.
///
/// # Source
///
/// Zhang et al.: [AdaCos](https://arxiv.org/abs/1905.00292), 2019, section 3.2, the fixed scale.
///
/// # Panics
///
/// If there are fewer than 3 classes: the scale of two is 0.
///
/// ```
/// use burn_losses::diagnostics::fixed_scale;
///
/// assert!((fixed_scale(200) - 7.486).abs() < 1e-3);
/// assert!((fixed_scale(100_000) - 16.282).abs() < 1e-3);
/// ```
#[track_caller]
pub fn fixed_scale(classes: usize) -> f64 {
    assert!(classes >= 3, "fixed_scale: classes must be >= 3, got {classes}");
    SQRT_2 * libm::log(classes as f64 - 1.0)
}

/// The least scale with which a softmax over cosines can give the class of the label this probability, when the centers are
/// spread as far apart as so many can be: `(classes - 1) / classes·ln((classes - 1)·probability / (1 - probability))`.
///
/// A smaller scale leaves a loss that no training can take away; 0 if every scale does.
///
/// # Source
///
/// Wang et al.: [CosFace](https://arxiv.org/abs/1801.09414), 2018, section 3.3, equation 6; the bound of
/// [NormFace](https://arxiv.org/abs/1704.06369), 2017, section 3.3, solved for the scale.
///
/// # Panics
///
/// If there are fewer than 2 classes, or `probability` is not in `(0, 1)`.
///
/// ```
/// use burn_losses::diagnostics::least_scale;
///
/// // 199/200·ln(199·0.9/0.1)
/// assert!((least_scale(200, 0.9) - 7.4531).abs() < 1e-3);
/// ```
#[track_caller]
pub fn least_scale(classes: usize, probability: f64) -> f64 {
    assert!(classes >= 2, "least_scale: classes must be >= 2, got {classes}");
    assert!(probability > 0.0 && probability < 1.0, "least_scale: probability must be in (0, 1), got {probability}");
    let negatives = classes as f64 - 1.0;
    let scale = negatives / classes as f64 * libm::log(negatives * probability / (1.0 - probability));

    scale.max(0.0)
}

/// The least loss that a softmax over cosines of this scale can reach without a margin: what a training curve ends at,
/// however well it goes. `ln(1 + (classes - 1)·exp(-scale·classes / (classes - 1)))`.
///
/// # Source
///
/// Wang et al.: [NormFace](https://arxiv.org/abs/1704.06369), 2017, section 3.3, proposition 2.
///
/// # Panics
///
/// If there are fewer than 2 classes, or `scale` is not above 0.
///
/// ```
/// use burn_losses::diagnostics::{least_loss, least_scale};
///
/// // At the least scale for a probability of 0.9, the loss is -ln 0.9.
/// assert!((least_loss(200, least_scale(200, 0.9)) + 0.9_f64.ln()).abs() < 1e-12);
/// ```
#[track_caller]
pub fn least_loss(classes: usize, scale: f64) -> f64 {
    assert!(classes >= 2, "least_loss: classes must be >= 2, got {classes}");
    assert!(scale > 0.0, "least_loss: scale must be > 0, got {scale}");
    let negatives = classes as f64 - 1.0;

    libm::log1p(negatives * libm::exp(-scale * classes as f64 / negatives))
}
