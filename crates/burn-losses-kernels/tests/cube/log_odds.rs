//! The log-odds of the classes of rows: the kernels against the reference in `f64` on the CPU.

use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use burn_losses_kernels::log_odds::{LogOdds, log_odds, log_odds_reference};

use crate::{assert_each_close, flex, gpu, numbers, values};

/// Of every number; exponentials and logarithms of a GPU have some six digits.
const RELATIVE: f64 = 1e-5;
const ABSOLUTE: f64 = 2e-6;

type Run = fn(Tensor<2>, Tensor<1, Int>, Option<Tensor<1>>) -> LogOdds;

/// A batch on any device.
struct Batch {
    logits: Vec<f32>,
    labels: Vec<i64>,
    weights: Option<Vec<f32>>,
}

impl Batch {
    /// Logits in (-8, 8), and classes, of which every fifth row has none. Every third class weighs nothing.
    fn new([rows, classes]: [usize; 2], weighted: bool) -> Self {
        let logits = numbers(rows * classes, 1).into_iter().map(|number| 8.0 * number).collect();
        let labels = (0..rows).map(|row| if row % 5 == 1 { -1 } else { (row * 31 % classes) as i64 }).collect();
        let weights = weighted.then(|| (0..classes).map(|class| 0.25 * (class % 3) as f32).collect());
        Self { logits, labels, weights }
    }

    /// The log-odds, the spread, and the gradient of the logits from an upstream gradient that differs everywhere.
    fn outcome(&self, run: Run, (device, dtype): (&Device, DType)) -> [Tensor<1>; 3] {
        let rows = self.labels.len();
        let vector = |numbers: &[f32]| {
            Tensor::<1>::from_data(TensorData::new(numbers.to_vec(), [numbers.len()]), (device, dtype))
        };
        let leaf = vector(&self.logits).require_grad();
        let logits = leaf.clone().reshape([rows, self.logits.len() / rows]);
        let labels = Tensor::from_ints(self.labels.as_slice(), device);
        let LogOdds { log_odds, spread } = run(logits, labels, self.weights.as_deref().map(vector));
        let spread = spread.unwrap_or_else(|| log_odds.zeros_like());
        let upstream = numbers(2 * rows, 99);
        let total = log_odds.clone() * vector(&upstream[..rows]) + spread.clone() * vector(&upstream[rows..]);
        let gradient = leaf.grad(&total.sum().backward()).expect("a gradient");
        [log_odds, spread, gradient]
    }

    fn assert_kernels_agree(&self, with: Run, what: &str) {
        let expected = self.outcome(with, (&flex(), DType::F64));
        let actual = self.outcome(log_odds, (&gpu(), DType::F32));
        for ((actual, expected), part) in actual.into_iter().zip(expected).zip(["log-odds", "spread", "gradient"]) {
            let expected = expected.try_into_vec_as::<f64>().unwrap();
            assert_each_close(&values(actual), &expected, RELATIVE, ABSOLUTE, &format!("{what}, {part}"));
        }
    }
}

#[test]
fn every_shape_agrees_with_the_reference() {
    for classes in [1, 7, 256, 1000, 5000] {
        for rows in [1, 3, 70] {
            for weighted in [false, true] {
                let what = format!("{rows} x {classes}, weights {weighted}");
                Batch::new([rows, classes], weighted).assert_kernels_agree(log_odds_reference, &what);
            }
        }
    }
}

/// More rows than an axis of the grid has cubes.
#[test]
fn rows_may_outnumber_the_cubes_of_an_axis() {
    Batch::new([70_001, 3], true).assert_kernels_agree(log_odds_reference, "70 001 x 3");
}

/// Masked classes that weigh nothing, logits a world apart, and none but the class of the row: what the loops in host memory make
/// of it in `f64`. (The reference takes the largest logit of a row out of all others first, and their digits with it.)
#[test]
fn extreme_logits_agree_with_the_loops() {
    let low = f32::NEG_INFINITY;
    let logits = [
        [1.0, low, 1.0, 2.0],
        [low, low, 1.0, low],
        [-1e4, 1e4, 0.0, 3.0],
        [1e30, -1e30, 3.0, 0.0],
        [-2e30, -1e30, -3e30, -5e29],
        [88.0, -104.0, 50.0, 90.0],
        [f32::NAN, low, 1e30, 0.0],
    ];
    let weights = [None, Some(vec![0.5, 0.0, 1.0, 0.0])];
    let labels = vec![0, 2, 0, 0, 1, 3, -1];
    for weights in weights {
        let batch = Batch { logits: logits.concat(), labels: labels.clone(), weights };
        if batch.weights.is_none() {
            batch.assert_kernels_agree(log_odds, "extreme");
        } else {
            // A class that weighs something and is masked costs infinitely much, in both.
            let expected = batch.outcome(log_odds, (&flex(), DType::F64));
            let [log_odds, spread, gradient] = batch.outcome(log_odds, (&gpu(), DType::F32)).map(values);
            let [_, costs, _] = expected.map(|tensor| tensor.try_into_vec_as::<f64>().unwrap());
            assert!(log_odds.iter().chain(&gradient).all(|number| number.is_finite()), "{log_odds:?} {gradient:?}");
            assert_eq!((spread[1], costs[1]), (f32::INFINITY, f64::INFINITY));
            let others = |row: &usize| *row != 1;
            for row in (0..labels.len()).filter(others) {
                let what = format!("spread of row {row}");
                assert_each_close(&spread[row..=row], &costs[row..=row], RELATIVE, ABSOLUTE, &what);
            }
        }
    }
}

/// What is no number makes its own row none, and no other.
#[test]
fn a_nan_stays_in_its_row() {
    let mut batch = Batch::new([4, 300], true);
    batch.logits[2 * 300 + 7] = f32::NAN;
    let [log_odds, spread, gradient] = batch.outcome(log_odds, (&gpu(), DType::F32)).map(values);
    for numbers in [&log_odds, &spread] {
        assert!(numbers[2].is_nan(), "{numbers:?}");
        assert!([0, 1, 3].iter().all(|&row| numbers[row].is_finite()), "{numbers:?}");
    }
    let rows: Vec<bool> = gradient.chunks(300).map(|row| row.iter().all(|slope| slope.is_finite())).collect();
    assert_eq!(rows, [true, true, false, true]);
}

/// Labels as wide as the backend has them, logits whose rows are not side by side, and half precision by the reference.
#[test]
fn other_types_and_views_agree() {
    let (rows, classes) = (5, 40);
    let batch = Batch::new([rows, classes], false);
    let logits = Tensor::<2>::from_data(TensorData::new(batch.logits.clone(), [rows, classes]), &gpu());
    let labels = |dtype: DType| Tensor::<1, Int>::from_data(TensorData::from(batch.labels.as_slice()), (&gpu(), dtype));
    let run = |logits: Tensor<2>, dtype: DType| values(log_odds(logits, labels(dtype), None).log_odds);
    let expected = run(logits.clone(), DType::I32);
    if gpu().supports_dtype(DType::I64) {
        assert_eq!(run(logits.clone(), DType::I64), expected);
    }
    let wide = Tensor::cat(vec![logits.zeros_like(), logits.clone()], 1);
    assert_eq!(run(wide.narrow(1, classes, classes), DType::I32), expected);
    assert_eq!(run(logits.clone().transpose().mul_scalar(1.0).transpose(), DType::I32), expected);

    let half = log_odds(logits.cast(DType::F16), labels(DType::I32), None).log_odds;
    assert_eq!(half.dtype(), DType::F16);
    let expected: Vec<f64> = expected.into_iter().map(f64::from).collect();
    assert_each_close(&values(half), &expected, 0.02, 0.05, "half precision");
}
