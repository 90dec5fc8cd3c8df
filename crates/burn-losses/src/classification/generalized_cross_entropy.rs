use burn::config::Config;
use burn::module::Module;
use burn::nn::loss::Reduction;
use burn::tensor::{Device, Int, Tensor};

use super::log_odds::negative_log_probability;
use super::samples::Samples;
use crate::labels::{ClassLabels, LabelPolicy};

const NAME: &str = "GeneralizedCrossEntropyLoss";

/// Settings of [`GeneralizedCrossEntropyLoss`].
#[derive(Config, Debug)]
pub struct GeneralizedCrossEntropyLossConfig {
    /// Between cross-entropy, near 0, and the absolute error, at 1; in `[0.01, 1]`. The larger, the less a wrong label
    /// pulls, and the slower the training.
    /// Default: `0.7`.
    #[config(default = 0.7)]
    pub q: f64,
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

impl GeneralizedCrossEntropyLossConfig {
    /// Builds the loss.
    ///
    /// # Panics
    ///
    /// If a field is out of its range.
    #[track_caller]
    pub fn init(&self, _device: &Device) -> GeneralizedCrossEntropyLoss {
        let Self { q, class_dim, .. } = *self;
        assert!((0.01..=1.0).contains(&q), "{NAME}: q must be in [0.01, 1], got {q}");

        GeneralizedCrossEntropyLoss { q, labels: ClassLabels::new(NAME, &self.labels), class_dim }
    }
}

/// A bounded cross-entropy, for labels of which some are wrong.
///
/// ```text
/// p       = softmax(logits[i])[labels[i]]
/// loss[i] = (1 - p^q) / q
/// ```
///
/// A sample on which the model is sure and the label disagrees has a gradient that goes to 0 as `p^q`, where that of
/// cross-entropy is largest. In `f32` a loss is exact to about `1e-7 / q`.
///
/// # When to take it
///
/// Take it where labels are wrong. On clean labels with many classes it learns slowly: begin with a small `q`, or with
/// [`CrossEntropyLoss`](super::CrossEntropyLoss).
///
/// # Source
///
/// Zhang, Sabuncu: [Generalized Cross Entropy Loss](https://arxiv.org/abs/1805.07836), 2018, section 3.2, equation 6.
///
/// # Example
///
/// ```
/// use burn::tensor::{Device, Int, Tensor};
/// use burn_losses::classification::{GeneralizedCrossEntropyLossConfig, Reduction};
///
/// let device = Device::default();
/// // A softmax of 1/4 and 3/4.
/// let logits = Tensor::<2>::from_data([[0.0, 3.0_f64.ln()]], &device);
/// let labels = Tensor::<1, Int>::from_ints([1], &device);
/// let loss = GeneralizedCrossEntropyLossConfig::new().init(&device).forward(logits, labels, Reduction::Mean);
/// assert!((loss.into_scalar::<f32>() - (1.0 - 0.75_f32.powf(0.7)) / 0.7).abs() < 1e-5);
/// ```
#[derive(Module, Debug)]
#[module(custom_display)]
pub struct GeneralizedCrossEntropyLoss {
    q: f64,
    #[module(skip)]
    labels: ClassLabels,
    class_dim: isize,
}

impl GeneralizedCrossEntropyLoss {
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
        let power = negative_log_probability(samples.log_odds(None).log_odds).mul_scalar(-self.q).exp();
        power.neg().add_scalar(1.0).mul_scalar(1.0 / self.q)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn losses(loss: &GeneralizedCrossEntropyLoss) -> alloc::vec::Vec<f32> {
        // Softmax (1/4, 3/4) twice.
        let row = [0.0_f32, 3.0_f32.ln()];
        let logits = Tensor::<2>::from_data([row, row], &Device::flex());
        let labels = Tensor::<1, Int>::from_data([0, 1], &Device::flex());
        loss.forward_no_reduction(logits, labels).try_into_vec_as::<f32>().unwrap()
    }

    #[test]
    fn with_q_one_it_is_the_probability_of_being_wrong() {
        let losses = losses(&GeneralizedCrossEntropyLossConfig::new().with_q(1.0).init(&Device::flex()));

        assert!((losses[0] - 0.75).abs() < 1e-6 && (losses[1] - 0.25).abs() < 1e-6, "{losses:?}");
    }

    #[test]
    fn with_q_one_half_it_is_two_less_two_roots() {
        let losses = losses(&GeneralizedCrossEntropyLossConfig::new().with_q(0.5).init(&Device::flex()));

        // By hand: 2·(1 - sqrt(1/4)) and 2·(1 - sqrt(3/4)).
        assert!((losses[0] - 1.0).abs() < 1e-6 && (losses[1] - 0.267_949_2).abs() < 1e-6, "{losses:?}");
    }

    #[test]
    #[should_panic(expected = "GeneralizedCrossEntropyLoss: q must be in [0.01, 1], got 0")]
    fn a_q_of_zero_is_rejected() {
        GeneralizedCrossEntropyLossConfig::new().with_q(0.0).init(&Device::flex());
    }
}
