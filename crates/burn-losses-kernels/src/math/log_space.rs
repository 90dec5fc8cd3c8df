//! Sums of exponentials that neither overflow nor lose their small terms.

use burn::tensor::{Bool, Tensor};

/// The log-sum-exp of nothing: `exp` of it is 0, and unlike infinity it can be written in WGSL and multiplied with 0.
pub const NOTHING: f64 = -1e30;

/// `log(sum over j of exp(scores[i, j]))`, with the largest score taken out of the sum.
///
/// # Shapes
///
/// - scores: `[batch, terms]`, at least one term
/// - output: `[batch]`
pub fn log_sum_exp(scores: Tensor<2>) -> Tensor<1> {
    // The shift cancels in the result, so no gradient flows through it.
    let largest = scores.clone().detach().max_dim(1);
    let sum = (scores - largest.clone()).exp().sum_dim(1);

    (sum.log() + largest).squeeze_dim(1)
}

/// [`log_sum_exp`] over the scores that are `kept`; [`NOTHING`] with gradient 0 where none is. What stands in the others
/// does not matter, not even NaN.
///
/// # Shapes
///
/// - scores: `[batch, terms]`, at least one row and one term, in `f32` or `f64`
/// - kept: `[batch, terms]`
/// - output: `[batch]`
pub fn log_sum_exp_where(scores: Tensor<2>, kept: Tensor<2, Bool>) -> Tensor<1> {
    let left_out = kept.bool_not();
    let scores = scores.mask_fill(left_out.clone(), NOTHING);
    let largest = scores.clone().detach().max_dim(1);
    let shape = scores.dims();
    let terms = (scores - largest.clone().expand(shape)).exp().mask_fill(left_out, 0.0);
    let sum = terms.sum_dim(1);
    // The largest term is 1, so a sum is 0 only where there is no term.
    let nothing = sum.clone().equal_scalar(0.0);
    let sum = sum.mask_fill(nothing.clone(), 1.0);

    (sum.log() + largest).mask_fill(nothing, NOTHING).squeeze_dim(1)
}

/// `log(1 + exp(x))`: the loss of a sample whose other classes score `x` above its own.
pub fn softplus<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    // Both halves branch on one mask, so that the slope at 0 is 1/2 and not the 0 that `sign(0)` would give.
    let negative = x.clone().lower_scalar(0.0);
    let positive_part = x.clone().mask_fill(negative.clone(), 0.0);
    let minus_magnitude = x.clone().neg().mask_where(negative, x);

    positive_part + minus_magnitude.exp().log1p()
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::{Device, Tensor};

    #[test]
    fn log_sum_exp_of_huge_scores_is_finite() {
        let scores = Tensor::<2>::from_data([[1e30_f32, 1e30], [-1e30, -1e30]], &Device::flex());
        let values = log_sum_exp(scores).try_into_vec_as::<f32>().unwrap();

        assert_eq!(values, [1e30, -1e30]);
    }

    #[test]
    fn a_sum_over_kept_scores_sees_nothing_else() {
        let device = Device::flex().autodiff();
        let scores = [[1e30_f32, f32::NAN, 1e30], [f32::NAN, f32::INFINITY, 3.0], [1.0, f32::NAN, 2.0]];
        let scores = Tensor::<2>::from_data(scores, &device).require_grad();
        let kept = Tensor::<2, Bool>::from_data([[true, false, true], [false, false, true], [false; 3]], &device);
        let sums = log_sum_exp_where(scores.clone(), kept);
        let values = sums.clone().try_into_vec_as::<f32>().unwrap();
        let slopes = scores.grad(&sums.sum().backward()).unwrap().try_into_vec_as::<f32>().unwrap();

        assert_eq!(values, [1e30, 3.0, -1e30]);
        assert_eq!(slopes, [0.5, 0.0, 0.5, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0]);
    }

    #[test]
    fn softplus_keeps_its_tail_and_its_slope_at_zero() {
        let device = Device::flex().autodiff();
        let x = Tensor::<1>::from_data([-30.0_f32, 0.0, 200.0], &device).require_grad();
        let y = softplus(x.clone());
        let values = y.clone().try_into_vec_as::<f32>().unwrap();
        let slopes = x.grad(&y.sum().backward()).unwrap().try_into_vec_as::<f32>().unwrap();

        // log(1 + exp(-30)) = exp(-30) to 13 digits.
        assert!((values[0] / (-30.0_f32).exp() - 1.0).abs() < 1e-6, "{values:?}");
        assert_eq!(values[1], core::f32::consts::LN_2);
        assert_eq!(values[2], 200.0);
        assert!((slopes[0] / (-30.0_f32).exp() - 1.0).abs() < 1e-6, "{slopes:?}");
        assert_eq!(slopes[1..], [0.5, 1.0]);
    }
}
