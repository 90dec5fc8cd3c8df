//! Value and slopes of every loss as a unit of a GPU computes them; what `formulas.rs` is for vector instructions.

use cubecl::prelude::*;

use super::super::Element;
use super::super::backend::Side;

/// An [`Element`] as far as it is compiled into a kernel; its numbers come when it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Formula {
    /// Numbers: `present`, `absent`, `gamma_present`, `gamma_absent` and `clip`.
    Answer { focused: bool, clipped: bool },
    /// The logarithm of 2.
    LogCosh,
    /// `epsilon`.
    Charbonnier,
    /// `quantile`.
    Quantile,
    /// `absolute` and `square`; what is 0 is left out, also of infinity.
    Penalty { absolute: bool, square: bool },
    /// The prediction, whatever the target is.
    Same,
}

/// What a [`Formula`] needs, in that order.
#[derive(CubeType, CubeLaunch)]
pub(super) struct Numbers {
    first: InputScalar,
    second: InputScalar,
    third: InputScalar,
    fourth: InputScalar,
    fifth: InputScalar,
}

impl Formula {
    pub(super) fn of(element: Element) -> (Self, [f64; 5]) {
        match element {
            Element::Answer { present, absent, gamma_present, gamma_absent, clip } => {
                let focused = gamma_present != 0.0 || gamma_absent != 0.0;
                let formula = Self::Answer { focused, clipped: clip != 0.0 };
                (formula, [present, absent, gamma_present, gamma_absent, clip])
            }
            Element::LogCosh => (Self::LogCosh, [core::f64::consts::LN_2, 0.0, 0.0, 0.0, 0.0]),
            Element::Charbonnier { epsilon } => (Self::Charbonnier, [epsilon, 0.0, 0.0, 0.0, 0.0]),
            Element::Quantile { quantile } => (Self::Quantile, [quantile, 0.0, 0.0, 0.0, 0.0]),
            Element::Penalty { absolute, square } => {
                let formula = Self::Penalty { absolute: absolute != 0.0, square: square != 0.0 };
                (formula, [absolute, square, 0.0, 0.0, 0.0])
            }
        }
    }
}

/// The loss of a prediction `x` and its target `y`.
#[cube]
pub(super) fn value<F: Float>(x: F, y: F, numbers: &Numbers, #[comptime] formula: Formula) -> F {
    let one = F::new(1.0_f32);
    let zero = F::new(0.0_f32);
    let mut value = x;
    if comptime!(matches!(formula, Formula::Answer { .. })) {
        let answer = answer::<F>(x, numbers, formula);
        value = y * answer.yes + (one - y) * answer.no;
    } else if comptime!(formula == Formula::LogCosh) {
        let magnitude = (x - y).abs();
        value = magnitude + ((-(magnitude + magnitude)).exp().log1p() - numbers.first.get::<F>());
    } else if comptime!(formula == Formula::Charbonnier) {
        let shares = shares::<F>(x - y, numbers.first.get::<F>());
        value = shares.root() * shares.largest;
    } else if comptime!(formula == Formula::Quantile) {
        let shortfall = y - x;
        let quantile = numbers.first.get::<F>();
        value = shortfall * select(shortfall > zero, quantile, quantile - one);
    } else if comptime!(matches!(formula, Formula::Penalty { .. })) {
        let error = x - y;
        value = zero;
        if comptime!(matches!(formula, Formula::Penalty { absolute: true, .. })) {
            value += numbers.first.get::<F>() * error.abs();
        }
        if comptime!(matches!(formula, Formula::Penalty { square: true, .. })) {
            value += numbers.second.get::<F>() * F::new(0.5_f32) * (error * error);
        }
    }
    value
}

/// The slope of [`value`] by one side.
#[cube]
pub(super) fn slope<F: Float>(
    x: F,
    y: F,
    numbers: &Numbers,
    #[comptime] formula: Formula,
    #[comptime] side: Side,
) -> F {
    if comptime!(matches!(formula, Formula::Answer { .. })) {
        let answer = answer::<F>(x, numbers, formula);
        if comptime!(side == Side::Predictions) {
            y * answer.yes_slope + (F::new(1.0_f32) - y) * answer.no_slope
        } else {
            answer.yes - answer.no
        }
    } else {
        let slope = slope_of_error::<F>(x - y, numbers, formula);
        if comptime!(side == Side::Targets) { -slope } else { slope }
    }
}

/// The slope of a loss of nothing but `error = x - y`.
#[cube]
fn slope_of_error<F: Float>(error: F, numbers: &Numbers, #[comptime] formula: Formula) -> F {
    let one = F::new(1.0_f32);
    let zero = F::new(0.0_f32);
    let mut slope = one;
    if comptime!(formula == Formula::LogCosh) {
        let magnitude = error.abs();
        let falling = (-(magnitude + magnitude)).exp();
        let size = (one - falling) / (one + falling);
        slope = select(error < zero, -size, size);
    } else if comptime!(formula == Formula::Charbonnier) {
        let shares = shares::<F>(error, numbers.first.get::<F>());
        slope = shares.error / shares.root();
    } else if comptime!(formula == Formula::Quantile) {
        let quantile = numbers.first.get::<F>();
        slope = by_sign::<F>(error, one - quantile, -quantile);
    } else if comptime!(matches!(formula, Formula::Penalty { .. })) {
        slope = zero;
        if comptime!(matches!(formula, Formula::Penalty { absolute: true, .. })) {
            let absolute = numbers.first.get::<F>();
            slope += by_sign::<F>(error, absolute, -absolute);
        }
        if comptime!(matches!(formula, Formula::Penalty { square: true, .. })) {
            slope += numbers.second.get::<F>() * error;
        }
    }
    slope
}

/// What 0 is becomes 0, and what is no number stays none.
#[cube]
fn by_sign<F: Float>(number: F, positive: F, negative: F) -> F {
    let zero = F::new(0.0_f32);
    select(number > zero, positive, select(number < zero, negative, number))
}

/// What a yes and a no cost, and their slopes by the log-odds.
#[derive(CubeType, Clone, Copy)]
struct Answer<F: Float> {
    yes: F,
    no: F,
    yes_slope: F,
    no_slope: F,
}

#[cube]
fn answer<F: Float>(x: F, numbers: &Numbers, #[comptime] formula: Formula) -> Answer<F> {
    let odds = odds::<F>(x);
    let present = numbers.first.get::<F>();
    let absent = numbers.second.get::<F>();
    let yes = focal::<F>(&odds, numbers.third.get::<F>(), formula);
    let no = if comptime!(matches!(formula, Formula::Answer { clipped: true, .. })) {
        clipped::<F>(&odds, numbers.fourth.get::<F>(), numbers.fifth.get::<F>(), formula)
    } else {
        focal::<F>(&odds.turned(), numbers.fourth.get::<F>(), formula)
    };
    Answer::<F> {
        yes: present * yes.value,
        no: absent * no.value,
        yes_slope: present * yes.slope,
        // By the log-odds of yes.
        no_slope: -(absent * no.slope),
    }
}

/// What there is to know of log-odds.
#[derive(CubeType, Clone, Copy)]
struct Odds<F: Float> {
    /// `p` and `1 - p`, neither rounded from the other.
    yes: F,
    no: F,
    /// `-log(p)` and `-log(1 - p)`.
    log_yes: F,
    log_no: F,
}

#[cube]
fn odds<F: Float>(x: F) -> Odds<F> {
    let one = F::new(1.0_f32);
    let zero = F::new(0.0_f32);
    let falling = (-x.abs()).exp();
    // What is no number is none in the bend.
    let bend = falling.log1p();
    let high = one / (one + falling);
    let low = falling * high;
    let positive = x > zero;
    Odds::<F> {
        yes: select(positive, high, low),
        no: select(positive, low, high),
        log_yes: select(positive, zero, -x) + bend,
        log_no: select(positive, x, zero) + bend,
    }
}

#[cube]
impl<F: Float> Odds<F> {
    /// Those of the opposite.
    fn turned(&self) -> Self {
        Odds::<F> { yes: self.no, no: self.yes, log_yes: self.log_no, log_no: self.log_yes }
    }
}

/// A cost and its slope by the log-odds of what it is the cost of.
#[derive(CubeType, Clone, Copy)]
struct Cost<F: Float> {
    value: F,
    slope: F,
}

/// `-(1 - p)^gamma·log(p)`.
#[cube]
fn focal<F: Float>(odds: &Odds<F>, gamma: F, #[comptime] formula: Formula) -> Cost<F> {
    if comptime!(matches!(formula, Formula::Answer { focused: true, .. })) {
        let factor = (-(gamma * odds.log_no)).exp();
        let slope = -(factor * (gamma * odds.yes * odds.log_yes + odds.no));
        Cost::<F> { value: factor * odds.log_yes, slope }
    } else {
        Cost::<F> { value: odds.log_yes, slope: -odds.no }
    }
}

/// `-s^gamma·log(1 - s)` of `s = max(p - clip, 0)`, its slope by the log-odds of the opposite.
#[cube]
fn clipped<F: Float>(odds: &Odds<F>, gamma: F, clip: F, #[comptime] formula: Formula) -> Cost<F> {
    let one = F::new(1.0_f32);
    let zero = F::new(0.0_f32);
    let difference = odds.yes - clip;
    let free = difference <= zero;
    // What is replaced has a logarithm on both sides.
    let shifted = select(free, F::new(0.25_f32), difference);
    // 1 - shifted, which would be 0 for a small clip.
    let rest = select(free, F::new(0.75_f32), odds.no + clip);
    // Of small numbers by the logarithm of one more.
    let log_rest = select(shifted < rest, (shifted / rest).log1p(), -rest.ln());
    let mut factor = one;
    let mut bend = zero;
    if comptime!(matches!(formula, Formula::Answer { focused: true, .. })) {
        factor = (gamma * shifted.ln()).exp();
        bend = gamma * log_rest / shifted;
    }
    let slope = -(factor * (one / rest + bend) * odds.yes * odds.no);
    Cost::<F> { value: select(free, zero, factor * log_rest), slope: select(free, zero, slope) }
}

/// The larger of error and bend, and both as shares of it.
#[derive(CubeType, Clone, Copy)]
struct Shares<F: Float> {
    largest: F,
    error: F,
    bend: F,
}

#[cube]
fn shares<F: Float>(error: F, epsilon: F) -> Shares<F> {
    let size = error.abs();
    // In this order what is no number stays.
    let largest = select(size < epsilon, epsilon, size);
    Shares::<F> { largest, error: error / largest, bend: epsilon / largest }
}

#[cube]
impl<F: Float> Shares<F> {
    fn root(&self) -> F {
        (self.error * self.error + self.bend * self.bend).sqrt()
    }
}
