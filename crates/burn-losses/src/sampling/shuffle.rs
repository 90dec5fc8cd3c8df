//! Random order on the host.

use alloc::vec::Vec;

use crate::random::split_mix;

use super::SamplingError;

/// Random numbers that follow from a seed and an epoch. Not by `rand`, whose shuffle may draw otherwise in a new version:
/// a training that is continued with one has to meet the batches it would have met.
pub(super) struct Random {
    state: u64,
}

impl Random {
    pub(super) fn new(seed: u64, epoch: usize) -> Self {
        Self { state: split_mix(split_mix(seed) ^ epoch as u64) }
    }

    /// A number in `0..bound`.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let number = split_mix(self.state);
        // The high half of a product of 128 bits: even but for 2^-64.
        ((u128::from(number) * bound as u128) >> 64) as usize
    }

    pub(super) fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}

/// The samples of every class, in the order of the labels: `(label, samples)`.
pub(super) fn samples_of_classes(labels: &[i64]) -> Result<Vec<(i64, Vec<usize>)>, SamplingError> {
    if labels.is_empty() {
        return Err(SamplingError::NoSamples);
    }
    if let Some(index) = labels.iter().position(|&label| label < 0) {
        return Err(SamplingError::NegativeLabel { index, value: labels[index] });
    }
    let mut classes = alloc::collections::BTreeMap::<i64, Vec<usize>>::new();
    for (sample, &label) in labels.iter().enumerate() {
        classes.entry(label).or_default().push(sample);
    }
    Ok(classes.into_iter().collect())
}

/// The samples of a class in random order, again and again: all of them before any comes a second time.
pub(super) struct Deck<'a> {
    samples: &'a [usize],
    left: Vec<usize>,
}

impl<'a> Deck<'a> {
    pub(super) fn new(samples: &'a [usize]) -> Self {
        Self { samples, left: Vec::new() }
    }

    /// Puts the next `count` samples into a batch. Where the deck begins anew in between, those that are in the hand
    /// already come last.
    pub(super) fn deal(&mut self, count: usize, random: &mut Random, batch: &mut Vec<usize>) {
        let begin = batch.len();
        while batch.len() < begin + count {
            if self.left.is_empty() {
                let mut again = self.samples.to_vec();
                random.shuffle(&mut again);
                let hand = &batch[begin..];
                // Dealt from the back.
                again.sort_by_key(|sample| !hand.contains(sample));
                self.left = again;
            }
            batch.extend(self.left.pop());
        }
    }
}
