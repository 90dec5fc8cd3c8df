//! How far apart two embeddings are: smaller is always closer.
//!
//! Every distance comes [`rowwise`](Distance::rowwise) and for [all pairs](Distance::matrix), with a finite gradient
//! everywhere, also where two rows are equal.

use burn::config::Config;
use burn::tensor::Tensor;

use burn_losses_kernels::distances::{Metric, distances, hold_no_differences, lengths};
use burn_losses_kernels::math::{cast_to, in_host_memory, unit_rows, widen};

use crate::shape::check_shape;
use crate::squares::squared_distances;

/// Where close pairs cannot be looked for without waiting, as many differences are held at once: 16 MiB of `f32`.
const DIFFERENCES: usize = 1 << 22;

/// A distance between two rows `a` and `b` of the same length.
///
/// | distance | formula | all pairs hold, on devices without host memory |
/// | --- | --- | --- |
/// | `SmallestDifference` | `min over k of abs(a[k] - b[k])`, Lp with p = -infinity | `[first, second, dim]` |
/// | `DifferentCount` | `count of k with a[k] != b[k]`, Lp with p = 0; its gradient is 0 | `[first, second, dim]` |
/// | `Manhattan` | `sum over k of abs(a[k] - b[k])`, Lp with p = 1 | `[first, second, dim]` |
/// | `Euclidean` | `sqrt(sum over k of (a[k] - b[k])²)`, Lp with p = 2 | `[first, second]` |
/// | `SquaredEuclidean` | `sum over k of (a[k] - b[k])²` | `[first, second]` |
/// | `Minkowski(p)` | `(sum over k of abs(a[k] - b[k])^p)^(1/p)`, any `p` in `[0.1, 1000]` | `[first, second, dim]` |
/// | `Chebyshev` | `max over k of abs(a[k] - b[k])`, Lp with p = infinity | `[first, second, dim]` |
/// | `Cosine` | `1 - <a, b> / (length(a)·length(b))`, in `[0, 2]`; 1 if a row is zero | `[first, second]` |
///
/// Where two rows are equal the gradient is 0, and where a maximum or minimum is reached twice it goes to the first.
/// A distance that overflows the number type is infinite and has no useful gradient. NaN in a row stays in the
/// distances of that row.
#[derive(Config, Debug, Copy, PartialEq)]
pub enum Distance {
    /// The smallest difference.
    SmallestDifference,
    /// How many numbers differ.
    DifferentCount,
    /// The sum of the differences.
    Manhattan,
    /// The length of the straight line.
    Euclidean,
    /// The square of `Euclidean`; cheaper, and smooth at 0.
    SquaredEuclidean,
    /// The p-th root of the sum of p-th powers, `p` in `[0.1, 1000]`; a metric for `p >= 1` only.
    Minkowski(f64),
    /// The largest difference.
    Chebyshev,
    /// 1 minus the cosine of the angle.
    Cosine,
}

impl Distance {
    /// The Lp distance: `-infinity`, 0, 1, 2, any other `p` in `[0.1, 1000]`, `+infinity`.
    ///
    /// # Panics
    ///
    /// If `p` is none of these.
    ///
    /// ```
    /// use burn_losses::distance::Distance;
    ///
    /// assert_eq!(Distance::lp(2.0), Distance::Euclidean);
    /// assert_eq!(Distance::lp(f64::INFINITY), Distance::Chebyshev);
    /// assert_eq!(Distance::lp(3.0), Distance::Minkowski(3.0));
    /// ```
    pub fn lp(p: f64) -> Self {
        match p {
            f64::NEG_INFINITY => Self::SmallestDifference,
            0.0 => Self::DifferentCount,
            1.0 => Self::Manhattan,
            2.0 => Self::Euclidean,
            f64::INFINITY => Self::Chebyshev,
            p => Self::Minkowski(valid_exponent(p)),
        }
    }

    /// The distance of every row to the row beside it.
    ///
    /// # Shapes
    ///
    /// - first: `[rows, dim]`
    /// - second: `[rows, dim]`
    /// - output: `[rows]`
    ///
    /// # Panics
    ///
    /// If the shapes differ, or a `Minkowski` exponent is not in `[0.1, 1000]`.
    ///
    /// ```
    /// use burn::tensor::{Device, Tensor};
    /// use burn_losses::distance::Distance;
    ///
    /// let device = Device::default();
    /// let first = Tensor::<2>::from_data([[1.0, 2.0]], &device);
    /// let second = Tensor::<2>::from_data([[4.0, -2.0]], &device);
    /// assert_eq!(Distance::Euclidean.rowwise(first.clone(), second.clone()).into_scalar::<f32>(), 5.0);
    /// assert_eq!(Distance::Manhattan.rowwise(first, second).into_scalar::<f32>(), 7.0);
    /// ```
    #[track_caller]
    pub fn rowwise(self, first: Tensor<2>, second: Tensor<2>) -> Tensor<1> {
        let [rows, dim] = first.dims();
        check_shape("Distance", "second", second.dims(), [rows, dim]);
        let dtype = first.dtype();
        if rows == 0 || dim == 0 {
            return Tensor::zeros([rows], (&first.device(), dtype));
        }
        let first = widen(first);
        let second = cast_to(second, first.dtype());

        let distances = match self {
            // Half the squared distance of the directions: exact where `1 - cosine` would cancel.
            Self::Cosine => {
                let difference = unit_rows(first.clone()) - unit_rows(second.clone());
                let distances = difference.square().sum_dim(1).mul_scalar(0.5).squeeze_dim(1);
                distances + missing_direction(first, second)
            }
            _ => self.of_differences(first - second),
        };
        cast_to(distances, dtype)
    }

    /// The distance of every row of `first` to every row of `second`.
    ///
    /// `Euclidean`, `SquaredEuclidean` and `Cosine` use one matrix product and memory of a few times the output's
    /// size. The others go over all pairs of rows, in host memory with nothing but the output and the gradients; on other
    /// devices they hold all differences at once, `first·second·dim` numbers.
    ///
    /// The product in `|a|² + |b|² - 2·<a, b>` cancels for rows that are close together and far from the origin, so such
    /// pairs are computed from their differences: in host memory each of them, on other devices all pairs of up to 2^22
    /// differences. For more than that, the place where most rows lie is taken out of them first. A cosine distance is
    /// exact to about `1e-7` in `f32`, so one below `1e-3` has fewer digits than [`rowwise`](Self::rowwise) has.
    ///
    /// # Shapes
    ///
    /// - first: `[first, dim]`
    /// - second: `[second, dim]`
    /// - output: `[first, second]`
    ///
    /// # Panics
    ///
    /// If `dim` differs, or a `Minkowski` exponent is not in `[0.1, 1000]`.
    #[track_caller]
    pub fn matrix(self, first: Tensor<2>, second: Tensor<2>) -> Tensor<2> {
        let [rows, dim] = first.dims();
        let [columns, _] = second.dims();
        check_shape("Distance", "second", second.dims(), [columns, dim]);
        let dtype = first.dtype();
        if rows == 0 || columns == 0 || dim == 0 {
            return Tensor::zeros([rows, columns], (&first.device(), dtype));
        }
        let first = widen(first);
        let second = cast_to(second, first.dtype());

        let device = first.device();
        let few = rows * columns * dim <= DIFFERENCES && !in_host_memory(&device);
        let exact = few || hold_no_differences(&device);

        let distances = match (self, self.metric()) {
            (Self::SquaredEuclidean, _) if !exact => {
                let (squares, unit) = squared_distances(first, second);
                squares * unit.clone() * unit
            }
            (Self::Euclidean, _) if !exact => {
                let (squares, unit) = squared_distances(first, second);
                safe_root(squares) * unit
            }
            (_, Some(metric)) => distances(first, second, metric),
            (_, None) => {
                let cosines = unit_rows(first).matmul(unit_rows(second).transpose());
                cosines.neg().add_scalar(1.0).clamp(0.0, 2.0)
            }
        };
        cast_to(distances, dtype)
    }

    fn of_differences(self, differences: Tensor<2>) -> Tensor<1> {
        lengths(differences, self.metric().expect("a cosine is not a function of the difference"))
    }

    /// As the kernels know it; a cosine is no function of the difference.
    fn metric(self) -> Option<Metric> {
        match self {
            Self::SmallestDifference => Some(Metric::Smallest),
            Self::DifferentCount => Some(Metric::Different),
            Self::Manhattan => Some(Metric::Sum),
            Self::Minkowski(p) => Some(Metric::Power(valid_exponent(p))),
            Self::Chebyshev => Some(Metric::Largest),
            Self::Euclidean => Some(Metric::Euclidean),
            Self::SquaredEuclidean => Some(Metric::SquaredEuclidean),
            Self::Cosine => None,
        }
    }
}

impl Distance {
    /// # Panics
    ///
    /// If a `Minkowski` exponent is not in `[0.1, 1000]`.
    #[track_caller]
    pub(crate) fn validate(self) {
        if let Self::Minkowski(p) = self {
            valid_exponent(p);
        }
    }
}

#[track_caller]
fn valid_exponent(p: f64) -> f64 {
    assert!((0.1..=1000.0).contains(&p), "Distance: the Minkowski exponent must be in [0.1, 1000], got {p}");
    p
}

/// Rows divided by their largest magnitude, and that magnitude, `[rows, 1]`; 0 where it is below `1e-30`.
pub(crate) fn scaled_rows(rows: Tensor<2>) -> (Tensor<2>, Tensor<2>) {
    let largest = rows.clone().detach().max_abs_dim(1);
    let none = largest.clone().lower_scalar(1e-30);
    let scaled = rows / largest.clone().mask_fill(none.clone(), 1.0);

    (scaled, largest.mask_fill(none, 0.0))
}

/// The root of numbers that may be 0, where it has value 0 and gradient 0.
fn safe_root(squares: Tensor<2>) -> Tensor<2> {
    let zero = squares.clone().lower_scalar(1e-36);
    squares.mask_fill(zero.clone(), 1.0).sqrt().mask_fill(zero, 0.0)
}

/// What makes the cosine distance of a zero row 1: half for one zero row (the other half is there already), 1 for two.
fn missing_direction(first: Tensor<2>, second: Tensor<2>) -> Tensor<1> {
    let missing = |rows: Tensor<2>| {
        let rows = unit_rows(rows.detach()).square().sum_dim(1).squeeze_dim::<1>(1);
        rows.neg().add_scalar(1.0).round().mul_scalar(0.5)
    };
    missing(first) + missing(second)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use burn::tensor::{Device, TensorData};

    const ALL: [Distance; 8] = [
        Distance::SmallestDifference,
        Distance::DifferentCount,
        Distance::Manhattan,
        Distance::Euclidean,
        Distance::SquaredEuclidean,
        Distance::Minkowski(0.5),
        Distance::Chebyshev,
        Distance::Cosine,
    ];

    #[test]
    fn equal_and_zero_rows_have_distance_zero_and_a_finite_gradient() {
        let device = Device::flex().autodiff();
        for distance in ALL {
            for row in [[0.3_f32, -2.0, 7.0], [0.0; 3]] {
                let rows = Tensor::<2>::from_data([row, row], &device).require_grad();
                let rowwise = distance.rowwise(rows.clone(), rows.clone().detach());
                let matrix = distance.matrix(rows.clone(), rows.clone().detach());
                let gradient = rows.grad(&(rowwise.clone().sum() + matrix.clone().sum()).backward()).unwrap();

                let zero_rows = row == [0.0; 3] && distance == Distance::Cosine;
                let expected = if zero_rows { 1.0 } else { 0.0 };
                for value in rowwise.try_into_vec_as::<f32>().unwrap() {
                    assert_eq!(value, expected, "{distance:?} {row:?}");
                }
                for value in matrix.try_into_vec_as::<f32>().unwrap() {
                    assert!((value - expected).abs() < 1e-6, "{distance:?} {row:?}: {value}");
                }
                for slope in gradient.try_into_vec_as::<f32>().unwrap() {
                    assert!(slope.is_finite(), "{distance:?} {row:?}: {slope}");
                }
            }
        }
    }

    #[test]
    fn huge_and_tiny_rows_keep_their_lengths() {
        let device = Device::flex();
        for factor in [1e-20_f32, 1e20] {
            let first = Tensor::<2>::from_data([[3.0 * factor, 4.0 * factor]], &device);
            let zero = first.zeros_like();
            for (distance, expected) in [(Distance::Euclidean, 5.0), (Distance::Minkowski(3.0), 4.497_941_5)] {
                let value = distance.rowwise(first.clone(), zero.clone()).into_scalar::<f32>();
                assert!((value / factor - expected).abs() < 1e-5, "{distance:?}: {value}");
            }
        }
    }

    #[test]
    fn a_cosine_distance_to_one_zero_row_is_one() {
        let device = Device::flex();
        let zero = Tensor::<2>::zeros([1, 2], &device);
        let other = Tensor::<2>::from_data([[3.0_f32, 4.0]], &device);

        assert_eq!(Distance::Cosine.rowwise(zero.clone(), other.clone()).into_scalar::<f32>(), 1.0);
        assert_eq!(Distance::Cosine.matrix(other, zero).into_scalar::<f32>(), 1.0);
    }

    #[test]
    fn a_cosine_distance_is_never_negative() {
        // 40 rows without a pattern, whose products with themselves are rounded to both sides of 1.
        let numbers: Vec<f32> = (0..280).map(|place| (place as f32 * 1.7).sin()).collect();
        let rows = Tensor::<2>::from_data(TensorData::new(numbers, [40, 7]), &Device::flex());
        let distances = Distance::Cosine.matrix(rows.clone(), rows).try_into_vec_as::<f32>().unwrap();

        assert!(distances.iter().all(|&distance| distance >= 0.0));
    }

    #[test]
    fn exponents_at_the_ends_of_their_range_are_fine() {
        assert_eq!(Distance::lp(0.1), Distance::Minkowski(0.1));
        assert_eq!(Distance::lp(1000.0), Distance::Minkowski(1000.0));
    }

    #[test]
    #[should_panic(expected = "the Minkowski exponent must be in [0.1, 1000], got -2")]
    fn a_negative_exponent_is_rejected() {
        Distance::lp(-2.0);
    }
}
