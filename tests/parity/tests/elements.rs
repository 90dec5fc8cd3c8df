//! Losses number by number: the pass of a backend against ordinary operations.

use burn::tensor::{Tensor, TensorData};
use burn_losses_kernels::elements::{
    Element, elements, elements_reference, sum_of_elements, sum_of_elements_from_zero, sums_of_rows,
};
use parity::{Backend, backends};
use support::close::{Tolerance, assert_close, assert_finite};
use support::table::host;

fn all() -> Vec<Element> {
    let answer = |present, absent, gamma_present, gamma_absent, clip| Element::Answer {
        present,
        absent,
        gamma_present,
        gamma_absent,
        clip,
    };
    vec![
        answer(1.0, 1.0, 0.0, 0.0, 0.0),
        answer(2.5, 0.5, 0.0, 0.0, 0.0),
        answer(0.25, 0.75, 2.0, 2.0, 0.0),
        answer(1.0, 1.0, 0.5, 3.0, 0.0),
        answer(1.0, 1.0, 1.0, 4.0, 0.05),
        answer(1.0, 1.0, 0.0, 0.0, 0.3),
        answer(1.0, 1.0, 0.5, 0.5, 0.3),
        Element::LogCosh,
        Element::Charbonnier { epsilon: 1e-3 },
        Element::Charbonnier { epsilon: 2.0 },
        Element::Quantile { quantile: 0.9 },
        Element::Penalty { absolute: 0.7, square: 0.0 },
        Element::Penalty { absolute: 0.0, square: 0.3 },
        Element::Penalty { absolute: 0.2, square: 1.5 },
    ]
}

fn tensor(numbers: &[f64], backend: &Backend) -> Tensor<1> {
    Tensor::from_data(TensorData::from(numbers), (&backend.device, backend.dtype))
}

/// The losses, and the gradients of predictions and targets, each number with a weight of its own.
fn outcome(
    [predictions, targets]: [&[f64]; 2],
    run: impl FnOnce(Tensor<1>, Tensor<1>) -> Tensor<1>,
    backend: &Backend,
) -> [Vec<f64>; 3] {
    let leaves = [predictions, targets].map(|numbers| tensor(numbers, backend).require_grad());
    let losses = run(leaves[0].clone(), leaves[1].clone());
    let weights: Vec<f64> = (0..predictions.len()).map(|place| 0.2 + (place as f64 * 0.37).sin()).collect();
    let gradients = (losses.clone() * tensor(&weights, backend)).sum().backward();
    let [of_predictions, of_targets] = leaves.map(|leaf| host(leaf.grad(&gradients).expect("a gradient")));
    [host(losses), of_predictions, of_targets]
}

fn tolerance(backend: &Backend) -> Tolerance {
    if backend.is_double() { Tolerance::new(1e-12, 1e-13) } else { Tolerance::new(2e-5, 5e-7) }
}

/// Logits from sure no to sure yes, errors from none to large, and more numbers than a chunk holds.
#[test]
fn the_pass_of_a_backend_is_the_reference() {
    for backend in backends() {
        for count in [1, 17, 5003] {
            let predictions: Vec<f64> = (0..count).map(|place| ((place * 37 % 301) as f64 - 150.0) / 9.7).collect();
            let targets: Vec<f64> = (0..count).map(|place| [0.0, 1.0, 0.0, 0.3][place % 4]).collect();
            for element in all() {
                let run = |fast: bool| {
                    let run = if fast { elements::<1> } else { elements_reference::<1> };
                    outcome([&predictions, &targets], |x, y| run(x, y, element), &backend)
                };
                let what = format!("{element:?} {count} on {} {:?}", backend.name, backend.dtype);
                for (fast, slow) in run(true).iter().zip(&run(false)) {
                    assert_close(&what, fast, slow, tolerance(&backend));
                }
            }
        }
    }
}

/// In plain `f64`, by the formulas in the docs of [`Element`].
#[test]
fn the_reference_is_the_formula() {
    for backend in backends().iter().filter(|backend| backend.is_double()) {
        for element in all() {
            for (x, y) in [(-3.0, 0.0), (-0.2, 1.0), (0.4, 0.0), (2.5, 0.7), (1.0, 1.0)] {
                let p = 1.0 / (1.0 + f64::exp(-x));
                let expected = match element {
                    Element::Answer { present, absent, gamma_present, gamma_absent, clip } => {
                        let s = (p - clip).max(0.0);
                        let no = if s == 0.0 { 0.0 } else { s.powf(gamma_absent) * -(1.0 - s).ln() };
                        present * y * (1.0 - p).powf(gamma_present) * -p.ln() + absent * (1.0 - y) * no
                    }
                    Element::LogCosh => (x - y).cosh().ln(),
                    Element::Charbonnier { epsilon } => ((x - y).powi(2) + epsilon * epsilon).sqrt(),
                    Element::Penalty { absolute, square } => {
                        absolute * f64::abs(x - y) + square / 2.0 * f64::powi(x - y, 2)
                    }
                    Element::Quantile { quantile } => (quantile * (y - x)).max((quantile - 1.0) * (y - x)),
                };
                let losses = host(elements_reference(tensor(&[x], backend), tensor(&[y], backend), element));
                assert_close(&format!("{element:?} {x} {y}"), &losses, &[expected], Tolerance::new(1e-12, 1e-14));
            }
        }
    }
}

/// In every number type the sum is exact to its last digits, and its gradient that of every loss.
#[test]
fn the_sum_is_that_of_the_losses() {
    for backend in backends() {
        for count in [1, 20, 5003] {
            let predictions: Vec<f64> = (0..count).map(|place| ((place * 37 % 301) as f64 - 150.0) / 31.7).collect();
            let targets: Vec<f64> = (0..count).map(|place| [0.0, 1.0, 0.3][place % 3]).collect();
            for element in all() {
                let run = |loss: &dyn Fn(Tensor<1>, Tensor<1>) -> Tensor<1>| {
                    let leaves = [&predictions, &targets].map(|numbers| tensor(numbers, &backend).require_grad());
                    let sum = loss(leaves[0].clone(), leaves[1].clone());
                    let gradients = sum.clone().mul_scalar(0.7).backward();
                    let [of_predictions, of_targets] =
                        leaves.map(|leaf| host(leaf.grad(&gradients).expect("a gradient")));
                    [host(sum), of_predictions, of_targets]
                };
                let fast = run(&|x, y| sum_of_elements(x, y, element));
                let slow = run(&|x, y| elements_reference(x, y, element).sum());
                let what = format!("{element:?} {count} on {} {:?}", backend.name, backend.dtype);
                for (fast, slow) in fast.iter().zip(&slow) {
                    assert_close(&what, fast, slow, tolerance(&backend));
                }
            }
        }
    }
}

#[test]
fn sums_of_rows_are_those_of_their_losses() {
    for backend in backends() {
        for [rows, columns] in [[1, 1], [3, 1], [4, 17], [70, 600]] {
            let numbers = |seed: usize| -> Vec<f64> {
                (0..rows * columns).map(|place| ((place * 37 + seed) % 301) as f64 / 31.7 - 4.0).collect()
            };
            let run = |fast: bool, element: Element| {
                let leaves = [numbers(0), numbers(50)].map(|numbers| tensor(&numbers, &backend).require_grad());
                let [x, y] = leaves.clone().map(|leaf| leaf.reshape([rows, columns]));
                let sums = if fast {
                    sums_of_rows(x, y, element)
                } else {
                    elements_reference(x, y, element).sum_dim(1).squeeze_dim(1)
                };
                let weights: Vec<f64> = (0..rows).map(|row| 0.2 + (row as f64 * 0.37).sin()).collect();
                let gradients = (sums.clone() * tensor(&weights, &backend)).sum().backward();
                let [of_x, of_y] = leaves.map(|leaf| host(leaf.grad(&gradients).expect("a gradient")));
                [host(sums), of_x, of_y]
            };
            for element in all() {
                let what = format!("{element:?} {rows} {columns} on {} {:?}", backend.name, backend.dtype);
                for (fast, slow) in run(true, element).iter().zip(&run(false, element)) {
                    assert_close(&what, fast, slow, tolerance(&backend));
                }
            }
        }
    }
}

/// Where the order of a sum is fixed, to the last bit; a GPU takes the quickest of many at its first sum of a size.
#[test]
fn a_sum_from_zero_is_one_with_targets_of_zero() {
    for backend in backends() {
        let numbers: Vec<f64> = (0..5003).map(|place| ((place * 37 % 301) as f64 - 150.0) / 31.7).collect();
        for element in all() {
            let run = |loss: &dyn Fn(Tensor<1>) -> Tensor<1>| {
                let leaf = tensor(&numbers, &backend).require_grad();
                let sum = loss(leaf.clone());
                [host(sum.clone()), host(leaf.grad(&sum.backward()).expect("a gradient"))]
            };
            let expected = run(&|x| sum_of_elements(x.clone(), x.zeros_like(), element));
            let actual = run(&|x| sum_of_elements_from_zero(x, element));
            let tolerance = if ["flex", "ndarray"].contains(&backend.name.as_str()) {
                Tolerance::new(0.0, 0.0)
            } else {
                tolerance(&backend)
            };
            for (actual, expected) in actual.iter().zip(&expected) {
                assert_close(
                    &format!("{element:?} on {} {:?}", backend.name, backend.dtype),
                    actual,
                    expected,
                    tolerance,
                );
            }
        }
    }
}

#[test]
fn huge_and_equal_numbers_have_finite_gradients_and_no_number_stays_none() {
    let predictions = [0.0, 1.0, -1e4, 1e4, 1e30, -1e30, 88.0, -104.0];
    let targets = [0.0, 1.0, 1.0, 0.0, 0.0, 1.0, 1.0, 0.0];
    for backend in backends() {
        // A square of these is beyond `f32`.
        let has_square = |element: &Element| matches!(element, Element::Penalty { square, .. } if *square > 0.0);
        for element in all().into_iter().filter(|element| !has_square(element)) {
            let what = format!("{element:?} on {} {:?}", backend.name, backend.dtype);
            let outcome = outcome([&predictions, &targets], |x, y| elements(x, y, element), &backend);
            outcome.iter().for_each(|numbers| assert_finite(&what, numbers));
            let nan = host(elements(tensor(&[f64::NAN, 1.0], &backend), tensor(&[1.0, 1.0], &backend), element));
            assert!(nan[0].is_nan() && nan[1].is_finite(), "{what}: {nan:?}");
        }
    }
}

/// A matrix that is not in order, and one that is one number in many places.
#[test]
fn views_have_the_results_of_their_copies() {
    for backend in backends() {
        let numbers: Vec<f64> = (0..12).map(|place| f64::from(place) - 6.0).collect();
        let rows = tensor(&numbers, &backend).reshape([3, 4]);
        let targets = tensor(&[1.0], &backend).reshape([1, 1]).expand([4, 3]);
        let copy = tensor(&[1.0; 12], &backend).reshape([4, 3]);
        let turned: Vec<f64> = (0..12).map(|place| numbers[place % 3 * 4 + place / 3]).collect();
        let expected = elements(tensor(&turned, &backend).reshape([4, 3]), copy, Element::LogCosh);
        let actual = elements(rows.transpose(), targets, Element::LogCosh);
        assert_eq!(host(actual), host(expected), "{}", backend.name);
    }
}
