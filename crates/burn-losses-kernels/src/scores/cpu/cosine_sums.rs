//! The cosines of two sides and their exponentials, added up along rows and columns, for several lengths at once.
//!
//! Rows are divided by their length once. The products of a block of the second side with a tile of the first are computed for the
//! shortest length, and those of a longer one by adding what its further numbers give; what a cut row is shorter than the whole
//! is a factor of its row or column. In the backward pass the numbers between two lengths have the gradients of all products that
//! they are in, added up before they are multiplied. So all lengths together cost the matrix products of the longest.
//!
//! While exponentials of all possible scores are well in range, which they are up to a scale of 30 in `f32`, a product has one,
//! relative to the largest possible score. Beyond that it has two, relative to the largest of its row and of its column.

use alloc::vec;
use alloc::vec::Vec;

use burn::backend::TensorMetadata;
use burn::backend::tensor::FloatTensor;
use burn::tensor::{DType, Shape};
use gemm::Parallelism;

use super::super::cosine_sums::op::TwoSides;
use super::block::{Block, LANES, Sums, dot, larger};
use super::{BLOCK, Range, ranges};
use crate::host::threads::*;
use crate::host::{Host, Key, Matrix, Real, Vectorised, product, product_apart, tensor, vectorised};
use crate::math::NOTHING;
use crate::math::norm::NO_DIRECTION;

/// What the product of two rows that are not compared is: far below every other, also when more is added to it or it is multiplied
/// with a scale, and still a number when it is multiplied with the factors of two rows.
pub(super) const LEFT_OUT: f64 = -1e18;

/// A cut row that is this much shorter than the whole would lose digits in the products of all lengths.
const TOO_SHORT: f64 = 1e-9;

/// The log-sum-exps and the cosines of partners, `[lengths, N + M + min(N, M)]`.
pub(in super::super) fn forward<H: Host>(sides: &TwoSides<H>) -> FloatTensor<H> {
    match sides.first.dtype() {
        DType::F64 => forward_as::<H, f64>(sides),
        _ => forward_as::<H, f32>(sides),
    }
}

/// The gradients of the two sides and of the scale. A side that is not wanted has a meaningless number.
pub(in super::super) fn backward<H: Host>(
    sides: &TwoSides<H>,
    sums: &FloatTensor<H>,
    gradient: &FloatTensor<H>,
    wanted: [bool; 2],
) -> [FloatTensor<H>; 3] {
    match sides.first.dtype() {
        DType::F64 => backward_as::<H, f64>(sides, sums, gradient, wanted),
        _ => backward_as::<H, f32>(sides, sums, gradient, wanted),
    }
}

/// The sums of both sides, and the cosines of partners.
fn columns(rows: usize, others: usize) -> usize {
    rows + others + rows.min(others)
}

fn forward_as<H: Host, T: Real + Key<T>>(sides: &TwoSides<H>) -> FloatTensor<H> {
    let columns = columns(sides.first.shape()[0], sides.second.shape()[0]);
    let mut sums = Vec::with_capacity(sides.lengths.len() * columns);
    for_each_walk(sides, |inputs: &Inputs<T>, _| sums.extend(inputs.sums()));
    tensor::<H, _>(sums, [sides.lengths.len(), columns], &sides.first.device())
}

fn backward_as<H: Host, T: Real + Key<T>>(
    sides: &TwoSides<H>,
    sums: &FloatTensor<H>,
    gradient: &FloatTensor<H>,
    wanted: [bool; 2],
) -> [FloatTensor<H>; 3] {
    let [rows, others] = [&sides.first, &sides.second].map(|side| side.shape()[0]);
    let dim = sides.first.shape()[1];
    let columns = columns(rows, others);
    let [sums, gradient] = [sums, gradient].map(|numbers| H::strided::<T>(numbers).rows(sides.lengths.len(), columns));
    let mut total = [rows, others].map(|_| Vec::new());
    let mut of_scale = T::zero();
    for_each_walk(sides, |inputs: &Inputs<T>, place| {
        let lengths = place..place + inputs.ends.len();
        let numbers = lengths.start * columns..lengths.end * columns;
        let part = inputs.gradients(&sums[numbers.clone()], &gradient[numbers], wanted);
        of_scale = of_scale + part.scale;
        let longest = inputs.longest();
        for ((total, part), count) in total.iter_mut().zip(part.sides).zip([rows, others]) {
            if part.is_empty() {
                continue;
            }
            if longest == dim && total.is_empty() {
                *total = part;
                continue;
            }
            total.resize(count * dim, T::zero());
            for (total, part) in total.chunks_exact_mut(dim).zip(part.chunks_exact(longest)) {
                total.iter_mut().zip(part).for_each(|(total, &part)| *total = *total + part);
            }
        }
    });
    let device = sides.first.device();
    let [first, second] = total;
    let side = |numbers: Vec<T>, count: usize| {
        if numbers.is_empty() {
            return tensor::<H, _>(vec![T::zero()], Shape::from([1]), &device);
        }
        tensor::<H, _>(numbers, Shape::from([count, dim]), &device)
    };
    [side(first, rows), side(second, others), tensor::<H, _>(vec![of_scale], Shape::from([1]), &device)]
}

/// Calls `walk` with what a walk needs and the place of the first of its lengths: once for all lengths, or once for each where a row has
/// nearly nothing in its first numbers, or one that is not a number, whose factor would reach pairs that are not compared.
fn for_each_walk<H: Host, T: Real + Key<T>>(sides: &TwoSides<H>, mut walk: impl FnMut(&Inputs<T>, usize)) {
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
    factors: Vec<T>,
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
    fn factors_of(&self, place: usize, (start, length): (usize, usize)) -> &[T] {
        &self.factors[place * self.count + start..][..length]
    }

    /// Makes the gradient of the rows of that of the rows divided by their lengths, which lacks what the factors bring.
    ///
    /// - `pulls`: the gradients of the logarithms of the factors, `[lengths, count]`
    fn finish(&self, gradient: &mut [T], pulls: &[T], ends: &[usize]) {
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

fn wide<T: Real>(number: T) -> f64 {
    number.to_f64().expect("a float is an f64")
}

/// What a walk needs.
pub(super) struct Inputs<T> {
    pub(super) first: Side<T>,
    pub(super) second: Side<T>,
    /// The first side as columns, `[longest, N]`.
    turned: Vec<T>,
    /// The lengths.
    ends: Vec<usize>,
    pub(super) scale: T,
    /// The largest score that there can be, if the exponentials of all others are in range relative to it.
    bound: Option<T>,
    /// The rows of the second side by their labels, those of one label in their order.
    by_label: Vec<usize>,
    /// Of every row of the first side, which of them have its label.
    same: Vec<core::ops::Range<usize>>,
}

/// The gradients of a walk.
struct Slopes<T> {
    /// `[N, longest]` and `[M, longest]`, or nothing where it is not wanted.
    sides: [Vec<T>; 2],
    scale: T,
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
    fn segment(&self, place: usize) -> (usize, usize) {
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

    /// The cosines of rows with their partners at a length, of their products at the length before.
    fn own(&self, place: usize, products: &mut [T]) -> impl Iterator<Item = T> {
        let (from, to) = self.segment(place);
        products.iter_mut().enumerate().map(move |(row, product)| {
            let [one, other] = [&self.first, &self.second].map(|side| &side.rows.row(row)[from..to]);
            *product = *product + dot(one, other);
            *product
                * self.first.factors[place * self.first.count + row]
                * self.second.factors[place * self.second.count + row]
        })
    }

    /// Of every length the log-sum-exps of the first side, those of the second, and the cosines of partners.
    fn sums(&self) -> Vec<T> {
        let (rows, lengths) = (self.first.count, self.ends.len());
        let parts: Vec<[Running<T>; 2]> = map(self.ranges(), &|range| self.sums_of(&range));
        let mut sums = Vec::with_capacity(lengths * columns(rows, self.second.count));
        let mut own = vec![T::zero(); rows.min(self.second.count)];
        for place in 0..lengths {
            let (mut first, of_place) = (Running::new(rows, self.bound), place * rows..(place + 1) * rows);
            for [part, _] in &parts {
                first.merge(&part.largest[of_place.clone()], &part.sum[of_place.clone()]);
            }
            sums.extend((0..rows).map(|row| first.log_sum(row)));
            for [_, part] in &parts {
                let others = part.sum.len() / lengths;
                sums.extend((place * others..(place + 1) * others).map(|other| part.log_sum(other)));
            }
            sums.extend(self.own(place, &mut own));
        }
        sums
    }

    /// What a range of the second side makes of the first side, `[lengths, N]`, and of itself, `[lengths, range]`.
    fn sums_of(&self, range: &Range) -> [Running<T>; 2] {
        let (rows, others, lengths) = (self.first.count, range.end - range.start, self.ends.len());
        let mut of_first = Running::new(lengths * rows, self.bound);
        let mut of_second = Running::new(lengths * others, self.bound);
        let widest = self.tile(range);
        let mut products = vec![T::zero(); self.block().min(others) * widest];
        let mut scores = vec![T::zero(); if self.bound.is_some() { 0 } else { products.len() }];
        let (mut of_tile, mut of_lanes) = (vec![T::zero(); widest], Sums::new(widest));
        for block in self.blocks(range) {
            for tile in self.tiles(range) {
                let products = &mut products[..block.1 * tile.1];
                for place in 0..lengths {
                    self.multiply(place, block, tile, range.parallelism, products);
                    if place == 0 {
                        self.leave_out(block, tile, products);
                    }
                    let (first, second) = (place * rows + tile.0, place * others + block.0 - range.start);
                    let (lanes, of_rows) = (first..first + tile.1, second..second + block.1);
                    let (scale, row_factors) = (self.scale, self.second.factors_of(place, block));
                    let lane_factors = self.first.factors_of(place, tile);
                    if let Some(bound) = self.bound {
                        // A block has a sum of its own first, which loses fewer digits.
                        let lane_sums = &mut of_tile[..tile.1];
                        lane_sums.fill(T::zero());
                        let row_sums = &mut of_second.sum[of_rows];
                        vectorised(AddExponentials {
                            products,
                            scale,
                            bound,
                            row_factors,
                            row_sums,
                            lane_factors,
                            lane_sums,
                        });
                        let sums = of_first.sum[lanes].iter_mut();
                        sums.zip(&of_tile).for_each(|(sum, &of_tile)| *sum = *sum + of_tile);
                        continue;
                    }
                    let scores = &mut scores[..products.len()];
                    vectorised(Scores { products, scale, row_factors, lane_factors, scores });
                    let (largest, sums) = (&mut of_second.largest[of_rows.clone()], &mut of_second.sum[of_rows]);
                    vectorised(MergeRows { scores, lanes: tile.1, largest, sums });
                    let (largest, sums) = (&mut of_first.largest[lanes.clone()], &mut of_first.sum[lanes]);
                    of_lanes.merge(scores, T::one(), largest, sums);
                }
            }
        }
        [of_first, of_second]
    }

    /// - `sums`, `gradient`: what [`sums`](Self::sums) has given, and what comes back to it
    fn gradients(&self, sums: &[T], gradient: &[T], wanted: [bool; 2]) -> Slopes<T> {
        let (counts, longest, lengths) = ([self.first.count, self.second.count], self.longest(), self.ends.len());
        let upstream = [0, 1].map(|side| {
            let starts = (0..lengths).map(|place| place * columns(counts[0], counts[1]) + side * counts[0]);
            let places = starts.flat_map(|start| start..start + counts[side]);
            Upstream::new(places.map(|place| (sums[place], gradient[place])), self.scale, self.bound)
        });
        let mut of_second = vec![T::zero(); if wanted[1] { counts[1] * longest } else { 0 }];
        let ranges = self.ranges();
        let shares = super::shares(&mut of_second, &ranges, if wanted[1] { longest } else { 0 });
        // Of the cosines of partners, and those times the cosines.
        let own = counts[0].min(counts[1]);
        let of_own: Vec<Vec<(T, T)>> = (0..lengths)
            .map(|place| {
                let end = (place + 1) * columns(counts[0], counts[1]);
                let cosines = sums[end - own..end].iter();
                cosines.zip(&gradient[end - own..end]).map(|(&cosine, &slope)| (slope, slope * cosine)).collect()
            })
            .collect();
        let parts: Vec<(Vec<T>, [Vec<T>; 2])> = map(ranges.into_iter().zip(shares).collect(), &|(range, share)| {
            self.gradients_of(&upstream, &of_own, &range, wanted, share)
        });

        let mut pulls = [vec![T::zero(); lengths * counts[0]], Vec::with_capacity(lengths * counts[1])];
        for (_, [of_first, _]) in &parts {
            pulls[0].iter_mut().zip(of_first).for_each(|(sum, &part)| *sum = *sum + part);
        }
        for place in 0..lengths {
            for (_, [_, of_second]) in &parts {
                let range = of_second.len() / lengths;
                pulls[1].extend_from_slice(&of_second[place * range..(place + 1) * range]);
            }
        }
        let of_scale = T::of(pulls[0].iter().map(|&pull| wide(pull)).sum::<f64>() / wide(self.scale));
        for (pulls, count) in pulls.iter_mut().zip(counts) {
            for (pulls, of_own) in pulls.chunks_exact_mut(count).zip(&of_own) {
                pulls.iter_mut().zip(of_own).for_each(|(pull, &(_, of_own))| *pull = *pull + of_own);
            }
        }
        let mut parts = parts.into_iter().map(|(of_first, _)| of_first);
        let mut of_first = parts.next().expect("there is a range");
        for part in parts {
            of_first.iter_mut().zip(part).for_each(|(sum, part)| *sum = *sum + part);
        }
        let mut sides = [of_first, of_second];
        for ((side, gradient), pulls) in [&self.first, &self.second].into_iter().zip(&mut sides).zip(&pulls) {
            side.finish(gradient, pulls, &self.ends);
        }
        Slopes { sides, scale: of_scale }
    }

    /// The gradient of the rows of the first side by a range of the second, and what pulls at the factors of both, `[lengths, N]`
    /// and `[lengths, range]`.
    fn gradients_of(
        &self,
        [of_rows, of_others]: &[Upstream<T>; 2],
        of_own: &[Vec<(T, T)>],
        range: &Range,
        wanted: [bool; 2],
        of_second: &mut [T],
    ) -> (Vec<T>, [Vec<T>; 2]) {
        let (rows, others, longest) = (self.first.count, range.end - range.start, self.longest());
        let lengths = self.ends.len();
        let mut of_first = vec![T::zero(); if wanted[0] { rows * longest } else { 0 }];
        let (mut first_pulls, mut second_pulls) = (vec![T::zero(); lengths * rows], vec![T::zero(); lengths * others]);
        let size = self.block().min(others) * self.tile(range);
        let mut products = vec![T::zero(); lengths * size];
        for block in self.blocks(range) {
            let in_range = block.0 - range.start;
            for tile in self.tiles(range) {
                let length = block.1 * tile.1;
                self.multiply_all(block, tile, range.parallelism, &mut products, size);
                // What the numbers of a segment are multiplied with is of all lengths that they are in.
                for place in (0..lengths).rev() {
                    let (products, beyond) = products.split_at_mut((place + 1) * size);
                    let products = &mut products[place * size..][..length];
                    let (first, second) = (place * rows + tile.0, place * others + in_range);
                    vectorised(Weigh {
                        products,
                        beyond: beyond.get(..length),
                        scale: self.scale,
                        bound: self.bound,
                        rows: of_others.part(place * self.second.count + block.0, block.1),
                        row_factors: self.second.factors_of(place, block),
                        row_pulls: &mut second_pulls[second..second + block.1],
                        lanes: of_rows.part(first, tile.1),
                        lane_factors: self.first.factors_of(place, tile),
                        lane_pulls: &mut first_pulls[first..first + tile.1],
                    });
                    for own in block.0.max(tile.0)..(block.0 + block.1).min(tile.0 + tile.1) {
                        let factor = self.first.factors[place * rows + own]
                            * self.second.factors[place * self.second.count + own];
                        let slope = &mut products[(own - block.0) * tile.1 + own - tile.0];
                        *slope = *slope + of_own[place][own].0 * factor;
                    }
                    let (segment, slopes) = (self.segment(place), Matrix::rows(products, block.1, tile.1));
                    if wanted[1] {
                        let into = &mut of_second[in_range * longest + segment.0..];
                        let tile_rows = self.first.rows.part_of(tile, segment);
                        product_apart(slopes, tile_rows, tile.0 > 0, range.parallelism, into, longest);
                    }
                    if wanted[0] {
                        let into = &mut of_first[tile.0 * longest + segment.0..];
                        let block_rows = self.second.rows.part_of(block, segment);
                        product_apart(slopes.transposed(), block_rows, true, range.parallelism, into, longest);
                    }
                }
            }
        }
        (of_first, [first_pulls, second_pulls])
    }

    /// The products of a block with a tile at every length, `size` numbers apart.
    fn multiply_all(&self, block: Part, tile: Part, parallelism: Parallelism, products: &mut [T], size: usize) {
        let length = block.1 * tile.1;
        for place in 0..self.ends.len() {
            let (before, products) = products.split_at_mut(place * size);
            let products = &mut products[..length];
            if place > 0 {
                products.copy_from_slice(&before[(place - 1) * size..][..length]);
            }
            self.multiply(place, block, tile, parallelism, products);
            if place == 0 {
                self.leave_out(block, tile, products);
            }
        }
    }
}

/// Sums of exponentials relative to numbers, which are one number for all or the largest score so far.
struct Running<T> {
    largest: Vec<T>,
    sum: Vec<T>,
}

impl<T: Real> Running<T> {
    fn new(count: usize, bound: Option<T>) -> Self {
        Self { largest: vec![bound.unwrap_or(T::of(NOTHING)); count], sum: vec![T::zero(); count] }
    }

    fn merge(&mut self, largest: &[T], sum: &[T]) {
        let others = largest.iter().zip(sum);
        for ((largest, sum), (&other, &part)) in self.largest.iter_mut().zip(&mut self.sum).zip(others) {
            let new = larger(*largest, other);
            *sum = *sum * (*largest - new).exp() + part * (other - new).exp();
            *largest = new;
        }
    }

    fn log_sum(&self, place: usize) -> T {
        let (largest, sum) = (self.largest[place], self.sum[place]);
        // A NaN is larger than nothing, but it is in the sum.
        if sum == T::zero() || largest == T::of(NOTHING) && !sum.is_nan() { T::of(NOTHING) } else { largest + sum.ln() }
    }
}

/// What comes back to the log-sum-exps of a side.
struct Upstream<T> {
    /// The log-sum-exps, or 0 where there is nothing.
    sums: Vec<T>,
    /// Their gradients times the scale; where all exponentials are relative to one number, those by these exponentials.
    weights: Vec<T>,
}

/// A part of it.
#[derive(Clone, Copy)]
struct Weights<'a, T> {
    sums: &'a [T],
    weights: &'a [T],
}

impl<T: Real> Upstream<T> {
    fn new(sums_and_gradients: impl Iterator<Item = (T, T)>, scale: T, bound: Option<T>) -> Self {
        let nothing = T::of(0.5 * NOTHING);
        let weight = |(sum, gradient): (T, T)| {
            // What is not asked for must not bring a NaN.
            if sum < nothing || gradient == T::zero() {
                return (T::zero(), T::zero());
            }
            (sum, gradient * scale * bound.map_or(T::one(), |bound| (bound - sum).exp()))
        };
        let (sums, weights) = sums_and_gradients.map(weight).unzip();
        Self { sums, weights }
    }

    fn part(&self, start: usize, length: usize) -> Weights<'_, T> {
        Weights { sums: &self.sums[start..start + length], weights: &self.weights[start..start + length] }
    }
}

/// Adds the exponentials of scores less `bound` to the sums of their rows and their lanes.
struct AddExponentials<'a, T> {
    /// `[rows, lanes]`.
    products: &'a [T],
    scale: T,
    bound: T,
    row_factors: &'a [T],
    row_sums: &'a mut [T],
    lane_factors: &'a [T],
    lane_sums: &'a mut [T],
}

impl<T: Real> Vectorised for AddExponentials<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<const FUSED: bool>(self) {
        let Self { products, scale, bound, row_factors, row_sums, lane_factors, lane_sums } = self;
        let rows = products.chunks_exact(lane_factors.len());
        for ((products, &row_factor), row_sum) in rows.zip(row_factors).zip(row_sums) {
            let factor = row_factor * scale;
            let mut sums = [T::zero(); LANES];
            let lanes = products.chunks(LANES).zip(lane_factors.chunks(LANES)).zip(lane_sums.chunks_mut(LANES));
            for ((products, lane_factors), lane_sums) in lanes {
                let lanes = products.iter().zip(lane_factors).zip(lane_sums).zip(&mut sums);
                for (((&product, &lane_factor), lane_sum), sum) in lanes {
                    let exponential = (product * (lane_factor * factor) - bound).exponential::<FUSED>();
                    *lane_sum = *lane_sum + exponential;
                    *sum = *sum + exponential;
                }
            }
            *row_sum = sums.into_iter().fold(*row_sum, |sum, part| sum + part);
        }
    }
}

/// Writes the scores of products.
struct Scores<'a, T> {
    /// `[rows, lanes]`.
    products: &'a [T],
    scale: T,
    row_factors: &'a [T],
    lane_factors: &'a [T],
    scores: &'a mut [T],
}

impl<T: Real> Vectorised for Scores<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<const FUSED: bool>(self) {
        let Self { products, scale, row_factors, lane_factors, scores } = self;
        let (nothing, left_out, lanes) = (T::of(NOTHING), T::of(0.5 * LEFT_OUT), lane_factors.len());
        let rows = products.chunks_exact(lanes).zip(scores.chunks_exact_mut(lanes));
        for ((products, scores), &row_factor) in rows.zip(row_factors) {
            let factor = row_factor * scale;
            for ((score, &product), &lane_factor) in scores.iter_mut().zip(products).zip(lane_factors) {
                *score = if product < left_out { nothing } else { product * (lane_factor * factor) };
            }
        }
    }
}

/// Takes scores `[rows, lanes]` into the running maxima and sums of their rows.
struct MergeRows<'a, T> {
    scores: &'a [T],
    lanes: usize,
    largest: &'a mut [T],
    sums: &'a mut [T],
}

impl<T: Real> Vectorised for MergeRows<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<const FUSED: bool>(self) {
        let Self { scores, lanes, largest, sums } = self;
        for ((scores, largest), sum) in scores.chunks_exact(lanes).zip(largest).zip(sums) {
            let (mut new, mut parts) = ([*largest; LANES], [T::zero(); LANES]);
            for scores in scores.chunks(LANES) {
                new.iter_mut().zip(scores).for_each(|(largest, &score)| *largest = larger(*largest, score));
            }
            let new = new.into_iter().fold(*largest, larger);
            for scores in scores.chunks(LANES) {
                let parts = parts.iter_mut().zip(scores);
                parts.for_each(|(part, &score)| *part = *part + (score - new).exponential::<FUSED>());
            }
            let before = *sum * (*largest - new).exponential::<FUSED>();
            *sum = parts.into_iter().fold(before, |sum, part| sum + part);
            *largest = new;
        }
    }
}

/// Replaces products by their gradient and that of the products at all longer lengths, and adds up what pulls at the factors.
struct Weigh<'a, T> {
    /// `[rows, lanes]`.
    products: &'a mut [T],
    /// The gradient of the products at all longer lengths; `None` at the longest.
    beyond: Option<&'a [T]>,
    scale: T,
    bound: Option<T>,
    rows: Weights<'a, T>,
    row_factors: &'a [T],
    row_pulls: &'a mut [T],
    lanes: Weights<'a, T>,
    lane_factors: &'a [T],
    lane_pulls: &'a mut [T],
}

impl<T: Real> Vectorised for Weigh<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<const FUSED: bool>(self) {
        match self.bound {
            Some(bound) => self.each::<FUSED>(|score, [_, row_weight], [_, lane_weight]| {
                (row_weight + lane_weight) * (score - bound).exponential::<FUSED>()
            }),
            None => self.each::<FUSED>(|score, [row_sum, row_weight], [lane_sum, lane_weight]| {
                row_weight * (score - row_sum).exponential::<FUSED>()
                    + lane_weight * (score - lane_sum).exponential::<FUSED>()
            }),
        }
    }
}

impl<T: Real> Weigh<'_, T> {
    /// `slope`: the gradient of a cosine by its score, and by the sum and the weight of its row and of its lane.
    #[inline(always)]
    fn each<const FUSED: bool>(self, slope: impl Fn(T, [T; 2], [T; 2]) -> T) {
        let Self { products, beyond, scale, bound: _, rows, row_factors, row_pulls, lanes, lane_factors, lane_pulls } =
            self;
        let width = lane_factors.len();
        let of_rows = rows.sums.iter().zip(rows.weights).zip(row_factors).zip(row_pulls);
        for (row, (products, (((&row_sum, &row_weight), &row_factor), row_pull))) in
            products.chunks_exact_mut(width).zip(of_rows).enumerate()
        {
            let mut pulls = [T::zero(); LANES];
            for start in (0..width).step_by(LANES) {
                let end = (start + LANES).min(width);
                let of_lanes = lanes.sums[start..end].iter().zip(&lanes.weights[start..end]);
                let of_lanes = of_lanes.zip(&lane_factors[start..end]).zip(&mut lane_pulls[start..end]);
                for ((product, (((&lane_sum, &lane_weight), &lane_factor), lane_pull)), pull) in
                    products[start..end].iter_mut().zip(of_lanes).zip(&mut pulls)
                {
                    let factor = row_factor * lane_factor;
                    let cosine = *product * factor;
                    let slope = slope(cosine * scale, [row_sum, row_weight], [lane_sum, lane_weight]);
                    let pulled = slope * cosine;
                    *lane_pull = *lane_pull + pulled;
                    *pull = *pull + pulled;
                    *product = slope * factor;
                }
            }
            *row_pull = pulls.into_iter().fold(*row_pull, |sum, part| sum + part);
            if let Some(beyond) = beyond {
                let beyond = &beyond[row * width..(row + 1) * width];
                products.iter_mut().zip(beyond).for_each(|(product, &beyond)| *product = *product + beyond);
            }
        }
    }
}
