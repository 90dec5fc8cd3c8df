use burn::config::Config;
use burn::module::Module;
use burn::nn::loss::Reduction;
use burn::tensor::{Device, Tensor};

use super::elements::{Answers, Elements, Weights, check_ignored};

const NAME: &str = "AsymmetricLoss";

/// Settings of [`AsymmetricLoss`].
#[derive(Config, Debug)]
pub struct AsymmetricLossConfig {
    /// How fast easy negatives fade; in `[0, 100]`.
    /// Default: `4.0`.
    #[config(default = 4.0)]
    pub gamma_negative: f64,
    /// How fast easy positives fade; in `[0, 100]`.
    /// Default: `1.0`.
    #[config(default = 1.0)]
    pub gamma_positive: f64,
    /// Negatives of a smaller probability cost nothing; in `[0, 0.99]`.
    /// Default: `0.05`.
    #[config(default = 0.05)]
    pub clip: f64,
    /// A target that does not count: its loss and gradient are 0, and it is in no mean. Outside `[0, 1]`, such as -1.
    /// Default: `None`.
    #[config(default = "None")]
    pub ignore_target: Option<f64>,
}

impl AsymmetricLossConfig {
    /// Builds the loss.
    ///
    /// # Panics
    ///
    /// If a field is out of its range.
    #[track_caller]
    pub fn init(&self, _device: &Device) -> AsymmetricLoss {
        let Self { gamma_negative, gamma_positive, clip, ignore_target } = *self;
        for (field, gamma) in [("gamma_negative", gamma_negative), ("gamma_positive", gamma_positive)] {
            assert!((0.0..=100.0).contains(&gamma), "{NAME}: {field} must be in [0, 100], got {gamma}");
        }
        assert!((0.0..=0.99).contains(&clip), "{NAME}: clip must be in [0, 0.99], got {clip}");
        check_ignored(NAME, ignore_target);

        AsymmetricLoss { gamma_negative, gamma_positive, clip, ignore_target }
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
/// # When to take it
///
/// For many labels per sample, of which few are there: easy negatives fade faster than positives. Where about as many
/// are there as not, take [`BinaryCrossEntropyLoss`](super::BinaryCrossEntropyLoss).
///
/// # Source
///
/// Ridnik et al.: [Asymmetric Loss for Multi-Label Classification](https://arxiv.org/abs/2009.14119), 2020, section 2.3,
/// equation 7.
///
/// # Example
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use burn_losses::classification::{AsymmetricLossConfig, Reduction};
///
/// let device = Device::default();
/// let logits = Tensor::<2>::from_data([[0.0]], &device);
/// let targets = Tensor::<2>::from_data([[1.0]], &device);
/// let loss = AsymmetricLossConfig::new().init(&device).forward(logits, targets, Reduction::Mean);
/// // A logit of 0 is a probability of 1/2, and `gamma_positive` is 1.
/// assert!((loss.into_scalar::<f32>() - 0.5 * 2.0_f32.ln()).abs() < 1e-6);
/// ```
#[derive(Module, Debug)]
#[module(custom_display)]
pub struct AsymmetricLoss {
    gamma_negative: f64,
    gamma_positive: f64,
    clip: f64,
    #[module(skip)]
    ignore_target: Option<f64>,
}

impl AsymmetricLoss {
    /// The reduced loss; a mean is over all targets that are not ignored, `BatchMean` divides the sum by the first axis.
    ///
    /// # Shapes and panics
    ///
    /// As [`forward_no_reduction`](Self::forward_no_reduction); output `[1]`.
    #[track_caller]
    pub fn forward<const D: usize>(&self, logits: Tensor<D>, targets: Tensor<D>, reduction: Reduction) -> Tensor<1> {
        let elements = Elements::new(NAME, self.ignore_target, logits, targets);
        elements.reduced(reduction, self.answers(), Weights::Same([1.0, 1.0]))
    }

    /// The loss of every target; 0 where it is ignored.
    ///
    /// # Shapes
    ///
    /// - logits: `[batch, classes]`, or any other
    /// - targets: as logits, in `[0, 1]`
    /// - output: as logits
    ///
    /// # Panics
    ///
    /// If the shapes differ, or a target in host memory is neither in `[0, 1]` nor ignored.
    #[track_caller]
    pub fn forward_no_reduction<const D: usize>(&self, logits: Tensor<D>, targets: Tensor<D>) -> Tensor<D> {
        let elements = Elements::new(NAME, self.ignore_target, logits, targets);
        elements.each(self.answers(), Weights::Same([1.0, 1.0]))
    }

    fn answers(&self) -> Answers {
        let Self { gamma_positive, gamma_negative, clip, .. } = *self;
        Answers { gamma_present: gamma_positive, gamma_absent: gamma_negative, clip }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_easy_negative_costs_nothing_and_a_hard_one_is_shifted() {
        let device = Device::flex();
        // p is 1/4, 3/4 and 3/4.
        let logits = Tensor::<2>::from_data([[-(3.0_f32.ln()), 3.0_f32.ln(), 3.0_f32.ln()]], &device);
        let targets = Tensor::<2>::from_data([[0.0_f32, 0.0, 1.0]], &device);
        let loss = AsymmetricLossConfig::new().with_clip(0.25).with_gamma_negative(2.0).init(&Device::flex());
        let losses = loss.forward_no_reduction(logits, targets).try_into_vec_as::<f32>().unwrap();

        // By hand: shifted 0 and 1/2, so (1/2)²·ln 2; then 1/4·ln(4/3).
        assert!(losses[0].abs() < 1e-6, "{losses:?}");
        assert!((losses[1] - core::f32::consts::LN_2 / 4.0).abs() < 1e-6, "{losses:?}");
        assert!((losses[2] - (4.0_f32 / 3.0).ln() / 4.0).abs() < 1e-6, "{losses:?}");
    }

    /// Just above the clip a negative costs `shifted^gamma_negative·-log(1 - shifted)`, and no more is free.
    #[test]
    fn only_negatives_below_the_clip_are_free() {
        let device = Device::flex();
        let probabilities = [0.0499_f64, 0.0501, 0.055, 0.0599, 0.0601];
        let logits = probabilities.map(|p| (p / (1.0 - p)).ln() as f32);
        let loss = AsymmetricLossConfig::new().with_gamma_negative(1.0).init(&device);
        let losses = loss.forward_no_reduction(Tensor::<1>::from_data(logits, &device), Tensor::zeros([5], &device));
        let losses = losses.try_into_vec_as::<f32>().unwrap();

        // By hand, with the default clip 0.05: shifted is 0, 0.0001, 0.005, 0.0099 and 0.0101; the loss is about its square.
        let expected = [0.0, 1.00005e-8, 2.506_27e-5, 9.849_84e-5, 1.025_29e-4];
        for (loss, expected) in losses.iter().zip(expected) {
            assert!((loss - expected).abs() <= 2e-9 + 1e-4 * expected, "{losses:?}");
        }
    }

    #[test]
    #[should_panic(expected = "AsymmetricLoss: clip must be in [0, 0.99], got 1")]
    fn a_clip_of_one_is_rejected() {
        AsymmetricLossConfig::new().with_clip(1.0).init(&Device::flex());
    }

    #[test]
    fn a_clip_below_the_rounding_of_one_is_right_for_sure_logits() {
        let device = Device::flex().autodiff();
        let logits = Tensor::<1>::from_data([20.0_f32], &device).require_grad();
        let config = AsymmetricLossConfig::new().with_gamma_negative(0.0).with_clip(1e-8);
        let loss = config.init(&device).forward(logits.clone(), Tensor::zeros([1], &device), Reduction::Mean);
        let slope = logits.grad(&loss.clone().backward()).unwrap().into_scalar::<f32>();

        // By hand: 1 - p is exp(-20) / (1 + exp(-20)), and the rest that and the clip.
        let no = (-20.0_f64).exp() / (1.0 + (-20.0_f64).exp());
        let expected = [-(no + 1e-8).ln(), (1.0 - no) * no / (no + 1e-8)];
        for (actual, expected) in [loss.into_scalar::<f32>(), slope].into_iter().zip(expected) {
            assert!((f64::from(actual) / expected - 1.0).abs() < 1e-5, "{actual} is not {expected}");
        }
    }
}
