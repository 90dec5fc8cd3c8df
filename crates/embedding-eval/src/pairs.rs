use crate::EvalError;

/// Scores of pairs and whether each pair is the same person, checked once.
///
/// There is at least one pair, as many flags as scores, and no NaN or infinity. Only a view: it
/// borrows both slices and is free to copy.
#[derive(Clone, Copy, Debug)]
pub struct ScoredPairs<'a> {
    scores: &'a [f64],
    same: &'a [bool],
    genuine: usize,
}

impl<'a> ScoredPairs<'a> {
    /// Checks `scores` (higher = more similar) and `same` (`true` = genuine pair).
    ///
    /// Pairs of one kind only are accepted here, and refused by the metrics, which need both.
    ///
    /// # Errors
    ///
    /// - [`LengthMismatch`](EvalError::LengthMismatch) if there is not one flag for each score
    /// - [`Empty`](EvalError::Empty) if there is no pair
    /// - [`NotFinite`](EvalError::NotFinite) for the first score that is NaN or infinite
    pub fn new(scores: &'a [f64], same: &'a [bool]) -> Result<Self, EvalError> {
        if scores.len() != same.len() {
            return Err(EvalError::LengthMismatch { what: "same", expected: scores.len(), actual: same.len() });
        }
        if scores.is_empty() {
            return Err(EvalError::Empty { what: "scores" });
        }
        if let Some(index) = scores.iter().position(|score| !score.is_finite()) {
            return Err(EvalError::NotFinite { what: "scores", index, value: scores[index] });
        }

        Ok(Self { scores, same, genuine: same.iter().filter(|&&same| same).count() })
    }

    /// Number of pairs; at least 1.
    pub fn count(self) -> usize {
        self.scores.len()
    }

    /// Number of pairs of the same person.
    pub fn genuine(self) -> usize {
        self.genuine
    }

    /// Number of pairs of different people.
    pub fn impostors(self) -> usize {
        self.count() - self.genuine
    }

    /// Score and flag of each pair, in the order given.
    pub fn iter(self) -> impl ExactSizeIterator<Item = (f64, bool)> + 'a {
        self.scores.iter().copied().zip(self.same.iter().copied())
    }

    pub(crate) fn require_both_kinds(self) -> Result<(), EvalError> {
        let pairs = self.count();
        if self.genuine() == 0 {
            return Err(EvalError::NoGenuinePairs { pairs });
        }
        if self.impostors() == 0 {
            return Err(EvalError::NoImpostorPairs { pairs });
        }

        Ok(())
    }
}
