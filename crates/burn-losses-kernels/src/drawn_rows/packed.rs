//! What stands behind the gradient of a row: its place, in four bytes that every float type holds exactly, and whether it
//! counts. A gradient that is the sum of several, or was scaled, no longer has marks of 0 and 1.

use burn::tensor::{Bool, DType, Int, Tensor};

/// Four bytes, the lowest first, and the mark.
pub(super) const TAIL: usize = 5;
/// What the value of a byte is multiplied with.
pub(super) const BYTES: [i64; TAIL - 1] = [1, 1 << 8, 1 << 16, 1 << 24];

/// Whether a gradient of this shape is a packed one of weights of that.
pub fn is_packed(gradient: [usize; 2], [_, dim]: [usize; 2]) -> bool {
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

/// A packed gradient taken apart.
pub(super) struct Rows {
    /// `[drawn, dim]`, NaN where it is not to be trusted.
    pub(super) gradient: Tensor<2>,
    /// `[drawn]`, in `0..rows`.
    pub(super) places: Tensor<1, Int>,
    /// `[drawn, 1]`.
    pub(super) counted: Tensor<2, Bool>,
}

impl Rows {
    /// In `f32` or `f64`.
    pub(super) fn of(packed: Tensor<2>, rows: usize) -> Self {
        let [drawn, width] = packed.dims();
        let dim = width - TAIL;
        let column = |place: usize| packed.clone().narrow(1, dim + place, 1);
        let bytes = BYTES.iter().enumerate().map(|(place, &factor)| column(place).int().mul_scalar(factor));
        let places = bytes.reduce(|sum, byte| sum + byte).expect("there are four").reshape([drawn]);
        let mark = column(TAIL - 1);
        let nothing = mark.clone().equal_scalar(0.0);
        let counted = nothing.clone().bool_not();
        let wrong = counted.clone().bool_and(mark.not_equal_scalar(1.0));
        let gradient = packed.narrow(1, 0, dim).mask_fill(wrong.expand([drawn, dim]), f64::NAN);

        Self { gradient, places: places.clamp(0, rows as i64 - 1), counted }
    }
}
