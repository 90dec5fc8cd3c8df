//! Losses of a yes or no as functions of its log-odds, `log_odds = log(p / (1 - p))`, which neither round `1 - p` to 0 nor
//! divide by it.

use burn::tensor::Tensor;
use burn_losses_kernels::math::softplus;

/// `-log(p)`.
pub(super) fn negative_log_probability<const D: usize>(log_odds: Tensor<D>) -> Tensor<D> {
    let dims = log_odds.dims();
    let count = log_odds.shape().num_elements();
    softplus(log_odds.neg().reshape([count])).reshape(dims)
}

/// `-(1 - p)^gamma·log(p)`.
pub(super) fn focal<const D: usize>(log_odds: Tensor<D>, gamma: f64) -> Tensor<D> {
    if gamma == 0.0 {
        return negative_log_probability(log_odds);
    }
    // -log(1 - p) is that of the opposite, whose log-odds are negated. So far below 0 the factor is 1 and has no slope, which
    // an infinite loss would be multiplied with.
    let bounded = log_odds.clone().clamp_min(-800.0);
    let factor = negative_log_probability(bounded.neg()).mul_scalar(-gamma).exp();
    factor * negative_log_probability(log_odds)
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    #[test]
    fn a_focal_loss_keeps_its_tails() {
        let log_oddss = Tensor::<1>::from_data([0.0_f32, 40.0, -40.0, 1e30, -1e30], &Device::flex());
        let losses = focal(log_oddss, 2.0).try_into_vec_as::<f32>().unwrap();

        // By hand: ln(2) / 4; exp(-40)³ is below f32; then (1 - p) is 1 and -log(p) the log_odds.
        assert!((losses[0] - core::f32::consts::LN_2 / 4.0).abs() < 1e-7, "{losses:?}");
        assert!(losses[1] >= 0.0 && losses[1] < 1e-30, "{losses:?}");
        assert_eq!(losses[2..], [40.0, 0.0, 1e30]);
    }
}
