//! The figures of InsightFace and facenet, on their grids of thresholds.

use std::collections::BTreeMap;

use crate::accuracy::summarize;
use crate::tar_over_folds::{FoldTar, KFoldTar};
use crate::{EvalError, FoldAccuracy, KFoldAccuracy, ScoredPairs};

/// Thresholds `0, step, 2 * step, ...` below 4, the greatest squared distance of unit vectors: `arange(0, 4, step)`.
struct Grid {
    step: f64,
    count: usize,
}

const ACCURACY: Grid = Grid { step: 0.01, count: 400 };
const FALSE_ACCEPTS: Grid = Grid { step: 0.001, count: 4000 };

impl Grid {
    fn threshold(&self, place: usize) -> f64 {
        place as f64 * self.step
    }

    /// The place of the first threshold that accepts a distance; `count` if none does.
    fn first_accepting(&self, distance: f64) -> usize {
        let (mut low, mut high) = (0, self.count);
        while low < high {
            let middle = low.midpoint(high);
            if distance < self.threshold(middle) { high = middle } else { low = middle + 1 }
        }
        low
    }
}

/// How many pairs of each kind a fold has, and which thresholds accept them first.
struct Tally {
    /// Genuine and impostor pairs.
    count: [usize; 2],
    /// For each place of the grid and one behind it: how many genuine and impostor pairs are first accepted there.
    first_accepted: Vec<[usize; 2]>,
}

impl Tally {
    fn empty(grid: &Grid) -> Self {
        Self { count: [0; 2], first_accepted: vec![[0; 2]; grid.count + 1] }
    }

    /// Genuine and impostor pairs that each threshold accepts.
    fn accepted(&self) -> impl Iterator<Item = [usize; 2]> {
        let places = &self.first_accepted[..self.first_accepted.len() - 1];
        places.iter().scan([0; 2], |sum, first| {
            *sum = [sum[0] + first[0], sum[1] + first[1]];
            Some(*sum)
        })
    }
}

/// Two unit vectors of this cosine are so far apart, squared.
fn squared_distance(cosine: f64) -> f64 {
    2.0 - 2.0 * cosine
}

/// For each fold: its pairs, and all pairs of the others. Both must have both kinds.
fn tallies(pairs: ScoredPairs<'_>, folds: &[usize], grid: &Grid) -> Result<BTreeMap<usize, [Tally; 2]>, EvalError> {
    if folds.len() != pairs.count() {
        return Err(EvalError::LengthMismatch { what: "folds", expected: pairs.count(), actual: folds.len() });
    }
    pairs.require_both_kinds()?;
    let mut tallies = BTreeMap::new();
    for &fold in folds {
        tallies.entry(fold).or_insert_with(|| [Tally::empty(grid), Tally::empty(grid)]);
    }
    if tallies.len() < 2 {
        return Err(EvalError::TooFewFolds { folds: tallies.len() });
    }
    for ((cosine, same), own) in pairs.iter().zip(folds) {
        let place = grid.first_accepting(squared_distance(cosine));
        for (fold, sides) in &mut tallies {
            let tally = &mut sides[usize::from(fold != own)];
            tally.count[usize::from(!same)] += 1;
            tally.first_accepted[place][usize::from(!same)] += 1;
        }
    }
    for (&fold, [_, others]) in &tallies {
        let [genuine, impostors] = others.count;
        if genuine == 0 || impostors == 0 {
            return Err(EvalError::OneSidedTraining { fold, genuine, impostors });
        }
    }
    Ok(tallies)
}

/// The accuracy as InsightFace measures it: [`k_fold_accuracy`](crate::k_fold_accuracy) on a grid of 400 thresholds.
///
/// ```text
/// distance   = 2 - 2 * cosine                the scores of the pairs are cosines
/// accepted   = distance < threshold          strictly
/// thresholds = 0, 0.01, ..., 3.99            of several best ones the first, which accepts the fewest
/// ```
///
/// The thresholds of the result are squared distances. InsightFace prints `mean` and `standard_deviation`; LFW asks for
/// the standard error, which is the latter divided by 3 for ten folds.
///
/// # Errors
///
/// As [`k_fold_accuracy`](crate::k_fold_accuracy).
///
/// # Source
///
/// `calculate_roc` in `recognition/arcface_torch/eval/verification.py` of InsightFace, which has it from facenet.
pub fn insightface_accuracy(pairs: ScoredPairs<'_>, folds: &[usize]) -> Result<KFoldAccuracy, EvalError> {
    let results = tallies(pairs, folds, &ACCURACY)?.into_iter().map(|(fold, [own, others])| {
        let correct = |tally: &Tally, [genuine, impostors]: [usize; 2]| genuine + tally.count[1] - impostors;
        let mut best = (0, 0);
        for (place, accepted) in others.accepted().enumerate() {
            let count = correct(&others, accepted);
            if place == 0 || count > best.1 {
                best = (place, count);
            }
        }
        let accepted = own.accepted().nth(best.0).unwrap_or([0; 2]);
        let pairs = own.count[0] + own.count[1];
        let accuracy = correct(&own, accepted) as f64 / pairs as f64;
        FoldAccuracy { fold, pairs, accuracy, threshold: ACCURACY.threshold(best.0) }
    });
    Ok(summarize(results.collect()))
}

/// VAL at a false accept rate as InsightFace measures it: the threshold of each fold is from the others.
///
/// ```text
/// thresholds   = 0, 0.001, ..., 3.999        squared distances, as for the accuracy
/// threshold[f] = where the line through (FAR on the other folds, threshold) has FAR = target,
///                or 0, which accepts nobody, if no threshold of the grid reaches the target
/// ```
///
/// So the false accept rate may exceed the target, unlike with [`k_fold_tar_at_far`](crate::k_fold_tar_at_far). Where
/// several thresholds have one FAR, the line goes through the last of them, as `numpy.interp` has it; the `interp1d`
/// that InsightFace calls refuses such data in new versions of SciPy.
///
/// # Errors
///
/// As [`k_fold_tar_at_far`](crate::k_fold_tar_at_far).
///
/// # Source
///
/// `calculate_val` in `recognition/arcface_torch/eval/verification.py` of InsightFace.
pub fn insightface_val_at_far(pairs: ScoredPairs<'_>, folds: &[usize], target: f64) -> Result<KFoldTar, EvalError> {
    if !(target > 0.0 && target < 1.0) {
        return Err(EvalError::InvalidTarget { target });
    }
    let mut results = Vec::new();
    for (fold, [_, others]) in tallies(pairs, folds, &FALSE_ACCEPTS)? {
        let rates: Vec<f64> = others.accepted().map(|[_, accepted]| accepted as f64 / others.count[1] as f64).collect();
        let threshold = threshold_at(target, &rates);
        let accepted = |cosine: f64| squared_distance(cosine) < threshold;
        let own = pairs.iter().zip(folds).filter(|(_, other)| **other == fold).map(|(pair, _)| pair);
        results.push(FoldTar::of(fold, threshold, own, accepted)?);
    }
    Ok(KFoldTar::of(target, results))
}

/// The rates rise with the place of the threshold, from 0 on.
fn threshold_at(target: f64, rates: &[f64]) -> f64 {
    let grid = FALSE_ACCEPTS;
    let above = rates.partition_point(|rate| *rate <= target);
    let (Some(&before), Some(&after)) = (rates.get(above.wrapping_sub(1)), rates.get(above)) else {
        let last = rates.len() - 1;
        return if rates[last] >= target { grid.threshold(last) } else { 0.0 };
    };
    let (low, high) = (grid.threshold(above - 1), grid.threshold(above));
    (high - low) / (after - before) * (target - before) + low
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_on_the_grid_is_that_of_the_first_greater_threshold() {
        for (distance, place) in [(-0.1, 0), (0.0, 1), (0.005, 1), (0.01, 2), (3.985, 399), (3.99, 400), (4.0, 400)] {
            assert_eq!(ACCURACY.first_accepting(distance), place, "{distance}");
        }
    }

    #[test]
    fn a_target_that_is_never_reached_accepts_nobody() {
        // By hand: at 3.999 one of two impostors is accepted.
        let rates: Vec<f64> = (0..4000).map(|place| if place < 2000 { 0.0 } else { 0.5 }).collect();
        assert_eq!(threshold_at(0.6, &rates), 0.0);
        assert_eq!(threshold_at(0.5, &rates), 3.999);
        // Half-way up the step from 1.999 to 2.
        assert!((threshold_at(0.25, &rates) - 1.9995).abs() < 1e-12);
    }
}
