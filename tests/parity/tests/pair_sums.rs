//! Losses of pairs by their distance: the passes of a backend against ordinary operations and against plain loops.

use burn::tensor::{Int, Tensor, TensorData};
use burn_losses_kernels::pair_sums::{
    PairCost, PairRule, PairSums, kinds_of_labels, kinds_of_labels_reference, masks_of_labels, pair_sums,
    pair_sums_reference,
};
use parity::{Backend, backends};
use support::close::{Tolerance, assert_close, assert_finite};
use support::table::host;

const ANCHORS: usize = 9;
const REFERENCES: usize = 301;

fn rules() -> Vec<PairRule> {
    let cost = |margin, factor, squared| PairCost { margin, factor, squared };
    vec![
        PairRule { of_squares: false, positive: cost(0.0, 0.5, true), negative: cost(1.0, 0.5, true) },
        PairRule { of_squares: true, positive: cost(0.3, 0.5, false), negative: cost(1.5, 0.5, true) },
        PairRule { of_squares: false, positive: cost(0.25, 1.0, false), negative: cost(1.25, 2.0, false) },
    ]
}

/// Distances of which some are exactly a margin.
fn distances() -> Vec<f64> {
    (0..ANCHORS * REFERENCES).map(|place| ((place * 37 + place / 7) % 17) as f64 / 8.0).collect()
}

fn labels(count: usize) -> Vec<i64> {
    (0..count as i64).map(|row| if row % 6 == 5 { -1 - row % 4 } else { row * 5 % 4 }).collect()
}

fn ints(numbers: &[i64], backend: &Backend) -> Tensor<1, Int> {
    Tensor::from_data(TensorData::from(numbers), &backend.device)
}

fn matrix(numbers: &[f64], backend: &Backend) -> Tensor<2> {
    Tensor::from_data(TensorData::new(numbers.to_vec(), [ANCHORS, REFERENCES]), (&backend.device, backend.dtype))
}

/// 1, -1 or 0 for every pair, by the docs of `kinds_of_labels`.
fn plain_kinds(labels: &[i64], references: &[i64], in_batch: bool) -> Vec<f64> {
    let kind = |row: usize, column: usize| match (labels[row], references[column]) {
        (a, b) if a < 0 || b < 0 || in_batch && row == column => 0.0,
        (a, b) if a == b => 1.0,
        _ => -1.0,
    };
    (0..labels.len() * references.len()).map(|place| kind(place / references.len(), place % references.len())).collect()
}

#[test]
fn kinds_are_those_of_the_labels() {
    for backend in backends() {
        for (anchors, references, in_batch) in
            [(1, 1, true), (1, 1, false), (40, 40, true), (40, 40, false), (3, 70, false)]
        {
            let (of_anchors, of_references) = (labels(anchors), labels(references));
            let expected = plain_kinds(&of_anchors, &of_references, in_batch);
            for run in [kinds_of_labels, kinds_of_labels_reference] {
                let kinds = run(ints(&of_anchors, &backend), ints(&of_references, &backend), in_batch, backend.dtype);
                assert_eq!(kinds.dims(), [anchors, references]);
                assert_eq!(kinds.dtype(), backend.dtype);
                assert_eq!(host(kinds), expected, "{anchors} {references} {in_batch} on {}", backend.name);
            }
            let masks = masks_of_labels(ints(&of_anchors, &backend), ints(&of_references, &backend), in_batch);
            for (mask, kind) in masks.into_iter().zip([1.0, -1.0]) {
                let mask = mask.try_into_vec_as::<bool>().unwrap();
                let expected: Vec<bool> = expected.iter().map(|&other| other == kind).collect();
                assert_eq!(mask, expected, "{anchors} {references} {in_batch} on {}", backend.name);
            }
        }
    }
}

fn outcome(
    run: fn(Tensor<2>, Tensor<2>, PairRule) -> PairSums,
    numbers: &[f64],
    kinds: Tensor<2>,
    rule: PairRule,
    backend: &Backend,
) -> Vec<Vec<f64>> {
    let leaf = matrix(numbers, backend).require_grad();
    let PairSums { positive, negative } = run(leaf.clone(), kinds, rule);
    let weights = |seed: f64| {
        let weights: Vec<f64> = (0..ANCHORS).map(|row| 0.2 + (row as f64 * 0.37 + seed).sin()).collect();
        Tensor::<1>::from_data(TensorData::from(weights.as_slice()), (&backend.device, backend.dtype))
    };
    let total = (positive.losses.clone() * weights(0.0)).sum() + (negative.losses.clone() * weights(1.0)).sum();
    let gradient = host(leaf.grad(&total.backward()).expect("a gradient"));
    let sums = [positive.losses, positive.pairs, positive.active, negative.losses, negative.pairs, negative.active];
    sums.map(host).into_iter().chain([gradient]).collect()
}

#[test]
fn sums_and_their_gradient_equal_plain_loops_and_the_reference() {
    for backend in backends() {
        let share = if backend.is_double() { 1e-13 } else { 1e-5 };
        let (numbers, of_anchors, of_references) = (distances(), labels(ANCHORS), labels(REFERENCES));
        let kinds = plain_kinds(&of_anchors, &of_references, false);
        for rule in rules() {
            let mut expected = vec![vec![0.0; ANCHORS]; 6];
            expected.push(vec![0.0; ANCHORS * REFERENCES]);
            for (place, (&distance, &kind)) in
                numbers.iter().zip(&kinds).enumerate().filter(|(_, (_, kind))| **kind != 0.0)
            {
                let (row, first) = (place / REFERENCES, if kind > 0.0 { 0 } else { 3 });
                let cost = if kind > 0.0 { rule.positive } else { rule.negative };
                let measure = if rule.of_squares { distance * distance } else { distance };
                let excess = (kind * (measure - cost.margin)).max(0.0);
                let loss = cost.factor * if cost.squared { excess * excess } else { excess };
                let slope = cost.factor * if cost.squared { 2.0 * excess } else { f64::from(u8::from(excess > 0.0)) };
                expected[first][row] += loss;
                expected[first + 1][row] += 1.0;
                expected[first + 2][row] += f64::from(u8::from(loss != 0.0));
                let weight = 0.2 + (row as f64 * 0.37 + if kind > 0.0 { 0.0 } else { 1.0 }).sin();
                let inner = if rule.of_squares { 2.0 * distance } else { 1.0 };
                expected[6][place] = weight * slope * kind * inner;
            }
            for run in [pair_sums, pair_sums_reference] {
                let outcome = outcome(run, &numbers, matrix(&kinds, &backend), rule, &backend);
                for (place, (actual, expected)) in outcome.iter().zip(&expected).enumerate() {
                    let what = format!("{place} {rule:?} on {} {:?}", backend.name, backend.dtype);
                    assert_close(&what, actual, expected, Tolerance::new(share, share));
                }
            }
        }
    }
}

/// What is no pair reaches nothing; a NaN in a pair is not hidden.
#[test]
fn what_is_no_pair_reaches_nothing() {
    for backend in backends() {
        let kinds = plain_kinds(&labels(ANCHORS), &labels(REFERENCES), false);
        for rule in rules() {
            for run in [pair_sums, pair_sums_reference] {
                let clean = outcome(run, &distances(), matrix(&kinds, &backend), rule, &backend);
                for strange in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
                    let mut numbers = distances();
                    numbers.iter_mut().zip(&kinds).filter(|(_, kind)| **kind == 0.0).for_each(|(n, _)| *n = strange);
                    let actual = outcome(run, &numbers, matrix(&kinds, &backend), rule, &backend);
                    actual.iter().for_each(|numbers| assert_finite(&backend.name, numbers));
                    for (actual, clean) in actual.iter().zip(&clean) {
                        let what = format!("{strange} {rule:?} on {}", backend.name);
                        assert_close(&what, actual, clean, Tolerance::new(1e-5, 1e-6));
                    }
                }
                // Infinitely far, a negative has no loss and no slope.
                let mut numbers = distances();
                numbers.iter_mut().zip(&kinds).filter(|(_, kind)| **kind < 0.0).for_each(|(n, _)| *n = f64::INFINITY);
                let far = outcome(run, &numbers, matrix(&kinds, &backend), rule, &backend);
                far.iter().for_each(|numbers| assert_finite(&backend.name, numbers));
                for kind in [1.0, -1.0] {
                    let mut numbers = distances();
                    let place = kinds.iter().position(|&other| other == kind).expect("there is one");
                    numbers[place] = f64::NAN;
                    let actual = outcome(run, &numbers, matrix(&kinds, &backend), rule, &backend);
                    let first = if kind > 0.0 { 0 } else { 3 };
                    assert!(actual[first][place / REFERENCES].is_nan(), "{rule:?} on {}", backend.name);
                }
            }
        }
    }
}
