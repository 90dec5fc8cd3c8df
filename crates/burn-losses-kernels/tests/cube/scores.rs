//! The streamed scores.

use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use burn_losses_kernels::math::NOTHING;
use burn_losses_kernels::scores::{
    CenterChoice, Comparison, Counted, Curve, Logits, Normalise, Reweighting, Scores, Streaming, Terms, scores,
    scores_reference,
};

use crate::{flex, gpu, matrix, numbers, values};

const SCALE: f64 = 8.0;

/// Of the largest number of a tensor.
const TOLERANCE: f32 = 5e-6;

fn ints(numbers: &[i64], device: &Device) -> Tensor<1, Int> {
    Tensor::from_ints(numbers, device)
}

/// Target and sum side by side.
fn packed(scores: Scores) -> Tensor<2> {
    Tensor::stack(vec![scores.target, scores.sum], 1)
}

fn classes(streaming: Streaming) -> Comparison {
    Comparison { normalise: Normalise::Both, streaming, ..Comparison::new(SCALE) }
}

/// A result, and the gradients of both inputs from an upstream gradient that differs everywhere.
struct Results {
    output: Vec<f32>,
    queries: Vec<f32>,
    keys: Vec<f32>,
    /// The gradients of more inputs.
    more: Vec<Vec<f32>>,
}

impl Results {
    fn of<const D: usize>(output: Tensor<D>, queries: &Tensor<2>, keys: &Tensor<2>) -> Self {
        Self::with_more(output, queries, keys, Vec::new())
    }

    fn with_more<const D: usize>(
        output: Tensor<D>,
        queries: &Tensor<2>,
        keys: &Tensor<2>,
        more: Vec<Tensor<1>>,
    ) -> Self {
        let dims = output.dims();
        let upstream = TensorData::new(numbers(dims.iter().product(), 99), dims);
        let upstream = Tensor::<D>::from_data(upstream, &output.device());
        let gradients = (output.clone() * upstream).sum().backward();
        let [queries, keys] = [queries, keys].map(|input| values(input.grad(&gradients).unwrap()));
        let more = more.iter().map(|input| values(input.grad(&gradients).unwrap())).collect();
        Self { output: values(output), queries, keys, more }
    }

    fn assert_close(&self, expected: &Self, tolerance: f32, what: &str) {
        assert_close(&self.output, &expected.output, tolerance, &format!("{what}: output"));
        assert_close(&self.queries, &expected.queries, tolerance, &format!("{what}: gradient of queries"));
        assert_close(&self.keys, &expected.keys, tolerance, &format!("{what}: gradient of keys"));
        assert_eq!(self.more.len(), expected.more.len(), "{what}");
        for (place, (a, b)) in self.more.iter().zip(&expected.more).enumerate() {
            assert_close(a, b, tolerance, &format!("{what}: gradient of input {place} of more"));
        }
    }
}

fn assert_close(actual: &[f32], expected: &[f32], tolerance: f32, what: &str) {
    assert_eq!(actual.len(), expected.len(), "{what}");
    // `NOTHING` has to be met exactly and says nothing about the scale of the rest.
    let size = |number: &f32| if *number == NOTHING as f32 { 0.0 } else { number.abs() };
    let largest = expected.iter().map(size).fold(1e-3, f32::max);
    for (index, (a, b)) in actual.iter().zip(expected).enumerate() {
        assert!((a - b).abs() <= tolerance * largest, "{what}[{index}]: {a} is not {b}, of {largest}");
    }
}

#[derive(Clone, Copy, Debug)]
struct Case {
    batch: usize,
    dim: usize,
    count: usize,
    streaming: Streaming,
}

impl Case {
    fn inputs(&self, device: &Device) -> [Tensor<2>; 2] {
        [matrix(self.batch, self.dim, 1, device), matrix(self.count, self.dim, 2, device)].map(Tensor::require_grad)
    }

    /// Labels of a class, of none, and far out of range.
    fn labels(&self) -> Vec<i64> {
        let label = |row: usize| match row % 7 {
            3 => -1,
            4 => self.count as i64,
            5 => i64::from(i32::MIN),
            6 => i64::from(i32::MAX),
            _ => ((row * 53) % self.count) as i64,
        };
        (0..self.batch).map(label).collect()
    }

    /// Labels of queries of which most are labels of keys too.
    fn repeated_labels(&self) -> Vec<i64> {
        self.labels().into_iter().map(|label| label % 13).collect()
    }

    /// Labels of keys that repeat, some of them negative.
    fn key_labels(&self) -> Vec<i64> {
        (0..self.count as i64).map(|key| if key % 11 == 5 { -1 - key % 2 } else { key % 13 }).collect()
    }
}

fn case(batch: usize, dim: usize, count: usize, streaming: Streaming) -> Case {
    Case { batch, dim, count, streaming }
}

fn block(keys: usize) -> Streaming {
    Streaming { kept_bytes: 0, block: Some(keys) }
}

fn cases() -> Vec<Case> {
    vec![
        case(37, 24, 301, block(64)),
        case(37, 24, 301, block(1000)),
        case(37, 24, 301, Streaming::default()),
        case(37, 24, 301, Streaming { block: Some(64), ..Streaming::default() }),
        case(5, 24, 70, block(1)),
        case(1, 1, 301, block(64)),
        case(3, 600, 301, block(128)),
        case(37, 24, 1, block(64)),
    ]
}

#[test]
fn every_number_of_units_and_cubes_agrees_with_the_reference() {
    for case in cases() {
        let [embeddings, weights] = case.inputs(&flex());
        let labels = ints(&case.labels(), &flex());
        let comparison = classes(case.streaming);
        let output = packed(scores_reference(embeddings.clone(), weights.clone(), labels, comparison));
        let expected = Results::of(output, &embeddings, &weights);

        let [embeddings, weights] = case.inputs(&gpu());
        let labels = ints(&case.labels(), &gpu());
        let output = packed(scores(embeddings.clone(), weights.clone(), labels, classes(case.streaming)));
        Results::of(output, &embeddings, &weights).assert_close(&expected, TOLERANCE, &format!("{case:?}"));
    }
}

/// What is added up, of what: every term, with and without several centers.
fn comparisons(case: &Case, [bias, offset]: [&Tensor<1>; 2]) -> Vec<(String, Comparison)> {
    let device = bias.device();
    let column = |seed: u32| Tensor::<1>::from_data(numbers(case.batch, seed).as_slice(), &device);
    let weights = Tensor::<1>::from_data(numbers(case.count, 7).as_slice(), &device);
    let reweighted = Reweighting { quadratic: 0.5, threshold: column(3), linear: column(4), constant: column(5) };
    let softplus =
        |exponent: f64, detached: bool| Terms::Softplus { offset: offset.clone(), curve: Curve { exponent, detached } };
    let terms = [
        Terms::Exp,
        Terms::Reweighted(reweighted),
        Terms::SelfPaced { reach: 0.25, goal: -0.25 },
        softplus(1.0, false),
        softplus(2.5, false),
        softplus(2.5, true),
        Terms::Logits(Logits { weights: Some(weights), cap: Some(3.0) }),
    ];
    let centers = [(1, CenterChoice::Nearest), (3, CenterChoice::Nearest), (3, CenterChoice::Soft { gamma: 0.2 })];
    let mut all = Vec::new();
    for terms in terms {
        for (sub_centers, choice) in centers {
            let what = format!("{case:?}, {terms:?}, {sub_centers} {choice:?}");
            let (terms, bias) = (terms.clone(), Some(bias.clone()));
            all.push((what, Comparison { terms, bias, sub_centers, choice, ..classes(case.streaming) }));
        }
    }
    all
}

#[test]
fn every_term_agrees_with_the_reference() {
    for case in [case(37, 24, 301, block(64)), case(5, 24, 70, block(1)), case(37, 24, 301, block(1000))] {
        let run = |at: usize, device: &Device, by: fn(Tensor<2>, Tensor<2>, Tensor<1, Int>, Comparison) -> Scores| {
            let vector = |count, seed| Tensor::<1>::from_data(numbers(count, seed).as_slice(), device).require_grad();
            let (bias, offset) = (vector(case.count, 8), vector(case.batch, 6));
            let (what, comparison) = comparisons(&case, [&bias, &offset]).into_iter().nth(at)?;
            let has_offset = matches!(comparison.terms, Terms::Softplus { .. });
            let queries = matrix(case.batch, case.dim, 1, device).require_grad();
            let keys = matrix(case.count * comparison.sub_centers, case.dim, 2, device).require_grad();
            let scores = by(queries.clone(), keys.clone(), ints(&case.labels(), device), comparison);
            let weighted = scores.logits.map(|figures| figures.weighted.expect("weights"));
            let columns = [scores.target, scores.sum].into_iter().chain(scores.active).chain(weighted);
            let output = Tensor::stack::<2>(columns.collect(), 1);
            let inputs = [bias].into_iter().chain(has_offset.then_some(offset));
            Some((what, Results::with_more(output, &queries, &keys, inputs.collect())))
        };
        let mut at = 0;
        while let Some((what, expected)) = run(at, &flex(), scores_reference) {
            run(at, &gpu(), scores).unwrap().1.assert_close(&expected, 2e-5, &what);
            at += 1;
        }
        assert_eq!(at, 21, "comparisons");
    }
}

/// Of equal keys: in one block or another, and for every unit that looks at one.
#[test]
fn the_first_of_the_largest_keys_is_named() {
    let case = case(37, 24, 301, Streaming::default());
    for block_of in [1, 64, 1000] {
        let run = |device: &Device, by: fn(Tensor<2>, Tensor<2>, Tensor<1, Int>, Comparison) -> Scores| {
            let queries = matrix(case.batch, case.dim, 1, device);
            // Every fifth key is the same, so the largest is there some sixty times.
            let keys = matrix(5, case.dim, 2, device).repeat(&[61, 1]).narrow(0, 0, case.count);
            let labels = ints(&case.labels(), device);
            let comparison = Comparison {
                terms: Terms::Logits(Logits::default()),
                streaming: block(block_of),
                ..Comparison::new(SCALE)
            };
            let largest_key = by(queries, keys, labels, comparison).logits.expect("figures").largest_key;
            largest_key.try_into_vec_as::<i64>().unwrap()
        };
        let expected = run(&flex(), scores_reference);
        assert!(expected.iter().all(|&key| key < 10), "{expected:?}");
        assert_eq!(run(&gpu(), scores), expected, "blocks of {block_of}");
    }
}

/// Labels that are compared in 64 bits: 2^32 more than a label is another one.
#[test]
fn labels_in_64_bits_work() {
    let case = cases()[0];
    let run = |ours: &[i64], theirs: &[i64], dtype: DType| {
        let [queries, keys] = case.inputs(&gpu());
        let wide = |labels: &[i64]| Tensor::<1, Int>::from_data(TensorData::from(labels), (&gpu(), dtype));
        let counted = Counted::OtherLabels(wide(theirs));
        let comparison = Comparison { counted, streaming: case.streaming, ..Comparison::new(2.0) };
        let output = scores(queries.clone(), keys.clone(), wide(ours), comparison).sum;
        Results::of(output, &queries, &keys)
    };
    let (ours, theirs) = (case.repeated_labels(), case.key_labels());
    let narrow = run(&ours, &theirs, DType::I32);
    run(&ours, &theirs, DType::I64).assert_close(&narrow, 0.0, "64 bits");
    if gpu().supports_dtype(DType::I64) {
        let beyond = |labels: &[i64]| -> Vec<i64> {
            labels.iter().map(|&label| if label < 0 { label } else { label << 32 }).collect()
        };
        run(&beyond(&ours), &beyond(&theirs), DType::I64).assert_close(&narrow, 0.0, "labels beyond 32 bits");
    }
}

#[test]
fn weights_in_half_precision_are_widened() {
    let case = cases()[0];
    let run = |device: &Device| {
        let embeddings = matrix(case.batch, case.dim, 1, device).require_grad();
        let weights = matrix(case.count, case.dim, 2, device).cast(DType::F16).require_grad();
        let labels = ints(&case.labels(), device);
        let output = packed(scores(embeddings.clone(), weights.clone(), labels, classes(case.streaming)));
        Results::of(output, &embeddings, &weights)
    };
    let (actual, expected) = (run(&gpu()), run(&flex()));
    assert_close(&actual.output, &expected.output, TOLERANCE, "output");
    assert_close(&actual.queries, &expected.queries, TOLERANCE, "gradient of queries");
    // Rounded to half precision at the end, where sums that differ in the last digit may part.
    assert_close(&actual.keys, &expected.keys, 1e-3, "gradient of keys");
}

#[test]
fn extreme_rows_stay_in_range() {
    let rows = [[3.0_f32, 4.0], [3e-11, 4e-11], [3e37, 4e37], [0.0, 0.0], [1e-20, 0.0]];
    let run = |device: &Device| {
        let embeddings = matrix(3, 2, 1, device).require_grad();
        let weights = Tensor::<2>::from_data(rows, device).require_grad();
        let labels = ints(&[0, 1, 3], device);
        let output = packed(scores(embeddings.clone(), weights.clone(), labels, classes(Streaming::default())));
        Results::of(output, &embeddings, &weights)
    };
    let (actual, expected) = (run(&gpu()), run(&flex()));
    assert_close(&actual.output, &expected.output, TOLERANCE, "output");
    for (a, b) in actual.keys.chunks(2).zip(expected.keys.chunks(2)) {
        assert_close(a, b, TOLERANCE, "gradient of a key");
    }
}

#[test]
fn a_nan_reaches_its_results_and_no_others() {
    let labels = || ints(&[0, 1, 2], &gpu());
    let run = |queries: Tensor<2>, keys: Tensor<2>| {
        let comparison = Comparison { streaming: block(64), ..Comparison::new(1.0) };
        values(scores(queries, keys, labels(), comparison).sum)
    };
    let with_nan = |rows: usize, at: usize| {
        let mut numbers = numbers(rows * 24, 3);
        numbers[at] = f32::NAN;
        Tensor::<2>::from_data(TensorData::new(numbers, [rows, 24]), &gpu())
    };
    let output = run(with_nan(3, 30), matrix(301, 24, 2, &gpu()));
    assert!(output[0].is_finite() && output[1].is_nan() && output[2].is_finite(), "{output:?}");

    let keys = with_nan(301, 100 * 24 + 3);
    let output = run(matrix(3, 24, 1, &gpu()), keys.clone());
    assert!(output.iter().all(|number| number.is_nan()), "{output:?}");

    let output = values(scores(matrix(3, 24, 1, &gpu()), keys, labels(), classes(block(64))).sum);
    assert!(output.iter().all(|number| number.is_nan()), "{output:?}");
}

/// One axis of the grid has at most 65 535 cubes.
#[test]
fn rows_of_keys_and_of_queries_may_outnumber_the_cubes_of_an_axis() {
    for (case, own) in [(case(2, 3, 70_001, block(70_001)), 70_000), (case(66_000, 3, 5, block(4)), 4)] {
        let run = |device: &Device| {
            let [embeddings, weights] = case.inputs(device);
            let labels: Vec<i64> = (0..case.batch as i64).map(|row| own - row % 7).collect();
            let labels = ints(&labels, device);
            let output = packed(scores(embeddings.clone(), weights.clone(), labels, classes(case.streaming)));
            Results::of(output, &embeddings, &weights)
        };
        let (actual, expected) = (run(&gpu()), run(&flex()));
        assert_close(&actual.output, &expected.output, TOLERANCE, "output");
        // Sums of tens of thousands of numbers: their order shows.
        assert_close(&actual.queries, &expected.queries, 1e-4, "gradient of queries");
        assert_close(&actual.keys, &expected.keys, 1e-4, "gradient of keys");
    }
}
