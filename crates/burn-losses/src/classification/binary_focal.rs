use burn::config::Config;
use burn::module::Module;
use burn::nn::loss::Reduction;
use burn::tensor::{Device, Tensor};

use super::class_weights::{ClassWeight, ClassWeights};
use super::elements::{Answers, Elements, Weights, check_ignored};

const NAME: &str = "BinaryFocalLoss";

/// Settings of [`BinaryFocalLoss`].
#[derive(Config, Debug)]
pub struct BinaryFocalLossConfig {
    /// How fast well-classified samples fade; in `[0, 100]`. 0 is cross-entropy.
    /// Default: `2.0`.
    #[config(default = 2.0)]
    pub gamma: f64,
    /// What a positive target counts, in `[0, 1]`: one number for all classes, or one each; a negative counts `1 - alpha`.
    /// `None` is 1 for both; the paper uses 0.25.
    /// Default: `None`.
    #[config(default = "None")]
    pub alpha: Option<ClassWeight>,
    /// A target that does not count: its loss and gradient are 0, and it is in no mean. Outside `[0, 1]`, such as -1.
    /// Default: `None`.
    #[config(default = "None")]
    pub ignore_target: Option<f64>,
    /// Which axis is that of the classes, where each has a number; a negative one counts from the end.
    /// Default: `1`.
    #[config(default = 1)]
    pub class_dim: isize,
}

impl BinaryFocalLossConfig {
    /// Builds the loss.
    ///
    /// # Panics
    ///
    /// If a field is out of its range.
    #[track_caller]
    pub fn init(&self, _device: &Device) -> BinaryFocalLoss {
        let Self { gamma, alpha, ignore_target, class_dim } = self.clone();
        assert!((0.0..=100.0).contains(&gamma), "{NAME}: gamma must be in [0, 100], got {gamma}");
        check_ignored(NAME, ignore_target);
        let alpha = ClassWeights::new(NAME, "alpha", alpha, 1.0);

        BinaryFocalLoss { gamma, alpha, ignore_target, class_dim }
    }
}

/// Binary cross-entropy that fades where the model is right.
///
/// ```text
/// p    = sigmoid(logits)
/// loss = -alpha[class]·targets·(1 - p)^gamma·log(p)
///        - (1 - alpha[class])·(1 - targets)·p^gamma·log(1 - p)
/// ```
///
/// For detection: few positives among many easy negatives. Computed from log-odds, so that neither `p = 0` nor `p = 1`
/// gives a NaN. Deviation: for targets between 0 and 1 it is the expected loss, as written; torchvision puts the expected
/// `p` under the power instead. For targets 0 and 1 the two are the same.
///
/// Logits are finite.
///
/// # When to take it
///
/// For detection: few objects before much background. Where positives are not rare, take
/// [`BinaryCrossEntropyLoss`](super::BinaryCrossEntropyLoss).
///
/// # Source
///
/// Lin et al.: [Focal Loss for Dense Object Detection](https://arxiv.org/abs/1708.02002), 2017, section 3.2, equation 5.
///
/// # Example
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use burn_losses::classification::{BinaryFocalLossConfig, Reduction};
///
/// let device = Device::default();
/// let logits = Tensor::<2>::from_data([[0.0]], &device);
/// let targets = Tensor::<2>::from_data([[1.0]], &device);
/// let loss = BinaryFocalLossConfig::new().init(&device).forward(logits, targets, Reduction::Mean);
/// // A logit of 0 is a probability of 1/2, whose rest is squared.
/// assert!((loss.into_scalar::<f32>() - 0.25 * 2.0_f32.ln()).abs() < 1e-6);
/// ```
#[derive(Module, Debug)]
#[module(custom_display)]
pub struct BinaryFocalLoss {
    gamma: f64,
    #[module(skip)]
    alpha: Option<ClassWeights>,
    #[module(skip)]
    ignore_target: Option<f64>,
    class_dim: isize,
}

impl BinaryFocalLoss {
    /// The reduced loss; a mean is over all targets that are not ignored, `BatchMean` divides the sum by the first axis. The paper
    /// divides the sum by the number of positives.
    ///
    /// # Shapes and panics
    ///
    /// As [`forward_no_reduction`](Self::forward_no_reduction); output `[1]`.
    #[track_caller]
    pub fn forward<const D: usize>(&self, logits: Tensor<D>, targets: Tensor<D>, reduction: Reduction) -> Tensor<1> {
        let elements = Elements::new(NAME, self.ignore_target, logits, targets);
        let weights = self.weights(&elements.logits);
        elements.reduced(reduction, self.answers(), weights)
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
    /// If the shapes differ, there is not one alpha per class, or a target in host memory is neither in `[0, 1]` nor ignored.
    #[track_caller]
    pub fn forward_no_reduction<const D: usize>(&self, logits: Tensor<D>, targets: Tensor<D>) -> Tensor<D> {
        let elements = Elements::new(NAME, self.ignore_target, logits, targets);
        let weights = self.weights(&elements.logits);
        elements.each(self.answers(), weights)
    }

    fn answers(&self) -> Answers {
        Answers { gamma_present: self.gamma, gamma_absent: self.gamma, clip: 0.0 }
    }

    fn weights<const D: usize>(&self, logits: &Tensor<D>) -> Weights<D> {
        match &self.alpha {
            None => Weights::Same([1.0, 1.0]),
            Some(alpha) => match alpha.same() {
                Some(alpha) => Weights::Same([alpha, 1.0 - alpha]),
                None => {
                    let present = alpha.along(self.class_dim, logits);
                    let absent = Some(present.clone().neg().add_scalar(1.0));
                    Weights::Each { present, absent }
                }
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_that_is_right_fades() {
        let device = Device::flex();
        // p is 3/4 for both.
        let logits = Tensor::<2>::full([1, 2], 3.0_f32.ln(), &device);
        let targets = Tensor::<2>::from_data([[1.0_f32, 0.0]], &device);
        let loss = BinaryFocalLossConfig::new().with_alpha(Some(alloc::vec![0.25, 0.25].into())).init(&Device::flex());
        let losses = loss.forward_no_reduction(logits, targets).try_into_vec_as::<f32>().unwrap();

        // By hand: 1/4·(1/4)²·ln(4/3) and 3/4·(3/4)²·ln 4.
        assert!((losses[0] - (4.0_f32 / 3.0).ln() / 64.0).abs() < 1e-7, "{losses:?}");
        assert!((losses[1] - 27.0 / 64.0 * 4.0_f32.ln()).abs() < 1e-6, "{losses:?}");
    }

    #[test]
    fn one_alpha_is_the_alpha_of_every_class() {
        let device = Device::flex();
        let logits = Tensor::<2>::from_data([[0.5_f32, -1.0, 2.0]], &device);
        let targets = Tensor::<2>::from_data([[1.0_f32, 0.0, 0.25]], &device);
        let losses = |alpha: ClassWeight| {
            let loss = BinaryFocalLossConfig::new().with_alpha(Some(alpha)).init(&device);
            loss.forward_no_reduction(logits.clone(), targets.clone()).try_into_vec_as::<f32>().unwrap()
        };
        assert_eq!(losses(0.25.into()), losses(alloc::vec![0.25; 3].into()));
    }

    #[test]
    #[should_panic(expected = "BinaryFocalLoss: gamma must be in [0, 100], got -1")]
    fn a_negative_gamma_is_rejected() {
        BinaryFocalLossConfig::new().with_gamma(-1.0).init(&Device::flex());
    }
}
