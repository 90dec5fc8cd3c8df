//! From distances to losses of the pairs that count.

use burn::tensor::{Bool, Int, Tensor, assert_shape};
use burn_losses_kernels::labels::signed;
use burn_losses_kernels::precision::widen;

use crate::distance::Distance;
use crate::mining::Pairs;

/// Whether the batch has no rows.
///
/// # Panics
///
/// If there is not a label for every row.
pub(super) fn is_empty(embeddings: &Tensor<2>, labels: &Tensor<1, Int>) -> bool {
    let [batch, _] = embeddings.dims();
    assert_shape!(labels, [batch]);
    batch == 0
}

/// The distances of a batch with itself, in a precision fit for sums, and its pairs. What stands in a row with a
/// negative label reaches nothing.
pub(super) fn in_batch(distance: Distance, embeddings: Tensor<2>, labels: Tensor<1, Int>) -> (Tensor<2>, Pairs) {
    let [batch, dim] = embeddings.dims();
    assert_shape!(labels, [batch]);
    let pairs = Pairs::in_batch(labels.clone());
    if batch == 0 {
        return (Tensor::zeros([0, 0], (&embeddings.device(), embeddings.dtype())), pairs);
    }
    let nobody = signed(labels).lower_scalar(0).unsqueeze_dim::<2>(1).expand([batch, dim]);
    let embeddings = widen(embeddings).mask_fill(nobody, 0.0);

    (distance.matrix(embeddings.clone(), embeddings), pairs)
}

/// # Panics
///
/// If the masks have another shape than the distances.
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
