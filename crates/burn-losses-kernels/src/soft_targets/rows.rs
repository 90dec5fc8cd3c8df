//! The passes on the memory of CPU backends.

use alloc::vec;
use alloc::vec::Vec;

use burn::backend::TensorMetadata;
use burn::backend::tensor::FloatTensor;
use burn::tensor::{DType, Element};

use super::backend::Input;
use super::{SMALLEST_REST, SoftRule};
use crate::host::threads::*;
use crate::host::{
    self, Host, Key, LogSumExp, Real, Same, Strided, Summand, Vectorised, log_sum_exp, sum_of_both, tensor, vectorised,
};
use crate::one_pass::Passed;

/// Below this many numbers a second thread is not woken. An estimate: they take a core with AVX-512 about 20 µs.
const WORTH_A_THREAD: usize = 1 << 14;
/// Numbers that are added in their own precision, 64 in a row, before the sum goes into one in `f64`.
const BLOCK: usize = 1024;

/// - inputs: logits, targets and weights
pub(super) fn forward<H: Host>(inputs: [&FloatTensor<H>; 3], rule: SoftRule) -> Passed<H> {
    match inputs[0].dtype() {
        DType::F64 => forward_as::<H, f64>(inputs, rule),
        _ => forward_as::<H, f32>(inputs, rule),
    }
}

/// The gradient of logits or targets.
///
/// - inputs: logits, targets, weights, the sums of every row and the gradient of the losses
pub(super) fn backward<H: Host>(inputs: [&FloatTensor<H>; 5], rule: SoftRule, of: Input) -> FloatTensor<H> {
    match inputs[0].dtype() {
        DType::F64 => backward_as::<H, f64>(inputs, rule, of),
        _ => backward_as::<H, f32>(inputs, rule, of),
    }
}

/// What every row reads.
struct Batch<'a, T: Copy> {
    logits: Strided<'a, T>,
    targets: Strided<'a, T>,
    weights: Vec<T>,
    classes: usize,
    rule: Rule<T>,
}

/// Room for a row of each.
#[derive(Default)]
struct Room<T> {
    logits: Vec<T>,
    targets: Vec<T>,
    shares: Vec<T>,
}

impl<'a, T: Real + Key<T> + Element> Batch<'a, T> {
    fn of<H: Host>([logits, targets, weights]: [&'a FloatTensor<H>; 3], rule: SoftRule) -> Self {
        let classes = logits.shape()[1];
        Self {
            logits: H::strided::<T>(logits),
            targets: H::strided::<T>(targets),
            weights: H::strided::<T>(weights).rows(classes, 1),
            classes,
            rule: Rule::of(rule, classes),
        }
    }

    /// Rows that share what they are computed in: enough for a thread, and so many that there are four of these for each.
    fn at_once(&self, rows: usize) -> usize {
        WORTH_A_THREAD.div_ceil(self.classes).max(rows.div_ceil(4 * current_num_threads()))
    }

    /// The logits of a row and what every class weighs in its loss.
    fn row<'r>(&'r self, row: usize, room: &'r mut Room<T>) -> (&'r [T], &'r [T]) {
        let targets = self.targets.row(row, self.classes, &mut room.targets);
        room.shares.resize(self.classes, T::zero());
        let (rule, weights) = (self.rule, &self.weights);
        for ((share, &target), &weight) in room.shares.iter_mut().zip(targets).zip(weights) {
            *share = weight * (rule.kept * target + rule.spread);
        }
        (self.logits.row(row, self.classes, &mut room.logits), &room.shares)
    }
}

fn forward_as<H: Host, T: Real + Key<T> + Element>(inputs: [&FloatTensor<H>; 3], rule: SoftRule) -> Passed<H> {
    let (rows, batch) = (inputs[0].shape()[0], Batch::<T>::of::<H>(inputs, rule));
    let mut found = vec![[T::zero(); 3]; rows];
    let length = batch.at_once(rows);
    for_each_chunk(&mut found, length, 1, &|chunk, found| {
        let mut room = Room::default();
        for (place, found) in found.iter_mut().enumerate() {
            let (logits, shares) = batch.row(chunk * length + place, &mut room);
            *found = vectorised(Forward { logits, shares, rule: batch.rule });
        }
    });
    let columns = |places: core::ops::Range<usize>| {
        let numbers: Vec<T> = found.iter().flat_map(|found| found[places.clone()].iter().copied()).collect();
        tensor::<H, _>(numbers, [rows, places.len()], &inputs[0].device())
    };
    Passed { output: columns(0..1), sums: columns(1..3) }
}

fn backward_as<H: Host, T: Real + Key<T> + Element>(
    [logits, targets, weights, sums, gradient]: [&FloatTensor<H>; 5],
    rule: SoftRule,
    of: Input,
) -> FloatTensor<H> {
    let (rows, batch) = (logits.shape()[0], Batch::<T>::of::<H>([logits, targets, weights], rule));
    let (sums, gradient) = (H::strided::<T>(sums).rows(rows, 2), H::strided::<T>(gradient).rows(rows, 1));
    let classes = batch.classes;
    let mut output = vec![T::zero(); rows * classes];
    let length = batch.at_once(rows);
    for_each_chunk(&mut output, length * classes, 1, &|chunk, output| {
        let mut room = Room::default();
        for (place, output) in output.chunks_exact_mut(classes).enumerate() {
            let row = chunk * length + place;
            let (logits, shares) = batch.row(row, &mut room);
            let sum = LogSumExp { largest: sums[2 * row], rest: sums[2 * row + 1] };
            let (rule, gradient) = (batch.rule, gradient[row]);
            match of {
                Input::Logits => vectorised(OfLogits { logits, shares, rule, sum, gradient, output }),
                Input::Targets => {
                    vectorised(OfTargets { logits, shares, weights: &batch.weights, rule, sum, gradient, output });
                }
            }
        }
    });
    tensor::<H, _>(output, [rows, classes], &logits.device())
}

/// A [`SoftRule`] in the type of the logits.
#[derive(Clone, Copy)]
struct Rule<T> {
    /// How much of a target is left.
    kept: T,
    /// What every class gets besides.
    spread: T,
    gamma: T,
}

impl<T: Real> Rule<T> {
    fn of(SoftRule { smoothing, gamma }: SoftRule, classes: usize) -> Self {
        Self { kept: T::of(1.0 - smoothing), spread: T::of(smoothing / classes as f64), gamma: T::of(gamma) }
    }

    /// `(1 - p)^gamma·-log(p)` of a log-probability, its slope by that, and the probability.
    #[inline(always)]
    fn cost<const FUSED: bool>(self, log_p: T) -> [T; 3] {
        let p = log_p.exponential::<FUSED>();
        let rest = T::one() - p;
        let smallest = T::of(SMALLEST_REST);
        let held = rest < smallest;
        let rest = if held { smallest } else { rest };
        let factor = (self.gamma * rest.logarithm::<FUSED>()).exponential::<FUSED>();
        // p·log(p), 0 for what is impossible; a power that is held at its smallest base has no slope.
        let bend = if p == T::zero() || held { T::zero() } else { self.gamma * (p * log_p) / rest };
        [-(factor * log_p), factor * (bend - T::one()), p]
    }
}

struct Forward<'a, T> {
    logits: &'a [T],
    shares: &'a [T],
    rule: Rule<T>,
}

impl<T: Real> Vectorised for Forward<'_, T> {
    /// The loss and the log-sum-exp.
    type Output = [T; 3];

    #[inline(always)]
    fn run<const FUSED: bool>(self) -> [T; 3] {
        let Self { logits, shares, rule } = self;
        let sum = log_sum_exp::<BLOCK, 1, T, FUSED>([logits]);
        // A softmax of nothing is none.
        let sum = if sum.is_nothing() { LogSumExp { largest: T::nan(), ..sum } } else { sum };
        let loss = sum_of_both::<BLOCK, FUSED, _>(logits, shares, Cost { rule, sum });
        // Nor is there a loss where a logit is no number, whatever is wanted.
        let loss = if (sum.largest + sum.rest).is_nan() { T::nan() } else { T::of(loss) };
        [loss, sum.largest, sum.rest]
    }
}

/// What a class adds to the loss.
#[derive(Clone, Copy)]
struct Cost<T> {
    rule: Rule<T>,
    sum: LogSumExp<T>,
}

impl<T: Real> Summand<T, 2> for Cost<T> {
    #[inline(always)]
    fn of<const FUSED: bool>(self, [logit, share]: [T; 2]) -> T {
        let log_p = self.sum.log_share(logit);
        let cost = if self.rule.gamma == T::zero() { -log_p } else { self.rule.cost::<FUSED>(log_p)[0] };
        // Also where the cost is infinite.
        if share == T::zero() { T::zero() } else { share * cost }
    }
}

struct OfLogits<'a, T> {
    logits: &'a [T],
    shares: &'a [T],
    rule: Rule<T>,
    sum: LogSumExp<T>,
    gradient: T,
    output: &'a mut [T],
}

impl<T: Real> Vectorised for OfLogits<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<const FUSED: bool>(self) {
        let Self { logits, shares, rule, sum, gradient, output } = self;
        // The slope by the log-probability of every class.
        for ((output, &logit), &share) in output.iter_mut().zip(logits).zip(shares) {
            let slope = if rule.gamma == T::zero() { -T::one() } else { rule.cost::<FUSED>(sum.log_share(logit))[1] };
            *output = share * slope;
        }
        let total = T::of(host::sum::<BLOCK, FUSED, _>(output, Same));
        for (output, &logit) in output.iter_mut().zip(logits) {
            let p = sum.log_share(logit).exponential::<FUSED>();
            *output = gradient * (*output - total * p);
        }
    }
}

struct OfTargets<'a, T> {
    logits: &'a [T],
    shares: &'a [T],
    weights: &'a [T],
    rule: Rule<T>,
    sum: LogSumExp<T>,
    gradient: T,
    output: &'a mut [T],
}

impl<T: Real> Vectorised for OfTargets<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<const FUSED: bool>(self) {
        let Self { logits, shares, weights, rule, sum, gradient, output } = self;
        let factor = gradient * rule.kept;
        for (((output, &logit), &share), &weight) in output.iter_mut().zip(logits).zip(shares).zip(weights) {
            let log_p = sum.log_share(logit);
            let cost = if rule.gamma == T::zero() { -log_p } else { rule.cost::<FUSED>(log_p)[0] };
            let unwanted = logit == T::neg_infinity() && share == T::zero();
            *output = if unwanted { T::zero() } else { factor * weight * cost };
        }
    }
}
