//! Rayon where a program has threads. In a browser it has one, and loops stand in under the same names: rayon would do what
//! they do there, and be 4 % of what the playground has to send (24 of 588 KB, brotli).

#[cfg(any(not(target_family = "wasm"), target_feature = "atomics"))]
pub(crate) use many::*;
#[cfg(not(any(not(target_family = "wasm"), target_feature = "atomics")))]
pub(crate) use one::*;

#[cfg(any(not(target_family = "wasm"), target_feature = "atomics"))]
mod many {
    use gemm::Parallelism;
    pub(crate) use rayon::{current_num_threads, join, prelude::*};

    /// How so many threads share a product; 0 are all that there are.
    pub(crate) fn shared_by(threads: usize) -> Parallelism {
        Parallelism::Rayon(threads)
    }
}

#[cfg(not(any(not(target_family = "wasm"), target_feature = "atomics")))]
mod one {
    use std::slice::{Chunks, ChunksExact, ChunksExactMut, ChunksMut, IterMut};

    use gemm::Parallelism;

    pub(crate) fn shared_by(_threads: usize) -> Parallelism {
        Parallelism::None
    }

    pub(crate) fn current_num_threads() -> usize {
        1
    }

    pub(crate) fn join<A, B>(first: impl FnOnce() -> A, second: impl FnOnce() -> B) -> (A, B) {
        (first(), second())
    }

    pub(crate) trait InChunks<T> {
        fn par_chunks(&self, length: usize) -> Chunks<'_, T>;
        fn par_chunks_exact(&self, length: usize) -> ChunksExact<'_, T>;
        fn par_chunks_mut(&mut self, length: usize) -> ChunksMut<'_, T>;
        fn par_chunks_exact_mut(&mut self, length: usize) -> ChunksExactMut<'_, T>;
        fn par_iter_mut(&mut self) -> IterMut<'_, T>;
    }

    impl<T> InChunks<T> for [T] {
        fn par_chunks(&self, length: usize) -> Chunks<'_, T> {
            self.chunks(length)
        }

        fn par_chunks_exact(&self, length: usize) -> ChunksExact<'_, T> {
            self.chunks_exact(length)
        }

        fn par_chunks_mut(&mut self, length: usize) -> ChunksMut<'_, T> {
            self.chunks_mut(length)
        }

        fn par_chunks_exact_mut(&mut self, length: usize) -> ChunksExactMut<'_, T> {
            self.chunks_exact_mut(length)
        }

        fn par_iter_mut(&mut self) -> IterMut<'_, T> {
            self.iter_mut()
        }
    }

    pub(crate) trait IntoParallelIterator: IntoIterator + Sized {
        fn into_par_iter(self) -> Self::IntoIter {
            self.into_iter()
        }
    }

    impl<I: IntoIterator> IntoParallelIterator for I {}

    pub(crate) trait Loop: Iterator + Sized {
        fn with_min_len(self, _least: usize) -> Self {
            self
        }

        fn for_each_init<R>(self, room: impl FnOnce() -> R, mut step: impl FnMut(&mut R, Self::Item)) {
            let mut room = room();
            self.for_each(|item| step(&mut room, item));
        }
    }

    impl<I: Iterator> Loop for I {}
}
