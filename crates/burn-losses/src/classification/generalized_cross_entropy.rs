use burn::config::Config;
use burn::module::Module;
use burn::tensor::{Int, Tensor};
use burn_losses_kernels::precision::{cast_to, widen};

use super::own_class::OwnClassLog;
use crate::labels::{LabelPolicy, SafeLabels, silence};
use crate::reduction::Reduction;

/// Settings of [`GeneralizedCrossEntropy`].
#[derive(Config, Debug)]
pub struct GeneralizedCrossEntropyConfig {
    /// Between cross-entropy (towards 0) and the mean absolute error (1); in `[0.001, 1]`.
    #[config(default = 0.7)]
    pub exponent: f64,
    /// Which labels are ignored, and whether bad ones panic.
    #[config(default = "LabelPolicy::new()")]
    pub labels: LabelPolicy,
}

impl GeneralizedCrossEntropyConfig {
    /// Builds the loss.
    ///
    /// # Panics
    ///
    /// If a field is out of its range.
    pub fn init(&self) -> GeneralizedCrossEntropy {
        let exponent = self.exponent;
        let fits = (1e-3..=1.0).contains(&exponent);
        assert!(fits, "GeneralizedCrossEntropy: exponent must be in [0.001, 1], got {exponent}");
        self.labels.validate("GeneralizedCrossEntropy");

        GeneralizedCrossEntropy { exponent, labels: self.labels.clone() }
    }
}

/// Between cross-entropy and the mean absolute error: a label that is wrong costs at most `1 / exponent`.
///
/// ```text
/// p[i]    = softmax(logits[i])[labels[i]]
/// loss[i] = (1 - p[i]^exponent) / exponent
/// ```
///
/// For training with wrong labels: rows the model is sure about in another way have less and less of a gradient.
///
/// # Source
///
/// Zhang, Sabuncu: [Generalized Cross Entropy Loss for Training Deep Neural Networks with Noisy
/// Labels](https://arxiv.org/abs/1805.07836), 2018, section 3 (its q is `exponent`).
#[derive(Module, Debug)]
pub struct GeneralizedCrossEntropy {
    exponent: f64,
    #[module(skip)]
    labels: LabelPolicy,
}

impl GeneralizedCrossEntropy {
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
        let [batch, _] = logits.dims();
        if batch == 0 {
            return logits.reshape([0]);
        }
        let logits = widen(silence(logits, valid.clone()));
        let power = OwnClassLog::of(logits, index).own.mul_scalar(self.exponent).exp();
        let losses = power.neg().add_scalar(1.0).mul_scalar(1.0 / self.exponent);
        losses.mask_fill(valid.bool_not(), 0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    #[test]
    fn a_hopeless_row_costs_a_bounded_loss() {
        let device = Device::flex();
        let loss = GeneralizedCrossEntropyConfig::new().with_exponent(0.5).init();
        let logits = Tensor::<2>::from_data([[0.0_f32, 3.0_f32.ln()], [-1e4, 1e4]], &device);
        let labels = Tensor::<1, Int>::from_data([0, 0], &device);
        let losses = loss.forward_no_reduction(logits, labels).try_into_vec_as::<f32>().unwrap();

        // By hand: (1 - sqrt(1/4)) / 0.5, and 1 / 0.5.
        assert!((losses[0] - 1.0).abs() < 1e-6 && losses[1] == 2.0, "{losses:?}");
    }

    #[test]
    #[should_panic(expected = "GeneralizedCrossEntropy: exponent must be in [0.001, 1], got 0")]
    fn an_exponent_of_zero_is_rejected() {
        GeneralizedCrossEntropyConfig::new().with_exponent(0.0).init();
    }
}
