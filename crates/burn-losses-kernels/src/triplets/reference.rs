use alloc::vec::Vec;

use burn::tensor::{Bool, DType, Int, Tensor};

use super::{NegativeDistance, TripletRule, Walked};

/// Numbers that the search for semi-hard negatives holds at once, about.
const BLOCK: usize = 1 << 22;

/// All triplets from ordinary tensor operations: the references are walked as negatives one by one.
pub(super) fn walk(
    distances: Tensor<2>,
    positives: Tensor<2, Bool>,
    negatives: Tensor<2, Bool>,
    rule: TripletRule,
) -> Walked {
    let shape = distances.dims();
    let [anchors, references] = shape;
    let constant = distances;
    let ones = constant.ones_like();
    let count = |mask: Tensor<2, Bool>| ones.clone().mask_fill(mask.bool_not(), 0.0);
    let mut losses = constant.zeros_like().narrow(1, 0, 1);
    let (mut triplets, mut active) = (losses.clone(), losses.clone());
    let mut slopes = constant.zeros_like();
    let mut negative_slopes = Vec::with_capacity(references);

    for reference in 0..references {
        let column = constant.clone().narrow(1, reference, 1);
        let negative = column.clone().expand(shape);
        let is_negative = negatives.clone().narrow(1, reference, 1);
        let own = positives.clone().bool_and(is_negative.clone().expand(shape));
        // How often the triplet of this row, positive and negative counts.
        let times = match rule.negative_distance {
            NegativeDistance::FromAnchor => count(own),
            NegativeDistance::Nearest => {
                let other = column.transpose().expand(shape);
                let farther = negative.clone().greater(other.clone());
                let nearer = negative.clone().lower(other);
                let swapped = positives.clone().transpose().bool_and(is_negative.transpose().expand(shape));
                count(own.bool_and(farther.bool_not())) + count(swapped.bool_and(nearer))
            }
        };
        let none = times.clone().equal_scalar(0.0);
        let excess = (constant.clone() - negative).add_scalar(rule.margin).mask_fill(none, 0.0).flatten::<1>(0, 1);
        let loss = rule.shape.loss(excess.clone()).reshape(shape) * times.clone();
        let slope = rule.shape.slope(excess).reshape(shape) * times.clone();

        active = active + times.clone().mask_fill(loss.clone().equal_scalar(0.0), 0.0).sum_dim(1);
        triplets = triplets + times.sum_dim(1);
        losses = losses + loss.sum_dim(1);
        negative_slopes.push(slope.clone().sum_dim(1));
        slopes = slopes + slope;
    }
    let slopes = slopes - Tensor::cat(negative_slopes, 1);
    let column = |column: Tensor<2>| column.reshape([anchors]);

    Walked { slopes, losses: column(losses), triplets: column(triplets), active: column(active) }
}

/// Every positive pair is held to all references, some pairs at a time.
pub(super) fn semi_hard_negatives(
    distances: Tensor<2>,
    positives: Tensor<2, Bool>,
    negatives: Tensor<2, Bool>,
) -> Tensor<2, Int> {
    let [anchors, references] = distances.dims();
    let length = (BLOCK / (anchors * references)).clamp(1, references);
    let chosen = (0..references).step_by(length).map(|start| {
        let length = length.min(references - start);
        let shape = [anchors, length, references];
        let near = distances.clone().narrow(1, start, length).unsqueeze_dim::<3>(2).expand(shape);
        let far = distances.clone().unsqueeze_dim::<3>(1).expand(shape);
        let allowed = negatives.clone().unsqueeze_dim::<3>(1).expand(shape);
        let farther = far.clone().greater(near).bool_and(allowed).bool_and(far.clone().is_inf().bool_not());
        let missing = farther.clone().any_dim(2).bool_not();
        let index = far.mask_fill(farther.bool_not(), largest(&distances)).argmin(2);
        index.mask_fill(missing, -1).reshape([anchors, length])
    });
    Tensor::cat(chosen.collect(), 1).mask_fill(positives.bool_not(), -1)
}

/// Infinity would leave a row of nothing else without a smallest number on some backends.
fn largest(distances: &Tensor<2>) -> f64 {
    if distances.dtype() == DType::F64 { f64::MAX } else { f64::from(f32::MAX) }
}
