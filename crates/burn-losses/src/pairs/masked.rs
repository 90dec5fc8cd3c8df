//! From numbers of pairs to losses of the pairs that count.

use burn::tensor::{Bool, Tensor};

/// A matrix as one row of numbers.
pub(super) fn flat(matrix: Tensor<2>) -> Tensor<1> {
    // `reshape` reads a 0 as "as it is".
    matrix.flatten(0, 1)
}

/// A mask as one row.
pub(super) fn flat_mask(mask: Tensor<2, Bool>) -> Tensor<1, Bool> {
    mask.flatten(0, 1)
}

/// The losses of the numbers inside a mask; 0 outside it, with slope 0, whatever stands there.
pub(super) fn inside<const D: usize>(
    mask: Tensor<D, Bool>,
    numbers: Tensor<D>,
    loss: impl FnOnce(Tensor<D>) -> Tensor<D>,
) -> Tensor<D> {
    let outside = mask.bool_not();
    loss(numbers.mask_fill(outside.clone(), 0.0)).mask_fill(outside, 0.0)
}
