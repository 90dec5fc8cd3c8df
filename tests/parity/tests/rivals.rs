//! What the other classes weigh, against plain loops, against its reference, and against itself with other blocks.

use burn::tensor::{DType, Int, Tensor, TensorData};
use burn_losses_kernels::logsumexp::{Streaming, class_scores};
use burn_losses_kernels::rivals::{
    CenterChoice, Comparison, Curve, Reweighting, Rivals, rival_scores, rival_scores_reference,
};
use parity::{Backend, Exactness, backends};
use support::close::{Tolerance, assert_close, assert_finite};
use support::gradient::check;
use support::naive::rivals as naive;
use support::table::host;

const SCALE: f64 = 8.0;

/// `[queries, classes, sub-centers, columns]`.
const SIZES: [[usize; 4]; 5] = [[1, 1, 1, 1], [1, 2, 3, 2], [3, 5, 1, 4], [9, 40, 2, 8], [5, 67, 3, 33]];

const RIVALS: [naive::Rivals; 6] = [
    naive::Rivals::LogSumExp,
    // CurricularFace, MV-Softmax, and a filter.
    naive::Rivals::Reweighted { threshold: -0.2, quadratic: 1.0, linear: 0.3, constant: 0.0 },
    naive::Rivals::Reweighted { threshold: 0.1, quadratic: 0.0, linear: 1.12, constant: 0.12 },
    naive::Rivals::Reweighted { threshold: 0.0, quadratic: 0.0, linear: 0.0, constant: 0.0 },
    // UniFace and SphereFace2.
    naive::Rivals::Softplus { bias: 2.5, exponent: 1.0 },
    naive::Rivals::Softplus { bias: -1.5, exponent: 3.0 },
];

/// Rows without a pattern, with lengths from 0.1 to 10.
fn rows(count: usize, dim: usize, seed: usize) -> Vec<Vec<f64>> {
    let number = |row: usize, column: usize| {
        let wave = ((row * 131 + column * 7919 + seed * 31 + 1) as f64 * 0.618_033_988).fract() - 0.5;
        wave * 10_f64.powf((row % 5) as f64 / 2.0 - 1.0)
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

    fn vector(&self, numbers: Vec<f64>) -> Tensor<1> {
        Tensor::from_data(TensorData::from(numbers.as_slice()), (&self.0.device, self.0.dtype))
    }

    fn integers(&self, numbers: &[i64]) -> Tensor<1, Int> {
        Tensor::from_data(TensorData::from(numbers), &self.0.device)
    }

    /// The comparison, and its bias as a leaf.
    fn comparison(&self, rivals: naive::Rivals, batch: usize, centers: naive::Centers) -> (Comparison, Tensor<1>) {
        let bias = match rivals {
            naive::Rivals::Softplus { bias, .. } => bias,
            _ => 0.0,
        };
        let bias = self.vector(vec![bias]).require_grad();
        let rivals = match rivals {
            naive::Rivals::LogSumExp => Rivals::LogSumExp,
            naive::Rivals::Reweighted { threshold, quadratic, linear, constant } => Rivals::Reweighted(Reweighting {
                threshold: self.vector((0..batch).map(|row| threshold + 0.1 * row as f64).collect()),
                quadratic,
                linear: self.vector(vec![linear; batch]),
                constant: self.vector(vec![constant; batch]),
            }),
            naive::Rivals::Softplus { exponent, .. } => {
                Rivals::Softplus { bias: bias.clone(), curve: Curve { exponent, detached: false } }
            }
        };
        let choice = centers.gamma.map_or(CenterChoice::Nearest, |gamma| CenterChoice::Soft { gamma });
        (Comparison { sub_centers: centers.sub_centers, choice, rivals }, bias)
    }

    fn tolerance(&self, expected: &[f64]) -> Tolerance {
        let largest = expected.iter().filter(|number| **number > -1e29).fold(1.0_f64, |most, x| most.max(x.abs()));
        let share = match self.0.exactness {
            Exactness::Double => 1e-12,
            Exactness::Single => 1e-5,
            Exactness::SoftwareGpu => 2e-5,
            Exactness::Gpu => 1e-4,
        };
        Tolerance::new(share, share * largest)
    }
}

/// An upstream gradient that is different for every number, and leaves out what is hugely negative.
fn weigh(output: Tensor<2>) -> Tensor<1> {
    let count = output.shape().num_elements();
    let weights: Vec<f64> = (0..count).map(|place| 0.5 + (place as f64 * 0.37).sin()).collect();
    let weights = Tensor::<1>::from_data(TensorData::from(weights.as_slice()), (&output.device(), output.dtype()));
    (output.reshape([count]).clamp_min(-1e6) * weights).sum()
}

/// The output and the gradients of embeddings, weights and bias.
fn outcome(output: Tensor<2>, leaves: [&Tensor<2>; 2], bias: &Tensor<1>) -> [Vec<f64>; 4] {
    let gradients = weigh(output.clone()).backward();
    let of = |leaf: &Tensor<2>| host(leaf.grad(&gradients).expect("a leaf has a gradient"));
    let bias = bias.grad(&gradients).map_or_else(|| vec![0.0], host);
    [host(output), of(leaves[0]), of(leaves[1]), bias]
}

#[test]
fn rival_scores_equal_plain_loops_and_the_reference_with_every_block() {
    for backend in backends() {
        let on = On(&backend);
        // Every shape is a kernel to compile on a GPU.
        let is_gpu = matches!(backend.exactness, Exactness::SoftwareGpu | Exactness::Gpu);
        let sizes = if is_gpu { &SIZES[2..4] } else { &SIZES[..] };
        let blocks = if is_gpu { &[Some(7)] } else { &[None, Some(1), Some(7), Some(64)][..] };
        for &[batch, classes, sub_centers, dim] in sizes {
            let (x, w, y) = (rows(batch, dim, 0), rows(classes * sub_centers, dim, 1), labels(batch, classes));
            let some: Vec<i64> = (0..classes as i64).map(|class| if class % 3 == 1 { -1 } else { class }).collect();
            // A soft choice among the centers passes through the same kinds of sums.
            let nearest = RIVALS.map(|rivals| (rivals, naive::Centers { sub_centers, gamma: None }));
            let soft = [RIVALS[0], RIVALS[4]].map(|rivals| (rivals, naive::Centers { sub_centers, gamma: Some(0.1) }));
            for (rivals, centers) in nearest.into_iter().chain(soft) {
                for used in [None, Some(some.as_slice())] {
                    let what = format!(
                        "{:?} {centers:?} {rivals:?} {} on {} {:?}",
                        [batch, classes, dim],
                        used.is_some(),
                        backend.name,
                        backend.dtype
                    );
                    let sampled = || used.map(|used| on.integers(used));
                    let leaves = || (on.matrix(&x), on.matrix(&w));

                    let (comparison, bias) = on.comparison(rivals, batch, centers);
                    let (a, b) = leaves();
                    let reference =
                        rival_scores_reference(a.clone(), b.clone(), on.integers(&y), sampled(), comparison, SCALE);
                    let expected = outcome(reference, [&a, &b], &bias);
                    let plain = naive::rival_scores(&x, &w, &y, used, centers, rivals, SCALE);
                    assert_close(&what, &expected[0], &plain, on.tolerance(&plain));

                    for &block in blocks {
                        let (comparison, bias) = on.comparison(rivals, batch, centers);
                        let (a, b) = leaves();
                        let streaming = Streaming::new().with_block(block);
                        let output = rival_scores(
                            a.clone(),
                            b.clone(),
                            on.integers(&y),
                            sampled(),
                            comparison,
                            SCALE,
                            streaming,
                        );
                        let actual = outcome(output, [&a, &b], &bias);
                        for (place, name) in ["scores", "embeddings", "weights", "bias"].into_iter().enumerate() {
                            let tolerance = on.tolerance(&expected[place]);
                            assert_close(
                                &format!("{what} block {block:?}: {name}"),
                                &actual[place],
                                &expected[place],
                                tolerance,
                            );
                        }
                    }
                }
            }
        }
    }
}

/// More queries than a tile, more classes than a block, several threads, and no size a multiple of another.
#[test]
fn rival_scores_of_any_number_of_tiles_and_threads_equal_the_reference() {
    let [batch, classes, sub_centers, dim] = [300, 275, 3, 5];
    let (x, w, y) = (rows(batch, dim, 3), rows(classes * sub_centers, dim, 4), labels(batch, classes));
    let some: Vec<i64> = (0..classes as i64).map(|class| if class % 5 == 3 { -1 } else { class }).collect();
    for backend in backends().iter().filter(|backend| backend.name == "flex") {
        let on = On(backend);
        let nearest = RIVALS.map(|rivals| (rivals, None));
        for (rivals, gamma) in nearest.into_iter().chain([(RIVALS[0], Some(0.1)), (RIVALS[5], Some(0.1))]) {
            let centers = naive::Centers { sub_centers, gamma };
            let leaves = || {
                let (comparison, bias) = on.comparison(rivals, batch, centers);
                (on.matrix(&x), on.matrix(&w), comparison, bias)
            };
            let used = || Some(on.integers(&some));
            let (a, b, comparison, bias) = leaves();
            let reference = rival_scores_reference(a.clone(), b.clone(), on.integers(&y), used(), comparison, SCALE);
            let expected = outcome(reference, [&a, &b], &bias);
            for (threads, block) in [(1, None), (2, None), (7, Some(100))] {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
                let (a, b, comparison, bias) = leaves();
                let streaming = Streaming::new().with_block(block);
                let actual = pool.install(|| {
                    let labels = on.integers(&y);
                    let output = rival_scores(a.clone(), b.clone(), labels, used(), comparison, SCALE, streaming);
                    outcome(output, [&a, &b], &bias)
                });
                for place in 0..4 {
                    let what = format!("{place} of {rivals:?} {gamma:?} with {threads} threads on {}", backend.name);
                    assert_close(&what, &actual[place], &expected[place], on.tolerance(&expected[place]));
                }
            }
        }
    }
}

/// However the embeddings and the centers lie in memory.
#[test]
fn rival_scores_of_views_equal_those_of_copies() {
    let (x, w, y) = (rows(5, 7, 3), rows(36, 7, 4), labels(5, 12));
    for backend in backends() {
        let on = On(&backend);
        for rivals in [RIVALS[1], RIVALS[5]] {
            let run = |of_leaf: fn(Tensor<2>) -> Tensor<2>, to_leaf: fn(Tensor<2>) -> Tensor<2>| {
                let leaf = |rows: &[Vec<f64>]| to_leaf(on.matrix(rows).detach()).detach().require_grad();
                let (a, b) = (leaf(&x), leaf(&w));
                let (comparison, _) = on.comparison(rivals, 5, naive::Centers { sub_centers: 3, gamma: None });
                let (queries, keys) = (of_leaf(a.clone()), of_leaf(b.clone()));
                let scores = rival_scores(queries, keys, on.integers(&y), None, comparison, SCALE, Streaming::new());
                let gradients = weigh(scores.clone()).backward();
                let of = |leaf: &Tensor<2>| host(of_leaf(leaf.grad(&gradients).expect("a leaf has a gradient")));
                [host(scores), of(&a), of(&b)]
            };
            let copies = run(|rows| rows, |rows| rows);
            let transposed = run(Tensor::transpose, Tensor::transpose);
            let narrowed = run(|rows| rows.narrow(1, 7, 7), |rows| Tensor::cat(vec![rows.clone(), rows], 1));
            for (view, name) in [(transposed, "transposed"), (narrowed, "narrowed")] {
                for place in 0..3 {
                    let what = format!("{place} of {name}, {rivals:?} on {} {:?}", backend.name, backend.dtype);
                    assert_close(&what, &view[place], &copies[place], on.tolerance(&copies[place]));
                }
            }
        }
    }
}

/// Centers in half precision are the same centers in single: only their gradient is rounded.
#[test]
fn rival_scores_of_centers_in_half_precision_are_those_in_single() {
    let (x, w, y) = (rows(5, 7, 3), rows(36, 7, 4), labels(5, 12));
    for backend in backends().iter().filter(|backend| backend.name == "flex" && backend.dtype == DType::F32) {
        let on = On(backend);
        for half in [DType::F16, DType::BF16] {
            for rivals in RIVALS {
                let rounded = on.matrix(&w).detach().cast(half);
                let run = |centers: Tensor<2>| {
                    let (a, b) = (on.matrix(&x), centers.detach().require_grad());
                    let (comparison, bias) = on.comparison(rivals, 5, naive::Centers { sub_centers: 3, gamma: None });
                    let (labels, streaming) = (on.integers(&y), Streaming::new().with_block(Some(9)));
                    let scores = rival_scores(a.clone(), b.clone(), labels, None, comparison, SCALE, streaming);
                    assert_eq!(scores.dtype(), DType::F32);
                    outcome(scores, [&a, &b], &bias)
                };
                let (actual, expected) = (run(rounded.clone()), run(rounded.clone().cast(DType::F32)));
                for place in [0, 1, 3] {
                    let what = format!("{place} of {rivals:?} in {half:?}");
                    assert_close(&what, &actual[place], &expected[place], on.tolerance(&expected[place]));
                }
                // One rounding to eleven or eight bits; the smallest numbers of f16 have fewer.
                let step = if half == DType::F16 { 1e-3 } else { 8e-3 };
                assert_close(&format!("{rivals:?} in {half:?}"), &actual[2], &expected[2], Tolerance::new(step, 1e-5));
            }
        }
    }
}

#[test]
fn gradients_of_rival_scores_equal_finite_differences() {
    for backend in backends().iter().filter(|backend| backend.is_double()) {
        let on = On(backend);
        let (x, w, y) = (rows(3, 3, 5), rows(8, 3, 6), [1, -1, 3]);
        let all =
            RIVALS.map(|rivals| (rivals, None)).into_iter().chain([(RIVALS[0], Some(0.2)), (RIVALS[4], Some(0.2))]);
        for (rivals, gamma) in all {
            let run = |x: &[f64], w: &[f64]| {
                let matrix = |data: &[f64], rows: usize| {
                    let data = TensorData::new(data.to_vec(), [rows, 3]);
                    Tensor::<2>::from_data(data, (&backend.device, DType::F64)).require_grad()
                };
                let (x, w) = (matrix(x, 3), matrix(w, 8));
                let (comparison, bias) = on.comparison(rivals, 3, naive::Centers { sub_centers: 2, gamma });
                let streaming = Streaming::new();
                let labels = on.integers(&y);
                let scores = rival_scores(x.clone(), w.clone(), labels, None, comparison, SCALE, streaming);
                (scores, x, w, bias)
            };
            let (scores, a, b, bias) = run(&x.concat(), &w.concat());
            let [_, of_x, of_w, _] = outcome(scores, [&a, &b], &bias);
            let value = |scores: Tensor<2>| host(weigh(scores))[0];
            let tolerance = Tolerance::new(1e-6, 1e-6);
            let what = format!("{rivals:?} {gamma:?} on {}", backend.name);
            let x_check = check(|moved| value(run(moved, &w.concat()).0), &x.concat(), &of_x, 10.0 * SCALE, tolerance);
            assert!(x_check.is_ok(), "{what}: {x_check:?}");
            let w_check = check(|moved| value(run(&x.concat(), moved).0), &w.concat(), &of_w, 10.0 * SCALE, tolerance);
            assert!(w_check.is_ok(), "{what}: {w_check:?}");
        }
    }
}

/// Nothing is reweighted below every threshold, and one center per class is the plain comparison.
#[test]
fn without_hard_classes_the_scores_are_those_of_the_plain_softmax() {
    for backend in backends() {
        let on = On(&backend);
        let (x, w, y) = (rows(5, 4, 1), rows(9, 4, 2), labels(5, 9));
        let plain = host(class_scores(on.matrix(&x), on.matrix(&w), on.integers(&y), SCALE, Streaming::new()));
        let rivals = naive::Rivals::Reweighted { threshold: 2.0, quadratic: 5.0, linear: 5.0, constant: 5.0 };
        let (comparison, _) = on.comparison(rivals, 5, naive::Centers { sub_centers: 1, gamma: None });
        let streaming = Streaming::new();
        let scores = rival_scores(on.matrix(&x), on.matrix(&w), on.integers(&y), None, comparison, SCALE, streaming);
        assert_close(&backend.name, &host(scores), &plain, on.tolerance(&plain));
    }
}

/// A detached curve has the value of the curve and the gradient of a straight line under its slope.
#[test]
fn a_detached_curve_changes_the_gradient_only() {
    for backend in backends() {
        let on = On(&backend);
        let (x, w, y) = (rows(3, 4, 1), rows(5, 4, 2), [0, 3, -1]);
        let run = |detached: bool, reference: bool| {
            let (a, b, bias) = (on.matrix(&x), on.matrix(&w), on.vector(vec![0.5]).require_grad());
            let rivals = Rivals::Softplus { bias: bias.clone(), curve: Curve { exponent: 3.0, detached } };
            let comparison = Comparison { rivals, ..Comparison::default() };
            let scores = if reference {
                rival_scores_reference(a.clone(), b.clone(), on.integers(&y), None, comparison, SCALE)
            } else {
                let streaming = Streaming::new();
                rival_scores(a.clone(), b.clone(), on.integers(&y), None, comparison, SCALE, streaming)
            };
            outcome(scores, [&a, &b], &bias)
        };
        let (exact, detached, reference) = (run(false, false), run(true, false), run(true, true));
        assert_close(&backend.name, &detached[0], &exact[0], on.tolerance(&exact[0]));
        assert_ne!(detached[1], exact[1]);
        for place in 0..4 {
            assert_close(&backend.name, &detached[place], &reference[place], on.tolerance(&reference[place]));
        }
    }
}

/// Cosines of exactly 1 and -1, zero rows, equal centers: finite, value and gradient.
#[test]
fn rival_scores_of_extreme_rows_are_finite() {
    for backend in backends() {
        let on = On(&backend);
        for length in [0.0, 1e-30, 1.0, 1e20] {
            let x = [vec![length, 0.0], vec![-length, 0.0], vec![length, length]];
            let w = [vec![1.0, 0.0], vec![1.0, 0.0], vec![-length, 0.0], vec![0.0, 0.0]];
            for rivals in RIVALS {
                for (sub_centers, gamma) in [(1, None), (2, None), (2, Some(1e-6)), (2, Some(1e6))] {
                    let (comparison, bias) = on.comparison(rivals, 3, naive::Centers { sub_centers, gamma });
                    let (a, b) = (on.matrix(&x), on.matrix(&w));
                    let labels = on.integers(&[0, 1, -1]);
                    let streaming = Streaming::new();
                    let scores = rival_scores(a.clone(), b.clone(), labels, None, comparison, 64.0, streaming);
                    let what = format!("{rivals:?} {sub_centers} {gamma:?} {length:e} on {}", backend.name);
                    for numbers in outcome(scores, [&a, &b], &bias) {
                        assert_finite(&what, &numbers);
                    }
                }
            }
        }
    }
}
