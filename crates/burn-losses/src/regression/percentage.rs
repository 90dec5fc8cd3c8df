use burn::config::Config;
use burn::module::Module;
use burn::tensor::Tensor;

use super::elementwise::{elementwise, reduce};
use crate::reduction::EmbeddingReduction;

/// Settings of [`MeanAbsolutePercentageErrorLoss`].
#[derive(Config, Debug)]
pub struct MeanAbsolutePercentageErrorLossConfig {
    /// Targets nearer to 0 count as this far away; in `[1e-12, 1e12]`.
    #[config(default = 1e-7)]
    pub floor: f64,
}

impl MeanAbsolutePercentageErrorLossConfig {
    /// Builds the loss.
    ///
    /// # Panics
    ///
    /// If a field is out of its range.
    pub fn init(&self) -> MeanAbsolutePercentageErrorLoss {
        let Self { floor } = *self;
        assert!(
            (1e-12..=1e12).contains(&floor),
            "MeanAbsolutePercentageErrorLoss: floor must be in [1e-12, 1e12], got {floor}"
        );
        MeanAbsolutePercentageErrorLoss { floor }
    }
}

/// The absolute error in percent of the target.
///
/// ```text
/// loss = 100·abs(predictions - targets) / max(abs(targets), floor)
/// ```
///
/// Not symmetric: too high can cost any percentage, too low 100 at most. A target of 0 makes it `100 / floor` times the
/// error; raise the floor if there are such targets. The mean of the name is that of [`forward`](Self::forward) with
/// `EmbeddingReduction::Mean`. At error 0 the gradient is 0.
///
/// # Source
///
/// The formula of Keras' `MeanAbsolutePercentageErrorLoss`, whose floor is `1e-7` too.
#[derive(Module, Debug)]
pub struct MeanAbsolutePercentageErrorLoss {
    floor: f64,
}

impl MeanAbsolutePercentageErrorLoss {
    /// The reduced loss.
    ///
    /// # Shapes and panics
    ///
    /// As [`forward_no_reduction`](Self::forward_no_reduction); output `[1]`.
    pub fn forward<const D: usize>(
        &self,
        predictions: Tensor<D>,
        targets: Tensor<D>,
        reduction: EmbeddingReduction,
    ) -> Tensor<1> {
        reduce(predictions, reduction, |predictions| self.forward_no_reduction(predictions, targets))
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
    pub fn forward_no_reduction<const D: usize>(&self, predictions: Tensor<D>, targets: Tensor<D>) -> Tensor<D> {
        elementwise("MeanAbsolutePercentageErrorLoss", predictions, targets, |predictions, targets| {
            let size = targets.clone().abs().clamp_min(self.floor);
            ((predictions - targets) / size).abs().mul_scalar(100.0)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    fn losses(
        loss: &MeanAbsolutePercentageErrorLoss,
        predictions: [f32; 3],
        targets: [f32; 3],
    ) -> alloc::vec::Vec<f32> {
        let tensor = |numbers| Tensor::<1>::from_data(numbers, &Device::flex());
        loss.forward_no_reduction(tensor(predictions), tensor(targets)).try_into_vec_as::<f32>().unwrap()
    }

    #[test]
    fn a_target_of_zero_counts_as_the_floor() {
        let loss = MeanAbsolutePercentageErrorLossConfig::new().with_floor(0.5).init();
        let losses = losses(&loss, [3.0, -2.0, 1.0], [2.0, -4.0, 0.0]);

        // By hand: 1 of 2, 2 of 4, 1 of the floor.
        assert_eq!(losses, [50.0, 50.0, 200.0]);
    }

    #[test]
    #[should_panic(expected = "MeanAbsolutePercentageErrorLoss: floor must be in [1e-12, 1e12], got 0")]
    fn a_floor_of_zero_is_rejected() {
        MeanAbsolutePercentageErrorLossConfig::new().with_floor(0.0).init();
    }
}
