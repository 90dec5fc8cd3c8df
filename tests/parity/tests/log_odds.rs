//! The log-odds of the classes of rows: the pass of a backend against ordinary operations and against plain loops.

use burn::tensor::{Int, Tensor, TensorData};
use burn_losses_kernels::log_odds::{LogOdds, log_odds, log_odds_reference};
use parity::{Backend, backends};
use support::close::{Tolerance, assert_close, assert_finite};
use support::table::host;

/// Reproducible logits in (-8, 8), and classes, of which one row has none.
fn batch(rows: usize, classes: usize) -> (Vec<f64>, Vec<i64>) {
    let number = |place: usize| 16.0 * ((place * 7919 + 3) as f64 * 0.618_033_988_7).fract() - 8.0;
    let label = |row: usize| if row == 1 { -1 } else { (row * 31 % classes) as i64 };
    ((0..rows * classes).map(number).collect(), (0..rows).map(label).collect())
}

fn weights(classes: usize) -> Vec<f64> {
    (0..classes).map(|class| 0.25 * (class % 5) as f64).collect()
}

fn vector(numbers: &[f64], backend: &Backend) -> Tensor<1> {
    Tensor::from_data(TensorData::from(numbers), (&backend.device, backend.dtype))
}

fn integers(labels: &[i64], backend: &Backend) -> Tensor<1, Int> {
    Tensor::from_data(TensorData::from(labels), &backend.device)
}

/// The log-odds, the spread, and the gradient of the logits, each row with weights of its own.
fn outcome(logits: Tensor<2>, run: impl FnOnce(Tensor<2>) -> LogOdds, backend: &Backend) -> [Vec<f64>; 3] {
    let leaf = logits.detach().require_grad();
    let LogOdds { log_odds, spread } = run(leaf.clone());
    let spread = spread.unwrap_or_else(|| log_odds.clone().mul_scalar(0.0));
    let [rows] = log_odds.dims();
    let of = |factor: f64| vector(&(0..rows).map(|row| (row as f64 * factor).sin() + 0.1).collect::<Vec<_>>(), backend);
    let total = (log_odds.clone() * of(0.37)).sum() + (spread.clone() * of(0.73)).sum();
    let gradient = leaf.grad(&total.backward()).expect("a gradient");
    [host(log_odds), host(spread), host(gradient)]
}

fn matrix(numbers: &[f64], [rows, classes]: [usize; 2], backend: &Backend) -> Tensor<2> {
    Tensor::from_data(TensorData::new(numbers.to_vec(), [rows, classes]), (&backend.device, backend.dtype))
}

fn tolerance(backend: &Backend) -> Tolerance {
    if backend.is_double() { Tolerance::new(1e-12, 1e-12) } else { Tolerance::new(2e-5, 5e-6) }
}

/// One class, a handful, around the width of vector instructions, more than a block of sums, and enough for two threads.
#[test]
fn the_pass_of_a_backend_is_the_reference_and_the_plain_loops() {
    for backend in backends() {
        for [rows, classes] in [[3, 1], [4, 2], [5, 15], [5, 16], [5, 33], [3, 2100], [80, 1100]] {
            let (numbers, labels) = batch(rows, classes);
            for weighted in [false, true] {
                let logits = || matrix(&numbers, [rows, classes], &backend);
                let labelled = || integers(&labels, &backend);
                let weights = || weighted.then(|| vector(&weights(classes), &backend));
                let fast = outcome(logits(), |logits| log_odds(logits, labelled(), weights()), &backend);
                let slow = outcome(logits(), |logits| log_odds_reference(logits, labelled(), weights()), &backend);
                let what = format!("{rows} x {classes} {weighted} on {} {:?}", backend.name, backend.dtype);
                for (fast, slow) in fast.iter().zip(&slow) {
                    assert_close(&what, fast, slow, tolerance(&backend));
                }
                assert_close(&what, &fast[0], &plain(&numbers, &labels, classes), tolerance(&backend));
            }
        }
    }
}

fn plain(logits: &[f64], labels: &[i64], classes: usize) -> Vec<f64> {
    let of_row = |(row, &label): (&[f64], &i64)| {
        let Ok(target) = usize::try_from(label) else { return 0.0 };
        let others = row.iter().enumerate().filter(|&(class, _)| class != target);
        let sum: f64 = others.map(|(_, logit)| logit.exp()).sum();
        if sum == 0.0 { 1e30 + row[target] } else { row[target] - sum.ln() }
    };
    logits.chunks(classes).zip(labels).map(of_row).collect()
}

#[test]
fn views_have_the_results_of_their_copies() {
    let (numbers, labels) = batch(6, 40);
    for backend in backends() {
        let run = |logits: Tensor<2>| log_odds(logits, integers(&labels, &backend), None).log_odds;
        let plain = matrix(&numbers, [6, 40], &backend);
        let expected = host(run(plain.clone()));
        let transposed = plain.clone().transpose().mul_scalar(1.0).transpose();
        let wide = Tensor::cat(vec![plain.zeros_like(), plain.clone(), plain.ones_like()], 1);
        let tall = Tensor::cat(vec![plain.ones_like(), plain.clone()], 0);
        for view in [transposed, wide.narrow(1, 40, 40), tall.narrow(0, 6, 6), plain.flip([0]).flip([0])] {
            assert_close(&backend.name, &host(run(view)), &expected, tolerance(&backend));
        }
    }
}

#[test]
fn a_row_without_a_class_reaches_nothing_and_a_nan_stays_in_its_row() {
    let classes = 20;
    let (mut numbers, labels) = batch(4, classes);
    let clean = numbers.clone();
    numbers[classes..2 * classes].fill(f64::NAN);
    numbers[2 * classes + 3] = f64::NAN;
    for backend in backends() {
        let run = |numbers: &[f64]| {
            let logits = matrix(numbers, [4, classes], &backend);
            let weights = vector(&weights(classes), &backend);
            outcome(logits, |logits| log_odds(logits, integers(&labels, &backend), Some(weights)), &backend)
        };
        let (clean, broken) = (run(&clean), run(&numbers));
        for (clean, broken) in clean[..2].iter().zip(&broken[..2]) {
            assert_eq!([broken[0], broken[1], broken[3]], [clean[0], 0.0, clean[3]], "{}", backend.name);
            assert!(broken[2].is_nan(), "{}", backend.name);
        }
        let rows = |gradient: &[f64]| [gradient[..2 * classes].to_vec(), gradient[3 * classes..].to_vec()].concat();
        assert_eq!(rows(&broken[2]), rows(&clean[2]), "{}", backend.name);
        assert!(broken[2][classes..2 * classes].iter().all(|&slope| slope == 0.0), "{}", backend.name);
    }
}

/// Masked classes, and logits a world apart.
#[test]
fn extreme_logits_are_what_they_are() {
    for backend in backends() {
        let numbers = [
            [1.0, f64::NEG_INFINITY, 1.0],
            [2.0, f64::NEG_INFINITY, f64::NEG_INFINITY],
            [-1e4, 1e4, 0.0],
            [1e30, -1e30, 3.0],
            [-2e30, -1e30, -3e30],
        ];
        let labels = [0, 0, 0, 0, 0];
        let logits = matrix(&numbers.concat(), [5, 3], &backend);
        let [log_odds, _, gradient] =
            outcome(logits, |logits| log_odds(logits, integers(&labels, &backend), None), &backend);
        assert_finite(&backend.name, &gradient);
        assert_eq!(log_odds[0], 0.0, "{}", backend.name);
        assert!(log_odds[1] > 1e29 && log_odds[3] > 1e29 && log_odds[4] < -9e29, "{}: {log_odds:?}", backend.name);
        assert_eq!(log_odds[2], -2e4, "{}", backend.name);
    }
}

/// Numbers that are the same in every type with the offset: a softmax knows nothing of it.
#[test]
fn a_common_offset_changes_nothing() {
    for backend in backends() {
        let labels = || Tensor::<1, Int>::from_data([1, 2], &backend.device);
        let weights = || vector(&[1.0, 0.5, 2.0, 1.0], &backend);
        for run in [log_odds, log_odds_reference] {
            let of = |offset: f64| {
                let logits = [0.0, 8.0, -16.0, 8.0, 8.0, 0.0, 16.0, -8.0].map(|logit| logit + offset);
                outcome(matrix(&logits, [2, 4], &backend), |logits| run(logits, labels(), Some(weights())), &backend)
            };
            for (actual, expected) in of(f64::from(1 << 26)).iter().zip(&of(0.0)) {
                assert_close(&backend.name, actual, expected, Tolerance::new(1e-6, 1e-7));
            }
        }
    }
}
