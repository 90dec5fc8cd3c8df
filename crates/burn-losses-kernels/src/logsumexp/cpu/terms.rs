//! What becomes of the scores of a block where a sum is not of `exp(scale·score)`: scores that are replaced first, and sums
//! of softplus.
//!
//! Scores lie as `[rows, lanes]`, the queries along a row; those that are left out are [`NOTHING`].

use alloc::vec;
use alloc::vec::Vec;

use pulp::{Arch, Simd, WithSimd};

use super::block::larger;
use super::exponential::Real;
use crate::math::NOTHING;

/// Replaces scores above the threshold of their query by `quadratic·score² + linear·score + constant`, and writes the slopes
/// of that if there is room.
pub(super) struct Reweigh<'a, T> {
    pub(super) scores: &'a mut [T],
    pub(super) slopes: &'a mut [T],
    pub(super) thresholds: &'a [T],
    pub(super) quadratic: T,
    pub(super) linear: &'a [T],
    pub(super) constants: &'a [T],
}

impl<T: Real> Reweigh<'_, T> {
    pub(super) fn run(self) {
        Arch::new().dispatch(self);
    }
}

impl<T: Real> WithSimd for Reweigh<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self { scores, slopes, thresholds, quadratic, linear, constants } = self;
        let (lanes, nothing) = (thresholds.len(), T::of(NOTHING));
        for (row, slopes) in scores.chunks_exact(lanes).zip(slopes.chunks_exact_mut(lanes)) {
            for (((slope, &score), &threshold), &linear) in slopes.iter_mut().zip(row).zip(thresholds).zip(linear) {
                let steep = (quadratic + quadratic) * score + linear;
                *slope = if score > threshold { steep } else { T::one() };
            }
        }
        for row in scores.chunks_exact_mut(lanes) {
            let of_queries = thresholds.iter().zip(linear).zip(constants);
            for (score, ((&threshold, &linear), &constant)) in row.iter_mut().zip(of_queries) {
                let replaced = (quadratic * *score + linear) * *score + constant;
                let is_hard = *score > threshold && *score > nothing;
                *score = if is_hard { replaced } else { *score };
            }
        }
    }
}

/// Replaces scores by `max(score + reach, 0)·(score - goal)`, and writes the first factors if there is room.
pub(super) struct Pace<'a, T> {
    pub(super) scores: &'a mut [T],
    pub(super) slopes: &'a mut [T],
    pub(super) reach: T,
    pub(super) goal: T,
}

impl<T: Real> Pace<'_, T> {
    pub(super) fn run(self) {
        Arch::new().dispatch(self);
    }
}

impl<T: Real> WithSimd for Pace<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self { scores, slopes, reach, goal } = self;
        let nothing = T::of(NOTHING);
        for (slope, &score) in slopes.iter_mut().zip(&*scores) {
            *slope = larger(score + reach, T::zero());
        }
        for score in scores {
            let paced = larger(*score + reach, T::zero()) * (*score - goal);
            *score = if *score == nothing { nothing } else { paced };
        }
    }
}

/// `softplus(scale·curve(score) - bias)` with a bias per query.
#[derive(Clone, Copy)]
pub(super) struct Softplus<'a, T> {
    pub(super) biases: &'a [T],
    pub(super) scale: T,
    pub(super) exponent: T,
    /// Whether the slope of the curve counts as 1.
    pub(super) detached: bool,
}

/// Where `(score + 1) / 2` is smaller, its power is 0 in every precision, and its slope would be infinite.
const SMALLEST_BASE: f64 = 1e-30;

impl<T: Real> Softplus<'_, T> {
    /// Replaces scores by `g_others·slope`.
    pub(super) fn weigh(self, scores: &mut [T], g_others: &[T]) {
        Arch::new().dispatch(WeighSoftplus { softplus: self, scores, g_others });
    }

    #[inline(always)]
    fn base(self, score: T) -> T {
        larger((score + T::one()) * T::of(0.5), T::of(SMALLEST_BASE))
    }

    /// The term and its slope by the curve.
    #[inline(always)]
    fn term<const FUSED: bool>(self, score: T, bias: T) -> (T, T) {
        let bent = if self.exponent == T::one() {
            score
        } else {
            let power = self.base(score).powf(self.exponent);
            power + power - T::one()
        };
        let score = bent * self.scale - bias;
        let small = (-score.abs()).exponential::<FUSED>();
        let term = larger(score, T::zero()) + small.log_of_one_more::<FUSED>();
        let top = if score < T::zero() { small } else { T::one() };
        (term, top / (T::one() + small))
    }
}

/// Sums of softplus, `[lanes]` each.
pub(super) struct SoftplusSums<T> {
    pub(super) sum: Vec<T>,
    /// Of the slopes.
    pub(super) slopes: Vec<T>,
    /// How many terms are not 0.
    pub(super) active: Vec<T>,
}

impl<T: Real> SoftplusSums<T> {
    pub(super) fn new(lanes: usize) -> Self {
        let numbers = || vec![T::zero(); lanes];
        Self { sum: numbers(), slopes: numbers(), active: numbers() }
    }

    /// Adds the terms of a block to those of the queries from `first` on. The block has a sum of its own first, in `block`: a
    /// hundred thousand numbers added one by one would lose digits.
    pub(super) fn add(&mut self, softplus: Softplus<'_, T>, scores: &[T], first: usize, block: &mut Self) {
        let lanes = softplus.biases.len();
        let of_block = [&mut block.sum, &mut block.slopes, &mut block.active].map(|numbers| &mut numbers[..lanes]);
        let [sum, slopes, active] = of_block;
        Arch::new().dispatch(AddSoftplus { softplus, scores, sum, slopes, active });
        for (all, of_block) in
            [(&mut self.sum, &block.sum), (&mut self.slopes, &block.slopes), (&mut self.active, &block.active)]
        {
            all[first..first + lanes].iter_mut().zip(of_block).for_each(|(all, &of_block)| *all = *all + of_block);
        }
    }
}

struct AddSoftplus<'a, T> {
    softplus: Softplus<'a, T>,
    scores: &'a [T],
    sum: &'a mut [T],
    slopes: &'a mut [T],
    active: &'a mut [T],
}

impl<T: Real> AddSoftplus<'_, T> {
    #[inline(always)]
    fn run<const FUSED: bool>(self) {
        let Self { softplus, scores, sum, slopes, active } = self;
        let nothing = T::of(NOTHING);
        sum.fill(T::zero());
        slopes.fill(T::zero());
        active.fill(T::zero());
        for row in scores.chunks_exact(sum.len()) {
            let sums = sum.iter_mut().zip(&mut *slopes).zip(&mut *active);
            for ((&score, &bias), ((sum, slopes), active)) in row.iter().zip(softplus.biases).zip(sums) {
                let (term, slope) = softplus.term::<FUSED>(score, bias);
                let counts = score != nothing;
                *sum = *sum + if counts { term } else { T::zero() };
                *slopes = *slopes + if counts { slope } else { T::zero() };
                *active = *active + if counts && term != T::zero() { T::one() } else { T::zero() };
            }
        }
    }
}

impl<T: Real> WithSimd for AddSoftplus<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        if S::IS_SCALAR { self.run::<false>() } else { self.run::<true>() }
    }
}

struct WeighSoftplus<'a, T> {
    softplus: Softplus<'a, T>,
    scores: &'a mut [T],
    g_others: &'a [T],
}

impl<T: Real> WeighSoftplus<'_, T> {
    #[inline(always)]
    fn run<const FUSED: bool>(self) {
        let Self { softplus, scores, g_others } = self;
        let curved = !softplus.detached && softplus.exponent != T::one();
        for row in scores.chunks_exact_mut(g_others.len()) {
            for ((score, &bias), &gradient) in row.iter_mut().zip(softplus.biases).zip(g_others) {
                let (_, slope) = softplus.term::<FUSED>(*score, bias);
                let of_curve = if curved {
                    softplus.exponent * softplus.base(*score).powf(softplus.exponent - T::one())
                } else {
                    T::one()
                };
                *score = gradient * slope * of_curve;
            }
        }
    }
}

impl<T: Real> WithSimd for WeighSoftplus<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        if S::IS_SCALAR { self.run::<false>() } else { self.run::<true>() }
    }
}
