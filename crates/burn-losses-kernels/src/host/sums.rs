use super::Real;
use crate::math::NOTHING;

/// Numbers that are added side by side.
const LANES: usize = 16;

/// What numbers of some rows, one of each, stand for in a sum. Not a closure: of those, a compiler inlines no more than it
/// likes, and what is not inlined has no vector instructions. To be inlined, and all that it calls.
pub(crate) trait Summand<T, const ROWS: usize>: Copy {
    fn of<const FUSED: bool>(self, numbers: [T; ROWS]) -> T;
}

/// The number itself.
#[derive(Clone, Copy)]
pub(crate) struct Same;

impl<T: Real> Summand<T, 1> for Same {
    #[inline(always)]
    fn of<const FUSED: bool>(self, [number]: [T; 1]) -> T {
        number
    }
}

/// Its square.
#[derive(Clone, Copy)]
pub(crate) struct Square;

impl<T: Real> Summand<T, 1> for Square {
    #[inline(always)]
    fn of<const FUSED: bool>(self, [number]: [T; 1]) -> T {
        number * number
    }
}

/// The sum of what every number stands for. `BLOCK` of them are added in their own precision, a sixteenth of these in a
/// row, before the sum goes into one in `f64`.
#[inline(always)]
pub(crate) fn sum<const BLOCK: usize, const FUSED: bool, T: Real>(numbers: &[T], of: impl Summand<T, 1>) -> f64 {
    let mut total = 0.0;
    for block in numbers.chunks(BLOCK) {
        let mut sums = [T::zero(); LANES];
        let mut chunks = block.chunks_exact(LANES);
        for chunk in &mut chunks {
            for (sum, &number) in sums.iter_mut().zip(chunk) {
                *sum = *sum + of.of::<FUSED>([number]);
            }
        }
        for (sum, &number) in sums.iter_mut().zip(chunks.remainder()) {
            *sum = *sum + of.of::<FUSED>([number]);
        }
        total += wide(sums);
    }
    total
}

/// The same of the numbers of two rows; where one is longer, its rest is left out.
#[inline(always)]
pub(crate) fn sum_of_both<const BLOCK: usize, const FUSED: bool, T: Real>(
    first: &[T],
    second: &[T],
    of: impl Summand<T, 2>,
) -> f64 {
    let mut total = 0.0;
    for (first, second) in first.chunks(BLOCK).zip(second.chunks(BLOCK)) {
        let length = first.len().min(second.len());
        let mut sums = [T::zero(); LANES];
        let (mut first, mut second) = (first[..length].chunks_exact(LANES), second[..length].chunks_exact(LANES));
        for (first, second) in (&mut first).zip(&mut second) {
            for ((sum, &first), &second) in sums.iter_mut().zip(first).zip(second) {
                *sum = *sum + of.of::<FUSED>([first, second]);
            }
        }
        for ((sum, &first), &second) in sums.iter_mut().zip(first.remainder()).zip(second.remainder()) {
            *sum = *sum + of.of::<FUSED>([first, second]);
        }
        total += wide(sums);
    }
    total
}

/// `exp(number - largest)`.
#[derive(Clone, Copy)]
struct Exponential<T> {
    largest: T,
}

impl<T: Real> Summand<T, 1> for Exponential<T> {
    #[inline(always)]
    fn of<const FUSED: bool>(self, [number]: [T; 1]) -> T {
        (number - self.largest).exponential::<FUSED>()
    }
}

/// `log(sum of exp)` as two numbers, of which the sum would have no digits where all numbers are large.
#[derive(Clone, Copy)]
pub(crate) struct LogSumExp<T> {
    /// The largest number.
    pub(crate) largest: T,
    /// `log(sum of exp(number - largest))`.
    pub(crate) rest: T,
}

impl<T: Real> LogSumExp<T> {
    /// That of no numbers.
    #[inline(always)]
    pub(crate) fn nothing() -> Self {
        Self { largest: T::of(NOTHING), rest: T::zero() }
    }

    #[inline(always)]
    pub(crate) fn is_nothing(self) -> bool {
        self.largest == T::of(NOTHING)
    }

    /// How far a number is above it: the logarithm of its share.
    #[inline(always)]
    pub(crate) fn log_share(self, number: T) -> T {
        (number - self.largest) - self.rest
    }
}

/// `log(sum of exp)` of the numbers of all parts; nothing where there is none, or none but minus infinity.
#[inline(always)]
pub(crate) fn log_sum_exp<const BLOCK: usize, const PARTS: usize, T: Real, const FUSED: bool>(
    parts: [&[T]; PARTS],
) -> LogSumExp<T> {
    let mut largest = [T::neg_infinity(); LANES];
    for part in parts {
        let mut chunks = part.chunks_exact(LANES);
        for chunk in &mut chunks {
            for (largest, &number) in largest.iter_mut().zip(chunk) {
                *largest = if number > *largest { number } else { *largest };
            }
        }
        for (largest, &number) in largest.iter_mut().zip(chunks.remainder()) {
            *largest = if number > *largest { number } else { *largest };
        }
    }
    let largest = largest.into_iter().fold(T::neg_infinity(), |a, b| if b > a { b } else { a });
    if largest == T::neg_infinity() {
        let no_number = parts.iter().any(|part| part.iter().any(|number| number.is_nan()));
        let nothing = LogSumExp::nothing();
        return if no_number { LogSumExp { largest: T::nan(), ..nothing } } else { nothing };
    }
    let mut total = 0.0;
    for part in parts {
        total += sum::<BLOCK, FUSED, _>(part, Exponential { largest });
    }
    LogSumExp { largest, rest: T::of(total.ln()) }
}

#[inline(always)]
fn wide<T: Real>(sums: [T; LANES]) -> f64 {
    let mut total = 0.0;
    for sum in sums {
        total += sum.to_f64().expect("a float is an f64");
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    #[derive(Clone, Copy)]
    struct Both;

    impl Summand<f32, 2> for Both {
        fn of<const FUSED: bool>(self, [one, other]: [f32; 2]) -> f32 {
            one + other
        }
    }

    /// Of integers, whose sums are exact, in lengths that fill no block, no lane, and some.
    #[test]
    fn no_number_is_left_out_and_none_counts_twice() {
        for length in [0, 1, 15, 16, 17, 31, 32, 33, 64, 100] {
            let numbers: Vec<f32> = (1..=length).map(|number| number as f32).collect();
            let (once, squares) =
                ((length * (length + 1) / 2) as f64, (length * (length + 1) * (2 * length + 1) / 6) as f64);
            assert_eq!(sum::<32, false, _>(&numbers, Same), once);
            assert_eq!(sum::<32, false, _>(&numbers, Square), squares);
            let mut longer = numbers.clone();
            longer.push(1000.0);
            assert_eq!(sum_of_both::<32, false, _>(&numbers, &longer, Both), 2.0 * once);
            assert_eq!(sum_of_both::<32, false, _>(&longer, &numbers, Both), 2.0 * once);
        }
    }

    /// The largest number of its type that counts in ones: one more of these is lost in `f32`.
    #[test]
    fn sums_of_blocks_are_not_rounded_in_their_precision() {
        let mut numbers = alloc::vec![1.0_f32; 64];
        numbers[0] = 16_777_216.0;
        assert_eq!(sum::<16, false, _>(&numbers, Same), 16_777_216.0 + 63.0);
    }

    #[test]
    fn the_log_sum_exp_of_parts_is_that_of_all() {
        let parts: [&[f64]; 2] = [&[0.0, 3.0_f64.ln()], &[4.0_f64.ln()]];
        let sum = log_sum_exp::<32, 2, f64, false>(parts);
        assert!((sum.largest + sum.rest - 8.0_f64.ln()).abs() < 1e-15);
        assert!((sum.log_share(0.0) + 8.0_f64.ln()).abs() < 1e-15);
        assert!(log_sum_exp::<32, 1, f64, false>([&[]]).is_nothing());
        assert!(log_sum_exp::<32, 1, f64, false>([&[f64::NAN]]).log_share(0.0).is_nan());
    }
}
