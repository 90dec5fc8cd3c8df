//! The triplets of a batch, anchor by anchor, in memory of `[anchors, references]`.

use alloc::vec::Vec;

use burn::config::Config;
use burn::tensor::{Bool, Int, Tensor};

use super::masked::{flat, flat_mask, inside};
use super::triplet_shape::TripletShape;
use crate::mining::{Pairs, beyond_all};

/// Which triplets of a batch count.
#[derive(Config, Debug, Copy, PartialEq, Eq)]
pub enum TripletMining {
    /// Every anchor with each of its positives and each of its negatives.
    All,
    /// One triplet per anchor: its farthest positive and its nearest negative (Hermans et al. 2017).
    Hard,
    /// One triplet per positive pair: the nearest negative that is farther than the positive (FaceNet, Schroff et al. 2015).
    SemiHard,
}

/// Which distance a negative is held to.
#[derive(Config, Debug, Copy, PartialEq, Eq)]
pub enum NegativeDistance {
    /// That from the anchor.
    FromAnchor,
    /// The shorter of those from the anchor and from the positive: the anchor swap of Balntas et al. 2016. Asks for
    /// distances of a batch with itself that are the same in both directions.
    Nearest,
}

/// The losses of many triplets, added up anchor by anchor. Each `[anchors]`.
pub(super) struct AnchorSums {
    /// The sum of an anchor's losses.
    pub losses: Tensor<1>,
    /// How many triplets it has.
    pub triplets: Tensor<1>,
    /// How many of them have a loss that is not 0.
    pub active: Tensor<1>,
}

/// A margin and what is done with its excess.
#[derive(Clone, Copy)]
pub(super) struct TripletRule {
    pub margin: f64,
    pub shape: TripletShape,
    pub negative_distance: NegativeDistance,
}

impl TripletRule {
    /// The losses of triplets by their two distances; 0 where they are not valid.
    pub(super) fn losses(self, positive: Tensor<1>, negative: Tensor<1>, valid: Tensor<1, Bool>) -> Tensor<1> {
        inside(valid, (positive - negative).add_scalar(self.margin), |excess| self.shape.loss(excess))
    }
}

/// All triplets of a batch.
///
/// There are `anchors·positives·negatives` of them, and neither they nor their graph are ever held: the references are
/// walked as negatives one by one, on distances without a graph, and what is kept is each anchor's sum and, for every
/// distance, the sum of the slopes of the triplets it is in. A triplet is linear in its two distances up to the slope of
/// its shape, so `sum(slopes·(distances - constant distances))`, whose value is 0, has the exact gradient.
///
/// With `Nearest`, a triplet whose negative is nearer to the positive than to the anchor has these two in each other's
/// place: it counts for the row of its positive.
pub(super) fn all_triplets(distances: Tensor<2>, pairs: &Pairs, rule: TripletRule) -> AnchorSums {
    let shape = distances.dims();
    let [anchors, references] = shape;
    let constant = distances.clone().detach();
    let ones = constant.ones_like();
    let count = |mask: Tensor<2, Bool>| ones.clone().mask_fill(mask.bool_not(), 0.0);
    let mut losses = constant.zeros_like().narrow(1, 0, 1);
    let (mut triplets, mut active) = (losses.clone(), losses.clone());
    let mut slopes = constant.zeros_like();
    let mut negative_slopes = Vec::with_capacity(references);

    for reference in 0..references {
        let column = constant.clone().narrow(1, reference, 1);
        let negative = column.clone().expand(shape);
        let is_negative = pairs.negative.clone().narrow(1, reference, 1);
        let own = pairs.positive.clone().bool_and(is_negative.clone().expand(shape));
        // How often the triplet of this row, positive and negative counts.
        let times = match rule.negative_distance {
            NegativeDistance::FromAnchor => count(own),
            NegativeDistance::Nearest => {
                let other = column.transpose().expand(shape);
                let farther = negative.clone().greater(other.clone());
                let nearer = negative.clone().lower(other);
                let swapped = pairs.positive.clone().transpose().bool_and(is_negative.transpose().expand(shape));
                count(own.bool_and(farther.bool_not())) + count(swapped.bool_and(nearer))
            }
        };
        let none = times.clone().equal_scalar(0.0);
        let excess = flat((constant.clone() - negative).add_scalar(rule.margin).mask_fill(none, 0.0));
        let loss = rule.shape.loss(excess.clone()).reshape(shape) * times.clone();
        let slope = rule.shape.slope(excess).reshape(shape) * times.clone();

        active = active + times.clone().mask_fill(loss.clone().equal_scalar(0.0), 0.0).sum_dim(1);
        triplets = triplets + times.sum_dim(1);
        losses = losses + loss.sum_dim(1);
        negative_slopes.push(slope.clone().sum_dim(1));
        slopes = slopes + slope;
    }
    let slopes = slopes - Tensor::cat(negative_slopes, 1);
    // A distance that is in no triplet may be infinite, and infinity less itself is no number.
    let unused = slopes.clone().equal_scalar(0.0);
    let carrier = (slopes * (distances - constant).mask_fill(unused, 0.0)).sum_dim(1);
    let column = |column: Tensor<2>| column.reshape([anchors]);

    AnchorSums { losses: column(losses + carrier), triplets: column(triplets), active: column(active) }
}

/// The farthest positive and the nearest negative of every anchor.
pub(super) fn hard_triplets(distances: Tensor<2>, pairs: &Pairs, rule: TripletRule) -> AnchorSums {
    let Pairs { positive, negative } = pairs.clone();
    let valid = positive.clone().any_dim(1).bool_and(negative.clone().any_dim(1));
    let beyond = beyond_all(distances.dtype());
    let (farthest, positive) = distances.clone().mask_fill(positive.bool_not(), -beyond).max_dim_with_indices(1);
    let (nearest, negative) = distances.clone().mask_fill(negative.bool_not(), beyond).min_dim_with_indices(1);
    let nearest = match rule.negative_distance {
        NegativeDistance::FromAnchor => nearest,
        NegativeDistance::Nearest => {
            let from_positive = distances.select(0, positive.squeeze_dim(1)).gather(1, negative);
            shorter(nearest, from_positive)
        }
    };
    anchor_sums(farthest, nearest, valid, rule)
}

/// For every positive pair the nearest negative that is farther than the positive. The search walks the references one
/// by one.
pub(super) fn semi_hard_triplets(distances: Tensor<2>, pairs: &Pairs, rule: TripletRule) -> AnchorSums {
    let shape = distances.dims();
    let constant = distances.clone().detach();
    let mut nearest = constant.full_like(beyond_all(distances.dtype()));
    let mut index = Tensor::<2, Int>::full(shape, -1, &distances.device());
    for reference in 0..shape[1] {
        let negative = constant.clone().narrow(1, reference, 1).expand(shape);
        let is_negative = pairs.negative.clone().narrow(1, reference, 1).expand(shape);
        let better = negative.clone().greater(constant.clone()).bool_and(negative.clone().lower(nearest.clone()));
        let better = better.bool_and(is_negative);
        nearest = nearest.mask_where(better.clone(), negative);
        index = index.mask_fill(better, reference as i64);
    }
    let missing = index.clone().lower_scalar(0);
    let valid = pairs.positive.clone().bool_and(missing.clone().bool_not());
    let index = index.mask_fill(missing, 0);
    let negative = distances.clone().gather(1, index.clone());
    let negative = match rule.negative_distance {
        NegativeDistance::FromAnchor => negative,
        NegativeDistance::Nearest => {
            let from_positive = distances.clone().gather(1, index.transpose()).transpose();
            shorter(negative, from_positive)
        }
    };
    anchor_sums(distances, negative, valid, rule)
}

/// The smaller of two numbers; the first where they are equal, with all of the gradient.
pub(super) fn shorter<const D: usize>(first: Tensor<D>, second: Tensor<D>) -> Tensor<D> {
    let nearer = second.clone().lower(first.clone());
    first.mask_where(nearer, second)
}

fn anchor_sums(positive: Tensor<2>, negative: Tensor<2>, valid: Tensor<2, Bool>, rule: TripletRule) -> AnchorSums {
    let [anchors, triplets] = valid.dims();
    let ones = Tensor::<2>::ones([anchors, triplets], (&positive.device(), positive.dtype()));
    let losses = rule.losses(flat(positive), flat(negative), flat_mask(valid.clone())).reshape([anchors, triplets]);
    let zero = losses.clone().detach().equal_scalar(0.0);
    let sum = |numbers: Tensor<2>| numbers.sum_dim(1).reshape([anchors]);

    AnchorSums {
        losses: sum(losses),
        triplets: sum(ones.clone().mask_fill(valid.bool_not(), 0.0)),
        active: sum(ones.mask_fill(zero, 0.0)),
    }
}
