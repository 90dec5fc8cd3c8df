//! Rows of equal identity, found and added up without a `[rows, rows]` matrix that stays.

use burn::tensor::{Bool, IndexingUpdateOp, Int, Tensor};
use burn_losses_kernels::math::signed;

/// At most this many comparisons of labels exist at once.
const COMPARISONS: usize = 1 << 20;

/// The position of the first reference with the row's label that comes after `after`; the number of references where
/// there is none. A row with a negative label finds the references with the same one: leave these out afterwards.
///
/// # Shapes
///
/// - labels: `[rows]`
/// - reference_labels: `[references]`, at least one
/// - after: `[rows]`; -1 for the first of all
/// - output: `[rows]`, of the type of `signed(labels)`
pub(crate) fn first_match(
    labels: Tensor<1, Int>,
    reference_labels: Tensor<1, Int>,
    after: Tensor<1, Int>,
) -> Tensor<1, Int> {
    let [references] = reference_labels.dims();
    let options = (&reference_labels.device(), signed(labels.clone()).dtype());
    let positions = Tensor::<1, Int>::arange(0..references as i64, options);

    in_blocks(labels, reference_labels, |same, start| {
        let shape @ [rows, _] = same.dims();
        let positions = positions.clone().unsqueeze_dim::<2>(0).expand(shape);
        let after = after.clone().narrow(0, start, rows).unsqueeze_dim::<2>(1).expand(shape);
        let match_ = same.bool_and(positions.clone().greater(after));

        positions.mask_fill(match_.bool_not(), references as i64).min_dim(1).squeeze_dim::<1>(1)
    })
}

/// How many references have the row's label, but for the row itself where the references are the rows; 0 for a negative
/// label.
///
/// # Shapes
///
/// - labels: `[rows]`, at least one
/// - reference_labels: `[references]`, at least one
/// - output: `[rows]`
pub(crate) fn count_matches(
    labels: Tensor<1, Int>,
    reference_labels: Tensor<1, Int>,
    in_batch: bool,
) -> Tensor<1, Int> {
    let nobody = signed(labels.clone()).lower_scalar(0);
    let found = in_blocks(labels, reference_labels, |same, _| same.int().sum_dim(1).squeeze_dim::<1>(1));
    let found = if in_batch { found.sub_scalar(1) } else { found };

    found.mask_fill(nobody, 0)
}

/// What `row` makes of where the labels of some rows equal those of the references, `[rows, references]`, beginning with
/// the row that is named; all rows one after the other.
fn in_blocks(
    labels: Tensor<1, Int>,
    reference_labels: Tensor<1, Int>,
    row: impl Fn(Tensor<2, Bool>, usize) -> Tensor<1, Int>,
) -> Tensor<1, Int> {
    let (labels, reference_labels) = (signed(labels), signed(reference_labels));
    let ([rows], [references]) = (labels.dims(), reference_labels.dims());
    let block = (COMPARISONS / references).clamp(1, rows);

    let found = (0..rows).step_by(block).map(|start| {
        let shape = [block.min(rows - start), references];
        let labels = labels.clone().narrow(0, start, shape[0]).unsqueeze_dim::<2>(1).expand(shape);
        row(labels.equal(reference_labels.clone().unsqueeze_dim::<2>(0).expand(shape)), start)
    });
    Tensor::cat(found.collect(), 0)
}

/// `-1` for every row: where [`first_match`] starts to look.
pub(crate) fn from_the_start(labels: &Tensor<1, Int>) -> Tensor<1, Int> {
    let labels = signed(labels.clone());
    Tensor::<1, Int>::full(labels.dims(), -1, (&labels.device(), labels.dtype()))
}

/// References added up by label, in memory of `[references, dim]`: the sum of a label stands at its first reference.
pub(crate) struct LabelSums {
    /// `[references, dim]`.
    sums: Tensor<2>,
    /// `[references]`.
    counts: Tensor<1>,
    labels: Tensor<1, Int>,
    /// Where the sum of the reference's label stands, `[references]`.
    slots: Tensor<1, Int>,
}

impl LabelSums {
    /// # Shapes
    ///
    /// - references: `[references, dim]`, at least one; 0 where the label is negative
    /// - labels: `[references]`
    pub(crate) fn new(references: Tensor<2>, labels: Tensor<1, Int>) -> Self {
        let [count, dim] = references.dims();
        let options = (&references.device(), references.dtype());
        let labels = signed(labels);
        let slots = first_match(labels.clone(), labels.clone(), from_the_start(&labels));
        let one = Tensor::<1>::ones([count], options).mask_fill(labels.clone().lower_scalar(0), 0.0);
        let add = || IndexingUpdateOp::Add;

        Self {
            sums: Tensor::<2>::zeros([count, dim], options).select_assign(0, slots.clone(), references, add()),
            counts: Tensor::<1>::zeros([count], options).select_assign(0, slots.clone(), one, add()),
            labels,
            slots,
        }
    }

    /// The sum and the number of the references with each reference's own label, itself among them: `[references, dim]`
    /// and `[references]`. Both are 0 for a negative label.
    pub(crate) fn of_references(self) -> (Tensor<2>, Tensor<1>) {
        (self.sums.select(0, self.slots.clone()), self.counts.select(0, self.slots))
    }

    /// The sum and the number of the references with each row's label: `[rows, dim]` and `[rows]`. Both are 0 where there
    /// is none, and for a negative label.
    ///
    /// # Shapes
    ///
    /// - labels: `[rows]`, at least one
    pub(crate) fn of(self, labels: Tensor<1, Int>) -> (Tensor<2>, Tensor<1>) {
        let [count, dim] = self.sums.dims();
        let slot = first_match(labels.clone(), self.labels, from_the_start(&labels));
        let none = slot.clone().greater_equal_scalar(count as i64).bool_or(signed(labels).lower_scalar(0));
        let slot = slot.mask_fill(none.clone(), 0);
        let [rows] = none.dims();
        let silent = none.clone().unsqueeze_dim::<2>(1).expand([rows, dim]);

        (self.sums.select(0, slot.clone()).mask_fill(silent, 0.0), self.counts.select(0, slot).mask_fill(none, 0.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use burn::tensor::{Device, TensorData};

    fn labels(labels: &[i64]) -> Tensor<1, Int> {
        Tensor::from_data(TensorData::from(labels), &Device::flex())
    }

    #[test]
    fn the_first_and_the_second_of_a_label_are_found() {
        let rows = labels(&[7, 3, 7, 9, 3, 7]);
        let first = first_match(rows.clone(), rows.clone(), from_the_start(&rows));
        let second = first_match(rows.clone(), rows, first.clone());

        assert_eq!(first.try_into_vec_as::<i64>().unwrap(), [0, 1, 0, 3, 1, 0]);
        assert_eq!(second.try_into_vec_as::<i64>().unwrap(), [2, 4, 2, 6, 4, 2]);
    }

    #[test]
    fn matches_are_counted_without_the_row_itself() {
        let rows = labels(&[7, 3, 7, 9, -1, -1, 7]);
        let own = count_matches(rows.clone(), rows.clone(), true);
        let other = count_matches(labels(&[7, 4, -1]), rows, false);

        assert_eq!(own.try_into_vec_as::<i64>().unwrap(), [2, 0, 2, 0, 0, 0, 2]);
        assert_eq!(other.try_into_vec_as::<i64>().unwrap(), [3, 0, 0]);
    }

    #[test]
    fn rows_beyond_one_block_are_found() {
        let count = 1500;
        let all: vec::Vec<i64> = (0..count).map(|row| row % 1000).collect();
        let rows = labels(&all);
        let first = first_match(rows.clone(), rows.clone(), from_the_start(&rows));

        assert_eq!(first.try_into_vec_as::<i64>().unwrap(), all);
    }

    #[test]
    fn sums_are_those_of_the_same_label() {
        let references =
            Tensor::<2>::from_data([[1.0_f32, 2.0], [10.0, 20.0], [0.0, 0.0], [4.0, 8.0]], &Device::flex());
        let sums = || LabelSums::new(references.clone(), labels(&[5, 6, -1, 5]));

        let (found, counts) = sums().of(labels(&[5, -1, 6, 8]));
        assert_eq!(found.try_into_vec_as::<f32>().unwrap(), [5.0, 10.0, 0.0, 0.0, 10.0, 20.0, 0.0, 0.0]);
        assert_eq!(counts.try_into_vec_as::<f32>().unwrap(), [2.0, 0.0, 1.0, 0.0]);
        let (own, counts) = sums().of_references();
        assert_eq!(own.try_into_vec_as::<f32>().unwrap(), [5.0, 10.0, 10.0, 20.0, 0.0, 0.0, 5.0, 10.0]);
        assert_eq!(counts.try_into_vec_as::<f32>().unwrap(), [2.0, 1.0, 0.0, 2.0]);
    }
}
