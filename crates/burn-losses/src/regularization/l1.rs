use burn::config::Config;
use burn::module::Module;
use burn::tensor::{Device, Tensor};

use super::penalty::{check_strength, elastic_sum};
use super::{ParameterChoice, ParameterPenalty};

/// Settings of [`L1Penalty`].
#[derive(Config, Debug)]
pub struct L1PenaltyConfig {
    /// What the sum is multiplied with; in `[0, 1e30]`.
    pub strength: f64,
    /// Which parameters are penalised.
    /// Default: `ParameterChoice::new()`.
    #[config(default = "ParameterChoice::new()")]
    pub parameters: ParameterChoice,
}

impl L1PenaltyConfig {
    /// Builds the penalty.
    ///
    /// # Panics
    ///
    /// If a field is out of its range.
    #[track_caller]
    pub fn init(&self, _device: &Device) -> L1Penalty {
        check_strength("L1Penalty", self.strength);
        L1Penalty { strength: self.strength, parameters: self.parameters.clone() }
    }
}

/// Pulls every parameter towards 0 with the same force.
///
/// ```text
/// penalty = strength·sum(abs(w))
/// ```
///
/// The gradient is `strength·sign(w)`, and 0 where a weight is 0. It makes weights small, and hardly ever 0: where zeros
/// are wanted, take [`ProximalL1`](super::ProximalL1). It is the negative logarithm of a Laplace density of scale
/// `1 / strength`, up to a constant.
///
/// # When to take it
///
/// For small and few weights; those that should be exactly 0 need the step [`ProximalL1`](super::ProximalL1) instead.
///
/// # Source
///
/// Tibshirani: Regression Shrinkage and Selection via the Lasso, 1996, section 2; the prior in section 5.
///
/// # Example
///
/// ```
/// use burn::module::Param;
/// use burn::nn::LinearConfig;
/// use burn::tensor::{Device, Tensor};
/// use burn_losses::regularization::L1PenaltyConfig;
///
/// let device = Device::default().autodiff();
/// let mut layer = LinearConfig::new(2, 1).init(&device);
/// layer.weight = Param::from_tensor(Tensor::from_data([[3.0], [-4.0]], &device));
/// let penalty = L1PenaltyConfig::new(0.1).init(&device).forward(&layer);
/// // The bias is left out.
/// assert!((penalty.into_scalar::<f32>() - 0.1 * 7.0).abs() < 1e-5);
/// ```
#[derive(Module, Debug)]
#[module(custom_display)]
pub struct L1Penalty {
    strength: f64,
    #[module(skip)]
    parameters: ParameterChoice,
}

impl ParameterPenalty for L1Penalty {
    fn parameters(&self) -> &ParameterChoice {
        &self.parameters
    }

    fn of<const D: usize>(&self, weights: Tensor<D>) -> Tensor<1> {
        elastic_sum(weights, self.strength, 1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gradient_is_the_sign_and_zero_at_zero() {
        let weights = Tensor::<2>::from_data([[2.0_f32, -3.0], [0.0, -0.0]], &Device::flex().autodiff()).require_grad();
        let penalty = L1PenaltyConfig::new(0.5).init(&Device::flex()).of(weights.clone());
        let gradient = weights.grad(&penalty.clone().backward()).unwrap();

        assert_eq!(penalty.into_scalar::<f32>(), 2.5);
        assert_eq!(gradient.try_into_vec_as::<f32>().unwrap(), [0.5, -0.5, 0.0, 0.0]);
    }

    #[test]
    #[should_panic(expected = "L1Penalty: strength must be in [0, 1e30], got -1")]
    fn a_negative_strength_is_rejected() {
        L1PenaltyConfig::new(-1.0).init(&Device::flex());
    }
}
