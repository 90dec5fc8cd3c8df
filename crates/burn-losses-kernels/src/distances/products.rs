//! Euclidean distances of all pairs by a matrix product, and those of close pairs from their differences.
//!
//! `|a|² + |b|² - 2·<a, b>` cancels for rows that are close together and far from the origin, and overflows for long ones:
//! such pairs are taken one by one, in value and in gradient.

use alloc::borrow::Cow;
use alloc::vec;
use alloc::vec::Vec;

use gemm::Parallelism;

use super::metrics::{Distance, Euclidean};
use crate::host::threads::*;
use crate::host::{Matrix, Real, Same, Square, Vectorised, product, sum, vectorised};

/// A squared distance below this share of `|a|² + |b|²` is computed from the difference: above it, the rounding of a
/// product in `f32` is less than `1e-4` of it.
const CLOSE: f64 = 4e-3;
/// Sums of squares below this have lost digits.
const VANISHING: f64 = 1e-30;
/// Sums are in the precision of the products that they are taken from.
const BLOCK: usize = usize::MAX;
/// Below this many multiplications a second thread is not woken.
const WORTH_A_THREAD: usize = 1 << 18;

/// Rows of both sides, one after the other.
pub(super) struct Pairs<'a, T> {
    pub(super) first: &'a [T],
    pub(super) second: &'a [T],
    pub(super) dim: usize,
    /// The squares of distances, not their roots.
    pub(super) squared: bool,
}

impl<T: Real> Pairs<'_, T> {
    fn counts(&self) -> [usize; 2] {
        [self.first.len() / self.dim, self.second.len() / self.dim]
    }

    fn parallelism(&self) -> Parallelism {
        let [rows, columns] = self.counts();
        if rows * columns * self.dim < WORTH_A_THREAD { Parallelism::None } else { shared_by(0) }
    }

    /// Rows that may be multiplied with any other, and their squared lengths: 0 in place of a row that is too long or no
    /// number, whose length is none.
    fn clean<'r>(&self, rows: &'r [T]) -> (Cow<'r, [T]>, Vec<T>) {
        let mut lengths: Vec<T> = rows.chunks_exact(self.dim).map(|row| vectorised(Squares { row })).collect();
        let mut clean = Cow::Borrowed(rows);
        for (row, length) in lengths.iter_mut().enumerate() {
            // In this order what is no number is left out too.
            if *length < T::max_value() {
                continue;
            }
            *length = T::nan();
            clean.to_mut()[row * self.dim..(row + 1) * self.dim].fill(T::zero());
        }
        (clean, lengths)
    }

    /// All distances, `[first, second]`.
    pub(super) fn distances(&self) -> Vec<T> {
        let [rows, columns] = self.counts();
        let ((first, of_first), (second, of_second)) = (self.clean(self.first), self.clean(self.second));
        let mut output = vec![T::zero(); rows * columns];
        let (left, right) = (Matrix::rows(&first, rows, self.dim), Matrix::rows(&second, columns, self.dim));
        product(left, right.transposed(), false, self.parallelism(), &mut output);
        for_each_chunk(&mut output, columns, 1, &|row, output| {
            let a = &self.first[row * self.dim..][..self.dim];
            let any_close = vectorised(FromProducts { of_row: of_first[row], of_second: &of_second, output });
            if any_close {
                // Negative where it is to be taken from the difference.
                let close = output.iter_mut().zip(self.second.chunks_exact(self.dim));
                for (square, b) in close.filter(|(square, _)| **square < T::zero()) {
                    let distance = vectorised(One { a, b });
                    *square = distance * distance;
                }
            }
            if !self.squared {
                vectorised(Roots { output });
                // The root of a square that overflows or vanishes is not the distance.
                let lost = |distance: T| !(distance < T::of(1e15) && distance > T::of(1e-15));
                let all = output.iter_mut().zip(self.second.chunks_exact(self.dim));
                for (distance, b) in all.filter(|(distance, _)| any_close && lost(**distance)) {
                    *distance = vectorised(One { a, b });
                }
            }
        });
        output
    }

    /// The gradients of both sides.
    pub(super) fn gradients(&self, distances: &[T], gradient: &[T], wanted: [bool; 2]) -> [Option<Vec<T>>; 2] {
        let [rows, columns] = self.counts();
        let ((first, of_first), (second, of_second)) = (self.clean(self.first), self.clean(self.second));
        // What a difference is multiplied with, 0 for close pairs.
        let mut weights = vec![T::zero(); rows * columns];
        for_each_chunk(&mut weights, columns, 1, &|row, output| {
            let [distances, gradient] = [distances, gradient].map(|all| &all[row * columns..][..columns]);
            let (of_row, of_second, squared) = (of_first[row], &of_second, self.squared);
            vectorised(Weights { of_row, of_second, distances, gradient, squared, output });
        });
        let is_close = |&place: &usize| weights[place] == T::zero() && gradient[place] != T::zero();
        let close: Vec<usize> = (0..weights.len()).filter(is_close).collect();
        let matrix = Matrix::rows(&weights, rows, columns);
        let of_side = |weights: Matrix<'_, T>, other: Matrix<'_, T>, own: &[T], totals: &[T]| {
            let mut output = vec![T::zero(); own.len()];
            product(weights, other, false, self.parallelism(), &mut output);
            let rows = output.chunks_exact_mut(self.dim).zip(own.chunks_exact(self.dim)).zip(totals);
            rows.for_each(|((output, a), &total)| vectorised(Towards { total, a, output }));
            output
        };
        let first_gradient = wanted[0].then(|| {
            let totals: Vec<T> = weights.chunks_exact(columns).map(|row| vectorised(Total { row })).collect();
            let mut output = of_side(matrix, Matrix::rows(&second, columns, self.dim), &first, &totals);
            for &place in &close {
                self.add(&mut output, [place / columns, place % columns], false, distances[place], gradient[place]);
            }
            output
        });
        let second_gradient = wanted[1].then(|| {
            let mut totals = vec![T::zero(); columns];
            for row in weights.chunks_exact(columns) {
                totals.iter_mut().zip(row).for_each(|(total, &weight)| *total = *total + weight);
            }
            let mut output = of_side(matrix.transposed(), Matrix::rows(&first, rows, self.dim), &second, &totals);
            for &place in &close {
                self.add(&mut output, [place / columns, place % columns], true, distances[place], gradient[place]);
            }
            output
        });
        [first_gradient, second_gradient]
    }

    /// The gradient of one pair, to that of the first side or the second.
    fn add(&self, output: &mut [T], [row, column]: [usize; 2], of_second: bool, distance: T, gradient: T) {
        let of = |row: usize| row * self.dim..(row + 1) * self.dim;
        let (first, second) = (&self.first[of(row)], &self.second[of(column)]);
        let (a, b, own) = if of_second { (second, first, column) } else { (first, second, row) };
        let output = &mut output[of(own)];
        vectorised(Add { a, b, distance, gradient, squared: self.squared, output });
    }
}

struct Total<'a, T> {
    row: &'a [T],
}

impl<T: Real> Vectorised for Total<'_, T> {
    type Output = T;

    #[inline(always)]
    fn run<const FUSED: bool>(self) -> T {
        T::of(sum::<BLOCK, FUSED, _>(self.row, Same))
    }
}

/// The sum of the squares of a row.
struct Squares<'a, T> {
    row: &'a [T],
}

impl<T: Real> Vectorised for Squares<'_, T> {
    type Output = T;

    #[inline(always)]
    fn run<const FUSED: bool>(self) -> T {
        T::of(sum::<BLOCK, FUSED, _>(self.row, Square))
    }
}

/// Products of a row with all others as squared distances; -1 for those that are to be taken from the differences. Whether
/// there is one.
struct FromProducts<'a, T> {
    of_row: T,
    of_second: &'a [T],
    output: &'a mut [T],
}

impl<T: Real> Vectorised for FromProducts<'_, T> {
    type Output = bool;

    #[inline(always)]
    fn run<const FUSED: bool>(self) -> bool {
        let mut lowest = T::zero();
        for (output, &of_other) in self.output.iter_mut().zip(self.of_second) {
            let lengths = self.of_row + of_other;
            let square = lengths - (*output + *output);
            // In this order what is no number is taken from the differences too.
            let far = square >= lengths * T::of(CLOSE) && lengths >= T::of(VANISHING) && lengths < T::max_value();
            *output = if far { square } else { -T::one() };
            lowest = if *output < lowest { *output } else { lowest };
        }
        lowest < T::zero()
    }
}

struct Roots<'a, T> {
    output: &'a mut [T],
}

impl<T: Real> Vectorised for Roots<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<const FUSED: bool>(self) {
        self.output.iter_mut().for_each(|number| *number = number.sqrt());
    }
}

/// The distance of one pair from its difference.
struct One<'a, T> {
    a: &'a [T],
    b: &'a [T],
}

impl<T: Real> Vectorised for One<'_, T> {
    type Output = T;

    #[inline(always)]
    fn run<const FUSED: bool>(self) -> T {
        Euclidean.of::<FUSED>(self.a, self.b)
    }
}

/// What the differences of a row to all others are multiplied with.
struct Weights<'a, T> {
    of_row: T,
    of_second: &'a [T],
    distances: &'a [T],
    gradient: &'a [T],
    squared: bool,
    output: &'a mut [T],
}

impl<T: Real> Vectorised for Weights<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<const FUSED: bool>(self) {
        let pairs = self.of_second.iter().zip(self.distances).zip(self.gradient);
        for (output, ((&of_other, &distance), &gradient)) in self.output.iter_mut().zip(pairs) {
            let lengths = self.of_row + of_other;
            let square = if self.squared { distance } else { distance * distance };
            let far = square >= lengths * T::of(CLOSE) && lengths >= T::of(VANISHING) && lengths < T::max_value();
            let weight = if self.squared { gradient + gradient } else { gradient / distance };
            *output = if far { weight } else { T::zero() };
        }
    }
}

/// `total·a - output`: the products so far are the other sides of the differences.
struct Towards<'a, T> {
    total: T,
    a: &'a [T],
    output: &'a mut [T],
}

impl<T: Real> Vectorised for Towards<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<const FUSED: bool>(self) {
        for (output, &a) in self.output.iter_mut().zip(self.a) {
            *output = self.total * a - *output;
        }
    }
}

/// The gradient of one pair.
struct Add<'a, T> {
    a: &'a [T],
    b: &'a [T],
    distance: T,
    gradient: T,
    squared: bool,
    output: &'a mut [T],
}

impl<T: Real> Vectorised for Add<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<const FUSED: bool>(self) {
        if !self.squared {
            return Euclidean.add_slope::<FUSED>(self.a, self.b, self.distance, self.gradient, self.output);
        }
        let twice = self.gradient + self.gradient;
        for ((output, &a), &b) in self.output.iter_mut().zip(self.a).zip(self.b) {
            *output = *output + twice * (a - b);
        }
    }
}
