//! The passes on the memory of CPU backends.

use alloc::vec;
use alloc::vec::Vec;

use burn::backend::TensorMetadata;
use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::tensor::{DType, Element};

use super::{NEGATIVE, POSITIVE, PairCost, PairRule};
use crate::host::threads::*;
use crate::host::{Host, Key, Real, Vectorised, tensor, vectorised};

/// Below this many numbers a second thread is not woken.
const WORTH_A_THREAD: usize = 1 << 15;
/// Losses, pairs and active pairs of both kinds.
const SUMS: usize = 6;
/// Numbers that are added side by side.
const LANES: usize = 16;
/// Numbers that are added in their own precision, 16 in a row, before the sum goes into one in `f64`.
const BLOCK: usize = 256;

pub(super) fn forward<H: Host>(distances: &FloatTensor<H>, kinds: &FloatTensor<H>, rule: PairRule) -> FloatTensor<H> {
    match distances.dtype() {
        DType::F64 => forward_as::<H, f64>(distances, kinds, rule),
        _ => forward_as::<H, f32>(distances, kinds, rule),
    }
}

/// The gradient of the distances.
pub(super) fn backward<H: Host>(
    distances: &FloatTensor<H>,
    kinds: &FloatTensor<H>,
    rule: PairRule,
    gradient: &FloatTensor<H>,
) -> FloatTensor<H> {
    match distances.dtype() {
        DType::F64 => backward_as::<H, f64>(distances, kinds, rule, gradient),
        _ => backward_as::<H, f32>(distances, kinds, rule, gradient),
    }
}

pub(super) fn kinds<H: Host>(
    labels: IntTensor<H>,
    reference_labels: IntTensor<H>,
    in_batch: bool,
    dtype: DType,
) -> FloatTensor<H> {
    match dtype {
        DType::F64 => kinds_as::<H, f64>(labels, reference_labels, in_batch),
        _ => kinds_as::<H, f32>(labels, reference_labels, in_batch),
    }
}

fn kinds_as<H: Host, T: Real + Element>(
    labels: IntTensor<H>,
    reference_labels: IntTensor<H>,
    in_batch: bool,
) -> FloatTensor<H> {
    let device = labels.device();
    let (labels, references) = (H::integers(labels), H::integers(reference_labels));
    let (anchors, count) = (labels.len(), references.len());
    let mut output = vec![T::zero(); anchors * count];
    for_each_chunk(&mut output, count, rows_per_thread(count), &|anchor, row| {
        if labels[anchor] < 0 {
            return;
        }
        vectorised(Kinds { label: labels[anchor], references: &references, row });
        if in_batch {
            row[anchor] = T::zero();
        }
    });
    tensor::<H, _>(output, [anchors, count], &device)
}

struct Kinds<'a, T> {
    label: i64,
    references: &'a [i64],
    row: &'a mut [T],
}

impl<T: Real> Vectorised for Kinds<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<const FUSED: bool>(self) {
        let (positive, negative) = (T::of(POSITIVE), T::of(NEGATIVE));
        for (kind, &reference) in self.row.iter_mut().zip(self.references) {
            let other = if reference < 0 { T::zero() } else { negative };
            *kind = if reference == self.label { positive } else { other };
        }
    }
}

/// How many rows a thread takes at least.
fn rows_per_thread(references: usize) -> usize {
    WORTH_A_THREAD.div_ceil(references)
}

fn forward_as<H: Host, T: Real + Key<T> + Element>(
    distances: &FloatTensor<H>,
    kinds: &FloatTensor<H>,
    rule: PairRule,
) -> FloatTensor<H> {
    let shape = distances.shape();
    let [anchors, references] = [shape[0], shape[1]];
    let (all_distances, all_kinds, rule) = (H::strided::<T>(distances), H::strided::<T>(kinds), Rule::of(rule));
    let mut output = vec![T::zero(); anchors * SUMS];
    for_each_chunk(&mut output, SUMS, rows_per_thread(references), &|anchor, output| {
        let (mut room, mut room_of_kinds) = (Vec::new(), Vec::new());
        let distances = all_distances.row(anchor, references, &mut room);
        let kinds = all_kinds.row(anchor, references, &mut room_of_kinds);
        let sums = vectorised(Sums { distances, kinds, rule });
        output.iter_mut().zip(sums).for_each(|(output, sum)| *output = T::of(sum));
    });
    tensor::<H, _>(output, [anchors, SUMS], &distances.device())
}

fn backward_as<H: Host, T: Real + Key<T> + Element>(
    distances: &FloatTensor<H>,
    kinds: &FloatTensor<H>,
    rule: PairRule,
    gradient: &FloatTensor<H>,
) -> FloatTensor<H> {
    let shape = distances.shape();
    let [anchors, references] = [shape[0], shape[1]];
    let (all_distances, all_kinds, rule) = (H::strided::<T>(distances), H::strided::<T>(kinds), Rule::of(rule));
    let gradient = H::strided::<T>(gradient).rows(anchors, SUMS);
    let mut output = vec![T::zero(); anchors * references];
    for_each_chunk(&mut output, references, rows_per_thread(references), &|anchor, output| {
        let (mut room, mut room_of_kinds) = (Vec::new(), Vec::new());
        let distances = all_distances.row(anchor, references, &mut room);
        let kinds = all_kinds.row(anchor, references, &mut room_of_kinds);
        let of_kinds = [gradient[anchor * SUMS], gradient[anchor * SUMS + SUMS / 2]];
        vectorised(Slopes { distances, kinds, of_kinds, rule, output });
    });
    tensor::<H, _>(output, [anchors, references], &distances.device())
}

/// A [`PairRule`] in the type of the distances.
#[derive(Clone, Copy)]
struct Rule<T> {
    of_squares: bool,
    positive: Cost<T>,
    negative: Cost<T>,
}

#[derive(Clone, Copy)]
struct Cost<T> {
    margin: T,
    factor: T,
    squared: bool,
}

impl<T: Real> Rule<T> {
    fn of(rule: PairRule) -> Self {
        let cost =
            |cost: PairCost| Cost { margin: T::of(cost.margin), factor: T::of(cost.factor), squared: cost.squared };
        Self { of_squares: rule.of_squares, positive: cost(rule.positive), negative: cost(rule.negative) }
    }

    /// The losses of a positive and of a negative pair, and the slopes by their distance.
    #[inline(always)]
    fn of_distance(self, distance: T) -> [[T; 2]; 2] {
        let measure = if self.of_squares { distance * distance } else { distance };
        let steepness = if self.of_squares { distance + distance } else { T::one() };
        let positive = self.positive.of_excess(measure - self.positive.margin);
        let negative = self.negative.of_excess(self.negative.margin - measure);
        // Infinitely far, a pair without a loss has no slope either.
        let by_distance = |slope: T| if slope == T::zero() { slope } else { slope * steepness };
        [[positive[0], by_distance(positive[1])], [negative[0], -by_distance(negative[1])]]
    }
}

impl<T: Real> Cost<T> {
    /// The loss and its slope; NaN stays NaN.
    #[inline(always)]
    fn of_excess(self, excess: T) -> [T; 2] {
        let excess = if excess <= T::zero() { T::zero() } else { excess };
        let slope = if excess == T::zero() { T::zero() } else { self.factor };
        let scaled = self.factor * excess;
        if self.squared { [scaled * excess, scaled + scaled] } else { [scaled, slope] }
    }
}

struct Sums<'a, T> {
    distances: &'a [T],
    kinds: &'a [T],
    rule: Rule<T>,
}

impl<T: Real> Vectorised for Sums<'_, T> {
    type Output = [f64; SUMS];

    #[inline(always)]
    fn run<const FUSED: bool>(self) -> [f64; SUMS] {
        let mut totals = [0.0; SUMS];
        for (distances, kinds) in self.distances.chunks(BLOCK).zip(self.kinds.chunks(BLOCK)) {
            let mut sums = [[T::zero(); LANES]; SUMS];
            let (mut distances, mut kinds) = (distances.chunks_exact(LANES), kinds.chunks_exact(LANES));
            for (distances, kinds) in (&mut distances).zip(&mut kinds) {
                for lane in 0..LANES {
                    self.add(&mut sums, lane, distances[lane], kinds[lane]);
                }
            }
            for (lane, (&distance, &kind)) in distances.remainder().iter().zip(kinds.remainder()).enumerate() {
                self.add(&mut sums, lane, distance, kind);
            }
            for (total, sums) in totals.iter_mut().zip(sums) {
                *total += sums.into_iter().map(|sum| sum.to_f64().expect("a float is an f64")).sum::<f64>();
            }
        }
        totals
    }
}

impl<T: Real> Sums<'_, T> {
    #[inline(always)]
    fn add(&self, sums: &mut [[T; LANES]; SUMS], lane: usize, distance: T, kind: T) {
        let [[of_positive, _], [of_negative, _]] = self.rule.of_distance(distance);
        let (positive, negative) = (kind == T::of(POSITIVE), kind == T::of(NEGATIVE));
        let (one, zero) = (T::one(), T::zero());
        let of_positive = if positive { of_positive } else { zero };
        let of_negative = if negative { of_negative } else { zero };
        let parts = [
            of_positive,
            if positive { one } else { zero },
            if of_positive == zero { zero } else { one },
            of_negative,
            if negative { one } else { zero },
            if of_negative == zero { zero } else { one },
        ];
        for (sums, part) in sums.iter_mut().zip(parts) {
            sums[lane] = sums[lane] + part;
        }
    }
}

struct Slopes<'a, T> {
    distances: &'a [T],
    kinds: &'a [T],
    /// The gradients of the losses of both kinds.
    of_kinds: [T; 2],
    rule: Rule<T>,
    output: &'a mut [T],
}

impl<T: Real> Vectorised for Slopes<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<const FUSED: bool>(self) {
        let [of_positives, of_negatives] = self.of_kinds;
        for ((output, &distance), &kind) in self.output.iter_mut().zip(self.distances).zip(self.kinds) {
            let [[_, of_positive], [_, of_negative]] = self.rule.of_distance(distance);
            let other = if kind == T::of(NEGATIVE) { of_negatives * of_negative } else { T::zero() };
            *output = if kind == T::of(POSITIVE) { of_positives * of_positive } else { other };
        }
    }
}
