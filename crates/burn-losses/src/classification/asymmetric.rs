use burn::config::Config;
use burn::module::Module;
use burn::tensor::activation::sigmoid;
use burn::tensor::{Tensor, assert_shape};
use burn_losses_kernels::log_space::softplus;
use burn_losses_kernels::precision::{cast_to, widen};

use crate::reduction::Reduction;

/// Settings of [`AsymmetricLoss`].
#[derive(Config, Debug)]
pub struct AsymmetricLossConfig {
    /// How much less an easy yes counts; in `[0, 100]`.
    #[config(default = 1.0)]
    pub positive_gamma: f64,
    /// How much less an easy no counts; in `[0, 100]`.
    #[config(default = 4.0)]
    pub negative_gamma: f64,
    /// A no with a probability up to this has loss 0; in `[0, 1)`.
    #[config(default = 0.05)]
    pub clip: f64,
}

impl AsymmetricLossConfig {
    /// Builds the loss.
    ///
    /// # Panics
    ///
    /// If a field is out of its range.
    pub fn init(&self) -> AsymmetricLoss {
        let Self { positive_gamma, negative_gamma, clip } = *self;
        for (field, gamma) in [("positive_gamma", positive_gamma), ("negative_gamma", negative_gamma)] {
            assert!((0.0..=100.0).contains(&gamma), "AsymmetricLoss: {field} must be in [0, 100], got {gamma}");
        }
        assert!((0.0..1.0).contains(&clip), "AsymmetricLoss: clip must be in [0, 1), got {clip}");

        AsymmetricLoss { positive_gamma, negative_gamma, clip }
    }
}

/// Focal loss for pictures with many labels, of which most are a no: an easy no counts far less than an easy yes.
///
/// ```text
/// p          = sigmoid(logits[i, c]),  q = max(p - clip, 0)
/// loss[i, c] = -targets[i, c]·(1 - p)^positive_gamma·log(p) - (1 - targets[i, c])·q^negative_gamma·log(1 - q)
/// ```
///
/// The authors sum over all classes and rows ([`Reduction::Sum`]). With gammas and clip of 0 it is binary cross-entropy.
///
/// # Source
///
/// Ridnik et al.: [Asymmetric Loss For Multi-Label Classification](https://arxiv.org/abs/2009.14119), 2021, section 2.
#[derive(Module, Debug)]
pub struct AsymmetricLoss {
    positive_gamma: f64,
    negative_gamma: f64,
    clip: f64,
}

impl AsymmetricLoss {
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
    /// If the shapes differ.
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
        let (minus_log_yes, minus_log_no) = (softplus(logits.clone().neg()), softplus(logits.clone()));
        // log(1 - p) is minus the softplus of the logit.
        let positive = minus_log_yes.clone() * minus_log_no.clone().mul_scalar(-self.positive_gamma).exp();
        let negative = if self.clip == 0.0 {
            minus_log_no * minus_log_yes.mul_scalar(-self.negative_gamma).exp()
        } else {
            let clipped = sigmoid(logits).sub_scalar(self.clip);
            let none = clipped.clone().lower_equal_scalar(0.0);
            let clipped = clipped.mask_fill(none.clone(), 0.5);
            let weight = clipped.clone().log().mul_scalar(self.negative_gamma).exp();
            (clipped.neg().log1p().neg() * weight).mask_fill(none, 0.0)
        };
        cast_to(positive * targets + negative * rest, dtype)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    #[test]
    fn an_easy_no_has_loss_zero_and_a_yes_is_focal() {
        let device = Device::flex();
        let logits = Tensor::<2>::from_data([[3.0_f32.ln(), 3.0_f32.ln(), -5.0]], &device);
        let targets = Tensor::<2>::from_data([[1.0_f32, 0.0, 0.0]], &device);
        let losses = AsymmetricLossConfig::new().init().forward_no_reduction(logits, targets);
        let losses = losses.try_into_vec_as::<f32>().unwrap();

        // By hand: the probability is 3/4, clipped 0.7; sigmoid(-5) is below the clip.
        assert!((losses[0] - 0.25 * (4.0_f32 / 3.0).ln()).abs() < 1e-6, "{losses:?}");
        assert!((losses[1] + 0.7_f32.powi(4) * 0.3_f32.ln()).abs() < 1e-6, "{losses:?}");
        assert_eq!(losses[2], 0.0);
    }

    #[test]
    #[should_panic(expected = "AsymmetricLoss: clip must be in [0, 1), got 1")]
    fn a_clip_of_one_is_rejected() {
        AsymmetricLossConfig::new().with_clip(1.0).init();
    }
}
