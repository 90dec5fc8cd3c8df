//! Lengths and directions of rows whose value and gradient are finite for every finite row.
//!
//! Each row is divided by its largest magnitude first, so that squares neither overflow nor vanish, and the sum of
//! squares is floored under the root, where the floor also stops the gradient of a zero row.

use burn::tensor::{Bool, Tensor};

/// Rows whose largest number is smaller have no direction: they stay about as short as they are. PyTorch's `normalize`
/// has the same bound for the length.
pub(crate) const NO_DIRECTION: f64 = 1e-12;

/// Rows shorter than this have length 0; their reciprocal would leave the range of `f32`.
const NO_LENGTH: f64 = 1e-30;

/// With the largest magnitude divided out, a row that is not zero has a sum of squares of 1 or more.
pub(crate) const SUM_OF_SQUARES_FLOOR: f64 = 0.5;

/// Every row divided by its length; a zero row stays zero and its gradient stays bounded. A row whose largest number is below
/// 1e-12 has no direction and is taken for a zero row.
///
/// # Shapes
///
/// - rows: `[rows, dim]`
/// - output: `[rows, dim]`
pub fn unit_rows(rows: Tensor<2>) -> Tensor<2> {
    if rows.dims().contains(&0) {
        // An elementwise operation on an empty matrix overflows in Burn's GPU backends.
        return rows;
    }
    let largest = rows.clone().detach().max_abs_dim(1);
    let no_direction = largest.clone().lower_scalar(NO_DIRECTION);
    let scaled = rows / largest.mask_fill(no_direction, 1.0);
    let length = sum_of_squares(scaled.clone()).sqrt();

    scaled / length
}

/// Whether a row has a direction for [`unit_rows`]; one with a NaN has.
///
/// # Shapes
///
/// - rows: `[rows, dim]`
/// - output: `[rows]`
pub fn has_direction(rows: &Tensor<2>) -> Tensor<1, Bool> {
    let largest = rows.clone().detach().max_abs_dim(1).squeeze_dim::<1>(1);
    largest.lower_scalar(NO_DIRECTION).bool_not()
}

/// The length of every row; 0 with gradient 0 for a zero row.
///
/// # Shapes
///
/// - rows: `[rows, dim]`
/// - output: `[rows]`
pub fn row_lengths(rows: Tensor<2>) -> Tensor<1> {
    let constant = rows.clone().detach();
    let largest = constant.clone().max_abs_dim(1);
    let no_length = largest.clone().lower_scalar(NO_LENGTH);
    let scaled = constant.clone() / largest.clone().mask_fill(no_length.clone(), 1.0);
    let length = sum_of_squares(scaled.clone()).sqrt();
    let direction = scaled / length.clone();
    let length = length * largest.mask_fill(no_length.clone(), 0.0);

    // The gradient of a length is the direction, and its numbers never leave [-1, 1]; the way back through the
    // quotients above would overflow on the way. The difference that carries it is exactly 0.
    let dims = rows.dims();
    let direction = direction.mask_fill(no_length.expand(dims), 0.0);
    let carrier = (direction * (rows - constant)).sum_dim(1);
    (length + carrier).squeeze_dim(1)
}

fn sum_of_squares(rows: Tensor<2>) -> Tensor<2> {
    rows.square().sum_dim(1).clamp_min(SUM_OF_SQUARES_FLOOR)
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    fn values<const D: usize>(tensor: Tensor<D>) -> alloc::vec::Vec<f32> {
        tensor.try_into_vec_as::<f32>().unwrap()
    }

    #[test]
    fn directions_of_extreme_rows_are_right() {
        let rows = [[3.0_f32, 4.0], [3e-11, 4e-11], [3e37, 4e37], [0.0, 0.0]];
        let unit = values(unit_rows(Tensor::from_data(rows, &Device::flex())));

        for row in 0..3 {
            assert!((unit[2 * row] - 0.6).abs() < 1e-7, "{unit:?}");
            assert!((unit[2 * row + 1] - 0.8).abs() < 1e-7, "{unit:?}");
        }
        assert_eq!(unit[6..], [0.0, 0.0]);
    }

    #[test]
    fn lengths_and_their_gradients_are_finite_from_zero_to_the_largest_numbers() {
        let device = Device::flex().autodiff();
        let rows = [[3.0_f32, 4.0], [3e-20, 4e-20], [3e37, 4e37], [0.0, 0.0], [1e-40, 0.0]];
        let rows = Tensor::<2>::from_data(rows, &device).require_grad();
        let lengths = row_lengths(rows.clone());
        let upstream = lengths.clone().mul_scalar(64.0).sum();
        let gradient = values(rows.grad(&upstream.backward()).unwrap());

        for (length, expected) in values(lengths).into_iter().zip([5.0, 5e-20, 5e37, 0.0, 0.0]) {
            assert!((length - expected).abs() <= 1e-6 * expected, "{length} is not {expected}");
        }
        for row in 0..3 {
            assert!((gradient[2 * row] - 64.0 * 0.6).abs() < 1e-4, "{gradient:?}");
        }
        assert_eq!(gradient[6..], [0.0; 4]);
    }

    #[test]
    fn a_nan_stays_in_its_row() {
        let unit = values(unit_rows(Tensor::from_data([[f32::NAN, 1.0], [0.0, 2.0]], &Device::flex())));

        assert!(unit[0].is_nan() && unit[1].is_nan());
        assert_eq!(unit[2..], [0.0, 1.0]);
    }
}
