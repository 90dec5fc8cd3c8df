use burn::config::Config;
use burn::module::Module;
use burn::tensor::{Device, Tensor};

use super::penalty::{check_l1_ratio, check_strength, reach};
use super::proximal::soft_threshold;
use super::{ParameterChoice, ShrinkageStep};

/// Settings of [`ProximalElasticNet`].
#[derive(Config, Debug)]
pub struct ProximalElasticNetConfig {
    /// What the elastic net penalty would be multiplied with in the loss; in `[0, 1e30]`.
    pub strength: f64,
    /// How much of the strength is on the absolute values; in `[0, 1]`.
    /// Default: `0.5`.
    #[config(default = 0.5)]
    pub l1_ratio: f64,
    /// Which parameters are shrunk.
    /// Default: `ParameterChoice::new()`.
    #[config(default = "ParameterChoice::new()")]
    pub parameters: ParameterChoice,
}

impl ProximalElasticNetConfig {
    /// Builds the step.
    ///
    /// # Panics
    ///
    /// If a field is out of its range.
    #[track_caller]
    pub fn init(&self, _device: &Device) -> ProximalElasticNet {
        let Self { strength, l1_ratio, .. } = *self;
        check_strength("ProximalElasticNet", strength);
        check_l1_ratio("ProximalElasticNet", l1_ratio);

        ProximalElasticNet { strength, l1_ratio, parameters: self.parameters.clone() }
    }
}

/// The elastic net penalty as a step, with exact zeros.
///
/// ```text
/// w = soft_threshold(w, learning_rate·strength·l1_ratio) / (1 + learning_rate·strength·(1 - l1_ratio))
/// ```
///
/// Beside plain gradient descent on the whole data this converges to the minimum with an
/// [`ElasticNetPenalty`](super::ElasticNetPenalty) of the same numbers. With an `l1_ratio` of 0 it is the proximal step of
/// the L2 penalty.
///
/// # When to take it
///
/// For weights of which many should be exactly 0 and the others small, with any optimizer. Where no zeros are needed,
/// take [`ElasticNetPenalty`](super::ElasticNetPenalty).
///
/// # Source
///
/// Parikh, Boyd: Proximal Algorithms, 2014, section 6.5.
///
/// # Example
///
/// ```
/// use burn::module::Param;
/// use burn::nn::LinearConfig;
/// use burn::tensor::{Device, Tensor};
/// use burn_losses::regularization::ProximalElasticNetConfig;
///
/// let device = Device::default().autodiff();
/// let mut layer = LinearConfig::new(2, 2).init(&device);
/// layer.weight = Param::from_tensor(Tensor::from_data([[2.15, -1.1], [0.04, -0.04]], &device));
/// // After the step of the optimizer, with its learning rate.
/// let layer = ProximalElasticNetConfig::new(1.0).with_l1_ratio(0.5).init(&device).step(0.1, layer);
/// let weights = layer.weight.val().try_into_vec_as::<f32>().unwrap();
/// // Each comes nearer to 0 by 0.05, and is divided by 1.05.
/// let expected: [f32; 4] = [2.0, -1.0, 0.0, 0.0];
/// assert!(weights.iter().zip(expected).all(|(weight, expected)| (weight - expected).abs() < 1e-6), "{weights:?}");
/// ```
#[derive(Module, Debug)]
#[module(custom_display)]
pub struct ProximalElasticNet {
    strength: f64,
    l1_ratio: f64,
    #[module(skip)]
    parameters: ParameterChoice,
}

impl ShrinkageStep for ProximalElasticNet {
    fn parameters(&self) -> &ParameterChoice {
        &self.parameters
    }

    fn shrink<const D: usize>(&self, learning_rate: f64, weights: Tensor<D>) -> Tensor<D> {
        let reach = reach("ProximalElasticNet", learning_rate, self.strength);
        let moved = soft_threshold(weights, reach * self.l1_ratio);

        moved.mul_scalar(1.0 / (1.0 + reach * (1.0 - self.l1_ratio)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_soft_threshold_and_then_a_division() {
        let weights = Tensor::<1>::from_data([5.0_f32, -0.25, -3.0], &Device::flex());
        let step = ProximalElasticNetConfig::new(10.0).with_l1_ratio(0.5).init(&Device::flex());
        let moved = step.shrink(0.2, weights).try_into_vec_as::<f32>().unwrap();

        // By hand: threshold 1, divisor 2.
        assert_eq!(moved, [2.0, 0.0, -1.0]);
    }

    #[test]
    #[should_panic(expected = "ProximalElasticNet: l1_ratio must be in [0, 1], got NaN")]
    fn a_share_that_is_no_number_is_rejected() {
        ProximalElasticNetConfig::new(1.0).with_l1_ratio(f64::NAN).init(&Device::flex());
    }
}
