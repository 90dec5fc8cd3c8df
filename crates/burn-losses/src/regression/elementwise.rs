//! What all losses of two tensors of one shape do around their formula.

use burn::tensor::Tensor;
use burn_losses_kernels::math::{cast_to, widen};

use crate::reduction::EmbeddingReduction;

/// `formula(predictions, targets)` in a precision fit for it, without predictions nothing.
///
/// # Panics
///
/// If the shapes differ.
pub(super) fn elementwise<const D: usize>(
    loss: &str,
    predictions: Tensor<D>,
    targets: Tensor<D>,
    formula: impl FnOnce(Tensor<D>, Tensor<D>) -> Tensor<D>,
) -> Tensor<D> {
    let (shape, target_shape) = (predictions.dims(), targets.dims());
    assert!(shape == target_shape, "{loss}: targets must have the shape {shape:?}, got {target_shape:?}");
    if shape.contains(&0) {
        return predictions;
    }
    let dtype = predictions.dtype();
    let predictions = widen(predictions);
    let targets = cast_to(targets, predictions.dtype());

    cast_to(formula(predictions, targets), dtype)
}

/// The reduced `losses` of predictions, widened for the sum and back in their precision at the end.
pub(super) fn reduce<const D: usize>(
    predictions: Tensor<D>,
    reduction: EmbeddingReduction,
    losses: impl FnOnce(Tensor<D>) -> Tensor<D>,
) -> Tensor<1> {
    let dtype = predictions.dtype();
    cast_to(reduction.apply(losses(widen(predictions))), dtype)
}
