use alloc::vec::Vec;

use burn::config::Config;
use burn::module::Module;
use burn::tensor::activation::log_softmax;
use burn::tensor::{Device, Int, Tensor, assert_shape};
use burn_losses_kernels::precision::{cast_to, widen};

use super::class_weights::ClassWeights;
use super::own_class::OwnClassLog;
use crate::labels::{LabelPolicy, SafeLabels, silence};
use crate::reduction::Reduction;

/// Settings of [`FocalLoss`].
#[derive(Config, Debug)]
pub struct FocalLossConfig {
    /// How much less an easy row counts; in `[0, 100]`. 0 is cross-entropy.
    #[config(default = 2.0)]
    pub gamma: f64,
    /// What the loss of each class is multiplied with, `>= 0` and one per class; `None` for 1.
    #[config(default = "None")]
    pub alpha: Option<Vec<f64>>,
    /// Which labels are ignored, and whether bad ones panic.
    #[config(default = "LabelPolicy::new()")]
    pub labels: LabelPolicy,
}

impl FocalLossConfig {
    /// Builds the loss with its class weights on `device`.
    ///
    /// # Panics
    ///
    /// If a field is out of its range.
    pub fn init(&self, device: &Device) -> FocalLoss {
        let gamma = self.gamma;
        assert!((0.0..=100.0).contains(&gamma), "FocalLoss: gamma must be in [0, 100], got {gamma}");
        self.labels.validate("FocalLoss");
        let alpha = ClassWeights::new("FocalLoss", "alpha", self.alpha.as_ref(), device);

        FocalLoss { gamma, alpha, labels: self.labels.clone() }
    }
}

/// Cross-entropy that looks away from rows that are right already.
///
/// ```text
/// p[i]    = softmax(logits[i])
/// loss[i] = -alpha[labels[i]]·(1 - p[i, labels[i]])^gamma·log(p[i, labels[i]])
///         = -sum over c of alpha[c]·probabilities[i, c]·(1 - p[i, c])^gamma·log(p[i, c])     for a distribution per row
/// ```
///
/// `1 - p` of the own class is computed from the other classes, so the loss keeps its digits and its gradient where `p`
/// rounds to 1. The mean is that of the rows. With a `gamma` of 0 it is cross-entropy.
///
/// # Source
///
/// Lin, Goyal, Girshick, He, Dollár: [Focal Loss for Dense Object Detection](https://arxiv.org/abs/1708.02002), 2017,
/// section 3.
#[derive(Module, Debug)]
pub struct FocalLoss {
    gamma: f64,
    alpha: ClassWeights,
    #[module(skip)]
    labels: LabelPolicy,
}

impl FocalLoss {
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

    /// One number for the batch, from a distribution per row.
    ///
    /// # Shapes
    ///
    /// - logits: `[batch, classes]`
    /// - probabilities: `[batch, classes]`, `>= 0`; rows add up to 1, which is not checked
    /// - output: `[1]`
    ///
    /// # Panics
    ///
    /// If the shapes do not agree, or if there are not as many `alpha` as classes.
    pub fn forward_soft(&self, logits: Tensor<2>, probabilities: Tensor<2>, reduction: Reduction) -> Tensor<1> {
        reduction.apply(self.forward_soft_no_reduction(logits, probabilities))
    }

    /// The loss of every row, from a distribution per row.
    ///
    /// # Shapes
    ///
    /// - logits: `[batch, classes]`
    /// - probabilities: `[batch, classes]`
    /// - output: `[batch]`
    ///
    /// # Panics
    ///
    /// As [`forward_soft`](Self::forward_soft).
    pub fn forward_soft_no_reduction(&self, logits: Tensor<2>, probabilities: Tensor<2>) -> Tensor<1> {
        let (dtype, shape) = (logits.dtype(), logits.dims());
        let [batch, classes] = shape;
        assert_shape!(probabilities, [batch, classes]);
        if batch == 0 {
            return logits.reshape([0]);
        }
        let logits = widen(logits);
        let targets = cast_to(probabilities, logits.dtype());
        let targets = match self.alpha.all(&logits, classes) {
            Some(alpha) => targets * alpha.unsqueeze_dim::<2>(0).expand(shape),
            None => targets,
        };
        let no_share = targets.clone().equal_scalar(0.0);
        let log_p = log_softmax(logits, 1).mask_fill(no_share, 0.0);
        // log(1 - p); where p rounds to 1, about the smallest number instead of minus infinity.
        let log_rest = log_p.clone().exp().neg().add_scalar(1.0).clamp_min(1e-30).log();
        let losses = (targets * log_rest.mul_scalar(self.gamma).exp() * log_p).sum_dim(1).squeeze_dim::<1>(1).neg();
        cast_to(losses, dtype)
    }

    fn losses(&self, logits: Tensor<2>, SafeLabels { index, valid }: SafeLabels) -> Tensor<1> {
        let [batch, classes] = logits.dims();
        if batch == 0 {
            return logits.reshape([0]);
        }
        let logits = widen(silence(logits, valid.clone()));
        let alpha = self.alpha.of_rows(&logits, classes, index.clone());
        let log = OwnClassLog::of(logits, index);
        let losses = log.own.neg() * log.others.mul_scalar(self.gamma).exp() * alpha;
        losses.mask_fill(valid.bool_not(), 0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_easy_row_counts_less() {
        let device = Device::flex();
        let loss = FocalLossConfig::new().with_alpha(Some(alloc::vec![1.0, 0.5])).init(&device);
        let logits = Tensor::<2>::from_data([[0.0_f32, 3.0_f32.ln()], [0.0, 3.0_f32.ln()]], &device);
        let labels = Tensor::<1, Int>::from_data([0, 1], &device);
        let losses = loss.forward_no_reduction(logits, labels).try_into_vec_as::<f32>().unwrap();

        // By hand: the own probabilities are 1/4 and 3/4.
        assert!((losses[0] - 0.5625 * 4.0_f32.ln()).abs() < 1e-6, "{losses:?}");
        assert!((losses[1] - 0.5 * 0.0625 * (4.0_f32 / 3.0).ln()).abs() < 1e-7, "{losses:?}");
    }

    #[test]
    #[should_panic(expected = "FocalLoss: gamma must be in [0, 100], got -1")]
    fn a_negative_gamma_is_rejected() {
        FocalLossConfig::new().with_gamma(-1.0).init(&Device::flex());
    }
}
