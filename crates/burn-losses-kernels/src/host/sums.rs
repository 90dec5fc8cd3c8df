use super::Real;
use crate::math::NOTHING;

/// Numbers that are added side by side.
const LANES: usize = 16;

/// The sum of what every number stands for. `BLOCK` of them are added in their own precision, a sixteenth of these in a
/// row, before the sum goes into one in `f64`.
#[inline(always)]
pub(crate) fn sum<const BLOCK: usize, T: Real>(numbers: &[T], of: impl Fn(T) -> T) -> f64 {
    let mut total = 0.0;
    for block in numbers.chunks(BLOCK) {
        let mut sums = [T::zero(); LANES];
        let mut chunks = block.chunks_exact(LANES);
        for chunk in &mut chunks {
            sums.iter_mut().zip(chunk).for_each(|(sum, &number)| *sum = *sum + of(number));
        }
        sums.iter_mut().zip(chunks.remainder()).for_each(|(sum, &number)| *sum = *sum + of(number));
        total += wide(sums);
    }
    total
}

/// The same of the numbers of two rows; where one is longer, its rest is left out.
#[inline(always)]
pub(crate) fn sum_of_both<const BLOCK: usize, T: Real>(first: &[T], second: &[T], of: impl Fn(T, T) -> T) -> f64 {
    let mut total = 0.0;
    for (first, second) in first.chunks(BLOCK).zip(second.chunks(BLOCK)) {
        let length = first.len().min(second.len());
        let mut sums = [T::zero(); LANES];
        let (mut first, mut second) = (first[..length].chunks_exact(LANES), second[..length].chunks_exact(LANES));
        for (first, second) in (&mut first).zip(&mut second) {
            for ((sum, &first), &second) in sums.iter_mut().zip(first).zip(second) {
                *sum = *sum + of(first, second);
            }
        }
        for ((sum, &first), &second) in sums.iter_mut().zip(first.remainder()).zip(second.remainder()) {
            *sum = *sum + of(first, second);
        }
        total += wide(sums);
    }
    total
}

/// `log(sum of exp)` of the numbers of all parts; [`NOTHING`] where there is none, or none but minus infinity.
#[inline(always)]
pub(crate) fn log_sum_exp<const BLOCK: usize, const PARTS: usize, T: Real, const FUSED: bool>(
    parts: [&[T]; PARTS],
) -> T {
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
        return if no_number { T::nan() } else { T::of(NOTHING) };
    }
    let totals = parts.map(|part| sum::<BLOCK, _>(part, |number| (number - largest).exponential::<FUSED>()));
    largest + T::of(totals.into_iter().sum::<f64>().ln())
}

#[inline(always)]
fn wide<T: Real>(sums: [T; LANES]) -> f64 {
    sums.into_iter().map(|sum| sum.to_f64().expect("a float is an f64")).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    /// Of integers, whose sums are exact, in lengths that fill no block, no lane, and some.
    #[test]
    fn no_number_is_left_out_and_none_counts_twice() {
        for length in [0, 1, 15, 16, 17, 31, 32, 33, 64, 100] {
            let numbers: Vec<f32> = (1..=length).map(|number| number as f32).collect();
            let expected = (length * (length + 1)) as f64;
            assert_eq!(sum::<32, _>(&numbers, |number| number + number), expected);
            let mut longer = numbers.clone();
            longer.push(1000.0);
            assert_eq!(sum_of_both::<32, _>(&numbers, &longer, |one, other| one + other), expected);
            assert_eq!(sum_of_both::<32, _>(&longer, &numbers, |one, other| one + other), expected);
        }
    }

    /// The largest number of its type that counts in ones: one more of these is lost in `f32`.
    #[test]
    fn sums_of_blocks_are_not_rounded_in_their_precision() {
        let mut numbers = alloc::vec![1.0_f32; 64];
        numbers[0] = 16_777_216.0;
        assert_eq!(sum::<32, _>(&numbers, |number| number), 16_777_216.0 + 63.0);
    }
}
