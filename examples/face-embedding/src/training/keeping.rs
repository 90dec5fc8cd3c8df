//! Which checkpoints stay.

use std::sync::{Arc, Mutex, PoisonError};

use burn::train::checkpoint::{CheckpointingAction, CheckpointingStrategy};
use burn::train::metric::store::EventStoreClient;

use super::place::Place;
use super::validation::Validation;

/// Checkpoints kept: one may be incomplete after a kill.
const LAST: usize = 2;

/// The best place so far, which the loop finds and the strategy spares.
#[derive(Clone, Debug, Default)]
pub(super) struct Best(Arc<Mutex<Option<(Place, Validation)>>>);

impl Best {
    /// Looks at another place; of equally good ones the first stays.
    pub(super) fn offer(&self, place: Place, validation: Validation) {
        let mut best = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if best.is_none_or(|(_, best)| validation.is_better_than(&best)) {
            *best = Some((place, validation));
        }
    }

    /// Which it is, if one was measured, and what was found.
    pub(super) fn found(&self) -> Option<(Place, Validation)> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn place(&self) -> Option<Place> {
        self.found().map(|(place, _)| place)
    }
}

/// Keeps the last checkpoints, and the best one. (Burn's `KeepLastNCheckpoints` counts on one for every number, and its choice
/// by a metric forgets what was measured before a run was resumed.)
pub(super) struct KeepLastAndBest {
    /// In the order in which they were saved.
    saved: Vec<Place>,
    best: Best,
    batches_per_epoch: usize,
}

impl KeepLastAndBest {
    /// Begins with those that are there, the one that the run goes on from as the last of them.
    pub(super) fn new(
        there: impl IntoIterator<Item = Place>,
        begin: Place,
        best: Best,
        batches_per_epoch: usize,
    ) -> Self {
        let mut saved: Vec<Place> = there.into_iter().collect();
        if let Some(found) = saved.iter().position(|&place| place == begin) {
            let begin = saved.remove(found);
            saved.push(begin);
        }
        Self { saved, best, batches_per_epoch }
    }
}

impl KeepLastAndBest {
    /// Puts another one down; which of those before go.
    fn save(&mut self, now: Place) -> Vec<Place> {
        self.saved.retain(|&place| place != now);
        self.saved.push(now);
        let (best, last) = (self.best.place(), self.saved.split_off(self.saved.len().saturating_sub(LAST)));
        let (kept, old) = std::mem::take(&mut self.saved).into_iter().partition(|&place| best == Some(place));
        self.saved = kept;
        self.saved.extend(last);
        old
    }
}

impl CheckpointingStrategy for KeepLastAndBest {
    fn checkpointing(&mut self, number: usize, _store: &EventStoreClient) -> Vec<CheckpointingAction> {
        let old = self.save(Place::of_number(number, self.batches_per_epoch));
        let delete = |place: Place| CheckpointingAction::Delete(place.number(self.batches_per_epoch));
        std::iter::once(CheckpointingAction::Save).chain(old.into_iter().map(delete)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALIDATION: Validation = Validation { auc: 0.9, eer: 0.1 };

    /// What goes when each of these is saved, in epochs of ten batches.
    fn deleted(strategy: &mut KeepLastAndBest, saved: &[usize]) -> Vec<Vec<usize>> {
        let of = |&number: &usize| strategy.save(Place::of_number(number, 10));
        saved.iter().map(of).map(|old| old.into_iter().map(|place| place.number(10)).collect()).collect()
    }

    #[test]
    fn the_last_two_and_the_best_stay() {
        let best = Best::default();
        let mut strategy = KeepLastAndBest::new([], Place::default(), best.clone(), 10);
        assert_eq!(deleted(&mut strategy, &[3, 10, 13]), [vec![], vec![], vec![3]]);
        best.offer(Place::end_of(1), VALIDATION);
        assert_eq!(deleted(&mut strategy, &[20, 30, 30]), [vec![], vec![13], vec![]]);
        best.offer(Place::end_of(3), Validation { auc: 0.91, ..VALIDATION });
        best.offer(Place::end_of(2), Validation { auc: 0.91, ..VALIDATION });
        assert_eq!(deleted(&mut strategy, &[40, 50]), [vec![10, 20], vec![]]);
    }

    #[test]
    fn what_a_resumed_run_finds_goes_when_it_has_two_of_its_own() {
        // That of the last place is not whole, so the run goes on from the one before.
        let there = [Place::end_of(1), Place { epochs: 1, batches: 5 }, Place { epochs: 1, batches: 8 }];
        let mut strategy = KeepLastAndBest::new(there, there[1], Best::default(), 10);
        assert_eq!(deleted(&mut strategy, &[20, 30]), [vec![10, 18], vec![15]]);
    }
}
