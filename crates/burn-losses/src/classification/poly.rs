use burn::config::Config;
use burn::module::Module;
use burn::tensor::{Int, Tensor};
use burn_losses_kernels::precision::{cast_to, widen};

use super::own_class::OwnClassLog;
use crate::labels::{LabelPolicy, SafeLabels, silence};
use crate::reduction::Reduction;

/// Settings of [`PolyLoss`].
#[derive(Config, Debug)]
pub struct PolyLossConfig {
    /// What is added per probability that the own class lacks; in `[-1, 1000]`. Below -1 the loss would reward being wrong.
    #[config(default = 2.0)]
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
        let epsilon = self.epsilon;
        assert!((-1.0..=1e3).contains(&epsilon), "PolyLoss: epsilon must be in [-1, 1000], got {epsilon}");
        self.labels.validate("PolyLoss");

        PolyLoss { epsilon, labels: self.labels.clone() }
    }
}

/// Cross-entropy with another weight on the first term of its series.
///
/// ```text
/// p[i]    = softmax(logits[i])[labels[i]]
/// loss[i] = -log(p[i]) + epsilon·(1 - p[i])
/// ```
///
/// Minus the logarithm is the sum over k of `(1 - p)^k / k`; this is Poly-1 of the paper, which changes the first of them.
/// With an `epsilon` of 0 it is cross-entropy.
///
/// # Source
///
/// Leng et al.: [PolyLoss](https://arxiv.org/abs/2204.12511), 2022, section 4.
#[derive(Module, Debug)]
pub struct PolyLoss {
    epsilon: f64,
    #[module(skip)]
    labels: LabelPolicy,
}

impl PolyLoss {
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
        let log = OwnClassLog::of(logits, index);
        let losses = log.own.neg() + log.others.exp().mul_scalar(self.epsilon);
        losses.mask_fill(valid.bool_not(), 0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    #[test]
    fn what_the_own_class_lacks_is_added() {
        let device = Device::flex();
        let logits = Tensor::<2>::from_data([[0.0_f32, 3.0_f32.ln()]], &device);
        let labels = Tensor::<1, Int>::from_data([0], &device);
        let loss = PolyLossConfig::new().init().forward(logits, labels, Reduction::Mean).into_scalar::<f32>();

        // By hand: the own probability is 1/4.
        assert!((loss - (4.0_f32.ln() + 2.0 * 0.75)).abs() < 1e-6, "{loss}");
    }

    #[test]
    #[should_panic(expected = "PolyLoss: epsilon must be in [-1, 1000], got NaN")]
    fn an_epsilon_that_is_not_a_number_is_rejected() {
        PolyLossConfig::new().with_epsilon(f64::NAN).init();
    }
}
