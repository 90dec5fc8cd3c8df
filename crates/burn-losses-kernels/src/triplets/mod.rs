//! The triplets of a batch, in memory of `[anchors, references]`: all of them, or one for every positive pair.
//!
//! Of all there are `anchors·positives·negatives` of them, and neither they nor their graph are ever held: they are walked on
//! distances without a graph, and what is kept is each anchor's sum and, for every distance, the sum of the slopes of the
//! triplets it is in. A triplet is linear in its two distances up to the slope of its shape, so
//! `sum(slopes·(distances - constant distances))`, whose value is 0, has the exact gradient.
//!
//! | file | what |
//! | --- | --- |
//! | `rule.rs` | what a triplet costs |
//! | `reference.rs` | the walk from ordinary tensor operations: the definition of correct, and what GPUs run |
//! | `host.rs` | the walk on the memory of Flex and NdArray, which visits the triplets that there are and no others |

#[cfg(feature = "cpu-path")]
mod host;
mod reference;
mod rule;

use burn::tensor::{Bool, Int, Tensor, assert_shape};

pub use rule::{NegativeDistance, TripletRule, TripletShape};

/// The losses of many triplets, added up anchor by anchor. Each `[anchors]`.
#[derive(Clone, Debug)]
pub struct TripletSums {
    /// The sum of an anchor's losses.
    pub losses: Tensor<1>,
    /// How many triplets it has.
    pub triplets: Tensor<1>,
    /// How many of them have a loss that is not 0.
    pub active: Tensor<1>,
}

/// What a walk found, without a graph.
struct Walked {
    /// How much every distance adds to the sum of all losses, `[anchors, references]`.
    slopes: Tensor<2>,
    losses: Tensor<1>,
    triplets: Tensor<1>,
    active: Tensor<1>,
}

/// The sums over all triplets of every anchor with each of its positives and each of its negatives.
///
/// ```text
/// excess[a, p, n] = distances[a, p] - distances[a, n] + margin
/// ```
///
/// With [`NegativeDistance::Nearest`], a triplet whose negative is nearer to the positive than to the anchor has these two
/// in each other's place: it counts for the row of its positive. What stands outside of the masks reaches nothing, not
/// even NaN. Differentiable in the distances.
///
/// # Shapes
///
/// - distances: `[anchors, references]`, in `f32` or `f64`, at least one of each
/// - positives: `[anchors, references]`
/// - negatives: `[anchors, references]`; no reference is both
///
/// # Panics
///
/// If the shapes do not agree, or are not square with [`NegativeDistance::Nearest`].
///
/// ```
/// use burn::tensor::{Bool, Device, Tensor};
/// use burn_losses_kernels::triplets::{NegativeDistance, TripletRule, TripletShape, all_triplets};
///
/// let device = Device::default();
/// let distances = Tensor::<2>::from_floats([[0.0, 2.0, 1.0]], &device);
/// let positives = Tensor::<2, Bool>::from_data([[false, true, false]], &device);
/// let negatives = Tensor::<2, Bool>::from_data([[false, false, true]], &device);
/// let negative_distance = NegativeDistance::FromAnchor;
/// let rule = TripletRule { margin: 0.5, shape: TripletShape::Hinge, negative_distance };
/// let sums = all_triplets(distances, positives, negatives, rule);
/// assert_eq!(sums.losses.into_scalar::<f32>(), 1.5);
/// ```
pub fn all_triplets(
    distances: Tensor<2>,
    positives: Tensor<2, Bool>,
    negatives: Tensor<2, Bool>,
    rule: TripletRule,
) -> TripletSums {
    check(&distances, &positives, &negatives, rule);
    #[cfg(feature = "cpu-path")]
    if crate::host::is_host(&distances.device()) {
        let walked = host::walk(distances.clone(), positives, negatives, rule);
        return connected(distances, walked);
    }
    all_triplets_reference(distances, positives, negatives, rule)
}

/// [`all_triplets`] from ordinary tensor operations: the definition of correct.
pub fn all_triplets_reference(
    distances: Tensor<2>,
    positives: Tensor<2, Bool>,
    negatives: Tensor<2, Bool>,
    rule: TripletRule,
) -> TripletSums {
    check(&distances, &positives, &negatives, rule);
    let walked = reference::walk(distances.clone().detach(), positives, negatives, rule);
    connected(distances, walked)
}

/// The semi-hard negative of every positive pair: the closest of the negatives that are farther than the positive, and of
/// equal ones the first.
///
/// ```text
/// negative[a, p] = argmin over n of distances[a, n], where distances[a, n] > distances[a, p]
/// ```
///
/// A negative whose distance is infinite or no number is in no triplet, and neither is a positive whose distance is none.
///
/// # Shapes
///
/// - distances: `[anchors, references]`, in `f32` or `f64`, at least one of each
/// - positives: `[anchors, references]`
/// - negatives: `[anchors, references]`; no reference is both
/// - output: `[anchors, references]`, the place of the negative; -1 where there is no positive, or no negative for it
///
/// # Panics
///
/// If the shapes do not agree.
///
/// # Source
///
/// Schroff, Kalenichenko, Philbin: [FaceNet](https://arxiv.org/abs/1503.03832), 2015, section 3.2, equation 4.
///
/// ```
/// use burn::tensor::{Bool, Device, Tensor};
/// use burn_losses_kernels::triplets::semi_hard_negatives;
///
/// let device = Device::default();
/// let distances = Tensor::<2>::from_floats([[2.0, 1.0, 4.0, 3.0]], &device);
/// let positives = Tensor::<2, Bool>::from_data([[true, false, false, false]], &device);
/// let negatives = positives.clone().bool_not();
/// let chosen = semi_hard_negatives(distances, positives, negatives);
/// assert_eq!(chosen.try_into_vec_as::<i64>().unwrap(), [3, -1, -1, -1]);
/// ```
pub fn semi_hard_negatives(
    distances: Tensor<2>,
    positives: Tensor<2, Bool>,
    negatives: Tensor<2, Bool>,
) -> Tensor<2, Int> {
    check_shapes(&distances, &positives, &negatives);
    #[cfg(feature = "cpu-path")]
    if crate::host::is_host(&distances.device()) {
        return host::semi_hard_negatives(distances, positives, negatives);
    }
    semi_hard_negatives_reference(distances, positives, negatives)
}

/// [`semi_hard_negatives`] from ordinary tensor operations: the definition of correct. Some four million numbers at a time.
pub fn semi_hard_negatives_reference(
    distances: Tensor<2>,
    positives: Tensor<2, Bool>,
    negatives: Tensor<2, Bool>,
) -> Tensor<2, Int> {
    check_shapes(&distances, &positives, &negatives);
    reference::semi_hard_negatives(distances.detach(), positives, negatives)
}

fn check(distances: &Tensor<2>, positives: &Tensor<2, Bool>, negatives: &Tensor<2, Bool>, rule: TripletRule) {
    check_shapes(distances, positives, negatives);
    let [anchors, references] = distances.dims();
    if rule.negative_distance == NegativeDistance::Nearest {
        assert_eq!(anchors, references, "triplets: the nearest negative needs the distances of a batch with itself");
    }
}

fn check_shapes(distances: &Tensor<2>, positives: &Tensor<2, Bool>, negatives: &Tensor<2, Bool>) {
    let [anchors, references] = distances.dims();
    assert!(anchors >= 1 && references >= 1, "triplets: there must be an anchor and a reference");
    assert_shape!(positives, [anchors, references]);
    assert_shape!(negatives, [anchors, references]);
}

fn connected(distances: Tensor<2>, walked: Walked) -> TripletSums {
    let Walked { slopes, losses, triplets, active } = walked;
    let constant = distances.clone().detach();
    // Infinity less itself is no number, and a distance that is in no triplet may be none.
    let silent = slopes.clone().equal_scalar(0.0).bool_or(constant.clone().is_inf());
    let nothing = (distances - constant).mask_fill(silent, 0.0);

    TripletSums { losses: losses + (slopes * nothing).sum_dim(1).squeeze_dim(1), triplets, active }
}
