//! Random numbers as a function of a key: the same on every backend, with nothing kept on the host.

use core::f64::consts::PI;

use burn::tensor::{DType, Device, FloatDType, Int, Tensor};

use crate::heads::folded_cosine;
use crate::state::State;

/// Numbers have this many bits, so that the product of two halves, and half a number more, stays below 2^31.
const BITS: u32 = 30;
const HALF_BITS: u32 = BITS / 2;
const HALF: i32 = (1 << HALF_BITS) - 1;
const ALL: i32 = (1 << BITS) - 1;

/// One odd number of at most 15 bits per round, without a pattern: from the digits of pi.
const FACTORS: [i32; 6] = [0x243F, 0x6A89, 0x5A31, 0x0D31, 0x3199, 0x2E03];

/// Turns numbers into unlike ones, by a key: a Feistel network of six rounds, so that different numbers stay different.
///
/// Good enough to draw classes; not a cipher.
pub(crate) struct Mixer {
    first: Tensor<1, Int>,
    second: Tensor<1, Int>,
}

impl Mixer {
    /// From three numbers below 2^24, each `[1]`.
    pub(crate) fn new(key: [Tensor<1, Int>; 3]) -> Self {
        let [first, second, count] = key;
        let count = feistel(count, &first, &second);
        let count = feistel(count, &second, &first);
        let other = feistel(count.clone().bitwise_xor_scalar(ALL), &second, &first);
        Self { first: count, second: other }
    }

    pub(crate) fn device(&self) -> Device {
        self.first.device()
    }

    pub(crate) fn dtype(&self) -> DType {
        self.first.dtype()
    }

    /// A random number below 2^30 that depends on the key alone, `[1]`.
    pub(crate) fn salt(&self) -> Tensor<1, Int> {
        feistel(self.first.clone(), &self.second, &self.second)
    }

    /// Random numbers in `[0, 1)`, multiples of 2^-23, one for each of `numbers`, which are below 2^30; in `f32` or `f64`.
    pub(crate) fn uniform(&self, numbers: Tensor<1, Int>, dtype: DType) -> Tensor<1> {
        let bits = self.mix(numbers).bitwise_right_shift_scalar((BITS - 23) as i32);
        bits.cast(FloatDType::from(dtype)).mul_scalar(1.0 / f64::from(1 << 23))
    }

    /// `count` numbers of the standard normal distribution, by the polar form of Box and Muller: of two uniform numbers,
    /// one makes the radius and the other the angle. In `f32` or `f64`.
    pub(crate) fn normal(&self, count: usize, dtype: DType) -> Tensor<1> {
        let numbers = Tensor::<1, Int>::arange(0..2 * count as i64, (&self.device(), self.dtype()));
        // In the middle of their stretches, so that none is 0.
        let uniform = self.uniform(numbers, dtype).add_scalar(0.5 / f64::from(1 << 23));
        let radius = uniform.clone().narrow(0, 0, count).log().mul_scalar(-2.0).sqrt();
        // The cosine of an angle in [0, pi] is distributed as that of one in the full circle.
        radius * folded_cosine(uniform.narrow(0, count, count).mul_scalar(PI))
    }

    /// Random numbers below 2^30, one for each of `numbers`, which are below 2^30.
    pub(crate) fn mix(&self, numbers: Tensor<1, Int>) -> Tensor<1, Int> {
        feistel(numbers, &self.first, &self.second)
    }
}

/// A number that looks like none of its neighbours' (the step of SplitMix64).
pub(crate) fn split_mix(number: u64) -> u64 {
    let mixed = number.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

/// The state of a module that draws, `[3]`: 48 bits of the seed in two halves, and the number of draws before, all below
/// 2^24.
pub(crate) type Draws = State<Tensor<1, Int>>;

/// The state before the first draw.
pub(crate) fn first_draw(seed: u64, device: &Device) -> Draws {
    let mixed = split_mix(seed);
    let part = |shift: u32| ((mixed >> shift) & 0xFF_FFFF) as i32;

    State::new(Tensor::from_data([part(0), part(24), 0], (device, DType::I32)))
}

/// What the next draw follows from, on `device` (one without autodiff), in integers of `dtype`.
pub(crate) fn this_draw(draws: &Draws, device: &Device, dtype: DType) -> Mixer {
    mixer(draws.value(), device, dtype)
}

/// What the draw followed from that was counted last.
pub(crate) fn latest_draw(draws: &Draws, device: &Device, dtype: DType) -> Mixer {
    mixer(counted(draws.value(), -1), device, dtype)
}

/// [`this_draw`], and counts it: of two threads that draw at the same time each has a draw of its own.
pub(crate) fn next_draw(draws: &Draws, device: &Device, dtype: DType) -> Mixer {
    mixer(count_draw(draws), device, dtype)
}

/// One draw more; the draws before it.
pub(crate) fn count_draw(draws: &Draws) -> Tensor<1, Int> {
    draws.update(|draws| counted(draws, 1)).0
}

/// The draws after so many more.
fn counted(draws: Tensor<1, Int>, more: i32) -> Tensor<1, Int> {
    let [seed, count] = [(0, 2), (2, 1)].map(|(start, length)| draws.clone().narrow(0, start, length));
    Tensor::cat(alloc::vec![seed, count.add_scalar(more).bitwise_and_scalar((1 << 24) - 1)], 0)
}

fn mixer(draws: Tensor<1, Int>, device: &Device, dtype: DType) -> Mixer {
    let draws = draws.to_device(device);
    // A Burn server stops at a cast of integers to what they are.
    let draws = if draws.dtype() == dtype { draws } else { draws.cast(dtype) };

    Mixer::new([0, 1, 2].map(|place| draws.clone().narrow(0, place, 1)))
}

fn feistel(numbers: Tensor<1, Int>, first: &Tensor<1, Int>, second: &Tensor<1, Int>) -> Tensor<1, Int> {
    let [count] = numbers.dims();
    let mut left = numbers.clone().bitwise_right_shift_scalar(HALF_BITS as i32);
    let mut right = numbers.bitwise_and_scalar(HALF);
    for (round, factor) in FACTORS.into_iter().enumerate() {
        let key = if round % 2 == 0 { first } else { second };
        let low_key = key.clone().bitwise_and_scalar(HALF).expand([count]);
        let high_key = key.clone().bitwise_right_shift_scalar(HALF_BITS as i32).expand([count]);
        let product = right.clone().bitwise_xor(low_key).mul_scalar(factor) + high_key;
        let high = product.clone().bitwise_right_shift_scalar(HALF_BITS as i32);
        let middle = product.bitwise_right_shift_scalar(7);
        let mixed = high.bitwise_xor(middle).bitwise_and_scalar(HALF);
        (left, right) = (right, left.bitwise_xor(mixed));
    }
    left.mul_scalar(HALF + 1) + right
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    fn mixed(key: [i32; 3], count: i64) -> Vec<i64> {
        let options = (&Device::flex(), DType::I32);
        let mixer = Mixer::new(key.map(|number| Tensor::from_data([number], options)));
        mixer.mix(Tensor::arange(0..count, options)).try_into_vec_as::<i64>().unwrap()
    }

    #[test]
    fn different_numbers_stay_different_and_in_range() {
        let mut numbers = mixed([(1 << 24) - 1, 5, 0], 1 << 16);
        assert!(numbers.iter().all(|number| (0..1 << BITS).contains(number)));
        numbers.sort_unstable();
        assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]));
    }

    #[test]
    fn threads_that_draw_at_the_same_time_draw_differently() {
        let device = Device::flex();
        let draws = first_draw(3, &device);
        let mut salts: Vec<i32> = std::thread::scope(|scope| {
            let draw = || {
                let salt = |_| next_draw(&draws, &device, DType::I32).salt().into_scalar::<i32>();
                (0..50).map(salt).collect::<Vec<_>>()
            };
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(draw)).collect();
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
        });
        salts.sort_unstable();
        salts.dedup();
        assert_eq!(salts.len(), 200);
        assert_eq!(draws.value().try_into_vec_as::<i32>().unwrap()[2], 200);
    }

    #[test]
    fn one_bit_of_the_key_or_the_number_changes_half_of_the_bits() {
        let flips = |a: &[i64], b: &[i64]| {
            let bits: u32 = a.iter().zip(b).map(|(a, b)| (a ^ b).count_ones()).sum();
            f64::from(bits) / (a.len() as f64 * f64::from(BITS))
        };
        let numbers = mixed([3, 5, 7], 4096);
        for key in [[2, 5, 7], [3, 4, 7], [3, 5, 6]] {
            let share = flips(&numbers, &mixed(key, 4096));
            assert!((share - 0.5).abs() < 0.01, "{key:?}: {share}");
        }
        let neighbours = flips(&numbers[..4095], &numbers[1..]);
        assert!((neighbours - 0.5).abs() < 0.01, "{neighbours}");
    }
}
