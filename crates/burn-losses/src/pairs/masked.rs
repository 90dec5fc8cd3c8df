//! From distances to losses of the pairs that count.

use burn::tensor::{Bool, Tensor, assert_shape};

use crate::mining::Pairs;

/// # Panics
///
/// If the masks have another shape than the distances or similarities.
pub(super) fn check(distances: &Tensor<2>, pairs: &Pairs) {
    let [anchors, references] = distances.dims();
    assert_shape!(pairs.positive, [anchors, references]);
    assert_shape!(pairs.negative, [anchors, references]);
}

/// A matrix as one row of numbers.
pub(super) fn flat(matrix: Tensor<2>) -> Tensor<1> {
    // `reshape` reads a 0 as "as it is".
    matrix.flatten(0, 1)
}

/// A mask as one row.
pub(super) fn flat_mask(mask: Tensor<2, Bool>) -> Tensor<1, Bool> {
    mask.flatten(0, 1)
}

/// The losses of the distances inside a mask; 0 outside it, with slope 0, whatever stands there.
pub(super) fn inside(
    mask: Tensor<1, Bool>,
    distances: Tensor<1>,
    loss: impl FnOnce(Tensor<1>) -> Tensor<1>,
) -> Tensor<1> {
    let outside = mask.bool_not();
    loss(distances.mask_fill(outside.clone(), 0.0)).mask_fill(outside, 0.0)
}

/// Zeros that are connected to the numbers, so that a backward finds the gradient 0.
pub(super) fn silent(numbers: Tensor<1>) -> Tensor<1> {
    let all = Tensor::<1, Bool>::full(numbers.dims(), true, &numbers.device());
    numbers.mask_fill(all, 0.0)
}
