//! The triplets of a batch that are one per anchor or per positive pair, in memory of `[anchors, references]`.

use burn::config::Config;
use burn::tensor::{Bool, Tensor};
use burn_losses_kernels::triplets::{NegativeDistance, TripletRule, TripletSums, semi_hard_negatives};

use super::masked::{flat, flat_mask, inside};
use crate::mining::{PairMasks, beyond_all};

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

/// The losses of triplets by their two distances; 0 where they are not valid.
pub(super) fn losses(rule: TripletRule, positive: Tensor<1>, negative: Tensor<1>, valid: Tensor<1, Bool>) -> Tensor<1> {
    inside(valid, (positive - negative).add_scalar(rule.margin), |excess| rule.shape.loss(excess))
}

/// The farthest positive and the nearest negative of every anchor.
pub(super) fn hard_triplets(distances: Tensor<2>, pairs: &PairMasks, rule: TripletRule) -> TripletSums {
    let PairMasks { positive, negative } = pairs.clone();
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

/// For every positive pair the nearest negative that is farther than the positive.
pub(super) fn semi_hard_triplets(distances: Tensor<2>, pairs: &PairMasks, rule: TripletRule) -> TripletSums {
    let index = semi_hard_negatives(distances.clone(), pairs.positive.clone(), pairs.negative.clone());
    let missing = index.clone().lower_scalar(0);
    let valid = missing.clone().bool_not();
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

fn anchor_sums(positive: Tensor<2>, negative: Tensor<2>, valid: Tensor<2, Bool>, rule: TripletRule) -> TripletSums {
    let [anchors, triplets] = valid.dims();
    let ones = Tensor::<2>::ones([anchors, triplets], (&positive.device(), positive.dtype()));
    let losses = losses(rule, flat(positive), flat(negative), flat_mask(valid.clone())).reshape([anchors, triplets]);
    let zero = losses.clone().detach().equal_scalar(0.0);
    let sum = |numbers: Tensor<2>| numbers.sum_dim(1).reshape([anchors]);

    TripletSums {
        losses: sum(losses),
        triplets: sum(ones.clone().mask_fill(valid.bool_not(), 0.0)),
        active: sum(ones.mask_fill(zero, 0.0)),
    }
}
