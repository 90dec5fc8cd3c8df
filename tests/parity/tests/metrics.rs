//! Distances that no matrix product gives: the pass of a backend against ordinary operations.

use burn::tensor::{Tensor, TensorData};
use burn_losses_kernels::distances::{Metric, distances, distances_reference};
use parity::{Backend, backends};
use support::close::{Tolerance, assert_close, assert_finite};
use support::table::host;

const METRICS: [Metric; 10] = [
    Metric::Smallest,
    Metric::Different,
    Metric::Sum,
    Metric::Euclidean,
    Metric::SquaredEuclidean,
    Metric::Largest,
    Metric::Power(0.5),
    Metric::Power(1.5),
    Metric::Power(3.0),
    Metric::Power(40.0),
];

/// Reproducible rows, of which some numbers are equal to those of other rows.
fn rows(count: usize, dim: usize, seed: usize) -> Vec<f64> {
    let number = |place: usize| {
        let number = 4.0 * ((place * 7919 + seed * 31 + 1) as f64 * 0.618_033_988_7).fract() - 2.0;
        if place.is_multiple_of(5) { number.round() } else { number }
    };
    (0..count * dim).map(number).collect()
}

fn matrix(numbers: &[f64], dim: usize, backend: &Backend) -> Tensor<2> {
    let data = TensorData::new(numbers.to_vec(), [numbers.len() / dim, dim]);
    Tensor::from_data(data, (&backend.device, backend.dtype))
}

/// The distances and both gradients, each distance with a weight of its own.
fn outcome(
    [first, second]: [Tensor<2>; 2],
    run: impl FnOnce(Tensor<2>, Tensor<2>) -> Tensor<2>,
    backend: &Backend,
) -> [Vec<f64>; 3] {
    let leaves = [first, second].map(|rows| rows.detach().require_grad());
    let all = run(leaves[0].clone(), leaves[1].clone());
    let [rows, columns] = all.dims();
    let weights: Vec<f64> = (0..rows * columns).map(|place| 0.3 + (place as f64 * 0.37).sin()).collect();
    let gradients = (all.clone() * matrix(&weights, columns, backend)).sum().backward();
    let [of_first, of_second] = leaves.map(|leaf| host(leaf.grad(&gradients).expect("a gradient")));
    [host(all), of_first, of_second]
}

/// One number per row, around the width of vector instructions, and enough for two threads.
#[test]
fn the_pass_of_a_backend_is_the_reference() {
    for backend in backends() {
        for [first, second, dim] in [[1, 1, 1], [3, 4, 1], [4, 3, 15], [5, 2, 17], [70, 40, 33], [130, 70, 40]] {
            let sides = || [matrix(&rows(first, dim, 1), dim, &backend), matrix(&rows(second, dim, 2), dim, &backend)];
            for metric in METRICS {
                let fast = outcome(sides(), |a, b| distances(a, b, metric), &backend);
                let slow = outcome(sides(), |a, b| distances_reference(a, b, metric), &backend);
                let what = format!("{metric:?} {first} {second} {dim} on {} {:?}", backend.name, backend.dtype);
                let tolerance = if backend.is_double() { 1e-11 } else { 5e-5 };
                for (fast, slow) in fast.iter().zip(&slow) {
                    let largest = slow.iter().fold(1.0_f64, |largest, number| largest.max(number.abs()));
                    assert_close(&what, fast, slow, Tolerance::new(tolerance, tolerance * largest));
                }
            }
        }
    }
}

/// By hand: the differences are 3, 0 and 4.
#[test]
fn distances_of_two_rows_are_those_of_the_formula() {
    for backend in backends() {
        let (a, b) = (matrix(&[1.0, 2.0, -1.0], 3, &backend), matrix(&[4.0, 2.0, 3.0], 3, &backend));
        for (metric, expected) in [
            (Metric::Smallest, 0.0),
            (Metric::Different, 2.0),
            (Metric::Sum, 7.0),
            (Metric::Largest, 4.0),
            (Metric::Euclidean, 5.0),
            (Metric::SquaredEuclidean, 25.0),
            (Metric::Power(2.0), 5.0),
        ] {
            for run in [distances, distances_reference] {
                let value = host(run(a.clone(), b.clone(), metric));
                assert_close(
                    &format!("{metric:?} on {}", backend.name),
                    &value,
                    &[expected],
                    Tolerance::new(1e-6, 0.0),
                );
            }
        }
    }
}

/// Rows in two far places, of which those of one are close together: what a product would lose in value and in gradient.
#[test]
fn close_rows_far_from_the_origin_keep_their_digits() {
    for backend in backends() {
        let clusters = |seed: usize| {
            let numbers = rows(24, 40, seed);
            let place = |row: usize| if row < 14 { 50.0 } else { -3.0 };
            let spread = |row: usize| if row < 14 { 1e-3 } else { 1.0 };
            let moved = numbers.iter().enumerate();
            let moved: Vec<f64> = moved.map(|(at, number)| place(at / 40) + spread(at / 40) * number).collect();
            matrix(&moved, 40, &backend)
        };
        for metric in [Metric::Euclidean, Metric::SquaredEuclidean] {
            let sides = || [clusters(1), clusters(2)];
            let fast = outcome(sides(), |a, b| distances(a, b, metric), &backend);
            let slow = outcome(sides(), |a, b| distances_reference(a, b, metric), &backend);
            let what = format!("{metric:?} on {} {:?}", backend.name, backend.dtype);
            let tolerance = if backend.is_double() { 1e-10 } else { 1e-4 };
            for (fast, slow) in fast.iter().zip(&slow) {
                assert_close(&what, fast, slow, Tolerance::new(tolerance, tolerance));
            }
        }
    }
}

#[test]
fn equal_tiny_and_huge_rows_have_finite_gradients_and_a_nan_stays_in_its_row() {
    for backend in backends() {
        let numbers = [0.5, 0.5, 0.0, 0.0, 1e-36, -1e-36, 1e18, -1e18, 1e36, 1e36];
        // A square of these is beyond `f32`.
        for metric in METRICS.into_iter().filter(|&metric| metric != Metric::SquaredEuclidean) {
            let what = format!("{metric:?} on {} {:?}", backend.name, backend.dtype);
            let sides = || [matrix(&numbers, 2, &backend), matrix(&numbers, 2, &backend)];
            outcome(sides(), |a, b| distances(a, b, metric), &backend)
                .iter()
                .for_each(|numbers| assert_finite(&what, numbers));
            let broken = matrix(&[0.0, f64::NAN, 1.0, 2.0], 2, &backend);
            let clean = matrix(&[3.0, 5.0], 2, &backend);
            let values = host(distances(broken, clean, metric));
            assert!(values[1].is_finite(), "{what}: {values:?}");
            // Which of a number and none is smaller, the backend decides where there is no memory of the host.
            if backend.name.starts_with("flex") || backend.name.starts_with("ndarray") {
                assert!(values[0].is_nan(), "{what}: {values:?}");
            }
        }
    }
}

#[test]
fn views_have_the_results_of_their_copies() {
    for backend in backends() {
        let plain = matrix(&rows(6, 5, 3), 5, &backend);
        let turned = plain.clone().transpose().mul_scalar(1.0).transpose();
        let window = Tensor::cat(vec![plain.zeros_like(), plain.clone()], 1).narrow(1, 5, 5);
        for metric in METRICS {
            let expected = outcome([plain.clone(), plain.clone()], |a, b| distances(a, b, metric), &backend);
            for view in [turned.clone(), window.clone()] {
                let actual = outcome([view.clone(), view], |a, b| distances(a, b, metric), &backend);
                assert_eq!(actual, expected, "{metric:?} on {}", backend.name);
            }
        }
    }
}
