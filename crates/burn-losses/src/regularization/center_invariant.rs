use burn::config::Config;
use burn::module::Module;
use burn::tensor::{Device, Tensor};
use burn_losses_kernels::math::{cast_to, widen};

use super::empty::losses_of_nothing;
use crate::reduction::EmbeddingReduction;

/// Squared lengths count no further, so that their fourth power is a number of `f32`.
const LARGEST_SQUARE: f64 = 1e15;

/// Settings of [`CenterInvariantRegularizer`].
#[derive(Config, Debug)]
pub struct CenterInvariantRegularizerConfig {
    /// How the losses become one number.
    /// Default: `EmbeddingReduction::Mean`.
    #[config(default = "EmbeddingReduction::Mean")]
    pub reduction: EmbeddingReduction,
}

impl CenterInvariantRegularizerConfig {
    /// Builds the loss.
    #[track_caller]
    pub fn init(&self, _device: &Device) -> CenterInvariantRegularizer {
        CenterInvariantRegularizer { reduction: self.reduction }
    }
}

/// Asks all class weights to be of the same length.
///
/// ```text
/// square[j] = sum over k of weights[j, k]²
/// loss[j]   = 1/4·(square[j] - mean over classes of square)²
/// ```
///
/// For classifiers with class weights of free length, where classes with many samples get long weights and win against
/// rare ones. A margin head compares directions and does not need it. A single class has loss 0. A square above `1e15`
/// counts as `1e15` and has no gradient.
///
/// # When to take it
///
/// On the class weights of a linear classifier whose classes have very different numbers of samples. A head of
/// [`heads`](crate::heads) does not need it: it divides its centers by their length.
///
/// # Source
///
/// Wu, Liu, Li, Fu: Deep Face Recognition with Center Invariant Loss, 2017, section 3, as
/// `CenterInvariantRegularizer` of pytorch-metric-learning has it.
///
/// # Example
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use burn_losses::regularization::CenterInvariantRegularizerConfig;
///
/// let device = Device::default();
/// let centers = Tensor::<2>::from_data([[1.0, 0.0], [0.0, 3.0_f64.sqrt()]], &device);
/// let loss = CenterInvariantRegularizerConfig::new().init(&device).forward(centers);
/// // Squared lengths of 1 and 3, each 1 from their mean.
/// assert!((loss.into_scalar::<f32>() - 0.25).abs() < 1e-5);
/// ```
#[derive(Module, Debug)]
#[module(custom_display)]
pub struct CenterInvariantRegularizer {
    #[module(skip)]
    reduction: EmbeddingReduction,
}

impl CenterInvariantRegularizer {
    /// One value for all classes; see [`forward_no_reduction`](Self::forward_no_reduction).
    pub fn forward(&self, weights: Tensor<2>) -> Tensor<1> {
        self.reduction.apply(self.forward_no_reduction(weights))
    }

    /// One value per class.
    ///
    /// # Shapes
    ///
    /// - weights: `[classes, embedding_dim]`
    /// - output: `[classes]`
    pub fn forward_no_reduction(&self, weights: Tensor<2>) -> Tensor<1> {
        if let Some(nothing) = losses_of_nothing(&weights) {
            return nothing;
        }
        let dtype = weights.dtype();
        let squares = widen(weights).square().sum_dim(1).squeeze_dim::<1>(1).clamp_max(LARGEST_SQUARE);
        let deviations = squares.clone() - EmbeddingReduction::Mean.apply(squares);

        cast_to(deviations.square().mul_scalar(0.25), dtype)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_that_differ_are_penalised() {
        let weights = Tensor::<2>::from_data([[1.0_f32, 0.0], [2.0, 1.0]], &Device::flex().autodiff()).require_grad();
        let loss = CenterInvariantRegularizerConfig::new().init(&Device::flex()).forward(weights.clone());
        let gradient = weights.grad(&loss.clone().backward()).unwrap();

        // By hand: squares 1 and 5, mean 3, deviations -2 and 2; d loss / d square[j] = deviation / 4.
        assert_eq!(loss.into_scalar::<f32>(), 1.0);
        assert_eq!(gradient.try_into_vec_as::<f32>().unwrap(), [-1.0, 0.0, 2.0, 1.0]);
    }

    #[test]
    fn a_single_class_has_loss_zero() {
        let weights = Tensor::<2>::from_data([[1.0_f32, 0.5]], &Device::flex());
        let loss = CenterInvariantRegularizerConfig::new().init(&Device::flex()).forward(weights);

        assert_eq!(loss.into_scalar::<f32>(), 0.0);
    }
}
