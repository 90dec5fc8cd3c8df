//! Angles from cosines and back, without the `acos` and `cos` of a tensor.
//!
//! `acos` has an infinite gradient at ±1 and WGSL allows `cos` an error of 2^-11, which a scale of 64 turns into 0.03.
//! Here are only roots, floored before they are taken, and two power series.

use core::f64::consts::{FRAC_1_PI, FRAC_PI_2, PI};

use burn::tensor::{DType, Tensor};

/// `sin(angle) = sqrt((1 - cosine)·(1 + cosine))` of an angle in `[0, pi]`.
pub(crate) fn sine(cosine: Tensor<1>) -> Tensor<1> {
    let below = cosine.clone().neg().add_scalar(1.0);
    root(below * cosine.add_scalar(1.0))
}

/// `cos(angle + margin)` from `cos(angle)`, for an angle in `[0, pi]` and any margin in radians.
pub(crate) fn shifted_cosine(cosine: Tensor<1>, margin: f64) -> Tensor<1> {
    cosine.clone().mul_scalar(libm::cos(margin)) - sine(cosine).mul_scalar(libm::sin(margin))
}

/// `cos(angle + margin)`, and where that would rise again, beyond pi, `cosine - margin·sin(margin)`, which goes on falling.
/// For a margin in `[0, 2.33]`; beyond it the second is the larger one where they meet.
pub(crate) fn falling_shifted_cosine(cosine: Tensor<1>, margin: f64) -> Tensor<1> {
    let beyond_pi = cosine.clone().lower_scalar(-libm::cos(margin));
    let fallen = cosine.clone().sub_scalar(margin * libm::sin(margin));

    shifted_cosine(cosine, margin).mask_where(beyond_pi, fallen)
}

/// The angle in `[0, pi]` whose cosine this is.
///
/// ```text
/// angle = 4·atan(t),  t = sin(angle/2) / (1 + cos(angle/2)) = tan(angle/4) <= 1
/// ```
///
/// Two more halvings bring `t` below 0.199, where twelve terms of the series of `atan` leave less than 1e-18.
pub(crate) fn angle(cosine: Tensor<1>) -> Tensor<1> {
    let half_sine = root(cosine.clone().neg().add_scalar(1.0).mul_scalar(0.5));
    let half_cosine = root(cosine.add_scalar(1.0).mul_scalar(0.5));
    let quarter_tangent = half_sine / half_cosine.add_scalar(1.0);
    let tangent = halve_tangent(halve_tangent(quarter_tangent));

    let terms = (0..12).map(|k| f64::from(if k % 2 == 0 { 1 } else { -1 }) / f64::from(2 * k + 1));
    odd_series(tangent, terms).mul_scalar(16.0)
}

/// `(-1)^turns·cos(angle) - 2·turns` with `turns = floor(angle / pi)`: the cosine on `[0, pi]`, and beyond it the
/// same curve again and again, each time 2 lower, so that it falls everywhere (SphereFace, section 3.2).
pub(crate) fn folded_cosine(angle: Tensor<1>) -> Tensor<1> {
    let turns = angle.clone().detach().mul_scalar(FRAC_1_PI).floor();
    // cos(r) = -sin(r - pi/2), and r - pi/2 is in [-pi/2, pi/2], where eleven terms leave less than 1e-17.
    let centered = angle - turns.clone().mul_scalar(PI).add_scalar(FRAC_PI_2);

    let mut factorial = 1.0;
    let terms = (0..11).map(move |k| {
        if k > 0 {
            factorial *= -f64::from(2 * k * (2 * k + 1));
        }
        1.0 / factorial
    });
    odd_series(centered, terms).neg() - turns.mul_scalar(2.0)
}

/// `tan(angle / 2)` from `tan(angle)`.
fn halve_tangent(tangent: Tensor<1>) -> Tensor<1> {
    let secant = tangent.clone().square().add_scalar(1.0).sqrt();
    tangent / secant.add_scalar(1.0)
}

/// `terms[0]·x + terms[1]·x³ + terms[2]·x⁵ + ...`
fn odd_series(x: Tensor<1>, terms: impl DoubleEndedIterator<Item = f64> + ExactSizeIterator) -> Tensor<1> {
    let squared = x.clone().square();
    let terms: alloc::vec::Vec<f64> = terms.collect();
    let mut sum = squared.zeros_like().add_scalar(terms[terms.len() - 1]);
    for &term in terms.iter().rev().skip(1) {
        sum = sum * squared.clone() + term;
    }
    x * sum
}

/// The root of a number in `[0, 1]`, floored before it is taken: at 0 the slope of a root is infinite.
fn root(squared: Tensor<1>) -> Tensor<1> {
    // The square of the rounding error, so that the floor changes no digit of any number but 0.
    let floor = match squared.dtype() {
        DType::F64 => f64::EPSILON * f64::EPSILON,
        _ => f64::from(f32::EPSILON) * f64::from(f32::EPSILON),
    };
    squared.clamp_min(floor).sqrt()
}
