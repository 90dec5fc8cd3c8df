//! What stands behind the gradient of a row: its place, in four bytes that every float type holds exactly, a check of them, and
//! whether it counts. Nothing of it is above 1. No sum of several marks is a mark, nor is one that was scaled; the check is not
//! linear in the bytes, so that it does not fit their means; and what clips a number changes one of these or none.

use burn::tensor::{Bool, DType, IndexingUpdateOp, Int, Tensor};

use crate::math::{cast_to, widen};

/// Four bytes, the lowest first, their check, and the mark.
pub(super) const TAIL: usize = BYTES + 2;
pub(super) const BYTES: usize = 4;
/// What a byte is divided by.
pub(super) const BASE: f64 = 256.0;
/// The mark of a row that counts.
pub(super) const COUNTS: f64 = 0.75;
/// That of a row that is there a second time.
pub(super) const SECOND: f64 = 0.5;
/// The check is the sum of the squares of the bytes, times these, modulo 256.
pub(super) const CHECK: [i64; BYTES] = [1, 3, 5, 7];

/// Whether a gradient of this shape is a packed one of weights of that.
pub(super) fn is_packed(gradient: [usize; 2], [_, dim]: [usize; 2]) -> bool {
    gradient[1] == dim + TAIL
}

/// `[drawn, TAIL]` in a float type.
pub(super) fn tail(places: Tensor<1, Int>, counted: Tensor<1, Bool>, dtype: DType) -> Tensor<2> {
    let [drawn] = places.dims();
    let column = |byte: Tensor<1, Int>| byte.float().cast(dtype).mul_scalar(1.0 / BASE).reshape([drawn, 1]);
    let bytes: [_; BYTES] =
        core::array::from_fn(|byte| places.clone().bitwise_right_shift_scalar(8 * byte as i64).bitwise_and_scalar(255));
    let mark = Tensor::<2>::full([drawn, 1], SECOND, (&places.device(), dtype));
    let mark = mark.mask_fill(counted.reshape([drawn, 1]), COUNTS);
    let check = check(&bytes);
    let columns = bytes.into_iter().chain([check]).map(column).chain([mark]);

    Tensor::cat(columns.collect(), 1)
}

fn check<const D: usize>(bytes: &[Tensor<D, Int>; BYTES]) -> Tensor<D, Int> {
    let squares = bytes.iter().zip(CHECK).map(|(byte, factor)| (byte.clone() * byte.clone()).mul_scalar(factor));
    squares.reduce(|sum, square| sum + square).expect("there are four").bitwise_and_scalar(255)
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
        let scaled: [Tensor<2>; BYTES + 1] = core::array::from_fn(|byte| column(byte).mul_scalar(BASE));
        let bytes: [Tensor<2, Int>; BYTES] = core::array::from_fn(|byte| scaled[byte].clone().clamp(0.0, 255.0).int());
        let mark = column(TAIL - 1);
        let second = mark.clone().equal_scalar(SECOND);
        let known = mark.equal_scalar(COUNTS).bool_or(second.clone());
        let same = |number: &Tensor<2>, byte: Tensor<2, Int>| number.clone().equal(byte.float().cast(number.dtype()));
        let whole = bytes.iter().zip(&scaled).map(|(byte, number)| same(number, byte.clone()));
        let right = whole.chain([same(&scaled[BYTES], check(&bytes))]).fold(known, Tensor::bool_and);
        let wrong = right.bool_not();
        let second = second.bool_and(wrong.clone().bool_not());
        let places = bytes.into_iter().enumerate().map(|(byte, number)| number.mul_scalar(1_i64 << (8 * byte)));
        let places = places.reduce(|sum, byte| sum + byte).expect("there are four").reshape([drawn]);
        let gradient = gradient.narrow(1, 0, dim).mask_fill(wrong.expand([drawn, dim]), f64::NAN);
        let drawn = Drawn { places: places.clamp(0, rows as i64 - 1), others: second };

        Self { gradient, drawn: Some(drawn) }
    }

    /// The gradient, the place of every row and whether it counts there, of a packed one.
    pub(super) fn taken_apart(self) -> (Tensor<2>, Tensor<1, Int>, Tensor<1, Bool>) {
        let Drawn { places, others } = self.drawn.expect("it is packed");
        (self.gradient, places, others.squeeze_dim::<1>(1).bool_not())
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
