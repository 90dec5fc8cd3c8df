//! Steps of drawn rows: those of a backend against ordinary operations and against plain loops in `f64`.

use burn::tensor::{Bool, Int, Tensor, TensorData};
use burn_losses_kernels::drawn_rows::{
    AdamWRule, Moments, SgdRule, adamw_step, adamw_step_reference, distinct_rows, drawn_rows, mean_of_drawn_rows,
    sgd_step, sgd_step_reference,
};
use parity::{Backend, backends};
use support::close::{Tolerance, assert_close};
use support::table::host;

/// Numbers that are not 0.
fn numbers(count: usize, seed: usize) -> Vec<f64> {
    (0..count).map(|place| (((place + seed) * 37 % 301) as f64 - 150.3) / 97.0).collect()
}

fn matrix(numbers: &[f64], [rows, dim]: [usize; 2], backend: &Backend) -> Tensor<2> {
    let device = backend.device.clone().inner();
    Tensor::from_data(TensorData::new(numbers.to_vec(), [rows, dim]), (&device, backend.dtype))
}

/// Which rows a batch draws; one comes a second time, and does not count then.
const PLACES: [usize; 5] = [4, 0, 6, 4, 2];
const COUNTED: [bool; 5] = [true, true, true, false, true];

/// The packed gradient of the weights where that of the drawn rows is `gradient`.
fn packed(weights: &Tensor<2>, places: &[usize], counted: &[bool], gradient: &Tensor<2>) -> Tensor<2> {
    let leaf = weights.clone().autodiff().require_grad();
    let device = leaf.device();
    let places: Vec<i64> = places.iter().map(|&place| place as i64).collect();
    let places = Tensor::<1, Int>::from_data(TensorData::from(places.as_slice()), &device);
    let counted = Tensor::<1, Bool>::from_data(TensorData::from(counted), &device);
    let rows = drawn_rows(leaf.clone(), places, counted);
    leaf.grad(&(rows * gradient.clone().autodiff()).sum().backward()).expect("a gradient")
}

/// The rows of `distinct_rows`, and the gradient of the weights where that of these rows is `gradient`.
fn distinct(weights: &Tensor<2>, places: &[i64], counted: &[bool], gradient: &Tensor<2>) -> [Vec<f64>; 2] {
    let leaf = weights.clone().autodiff().require_grad();
    let used: Vec<i64> = counted.iter().map(|&counts| i64::from(counts) - 1).collect();
    let [places, used] =
        [places, used.as_slice()].map(|ints| Tensor::<1, Int>::from_data(TensorData::from(ints), &leaf.device()));
    let rows = distinct_rows(leaf.clone(), places, used);
    let gradients = (rows.clone() * gradient.clone().autodiff()).sum().backward();
    [rows.inner(), leaf.grad(&gradients).expect("a gradient")].map(host)
}

/// The gradient of every drawn row, 0 where it does not count.
fn gradient(dim: usize, seed: usize) -> Vec<f64> {
    let numbers = numbers(PLACES.len() * dim, seed + 7);
    (0..numbers.len()).map(|place| if COUNTED[place / dim] { numbers[place] } else { 0.0 }).collect()
}

fn tolerance(backend: &Backend) -> Tolerance {
    if backend.is_double() { Tolerance::new(1e-13, 1e-14) } else { Tolerance::new(2e-5, 1e-6) }
}

#[test]
fn what_is_drawn_are_the_rows_and_their_gradient_says_where_they_are() {
    for backend in backends() {
        let weights = matrix(&numbers(21, 0), [7, 3], &backend);
        let places = Tensor::<1, Int>::from_data([4, 0, 6, 4, 2], &weights.device());
        let counted = Tensor::<1, Bool>::from_data(COUNTED, &weights.device());
        let drawn = drawn_rows(weights.clone(), places.clone(), counted);
        assert_eq!(host(drawn), host(weights.clone().select(0, places)), "{}", backend.name);

        let gradient = gradient(3, 0);
        let packed = packed(&weights, &PLACES, &COUNTED, &matrix(&gradient, [5, 3], &backend));
        let expected: Vec<f64> = (0..5)
            .flat_map(|row| {
                let (place, mark) = (PLACES[row] as f64, if COUNTED[row] { 0.75 } else { 0.5 });
                let tail = [place, 0.0, 0.0, 0.0, place * place].map(|byte| byte / 256.0);
                gradient[row * 3..][..3].iter().copied().chain(tail).chain([mark])
            })
            .collect();
        assert_eq!(packed.dims(), [5, 9]);
        assert_close(&backend.name, &host(packed), &expected, tolerance(&backend));
    }
}

/// Several steps on the same state, with all rules; rows that were not drawn keep their bits.
/// Nothing is added up, so every number is the one that came.
#[test]
fn the_gradient_of_distinct_rows_is_where_they_are() {
    // Of several cubes for a row, too.
    for dim in [3, 1, 600] {
        for backend in backends() {
            let weights = matrix(&numbers(7 * dim, 0), [7, dim], &backend);
            let upstream = matrix(&gradient(dim, 0), [5, dim], &backend);
            let [rows, of_weights] = distinct(&weights, &PLACES.map(|place| place as i64), &COUNTED, &upstream);
            let [weights, upstream] = [weights, upstream].map(host);
            let mut expected = vec![0.0; 7 * dim];
            for (drawn, &place) in PLACES.iter().enumerate() {
                assert_eq!(rows[drawn * dim..][..dim], weights[place * dim..][..dim], "{}", backend.name);
                if COUNTED[drawn] {
                    expected[place * dim..][..dim].copy_from_slice(&upstream[drawn * dim..][..dim]);
                }
            }
            assert_eq!(of_weights, expected, "{} with {dim} columns", backend.name);
        }
    }
}

/// More than the steps of a loop on some drivers, and than the cubes of an axis.
#[test]
fn a_sample_may_be_large() {
    for backend in backends() {
        let (rows, drawn) = (80_000, 70_001);
        let weights = matrix(&numbers(rows * 2, 0), [rows, 2], &backend);
        let upstream = matrix(&numbers(drawn * 2, 5), [drawn, 2], &backend);
        let places: Vec<i64> = (0..drawn as i64).map(|place| place * 7 % rows as i64).collect();
        let [_, of_weights] = distinct(&weights, &places, &vec![true; drawn], &upstream);
        let mut expected = vec![0.0; rows * 2];
        for (drawn, of_row) in host(upstream).chunks(2).enumerate() {
            expected[places[drawn] as usize * 2..][..2].copy_from_slice(of_row);
        }
        assert_eq!(of_weights, expected, "{}", backend.name);
    }
}

#[test]
fn steps_of_gradient_descent_are_those_of_plain_loops() {
    let [rows, dim] = [7, 19];
    for backend in backends() {
        for (momentum, nesterov, weight_decay) in [(0.0, false, 0.0), (0.9, false, 0.01), (0.8, true, 0.1)] {
            let rule = SgdRule { momentum, nesterov, weight_decay };
            for step in [sgd_step, sgd_step_reference] {
                let mut weights = matrix(&numbers(rows * dim, 0), [rows, dim], &backend);
                let mut velocity = weights.zeros_like();
                let (mut expected, mut expected_velocity) = (host(weights.clone()), vec![0.0; rows * dim]);
                let before = expected.clone();
                for (number, rate) in [0.3, 0.1, 0.2].into_iter().enumerate() {
                    let gradient = gradient(dim, number);
                    let packed = packed(&weights, &PLACES, &COUNTED, &matrix(&gradient, [5, dim], &backend));
                    (weights, velocity) = step(weights, velocity, packed, rule, rate);
                    for (row, column) in
                        (0..5).filter(|&row| COUNTED[row]).flat_map(|row| (0..dim).map(move |c| (row, c)))
                    {
                        let place = PLACES[row] * dim + column;
                        let slope = gradient[row * dim + column] + weight_decay * expected[place];
                        expected_velocity[place] = momentum * expected_velocity[place] + slope;
                        let ahead = slope + momentum * expected_velocity[place];
                        expected[place] -= rate * if nesterov { ahead } else { expected_velocity[place] };
                    }
                }
                let what = format!("{rule:?} on {} {:?}", backend.name, backend.dtype);
                let actual = host(weights);
                assert_close(&what, &actual, &expected, tolerance(&backend));
                assert_close(&what, &host(velocity), &expected_velocity, tolerance(&backend));
                for row in [1, 3, 5] {
                    assert_eq!(actual[row * dim..][..dim], before[row * dim..][..dim], "{what}: row {row}");
                }
            }
        }
    }
}

/// One step of three batches against plain loops: rows that one, two and three of them drew, one that a batch drew without counting it,
/// and two that none did.
#[test]
fn a_step_of_several_batches_is_that_of_the_mean_of_their_gradients() {
    let [rows, dim] = [7, 19];
    let batches: [(&[usize], &[bool]); 3] =
        [(&PLACES, &COUNTED), (&[6, 5, 4], &[true, false, true]), (&[0, 4, 3, 0], &[true, true, true, false])];
    let rule = SgdRule { momentum: 0.9, nesterov: false, weight_decay: 0.01 };
    for backend in backends() {
        for step in [sgd_step, sgd_step_reference] {
            let mut weights = matrix(&numbers(rows * dim, 0), [rows, dim], &backend);
            let mut velocity = weights.zeros_like();
            let before = host(weights.clone());
            let (mut expected, mut expected_velocity) = (before.clone(), vec![0.0; rows * dim]);
            for rate in [0.3, 0.1] {
                let (mut sum, mut is_drawn) = (vec![0.0; rows * dim], [false; 7]);
                let mut gradients = Vec::new();
                for (number, (places, counted)) in batches.iter().enumerate() {
                    let mut gradient = numbers(places.len() * dim, number + 11);
                    for (row, (&place, &counts)) in places.iter().zip(*counted).enumerate() {
                        is_drawn[place] |= counts;
                        for column in 0..dim {
                            let slope = &mut gradient[row * dim + column];
                            *slope *= f64::from(u8::from(counts));
                            sum[place * dim + column] += *slope / batches.len() as f64;
                        }
                    }
                    let gradient = matrix(&gradient, [places.len(), dim], &backend);
                    gradients.push(packed(&weights, places, counted, &gradient));
                }
                let mean = mean_of_drawn_rows(gradients, [rows, dim]);
                assert_eq!(mean.dims(), [12, dim + 6]);
                (weights, velocity) = step(weights, velocity, mean, rule, rate);
                for place in (0..rows * dim).filter(|place| is_drawn[place / dim]) {
                    let slope = sum[place] + rule.weight_decay * expected[place];
                    expected_velocity[place] = rule.momentum * expected_velocity[place] + slope;
                    expected[place] -= rate * expected_velocity[place];
                }
                assert_eq!(is_drawn, [true, false, true, true, true, false, true]);
            }
            let what = format!("{} {:?}", backend.name, backend.dtype);
            let actual = host(weights);
            assert_close(&what, &actual, &expected, tolerance(&backend));
            assert_close(&what, &host(velocity), &expected_velocity, tolerance(&backend));
            for row in [1, 5] {
                assert_eq!(actual[row * dim..][..dim], before[row * dim..][..dim], "{what}: row {row}");
            }
        }
    }
}

/// Rows that are drawn in some steps only: their means are those of the steps in which they were.
#[test]
fn steps_of_adamw_are_those_of_plain_loops() {
    let [rows, dim] = [7, 19];
    let rule = AdamWRule { beta_1: 0.9, beta_2: 0.999, epsilon: 1e-8, weight_decay: 0.05 };
    for backend in backends() {
        for step in [adamw_step, adamw_step_reference] {
            let mut weights = matrix(&numbers(rows * dim, 0), [rows, dim], &backend);
            let zeros = weights.zeros_like();
            let shares = zeros.clone().narrow(1, 0, 2);
            let mut moments = Moments { first: zeros.clone(), second: zeros, shares };
            let mut expected = host(weights.clone());
            let mut means = vec![[0.0_f64; 2]; rows * dim];
            let mut times = vec![0; rows];
            for (number, rate) in [0.3, 0.1, 0.2].into_iter().enumerate() {
                let gradient = gradient(dim, number);
                // The rows 0 and 6 are not drawn in the second step.
                let counted: Vec<bool> =
                    (0..5).map(|row| COUNTED[row] && !(number == 1 && [0, 6].contains(&PLACES[row]))).collect();
                let packed = packed(&weights, &PLACES, &counted, &matrix(&gradient, [5, dim], &backend));
                (weights, moments) = step(weights, moments, packed, rule, rate);
                for row in (0..5).filter(|&row| counted[row]) {
                    times[PLACES[row]] += 1;
                    let [rest_1, rest_2] = [rule.beta_1, rule.beta_2].map(|beta| 1.0 - beta.powi(times[PLACES[row]]));
                    for column in 0..dim {
                        let (place, slope) = (PLACES[row] * dim + column, gradient[row * dim + column]);
                        let [first, second] = means[place];
                        let first = rule.beta_1 * first + (1.0 - rule.beta_1) * slope;
                        let second = rule.beta_2 * second + (1.0 - rule.beta_2) * slope * slope;
                        means[place] = [first, second];
                        let direction = first / rest_1 / ((second / rest_2).sqrt() + rule.epsilon);
                        expected[place] -= rate * (rule.weight_decay * expected[place] + direction);
                    }
                }
            }
            let what = format!("on {} {:?}", backend.name, backend.dtype);
            assert_close(&what, &host(weights), &expected, tolerance(&backend));
            let of = |which: usize| means.iter().map(|means| means[which]).collect::<Vec<_>>();
            assert_close(&what, &host(moments.first), &of(0), tolerance(&backend));
            assert_close(&what, &host(moments.second), &of(1), tolerance(&backend));
            let shares: Vec<f64> = times
                .iter()
                .flat_map(|&times| [1.0 - rule.beta_1.powi(times), 1.0 - rule.beta_2.powi(times)])
                .collect();
            assert_close(&what, &host(moments.shares), &shares, tolerance(&backend));
        }
    }
}

/// All four bytes of a place, and so many rows that they go to several threads.
#[test]
fn rows_of_a_large_matrix_are_found() {
    for backend in backends() {
        let rows = (1 << 24) + 70_000;
        let device = backend.device.clone().inner();
        let weights = Tensor::<2>::zeros([rows, 1], (&device, backend.dtype));
        let places = [0, 255, 256, 65_535, 65_536, (1 << 24) - 1, 1 << 24, rows - 1];
        let gradient: Vec<f64> = (0..8).map(|place| f64::from(place) - 10.0).collect();
        let packed = packed(&weights, &places, &[true; 8], &matrix(&gradient, [8, 1], &backend));
        let rule = SgdRule { momentum: 0.0, nesterov: false, weight_decay: 0.0 };
        let (weights, _) = sgd_step(weights.clone(), weights, packed, rule, 1.0);
        let at = Tensor::<1, Int>::from_data(places.map(|place| place as i64), &device);
        let expected: Vec<f64> = gradient.iter().map(|slope| -slope).collect();
        assert_close(&backend.name, &host(weights.clone().select(0, at)), &expected, tolerance(&backend));
        let total = host(weights.sum())[0];
        assert!((total - expected.iter().sum::<f64>()).abs() < 1e-4, "{}: {total}", backend.name);
    }
    for backend in backends() {
        let [rows, dim] = [3000, 33];
        let weights = matrix(&numbers(rows * dim, 0), [rows, dim], &backend);
        // Every second row, from the last to the first.
        let places: Vec<usize> = (0..rows / 2).rev().map(|row| 2 * row).collect();
        let gradient = numbers(places.len() * dim, 3);
        let slopes = matrix(&gradient, [places.len(), dim], &backend);
        let packed = packed(&weights, &places, &vec![true; places.len()], &slopes);
        let rule = SgdRule { momentum: 0.9, nesterov: false, weight_decay: 0.0 };
        let mut expected = host(weights.clone());
        let (actual, _) = sgd_step(weights.clone(), weights.zeros_like(), packed, rule, 0.5);
        for (number, &row) in places.iter().enumerate() {
            (0..dim).for_each(|column| expected[row * dim + column] -= 0.5 * gradient[number * dim + column]);
        }
        assert_close(&backend.name, &host(actual), &expected, tolerance(&backend));
    }
}

/// Added up, scaled, clipped or averaged, a packed gradient is none: a panic in host memory, NaN elsewhere.
#[test]
fn a_sum_of_gradients_of_drawn_rows_is_not_taken_for_one() {
    for backend in backends() {
        let weights = matrix(&numbers(21, 0), [7, 3], &backend);
        let packed = packed(&weights, &PLACES, &COUNTED, &matrix(&gradient(3, 0), [5, 3], &backend));
        let other = self::packed(&weights, &[1, 5, 3, 0, 6], &[true; 5], &matrix(&gradient(3, 1), [5, 3], &backend));
        // Of two rows that a sum could take for one that counts.
        let seconds =
            |counted: [bool; 5]| self::packed(&weights, &PLACES, &counted, &matrix(&gradient(3, 0), [5, 3], &backend));
        let halves = seconds([true, false, true, false, true]) + seconds([false, true, false, true, false]);
        let wrongs = [
            packed.clone() + packed.clone(),
            (packed.clone() + other).mul_scalar(0.5),
            packed.clone().clamp(-0.6, 0.6),
            halves,
            packed.mul_scalar(0.5),
        ];
        for wrong in wrongs {
            let (weights, what) = (weights.clone(), &backend.name);
            let rule = SgdRule { momentum: 0.9, nesterov: false, weight_decay: 0.0 };
            let (by_reference, _) = sgd_step_reference(weights.clone(), weights.zeros_like(), wrong.clone(), rule, 0.1);
            assert!(host(by_reference).iter().any(|number| number.is_nan()), "{what}: the reference");
            let step = move || sgd_step(weights.clone(), weights.zeros_like(), wrong, rule, 0.1);
            match std::panic::catch_unwind(std::panic::AssertUnwindSafe(step)) {
                Ok((weights, _)) => assert!(host(weights).iter().any(|number| number.is_nan()), "{what}"),
                Err(message) => {
                    let message = message.downcast_ref::<&str>().copied().unwrap_or_default();
                    assert!(message.contains("cannot be added, clipped or scaled"), "{what}: {message}");
                }
            }
        }
    }
}

/// What others hold of the weights and the velocity is not changed.
#[test]
fn a_step_changes_no_other_tensor() {
    for backend in backends() {
        let weights = matrix(&numbers(21, 0), [7, 3], &backend);
        let velocity = matrix(&numbers(21, 5), [7, 3], &backend);
        let packed = packed(&weights, &PLACES, &COUNTED, &matrix(&gradient(3, 0), [5, 3], &backend));
        let expected = [host(weights.clone()), host(velocity.clone())];
        let rule = SgdRule { momentum: 0.9, nesterov: false, weight_decay: 0.1 };
        let (moved, _) = sgd_step(weights.clone(), velocity.clone(), packed.clone(), rule, 0.1);
        // On an autodiff device too, without a gradient.
        let [of_weights, of_velocity, of_gradient] = [&weights, &velocity, &packed].map(|part| part.clone().autodiff());
        let (same, _) = sgd_step(of_weights.require_grad(), of_velocity, of_gradient, rule, 0.1);
        assert!(!same.is_require_grad() && host(same) == host(moved), "{}", backend.name);
        assert_eq!([host(weights), host(velocity)], expected, "{}", backend.name);
    }
}

/// A gradient of all rows, in place in host memory too.
#[test]
fn dense_gradients_move_all_rows() {
    let [rows, dim] = [70, 600];
    for backend in backends() {
        let sgd = SgdRule { momentum: 0.9, nesterov: true, weight_decay: 0.01 };
        let adamw = AdamWRule { beta_1: 0.9, beta_2: 0.99, epsilon: 1e-6, weight_decay: 0.05 };
        let start = || matrix(&numbers(rows * dim, 0), [rows, dim], &backend);
        let gradient = |step: usize| matrix(&numbers(rows * dim, step + 11), [rows, dim], &backend);
        let by_sgd = |run: fn(Tensor<2>, Tensor<2>, Tensor<2>, SgdRule, f64) -> (Tensor<2>, Tensor<2>)| {
            let (mut weights, mut velocity) = (start(), start().zeros_like());
            for step in 0..3 {
                (weights, velocity) = run(weights, velocity, gradient(step), sgd, 0.1);
            }
            [host(weights), host(velocity)]
        };
        let by_adamw = |run: fn(Tensor<2>, Moments, Tensor<2>, AdamWRule, f64) -> (Tensor<2>, Moments)| {
            let zeros = start().zeros_like();
            let shares = zeros.clone().narrow(1, 0, 2);
            let (mut weights, mut moments) = (start(), Moments { first: zeros.clone(), second: zeros, shares });
            for step in 0..3 {
                (weights, moments) = run(weights, moments, gradient(step), adamw, 0.1);
            }
            [host(weights), host(moments.second)]
        };
        let what = format!("{} {:?}", backend.name, backend.dtype);
        let pairs =
            [[by_sgd(sgd_step), by_sgd(sgd_step_reference)], [by_adamw(adamw_step), by_adamw(adamw_step_reference)]];
        for [fast, slow] in pairs {
            fast.iter().zip(&slow).for_each(|(fast, slow)| assert_close(&what, fast, slow, tolerance(&backend)));
            assert!(
                fast[0].iter().zip(&host(start())).all(|(after, before)| after != before),
                "{what}: a number stayed"
            );
        }
    }
}
