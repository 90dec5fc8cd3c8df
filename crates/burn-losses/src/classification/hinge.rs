use alloc::vec::Vec;

use burn::config::Config;
use burn::module::Module;
use burn::tensor::{Device, Int, Tensor};
use burn_losses_kernels::precision::{cast_to, widen};

use super::class_weights::ClassWeights;
use crate::labels::{LabelPolicy, SafeLabels, silence};
use crate::reduction::Reduction;

/// What becomes of a violated margin.
#[derive(Config, Debug, Copy, PartialEq, Eq)]
pub enum HingePower {
    /// It counts as it is.
    Linear,
    /// Its square counts.
    Squared,
}

/// Settings of [`MultiClassHinge`].
#[derive(Config, Debug)]
pub struct MultiClassHingeConfig {
    /// How much higher than the others the own logit must be; in `[-1000, 1000]`.
    #[config(default = 1.0)]
    pub margin: f64,
    /// What becomes of a violated margin.
    #[config(default = "HingePower::Linear")]
    pub power: HingePower,
    /// What the loss of each class is multiplied with, `>= 0` and one per class; `None` for 1.
    #[config(default = "None")]
    pub class_weights: Option<Vec<f64>>,
    /// Which labels are ignored, and whether bad ones panic.
    #[config(default = "LabelPolicy::new()")]
    pub labels: LabelPolicy,
}

impl MultiClassHingeConfig {
    /// Builds the loss with its class weights on `device`.
    ///
    /// # Panics
    ///
    /// If a field is out of its range.
    pub fn init(&self, device: &Device) -> MultiClassHinge {
        let margin = self.margin;
        assert!(margin.abs() <= 1e3, "MultiClassHinge: margin must be in [-1000, 1000], got {margin}");
        self.labels.validate("MultiClassHinge");
        let class_weights = ClassWeights::new("MultiClassHinge", "class_weights", self.class_weights.as_ref(), device);

        MultiClassHinge { margin, power: self.power, class_weights, labels: self.labels.clone() }
    }
}

/// The logit of the own class must be higher than every other by a margin.
///
/// ```text
/// violation[i, c] = max(0, margin - logits[i, labels[i]] + logits[i, c])
/// loss[i] = class_weights[labels[i]]·sum over c != labels[i] of violation[i, c] (or its square) / classes
/// ```
///
/// Divided by the number of classes, as PyTorch's `MultiMarginLoss` is; its mean is that of the rows, whatever the weights.
/// Burn's own `MultiMarginLoss` has no class weights and indexes with labels that nobody checked.
///
/// # Source
///
/// Crammer, Singer: [On the Algorithmic Implementation of Multiclass Kernel-based Vector
/// Machines](https://www.jmlr.org/papers/v2/crammer01a.html), 2001; Weston, Watkins 1999 for the sum.
#[derive(Module, Debug)]
pub struct MultiClassHinge {
    margin: f64,
    #[module(skip)]
    power: HingePower,
    class_weights: ClassWeights,
    #[module(skip)]
    labels: LabelPolicy,
}

impl MultiClassHinge {
    /// One number for the batch; rows without a class do not count in a mean.
    ///
    /// # Shapes
    ///
    /// - logits: `[batch, classes]`
    /// - labels: `[batch]`
    /// - output: `[1]`
    ///
    /// # Panics
    ///
    /// If the shapes do not agree, or by a strict [`LabelPolicy`].
    pub fn forward(&self, logits: Tensor<2>, labels: Tensor<1, Int>, reduction: Reduction) -> Tensor<1> {
        let (dtype, labels) = (logits.dtype(), self.labels.of_rows(&logits, labels));
        let valid = labels.valid.clone();
        cast_to(reduction.apply_valid(self.losses(logits, labels), valid), dtype)
    }

    /// The loss of every row; 0 for one without a class.
    ///
    /// # Shapes
    ///
    /// - logits: `[batch, classes]`
    /// - labels: `[batch]`
    /// - output: `[batch]`
    ///
    /// # Panics
    ///
    /// If the shapes do not agree, or by a strict [`LabelPolicy`].
    pub fn forward_no_reduction(&self, logits: Tensor<2>, labels: Tensor<1, Int>) -> Tensor<1> {
        let (dtype, labels) = (logits.dtype(), self.labels.of_rows(&logits, labels));
        cast_to(self.losses(logits, labels), dtype)
    }

    fn losses(&self, logits: Tensor<2>, SafeLabels { index, valid }: SafeLabels) -> Tensor<1> {
        let shape = logits.dims();
        let [batch, classes] = shape;
        if batch == 0 {
            return logits.reshape([0]);
        }
        let logits = widen(silence(logits, valid.clone()));
        let own = logits.clone().gather(1, index.clone().unsqueeze_dim(1)).expand(shape);
        let all = Tensor::<1, Int>::arange(0..classes as i64, (&index.device(), index.dtype()));
        let column = index.clone().unsqueeze_dim::<2>(1).expand(shape);
        let is_own = all.unsqueeze_dim::<2>(0).expand(shape).equal(column);
        let short = (logits - own).add_scalar(self.margin);
        let inactive = short.clone().lower_equal_scalar(0.0).bool_or(is_own);
        let violations = short.mask_fill(inactive, 0.0);
        let violations = match self.power {
            HingePower::Linear => violations,
            HingePower::Squared => violations.square(),
        };
        let weights = self.class_weights.of_rows(&violations, classes, index);
        let losses = violations.sum_dim(1).squeeze_dim::<1>(1).mul_scalar(1.0 / classes as f64) * weights;
        losses.mask_fill(valid.bool_not(), 0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_logits_within_the_margin_count() {
        let device = Device::flex();
        let labels = || Tensor::<1, Int>::from_data([1], &device);
        let logits = || Tensor::<2>::from_data([[2.5_f32, 2.0, 0.5]], &device);
        let linear = MultiClassHingeConfig::new().init(&device).forward(logits(), labels(), Reduction::Mean);
        let config = MultiClassHingeConfig::new().with_power(HingePower::Squared);
        let weighted = config.with_class_weights(Some(alloc::vec![1.0, 2.0, 1.0])).init(&device);

        // By hand: the first is 0.5 above the own one and violates by 1.5, the last not.
        assert!((linear.into_scalar::<f32>() - 0.5).abs() < 1e-6);
        let squared = weighted.forward(logits(), labels(), Reduction::Mean).into_scalar::<f32>();
        assert!((squared - 2.0 * 2.25 / 3.0).abs() < 1e-6, "{squared}");
    }

    #[test]
    #[should_panic(expected = "MultiClassHinge: margin must be in [-1000, 1000], got inf")]
    fn an_infinite_margin_is_rejected() {
        MultiClassHingeConfig::new().with_margin(f64::INFINITY).init(&Device::flex());
    }
}
