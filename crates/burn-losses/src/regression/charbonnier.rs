use burn::config::Config;
use burn::module::Module;
use burn::nn::loss::Reduction;
use burn::tensor::{Device, Tensor};
use burn_losses_kernels::elements::Element;

use super::elementwise::{each, each_reduced};

/// Settings of [`CharbonnierLoss`].
#[derive(Config, Debug)]
pub struct CharbonnierLossConfig {
    /// Below which error the loss is round; in `[1e-12, 1e6]`.
    /// Default: `1e-3`.
    #[config(default = 1e-3)]
    pub epsilon: f64,
}

impl CharbonnierLossConfig {
    /// Builds the loss.
    ///
    /// # Panics
    ///
    /// If a field is out of its range.
    #[track_caller]
    pub fn init(&self, _device: &Device) -> CharbonnierLoss {
        let Self { epsilon } = *self;
        assert!((1e-12..=1e6).contains(&epsilon), "CharbonnierLoss: epsilon must be in [1e-12, 1e6], got {epsilon}");
        CharbonnierLoss { epsilon }
    }
}

/// An absolute value that is round at 0.
///
/// ```text
/// error = predictions - targets
/// loss  = sqrt(error² + epsilon²)
/// ```
///
/// Common in image restoration. The loss of error 0 is `epsilon`. The larger of the two numbers is taken out of the root,
/// so that no square overflows.
///
/// # When to take it
///
/// For images and numbers with outliers: nearly L1, with a slope that is smooth at 0. Where large errors should count
/// more than in proportion, take [`MseLoss`](super::MseLoss).
///
/// # Source
///
/// Charbonnier et al.: Two deterministic half-quadratic regularization algorithms for computed imaging, ICIP 1994; in this
/// form Lai et al.: [LapSRN](https://arxiv.org/abs/1704.03915), 2017, section 3.3.
///
/// # Example
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use burn_losses::regression::{CharbonnierLossConfig, Reduction};
///
/// let device = Device::default();
/// let predictions = Tensor::<1>::from_data([3.0], &device);
/// let targets = Tensor::<1>::from_data([0.0], &device);
/// let loss = CharbonnierLossConfig::new().with_epsilon(4.0).init(&device);
/// let loss = loss.forward(predictions, targets, Reduction::Mean);
/// // The root of 3² + 4².
/// assert!((loss.into_scalar::<f32>() - 5.0).abs() < 1e-5);
/// ```
#[derive(Module, Debug)]
#[module(custom_display)]
pub struct CharbonnierLoss {
    epsilon: f64,
}

impl CharbonnierLoss {
    /// The reduced loss; `BatchMean` divides the sum by the first axis.
    ///
    /// # Shapes and panics
    ///
    /// As [`forward_no_reduction`](Self::forward_no_reduction); output `[1]`.
    #[track_caller]
    pub fn forward<const D: usize>(
        &self,
        predictions: Tensor<D>,
        targets: Tensor<D>,
        reduction: Reduction,
    ) -> Tensor<1> {
        each_reduced("CharbonnierLoss", predictions, targets, Element::Charbonnier { epsilon: self.epsilon }, reduction)
    }

    /// The loss of every number.
    ///
    /// # Shapes
    ///
    /// - predictions: any
    /// - targets: the same
    /// - output: the same
    ///
    /// # Panics
    ///
    /// If the shapes differ.
    #[track_caller]
    pub fn forward_no_reduction<const D: usize>(&self, predictions: Tensor<D>, targets: Tensor<D>) -> Tensor<D> {
        each("CharbonnierLoss", predictions, targets, Element::Charbonnier { epsilon: self.epsilon })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn losses(loss: &CharbonnierLoss, predictions: [f32; 3], targets: [f32; 3]) -> alloc::vec::Vec<f32> {
        let tensor = |numbers| Tensor::<1>::from_data(numbers, &Device::flex());
        loss.forward_no_reduction(tensor(predictions), tensor(targets)).try_into_vec_as::<f32>().unwrap()
    }

    #[test]
    fn is_a_hypotenuse() {
        let losses = losses(
            &CharbonnierLossConfig::new().with_epsilon(3.0).init(&Device::flex()),
            [5.0, 0.0, 1e30],
            [1.0, 0.0, 0.0],
        );

        // By hand: 4 and 3 make 5.
        assert_eq!(losses, [5.0, 3.0, 1e30]);
    }

    #[test]
    #[should_panic(expected = "CharbonnierLoss: epsilon must be in [1e-12, 1e6], got 0")]
    fn an_epsilon_of_zero_is_rejected() {
        CharbonnierLossConfig::new().with_epsilon(0.0).init(&Device::flex());
    }
}
