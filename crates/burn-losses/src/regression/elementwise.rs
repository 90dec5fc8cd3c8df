//! What all losses of two tensors of one shape do around their formula.

use burn::nn::loss::Reduction;
use burn::tensor::Tensor;
use burn_losses_kernels::math::{cast_to, widen};

use crate::reduction::{Divisor, reduce};
use crate::shape::check_shape;

/// `formula(predictions, targets)` in a precision fit for it, without predictions nothing.
///
/// # Panics
///
/// If the shapes differ.
#[track_caller]
pub(super) fn elementwise<const D: usize>(
    loss: &str,
    predictions: Tensor<D>,
    targets: Tensor<D>,
    formula: impl FnOnce(Tensor<D>, Tensor<D>) -> Tensor<D>,
) -> Tensor<D> {
    check_shape(loss, "targets", targets.dims(), predictions.dims());
    if predictions.dims().contains(&0) {
        // Of both, so that a backward finds the gradient of either.
        let dtype = predictions.dtype();
        return predictions + cast_to(targets, dtype);
    }
    let dtype = predictions.dtype();
    let predictions = widen(predictions);
    let targets = cast_to(targets, predictions.dtype());

    cast_to(formula(predictions, targets), dtype)
}

/// The reduced `losses` of predictions, widened for the sum and back in their precision at the end.
#[track_caller]
pub(super) fn reduced<const D: usize>(
    predictions: Tensor<D>,
    reduction: Reduction,
    losses: impl FnOnce(Tensor<D>) -> Tensor<D>,
) -> Tensor<1> {
    let (batch, dtype) = (predictions.dims()[0], predictions.dtype());
    cast_to(reduce(reduction, losses(widen(predictions)), batch, Divisor::Count), dtype)
}
