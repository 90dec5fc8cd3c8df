use burn::config::Config;
use burn::module::Module;
use burn::tensor::{Device, Tensor};

use super::penalty::{check_strength, elastic_sum};
use super::{ParameterChoice, ParameterPenalty};

/// Settings of [`L2Penalty`].
#[derive(Config, Debug)]
pub struct L2PenaltyConfig {
    /// What half the sum of squares is multiplied with; in `[0, 1e30]`.
    pub strength: f64,
    /// Which parameters are penalised.
    /// Default: `ParameterChoice::new()`.
    #[config(default = "ParameterChoice::new()")]
    pub parameters: ParameterChoice,
}

impl L2PenaltyConfig {
    /// Builds the penalty.
    ///
    /// # Panics
    ///
    /// If a field is out of its range.
    #[track_caller]
    pub fn init(&self, _device: &Device) -> L2Penalty {
        check_strength("L2Penalty", self.strength);
        L2Penalty { strength: self.strength, parameters: self.parameters.clone() }
    }
}

/// Pulls every parameter towards 0 with a force that grows with it.
///
/// ```text
/// penalty = strength/2·sum(w²)
/// ```
///
/// The gradient is `strength·w`. With an adaptive optimizer, which divides gradients by their size, large weights are
/// then pulled too little: [`DecoupledL2`](super::DecoupledL2) is not divided. It is the negative logarithm of a normal
/// density of variance `1 / strength`, up to a constant.
///
/// # When to take it
///
/// For small weights with plain gradient descent; with an adaptive optimizer take the step [`DecoupledL2`](super::DecoupledL2).
///
/// # Source
///
/// Hoerl, Kennard: Ridge Regression, 1970, section 2; with the factor 1/2 of Krogh, Hertz: A Simple Weight Decay Can
/// Improve Generalization, 1991.
///
/// # Example
///
/// ```
/// use burn::module::Param;
/// use burn::nn::LinearConfig;
/// use burn::tensor::{Device, Tensor};
/// use burn_losses::regularization::L2PenaltyConfig;
///
/// let device = Device::default().autodiff();
/// let mut layer = LinearConfig::new(2, 1).init(&device);
/// layer.weight = Param::from_tensor(Tensor::from_data([[3.0], [-4.0]], &device));
/// let penalty = L2PenaltyConfig::new(0.1).init(&device).forward(&layer);
/// // The bias is left out.
/// assert!((penalty.into_scalar::<f32>() - 0.1 / 2.0 * 25.0).abs() < 1e-5);
/// ```
#[derive(Module, Debug)]
#[module(custom_display)]
pub struct L2Penalty {
    strength: f64,
    #[module(skip)]
    parameters: ParameterChoice,
}

impl ParameterPenalty for L2Penalty {
    fn parameters(&self) -> &ParameterChoice {
        &self.parameters
    }

    fn of<const D: usize>(&self, weights: Tensor<D>) -> Tensor<1> {
        elastic_sum(weights, self.strength, 0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gradient_is_the_strength_times_the_weight() {
        let weights = Tensor::<2>::from_data([[2.0_f32, -4.0, 0.0]], &Device::flex().autodiff()).require_grad();
        let penalty = L2PenaltyConfig::new(0.5).init(&Device::flex()).of(weights.clone());
        let gradient = weights.grad(&penalty.clone().backward()).unwrap();

        // By hand: 1/4·(4 + 16).
        assert_eq!(penalty.into_scalar::<f32>(), 5.0);
        assert_eq!(gradient.try_into_vec_as::<f32>().unwrap(), [1.0, -2.0, 0.0]);
    }

    #[test]
    fn a_strength_of_zero_is_no_penalty_whatever_the_weights() {
        let weights = Tensor::<1>::from_data([1e30_f32, -1.0], &Device::flex().autodiff()).require_grad();
        let penalty = L2PenaltyConfig::new(0.0).init(&Device::flex()).of(weights.clone());
        let gradient = weights.grad(&penalty.clone().backward()).unwrap();

        assert_eq!(penalty.into_scalar::<f32>(), 0.0);
        assert_eq!(gradient.try_into_vec_as::<f32>().unwrap(), [0.0, 0.0]);
    }

    #[test]
    #[should_panic(expected = "L2Penalty: strength must be in [0, 1e30], got inf")]
    fn an_infinite_strength_is_rejected() {
        L2PenaltyConfig::new(f64::INFINITY).init(&Device::flex());
    }
}
