//! Compares with `insightface.tsv`, which `generate_insightface.py` wrote with functions of InsightFace, NumPy 2.4.6
//! and scikit-learn 1.9.1.

use embedding_eval::{ScoredPairs, contiguous_folds, insightface_accuracy, insightface_val_at_far};

/// Means and standard deviations are added up in another order.
const TOLERANCE: f64 = 1e-12;

#[test]
fn figures_are_those_of_insightface() {
    let mut cases: Vec<Vec<(&str, Vec<f64>)>> = Vec::new();
    for line in include_str!("insightface.tsv").lines() {
        let (key, text) = line.split_once('\t').unwrap();
        if key == "case" {
            cases.push(Vec::new());
        } else {
            let values = text.split(' ').map(|value| value.parse().unwrap()).collect();
            cases.last_mut().unwrap().push((key, values));
        }
    }
    assert_eq!(cases.len(), 3, "cases in insightface.tsv");
    for case in cases {
        let values = |key: &str| &case.iter().find(|(name, _)| *name == key).unwrap().1;
        let same: Vec<bool> = values("same").iter().map(|&same| same == 1.0).collect();
        let pairs = ScoredPairs::new(values("cosines"), &same).unwrap();
        let folds = contiguous_folds(pairs.count(), values("folds")[0] as usize).unwrap();

        let found = insightface_accuracy(pairs, &folds).unwrap();
        let column = |of: fn(&embedding_eval::FoldAccuracy) -> f64| found.folds.iter().map(of).collect::<Vec<_>>();
        assert_eq!(column(|fold| fold.accuracy), *values("accuracies"));
        assert_eq!(column(|fold| fold.threshold), *values("thresholds"));
        close(&[found.mean, found.standard_deviation], values("mean_and_std"));

        let mut targets = 0;
        for (_, expected) in case.iter().filter(|(key, _)| *key == "val") {
            let found = insightface_val_at_far(pairs, &folds, expected[0]).unwrap();
            let mut figures = vec![found.target, found.tar, found.tar_standard_deviation, found.far];
            figures.extend(found.folds.iter().map(|fold| fold.threshold));
            close(&figures, expected);
            targets += 1;
        }
        assert_eq!(targets, 3);
    }
}

fn close(found: &[f64], expected: &[f64]) {
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        assert!((found - expected).abs() < TOLERANCE, "{found} and {expected}");
    }
}
