use crate::roc::Step;
use crate::{EvalError, Roc, RocPoint};

/// Where false accepts and false rejects are equally frequent; made by [`Roc::equal_error_rate`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EqualErrorRate {
    /// The rate, from 0 to 1; on the straight line between two points of the curve.
    pub rate: f64,
    /// The point of the curve where FAR and FRR differ least, with the higher threshold if two do.
    ///
    /// Its threshold can be used (infinite if nobody is accepted there); its FAR and FRR are rarely
    /// equal to `rate`.
    pub nearest: RocPoint,
}

/// The true accept rate that a bound on the false accept rate allows; made by [`Roc::tar_at_far`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TarAtFar {
    /// The bound asked for.
    pub target: f64,
    /// True accept rate, from 0 to 1.
    pub tar: f64,
    /// False accept rate measured at the threshold; at most `target`.
    pub far: f64,
    /// Accept when `score >= threshold`; infinite if any finite threshold accepts too many.
    pub threshold: f64,
    /// Number of impostor pairs that the measurement rests on.
    pub impostors: usize,
    /// Whether these are enough for `target`.
    pub support: ImpostorSupport,
}

impl TarAtFar {
    /// Whether [`support`](Self::support) is sufficient.
    pub fn is_reliable(&self) -> bool {
        self.support == ImpostorSupport::Sufficient
    }
}

/// Whether the impostor pairs are enough to measure a false accept rate.
///
/// The bounds assume independent pairs; all pairs of a few people know less than their number says.
///
/// # Source
///
/// Ten is a minimum of this crate: the "rule of 30" quoted in ISO/IEC 19795-1 asks for 30 errors
/// before a rate is known to 30 % (with 90 % confidence).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ImpostorSupport {
    /// `impostors < 1 / target`: one false accept is already too many, so what was measured is the
    /// true accept rate at a false accept rate of 0, not of `target`.
    BelowResolution,
    /// `1 / target <= impostors < 10 / target`: fewer than ten false accepts decide; unreliable.
    TooFew,
    /// `impostors >= 10 / target`.
    Sufficient,
}

impl ImpostorSupport {
    /// The support that `impostors` pairs give to the false accept rate `target`.
    pub(crate) fn of(impostors: usize, target: f64) -> Self {
        // Quotients, as for FAR itself: 1 / 1000 is exactly the f64 that 0.001 is read as.
        if 1.0 / impostors as f64 > target {
            Self::BelowResolution
        } else if 10.0 / impostors as f64 > target {
            Self::TooFew
        } else {
            Self::Sufficient
        }
    }
}

impl Roc {
    /// The error rate where the curve crosses `FAR = FRR`, with `FRR = 1 - TAR`.
    ///
    /// ```text
    /// gap(point) = FAR(point) - FRR(point)                -1 at the first point, 1 at the last
    /// after      = first point with gap >= 0;  before = the point in front of it
    /// weight     = -gap(before) / (gap(after) - gap(before))
    /// rate       = FAR(before) + weight * (FAR(after) - FAR(before))
    /// ```
    ///
    /// The gap never falls, so there is exactly one crossing. It is found in integers; `rate` is
    /// rounded only when it is computed. It always lies between the FAR, and between the FRR, of
    /// the two points.
    ///
    /// # Source
    ///
    /// ISO/IEC 19795-1 for FAR and FRR; the interpolation is the usual one for a finite sample.
    pub fn equal_error_rate(&self) -> EqualErrorRate {
        let after = self.steps.partition_point(|&step| self.gap(step) < 0);
        let before = self.steps[after - 1];
        let after = self.steps[after];

        let weight = -self.gap(before) as f64 / (self.gap(after) - self.gap(before)) as f64;
        let first = self.point(before);
        let second = self.point(after);
        let rate = first.far + weight * (second.far - first.far);

        let nearest = if self.gap(after) < -self.gap(before) { second } else { first };
        EqualErrorRate { rate, nearest }
    }

    /// The greatest TAR among the thresholds whose FAR is at most `target`.
    ///
    /// ```text
    /// tar = max { TAR(point) : FAR(point) <= target }
    /// ```
    ///
    /// Conservative: the measured `far` never exceeds `target`, and nothing is interpolated. Among
    /// points of the same TAR it is the one with the least FAR. Time is logarithmic in the number
    /// of points, so a curve can be drawn by asking for many targets.
    ///
    /// Few impostor pairs do not make an error but are [reported](TarAtFar::support):
    ///
    /// ```
    /// use embedding_eval::{ImpostorSupport, ScoredPairs, roc};
    ///
    /// let pairs = ScoredPairs::new(&[0.9, 0.5, 0.7, 0.1], &[true, true, false, false])?;
    /// let measured = roc(pairs)?.tar_at_far(0.001)?;
    /// assert_eq!((measured.tar, measured.far, measured.threshold), (0.5, 0.0, 0.9));
    /// assert_eq!(measured.support, ImpostorSupport::BelowResolution);
    /// # Ok::<(), embedding_eval::EvalError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`InvalidTarget`](EvalError::InvalidTarget) unless `0 < target < 1`.
    ///
    /// # Source
    ///
    /// ISO/IEC 19795-1. The InsightFace scripts take the point with the *nearest* FAR instead,
    /// which may exceed the target.
    pub fn tar_at_far(&self, target: f64) -> Result<TarAtFar, EvalError> {
        if !(target > 0.0 && target < 1.0) {
            return Err(EvalError::InvalidTarget { target });
        }

        // The first point has FAR 0, so at least one is allowed.
        let allowed = self.steps.partition_point(|&step| self.point(step).far <= target);
        let true_accepts = self.steps[allowed - 1].true_accepts;
        let strictest = self.steps.partition_point(|step| step.true_accepts < true_accepts);
        let point = self.point(self.steps[strictest]);

        Ok(TarAtFar {
            target,
            tar: point.tar,
            far: point.far,
            threshold: point.threshold,
            impostors: self.impostors,
            support: ImpostorSupport::of(self.impostors, target),
        })
    }

    /// `FAR - FRR` in units of `1 / (genuine * impostors)`.
    fn gap(&self, step: Step) -> i128 {
        let false_rejects = self.genuine - step.true_accepts;
        step.false_accepts as i128 * self.genuine as i128 - false_rejects as i128 * self.impostors as i128
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ScoredPairs, roc};

    fn curve(scores: &[f64], same: &[bool]) -> Roc {
        roc(ScoredPairs::new(scores, same).unwrap()).unwrap()
    }

    /// A genuine pair of score 0 below `impostors` impostor pairs of scores 1, 2, 3, ..., and one
    /// genuine pair above each of the highest ten.
    fn ladder(impostors: usize) -> Roc {
        let mut scores: Vec<f64> = (1..=impostors).map(|score| score as f64).collect();
        let mut same = vec![false; impostors];
        scores.push(0.0);
        scores.extend((0..10).map(|rank| (impostors - rank) as f64 + 0.5));
        same.resize(scores.len(), true);
        curve(&scores, &same)
    }

    #[test]
    fn equal_error_rate_of_a_point_on_the_diagonal_is_that_point() {
        // By hand: at 0.4, FAR = 1/2 and FRR = 1/2.
        let error = curve(&[0.1, 0.4, 0.35, 0.8], &[false, false, true, true]).equal_error_rate();
        assert_eq!(error.rate, 0.5);
        assert_eq!(error.nearest.threshold, 0.4);
    }

    #[test]
    fn equal_error_rate_is_interpolated() {
        // By hand: from (FAR, TAR) = (0, 2/3) a tie of one of each kind leads to (1/2, 1). The gap
        // goes from -1/3 to 1/2, so the weight is 2/5 and the rate 1/5.
        let scores = [0.9, 0.8, 0.5, 0.5, 0.1];
        let error = curve(&scores, &[true, true, true, false, false]).equal_error_rate();
        assert!((error.rate - 0.2).abs() < 1e-15, "{error:?}");
        assert_eq!(error.nearest.threshold, 0.8);
    }

    #[test]
    fn target_that_allows_a_whole_number_of_false_accepts_allows_them_all() {
        // 0.07 * 100 and 0.29 * 100 are not 7 and 29 in f64.
        assert_eq!(ladder(100).tar_at_far(0.07).unwrap().tar, 8.0 / 11.0);
        let scores: Vec<f64> = (0..101).map(f64::from).collect();
        let mut same = vec![false; 101];
        same[71] = true; // 29 impostor pairs are above it
        let measured = curve(&scores, &same).tar_at_far(0.29).unwrap();
        assert_eq!((measured.tar, measured.far), (1.0, 0.29));
    }

    #[test]
    fn greatest_tar_is_taken_at_its_least_far() {
        // By hand: 50 false accepts are allowed, but beyond the tenth genuine pair they gain nothing.
        let measured = ladder(100).tar_at_far(0.5).unwrap();
        assert_eq!((measured.tar, measured.far), (10.0 / 11.0, 0.09));
        assert_eq!(measured.threshold, 91.5);
    }

    #[test]
    fn threshold_is_infinite_if_the_best_score_is_an_impostor() {
        let measured = curve(&[0.9, 0.1], &[false, true]).tar_at_far(0.5).unwrap();
        assert_eq!((measured.tar, measured.far), (0.0, 0.0));
        assert_eq!(measured.threshold, f64::INFINITY);
    }

    #[test]
    fn support_changes_at_one_and_ten_over_the_target() {
        use ImpostorSupport::{BelowResolution, Sufficient, TooFew};

        for (impostors, support) in [(99, BelowResolution), (100, TooFew), (999, TooFew), (1000, Sufficient)] {
            let measured = ladder(impostors).tar_at_far(0.01).unwrap();
            assert_eq!(measured.support, support, "{impostors} impostor pairs");
            assert_eq!(measured.impostors, impostors);
            assert_eq!(measured.is_reliable(), support == Sufficient);
        }
    }

    #[test]
    fn target_outside_the_open_interval_is_refused() {
        for target in [0.0, -0.1, 1.0, 1.5, f64::INFINITY] {
            let error = ladder(10).tar_at_far(target).unwrap_err();
            assert_eq!(error, EvalError::InvalidTarget { target });
        }
        let error = ladder(10).tar_at_far(f64::NAN).unwrap_err();
        assert!(matches!(error, EvalError::InvalidTarget { target } if target.is_nan()));
    }
}
