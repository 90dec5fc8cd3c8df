use burn::config::Config;
use burn::module::Module;
use burn::tensor::{Int, Tensor};
use burn_losses_kernels::math::{cast_to, widen};

use super::log_odds::{own_log_odds, surprise};
use super::samples::Samples;
use crate::labels::{ClassLabels, LabelPolicy};
use crate::reduction::EmbeddingReduction;

const NAME: &str = "GeneralizedCrossEntropyLoss";

/// Settings of [`GeneralizedCrossEntropyLoss`].
#[derive(Config, Debug)]
pub struct GeneralizedCrossEntropyLossConfig {
    /// Between cross-entropy, near 0, and the absolute error, at 1; in `[0.01, 1]`. The larger, the less a wrong label
    /// pulls, and the slower the training.
    #[config(default = 0.7)]
    pub q: f64,
    /// Which labels are ignored, and whether bad ones panic.
    #[config(default = "LabelPolicy::new()")]
    pub labels: LabelPolicy,
}

impl GeneralizedCrossEntropyLossConfig {
    /// Builds the loss.
    ///
    /// # Panics
    ///
    /// If a field is out of its range.
    pub fn init(&self) -> GeneralizedCrossEntropyLoss {
        let Self { q, .. } = *self;
        assert!((0.01..=1.0).contains(&q), "{NAME}: q must be in [0.01, 1], got {q}");

        GeneralizedCrossEntropyLoss { q, labels: ClassLabels::new(NAME, &self.labels) }
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
/// # Source
///
/// Zhang, Sabuncu: [Generalized Cross Entropy Loss](https://arxiv.org/abs/1805.07836), 2018, section 3.2, equation 6.
#[derive(Module, Debug)]
pub struct GeneralizedCrossEntropyLoss {
    q: f64,
    #[module(skip)]
    labels: ClassLabels,
}

impl GeneralizedCrossEntropyLoss {
    /// The reduced loss; 0 when no row has a class.
    ///
    /// # Shapes and panics
    ///
    /// As [`forward_no_reduction`](Self::forward_no_reduction); output `[1]`.
    pub fn forward(&self, logits: Tensor<2>, labels: Tensor<1, Int>, reduction: EmbeddingReduction) -> Tensor<1> {
        let dtype = logits.dtype();
        let samples = Samples::new(&self.labels, widen(logits), labels);
        let valid = samples.valid.clone();
        cast_to(reduction.apply_valid(self.losses(samples), valid), dtype)
    }

    /// The loss of every row; 0 for rows without a class.
    ///
    /// # Shapes
    ///
    /// - logits: `[batch, classes]`
    /// - labels: `[batch]`
    /// - output: `[batch]`
    ///
    /// # Panics
    ///
    /// If there is not one label per row, or by the policy for labels.
    pub fn forward_no_reduction(&self, logits: Tensor<2>, labels: Tensor<1, Int>) -> Tensor<1> {
        self.losses(Samples::new(&self.labels, logits, labels))
    }

    fn losses(&self, samples: Samples) -> Tensor<1> {
        samples.losses(|samples| {
            let power = surprise(own_log_odds(samples)).mul_scalar(-self.q).exp();
            power.neg().add_scalar(1.0).mul_scalar(1.0 / self.q)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    fn losses(loss: &GeneralizedCrossEntropyLoss) -> alloc::vec::Vec<f32> {
        // Softmax (1/4, 3/4) twice.
        let row = [0.0_f32, 3.0_f32.ln()];
        let logits = Tensor::<2>::from_data([row, row], &Device::flex());
        let labels = Tensor::<1, Int>::from_data([0, 1], &Device::flex());
        loss.forward_no_reduction(logits, labels).try_into_vec_as::<f32>().unwrap()
    }

    #[test]
    fn with_q_one_it_is_the_probability_of_being_wrong() {
        let losses = losses(&GeneralizedCrossEntropyLossConfig::new().with_q(1.0).init());

        assert!((losses[0] - 0.75).abs() < 1e-6 && (losses[1] - 0.25).abs() < 1e-6, "{losses:?}");
    }

    #[test]
    fn with_q_one_half_it_is_two_less_two_roots() {
        let losses = losses(&GeneralizedCrossEntropyLossConfig::new().with_q(0.5).init());

        // By hand: 2·(1 - sqrt(1/4)) and 2·(1 - sqrt(3/4)).
        assert!((losses[0] - 1.0).abs() < 1e-6 && (losses[1] - 0.267_949_2).abs() < 1e-6, "{losses:?}");
    }

    #[test]
    #[should_panic(expected = "GeneralizedCrossEntropyLoss: q must be in [0.01, 1], got 0")]
    fn a_q_of_zero_is_rejected() {
        GeneralizedCrossEntropyLossConfig::new().with_q(0.0).init();
    }
}
