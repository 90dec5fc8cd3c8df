//! What becomes of the scores of a block where a sum is not of `exp(scale·score)`: scores that are replaced first, and sums
//! of softplus.
//!
//! Scores lie as `[rows, lanes]`, the queries along a row; those that are left out are [`NOTHING`].

use alloc::vec;
use alloc::vec::Vec;

use pulp::{Arch, Simd, WithSimd};

use super::block::larger;
use crate::host::Real;
use crate::math::NOTHING;
use crate::scores::Curve;

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

/// Replaces scores by `cap·tanh(score / cap)`, and writes the slopes of that if there is room.
pub(super) struct Cap<'a, T> {
    pub(super) scores: &'a mut [T],
    pub(super) slopes: &'a mut [T],
    pub(super) cap: T,
}

impl<T: Real> Cap<'_, T> {
    pub(super) fn run(self) {
        Arch::new().dispatch(self);
    }

    #[inline(always)]
    fn cap<const FUSED: bool>(self) {
        let Self { scores, slopes, cap } = self;
        let inverse = cap.recip();
        let (one, two) = (T::one(), T::of(2.0));
        for score in &mut *scores {
            let ratio = *score * inverse;
            // (1 - exp(-2x)) / (1 + exp(-2x)), which near 0 has the absolute precision of 1: that of the cap.
            let small = (-two * ratio.abs()).exponential::<FUSED>();
            let bent = (one - small) / (one + small);
            *score = cap * if ratio < T::zero() { -bent } else { bent };
        }
        for (slope, &score) in slopes.iter_mut().zip(&*scores) {
            let bent = score * inverse;
            *slope = one - bent * bent;
        }
    }
}

impl<T: Real> WithSimd for Cap<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        if S::IS_SCALAR { self.cap::<false>() } else { self.cap::<true>() }
    }
}

/// `softplus(scale·(curve(score) + bias) + offset)` with a bias per key and an offset per query.
#[derive(Clone, Copy)]
pub(super) struct Softplus<'a, T> {
    pub(super) offsets: &'a [T],
    /// One per row of the scores, in units of these, or none.
    pub(super) biases: &'a [T],
    pub(super) scale: T,
    pub(super) curve: Curve,
}

impl<T: Real> Softplus<'_, T> {
    /// Replaces scores by `g_sum·slope`, with the slope by what the curve makes of them, and writes the slopes of the curve if
    /// there is room.
    pub(super) fn weigh(self, scores: &mut [T], slopes: &mut [T], g_sum: &[T]) {
        Arch::new().dispatch(WeighSoftplus { softplus: self, scores, slopes, g_sum });
    }

    /// `((score + 1) / 2)^exponent`
    #[inline(always)]
    fn power<const FUSED: bool>(score: T, exponent: T) -> T {
        let base = larger((score + T::one()) * T::of(0.5), T::of(Curve::SMALLEST_BASE));
        (exponent * base.logarithm::<FUSED>()).exponential::<FUSED>()
    }

    #[inline(always)]
    fn bias(self, row: usize) -> T {
        self.biases.get(row).copied().unwrap_or(T::zero())
    }

    /// The term and its slope by the curve.
    #[inline(always)]
    fn term<const FUSED: bool, const STRAIGHT: bool>(self, score: T, bias: T, offset: T) -> (T, T) {
        let bent = if STRAIGHT {
            score
        } else {
            let power = Self::power::<FUSED>(score, T::of(self.curve.exponent));
            power + power - T::one()
        };
        let score = (bent + bias) * self.scale + offset;
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
        let lanes = softplus.offsets.len();
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
    fn run<const FUSED: bool, const STRAIGHT: bool>(self) {
        let Self { softplus, scores, sum, slopes, active } = self;
        let nothing = T::of(NOTHING);
        sum.fill(T::zero());
        slopes.fill(T::zero());
        active.fill(T::zero());
        for (key, row) in scores.chunks_exact(sum.len()).enumerate() {
            let bias = softplus.bias(key);
            let sums = sum.iter_mut().zip(&mut *slopes).zip(&mut *active);
            for ((&score, &offset), ((sum, slopes), active)) in row.iter().zip(softplus.offsets).zip(sums) {
                let (term, slope) = softplus.term::<FUSED, STRAIGHT>(score, bias, offset);
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
        match (S::IS_SCALAR, self.softplus.curve.is_straight()) {
            (true, true) => self.run::<false, true>(),
            (true, false) => self.run::<false, false>(),
            (false, true) => self.run::<true, true>(),
            (false, false) => self.run::<true, false>(),
        }
    }
}

struct WeighSoftplus<'a, T> {
    softplus: Softplus<'a, T>,
    scores: &'a mut [T],
    slopes: &'a mut [T],
    g_sum: &'a [T],
}

impl<T: Real> WeighSoftplus<'_, T> {
    #[inline(always)]
    fn run<const FUSED: bool, const STRAIGHT: bool>(self) {
        let Self { softplus, scores, slopes, g_sum } = self;
        let exponent = T::of(softplus.curve.exponent);
        for (slope, &score) in slopes.iter_mut().zip(&*scores) {
            *slope = exponent * Softplus::power::<FUSED>(score, exponent - T::one());
        }
        for (key, row) in scores.chunks_exact_mut(g_sum.len()).enumerate() {
            let bias = softplus.bias(key);
            for ((score, &offset), &gradient) in row.iter_mut().zip(softplus.offsets).zip(g_sum) {
                *score = gradient * softplus.term::<FUSED, STRAIGHT>(*score, bias, offset).1;
            }
        }
    }
}

impl<T: Real> WithSimd for WeighSoftplus<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        match (S::IS_SCALAR, self.softplus.curve.is_straight()) {
            (true, true) => self.run::<false, true>(),
            (true, false) => self.run::<false, false>(),
            (false, true) => self.run::<true, true>(),
            (false, false) => self.run::<true, false>(),
        }
    }
}
