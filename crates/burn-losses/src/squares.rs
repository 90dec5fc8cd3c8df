//! Squared distances of all pairs by one matrix product, right for rows that are close together and far from the origin.

use alloc::vec::Vec;

use burn::tensor::{Bool, DType, IndexingUpdateOp, Int, Tensor, TensorData};
use burn_losses_kernels::math::{cast_to, in_host_memory};

use crate::distance::scaled_rows;

/// A squared distance below this share of `|a|² + |b|²` is computed from the difference: above it, the rounding of a
/// product in `f32` is less than `1e-4` of it.
const CLOSE: f64 = 4e-3;

/// Squares below this share of `|a|² + |b|²` cannot be told from 0 where they come from a product.
fn rounding(dtype: DType) -> f64 {
    16.0 * if dtype == DType::F64 { f64::EPSILON } else { f64::from(f32::EPSILON) }
}

/// So many differences of close pairs may be kept for the backward, 16 MiB of `f32`, or those of 8 pairs per row.
const DIFFERENCES: usize = 1 << 22;
const PAIRS_PER_ROW: usize = 8;

/// The squared distances of all pairs, and the unit they are in: `(squares, unit)`, both `[first, second]`, with the
/// squared distance `squares·unit²`.
///
/// The unit of a pair is the largest magnitude in its two rows, so that no square overflows or vanishes.
pub(crate) fn squared_distances(first: Tensor<2>, second: Tensor<2>) -> (Tensor<2>, Tensor<2>) {
    let ([rows, dim], [columns, _]) = (first.dims(), second.dims());
    if !in_host_memory(&first.device()) {
        let Products { squares, lengths, unit } = Products::around_most(first, second);
        // What is left of equal rows, such as a row and itself, is rounding.
        let nothing = squares.clone().lower(lengths.mul_scalar(rounding(squares.dtype())));
        return (squares.mask_fill(nothing, 0.0), unit);
    }
    let mut products = Products::new(first.clone(), second.clone());
    let mut close = products.close_pairs();
    let most = DIFFERENCES.max(PAIRS_PER_ROW * (rows + columns) * dim);
    if close.len() * dim > most {
        products = Products::around_most(first.clone(), second.clone());
        close = products.close_pairs();
    }
    let unit = products.unit.clone();
    if close.is_empty() {
        return (products.squares.clamp_min(0.0), unit);
    }
    let squares = if close.len() * dim <= most {
        products.with_differences(&close, first, second)
    } else {
        products.with_values(&close, first, second)
    };
    (squares.clamp_min(0.0), unit)
}

/// `|a - b|² = |a|² + |b|² - 2·<a, b>` for all pairs, each in its unit.
struct Products {
    /// May be negative, by rounding.
    squares: Tensor<2>,
    /// `|a|² + |b|²`.
    lengths: Tensor<2>,
    unit: Tensor<2>,
}

impl Products {
    fn new(first: Tensor<2>, second: Tensor<2>) -> Self {
        let shape = [first.dims()[0], second.dims()[0]];
        let (first, first_size) = scaled_rows(first);
        let (second, second_size) = scaled_rows(second);
        let first_size = first_size.expand(shape);
        let second_size = second_size.transpose().expand(shape);
        let unit = first_size.clone().max_pair(second_size.clone());
        let divisor = unit.clone().mask_fill(unit.clone().equal_scalar(0.0), 1.0);
        let (first_share, second_share) = (first_size / divisor.clone(), second_size / divisor);

        let first_squares = first.clone().square().sum_dim(1).expand(shape) * first_share.clone().square();
        let second_squares =
            second.clone().square().sum_dim(1).transpose().expand(shape) * second_share.clone().square();
        let products = first.matmul(second.transpose()) * (first_share * second_share).mul_scalar(2.0);
        let lengths = first_squares + second_squares;

        Self { squares: lengths.clone() - products, lengths: lengths.detach(), unit }
    }

    /// With the place where most rows lie as the origin.
    fn around_most(first: Tensor<2>, second: Tensor<2>) -> Self {
        let place = place_of_most(&first, &second);
        let (first_place, second_place) = (place.clone().expand(first.dims()), place.expand(second.dims()));
        Self::new(first - first_place, second - second_place)
    }

    /// The places of pairs that are close for their lengths, read by the host.
    fn close_pairs(&self) -> Vec<i64> {
        let close = self.squares.clone().detach().lower(self.lengths.clone().mul_scalar(CLOSE));
        let close = close.try_into_vec_as::<bool>().expect("a mask");
        close.iter().enumerate().filter(|&(_, &close)| close).map(|(place, _)| place as i64).collect()
    }

    /// The squares with those of close pairs from their differences, in value and gradient.
    fn with_differences(self, close: &[i64], first: Tensor<2>, second: Tensor<2>) -> Tensor<2> {
        let shape @ [rows, columns] = self.squares.dims();
        let exact = self.exact(close, first, second);
        let (places, mask) = masked(close, &self.squares);
        let others = self.squares.reshape([rows * columns]).mask_fill(mask, 0.0);

        others.select_assign(0, places, exact, IndexingUpdateOp::Add).reshape(shape)
    }

    /// As [`with_differences`](Self::with_differences) where too many would have to be kept: exact in value, with the
    /// gradient of the products.
    fn with_values(self, close: &[i64], first: Tensor<2>, second: Tensor<2>) -> Tensor<2> {
        let shape @ [rows, columns] = self.squares.dims();
        let [_, dim] = first.dims();
        let (first, second) = (first.without_autodiff(), second.without_autodiff());
        let exact = close.chunks((DIFFERENCES / dim).max(1));
        let exact = Tensor::cat(exact.map(|close| self.exact(close, first.clone(), second.clone())).collect(), 0);
        let (places, mask) = masked(close, &self.squares);
        let squares = self.squares.reshape([rows * columns]);
        let exact = squares.zeros_like().without_autodiff().select_assign(0, places, exact, IndexingUpdateOp::Add);
        // Minus itself: 0 in value, with its gradient.
        let zero = squares.clone() - squares.detach().mask_fill(mask.bool_not(), 0.0);

        (zero + exact).reshape(shape)
    }

    /// The squares of some pairs from their differences.
    fn exact(&self, pairs: &[i64], first: Tensor<2>, second: Tensor<2>) -> Tensor<1> {
        let [rows, columns] = self.squares.dims();
        let [_, dim] = first.dims();
        let index = |number: fn(i64, i64) -> i64| {
            let numbers: Vec<i64> = pairs.iter().map(|&place| number(place, columns as i64)).collect();
            Tensor::<1, Int>::from_data(TensorData::new(numbers, [pairs.len()]), &first.device())
        };
        let (row, column) = (index(|place, columns| place / columns), index(|place, columns| place % columns));
        let unit = self.unit.clone().without_autodiff().reshape([rows * columns]).select(0, index(|place, _| place));
        let unit = unit.clone().mask_fill(unit.equal_scalar(0.0), 1.0).unsqueeze_dim::<2>(1).expand([pairs.len(), dim]);
        let differences = (first.clone().select(0, row) - second.select(0, column)) / unit;

        differences.square().sum_dim(1).squeeze_dim(1)
    }
}

/// Places as an index and as a mask, both of the flattened matrix.
fn masked(places: &[i64], matrix: &Tensor<2>) -> (Tensor<1, Int>, Tensor<1, Bool>) {
    let mut mask = alloc::vec![false; matrix.shape().num_elements()];
    places.iter().for_each(|&place| mask[place as usize] = true);
    let (device, count) = (matrix.device(), mask.len());
    let places = Tensor::from_data(TensorData::from(places), &device);

    (places, Tensor::from_data(TensorData::new(mask, [count]), &device))
}

/// Where most rows of both sides lie, `[1, dim]`, if they are much closer to each other than to the origin; else 0.
///
/// A mean that is weighed by the inverse of the squared distance to the mean before, so that a few rows far away from the
/// others do not count.
fn place_of_most(first: &Tensor<2>, second: &Tensor<2>) -> Tensor<2> {
    let rows = Tensor::cat(alloc::vec![first.clone(), second.clone()], 0).without_autodiff();
    let shape @ [_, dim] = rows.dims();
    let broken = rows.clone().is_finite().all_dim(1).bool_not();
    let rows = rows.mask_fill(broken.clone().expand(shape), 0.0);
    let size = rows.clone().abs().max_dim(1).max_dim(0);
    let size = size.clone().mask_fill(size.equal_scalar(0.0), 1.0);
    let rows = rows / size.clone().expand(shape);
    let squares_from = |place: &Tensor<2>| (rows.clone() - place.clone().expand(shape)).square().sum_dim(1);
    let mean = |numbers: Tensor<2>, weights: &Tensor<2>| {
        let weighed = numbers.clone() * weights.clone().expand(numbers.dims());
        weighed.sum_dim(0) / weights.clone().sum_dim(0).clamp_min(1e-30).expand([1, numbers.dims()[1]])
    };
    let mut weights = cast_to(broken.bool_not().float(), rows.dtype());
    let counted = weights.clone();
    let mut place = mean(rows.clone(), &weights);
    for _ in 0..4 {
        weights = counted.clone() / squares_from(&place).add_scalar(1e-12);
        place = mean(rows.clone(), &weights);
    }
    let spread = mean(squares_from(&place), &weights);
    let near_origin = place.clone().square().sum_dim(1).lower_equal(spread.mul_scalar(16.0));

    place.mask_fill(near_origin.expand([1, dim]), 0.0) * size.expand([1, dim])
}
