//! The log-sum-exp of softmax heads and contrastive losses under every setting that should change nothing.

use burn::tensor::{DType, Int, Tensor, TensorData};
use burn_losses_kernels::math::NOTHING;
use burn_losses_kernels::scores::{
    Comparison, Counted, Normalise, Scale, Scores, Streaming, scores, scores_reference, streams_on,
};
use parity::{Exactness, backends};
use support::close::{Tolerance, assert_close};
use support::gradient::check;
use support::naive::scores as naive;
use support::table::host;

use super::{On, labels_of as labels, rows, streaming, weigh};

const SCALE: f64 = 16.0;

/// Every way to run the operation that should change nothing.
fn settings() -> Vec<Streaming> {
    let mut settings = Vec::new();
    for kept_bytes in [0, usize::MAX] {
        for block in [None, Some(1), Some(7), Some(64), Some(1000)] {
            settings.push(streaming(kept_bytes, block));
        }
    }
    settings
}

/// `[queries, keys, columns]`: one of each, one more than a block or a tile, several threads, nothing a multiple of
/// anything.
const SIZES: [[usize; 3]; 7] =
    [[1, 1, 1], [1, 9, 1], [3, 2, 5], [37, 301, 24], [2, 65, 33], [300, 70, 8], [5, 1300, 40]];

/// The cosines of classes.
fn cosines(scale: impl Into<Scale>, streaming: Streaming) -> Comparison {
    Comparison { normalise: Normalise::Both, streaming, ..Comparison::new(scale) }
}

/// Target and sum side by side.
fn packed(scores: Scores) -> Tensor<2> {
    Tensor::stack(vec![scores.target, scores.sum], 1)
}

fn class_scores(x: Tensor<2>, w: Tensor<2>, y: Tensor<1, Int>, scale: impl Into<Scale>, how: Streaming) -> Tensor<2> {
    packed(scores(x, w, y, cosines(scale, how)))
}

fn log_sum(q: Tensor<2>, k: Tensor<2>, y: Tensor<1, Int>, of: Counted, scale: f64, how: Streaming) -> Tensor<1> {
    scores(q, k, y, Comparison { counted: of, streaming: how, ..Comparison::new(scale) }).sum
}

fn log_sum_reference(q: Tensor<2>, k: Tensor<2>, y: Tensor<1, Int>, of: Counted, scale: f64) -> Tensor<1> {
    scores_reference(q, k, y, Comparison { counted: of, ..Comparison::new(scale) }).sum
}

impl On<'_> {
    /// Errors of a gradient go with the largest number in it, or with the numbers of size 1 that cancelled out in it.
    fn gradient_tolerance(&self, expected: &[f64]) -> Tolerance {
        let largest = expected.iter().fold(1.0_f64, |largest, number| largest.max(number.abs()));
        let share = match self.0.exactness {
            Exactness::Double => 1e-13,
            Exactness::Single => 1e-5,
            Exactness::SoftwareGpu => 2e-5,
            Exactness::Gpu => 1e-4,
        };
        Tolerance::new(0.0, share * largest)
    }
}

/// The log-sum-exp in plain loops of the keys that count.
fn plain_log_sum(q: &[Vec<f64>], k: &[Vec<f64>], y: &[i64], counted: naive::Counted<'_>, scale: f64) -> Vec<f64> {
    let (term, normalise) = (naive::Term::Exp, [false; 2]);
    let comparison = naive::Comparison { counted, term, bias: None, normalise, scale, sub_centers: 1, gamma: None };
    let [_, sum, ..] = naive::scores(q, k, y, &comparison);
    sum
}

/// The output and the gradients of two leaves.
fn with_gradients<const D: usize>(output: Tensor<D>, first: &Tensor<2>, second: &Tensor<2>) -> [Vec<f64>; 3] {
    let gradients = weigh(output.clone()).backward();
    let of = |leaf: &Tensor<2>| host(leaf.grad(&gradients).expect("a leaf has a gradient"));
    [host(output), of(first), of(second)]
}

fn compare(what: &str, on: &On<'_>, actual: &[Vec<f64>; 3], expected: &[Vec<f64>; 3]) {
    assert_close(what, &actual[0], &expected[0], on.tolerance());
    for (name, place) in [("first", 1), ("second", 2)] {
        let tolerance = on.gradient_tolerance(&expected[place]);
        assert_close(&format!("{what}: gradient of the {name}"), &actual[place], &expected[place], tolerance);
    }
}

#[test]
fn the_fast_path_is_what_these_tests_run() {
    for backend in backends() {
        assert!(streams_on(&backend.device), "{} runs the reference", backend.name);
    }
}

#[test]
fn class_scores_equal_plain_loops() {
    for backend in backends() {
        let on = On(&backend);
        for [batch, classes, dim] in SIZES {
            let (x, w, y) = (rows(batch, dim, 0), rows(classes, dim, 1), labels(batch, classes));
            let expected = naive::class_scores(&x, &w, &y, SCALE);
            for streaming in settings() {
                let scores = class_scores(on.matrix(&x), on.matrix(&w), on.integers(&y), SCALE, streaming);
                let what = format!("{:?} {streaming:?} on {} {:?}", [batch, classes, dim], backend.name, backend.dtype);
                assert_close(&what, &host(scores), &expected, on.tolerance());
            }
        }
    }
}

#[test]
fn class_scores_and_gradients_equal_the_reference() {
    for backend in backends() {
        let on = On(&backend);
        for [batch, classes, dim] in SIZES {
            let (x, w, y) = (rows(batch, dim, 0), rows(classes, dim, 1), labels(batch, classes));
            let leaves = || (on.matrix(&x), on.matrix(&w));
            let (e, v) = leaves();
            let plain =
                packed(scores_reference(e.clone(), v.clone(), on.integers(&y), cosines(SCALE, Streaming::new())));
            let expected = with_gradients(plain, &e, &v);
            for streaming in settings() {
                let (e, v) = leaves();
                let scores = class_scores(e.clone(), v.clone(), on.integers(&y), SCALE, streaming);
                let what = format!("{:?} {streaming:?} on {} {:?}", [batch, classes, dim], backend.name, backend.dtype);
                compare(&what, &on, &with_gradients(scores, &e, &v), &expected);
            }
        }
    }
}

#[test]
fn labelled_keys_equal_plain_loops_and_the_reference() {
    for backend in backends() {
        let on = On(&backend);
        for [batch, count, dim] in SIZES {
            let (queries, keys) = (rows(batch, dim, 2), rows(count, dim, 3));
            let query_labels: Vec<i64> = (0..batch as i64).map(|row| row % 4 - 1).collect();
            let key_labels: Vec<i64> = (0..count as i64).map(|row| (row * 5) % 7 - 2).collect();
            let call = || (on.matrix(&queries), on.matrix(&keys), on.integers(&query_labels));
            // The keys of other labels, those of the same, and those of the same without the query itself.
            for in_batch in [None, Some(false), Some(true)] {
                let counted = match in_batch {
                    None => naive::Counted::OtherLabels(&key_labels),
                    Some(in_batch) => naive::Counted::SameLabel(&key_labels, in_batch),
                };
                let values = plain_log_sum(&queries, &keys, &query_labels, counted, 2.0);
                let labels = || on.integers(&key_labels);
                let labelled = || match in_batch {
                    None => Counted::OtherLabels(labels()),
                    Some(in_batch) => Counted::SameLabel { labels: labels(), in_batch },
                };
                let (q, k, y) = call();
                let plain = log_sum_reference(q.clone(), k.clone(), y, labelled(), 2.0);
                let expected = with_gradients(plain, &q, &k);
                for streaming in settings() {
                    let (q, k, y) = call();
                    let others = log_sum(q.clone(), k.clone(), y, labelled(), 2.0, streaming);
                    let size = [batch, count, dim];
                    let what = format!("{size:?} {in_batch:?} {streaming:?} on {} {:?}", backend.name, backend.dtype);
                    let actual = with_gradients(others, &q, &k);
                    assert_close(&what, &actual[0], &values, on.tolerance());
                    compare(&what, &on, &actual, &expected);
                }
            }
        }
    }
}

#[test]
fn rows_against_all_others_of_their_batch() {
    for backend in backends() {
        let on = On(&backend);
        let batch = rows(70, 9, 4);
        let own: Vec<i64> = (0..70).collect();
        let expected = plain_log_sum(&batch, &batch, &own, naive::Counted::AllButTarget, 3.0);
        for streaming in settings() {
            // The same leaf on both sides: its gradient is the sum of both.
            let both = |run: &dyn Fn(Tensor<2>, Tensor<1, Int>) -> Tensor<1>| {
                let leaf = on.matrix(&batch);
                let output = run(leaf.clone(), on.integers(&own));
                with_gradients(output, &leaf, &leaf)
            };
            let what = format!("{streaming:?} on {} {:?}", backend.name, backend.dtype);
            let streamed = both(&|x, y| log_sum(x.clone(), x, y, Counted::AllButTarget, 3.0, streaming));
            let plain = both(&|x, y| log_sum_reference(x.clone(), x, y, Counted::AllButTarget, 3.0));
            assert_close(&what, &streamed[0], &expected, on.tolerance());
            compare(&what, &on, &streamed, &plain);
        }
    }
}

#[test]
fn gradients_equal_finite_differences() {
    for backend in backends().iter().filter(|backend| backend.is_double()) {
        let on = On(backend);
        let (x, w, y) = (rows(4, 3, 5), rows(6, 3, 6), [5, -1, 0, 3]);
        for streaming in [streaming(0, Some(4)), Streaming::new()] {
            let run = |x: &[Vec<f64>], w: &[Vec<f64>]| {
                let (x, w) = (on.matrix(x), on.matrix(w));
                let scores = class_scores(x.clone(), w.clone(), on.integers(&y), SCALE, streaming);
                (scores, x, w)
            };
            let chunks = |numbers: &[f64]| numbers.chunks(3).map(<[f64]>::to_vec).collect::<Vec<_>>();
            let (scores, x_leaf, w_leaf) = run(&x, &w);
            let [_, x_gradient, w_gradient] = with_gradients(scores, &x_leaf, &w_leaf);
            let value = |scores: Tensor<2>| host(weigh(scores))[0];
            let (x_flat, w_flat) = (x.concat(), w.concat());
            let tolerance = Tolerance::new(1e-6, 1e-5);
            check(|moved| value(run(&chunks(moved), &w).0), &x_flat, &x_gradient, 100.0, tolerance).unwrap();
            check(|moved| value(run(&x, &chunks(moved)).0), &w_flat, &w_gradient, 100.0, tolerance).unwrap();
        }
    }
}

#[test]
fn the_block_changes_nothing_in_f64() {
    for backend in backends().iter().filter(|backend| backend.is_double()) {
        let on = On(backend);
        let (x, w, y) = (rows(19, 12, 0), rows(777, 12, 1), labels(19, 777));
        let run = |streaming| {
            let (x, w) = (on.matrix(&x), on.matrix(&w));
            let scores = class_scores(x.clone(), w.clone(), on.integers(&y), 64.0, streaming);
            with_gradients(scores, &x, &w)
        };
        let expected = run(Streaming::new());
        for block in [1, 2, 100, 256, 776, 777, 5000] {
            for kept_bytes in [0, usize::MAX] {
                for (actual, expected) in run(streaming(kept_bytes, Some(block))).iter().zip(&expected) {
                    assert_close(&format!("block {block}"), actual, expected, Tolerance::new(1e-12, 1e-12));
                }
            }
        }
    }
}

#[test]
fn a_scale_that_is_a_tensor_has_a_gradient() {
    for backend in backends() {
        let on = On(&backend);
        let (x, w, y) = (rows(6, 4, 0), rows(11, 4, 1), labels(6, 11));
        let scale = |value: f64| Tensor::<1>::from_data([value], (&backend.device, backend.dtype)).require_grad();
        let run = |scale: Tensor<1>| {
            class_scores(on.matrix(&x), on.matrix(&w), on.integers(&y), scale, streaming(0, Some(4)))
        };

        let constant = class_scores(on.matrix(&x), on.matrix(&w), on.integers(&y), 7.5, Streaming::new());
        assert_close(&backend.name, &host(run(scale(7.5))), &host(constant), on.tolerance());

        let leaf = scale(7.5);
        let gradient = host(leaf.grad(&weigh(run(leaf.clone())).backward()).expect("a scale has a gradient"));
        let plain = |scale: f64| {
            let scores = naive::class_scores(&x, &w, &y, scale);
            scores.iter().enumerate().map(|(place, score)| score * (0.5 + (place as f64 * 0.37).sin())).sum::<f64>()
        };
        let expected = (plain(7.5 + 1e-5) - plain(7.5 - 1e-5)) / 2e-5;
        let tolerance = if backend.is_double() { 1e-8 } else { 2e-5 };
        assert_close(&backend.name, &gradient, &[expected], Tolerance::new(tolerance, tolerance));
    }
}

#[test]
fn a_sample_with_repetitions_equals_the_classes_in_it() {
    for backend in backends() {
        let on = On(&backend);
        let (x, w) = (rows(3, 5, 0), rows(8, 5, 1));
        // Class 6 is there twice; the second one does not count, not even as an own one's rival.
        let (members, used) = ([6_usize, 1, 4, 6], [0, 0, 0, -1]);
        let sample: Vec<Vec<f64>> = members.iter().map(|&class| w[class].clone()).collect();
        let expected = naive::class_scores(&x, &sample[..3], &[2, 0, -1], SCALE);
        for streaming in settings() {
            let (e, v) = (on.matrix(&x), on.matrix(&sample));
            let labels = on.integers(&[2, 0, -1]);
            let sampled = Comparison { counted: Counted::Sample(on.integers(&used)), ..cosines(SCALE, streaming) };
            let scores = packed(scores(e.clone(), v.clone(), labels, sampled));
            let [values, _, gradient] = with_gradients(scores, &e, &v);
            assert_close(&backend.name, &values, &expected, on.tolerance());
            assert_eq!(gradient[15..], [0.0; 5], "what does not count has no gradient");
            assert!(gradient[..5].iter().all(|&slope| slope != 0.0));
        }
    }
}

#[test]
fn tracked_inputs_only_and_every_checkpointing_strategy() {
    for backend in backends() {
        let on = On(&backend);
        let (x, w, y) = (rows(9, 6, 0), rows(40, 6, 1), labels(9, 40));
        let plain = |rows: &[Vec<f64>]| on.matrix(rows).detach();
        for streaming in [streaming(0, Some(16)), Streaming::new()] {
            let run = |e: Tensor<2>, v: Tensor<2>| class_scores(e, v, on.integers(&y), SCALE, streaming);
            let (e, v) = (on.matrix(&x), on.matrix(&w));
            let [values, x_gradient, w_gradient] = with_gradients(run(e.clone(), v.clone()), &e, &v);

            let e = on.matrix(&x);
            let only = e.grad(&weigh(run(e.clone(), plain(&w))).backward()).expect("embeddings are tracked");
            assert_eq!(host(only), x_gradient);
            let v = on.matrix(&w);
            let only = v.grad(&weigh(run(plain(&x), v.clone())).backward()).expect("weights are tracked");
            assert_eq!(host(only), w_gradient);
            assert_eq!(host(run(plain(&x), plain(&w))), values);

            // Both inputs are results of cheap operations here, which this strategy computes again.
            let device = backend.device.clone().gradient_checkpointing();
            let again = |rows: &[Vec<f64>]| {
                let data = TensorData::new(rows.concat(), [rows.len(), 6]);
                Tensor::<2>::from_data(data, (&device, backend.dtype)).require_grad()
            };
            let (e, v) = (again(&x), again(&w));
            let labels = Tensor::<1, Int>::from_data(TensorData::from(y.as_slice()), &device);
            let scores =
                class_scores(e.clone() * 2.0 - e.clone(), v.clone() * 3.0 - v.clone(), labels, SCALE, streaming);
            let actual = with_gradients(scores, &e, &v);
            assert!(actual[2].iter().any(|&slope| slope != 0.0));
            // Twice the length of a class center halves its gradient, and the factor before it is 2 again.
            compare(&backend.name, &on, &actual, &[values, x_gradient, w_gradient]);
        }
    }
}

/// A view of a leaf, and how the leaf has to lie in memory.
type View = (&'static str, fn(Tensor<2>) -> Tensor<2>, fn(Tensor<2>) -> Tensor<2>);

/// Views whose strides or start are not those of a matrix of their shape. What is laid out goes through the host, so that
/// the memory is in the order of the numbers; the transpose of a transpose alone would be the matrix itself.
const VIEWS: [View; 4] = [
    ("transposed", Tensor::transpose, Tensor::transpose),
    ("flipped", |rows| rows.flip([0, 1]), |rows| rows.flip([0, 1])),
    (
        "in the middle of wider rows",
        |rows| Tensor::cat(vec![rows.zeros_like() + 9.0, rows.clone(), rows.zeros_like() - 9.0], 1),
        |rows| {
            let [_, columns] = rows.dims();
            rows.narrow(1, columns / 3, columns / 3)
        },
    ),
    (
        "below other rows",
        |rows| Tensor::cat(vec![rows.zeros_like() + 9.0, rows], 0),
        |rows| {
            let [count, _] = rows.dims();
            rows.narrow(0, count / 2, count / 2)
        },
    ),
];

#[test]
fn any_strides() {
    for backend in backends() {
        let on = On(&backend);
        let (x, w, y) = (rows(5, 7, 0), rows(30, 7, 1), labels(5, 30));
        let expected = {
            let (e, v) = (on.matrix(&x), on.matrix(&w));
            with_gradients(class_scores(e.clone(), v.clone(), on.integers(&y), SCALE, Streaming::new()), &e, &v)
        };
        for (name, lay_out, view) in VIEWS {
            for streaming in [streaming(0, Some(8)), Streaming::new()] {
                let leaf = |rows: &[Vec<f64>]| {
                    let laid_out = lay_out(on.matrix(rows).detach());
                    let data = TensorData::new(host(laid_out.clone()), laid_out.dims());
                    Tensor::<2>::from_data(data, (&backend.device, backend.dtype)).require_grad()
                };
                let (e, v) = (leaf(&x), leaf(&w));
                let scores = class_scores(view(e.clone()), view(v.clone()), on.integers(&y), SCALE, streaming);
                let gradients = weigh(scores.clone()).backward();
                let of = |leaf: &Tensor<2>| host(view(leaf.grad(&gradients).expect("a leaf has a gradient")));
                compare(name, &on, &[host(scores), of(&e), of(&v)], &expected);
            }
        }
    }
}

/// Rows of every length, each beside itself times a power of two: the scores are the same to the last bit but for those that
/// are computed in another way, and the gradient is divided by the power. From 1e15 on squares could leave the range of
/// `f32`, and a row is divided by its largest number first.
#[test]
fn the_length_of_a_row_only_divides_its_gradient() {
    for backend in backends() {
        let on = On(&backend);
        let (x, w, y) = (rows(5, 7, 0), rows(30, 7, 1), labels(5, 30));
        let run = |power: i32| {
            let longer = |rows: &[Vec<f64>]| -> Vec<Vec<f64>> {
                rows.iter().map(|row| row.iter().map(|number| number * 2.0_f64.powi(power)).collect()).collect()
            };
            let (e, v) = (on.matrix(&longer(&x)), on.matrix(&longer(&w)));
            let scores = class_scores(e.clone(), v.clone(), on.integers(&y), SCALE, Streaming::new());
            let [scores, of_e, of_v] = with_gradients(scores, &e, &v);
            let times = |slopes: Vec<f64>| slopes.into_iter().map(|slope| slope * 2.0_f64.powi(power)).collect();
            [scores, times(of_e), times(of_v)]
        };
        let expected = run(0);
        for power in [-20, 40, 54, 64, 100] {
            compare(&format!("2^{power} on {}", backend.name), &on, &run(power), &expected);
        }
    }
}

/// Rows whose largest number is below 1e-12 are not divided by their length.
#[test]
fn a_row_without_a_direction_has_no_cosine() {
    for backend in backends() {
        let on = On(&backend);
        for run in [scores, scores_reference] {
            // By hand: nearly 0, as the row is; and the cosine of a row that is long enough.
            for (length, cosine) in [(1e-13, 0.0), (1e-11, 1.0)] {
                let (short, unit) = (on.matrix(&[vec![length, 0.0]]), on.matrix(&[vec![1.0, 0.0]]));
                for (query, key) in [(&short, &unit), (&unit, &short)] {
                    let comparison = cosines(1.0, Streaming::new());
                    let target = run(query.clone(), key.clone(), on.integers(&[0]), comparison).target;
                    let what = format!("{length:e} on {}", backend.name);
                    assert_close(&what, &host(target), &[cosine], Tolerance::new(0.0, 1e-6));
                }
            }
        }
    }
}

#[test]
fn nothing_to_compare_with_has_no_gradient() {
    for backend in backends() {
        let on = On(&backend);
        for streaming in settings() {
            let (q, k) = (on.matrix(&rows(3, 2, 0)), on.matrix(&rows(4, 2, 1)));
            let (ours, theirs) = (on.integers(&[7, 8, 7]), Counted::OtherLabels(on.integers(&[7, -1, 7, -5])));
            let others = log_sum(q.clone(), k.clone(), ours, theirs, SCALE, streaming);
            let [values, q_gradient, k_gradient] = with_gradients(others, &q, &k);
            assert!((values[0] / NOTHING - 1.0).abs() < 1e-6 && (values[2] / NOTHING - 1.0).abs() < 1e-6, "{values:?}");
            assert!(values[1].abs() < 1e3, "{values:?}");
            assert_eq!([&q_gradient[..2], &q_gradient[4..]].concat(), [0.0; 4]);
            assert!(q_gradient[2..4].iter().all(|&slope| slope != 0.0));
            assert_eq!([&k_gradient[2..4], &k_gradient[6..]].concat(), [0.0; 4]);
        }
    }
}

#[test]
fn no_queries_and_no_keys() {
    for backend in backends() {
        let on = On(&backend);
        let options = (&backend.device, backend.dtype);
        let none = || Tensor::<2>::zeros([0, 3], options);
        let no_labels = Tensor::<1, Int>::zeros([0], &backend.device);
        let streaming = Streaming::new();

        let w = on.matrix(&rows(4, 3, 1));
        let nothing = scores(none(), w.clone(), no_labels.clone(), cosines(SCALE, streaming));
        assert_eq!((nothing.target.dims(), nothing.sum.dims()), ([0], [0]));
        assert_eq!(log_sum(none(), w, no_labels, Counted::AllButTarget, 1.0, streaming).dims(), [0]);

        let x = on.matrix(&rows(2, 3, 0));
        let others = log_sum(x.clone(), none(), on.integers(&[0, 1]), Counted::AllButTarget, SCALE, streaming);
        assert!(host(others.clone()).iter().all(|others| (others / NOTHING - 1.0).abs() < 1e-6));
        let gradient = x.grad(&others.sum().backward()).expect("a gradient, of zeros");
        assert_eq!(host(gradient), [0.0; 6]);
    }
}

#[test]
fn half_precision_is_computed_in_f32() {
    for backend in backends().iter().filter(|backend| backend.dtype == DType::F32) {
        let on = On(backend);
        let halves: &[DType] = if backend.name == "flex" {
            &[DType::F16, DType::BF16]
        } else if backend.name == "ndarray" {
            &[]
        } else {
            &[DType::F16]
        };
        for &half in halves {
            let (x, w, y) = (rows(5, 9, 0), rows(300, 9, 1), labels(5, 300));
            for streaming in [streaming(0, Some(64)), Streaming::new()] {
                // The same rounded numbers in both precisions.
                let round = |rows: &[Vec<f64>]| on.matrix(rows).detach().cast(half).detach();
                let (e, v) = (round(&x).require_grad(), round(&w).require_grad());
                let single = |half: &Tensor<2>| half.clone().detach().cast(DType::F32).detach().require_grad();
                let (e32, v32) = (single(&e), single(&v));
                let scores = class_scores(e.clone(), v.clone(), on.integers(&y), SCALE, streaming);
                assert_eq!(scores.dtype(), DType::F32);
                let scores32 = class_scores(e32.clone(), v32.clone(), on.integers(&y), SCALE, streaming);
                assert_close("half", &host(scores.clone()), &host(scores32.clone()), on.tolerance());

                let (gradients, gradients32) = (weigh(scores).backward(), weigh(scores32).backward());
                for (leaf, leaf32) in [(&e, &e32), (&v, &v32)] {
                    let (actual, expected) = (leaf.grad(&gradients).unwrap(), leaf32.grad(&gradients32).unwrap());
                    assert_eq!(actual.dtype(), half);
                    // One rounding to eleven or eight bits.
                    let step = if half == DType::F16 { 1e-3 } else { 8e-3 };
                    assert_close("half", &host(actual), &host(expected), Tolerance::new(step, 1e-5));
                }
            }
        }
    }
}

#[test]
fn a_nan_stays_with_its_query() {
    for backend in backends() {
        let on = On(&backend);
        let mut x = rows(3, 4, 0);
        x[1][2] = f64::NAN;
        for streaming in settings() {
            let scores =
                class_scores(on.matrix(&x), on.matrix(&rows(9, 4, 1)), on.integers(&[0, 1, 2]), SCALE, streaming);
            let scores = host(scores);
            assert!(scores[3].is_nan(), "{scores:?} on {}", backend.name);
            assert!([scores[0], scores[1], scores[4], scores[5]].iter().all(|score| score.is_finite()), "{scores:?}");
        }
    }
}

#[test]
fn scales_at_the_ends_of_their_range() {
    for backend in backends() {
        let on = On(&backend);
        let (q, k) = (rows(3, 4, 0), rows(9, 4, 1));
        let own = [2, -1, 8];
        for scale in [1e-10, 1e-3] {
            let expected = plain_log_sum(&q, &k, &own, naive::Counted::AllButTarget, scale);
            let run = |streaming| {
                let keys = Counted::AllButTarget;
                log_sum(on.matrix(&q), on.matrix(&k), on.integers(&own), keys, scale, streaming)
            };
            for streaming in settings() {
                assert_close(&backend.name, &host(run(streaming)), &expected, on.tolerance());
            }
        }
    }
}

#[test]
#[should_panic(expected = "scores: scale must be in [1e-10, 1e10], got -4")]
fn a_negative_scale_is_rejected() {
    let backend = &backends()[0];
    let rows = On(backend).matrix(&rows(2, 2, 0));
    let labels = On(backend).integers(&[0, 1]);
    log_sum(rows.clone(), rows, labels, Counted::AllButTarget, -4.0, Streaming::new());
}

#[test]
fn the_number_of_threads_changes_nothing_but_rounding() {
    // The second size is beyond what every thread may add up for itself: then threads share the products.
    for [batch, classes, dim] in [[37, 301, 24], [1050, 40, 2048]] {
        for backend in backends().iter().filter(|backend| ["flex", "ndarray"].contains(&backend.name.as_str())) {
            if batch > 1000 && !(backend.name == "flex" && backend.is_double()) {
                continue;
            }
            let on = On(backend);
            let (x, w, y) = (rows(batch, dim, 0), rows(classes, dim, 1), labels(batch, classes));
            let run = |forward: usize, backward: usize, streaming| {
                let pool = |threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
                let (x, w) = (on.matrix(&x), on.matrix(&w));
                let scores =
                    pool(forward).install(|| class_scores(x.clone(), w.clone(), on.integers(&y), SCALE, streaming));
                pool(backward).install(|| with_gradients(scores, &x, &w))
            };
            for streaming in [streaming(0, None), streaming(usize::MAX, Some(16))] {
                let expected = run(1, 1, streaming);
                for (forward, backward) in [(2, 5), (8, 1)] {
                    let what = format!("{forward} and {backward} threads on {}", backend.name);
                    compare(&what, &on, &run(forward, backward, streaming), &expected);
                }
            }
        }
    }
}
