//! Bad data is an error that names the offending numbers, never a figure.

use embedding_eval::{EvalError, ScoredPairs, contiguous_folds, k_fold_accuracy, roc};

#[test]
fn values_that_are_not_finite_are_named() {
    for (value, text) in [(f64::NAN, "NaN"), (f64::INFINITY, "inf"), (f64::NEG_INFINITY, "-inf")] {
        let error = ScoredPairs::new(&[0.5, value, 0.1], &[true, false, true]).unwrap_err();
        assert!(matches!(error, EvalError::NotFinite { index: 1, .. }));
        assert_eq!(error.to_string(), format!("scores[1] must be finite, got {text}"));
    }
}

#[test]
fn no_pairs_are_refused() {
    let error = ScoredPairs::new(&[], &[]).unwrap_err();
    assert_eq!(error, EvalError::Empty { what: "scores" });
    assert_eq!(error.to_string(), "scores must not be empty, got 0 items");
}

#[test]
fn every_score_needs_a_flag() {
    for same in [&[][..], &[true], &[true, false, true]] {
        let error = ScoredPairs::new(&[0.5, 0.1], same).unwrap_err();
        let expected = format!("same must have 2 items, got {}", same.len());
        assert_eq!(error.to_string(), expected);
    }
}

#[test]
fn one_kind_of_pairs_is_not_enough() {
    for count in [1, 4] {
        let scores = vec![0.5; count];
        let folds = vec![0; count];

        let same = vec![false; count];
        let impostors = ScoredPairs::new(&scores, &same).unwrap();
        let expected = EvalError::NoGenuinePairs { pairs: count };
        assert_eq!(roc(impostors).unwrap_err(), expected);
        assert_eq!(k_fold_accuracy(impostors, &folds).unwrap_err(), expected);

        let same = vec![true; count];
        let genuine = ScoredPairs::new(&scores, &same).unwrap();
        let expected = EvalError::NoImpostorPairs { pairs: count };
        assert_eq!(roc(genuine).unwrap_err(), expected);
        assert_eq!(k_fold_accuracy(genuine, &folds).unwrap_err(), expected);
    }
}

#[test]
fn messages_name_the_offending_numbers() {
    let pairs = ScoredPairs::new(&[0.5, 0.1], &[true, false]).unwrap();
    let curve = roc(pairs).unwrap();
    for (error, message) in [
        (curve.tar_at_far(1.5).unwrap_err(), "target false accept rate must be > 0 and < 1, got 1.5"),
        (contiguous_folds(5, 1).unwrap_err(), "at least 2 folds are needed, got 1"),
        (contiguous_folds(5, 6).unwrap_err(), "6 folds need at least 6 pairs, got 5"),
        (
            k_fold_accuracy(pairs, &[8, 9]).unwrap_err(),
            "the pairs outside fold 8 must be of both kinds, got 0 genuine and 1 impostors",
        ),
        (embedding_eval::all_pairs(&[1.0; 7], 3, &[0]).unwrap_err(), "7 values do not divide into rows of 3"),
        (embedding_eval::all_pairs(&[1.0; 3], 3, &[0]).unwrap_err(), "a pair needs at least 2 rows, got 1"),
        (
            EvalError::OneSidedFold { fold: 2, genuine: 5, impostors: 0 },
            "fold 2 must have pairs of both kinds, got 5 genuine and 0 impostors",
        ),
        (
            EvalError::InvalidBootstrap { resamples: 1, level: 0.5 },
            "a bootstrap needs at least 2 resamples and a level > 0 and < 1, got 1 and 0.5",
        ),
        (EvalError::RepeatedLabel { label: 4 }, "the gallery must have each label once, got 4 twice"),
        (
            EvalError::OneSidedProbes { mated: 3, unmated: 0 },
            "the probes must be of both kinds, got 3 with a label of the gallery and 0 without",
        ),
        (EvalError::NoGenuinePairs { pairs: 12 }, "0 of 12 pairs are genuine, at least 1 is needed"),
        (EvalError::NoImpostorPairs { pairs: 12 }, "0 of 12 pairs are impostors, at least 1 is needed"),
    ] {
        assert_eq!(error.to_string(), message);
    }
}
