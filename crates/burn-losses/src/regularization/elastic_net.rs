use burn::config::Config;
use burn::module::Module;
use burn::tensor::{Device, Tensor};

use super::penalty::{check_l1_ratio, check_strength, elastic_sum};
use super::{ParameterChoice, ParameterPenalty};

/// Settings of [`ElasticNetPenalty`].
#[derive(Config, Debug)]
pub struct ElasticNetPenaltyConfig {
    /// What the sum is multiplied with; in `[0, 1e30]`. The `alpha` of scikit-learn.
    pub strength: f64,
    /// How much of the strength is on the absolute values; in `[0, 1]`. As in scikit-learn.
    /// Default: `0.5`.
    #[config(default = 0.5)]
    pub l1_ratio: f64,
    /// Which parameters are penalised.
    /// Default: `ParameterChoice::new()`.
    #[config(default = "ParameterChoice::new()")]
    pub parameters: ParameterChoice,
}

impl ElasticNetPenaltyConfig {
    /// Builds the penalty.
    ///
    /// # Panics
    ///
    /// If a field is out of its range.
    #[track_caller]
    pub fn init(&self, _device: &Device) -> ElasticNetPenalty {
        let Self { strength, l1_ratio, .. } = *self;
        check_strength("ElasticNetPenalty", strength);
        check_l1_ratio("ElasticNetPenalty", l1_ratio);

        ElasticNetPenalty { strength, l1_ratio, parameters: self.parameters.clone() }
    }
}

/// A mixture of the L1 and the L2 penalty.
///
/// ```text
/// penalty = strength·(l1_ratio·sum(abs(w)) + (1 - l1_ratio)/2·sum(w²))
/// ```
///
/// Of weights that can replace each other, an L1 penalty keeps one and an elastic net keeps them together. Where zeros
/// are wanted, take [`ProximalElasticNet`](super::ProximalElasticNet).
///
/// # When to take it
///
/// Where weights of inputs that go together should stay or go together; exact zeros need the step
/// [`ProximalElasticNet`](super::ProximalElasticNet).
///
/// # Source
///
/// Zou, Hastie: Regularization and Variable Selection via the Elastic Net, 2005, section 2.1, in the form of
/// scikit-learn's `ElasticNet`.
///
/// # Example
///
/// ```
/// use burn::module::Param;
/// use burn::nn::LinearConfig;
/// use burn::tensor::{Device, Tensor};
/// use burn_losses::regularization::ElasticNetPenaltyConfig;
///
/// let device = Device::default().autodiff();
/// let mut layer = LinearConfig::new(2, 1).init(&device);
/// layer.weight = Param::from_tensor(Tensor::from_data([[3.0], [-4.0]], &device));
/// let penalty = ElasticNetPenaltyConfig::new(0.1).init(&device).forward(&layer);
/// // Half of the strength on each part; the bias is left out.
/// assert!((penalty.into_scalar::<f32>() - 0.1 * (0.5 * 7.0 + 0.25 * 25.0)).abs() < 1e-5);
/// ```
#[derive(Module, Debug)]
#[module(custom_display)]
pub struct ElasticNetPenalty {
    strength: f64,
    l1_ratio: f64,
    #[module(skip)]
    parameters: ParameterChoice,
}

impl ParameterPenalty for ElasticNetPenalty {
    fn parameters(&self) -> &ParameterChoice {
        &self.parameters
    }

    fn of<const D: usize>(&self, weights: Tensor<D>) -> Tensor<1> {
        elastic_sum(weights, self.strength, self.l1_ratio)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_two_penalties_share_the_strength() {
        let weights = Tensor::<2>::from_data([[2.0_f32, -4.0, 0.0]], &Device::flex().autodiff()).require_grad();
        let penalty = ElasticNetPenaltyConfig::new(2.0).with_l1_ratio(0.25).init(&Device::flex()).of(weights.clone());
        let gradient = weights.grad(&penalty.clone().backward()).unwrap();

        // By hand: 0.5·(2 + 4) + 0.75·(4 + 16), and 0.5·sign + 1.5·w.
        assert_eq!(penalty.into_scalar::<f32>(), 18.0);
        assert_eq!(gradient.try_into_vec_as::<f32>().unwrap(), [3.5, -6.5, 0.0]);
    }

    #[test]
    #[should_panic(expected = "ElasticNetPenalty: l1_ratio must be in [0, 1], got 1.5")]
    fn a_share_above_one_is_rejected() {
        ElasticNetPenaltyConfig::new(1.0).with_l1_ratio(1.5).init(&Device::flex());
    }
}
