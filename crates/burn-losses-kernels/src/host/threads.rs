//! Rayon where a program has threads. In a browser it has one, and loops stand in under the same names: rayon would do what
//! they do there, and be 4 % of what the playground has to send (24 of 588 KB, brotli).
//!
//! What is called stands behind a pointer, so that rayon's own code is compiled once for a type of numbers, and not for every loop.

use gemm::Parallelism;
#[cfg(any(not(target_family = "wasm"), target_feature = "atomics"))]
pub(crate) use many::*;
#[cfg(not(any(not(target_family = "wasm"), target_feature = "atomics")))]
pub(crate) use one::*;

#[cfg(any(not(target_family = "wasm"), target_feature = "atomics"))]
mod many {
    use rayon::prelude::*;
    pub(crate) use rayon::{current_num_threads, join};

    use super::Parallelism;

    /// How so many threads share a product; 0 are all that there are.
    pub(crate) fn shared_by(threads: usize) -> Parallelism {
        Parallelism::Rayon(threads)
    }

    /// Calls `step` with the number of every chunk of `length` and the chunk; a thread takes `least` of them at least.
    pub(crate) fn for_each_chunk<T: Send>(
        numbers: &mut [T],
        length: usize,
        least: usize,
        step: &(dyn Fn(usize, &mut [T]) + Sync),
    ) {
        let chunks = numbers.par_chunks_mut(length).enumerate().with_min_len(least);
        chunks.for_each(|(number, chunk)| step(number, chunk));
    }

    /// What `step` makes of every item, in their order.
    pub(crate) fn map<I: Send, O: Send>(items: Vec<I>, step: &(dyn Fn(I) -> O + Sync)) -> Vec<O> {
        items.into_par_iter().map(step).collect()
    }
}

#[cfg(not(any(not(target_family = "wasm"), target_feature = "atomics")))]
mod one {
    use super::Parallelism;

    pub(crate) fn shared_by(_threads: usize) -> Parallelism {
        Parallelism::None
    }

    pub(crate) fn current_num_threads() -> usize {
        1
    }

    pub(crate) fn join<A, B>(first: impl FnOnce() -> A, second: impl FnOnce() -> B) -> (A, B) {
        (first(), second())
    }

    pub(crate) fn for_each_chunk<T>(numbers: &mut [T], length: usize, _least: usize, step: &dyn Fn(usize, &mut [T])) {
        numbers.chunks_mut(length).enumerate().for_each(|(number, chunk)| step(number, chunk));
    }

    pub(crate) fn map<I, O>(items: Vec<I>, step: &dyn Fn(I) -> O) -> Vec<O> {
        items.into_iter().map(step).collect()
    }
}
