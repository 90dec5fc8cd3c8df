//! Random numbers that are the same on every machine.

use rand_xoshiro::SplitMix64;
use rand_xoshiro::rand_core::{Rng, SeedableRng};

/// SplitMix64: a counter stepped by an odd constant and scrambled.
///
/// What is drawn from it is written here, not taken from `rand`, whose distributions and shuffle may draw otherwise in
/// a new version: the same seed has to give the same faces, splits and pairs in every version of this example.
///
/// # Source
///
/// Steele, Lea, Flood: Fast splittable pseudorandom number generators, OOPSLA 2014, figure 17
/// (constants of the variant by Vigna, `splitmix64.c`, 2015).
#[derive(Clone, Debug)]
pub(crate) struct Random {
    bits: SplitMix64,
}

/// The golden ratio as a 64-bit fraction, made odd: the step of the counter.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

impl Random {
    /// The stream of one thing among many, found without drawing the streams of the others.
    pub(crate) fn of(seed: u64, path: &[u64]) -> Self {
        let mut state = scramble(seed ^ STEP);
        for &step in path {
            state = scramble(state.wrapping_add(STEP) ^ scramble(step.wrapping_add(STEP)));
        }
        Self { bits: SplitMix64::seed_from_u64(state) }
    }

    /// 64 random bits.
    pub(crate) fn bits(&mut self) -> u64 {
        self.bits.next_u64()
    }

    /// A number in `[0, 1)`.
    pub(crate) fn unit(&mut self) -> f32 {
        // 24 bits are what an f32 holds exactly, so rounding can never give 1.
        (self.bits() >> 40) as f32 * (1.0 / 16_777_216.0)
    }

    /// A number in `[low, high)`, all equally likely.
    pub(crate) fn between(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * self.unit()
    }

    /// A bell-shaped number: the sum of four uniform ones, never more than 3.5 spreads away.
    ///
    /// A true normal needs a logarithm and a cosine, which differ between platforms.
    pub(crate) fn bell(&mut self, mean: f32, spread: f32) -> f32 {
        const SCALE: f32 = 1.732_050_8 / 65_536.0;
        let bits = self.bits();
        let sum = (bits & 0xffff) + (bits >> 16 & 0xffff) + (bits >> 32 & 0xffff) + (bits >> 48);
        mean + spread * SCALE * (sum as f32 - 131_070.0)
    }

    /// True with this probability.
    pub(crate) fn chance(&mut self, probability: f32) -> bool {
        self.unit() < probability
    }

    /// A whole number in `0..end`; `end` must not be zero.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        assert!(end > 0, "Random: end must be > 0, got 0");
        // The bias of one multiplication is at most end / 2^64, far below what any test can see.
        ((u128::from(self.bits()) * end as u128) >> 64) as usize
    }

    /// Puts the items in a random order (Fisher-Yates).
    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for end in (2..=items.len()).rev() {
            items.swap(end - 1, self.below(end));
        }
    }
}

/// 64 random bits that depend on all the words.
pub(crate) fn random(words: &[u64]) -> u64 {
    words.iter().fold(0, |state, &word| SplitMix64::seed_from_u64(state ^ word).next_u64())
}

/// The output function of SplitMix64: a bijection of 64 bits.
fn scramble(bits: u64) -> u64 {
    SplitMix64::seed_from_u64(bits.wrapping_sub(STEP)).next_u64()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first outputs of `splitmix64.c` for seed 1234567, as listed by Rosetta Code's task
    /// "Pseudo-random numbers/Splitmix64".
    #[test]
    fn stream_is_the_published_splitmix64() {
        let mut random = Random { bits: SplitMix64::seed_from_u64(1_234_567) };
        let drawn: Vec<u64> = (0..5).map(|_| random.bits()).collect();
        assert_eq!(
            drawn,
            [
                6_457_827_717_110_365_317,
                3_203_168_211_198_807_973,
                9_817_491_932_198_370_423,
                4_593_380_528_125_082_431,
                16_408_922_859_458_223_821,
            ]
        );
    }

    #[test]
    fn bell_has_the_asked_mean_and_spread() {
        let mut random = Random::of(5, &[]);
        let drawn: Vec<f64> = (0..100_000).map(|_| f64::from(random.bell(2.0, 0.5))).collect();
        let mean = drawn.iter().sum::<f64>() / 1e5;
        let variance = drawn.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / 1e5;
        // Ten standard errors of the mean (0.5 / sqrt(1e5)) and about ten of the spread.
        assert!((mean - 2.0).abs() < 0.016, "mean {mean}");
        assert!((variance.sqrt() - 0.5).abs() < 0.01, "spread {}", variance.sqrt());
    }

    #[test]
    fn shuffle_keeps_every_item_and_moves_most() {
        let mut items: Vec<usize> = (0..1000).collect();
        Random::of(3, &[]).shuffle(&mut items);
        let unmoved = items.iter().enumerate().filter(|(place, item)| place == *item).count();
        assert!(unmoved < 20, "{unmoved} of 1000 items did not move");
        items.sort_unstable();
        assert_eq!(items, (0..1000).collect::<Vec<_>>());
    }

    #[test]
    fn every_path_has_a_stream_of_its_own() {
        let firsts: std::collections::BTreeSet<u64> =
            (0..50).flat_map(|a| (0..50).map(move |b| Random::of(9, &[a, b]).bits())).collect();
        assert_eq!(firsts.len(), 2500);
    }
}
