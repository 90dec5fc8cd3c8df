use burn::tensor::Tensor;

use super::Metric;
use crate::math::row_lengths;

pub(super) fn distances(first: Tensor<2>, second: Tensor<2>, metric: Metric) -> Tensor<2> {
    let ([rows, dim], [columns, _]) = (first.dims(), second.dims());
    let first = first.unsqueeze_dim::<3>(1).expand([rows, columns, dim]);
    let second = second.unsqueeze_dim::<3>(0).expand([rows, columns, dim]);
    let differences = (first - second).reshape([rows * columns, dim]);
    lengths(differences, metric).reshape([rows, columns])
}

pub(super) fn lengths(differences: Tensor<2>, metric: Metric) -> Tensor<1> {
    let distances = match metric {
        Metric::Smallest => differences.abs().min_dim(1),
        Metric::Different => {
            let equal = differences.clone().equal_scalar(0.0);
            // Connected to the graph, so that a backward finds a gradient: exactly 0. NaN stays NaN.
            let number = differences.clone().is_nan().bool_not();
            (differences.mask_fill(number, 0.0) + 1.0).mask_fill(equal, 0.0).sum_dim(1)
        }
        Metric::Sum => differences.abs().sum_dim(1),
        Metric::Euclidean => return row_lengths(differences),
        Metric::SquaredEuclidean => differences.square().sum_dim(1),
        Metric::Largest => differences.abs().max_dim(1),
        Metric::Power(p) => power_lengths(differences, p),
    };
    distances.squeeze_dim(1)
}

/// `(sum over k of abs(row[k])^p)^(1/p)` with the largest magnitude taken out of the sum.
fn power_lengths(rows: Tensor<2>, p: f64) -> Tensor<2> {
    let rows = rows.abs();
    let largest = rows.clone().detach().max_abs_dim(1);
    let none = largest.clone().lower_scalar(1e-30);
    let scaled = rows / largest.clone().mask_fill(none.clone(), 1.0);
    let largest = largest.mask_fill(none, 0.0);

    // Where a number is 0, the slope of its power may be infinite: it is replaced before the power and after it.
    let zero = scaled.clone().lower_scalar(1e-30);
    let powers = power(scaled.mask_fill(zero.clone(), 1.0), p).mask_fill(zero, 0.0);
    power(powers.sum_dim(1).clamp_min(0.5), 1.0 / p) * largest
}

/// `base^exponent` of positive numbers. Burn's own `powf_scalar` rounds to `f32` on ndarray, also in `f64`.
fn power(base: Tensor<2>, exponent: f64) -> Tensor<2> {
    base.log().mul_scalar(exponent).exp()
}
