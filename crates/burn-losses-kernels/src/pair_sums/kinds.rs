//! What every reference is to every anchor, as a number that every backend can hand over.

use burn::tensor::{Bool, DType, Int, Tensor};

use crate::math::{cast_to, comparable};

pub(crate) const POSITIVE: f64 = 1.0;
pub(crate) const NEGATIVE: f64 = -1.0;

/// 1 where anchor and reference have the same label, -1 where they have different ones, and 0 where one has a negative
/// label, or, in a batch with itself, where they are the same row.
///
/// # Shapes
///
/// - labels: `[anchors]`, at least one
/// - reference_labels: `[references]`, at least one; the labels where they are `in_batch`
/// - output: `[anchors, references]`, in `dtype`, which is `f32` or `f64`
///
/// # Panics
///
/// If there are no labels or no references.
///
/// ```
/// use burn::tensor::{DType, Device, Int, Tensor};
/// use burn_losses_kernels::pair_sums::kinds_of_labels;
///
/// // Two rows of label 7, one of label 4, and one without a label.
/// let labels = Tensor::<1, Int>::from_ints([7, 7, 4, -1], &Device::default());
/// let kinds = kinds_of_labels(labels.clone(), labels, true, DType::F32).try_into_vec_as::<f32>().unwrap();
/// assert_eq!(kinds[..4], [0.0, 1.0, -1.0, 0.0]);
/// assert_eq!(kinds[12..], [0.0; 4]);
/// ```
pub fn kinds_of_labels(
    labels: Tensor<1, Int>,
    reference_labels: Tensor<1, Int>,
    in_batch: bool,
    dtype: DType,
) -> Tensor<2> {
    check_labels(&labels, &reference_labels);
    #[cfg(feature = "cpu-path")]
    if crate::host::is_host(&labels.device()) {
        return super::backend::kinds_of_labels(labels, reference_labels, in_batch, dtype);
    }
    kinds_of_labels_reference(labels, reference_labels, in_batch, dtype)
}

/// [`kinds_of_labels`] from ordinary tensor operations: the definition of correct.
pub fn kinds_of_labels_reference(
    labels: Tensor<1, Int>,
    reference_labels: Tensor<1, Int>,
    in_batch: bool,
    dtype: DType,
) -> Tensor<2> {
    check_labels(&labels, &reference_labels);
    let [positives, negatives] = compared(labels, reference_labels, in_batch);
    kinds_of_masks(positives, negatives, dtype)
}

/// Which references are a positive of an anchor, and which a negative, by the rule of [`kinds_of_labels`].
///
/// # Shapes
///
/// - labels: `[anchors]`, at least one
/// - reference_labels: `[references]`, at least one; the labels where they are `in_batch`
/// - output: `[anchors, references]` each
///
/// # Panics
///
/// If there are no labels or no references.
pub fn masks_of_labels(
    labels: Tensor<1, Int>,
    reference_labels: Tensor<1, Int>,
    in_batch: bool,
) -> [Tensor<2, Bool>; 2] {
    check_labels(&labels, &reference_labels);
    #[cfg(feature = "cpu-path")]
    if crate::host::is_host(&labels.device()) {
        return masks(kinds_of_labels(labels, reference_labels, in_batch, DType::F32));
    }
    compared(labels, reference_labels, in_batch)
}

fn check_labels(labels: &Tensor<1, Int>, reference_labels: &Tensor<1, Int>) {
    let some = labels.dims()[0] >= 1 && reference_labels.dims()[0] >= 1;
    assert!(some, "kinds of pairs: there must be an anchor and a reference");
}

fn compared(labels: Tensor<1, Int>, reference_labels: Tensor<1, Int>, in_batch: bool) -> [Tensor<2, Bool>; 2] {
    let (labels, references) = comparable(labels, reference_labels);
    let shape @ [anchors, _] = [labels.dims()[0], references.dims()[0]];
    let column = labels.unsqueeze_dim::<2>(1).expand(shape);
    let row = references.unsqueeze_dim::<2>(0).expand(shape);
    let same = column.clone().equal(row.clone());
    let both = column.greater_equal_scalar(0).bool_and(row.greater_equal_scalar(0));
    let negatives = both.clone().bool_and(same.clone().bool_not());
    let positives = both.bool_and(same);
    if !in_batch {
        return [positives, negatives];
    }
    let places = Tensor::<1, Int>::arange(0..anchors as i64, &positives.device());
    let places = |dim: usize| places.clone().unsqueeze_dim::<2>(dim).expand(shape);
    [positives.bool_and(places(0).equal(places(1)).bool_not()), negatives]
}

/// 1 for a positive and -1 for a negative.
///
/// # Shapes
///
/// - positives: `[anchors, references]`
/// - negatives: the same; a reference that is both counts as a negative
/// - output: the same, in `dtype`
///
/// ```
/// use burn::tensor::{Bool, DType, Device, Tensor};
/// use burn_losses_kernels::pair_sums::kinds_of_masks;
///
/// let mask = |mask| Tensor::<2, Bool>::from_data(mask, &Device::default());
/// let kinds = kinds_of_masks(mask([[true, false, false]]), mask([[false, true, false]]), DType::F32);
/// assert_eq!(kinds.try_into_vec_as::<f32>().unwrap(), [1.0, -1.0, 0.0]);
/// ```
pub fn kinds_of_masks(positives: Tensor<2, Bool>, negatives: Tensor<2, Bool>, dtype: DType) -> Tensor<2> {
    let kinds = Tensor::<2>::zeros(positives.dims(), (&positives.device(), dtype));
    cast_to(kinds.mask_fill(positives, POSITIVE).mask_fill(negatives, NEGATIVE), dtype)
}

/// The masks again.
pub(super) fn masks(kinds: Tensor<2>) -> [Tensor<2, Bool>; 2] {
    [kinds.clone().equal_scalar(POSITIVE), kinds.equal_scalar(NEGATIVE)]
}
