//! The two passes on the memory of CPU backends: row by row, each read twice from a cache.

use alloc::vec;
use alloc::vec::Vec;

use burn::backend::TensorMetadata;
use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::tensor::{DType, Element, TensorData};

use super::backend::SUMS;
use crate::host::threads::*;
use crate::host::{
    Host, Key, LogSumExp, Real, Same, Summand, Vectorised, log_sum_exp, sum, sum_of_both, tensor, vectorised,
};
use crate::one_pass::Passed;

/// Below this many numbers a second thread is not woken. An estimate: they take a core with AVX-512 about 10 µs.
const WORTH_A_THREAD: usize = 1 << 15;
/// Numbers that are added in their own precision, before the sum goes into one in `f64`.
const BLOCK: usize = 1024;

pub(super) fn forward<H: Host>(
    logits: &FloatTensor<H>,
    labels: IntTensor<H>,
    weights: Option<&FloatTensor<H>>,
) -> Passed<H> {
    match logits.dtype() {
        DType::F64 => forward_as::<H, f64>(logits, labels, weights),
        _ => forward_as::<H, f32>(logits, labels, weights),
    }
}

pub(super) fn backward<H: Host>(
    logits: &FloatTensor<H>,
    labels: IntTensor<H>,
    weights: Option<&FloatTensor<H>>,
    sums: &FloatTensor<H>,
    gradient: &FloatTensor<H>,
) -> FloatTensor<H> {
    match logits.dtype() {
        DType::F64 => backward_as::<H, f64>(logits, labels, weights, sums, gradient),
        _ => backward_as::<H, f32>(logits, labels, weights, sums, gradient),
    }
}

/// The weights of all classes, or nothing.
fn column<H: Host, T: Real + Key<T>>(weights: Option<&FloatTensor<H>>, classes: usize) -> Option<Vec<T>> {
    weights.map(|weights| H::strided::<T>(weights).rows(classes, 1))
}

fn rows_per_thread(classes: usize) -> usize {
    WORTH_A_THREAD.div_ceil(classes)
}

fn forward_as<H: Host, T: Real + Key<T> + Element>(
    logits: &FloatTensor<H>,
    labels: IntTensor<H>,
    weights: Option<&FloatTensor<H>>,
) -> Passed<H> {
    let shape = logits.shape();
    let [rows, classes] = [shape[0], shape[1]];
    let (matrix, labels, weights) = (H::strided::<T>(logits), H::integers(labels), column::<H, T>(weights, classes));
    let total = weights.as_ref().map_or(T::zero(), |weights| T::of(sum::<BLOCK, false, _>(weights, Same)));
    let mut found = vec![[T::zero(); 2 + SUMS]; rows];
    for_each_chunk(&mut found, rows_per_thread(classes), 1, &|chunk, found| {
        let mut room = Vec::new();
        for (place, found) in found.iter_mut().enumerate() {
            let row = chunk * rows_per_thread(classes) + place;
            let Ok(target) = usize::try_from(labels[row]) else { continue };
            let logits = matrix.row(row, classes, &mut room);
            *found = vectorised(Forward { logits, target, weights: weights.as_deref(), total });
        }
    });
    let part = |places: core::ops::Range<usize>| {
        let numbers: Vec<T> = found.iter().flat_map(|found| found[places.clone()].iter().copied()).collect();
        tensor::<H, _>(numbers, [rows, places.len()], &logits.device())
    };
    Passed { output: part(0..2), sums: part(2..2 + SUMS) }
}

fn backward_as<H: Host, T: Real + Key<T> + Element>(
    logits: &FloatTensor<H>,
    labels: IntTensor<H>,
    weights: Option<&FloatTensor<H>>,
    sums: &FloatTensor<H>,
    gradient: &FloatTensor<H>,
) -> FloatTensor<H> {
    let shape = logits.shape();
    let [rows, classes] = [shape[0], shape[1]];
    let (matrix, labels, weights) = (H::strided::<T>(logits), H::integers(labels), column::<H, T>(weights, classes));
    let (sums, gradient) = (H::strided::<T>(sums).rows(rows, SUMS), H::strided::<T>(gradient).rows(rows, 2));
    let mut output = vec![T::zero(); rows * classes];
    let length = rows_per_thread(classes);
    for_each_chunk(&mut output, length * classes, 1, &|chunk, output| {
        let mut room = Vec::new();
        for (place, output) in output.chunks_exact_mut(classes).enumerate() {
            let row = chunk * length + place;
            let Ok(target) = usize::try_from(labels[row]) else { continue };
            let logits = matrix.row(row, classes, &mut room);
            let sums = &sums[SUMS * row..][..SUMS];
            let sum = |first: usize| LogSumExp { largest: sums[first], rest: sums[first + 1] };
            let (others, all, total) = (sum(0), sum(2), sums[4]);
            let [log_odds, spread] = [gradient[2 * row], gradient[2 * row + 1]];
            let weights = weights.as_deref();
            vectorised(Backward { logits, target, weights, others, all, log_odds, spread, total, output });
        }
    });
    H::float_from_data(TensorData::new(output, [rows, classes]), &logits.device())
}

/// The log-odds, the spread, and the [`SUMS`].
struct Forward<'a, T> {
    logits: &'a [T],
    target: usize,
    weights: Option<&'a [T]>,
    /// The sum of the weights.
    total: T,
}

impl<T: Real> Vectorised for Forward<'_, T> {
    type Output = [T; 2 + SUMS];

    #[inline(always)]
    fn run<const FUSED: bool>(self) -> [T; 2 + SUMS] {
        let Self { logits, target, weights, total } = self;
        let own = logits[target];
        let parts = [&logits[..target], &logits[target + 1..]];
        let others = log_sum_exp::<BLOCK, 2, T, FUSED>(parts);
        let log_odds = others.log_share(own);
        // Of all: the larger and what the smaller adds.
        let largest = if own < others.largest { others.largest } else { own };
        let (own, rest) = (own - largest, (others.largest - largest) + others.rest);
        let (large, small) = if own < rest { (rest, own) } else { (own, rest) };
        let all = large + (small - large).exponential::<FUSED>().log_of_one_more::<FUSED>();
        let all = LogSumExp { largest, rest: all };
        let spread = match weights {
            Some(weights) => T::of(sum_of_both::<BLOCK, FUSED, _>(logits, weights, Weighted { all })),
            None => T::zero(),
        };

        [log_odds, spread, others.largest, others.rest, all.largest, all.rest, total]
    }
}

/// `weight·(all - logit)`.
#[derive(Clone, Copy)]
struct Weighted<T> {
    all: LogSumExp<T>,
}

impl<T: Real> Summand<T, 2> for Weighted<T> {
    #[inline(always)]
    fn of<const FUSED: bool>(self, [logit, weight]: [T; 2]) -> T {
        times(weight, -self.all.log_share(logit))
    }
}

/// The product, where a weight of 0 takes infinity out too: a class that is masked and weighs nothing.
#[inline(always)]
fn times<T: Real>(weight: T, number: T) -> T {
    if weight == T::zero() { T::zero() } else { weight * number }
}

/// A row of the gradient.
struct Backward<'a, T> {
    logits: &'a [T],
    target: usize,
    weights: Option<&'a [T]>,
    others: LogSumExp<T>,
    all: LogSumExp<T>,
    /// The gradients of the two results.
    log_odds: T,
    spread: T,
    /// The sum of the weights.
    total: T,
    output: &'a mut [T],
}

impl<T: Real> Vectorised for Backward<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<const FUSED: bool>(self) {
        let Self { logits, target, weights, others, all, log_odds, spread, total, output } = self;
        // Where there is no other class, nothing depends on one.
        if others.is_nothing() {
            output[target] = log_odds;
            return;
        }
        for (output, &logit) in output.iter_mut().zip(logits) {
            *output = -log_odds * others.log_share(logit).exponential::<FUSED>();
        }
        output[target] = log_odds;
        if let Some(weights) = weights {
            for ((output, &logit), &weight) in output.iter_mut().zip(logits).zip(weights) {
                *output = *output + spread * (total * all.log_share(logit).exponential::<FUSED>() - weight);
            }
        }
    }
}
