use burn::config::Config;
use burn::module::Module;
use burn::nn::loss::Reduction;
use burn::tensor::{Device, Tensor};
use burn_losses_kernels::elements::Element;

use super::elementwise::{each, each_reduced};

/// Settings of [`QuantileLoss`].
#[derive(Config, Debug)]
pub struct QuantileLossConfig {
    /// The share of targets that should be below the prediction; in `[0, 1]`. 0.5 is half the absolute error.
    /// Default: `0.5`.
    #[config(default = 0.5)]
    pub quantile: f64,
}

impl QuantileLossConfig {
    /// Builds the loss.
    ///
    /// # Panics
    ///
    /// If a field is out of its range.
    #[track_caller]
    pub fn init(&self, _device: &Device) -> QuantileLoss {
        let Self { quantile } = *self;
        assert!((0.0..=1.0).contains(&quantile), "QuantileLoss: quantile must be in [0, 1], got {quantile}");
        QuantileLoss { quantile }
    }
}

/// Pinball loss: its minimum is a quantile instead of the mean.
///
/// ```text
/// shortfall = targets - predictions
/// loss      = max(quantile·shortfall, (quantile - 1)·shortfall)
/// ```
///
/// At shortfall 0 the gradient is 0.
///
/// # When to take it
///
/// For intervals: train one output with 0.05 and one with 0.95. With 0.5 it gives the median, which outliers hardly
/// move; for the mean take [`MseLoss`](super::MseLoss).
///
/// # Source
///
/// Koenker, Bassett: Regression Quantiles, Econometrica 46, 1978, equation 3.1.
///
/// # Example
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use burn_losses::regression::{QuantileLossConfig, Reduction};
///
/// let device = Device::default();
/// let predictions = Tensor::<1>::from_data([0.0], &device);
/// let targets = Tensor::<1>::from_data([2.0], &device);
/// let loss = QuantileLossConfig::new().with_quantile(0.9).init(&device);
/// let loss = loss.forward(predictions, targets, Reduction::Mean);
/// // Too low by 2.
/// assert!((loss.into_scalar::<f32>() - 0.9 * 2.0).abs() < 1e-5);
/// ```
#[derive(Module, Debug)]
#[module(custom_display)]
pub struct QuantileLoss {
    quantile: f64,
}

impl QuantileLoss {
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
        each_reduced("QuantileLoss", predictions, targets, Element::Quantile { quantile: self.quantile }, reduction)
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
        each("QuantileLoss", predictions, targets, Element::Quantile { quantile: self.quantile })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn losses(loss: &QuantileLoss, predictions: [f32; 3], targets: [f32; 3]) -> alloc::vec::Vec<f32> {
        let tensor = |numbers| Tensor::<1>::from_data(numbers, &Device::flex());
        loss.forward_no_reduction(tensor(predictions), tensor(targets)).try_into_vec_as::<f32>().unwrap()
    }

    #[test]
    fn too_low_costs_the_quantile_and_too_high_the_rest() {
        let losses = losses(
            &QuantileLossConfig::new().with_quantile(0.75).init(&Device::flex()),
            [0.0, 4.0, 1.0],
            [4.0, 0.0, 1.0],
        );

        assert_eq!(losses, [3.0, 1.0, 0.0]);
    }

    #[test]
    #[should_panic(expected = "QuantileLoss: quantile must be in [0, 1], got 95")]
    fn a_percentage_is_rejected() {
        QuantileLossConfig::new().with_quantile(95.0).init(&Device::flex());
    }
}
