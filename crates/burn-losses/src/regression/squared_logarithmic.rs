use burn::config::Config;
use burn::module::Module;
use burn::nn::loss::Reduction;
use burn::tensor::{Device, Tensor};

use super::elementwise::{elementwise, reduced};

/// Settings of [`MeanSquaredLogarithmicErrorLoss`].
#[derive(Config, Debug)]
pub struct MeanSquaredLogarithmicErrorLossConfig {}

impl MeanSquaredLogarithmicErrorLossConfig {
    /// Builds the loss.
    #[track_caller]
    pub fn init(&self, _device: &Device) -> MeanSquaredLogarithmicErrorLoss {
        MeanSquaredLogarithmicErrorLoss {}
    }
}

/// The squared difference of logarithms: relative errors, for numbers of different sizes.
///
/// ```text
/// loss = (log(1 + max(predictions, 0)) - log(1 + max(targets, 0)))²
/// ```
///
/// A prediction below 0 counts as 0 and has gradient 0: end the model with a softplus. The mean of the name is that of
/// [`forward`](Self::forward) with `Reduction::Mean`.
///
/// # When to take it
///
/// For targets of 0 and more over several orders of magnitude. Where an error counts the same for small and large
/// targets, take [`MseLoss`](super::MseLoss).
///
/// # Source
///
/// The formula of Keras' `MeanSquaredLogarithmicError`.
///
/// # Example
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use burn_losses::regression::{MeanSquaredLogarithmicErrorLossConfig, Reduction};
///
/// let device = Device::default();
/// let predictions = Tensor::<1>::from_data([1.0_f64.exp() - 1.0], &device);
/// let targets = Tensor::<1>::from_data([0.0], &device);
/// let loss = MeanSquaredLogarithmicErrorLossConfig::new().init(&device);
/// let loss = loss.forward(predictions, targets, Reduction::Mean);
/// // The logarithms of 1 + each are 1 and 0.
/// assert!((loss.into_scalar::<f32>() - 1.0).abs() < 1e-5);
/// ```
#[derive(Module, Debug)]
#[module(custom_display)]
pub struct MeanSquaredLogarithmicErrorLoss {}

impl MeanSquaredLogarithmicErrorLoss {
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
        reduced(predictions, reduction, |predictions| self.forward_no_reduction(predictions, targets))
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
        elementwise("MeanSquaredLogarithmicErrorLoss", predictions, targets, |predictions, targets| {
            let logarithm = |numbers: Tensor<D>| {
                let negative = numbers.clone().lower_scalar(0.0);
                numbers.mask_fill(negative, 0.0).log1p()
            };
            (logarithm(predictions) - logarithm(targets)).square()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn losses(
        loss: &MeanSquaredLogarithmicErrorLoss,
        predictions: [f32; 3],
        targets: [f32; 3],
    ) -> alloc::vec::Vec<f32> {
        let tensor = |numbers| Tensor::<1>::from_data(numbers, &Device::flex());
        loss.forward_no_reduction(tensor(predictions), tensor(targets)).try_into_vec_as::<f32>().unwrap()
    }

    #[test]
    fn negative_numbers_count_as_zero() {
        let e = core::f32::consts::E;
        let losses = losses(
            &MeanSquaredLogarithmicErrorLossConfig::new().init(&Device::flex()),
            [e - 1.0, -5.0, 0.0],
            [0.0, 0.0, e * e - 1.0],
        );

        // By hand: 1², 0 and 2².
        assert!((losses[0] - 1.0).abs() < 1e-6 && losses[1] == 0.0 && (losses[2] - 4.0).abs() < 1e-5, "{losses:?}");
    }
}
