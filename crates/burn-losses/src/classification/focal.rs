use alloc::vec::Vec;

use burn::config::Config;
use burn::module::Module;
use burn::tensor::{Int, Tensor, assert_shape};
use burn_losses_kernels::math::{cast_to, widen};

use super::class_weights::{check_weights, weight_row};
use super::log_odds::{focal, own_log_odds};
use super::log_probabilities::log_probabilities;
use super::samples::Samples;
use crate::labels::{ClassLabels, LabelPolicy};
use crate::reduction::EmbeddingReduction;

const NAME: &str = "FocalLoss";

/// Below this, `1 - p` is a rounding error of `f32`.
const SMALLEST_REST: f64 = 1e-7;

/// Settings of [`FocalLoss`].
#[derive(Config, Debug)]
pub struct FocalLossConfig {
    /// How fast well-classified samples fade; in `[0, 100]`. 0 is cross-entropy.
    #[config(default = 2.0)]
    pub gamma: f64,
    /// What every class counts, one number each in `[0, 1e6]`; `None` is 1 for all.
    #[config(default = "None")]
    pub alpha: Option<Vec<f64>>,
    /// Which labels are ignored, and whether bad ones panic.
    #[config(default = "LabelPolicy::new()")]
    pub labels: LabelPolicy,
}

impl FocalLossConfig {
    /// Builds the loss.
    ///
    /// # Panics
    ///
    /// If a field is out of its range.
    pub fn init(&self) -> FocalLoss {
        let Self { gamma, alpha, labels } = self.clone();
        assert!((0.0..=100.0).contains(&gamma), "{NAME}: gamma must be in [0, 100], got {gamma}");
        check_weights(NAME, "alpha", alpha.as_ref(), 1e6);
        FocalLoss { gamma, alpha, labels: ClassLabels::new(NAME, &labels) }
    }
}

/// Softmax cross-entropy that fades where the model is right.
///
/// ```text
/// p       = softmax(logits[i])
/// loss[i] = -alpha[labels[i]]·(1 - p[labels[i]])^gamma·log(p[labels[i]])
/// ```
///
/// With [`forward_soft`](Self::forward_soft) it is the sum of this over all classes, each times its probability. A mean is
/// over rows: alpha does not enter its denominator, unlike the weights of [`CrossEntropyLoss`](super::CrossEntropyLoss).
/// Classes from labels are computed from log-odds, exact to the last digits of `1 - p`; of soft targets a `1 - p` below
/// `1e-7` counts as `1e-7`.
///
/// # Source
///
/// Lin et al.: [Focal Loss for Dense Object Detection](https://arxiv.org/abs/1708.02002), 2017, section 3.2, with a softmax.
#[derive(Module, Debug)]
pub struct FocalLoss {
    gamma: f64,
    #[module(skip)]
    alpha: Option<Vec<f64>>,
    #[module(skip)]
    labels: ClassLabels,
}

impl FocalLoss {
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
    /// If the shapes do not fit, there is not one alpha per class, or by the policy for labels.
    pub fn forward_no_reduction(&self, logits: Tensor<2>, labels: Tensor<1, Int>) -> Tensor<1> {
        self.losses(Samples::new(&self.labels, logits, labels))
    }

    /// The reduced loss of targets that are probabilities.
    ///
    /// # Shapes and panics
    ///
    /// As [`forward_soft_no_reduction`](Self::forward_soft_no_reduction); output `[1]`.
    pub fn forward_soft(
        &self,
        logits: Tensor<2>,
        probabilities: Tensor<2>,
        reduction: EmbeddingReduction,
    ) -> Tensor<1> {
        let dtype = logits.dtype();
        cast_to(reduction.apply(self.forward_soft_no_reduction(widen(logits), probabilities)), dtype)
    }

    /// The loss of every row for targets that are probabilities.
    ///
    /// # Shapes
    ///
    /// - logits: `[batch, classes]`
    /// - probabilities: `[batch, classes]`
    /// - output: `[batch]`
    ///
    /// # Panics
    ///
    /// If the shapes differ or there is not one alpha per class.
    pub fn forward_soft_no_reduction(&self, logits: Tensor<2>, probabilities: Tensor<2>) -> Tensor<1> {
        let [batch, classes] = logits.dims();
        assert_shape!(probabilities, [batch, classes]);
        if batch == 0 || classes == 0 {
            let probabilities = cast_to(probabilities, logits.dtype());
            return Tensor::zeros([batch], (&logits.device(), logits.dtype())) + logits.sum() + probabilities.sum();
        }
        let dtype = logits.dtype();
        let logits = widen(logits);
        let targets = cast_to(probabilities, logits.dtype());
        // 0 times infinity is 0 here: a class that is masked out and not wanted.
        let unwanted = logits.clone().equal_scalar(f64::NEG_INFINITY).bool_and(targets.clone().equal_scalar(0.0));
        let log_p = log_probabilities(logits.clone()).mask_fill(unwanted, 0.0);
        let mut losses = log_p.clone().neg() * targets;
        if self.gamma > 0.0 {
            let rest = log_p.exp().neg().add_scalar(1.0).clamp_min(SMALLEST_REST);
            losses = losses * rest.log().mul_scalar(self.gamma).exp();
        }
        if let Some(alpha) = &self.alpha {
            losses = losses * weight_row(NAME, "alpha", alpha, &logits);
        }
        cast_to(losses.sum_dim(1).squeeze_dim(1), dtype)
    }

    fn losses(&self, samples: Samples) -> Tensor<1> {
        samples.losses(|samples| {
            let losses = focal(own_log_odds(samples), self.gamma);
            match &self.alpha {
                Some(alpha) => losses * samples.own_of_row(weight_row(NAME, "alpha", alpha, &samples.logits)),
                None => losses,
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    #[test]
    fn labels_and_probabilities_of_one_say_the_same() {
        let device = Device::flex();
        // Softmax (1/4, 3/4) twice.
        let logits = Tensor::<2>::from_data([[0.0_f32, 3.0_f32.ln()], [0.0, 3.0_f32.ln()]], &device);
        let labels = Tensor::<1, Int>::from_data([0, 1], &device);
        let probabilities = Tensor::<2>::from_data([[1.0_f32, 0.0], [0.0, 1.0]], &device);
        let loss = FocalLossConfig::new().with_alpha(Some(alloc::vec![1.0, 2.0])).init();
        let hard = loss.forward_no_reduction(logits.clone(), labels).try_into_vec_as::<f32>().unwrap();
        let soft = loss.forward_soft_no_reduction(logits, probabilities).try_into_vec_as::<f32>().unwrap();

        // By hand: (3/4)²·ln 4 and 2·(1/4)²·ln(4/3).
        for losses in [hard, soft] {
            assert!((losses[0] - 9.0 / 16.0 * 4.0_f32.ln()).abs() < 1e-6, "{losses:?}");
            assert!((losses[1] - (4.0_f32 / 3.0).ln() / 8.0).abs() < 1e-6, "{losses:?}");
        }
    }

    #[test]
    #[should_panic(expected = "FocalLoss: gamma must be in [0, 100], got NaN")]
    fn a_gamma_that_is_not_a_number_is_rejected() {
        FocalLossConfig::new().with_gamma(f64::NAN).init();
    }
}
