//! The positive part.

use burn::tensor::Tensor;

/// `max(x, 0)` with slope 0 at 0, where `clamp_min` has slope 1; NaN stays NaN.
pub fn hinge<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    let under = x.clone().lower_equal_scalar(0.0);
    x.mask_fill(under, 0.0)
}
