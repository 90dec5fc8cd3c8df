use burn::config::Config;
use burn::module::Module;
use burn::tensor::Tensor;

use super::penalty::{absolute_sum, check_l1_share, check_strength, half_square_sum};
use super::{ParameterChoice, ParameterPenalty};

/// Settings of [`ElasticNetPenalty`].
#[derive(Config, Debug)]
pub struct ElasticNetPenaltyConfig {
    /// What the sum is multiplied with; in `[0, 1e30]`. The `alpha` of scikit-learn.
    pub strength: f64,
    /// How much of the strength is on the absolute values; in `[0, 1]`. The `l1_ratio` of scikit-learn.
    #[config(default = 0.5)]
    pub l1_share: f64,
    /// Which parameters are penalised.
    #[config(default = "ParameterChoice::new()")]
    pub parameters: ParameterChoice,
}

impl ElasticNetPenaltyConfig {
    /// Builds the penalty.
    ///
    /// # Panics
    ///
    /// If a field is out of its range.
    pub fn init(&self) -> ElasticNetPenalty {
        let Self { strength, l1_share, .. } = *self;
        check_strength("ElasticNetPenalty", strength);
        check_l1_share("ElasticNetPenalty", l1_share);

        ElasticNetPenalty { strength, l1_share, parameters: self.parameters.clone() }
    }
}

/// A mixture of the L1 and the L2 penalty.
///
/// ```text
/// penalty = strength·(l1_share·sum(abs(w)) + (1 - l1_share)/2·sum(w²))
/// ```
///
/// Of weights that can replace each other, an L1 penalty keeps one and an elastic net keeps them together. Where zeros
/// are wanted, take [`ProximalElasticNet`](super::ProximalElasticNet).
///
/// # Source
///
/// Zou, Hastie: Regularization and Variable Selection via the Elastic Net, 2005, section 2.1, in the form of
/// scikit-learn's `ElasticNet`.
#[derive(Module, Debug)]
pub struct ElasticNetPenalty {
    strength: f64,
    l1_share: f64,
    #[module(skip)]
    parameters: ParameterChoice,
}

impl ParameterPenalty for ElasticNetPenalty {
    fn parameters(&self) -> &ParameterChoice {
        &self.parameters
    }

    fn of<const D: usize>(&self, weights: Tensor<D>) -> Tensor<1> {
        let absolute = absolute_sum(weights.clone(), self.strength * self.l1_share);
        absolute + half_square_sum(weights, self.strength * (1.0 - self.l1_share))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    #[test]
    fn the_two_penalties_share_the_strength() {
        let weights = Tensor::<2>::from_data([[2.0_f32, -4.0, 0.0]], &Device::flex().autodiff()).require_grad();
        let penalty = ElasticNetPenaltyConfig::new(2.0).with_l1_share(0.25).init().of(weights.clone());
        let gradient = weights.grad(&penalty.clone().backward()).unwrap();

        // By hand: 0.5·(2 + 4) + 0.75·(4 + 16), and 0.5·sign + 1.5·w.
        assert_eq!(penalty.into_scalar::<f32>(), 18.0);
        assert_eq!(gradient.try_into_vec_as::<f32>().unwrap(), [3.5, -6.5, 0.0]);
    }

    #[test]
    #[should_panic(expected = "ElasticNetPenalty: l1_share must be in [0, 1], got 1.5")]
    fn a_share_above_one_is_rejected() {
        ElasticNetPenaltyConfig::new(1.0).with_l1_share(1.5).init();
    }
}
