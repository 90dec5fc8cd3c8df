//! What stands behind the gradient of a row: its place, in four bytes that every float type holds exactly, and whether it
//! counts. A gradient that is the sum of several, or was scaled, no longer has marks of 0 and 1.

use burn::tensor::{Bool, DType, IndexingUpdateOp, Int, Tensor};

use crate::math::{cast_to, widen};

/// Four bytes, the lowest first, and the mark.
pub(super) const TAIL: usize = 5;
/// What the value of a byte is multiplied with.
pub(super) const BYTES: [i64; TAIL - 1] = [1, 1 << 8, 1 << 16, 1 << 24];

/// Whether a gradient of this shape is a packed one of weights of that.
pub(super) fn is_packed(gradient: [usize; 2], [_, dim]: [usize; 2]) -> bool {
    gradient[1] == dim + TAIL
}

/// `[drawn, TAIL]` in a float type.
pub(super) fn tail(places: Tensor<1, Int>, counted: Tensor<1, Bool>, dtype: DType) -> Tensor<2> {
    let [drawn] = places.dims();
    let byte = |shift: usize| {
        let byte = places.clone().bitwise_right_shift_scalar(8 * shift as i64).bitwise_and_scalar(255);
        byte.float().cast(dtype).reshape([drawn, 1])
    };
    let mark = Tensor::<2>::zeros([drawn, 1], (&places.device(), dtype));
    let mark = mark.mask_fill(counted.reshape([drawn, 1]), 1.0);
    Tensor::cat(alloc::vec![byte(0), byte(1), byte(2), byte(3), mark], 1)
}

/// A gradient taken apart.
pub(super) struct Rows {
    /// `[drawn, dim]`, or `[rows, dim]` where it is of all; NaN where it is not to be trusted.
    pub(super) gradient: Tensor<2>,
    /// Which rows it is of; `None` for all.
    drawn: Option<Drawn>,
}

struct Drawn {
    /// `[drawn]`, in `0..rows`.
    places: Tensor<1, Int>,
    /// Whether a row is there a second time, `[drawn, 1]`.
    others: Tensor<2, Bool>,
}

impl Rows {
    /// - gradient: in `f32` or `f64`
    /// - size: `[rows, dim]`, that of the weights
    pub(super) fn of(gradient: Tensor<2>, size @ [rows, dim]: [usize; 2]) -> Self {
        if !is_packed(gradient.dims(), size) {
            return Self { gradient, drawn: None };
        }
        let [drawn, _] = gradient.dims();
        let column = |place: usize| gradient.clone().narrow(1, dim + place, 1);
        let bytes = BYTES.iter().enumerate().map(|(place, &factor)| column(place).int().mul_scalar(factor));
        let places = bytes.reduce(|sum, byte| sum + byte).expect("there are four").reshape([drawn]);
        let mark = column(TAIL - 1);
        let nothing = mark.clone().equal_scalar(0.0);
        let wrong = mark.not_equal_scalar(1.0).bool_and(nothing.clone().bool_not()).expand([drawn, dim]);
        let drawn = Drawn { places: places.clamp(0, rows as i64 - 1), others: nothing };

        Self { gradient: gradient.narrow(1, 0, dim).mask_fill(wrong, f64::NAN), drawn: Some(drawn) }
    }

    /// The rows of a matrix, in `f32` or `f64`.
    pub(super) fn select(&self, matrix: &Tensor<2>) -> Tensor<2> {
        let matrix = matrix.clone();
        widen(self.drawn.as_ref().map_or(matrix.clone(), |drawn| matrix.select(0, drawn.places.clone())))
    }

    /// A matrix to whose rows something is added.
    pub(super) fn add(&self, matrix: Tensor<2>, step: Tensor<2>) -> Tensor<2> {
        let dtype = matrix.dtype();
        let Some(Drawn { places, others }) = &self.drawn else {
            return cast_to(widen(matrix) + step, dtype);
        };
        let [_, columns] = step.dims();
        // Adding -0.0 leaves every number as it is, to the bit.
        let step = step.mask_fill(others.clone().expand([places.dims()[0], columns]), -0.0);
        matrix.select_assign(0, places.clone(), cast_to(step, dtype), IndexingUpdateOp::Add)
    }
}
