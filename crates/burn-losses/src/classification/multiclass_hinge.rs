use burn::config::Config;
use burn::module::Module;
use burn::tensor::{Int, Tensor};
use burn_losses_kernels::math::{cast_to, widen};

use super::samples::Samples;
use crate::labels::{ClassLabels, LabelPolicy};
use crate::reduction::EmbeddingReduction;

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
    /// By how much the own logit should be above every other; in `[0, 1e6]`.
    #[config(default = 1.0)]
    pub margin: f64,
    /// What a violated margin costs.
    #[config(default = "HingePower::Linear")]
    pub power: HingePower,
    /// Which labels are ignored, and whether bad ones panic.
    #[config(default = "LabelPolicy::new()")]
    pub labels: LabelPolicy,
}

impl MulticlassHingeLossConfig {
    /// Builds the loss.
    ///
    /// # Panics
    ///
    /// If a field is out of its range.
    pub fn init(&self) -> MulticlassHingeLoss {
        let Self { margin, power, .. } = *self;
        assert!((0.0..=1e6).contains(&margin), "{NAME}: margin must be in [0, 1e6], got {margin}");

        MulticlassHingeLoss { margin, power, labels: ClassLabels::new(NAME, &self.labels) }
    }
}

/// The own logit must be above every other by a margin.
///
/// ```text
/// violation[i, c] = max(0, margin - logits[i, labels[i]] + logits[i, c])
/// loss[i]         = sum over c != labels[i] of violation[i, c]^power / classes
/// ```
///
/// The same value as PyTorch's and Burn's `MultiMarginLoss`, with labels that can be ignored. At `violation = 0` the
/// gradient is 0.
///
/// # Source
///
/// Weston, Watkins: Support Vector Machines for Multi-Class Pattern Recognition, ESANN 1999, section 3.
#[derive(Module, Debug)]
pub struct MulticlassHingeLoss {
    margin: f64,
    #[module(skip)]
    power: HingePower,
    #[module(skip)]
    labels: ClassLabels,
}

impl MulticlassHingeLoss {
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
            let dims = samples.logits.dims();
            let own = samples.own(samples.logits.clone()).unsqueeze_dim::<2>(1).expand(dims);
            let gaps = (samples.logits.clone() - own).add_scalar(self.margin);
            let satisfied = gaps.clone().lower_equal_scalar(0.0).bool_or(samples.own_class());
            let violations = gaps.mask_fill(satisfied, 0.0);
            let costs = match self.power {
                HingePower::Linear => violations,
                HingePower::Squared => violations.square(),
            };
            costs.sum_dim(1).squeeze_dim(1).mul_scalar(1.0 / dims[1] as f64)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    fn losses(loss: &MulticlassHingeLoss) -> alloc::vec::Vec<f32> {
        // Softmax (1/4, 3/4) twice.
        let row = [0.0_f32, 3.0_f32.ln()];
        let logits = Tensor::<2>::from_data([row, row], &Device::flex());
        let labels = Tensor::<1, Int>::from_data([0, 1], &Device::flex());
        loss.forward_no_reduction(logits, labels).try_into_vec_as::<f32>().unwrap()
    }

    #[test]
    fn only_violated_margins_cost() {
        let linear = losses(&MulticlassHingeLossConfig::new().init());
        let squared = losses(&MulticlassHingeLossConfig::new().with_power(HingePower::Squared).init());
        let gap = 1.0 + 3.0_f32.ln();

        // By hand: 1 + ln 3 is violated, 1 - ln 3 < 0 is not.
        assert!((linear[0] - gap / 2.0).abs() < 1e-6 && linear[1] == 0.0, "{linear:?}");
        assert!((squared[0] - gap * gap / 2.0).abs() < 1e-6 && squared[1] == 0.0, "{squared:?}");
    }

    #[test]
    #[should_panic(expected = "MulticlassHingeLoss: margin must be in [0, 1e6], got -1")]
    fn a_negative_margin_is_rejected() {
        MulticlassHingeLossConfig::new().with_margin(-1.0).init();
    }
}
