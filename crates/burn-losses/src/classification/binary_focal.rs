use alloc::vec::Vec;

use burn::config::Config;
use burn::module::Module;
use burn::tensor::{Device, Tensor, assert_shape};
use burn_losses_kernels::log_space::softplus;
use burn_losses_kernels::precision::{cast_to, widen};

use super::class_weights::ClassWeights;
use crate::reduction::Reduction;

/// Settings of [`BinaryFocalLoss`].
#[derive(Config, Debug)]
pub struct BinaryFocalLossConfig {
    /// How much less an easy answer counts; in `[0, 100]`. 0 is binary cross-entropy.
    #[config(default = 2.0)]
    pub gamma: f64,
    /// The share of a yes of each class, one per class and in `[0, 1]`; a no has the rest. `None` for 1 and 1. The paper has
    /// 0.25 for its only class.
    #[config(default = "None")]
    pub alpha: Option<Vec<f64>>,
}

impl BinaryFocalLossConfig {
    /// Builds the loss with its weights on `device`.
    ///
    /// # Panics
    ///
    /// If a field is out of its range.
    pub fn init(&self, device: &Device) -> BinaryFocalLoss {
        let gamma = self.gamma;
        assert!((0.0..=100.0).contains(&gamma), "BinaryFocalLoss: gamma must be in [0, 100], got {gamma}");
        for alpha in self.alpha.iter().flatten() {
            assert!((0.0..=1.0).contains(alpha), "BinaryFocalLoss: alpha must be in [0, 1], got {alpha}");
        }
        let alpha = ClassWeights::new("BinaryFocalLoss", "alpha", self.alpha.as_ref(), device);

        BinaryFocalLoss { gamma, alpha }
    }
}

/// Binary cross-entropy that looks away from answers that are right already.
///
/// ```text
/// p[i, c]    = sigmoid(logits[i, c])
/// right      = targets[i, c]·p[i, c] + (1 - targets[i, c])·(1 - p[i, c])
/// alpha_t    = targets[i, c]·alpha[c] + (1 - targets[i, c])·(1 - alpha[c])
/// loss[i, c] = alpha_t·(1 - right)^gamma·binary_cross_entropy(logits[i, c], targets[i, c])
/// ```
///
/// `1 - right` is computed as a logarithm, so that a `gamma` below 1 has a finite gradient where an answer is right to the last
/// digit. With a `gamma` of 0 and no `alpha` it is binary cross-entropy. The paper's sum is divided by the number of
/// boxes with an object: use [`Reduction::Sum`] and divide. torchvision's default is `alpha` 0.25 for all.
///
/// # Source
///
/// Lin, Goyal, Girshick, He, Dollár: [Focal Loss for Dense Object Detection](https://arxiv.org/abs/1708.02002), 2017,
/// section 3.
#[derive(Module, Debug)]
pub struct BinaryFocalLoss {
    gamma: f64,
    alpha: ClassWeights,
}

impl BinaryFocalLoss {
    /// One number for the batch.
    ///
    /// # Shapes
    ///
    /// - logits: `[batch, classes]`
    /// - targets: `[batch, classes]`, in `[0, 1]`
    /// - output: `[1]`
    ///
    /// # Panics
    ///
    /// If the shapes differ, or if there are not as many `alpha` as classes.
    pub fn forward(&self, logits: Tensor<2>, targets: Tensor<2>, reduction: Reduction) -> Tensor<1> {
        reduction.apply(self.forward_no_reduction(logits, targets))
    }

    /// The loss of every class of every row.
    ///
    /// # Shapes
    ///
    /// - logits: `[batch, classes]`
    /// - targets: `[batch, classes]`, in `[0, 1]`
    /// - output: `[batch, classes]`
    ///
    /// # Panics
    ///
    /// As [`forward`](Self::forward).
    pub fn forward_no_reduction(&self, logits: Tensor<2>, targets: Tensor<2>) -> Tensor<2> {
        let (dtype, shape) = (logits.dtype(), logits.dims());
        let [batch, classes] = shape;
        assert_shape!(targets, [batch, classes]);
        if batch == 0 || classes == 0 {
            return logits;
        }
        let logits = widen(logits);
        let targets = cast_to(targets, logits.dtype());
        let rest = targets.clone().neg().add_scalar(1.0);
        let (minus_log_yes, minus_log_no) = (softplus(logits.clone().neg()), softplus(logits));
        let wrong =
            log_of_mixture([targets.clone(), rest.clone()], [minus_log_no.clone().neg(), minus_log_yes.clone().neg()]);
        let losses = minus_log_yes * targets.clone() + minus_log_no * rest.clone();
        let losses = losses * wrong.mul_scalar(self.gamma).exp();
        let losses = match self.alpha.all(&losses, classes) {
            Some(alpha) => {
                let alpha = alpha.unsqueeze_dim::<2>(0).expand(shape);
                losses * (targets * alpha.clone() + rest * alpha.neg().add_scalar(1.0))
            }
            None => losses,
        };
        cast_to(losses, dtype)
    }
}

/// `log(shares[0]·exp(logs[0]) + shares[1]·exp(logs[1]))`, where a share of 0 takes no part: the other log may then be far
/// smaller and keeps its digits.
fn log_of_mixture(shares: [Tensor<2>; 2], logs: [Tensor<2>; 2]) -> Tensor<2> {
    let [first, second] = logs;
    let [no_first, no_second] = shares.clone().map(|share| share.lower_equal_scalar(0.0));
    let first = first.clone().mask_where(no_first.clone(), second.clone());
    let second = second.mask_where(no_second, first.clone());
    let largest = first.clone().detach().max_pair(second.clone().detach());
    let [first_share, second_share] = shares;
    let sum = first_share * (first - largest.clone()).exp() + second_share * (second - largest.clone()).exp();

    sum.log() + largest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_easy_answer_counts_less() {
        let device = Device::flex();
        let loss = BinaryFocalLossConfig::new().with_alpha(Some(alloc::vec![0.25, 0.25])).init(&device);
        let logits = Tensor::<2>::from_data([[3.0_f32.ln(), 3.0_f32.ln()]], &device);
        let targets = Tensor::<2>::from_data([[1.0_f32, 0.0]], &device);
        let losses = loss.forward_no_reduction(logits, targets).try_into_vec_as::<f32>().unwrap();

        // By hand: the probability is 3/4.
        assert!((losses[0] - 0.25 * 0.0625 * (4.0_f32 / 3.0).ln()).abs() < 1e-7, "{losses:?}");
        assert!((losses[1] - 0.75 * 0.5625 * 4.0_f32.ln()).abs() < 1e-6, "{losses:?}");
    }

    #[test]
    fn a_small_gamma_has_a_finite_gradient_at_answers_without_an_error() {
        let device = Device::flex().autodiff();
        let loss = BinaryFocalLossConfig::new().with_gamma(0.5).init(&device);
        let logits = Tensor::<2>::from_data([[300.0_f32, -1e30, 300.0]], &device).require_grad();
        let targets = Tensor::<2>::from_data([[1.0_f32, 0.0, 0.5]], &device);
        let value = loss.forward(logits.clone(), targets, Reduction::Sum);
        let gradient = logits.grad(&value.backward()).unwrap().try_into_vec_as::<f32>().unwrap();
        assert!(gradient.iter().all(|slope| slope.is_finite()), "{gradient:?}");
    }

    #[test]
    #[should_panic(expected = "BinaryFocalLoss: alpha must be in [0, 1], got 2")]
    fn an_alpha_above_one_is_rejected() {
        BinaryFocalLossConfig::new().with_alpha(Some(alloc::vec![2.0])).init(&Device::flex());
    }
}
