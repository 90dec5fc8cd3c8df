use burn::module::Module;
use burn::tensor::Tensor;
use burn_losses_kernels::math::{cast_to, widen};

use super::ParameterChoice;
use super::parameters::WeightMapper;

/// A step that shrinks the parameters of a module, after the step of the optimizer and with its learning rate.
///
/// ```text
/// model = optimizer.step(learning_rate, model, gradients)
/// model = shrinkage.step(learning_rate, model)
/// ```
///
/// Parameters keep their ids, so the optimizer keeps its state of them. Where learning rates differ from group to
/// group, take one step per group, each with its own [`ParameterChoice`] and rate.
pub trait ShrinkageStep {
    /// Which parameters it is about.
    fn parameters(&self) -> &ParameterChoice;

    /// A tensor after the step.
    ///
    /// # Shapes
    ///
    /// - weights: any, in `f32` or `f64`
    /// - output: that of the weights
    ///
    /// # Panics
    ///
    /// If the learning rate is negative, NaN or above `1e30`.
    fn shrink<const D: usize>(&self, learning_rate: f64, weights: Tensor<D>) -> Tensor<D>;

    /// The module after the step. Parameters in half precision are computed in `f32`.
    ///
    /// # Panics
    ///
    /// If the learning rate is negative, NaN or above `1e30`.
    #[must_use]
    fn step<M: Module>(&self, learning_rate: f64, module: M) -> M {
        self.parameters().replace(module, &Shrink { by: self, learning_rate })
    }
}

struct Shrink<'a, S: ?Sized> {
    by: &'a S,
    learning_rate: f64,
}

impl<S: ShrinkageStep + ?Sized> WeightMapper for Shrink<'_, S> {
    fn map<const D: usize>(&self, weights: Tensor<D>) -> Tensor<D> {
        let dtype = weights.dtype();
        if weights.shape().num_elements() == 0 {
            return weights;
        }
        cast_to(self.by.shrink(self.learning_rate, widen(weights)), dtype)
    }
}

/// Every number moved towards 0 by `threshold`, and exactly 0 if it does not reach that far.
///
/// ```text
/// sign(w)·max(0, abs(w) - threshold)
/// ```
///
/// It is the one `x` with the smallest `threshold·abs(x) + 1/2·(x - w)²`. NaN stays NaN.
///
/// # Panics
///
/// If the threshold is negative or NaN.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use burn_losses::regularization::soft_threshold;
///
/// let weights = Tensor::<1>::from_data([3.0, -0.5, -2.0], &Device::default());
/// assert_eq!(soft_threshold(weights, 1.0).try_into_vec_as::<f32>().unwrap(), [2.0, 0.0, -1.0]);
/// ```
pub fn soft_threshold<const D: usize>(weights: Tensor<D>, threshold: f64) -> Tensor<D> {
    assert!(threshold >= 0.0, "soft_threshold: threshold must be >= 0, got {threshold}");

    // What lies within the threshold is taken off itself, so its 0 is exact.
    weights.clone() - weights.clamp(-threshold, threshold)
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    #[test]
    fn numbers_move_to_zero_and_stop_there() {
        let weights = Tensor::<1>::from_data([2.0_f32, 0.5, 0.25, -0.0, -0.5, -1.5], &Device::flex());
        let moved = soft_threshold(weights, 0.5).try_into_vec_as::<f32>().unwrap();

        assert_eq!(moved, [1.5, 0.0, 0.0, 0.0, 0.0, -1.0]);
    }

    #[test]
    fn a_nan_stays_and_an_infinite_number_too() {
        let weights = Tensor::<1>::from_data([f32::NAN, f32::NEG_INFINITY], &Device::flex());
        let moved = soft_threshold(weights, 0.5).try_into_vec_as::<f32>().unwrap();

        assert!(moved[0].is_nan());
        assert_eq!(moved[1], f32::NEG_INFINITY);
    }

    #[test]
    #[should_panic(expected = "soft_threshold: threshold must be >= 0, got -1")]
    fn a_negative_threshold_is_rejected() {
        soft_threshold(Tensor::<1>::zeros([1], &Device::flex()), -1.0);
    }
}
