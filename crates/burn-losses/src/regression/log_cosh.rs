use burn::config::Config;
use burn::module::Module;
use burn::nn::loss::Reduction;
use burn::tensor::{Device, Tensor};
use burn_losses_kernels::elements::Element;

use super::elementwise::{each, each_reduced};

/// Settings of [`LogCoshLoss`].
#[derive(Config, Debug)]
pub struct LogCoshLossConfig {}

impl LogCoshLossConfig {
    /// Builds the loss.
    #[track_caller]
    pub fn init(&self, _device: &Device) -> LogCoshLoss {
        LogCoshLoss {}
    }
}

/// The logarithm of the hyperbolic cosine: half a square near 0, an absolute value far away, smooth between.
///
/// ```text
/// error = predictions - targets
/// loss  = log(cosh(error)) = abs(error) + log(1 + exp(-2·abs(error))) - log(2)
/// ```
///
/// Huber with `delta = 1` and all derivatives. The second form does not overflow. In `f32` a loss is exact to about
/// `1e-7`, so errors below `1e-3` have few digits; their gradient has all.
///
/// # When to take it
///
/// For numbers with outliers: L2 near 0 and L1 far from it, as [`HuberLoss`](super::HuberLoss), but smooth and with
/// nothing to set. It turns at errors of about 1: bring targets to that scale, or take [`HuberLoss`](super::HuberLoss),
/// which turns at its `delta`.
///
/// # Source
///
/// Saleh, Saleh: [Statistical Properties of the log-cosh Loss Function](https://arxiv.org/abs/2208.04564), 2022, section 2.
///
/// # Example
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use burn_losses::regression::{LogCoshLossConfig, Reduction};
///
/// let device = Device::default();
/// let predictions = Tensor::<1>::from_data([1.0], &device);
/// let targets = Tensor::<1>::from_data([0.0], &device);
/// let loss = LogCoshLossConfig::new().init(&device).forward(predictions, targets, Reduction::Mean);
/// // Of an error of 1.
/// assert!((loss.into_scalar::<f32>() - 1.0_f32.cosh().ln()).abs() < 1e-5);
/// ```
#[derive(Module, Debug)]
#[module(custom_display)]
pub struct LogCoshLoss {}

impl LogCoshLoss {
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
        each_reduced("LogCoshLoss", predictions, targets, Element::LogCosh, reduction)
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
        each("LogCoshLoss", predictions, targets, Element::LogCosh)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn losses(loss: &LogCoshLoss, predictions: [f32; 3], targets: [f32; 3]) -> alloc::vec::Vec<f32> {
        let tensor = |numbers| Tensor::<1>::from_data(numbers, &Device::flex());
        loss.forward_no_reduction(tensor(predictions), tensor(targets)).try_into_vec_as::<f32>().unwrap()
    }

    #[test]
    fn is_a_logarithm_of_a_cosine_near_and_an_absolute_value_far_away() {
        let losses = losses(&LogCoshLossConfig::new().init(&Device::flex()), [0.0, 2.0, -1e30], [0.0, 1.0, 0.0]);

        // ln(cosh 1) = 0.4337808.
        assert_eq!((losses[0], losses[2]), (0.0, 1e30));
        assert!((losses[1] - 0.433_780_8).abs() < 1e-6, "{losses:?}");
    }
}
