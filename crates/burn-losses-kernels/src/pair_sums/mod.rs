//! Losses of pairs by their distance, added up anchor by anchor.
//!
//! As ordinary operations, masks and losses of all pairs are a few dozen matrices; here they are one pass over the distances,
//! and one for their gradient.
//!
//! | file | what |
//! | --- | --- |
//! | `kinds.rs` | what every reference is to every anchor |
//! | `rule.rs` | what a pair costs |
//! | `reference.rs` | ordinary tensor operations: the definition of correct, and what GPUs run |
//! | `backend.rs` | the two passes as Burn's backends see them, and their gradient |
//! | `passes.rs` | the two passes on the memory of Flex and NdArray |

#[cfg(feature = "cpu-path")]
mod backend;
mod kinds;
#[cfg(feature = "cpu-path")]
mod passes;
mod reference;
mod rule;

use burn::tensor::{Tensor, assert_shape};

#[cfg(feature = "cpu-path")]
pub(crate) use kinds::{NEGATIVE, POSITIVE};
pub use kinds::{kinds_of_labels, kinds_of_labels_reference, kinds_of_masks, masks_of_labels};
pub use rule::{PairCost, PairRule};

/// What the pairs of one kind cost. Each `[anchors]`.
#[derive(Clone, Debug)]
pub struct PairTotals {
    /// The sum of an anchor's losses.
    pub losses: Tensor<1>,
    /// How many pairs it has.
    pub pairs: Tensor<1>,
    /// How many of them have a loss that is not 0.
    pub active: Tensor<1>,
}

/// What the pairs of every anchor cost.
#[derive(Clone, Debug)]
pub struct PairSums {
    /// Its positive pairs.
    pub positive: PairTotals,
    /// Its negative pairs.
    pub negative: PairTotals,
}

/// The losses of all pairs, added up. What is no pair reaches nothing, not even NaN. Differentiable in the distances.
///
/// # Shapes
///
/// - distances: `[anchors, references]`, in `f32` or `f64`, at least one of each
/// - kinds: `[anchors, references]`, in the same type, of [`kinds_of_labels`] or [`kinds_of_masks`]
///
/// # Panics
///
/// If the shapes differ.
///
/// ```
/// use burn::tensor::{Device, Int, Tensor};
/// use burn_losses_kernels::pair_sums::{PairCost, PairRule, kinds_of_labels, pair_sums};
///
/// let device = Device::default();
/// let labels = Tensor::<1, Int>::from_ints([7, 7, 4], &device);
/// let distances = Tensor::<2>::from_data([[0.0, 1.0, 2.0], [1.0, 0.0, 1.0], [2.0, 1.0, 0.0]], &device);
/// let kinds = kinds_of_labels(labels.clone(), labels, true, distances.dtype());
/// let cost = |margin| PairCost { margin, factor: 0.5, squared: true };
/// let rule = PairRule { of_squares: false, positive: cost(0.0), negative: cost(3.0) };
/// let sums = pair_sums(distances, kinds, rule);
/// assert_eq!(sums.positive.losses.try_into_vec_as::<f32>().unwrap(), [0.5, 0.5, 0.0]);
/// assert_eq!(sums.negative.losses.try_into_vec_as::<f32>().unwrap(), [0.5, 2.0, 2.5]);
/// ```
pub fn pair_sums(distances: Tensor<2>, kinds: Tensor<2>, rule: PairRule) -> PairSums {
    check(&distances, &kinds);
    #[cfg(feature = "cpu-path")]
    if crate::host::is_host(&distances.device()) {
        return backend::pair_sums(distances, kinds, rule);
    }
    reference::pair_sums(distances, kinds, rule)
}

/// [`pair_sums`] from ordinary tensor operations: the definition of correct.
pub fn pair_sums_reference(distances: Tensor<2>, kinds: Tensor<2>, rule: PairRule) -> PairSums {
    check(&distances, &kinds);
    reference::pair_sums(distances, kinds, rule)
}

fn check(distances: &Tensor<2>, kinds: &Tensor<2>) {
    let [anchors, references] = distances.dims();
    assert!(anchors >= 1 && references >= 1, "pair_sums: there must be an anchor and a reference");
    assert_shape!(kinds, [anchors, references]);
}
