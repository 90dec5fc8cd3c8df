//! Where in a run a checkpoint is.

use std::fmt;

/// How much of a run is done; ordered by that.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Whole epochs.
    pub epochs: usize,
    /// Batches of the epoch after them; fewer than it has.
    pub batches: usize,
}

impl Place {
    /// The end of an epoch.
    pub fn end_of(epoch: usize) -> Self {
        Self { epochs: epoch, batches: 0 }
    }

    /// All batches up to here: Burn knows a checkpoint by a single number.
    pub(super) fn number(self, batches_per_epoch: usize) -> usize {
        self.epochs * batches_per_epoch + self.batches
    }

    /// The place of a [`number`](Self::number).
    pub(super) fn of_number(number: usize, batches_per_epoch: usize) -> Self {
        Self { epochs: number / batches_per_epoch, batches: number % batches_per_epoch }
    }

    /// In the name of a file: `2`, or `2-7` within the third epoch.
    pub(super) fn in_name(self) -> String {
        match self {
            Self { epochs, batches: 0 } => epochs.to_string(),
            Self { epochs, batches } => format!("{epochs}-{batches}"),
        }
    }

    /// The place of a part of a name.
    pub(super) fn of_name(text: &str) -> Option<Self> {
        let (epochs, batches) = text.split_once('-').unwrap_or((text, "0"));
        let place = Self { epochs: epochs.parse().ok()?, batches: batches.parse().ok()? };
        (place.in_name() == text).then_some(place)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self { epochs, batches: 0 } => write!(formatter, "epoch {epochs}"),
            Self { epochs, batches } => write!(formatter, "batch {batches} of epoch {}", epochs + 1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_has_a_number_and_a_name() {
        let place = Place { epochs: 2, batches: 7 };
        assert_eq!(
            (place.number(10), place.in_name(), place.to_string()),
            (27, "2-7".into(), "batch 7 of epoch 3".into())
        );
        let end = Place::end_of(3);
        assert_eq!((end.number(10), end.in_name(), end.to_string()), (30, "3".into(), "epoch 3".into()));
        for place in [place, end] {
            assert_eq!(Place::of_number(place.number(10), 10), place);
            assert_eq!(Place::of_name(&place.in_name()), Some(place));
        }
        assert!(place < end && Place::end_of(2) < place);
        for other in ["", "2-0", "02", "2-", "a-1", "2-7-1"] {
            assert_eq!(Place::of_name(other), None, "{other}");
        }
    }
}
