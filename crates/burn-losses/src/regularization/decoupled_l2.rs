use burn::config::Config;
use burn::module::Module;
use burn::tensor::{Device, Tensor};

use super::penalty::{check_strength, reach};
use super::{ParameterChoice, ShrinkageStep};

/// Settings of [`DecoupledL2`].
#[derive(Config, Debug)]
pub struct DecoupledL2Config {
    /// The share of a weight that a step with the learning rate 1 takes off; in `[0, 1e30]`. Its product with the
    /// learning rate must not be above 1.
    pub strength: f64,
    /// Which parameters are shrunk.
    /// Default: `ParameterChoice::new()`.
    #[config(default = "ParameterChoice::new()")]
    pub parameters: ParameterChoice,
}

impl DecoupledL2Config {
    /// Builds the step.
    ///
    /// # Panics
    ///
    /// If a field is out of its range.
    #[track_caller]
    pub fn init(&self, _device: &Device) -> DecoupledL2 {
        check_strength("DecoupledL2", self.strength);
        DecoupledL2 { strength: self.strength, parameters: self.parameters.clone() }
    }
}

/// Weight decay that no optimizer divides: every weight shrinks by the same share.
///
/// ```text
/// w = w·(1 - learning_rate·strength)
/// ```
///
/// AdamW shrinks the weights before its step and this one after it; the two differ by
/// `learning_rate·strength` times the change of that step. Any optimizer will do here.
///
/// # When to take it
///
/// Weight decay for an optimizer that has none of its own. With Burn's AdamW take its `weight_decay`; for weights that
/// should be exactly 0 take [`ProximalL1`](super::ProximalL1).
///
/// # Source
///
/// Loshchilov, Hutter: [Decoupled Weight Decay Regularization](https://arxiv.org/abs/1711.05101), 2019, section 2,
/// equation 1, with the learning rate in the product, as PyTorch's AdamW has it.
///
/// # Example
///
/// ```
/// use burn::module::Param;
/// use burn::nn::LinearConfig;
/// use burn::tensor::{Device, Tensor};
/// use burn_losses::regularization::DecoupledL2Config;
///
/// let device = Device::default().autodiff();
/// let mut layer = LinearConfig::new(2, 2).init(&device);
/// layer.weight = Param::from_tensor(Tensor::from_data([[2.0, -1.0], [0.2, 0.0]], &device));
/// // After the step of the optimizer, with its learning rate.
/// let layer = DecoupledL2Config::new(0.5).init(&device).step(0.1, layer);
/// let weights = layer.weight.val().try_into_vec_as::<f32>().unwrap();
/// // A twentieth is gone.
/// let expected: [f32; 4] = [1.9, -0.95, 0.19, 0.0];
/// assert!(weights.iter().zip(expected).all(|(weight, expected)| (weight - expected).abs() < 1e-6), "{weights:?}");
/// ```
#[derive(Module, Debug)]
#[module(custom_display)]
pub struct DecoupledL2 {
    strength: f64,
    #[module(skip)]
    parameters: ParameterChoice,
}

impl ShrinkageStep for DecoupledL2 {
    fn parameters(&self) -> &ParameterChoice {
        &self.parameters
    }

    /// # Panics
    ///
    /// If `learning_rate·strength` is above 1: the weights would change their signs.
    fn shrink<const D: usize>(&self, learning_rate: f64, weights: Tensor<D>) -> Tensor<D> {
        let share = reach("DecoupledL2", learning_rate, self.strength);
        assert!(share <= 1.0, "DecoupledL2: learning_rate·strength must be in [0, 1], got {share}");

        weights.mul_scalar(1.0 - share)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_weight_shrinks_by_the_same_share() {
        let weights = || Tensor::<1>::from_data([4.0_f32, -2.0], &Device::flex());
        let step = DecoupledL2Config::new(0.5).init(&Device::flex());
        let moved = |learning_rate| step.shrink(learning_rate, weights()).try_into_vec_as::<f32>().unwrap();

        assert_eq!(moved(0.5), [3.0, -1.5]);
        assert_eq!(moved(2.0), [0.0, 0.0]);
    }

    #[test]
    #[should_panic(expected = "DecoupledL2: learning_rate·strength must be in [0, 1], got 1.5")]
    fn a_share_above_one_is_rejected() {
        let weights = Tensor::<1>::zeros([1], &Device::flex());
        DecoupledL2Config::new(3.0).init(&Device::flex()).shrink(0.5, weights);
    }
}
