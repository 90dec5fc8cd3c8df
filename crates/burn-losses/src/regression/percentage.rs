use burn::config::Config;
use burn::module::Module;
use burn::nn::loss::Reduction;
use burn::tensor::{Device, Tensor};

use super::elementwise::{elementwise, reduced};

/// Settings of [`MeanAbsolutePercentageErrorLoss`].
#[derive(Config, Debug)]
pub struct MeanAbsolutePercentageErrorLossConfig {
    /// Targets nearer to 0 count as this far away; in `[1e-12, 1e12]`.
    /// Default: `1e-7`.
    #[config(default = 1e-7)]
    pub epsilon: f64,
}

impl MeanAbsolutePercentageErrorLossConfig {
    /// Builds the loss.
    ///
    /// # Panics
    ///
    /// If a field is out of its range.
    #[track_caller]
    pub fn init(&self, _device: &Device) -> MeanAbsolutePercentageErrorLoss {
        let Self { epsilon } = *self;
        assert!(
            (1e-12..=1e12).contains(&epsilon),
            "MeanAbsolutePercentageErrorLoss: epsilon must be in [1e-12, 1e12], got {epsilon}"
        );
        MeanAbsolutePercentageErrorLoss { epsilon }
    }
}

/// The absolute error in percent of the target.
///
/// ```text
/// loss = 100·abs(predictions - targets) / max(abs(targets), epsilon)
/// ```
///
/// Not symmetric: too high can cost any percentage, too low 100 at most. A target of 0 makes it `100 / epsilon` times the
/// error; raise epsilon if there are such targets. The mean of the name is that of [`forward`](Self::forward) with
/// `Reduction::Mean`. At error 0 the gradient is 0.
///
/// # When to take it
///
/// For positive targets of very different sizes that are never near 0. It favours predictions that are too low; the logarithms of
/// [`MeanSquaredLogarithmicErrorLoss`](super::MeanSquaredLogarithmicErrorLoss) do not.
///
/// # Source
///
/// The formula of Keras' `MeanAbsolutePercentageError`, whose epsilon is `1e-7` too.
///
/// # Example
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use burn_losses::regression::{MeanAbsolutePercentageErrorLossConfig, Reduction};
///
/// let device = Device::default();
/// let predictions = Tensor::<1>::from_data([90.0], &device);
/// let targets = Tensor::<1>::from_data([100.0], &device);
/// let loss = MeanAbsolutePercentageErrorLossConfig::new().init(&device);
/// let loss = loss.forward(predictions, targets, Reduction::Mean);
/// // In percent.
/// assert!((loss.into_scalar::<f32>() - 10.0).abs() < 1e-5);
/// ```
#[derive(Module, Debug)]
#[module(custom_display)]
pub struct MeanAbsolutePercentageErrorLoss {
    epsilon: f64,
}

impl MeanAbsolutePercentageErrorLoss {
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
        elementwise("MeanAbsolutePercentageErrorLoss", predictions, targets, |predictions, targets| {
            let size = targets.clone().abs().clamp_min(self.epsilon);
            ((predictions - targets) / size).abs().mul_scalar(100.0)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn losses(
        loss: &MeanAbsolutePercentageErrorLoss,
        predictions: [f32; 3],
        targets: [f32; 3],
    ) -> alloc::vec::Vec<f32> {
        let tensor = |numbers| Tensor::<1>::from_data(numbers, &Device::flex());
        loss.forward_no_reduction(tensor(predictions), tensor(targets)).try_into_vec_as::<f32>().unwrap()
    }

    #[test]
    fn a_target_of_zero_counts_as_epsilon() {
        let loss = MeanAbsolutePercentageErrorLossConfig::new().with_epsilon(0.5).init(&Device::flex());
        let losses = losses(&loss, [3.0, -2.0, 1.0], [2.0, -4.0, 0.0]);

        // By hand: 1 of 2, 2 of 4, 1 of epsilon.
        assert_eq!(losses, [50.0, 50.0, 200.0]);
    }

    #[test]
    #[should_panic(expected = "MeanAbsolutePercentageErrorLoss: epsilon must be in [1e-12, 1e12], got 0")]
    fn an_epsilon_of_zero_is_rejected() {
        MeanAbsolutePercentageErrorLossConfig::new().with_epsilon(0.0).init(&Device::flex());
    }
}
