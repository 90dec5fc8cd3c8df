use burn::tensor::Tensor;

use super::Element;
use crate::math::softplus;

pub(super) fn elements<const D: usize>(predictions: Tensor<D>, targets: Tensor<D>, element: Element) -> Tensor<D> {
    match element {
        Element::Answer { present, absent, gamma_present, gamma_absent, clip } => {
            let yes = focal(predictions.clone(), gamma_present).mul_scalar(present);
            let no = no(predictions, gamma_absent, clip).mul_scalar(absent);
            targets.clone() * yes + targets.neg().add_scalar(1.0) * no
        }
        Element::LogCosh => {
            // At 0 the slope of the magnitude is 0, and so is that of the loss.
            let magnitude = (predictions - targets).abs();
            let bend = magnitude.clone().mul_scalar(-2.0).exp().log1p();
            magnitude + bend.sub_scalar(core::f64::consts::LN_2)
        }
        Element::Charbonnier { epsilon } => {
            let error = predictions - targets;
            // A factor that cancels, so no gradient flows through it.
            let largest = error.clone().detach().abs().clamp_min(epsilon);
            let rest = largest.clone().recip().mul_scalar(epsilon);
            ((error / largest.clone()).square() + rest.square()).sqrt() * largest
        }
        Element::Penalty { absolute, square } => {
            let error = predictions - targets;
            match [absolute, square] {
                [absolute, 0.0] => error.abs().mul_scalar(absolute),
                [0.0, square] => error.square().mul_scalar(0.5 * square),
                [absolute, square] => {
                    error.clone().abs().mul_scalar(absolute) + error.square().mul_scalar(0.5 * square)
                }
            }
        }
        Element::Quantile { quantile } => {
            let shortfall = targets - predictions;
            let above = shortfall.clone().lower_equal_scalar(0.0);
            let below = shortfall.clone().greater_equal_scalar(0.0);
            let missing = shortfall.clone().mask_fill(above, 0.0).mul_scalar(quantile);
            missing + shortfall.mask_fill(below, 0.0).mul_scalar(quantile - 1.0)
        }
    }
}

/// `-log(p)` of log-odds.
fn negative_log<const D: usize>(log_odds: Tensor<D>) -> Tensor<D> {
    softplus(log_odds.neg())
}

/// `-(1 - p)^gamma·log(p)`.
fn focal<const D: usize>(log_odds: Tensor<D>, gamma: f64) -> Tensor<D> {
    if gamma == 0.0 {
        return negative_log(log_odds);
    }
    // -log(1 - p) is that of the opposite, whose log-odds are negated.
    negative_log(log_odds.clone().neg()).mul_scalar(-gamma).exp() * negative_log(log_odds)
}

/// `-s^gamma·log(1 - s)` of `s = max(p - clip, 0)`.
fn no<const D: usize>(log_odds: Tensor<D>, gamma: f64, clip: f64) -> Tensor<D> {
    if clip == 0.0 {
        return focal(log_odds.neg(), gamma);
    }
    // Not Burn's sigmoid, which is computed in f32 on ndarray, also for f64.
    let shifted = negative_log(log_odds.clone()).neg().exp().sub_scalar(clip);
    let free = shifted.clone().lower_equal_scalar(0.0);
    // 1 - shifted, which would be 0 for a small clip.
    let rest = negative_log(log_odds.neg()).neg().exp().add_scalar(clip);
    // A half has a logarithm on both sides; what it stands for is replaced.
    let shifted = shifted.mask_fill(free.clone(), 0.5);
    let large = shifted.clone().greater_scalar(0.5);
    let of_small = shifted.clone().mask_fill(large.clone(), 0.5).neg().log1p();
    let of_large = rest.mask_fill(large.clone().bool_not(), 0.5).log();
    let negative_log = of_small.mask_where(large, of_large).neg();
    let losses = match gamma {
        0.0 => negative_log,
        gamma => negative_log * shifted.log().mul_scalar(gamma).exp(),
    };
    losses.mask_fill(free, 0.0)
}
