//! What is done to a block of keys and its scores.
//!
//! The loops are types with a `with_simd`, because that is what gets compiled for every set of vector instructions and
//! chosen at run time; the body of a closure would not.

use alloc::vec;
use alloc::vec::Vec;

use core::mem::MaybeUninit;

use pulp::{Arch, Simd, WithSimd};

use crate::host::{Key, Matrix, Real, Strided};
use crate::math::NOTHING;
use crate::math::norm::{NO_DIRECTION, SUM_OF_SQUARES_FLOOR};

/// Numbers that are added beside each other in a dot product: two AVX-512 registers of `f32`.
pub(super) const LANES: usize = 32;

/// Rows in working precision, divided by their lengths where that is asked for: a block of keys, or all queries.
pub(super) struct Block<T> {
    unit: Vec<T>,
    inverse_lengths: Vec<T>,
    rows: usize,
    dim: usize,
    /// How far rows are apart.
    stride: usize,
}

/// How far apart rows should lie that a product reads beside each other: an odd number of cache lines, so that they do not
/// all fall into the same few places of the first-level cache. With 2048 numbers of `f32` a row the gradient of the queries is
/// 1.4 times as fast for it, with 512 as fast.
fn stride_of<T>(dim: usize) -> usize {
    let line = 64 / size_of::<T>();
    (dim.div_ceil(line) | 1) * line
}

impl<T: Real> Block<T> {
    pub(super) fn new(size: usize, dim: usize) -> Self {
        let stride = stride_of::<T>(dim);
        Self { unit: vec![T::zero(); size * stride], inverse_lengths: vec![T::one(); size], rows: 0, dim, stride }
    }

    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// The rows, `[rows, D]`.
    pub(super) fn unit(&self) -> Matrix<'_, T> {
        Matrix::apart(&self.unit, self.rows, self.dim, self.stride)
    }

    /// Some of the rows, `[length, D]`.
    pub(super) fn unit_of(&self, (start, length): (usize, usize)) -> Matrix<'_, T> {
        Matrix::apart(&self.unit[start * self.stride..], length, self.dim, self.stride)
    }

    /// Some numbers of some of the rows, `[length, to - from]`.
    pub(super) fn part_of(&self, (start, length): (usize, usize), (from, to): (usize, usize)) -> Matrix<'_, T> {
        Matrix::apart(&self.unit[start * self.stride + from..], length, to - from, self.stride)
    }

    /// A row.
    pub(super) fn row(&self, row: usize) -> &[T] {
        &self.unit[row * self.stride..][..self.dim]
    }

    /// 1 by the length of a row before it was divided by it.
    pub(super) fn inverse_length(&self, row: usize) -> T {
        self.inverse_lengths[row]
    }

    /// The rows as columns, `[D, rows]`.
    pub(super) fn turned(&self) -> Vec<T> {
        const SIDE: usize = 32;
        let Self { unit, rows, dim, stride, .. } = self;
        let mut turned = vec![T::zero(); rows * dim];
        // In squares that fit the first-level cache on both sides.
        for (row, column) in (0..*rows).step_by(SIDE).flat_map(|r| (0..*dim).step_by(SIDE).map(move |c| (r, c))) {
            for column in column..(column + SIDE).min(*dim) {
                for row in row..(row + SIDE).min(*rows) {
                    turned[column * rows + row] = unit[row * stride + column];
                }
            }
        }
        turned
    }

    /// Some rows, one after the other or not.
    pub(super) fn gather(&mut self, rows: &[usize], of: &[T]) {
        self.rows = rows.len();
        for (&row, into) in rows.iter().zip(self.unit.chunks_exact_mut(self.stride)) {
            into[..self.dim].copy_from_slice(&of[row * self.dim..(row + 1) * self.dim]);
        }
    }

    pub(super) fn load<K: Key<T>>(&mut self, from: &Strided<'_, K>, start: usize, rows: usize, normalise: bool) {
        self.rows = rows;
        Arch::new().dispatch(Load { block: self, from, start, normalise });
    }

    /// The gradient of rows that were divided by their lengths, in the place of that of the unit rows.
    pub(super) fn project(&self, unit_gradient: &mut [T]) {
        Arch::new().dispatch(Project { block: self, unit_gradient });
    }

    /// Writes the gradient of the rows from that of the unit rows.
    pub(super) fn finish<K: Key<T>>(&self, unit_gradient: &mut [T], into: &mut [MaybeUninit<K>], normalise: bool) {
        Arch::new().dispatch(Finish { block: self, unit_gradient, into, normalise });
    }
}

struct Load<'a, 'k, T, K: Copy> {
    block: &'a mut Block<T>,
    from: &'a Strided<'k, K>,
    start: usize,
    normalise: bool,
}

impl<T: Real, K: Key<T>> WithSimd for Load<'_, '_, T, K> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Block { unit, inverse_lengths, rows, dim, stride } = self.block;
        let unit = &mut unit[..*rows * *stride];
        self.from.copy_rows(self.start, *dim, unit, *stride);
        if self.normalise {
            let rows = unit.chunks_exact_mut(*stride);
            inverse_lengths.iter_mut().zip(rows).for_each(|(inverse, row)| *inverse = normalise_row(&mut row[..*dim]));
        }
    }
}

struct Project<'a, T> {
    block: &'a Block<T>,
    unit_gradient: &'a mut [T],
}

impl<T: Real> WithSimd for Project<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Block { unit, inverse_lengths, dim, stride, .. } = self.block;
        let rows = self.unit_gradient.chunks_exact_mut(*dim).zip(unit.chunks_exact(*stride)).zip(inverse_lengths);
        rows.for_each(|((gradient, unit), &inverse_length)| project_row(gradient, &unit[..*dim], inverse_length));
    }
}

struct Finish<'a, T, K> {
    block: &'a Block<T>,
    unit_gradient: &'a mut [T],
    into: &'a mut [MaybeUninit<K>],
    normalise: bool,
}

impl<T: Real, K: Key<T>> WithSimd for Finish<'_, T, K> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let dim = self.block.dim;
        let rows = self.unit_gradient.chunks_exact_mut(dim).zip(self.into.chunks_exact_mut(dim));
        for (row, (gradient, into)) in rows.enumerate() {
            if self.normalise {
                let unit = &self.block.unit[row * self.block.stride..][..dim];
                project_row(gradient, unit, self.block.inverse_lengths[row]);
            }
            for (into, &slope) in into.iter_mut().zip(&*gradient) {
                into.write(K::narrow(slope));
            }
        }
    }
}

/// The gradient of a row from that of the row divided by its length.
#[inline(always)]
fn project_row<T: Real>(gradient: &mut [T], unit: &[T], inverse_length: T) {
    let along = dot(gradient, unit);
    for (slope, &part) in gradient.iter_mut().zip(unit) {
        *slope = (*slope - part * along) * inverse_length;
    }
}

/// Divides a row by its length as [`unit_rows`](crate::math::unit_rows) does, and returns `1 / length`.
#[inline(always)]
fn normalise_row<T: Real>(row: &mut [T]) -> T {
    let mut largest = [T::zero(); LANES];
    let mut chunks = row.chunks_exact(LANES);
    for chunk in &mut chunks {
        for (largest, &number) in largest.iter_mut().zip(chunk) {
            *largest = larger(*largest, number.abs());
        }
    }
    for (largest, &number) in largest.iter_mut().zip(chunks.remainder()) {
        *largest = larger(*largest, number.abs());
    }
    let mut largest = largest.into_iter().fold(T::zero(), larger);

    // Squares of such numbers are in range, so the row need not be divided by its largest number first.
    if largest >= T::of(NO_DIRECTION) && largest < T::of(1e15) {
        // An error here is that of a whole row and does not average out, so it is rounded once.
        let inverse = T::of(dot(row, row).to_f64().expect("a float is an f64").sqrt().recip());
        row.iter_mut().for_each(|number| *number = *number * inverse);
        return inverse;
    }
    if largest < T::of(NO_DIRECTION) {
        largest = T::one();
    }
    row.iter_mut().for_each(|number| *number = *number / largest);
    let length = larger(dot(row, row), T::of(SUM_OF_SQUARES_FLOOR)).sqrt();
    row.iter_mut().for_each(|number| *number = *number / length);
    T::one() / (largest * length)
}

/// The larger number; the first one if the second is NaN.
#[inline(always)]
pub(super) fn larger<T: Real>(a: T, b: T) -> T {
    if b > a { b } else { a }
}

#[inline(always)]
pub(super) fn dot<T: Real>(a: &[T], b: &[T]) -> T {
    let mut sums = [T::zero(); LANES];
    let (mut a, mut b) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    for (a, b) in (&mut a).zip(&mut b) {
        for ((sum, &a), &b) in sums.iter_mut().zip(a).zip(b) {
            *sum = *sum + a * b;
        }
    }
    for ((sum, &a), &b) in sums.iter_mut().zip(a.remainder()).zip(b.remainder()) {
        *sum = *sum + a * b;
    }
    sums.into_iter().fold(T::zero(), |sum, part| sum + part)
}

/// Room for the maxima and sums of one block.
pub(super) struct Sums<T> {
    largest: Vec<T>,
    sum: Vec<T>,
}

impl<T: Real> Sums<T> {
    pub(super) fn new(lanes: usize) -> Self {
        Self { largest: vec![T::zero(); lanes], sum: vec![T::zero(); lanes] }
    }

    /// Takes scores `[rows, lanes]` into the running maxima and sums `[lanes]`.
    pub(super) fn merge(&mut self, scores: &[T], scale: T, largest: &mut [T], sum: &mut [T]) {
        let lanes = largest.len();
        let (new_largest, block_sum) = (&mut self.largest[..lanes], &mut self.sum[..lanes]);
        Arch::new().dispatch(Merge { scores, scale, largest, sum, new_largest, block_sum });
    }
}

/// A block has a sum of its own first: a hundred thousand numbers added one by one would lose digits.
struct Merge<'a, T> {
    scores: &'a [T],
    scale: T,
    largest: &'a mut [T],
    sum: &'a mut [T],
    new_largest: &'a mut [T],
    block_sum: &'a mut [T],
}

impl<T: Real> WithSimd for Merge<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        if S::IS_SCALAR { self.run::<false>() } else { self.run::<true>() }
    }
}

impl<T: Real> Merge<'_, T> {
    #[inline(always)]
    fn run<const FUSED: bool>(self) {
        let Self { scores, scale, largest, sum, new_largest, block_sum } = self;
        let lanes = largest.len();
        new_largest.copy_from_slice(largest);
        for row in scores.chunks_exact(lanes) {
            for (largest, &score) in new_largest.iter_mut().zip(row) {
                *largest = larger(*largest, score);
            }
        }
        block_sum.fill(T::zero());
        for row in scores.chunks_exact(lanes) {
            for ((sum, &score), &largest) in block_sum.iter_mut().zip(row).zip(&*new_largest) {
                *sum = *sum + ((score - largest) * scale).exponential::<FUSED>();
            }
        }
        for (((sum, largest), &new_largest), &block_sum) in
            sum.iter_mut().zip(largest).zip(&*new_largest).zip(&*block_sum)
        {
            *sum = *sum * ((*largest - new_largest) * scale).exponential::<FUSED>() + block_sum;
            *largest = new_largest;
        }
    }
}

/// Replaces scores `[rows, lanes]` by `g_sum·exp(scale·score - sums)`; the scores are those of `kept` where there
/// are some, whose rows are `stride` apart.
pub(super) struct Weigh<'a, T> {
    pub(super) scores: &'a mut [T],
    pub(super) kept: Option<&'a [T]>,
    pub(super) stride: usize,
    pub(super) scale: T,
    pub(super) sums: &'a [T],
    pub(super) g_sum: &'a [T],
}

impl<T: Real> Weigh<'_, T> {
    pub(super) fn weigh(self) {
        Arch::new().dispatch(self);
    }

    #[inline(always)]
    fn run<const FUSED: bool>(self) {
        let lanes = self.sums.len();
        for (number, row) in self.scores.chunks_exact_mut(lanes).enumerate() {
            if let Some(kept) = self.kept {
                row.copy_from_slice(&kept[number * self.stride..number * self.stride + lanes]);
            }
            for ((score, &sums), &gradient) in row.iter_mut().zip(self.sums).zip(self.g_sum) {
                *score = gradient * (*score * self.scale - sums).exponential::<FUSED>();
            }
        }
    }
}

impl<T: Real> WithSimd for Weigh<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        if S::IS_SCALAR { self.run::<false>() } else { self.run::<true>() }
    }
}

/// Adds a number of every key to its row of the scores `[rows, lanes]`, but for those that are left out.
pub(super) struct AddBias<'a, T> {
    pub(super) scores: &'a mut [T],
    pub(super) lanes: usize,
    pub(super) biases: &'a [T],
}

impl<T: Real> AddBias<'_, T> {
    pub(super) fn run(self) {
        Arch::new().dispatch(self);
    }
}

impl<T: Real> WithSimd for AddBias<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let nothing = T::of(NOTHING);
        for (row, &bias) in self.scores.chunks_exact_mut(self.lanes).zip(self.biases) {
            for score in row {
                *score = if *score == nothing { nothing } else { *score + bias };
            }
        }
    }
}

/// Adds scores `[rows, lanes]` times the weights of their rows to the sums of their lanes.
pub(super) struct AddWeighted<'a, T> {
    pub(super) scores: &'a [T],
    pub(super) weights: &'a [T],
    pub(super) into: &'a mut [T],
}

impl<T: Real> AddWeighted<'_, T> {
    pub(super) fn run(self) {
        Arch::new().dispatch(self);
    }
}

impl<T: Real> WithSimd for AddWeighted<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        for (row, &weight) in self.scores.chunks_exact(self.into.len()).zip(self.weights) {
            self.into.iter_mut().zip(row).for_each(|(sum, &score)| *sum = *sum + weight * score);
        }
    }
}

/// Adds the products of the weights of rows and the gradients of lanes to scores `[rows, lanes]`.
pub(super) struct AddOuter<'a, T> {
    pub(super) scores: &'a mut [T],
    pub(super) weights: &'a [T],
    pub(super) gradients: &'a [T],
}

impl<T: Real> AddOuter<'_, T> {
    pub(super) fn run(self) {
        Arch::new().dispatch(self);
    }
}

impl<T: Real> WithSimd for AddOuter<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        for (row, &weight) in self.scores.chunks_exact_mut(self.gradients.len()).zip(self.weights) {
            row.iter_mut().zip(self.gradients).for_each(|(score, &gradient)| *score = *score + weight * gradient);
        }
    }
}

/// Writes which key of a block `[rows, lanes]` has a larger score than the largest before, the first of equals. Of a hundred
/// blocks it is about five that have one, so this reads few of the scores.
pub(super) fn note_largest<T: Real>(scores: &[T], before: &[T], start: usize, keys: &mut [i64]) {
    let lanes = before.len();
    let mut largest = before.to_vec();
    Arch::new().dispatch(Largest { scores, largest: &mut largest });
    for (lane, (&before, &largest)) in before.iter().zip(&largest).enumerate() {
        if largest > before {
            let row = scores[lane..].iter().step_by(lanes).position(|&score| score == largest);
            keys[lane] = (start + row.expect("it is one of them")) as i64;
        }
    }
}

struct Largest<'a, T> {
    scores: &'a [T],
    largest: &'a mut [T],
}

impl<T: Real> WithSimd for Largest<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        for row in self.scores.chunks_exact(self.largest.len()) {
            self.largest.iter_mut().zip(row).for_each(|(largest, &score)| *largest = larger(*largest, score));
        }
    }
}

/// Adds the sum of every row of `[rows, lanes]` to its number.
pub(super) struct AddRows<'a, T> {
    pub(super) rows: &'a [T],
    pub(super) lanes: usize,
    pub(super) into: &'a mut [T],
}

impl<T: Real> AddRows<'_, T> {
    pub(super) fn run(self) {
        Arch::new().dispatch(self);
    }
}

impl<T: Real> WithSimd for AddRows<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        for (row, into) in self.rows.chunks_exact(self.lanes).zip(self.into) {
            let mut sums = [T::zero(); LANES];
            let mut chunks = row.chunks_exact(LANES);
            for chunk in &mut chunks {
                sums.iter_mut().zip(chunk).for_each(|(sum, &number)| *sum = *sum + number);
            }
            sums.iter_mut().zip(chunks.remainder()).for_each(|(sum, &number)| *sum = *sum + number);
            *into = sums.into_iter().fold(*into, |sum, part| sum + part);
        }
    }
}
