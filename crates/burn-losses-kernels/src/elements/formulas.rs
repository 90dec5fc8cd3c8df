//! Value and slopes of every loss, without a branch that a vector instruction cannot take.

use crate::host::Real;

/// A loss of a prediction `x` and a target `y`.
pub(super) trait Formula<T>: Copy + Send + Sync {
    fn value<const FUSED: bool>(self, x: T, y: T) -> T;

    /// By `x` and by `y`.
    fn slopes<const FUSED: bool>(self, x: T, y: T) -> [T; 2];
}

/// Calls `$function` with the formula of an element.
macro_rules! with_formula {
    ($element:expr, $real:ty, |$formula:ident| $body:expr) => {{
        use $crate::elements::formulas::{Answer, Charbonnier, Clipped, LogCosh, Penalty, Plain, Quantile};
        match $element {
            Element::Answer { present, absent, gamma_present: 0.0, gamma_absent: 0.0, clip: 0.0 } => {
                let $formula = Plain::<$real> { present: <$real>::of(present), absent: <$real>::of(absent) };
                $body
            }
            Element::Answer { present, absent, gamma_present, gamma_absent, clip } => {
                let [present, absent, gamma_present, gamma_absent, clip] =
                    [present, absent, gamma_present, gamma_absent, clip].map(<$real>::of);
                let answer = Answer::<$real> { present, absent, gamma_present, gamma_absent };
                if clip == 0.0 {
                    let $formula = answer;
                    $body
                } else {
                    let $formula = Clipped::<$real> { answer, clip };
                    $body
                }
            }
            Element::LogCosh => {
                let $formula = LogCosh;
                $body
            }
            Element::Charbonnier { epsilon } => {
                let $formula = Charbonnier::<$real> { epsilon: <$real>::of(epsilon) };
                $body
            }
            Element::Penalty { absolute, square } => {
                let $formula = Penalty::<$real> { absolute: <$real>::of(absolute), square: <$real>::of(square) };
                $body
            }
            Element::Quantile { quantile } => {
                let $formula = Quantile::<$real> { quantile: <$real>::of(quantile) };
                $body
            }
        }
    }};
}
pub(super) use with_formula;

/// What there is to know of log-odds.
struct Odds<T> {
    /// `p` and `1 - p`, neither rounded from the other.
    yes: T,
    no: T,
    /// `-log(p)` and `-log(1 - p)`.
    log_yes: T,
    log_no: T,
}

impl<T: Real> Odds<T> {
    #[inline(always)]
    fn of<const FUSED: bool>(x: T) -> Self {
        let falling = (-x.abs()).exponential::<FUSED>();
        let bend = falling.log_of_one_more::<FUSED>();
        let high = (T::one() + falling).recip();
        let low = falling * high;
        let positive = x > T::zero();
        // What is no number is none in the bend.
        let up = if positive { x } else { T::zero() };
        let down = if positive { T::zero() } else { -x };
        let (yes, no) = if positive { (high, low) } else { (low, high) };
        Self { yes, no, log_yes: down + bend, log_no: up + bend }
    }
}

/// A yes or no without focus: cross-entropy.
#[derive(Clone, Copy)]
pub(super) struct Plain<T> {
    pub(super) present: T,
    pub(super) absent: T,
}

impl<T: Real> Formula<T> for Plain<T> {
    #[inline(always)]
    fn value<const FUSED: bool>(self, x: T, y: T) -> T {
        let odds = Odds::of::<FUSED>(x);
        self.present * y * odds.log_yes + self.absent * (T::one() - y) * odds.log_no
    }

    #[inline(always)]
    fn slopes<const FUSED: bool>(self, x: T, y: T) -> [T; 2] {
        let odds = Odds::of::<FUSED>(x);
        [
            self.absent * (T::one() - y) * odds.yes - self.present * y * odds.no,
            self.present * odds.log_yes - self.absent * odds.log_no,
        ]
    }
}

/// A yes or no of which the sure ones cost less.
#[derive(Clone, Copy)]
pub(super) struct Answer<T> {
    pub(super) present: T,
    pub(super) absent: T,
    pub(super) gamma_present: T,
    pub(super) gamma_absent: T,
}

impl<T: Real> Answer<T> {
    /// `-(1 - p)^gamma·log(p)` and its slope by the log-odds, given `p`, `1 - p` and their negative logarithms.
    #[inline(always)]
    fn focal<const FUSED: bool>(gamma: T, p: T, rest: T, log_p: T, log_rest: T) -> [T; 2] {
        let factor = (-gamma * log_rest).exponential::<FUSED>();
        [factor * log_p, -factor * (gamma * p * log_p + rest)]
    }

    #[inline(always)]
    fn yes<const FUSED: bool>(self, odds: &Odds<T>) -> [T; 2] {
        let [value, slope] = Self::focal::<FUSED>(self.gamma_present, odds.yes, odds.no, odds.log_yes, odds.log_no);
        [self.present * value, self.present * slope]
    }

    #[inline(always)]
    fn no<const FUSED: bool>(self, odds: &Odds<T>) -> [T; 2] {
        let [value, slope] = Self::focal::<FUSED>(self.gamma_absent, odds.no, odds.yes, odds.log_no, odds.log_yes);
        // By the log-odds of yes.
        [self.absent * value, -self.absent * slope]
    }
}

#[inline(always)]
fn mixed_slopes<T: Real>(y: T, yes: [T; 2], no: [T; 2]) -> [T; 2] {
    [y * yes[1] + (T::one() - y) * no[1], yes[0] - no[0]]
}

impl<T: Real> Formula<T> for Answer<T> {
    #[inline(always)]
    fn value<const FUSED: bool>(self, x: T, y: T) -> T {
        let odds = Odds::of::<FUSED>(x);
        y * self.yes::<FUSED>(&odds)[0] + (T::one() - y) * self.no::<FUSED>(&odds)[0]
    }

    #[inline(always)]
    fn slopes<const FUSED: bool>(self, x: T, y: T) -> [T; 2] {
        let odds = Odds::of::<FUSED>(x);
        mixed_slopes(y, self.yes::<FUSED>(&odds), self.no::<FUSED>(&odds))
    }
}

/// The same, where a no costs nothing below a probability.
#[derive(Clone, Copy)]
pub(super) struct Clipped<T> {
    pub(super) answer: Answer<T>,
    pub(super) clip: T,
}

impl<T: Real> Clipped<T> {
    #[inline(always)]
    fn no<const FUSED: bool>(self, odds: &Odds<T>) -> [T; 2] {
        let Answer { absent, gamma_absent: gamma, .. } = self.answer;
        let shifted = odds.yes - self.clip;
        let free = shifted <= T::zero();
        // What is replaced has a logarithm on both sides.
        let shifted = if free { T::of(0.25) } else { shifted };
        // 1 - shifted, which would be 0 for a small clip.
        let rest = if free { T::of(0.75) } else { odds.no + self.clip };
        // Of small numbers by the logarithm of one more.
        let small = (shifted / rest).log_of_one_more::<FUSED>();
        let log_rest = if shifted < rest { small } else { -rest.logarithm::<FUSED>() };
        let factor = (gamma * shifted.logarithm::<FUSED>()).exponential::<FUSED>();
        let slope = factor * (rest.recip() + gamma * log_rest / shifted) * odds.yes * odds.no;
        let [value, slope] = [absent * factor * log_rest, absent * slope];
        if free { [T::zero(); 2] } else { [value, slope] }
    }
}

impl<T: Real> Formula<T> for Clipped<T> {
    #[inline(always)]
    fn value<const FUSED: bool>(self, x: T, y: T) -> T {
        let odds = Odds::of::<FUSED>(x);
        y * self.answer.yes::<FUSED>(&odds)[0] + (T::one() - y) * self.no::<FUSED>(&odds)[0]
    }

    #[inline(always)]
    fn slopes<const FUSED: bool>(self, x: T, y: T) -> [T; 2] {
        let odds = Odds::of::<FUSED>(x);
        mixed_slopes(y, self.answer.yes::<FUSED>(&odds), self.no::<FUSED>(&odds))
    }
}

#[derive(Clone, Copy)]
pub(super) struct LogCosh;

impl<T: Real> Formula<T> for LogCosh {
    #[inline(always)]
    fn value<const FUSED: bool>(self, x: T, y: T) -> T {
        let magnitude = (x - y).abs();
        let falling = (-(magnitude + magnitude)).exponential::<FUSED>();
        magnitude + (falling.log_of_one_more::<FUSED>() - T::of(core::f64::consts::LN_2))
    }

    #[inline(always)]
    fn slopes<const FUSED: bool>(self, x: T, y: T) -> [T; 2] {
        let error = x - y;
        let magnitude = error.abs();
        let falling = (-(magnitude + magnitude)).exponential::<FUSED>();
        let size = (T::one() - falling) / (T::one() + falling);
        let slope = if error < T::zero() { -size } else { size };
        [slope, -slope]
    }
}

#[derive(Clone, Copy)]
pub(super) struct Charbonnier<T> {
    pub(super) epsilon: T,
}

impl<T: Real> Charbonnier<T> {
    /// The larger of error and bend, and both as shares of it.
    #[inline(always)]
    fn shares(self, error: T) -> [T; 3] {
        let size = error.abs();
        // In this order what is no number stays.
        let largest = if size < self.epsilon { self.epsilon } else { size };
        [largest, error / largest, self.epsilon / largest]
    }
}

impl<T: Real> Formula<T> for Charbonnier<T> {
    #[inline(always)]
    fn value<const FUSED: bool>(self, x: T, y: T) -> T {
        let [largest, error, bend] = self.shares(x - y);
        (error * error + bend * bend).sqrt() * largest
    }

    #[inline(always)]
    fn slopes<const FUSED: bool>(self, x: T, y: T) -> [T; 2] {
        let [_, error, bend] = self.shares(x - y);
        let slope = error / (error * error + bend * bend).sqrt();
        [slope, -slope]
    }
}

#[derive(Clone, Copy)]
pub(super) struct Quantile<T> {
    pub(super) quantile: T,
}

impl<T: Real> Formula<T> for Quantile<T> {
    #[inline(always)]
    fn value<const FUSED: bool>(self, x: T, y: T) -> T {
        let shortfall = y - x;
        shortfall * (if shortfall > T::zero() { self.quantile } else { self.quantile - T::one() })
    }

    #[inline(always)]
    fn slopes<const FUSED: bool>(self, x: T, y: T) -> [T; 2] {
        let shortfall = y - x;
        let slope = if shortfall > T::zero() { self.quantile } else { self.quantile - T::one() };
        let slope = if shortfall == T::zero() { T::zero() } else { slope };
        let slope = if shortfall.is_nan() { shortfall } else { slope };
        [-slope, slope]
    }
}

#[derive(Clone, Copy)]
pub(super) struct Penalty<T> {
    pub(super) absolute: T,
    pub(super) square: T,
}

impl<T: Real> Penalty<T> {
    /// 0 times infinity is 0 here.
    #[inline(always)]
    fn times(factor: T, number: T) -> T {
        if factor == T::zero() { T::zero() } else { factor * number }
    }
}

impl<T: Real> Formula<T> for Penalty<T> {
    #[inline(always)]
    fn value<const FUSED: bool>(self, x: T, y: T) -> T {
        let error = x - y;
        Self::times(self.absolute, error.abs()) + Self::times(self.square * T::of(0.5), error * error)
    }

    #[inline(always)]
    fn slopes<const FUSED: bool>(self, x: T, y: T) -> [T; 2] {
        let error = x - y;
        let sign = if error > T::zero() { self.absolute } else { -self.absolute };
        let sign = if error == T::zero() { T::zero() } else { sign };
        let slope = sign + Self::times(self.square, error);
        [slope, -slope]
    }
}
