//! Rows shortened as a whole: the step of a backend against ordinary operations and against plain `f64`.

use burn::tensor::{Tensor, TensorData};
use burn_losses_kernels::row_groups::{shortened_rows, shortened_rows_reference};
use parity::{Backend, backends};
use support::close::{Tolerance, assert_close};
use support::table::host;

fn tensor(numbers: &[f64], shape: [usize; 2], backend: &Backend) -> Tensor<2> {
    Tensor::from_data(TensorData::new(numbers.to_vec(), shape), (&backend.device, backend.dtype))
}

fn tolerance(backend: &Backend) -> Tolerance {
    if backend.is_double() { Tolerance::new(1e-12, 0.0) } else { Tolerance::new(1e-5, 0.0) }
}

/// Rows of 1 to 1000 numbers, of which some vanish.
#[test]
fn a_step_is_its_formula() {
    for backend in backends() {
        for [rows, dim] in [[1, 1], [7, 3], [90, 17], [50, 1000]] {
            let numbers: Vec<f64> = (0..rows * dim)
                .map(|place| ((place * 37 % 301) as f64 / 31.0 - 4.8) * (place / dim + 1) as f64)
                .collect();
            // As the backend has them.
            let numbers = host(tensor(&numbers, [rows, dim], &backend));
            let lengths: Vec<f64> =
                numbers.chunks(dim).map(|row| row.iter().map(|number| number * number).sum::<f64>().sqrt()).collect();
            let mut sorted = lengths.clone();
            sorted.sort_by(f64::total_cmp);
            let threshold = 0.7 * sorted[rows / 2];
            let expected: Vec<f64> = (0..rows * dim)
                .map(|place| numbers[place] * (1.0 - threshold / lengths[place / dim]).max(0.0))
                .collect();
            for run in [shortened_rows, shortened_rows_reference] {
                let what = format!("{rows} {dim} on {} {:?}", backend.name, backend.dtype);
                let actual = host(run(tensor(&numbers, [rows, dim], &backend), threshold));
                assert_close(&what, &actual, &expected, tolerance(&backend));
            }
        }
    }
}

/// Squares of these are beyond `f32`, or 0 in it.
#[test]
fn huge_and_tiny_rows_keep_their_direction_and_what_is_no_number_is_not_hidden() {
    for backend in backends() {
        for size in [1e30, 1e-20] {
            let rows = tensor(&[3.0 * size, -4.0 * size, 0.3 * size, 0.4 * size], [2, 2], &backend);
            let actual = host(shortened_rows(rows, 2.5 * size));
            let what = format!("{size} on {} {:?}", backend.name, backend.dtype);
            assert_close(&what, &actual, &[1.5 * size, -2.0 * size, 0.0, 0.0], tolerance(&backend));
        }
        let rows = tensor(&[f64::NAN, 1.0, 0.0, -0.0, 0.3, -0.4], [3, 2], &backend);
        let actual = host(shortened_rows(rows, 0.6));
        assert!(actual[..2].iter().all(|number| number.is_nan()), "{}: {actual:?}", backend.name);
        assert!(actual[2..].iter().all(|number| number.to_bits() == 0), "{}: {actual:?}", backend.name);
        let kept = host(shortened_rows(tensor(&[-0.0, 3.0], [1, 2], &backend), 1.0));
        assert_eq!(kept[0].to_bits(), 0, "{}: the sign of a zero", backend.name);
        let infinite = host(shortened_rows(tensor(&[f64::INFINITY, 1.0], [1, 2], &backend), 0.5));
        assert!(infinite[0].is_nan(), "{}: {infinite:?}", backend.name);
    }
}

/// In place, but not in the memory of others; and of a view its numbers only.
#[test]
fn other_tensors_of_the_same_memory_stay_as_they_are() {
    for backend in backends() {
        let rows = tensor(&[3.0, -4.0, 0.3, 0.4, 6.0, 8.0], [3, 2], &backend);
        let [kept, turned, part] = [rows.clone(), rows.clone().transpose(), rows.clone().narrow(0, 2, 1)];
        let shortened = [shortened_rows(rows, 2.5), shortened_rows(part, 5.0), shortened_rows(turned, 0.0)].map(host);
        let close = |what: &str, actual: &[f64], expected: &[f64]| {
            assert_close(&format!("{what} on {}", backend.name), actual, expected, Tolerance::new(1e-6, 1e-6));
        };
        close("all", &shortened[0], &[1.5, -2.0, 0.0, 0.0, 4.5, 6.0]);
        close("a part", &shortened[1], &[3.0, 4.0]);
        close("turned", &shortened[2], &[3.0, 0.3, 6.0, -4.0, 0.4, 8.0]);
        close("the others", &host(kept), &[3.0, -4.0, 0.3, 0.4, 6.0, 8.0]);
    }
}
