//! Compares every metric with `sklearn.tsv`, which `generate_sklearn.py` wrote with
//! scikit-learn 1.9.1 and NumPy 2.4.6.

use embedding_eval::{ScoredPairs, contiguous_folds, k_fold_accuracy, roc};

/// scikit-learn adds up areas in f64, which leaves a few roundings per point.
const SUMMATION_TOLERANCE: f64 = 1e-13;

#[derive(Default)]
struct Case {
    name: String,
    scores: Vec<f64>,
    same: Vec<bool>,
    far: Vec<f64>,
    tar: Vec<f64>,
    thresholds: Vec<f64>,
    area: f64,
    equal_error_rate: f64,
    /// Target, TAR, FAR, threshold.
    tar_at_far: Vec<[f64; 4]>,
    /// Empty if the case has no folds.
    folds: Vec<usize>,
    accuracies: Vec<f64>,
    best_thresholds: Vec<f64>,
    mean_and_std: [f64; 2],
}

impl Case {
    fn pairs(&self) -> ScoredPairs<'_> {
        ScoredPairs::new(&self.scores, &self.same).unwrap()
    }
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::<Case>::new();
    for line in include_str!("sklearn.tsv").lines() {
        let (key, text) = line.split_once('\t').unwrap();
        if key == "case" {
            cases.push(Case { name: text.to_owned(), ..Case::default() });
            continue;
        }

        let case = cases.last_mut().unwrap();
        let values: Vec<f64> = text.split(' ').map(|value| value.parse().unwrap()).collect();
        match key {
            "scores" => case.scores = values,
            "same" => case.same = values.iter().map(|&value| value == 1.0).collect(),
            "far" => case.far = values,
            "tar" => case.tar = values,
            "thresholds" => case.thresholds = values,
            "area" => case.area = values[0],
            "equal_error_rate" => case.equal_error_rate = values[0],
            "tar_at_far" => case.tar_at_far.push(values.try_into().unwrap()),
            "folds" => case.folds = values.iter().map(|&value| value as usize).collect(),
            "accuracies" => case.accuracies = values,
            "best_thresholds" => case.best_thresholds = values,
            "mean_and_std" => case.mean_and_std = values.try_into().unwrap(),
            _ => panic!("unknown key {key}"),
        }
    }
    assert_eq!(cases.len(), 12, "cases in sklearn.tsv");
    cases
}

#[test]
fn points_equal_roc_curve_bit_for_bit() {
    for case in cases() {
        let curve = roc(case.pairs()).unwrap();
        let column = |value: fn(&embedding_eval::RocPoint) -> f64| -> Vec<f64> {
            curve.points().map(|point| value(&point)).collect()
        };
        assert_eq!(column(|point| point.far), case.far, "{}", case.name);
        assert_eq!(column(|point| point.tar), case.tar, "{}", case.name);
        let thresholds = column(|point| point.threshold);
        assert_eq!(thresholds, case.thresholds, "{}", case.name);
    }
}

#[test]
fn area_equals_roc_auc_score() {
    for case in cases() {
        let area = roc(case.pairs()).unwrap().area();
        assert!((area - case.area).abs() <= SUMMATION_TOLERANCE, "{}: {area}, expected {}", case.name, case.area);
    }
}

#[test]
fn equal_error_rate_equals_the_exact_fraction() {
    for case in cases() {
        let rate = roc(case.pairs()).unwrap().equal_error_rate().rate;
        // One division, product and sum of numbers up to 1: each rounds by at most 1.2e-16.
        assert!(
            (rate - case.equal_error_rate).abs() <= 5e-16,
            "{}: {rate}, expected {}",
            case.name,
            case.equal_error_rate
        );
    }
}

#[test]
fn tar_at_far_equals_the_search_over_all_points() {
    for case in cases() {
        let curve = roc(case.pairs()).unwrap();
        assert_eq!(case.tar_at_far.len(), 6, "{}", case.name);
        for &[target, tar, far, threshold] in &case.tar_at_far {
            let measured = curve.tar_at_far(target).unwrap();
            assert_eq!(
                (measured.tar, measured.far, measured.threshold),
                (tar, far, threshold),
                "{} at {target}",
                case.name
            );
        }
    }
}

#[test]
fn k_fold_accuracy_equals_trying_every_threshold() {
    let mut compared = 0;
    for case in cases() {
        if case.folds.is_empty() {
            continue;
        }
        compared += 1;
        let result = k_fold_accuracy(case.pairs(), &case.folds).unwrap();
        let accuracies: Vec<_> = result.folds.iter().map(|fold| fold.accuracy).collect();
        assert_eq!(accuracies, case.accuracies, "{}", case.name);
        let thresholds: Vec<_> = result.folds.iter().map(|fold| fold.threshold).collect();
        assert_eq!(thresholds, case.best_thresholds, "{}", case.name);

        let [mean, standard_deviation] = case.mean_and_std;
        let error = (result.mean - mean).abs();
        assert!(error <= SUMMATION_TOLERANCE, "{}: {error}", case.name);
        let error = (result.standard_deviation - standard_deviation).abs();
        assert!(error <= SUMMATION_TOLERANCE, "{}: {error}", case.name);
        // s / sqrt(k) = std / sqrt(k - 1), as s^2 = std^2 * k / (k - 1).
        let standard_error = standard_deviation / ((accuracies.len() - 1) as f64).sqrt();
        let error = (result.standard_error - standard_error).abs();
        assert!(error <= SUMMATION_TOLERANCE, "{}: {error}", case.name);
    }
    assert_eq!(compared, 9, "cases with folds in sklearn.tsv");
}

#[test]
fn contiguous_folds_equal_unshuffled_kfold() {
    for case in cases() {
        if let Some(last) = case.folds.last() {
            let folds = contiguous_folds(case.scores.len(), last + 1).unwrap();
            assert_eq!(folds, case.folds, "{}", case.name);
        }
    }
}
