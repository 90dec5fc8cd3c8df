//! What pairs of two sides cost, each as a question of its own, and the gradient of that in one walk.
//!
//! The walk is that of `cosine_sums.rs` with one length: a block of the second side with a tile of the first after the other, whose
//! products are turned into their gradient where they lie.

use alloc::vec;
use alloc::vec::Vec;

use burn::backend::TensorMetadata;
use burn::backend::tensor::FloatTensor;
use burn::tensor::{DType, Shape};

use super::super::cosine_sums::op::TwoSides;
use super::block::{LANES, dot, larger};
use super::sides::{Inputs, LEFT_OUT};
use super::{Range, chunks, wide};
use crate::host::threads::*;
use crate::host::{Host, Key, Matrix, Real, Vectorised, product_apart, tensor, vectorised};

/// The loss, `[1]`.
pub(in super::super) fn loss<H: Host>(sides: &TwoSides<H>, bias: &FloatTensor<H>) -> FloatTensor<H> {
    match sides.first.dtype() {
        DType::F64 => number::<H, f64>(sides, Walk::<f64>::new(sides, bias, None).run().loss),
        _ => number::<H, f32>(sides, Walk::<f32>::new(sides, bias, None).run().loss),
    }
}

/// The same, and the gradients of both sides, the scale and the bias. A side that is not wanted has a meaningless number.
pub(in super::super) fn loss_and_gradients<H: Host>(
    sides: &TwoSides<H>,
    bias: &FloatTensor<H>,
    wanted: [bool; 2],
) -> (FloatTensor<H>, [FloatTensor<H>; 4]) {
    match sides.first.dtype() {
        DType::F64 => loss_and_gradients_as::<H, f64>(sides, bias, wanted),
        _ => loss_and_gradients_as::<H, f32>(sides, bias, wanted),
    }
}

fn number<H: Host, T: Real + Key<T>>(sides: &TwoSides<H>, number: f64) -> FloatTensor<H> {
    tensor::<H, _>(vec![T::of(number)], Shape::from([1]), &sides.first.device())
}

fn loss_and_gradients_as<H: Host, T: Real + Key<T>>(
    sides: &TwoSides<H>,
    bias: &FloatTensor<H>,
    wanted: [bool; 2],
) -> (FloatTensor<H>, [FloatTensor<H>; 4]) {
    let outcome = Walk::<T>::new(sides, bias, Some(wanted)).run();
    let side = |numbers: Vec<T>, of: &FloatTensor<H>, wanted: bool| {
        let (numbers, shape) = if wanted { (numbers, of.shape()) } else { (vec![T::zero()], Shape::from([1])) };
        tensor::<H, _>(numbers, shape, &sides.first.device())
    };
    let [first, second] = outcome.sides;
    let gradients = [
        side(first, &sides.first, wanted[0]),
        side(second, &sides.second, wanted[1]),
        number::<H, T>(sides, outcome.scale),
        number::<H, T>(sides, outcome.bias),
    ];
    (number::<H, T>(sides, outcome.loss), gradients)
}

struct Walk<T> {
    inputs: Inputs<T>,
    bias: T,
    /// Which sides have a gradient; without it the loss alone is wanted.
    wanted: Option<[bool; 2]>,
}

/// What a walk gives.
struct Outcome<T> {
    loss: f64,
    sides: [Vec<T>; 2],
    scale: f64,
    bias: f64,
}

/// The sum of what pairs cost, that of the slopes by their scores, and that of the slopes times their cosines.
type Totals = [f64; 3];

impl<T: Real + Key<T>> Walk<T> {
    fn new<H: Host>(sides: &TwoSides<H>, bias: &FloatTensor<H>, wanted: Option<[bool; 2]>) -> Self {
        let inputs = Inputs::new::<H>(sides, &sides.lengths).expect("a row is as long as itself");
        Self { inputs, bias: T::of(chunks::number::<H>(bias)), wanted }
    }

    fn run(&self) -> Outcome<T> {
        let Inputs { first, second, scale, .. } = &self.inputs;
        let (rows, dim, wanted) = (first.count, self.inputs.longest(), self.wanted.unwrap_or_default());
        // Of partners: what they cost, and the slopes of that by their scores.
        let partner = |row: usize| {
            if first.labels[row] < 0 {
                return (T::zero(), T::zero(), T::zero());
            }
            let cosine = dot(first.rows.row(row), second.rows.row(row));
            let (loss, slope) = softplus::<T, false>(-(cosine * *scale + self.bias));
            (cosine, loss, -slope)
        };
        let partners: Vec<(T, T, T)> = (0..rows).map(partner).collect();

        let mut of_second = vec![T::zero(); if wanted[1] { second.count * dim } else { 0 }];
        let ranges = self.inputs.ranges();
        let shares = super::shares(&mut of_second, &ranges, if wanted[1] { dim } else { 0 });
        let parts =
            map(ranges.into_iter().zip(shares).collect(), &|(range, share)| self.part(&partners, &range, share));

        let mut of_first = Vec::new();
        let mut totals = partners.iter().fold([0.0; 3], |[loss, slopes, pulls], &(cosine, cost, slope)| {
            [loss + wide(cost), slopes + wide(slope), pulls + wide(slope) * wide(cosine)]
        });
        for (of_range, part) in parts {
            totals.iter_mut().zip(of_range).for_each(|(total, of_range)| *total += of_range);
            if of_first.is_empty() {
                of_first = part;
            } else {
                of_first.iter_mut().zip(part).for_each(|(sum, part)| *sum = *sum + part);
            }
        }
        // Gradients of rows divided by their lengths, until here.
        first.rows.project(&mut of_first);
        second.rows.project(&mut of_second);
        let [loss, bias, scale] = totals;
        Outcome { loss, sides: [of_first, of_second], scale, bias }
    }

    /// What a range of the second side costs, and the gradient of the first side by it.
    fn part(&self, partners: &[(T, T, T)], range: &Range, of_second: &mut [T]) -> (Totals, Vec<T>) {
        let (inputs, dim, others) = (&self.inputs, self.inputs.longest(), range.end - range.start);
        let (rows, wanted) = (inputs.first.count, self.wanted.unwrap_or_default());
        let mut of_first = vec![T::zero(); if wanted[0] { rows * dim } else { 0 }];
        let mut products = vec![T::zero(); inputs.block().min(others) * inputs.tile(range)];
        let mut totals = [0.0; 3];
        for block in inputs.blocks(range) {
            for tile in inputs.tiles(range) {
                let products = &mut products[..block.1 * tile.1];
                inputs.multiply(0, block, tile, range.parallelism, products);
                inputs.leave_out(block, tile, products);
                let of_tile = vectorised(Ask { products, lanes: tile.1, scale: inputs.scale, bias: self.bias });
                totals.iter_mut().zip(of_tile).for_each(|(total, of_tile)| *total += wide(of_tile));
                for own in block.0.max(tile.0)..(block.0 + block.1).min(tile.0 + tile.1) {
                    let slope = &mut products[(own - block.0) * tile.1 + own - tile.0];
                    *slope = *slope + partners[own].2 * inputs.scale;
                }
                let slopes = Matrix::rows(products, block.1, tile.1);
                if wanted[1] {
                    let (into, rows) =
                        (&mut of_second[(block.0 - range.start) * dim..], inputs.first.rows.unit_of(tile));
                    product_apart(slopes, rows, tile.0 > 0, range.parallelism, into, dim);
                }
                if wanted[0] {
                    let (into, rows) = (&mut of_first[tile.0 * dim..], inputs.second.rows.unit_of(block));
                    product_apart(slopes.transposed(), rows, true, range.parallelism, into, dim);
                }
            }
        }
        (totals, of_first)
    }
}

/// `softplus(score)` and its slope.
#[inline(always)]
fn softplus<T: Real, const FUSED: bool>(score: T) -> (T, T) {
    let small = (-score.abs()).exponential::<FUSED>();
    let top = if score < T::zero() { small } else { T::one() };
    (larger(score, T::zero()) + small.log_of_one_more::<FUSED>(), top / (T::one() + small))
}

/// Replaces products `[rows, lanes]` by the gradients of what they cost. Gives the [`Totals`].
struct Ask<'a, T> {
    products: &'a mut [T],
    lanes: usize,
    scale: T,
    bias: T,
}

impl<T: Real> Vectorised for Ask<'_, T> {
    type Output = [T; 3];

    #[inline(always)]
    fn run<const FUSED: bool>(self) -> [T; 3] {
        let Self { products, lanes, scale, bias } = self;
        let (mut totals, left_out) = ([T::zero(); 3], T::of(0.5 * LEFT_OUT));
        for products in products.chunks_exact_mut(lanes) {
            let mut sums = [[T::zero(); LANES]; 3];
            for products in products.chunks_mut(LANES) {
                let [losses, slopes, pulls] = &mut sums;
                let sums = losses.iter_mut().zip(slopes).zip(pulls);
                for (product, ((loss, slopes), pull)) in products.iter_mut().zip(sums) {
                    let cosine = *product;
                    // One that is left out costs nothing, whatever the bias is.
                    let score = if cosine < left_out { cosine } else { cosine * scale + bias };
                    let (cost, slope) = softplus::<T, FUSED>(score);
                    *loss = *loss + cost;
                    *slopes = *slopes + slope;
                    *pull = *pull + slope * cosine;
                    *product = slope * scale;
                }
            }
            for (total, sums) in totals.iter_mut().zip(sums) {
                *total = sums.into_iter().fold(*total, |total, sum| total + sum);
            }
        }
        totals
    }
}
