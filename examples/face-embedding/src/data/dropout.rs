//! Which features of a training picture are dropped.

use super::random::{Random, random};

/// The purpose of these random numbers, beside those of the changes of a picture.
const DROPOUT: u64 = 5;

/// Draws, for one picture in one epoch, the factors of dropout: 0 for a feature that is dropped, which each is with
/// probability `share`, and `1 / (1 - share)` for one that is kept, so that the sum stays the same on average.
///
/// They depend on these numbers and on nothing else. (Burn's `Dropout` draws from a generator that is shared by all of the
/// process: a resumed run would drop other features.)
pub(crate) fn append_factors(share: f64, seed: u64, epoch: usize, picture: usize, features: usize, out: &mut Vec<f32>) {
    let mut drawn = Random::of(random(&[seed, epoch as u64, picture as u64, DROPOUT]), &[]);
    let kept = (1.0 / (1.0 - share)) as f32;
    out.extend((0..features).map(|_| if drawn.chance(share as f32) { 0.0 } else { kept }));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn factors(share: f64, epoch: usize, picture: usize) -> Vec<f32> {
        let mut out = Vec::new();
        append_factors(share, 7, epoch, picture, 10_000, &mut out);
        out
    }

    #[test]
    fn a_share_is_dropped_and_the_rest_enlarged() {
        let drawn = factors(0.4, 1, 3);
        let dropped = drawn.iter().filter(|&&factor| factor == 0.0).count();
        // Within five deviations of 4000, each sqrt(10000 * 0.4 * 0.6) = 49.
        assert!(dropped.abs_diff(4000) < 245, "{dropped}");
        // 1 / (1 - 0.4)
        assert!(drawn.iter().all(|&factor| factor == 0.0 || (factor - 5.0 / 3.0).abs() < 1e-6));
        assert!(factors(0.0, 1, 3).iter().all(|&factor| factor == 1.0));
    }

    #[test]
    fn the_factors_follow_from_epoch_and_picture() {
        assert_eq!(factors(0.5, 1, 3), factors(0.5, 1, 3));
        assert_ne!(factors(0.5, 1, 3), factors(0.5, 2, 3));
        assert_ne!(factors(0.5, 1, 3), factors(0.5, 1, 4));
    }
}
