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
    let shifted = negative_log(log_odds).neg().exp().sub_scalar(clip);
    let free = shifted.clone().lower_equal_scalar(0.0);
    // 1/2 has a logarithm on both sides; its loss is replaced.
    let shifted = shifted.mask_fill(free.clone(), 0.5);
    // 1 - shifted is clip or more, up to rounding.
    let negative_log = shifted.clone().neg().log1p().neg();
    let losses = match gamma {
        0.0 => negative_log,
        gamma => negative_log * shifted.log().mul_scalar(gamma).exp(),
    };
    losses.mask_fill(free, 0.0)
}
