//! What the cosines of two sides add up to for the rows of both, and of several lengths of the rows, in one walk.
//!
//! [`scores`](super::scores) looks at every product from the side of the queries, so a loss of images and texts that compares both
//! with each other computes each product twice, and again for every length that the rows are cut to. Here a product is computed
//! once: its exponential is added to the sum of its row and to that of its column, and the product of the first numbers of two
//! rows is the beginning of that of more of them.

#[cfg(feature = "cpu-path")]
pub(super) mod op;

use alloc::vec::Vec;

use burn::tensor::{Int, Tensor, assert_shape};

use super::{Comparison, Counted, Scale, scores, scores_reference};
use crate::math::{NOTHING, comparable, unit_rows, widen};

/// Two sets of rows that are compared with each other.
#[derive(Clone, Debug)]
pub struct Sides {
    /// `[N, D]`.
    pub first: Tensor<2>,
    /// `[M, D]`.
    pub second: Tensor<2>,
    /// Of the first and of the second, `[N]` and `[M]`. Two rows of one label are not compared, and a row with a negative label
    /// is compared with none.
    pub labels: [Tensor<1, Int>; 2],
}

/// What the cosines of one length add up to.
#[derive(Clone, Debug)]
pub struct CosineSums {
    /// For every row of the first side, `[N]`.
    pub first: Tensor<1>,
    /// For every row of the second side, `[M]`; `None` where they are not wanted.
    pub second: Option<Tensor<1>>,
    /// The cosine of the rows at the same place of both sides, not scaled, `[min(N, M)]`: that of a row and its partner.
    pub own: Tensor<1>,
}

/// The log-sum-exps of cosines, for the rows of one side or of both, of each of the lengths that rows are cut to.
///
/// ```text
/// cosine[m, i, j] = the cosine of the first m numbers of first[i] and of second[j]
/// first[m, i]     = log(sum over the j that are compared with i of exp(scale·cosine[m, i, j]))
/// second[m, j]    = log(sum over the i that are compared with j of exp(scale·cosine[m, i, j]))
/// own[m, i]       = cosine[m, i, i], compared or not
/// ```
///
/// Where there is nothing to compare a log-sum-exp is -1e30, with gradient 0. Differentiable in both sides and in a scale that is a
/// tensor. Half precision is computed in `f32`. On host memory all lengths and both sides cost the products of one of them, in memory
/// of `O((N + M)·D)`, and so do lengths one after the other if the first numbers of a row are nearly nothing beside the rest (a share of
/// `1e-9`, or not above `2e-12`; a row that is 0 as a whole is none of these). Elsewhere [`scores`] computes all of them one by one.
///
/// # Shapes
///
/// - lengths: `1 <= length <= D` each, in any order
/// - output: one for each of the lengths, in their order
///
/// # Panics
///
/// If the shapes do not agree, a length is not in its range, or a constant scale is not in `[1e-10, 1e10]`.
///
/// ```
/// use burn::tensor::{Device, Int, Tensor};
/// use burn_losses_kernels::scores::{Scale, Sides, cosine_sums};
///
/// let device = Device::default();
/// let labels = Tensor::<1, Int>::from_ints([0, 1], &device);
/// let sides = Sides {
///     first: Tensor::from_floats([[1.0, 0.0], [0.6, 0.8]], &device),
///     second: Tensor::from_floats([[3.0, 4.0], [5.0, 0.0]], &device),
///     labels: [labels.clone(), labels],
/// };
/// let sums = cosine_sums(sides, &[2, 1], true, Scale::Constant(10.0));
/// // Each row is compared with one other: of two numbers the first with (1, 0), of one number 1 with 1.
/// assert!((sums[0].first.clone().narrow(0, 0, 1).into_scalar::<f32>() - 10.0).abs() < 1e-5);
/// assert!((sums[1].first.clone().narrow(0, 0, 1).into_scalar::<f32>() - 10.0).abs() < 1e-5);
/// let second = sums[0].second.clone().unwrap();
/// assert!((second.narrow(0, 0, 1).into_scalar::<f32>() - 10.0).abs() < 1e-5);
/// ```
pub fn cosine_sums(sides: Sides, lengths: &[usize], both: bool, scale: impl Into<Scale>) -> Vec<CosineSums> {
    let (sides, scale) = checked(sides, lengths, scale.into());
    #[cfg(feature = "cpu-path")]
    if let Some(sums) = op::on_host(&sides, lengths, both, &scale) {
        return sums;
    }
    one_by_one(&sides, lengths, both, &scale, scores)
}

/// [`cosine_sums`] from ordinary tensor operations, with all scores in memory: the definition of correct.
pub fn cosine_sums_reference(sides: Sides, lengths: &[usize], both: bool, scale: impl Into<Scale>) -> Vec<CosineSums> {
    let (sides, scale) = checked(sides, lengths, scale.into());
    one_by_one(&sides, lengths, both, &scale, scores_reference)
}

fn checked(sides: Sides, lengths: &[usize], scale: Scale) -> (Sides, Scale) {
    let Sides { first, second, labels: [labels, other_labels] } = sides;
    let ([rows, dim], [others, _]) = (first.dims(), second.dims());
    assert_shape!(second, [others, dim]);
    assert_shape!(labels, [rows]);
    assert_shape!(other_labels, [others]);
    assert!(
        lengths.iter().all(|length| (1..=dim).contains(length)),
        "cosine_sums: lengths must be in [1, {dim}], got {lengths:?}"
    );
    match &scale {
        Scale::Constant(scale) => {
            assert!((1e-10..=1e10).contains(scale), "cosine_sums: scale must be in [1e-10, 1e10], got {scale}");
        }
        Scale::Tensor(scale) => assert_shape!(scale, [1]),
    }
    let labels = comparable(labels, other_labels).into();
    (Sides { first: widen(first), second: widen(second), labels }, scale)
}

/// Every side and every length by itself.
fn one_by_one(
    sides: &Sides,
    lengths: &[usize],
    both: bool,
    scale: &Scale,
    scores: fn(Tensor<2>, Tensor<2>, Tensor<1, Int>, Comparison) -> super::Scores,
) -> Vec<CosineSums> {
    let [labels, other_labels] = &sides.labels;
    let sums = |queries: &Tensor<2>, keys: &Tensor<2>, labels: &Tensor<1, Int>, key_labels: &Tensor<1, Int>| {
        let counted = Counted::OtherLabels(key_labels.clone());
        let comparison = Comparison { counted, ..Comparison::new(scale.clone()) };
        let sums = scores(queries.clone(), keys.clone(), labels.clone(), comparison).sum;
        sums.mask_fill(labels.clone().lower_scalar(0), NOTHING)
    };
    let of_length = |&length: &usize| {
        let [first, second] = [&sides.first, &sides.second].map(|rows| unit_rows(rows.clone().narrow(1, 0, length)));
        let count = first.dims()[0].min(second.dims()[0]);
        let own = if count == 0 {
            Tensor::zeros([0], (&first.device(), first.dtype()))
        } else {
            (first.clone().narrow(0, 0, count) * second.clone().narrow(0, 0, count)).sum_dim(1).squeeze_dim(1)
        };
        CosineSums {
            first: sums(&first, &second, labels, other_labels),
            second: both.then(|| sums(&second, &first, other_labels, labels)),
            own,
        }
    };
    lengths.iter().map(of_length).collect()
}
