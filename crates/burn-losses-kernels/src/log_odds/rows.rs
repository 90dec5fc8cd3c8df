//! The two passes on the memory of CPU backends: row by row, each read twice from a cache.

use alloc::vec;
use alloc::vec::Vec;

use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Backend, TensorMetadata};
use burn::tensor::{DType, Element, TensorData};
use rayon::iter::{IndexedParallelIterator, ParallelIterator};
use rayon::slice::ParallelSliceMut;

use crate::host::{Host, Key, Real, Same, Summand, Vectorised, log_sum_exp, sum, sum_of_both, tensor, vectorised};
use crate::math::NOTHING;

/// Below this many numbers a second thread is not woken. An estimate: they take a core with AVX-512 about 10 µs.
const WORTH_A_THREAD: usize = 1 << 15;
/// Numbers that are added in their own precision, before the sum goes into one in `f64`.
const BLOCK: usize = 1024;

/// What the forward pass gives.
pub(super) struct Passed<B: Backend> {
    /// `[rows, 2]`, the log-odds and the spread.
    pub(super) output: FloatTensor<B>,
    /// `[rows, 2]`, the log-sum-exp of the other classes and of all.
    pub(super) sums: FloatTensor<B>,
}

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
    let mut found = vec![[T::zero(); 4]; rows];
    found.par_chunks_mut(rows_per_thread(classes)).enumerate().for_each(|(chunk, found)| {
        let mut room = Vec::new();
        for (place, found) in found.iter_mut().enumerate() {
            let row = chunk * rows_per_thread(classes) + place;
            let Ok(target) = usize::try_from(labels[row]) else { continue };
            let logits = matrix.row(row, classes, &mut room);
            *found = vectorised(Forward { logits, target, weights: weights.as_deref() });
        }
    });
    let part = |first: usize| {
        let numbers: Vec<T> = found.iter().flat_map(|found| [found[first], found[first + 1]]).collect();
        tensor::<H, _>(numbers, [rows, 2], &logits.device())
    };
    Passed { output: part(0), sums: part(2) }
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
    let (sums, gradient) = (H::strided::<T>(sums).rows(rows, 2), H::strided::<T>(gradient).rows(rows, 2));
    let total = weights.as_ref().map_or(T::zero(), |weights| T::of(sum::<BLOCK, false, _>(weights, Same)));
    let mut output = vec![T::zero(); rows * classes];
    let length = rows_per_thread(classes);
    output.par_chunks_mut(length * classes).enumerate().for_each(|(chunk, output)| {
        let mut room = Vec::new();
        for (place, output) in output.chunks_exact_mut(classes).enumerate() {
            let row = chunk * length + place;
            let Ok(target) = usize::try_from(labels[row]) else { continue };
            let logits = matrix.row(row, classes, &mut room);
            let [others, all] = [sums[2 * row], sums[2 * row + 1]];
            let [log_odds, spread] = [gradient[2 * row], gradient[2 * row + 1]];
            let weights = weights.as_deref();
            vectorised(Backward { logits, target, weights, others, all, log_odds, spread, total, output });
        }
    });
    H::float_from_data(TensorData::new(output, [rows, classes]), &logits.device())
}

/// The log-odds, the spread, the log-sum-exp of the others and that of all.
struct Forward<'a, T> {
    logits: &'a [T],
    target: usize,
    weights: Option<&'a [T]>,
}

impl<T: Real> Vectorised for Forward<'_, T> {
    type Output = [T; 4];

    #[inline(always)]
    fn run<const FUSED: bool>(self) -> [T; 4] {
        let Self { logits, target, weights } = self;
        let own = logits[target];
        let parts = [&logits[..target], &logits[target + 1..]];
        let others = log_sum_exp::<BLOCK, 2, T, FUSED>(parts);
        let log_odds = own - others;
        // Of all: the larger and what the smaller adds.
        let (large, small) = if own < others { (others, own) } else { (own, others) };
        let all = large + (small - large).exponential::<FUSED>().log_of_one_more::<FUSED>();
        let spread = match weights {
            Some(weights) => T::of(sum_of_both::<BLOCK, FUSED, _>(logits, weights, Weighted { all })),
            None => T::zero(),
        };

        [log_odds, spread, others, all]
    }
}

/// `weight·(all - logit)`.
#[derive(Clone, Copy)]
struct Weighted<T> {
    all: T,
}

impl<T: Real> Summand<T, 2> for Weighted<T> {
    #[inline(always)]
    fn of<const FUSED: bool>(self, [logit, weight]: [T; 2]) -> T {
        times(weight, self.all - logit)
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
    others: T,
    all: T,
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
        if others == T::of(NOTHING) {
            output[target] = log_odds;
            return;
        }
        for (output, &logit) in output.iter_mut().zip(logits) {
            *output = -log_odds * (logit - others).exponential::<FUSED>();
        }
        output[target] = log_odds;
        if let Some(weights) = weights {
            for ((output, &logit), &weight) in output.iter_mut().zip(logits).zip(weights) {
                *output = *output + spread * (total * (logit - all).exponential::<FUSED>() - weight);
            }
        }
    }
}
