//! Keys of several centers: from the scores of the centers to those of the keys, and the way back.

use alloc::vec;
use alloc::vec::Vec;

use pulp::{Arch, Simd, WithSimd};

use super::block::larger;
use crate::host::Real;
use crate::scores::CenterChoice;

/// How `sub_centers` rows of scores in a row become one row of a key.
pub(super) struct Centers<T> {
    sub_centers: usize,
    choice: CenterChoice,
    /// Of the key at hand, per query: its largest score,
    largest: Vec<T>,
    /// the first of its centers that has it,
    nearest: Vec<u32>,
    /// the sum of `exp((score - largest) / gamma)`,
    sum: Vec<T>,
    /// and the mean of the scores with these weights.
    mean: Vec<T>,
}

impl<T: Real> Centers<T> {
    pub(super) fn new(sub_centers: usize, choice: CenterChoice, lanes: usize) -> Self {
        let numbers = || vec![T::zero(); lanes];
        let (largest, nearest, sum, mean) = (numbers(), vec![0; lanes], numbers(), numbers());
        Self { sub_centers, choice, largest, nearest, sum, mean }
    }

    /// The scores of the keys, `[rows, lanes]`, from those of their centers, `[rows·sub_centers, lanes]`.
    pub(super) fn choose(&mut self, scores: &[T], keys: &mut [T], lanes: usize) {
        Arch::new().dispatch(Choose { centers: self, scores, keys, lanes });
    }

    /// The slopes of the centers, in the place of their scores, from those of the keys. The nearest has all of it; one
    /// that was chosen softly has `share·(1 + (its score - that of the key) / gamma)`.
    pub(super) fn give(&mut self, slopes: &[T], scores: &mut [T], lanes: usize) {
        Arch::new().dispatch(Give { centers: self, slopes, scores, lanes });
    }

    #[inline(always)]
    fn find_nearest(&mut self, scores: &[T], lanes: usize) {
        let (largest, nearest) = (&mut self.largest[..lanes], &mut self.nearest[..lanes]);
        largest.copy_from_slice(&scores[..lanes]);
        nearest.fill(0);
        for (center, scores) in (1..).zip(scores[lanes..].chunks_exact(lanes)) {
            for ((largest, nearest), &score) in largest.iter_mut().zip(&mut *nearest).zip(scores) {
                let is_nearer = score > *largest;
                *nearest = if is_nearer { center } else { *nearest };
                *largest = if is_nearer { score } else { *largest };
            }
        }
    }

    #[inline(always)]
    fn weigh<const FUSED: bool>(&mut self, scores: &[T], lanes: usize, gamma: T) {
        let (largest, sum, mean) = (&mut self.largest[..lanes], &mut self.sum[..lanes], &mut self.mean[..lanes]);
        largest.copy_from_slice(&scores[..lanes]);
        for scores in scores[lanes..].chunks_exact(lanes) {
            largest.iter_mut().zip(scores).for_each(|(largest, &score)| *largest = larger(*largest, score));
        }
        sum.fill(T::zero());
        mean.fill(T::zero());
        for scores in scores.chunks_exact(lanes) {
            for (((&score, &largest), sum), mean) in scores.iter().zip(&*largest).zip(&mut *sum).zip(&mut *mean) {
                let weight = share::<T, FUSED>(score, largest, gamma);
                *sum = *sum + weight;
                *mean = *mean + weight * score;
            }
        }
        mean.iter_mut().zip(sum).for_each(|(mean, &mut sum)| *mean = *mean / sum);
    }

    #[inline(always)]
    fn choose_all<const FUSED: bool>(&mut self, scores: &[T], keys: &mut [T], lanes: usize) {
        let scores = scores.chunks_exact(lanes * self.sub_centers);
        for (scores, key) in scores.zip(keys.chunks_exact_mut(lanes)) {
            match self.choice {
                CenterChoice::Nearest => {
                    self.find_nearest(scores, lanes);
                    key.copy_from_slice(&self.largest[..lanes]);
                }
                CenterChoice::Soft { gamma } => {
                    self.weigh::<FUSED>(scores, lanes, T::of(gamma));
                    key.copy_from_slice(&self.mean[..lanes]);
                }
            }
        }
    }

    #[inline(always)]
    fn give_all<const FUSED: bool>(&mut self, slopes: &[T], scores: &mut [T], lanes: usize) {
        let scores = scores.chunks_exact_mut(lanes * self.sub_centers);
        for (scores, slopes) in scores.zip(slopes.chunks_exact(lanes)) {
            match self.choice {
                CenterChoice::Nearest => {
                    self.find_nearest(scores, lanes);
                    for (center, scores) in (0..).zip(scores.chunks_exact_mut(lanes)) {
                        for ((score, &slope), &nearest) in scores.iter_mut().zip(slopes).zip(&self.nearest) {
                            *score = if nearest == center { slope } else { T::zero() };
                        }
                    }
                }
                CenterChoice::Soft { gamma } => {
                    let gamma = T::of(gamma);
                    self.weigh::<FUSED>(scores, lanes, gamma);
                    let Self { largest, sum, mean, .. } = self;
                    for scores in scores.chunks_exact_mut(lanes) {
                        let of_queries = slopes.iter().zip(&*largest).zip(&*sum).zip(&*mean);
                        for (score, (((&slope, &largest), &sum), &mean)) in scores.iter_mut().zip(of_queries) {
                            let share = share::<T, FUSED>(*score, largest, gamma) / sum;
                            *score = slope * share * (T::one() + (*score - mean) / gamma);
                        }
                    }
                }
            }
        }
    }
}

#[inline(always)]
fn share<T: Real, const FUSED: bool>(score: T, largest: T, gamma: T) -> T {
    ((score - largest) / gamma).exponential::<FUSED>()
}

struct Choose<'a, T> {
    centers: &'a mut Centers<T>,
    scores: &'a [T],
    keys: &'a mut [T],
    lanes: usize,
}

impl<T: Real> WithSimd for Choose<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self { centers, scores, keys, lanes } = self;
        if S::IS_SCALAR {
            centers.choose_all::<false>(scores, keys, lanes);
        } else {
            centers.choose_all::<true>(scores, keys, lanes);
        }
    }
}

struct Give<'a, T> {
    centers: &'a mut Centers<T>,
    slopes: &'a [T],
    scores: &'a mut [T],
    lanes: usize,
}

impl<T: Real> WithSimd for Give<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self { centers, slopes, scores, lanes } = self;
        if S::IS_SCALAR {
            centers.give_all::<false>(slopes, scores, lanes);
        } else {
            centers.give_all::<true>(slopes, scores, lanes);
        }
    }
}
