use burn::config::Config;
use burn::module::Module;
use burn::nn::loss::Reduction;
use burn::tensor::{Device, Int, Tensor};

use super::samples::Samples;
use crate::labels::{ClassLabels, LabelPolicy};

const NAME: &str = "MulticlassHingeLoss";

/// What a violated margin costs.
#[derive(Config, Debug, Copy, PartialEq, Eq)]
pub enum HingePower {
    /// The violation.
    Linear,
    /// Its square.
    Squared,
}

/// Settings of [`MulticlassHingeLoss`].
#[derive(Config, Debug)]
pub struct MulticlassHingeLossConfig {
    /// By how much the logit of the target should be above every other; in `[0, 1e6]`.
    /// Default: `1.0`.
    #[config(default = 1.0)]
    pub margin: f64,
    /// What a violated margin costs.
    /// Default: `HingePower::Linear`.
    #[config(default = "HingePower::Linear")]
    pub power: HingePower,
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

impl MulticlassHingeLossConfig {
    /// Builds the loss.
    ///
    /// # Panics
    ///
    /// If a field is out of its range.
    #[track_caller]
    pub fn init(&self, _device: &Device) -> MulticlassHingeLoss {
        let Self { margin, power, class_dim, .. } = *self;
        assert!((0.0..=1e6).contains(&margin), "{NAME}: margin must be in [0, 1e6], got {margin}");

        MulticlassHingeLoss { margin, power, labels: ClassLabels::new(NAME, &self.labels), class_dim }
    }
}

/// The logit of the target must be above every other by a margin.
///
/// ```text
/// violation[i, c] = max(0, margin - logits[i, labels[i]] + logits[i, c])
/// loss[i]         = sum over c != labels[i] of violation[i, c]^power / classes
/// ```
///
/// The same value as PyTorch's and Burn's `MultiMarginLoss`, with labels that can be ignored. At `violation = 0` the
/// gradient is 0.
///
/// # When to take it
///
/// Where only the margin between classes matters. For probabilities take [`CrossEntropyLoss`](super::CrossEntropyLoss).
///
/// # Source
///
/// Weston, Watkins: Support Vector Machines for Multi-Class Pattern Recognition, ESANN 1999, section 3.
///
/// # Example
///
/// ```
/// use burn::tensor::{Device, Int, Tensor};
/// use burn_losses::classification::{MulticlassHingeLossConfig, Reduction};
///
/// let device = Device::default();
/// let logits = Tensor::<2>::from_data([[1.0, 0.5]], &device);
/// let labels = Tensor::<1, Int>::from_ints([0], &device);
/// let loss = MulticlassHingeLossConfig::new().init(&device).forward(logits, labels, Reduction::Mean);
/// // Half a margin is missing, of one of two classes.
/// assert_eq!(loss.into_scalar::<f32>(), 0.25);
/// ```
#[derive(Module, Debug)]
#[module(custom_display)]
pub struct MulticlassHingeLoss {
    margin: f64,
    #[module(skip)]
    power: HingePower,
    #[module(skip)]
    labels: ClassLabels,
    class_dim: isize,
}

impl MulticlassHingeLoss {
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
    /// If the shapes do not fit, or by the [`LabelPolicy`].
    #[track_caller]
    pub fn forward_no_reduction<const D: usize, const L: usize>(
        &self,
        logits: Tensor<D>,
        labels: Tensor<L, Int>,
    ) -> Tensor<L> {
        let shape = labels.dims();
        Samples::new(&self.labels, self.class_dim, logits, labels).each(shape, |samples| self.losses(samples))
    }

    fn losses(&self, samples: &Samples) -> Tensor<1> {
        let dims = samples.logits.dims();
        let logits = samples.known_logits();
        let target = samples.at_target(logits.clone()).unsqueeze_dim::<2>(1).expand(dims);
        let gaps = (logits - target).add_scalar(self.margin);
        let satisfied = gaps.clone().lower_equal_scalar(0.0).bool_or(samples.is_target());
        let violations = gaps.mask_fill(satisfied, 0.0);
        let costs = match self.power {
            HingePower::Linear => violations,
            HingePower::Squared => violations.square(),
        };
        costs.sum_dim(1).squeeze_dim(1).mul_scalar(1.0 / dims[1] as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn losses(loss: &MulticlassHingeLoss) -> alloc::vec::Vec<f32> {
        // Softmax (1/4, 3/4) twice.
        let row = [0.0_f32, 3.0_f32.ln()];
        let logits = Tensor::<2>::from_data([row, row], &Device::flex());
        let labels = Tensor::<1, Int>::from_data([0, 1], &Device::flex());
        loss.forward_no_reduction(logits, labels).try_into_vec_as::<f32>().unwrap()
    }

    #[test]
    fn only_violated_margins_cost() {
        let linear = losses(&MulticlassHingeLossConfig::new().init(&Device::flex()));
        let squared = losses(&MulticlassHingeLossConfig::new().with_power(HingePower::Squared).init(&Device::flex()));
        let gap = 1.0 + 3.0_f32.ln();

        // By hand: 1 + ln 3 is violated, 1 - ln 3 < 0 is not.
        assert!((linear[0] - gap / 2.0).abs() < 1e-6 && linear[1] == 0.0, "{linear:?}");
        assert!((squared[0] - gap * gap / 2.0).abs() < 1e-6 && squared[1] == 0.0, "{squared:?}");
    }

    #[test]
    fn a_margin_that_is_just_kept_has_no_gradient() {
        let device = Device::flex().autodiff();
        // Of the other classes one is exactly a margin below the target, one nearer.
        let logits = Tensor::<2>::from_data([[2.0_f32, 1.0, 1.5]], &device).require_grad();
        let losses = MulticlassHingeLossConfig::new().init(&device);
        let losses = losses.forward_no_reduction(logits.clone(), Tensor::<1, Int>::from_data([0], &device));
        let slopes = logits.grad(&losses.backward()).unwrap().try_into_vec_as::<f32>().unwrap();

        // By hand: a third of the class that is nearer.
        let third = 1.0 / 3.0;
        for (slope, expected) in slopes.iter().zip([-third, 0.0, third]) {
            assert!((slope - expected).abs() < 1e-7, "{slopes:?}");
        }
    }

    #[test]
    #[should_panic(expected = "MulticlassHingeLoss: margin must be in [0, 1e6], got -1")]
    fn a_negative_margin_is_rejected() {
        MulticlassHingeLossConfig::new().with_margin(-1.0).init(&Device::flex());
    }
}
