//! `exp` and `ln(1 + x)` that a compiler can turn into vector instructions: no branch, no call, no table.

use core::fmt::Debug;

use num_traits::Float;

/// The precisions the operation works in.
pub(crate) trait Real: Float + Debug + Send + Sync + 'static {
    /// `e^self` to two units in the last place; 0 below the smallest normal number, and NaN for NaN. Above the largest
    /// number it stays there, finite.
    ///
    /// `FUSED` multiplies and adds in one instruction; a processor without it would call a function.
    fn exponential<const FUSED: bool>(self) -> Self;

    /// `ln(1 + self)` to two units in the last place, for a number in `[0, 1]`; NaN for NaN.
    fn log_of_one_more<const FUSED: bool>(self) -> Self;

    /// `ln(self)` to four units in the last place, for a normal number above 0; of another, a number or none.
    fn logarithm<const FUSED: bool>(self) -> Self;

    fn of(number: f64) -> Self;
}

/// `e^x = 2^n·e^r` with `n` the nearest integer to `x / ln 2`, and the Taylor series for `|r| <= ln(2) / 2`;
/// `ln(1 + x) = 2·artanh(z)` with `z = x / (2 + x)`, and the series `z + z³/3 + z⁵/5 + ..` for `z <= 1/3`.
macro_rules! real {
    ($real:ident, $bits:ty, $signed:ty, mantissa: $mantissa:expr, ln2: ($high:expr, $low:expr), range: ($smallest:expr, $largest:expr),
     series: [$($factor:expr),+], odd: [$($odd:expr),+]) => {
        impl Real for $real {
            #[inline(always)]
            #[allow(clippy::excessive_precision, reason = "the parts of ln 2 are what they are")]
            fn exponential<const FUSED: bool>(self) -> Self {
                // Adding this rounds to an integer, which then stands in the lowest bits.
                const ROUND: $real = 1.5 * (1_u64 << $mantissa) as $real;
                const BIAS: $bits = (<$real>::MAX_EXP - 1) as $bits;

                let x = if self < $smallest { $smallest } else { self };
                let x = if x > $largest { $largest } else { x };
                let multiply_add = |a: $real, b: $real, c: $real| if FUSED { a.mul_add(b, c) } else { a * b + c };
                let rounded = multiply_add(x, <$real>::consts_log2_e(), ROUND);
                let n = rounded - ROUND;
                let r = multiply_add(n, -$low, multiply_add(n, -$high, x));
                let mut series: $real = 0.0;
                $(series = multiply_add(series, r, $factor);)+
                let power = <$real>::from_bits((rounded.to_bits() << $mantissa).wrapping_add(BIAS << $mantissa));
                if self < $smallest { 0.0 } else { series * power }
            }

            #[inline(always)]
            fn log_of_one_more<const FUSED: bool>(self) -> Self {
                let multiply_add = |a: $real, b: $real, c: $real| if FUSED { a.mul_add(b, c) } else { a * b + c };
                let z = self / (self + 2.0);
                let square = z * z;
                let mut series: $real = 0.0;
                $(series = multiply_add(series, square, 1.0 / $odd);)+
                2.0 * z * series
            }

            #[inline(always)]
            #[allow(clippy::excessive_precision, reason = "the parts of ln 2 are what they are")]
            fn logarithm<const FUSED: bool>(self) -> Self {
                // 2^power·rest with rest in [sqrt(1/2), sqrt(2)).
                const HALF_OCTAVE: $bits = core::$real::consts::FRAC_1_SQRT_2.to_bits();
                let multiply_add = |a: $real, b: $real, c: $real| if FUSED { a.mul_add(b, c) } else { a * b + c };
                let above = self.to_bits().wrapping_sub(HALF_OCTAVE);
                // Of a number above 0, no more than the exponent is left, with its sign.
                let power = (above as $signed >> $mantissa) as $real;
                let rest = <$real>::from_bits((above & ((1 << $mantissa) - 1)).wrapping_add(HALF_OCTAVE));
                let z = (rest - 1.0) / (rest + 1.0);
                let square = z * z;
                let mut series: $real = 0.0;
                $(series = multiply_add(series, square, 1.0 / $odd);)+
                multiply_add(power, $high, multiply_add(power, $low, 2.0 * z * series))
            }

            #[inline(always)]
            fn of(number: f64) -> Self {
                number as $real
            }
        }
    };
}

trait Constants {
    fn consts_log2_e() -> Self;
}

impl Constants for f32 {
    #[inline(always)]
    fn consts_log2_e() -> Self {
        core::f32::consts::LOG2_E
    }
}

impl Constants for f64 {
    #[inline(always)]
    fn consts_log2_e() -> Self {
        core::f64::consts::LOG2_E
    }
}

// The high parts of ln 2 have so few bits that their product with any n is exact.
real!(
    f32, u32, i32, mantissa: 23, ln2: (0.693_359_375, -2.121_944_4e-4), range: (-87.33, 88.0),
    series: [1.0 / 5040.0, 1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0],
    odd: [13.0, 11.0, 9.0, 7.0, 5.0, 3.0, 1.0]
);
real!(
    f64, u64, i64, mantissa: 52, ln2: (6.931_471_803_691_238_16e-1, 1.908_214_929_270_587_7e-10), range: (-708.39, 709.0),
    series: [
        1.0 / 6_227_020_800.0, 1.0 / 479_001_600.0, 1.0 / 39_916_800.0, 1.0 / 3_628_800.0, 1.0 / 362_880.0,
        1.0 / 40_320.0, 1.0 / 5040.0, 1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0
    ],
    odd: [31.0, 29.0, 27.0, 25.0, 23.0, 21.0, 19.0, 17.0, 15.0, 13.0, 11.0, 9.0, 7.0, 5.0, 3.0, 1.0]
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_the_standard_library_over_the_whole_range() {
        let (mut worst_single, mut worst_double) = (0.0_f64, 0.0_f64);
        for step in 0..400_000 {
            let x = -87.0 + f64::from(step) * (175.0 / 400_000.0);
            let single = x as f32;
            let exact = f64::from(single).exp();
            for single in [single.exponential::<false>(), single.exponential::<true>()] {
                worst_single = worst_single.max((f64::from(single) / exact - 1.0).abs());
            }
            let x = x * 8.0;
            for double in [x.exponential::<false>(), x.exponential::<true>()] {
                worst_double = worst_double.max((double / x.exp() - 1.0).abs());
            }
        }
        assert!(worst_single <= 2.0 * f64::from(f32::EPSILON), "{worst_single:e}");
        assert!(worst_double <= 2.0 * f64::EPSILON, "{worst_double:e}");
    }

    #[test]
    fn the_logarithm_agrees_with_the_standard_library_over_its_range() {
        let (mut worst_single, mut worst_double) = (0.0_f64, 0.0_f64);
        for step in 0..=100_000 {
            // Small numbers too, where `1 + x` would lose them.
            let x = (f64::from(step) / 100_000.0).powi(5).max(1e-30);
            let single = x as f32;
            let exact = f64::from(single).ln_1p();
            for single in [single.log_of_one_more::<false>(), single.log_of_one_more::<true>()] {
                worst_single = worst_single.max((f64::from(single) / exact - 1.0).abs());
            }
            for double in [x.log_of_one_more::<false>(), x.log_of_one_more::<true>()] {
                worst_double = worst_double.max((double / x.ln_1p() - 1.0).abs());
            }
        }
        assert!(worst_single <= 2.0 * f64::from(f32::EPSILON), "{worst_single:e}");
        assert!(worst_double <= 2.0 * f64::EPSILON, "{worst_double:e}");
        assert_eq!(0.0_f32.log_of_one_more::<true>(), 0.0);
        assert!(f64::NAN.log_of_one_more::<false>().is_nan());
    }

    #[test]
    fn the_logarithm_of_any_number_agrees_with_the_standard_library() {
        let (mut worst_single, mut worst_double) = (0.0_f64, 0.0_f64);
        for step in 0..200_000 {
            let x = 10.0_f64.powf(-37.0 + f64::from(step) * (74.0 / 200_000.0));
            for x in [x, 0.5 + f64::from(step) * 1e-5] {
                let single = x as f32;
                let exact = f64::from(single).ln();
                for single in [single.logarithm::<false>(), single.logarithm::<true>()] {
                    worst_single = worst_single.max((f64::from(single) - exact).abs() / exact.abs().max(1e-2));
                }
                for double in [x.logarithm::<false>(), x.logarithm::<true>()] {
                    worst_double = worst_double.max((double - x.ln()).abs() / x.ln().abs().max(1e-2));
                }
            }
        }
        assert!(worst_single <= 4.0 * f64::from(f32::EPSILON), "{worst_single:e}");
        assert!(worst_double <= 4.0 * f64::EPSILON, "{worst_double:e}");
        assert_eq!(1.0_f32.logarithm::<true>(), 0.0);
    }

    #[test]
    fn the_ends_are_zero_finite_and_not_a_number() {
        assert_eq!(0.0_f32.exponential::<false>(), 1.0);
        assert_eq!((-1e30_f32).exponential::<false>(), 0.0);
        assert_eq!(f32::NEG_INFINITY.exponential::<false>(), 0.0);
        assert!(f32::NAN.exponential::<false>().is_nan());
        assert!(1e30_f32.exponential::<false>().is_finite() && 1e30_f32.exponential::<false>() > 1e38);
        assert_eq!((-1e30_f64).exponential::<false>(), 0.0);
        assert!(f64::NAN.exponential::<false>().is_nan());
        assert!(1e30_f64.exponential::<false>().is_finite() && 1e30_f64.exponential::<false>() > 1e307);
    }
}
