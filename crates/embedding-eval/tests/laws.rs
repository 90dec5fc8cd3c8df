//! What must hold for any scores, checked on random ones against slow definitions.

use embedding_eval::{EvalError, Roc, ScoredPairs, contiguous_folds, k_fold_accuracy, roc};

struct Sample {
    scores: Vec<f64>,
    same: Vec<bool>,
}

impl Sample {
    fn roc(&self) -> Roc {
        roc(self.pairs()).unwrap()
    }

    fn pairs(&self) -> ScoredPairs<'_> {
        ScoredPairs::new(&self.scores, &self.same).unwrap()
    }

    fn map(&self, change: impl Fn(f64) -> f64) -> Self {
        Self { scores: self.scores.iter().map(|&score| change(score)).collect(), same: self.same.clone() }
    }

    fn of_kind(&self, wanted: bool) -> Vec<f64> {
        let pairs = self.scores.iter().zip(&self.same);
        pairs.filter(|&(_, &same)| same == wanted).map(|(&score, _)| score).collect()
    }
}

/// SplitMix64, as published by Steele, Lea and Flood (2014): repeatable on every machine.
struct Random(u64);

impl Random {
    /// A number from 0 to `bound - 1`.
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (bits ^ (bits >> 31)) % bound
    }
}

/// Every mix of: size, share of genuine pairs, and number of distinct scores. Scores are multiples
/// of 1/64 from -4 to 4, so that maps keep different scores different.
fn samples() -> Vec<Sample> {
    let mut random = Random(7);
    let mut samples = Vec::new();
    for count in [2, 3, 10, 57, 200] {
        for genuine_percent in [3, 50, 90] {
            for levels in [1, 3, 17, 512] {
                let mut same: Vec<bool> = (0..count).map(|_| random.below(100) < genuine_percent).collect();
                same[0] = true;
                same[1] = false;
                let scores = same.iter().map(|&same| {
                    let shift = if same { levels as f64 / 5.0 } else { 0.0 };
                    let level = (random.below(levels) as f64 + shift).floor();
                    (level.min(levels as f64 - 1.0) - levels as f64 / 2.0).floor() / 64.0
                });
                let scores = scores.collect();
                samples.push(Sample { scores, same });
            }
        }
    }
    samples
}

/// Folds of shuffled, unevenly numbered ids; at most 5.
fn random_folds(count: usize) -> Vec<usize> {
    let mut random = Random(11);
    (0..count).map(|_| 10 + 3 * random.below(5) as usize).collect()
}

#[test]
fn points_rise_from_nobody_to_everybody() {
    for sample in samples() {
        let points: Vec<_> = sample.roc().points().collect();
        let first = points[0];
        let last = points[points.len() - 1];
        assert_eq!((first.far, first.tar), (0.0, 0.0));
        assert_eq!(first.threshold, f64::INFINITY);
        assert_eq!((last.far, last.tar), (1.0, 1.0));
        for pair in points.windows(2) {
            assert!(pair[0].threshold > pair[1].threshold);
            assert!(pair[0].far <= pair[1].far && pair[0].tar <= pair[1].tar);
            assert!((pair[0].far, pair[0].tar) != (pair[1].far, pair[1].tar));
        }
    }
}

#[test]
fn points_count_the_scores_at_or_above_the_threshold() {
    for sample in samples() {
        for point in sample.roc().points() {
            let accepted = |kind| {
                let scores = sample.of_kind(kind);
                let accepted = scores.iter().filter(|&&score| score >= point.threshold);
                (accepted.count(), scores.len())
            };
            let (false_accepts, impostors) = accepted(false);
            let (true_accepts, genuine) = accepted(true);
            assert_eq!(point.false_accepts, false_accepts);
            assert_eq!(point.true_accepts, true_accepts);
            assert_eq!(point.far, false_accepts as f64 / impostors as f64);
            assert_eq!(point.tar, true_accepts as f64 / genuine as f64);
        }
    }
}

#[test]
fn area_is_the_share_of_comparisons_won() {
    for sample in samples() {
        let mut won = 0.0;
        let mut compared = 0.0;
        for genuine in sample.of_kind(true) {
            for impostor in sample.of_kind(false) {
                won += f64::from(u8::from(genuine > impostor)) / 2.0 + f64::from(u8::from(genuine >= impostor)) / 2.0;
                compared += 1.0;
            }
        }
        // Halves add up without rounding, so there is one division on either side.
        assert_eq!(sample.roc().area(), won / compared);
    }
}

#[test]
fn negated_scores_give_the_rest_of_the_area() {
    for sample in samples() {
        let area = sample.roc().area();
        let negated = sample.map(|score| -score).roc().area();
        assert!((negated - (1.0 - area)).abs() < 1e-15, "{area}, {negated}");
    }
}

#[test]
fn equal_scores_have_area_exactly_one_half() {
    for (genuine, impostors) in [(1, 1), (1, 3), (7, 3), (333, 1000)] {
        let mut same = vec![true; genuine];
        same.resize(genuine + impostors, false);
        let sample = Sample { scores: vec![0.1; same.len()], same };
        let curve = sample.roc();
        assert_eq!(curve.area(), 0.5);
        assert_eq!(curve.points().len(), 2);
        let error = curve.equal_error_rate();
        assert_eq!(error.rate, 0.5);
        // Both points are equally far from FAR = FRR.
        assert_eq!(error.nearest.threshold, f64::INFINITY);
        assert_eq!(curve.tar_at_far(0.999).unwrap().tar, 0.0);
    }
}

#[test]
fn strictly_rising_maps_change_thresholds_only() {
    let maps: [fn(f64) -> f64; 4] =
        [f64::exp, |score| score * score * score + score, |score| 1e200 * score, |score| 2.0 * score + 1000.0];
    for sample in samples() {
        let folds = random_folds(sample.scores.len());
        let curve = sample.roc();
        let accuracy = k_fold_accuracy(sample.pairs(), &folds);
        for change in maps {
            let mapped = sample.map(change);
            let mapped_curve = mapped.roc();
            assert_eq!(mapped_curve.points().len(), curve.points().len());
            for (point, mapped) in curve.points().zip(mapped_curve.points()) {
                assert_eq!((point.far, point.tar), (mapped.far, mapped.tar));
                assert_eq!(change(point.threshold), mapped.threshold);
            }
            assert_eq!(mapped_curve.area(), curve.area());
            assert_eq!(mapped_curve.equal_error_rate().rate, curve.equal_error_rate().rate);
            match (&accuracy, k_fold_accuracy(mapped.pairs(), &folds)) {
                (Ok(accuracy), Ok(mapped)) => {
                    assert_eq!(mapped.mean, accuracy.mean);
                    for (fold, mapped) in accuracy.folds.iter().zip(&mapped.folds) {
                        assert_eq!(mapped.accuracy, fold.accuracy);
                        assert_eq!(mapped.threshold, change(fold.threshold));
                    }
                }
                (accuracy, mapped) => assert_eq!(accuracy.as_ref(), mapped.as_ref()),
            }
        }
    }
}

#[test]
fn order_of_the_pairs_does_not_matter() {
    for sample in samples() {
        let mut reversed = sample.map(|score| score);
        reversed.scores.reverse();
        reversed.same.reverse();
        let points: Vec<_> = sample.roc().points().collect();
        assert_eq!(reversed.roc().points().collect::<Vec<_>>(), points);
    }
}

#[test]
fn tar_never_falls_as_the_far_target_grows() {
    for sample in samples() {
        let curve = sample.roc();
        let mut least = 0.0;
        for step in 1..500 {
            let target = f64::from(step) / 500.0;
            let measured = curve.tar_at_far(target).unwrap();
            assert!(measured.far <= target, "{measured:?}");
            assert!(measured.tar >= least, "{measured:?} after {least}");
            least = measured.tar;
            for point in curve.points() {
                assert!(point.far > target || point.tar <= measured.tar);
                assert!(point.tar < measured.tar || point.far >= measured.far);
            }
        }
    }
}

#[test]
fn equal_error_rate_lies_between_the_points_around_it() {
    for sample in samples() {
        let curve = sample.roc();
        let error = curve.equal_error_rate();
        // Tightest bounds over all points: below FAR = FRR, FAR is too low and FRR too high.
        let (mut low, mut high) = (0.0_f64, 1.0_f64);
        for point in curve.points() {
            let frr = 1.0 - point.tar;
            low = low.max(point.far.min(frr));
            high = high.min(point.far.max(frr));
        }
        assert!(low - 1e-15 <= error.rate && error.rate <= high + 1e-15, "{low} <= {} <= {high}", error.rate);
        let nearest_gap = (error.nearest.far - (1.0 - error.nearest.tar)).abs();
        for point in curve.points() {
            assert!(nearest_gap <= (point.far - (1.0 - point.tar)).abs() + 1e-15);
        }
    }
}

#[test]
fn swapping_the_kinds_and_the_sign_keeps_the_equal_error_rate() {
    for sample in samples() {
        let mut swapped = sample.map(|score| -score);
        swapped.same.iter_mut().for_each(|same| *same = !*same);
        let rate = sample.roc().equal_error_rate().rate;
        let swapped = swapped.roc().equal_error_rate().rate;
        assert!((rate - swapped).abs() < 1e-15, "{rate} and {swapped}");
    }
}

#[test]
fn k_fold_accuracy_equals_its_definition() {
    let mut compared = 0;
    for sample in samples() {
        let folds = random_folds(sample.scores.len());
        let result = match k_fold_accuracy(sample.pairs(), &folds) {
            Ok(result) => result,
            Err(EvalError::OneSidedTraining { .. } | EvalError::TooFewFolds { .. }) => continue,
            Err(error) => panic!("{error}"),
        };
        compared += 1;
        assert!(result.folds.is_sorted_by_key(|fold| fold.fold));

        for fold in &result.folds {
            let correct = |threshold: f64, inside: bool| {
                (0..folds.len())
                    .filter(|&index| (folds[index] == fold.fold) == inside)
                    .filter(|&index| (sample.scores[index] >= threshold) == sample.same[index])
                    .count()
            };
            let best = (0..folds.len())
                .filter(|&index| folds[index] != fold.fold)
                .map(|index| sample.scores[index])
                .chain([f64::INFINITY])
                .max_by_key(|&threshold| correct(threshold, false))
                .unwrap();
            let strictest = (0..folds.len())
                .map(|index| sample.scores[index])
                .chain([f64::INFINITY])
                .filter(|&threshold| correct(threshold, false) == correct(best, false))
                .filter(|threshold| {
                    threshold.is_infinite()
                        || (0..folds.len()).any(|index| folds[index] != fold.fold && sample.scores[index] == *threshold)
                })
                .fold(f64::NEG_INFINITY, f64::max);
            assert_eq!(fold.threshold, strictest);

            let pairs = folds.iter().filter(|&&id| id == fold.fold).count();
            assert_eq!(fold.pairs, pairs);
            assert_eq!(fold.accuracy, correct(strictest, true) as f64 / pairs as f64);
        }
    }
    assert!(compared >= 24, "only {compared} samples allow folds");
}

#[test]
fn folds_cover_all_pairs_evenly() {
    for pairs in 2..60 {
        for count in 2..=pairs {
            let folds = contiguous_folds(pairs, count).unwrap();
            assert_eq!(folds.len(), pairs);
            assert!(folds.is_sorted());
            for fold in 0..count {
                let length = folds.iter().filter(|&&id| id == fold).count();
                assert!(length == pairs / count || length == pairs / count + 1);
            }
        }
    }
}
