//! Every kind of term with every choice of keys, with and without a bias.

use burn::tensor::{DType, Int, Tensor};
use burn_losses_kernels::scores::{
    CenterChoice, Comparison, Counted, Curve, LogitFigures, Logits, Normalise, Reweighting, Scale, Scores, Streaming,
    Terms, scores, scores_reference,
};
use parity::{Exactness, backends};
use support::close::{Tolerance, assert_close, assert_finite};
use support::gradient::check;
use support::naive::scores as naive;
use support::table::host;

use super::{On, labels_of, rows, weigh};

const SCALE: f64 = 8.0;

const TERMS: [naive::Term; 10] = [
    naive::Term::Exp,
    // CurricularFace, MV-Softmax, and a filter.
    naive::Term::Reweighted { threshold: -0.2, quadratic: 1.0, linear: 0.3, constant: 0.0 },
    naive::Term::Reweighted { threshold: 0.1, quadratic: 0.0, linear: 1.12, constant: 0.12 },
    naive::Term::Reweighted { threshold: 0.0, quadratic: 0.0, linear: 0.0, constant: 0.0 },
    // UniFace and InfoNCE, and SphereFace2.
    naive::Term::Softplus { offset: -2.5, exponent: 1.0 },
    naive::Term::Softplus { offset: 1.5, exponent: 3.0 },
    // The negatives and the positives of the circle loss.
    naive::Term::SelfPaced { reach: 0.25, goal: 0.25 },
    naive::Term::SelfPaced { reach: 1.25, goal: -0.75 },
    // A classifier, and one with a cap that some scores reach.
    naive::Term::Logits { cap: f64::INFINITY },
    naive::Term::Logits { cap: 3.0 },
];

/// Which keys count.
#[derive(Clone, Copy, Debug)]
enum Keys {
    All,
    Sample,
    OtherLabels,
    SameLabel { in_batch: bool },
}

const KEYS: [Keys; 5] = [
    Keys::All,
    Keys::Sample,
    Keys::OtherLabels,
    Keys::SameLabel { in_batch: false },
    Keys::SameLabel { in_batch: true },
];

/// A comparison, and the numbers of its tensors.
#[derive(Clone, Debug)]
struct Case {
    term: naive::Term,
    keys: Keys,
    is_biased: bool,
    normalise: [bool; 2],
    sub_centers: usize,
    gamma: Option<f64>,
    labels: Vec<i64>,
    key_labels: Vec<i64>,
    bias: Vec<f64>,
}

impl Case {
    /// Of all terms, choices of keys and both with and without a bias; normalisation and centers go round.
    fn all(batch: usize, count: usize) -> Vec<Self> {
        let mut cases = Vec::new();
        for (t, term) in TERMS.into_iter().enumerate() {
            for (k, keys) in KEYS.into_iter().enumerate() {
                for (b, is_biased) in [false, true].into_iter().enumerate() {
                    let curved = matches!(term, naive::Term::Softplus { exponent: 3.0, .. });
                    let normalise = [[true, true], [false, true], [true, false], [false, false]];
                    let normalise = normalise[if curved { 0 } else { (t + 2 * k + b) % 4 }];
                    let (sub_centers, gamma) = [(1, None), (3, None), (2, Some(0.5))][(t + k) % 3];
                    let (labels, key_labels) = match keys {
                        Keys::All => (labels_of(batch, count), vec![]),
                        // The same places as those of the labels, so that a target may be one that does not count.
                        Keys::Sample => {
                            let used = |key: i64| if key % 3 == 1 { -1 } else { key };
                            (labels_of(batch, count), (0..count as i64).map(used).collect())
                        }
                        Keys::OtherLabels | Keys::SameLabel { .. } => {
                            let of = |count: usize| (0..count as i64).map(|row| row * 5 % 4 - 1).collect();
                            (of(batch), of(count))
                        }
                    };
                    let bias = (0..count).map(|key| (key as f64 * 1.7).sin()).collect();
                    cases.push(Self { term, keys, is_biased, normalise, sub_centers, gamma, labels, key_labels, bias });
                }
            }
        }
        cases
    }

    /// Queries and keys, `[batch, count, dim]`. Where they are divided by their lengths, these are 0.3 to 30; else they
    /// are short, so that products are of size 1: rounding errors go with the scores, and with one over the lengths.
    fn rows(&self, [batch, count, dim]: [usize; 3], seed: usize) -> (Vec<Vec<f64>>, Vec<Vec<f64>>) {
        let short = |rows: Vec<Vec<f64>>, normalise: bool| -> Vec<Vec<f64>> {
            let factor = if normalise { 3.0 * (dim as f64).sqrt() } else { 0.3 };
            rows.into_iter().map(|row| row.into_iter().map(|number| number * factor).collect()).collect()
        };
        let keys = count * self.sub_centers;
        (short(rows(batch, dim, seed), self.normalise[0]), short(rows(keys, dim, seed + 1), self.normalise[1]))
    }

    fn plain(&self, queries: &[Vec<f64>], keys: &[Vec<f64>]) -> [Vec<f64>; 6] {
        let counted = match self.keys {
            Keys::All => naive::Counted::AllButTarget,
            Keys::Sample => naive::Counted::Sample(&self.key_labels),
            Keys::OtherLabels => naive::Counted::OtherLabels(&self.key_labels),
            Keys::SameLabel { in_batch } => naive::Counted::SameLabel(&self.key_labels, in_batch),
        };
        let Self { term, normalise, sub_centers, gamma, .. } = *self;
        let bias = self.is_biased.then_some(self.bias.as_slice());
        let scale = SCALE;
        naive::scores(
            queries,
            keys,
            &self.labels,
            &naive::Comparison { counted, term, bias, normalise, scale, sub_centers, gamma },
        )
    }
}

/// A case on a backend, with leaves.
struct Leaves {
    queries: Tensor<2>,
    keys: Tensor<2>,
    bias: Tensor<1>,
    offset: Tensor<1>,
    labels: Tensor<1, Int>,
    comparison: Comparison,
}

impl Leaves {
    fn new(on: &On<'_>, case: &Case, queries: &[Vec<f64>], keys: &[Vec<f64>]) -> Self {
        let batch = queries.len();
        let of_rows = |first: f64| -> Vec<f64> { (0..batch).map(|row| first + 0.1 * row as f64).collect() };
        let bias = on.vector(&case.bias).require_grad();
        let first = if let naive::Term::Softplus { offset, .. } = case.term { offset } else { 0.0 };
        let offset = on.vector(&of_rows(first)).require_grad();
        let terms = match case.term {
            naive::Term::Exp => Terms::Exp,
            naive::Term::Reweighted { threshold, quadratic, linear, constant } => Terms::Reweighted(Reweighting {
                threshold: on.vector(&of_rows(threshold)),
                quadratic,
                linear: on.vector(&vec![linear; batch]),
                constant: on.vector(&vec![constant; batch]),
            }),
            naive::Term::Softplus { exponent, .. } => {
                Terms::Softplus { offset: offset.clone(), curve: Curve { exponent, detached: false } }
            }
            naive::Term::SelfPaced { reach, goal } => Terms::SelfPaced { reach, goal },
            naive::Term::Logits { cap } => {
                let weights: Vec<f64> = (0..case.bias.len()).map(naive::weight).collect();
                Terms::Logits(Logits { cap: cap.is_finite().then_some(cap), weights: Some(on.vector(&weights)) })
            }
        };
        let key_labels = || on.integers(&case.key_labels);
        let counted = match case.keys {
            Keys::All => Counted::AllButTarget,
            Keys::Sample => Counted::Sample(key_labels()),
            Keys::OtherLabels => Counted::OtherLabels(key_labels()),
            Keys::SameLabel { in_batch } => Counted::SameLabel { labels: key_labels(), in_batch },
        };
        let comparison = Comparison {
            counted,
            terms,
            bias: case.is_biased.then(|| bias.clone()),
            normalise: match case.normalise {
                [false, false] => Normalise::Neither,
                [true, false] => Normalise::Queries,
                [false, true] => Normalise::Keys,
                [true, true] => Normalise::Both,
            },
            sub_centers: case.sub_centers,
            choice: case.gamma.map_or(CenterChoice::Nearest, |gamma| CenterChoice::Soft { gamma }),
            ..Comparison::new(SCALE)
        };
        let labels = on.integers(&case.labels);
        Self { queries: on.matrix(queries), keys: on.matrix(keys), bias, offset, labels, comparison }
    }

    fn run(&self, streaming: Streaming) -> Scores {
        let comparison = Comparison { streaming, ..self.comparison.clone() };
        scores(self.queries.clone(), self.keys.clone(), self.labels.clone(), comparison)
    }

    fn reference(&self) -> Scores {
        scores_reference(self.queries.clone(), self.keys.clone(), self.labels.clone(), self.comparison.clone())
    }

    /// Target, sum, active and the figures of logits; and the gradients of queries, keys, bias and offset, empty where there
    /// is none.
    fn outcome(&self, scores: Scores) -> [Vec<f64>; 10] {
        let gradients = weigh(differentiable(&scores, None)).backward();
        let of = |leaf: &Tensor<2>| host(leaf.grad(&gradients).expect("a leaf has a gradient"));
        let maybe = |leaf: &Tensor<1>| leaf.grad(&gradients).map_or_else(Vec::new, host);
        let none = || vec![0.0; self.queries.dims()[0]];
        let active = scores.active.map_or_else(none, host);
        let [weighted, largest, key] = match scores.logits {
            Some(LogitFigures { weighted, largest, largest_key }) => {
                [host(weighted.expect("weights")), host(largest), host(largest_key.float())]
            }
            None => [none(), none(), none()],
        };
        let (queries, keys) = (of(&self.queries), of(&self.keys));
        let (target, sum) = (host(scores.target), host(scores.sum));
        [target, sum, active, weighted, largest, key, queries, keys, maybe(&self.bias), maybe(&self.offset)]
    }
}

/// What has a gradient, side by side; with `nothing` in the place of sums of no key.
fn differentiable(scores: &Scores, nothing: Option<f64>) -> Tensor<2> {
    let sum = match nothing {
        Some(nothing) => scores.sum.clone().mask_fill(scores.sum.clone().lower_scalar(-1e29), nothing),
        None => scores.sum.clone(),
    };
    let weighted = scores.logits.clone().and_then(|logits| logits.weighted);
    Tensor::stack::<2>([scores.target.clone(), sum].into_iter().chain(weighted).collect(), 1)
}

const NAMES: [&str; 10] =
    ["target", "sum", "active", "weighted", "largest", "largest key", "queries", "keys", "bias", "offset"];

fn tolerance(on: &On<'_>, expected: &[f64]) -> Tolerance {
    let largest = expected.iter().filter(|number| **number > -1e29).fold(1.0_f64, |most, x| most.max(x.abs()));
    let share = match on.0.exactness {
        Exactness::Double => 1e-12,
        Exactness::Single => 1e-5,
        Exactness::SoftwareGpu => 2e-5,
        Exactness::Gpu => 1e-4,
    };
    Tolerance::new(share, share * largest)
}

fn compare(what: &str, on: &On<'_>, actual: &[Vec<f64>; 10], expected: &[Vec<f64>; 10]) {
    for (place, name) in NAMES.into_iter().enumerate() {
        let tolerance = tolerance(on, &expected[place]);
        assert_close(&format!("{what}: {name}"), &actual[place], &expected[place], tolerance);
    }
}

#[test]
fn scores_equal_plain_loops_and_the_reference_with_every_block() {
    for backend in backends() {
        let on = On(&backend);
        // Every shape is a kernel to compile on a GPU.
        let sizes = if on.is_gpu() { &[[9, 40, 8]][..] } else { &[[1, 1, 1], [3, 5, 4], [9, 40, 8], [70, 67, 3]][..] };
        let blocks = if on.is_gpu() { &[Some(7)] } else { &[None, Some(1), Some(7)][..] };
        for &[batch, count, dim] in sizes {
            for case in Case::all(batch, count) {
                let (x, w) = case.rows([batch, count, dim], 0);
                let Case { term, keys, is_biased, normalise, sub_centers, gamma, .. } = &case;
                let what = format!(
                    "{:?} {term:?} {keys:?} bias {is_biased} {normalise:?} {sub_centers} {gamma:?} on {} {:?}",
                    [batch, count, dim],
                    backend.name,
                    backend.dtype
                );
                let leaves = Leaves::new(&on, &case, &x, &w);
                let expected = leaves.outcome(leaves.reference());
                let plain = case.plain(&x, &w);
                for (place, plain) in plain.iter().enumerate() {
                    assert_close(&what, &expected[place], plain, tolerance(&on, plain));
                }
                assert_eq!(expected[8].is_empty(), !is_biased);
                // Nothing else is ever kept.
                let is_plain = matches!(case.term, naive::Term::Exp | naive::Term::Logits { cap: f64::INFINITY });
                let can_keep = is_plain && case.sub_centers == 1;
                let kept = if can_keep { &[0, usize::MAX][..] } else { &[0] };
                for (&block, &kept_bytes) in blocks.iter().flat_map(|block| kept.iter().map(move |kept| (block, kept)))
                {
                    let leaves = Leaves::new(&on, &case, &x, &w);
                    let actual = leaves.outcome(leaves.run(super::streaming(kept_bytes, block)));
                    compare(&format!("{what} block {block:?} kept {kept_bytes}"), &on, &actual, &expected);
                }
            }
        }
    }
}

/// More queries than a tile, more keys than a block, several threads, and no size a multiple of another.
#[test]
fn scores_of_any_number_of_tiles_and_threads_equal_the_reference() {
    let [batch, count, dim] = [300, 275, 5];
    for backend in backends().iter().filter(|backend| backend.name == "flex") {
        let on = On(backend);
        for case in Case::all(batch, count).into_iter().filter(|case| case.is_biased) {
            let (x, w) = case.rows([batch, count, dim], 3);
            let leaves = Leaves::new(&on, &case, &x, &w);
            let expected = leaves.outcome(leaves.reference());
            for (threads, block) in [(1, None), (2, None), (7, Some(100))] {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
                let leaves = Leaves::new(&on, &case, &x, &w);
                let actual = pool.install(|| leaves.outcome(leaves.run(Streaming::new().with_block(block))));
                let Case { term, keys, .. } = &case;
                let what = format!("{term:?} {keys:?} with {threads} threads on {}", backend.name);
                compare(&what, &on, &actual, &expected);
            }
        }
    }
}

/// A bias of other strides: one number for all keys, and every second one of a vector.
#[test]
fn a_bias_may_be_any_view() {
    for backend in backends() {
        let on = On(&backend);
        let mut case = Case::all(5, 6).remove(1);
        for (name, numbers, bias) in [
            ("expanded", vec![0.7; 6], on.vector(&[0.7]).expand([6])),
            (
                "a part",
                vec![0.3, 0.4, 0.5, 0.6, 0.7, 0.8],
                on.vector(&[0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8]).narrow(0, 2, 6),
            ),
            (
                "a column",
                vec![0.2, 0.4, 0.6, 0.8, 1.0, 1.2],
                on.vector(&[0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2])
                    .reshape([6, 2])
                    .narrow(1, 1, 1)
                    .squeeze_dim(1),
            ),
        ] {
            let (x, w) = case.rows([5, 6, 3], 0);
            case.bias = numbers;
            let plain = case.plain(&x, &w);
            let leaves = Leaves::new(&on, &case, &x, &w);
            let comparison = Comparison { bias: Some(bias), ..leaves.comparison.clone() };
            let scores = scores(leaves.queries, leaves.keys, leaves.labels, comparison);
            assert_close(
                &format!("{name} on {}", backend.name),
                &host(scores.sum),
                &plain[1],
                tolerance(&on, &plain[1]),
            );
        }
    }
}

/// Keys in half precision are the same keys in single: only their gradient is rounded. And that of a bias in half precision
/// is rounded once, after it was summed.
#[test]
fn scores_of_half_precision_are_those_of_single() {
    for backend in backends().iter().filter(|backend| backend.name == "flex" && backend.dtype == DType::F32) {
        let on = On(backend);
        for half in [DType::F16, DType::BF16] {
            for case in Case::all(5, 12).into_iter().filter(|case| case.is_biased) {
                let (x, w) = case.rows([5, 12, 7], 3);
                let rounded = |dtype: DType| {
                    let mut leaves = Leaves::new(&on, &case, &x, &w);
                    leaves.keys = leaves.keys.detach().cast(half).cast(dtype).detach().require_grad();
                    leaves.bias = leaves.bias.detach().cast(half).cast(dtype).detach().require_grad();
                    leaves.comparison.bias = Some(leaves.bias.clone());
                    let scores = leaves.run(Streaming::new().with_block(Some(9)));
                    assert_eq!(scores.sum.dtype(), DType::F32);
                    leaves.outcome(scores)
                };
                let (actual, expected) = (rounded(half), rounded(DType::F32));
                // One rounding to eleven or eight bits; the smallest numbers of f16 have fewer.
                let step = if half == DType::F16 { 1e-3 } else { 8e-3 };
                for (place, name) in NAMES.into_iter().enumerate() {
                    let is_rounded = matches!(name, "keys" | "bias");
                    let tolerance =
                        if is_rounded { Tolerance::new(step, 1e-5) } else { tolerance(&on, &expected[place]) };
                    let what = format!("{name} of {:?} {:?} in {half:?}", case.term, case.keys);
                    assert_close(&what, &actual[place], &expected[place], tolerance);
                }
            }
        }
    }
}

/// 3000 queries that push one key by 2^-11 each: in half precision the sum would stand still at 1, where the next number is
/// 2^-10 away. The right sum is 3000·2^-11.
#[test]
fn the_gradient_of_a_bias_in_half_precision_is_summed_first() {
    for backend in backends().iter().filter(|backend| backend.name == "flex" && backend.dtype == DType::F32) {
        let count = 3000;
        let bias = Tensor::<1>::zeros([1], (&backend.device, DType::F16)).require_grad();
        let rows = |count: usize| Tensor::<2>::zeros([count, 2], (&backend.device, DType::F32));
        let none = Tensor::<1, Int>::full([count], -1, &backend.device);
        let comparison = Comparison { bias: Some(bias.clone()), ..Comparison::new(1.0) };
        let sums = scores(rows(count), rows(1), none, comparison).sum;
        let gradient = bias.grad(&sums.mul_scalar(2.0_f64.powi(-11)).sum().backward()).expect("a gradient");

        assert_eq!(gradient.dtype(), DType::F16);
        assert_eq!(host(gradient), [3000.0 / 2048.0]);
    }
}

/// The weight of a self-paced score is a constant: its gradient is that of a score with a fixed weight, and so no
/// derivative of the value. All others have their own.
#[test]
fn gradients_of_scores_equal_finite_differences() {
    for backend in backends().iter().filter(|backend| backend.is_double()) {
        let on = On(backend);
        for case in Case::all(3, 4) {
            if matches!(case.term, naive::Term::SelfPaced { .. }) || !case.is_biased {
                continue;
            }
            let (x, w) = case.rows([3, 4, 3], 5);
            let matrix = |numbers: &[f64]| numbers.chunks(3).map(<[f64]>::to_vec).collect::<Vec<_>>();
            let value = |case: &Case, x: &[f64], w: &[f64]| {
                let leaves = Leaves::new(&on, case, &matrix(x), &matrix(w));
                let scores = leaves.run(Streaming::new());
                // What is of no key would swallow the rest.
                host(weigh(differentiable(&scores, Some(0.0))))[0]
            };
            let leaves = Leaves::new(&on, &case, &x, &w);
            let [.., of_x, of_w, of_bias, _] = leaves.outcome(leaves.run(Streaming::new()));
            let (x, w, tolerance) = (x.concat(), w.concat(), Tolerance::new(1e-6, 1e-6));
            let what = format!("{case:?} on {}", backend.name);
            let with_bias = |bias: &[f64]| Case { bias: bias.to_vec(), ..case.clone() };
            for (name, checked) in [
                ("queries", check(|moved| value(&case, moved, &w), &x, &of_x, 10.0 * SCALE, tolerance)),
                ("keys", check(|moved| value(&case, &x, moved), &w, &of_w, 10.0 * SCALE, tolerance)),
                (
                    "bias",
                    check(|moved| value(&with_bias(moved), &x, &w), &case.bias, &of_bias, 10.0 * SCALE, tolerance),
                ),
            ] {
                assert!(checked.is_ok(), "{what}: {name}: {checked:?}");
            }
        }
    }
}

/// Nothing is reweighted below every threshold.
#[test]
fn without_hard_keys_the_scores_are_those_of_the_plain_softmax() {
    for backend in backends() {
        let on = On(&backend);
        let (x, w) = (rows(5, 4, 1), rows(9, 4, 2));
        let mut case = Case::all(5, 9).remove(0);
        let run = |case: &Case| {
            let leaves = Leaves::new(&on, case, &x, &w);
            host(leaves.run(Streaming::new()).sum)
        };
        let plain = run(&case);
        case.term = naive::Term::Reweighted { threshold: 20.0, quadratic: 5.0, linear: 5.0, constant: 5.0 };
        assert_close(&backend.name, &run(&case), &plain, tolerance(&on, &plain));
    }
}

/// Hard is what is above the threshold. By hand: products 1/2, at the threshold, and 3/4, which counts as 3·3/4 + 1.
#[test]
fn a_product_at_its_threshold_is_not_hard() {
    for backend in backends() {
        let on = On(&backend);
        let number = |number: f64| on.vector(&[number]);
        let terms = Terms::Reweighted(Reweighting {
            threshold: number(0.5),
            quadratic: 0.0,
            linear: number(3.0),
            constant: number(1.0),
        });
        for run in [scores, scores_reference] {
            let (query, keys) = (on.matrix(&[vec![1.0]]), on.matrix(&[vec![0.5], vec![0.75]]));
            let comparison = Comparison { terms: terms.clone(), ..Comparison::new(1.0) };
            let sum = run(query, keys.clone(), on.integers(&[-1]), comparison).sum;
            let [at, above] = [0.5_f64.exp(), 3.25_f64.exp()];
            assert_close(&backend.name, &host(sum.clone()), &[(at + above).ln()], on.tolerance());
            let slopes = host(keys.grad(&sum.backward()).expect("a gradient"));
            assert_close(&backend.name, &slopes, &[at, 3.0 * above].map(|part| part / (at + above)), on.tolerance());
        }
    }
}

/// The first of equal centers is the nearest: of the first two of key 0, and of the last two of key 1.
#[test]
fn of_equal_centers_the_first_has_the_gradient() {
    for backend in backends() {
        let on = On(&backend);
        let keys = [vec![2.0], vec![2.0], vec![1.0], vec![0.5], vec![3.0], vec![3.0]];
        // Which of them the maximum of a GPU finds is not ours to say.
        let runs = if on.is_gpu() { &[scores as fn(_, _, _, _) -> Scores][..] } else { &[scores, scores_reference] };
        for run in runs {
            let (query, keys) = (on.matrix(&[vec![1.0]]), on.matrix(&keys));
            let comparison = Comparison { sub_centers: 3, ..Comparison::new(1.0) };
            let sum = run(query, keys.clone(), on.integers(&[-1]), comparison).sum;
            let slopes = host(keys.grad(&sum.backward()).expect("a gradient"));

            // By hand: the shares of products 2 and 3.
            let share = 1.0 / (1.0 + 1.0_f64.exp());
            let expected = [share, 0.0, 0.0, 0.0, 1.0 - share, 0.0];
            assert_close(&backend.name, &slopes, &expected, on.tolerance());
        }
    }
}

#[test]
fn without_keys_a_sum_of_softplus_is_zero() {
    for backend in backends() {
        let on = On(&backend);
        let none = Tensor::<2>::zeros([0, 3], (&backend.device, backend.dtype));
        let query = on.matrix(&rows(2, 3, 0));
        let terms = Terms::Softplus { offset: on.vector(&[1.0]), curve: Curve::STRAIGHT };
        let comparison = Comparison { terms, ..Comparison::new(SCALE) };
        let Scores { target, sum, active, logits: _ } = scores(query.clone(), none, on.integers(&[0, -1]), comparison);

        let gradient = query.grad(&(target.clone() + sum.clone()).sum().backward()).expect("a gradient, of zeros");
        for (numbers, count) in
            [(host(target), 2), (host(sum), 2), (host(active.expect("a count")), 2), (host(gradient), 6)]
        {
            assert_eq!(numbers, vec![0.0; count], "{}", backend.name);
        }
    }
}

/// A detached curve has the value of the curve and the gradient of a straight line under its slope.
#[test]
fn a_detached_curve_changes_the_gradient_only() {
    for backend in backends() {
        let on = On(&backend);
        let case = Case::all(3, 5).into_iter().find(|case| {
            matches!(case.term, naive::Term::Softplus { exponent: 3.0, .. }) && case.sub_centers == 1 && case.is_biased
        });
        let case = case.expect("a curve");
        let run = |detached: bool, reference: bool| {
            let mut leaves = Leaves::new(&on, &case, &rows(3, 4, 1), &rows(5 * case.sub_centers, 4, 2));
            let curve = Curve { exponent: 3.0, detached };
            leaves.comparison.terms = Terms::Softplus { offset: leaves.offset.clone(), curve };
            let scores = if reference { leaves.reference() } else { leaves.run(Streaming::new()) };
            leaves.outcome(scores)
        };
        let (exact, detached) = (run(false, false), run(true, false));
        assert_close(&backend.name, &detached[1], &exact[1], tolerance(&on, &exact[1]));
        assert_ne!(detached[6], exact[6]);
        compare(&backend.name, &on, &detached, &run(true, true));
    }
}

/// One offset for all queries has the sum of the gradients of one each.
#[test]
fn one_offset_for_all_queries_is_the_same_for_each() {
    for backend in backends() {
        let on = On(&backend);
        let run = |offset: Tensor<1>| {
            let terms = Terms::Softplus { offset: offset.clone(), curve: Curve::STRAIGHT };
            let comparison = Comparison { terms, ..Comparison::new(2.0) };
            let (x, w) = (on.matrix(&rows(4, 3, 1)), on.matrix(&rows(5, 3, 2)));
            let sum = scores(x, w, on.integers(&[0, 1, 2, -1]), comparison).sum;
            (host(sum.clone()), host(offset.grad(&weigh(sum).backward()).expect("a gradient")))
        };
        let ((one, of_one), (each, of_each)) =
            (run(on.vector(&[0.5]).require_grad()), run(on.vector(&[0.5; 4]).require_grad()));
        assert_close(&backend.name, &one, &each, on.tolerance());
        assert_close(&backend.name, &of_one, &[of_each.iter().sum()], on.tolerance());
    }
}

/// Products of exactly 1 and -1, zero rows, equal centers, offsets and biases that silence everything or nothing: finite,
/// value and gradient.
#[test]
fn scores_of_extreme_rows_are_finite() {
    for backend in backends() {
        let on = On(&backend);
        for length in [0.0, 1e-30, 1.0, 1e20] {
            let x = [vec![length, 0.0], vec![-length, 0.0], vec![length, length]];
            let w = [vec![1.0, 0.0], vec![1.0, 0.0], vec![-length, 0.0], vec![0.0, 0.0]];
            for (sub_centers, gamma) in [(1, None), (2, None), (2, Some(1e-6)), (2, Some(1e6))] {
                for mut case in Case::all(3, 4 / sub_centers) {
                    (case.sub_centers, case.gamma, case.normalise) = (sub_centers, gamma, [true; 2]);
                    case.bias.iter_mut().for_each(|bias| *bias *= 1e4);
                    let leaves = Leaves::new(&on, &case, &x, &w);
                    let what = format!("{case:?} {length:e} on {}", backend.name);
                    for numbers in leaves.outcome(leaves.run(Streaming::new())) {
                        assert_finite(&what, &numbers);
                    }
                }
            }
        }
        for length in [0.0, 1e-20, 1.0, 1e3] {
            let x = [vec![length, 0.0], vec![-length, 0.0], vec![length, length]];
            for offset in [-1e30, 1e10] {
                for mut case in Case::all(3, 3) {
                    (case.sub_centers, case.gamma, case.normalise) = (1, None, [false; 2]);
                    if let naive::Term::Softplus { exponent, .. } = case.term {
                        case.term = naive::Term::Softplus { offset, exponent };
                    }
                    let leaves = Leaves::new(&on, &case, &x, &x);
                    let what = format!("{case:?} {length:e} on {}", backend.name);
                    for numbers in leaves.outcome(leaves.run(Streaming::new())) {
                        assert_finite(&what, &numbers);
                    }
                }
            }
        }
    }
}

#[test]
#[should_panic(expected = "scores: scale must be a number where products are replaced or weighed")]
fn a_scale_that_is_a_tensor_cannot_reweigh() {
    let backend = &backends()[0];
    let rows = On(backend).matrix(&rows(2, 2, 0));
    let scale = Scale::Tensor(On(backend).vector(&[2.0]));
    let comparison = Comparison { terms: Terms::SelfPaced { reach: 0.2, goal: 0.2 }, ..Comparison::new(scale) };
    scores(rows.clone(), rows, On(backend).integers(&[0, 1]), comparison);
}

/// Of one query and one key.
fn compare_with(terms: Terms, choice: CenterChoice) {
    let on = On(&backends()[0]);
    let row = on.matrix(&rows(1, 2, 0));
    scores(row.clone(), row, on.integers(&[-1]), Comparison { terms, choice, ..Comparison::new(SCALE) });
}

#[test]
#[should_panic(expected = "scores: reach must be finite, got NaN")]
fn a_reach_that_is_no_number_is_rejected() {
    compare_with(Terms::SelfPaced { reach: f64::NAN, goal: 0.0 }, CenterChoice::Nearest);
}

#[test]
#[should_panic(expected = "scores: goal must be finite, got inf")]
fn an_infinite_goal_is_rejected() {
    compare_with(Terms::SelfPaced { reach: 0.0, goal: f64::INFINITY }, CenterChoice::Nearest);
}

#[test]
#[should_panic(expected = "scores: exponent must be in [1, 100], got 0.5")]
fn an_exponent_below_one_is_rejected() {
    let offset = On(&backends()[0]).vector(&[0.0]);
    let terms = Terms::Softplus { offset, curve: Curve { exponent: 0.5, detached: false } };
    compare_with(terms, CenterChoice::Nearest);
}

#[test]
#[should_panic(expected = "scores: gamma must be in [1e-6, 1e6], got 0")]
fn a_gamma_of_zero_is_rejected() {
    compare_with(Terms::Exp, CenterChoice::Soft { gamma: 0.0 });
}
