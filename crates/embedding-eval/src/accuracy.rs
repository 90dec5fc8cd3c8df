use std::collections::BTreeMap;

use crate::{EvalError, ScoredPairs};

/// Accuracy over folds, each with the threshold of the others; made by [`k_fold_accuracy`].
#[derive(Clone, Debug, PartialEq)]
pub struct KFoldAccuracy {
    /// Mean of the accuracies of the `k` folds, each fold counting the same; from 0 to 1.
    pub mean: f64,
    /// `sqrt(sum of (accuracy - mean)^2 / k)`: the population's, as in NumPy's `std` and in the
    /// figures that InsightFace prints.
    pub standard_deviation: f64,
    /// `s / sqrt(k)` with `s = sqrt(sum of (accuracy - mean)^2 / (k - 1))`: the standard error of
    /// the mean, which LFW's View 2 asks for.
    pub standard_error: f64,
    /// One entry for each fold, by ascending fold number.
    pub folds: Vec<FoldAccuracy>,
}

/// The accuracy on one fold, with the threshold chosen on the others.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FoldAccuracy {
    /// Number of the fold.
    pub fold: usize,
    /// Pairs in the fold.
    pub pairs: usize,
    /// Correct decisions divided by `pairs`; from 0 to 1.
    pub accuracy: f64,
    /// A score from the other folds, or infinite if they are best served by accepting nobody.
    pub threshold: f64,
}

/// The accuracy on each fold, with the threshold that is best on all other folds.
///
/// ```text
/// correct(threshold, set) = #{ pairs in set : (score >= threshold) == same }
/// threshold[f] = the threshold with the most correct(threshold, all folds but f)
/// accuracy[f]  = correct(threshold[f], fold f) / pairs in fold f
/// mean         = sum of accuracy[f] / k
/// ```
///
/// `folds` gives the fold number of each pair: from [`contiguous_folds`](crate::contiguous_folds),
/// or any numbers of your own. The candidates are all scores of the other folds, and infinity
/// (accept nobody). **Of several best thresholds the highest is taken**, which accepts the fewest;
/// so only the order of the scores matters, not their scale. Time is that of sorting the scores
/// plus one pass for each fold.
///
/// # Errors
///
/// - [`LengthMismatch`](EvalError::LengthMismatch) if there is not one fold number for each pair
/// - [`NoGenuinePairs`](EvalError::NoGenuinePairs) or
///   [`NoImpostorPairs`](EvalError::NoImpostorPairs) if one kind is missing
/// - [`TooFewFolds`](EvalError::TooFewFolds) if all pairs are in one fold
/// - [`OneSidedTraining`](EvalError::OneSidedTraining) if one kind is missing outside a fold, as
///   when pairs sorted by kind are cut in two
///
/// # Source
///
/// Huang, Ramesh, Berg, Learned-Miller: Labeled Faces in the Wild, technical report 07-49, 2007,
/// View 2. InsightFace does the same over a grid of 400 thresholds and also takes the strictest.
pub fn k_fold_accuracy(pairs: ScoredPairs<'_>, folds: &[usize]) -> Result<KFoldAccuracy, EvalError> {
    if folds.len() != pairs.count() {
        return Err(EvalError::LengthMismatch { what: "folds", expected: pairs.count(), actual: folds.len() });
    }
    pairs.require_both_kinds()?;
    let tallies = tally_folds(pairs, folds);
    if tallies.len() < 2 {
        return Err(EvalError::TooFewFolds { folds: tallies.len() });
    }

    let ranked = rank(pairs, folds);
    let mut results = Vec::with_capacity(tallies.len());
    for (&fold, &own) in &tallies {
        let genuine = pairs.genuine() - own.genuine;
        let impostors = pairs.impostors() - own.impostors;
        if genuine == 0 || impostors == 0 {
            return Err(EvalError::OneSidedTraining { fold, genuine, impostors });
        }
        results.push(assess(&ranked, fold, own));
    }

    Ok(summarize(results))
}

#[derive(Clone, Copy, Default)]
struct Tally {
    genuine: usize,
    impostors: usize,
}

struct RankedPair {
    score: f64,
    fold: usize,
    same: bool,
}

fn tally_folds(pairs: ScoredPairs<'_>, folds: &[usize]) -> BTreeMap<usize, Tally> {
    let mut tallies = BTreeMap::<usize, Tally>::new();
    for ((_, same), &fold) in pairs.iter().zip(folds) {
        let tally = tallies.entry(fold).or_default();
        if same {
            tally.genuine += 1;
        } else {
            tally.impostors += 1;
        }
    }
    tallies
}

/// All pairs by falling score.
fn rank(pairs: ScoredPairs<'_>, folds: &[usize]) -> Vec<RankedPair> {
    let mut ranked: Vec<_> =
        pairs.iter().zip(folds).map(|((score, same), &fold)| RankedPair { score, fold, same }).collect();
    ranked.sort_unstable_by(|a, b| b.score.total_cmp(&a.score));
    ranked
}

/// Lowers the threshold through all scores and keeps the best for the other folds.
///
/// `correct = impostors + accepted genuine - accepted impostors`, so a balance of accepted pairs
/// (+1 genuine, -1 impostor) is all that has to be followed. A group without pairs of the other
/// folds leaves their balance as it is, so its score is never chosen.
fn assess(ranked: &[RankedPair], fold: usize, own: Tally) -> FoldAccuracy {
    let mut others_balance = 0_isize;
    let mut own_balance = 0_isize;
    let mut best_balance = 0;
    let mut own_balance_at_best = 0;
    let mut threshold = f64::INFINITY;

    for group in ranked.chunk_by(|a, b| a.score == b.score) {
        for pair in group {
            let balance = if pair.fold == fold { &mut own_balance } else { &mut others_balance };
            *balance += if pair.same { 1 } else { -1 };
        }
        // Strictly greater: of equally good thresholds the first, hence the highest, stays.
        if others_balance > best_balance {
            best_balance = others_balance;
            own_balance_at_best = own_balance;
            threshold = group[0].score;
        }
    }

    let pairs = own.genuine + own.impostors;
    let correct = own.impostors.strict_add_signed(own_balance_at_best);
    FoldAccuracy { fold, pairs, accuracy: correct as f64 / pairs as f64, threshold }
}

pub(crate) fn summarize(folds: Vec<FoldAccuracy>) -> KFoldAccuracy {
    let count = folds.len() as f64;
    let mean = folds.iter().map(|fold| fold.accuracy).sum::<f64>() / count;
    let squares: f64 = folds.iter().map(|fold| (fold.accuracy - mean).powi(2)).sum();

    KFoldAccuracy {
        mean,
        standard_deviation: (squares / count).sqrt(),
        standard_error: (squares / (count - 1.0) / count).sqrt(),
        folds,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accuracy(scores: &[f64], same: &[bool], folds: &[usize]) -> Result<KFoldAccuracy, EvalError> {
        k_fold_accuracy(ScoredPairs::new(scores, same).unwrap(), folds)
    }

    #[test]
    fn threshold_comes_from_the_other_fold() {
        // By hand: fold 7 alone is best cut at 0.8, fold 3 alone at 0.4; applied to each other, the
        // genuine 0.4 is rejected (1 of 2 correct) and the impostor 0.3 is not accepted (2 of 2).
        let result = accuracy(&[0.4, 0.1, 0.8, 0.3], &[true, false, true, false], &[3, 3, 7, 7]).unwrap();
        let folds: Vec<_> =
            result.folds.iter().map(|fold| (fold.fold, fold.pairs, fold.accuracy, fold.threshold)).collect();
        assert_eq!(folds, [(3, 2, 0.5, 0.8), (7, 2, 1.0, 0.4)]);
        assert_eq!(result.mean, 0.75);
        assert_eq!(result.standard_deviation, 0.25);
        // s = sqrt(2 * 0.25^2 / 1), divided by sqrt(2).
        assert!((result.standard_error - 0.25).abs() < 1e-15);
    }

    #[test]
    fn of_equally_good_thresholds_the_highest_is_taken() {
        // By hand, outside fold 1: cut at 0.9 the genuine 0.5 is wrong, cut at 0.5 the impostor 0.7
        // is: one error each, and more at any other cut.
        let result = accuracy(&[0.9, 0.7, 0.5, 0.8, 0.2], &[true, false, true, true, false], &[0, 0, 0, 1, 1]).unwrap();
        assert_eq!(result.folds[1].threshold, 0.9);
        assert_eq!(result.folds[1].accuracy, 0.5);
    }

    #[test]
    fn nobody_is_accepted_where_that_is_best() {
        // By hand, outside fold 1: the impostor is above the genuine pair, so accepting any loses
        // at least as much as it gains.
        let result = accuracy(&[0.9, 0.1, 0.8, 0.3], &[false, true, true, false], &[0, 0, 1, 1]).unwrap();
        assert_eq!(result.folds[1].threshold, f64::INFINITY);
        assert_eq!(result.folds[1].accuracy, 0.5);
    }

    #[test]
    fn pairs_sorted_by_kind_cannot_be_cut_in_two() {
        for (same, genuine, impostors) in [([true, true, false, false], 0, 2), ([false, false, true, true], 2, 0)] {
            let error = accuracy(&[0.9, 0.8, 0.2, 0.1], &same, &[0, 0, 1, 1]).unwrap_err();
            let expected = EvalError::OneSidedTraining { fold: 0, genuine, impostors };
            assert_eq!(error, expected);
        }
    }

    #[test]
    fn minus_zero_equals_zero() {
        // By hand: outside fold 1 a cut at zero takes all three, which is best by one.
        let result =
            accuracy(&[0.0, -0.0, 0.0, 0.5, -0.5], &[true, true, false, true, false], &[0, 0, 0, 1, 1]).unwrap();
        assert_eq!(result.folds[1].threshold, 0.0);
        assert_eq!(result.folds[1].accuracy, 1.0);
    }

    #[test]
    fn one_fold_is_refused() {
        let error = accuracy(&[0.9, 0.1], &[true, false], &[4, 4]).unwrap_err();
        assert_eq!(error, EvalError::TooFewFolds { folds: 1 });
    }

    #[test]
    fn fold_numbers_must_match_the_pairs() {
        let error = accuracy(&[0.9, 0.1], &[true, false], &[0, 1, 1]).unwrap_err();
        let expected = EvalError::LengthMismatch { what: "folds", expected: 2, actual: 3 };
        assert_eq!(error, expected);
    }
}
