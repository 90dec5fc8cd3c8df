//! Rows of equal identity, found and added up without a `[rows, rows]` matrix that stays.
//!
//! In host memory the labels are sorted. Elsewhere a row is compared with every reference, a block at a time.

use alloc::vec::Vec;

use burn::tensor::{Bool, IndexingUpdateOp, Int, Tensor, TensorData};
use burn_losses_kernels::math::{comparable, in_host_memory, signed};

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
    if in_host_memory(&labels.device()) {
        let sorted = Sorted::new(&reference_labels);
        let after = numbers(&after);
        return like(&labels, numbers(&labels).into_iter().zip(after).map(|(label, after)| sorted.next(label, after)));
    }
    first_match_in_blocks(labels, reference_labels, after)
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
    let found = if in_host_memory(&labels.device()) {
        let sorted = Sorted::new(&reference_labels);
        like(&labels, numbers(&labels).into_iter().map(|label| sorted.count(label)))
    } else {
        count_in_blocks(labels, reference_labels)
    };
    let found = if in_batch { found.sub_scalar(1) } else { found };

    found.mask_fill(nobody, 0)
}

/// The sum and the number of the references with each row's label, of a row of the batch itself among them:
/// `[rows, dim]` and `[rows]`. Both are 0 where there is none, and for a negative label. Memory is of
/// `[references + rows, dim]`.
///
/// # Shapes
///
/// - references: `[references, dim]`, at least one
/// - reference_labels: `[references]`
/// - labels: `[rows]`, at least one
pub(crate) fn label_sums(
    references: Tensor<2>,
    reference_labels: Tensor<1, Int>,
    labels: Tensor<1, Int>,
) -> (Tensor<2>, Tensor<1>) {
    let ([count, dim], [rows]) = (references.dims(), labels.dims());
    let options = (&references.device(), references.dtype());
    // The sum of a label stands at its first row: labels that no row has are of no use.
    let slots = first_match(reference_labels.clone(), labels.clone(), from_the_start(&reference_labels));
    let unused = slots.clone().greater_equal_scalar(rows as i64).bool_or(signed(reference_labels).lower_scalar(0));
    let slots = slots.mask_fill(unused.clone(), 0);
    let silent = unused.clone().unsqueeze_dim::<2>(1).expand([count, dim]);
    let one = Tensor::<1>::ones([count], options).mask_fill(unused, 0.0);
    let add = || IndexingUpdateOp::Add;
    let sums = Tensor::<2>::zeros([rows, dim], options);
    let sums = sums.select_assign(0, slots.clone(), references.mask_fill(silent, 0.0), add());
    let counts = Tensor::<1>::zeros([rows], options).select_assign(0, slots, one, add());

    let first = first_match(labels.clone(), labels.clone(), from_the_start(&labels));
    let nobody = signed(labels).lower_scalar(0);
    let silent = nobody.clone().unsqueeze_dim::<2>(1).expand([rows, dim]);

    (sums.select(0, first.clone()).mask_fill(silent, 0.0), counts.select(0, first).mask_fill(nobody, 0.0))
}

/// `-1` for every row: where [`first_match`] starts to look.
pub(crate) fn from_the_start(labels: &Tensor<1, Int>) -> Tensor<1, Int> {
    let labels = signed(labels.clone());
    Tensor::<1, Int>::full(labels.dims(), -1, (&labels.device(), labels.dtype()))
}

/// Labels and where they stand, in this order.
struct Sorted(Vec<(i64, i64)>);

impl Sorted {
    fn new(labels: &Tensor<1, Int>) -> Self {
        let mut sorted: Vec<(i64, i64)> = numbers(labels).into_iter().zip(0..).collect();
        sorted.sort_unstable();
        Self(sorted)
    }

    /// The first place of the label after this one.
    fn next(&self, label: i64, after: i64) -> i64 {
        let place = self.0.partition_point(|&entry| entry <= (label, after));
        self.0.get(place).filter(|entry| entry.0 == label).map_or(self.0.len() as i64, |entry| entry.1)
    }

    fn count(&self, label: i64) -> i64 {
        let start = self.0.partition_point(|entry| entry.0 < label);
        self.0[start..].partition_point(|entry| entry.0 == label) as i64
    }
}

fn numbers(labels: &Tensor<1, Int>) -> Vec<i64> {
    signed(labels.clone()).try_into_vec_as::<i64>().expect("labels are integers in host memory")
}

/// Numbers beside labels, in their type.
fn like(labels: &Tensor<1, Int>, numbers: impl Iterator<Item = i64>) -> Tensor<1, Int> {
    let labels = signed(labels.clone());
    let numbers: Vec<i64> = numbers.collect();
    Tensor::from_data(TensorData::from(numbers.as_slice()), (&labels.device(), labels.dtype()))
}

fn first_match_in_blocks(
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

fn count_in_blocks(labels: Tensor<1, Int>, reference_labels: Tensor<1, Int>) -> Tensor<1, Int> {
    in_blocks(labels, reference_labels, |same, _| same.int().sum_dim(1).squeeze_dim::<1>(1))
}

/// What `row` makes of where the labels of some rows equal those of the references, `[rows, references]`, beginning with
/// the row that is named; all rows one after the other.
fn in_blocks(
    labels: Tensor<1, Int>,
    reference_labels: Tensor<1, Int>,
    row: impl Fn(Tensor<2, Bool>, usize) -> Tensor<1, Int>,
) -> Tensor<1, Int> {
    let (labels, reference_labels) = comparable(labels, reference_labels);
    let ([rows], [references]) = (labels.dims(), reference_labels.dims());
    let block = (COMPARISONS / references).clamp(1, rows);

    let found = (0..rows).step_by(block).map(|start| {
        let shape = [block.min(rows - start), references];
        let labels = labels.clone().narrow(0, start, shape[0]).unsqueeze_dim::<2>(1).expand(shape);
        row(labels.equal(reference_labels.clone().unsqueeze_dim::<2>(0).expand(shape)), start)
    });
    Tensor::cat(found.collect(), 0)
}

/// The rows of which a mask is true, where it lies in host memory; `None` elsewhere, and where all are or none is.
pub(crate) fn places_of(mask: &Tensor<1, Bool>) -> Option<Tensor<1, Int>> {
    let device = mask.device();
    if !in_host_memory(&device) {
        return None;
    }
    let mask = mask.clone().try_into_vec_as::<bool>().expect("a mask in host memory");
    let places: Vec<i64> = (0_i64..).zip(&mask).filter(|(_, is_true)| **is_true).map(|(place, _)| place).collect();
    let some = (1..mask.len()).contains(&places.len());
    some.then(|| Tensor::from_data(TensorData::from(places.as_slice()), &device))
}

/// Of all rows with an identity the number of one, the same for all of them.
///
/// # Shapes
///
/// - identities: `[batch]`, in `0..count`
/// - output: `[batch]`
pub(crate) fn one_of_each(identities: Tensor<1, Int>, count: usize) -> Tensor<1, Int> {
    let ([batch], options) = (identities.dims(), (&identities.device(), identities.dtype()));
    let rows = Tensor::<1, Int>::arange(0..batch as i64, options);
    // The last to write its number.
    Tensor::<1, Int>::zeros([count], options)
        .select_assign(0, identities.clone(), rows, IndexingUpdateOp::Assign)
        .select(0, identities)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use burn::tensor::Device;

    fn labels(labels: &[i64]) -> Tensor<1, Int> {
        Tensor::from_data(TensorData::from(labels), &Device::flex())
    }

    fn host(numbers: Tensor<1, Int>) -> Vec<i64> {
        numbers.try_into_vec_as().unwrap()
    }

    #[test]
    fn the_first_and_the_second_of_a_label_are_found() {
        let rows = labels(&[7, 3, 7, 9, 3, 7]);
        for find in [first_match, first_match_in_blocks] {
            let first = find(rows.clone(), rows.clone(), from_the_start(&rows));
            let second = find(rows.clone(), rows.clone(), first.clone());

            assert_eq!(host(first), [0, 1, 0, 3, 1, 0]);
            assert_eq!(host(second), [2, 4, 2, 6, 4, 2]);
        }
    }

    #[test]
    fn matches_are_counted_without_the_row_itself() {
        let rows = labels(&[7, 3, 7, 9, -1, -1, 7]);
        let own = count_matches(rows.clone(), rows.clone(), true);
        let other = count_matches(labels(&[7, 4, -1]), rows.clone(), false);

        assert_eq!(host(own), [2, 0, 2, 0, 0, 0, 2]);
        assert_eq!(host(other), [3, 0, 0]);
        assert_eq!(host(count_in_blocks(labels(&[7, 4, 9]), rows)), [3, 0, 1]);
    }

    #[test]
    fn rows_beyond_one_block_are_found() {
        let count = 1500;
        let all: Vec<i64> = (0..count).map(|row| row % 1000).collect();
        let rows = labels(&all);
        for find in [first_match, first_match_in_blocks] {
            let first = find(rows.clone(), rows.clone(), from_the_start(&rows));
            assert_eq!(host(first.clone()), all);
            // Only the first 500 labels occur twice.
            let second = all.iter().map(|&label| if label < 500 { label + 1000 } else { count });
            assert_eq!(host(find(rows.clone(), rows.clone(), first)), second.collect::<Vec<_>>());
        }
    }

    #[test]
    fn sums_are_those_of_the_same_label() {
        let references =
            Tensor::<2>::from_data([[1.0_f32, 2.0], [10.0, 20.0], [5.0, 5.0], [4.0, 8.0]], &Device::flex());
        let of_references = labels(&[5, 6, -1, 5]);

        let (found, counts) = label_sums(references.clone(), of_references.clone(), labels(&[5, -1, 6, 8, 5]));
        let expected = vec![5.0, 10.0, 0.0, 0.0, 10.0, 20.0, 0.0, 0.0, 5.0, 10.0];
        assert_eq!(found.try_into_vec_as::<f32>().unwrap(), expected);
        assert_eq!(counts.try_into_vec_as::<f32>().unwrap(), [2.0, 0.0, 1.0, 0.0, 2.0]);
        let (own, counts) = label_sums(references, of_references.clone(), of_references);
        assert_eq!(own.try_into_vec_as::<f32>().unwrap(), [5.0, 10.0, 10.0, 20.0, 0.0, 0.0, 5.0, 10.0]);
        assert_eq!(counts.try_into_vec_as::<f32>().unwrap(), [2.0, 1.0, 0.0, 2.0]);
    }
}
