use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use burn::tensor::{Bool, DType, Device, Int, Tensor, TensorData};
use burn_losses::classification::{CrossEntropyLossConfig, Reduction};
use burn_losses::heads::ArcFaceConfig;
use burn_losses::labels::{LabelPolicy, OnBadLabel, count_bad};
use burn_losses::memory::CrossBatchMemoryConfig;
use burn_losses::mining::PairMasks;
use burn_losses::pairs::{
    ContrastiveLossConfig, InfoNceLossConfig, MultiSimilarityLossConfig, SupConLossConfig, TripletLossConfig,
};
use burn_losses_kernels::math::in_host_memory;
use parity::{Backend, backends};
use serde_json::json;
use support::golden::{Case, cases};
use support::table::{Call, Labels, Losses, Row, host, table};

const BAD: [i64; 3] = [-3, i64::MAX, i32::MAX as i64];

/// The losses that have labels and are losses of rows, each with one golden case for every set of leaves (center loss has two modes).
fn labelled() -> impl Iterator<Item = (&'static Row, Case)> {
    table().filter(|row| row.labels == Labels::Classes && row.losses == Losses::PerRow).flat_map(|row| {
        let mut seen = BTreeSet::new();
        let own = cases(row.family).into_iter().filter(|case| case.loss == row.loss);
        own.filter(move |case| seen.insert(case.expected.gradients.len())).map(move |case| (row, case))
    })
}

fn classes(case: &Case) -> usize {
    if let Some(classes) = case.settings.get("classes") {
        return classes.as_u64().expect("a number of classes") as usize;
    }
    match case.inputs.get("weights").or_else(|| case.inputs.get("centers")) {
        Some(centers) => centers.shape[0],
        None => case.inputs["logits"].shape[1],
    }
}

/// The input with one row per label.
fn rows_of(case: &Case) -> &'static str {
    if case.inputs.contains_key("logits") { "logits" } else { "embeddings" }
}

/// What came out of a run, on the host.
#[derive(Debug, PartialEq)]
struct Outcome {
    losses: Vec<f64>,
    gradients: BTreeMap<&'static str, Vec<f64>>,
    outputs: Vec<Vec<f64>>,
}

fn run(row: &Row, case: &Case, backend: &Backend) -> Outcome {
    let run = (row.run)(&Call::new(case, &backend.device, backend.dtype));
    Outcome {
        losses: run.loss_values(),
        gradients: run.gradients(&case.cotangent),
        outputs: run.outputs.values().cloned().map(host).collect(),
    }
}

/// With a lenient policy a bad label gives its row a loss and a gradient of exactly 0, and the rest of the batch is as if the row had been
/// ignored on purpose: to the last bit, so nothing was read or written out of range.
#[test]
fn a_bad_label_silences_its_row_and_nothing_else() {
    for backend in backends() {
        for (row, case) in labelled() {
            let last = case.labels.len() - 1;
            for place in [0, last / 2, last] {
                let mut ignored = case.clone();
                ignored.labels[place] = -7;
                ignored.settings.insert("labels".to_owned(), json!({"ignore_label": -7, "on_bad_label": "Panic"}));
                let expected = run(row, &ignored, &backend);
                let rows = rows_of(&case);
                let dim = case.inputs[rows].shape[1];
                let own = place * dim..(place + 1) * dim;
                assert_eq!(expected.losses[place], 0.0);
                assert!(expected.gradients[rows][own].iter().all(|&slope| slope == 0.0));

                for bad in BAD {
                    let mut case = case.clone();
                    case.settings.insert("labels".to_owned(), json!({"ignore_label": null, "on_bad_label": "Ignore"}));
                    // i64::MAX stands for "the first number that is not a class".
                    case.labels[place] = if bad == i64::MAX { classes(&case) as i64 } else { bad };
                    let what =
                        format!("{} on {}, label {} in row {place}", case.name, backend.name, case.labels[place]);
                    assert_eq!(run(row, &case, &backend), expected, "{what}");
                }
            }
        }
    }
}

/// What stands in a row without a class does not matter, not even NaN.
#[test]
fn a_nan_in_an_ignored_row_reaches_nothing() {
    for backend in backends() {
        for (row, case) in labelled() {
            let mut clean = case.clone();
            clean.labels[1] = -7;
            clean.settings.insert("labels".to_owned(), json!({"ignore_label": -7, "on_bad_label": "Panic"}));
            let mut poisoned = clean.clone();
            let embeddings = poisoned.inputs.get_mut(rows_of(&case)).expect("rows");
            let dim = embeddings.shape[1];
            embeddings.data[dim..2 * dim].fill(f64::NAN);

            assert_eq!(run(row, &poisoned, &backend), run(row, &clean, &backend), "{} on {}", case.name, backend.name);
        }
    }
}

#[test]
fn a_batch_without_a_single_class_has_loss_and_gradient_zero() {
    for backend in backends() {
        for (row, case) in labelled() {
            let mut case = case;
            case.labels.fill(-1);
            let Outcome { losses, gradients, .. } = run(row, &case, &backend);

            assert!(losses.iter().all(|&loss| loss == 0.0), "{} on {}", case.name, backend.name);
            for (name, gradient) in gradients {
                assert!(gradient.iter().all(|&slope| slope == 0.0), "{} on {}: {name}", case.name, backend.name);
            }
        }
    }
}

/// By default every loss names itself, the place, the label and the classes, where labels lie in host memory.
#[test]
fn a_bad_label_panics_with_its_place() {
    for backend in backends().iter().filter(|backend| in_host_memory(&backend.device)) {
        for (row, case) in labelled() {
            let classes = classes(&case);
            for bad in [-3, classes as i64] {
                let mut case = case.clone();
                case.labels[1] = bad;
                let call = Call::new(&case, &backend.device, backend.dtype);
                let message = message_of(|| _ = (row.run)(&call)).expect("a panic");

                let loss = row.loss;
                let last = classes - 1;
                let expected =
                    format!("{loss}: labels[1] is {bad}, but there are {classes} classes, 0-based (0 to {last})");
                assert!(message.starts_with(&expected), "{message}\n{expected}");
            }
        }
    }
}

/// A training set whose labels start at 1: nothing may train on it as if nothing were wrong. On a device that is not
/// looked at, a later forward says so.
#[test]
fn labels_that_start_at_one_stop_the_training() {
    for backend in backends() {
        let head = ArcFaceConfig::new(10, 4).with_scale(16.0).init(&backend.device);
        let embeddings = Tensor::<2>::ones([10, 4], (&backend.device, backend.dtype));
        let labels = Tensor::<1, Int>::from_data([1, 2, 3, 4, 5, 6, 7, 8, 9, 10], &backend.device);
        let forward = || _ = head.forward(embeddings.clone(), labels.clone());
        let classes = "but there are 10 classes, 0-based (0 to 9)";
        if in_host_memory(&backend.device) {
            assert_eq!(message_of(forward), Some(format!("ArcFace: labels[9] is 10, {classes}")));
            continue;
        }
        let began = Instant::now();
        let message = loop {
            match message_of(forward) {
                Some(message) => break message,
                None => assert!(began.elapsed() < Duration::from_secs(60), "nothing was said on {}", backend.name),
            }
        };
        assert_eq!(message, format!("ArcFace: a label of an earlier batch is 10, {classes}"));
    }
}

/// Not one label is a class: the loss 0 would look like a training that is done.
#[test]
fn labels_that_are_all_bad_are_no_loss_of_zero() {
    for backend in backends().iter().filter(|backend| in_host_memory(&backend.device)) {
        let loss = CrossEntropyLossConfig::new().init(&backend.device);
        let logits = Tensor::<2>::ones([2, 3], (&backend.device, backend.dtype));
        let labels = Tensor::<1, Int>::from_data([3, 4], &backend.device);
        let message = message_of(|| _ = loss.forward(logits, labels, Reduction::Mean)).expect("a panic");

        assert_eq!(message, "CrossEntropyLoss: labels[0] is 3, but there are 3 classes, 0-based (0 to 2)");
    }
}

/// What a panic says.
fn message_of(run: impl FnOnce()) -> Option<String> {
    let panic = catch_unwind(AssertUnwindSafe(run)).err()?;
    Some(panic.downcast_ref::<String>().expect("a message").clone())
}

/// Every integer type a backend has says the same, whatever the number of classes.
#[test]
fn labels_of_every_integer_type_are_the_same_labels() {
    for backend in backends() {
        for dtype in [DType::I8, DType::I16, DType::I32, DType::I64, DType::U8, DType::U16, DType::U32, DType::U64] {
            if !backend.device.supports_dtype(dtype) {
                println!("{} has no {dtype:?}", backend.name);
                continue;
            }
            let labels = Tensor::<1, Int>::from_data(TensorData::from([2_i64, 0, 100]), (&backend.device, dtype));
            for (classes, bad) in [(300, 0), (100_000, 0), (100, 1)] {
                let what = format!("{dtype:?} with {classes} classes on {}", backend.name);
                let counted = count_bad(labels.clone(), classes, Some(-1)).into_scalar::<i64>();
                let policy = LabelPolicy::new().with_on_bad_label(OnBadLabel::Ignore);
                let safe = policy.sanitise("a loss", labels.clone(), classes);
                let index = safe.index.try_into_vec_as::<i64>().expect("readable");

                assert_eq!(counted, bad, "{what}");
                assert_eq!(index, [2, 0, if bad == 1 { 0 } else { 100 }], "{what}");
            }
        }
    }
}

/// An unsigned label that is too large is bad; it must not wrap into the ignored -1.
#[test]
fn an_unsigned_label_beyond_31_bits_is_bad() {
    for backend in backends().iter().filter(|backend| backend.device.supports_dtype(DType::U32)) {
        let labels = Tensor::<1, Int>::from_data(TensorData::from([u32::MAX, 1]), (&backend.device, DType::U32));

        assert_eq!(count_bad(labels, 3, Some(-1)).into_scalar::<i64>(), 1, "{}", backend.name);
    }
}

/// The methods beside the loss keep the same promise.
#[test]
fn rows_without_a_class_have_no_logits_and_no_cosine() {
    for backend in backends() {
        let head = ArcFaceConfig::new(2, 2).init(&backend.device);
        let embeddings = [[1.0, 2.0], [f64::NAN, 1.0]];
        let embeddings = Tensor::<2>::from_data(embeddings, (&backend.device, backend.dtype)).require_grad();
        let labels = Tensor::<1, Int>::from_data([1, -1], &backend.device);
        let own = head.target_cosine(embeddings.clone(), labels.clone());
        let logits = head.margin_logits(embeddings.clone(), labels);

        assert_eq!(host(own.clone())[1], 0.0, "{}", backend.name);
        assert_eq!(host(logits.clone())[2..], [0.0, 0.0], "{}", backend.name);
        let gradients = (own.sum() + logits.sum()).backward();
        let gradient = host(embeddings.grad(&gradients).expect("a gradient"));
        assert!(gradient[..2].iter().all(|slope| slope.is_finite()) && gradient[2..] == [0.0, 0.0], "{gradient:?}");
        let weight = host(head.centers.weight.val().grad(&gradients).expect("a gradient"));
        assert!(weight.iter().all(|slope| slope.is_finite()), "{weight:?}");
    }
}

/// The loss of six rows with these identities, and the gradient.
fn pair_loss(identities: Tensor<1, Int>, backend: &Backend) -> [Vec<f64>; 2] {
    let numbers: Vec<f64> = (0..18).map(|place| ((place * 7919 + 1) as f64 * 0.618_033_988_7).fract() - 0.5).collect();
    let options = (&backend.device, backend.dtype);
    let leaf = Tensor::<2>::from_data(TensorData::new(numbers, [6, 3]), options).require_grad();
    let (x, y) = (|| leaf.clone(), || identities.clone());
    let losses = vec![
        ContrastiveLossConfig::new().init(&backend.device).forward(x(), y()),
        TripletLossConfig::new().init(&backend.device).forward(x(), y()),
        InfoNceLossConfig::new().init(&backend.device).forward(x(), y()),
        SupConLossConfig::new().init(&backend.device).forward(x(), y()),
        MultiSimilarityLossConfig::new().init(&backend.device).forward(x(), y()),
    ];
    let losses = Tensor::cat(losses, 0);
    let gradient = leaf.grad(&losses.clone().sum().backward()).expect("a gradient");
    [host(losses), host(gradient)]
}

/// Identities are often hashes: of 32 bits and more they are what small ones are.
#[test]
fn identities_of_every_width_are_the_same_identities() {
    for backend in backends().iter().filter(|backend| in_host_memory(&backend.device)) {
        let small = Tensor::<1, Int>::from_data([4, 5, 4, 5, 9, 4], (&backend.device, DType::I64));
        let expected = pair_loss(small.clone(), backend);
        assert!(expected[0].iter().all(|&loss| loss > 0.0), "{expected:?}");
        for (dtype, first) in
            [(DType::U32, 1_u64 << 31), (DType::U64, 1 << 31), (DType::U64, 1 << 62), (DType::I64, 1 << 62)]
        {
            let identities: Vec<u64> = [4, 5, 4, 5, 9, 4].iter().map(|identity| first + identity).collect();
            let identities =
                Tensor::<1, Int>::from_data(TensorData::from(identities.as_slice()), (&backend.device, dtype));
            let what = format!("{dtype:?} from {first} on {}", backend.name);
            assert_eq!(pair_loss(identities.clone(), backend), expected, "{what}");

            // A memory keeps them, and its identities meet those of a batch of another type.
            let memory = CrossBatchMemoryConfig::new(3).with_capacity(6).init(&backend.device);
            let rows = Tensor::<2>::ones([6, 3], (&backend.device, backend.dtype));
            memory.enqueue(rows, identities.clone());
            let (_, remembered) = memory.references();
            let positive = |labels, references| PairMasks::between(labels, references).positive.int().sum();
            // Three of one, two of another, one of a third: 9 + 4 + 1.
            assert_eq!(positive(identities, remembered).into_scalar::<i64>(), 14, "{what}");
        }
    }
}

/// Identities of 32 bits are not those of 64 that end in the same bits, nor the nearest of 32 bits.
#[test]
fn narrow_and_wide_identities_are_compared_in_full() {
    for backend in backends().iter().filter(|backend| in_host_memory(&backend.device)) {
        let of =
            |numbers: &[i64], dtype| Tensor::<1, Int>::from_data(TensorData::from(numbers), (&backend.device, dtype));
        let largest = i64::from(i32::MAX);
        let narrow = || of(&[5, largest], DType::I32);
        let wide = || of(&[(1 << 32) + 5, 5, 1 << 40, largest], DType::I64);
        let same = |labels, references| {
            let positive: Tensor<2, Bool> = PairMasks::between(labels, references).positive;
            positive.try_into_vec_as::<bool>().expect("a mask")
        };
        assert_eq!(same(narrow(), wide()), [false, true, false, false, false, false, false, true], "{}", backend.name);
        assert_eq!(same(wide(), narrow()), [false, false, true, false, false, false, false, true], "{}", backend.name);
    }
}

/// What has 64 bits would be negative: no identity, and no word.
#[test]
#[should_panic(expected = "labels: 18446744073709551615 has more than 63 bits")]
fn an_identity_of_64_bits_is_an_error() {
    let labels = Tensor::<1, Int>::from_data(TensorData::from([u64::MAX, 1]), (&Device::flex(), DType::U64));
    let _ = PairMasks::in_batch(labels);
}
