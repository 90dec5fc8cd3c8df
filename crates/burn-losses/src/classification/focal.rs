use burn::config::Config;
use burn::module::Module;
use burn::nn::loss::Reduction;
use burn::tensor::{Device, Int, Tensor};
use burn_losses_kernels::soft_targets::SoftRule;

use super::class_weights::{ClassWeight, ClassWeights};
use super::log_odds::focal;
use super::samples::{Samples, SoftSamples};
use crate::labels::{ClassLabels, LabelPolicy};

const NAME: &str = "FocalLoss";

/// Settings of [`FocalLoss`].
#[derive(Config, Debug)]
pub struct FocalLossConfig {
    /// How fast well-classified samples fade; in `[0, 100]`. 0 is cross-entropy.
    /// Default: `2.0`.
    #[config(default = 2.0)]
    pub gamma: f64,
    /// What every class counts, in `[0, 1e6]`: one number for all, or one each. `None` is 1.
    /// Default: `None`.
    #[config(default = "None")]
    pub alpha: Option<ClassWeight>,
    /// Which labels mean "no class", and what is done about bad ones.
    /// Default: `LabelPolicy::new()`.
    #[config(default = "LabelPolicy::new()")]
    pub labels: LabelPolicy,
    /// Which axis of the logits is that of the classes; a negative number counts from the end. 1 is PyTorch's
    /// `[batch, classes, ...]`, -1 is `[..., classes]`.
    /// Default: `1`.
    #[config(default = 1)]
    pub class_dim: isize,
}

impl FocalLossConfig {
    /// Builds the loss.
    ///
    /// # Panics
    ///
    /// If a field is out of its range.
    #[track_caller]
    pub fn init(&self, _device: &Device) -> FocalLoss {
        let Self { gamma, alpha, labels, class_dim } = self.clone();
        assert!((0.0..=100.0).contains(&gamma), "{NAME}: gamma must be in [0, 100], got {gamma}");
        let alpha = ClassWeights::new(NAME, "alpha", alpha, 1e6);

        FocalLoss { gamma, alpha, labels: ClassLabels::new(NAME, &labels), class_dim }
    }
}

/// Softmax cross-entropy that fades where the model is right.
///
/// ```text
/// p       = softmax(logits[i])
/// loss[i] = -alpha[labels[i]]·(1 - p[labels[i]])^gamma·log(p[labels[i]])
/// ```
///
/// With [`forward_soft`](Self::forward_soft) it is the sum of this over all classes, each times its probability. A mean is
/// over rows: alpha does not enter its denominator, unlike the weights of [`CrossEntropyLoss`](super::CrossEntropyLoss).
/// Classes from labels are computed from log-odds, exact to the last digits of `1 - p`; of soft targets a `1 - p` below
/// `1e-7` counts as `1e-7`.
///
/// # When to take it
///
/// Where most samples are easy and drown the others. For balanced classes take
/// [`CrossEntropyLoss`](super::CrossEntropyLoss).
///
/// # Source
///
/// Lin et al.: [Focal Loss for Dense Object Detection](https://arxiv.org/abs/1708.02002), 2017, section 3.2, with a softmax.
///
/// # Example
///
/// ```
/// use burn::tensor::{Device, Int, Tensor};
/// use burn_losses::classification::{FocalLossConfig, Reduction};
///
/// let device = Device::default();
/// // A softmax of 1/4 and 3/4.
/// let logits = Tensor::<2>::from_data([[0.0, 3.0_f64.ln()]], &device);
/// let labels = Tensor::<1, Int>::from_ints([1], &device);
/// let loss = FocalLossConfig::new().init(&device).forward(logits, labels, Reduction::Mean);
/// let expected = -0.75_f32.ln() * 0.25_f32.powi(2);
/// assert!((loss.into_scalar::<f32>() - expected).abs() < 1e-5);
/// ```
#[derive(Module, Debug)]
#[module(custom_display)]
pub struct FocalLoss {
    gamma: f64,
    #[module(skip)]
    alpha: Option<ClassWeights>,
    #[module(skip)]
    labels: ClassLabels,
    class_dim: isize,
}

impl FocalLoss {
    /// The reduced loss; 0 when no row has a class. A mean is over the rows that have a class, `BatchMean` divides the sum
    /// by the first axis.
    ///
    /// # Shapes and panics
    ///
    /// As [`forward_no_reduction`](Self::forward_no_reduction); output `[1]`.
    #[track_caller]
    pub fn forward<const D: usize, const L: usize>(
        &self,
        logits: Tensor<D>,
        labels: Tensor<L, Int>,
        reduction: Reduction,
    ) -> Tensor<1> {
        let samples = Samples::new(&self.labels, self.class_dim, logits, labels);
        samples.reduced(reduction, |samples| self.losses(samples))
    }

    /// The loss of every label; 0 where it means no class.
    ///
    /// # Shapes
    ///
    /// - logits: `[batch, classes]`, or any other with the classes along `class_dim`
    /// - labels: `[batch]`; the shape of the logits without the axis of the classes, else it does not compile or panics
    /// - output: as labels
    ///
    /// # Panics
    ///
    /// If the shapes do not fit, there is not one alpha per class, or by the [`LabelPolicy`].
    #[track_caller]
    pub fn forward_no_reduction<const D: usize, const L: usize>(
        &self,
        logits: Tensor<D>,
        labels: Tensor<L, Int>,
    ) -> Tensor<L> {
        let shape = labels.dims();
        Samples::new(&self.labels, self.class_dim, logits, labels).each(shape, |samples| self.losses(samples))
    }

    /// The reduced loss of targets that are probabilities; a mean is over samples.
    ///
    /// # Shapes and panics
    ///
    /// As [`forward_soft_no_reduction`](Self::forward_soft_no_reduction); output `[1]`.
    #[track_caller]
    pub fn forward_soft<const D: usize>(
        &self,
        logits: Tensor<D>,
        probabilities: Tensor<D>,
        reduction: Reduction,
    ) -> Tensor<1> {
        let samples = SoftSamples::new(NAME, self.class_dim, logits, probabilities);
        samples.reduced(reduction, self.alpha.as_ref(), self.soft_rule())
    }

    /// The loss of every sample for targets that are probabilities.
    ///
    /// # Shapes
    ///
    /// - logits: `[batch, classes]`, or any other with the classes along `class_dim`
    /// - probabilities: as logits, in `[0, 1]`; a row need not sum to 1
    /// - output: `[batch]`, the shape of the logits without the axis of the classes; name its rank, as in
    ///   `let losses: Tensor<1> = loss.forward_soft_no_reduction(logits, probabilities)`
    ///
    /// # Panics
    ///
    /// If the shapes differ, there is not one weight per class, or a probability in host memory is not in `[0, 1]`.
    #[track_caller]
    pub fn forward_soft_no_reduction<const D: usize, const L: usize>(
        &self,
        logits: Tensor<D>,
        probabilities: Tensor<D>,
    ) -> Tensor<L> {
        let shape = logits.dims();
        let samples = SoftSamples::new(NAME, self.class_dim, logits, probabilities);
        samples.each(self.class_dim, shape, self.alpha.as_ref(), self.soft_rule())
    }

    fn losses(&self, samples: &Samples) -> Tensor<1> {
        let losses = focal(samples.log_odds(None).log_odds, self.gamma);
        match &self.alpha {
            Some(alpha) => losses * samples.weight_of_target(alpha.of_classes(&samples.logits)),
            None => losses,
        }
    }

    fn soft_rule(&self) -> SoftRule {
        SoftRule { smoothing: 0.0, gamma: self.gamma }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_and_probabilities_of_one_say_the_same() {
        let device = Device::flex();
        // Softmax (1/4, 3/4) twice.
        let logits = Tensor::<2>::from_data([[0.0_f32, 3.0_f32.ln()], [0.0, 3.0_f32.ln()]], &device);
        let labels = Tensor::<1, Int>::from_data([0, 1], &device);
        let probabilities = Tensor::<2>::from_data([[1.0_f32, 0.0], [0.0, 1.0]], &device);
        let loss = FocalLossConfig::new().with_alpha(Some(alloc::vec![1.0, 2.0].into())).init(&Device::flex());
        let hard = loss.forward_no_reduction(logits.clone(), labels).try_into_vec_as::<f32>().unwrap();
        let soft = loss.forward_soft_no_reduction::<2, 1>(logits, probabilities).try_into_vec_as::<f32>().unwrap();

        // By hand: (3/4)²·ln 4 and 2·(1/4)²·ln(4/3).
        for losses in [hard, soft] {
            assert!((losses[0] - 9.0 / 16.0 * 4.0_f32.ln()).abs() < 1e-6, "{losses:?}");
            assert!((losses[1] - (4.0_f32 / 3.0).ln() / 8.0).abs() < 1e-6, "{losses:?}");
        }
    }

    #[test]
    #[should_panic(expected = "FocalLoss: gamma must be in [0, 100], got NaN")]
    fn a_gamma_that_is_not_a_number_is_rejected() {
        FocalLossConfig::new().with_gamma(f64::NAN).init(&Device::flex());
    }

    #[test]
    fn a_class_that_is_masked_and_wanted_costs_everything_and_pulls_no_other_to_nothing() {
        let logits = Tensor::<2>::from_data([[f32::NEG_INFINITY, 1.0, 2.0]], &Device::flex().autodiff()).require_grad();
        let labels = Tensor::<1, Int>::from_data([0], &Device::flex().autodiff());
        let loss = FocalLossConfig::new().init(&Device::flex()).forward(logits.clone(), labels, Reduction::Sum);
        let slopes = logits.grad(&loss.clone().backward()).unwrap().try_into_vec_as::<f32>().unwrap();

        assert_eq!(loss.into_scalar::<f32>(), f32::INFINITY);
        assert!(slopes.iter().all(|slope| slope.is_finite()), "{slopes:?}");
    }
}
