use burn::config::Config;
use burn::module::Module;
use burn::nn::loss::Reduction;
use burn::tensor::{Device, Int, Tensor};

use super::log_odds::negative_log_probability;
use super::samples::Samples;
use crate::labels::{ClassLabels, LabelPolicy};

const NAME: &str = "PolyLoss";

/// Settings of [`PolyLoss`].
#[derive(Config, Debug)]
pub struct PolyLossConfig {
    /// What is added to the slope at a sure sample; in `[-1, 1000]`. 0 is cross-entropy.
    /// Default: `1.0`.
    #[config(default = 1.0)]
    pub epsilon: f64,
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

impl PolyLossConfig {
    /// Builds the loss.
    ///
    /// # Panics
    ///
    /// If a field is out of its range.
    #[track_caller]
    pub fn init(&self, _device: &Device) -> PolyLoss {
        let Self { epsilon, class_dim, .. } = *self;
        assert!((-1.0..=1000.0).contains(&epsilon), "{NAME}: epsilon must be in [-1, 1000], got {epsilon}");

        PolyLoss { epsilon, labels: ClassLabels::new(NAME, &self.labels), class_dim }
    }
}

/// Cross-entropy with another coefficient on its first polynomial term.
///
/// ```text
/// p       = softmax(logits[i])[labels[i]]
/// loss[i] = -log(p) + epsilon·(1 - p)
/// ```
///
/// The paper's Poly-1. Positive `epsilon` pulls harder on samples that are almost right, negative less. The paper finds
/// the best value by a search between -1 and 8 (2 for ImageNet).
///
/// # When to take it
///
/// A cross-entropy with one more number to tune; a larger `epsilon` keeps the pull on samples that are nearly right.
/// Where there is no time to tune it, take [`CrossEntropyLoss`](super::CrossEntropyLoss).
///
/// # Source
///
/// Leng et al.: [PolyLoss](https://arxiv.org/abs/2204.12511), 2022, section 4.3.
///
/// # Example
///
/// ```
/// use burn::tensor::{Device, Int, Tensor};
/// use burn_losses::classification::{PolyLossConfig, Reduction};
///
/// let device = Device::default();
/// // A softmax of 1/4 and 3/4.
/// let logits = Tensor::<2>::from_data([[0.0, 3.0_f64.ln()]], &device);
/// let labels = Tensor::<1, Int>::from_ints([1], &device);
/// let loss = PolyLossConfig::new().init(&device).forward(logits, labels, Reduction::Mean);
/// assert!((loss.into_scalar::<f32>() - (0.25 - 0.75_f32.ln())).abs() < 1e-5);
/// ```
#[derive(Module, Debug)]
#[module(custom_display)]
pub struct PolyLoss {
    epsilon: f64,
    #[module(skip)]
    labels: ClassLabels,
    class_dim: isize,
}

impl PolyLoss {
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
        let log_odds = samples.log_odds(None).log_odds;
        // 1 - p, without its rounding.
        let rest = negative_log_probability(log_odds.clone().neg()).neg().exp();
        negative_log_probability(log_odds) + rest.mul_scalar(self.epsilon)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn losses(loss: &PolyLoss) -> alloc::vec::Vec<f32> {
        // Softmax (1/4, 3/4) twice.
        let row = [0.0_f32, 3.0_f32.ln()];
        let logits = Tensor::<2>::from_data([row, row], &Device::flex());
        let labels = Tensor::<1, Int>::from_data([0, 1], &Device::flex());
        loss.forward_no_reduction(logits, labels).try_into_vec_as::<f32>().unwrap()
    }

    #[test]
    fn adds_the_first_term_once_more() {
        let losses = losses(&PolyLossConfig::new().with_epsilon(2.0).init(&Device::flex()));

        // By hand: ln 4 + 2·3/4 and ln(4/3) + 2·1/4.
        assert!((losses[0] - (4.0_f32.ln() + 1.5)).abs() < 1e-6, "{losses:?}");
        assert!((losses[1] - ((4.0_f32 / 3.0).ln() + 0.5)).abs() < 1e-6, "{losses:?}");
    }

    #[test]
    #[should_panic(expected = "PolyLoss: epsilon must be in [-1, 1000], got -2")]
    fn an_epsilon_that_turns_the_loss_around_is_rejected() {
        PolyLossConfig::new().with_epsilon(-2.0).init(&Device::flex());
    }
}
