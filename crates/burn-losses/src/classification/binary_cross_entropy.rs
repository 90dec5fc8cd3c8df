use alloc::vec::Vec;

use burn::config::Config;
use burn::module::Module;
use burn::tensor::{Device, Tensor, assert_shape};
use burn_losses_kernels::log_space::softplus;
use burn_losses_kernels::precision::{cast_to, widen};

use super::class_weights::ClassWeights;
use crate::reduction::Reduction;

/// Settings of [`BinaryCrossEntropyLoss`].
#[derive(Config, Debug)]
pub struct BinaryCrossEntropyLossConfig {
    /// What a yes of each class is multiplied with, `>= 0` and one per class; `None` for 1. Above 1 for classes that are rare.
    #[config(default = "None")]
    pub positive_weights: Option<Vec<f64>>,
    /// How far targets are drawn to the middle: `target·(1 - smoothing) + smoothing/2`; in `[0, 1]`.
    #[config(default = 0.0)]
    pub smoothing: f64,
}

impl BinaryCrossEntropyLossConfig {
    /// Builds the loss with its weights on `device`.
    ///
    /// # Panics
    ///
    /// If a field is out of its range.
    pub fn init(&self, device: &Device) -> BinaryCrossEntropyLoss {
        let (name, smoothing) = ("BinaryCrossEntropyLoss", self.smoothing);
        assert!((0.0..=1.0).contains(&smoothing), "{name}: smoothing must be in [0, 1], got {smoothing}");
        let weights = ClassWeights::new(name, "positive_weights", self.positive_weights.as_ref(), device);

        BinaryCrossEntropyLoss { positive_weights: weights, smoothing }
    }
}

/// A yes-or-no question per class: binary cross-entropy from logits.
///
/// ```text
/// loss[i, c] = -positive_weights[c]·targets[i, c]·log(sigmoid(logits[i, c])) - (1 - targets[i, c])·log(1 - sigmoid(logits[i, c]))
/// ```
///
/// Both logarithms are a softplus, so no probability is ever rounded to 0 or 1. Burn's own `BinaryCrossEntropyLoss` takes
/// whole targets only, and has weights of classes instead of those of a yes.
///
/// # Source
///
/// PyTorch's `binary_cross_entropy_with_logits`.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use burn_losses::classification::BinaryCrossEntropyLossConfig;
/// use burn_losses::reduction::Reduction;
///
/// let device = Device::default();
/// let loss = BinaryCrossEntropyLossConfig::new().init(&device);
/// let (logits, targets) = (Tensor::<2>::zeros([1, 2], &device), Tensor::from_data([[1.0, 0.3]], &device));
/// let value = loss.forward(logits, targets, Reduction::Mean).into_scalar::<f32>();
/// assert!((value - 2.0_f32.ln()).abs() < 1e-6);
/// ```
#[derive(Module, Debug)]
pub struct BinaryCrossEntropyLoss {
    positive_weights: ClassWeights,
    smoothing: f64,
}

impl BinaryCrossEntropyLoss {
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
    /// If the shapes differ, or if there are not as many weights as classes.
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
        let targets = targets.mul_scalar(1.0 - self.smoothing).add_scalar(0.5 * self.smoothing);
        let yes = softplus(logits.clone().neg()) * targets.clone();
        let yes = match self.positive_weights.all(&yes, classes) {
            Some(weights) => yes * weights.unsqueeze_dim::<2>(0).expand(shape),
            None => yes,
        };
        let no = softplus(logits) * targets.neg().add_scalar(1.0);

        cast_to(yes + no, dtype)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_yes_has_its_weight_and_a_target_between_has_both_sides() {
        let device = Device::flex();
        let loss = BinaryCrossEntropyLossConfig::new().with_positive_weights(Some(alloc::vec![3.0, 1.0])).init(&device);
        let logits = Tensor::<2>::from_data([[3.0_f32.ln(), 3.0_f32.ln()]], &device);
        let targets = Tensor::<2>::from_data([[1.0_f32, 0.25]], &device);
        let losses = loss.forward_no_reduction(logits, targets).try_into_vec_as::<f32>().unwrap();

        // By hand: the probability is 3/4.
        let (yes, no) = ((4.0_f32 / 3.0).ln(), 4.0_f32.ln());
        assert!(
            (losses[0] - 3.0 * yes).abs() < 1e-6 && (losses[1] - 0.25 * yes - 0.75 * no).abs() < 1e-6,
            "{losses:?}"
        );
    }

    #[test]
    fn sure_logits_keep_their_loss_and_gradient() {
        let device = Device::flex().autodiff();
        let logits = Tensor::<2>::from_data([[200.0_f32, -1e4, 0.0]], &device).require_grad();
        let targets = Tensor::<2>::from_data([[0.0_f32, 1.0, 1.0]], &device);
        let loss = BinaryCrossEntropyLossConfig::new().init(&device);
        let value = loss.forward(logits.clone(), targets, Reduction::Sum);
        let gradient = logits.grad(&value.backward()).unwrap().try_into_vec_as::<f32>().unwrap();

        assert!((value.into_scalar::<f32>() - 10_200.693).abs() < 1e-2);
        assert_eq!(gradient, [1.0, -1.0, -0.5]);
    }

    #[test]
    #[should_panic(expected = "BinaryCrossEntropyLoss: smoothing must be in [0, 1], got -0.1")]
    fn a_negative_smoothing_is_rejected() {
        BinaryCrossEntropyLossConfig::new().with_smoothing(-0.1).init(&Device::flex());
    }
}
