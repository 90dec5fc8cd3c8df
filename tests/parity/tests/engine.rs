//! The streamed log-sum-exp against plain loops, against its reference, and against itself with other settings.

use burn::tensor::{DType, Int, Tensor, TensorData};
use burn_losses_kernels::logsumexp::{
    KeyLabels, Streaming, class_scores, class_scores_reference, sampled_class_scores, streamed_logsumexp,
    streamed_logsumexp_reference, streams_on,
};
use burn_losses_kernels::math::NOTHING;
use parity::{Backend, Exactness, backends};
use support::close::{Tolerance, assert_close};
use support::gradient::check;
use support::naive::logsumexp as naive;
use support::table::host;

const SCALE: f64 = 16.0;

fn streaming(kept_bytes: usize, block: Option<usize>) -> Streaming {
    Streaming::new().with_kept_bytes(kept_bytes).with_block(block)
}

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

/// Rows without a pattern, with lengths from 0.1 to 10.
fn rows(count: usize, dim: usize, seed: usize) -> Vec<Vec<f64>> {
    let number = |row: usize, column: usize| {
        let wave = ((row * 131 + column * 7919 + seed * 31 + 1) as f64 * 0.618_033_988).fract() - 0.5;
        wave * 10_f64.powf((row % 5) as f64 / 2.0 - 1.0) / (dim as f64).sqrt()
    };
    (0..count).map(|row| (0..dim).map(|column| number(row, column)).collect()).collect()
}

/// A third of the labels name no class.
fn labels(count: usize, classes: usize) -> Vec<i64> {
    let label = |row: usize| match row % 6 {
        2 => -1,
        4 => classes as i64,
        _ => (row * 7919 % classes) as i64,
    };
    (0..count).map(label).collect()
}

struct On<'a>(&'a Backend);

impl On<'_> {
    fn matrix(&self, rows: &[Vec<f64>]) -> Tensor<2> {
        let data = TensorData::new(rows.concat(), [rows.len(), rows[0].len()]);
        Tensor::from_data(data, (&self.0.device, self.0.dtype)).require_grad()
    }

    fn integers(&self, numbers: &[i64]) -> Tensor<1, Int> {
        Tensor::from_data(TensorData::from(numbers), &self.0.device)
    }

    /// Numbers of size 1 and scores of size `SCALE`.
    fn tolerance(&self) -> Tolerance {
        match self.0.exactness {
            Exactness::Double => Tolerance::new(1e-13, 1e-13),
            Exactness::Single => Tolerance::new(3e-6, 3e-6),
            Exactness::SoftwareGpu => Tolerance::new(1e-5, 1e-5),
            Exactness::Gpu => Tolerance::new(1e-4, 1e-4),
        }
    }

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

/// An upstream gradient that is different for every number.
fn weigh<const D: usize>(output: Tensor<D>) -> Tensor<1> {
    let count = output.shape().num_elements();
    let weights: Vec<f64> = (0..count).map(|place| 0.5 + (place as f64 * 0.37).sin()).collect();
    let weights = Tensor::<1>::from_data(TensorData::from(weights.as_slice()), (&output.device(), output.dtype()));
    (output.reshape([count]) * weights).sum()
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
            let plain = class_scores_reference(e.clone(), v.clone(), on.integers(&y), SCALE);
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
                let leaves_out = |i: usize, j: usize| {
                    let same = key_labels[j] == query_labels[i];
                    key_labels[j] < 0 || in_batch.map_or(same, |in_batch| !same || in_batch && i == j)
                };
                let values = naive::logsumexp(&queries, &keys, 2.0, leaves_out);
                let labels = || on.integers(&key_labels);
                let labelled = || match in_batch {
                    None => KeyLabels::Tensor(labels()),
                    Some(in_batch) => KeyLabels::Same { labels: labels(), in_batch },
                };
                let (q, k, y) = call();
                let plain = streamed_logsumexp_reference(q.clone(), k.clone(), y, labelled(), 2.0);
                let expected = with_gradients(plain, &q, &k);
                for streaming in settings() {
                    let (q, k, y) = call();
                    let others = streamed_logsumexp(q.clone(), k.clone(), y, labelled(), 2.0, streaming);
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
        let expected = naive::logsumexp(&batch, &batch, 3.0, |i, j| i == j);
        for streaming in settings() {
            // The same leaf on both sides: its gradient is the sum of both.
            let both = |run: &dyn Fn(Tensor<2>, Tensor<1, Int>) -> Tensor<1>| {
                let leaf = on.matrix(&batch);
                let output = run(leaf.clone(), on.integers(&own));
                with_gradients(output, &leaf, &leaf)
            };
            let what = format!("{streaming:?} on {} {:?}", backend.name, backend.dtype);
            let streamed = both(&|x, y| streamed_logsumexp(x.clone(), x, y, KeyLabels::Position, 3.0, streaming));
            let plain = both(&|x, y| streamed_logsumexp_reference(x.clone(), x, y, KeyLabels::Position, 3.0));
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
            let scores = sampled_class_scores(e.clone(), v.clone(), labels, on.integers(&used), SCALE, streaming);
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

#[test]
fn any_strides() {
    for backend in backends() {
        let on = On(&backend);
        let (x, w, y) = (rows(5, 7, 0), rows(30, 7, 1), labels(5, 30));
        let expected = {
            let (e, v) = (on.matrix(&x), on.matrix(&w));
            with_gradients(class_scores(e.clone(), v.clone(), on.integers(&y), SCALE, Streaming::new()), &e, &v)
        };
        type View = fn(Tensor<2>) -> Tensor<2>;
        // Each view is of a leaf that was laid out the other way round.
        let views: [(&str, View, View); 3] = [
            ("transposed", |t| t.transpose(), |t| t.transpose()),
            ("flipped", |t| t.flip([0, 1]), |t| t.flip([0, 1])),
            (
                "padded",
                |t| Tensor::cat(vec![t.clone(), t.clone(), t], 1),
                |t| {
                    let [_, columns] = t.dims();
                    t.narrow(1, columns / 3, columns / 3)
                },
            ),
        ];
        for (name, lay_out, view) in views {
            for streaming in [streaming(0, Some(8)), Streaming::new()] {
                let leaf = |rows: &[Vec<f64>]| lay_out(on.matrix(rows).detach()).detach().require_grad();
                let (e, v) = (leaf(&x), leaf(&w));
                let scores = class_scores(view(e.clone()), view(v.clone()), on.integers(&y), SCALE, streaming);
                let gradients = weigh(scores.clone()).backward();
                let of = |leaf: &Tensor<2>| host(view(leaf.grad(&gradients).expect("a leaf has a gradient")));
                compare(name, &on, &[host(scores), of(&e), of(&v)], &expected);
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
            let (ours, theirs) = (on.integers(&[7, 8, 7]), KeyLabels::Tensor(on.integers(&[7, -1, 7, -5])));
            let others = streamed_logsumexp(q.clone(), k.clone(), ours, theirs, SCALE, streaming);
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
        assert_eq!(class_scores(none(), w.clone(), no_labels.clone(), SCALE, streaming).dims(), [0, 2]);
        assert_eq!(streamed_logsumexp(none(), w, no_labels, KeyLabels::Position, 1.0, streaming).dims(), [0]);

        let x = on.matrix(&rows(2, 3, 0));
        let others = streamed_logsumexp(x.clone(), none(), on.integers(&[0, 1]), KeyLabels::Position, SCALE, streaming);
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
fn labels_that_fit_no_signed_number_name_no_class() {
    for backend in backends() {
        // wgpu has no 64-bit integers.
        if backend.exactness == Exactness::SoftwareGpu || backend.exactness == Exactness::Gpu {
            continue;
        }
        let on = On(&backend);
        let (x, w) = (rows(2, 3, 0), rows(4, 3, 1));
        let labels =
            Tensor::<1, Int>::from_data(TensorData::from([(1_u64 << 32) + 1, 3]), (&backend.device, DType::U64));
        let scores = class_scores(on.matrix(&x), on.matrix(&w), labels, SCALE, Streaming::new());
        assert_close(&backend.name, &host(scores), &naive::class_scores(&x, &w, &[-1, 3], SCALE), on.tolerance());
    }
}

#[test]
fn scales_at_the_ends_of_their_range() {
    for backend in backends() {
        let on = On(&backend);
        let (q, k) = (rows(3, 4, 0), rows(9, 4, 1));
        let own = [2, -1, 8];
        for scale in [1e-10, 1e-3] {
            let expected = naive::logsumexp(&q, &k, scale, |i, j| own[i] == j as i64);
            let run = |streaming| {
                let keys = KeyLabels::Position;
                streamed_logsumexp(on.matrix(&q), on.matrix(&k), on.integers(&own), keys, scale, streaming)
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
    streamed_logsumexp(rows.clone(), rows, labels, KeyLabels::Position, -4.0, Streaming::new());
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
