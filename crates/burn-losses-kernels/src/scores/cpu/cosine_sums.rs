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
use super::block::{Sums, dot, larger};
use super::exponentials::{AddExponentials, MergeRows, Scores, Weigh, Weights};
use super::sides::{Inputs, Part, for_each_walk};
use super::{Range, wide};
use crate::host::threads::*;
use crate::host::{Host, Key, Matrix, Real, product_apart, tensor, vectorised};
use crate::math::NOTHING;

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

/// The gradients of a walk.
struct Slopes<T> {
    /// `[N, longest]` and `[M, longest]`, or nothing where it is not wanted.
    sides: [Vec<T>; 2],
    scale: T,
}

impl<T: Real + Key<T>> Inputs<T> {
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
