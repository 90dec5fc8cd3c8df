//! Losses number by number: the kernels against the reference in `f64` on the CPU.

use burn::tensor::{DType, Device, Tensor, TensorData};
use burn_losses_kernels::elements::{
    Element, elements, elements_reference, sum_of_elements, sum_of_elements_from_zero, sums_of_rows,
};
use burn_losses_kernels::one_pass_on;

use crate::{assert_each_close, flex, gpu, numbers, values};

/// Of every number; exponentials and logarithms of a GPU have some six digits.
const RELATIVE: f64 = 1e-5;
const ABSOLUTE: f64 = 1e-6;

fn all() -> Vec<Element> {
    let answer = |present, absent, gamma_present, gamma_absent, clip| Element::Answer {
        present,
        absent,
        gamma_present,
        gamma_absent,
        clip,
    };
    vec![
        answer(2.5, 0.5, 0.0, 0.0, 0.0),
        answer(0.25, 0.75, 2.0, 3.0, 0.0),
        answer(1.0, 2.0, 0.0, 4.0, 0.05),
        answer(1.5, 1.0, 0.0, 0.0, 0.3),
        Element::LogCosh,
        Element::Charbonnier { epsilon: 1e-3 },
        Element::Charbonnier { epsilon: 2.0 },
        Element::Quantile { quantile: 0.9 },
        Element::Penalty { absolute: 0.7, square: 0.0 },
        Element::Penalty { absolute: 0.0, square: 0.3 },
        Element::Penalty { absolute: 0.2, square: 1.5 },
    ]
}

/// What is computed of losses.
#[derive(Clone, Copy, Debug)]
enum Output {
    Each,
    Sum,
    Rows,
}

impl Output {
    fn by_kernels(self, x: Tensor<2>, y: Tensor<2>, element: Element) -> Tensor<2> {
        let [rows, columns] = x.dims();
        match self {
            Self::Each => elements(x, y, element).reshape([rows, columns]),
            Self::Sum => sum_of_elements(x, y, element).reshape([1, 1]),
            Self::Rows => sums_of_rows(x, y, element).reshape([rows, 1]),
        }
    }

    fn reference(self, x: Tensor<2>, y: Tensor<2>, element: Element) -> Tensor<2> {
        let losses = elements_reference(x, y, element);
        match self {
            Self::Each => losses,
            Self::Sum => losses.sum().reshape([1, 1]),
            Self::Rows => losses.sum_dim(1),
        }
    }
}

/// The output, and the gradients of predictions and targets from an upstream gradient that differs everywhere.
fn outcome(
    [x, y]: [&[f32]; 2],
    shape: [usize; 2],
    (device, dtype): (&Device, DType),
    run: impl FnOnce(Tensor<2>, Tensor<2>) -> Tensor<2>,
) -> [Tensor<2>; 3] {
    let tensor = |numbers: &[f32], shape: [usize; 2]| {
        Tensor::<2>::from_data(TensorData::new(numbers.to_vec(), shape), (device, dtype))
    };
    let leaves = [x, y].map(|numbers| tensor(numbers, shape).require_grad());
    let output = run(leaves[0].clone(), leaves[1].clone());
    let dims = output.dims();
    let gradients = (output.clone() * tensor(&numbers(dims[0] * dims[1], 99), dims)).sum().backward();
    let [of_x, of_y] = leaves.map(|leaf| leaf.grad(&gradients).expect("a gradient"));
    [output, of_x, of_y]
}

/// Predictions from sure no to sure yes and beyond, and targets of which some are equal to them.
fn inputs(count: usize) -> [Vec<f32>; 2] {
    let x: Vec<f32> = numbers(count, 1).into_iter().map(|number| 12.0 * number).collect();
    let target = |(place, &x): (usize, &f32)| [0.0, 1.0, 0.25, x.clamp(0.0, 1.0)][place % 4];
    let y = x.iter().enumerate().map(target).collect();
    [x, y]
}

#[test]
fn every_formula_and_shape_agrees_with_the_reference() {
    assert!(one_pass_on(&gpu()), "the kernels");
    let shapes = [[1, 1], [3, 1], [1, 7], [70, 7], [3, 256], [1, 1000], [70, 1000], [1, 5000], [3, 5000]];
    for shape in shapes {
        let [x, y] = inputs(shape[0] * shape[1]);
        for element in all() {
            for output in [Output::Each, Output::Sum, Output::Rows] {
                let what = format!("{element:?} {output:?} of {shape:?}");
                let reference = |x, y| output.reference(x, y, element);
                let expected = outcome([&x, &y], shape, (&flex(), DType::F64), reference);
                let kernels = |x, y| output.by_kernels(x, y, element);
                let actual = outcome([&x, &y], shape, (&gpu(), DType::F32), kernels);
                for ((actual, expected), part) in actual.into_iter().zip(expected).zip(["output", "of x", "of y"]) {
                    let expected = expected.try_into_vec_as::<f64>().unwrap();
                    assert_each_close(&values(actual), &expected, RELATIVE, ABSOLUTE, &format!("{what}, {part}"));
                }
            }
        }
    }
}

/// Beyond what an exponential or a square can take, and at the bends.
#[test]
fn extreme_numbers_agree_with_the_reference() {
    let x = [0.0_f32, 1.0, -1e4, 1e4, 1e30, -1e30, 88.0, -104.0, 1e30, -1e30];
    let y = [0.0_f32, 1.0, 1.0, 0.0, 0.0, 1.0, 1.0, 0.0, 1.0, 0.0];
    // A square of these is beyond `f32`.
    let has_square = |element: &Element| matches!(element, Element::Penalty { square, .. } if *square > 0.0);
    for element in all().into_iter().filter(|element| !has_square(element)) {
        let what = format!("{element:?}");
        let reference = |x, y| elements_reference(x, y, element);
        let expected = outcome([&x, &y], [1, 10], (&flex(), DType::F64), reference);
        let actual = outcome([&x, &y], [1, 10], (&gpu(), DType::F32), |x, y| elements(x, y, element));
        for (actual, expected) in actual.into_iter().zip(expected) {
            let expected = expected.try_into_vec_as::<f64>().unwrap();
            assert_each_close(&values(actual), &expected, RELATIVE, ABSOLUTE, &what);
        }
        let nan =
            outcome([&[f32::NAN, 1.0], &[1.0, 1.0]], [1, 2], (&gpu(), DType::F32), |x, y| elements(x, y, element));
        let [losses, of_x, _] = nan.map(values);
        assert!(losses[0].is_nan() && of_x[0].is_nan(), "{what}: {losses:?}, {of_x:?}");
        assert!(losses[1].is_finite() && of_x[1].is_finite(), "{what}: {losses:?}, {of_x:?}");
    }
}

/// One axis of the grid has at most 65 535 cubes, of up to 256 units. Multiples of 1/4, whose sums are exact in `f64`.
#[test]
fn numbers_and_rows_may_outnumber_the_cubes_of_an_axis() {
    let element = Element::Penalty { absolute: 0.5, square: 1.0 };
    let loss = |x: f32| 0.5 * f64::from(x).abs() + 0.5 * f64::from(x).powi(2);
    let slope = |x: f32| 0.5 * x.signum() * f32::from(x != 0.0) + x;

    let count = 65_536 * 256 + 3;
    let x: Vec<f32> = (0..count).map(|place| (place % 13) as f32 / 4.0 - 1.5).collect();
    let leaf = Tensor::<1>::from_data(TensorData::from(x.as_slice()), &gpu()).require_grad();
    let sum = sum_of_elements_from_zero(leaf.clone(), element);
    let gradient = values(leaf.grad(&sum.clone().backward()).expect("a gradient"));
    let expected: f64 = x.iter().map(|&x| loss(x)).sum();
    assert_each_close(&values(sum), &[expected], 1e-6, 0.0, "sum");
    assert!(gradient.iter().zip(&x).all(|(&gradient, &x)| gradient == slope(x)), "gradient of the sum");
    drop(gradient);

    let rows = 70_001;
    let x = &x[..3 * rows];
    let leaf = Tensor::<2>::from_data(TensorData::new(x.to_vec(), [rows, 3]), &gpu()).require_grad();
    let sums = sums_of_rows(leaf.clone(), leaf.zeros_like(), element);
    let weights: Vec<f32> = (0..rows).map(|row| (row % 7) as f32).collect();
    let upstream = Tensor::<1>::from_data(TensorData::from(weights.as_slice()), &gpu());
    let gradient = values(leaf.grad(&(sums.clone() * upstream).sum().backward()).expect("a gradient"));
    let expected: Vec<f64> = x.chunks(3).map(|row| row.iter().map(|&x| loss(x)).sum()).collect();
    assert_each_close(&values(sums), &expected, 1e-6, 0.0, "sums of rows");
    let expected = x.iter().enumerate().map(|(place, &x)| weights[place / 3] * slope(x));
    assert!(gradient.into_iter().zip(expected).all(|(actual, expected)| actual == expected), "gradient of rows");
}

/// Twice the same numbers are the same bits, in whatever order the cubes ran.
#[test]
fn a_sum_is_the_same_every_time() {
    let [x, y] = inputs(300_001);
    let run = || {
        let [x, y] = [&x, &y].map(|numbers| Tensor::<1>::from_data(TensorData::from(numbers.as_slice()), &gpu()));
        values(sum_of_elements(x, y, Element::LogCosh))
    };
    let first = run();
    for _ in 0..5 {
        assert_eq!(run(), first);
    }
}

#[test]
fn half_precision_and_no_numbers_run_the_reference() {
    let numbers = Tensor::<1>::from_data([1.0, -2.0], (&gpu(), DType::F16));
    let losses = elements(numbers.clone(), numbers.zeros_like(), Element::Penalty { absolute: 1.0, square: 0.0 });
    assert_eq!(losses.dtype(), DType::F16);
    assert_eq!(values(losses), [1.0, 2.0]);

    let nothing = Tensor::<1>::zeros([0], &gpu());
    assert_eq!(elements(nothing.clone(), nothing, Element::LogCosh).dims(), [0]);
}
