//! What all losses of two tensors of one shape do around their formula.

use burn::nn::loss::Reduction;
use burn::tensor::Tensor;
use burn_losses_kernels::elements::{Element, elements, sum_of_elements};
use burn_losses_kernels::math::{cast_to, widen};

use crate::reduction::{Divisor, reduce, reduce_sum};
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

/// [`elementwise`] of a formula that the kernels know.
#[track_caller]
pub(super) fn each<const D: usize>(
    loss: &str,
    predictions: Tensor<D>,
    targets: Tensor<D>,
    element: Element,
) -> Tensor<D> {
    elementwise(loss, predictions, targets, |predictions, targets| elements(predictions, targets, element))
}

/// The same as one number.
#[track_caller]
pub(super) fn each_reduced<const D: usize>(
    loss: &str,
    predictions: Tensor<D>,
    targets: Tensor<D>,
    element: Element,
    reduction: Reduction,
) -> Tensor<1> {
    let shape = predictions.dims();
    if shape.contains(&0) {
        return reduced(predictions, reduction, |predictions| each(loss, predictions, targets, element));
    }
    check_shape(loss, "targets", targets.dims(), shape);
    let dtype = predictions.dtype();
    let predictions = widen(predictions);
    let targets = cast_to(targets, predictions.dtype());
    let sum = sum_of_elements(predictions, targets, element);

    cast_to(reduce_sum(reduction, sum, shape.iter().product(), shape[0]), dtype)
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
