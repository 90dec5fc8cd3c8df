use burn::config::Config;
use burn::module::Module;
use burn::tensor::{Tensor, assert_shape};
use burn_losses_kernels::math::{cast_to, widen};

use super::log_odds::{focal, surprise};
use crate::reduction::EmbeddingReduction;

/// Settings of [`AsymmetricLoss`].
#[derive(Config, Debug)]
pub struct AsymmetricLossConfig {
    /// How fast easy negatives fade; in `[0, 100]`.
    #[config(default = 4.0)]
    pub gamma_negative: f64,
    /// How fast easy positives fade; in `[0, 100]`.
    #[config(default = 1.0)]
    pub gamma_positive: f64,
    /// Negatives of a smaller probability cost nothing; in `[0, 0.99]`.
    #[config(default = 0.05)]
    pub clip: f64,
}

impl AsymmetricLossConfig {
    /// Builds the loss.
    ///
    /// # Panics
    ///
    /// If a field is out of its range.
    pub fn init(&self) -> AsymmetricLoss {
        let Self { gamma_negative, gamma_positive, clip } = *self;
        for (field, gamma) in [("gamma_negative", gamma_negative), ("gamma_positive", gamma_positive)] {
            assert!((0.0..=100.0).contains(&gamma), "AsymmetricLoss: {field} must be in [0, 100], got {gamma}");
        }
        assert!((0.0..=0.99).contains(&clip), "AsymmetricLoss: clip must be in [0, 0.99], got {clip}");
        AsymmetricLoss { gamma_negative, gamma_positive, clip }
    }
}

/// Binary focal loss with its own focus for absent classes, of which easy ones cost nothing at all.
///
/// ```text
/// p       = sigmoid(logits)
/// shifted = max(p - clip, 0)
/// loss    = -targets·(1 - p)^gamma_positive·log(p) - (1 - targets)·shifted^gamma_negative·log(1 - shifted)
/// ```
///
/// For pictures with a few classes out of hundreds. Deviations: the paper's code floors the probabilities at `1e-8` under
/// the logarithm, which stops the gradient of the hardest positives; here log-odds need no floor. It also sums over the
/// batch only; here any reduction goes.
///
/// Logits are finite.
///
/// # Source
///
/// Ridnik et al.: [Asymmetric Loss for Multi-Label Classification](https://arxiv.org/abs/2009.14119), 2020, section 2.3,
/// equation 7.
#[derive(Module, Debug)]
pub struct AsymmetricLoss {
    gamma_negative: f64,
    gamma_positive: f64,
    clip: f64,
}

impl AsymmetricLoss {
    /// The reduced loss; a mean is over rows and classes.
    ///
    /// # Shapes and panics
    ///
    /// As [`forward_no_reduction`](Self::forward_no_reduction); output `[1]`.
    pub fn forward(&self, logits: Tensor<2>, targets: Tensor<2>, reduction: EmbeddingReduction) -> Tensor<1> {
        let dtype = logits.dtype();
        cast_to(reduction.apply(self.forward_no_reduction(widen(logits), targets)), dtype)
    }

    /// The loss of every row and class.
    ///
    /// # Shapes
    ///
    /// - logits: `[batch, classes]`
    /// - targets: `[batch, classes]`, in `[0, 1]`
    /// - output: `[batch, classes]`
    ///
    /// # Panics
    ///
    /// If the shapes differ.
    pub fn forward_no_reduction(&self, logits: Tensor<2>, targets: Tensor<2>) -> Tensor<2> {
        let [batch, classes] = logits.dims();
        assert_shape!(targets, [batch, classes]);
        if batch == 0 || classes == 0 {
            return logits;
        }
        let dtype = logits.dtype();
        let logits = widen(logits);
        let targets = cast_to(targets, logits.dtype());
        let absent = targets.clone().neg().add_scalar(1.0) * self.negative(logits.clone());

        cast_to(targets * focal(logits, self.gamma_positive) + absent, dtype)
    }

    fn negative(&self, logits: Tensor<2>) -> Tensor<2> {
        if self.clip == 0.0 {
            return focal(logits.neg(), self.gamma_negative);
        }
        // Not Burn's sigmoid, which is computed in f32 on ndarray, also for f64.
        let shifted = surprise(logits).neg().exp().sub_scalar(self.clip);
        let free = shifted.clone().lower_equal_scalar(0.0);
        // 1/2 has a logarithm on both sides; its loss is replaced.
        let shifted = shifted.mask_fill(free.clone(), 0.5);
        // 1 - shifted is clip or more, up to rounding.
        let surprise = shifted.clone().neg().log1p().neg();
        let losses = match self.gamma_negative {
            0.0 => surprise,
            gamma => surprise * shifted.log().mul_scalar(gamma).exp(),
        };
        losses.mask_fill(free, 0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    #[test]
    fn an_easy_negative_costs_nothing_and_a_hard_one_is_shifted() {
        let device = Device::flex();
        // p is 1/4, 3/4 and 3/4.
        let logits = Tensor::<2>::from_data([[-(3.0_f32.ln()), 3.0_f32.ln(), 3.0_f32.ln()]], &device);
        let targets = Tensor::<2>::from_data([[0.0_f32, 0.0, 1.0]], &device);
        let loss = AsymmetricLossConfig::new().with_clip(0.25).with_gamma_negative(2.0).init();
        let losses = loss.forward_no_reduction(logits, targets).try_into_vec_as::<f32>().unwrap();

        // By hand: shifted 0 and 1/2, so (1/2)²·ln 2; then 1/4·ln(4/3).
        assert!(losses[0].abs() < 1e-6, "{losses:?}");
        assert!((losses[1] - core::f32::consts::LN_2 / 4.0).abs() < 1e-6, "{losses:?}");
        assert!((losses[2] - (4.0_f32 / 3.0).ln() / 4.0).abs() < 1e-6, "{losses:?}");
    }

    #[test]
    #[should_panic(expected = "AsymmetricLoss: clip must be in [0, 0.99], got 1")]
    fn a_clip_of_one_is_rejected() {
        AsymmetricLossConfig::new().with_clip(1.0).init();
    }
}
