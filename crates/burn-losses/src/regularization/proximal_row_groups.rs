use burn::config::Config;
use burn::module::Module;
use burn::tensor::{Device, Tensor};
use burn_losses_kernels::row_groups::shortened_rows;

use super::penalty::{check_strength, reach};
use super::{ParameterChoice, ShrinkageStep};

/// Settings of [`ProximalRowGroups`].
#[derive(Config, Debug)]
pub struct ProximalRowGroupsConfig {
    /// What the sum of the lengths of the rows would be multiplied with in the loss; in `[0, 1e30]`. Yuan and Lin
    /// multiply it with the root of the length of a row, so that long rows get no advantage.
    pub strength: f64,
    /// Which parameters are shrunk.
    /// Default: `ParameterChoice::new()`.
    #[config(default = "ParameterChoice::new()")]
    pub parameters: ParameterChoice,
}

impl ProximalRowGroupsConfig {
    /// Builds the step.
    ///
    /// # Panics
    ///
    /// If a field is out of its range.
    #[track_caller]
    pub fn init(&self, _device: &Device) -> ProximalRowGroups {
        check_strength("ProximalRowGroups", self.strength);
        ProximalRowGroups { strength: self.strength, parameters: self.parameters.clone() }
    }
}

/// Row-group sparsity: rows that the data do not hold become exactly 0, as a whole.
///
/// ```text
/// row = row·max(0, 1 - learning_rate·strength / length(row))
/// ```
///
/// A row is everything at one place of the first dimension: an input of a Burn `Linear` (whose weight is
/// `[inputs, outputs]`), a token of an `Embedding`, an output channel of a convolution, a class of a margin head. Beside
/// plain gradient descent on the whole data this converges to the minimum of
/// `data_loss + strength·sum over rows of length(row)`, the group lasso.
///
/// # When to take it
///
/// For inputs, channels or tokens that should go as a whole, with any optimizer. For single weights take
/// [`ProximalL1`](super::ProximalL1).
///
/// # Source
///
/// Yuan, Lin: Model Selection and Estimation in Regression with Grouped Variables, 2006, section 2; Parikh, Boyd:
/// Proximal Algorithms, 2014, section 6.5.
///
/// # Example
///
/// ```
/// use burn::module::Param;
/// use burn::nn::LinearConfig;
/// use burn::tensor::{Device, Tensor};
/// use burn_losses::regularization::ProximalRowGroupsConfig;
///
/// let device = Device::default().autodiff();
/// let mut layer = LinearConfig::new(2, 2).init(&device);
/// layer.weight = Param::from_tensor(Tensor::from_data([[3.0, 4.0], [0.3, 0.4]], &device));
/// // After the step of the optimizer, with its learning rate.
/// let layer = ProximalRowGroupsConfig::new(10.0).init(&device).step(0.1, layer);
/// let weights = layer.weight.val().try_into_vec_as::<f32>().unwrap();
/// // The first row is 1 shorter, the second was not as long as that.
/// let expected: [f32; 4] = [2.4, 3.2, 0.0, 0.0];
/// assert!(weights.iter().zip(expected).all(|(weight, expected)| (weight - expected).abs() < 1e-6), "{weights:?}");
/// ```
#[derive(Module, Debug)]
#[module(custom_display)]
pub struct ProximalRowGroups {
    strength: f64,
    #[module(skip)]
    parameters: ParameterChoice,
}

impl ShrinkageStep for ProximalRowGroups {
    fn parameters(&self) -> &ParameterChoice {
        &self.parameters
    }

    fn shrink<const D: usize>(&self, learning_rate: f64, weights: Tensor<D>) -> Tensor<D> {
        let threshold = reach("ProximalRowGroups", learning_rate, self.strength);
        let dims = weights.dims();
        let count = weights.shape().num_elements();
        if threshold == 0.0 || count == 0 {
            return weights;
        }
        shortened_rows(weights.reshape([dims[0], count / dims[0]]), threshold).reshape(dims)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_shrinks_as_a_whole_or_vanishes() {
        let weights = Tensor::<2>::from_data([[3.0_f32, -4.0], [0.3, 0.4], [0.0, 0.0]], &Device::flex());
        let moved = ProximalRowGroupsConfig::new(10.0).init(&Device::flex()).shrink(0.25, weights);

        // By hand: lengths 5, 0.5 and 0; the first is left with half of its length.
        assert_eq!(moved.try_into_vec_as::<f32>().unwrap(), [1.5, -2.0, 0.0, 0.0, 0.0, 0.0]);
    }

    #[test]
    fn a_row_of_a_convolution_is_an_output_channel() {
        let weights = Tensor::<1>::from_data([3.0_f32, 0.0, 4.0, 0.0, 1.0, 1.0, 1.0, 1.0], &Device::flex());
        let moved = ProximalRowGroupsConfig::new(2.5).init(&Device::flex()).shrink(1.0, weights.reshape([2, 2, 2]));

        assert_eq!(moved.try_into_vec_as::<f32>().unwrap(), [1.5, 0.0, 2.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
    }
}
