use std::collections::BTreeSet;

use crate::{EvalError, ScoredPairs, roc};

/// The true accept rate over folds, each with the threshold of the others; made by [`k_fold_tar_at_far`] and
/// [`insightface_val_at_far`](crate::insightface_val_at_far). facenet and InsightFace call it VAL.
#[derive(Clone, Debug, PartialEq)]
pub struct KFoldTar {
    /// The bound on the false accept rate that thresholds were chosen for.
    pub target: f64,
    /// Mean true accept rate of the folds, each counting the same.
    pub tar: f64,
    /// Standard deviation of the true accept rates over the folds, of the population.
    pub tar_standard_deviation: f64,
    /// Mean false accept rate of the folds; it may exceed the target, since thresholds are from other folds.
    pub far: f64,
    /// One entry for each fold, by ascending fold number.
    pub folds: Vec<FoldTar>,
}

/// The rates of one fold, with the threshold chosen on the others.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FoldTar {
    /// Number of the fold.
    pub fold: usize,
    /// True accept rate of the fold.
    pub tar: f64,
    /// False accept rate of the fold.
    pub far: f64,
    /// The threshold, in whatever the function that made it compares.
    pub threshold: f64,
}

impl FoldTar {
    /// The rates of the pairs of a fold.
    pub(crate) fn of(
        fold: usize,
        threshold: f64,
        pairs: impl Iterator<Item = (f64, bool)>,
        accepted: impl Fn(f64) -> bool,
    ) -> Result<Self, EvalError> {
        let (mut genuine, mut impostors) = ([0; 2], [0; 2]);
        for (score, same) in pairs {
            let kind = if same { &mut genuine } else { &mut impostors };
            kind[0] += usize::from(accepted(score));
            kind[1] += 1;
        }
        if genuine[1] == 0 || impostors[1] == 0 {
            return Err(EvalError::OneSidedFold { fold, genuine: genuine[1], impostors: impostors[1] });
        }
        let rate = |[accepted, count]: [usize; 2]| accepted as f64 / count as f64;
        Ok(Self { fold, tar: rate(genuine), far: rate(impostors), threshold })
    }
}

impl KFoldTar {
    pub(crate) fn of(target: f64, folds: Vec<FoldTar>) -> Self {
        let mean = |of: &dyn Fn(&FoldTar) -> f64| folds.iter().map(of).sum::<f64>() / folds.len() as f64;
        let tar = mean(&|fold| fold.tar);
        let variance = mean(&|fold| (fold.tar - tar).powi(2));
        Self { target, tar, tar_standard_deviation: variance.sqrt(), far: mean(&|fold| fold.far), folds }
    }
}

/// The true accept rate of each fold at the threshold that [`tar_at_far`](crate::Roc::tar_at_far) gives on the others.
///
/// ```
/// use embedding_eval::{ScoredPairs, k_fold_tar_at_far};
///
/// let pairs = ScoredPairs::new(&[0.9, 0.2, 0.7, 0.8], &[true, false, true, false])?;
/// let measured = k_fold_tar_at_far(pairs, &[0, 0, 1, 1], 0.5)?;
/// // Fold 0 is decided at infinity, since the other's highest score is an impostor's; fold 1 at 0.9.
/// assert_eq!((measured.tar, measured.far), (0.0, 0.0));
/// # Ok::<(), embedding_eval::EvalError>(())
/// ```
///
/// # Errors
///
/// - [`InvalidTarget`](EvalError::InvalidTarget) unless `0 < target < 1`
/// - [`LengthMismatch`](EvalError::LengthMismatch) if there is not one fold number for each pair
/// - [`NoGenuinePairs`](EvalError::NoGenuinePairs) or
///   [`NoImpostorPairs`](EvalError::NoImpostorPairs) if one kind is missing
/// - [`TooFewFolds`](EvalError::TooFewFolds) if all pairs are in one fold
/// - [`OneSidedTraining`](EvalError::OneSidedTraining) if one kind is missing outside a fold
/// - [`OneSidedFold`](EvalError::OneSidedFold) if one kind is missing in a fold
///
/// # Source
///
/// The rate VAL of Schroff, Kalenichenko, Philbin: FaceNet, 2015, section 4, over the folds of LFW.
pub fn k_fold_tar_at_far(pairs: ScoredPairs<'_>, folds: &[usize], target: f64) -> Result<KFoldTar, EvalError> {
    if folds.len() != pairs.count() {
        return Err(EvalError::LengthMismatch { what: "folds", expected: pairs.count(), actual: folds.len() });
    }
    pairs.require_both_kinds()?;
    let numbers: BTreeSet<usize> = folds.iter().copied().collect();
    if numbers.len() < 2 {
        return Err(EvalError::TooFewFolds { folds: numbers.len() });
    }
    let mut results = Vec::new();
    for fold in numbers {
        let (scores, same): (Vec<f64>, Vec<bool>) =
            pairs.iter().zip(folds).filter(|(_, other)| **other != fold).map(|(pair, _)| pair).unzip();
        let others = ScoredPairs::new(&scores, &same)?;
        if others.genuine() == 0 || others.impostors() == 0 {
            let (genuine, impostors) = (others.genuine(), others.impostors());
            return Err(EvalError::OneSidedTraining { fold, genuine, impostors });
        }
        let threshold = roc(others)?.tar_at_far(target)?.threshold;
        let own = pairs.iter().zip(folds).filter(|(_, other)| **other == fold).map(|(pair, _)| pair);
        results.push(FoldTar::of(fold, threshold, own, |score| score >= threshold)?);
    }
    Ok(KFoldTar::of(target, results))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thresholds_come_from_the_other_fold() {
        // By hand, at most half of the impostors of the other fold: fold 1 allows 0.3 (one of 0.4 and 0.1 above it),
        // which accepts 0.6 and 0.5 of fold 0, one genuine of one and one impostor of two; fold 0 allows 0.6, which
        // accepts nobody in fold 1.
        let scores = [0.6, 0.5, 0.2, 0.3, 0.4, 0.1];
        let same = [true, false, false, true, false, false];
        let measured = k_fold_tar_at_far(ScoredPairs::new(&scores, &same).unwrap(), &[0, 0, 0, 1, 1, 1], 0.5).unwrap();
        let folds: Vec<_> = measured.folds.iter().map(|fold| (fold.tar, fold.far, fold.threshold)).collect();
        assert_eq!(folds, [(1.0, 0.5, 0.3), (0.0, 0.0, 0.6)]);
        assert_eq!((measured.tar, measured.tar_standard_deviation, measured.far), (0.5, 0.5, 0.25));
    }

    #[test]
    fn folds_that_cannot_be_measured_are_refused() {
        let scores = [0.6, 0.5, 0.2, 0.3];
        let same = [true, false, true, false];
        let refused = |folds: &[usize], target| {
            k_fold_tar_at_far(ScoredPairs::new(&scores, &same).unwrap(), folds, target).unwrap_err()
        };
        assert_eq!(refused(&[0; 4], 0.5), EvalError::TooFewFolds { folds: 1 });
        assert_eq!(refused(&[0; 3], 0.5), EvalError::LengthMismatch { what: "folds", expected: 4, actual: 3 });
        assert_eq!(refused(&[0, 1, 1, 1], 0.5), EvalError::OneSidedFold { fold: 0, genuine: 1, impostors: 0 });
        assert_eq!(refused(&[0, 1, 0, 1], 0.5), EvalError::OneSidedTraining { fold: 0, genuine: 0, impostors: 2 });
        assert_eq!(refused(&[0, 0, 1, 1], 1.0), EvalError::InvalidTarget { target: 1.0 });
    }
}
