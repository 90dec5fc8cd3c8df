use alloc::vec::Vec;

use burn::config::Config;
use burn::module::Module;
use burn::tensor::{Tensor, assert_shape};
use burn_losses_kernels::math::{cast_to, widen};

use super::class_weights::{check_weights, weight_row};
use super::log_odds::focal;
use crate::reduction::EmbeddingReduction;

const NAME: &str = "BinaryFocalLoss";

/// Settings of [`BinaryFocalLoss`].
#[derive(Config, Debug)]
pub struct BinaryFocalLossConfig {
    /// How fast well-classified samples fade; in `[0, 100]`. 0 is cross-entropy.
    #[config(default = 2.0)]
    pub gamma: f64,
    /// What a positive target counts, one number per class in `[0, 1]`; a negative counts `1 - alpha`. `None` is 1 for
    /// both; the paper uses 0.25.
    #[config(default = "None")]
    pub alpha: Option<Vec<f64>>,
}

impl BinaryFocalLossConfig {
    /// Builds the loss.
    ///
    /// # Panics
    ///
    /// If a field is out of its range.
    pub fn init(&self) -> BinaryFocalLoss {
        let Self { gamma, alpha } = self.clone();
        assert!((0.0..=100.0).contains(&gamma), "{NAME}: gamma must be in [0, 100], got {gamma}");
        check_weights(NAME, "alpha", alpha.as_ref(), 1.0);
        BinaryFocalLoss { gamma, alpha }
    }
}

/// Binary cross-entropy that fades where the model is right.
///
/// ```text
/// p    = sigmoid(logits)
/// loss = -alpha[class]·targets·(1 - p)^gamma·log(p)
///        - (1 - alpha[class])·(1 - targets)·p^gamma·log(1 - p)
/// ```
///
/// For detection: few positives among many easy negatives. Computed from log-odds, so that neither `p = 0` nor `p = 1`
/// gives a NaN. Deviation: for targets between 0 and 1 it is the expected loss, as written; torchvision puts the expected
/// `p` under the power instead. For targets 0 and 1 the two are the same.
///
/// Logits are finite.
///
/// # Source
///
/// Lin et al.: [Focal Loss for Dense Object Detection](https://arxiv.org/abs/1708.02002), 2017, section 3.2, equation 5.
#[derive(Module, Debug)]
pub struct BinaryFocalLoss {
    gamma: f64,
    #[module(skip)]
    alpha: Option<Vec<f64>>,
}

impl BinaryFocalLoss {
    /// The reduced loss; a mean is over rows and classes. The paper divides the sum by the number of positives.
    ///
    /// # Shapes and panics
    ///
    /// As [`forward_no_reduction`](Self::forward_no_reduction); output `[1]`.
    pub fn forward(&self, logits: Tensor<2>, targets: Tensor<2>, reduction: EmbeddingReduction) -> Tensor<1> {
        let dtype = logits.dtype();
        cast_to(reduction.apply(self.forward_no_reduction(widen(logits), targets)), dtype)
    }

    /// The loss of every row and class.
    ///
    /// # Shapes
    ///
    /// - logits: `[batch, classes]`
    /// - targets: `[batch, classes]`, in `[0, 1]`
    /// - output: `[batch, classes]`
    ///
    /// # Panics
    ///
    /// If the shapes differ or there is not one alpha per class.
    pub fn forward_no_reduction(&self, logits: Tensor<2>, targets: Tensor<2>) -> Tensor<2> {
        let [batch, classes] = logits.dims();
        assert_shape!(targets, [batch, classes]);
        if batch == 0 || classes == 0 {
            return logits;
        }
        let dtype = logits.dtype();
        let logits = widen(logits);
        let targets = cast_to(targets, logits.dtype());

        let absent = targets.clone().neg().add_scalar(1.0) * focal(logits.clone().neg(), self.gamma);
        let present = targets * focal(logits.clone(), self.gamma);
        let losses = match &self.alpha {
            Some(alpha) => {
                let alpha = weight_row(NAME, "alpha", alpha, &logits);
                present * alpha.clone() + absent * alpha.neg().add_scalar(1.0)
            }
            None => present + absent,
        };
        cast_to(losses, dtype)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    #[test]
    fn a_sample_that_is_right_fades() {
        let device = Device::flex();
        // p is 3/4 for both.
        let logits = Tensor::<2>::full([1, 2], 3.0_f32.ln(), &device);
        let targets = Tensor::<2>::from_data([[1.0_f32, 0.0]], &device);
        let loss = BinaryFocalLossConfig::new().with_alpha(Some(alloc::vec![0.25, 0.25])).init();
        let losses = loss.forward_no_reduction(logits, targets).try_into_vec_as::<f32>().unwrap();

        // By hand: 1/4·(1/4)²·ln(4/3) and 3/4·(3/4)²·ln 4.
        assert!((losses[0] - (4.0_f32 / 3.0).ln() / 64.0).abs() < 1e-7, "{losses:?}");
        assert!((losses[1] - 27.0 / 64.0 * 4.0_f32.ln()).abs() < 1e-6, "{losses:?}");
    }

    #[test]
    #[should_panic(expected = "BinaryFocalLoss: gamma must be in [0, 100], got -1")]
    fn a_negative_gamma_is_rejected() {
        BinaryFocalLossConfig::new().with_gamma(-1.0).init();
    }
}
