//! The operation on the memory of CPU backends.
//!
//! Keys are taken in blocks that fit a core's cache. A block is copied once (so any stride and half precision are free),
//! divided by its lengths, multiplied with tiles of queries, and all that is wanted of it is done before the next. Every
//! thread walks a range of the keys of its own; what they know of the queries is added at the end, in the order of the
//! keys, so a result depends on the number of threads but not on their speed.
//!
//! A key can be a class of several centers (`centers.rs`), and what is added up can be other terms (`terms.rs`): these are
//! what [`rivals`](crate::rivals) asks for.
//!
//! Scores lie with the queries along the rows, `[block, queries]`: the running maxima and sums of neighbouring queries
//! are neighbours, and no loop has to add along a vector.

mod block;
mod centers;
pub(crate) mod exponential;
#[cfg(feature = "flex")]
mod flex;
pub(crate) mod memory;
#[cfg(feature = "ndarray")]
mod ndarray;
mod terms;

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;
use core::mem::MaybeUninit;

use gemm::Parallelism;
use rayon::iter::{IntoParallelIterator, ParallelIterator};

use super::backend::{Exclusion, Plan, Wanted};
use crate::math::NOTHING;
use crate::rivals::CenterChoice;
use crate::rivals::backend::Terms;
use block::{Block, Matrix, Weigh};
use centers::Centers;
use exponential::Real;
use memory::{Key, Strided};
use terms::{Pace, Reweigh, Softplus, SoftplusSums};

/// Keys per block and queries per tile: with 512 columns, one block of keys, its gradient and a tile of scores are
/// 1.3 MB in `f32`. Measured on a core with 2 MiB of second-level cache: 512 is as fast, 64 a quarter slower.
const BLOCK: usize = 256;
const TILE: usize = 256;

/// What the sums of the queries' gradients of all threads may take together, if that is more than two of them.
const ACCUMULATOR_BYTES: usize = 32 << 20;

/// Below this many multiplications a second thread is not woken: they take a core with AVX-512 about 4 µs. An estimate.
const WORTH_A_THREAD: usize = 1 << 18;

/// The inputs of the operation.
struct Inputs<'a, T, K: Copy> {
    /// `[N, D]`, without gaps.
    queries: Vec<T>,
    batch: usize,
    dim: usize,
    /// `[M·sub_centers, D]`.
    keys: Strided<'a, K>,
    /// `M`.
    count: usize,
    labels: &'a [i64],
    key_labels: &'a [i64],
    plan: Plan,
    rivals: Rivals,
    /// What the terms need of every query, three columns of `N` numbers one after the other, or nothing.
    row_terms: Vec<T>,
}

/// What a key is, and what is added up of its scores.
#[derive(Clone, Copy)]
pub(crate) struct Rivals {
    /// How many keys in a row are one.
    pub(crate) sub_centers: usize,
    pub(crate) choice: CenterChoice,
    pub(crate) terms: Terms,
}

impl Rivals {
    /// Keys of one center each, and their log-sum-exp.
    const NONE: Self = Self { sub_centers: 1, choice: CenterChoice::Nearest, terms: Terms::LogSumExp };

    fn is_replacing(self) -> bool {
        matches!(self.terms, Terms::Reweighted { .. } | Terms::SelfPaced { .. })
    }
}

/// A range of the keys, and what its thread may use.
struct Range {
    start: usize,
    end: usize,
    parallelism: Parallelism,
    tile: usize,
}

impl<T: Real, K: Key<T>> Inputs<'_, T, K> {
    /// The ranges of the keys that are walked at the same time.
    fn ranges(&self) -> Vec<Range> {
        let threads = rayon::current_num_threads();
        let work = self.batch.saturating_mul(self.count).saturating_mul(self.per_key());
        let per_accumulator = self.batch * self.dim * size_of::<T>();
        let most = threads.min(work / WORTH_A_THREAD).min((ACCUMULATOR_BYTES / per_accumulator).max(2));
        let length = self.count.div_ceil(most.max(1));
        let inner = threads / most.max(1);
        let parallelism =
            if inner > 1 && work >= threads * WORTH_A_THREAD { Parallelism::Rayon(inner) } else { Parallelism::None };
        (0..self.count)
            .step_by(length)
            .map(|start| Range { start, end: (start + length).min(self.count), parallelism, tile: TILE * inner.max(1) })
            .collect()
    }

    fn block(&self) -> usize {
        self.plan.block.unwrap_or(BLOCK).div_ceil(self.rivals.sub_centers).min(self.count)
    }

    /// The numbers of all centers of a key.
    fn per_key(&self) -> usize {
        self.rivals.sub_centers * self.dim
    }

    /// The tiles of the queries, as `(start, length)`.
    fn tiles(&self, tile: usize) -> impl Iterator<Item = (usize, usize)> + '_ {
        (0..self.batch).step_by(tile).map(move |start| (start, tile.min(self.batch - start)))
    }

    fn queries_of(&self, (start, lanes): (usize, usize)) -> Matrix<'_, T> {
        Matrix::rows(&self.queries[start * self.dim..], lanes, self.dim)
    }

    fn load(&self, block: &mut Block<T>, start: usize, rows: usize) {
        let sub_centers = self.rivals.sub_centers;
        block.load(&self.keys, start * sub_centers, rows * sub_centers, self.plan.normalise);
    }

    /// The scores of a block of keys with a tile of queries, `[rows, lanes]`.
    fn multiply<'s>(
        &self,
        block: &Block<T>,
        tile: (usize, usize),
        parallelism: Parallelism,
        scratch: &'s mut Scratch<T>,
    ) -> &'s mut [T] {
        let (lanes, sub_centers) = (tile.1, self.rivals.sub_centers);
        let scores = &mut scratch.centers[..block.rows() * lanes];
        block::product(block.unit(), self.queries_of(tile).transposed(), false, parallelism, scores);
        match &mut scratch.classes {
            None => scores,
            Some((centers, classes)) => {
                let classes = &mut classes[..block.rows() / sub_centers * lanes];
                centers.choose(scores, classes, lanes);
                classes
            }
        }
    }

    /// A column of the row terms, of a tile of the queries.
    fn row_term(&self, column: usize, (first, lanes): (usize, usize)) -> &[T] {
        &self.row_terms[column * self.batch + first..][..lanes]
    }

    fn softplus(&self, tile: (usize, usize)) -> Option<Softplus<'_, T>> {
        let Terms::Softplus { exponent, detached } = self.rivals.terms else { return None };
        let (scale, exponent) = (T::of(self.plan.scale), T::of(exponent));
        Some(Softplus { biases: self.row_term(0, tile), scale, exponent, detached })
    }

    /// Replaces scores `[rows, lanes]` but for those that are left out, and writes the slopes of that where there is room.
    fn replace(&self, tile: (usize, usize), scores: &mut [T], slopes: &mut [T]) {
        match self.rivals.terms {
            Terms::Reweighted { quadratic } => {
                let [thresholds, linear, constants] = [0, 1, 2].map(|column| self.row_term(column, tile));
                Reweigh { scores, slopes, thresholds, quadratic: T::of(quadratic), linear, constants }.run();
            }
            Terms::SelfPaced { reach, goal } => {
                Pace { scores, slopes, reach: T::of(reach), goal: T::of(goal) }.run();
            }
            Terms::LogSumExp | Terms::Softplus { .. } => {}
        }
    }

    /// Calls `each` with every score of a block that its query leaves out, the query, and whether the key is its own.
    fn for_each_excluded(
        &self,
        (start, rows): (usize, usize),
        (first_query, lanes): (usize, usize),
        scores: &mut [T],
        mut each: impl FnMut(&mut T, usize, bool),
    ) {
        let labels = &self.labels[first_query..first_query + lanes];
        let exclusion = self.plan.exclusion;
        if exclusion.has_own_key() {
            for (lane, &label) in labels.iter().enumerate() {
                if let Some(row) = usize::try_from(label).ok().and_then(|key| key.checked_sub(start))
                    && row < rows
                {
                    each(&mut scores[row * lanes + lane], first_query + lane, true);
                }
            }
        }
        if !exclusion.reads_key_labels() {
            return;
        }
        for (row, &key_label) in self.key_labels[start..start + rows].iter().enumerate() {
            let key = (start + row) as i64;
            let leaves_out = |query: usize, label: i64| match exclusion {
                Exclusion::OwnKey => false,
                Exclusion::OwnKeyAndUnused => key_label < 0 && label != key,
                Exclusion::SameLabel => key_label < 0 || label == key_label,
                Exclusion::OtherLabel { in_batch } => {
                    key_label < 0 || label != key_label || in_batch && query as i64 == key
                }
            };
            if exclusion == Exclusion::OwnKeyAndUnused && key_label >= 0 {
                continue;
            }
            for (lane, &label) in labels.iter().enumerate() {
                if leaves_out(first_query + lane, label) {
                    each(&mut scores[row * lanes + lane], first_query + lane, false);
                }
            }
        }
    }
}

/// The scores of one block with one tile.
struct Scratch<T> {
    /// `[rows·sub_centers, lanes]`.
    centers: Vec<T>,
    /// `[rows, lanes]`; `None` where every key has one center.
    classes: Option<(Centers<T>, Vec<T>)>,
}

impl<T: Real> Scratch<T> {
    fn new(size: usize, lanes: usize, Rivals { sub_centers, choice, .. }: Rivals) -> Self {
        let classes =
            (sub_centers > 1).then(|| (Centers::new(sub_centers, choice, lanes), vec![T::zero(); size * lanes]));
        Self { centers: vec![T::zero(); size * sub_centers * lanes], classes }
    }

    /// The slopes of `rows` centers, where those of the classes have taken the place of their scores.
    fn given_to_centers(&mut self, rows: usize, lanes: usize) -> Matrix<'_, T> {
        let scores = &mut self.centers[..rows * lanes];
        if let Some((centers, classes)) = &mut self.classes {
            centers.give(classes, scores, lanes);
        }
        Matrix::rows(scores, rows, lanes)
    }
}

/// What a thread knows of every query after its range.
struct Running<T> {
    own: Vec<T>,
    largest: Vec<T>,
    sum: Vec<T>,
    /// Instead of these two where the terms are softplus; empty elsewhere.
    softplus: SoftplusSums<T>,
}

/// The output, and the scores of all pairs, `[M, N]`, if they are kept.
fn forward<T: Real, K: Key<T>>(inputs: &Inputs<'_, T, K>) -> (Vec<T>, Vec<T>) {
    let (batch, nothing, scale) = (inputs.batch, T::of(NOTHING), T::of(inputs.plan.scale));
    let mut kept = Box::new_uninit_slice(if inputs.plan.keep { batch * inputs.count } else { 0 });
    let ranges = inputs.ranges();
    let shares = shares(&mut kept, &ranges, if inputs.plan.keep { batch } else { 0 });
    let parts: Vec<Running<T>> =
        (ranges, shares).into_par_iter().map(|(range, kept)| forward_range(inputs, &range, kept)).collect();

    let mut output = Vec::with_capacity(inputs.rivals.terms.columns() * batch);
    for query in 0..batch {
        let total = |of: fn(&Running<T>) -> &[T]| parts.iter().fold(T::zero(), |sum, part| sum + of(part)[query]);
        let own = total(|part| &part.own);
        if let Terms::Softplus { .. } = inputs.rivals.terms {
            let has_own = inputs.plan.exclusion.has_own_key();
            output.push(if has_own { own } else { total(|part| &part.softplus.active) });
            output.extend([total(|part| &part.softplus.sum), total(|part| &part.softplus.slopes)]);
            continue;
        }
        let largest = parts.iter().fold(nothing, |largest, part| block::larger(largest, part.largest[query]));
        let sum = parts
            .iter()
            .fold(T::zero(), |sum, part| sum + part.sum[query] * ((part.largest[query] - largest) * scale).exp());
        // A NaN is larger than nothing, but it is in the sum.
        let is_empty = largest == nothing && !sum.is_nan();
        output.extend([own, if is_empty { nothing } else { largest * scale + sum.ln() }]);
    }
    if !inputs.plan.keep {
        return (output, vec![T::zero()]);
    }
    // SAFETY: the ranges cover all keys; of each, `forward_range` has written the scores with every tile of the queries.
    (output, unsafe { kept.assume_init() }.into_vec())
}

fn forward_range<T: Real, K: Key<T>>(
    inputs: &Inputs<'_, T, K>,
    range: &Range,
    kept: &mut [MaybeUninit<T>],
) -> Running<T> {
    let (batch, size, keep, nothing) = (inputs.batch, inputs.block(), inputs.plan.keep, T::of(NOTHING));
    let widest = range.tile.min(batch);
    let is_softplus = matches!(inputs.rivals.terms, Terms::Softplus { .. });
    let sums_of = |lanes: usize| SoftplusSums::new(if is_softplus { lanes } else { 0 });
    let (own, largest, sum) = (vec![T::zero(); batch], vec![nothing; batch], vec![T::zero(); batch]);
    let mut running = Running { own, largest, sum, softplus: sums_of(batch) };
    let mut softplus_of_block = sums_of(widest);
    let mut block = Block::new(size * inputs.rivals.sub_centers, inputs.dim);
    let mut scratch = Scratch::new(size, widest, inputs.rivals);
    let mut sums = block::Sums::new(widest);

    for start in (range.start..range.end).step_by(size) {
        let rows = size.min(range.end - start);
        inputs.load(&mut block, start, rows);
        for tile in inputs.tiles(range.tile) {
            let (first, lanes) = tile;
            let queries = first..first + lanes;
            let scores = inputs.multiply(&block, tile, range.parallelism, &mut scratch);
            inputs.for_each_excluded((start, rows), tile, scores, |score, query, is_own| {
                if is_own {
                    running.own[query] = *score;
                }
                *score = nothing;
            });
            if let Some(softplus) = inputs.softplus(tile) {
                running.softplus.add(softplus, scores, first, &mut softplus_of_block);
                continue;
            }
            inputs.replace(tile, scores, &mut []);
            let scale = T::of(inputs.plan.scale);
            sums.merge(scores, scale, &mut running.largest[queries.clone()], &mut running.sum[queries.clone()]);
            if keep {
                let rows = kept[(start - range.start) * batch..].chunks_exact_mut(batch);
                for (kept, scores) in rows.zip(scores.chunks_exact(lanes)) {
                    kept[queries.clone()].write_copy_of_slice(scores);
                }
            }
        }
    }
    running
}

/// The gradients of the queries and the keys, each with one element where it is not wanted.
fn backward<T: Real, K: Key<T>>(
    inputs: &Inputs<'_, T, K>,
    output: &[T],
    kept: &[T],
    gradient: &[T],
    wanted: Wanted,
) -> (Vec<T>, Vec<K>) {
    let per_key = if wanted.keys { inputs.per_key() } else { 0 };
    let mut keys_gradient = Box::new_uninit_slice(inputs.count * per_key);
    let ranges = inputs.ranges();
    let shares = shares(&mut keys_gradient, &ranges, per_key);
    let columns = inputs.rivals.terms.columns();
    let column =
        |column: usize, numbers: &[T]| -> Vec<T> { numbers.iter().skip(column).step_by(columns).copied().collect() };
    let scale = T::of(inputs.plan.scale);
    let g_others = column(1, gradient).into_iter().map(|gradient| gradient * scale).collect();
    let (others, g_own) = (column(1, output), column(0, gradient));
    let upstream = Upstream { kept, others, g_own, g_others, scale, wanted };
    let parts: Vec<Vec<T>> = (ranges, shares)
        .into_par_iter()
        .map(|(range, share)| backward_range(inputs, &upstream, &range, share))
        .collect();

    let mut parts = parts.into_iter();
    let mut queries_gradient = parts.next().expect("there is a range");
    for part in parts {
        queries_gradient.iter_mut().zip(part).for_each(|(sum, part)| *sum = *sum + part);
    }
    if !wanted.keys {
        return (queries_gradient, vec![K::zeroed()]);
    }
    // SAFETY: the ranges cover all keys; of each, `backward_range` has written the gradient.
    (queries_gradient, unsafe { keys_gradient.assume_init() }.into_vec())
}

/// What the forward pass left and what comes back from the loss, `[N]` each but for the kept scores.
struct Upstream<'a, T> {
    kept: &'a [T],
    others: Vec<T>,
    g_own: Vec<T>,
    /// That of the scaled scores.
    g_others: Vec<T>,
    scale: T,
    wanted: Wanted,
}

fn backward_range<T: Real, K: Key<T>>(
    inputs: &Inputs<'_, T, K>,
    upstream: &Upstream<'_, T>,
    range: &Range,
    keys_gradient: &mut [MaybeUninit<K>],
) -> Vec<T> {
    let (batch, dim, size, wanted) = (inputs.batch, inputs.dim, inputs.block(), upstream.wanted);
    let (per_key, widest) = (inputs.per_key(), range.tile.min(batch));
    let mut queries_gradient = vec![T::zero(); if wanted.queries { batch * dim } else { 1 }];
    let mut block = Block::new(size * inputs.rivals.sub_centers, dim);
    let mut unit_gradient = vec![T::zero(); if wanted.keys { size * per_key } else { 0 }];
    let mut scratch = Scratch::new(size, widest, inputs.rivals);
    let mut slopes = vec![T::zero(); if inputs.rivals.is_replacing() { size * widest } else { 0 }];

    for start in (range.start..range.end).step_by(size) {
        let rows = size.min(range.end - start);
        inputs.load(&mut block, start, rows);
        for tile in inputs.tiles(range.tile) {
            let (first, lanes) = tile;
            let queries = first..first + lanes;
            let scores = if inputs.plan.keep {
                &mut scratch.centers[..rows * lanes]
            } else {
                inputs.multiply(&block, tile, range.parallelism, &mut scratch)
            };
            let g_others = &upstream.g_others[queries.clone()];
            if let Some(softplus) = inputs.softplus(tile) {
                softplus.weigh(scores, g_others);
            } else {
                inputs.replace(tile, scores, &mut slopes);
                let kept = inputs.plan.keep.then(|| &upstream.kept[start * batch + first..]);
                let (scale, others) = (upstream.scale, &upstream.others[queries]);
                Weigh { scores, kept, stride: batch, scale, others, g_others }.weigh();
                // No slopes where nothing is replaced.
                scores.iter_mut().zip(&slopes).for_each(|(score, &slope)| *score = *score * slope);
            }
            inputs.for_each_excluded((start, rows), tile, scores, |score, query, is_own| {
                *score = if is_own { upstream.g_own[query] } else { T::zero() };
            });
            let weights = scratch.given_to_centers(block.rows(), lanes);
            if wanted.keys {
                let (add, into) = (first > 0, &mut unit_gradient[..rows * per_key]);
                block::product(weights, inputs.queries_of(tile), add, range.parallelism, into);
            }
            if wanted.queries {
                let into = &mut queries_gradient[first * dim..(first + lanes) * dim];
                block::product(weights.transposed(), block.unit(), true, range.parallelism, into);
            }
        }
        if wanted.keys {
            let begin = (start - range.start) * per_key;
            let into = &mut keys_gradient[begin..begin + rows * per_key];
            block.finish(&mut unit_gradient[..rows * per_key], into, inputs.plan.normalise);
        }
    }
    queries_gradient
}

/// The part of `numbers` that belongs to each range, with `per_key` numbers per key.
fn shares<'a, E>(mut numbers: &'a mut [E], ranges: &[Range], per_key: usize) -> Vec<&'a mut [E]> {
    let mut shares = Vec::with_capacity(ranges.len());
    for range in ranges {
        let (share, rest) = numbers.split_at_mut((range.end - range.start) * per_key);
        shares.push(share);
        numbers = rest;
    }
    shares
}
