//! The mean of packed gradients.

use alloc::vec::Vec;

use burn::tensor::{Bool, IndexingUpdateOp, Int, Tensor};

use super::packed::{Rows, is_packed, tail};
use crate::math::{cast_to, widen};

/// Rows that count once at most, taken out of their gradient.
struct Merged {
    /// `[drawn, dim]`, in `f32` or `f64`; 0 where a row does not count.
    gradient: Tensor<2>,
    /// `[drawn]`, in `0..rows`.
    places: Tensor<1, Int>,
    /// `[drawn]`.
    counted: Tensor<1, Bool>,
}

impl Merged {
    fn of(gradient: Tensor<2>, size: [usize; 2]) -> Self {
        let (gradient, places, counted) = Rows::of(widen(gradient), size).taken_apart();
        Self { gradient, places, counted }
    }

    /// With the rows of another batch; a row of both is where it was.
    fn with(self, other: Self, rows: usize) -> Self {
        let ([drawn], [more, dim]) = (self.places.dims(), other.gradient.dims());
        // What each place is in these rows, from 1 on, and 0 where it is in none. Those that do not count go to a place of their own.
        let numbers = Tensor::<1, Int>::arange(1..drawn as i64 + 1, (&self.places.device(), self.places.dtype()));
        let slots = Tensor::<1, Int>::zeros([rows + 1], (&self.places.device(), self.places.dtype()));
        let seen = self.places.clone().mask_fill(self.counted.clone().bool_not(), rows as i64);
        let slots = slots.select_assign(0, seen, numbers, IndexingUpdateOp::Add);
        let number = slots.select(0, other.places.clone());
        let is_there = number.clone().greater_scalar(0).bool_and(other.counted.clone());
        let is_there_of_all = is_there.clone().unsqueeze_dim::<2>(1).expand([more, dim]);

        let number = number.sub_scalar(1).mask_fill(is_there.clone().bool_not(), 0);
        let added = other.gradient.clone().mask_fill(is_there_of_all.clone().bool_not(), 0.0);
        let gradient = self.gradient.select_assign(0, number, added, IndexingUpdateOp::Add);
        Self {
            gradient: Tensor::cat(alloc::vec![gradient, other.gradient.mask_fill(is_there_of_all, 0.0)], 0),
            places: Tensor::cat(alloc::vec![self.places, other.places], 0),
            counted: Tensor::cat(alloc::vec![self.counted, other.counted.bool_and(is_there.bool_not())], 0),
        }
    }
}

/// The mean of the packed gradients of several batches, packed: of every row that any of them drew, with the gradient 0 in the batches that
/// did not draw it. A step takes it as that of one batch, so that a row that several drew takes one step.
///
/// ```text
/// output[row] = sum over batches of gradient[batch, row] / batches
/// ```
///
/// Nothing is read back from the device. The memory is that of all gradients together and a whole number for each row of the matrix.
///
/// # Shapes
///
/// - gradients: `[drawn, dim + 6]` each, with a `drawn` of its own, packed; or all `[rows, dim]`, of all rows; at least one
/// - size: `[rows, dim]`, that of the matrix; `rows` below 2^31
/// - output: `[sum of all drawn, dim + 6]`, packed; or `[rows, dim]`
///
/// # Panics
///
/// If there are none, or a shape does not agree. Where a gradient is the sum or mean of several by other means, or was clipped or
/// scaled, its rows become NaN.
///
/// ```
/// use burn::tensor::{Bool, Device, Int, Tensor};
/// use burn_losses_kernels::drawn_rows::{SgdRule, drawn_rows, mean_of_drawn_rows, sgd_step};
///
/// let device = Device::default().autodiff();
/// let weights = Tensor::<2>::from_data([[1.0, 1.0], [2.0, 2.0], [3.0, 3.0]], &device).require_grad();
/// let gradient = |places: [i64; 2]| {
///     let places = Tensor::<1, Int>::from_data(places, &device);
///     let counted = Tensor::<1, Bool>::from_data([true, true], &device);
///     // Of a drawn row every gradient is 1.
///     weights.grad(&drawn_rows(weights.clone(), places, counted).sum().backward()).unwrap()
/// };
/// let mean = mean_of_drawn_rows(vec![gradient([2, 0]), gradient([1, 2])], [3, 2]);
/// let rule = SgdRule { momentum: 0.9, nesterov: false, weight_decay: 0.0 };
/// let before = weights.inner();
/// let (after, _) = sgd_step(before.clone(), before.zeros_like(), mean, rule, 1.0);
/// // Both batches drew the last row.
/// assert_eq!(after.try_into_vec_as::<f32>().unwrap(), [0.5, 0.5, 1.5, 1.5, 2.0, 2.0]);
/// ```
pub fn mean_of_drawn_rows(gradients: Vec<Tensor<2>>, size: [usize; 2]) -> Tensor<2> {
    let batches = gradients.len();
    // As `drawn_rows` gives them where this crate does not know the backend.
    if !gradients.is_empty() && gradients.iter().all(|gradient| gradient.dims() == size) {
        let dtype = gradients[0].dtype();
        let each = gradients.into_iter().map(|gradient| widen(gradient.detach()));
        let sum = each.reduce(|sum, next| sum + next).expect("there is one");
        return cast_to(sum.mul_scalar(1.0 / batches as f64), dtype);
    }
    for gradient in &gradients {
        assert!(
            is_packed(gradient.dims(), size),
            "a gradient of shape {:?} is none of drawn rows of {size:?}",
            gradient.dims()
        );
    }
    let dtype = gradients.first().expect("mean_of_drawn_rows: gradients must not be empty").dtype();
    let each = gradients.into_iter().map(|gradient| Merged::of(gradient.detach(), size));
    let merged = each.reduce(|all, next| all.with(next, size[0])).expect("there is one");
    let gradient = cast_to(merged.gradient.mul_scalar(1.0 / batches as f64), dtype);

    Tensor::cat(alloc::vec![gradient, tail(merged.places, merged.counted, dtype)], 1)
}
