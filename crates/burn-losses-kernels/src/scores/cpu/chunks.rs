//! What logits cost, and the gradient of that, in one pass.
//!
//! Of a chunk of queries the logits with all keys are computed, block after block. When the last is there, so is the
//! log-sum-exp of every query; each block is then turned into its gradient where it lies, and multiplied with the queries for
//! the gradient of its keys and with its keys for that of the queries. As elsewhere every thread has a range of the keys of its
//! own, and logits lie with the queries along the rows.

use alloc::borrow::Cow;
use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;

use burn::backend::TensorMetadata;
use burn::backend::tensor::FloatTensor;
use burn::tensor::{DType, Shape};
use gemm::Parallelism;

use super::super::backend::{Batch, Gradients, Plan, Term, Wanted};
use super::block::{AddBias, AddRows, AddWeighted, Block, Sums, larger};
use super::terms::Cap;
use super::{BLOCK, WORTH_A_THREAD, wide};
use crate::host::threads::*;
use crate::host::{Host, Key, Matrix, Real, Strided, Vectorised, product, tensor, vectorised};
use crate::math::NOTHING;

/// More queries at once make no product faster.
const MOST: usize = 256;
/// With fewer queries at once, reading and writing the gradient of all keys for each chunk takes longer than to compute the
/// logits a second time. An estimate: with 48 products are as fast as with 200.
const LEAST: usize = 32;
/// Chunks are whole vectors of numbers.
const STEP: usize = 16;
/// What the keys of a block take. With 2048 numbers of `f32` each, 64 are a tenth faster than 256.
const BLOCK_BYTES: usize = 512 << 10;

/// Keys per block.
fn block(dim: usize, size: usize) -> usize {
    (BLOCK_BYTES / (dim * size)).clamp(BLOCK / 4, BLOCK)
}

/// How many queries are taken at once, if their logits and what else is beyond the gradients fit `bytes`.
pub(in super::super) fn chunk([batch, dim, count]: [usize; 3], size: usize, bytes: usize) -> Option<usize> {
    // Beside its logits every thread has a block of keys and the gradients of the queries, which are copied twice. An eighth is
    // for what products pack.
    let threads = current_num_threads();
    let room = (bytes - bytes / 8).saturating_sub(size * threads * block(dim, size) * dim);
    let fitting = room / (size * (count + (threads + 2) * dim));
    if batch <= fitting.min(MOST) {
        return Some(batch);
    }
    if fitting < LEAST {
        return None;
    }
    // Chunks of about one length.
    let chunks = batch.div_ceil((fitting / STEP * STEP).min(MOST));
    Some(batch.div_ceil(chunks).next_multiple_of(STEP).min(fitting))
}

/// The only number of a tensor.
pub(in super::super) fn number<H: Host>(tensor: &FloatTensor<H>) -> f64 {
    fn number_as<H: Host, T: Real + Key<T>>(tensor: &FloatTensor<H>) -> f64 {
        let tensor = H::float_reshape(tensor.clone(), [1, 1].into());
        wide(H::strided::<T>(&tensor).rows(1, 1)[0])
    }
    match tensor.dtype() {
        DType::F64 => number_as::<H, f64>(tensor),
        _ => number_as::<H, f32>(tensor),
    }
}

/// A tensor times a factor, where it lies if nothing else holds it.
pub(in super::super) fn multiplied<H: Host>(tensor: FloatTensor<H>, factor: f64) -> FloatTensor<H> {
    fn multiply<T: Real>(numbers: &mut [T], factor: f64) {
        let factor = T::of(factor);
        for_each_chunk(numbers, WORTH_A_THREAD, 1, &|_, piece| {
            piece.iter_mut().for_each(|number| *number = *number * factor);
        });
    }
    if factor == 1.0 {
        return tensor;
    }
    match tensor.dtype() {
        DType::F64 => H::changed::<f64>(tensor, |numbers| multiply(numbers, factor)),
        _ => H::changed::<f32>(tensor, |numbers| multiply(numbers, factor)),
    }
}

/// The loss of what a forward pass says, `[N, Term::columns()]`.
pub(in super::super) fn loss_of<H: Host>(batch: &Batch<H>, output: &FloatTensor<H>) -> FloatTensor<H> {
    match batch.queries.dtype() {
        DType::F64 => loss_of_as::<H, f64>(batch, output),
        _ => loss_of_as::<H, f32>(batch, output),
    }
}

fn loss_of_as<H: Host, T: Real + Key<T>>(batch: &Batch<H>, output: &FloatTensor<H>) -> FloatTensor<H> {
    let inputs = Inputs::<T>::new::<H>(batch);
    let columns = batch.plan.term.columns();
    let output = H::strided::<T>(output).rows(inputs.batch, columns);
    let mut loss = 0.0;
    for &query in &inputs.counted {
        let row = &output[query * columns..(query + 1) * columns];
        let label = inputs.labels[query];
        let bias = inputs.bias.get(label).copied().unwrap_or(T::zero());
        let (target, _) = inputs.bent(row[0] + bias);
        loss += inputs.cost(query, target, row[1], row[2]).loss;
    }
    tensor::<H, _>(vec![T::of(loss)], [1], &batch.queries.device())
}

/// The loss, and its gradients: one meaningless number each where they are not wanted.
pub(in super::super) fn loss_and_gradients<H: Host>(
    batch: &Batch<H>,
    chunk: usize,
    wanted: Wanted,
) -> (FloatTensor<H>, Gradients<H>) {
    match batch.queries.dtype() {
        DType::F64 => loss_and_gradients_as::<H, f64>(batch, chunk, wanted),
        _ => loss_and_gradients_as::<H, f32>(batch, chunk, wanted),
    }
}

fn loss_and_gradients_as<H: Host, T: Real + Key<T>>(
    batch: &Batch<H>,
    chunk: usize,
    wanted: Wanted,
) -> (FloatTensor<H>, Gradients<H>) {
    let inputs = Inputs::<T>::new::<H>(batch);
    let Outcome { loss, queries, keys, bias } = inputs.run(chunk, wanted);
    let device = batch.queries.device();
    let shape = |wanted: bool, of: &FloatTensor<H>| if wanted { of.shape() } else { Shape::from([1]) };
    let bias_length = bias.len();
    let gradients = Gradients {
        queries: tensor::<H, _>(queries, shape(wanted.queries, &batch.queries), &device),
        keys: tensor::<H, _>(keys, shape(wanted.keys, &batch.keys), &device),
        bias: tensor::<H, _>(bias, [bias_length], &device),
    };
    (tensor::<H, _>(vec![T::of(loss)], [1], &device), gradients)
}

struct Outcome<T> {
    loss: f64,
    queries: Vec<T>,
    keys: Vec<T>,
    bias: Vec<T>,
}

struct Inputs<'a, T: Copy> {
    /// `[N, D]`.
    queries: Cow<'a, [T]>,
    batch: usize,
    dim: usize,
    /// `[M, D]`.
    keys: Strided<'a, T>,
    count: usize,
    /// `[M]` or nothing.
    bias: Vec<T>,
    /// `[M]` or nothing, and what they add up to.
    weights: Vec<T>,
    total: f64,
    /// Of the target, of all and of the square, one after the other for each query.
    shares: Vec<T>,
    /// The keys of the queries that cost something, and which queries these are.
    labels: Vec<usize>,
    counted: Vec<usize>,
    cap: Option<T>,
    block: usize,
}

/// What a query costs, and the gradient of that by its logits: `of_all·softmax - weights·spread`, but of its own.
struct Cost<T> {
    loss: f64,
    log_sum_exp: T,
    of_all: T,
    spread: T,
    own: T,
}

impl<'a, T: Real + Key<T>> Inputs<'a, T> {
    fn new<H: Host>(batch: &'a Batch<H>) -> Self {
        let Batch { queries, keys, bias, rows, weights, labels, plan, .. } = batch;
        let Plan { term: Term::Logits { cap }, block: keys_at_once, .. } = plan else {
            unreachable!("the terms are of logits")
        };
        let (shape, count) = (queries.shape(), keys.shape()[0]);
        let [batch, dim] = [shape[0], shape[1]];
        let per_key = |numbers: &FloatTensor<H>| {
            let column = H::float_reshape(numbers.clone(), [count, 1].into());
            H::strided::<T>(&column).rows(count, 1)
        };
        let weights = weights.as_option().map(per_key).unwrap_or_default();
        let labels = H::integers(labels.clone());
        let labels: Vec<usize> = labels.iter().map(|&label| usize::try_from(label).unwrap_or(usize::MAX)).collect();
        Self {
            queries: H::strided::<T>(queries).whole(batch, dim),
            batch,
            dim,
            keys: H::strided::<T>(keys).onward(count, dim),
            count,
            bias: bias.as_option().map(per_key).unwrap_or_default(),
            total: weights.iter().copied().map(wide).sum(),
            weights,
            shares: H::strided::<T>(rows.as_option().expect("there are shares")).rows(batch, 3),
            counted: (0..batch).filter(|&query| labels[query] < count).collect(),
            labels,
            cap: cap.map(T::of),
            block: keys_at_once.unwrap_or_else(|| block(dim, size_of::<T>())).min(count),
        }
    }

    /// A logit under the cap, and the slope of that.
    fn bent(&self, logit: T) -> (T, T) {
        let Some(cap) = self.cap else { return (logit, T::one()) };
        let bent = (logit / cap).tanh();
        (cap * bent, T::one() - bent * bent)
    }

    /// - `target`: the logit of its key
    /// - `others`: the log-sum-exp of all others
    /// - `weighted`: the weighted sum of all
    fn cost(&self, query: usize, target: T, others: T, weighted: T) -> Cost<T> {
        let [of_target, of_all, of_square] = [0, 1, 2].map(|column| self.shares[query * 3 + column]);
        // -log(p) of the key, without a difference of large numbers where p is near 1.
        let ahead = others - target;
        let small = (-ahead.abs()).exp().ln_1p();
        let surprise = larger(ahead, T::zero()) + small;
        let log_sum_exp = target + surprise;
        // log(1 - p)
        let rest = larger(-ahead, T::zero()) + small;
        let spread = wide(log_sum_exp) * self.total - wide(weighted);
        let square = wide(log_sum_exp) * wide(log_sum_exp);
        let loss = wide(of_target * surprise) + wide(of_all) * spread + wide(of_square) * square;
        let beside = of_all * T::of(self.total) + (of_square + of_square) * log_sum_exp;
        let weight = self.weights.get(self.labels[query]).copied().unwrap_or(T::zero());
        let own = beside * (-surprise).exp() - of_target * (-rest).exp() - of_all * weight;
        Cost { loss, log_sum_exp, of_all: of_target + beside, spread: of_all, own }
    }

    /// The ranges of the keys that are walked at the same time.
    fn ranges(&self, chunk: usize) -> impl Iterator<Item = Range<usize>> {
        let work = chunk.saturating_mul(self.count).saturating_mul(self.dim);
        let most = current_num_threads().min(work / WORTH_A_THREAD).max(1);
        let (count, length) = (self.count, self.count.div_ceil(most));
        (0..count).step_by(length).map(move |start| start..(start + length).min(count))
    }

    fn run(&self, chunk: usize, wanted: Wanted) -> Outcome<T> {
        let numbers = |wanted: bool, length: usize| vec![T::zero(); if wanted { length } else { 1 }];
        let mut of_queries = numbers(wanted.queries, self.batch * self.dim);
        let mut of_keys = numbers(wanted.keys, self.count * self.dim);
        let mut of_bias = numbers(wanted.bias, self.count);
        let lanes = chunk.min(self.counted.len());
        let mut parts = Vec::new();
        let (mut keys_left, mut bias_left) = (&mut of_keys[..], &mut of_bias[..]);
        for keys in self.ranges(chunk) {
            let (of_keys, rest) = keys_left.split_at_mut(if wanted.keys { keys.len() * self.dim } else { 0 });
            let (of_bias, others) = bias_left.split_at_mut(if wanted.bias { keys.len() } else { 0 });
            (keys_left, bias_left) = (rest, others);
            parts.push(Part {
                inputs: self,
                logits: vec![T::zero(); keys.len() * lanes],
                keys,
                of_keys,
                of_bias,
                of_queries: vec![T::zero(); if wanted.queries { lanes * self.dim } else { 0 }],
                known: Known::new(lanes),
                sums: Sums::new(lanes),
                block: Block::new(self.block, self.dim),
                wanted,
            });
        }

        let (mut loss, mut queries) = (0.0, Block::new(lanes, self.dim));
        for (number, counted) in self.counted.chunks(chunk).enumerate() {
            queries.gather(counted, &self.queries);
            let turned = queries.turned();
            for_each_chunk(&mut parts, 1, 1, &|_, part| part[0].look(counted, &turned));
            let costs: Vec<Cost<T>> =
                (0..counted.len()).map(|lane| self.total_cost(&parts, counted[lane], lane)).collect();
            loss += costs.iter().map(|cost| cost.loss).sum::<f64>();
            let slopes = Slopes {
                log_sum_exp: costs.iter().map(|cost| cost.log_sum_exp).collect(),
                of_all: costs.iter().map(|cost| cost.of_all).collect(),
                spread: costs.iter().map(|cost| cost.spread).collect(),
                own: costs.iter().map(|cost| cost.own).collect(),
            };
            for_each_chunk(&mut parts, 1, 1, &|_, part| part[0].multiply(counted, &queries, &slopes, number > 0));
            if wanted.queries {
                for (lane, &query) in counted.iter().enumerate() {
                    let into = &mut of_queries[query * self.dim..(query + 1) * self.dim];
                    for part in &parts {
                        let row = &part.of_queries[lane * self.dim..(lane + 1) * self.dim];
                        into.iter_mut().zip(row).for_each(|(sum, &slope)| *sum = *sum + slope);
                    }
                }
            }
        }
        drop(parts);
        Outcome { loss, queries: of_queries, keys: of_keys, bias: of_bias }
    }

    /// What a query costs by what all parts know of it.
    fn total_cost(&self, parts: &[Part<'_, '_, T>], query: usize, lane: usize) -> Cost<T> {
        let nothing = T::of(NOTHING);
        let sum_of =
            |numbers: fn(&Known<T>) -> &[T]| parts.iter().fold(T::zero(), |sum, part| sum + numbers(&part.known)[lane]);
        let largest = parts.iter().fold(nothing, |largest, part| larger(largest, part.known.largest[lane]));
        let sum = parts
            .iter()
            .fold(T::zero(), |sum, part| sum + part.known.sum[lane] * (part.known.largest[lane] - largest).exp());
        // A NaN is larger than nothing, but it is in the sum.
        let others = if largest == nothing && !sum.is_nan() { nothing } else { largest + sum.ln() };
        let (target, slope) = self.bent(sum_of(|known| &known.target));
        let cost = self.cost(query, target, others, sum_of(|known| &known.weighted));
        Cost { own: cost.own * slope, ..cost }
    }
}

/// What the gradient of a chunk's logits needs, a number per query each; see [`Cost`].
struct Slopes<T> {
    log_sum_exp: Vec<T>,
    of_all: Vec<T>,
    spread: Vec<T>,
    own: Vec<T>,
}

/// A range of the keys.
struct Part<'a, 'g, T: Copy> {
    inputs: &'a Inputs<'a, T>,
    keys: Range<usize>,
    /// With the queries of a chunk, `[keys, lanes]`.
    logits: Vec<T>,
    of_keys: &'g mut [T],
    of_bias: &'g mut [T],
    /// Of a chunk, `[lanes, D]`.
    of_queries: Vec<T>,
    known: Known<T>,
    sums: Sums<T>,
    /// Room for keys.
    block: Block<T>,
    wanted: Wanted,
}

/// What a part knows of every query of a chunk.
struct Known<T> {
    /// The product with its key and the bias of that, 0 if it is none of these.
    target: Vec<T>,
    /// Of the others.
    largest: Vec<T>,
    /// Of the exponentials of the others, relative to the largest.
    sum: Vec<T>,
    weighted: Vec<T>,
}

impl<T: Real> Known<T> {
    fn new(lanes: usize) -> Self {
        let zeros = || vec![T::zero(); lanes];
        Self { target: zeros(), largest: zeros(), sum: zeros(), weighted: zeros() }
    }
}

impl<T: Real + Key<T>> Part<'_, '_, T> {
    /// The blocks of the range, as `(start, rows)`.
    fn blocks(&self) -> impl Iterator<Item = (usize, usize)> + use<T> {
        let (size, end) = (self.inputs.block, self.keys.end);
        self.keys.clone().step_by(size).map(move |start| (start, size.min(end - start)))
    }

    /// Computes the logits of a chunk, which `turned` has as columns, and what they add up to.
    fn look(&mut self, counted: &[usize], turned: &[T]) {
        let (inputs, lanes, nothing) = (self.inputs, counted.len(), T::of(NOTHING));
        for numbers in [&mut self.known.target, &mut self.known.sum, &mut self.known.weighted] {
            numbers[..lanes].fill(T::zero());
        }
        self.known.largest[..lanes].fill(nothing);
        let mut of_block = vec![T::zero(); lanes];
        for (start, rows) in self.blocks() {
            let logits = &mut self.logits[(start - self.keys.start) * lanes..][..rows * lanes];
            let (keys, queries) =
                (inputs.keys.matrix(start, rows, inputs.dim), Matrix::rows(turned, inputs.dim, lanes));
            product(keys, queries, false, Parallelism::None, logits);
            if !inputs.bias.is_empty() {
                AddBias { scores: logits, lanes, biases: &inputs.bias[start..start + rows] }.run();
            }
            let own = |lane: usize| {
                let row = inputs.labels[counted[lane]].checked_sub(start).filter(|&row| row < rows)?;
                Some(row * lanes + lane)
            };
            for (lane, target) in self.known.target[..lanes].iter_mut().enumerate() {
                *target = own(lane).map_or(*target, |place| logits[place]);
            }
            if let Some(cap) = inputs.cap {
                Cap { scores: logits, slopes: &mut [], cap }.run();
            }
            if !inputs.weights.is_empty() {
                // A block has a sum of its own first, which loses fewer digits.
                of_block.fill(T::zero());
                let weights = &inputs.weights[start..start + rows];
                AddWeighted { scores: logits, weights, into: &mut of_block }.run();
                self.known.weighted.iter_mut().zip(&of_block).for_each(|(all, &of_block)| *all = *all + of_block);
            }
            (0..lanes).filter_map(own).for_each(|place| logits[place] = nothing);
            self.sums.merge(logits, T::one(), &mut self.known.largest[..lanes], &mut self.known.sum[..lanes]);
        }
    }

    /// Turns the logits into their gradient, and that into those of keys, bias and queries. `add`: these keys have some already.
    fn multiply(&mut self, counted: &[usize], queries: &Block<T>, slopes: &Slopes<T>, add: bool) {
        let (inputs, lanes) = (self.inputs, counted.len());
        for (start, rows) in self.blocks() {
            let first = start - self.keys.start;
            let logits = &mut self.logits[first * lanes..][..rows * lanes];
            let weights = if inputs.weights.is_empty() { &[] } else { &inputs.weights[start..start + rows] };
            vectorised(Turn { logits, lanes, weights, slopes, cap: inputs.cap });
            for (lane, &query) in counted.iter().enumerate() {
                if let Some(row) = inputs.labels[query].checked_sub(start).filter(|&row| row < rows) {
                    logits[row * lanes + lane] = slopes.own[lane];
                }
            }
            if self.wanted.bias {
                AddRows { rows: logits, lanes, into: &mut self.of_bias[first..first + rows] }.run();
            }
            let gradient = Matrix::rows(logits, rows, lanes);
            if self.wanted.keys {
                let into = &mut self.of_keys[first * inputs.dim..][..rows * inputs.dim];
                product(gradient, queries.unit(), add, Parallelism::None, into);
            }
            if self.wanted.queries {
                let into = &mut self.of_queries[..lanes * inputs.dim];
                self.block.load(&inputs.keys, start, rows, false);
                product(gradient.transposed(), self.block.unit(), first > 0, Parallelism::None, into);
            }
        }
    }
}

/// Replaces logits `[rows, lanes]` by their gradient.
struct Turn<'a, T> {
    logits: &'a mut [T],
    lanes: usize,
    /// One per row, or none.
    weights: &'a [T],
    slopes: &'a Slopes<T>,
    cap: Option<T>,
}

impl<T: Real> Vectorised for Turn<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<const FUSED: bool>(self) {
        let Self { logits, lanes, weights, slopes: Slopes { log_sum_exp, of_all, spread, .. }, cap } = self;
        let inverse = cap.map(T::recip);
        for (row, logits) in logits.chunks_exact_mut(lanes).enumerate() {
            let weight = weights.get(row).copied().unwrap_or(T::zero());
            let of_queries = log_sum_exp.iter().zip(of_all).zip(spread);
            match inverse {
                None => {
                    for (logit, ((&log_sum_exp, &of_all), &spread)) in logits.iter_mut().zip(of_queries) {
                        *logit = of_all * (*logit - log_sum_exp).exponential::<FUSED>() - spread * weight;
                    }
                }
                Some(inverse) => {
                    for (logit, ((&log_sum_exp, &of_all), &spread)) in logits.iter_mut().zip(of_queries) {
                        let bent = *logit * inverse;
                        let slope = of_all * (*logit - log_sum_exp).exponential::<FUSED>() - spread * weight;
                        *logit = slope * (T::one() - bent * bent);
                    }
                }
            }
        }
    }
}
