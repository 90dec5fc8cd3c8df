//! Two sides that are compared with each other: their rows, and the products of a block of the second with a tile of the first.

use alloc::vec;
use alloc::vec::Vec;

use burn::backend::TensorMetadata;
use burn::backend::tensor::FloatTensor;
use gemm::Parallelism;

use super::super::cosine_sums::op::TwoSides;
use super::block::{Block, larger};
use super::{BLOCK, Range, ranges, wide};
use crate::host::{Host, Key, Matrix, Real, product};
use crate::math::norm::NO_DIRECTION;

/// What the product of two rows that are not compared is: far below every other, also when more is added to it or it is multiplied
/// with a scale, and still a number when it is multiplied with the factors of two rows.
pub(super) const LEFT_OUT: f64 = -1e18;

/// A cut row that is this much shorter than the whole would lose digits in the products of all lengths.
const TOO_SHORT: f64 = 1e-9;

/// Calls `walk` with what a walk needs and the place of the first of its lengths: once for all lengths, or once for each where a row has
/// nearly nothing in its first numbers, or one that is not a number, whose factor would reach pairs that are not compared.
pub(super) fn for_each_walk<H: Host, T: Real + Key<T>>(sides: &TwoSides<H>, mut walk: impl FnMut(&Inputs<T>, usize)) {
    let lengths = &sides.lengths;
    if let Some(inputs) = Inputs::<T>::new::<H>(sides, lengths) {
        walk(&inputs, 0);
        return;
    }
    for place in 0..lengths.len() {
        walk(&Inputs::new::<H>(sides, &lengths[place..=place]).expect("a row is as long as itself"), place);
    }
}

/// Rows of one side.
pub(super) struct Side<T> {
    /// Divided by their length, of as many numbers as the longest length.
    pub(super) rows: Block<T>,
    pub(super) count: usize,
    /// Of each length, what the cosine of the cut rows is more than their product, `[lengths, count]`.
    pub(super) factors: Vec<T>,
    pub(super) labels: Vec<i64>,
}

impl<T: Real + Key<T>> Side<T> {
    /// `None` where a row is too short at one of the lengths.
    fn new<H: Host>(rows: &FloatTensor<H>, labels: Vec<i64>, ends: &[usize]) -> Option<Self> {
        let (count, longest) = (rows.shape()[0], *ends.last().expect("there is a length"));
        let mut block = Block::new(count, longest);
        block.load(&H::strided::<T>(rows), 0, count, true);
        let mut factors = vec![T::one(); ends.len() * count];
        for row in 0..count {
            let (numbers, whole) = (block.row(row), wide(block.inverse_length(row)).recip());
            let largest =
                |numbers: &[T]| wide(numbers.iter().fold(T::zero(), |most, number| larger(most, number.abs())));
            if largest(numbers) * whole < NO_DIRECTION {
                // It has none when it is cut either.
                continue;
            }
            let (mut squares, mut from) = (0.0, 0);
            for (place, &end) in ends[..ends.len() - 1].iter().enumerate() {
                squares += numbers[from..end].iter().map(|&number| wide(number) * wide(number)).sum::<f64>();
                let length = squares.sqrt();
                let is_long = length >= TOO_SHORT && largest(&numbers[..end]) * whole >= 2.0 * NO_DIRECTION;
                if !is_long {
                    return None;
                }
                factors[place * count + row] = T::of(length.recip());
                from = end;
            }
        }
        Some(Self { rows: block, count, factors, labels })
    }

    /// Of some rows at a length.
    pub(super) fn factors_of(&self, place: usize, (start, length): (usize, usize)) -> &[T] {
        &self.factors[place * self.count + start..][..length]
    }

    /// Makes the gradient of the rows of that of the rows divided by their lengths, which lacks what the factors bring.
    ///
    /// - `pulls`: the gradients of the logarithms of the factors, `[lengths, count]`
    pub(super) fn finish(&self, gradient: &mut [T], pulls: &[T], ends: &[usize]) {
        let longest = *ends.last().expect("there is a length");
        let pull = |place: usize, row: usize| {
            let factor = self.factors[place * self.count + row];
            pulls[place * self.count + row] * factor * factor
        };
        for (row, gradient) in gradient.chunks_exact_mut(longest).enumerate() {
            let (mut end, mut total) = (longest, T::zero());
            for place in (0..ends.len()).rev() {
                let start = if place == 0 { 0 } else { ends[place - 1] };
                total = total + pull(place, row);
                let unit = &self.rows.row(row)[start..end];
                gradient[start..end].iter_mut().zip(unit).for_each(|(slope, &unit)| *slope = *slope - unit * total);
                end = start;
            }
        }
        self.rows.project(gradient);
    }
}

/// What a walk needs.
pub(super) struct Inputs<T> {
    pub(super) first: Side<T>,
    pub(super) second: Side<T>,
    /// The first side as columns, `[longest, N]`.
    turned: Vec<T>,
    /// The lengths.
    pub(super) ends: Vec<usize>,
    pub(super) scale: T,
    /// The largest score that there can be, if the exponentials of all others are in range relative to it.
    pub(super) bound: Option<T>,
    /// The rows of the second side by their labels, those of one label in their order.
    by_label: Vec<usize>,
    /// Of every row of the first side, which of them have its label.
    same: Vec<core::ops::Range<usize>>,
}

/// A tile of the first side or a block of the second, as `(start, length)`.
pub(super) type Part = (usize, usize);

impl<T: Real + Key<T>> Inputs<T> {
    pub(super) fn new<H: Host>(sides: &TwoSides<H>, ends: &[usize]) -> Option<Self> {
        let first = Side::new::<H>(&sides.first, H::integers(sides.labels.clone()), ends)?;
        let second = Side::new::<H>(&sides.second, H::integers(sides.other_labels.clone()), ends)?;
        let scale = H::strided::<T>(&H::float_reshape(sides.scale.clone(), [1, 1].into())).rows(1, 1)[0];
        let mut by_label: Vec<usize> = (0..second.count).collect();
        by_label.sort_by_key(|&other| second.labels[other]);
        let place = |beyond: &dyn Fn(i64) -> bool| by_label.partition_point(|&other| !beyond(second.labels[other]));
        let same = first.labels.iter().map(|&label| place(&|other| other >= label)..place(&|other| other > label));
        Some(Self {
            same: same.collect(),
            turned: first.rows.turned(),
            ends: ends.to_vec(),
            scale,
            bound: (scale * T::of(2.0) <= -T::min_positive_value().ln() * T::of(0.7)).then_some(scale),
            by_label,
            first,
            second,
        })
    }

    pub(super) fn longest(&self) -> usize {
        *self.ends.last().expect("there is a length")
    }

    /// The numbers between the length before and a length.
    pub(super) fn segment(&self, place: usize) -> (usize, usize) {
        (if place == 0 { 0 } else { self.ends[place - 1] }, self.ends[place])
    }

    pub(super) fn ranges(&self) -> Vec<Range> {
        let (rows, others, longest) = (self.first.count, self.second.count, self.longest());
        ranges(others, rows.saturating_mul(others).saturating_mul(longest), rows * longest * size_of::<T>())
    }

    /// The tiles of the first side. The more lengths, the narrower: what is known of them all is to stay in the cache.
    pub(super) fn tiles(&self, range: &Range) -> impl Iterator<Item = Part> {
        let (count, tile) = (self.first.count, self.tile(range));
        (0..count).step_by(tile).map(move |start| (start, tile.min(count - start)))
    }

    pub(super) fn tile(&self, range: &Range) -> usize {
        let tile = if self.ends.len() > 2 { range.tile / 2 } else { range.tile * 2 };
        tile.min(self.first.count)
    }

    pub(super) fn block(&self) -> usize {
        if self.ends.len() > 2 { BLOCK } else { 2 * BLOCK }
    }

    pub(super) fn blocks(&self, range: &Range) -> impl Iterator<Item = Part> + use<T> {
        let (size, end) = (self.block(), range.end);
        (range.start..end).step_by(size).map(move |start| (start, size.min(end - start)))
    }

    /// Adds the products of the numbers between two lengths of a block with a tile, `[rows, lanes]`.
    pub(super) fn multiply(&self, place: usize, block: Part, tile: Part, parallelism: Parallelism, products: &mut [T]) {
        let (from, to) = self.segment(place);
        let turned =
            Matrix::some_columns(&self.turned[from * self.first.count..to * self.first.count], self.first.count, tile);
        product(self.second.rows.part_of(block, (from, to)), turned, place > 0, parallelism, products);
    }

    /// Marks the products of rows that are not compared.
    pub(super) fn leave_out(&self, (start, rows): Part, (first, lanes): Part, products: &mut [T]) {
        let left_out = T::of(LEFT_OUT);
        for lane in 0..lanes {
            let same = &self.by_label[self.same[first + lane].clone()];
            let before = same.partition_point(|&other| other < start);
            for &other in same[before..].iter().take_while(|&&other| other < start + rows) {
                products[(other - start) * lanes + lane] = left_out;
            }
            if self.first.labels[first + lane] < 0 {
                (0..rows).for_each(|row| products[row * lanes + lane] = left_out);
            }
        }
        for (products, &label) in products.chunks_exact_mut(lanes).zip(&self.second.labels[start..start + rows]) {
            if label < 0 {
                products.fill(left_out);
            }
        }
    }
}
