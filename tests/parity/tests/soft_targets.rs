//! Losses of logits against a probability for every class: the passes of a backend against ordinary operations and against
//! plain `f64`.

use burn::tensor::{Device, Tensor, TensorData};
use burn_losses_kernels::soft_targets::{SoftRule, soft_losses, soft_losses_reference};
use parity::{Backend, backends};
use support::close::{Tolerance, assert_close, assert_finite};
use support::table::host;

fn rules() -> [SoftRule; 4] {
    [
        SoftRule { smoothing: 0.0, gamma: 0.0 },
        SoftRule { smoothing: 0.1, gamma: 0.0 },
        SoftRule { smoothing: 0.0, gamma: 2.0 },
        SoftRule { smoothing: 0.3, gamma: 0.5 },
    ]
}

fn matrix(numbers: &[f64], rows: usize, backend: &Backend) -> Tensor<2> {
    let data = TensorData::new(numbers.to_vec(), [rows, numbers.len() / rows]);
    Tensor::from_data(data, (&backend.device, backend.dtype))
}

fn vector(numbers: &[f64], backend: &Backend) -> Tensor<1> {
    Tensor::from_data(TensorData::from(numbers), (&backend.device, backend.dtype))
}

type Run = fn(Tensor<2>, Tensor<2>, Option<Tensor<1>>, SoftRule) -> Tensor<1>;

/// Losses, and the gradients of logits and targets, each row with a weight of its own.
fn outcome(
    run: Run,
    [logits, targets]: [&[f64]; 2],
    weights: Option<&[f64]>,
    rule: SoftRule,
    rows: usize,
    backend: &Backend,
) -> [Vec<f64>; 3] {
    let leaves = [logits, targets].map(|numbers| matrix(numbers, rows, backend).require_grad());
    let losses = run(leaves[0].clone(), leaves[1].clone(), weights.map(|weights| vector(weights, backend)), rule);
    let of_rows: Vec<f64> = (0..rows).map(|row| 0.4 + (row as f64 * 0.7).sin()).collect();
    let gradients = (losses.clone() * vector(&of_rows, backend)).sum().backward();
    let [of_logits, of_targets] = leaves.map(|leaf| host(leaf.grad(&gradients).expect("a gradient")));
    [host(losses), of_logits, of_targets]
}

fn logits(count: usize) -> Vec<f64> {
    (0..count).map(|place| ((place * 37 % 301) as f64 - 150.0) / 21.3).collect()
}

/// Distributions, of which many numbers are 0.
fn targets(rows: usize, classes: usize) -> Vec<f64> {
    let raw: Vec<f64> = (0..rows * classes).map(|place| [0.0, 1.0, 0.0, 0.3, 0.0][place * 7 % 5]).collect();
    let of_row = |row: &[f64]| {
        let total = row.iter().sum::<f64>().max(0.3);
        row.iter().map(|number| number / total).collect::<Vec<_>>()
    };
    raw.chunks(classes).flat_map(of_row).collect()
}

#[test]
fn the_passes_of_a_backend_are_the_reference() {
    for backend in backends() {
        let tolerance = if backend.is_double() { Tolerance::new(1e-11, 1e-13) } else { Tolerance::new(1e-4, 2e-6) };
        for (rows, classes) in [(1, 1), (3, 2), (5, 17), (2, 3000)] {
            let (logits, targets) = (logits(rows * classes), targets(rows, classes));
            let weights: Vec<f64> = (0..classes).map(|class| [1.0, 0.5, 2.0, 0.0][class % 4]).collect();
            for weights in [None, Some(weights.as_slice())] {
                for rule in rules() {
                    let of = |run: Run| outcome(run, [&logits, &targets], weights, rule, rows, &backend);
                    let what = format!("{rows} {classes} {rule:?} on {} {:?}", backend.name, backend.dtype);
                    for (fast, slow) in of(soft_losses).iter().zip(&of(soft_losses_reference)) {
                        assert_close(&what, fast, slow, tolerance);
                    }
                }
            }
        }
    }
}

/// Where `1 - p` is held at its smallest, its power has no slope; that of a small power would be seen.
#[test]
fn a_sure_class_has_the_slope_of_the_reference() {
    for backend in backends().iter().filter(|backend| backend.is_double()) {
        let rule = SoftRule { smoothing: 0.0, gamma: 0.1 };
        let of = |run: Run| outcome(run, [&[17.0, 0.0], &[1.0, 0.0]], None, rule, 1, backend);
        for (fast, slow) in of(soft_losses).iter().zip(&of(soft_losses_reference)) {
            assert_close(&backend.name, fast, slow, Tolerance::new(1e-6, 1e-20));
        }
    }
}

/// By the formula in the docs.
#[test]
fn the_reference_is_the_formula() {
    for backend in backends().iter().filter(|backend| backend.is_double()) {
        let (rows, classes) = (4, 6);
        let (logits, targets) = (logits(rows * classes), targets(rows, classes));
        let weights = [1.0, 0.5, 2.0, 0.25, 3.0, 1.5];
        for rule in rules() {
            let of_row = |row: usize| {
                let (logits, targets) = (&logits[row * classes..][..classes], &targets[row * classes..][..classes]);
                let total: f64 = logits.iter().map(|logit| logit.exp()).sum();
                let cost = |class: usize| {
                    let p = logits[class].exp() / total;
                    let share = (1.0 - rule.smoothing) * targets[class] + rule.smoothing / classes as f64;
                    weights[class] * share * (1.0 - p).powf(rule.gamma) * -p.ln()
                };
                (0..classes).map(cost).sum::<f64>()
            };
            let expected: Vec<f64> = (0..rows).map(of_row).collect();
            let run = |run: Run| {
                host(run(
                    matrix(&logits, rows, backend),
                    matrix(&targets, rows, backend),
                    Some(vector(&weights, backend)),
                    rule,
                ))
            };
            for run in [run(soft_losses), run(soft_losses_reference)] {
                assert_close(&format!("{rule:?}"), &run, &expected, Tolerance::new(1e-12, 1e-13));
            }
        }
    }
}

/// Sure classes, impossible ones that are not wanted, and huge logits; what is no number stays none.
#[test]
fn extreme_logits_have_finite_losses_and_gradients() {
    let low = f64::NEG_INFINITY;
    let cases: [([f64; 4], [f64; 4]); 4] = [
        ([1e4, 0.0, -1e4, 3.0], [1.0, 0.0, 0.0, 0.0]),
        ([low, 2.0, 1.0, low], [0.0, 0.5, 0.5, 0.0]),
        ([80.0, 0.0, 0.0, 0.0], [0.25, 0.25, 0.25, 0.25]),
        ([1e30, -1e30, 0.0, 1e30], [0.5, 0.0, 0.0, 0.5]),
    ];
    for backend in backends() {
        for rule in rules().into_iter().filter(|rule| rule.smoothing == 0.0) {
            for (logits, targets) in &cases {
                for run in [soft_losses, soft_losses_reference] {
                    let what = format!("{logits:?} {rule:?} on {} {:?}", backend.name, backend.dtype);
                    let outcome = outcome(run, [logits, targets], None, rule, 1, &backend);
                    outcome.iter().for_each(|numbers| assert_finite(&what, numbers));
                }
            }
            for logits in [[f64::NAN, 1.0], [low, low]] {
                let [losses, ..] = outcome(soft_losses, [&logits, &[0.5, 0.5]], None, rule, 1, &backend);
                assert!(losses[0].is_nan(), "{logits:?} {rule:?} on {}: {losses:?}", backend.name);
            }
        }
    }
}

/// Matrices that are not in order, and one that is one row many times.
#[test]
fn views_have_the_results_of_their_copies() {
    for backend in backends() {
        let (rows, classes) = (3, 5);
        let rule = rules()[3];
        let (logits, row) = (logits(rows * classes), targets(1, classes));
        let turned: Vec<f64> = (0..rows * classes).map(|place| logits[place % rows * classes + place / rows]).collect();
        let views = matrix(&turned, classes, &backend).transpose();
        let same = matrix(&row, 1, &backend).expand([rows, classes]);
        let copies = [matrix(&logits, rows, &backend), matrix(&row.repeat(rows), rows, &backend)];
        let [of_logits, of_targets] = copies;
        let (actual, expected) = (soft_losses(views, same, None, rule), soft_losses(of_logits, of_targets, None, rule));
        assert_close(&backend.name, &host(actual), &host(expected), Tolerance::new(1e-6, 1e-7));
    }
}

/// Numbers that are the same in every type with the offset: a softmax knows nothing of it.
#[test]
fn a_common_offset_changes_nothing() {
    let logits = [0.0, 8.0, -16.0, 8.0];
    let targets = [0.1, 0.2, 0.3, 0.4];
    for backend in backends() {
        for rule in rules() {
            for run in [soft_losses, soft_losses_reference] {
                let of = |offset: f64| {
                    let logits = logits.map(|logit| logit + offset);
                    outcome(run, [&logits, &targets], None, rule, 1, &backend)
                };
                for (actual, expected) in of(f64::from(1 << 26)).iter().zip(&of(0.0)) {
                    let what = format!("{rule:?} on {} {:?}", backend.name, backend.dtype);
                    assert_close(&what, actual, expected, Tolerance::new(1e-6, 1e-7));
                }
            }
        }
    }
}

#[test]
#[should_panic(expected = "soft_losses: gamma must be finite and at least 0, got -1")]
fn a_negative_gamma_is_rejected() {
    let logits = Tensor::<2>::zeros([1, 2], &Device::default());
    let _ = soft_losses(logits.clone(), logits, None, SoftRule { smoothing: 0.0, gamma: -1.0 });
}
