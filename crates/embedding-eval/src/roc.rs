use crate::{EvalError, ScoredPairs};

/// How false and true accepts grow as the threshold falls; made by [`roc`].
#[derive(Clone, Debug)]
pub struct Roc {
    /// From nobody accepted to everybody accepted; the threshold falls strictly.
    pub(crate) steps: Vec<Step>,
    pub(crate) genuine: usize,
    pub(crate) impostors: usize,
}

/// One point of a [`Roc`]: what happens when every `score >= threshold` is accepted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RocPoint {
    /// Infinite at the first point, where nobody is accepted; one of the scores elsewhere.
    pub threshold: f64,
    /// Impostor pairs accepted.
    pub false_accepts: usize,
    /// Genuine pairs accepted.
    pub true_accepts: usize,
    /// False accept rate, `false_accepts / impostors`, from 0 to 1.
    pub far: f64,
    /// True accept rate, `true_accepts / genuine`, from 0 to 1.
    pub tar: f64,
}

/// A point without its rates, which a curve of millions of points need not store.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Step {
    pub(crate) threshold: f64,
    pub(crate) false_accepts: usize,
    pub(crate) true_accepts: usize,
}

/// The receiver operating characteristic, exact: one point for each distinct score.
///
/// ```text
/// far(threshold) = false_accepts / impostors = #{ impostor pairs with score >= threshold } / impostors
/// tar(threshold) = true_accepts  / genuine   = #{ genuine  pairs with score >= threshold } / genuine
/// ```
///
/// Equal scores form one group, which enters at once: between two points the curve is a straight
/// line, and a line that is neither horizontal nor vertical is a tie between both kinds of pairs.
/// Time is that of sorting the scores.
///
/// ```
/// use embedding_eval::{ScoredPairs, roc};
///
/// let pairs = ScoredPairs::new(&[0.1, 0.4, 0.35, 0.8], &[false, false, true, true])?;
/// let points: Vec<_> = roc(pairs)?.points().map(|point| (point.far, point.tar)).collect();
/// assert_eq!(points, [(0.0, 0.0), (0.0, 0.5), (0.5, 0.5), (0.5, 1.0), (1.0, 1.0)]);
/// # Ok::<(), embedding_eval::EvalError>(())
/// ```
///
/// # Errors
///
/// [`NoGenuinePairs`](EvalError::NoGenuinePairs) or
/// [`NoImpostorPairs`](EvalError::NoImpostorPairs) if one kind is missing.
///
/// # Source
///
/// ISO/IEC 19795-1, receiver operating characteristic. The points are those of scikit-learn's
/// `roc_curve` with `drop_intermediate=False`.
pub fn roc(pairs: ScoredPairs<'_>) -> Result<Roc, EvalError> {
    pairs.require_both_kinds()?;

    let genuine = scores_descending(pairs, true);
    let impostors = scores_descending(pairs, false);
    let groups = Groups { genuine: &genuine, impostors: &impostors, true_accepts: 0, false_accepts: 0 };

    // Counting first costs one more pass, growing a vector of this size twice its memory.
    let mut steps = Vec::with_capacity(groups.clone().count() + 1);
    steps.push(Step { threshold: f64::INFINITY, false_accepts: 0, true_accepts: 0 });
    steps.extend(groups);

    Ok(Roc { steps, genuine: genuine.len(), impostors: impostors.len() })
}

impl Roc {
    /// The points from (0, 0) to (1, 1); FAR and TAR never fall, the threshold strictly falls.
    pub fn points(&self) -> impl ExactSizeIterator<Item = RocPoint> + DoubleEndedIterator {
        self.steps.iter().map(|&step| self.point(step))
    }

    /// What happens when every `score >= threshold` is accepted: the last point whose threshold is not below.
    ///
    /// For a threshold that was chosen on other pairs.
    ///
    /// # Panics
    ///
    /// If `threshold` is NaN.
    pub fn at(&self, threshold: f64) -> RocPoint {
        assert!(!threshold.is_nan(), "at: threshold must be a number, got NaN");
        // The first threshold is infinite, so at least one point is not below.
        self.point(self.steps[self.steps.partition_point(|step| step.threshold >= threshold) - 1])
    }

    /// Number of genuine pairs behind the curve; at least 1.
    pub fn genuine(&self) -> usize {
        self.genuine
    }

    /// Number of impostor pairs behind the curve; at least 1.
    pub fn impostors(&self) -> usize {
        self.impostors
    }

    /// Area under the curve, from 0 to 1; the probability that a genuine pair scores higher.
    ///
    /// ```text
    /// area = #{ (g, i) : g > i } + #{ (g, i) : g = i } / 2,  divided by genuine * impostors
    /// ```
    ///
    /// over the scores `g` of all genuine and `i` of all impostor pairs (Mann-Whitney, ties count
    /// half). Counted in integers and divided once, so scores that are all equal give exactly 0.5.
    ///
    /// # Source
    ///
    /// Hanley, McNeil: The meaning and use of the area under a ROC curve, 1982. The same number as
    /// scikit-learn's `roc_auc_score`, up to its rounding.
    pub fn area(&self) -> f64 {
        let twice_wins: u128 = self
            .steps
            .windows(2)
            .map(|pair| {
                // The genuine pairs before this group win, those inside it are ties.
                let impostors = pair[1].false_accepts - pair[0].false_accepts;
                impostors as u128 * (pair[0].true_accepts as u128 + pair[1].true_accepts as u128)
            })
            .sum();
        let comparisons = self.genuine as u128 * self.impostors as u128;

        twice_wins as f64 / (2 * comparisons) as f64
    }

    pub(crate) fn point(&self, step: Step) -> RocPoint {
        RocPoint {
            threshold: step.threshold,
            false_accepts: step.false_accepts,
            true_accepts: step.true_accepts,
            far: step.false_accepts as f64 / self.impostors as f64,
            tar: step.true_accepts as f64 / self.genuine as f64,
        }
    }
}

fn scores_descending(pairs: ScoredPairs<'_>, wanted: bool) -> Vec<f64> {
    let count = if wanted { pairs.genuine() } else { pairs.impostors() };
    let mut scores = Vec::with_capacity(count);
    scores.extend(pairs.iter().filter(|&(_, same)| same == wanted).map(|(score, _)| score));
    // This order puts 0.0 before -0.0, but side by side; `Groups` compares and makes them equal.
    scores.sort_unstable_by(|a, b| b.total_cmp(a));
    scores
}

/// Merges two descending lists into one step for each distinct score.
#[derive(Clone)]
struct Groups<'a> {
    genuine: &'a [f64],
    impostors: &'a [f64],
    true_accepts: usize,
    false_accepts: usize,
}

impl Iterator for Groups<'_> {
    type Item = Step;

    fn next(&mut self) -> Option<Step> {
        let genuine = self.genuine.get(self.true_accepts).copied();
        let impostor = self.impostors.get(self.false_accepts).copied();
        let threshold = match (genuine, impostor) {
            (Some(genuine), Some(impostor)) => genuine.max(impostor),
            (genuine, impostor) => genuine.or(impostor)?,
        };

        while self.genuine.get(self.true_accepts) == Some(&threshold) {
            self.true_accepts += 1;
        }
        while self.impostors.get(self.false_accepts) == Some(&threshold) {
            self.false_accepts += 1;
        }

        Some(Step { threshold, false_accepts: self.false_accepts, true_accepts: self.true_accepts })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curve(scores: &[f64], same: &[bool]) -> Roc {
        roc(ScoredPairs::new(scores, same).unwrap()).unwrap()
    }

    #[test]
    fn equal_scores_enter_together() {
        // By hand: 0.5 belongs to one genuine and two impostor pairs.
        let curve = curve(&[0.5, 0.9, 0.5, 0.5], &[true, true, false, false]);
        let points: Vec<_> =
            curve.points().map(|point| (point.threshold, point.false_accepts, point.true_accepts)).collect();
        assert_eq!(points, [(f64::INFINITY, 0, 0), (0.9, 0, 1), (0.5, 2, 2)]);
        // 2 wins of 0.9 and 2 ties of 0.5, out of 4 comparisons.
        assert_eq!(curve.area(), 0.75);
    }

    #[test]
    fn a_foreign_threshold_accepts_the_scores_that_are_not_below() {
        // By hand: 0.9 is genuine, 0.5 one of each kind.
        let curve = curve(&[0.5, 0.9, 0.5], &[true, true, false]);
        for (threshold, accepted) in
            [(f64::INFINITY, (0, 0)), (0.95, (0, 0)), (0.9, (0, 1)), (0.51, (0, 1)), (0.5, (1, 2)), (-3.0, (1, 2))]
        {
            let point = curve.at(threshold);
            assert_eq!((point.false_accepts, point.true_accepts), accepted, "{threshold}");
        }
    }

    #[test]
    fn minus_zero_equals_zero() {
        let curve = curve(&[0.0, -0.0], &[false, true]);
        assert_eq!(curve.points().len(), 2);
        assert_eq!(curve.area(), 0.5);
    }

    #[test]
    fn area_counts_wins() {
        // By hand: of the four comparisons only 0.35 against 0.4 is lost.
        let scores = [0.1, 0.4, 0.35, 0.8];
        assert_eq!(curve(&scores, &[false, false, true, true]).area(), 0.75);
    }
}
