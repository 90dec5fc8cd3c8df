//! Losses of logits against a probability for every class: the kernels against the reference in `f64` on the CPU.

use burn::tensor::{DType, Device, Tensor, TensorData};
use burn_losses_kernels::soft_targets::{SoftRule, soft_losses, soft_losses_reference};

use crate::{assert_each_close, flex, gpu, numbers, values};

/// Of every number; exponentials and logarithms of a GPU have some six digits.
const RELATIVE: f64 = 2e-5;
const ABSOLUTE: f64 = 2e-6;

type Run = fn(Tensor<2>, Tensor<2>, Option<Tensor<1>>, SoftRule) -> Tensor<1>;

fn rules() -> [SoftRule; 4] {
    [
        SoftRule { smoothing: 0.0, gamma: 0.0 },
        SoftRule { smoothing: 0.1, gamma: 0.0 },
        SoftRule { smoothing: 0.0, gamma: 2.0 },
        SoftRule { smoothing: 0.3, gamma: 0.5 },
    ]
}

/// A batch on any device.
struct Batch {
    logits: Vec<f32>,
    targets: Vec<f32>,
    weights: Option<Vec<f32>>,
    rows: usize,
}

impl Batch {
    /// Logits in (-7, 7) and distributions, of which many numbers are 0. Every fourth class weighs nothing.
    fn new([rows, classes]: [usize; 2], weighted: bool) -> Self {
        let logits = numbers(rows * classes, 1).into_iter().map(|number| 7.0 * number).collect();
        let raw: Vec<f32> = (0..rows * classes).map(|place| [0.0, 1.0, 0.0, 0.3, 0.0][place * 7 % 5]).collect();
        let of_row = |row: &[f32]| {
            let total = row.iter().sum::<f32>().max(0.3);
            row.iter().map(|number| number / total).collect::<Vec<_>>()
        };
        let targets = raw.chunks(classes).flat_map(of_row).collect();
        let weights = weighted.then(|| (0..classes).map(|class| [1.0, 0.5, 2.0, 0.0][class % 4]).collect());
        Self { logits, targets, weights, rows }
    }

    /// The losses, and the gradients of logits and targets from an upstream gradient that differs everywhere.
    fn outcome(&self, run: Run, rule: SoftRule, (device, dtype): (&Device, DType)) -> [Tensor<1>; 3] {
        let vector = |numbers: &[f32]| {
            Tensor::<1>::from_data(TensorData::new(numbers.to_vec(), [numbers.len()]), (device, dtype))
        };
        let leaves = [&self.logits, &self.targets].map(|numbers| vector(numbers).require_grad());
        let [logits, targets] = leaves.clone().map(|leaf| leaf.reshape([self.rows as i64, -1]));
        let losses = run(logits, targets, self.weights.as_deref().map(vector), rule);
        let gradients = (losses.clone() * vector(&numbers(self.rows, 99))).sum().backward();
        let [of_logits, of_targets] = leaves.map(|leaf| leaf.grad(&gradients).expect("a gradient"));
        [losses, of_logits, of_targets]
    }

    fn assert_kernels_agree(&self, rule: SoftRule, what: &str) {
        let expected = self.outcome(soft_losses_reference, rule, (&flex(), DType::F64));
        let actual = self.outcome(soft_losses, rule, (&gpu(), DType::F32));
        for ((actual, expected), part) in actual.into_iter().zip(expected).zip(["losses", "of logits", "of targets"]) {
            let expected = expected.try_into_vec_as::<f64>().unwrap();
            assert_each_close(&values(actual), &expected, RELATIVE, ABSOLUTE, &format!("{what}, {rule:?}, {part}"));
        }
    }
}

#[test]
fn every_rule_and_shape_agrees_with_the_reference() {
    for classes in [1, 7, 256, 1000, 5000] {
        for rows in [1, 3, 70] {
            for weighted in [false, true] {
                let batch = Batch::new([rows, classes], weighted);
                for rule in rules() {
                    batch.assert_kernels_agree(rule, &format!("{rows} x {classes}, weights {weighted}"));
                }
            }
        }
    }
}

/// More rows than an axis of the grid has cubes.
#[test]
fn rows_may_outnumber_the_cubes_of_an_axis() {
    Batch::new([70_001, 3], true).assert_kernels_agree(rules()[3], "70 001 x 3");
}

/// Sure classes, masked ones that are not wanted, and logits a world apart.
#[test]
fn extreme_logits_agree_with_the_reference() {
    let low = f32::NEG_INFINITY;
    let logits = [
        [1e4, 0.0, -1e4, 3.0],
        [low, 2.0, 1.0, low],
        [low, low, 1.0, low],
        [80.0, 0.0, 0.0, 0.0],
        [1e30, -1e30, 0.0, 1e30],
        [-2e30, -1e30, -1e30, -3e30],
    ];
    let targets = [
        [1.0, 0.0, 0.0, 0.0],
        [0.0, 0.5, 0.5, 0.0],
        [0.0, 0.0, 1.0, 0.0],
        [0.25, 0.25, 0.25, 0.25],
        [0.5, 0.0, 0.0, 0.5],
        [0.0, 0.25, 0.75, 0.0],
    ];
    for rule in rules().into_iter().filter(|rule| rule.smoothing == 0.0) {
        for (logits, targets) in logits.iter().zip(&targets) {
            let batch = Batch { logits: logits.to_vec(), targets: targets.to_vec(), weights: None, rows: 1 };
            batch.assert_kernels_agree(rule, &format!("{logits:?}"));
        }
    }
}

/// What is no number has no loss, nor has a softmax of nothing but minus infinity; and no other row knows of it.
#[test]
fn what_is_no_softmax_has_no_loss() {
    let low = f32::NEG_INFINITY;
    let logits = [[1.0, 2.0, 3.0], [f32::NAN, 1.0, 2.0], [low, low, low], [0.0, 1.0, low]];
    for targets in [[0.5, 0.5, 0.0], [0.0, 0.0, 0.0]] {
        for rule in rules().into_iter().filter(|rule| rule.smoothing == 0.0) {
            let batch = Batch { logits: logits.concat(), targets: targets.repeat(4), weights: None, rows: 4 };
            let [losses, of_logits, _] = batch.outcome(soft_losses, rule, (&gpu(), DType::F32)).map(values);
            let none: Vec<bool> = losses.iter().map(|loss| loss.is_nan()).collect();
            assert_eq!(none, [false, true, true, false], "{rule:?}: {losses:?}");
            assert!(of_logits[..3].iter().chain(&of_logits[9..]).all(|slope| slope.is_finite()), "{of_logits:?}");
        }
    }
}

/// Matrices that are not in order, one row for all, and half precision by the reference.
#[test]
fn views_and_other_types_agree() {
    let batch = Batch::new([3, 50], false);
    let logits = Tensor::<2>::from_data(TensorData::new(batch.logits.clone(), [3, 50]), &gpu());
    let row = Tensor::<2>::from_data(TensorData::new(batch.targets[..50].to_vec(), [1, 50]), &gpu());
    let rule = rules()[3];
    let expected = values(soft_losses(logits.clone(), row.clone().repeat(&[3, 1]), None, rule));
    let turned = logits.clone().transpose().mul_scalar(1.0).transpose();
    assert_eq!(values(soft_losses(turned, row.clone().expand([3, 50]), None, rule)), expected);

    let [logits, targets] = [logits, row.repeat(&[3, 1])].map(|tensor| tensor.cast(DType::F16));
    let half = soft_losses(logits, targets, None, rule);
    assert_eq!(half.dtype(), DType::F16);
    let expected: Vec<f64> = expected.into_iter().map(f64::from).collect();
    assert_each_close(&values(half), &expected, 0.05, 0.05, "half precision");
}
