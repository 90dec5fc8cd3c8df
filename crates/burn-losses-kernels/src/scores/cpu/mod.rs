//! The operation on the memory of CPU backends.
//!
//! Keys are taken in blocks that fit a core's cache. A block is copied once (so any stride and half precision are free),
//! divided by its lengths, multiplied with tiles of queries, and all that is wanted of it is done before the next. Every
//! thread walks a range of the keys of its own; what they know of the queries is added at the end, in the order of the
//! keys, so a result depends on the number of threads but not on their speed.
//!
//! A key can have several centers (`centers.rs`), and what is added up can be other terms (`terms.rs`). A loss that is known
//! beforehand is walked in chunks of queries (`chunks.rs`). Cosines of two sides (`sides.rs`) are added up for both and for several
//! lengths in one walk (`cosine_sums.rs`, with the loops of `exponentials.rs`), or ask a question each (`sigmoid_loss.rs`).
//!
//! Scores lie with the queries along the rows, `[block, queries]`: the running maxima and sums of neighbouring queries
//! are neighbours, and no loop has to add along a vector.

mod block;
mod centers;
pub(super) mod chunks;
pub(super) mod cosine_sums;
mod exponentials;
mod memory;
mod sides;
pub(super) mod sigmoid_loss;
mod terms;

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;
use core::mem::MaybeUninit;

use gemm::Parallelism;

use super::backend::{Exclusion, Plan, Term, Wanted};
use crate::host::threads::*;
use crate::host::{Key, Matrix, Real, Strided, product};
use crate::math::NOTHING;
use block::{AddBias, AddOuter, AddRows, AddWeighted, Block, Weigh};
use centers::Centers;
use terms::{Cap, Pace, Reweigh, Softplus, SoftplusSums};

pub(super) use memory::{backward, forward};

/// Keys per block and queries per tile: with 512 columns, one block of keys, its gradient and a tile of scores are
/// 1.3 MB in `f32`. Measured on a core with 2 MiB of second-level cache: 512 is as fast, 64 a quarter slower.
const BLOCK: usize = 256;
const TILE: usize = 256;

/// From so many blocks of keys on, the queries are turned once for all of them.
const MANY: usize = 4;

/// What the sums of the queries' gradients of all threads may take together, if that is more than two of them.
const ACCUMULATOR_BYTES: usize = 32 << 20;

/// Below this many multiplications a second thread is not woken: they take a core with AVX-512 about 4 µs. An estimate.
const WORTH_A_THREAD: usize = 1 << 18;

/// The inputs of the operation.
struct Inputs<'a, T, K: Copy> {
    /// `[N, D]`.
    queries: Block<T>,
    /// The same, `[D, N]`, or nothing where they are used too seldom.
    turned: Vec<T>,
    batch: usize,
    dim: usize,
    /// `[M·sub_centers, D]`.
    keys: Strided<'a, K>,
    /// `M`.
    count: usize,
    /// In units of the products, `[M]` or nothing.
    bias: Vec<T>,
    /// What the terms need of every query, columns of `N` numbers one after the other, or nothing.
    rows: Vec<T>,
    /// What the terms need of every key, `[M]` or nothing.
    weights: Vec<T>,
    labels: Vec<i64>,
    key_labels: Vec<i64>,
    plan: Plan,
}

/// A range of the keys, and what its thread may use.
struct Range {
    start: usize,
    end: usize,
    parallelism: Parallelism,
    tile: usize,
}

fn wide<T: Real>(number: T) -> f64 {
    number.to_f64().expect("a float is an f64")
}

/// Ranges of `count` keys, one per thread: as many as `work` multiplications are worth, each of which holds an accumulator of
/// `per_accumulator` bytes.
fn ranges(count: usize, work: usize, per_accumulator: usize) -> Vec<Range> {
    let threads = current_num_threads();
    let most = threads.min(work / WORTH_A_THREAD).min((ACCUMULATOR_BYTES / per_accumulator).max(2));
    let length = count.div_ceil(most.max(1));
    let inner = threads / most.max(1);
    let parallelism = if inner > 1 && work >= threads * WORTH_A_THREAD { shared_by(inner) } else { Parallelism::None };
    (0..count)
        .step_by(length)
        .map(|start| Range { start, end: (start + length).min(count), parallelism, tile: TILE * inner.max(1) })
        .collect()
}

impl<T: Real, K: Key<T>> Inputs<'_, T, K> {
    /// The ranges of the keys that are walked at the same time.
    fn ranges(&self) -> Vec<Range> {
        let work = self.batch.saturating_mul(self.count).saturating_mul(self.per_key());
        ranges(self.count, work, self.batch * self.dim * size_of::<T>())
    }

    fn block(&self) -> usize {
        self.plan.block.unwrap_or(BLOCK).div_ceil(self.plan.sub_centers).min(self.count)
    }

    /// The numbers of all centers of a key.
    fn per_key(&self) -> usize {
        self.plan.sub_centers * self.dim
    }

    /// The tiles of the queries, as `(start, length)`.
    fn tiles(&self, tile: usize) -> impl Iterator<Item = (usize, usize)> + '_ {
        (0..self.batch).step_by(tile).map(move |start| (start, tile.min(self.batch - start)))
    }

    fn queries_of(&self, tile: (usize, usize)) -> Matrix<'_, T> {
        self.queries.unit_of(tile)
    }

    /// For many products, of whose second side rows are quicker read than columns.
    fn turned(mut self) -> Self {
        if self.count >= MANY * BLOCK {
            self.turned = self.queries.turned();
        }
        self
    }

    /// A tile of the queries, `[D, lanes]`.
    fn turned_queries_of(&self, tile: (usize, usize)) -> Matrix<'_, T> {
        if self.turned.is_empty() {
            return self.queries_of(tile).transposed();
        }
        Matrix::some_columns(&self.turned, self.batch, tile)
    }

    fn load(&self, block: &mut Block<T>, start: usize, rows: usize) {
        let sub_centers = self.plan.sub_centers;
        block.load(&self.keys, start * sub_centers, rows * sub_centers, self.plan.normalise.keys());
    }

    /// The products of a block of keys with a tile of queries, `[rows, lanes]`.
    fn multiply<'s>(
        &self,
        block: &Block<T>,
        tile: (usize, usize),
        parallelism: Parallelism,
        scratch: &'s mut Scratch<T>,
    ) -> &'s mut [T] {
        let (lanes, sub_centers) = (tile.1, self.plan.sub_centers);
        let scores = &mut scratch.centers[..block.rows() * lanes];
        product(block.unit(), self.turned_queries_of(tile), false, parallelism, scores);
        match &mut scratch.keys {
            None => scores,
            Some((centers, keys)) => {
                let keys = &mut keys[..block.rows() / sub_centers * lanes];
                centers.choose(scores, keys, lanes);
                keys
            }
        }
    }

    /// A column of what the terms need of a tile of the queries.
    fn row(&self, column: usize, (first, lanes): (usize, usize)) -> &[T] {
        &self.rows[column * self.batch + first..][..lanes]
    }

    /// The biases of a block of keys, or none.
    fn biases(&self, (start, rows): (usize, usize)) -> &[T] {
        if self.bias.is_empty() { &[] } else { &self.bias[start..start + rows] }
    }

    /// The weights of a block of keys, or none.
    fn weights(&self, (start, rows): (usize, usize)) -> &[T] {
        if self.weights.is_empty() { &[] } else { &self.weights[start..start + rows] }
    }

    fn softplus(&self, block: (usize, usize), tile: (usize, usize)) -> Option<Softplus<'_, T>> {
        let Term::Softplus(curve) = self.plan.term else { return None };
        Some(Softplus { offsets: self.row(0, tile), biases: self.biases(block), scale: T::of(self.plan.scale), curve })
    }

    /// Whether the gradient of a product is more than that of its score.
    fn has_slopes(&self) -> bool {
        match self.plan.term {
            Term::Exp => false,
            Term::Reweighted { .. } | Term::SelfPaced { .. } => true,
            Term::Logits { cap } => cap.is_some(),
            Term::Softplus(curve) => !curve.is_straight() && !curve.detached,
        }
    }

    /// Makes scores of products `[rows, lanes]` but for those that are left out, and writes the slopes of what the products
    /// are replaced by where there is room.
    fn replace(&self, block: (usize, usize), tile: (usize, usize), scores: &mut [T], slopes: &mut [T]) {
        match self.plan.term {
            Term::Reweighted { quadratic } => {
                let [thresholds, linear, constants] = [0, 1, 2].map(|column| self.row(column, tile));
                Reweigh { scores, slopes, thresholds, quadratic: T::of(quadratic), linear, constants }.run();
            }
            Term::SelfPaced { reach, goal } => {
                Pace { scores, slopes, reach: T::of(reach), goal: T::of(goal) }.run();
            }
            Term::Exp | Term::Softplus(_) | Term::Logits { .. } => {}
        }
        if !self.bias.is_empty() {
            AddBias { scores, lanes: tile.1, biases: self.biases(block) }.run();
        }
        if let Term::Logits { cap: Some(cap) } = self.plan.term {
            Cap { scores, slopes, cap: T::of(cap / self.plan.scale) }.run();
        }
    }

    /// Calls `each` with every score of a block that its query leaves out, the query, and whether the key is its target.
    fn for_each_excluded(
        &self,
        (start, rows): (usize, usize),
        (first_query, lanes): (usize, usize),
        scores: &mut [T],
        mut each: impl FnMut(&mut T, usize, bool),
    ) {
        let labels = &self.labels[first_query..first_query + lanes];
        let exclusion = self.plan.exclusion;
        if exclusion.has_target() {
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
                Exclusion::Target => false,
                Exclusion::TargetAndUnused => key_label < 0 && label != key,
                Exclusion::SameLabel => key_label < 0 || label == key_label,
                Exclusion::OtherLabels { in_batch } => {
                    key_label < 0 || label != key_label || in_batch && query as i64 == key
                }
            };
            if exclusion == Exclusion::TargetAndUnused && key_label >= 0 {
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
    keys: Option<(Centers<T>, Vec<T>)>,
}

impl<T: Real> Scratch<T> {
    fn new(size: usize, lanes: usize, Plan { sub_centers, choice, .. }: Plan) -> Self {
        let keys = (sub_centers > 1).then(|| (Centers::new(sub_centers, choice, lanes), vec![T::zero(); size * lanes]));
        Self { centers: vec![T::zero(); size * sub_centers * lanes], keys }
    }

    /// The slopes of `rows` centers, where those of the keys have taken the place of their scores.
    fn given_to_centers(&mut self, rows: usize, lanes: usize) -> Matrix<'_, T> {
        let scores = &mut self.centers[..rows * lanes];
        if let Some((centers, keys)) = &mut self.keys {
            centers.give(keys, scores, lanes);
        }
        Matrix::rows(scores, rows, lanes)
    }
}

/// What a thread knows of every query after its range.
struct Running<T> {
    target: Vec<T>,
    largest: Vec<T>,
    sum: Vec<T>,
    /// Instead of these two where the terms are softplus; empty elsewhere.
    softplus: SoftplusSums<T>,
    /// Where the terms are of logits: their weighted sum, and which key has the largest; empty elsewhere.
    weighted: Vec<T>,
    largest_key: Vec<i64>,
}

/// The output, and the scores of all pairs, `[M, N]`, if they are kept.
fn forward_all<T: Real, K: Key<T>>(inputs: &Inputs<'_, T, K>) -> (Vec<T>, Vec<T>) {
    let (batch, nothing, scale) = (inputs.batch, T::of(NOTHING), T::of(inputs.plan.scale));
    let mut kept = Box::new_uninit_slice(if inputs.plan.keep { batch * inputs.count } else { 0 });
    let ranges = inputs.ranges();
    let shares = shares(&mut kept, &ranges, if inputs.plan.keep { batch } else { 0 });
    let parts: Vec<Running<T>> =
        map(ranges.into_iter().zip(shares).collect(), &|(range, kept)| forward_range(inputs, &range, kept));

    let mut output = Vec::with_capacity(inputs.plan.term.columns() * batch);
    for query in 0..batch {
        let total = |of: fn(&Running<T>) -> &[T]| parts.iter().fold(T::zero(), |sum, part| sum + of(part)[query]);
        output.push(total(|part| &part.target));
        if let Term::Softplus(_) = inputs.plan.term {
            output.extend([total(|part| &part.softplus.sum), total(|part| &part.softplus.slopes)]);
            output.push(total(|part| &part.softplus.active));
            continue;
        }
        let largest = parts.iter().fold(nothing, |largest, part| block::larger(largest, part.largest[query]));
        let sum = parts
            .iter()
            .fold(T::zero(), |sum, part| sum + part.sum[query] * ((part.largest[query] - largest) * scale).exp());
        // A NaN is larger than nothing, but it is in the sum.
        let is_empty = largest == nothing && !sum.is_nan();
        output.push(if is_empty { nothing } else { largest * scale + sum.ln() });
        if let Term::Logits { .. } = inputs.plan.term {
            let key =
                parts.iter().find(|part| part.largest[query] == largest).map_or(-1, |part| part.largest_key[query]);
            output.push(total(|part| &part.weighted) * scale);
            output.push(if largest == nothing { nothing } else { largest * scale });
            output.push(T::of(key as f64));
        }
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
    let is_softplus = matches!(inputs.plan.term, Term::Softplus(_));
    let sums_of = |lanes: usize| SoftplusSums::new(if is_softplus { lanes } else { 0 });
    let (target, largest, sum) = (vec![T::zero(); batch], vec![nothing; batch], vec![T::zero(); batch]);
    let is_of_logits = matches!(inputs.plan.term, Term::Logits { .. });
    let of_logits = if is_of_logits { batch } else { 0 };
    let (weighted, largest_key) = (vec![T::zero(); of_logits], vec![-1; of_logits]);
    let mut running = Running { target, largest, sum, softplus: sums_of(batch), weighted, largest_key };
    let mut softplus_of_block = sums_of(widest);
    let mut block = Block::new(size * inputs.plan.sub_centers, inputs.dim);
    let mut scratch = Scratch::new(size, widest, inputs.plan);
    let mut sums = block::Sums::new(widest);

    for start in (range.start..range.end).step_by(size) {
        let rows = size.min(range.end - start);
        inputs.load(&mut block, start, rows);
        for tile in inputs.tiles(range.tile) {
            let (first, lanes) = tile;
            let queries = first..first + lanes;
            let scores = inputs.multiply(&block, tile, range.parallelism, &mut scratch);
            inputs.for_each_excluded((start, rows), tile, scores, |score, query, is_target| {
                if is_target {
                    running.target[query] = *score;
                }
                // The weighted sum of logits is over all of them.
                *score = if is_of_logits { *score } else { nothing };
            });
            if is_of_logits {
                inputs.replace((start, rows), tile, scores, &mut []);
                if !inputs.weights.is_empty() {
                    // A block has a sum of its own first, which loses fewer digits.
                    let mut of_block = vec![T::zero(); lanes];
                    AddWeighted { scores, weights: inputs.weights((start, rows)), into: &mut of_block }.run();
                    let all = running.weighted[queries.clone()].iter_mut();
                    all.zip(of_block).for_each(|(all, of_block)| *all = *all + of_block);
                }
                inputs.for_each_excluded((start, rows), tile, scores, |score, _, _| *score = nothing);
            }
            if let Some(softplus) = inputs.softplus((start, rows), tile) {
                running.softplus.add(softplus, scores, first, &mut softplus_of_block);
                continue;
            }
            if is_of_logits {
                let keys = &mut running.largest_key[queries.clone()];
                block::note_largest(scores, &running.largest[queries.clone()], start, keys);
            } else {
                inputs.replace((start, rows), tile, scores, &mut []);
            }
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

/// The gradients of the queries, the keys and the bias, each with one element where it is not wanted.
fn backward_all<T: Real, K: Key<T>>(
    inputs: &Inputs<'_, T, K>,
    output: &[T],
    kept: &[T],
    gradient: &[T],
    wanted: Wanted,
) -> (Vec<T>, Vec<K>, Vec<T>) {
    let per_key = if wanted.keys { inputs.per_key() } else { 0 };
    let mut keys_gradient = Box::new_uninit_slice(inputs.count * per_key);
    let ranges = inputs.ranges();
    let shares = shares(&mut keys_gradient, &ranges, per_key);
    let columns = inputs.plan.term.columns();
    let column =
        |column: usize, numbers: &[T]| -> Vec<T> { numbers.iter().skip(column).step_by(columns).copied().collect() };
    let scale = T::of(inputs.plan.scale);
    let scaled = |numbers: Vec<T>| -> Vec<T> { numbers.into_iter().map(|gradient| gradient * scale).collect() };
    let g_sum = scaled(column(1, gradient));
    let g_weighted = if inputs.weights.is_empty() { Vec::new() } else { scaled(column(2, gradient)) };
    let (sums, g_target) = (column(1, output), column(0, gradient));
    let upstream = Upstream { kept, sums, g_target, g_sum, g_weighted, scale, wanted };
    let parts: Vec<(Vec<T>, Vec<T>)> = map(ranges.into_iter().zip(shares).collect(), &|(range, share)| {
        backward_range(inputs, &upstream, &range, share)
    });

    let mut parts = parts.into_iter();
    let (mut queries_gradient, mut bias_gradient) = parts.next().expect("there is a range");
    for (of_queries, of_bias) in parts {
        queries_gradient.iter_mut().zip(of_queries).for_each(|(sum, part)| *sum = *sum + part);
        bias_gradient.extend(of_bias);
    }
    if wanted.queries && inputs.plan.normalise.queries() {
        inputs.queries.project(&mut queries_gradient);
    }
    if wanted.bias {
        bias_gradient.iter_mut().for_each(|slope| *slope = *slope / scale);
    } else {
        bias_gradient = vec![T::zero()];
    }
    if !wanted.keys {
        return (queries_gradient, vec![K::zeroed()], bias_gradient);
    }
    // SAFETY: the ranges cover all keys; of each, `backward_range` has written the gradient.
    (queries_gradient, unsafe { keys_gradient.assume_init() }.into_vec(), bias_gradient)
}

/// What the forward pass left and what comes back from the loss, `[N]` each but for the kept scores.
struct Upstream<'a, T> {
    kept: &'a [T],
    sums: Vec<T>,
    g_target: Vec<T>,
    /// That of the sums, times the scale.
    g_sum: Vec<T>,
    /// That of the weighted sums, times the scale, or nothing.
    g_weighted: Vec<T>,
    scale: T,
    wanted: Wanted,
}

/// The gradients of the queries, and of the scores of the keys of a range added up, if that of the bias is wanted.
fn backward_range<T: Real, K: Key<T>>(
    inputs: &Inputs<'_, T, K>,
    upstream: &Upstream<'_, T>,
    range: &Range,
    keys_gradient: &mut [MaybeUninit<K>],
) -> (Vec<T>, Vec<T>) {
    let (batch, dim, size, wanted) = (inputs.batch, inputs.dim, inputs.block(), upstream.wanted);
    let (per_key, widest) = (inputs.per_key(), range.tile.min(batch));
    let mut queries_gradient = vec![T::zero(); if wanted.queries { batch * dim } else { 1 }];
    let mut block = Block::new(size * inputs.plan.sub_centers, dim);
    let mut unit_gradient = vec![T::zero(); if wanted.keys { size * per_key } else { 0 }];
    let mut scratch = Scratch::new(size, widest, inputs.plan);
    let mut slopes = vec![T::zero(); if inputs.has_slopes() { size * widest } else { 0 }];
    let mut bias_gradient = vec![T::zero(); if wanted.bias { range.end - range.start } else { 0 }];
    let is_of_logits = matches!(inputs.plan.term, Term::Logits { .. });

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
            let g_sum = &upstream.g_sum[queries.clone()];
            if let Some(softplus) = inputs.softplus((start, rows), tile) {
                softplus.weigh(scores, &mut slopes, g_sum);
            } else {
                let kept = inputs.plan.keep.then(|| &upstream.kept[start * batch + first..]);
                if kept.is_none() {
                    inputs.replace((start, rows), tile, scores, &mut slopes);
                }
                let (scale, sums) = (upstream.scale, &upstream.sums[queries.clone()]);
                Weigh { scores, kept, stride: batch, scale, sums, g_sum }.weigh();
            }
            if wanted.bias || is_of_logits {
                inputs.for_each_excluded((start, rows), tile, scores, |score, _, _| *score = T::zero());
            }
            if let (true, Some(gradients)) = (is_of_logits, upstream.g_weighted.get(queries)) {
                AddOuter { scores, weights: inputs.weights((start, rows)), gradients }.run();
            }
            // None where a product is its score. What a cap has done is done to the bias, too.
            let bend =
                |scores: &mut [T]| scores.iter_mut().zip(&slopes).for_each(|(score, &slope)| *score = *score * slope);
            if is_of_logits {
                bend(scores);
            }
            if wanted.bias {
                let into = &mut bias_gradient[start - range.start..][..rows];
                AddRows { rows: scores, lanes, into }.run();
            }
            if is_of_logits {
                inputs.for_each_excluded((start, rows), tile, scores, |score, query, is_target| {
                    *score = if is_target { *score + upstream.g_target[query] } else { *score };
                });
            } else {
                bend(scores);
                inputs.for_each_excluded((start, rows), tile, scores, |score, query, is_target| {
                    *score = if is_target { upstream.g_target[query] } else { T::zero() };
                });
            }
            let weights = scratch.given_to_centers(block.rows(), lanes);
            if wanted.keys {
                let (add, into) = (first > 0, &mut unit_gradient[..rows * per_key]);
                product(weights, inputs.queries_of(tile), add, range.parallelism, into);
            }
            if wanted.queries {
                let into = &mut queries_gradient[first * dim..(first + lanes) * dim];
                product(weights.transposed(), block.unit(), true, range.parallelism, into);
            }
        }
        if wanted.keys {
            let begin = (start - range.start) * per_key;
            let into = &mut keys_gradient[begin..begin + rows * per_key];
            block.finish(&mut unit_gradient[..rows * per_key], into, inputs.plan.normalise.keys());
        }
    }
    (queries_gradient, bias_gradient)
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
