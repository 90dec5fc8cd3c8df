//! Every distance of two rows, and its slope by the first of them.

use crate::host::Real;

/// Numbers that are reduced side by side.
const LANES: usize = 16;
/// What is smaller, as a share of the largest difference of a row or by itself, counts as 0 in a power.
const VANISHING: f64 = 1e-30;

pub(super) trait Distance<T>: Copy + Send + Sync {
    fn of<const FUSED: bool>(self, a: &[T], b: &[T]) -> T;

    /// Adds the slope by `a`, times `gradient`, to `into`. `distance` is that of the rows.
    fn add_slope<const FUSED: bool>(self, a: &[T], b: &[T], distance: T, gradient: T, into: &mut [T]);
}

/// `fold` over the differences of two rows, in lanes, which `join` puts together.
#[inline(always)]
fn reduced<T: Real>(a: &[T], b: &[T], first: T, fold: impl Fn(T, T) -> T, join: impl Fn(T, T) -> T) -> T {
    let mut lanes = [first; LANES];
    let (mut a, mut b) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    for (a, b) in (&mut a).zip(&mut b) {
        for ((lane, &a), &b) in lanes.iter_mut().zip(a).zip(b) {
            *lane = fold(*lane, (a - b).abs());
        }
    }
    for ((lane, &a), &b) in lanes.iter_mut().zip(a.remainder()).zip(b.remainder()) {
        *lane = fold(*lane, (a - b).abs());
    }
    lanes.into_iter().fold(first, join)
}

/// 1, -1, 0 for 0, and NaN for NaN.
#[inline(always)]
fn sign<T: Real>(number: T) -> T {
    if number == T::zero() { T::zero() } else { number.signum() }
}

#[derive(Clone, Copy)]
pub(super) struct Sum;

impl<T: Real> Distance<T> for Sum {
    #[inline(always)]
    fn of<const FUSED: bool>(self, a: &[T], b: &[T]) -> T {
        reduced(a, b, T::zero(), |sum, difference| sum + difference, |sum, part| sum + part)
    }

    #[inline(always)]
    fn add_slope<const FUSED: bool>(self, a: &[T], b: &[T], _: T, gradient: T, into: &mut [T]) {
        for ((into, &a), &b) in into.iter_mut().zip(a).zip(b) {
            *into = *into + gradient * sign(a - b);
        }
    }
}

#[derive(Clone, Copy)]
pub(super) struct Different;

impl<T: Real> Distance<T> for Different {
    #[inline(always)]
    fn of<const FUSED: bool>(self, a: &[T], b: &[T]) -> T {
        // Infinity differs by one, and what is no number stays none.
        let count = |difference: T| {
            let one = if difference == T::zero() { T::zero() } else { T::one() };
            if difference.is_nan() { difference } else { one }
        };
        reduced(a, b, T::zero(), |sum, difference| sum + count(difference), |sum, part| sum + part)
    }

    #[inline(always)]
    fn add_slope<const FUSED: bool>(self, _: &[T], _: &[T], _: T, _: T, _: &mut [T]) {}
}

/// The largest difference, or the smallest.
#[derive(Clone, Copy)]
pub(super) struct Extreme {
    pub(super) largest: bool,
}

impl Extreme {
    /// What is no number wins.
    #[inline(always)]
    fn better<T: Real>(self, one: T, other: T) -> T {
        let wins = if self.largest { other > one } else { other < one };
        if wins || other.is_nan() { other } else { one }
    }
}

impl<T: Real> Distance<T> for Extreme {
    #[inline(always)]
    fn of<const FUSED: bool>(self, a: &[T], b: &[T]) -> T {
        let first = if self.largest { T::zero() } else { T::infinity() };
        reduced(a, b, first, |one, other| self.better(one, other), |one, other| self.better(one, other))
    }

    #[inline(always)]
    fn add_slope<const FUSED: bool>(self, a: &[T], b: &[T], distance: T, gradient: T, into: &mut [T]) {
        if let Some(place) = (0..a.len()).find(|&place| (a[place] - b[place]).abs() == distance) {
            into[place] = into[place] + gradient * sign(a[place] - b[place]);
        }
    }
}

#[derive(Clone, Copy)]
pub(super) struct Euclidean;

impl<T: Real> Distance<T> for Euclidean {
    #[inline(always)]
    fn of<const FUSED: bool>(self, a: &[T], b: &[T]) -> T {
        let largest = Extreme { largest: true }.of::<FUSED>(a, b);
        if largest < T::of(VANISHING) {
            return T::zero();
        }
        let square = |difference: T| (difference / largest) * (difference / largest);
        let sum = reduced(a, b, T::zero(), |sum, difference| sum + square(difference), |sum, part| sum + part);
        sum.sqrt() * largest
    }

    #[inline(always)]
    fn add_slope<const FUSED: bool>(self, a: &[T], b: &[T], distance: T, gradient: T, into: &mut [T]) {
        if distance == T::zero() {
            return;
        }
        for ((into, &a), &b) in into.iter_mut().zip(a).zip(b) {
            *into = *into + gradient * ((a - b) / distance);
        }
    }
}

#[derive(Clone, Copy)]
pub(super) struct Power<T> {
    pub(super) p: T,
}

impl<T: Real> Power<T> {
    /// `(difference / largest)^exponent`; 0 where there is next to no difference.
    #[inline(always)]
    fn share<const FUSED: bool>(difference: T, largest: T, exponent: T) -> T {
        let share = difference / largest;
        let none = share < T::of(VANISHING);
        let share = if none { T::one() } else { share };
        let power = (exponent * share.logarithm::<FUSED>()).exponential::<FUSED>();
        if none { T::zero() } else { power }
    }

    #[inline(always)]
    fn largest<const FUSED: bool>(a: &[T], b: &[T]) -> T {
        Extreme { largest: true }.of::<FUSED>(a, b)
    }
}

impl<T: Real> Distance<T> for Power<T> {
    #[inline(always)]
    fn of<const FUSED: bool>(self, a: &[T], b: &[T]) -> T {
        let largest = Self::largest::<FUSED>(a, b);
        if largest < T::of(VANISHING) {
            return T::zero();
        }
        let fold = |sum: T, difference: T| sum + Self::share::<FUSED>(difference, largest, self.p);
        let sum = reduced(a, b, T::zero(), fold, |sum, part| sum + part);
        (sum.logarithm::<FUSED>() / self.p).exponential::<FUSED>() * largest
    }

    #[inline(always)]
    fn add_slope<const FUSED: bool>(self, a: &[T], b: &[T], distance: T, gradient: T, into: &mut [T]) {
        let largest = Self::largest::<FUSED>(a, b);
        if largest < T::of(VANISHING) {
            return;
        }
        // (difference / distance)^(p - 1), each as a share of the largest difference.
        let exponent = self.p - T::one();
        let whole = ((T::zero() - exponent) * (distance / largest).logarithm::<FUSED>()).exponential::<FUSED>();
        for ((into, &a), &b) in into.iter_mut().zip(a).zip(b) {
            let difference = a - b;
            let slope = Self::share::<FUSED>(difference.abs(), largest, exponent) * whole;
            *into = *into + gradient * sign(difference) * slope;
        }
    }
}
