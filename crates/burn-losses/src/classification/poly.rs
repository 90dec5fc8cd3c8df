use burn::config::Config;
use burn::module::Module;
use burn::tensor::{Int, Tensor};
use burn_losses_kernels::math::{cast_to, widen};

use super::log_odds::{own_log_odds, surprise};
use super::samples::Samples;
use crate::labels::{ClassLabels, LabelPolicy};
use crate::reduction::EmbeddingReduction;

const NAME: &str = "PolyLoss";

/// Settings of [`PolyLoss`].
#[derive(Config, Debug)]
pub struct PolyLossConfig {
    /// What is added to the slope at a sure sample; in `[-1, 1000]`. 0 is cross-entropy.
    #[config(default = 1.0)]
    pub epsilon: f64,
    /// Which labels are ignored, and whether bad ones panic.
    #[config(default = "LabelPolicy::new()")]
    pub labels: LabelPolicy,
}

impl PolyLossConfig {
    /// Builds the loss.
    ///
    /// # Panics
    ///
    /// If a field is out of its range.
    pub fn init(&self) -> PolyLoss {
        let Self { epsilon, .. } = *self;
        assert!((-1.0..=1000.0).contains(&epsilon), "{NAME}: epsilon must be in [-1, 1000], got {epsilon}");

        PolyLoss { epsilon, labels: ClassLabels::new(NAME, &self.labels) }
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
/// # Source
///
/// Leng et al.: [PolyLoss](https://arxiv.org/abs/2204.12511), 2022, section 4.3.
#[derive(Module, Debug)]
pub struct PolyLoss {
    epsilon: f64,
    #[module(skip)]
    labels: ClassLabels,
}

impl PolyLoss {
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
            let score = own_log_odds(samples);
            // 1 - p, without its rounding.
            let rest = surprise(score.clone().neg()).neg().exp();
            surprise(score) + rest.mul_scalar(self.epsilon)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    fn losses(loss: &PolyLoss) -> alloc::vec::Vec<f32> {
        // Softmax (1/4, 3/4) twice.
        let row = [0.0_f32, 3.0_f32.ln()];
        let logits = Tensor::<2>::from_data([row, row], &Device::flex());
        let labels = Tensor::<1, Int>::from_data([0, 1], &Device::flex());
        loss.forward_no_reduction(logits, labels).try_into_vec_as::<f32>().unwrap()
    }

    #[test]
    fn adds_the_first_term_once_more() {
        let losses = losses(&PolyLossConfig::new().with_epsilon(2.0).init());

        // By hand: ln 4 + 2·3/4 and ln(4/3) + 2·1/4.
        assert!((losses[0] - (4.0_f32.ln() + 1.5)).abs() < 1e-6, "{losses:?}");
        assert!((losses[1] - ((4.0_f32 / 3.0).ln() + 0.5)).abs() < 1e-6, "{losses:?}");
    }

    #[test]
    #[should_panic(expected = "PolyLoss: epsilon must be in [-1, 1000], got -2")]
    fn an_epsilon_that_turns_the_loss_around_is_rejected() {
        PolyLossConfig::new().with_epsilon(-2.0).init();
    }
}
