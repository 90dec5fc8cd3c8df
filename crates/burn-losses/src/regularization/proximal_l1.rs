use burn::config::Config;
use burn::module::Module;
use burn::tensor::{Device, Tensor};

use super::penalty::{check_strength, reach};
use super::proximal::soft_threshold;
use super::{ParameterChoice, ShrinkageStep};

/// Settings of [`ProximalL1`].
#[derive(Config, Debug)]
pub struct ProximalL1Config {
    /// What the L1 penalty would be multiplied with in the loss; in `[0, 1e30]`.
    pub strength: f64,
    /// Which parameters are shrunk.
    /// Default: `ParameterChoice::new()`.
    #[config(default = "ParameterChoice::new()")]
    pub parameters: ParameterChoice,
}

impl ProximalL1Config {
    /// Builds the step.
    ///
    /// # Panics
    ///
    /// If a field is out of its range.
    #[track_caller]
    pub fn init(&self, _device: &Device) -> ProximalL1 {
        check_strength("ProximalL1", self.strength);
        ProximalL1 { strength: self.strength, parameters: self.parameters.clone() }
    }
}

/// The L1 penalty as a step: weights that the data do not hold become exactly 0.
///
/// ```text
/// w = soft_threshold(w, learning_rate·strength)
/// ```
///
/// Beside plain gradient descent on the whole data this converges to the minimum of `data_loss + strength·sum(abs(w))`,
/// the lasso. With an adaptive optimizer the threshold is the same for every weight, while the step of the optimizer is
/// not: the zeros are exact all the same, and the minimum is that of a weighted L1 penalty.
///
/// # When to take it
///
/// For weights that should be exactly 0, with any optimizer. Where whole inputs should go, take
/// [`ProximalRowGroups`](super::ProximalRowGroups); where inputs that go together should stay together,
/// [`ProximalElasticNet`](super::ProximalElasticNet).
///
/// # Source
///
/// Daubechies, Defrise, De Mol: An Iterative Thresholding Algorithm for Linear Inverse Problems with a Sparsity
/// Constraint, 2004; Parikh, Boyd: Proximal Algorithms, 2014, sections 4.2 and 6.5.
///
/// # Example
///
/// ```
/// use burn::module::Param;
/// use burn::nn::LinearConfig;
/// use burn::tensor::{Device, Tensor};
/// use burn_losses::regularization::ProximalL1Config;
///
/// let device = Device::default().autodiff();
/// let mut layer = LinearConfig::new(2, 2).init(&device);
/// layer.weight = Param::from_tensor(Tensor::from_data([[3.0, -2.0], [0.04, -0.04]], &device));
/// // After the step of the optimizer, with its learning rate.
/// let layer = ProximalL1Config::new(0.5).init(&device).step(0.1, layer);
/// let weights = layer.weight.val().try_into_vec_as::<f32>().unwrap();
/// // Each comes nearer to 0 by 0.05, and not beyond.
/// let expected: [f32; 4] = [2.95, -1.95, 0.0, 0.0];
/// assert!(weights.iter().zip(expected).all(|(weight, expected)| (weight - expected).abs() < 1e-6), "{weights:?}");
/// ```
#[derive(Module, Debug)]
#[module(custom_display)]
pub struct ProximalL1 {
    strength: f64,
    #[module(skip)]
    parameters: ParameterChoice,
}

impl ShrinkageStep for ProximalL1 {
    fn parameters(&self) -> &ParameterChoice {
        &self.parameters
    }

    fn shrink<const D: usize>(&self, learning_rate: f64, weights: Tensor<D>) -> Tensor<D> {
        soft_threshold(weights, reach("ProximalL1", learning_rate, self.strength))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::module::Param;
    use burn::nn::LinearConfig;

    #[test]
    fn a_step_moves_weights_and_leaves_the_bias() {
        let device = Device::flex().autodiff();
        let mut model = LinearConfig::new(3, 1).init(&device);
        model.weight = Param::from_tensor(Tensor::from_data([[1.0_f32], [-0.25], [-0.5]], &device));
        model.bias = Some(Param::from_tensor(Tensor::from_data([0.125_f32], &device)));
        let id = model.weight.id;
        let model = ProximalL1Config::new(2.5).init(&Device::flex()).step(0.1, model);

        assert_eq!(model.weight.val().try_into_vec_as::<f32>().unwrap(), [0.75, 0.0, -0.25]);
        assert_eq!(model.bias.unwrap().val().try_into_vec_as::<f32>().unwrap(), [0.125]);
        assert!(model.weight.id == id && model.weight.is_require_grad());
    }

    #[test]
    #[should_panic(expected = "ProximalL1: learning_rate must be in [0, 1e30], got NaN")]
    fn a_learning_rate_that_is_no_number_is_rejected() {
        let model = LinearConfig::new(3, 1).init(&Device::flex().autodiff());
        let _ = ProximalL1Config::new(1.0).init(&Device::flex()).step(f64::NAN, model);
    }
}
