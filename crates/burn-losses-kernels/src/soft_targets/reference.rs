use burn::tensor::Tensor;

use super::{SMALLEST_REST, SoftRule};
use crate::math::cast_to;

pub(super) fn soft_losses(
    logits: Tensor<2>,
    targets: Tensor<2>,
    weights: Option<Tensor<1>>,
    rule: SoftRule,
) -> Tensor<1> {
    let shape = logits.dims();
    let shares = targets.mul_scalar(1.0 - rule.smoothing).add_scalar(rule.smoothing / shape[1] as f64);
    let shares = match weights {
        Some(weights) => shares * cast_to(weights.detach(), logits.dtype()).unsqueeze_dim::<2>(0).expand(shape),
        None => shares,
    };
    // 0 times infinity is 0 here: a class that is masked out and not wanted.
    let unwanted = logits.clone().equal_scalar(f64::NEG_INFINITY).bool_and(shares.clone().equal_scalar(0.0));
    // The shift cancels in the result, so no gradient flows through it.
    let shifted = logits.clone() - logits.detach().max_dim(1);
    let log_p = (shifted.clone() - shifted.exp().sum_dim(1).log()).mask_fill(unwanted, 0.0);
    let losses = log_p.clone().neg() * shares;
    let losses = if rule.gamma > 0.0 {
        let rest = log_p.exp().neg().add_scalar(1.0).clamp_min(SMALLEST_REST);
        losses * rest.log().mul_scalar(rule.gamma).exp()
    } else {
        losses
    };
    losses.sum_dim(1).squeeze_dim(1)
}
