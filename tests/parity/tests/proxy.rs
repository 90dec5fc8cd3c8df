use std::panic::{AssertUnwindSafe, catch_unwind};

use burn::module::{Initializer, Param};
use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use burn_losses::EmbeddingLoss;
use burn_losses::heads::{CentersConfig, NormFaceConfig, Streaming};
use burn_losses::labels::{LabelPolicy, OnBadLabel};
use burn_losses::proxy::{
    Denominator, NormalizedSoftmaxLossConfig, ProxyAnchorLossConfig, ProxyNcaLossConfig, SoftTripleLossConfig,
};
use burn_losses::reduction::EmbeddingReduction;
use burn_losses_kernels::math::in_host_memory;
use parity::{Backend, backends};
use serde_json::{Value, json};
use support::close::{Tolerance, assert_close, assert_finite};
use support::golden::Case;
use support::table::{Call, host, row};

const DIM: usize = 3;
const LABELS: [i64; 5] = [2, 0, 2, 3, 0];
const EXACT: Tolerance = Tolerance::new(1e-11, 1e-11);

/// Every loss, gentle and at its sharpest.
fn losses() -> Vec<(&'static str, Value)> {
    let soft_triple =
        |scale: f64, gamma: f64| json!({"centers_per_class": 2, "scale": scale, "gamma": gamma, "margin": 0.01});
    vec![
        ("ProxyNcaLoss", json!({"scale": 1.0})),
        ("ProxyNcaLoss", json!({"scale": 1e4})),
        ("ProxyNcaLoss", json!({"scale": 1.0, "denominator": "OtherProxies"})),
        ("ProxyNcaLoss", json!({"scale": 1e4, "denominator": "OtherProxies"})),
        ("ProxyAnchorLoss", json!({"alpha": 32.0, "margin": 0.1})),
        ("ProxyAnchorLoss", json!({"alpha": 1e4, "margin": 0.1})),
        ("SoftTripleLoss", soft_triple(20.0, 0.1)),
        ("SoftTripleLoss", soft_triple(1e4, 1e-4)),
        ("NormalizedSoftmaxLoss", json!({"temperature": 0.5})),
        ("NormalizedSoftmaxLoss", json!({"temperature": 0.01})),
        ("NormalizedSoftmaxLoss", json!({"temperature": 1e-4})),
    ]
}

fn gentle() -> impl Iterator<Item = (&'static str, Value)> {
    losses().into_iter().filter(|(_, settings)| {
        let number = |field: &str| settings.get(field).and_then(Value::as_f64).unwrap_or(1.0);
        number("scale") < 100.0 && number("alpha") < 100.0 && number("temperature") > 0.1
    })
}

/// The rows of one class of `weights` come one after the other, for SoftTripleLoss two.
fn case(loss: &str, settings: &Value, embeddings: &[Vec<f64>], weights: &[Vec<f64>], labels: &[i64]) -> Case {
    let dim = embeddings[0].len();
    let classes = weights.len() / if loss == "SoftTripleLoss" { 2 } else { 1 };
    let mut settings = settings.clone();
    settings["classes"] = json!(classes);
    settings["embedding_dim"] = json!(dim);
    let count = if loss == "ProxyAnchorLoss" { classes } else { labels.len() };
    let array = |rows: &[Vec<f64>]| json!({"shape": [rows.len(), dim], "data": rows.concat()});
    let case = json!({
        "name": loss, "loss": loss, "settings": settings, "labels": labels,
        "inputs": {"embeddings": array(embeddings), "weights": array(weights)},
        "cotangent": (0..count).map(|place| 0.5 + 0.3 * (place % 7) as f64).collect::<Vec<_>>(),
        "expected": {"losses": {"shape": [0], "data": []}, "gradients": {}}, "source": "none",
    });
    serde_json::from_value(case).expect("a case")
}

#[derive(Debug, PartialEq)]
struct Outcome {
    losses: Vec<f64>,
    embeddings: Vec<f64>,
    weights: Vec<f64>,
}

fn run(case: &Case, backend: &Backend) -> Outcome {
    let run = (row(&case.loss).run)(&Call::new(case, &backend.device, backend.dtype));
    let mut gradients = run.gradients(&case.cotangent);
    Outcome {
        losses: run.loss_values(),
        embeddings: gradients.remove("embeddings").expect("a gradient"),
        weights: gradients.remove("weights").expect("a gradient"),
    }
}

fn finite(embeddings: &[Vec<f64>], weights: &[Vec<f64>], labels: &[i64]) {
    for backend in backends() {
        for (loss, settings) in losses() {
            let outcome = run(&case(loss, &settings, embeddings, weights, labels), &backend);
            let what = format!("{loss} {settings} on {} {:?}", backend.name, backend.dtype);
            assert_finite(&what, &outcome.losses);
            assert_finite(&format!("{what}: gradient of the embeddings"), &outcome.embeddings);
            assert_finite(&format!("{what}: gradient of the proxies"), &outcome.weights);
        }
    }
}

/// Reproducible numbers in (-1, 1) that nobody chose.
fn rows(count: usize, seed: usize) -> Vec<Vec<f64>> {
    let number = |place: usize| 2.0 * ((place * 7919 + seed * 31 + 1) as f64 * 0.618_033_988_7).fract() - 1.0;
    (0..count).map(|row| (0..DIM).map(|column| number(row * DIM + column)).collect()).collect()
}

/// Eight: eight classes, or four of two centers.
fn proxies() -> Vec<Vec<f64>> {
    rows(8, 20)
}

fn tensor(rows: &[Vec<f64>], backend: &Backend) -> Tensor<2> {
    Tensor::from_data(TensorData::new(rows.concat(), [rows.len(), rows[0].len()]), (&backend.device, backend.dtype))
}

fn integers(labels: &[i64], device: &Device) -> Tensor<1, Int> {
    Tensor::from_data(TensorData::from(labels), device)
}

fn tolerance(backend: &Backend) -> Tolerance {
    if backend.is_double() { EXACT } else { Tolerance::new(5e-5, 5e-5) }
}

#[test]
fn zero_tiny_and_huge_embeddings_and_proxies_are_finite() {
    for length in [0.0, 1e-30, 1e-20, 1e-12, 1e20, 1e36] {
        let extreme = |mut rows: Vec<Vec<f64>>| {
            rows[0] = vec![length, 0.0, 0.0];
            rows[2] = vec![0.0, -length, length];
            rows
        };
        finite(&extreme(rows(5, 1)), &proxies(), &LABELS);
        finite(&rows(5, 1), &extreme(proxies()), &LABELS);
    }
}

#[test]
fn duplicate_and_opposite_rows_are_finite() {
    finite(&vec![vec![1.0, 1.0, 1.0]; 5], &vec![vec![1.0, 1.0, 1.0]; 8], &LABELS);
    finite(&vec![vec![-1.0, -1.0, -1.0]; 5], &vec![vec![1.0, 1.0, 1.0]; 8], &LABELS);
    finite(&vec![vec![0.0; 3]; 5], &vec![vec![0.0; 3]; 8], &LABELS);
    finite(&vec![vec![-3.0]; 5], &[1.0, -1.0, 0.5, -2.0, 1.0, 1.0, -1.0, -1.0].map(|number| vec![number]), &LABELS);
}

#[test]
fn a_single_class_has_loss_zero_but_for_the_pull_of_proxy_anchor() {
    for backend in backends() {
        for (loss, settings) in losses() {
            let weights = rows(if loss == "SoftTripleLoss" { 2 } else { 1 }, 20);
            let Outcome { losses, embeddings, weights } =
                run(&case(loss, &settings, &rows(3, 1), &weights, &[0, 0, 0]), &backend);
            assert_finite(loss, &[losses.clone(), embeddings.clone(), weights.clone()].concat());
            if loss != "ProxyAnchorLoss" {
                assert!(losses.iter().all(|&loss| loss == 0.0), "{loss} on {}: {losses:?}", backend.name);
                assert!(embeddings.iter().chain(&weights).all(|&slope| slope == 0.0), "{loss} on {}", backend.name);
            }
        }
    }
}

#[test]
fn an_empty_batch_has_loss_zero_and_gradient_zero() {
    for backend in backends() {
        let empty = || Tensor::<2>::zeros([0, DIM], (&backend.device, backend.dtype));
        let nobody = || Tensor::<1, Int>::zeros([0], &backend.device);
        macro_rules! check {
            ($config:ident, $field:ident) => {{
                let loss = $config::new(4, DIM).init(&backend.device);
                for reduction in [EmbeddingReduction::Mean, EmbeddingReduction::Sum, EmbeddingReduction::MeanNonZero] {
                    let loss = $config::new(4, DIM).with_reduction(reduction).init(&backend.device);
                    let value = loss.forward(empty(), nobody());
                    let gradients = value.backward();
                    assert_eq!(host(value), [0.0], "{}", backend.name);
                    let slopes = host(loss.$field.weight.val().grad(&gradients).expect("a gradient"));
                    assert!(slopes.iter().all(|&slope| slope == 0.0), "{}", backend.name);
                }
                host(loss.forward_no_reduction(empty(), nobody()))
            }};
        }
        assert!(check!(ProxyNcaLossConfig, proxies).is_empty());
        assert!(check!(NormalizedSoftmaxLossConfig, proxies).is_empty());
        assert!(check!(SoftTripleLossConfig, centers).is_empty());
        assert_eq!(check!(ProxyAnchorLossConfig, proxies), [0.0; 4]);
    }
}

/// The table's label tests are about losses per row; Proxy Anchor has one per class.
#[test]
fn a_row_without_a_class_is_not_there_for_proxy_anchor() {
    for backend in backends() {
        let settings = json!({"alpha": 8.0, "margin": 0.1});
        let kept = [0, 1, 3, 4];
        let without: Vec<Vec<f64>> = kept.iter().map(|&place| rows(5, 1)[place].clone()).collect();
        let labels: Vec<i64> = kept.iter().map(|&place| LABELS[place]).collect();
        let expected = run(&case("ProxyAnchorLoss", &settings, &without, &proxies(), &labels), &backend);

        for bad in [-1, 8, i64::from(i32::MAX), i64::from(i32::MIN)] {
            let mut labels = LABELS;
            labels[2] = bad;
            let lenient =
                json!({"alpha": 8.0, "margin": 0.1, "labels": {"ignore_label": -1, "on_bad_label": "Ignore"}});
            let clean = case("ProxyAnchorLoss", &lenient, &rows(5, 1), &proxies(), &labels);
            let mut broken = clean.clone();
            broken.inputs.get_mut("embeddings").unwrap().data[2 * DIM..3 * DIM].fill(f64::NAN);
            let outcome = run(&clean, &backend);
            assert_eq!(run(&broken, &backend), outcome, "label {bad} on {}", backend.name);
            assert!(outcome.embeddings[2 * DIM..3 * DIM].iter().all(|&slope| slope == 0.0));
            assert_close(&backend.name, &outcome.losses, &expected.losses, tolerance(&backend));
            assert_close(&backend.name, &outcome.weights, &expected.weights, tolerance(&backend));
        }
    }
}

#[test]
fn a_batch_without_a_single_class_has_loss_zero_for_proxy_anchor() {
    for backend in backends() {
        let settings = json!({"labels": {"ignore_label": 2, "on_bad_label": "Ignore"}});
        let labels = [-1, 2, 8, 2, i64::from(i32::MAX)];
        let outcome = run(&case("ProxyAnchorLoss", &settings, &rows(5, 1), &proxies(), &labels), &backend);
        assert_eq!(outcome, Outcome { losses: vec![0.0; 8], embeddings: vec![0.0; 15], weights: vec![0.0; 24] });
    }
}

#[test]
fn proxy_anchor_panics_with_the_place_of_a_bad_label() {
    for backend in backends().iter().filter(|backend| in_host_memory(&backend.device)) {
        let case = case("ProxyAnchorLoss", &json!({}), &rows(5, 1), &proxies(), &[0, -3, 0, 0, 0]);
        let panic = catch_unwind(AssertUnwindSafe(|| run(&case, backend))).expect_err("a panic");
        let message = panic.downcast_ref::<String>().expect("a message");
        assert!(message.starts_with("ProxyAnchorLoss: labels[1] is -3, but there are 8 classes"), "{message}");
    }
}

/// Equation 4 of the paper, in the loops of the oracle, whose mean over the classes it is.
#[test]
fn the_mean_of_proxy_anchor_is_the_loss_of_the_paper() {
    for backend in backends() {
        let case = case("ProxyAnchorLoss", &json!({"alpha": 8.0, "margin": 0.1}), &rows(5, 1), &proxies(), &LABELS);
        let forward = |reduction| {
            let config = ProxyAnchorLossConfig::new(8, DIM).with_alpha(8.0).with_reduction(reduction);
            let mut loss = config.init(&backend.device);
            loss.proxies.weight = Param::from_tensor(tensor(&proxies(), &backend));
            host(loss.forward(tensor(&rows(5, 1), &backend), integers(&LABELS, &backend.device)))
        };
        let oracle = support::naive::proxy::anchor(&case);
        let sum: f64 = oracle.iter().sum();
        assert_close(&backend.name, &forward(EmbeddingReduction::Mean), &[sum / 8.0], tolerance(&backend));
        assert_close(&backend.name, &forward(EmbeddingReduction::Sum), &[sum], tolerance(&backend));
    }
}

#[test]
fn normalized_softmax_is_normface_and_proxy_nca_is_both_with_half_the_scale() {
    for backend in backends() {
        let (device, labels) = (&backend.device, || integers(&LABELS, &backend.device));
        let weight = || Param::from_tensor(tensor(&proxies(), &backend));
        let embeddings = || tensor(&rows(5, 1), &backend);
        let mut normface = NormFaceConfig::new(8, DIM).with_scale(8.0).init(device);
        normface.centers.weight = weight();
        let expected = host(normface.forward_no_reduction(embeddings(), labels()));

        let mut softmax = NormalizedSoftmaxLossConfig::new(8, DIM).with_temperature(0.125).init(device);
        softmax.proxies.weight = weight();
        assert_eq!(host(softmax.forward_no_reduction(embeddings(), labels())), expected, "{}", backend.name);
        let mut nca = ProxyNcaLossConfig::new(8, DIM).with_scale(4.0).init(device);
        nca.proxies.weight = weight();
        assert_eq!(host(nca.forward_no_reduction(embeddings(), labels())), expected, "{}", backend.name);
        // One center to choose from, and no margin.
        let config = SoftTripleLossConfig::new(8, DIM).with_centers_per_class(1).with_scale(8.0).with_margin(0.0);
        let mut soft_triple = config.init(device);
        soft_triple.centers.weight = weight();
        let losses = host(soft_triple.forward_no_reduction(embeddings(), labels()));
        assert_close(&backend.name, &losses, &expected, tolerance(&backend));
    }
}

#[test]
fn the_denominator_of_the_paper_leaves_the_own_proxy_out() {
    for backend in backends() {
        let losses = |denominator: &str| {
            let settings = json!({"scale": 1.0, "denominator": denominator});
            run(&case("ProxyNcaLoss", &settings, &rows(5, 1), &proxies(), &LABELS), &backend).losses
        };
        let (all, others) = (losses("AllProxies"), losses("OtherProxies"));
        // log(1 + x) and log(x).
        let expected: Vec<f64> = others.iter().map(|other| other.exp().ln_1p()).collect();
        assert_close(&backend.name, &all, &expected, tolerance(&backend));
        assert!(all.iter().all(|&loss| loss > 0.0));
    }
}

#[test]
fn permuting_rows_and_classes_changes_no_loss() {
    for backend in backends().iter().filter(|backend| backend.is_double()) {
        for (loss, settings) in gentle() {
            let before = run(&case(loss, &settings, &rows(5, 1), &proxies(), &LABELS), backend);
            // Classes 0..4 backwards; proxies of two rows stay together.
            let per_class = if loss == "SoftTripleLoss" { 2 } else { 1 };
            let classes = 8 / per_class;
            let order: Vec<usize> = (0..classes).rev().collect();
            let of = |&class: &usize| proxies()[class * per_class..(class + 1) * per_class].to_vec();
            let weights: Vec<Vec<f64>> = order.iter().flat_map(of).collect();
            let labels = LABELS.map(|label| classes as i64 - 1 - label);
            let mut renamed = case(loss, &settings, &rows(5, 1), &weights, &labels);
            if loss == "ProxyAnchorLoss" {
                renamed.cotangent.reverse();
            }
            let after = run(&renamed, backend);
            let mut losses = after.losses;
            if loss == "ProxyAnchorLoss" {
                losses.reverse();
            }
            assert_close(loss, &losses, &before.losses, EXACT);
            assert_close(loss, &after.embeddings, &before.embeddings, EXACT);

            let backwards: Vec<Vec<f64>> = rows(5, 1).into_iter().rev().collect();
            let labels: Vec<i64> = LABELS.into_iter().rev().collect();
            let mut losses = run(&case(loss, &settings, &backwards, &proxies(), &labels), backend).losses;
            if loss != "ProxyAnchorLoss" {
                losses.reverse();
            }
            assert_close(loss, &losses, &before.losses, EXACT);
        }
    }
}

#[test]
fn lengths_do_not_matter_and_gradients_are_perpendicular() {
    for backend in backends().iter().filter(|backend| backend.is_double()) {
        for (loss, settings) in gentle() {
            let before = run(&case(loss, &settings, &rows(5, 1), &proxies(), &LABELS), backend);
            let longer = |rows: Vec<Vec<f64>>| -> Vec<Vec<f64>> {
                let by = |(place, row): (usize, Vec<f64>)| row.into_iter().map(|x| x * (0.1 + place as f64)).collect();
                rows.into_iter().enumerate().map(by).collect()
            };
            let after = run(&case(loss, &settings, &longer(rows(5, 1)), &longer(proxies()), &LABELS), backend);
            assert_close(loss, &after.losses, &before.losses, EXACT);
            for (slopes, rows) in [(&before.embeddings, rows(5, 1)), (&before.weights, proxies())] {
                for (slope, row) in slopes.chunks(DIM).zip(&rows) {
                    let along: f64 = slope.iter().zip(row).map(|(a, b)| a * b).sum();
                    let size: f64 = slope.iter().map(|a| a * a).sum::<f64>().sqrt();
                    assert!(along.abs() <= 1e-11 * size.max(1.0), "{loss}: {along}");
                }
            }
        }
    }
}

#[test]
fn the_center_regularizer_of_equal_and_of_zero_centers_is_zero_with_a_finite_gradient() {
    for backend in backends() {
        for center in [vec![0.3, -1.0, 2.0], vec![0.0; 3]] {
            let mut loss = SoftTripleLossConfig::new(2, DIM).with_centers_per_class(3).init(&backend.device);
            let weight = tensor(&vec![center; 6], &backend).require_grad();
            loss.centers.weight = Param::from_tensor(weight);
            let value = loss.center_regularizer();
            let gradients = value.backward();
            let slopes = host(loss.centers.weight.val().grad(&gradients).expect("a gradient"));
            assert_eq!(host(value), [0.0], "{}", backend.name);
            assert!(slopes.iter().all(|&slope| slope == 0.0), "{}: {slopes:?}", backend.name);
        }
    }
}

#[test]
fn half_precision_is_as_exact_as_its_inputs() {
    for backend in backends().iter().filter(|backend| backend.name == "flex" && !backend.is_double()) {
        for (dtype, rounding) in [(DType::F16, 2.0_f64.powi(-11)), (DType::BF16, 2.0_f64.powi(-8))] {
            let weights = [vec![1.0, 0.5, 0.0], vec![0.0, 2.0, -0.5], vec![0.5, 0.0, 0.25], vec![1.0, -1.0, 1.0]];
            let embeddings = [vec![0.5, 0.25, -1.0], vec![2.0, 1.0, 0.0]];
            macro_rules! check {
                ($config:expr, $field:ident) => {{
                    let run = |dtype: DType| {
                        let mut loss = $config.init(&backend.device);
                        loss.$field.weight = Param::from_tensor(tensor(&weights, &backend));
                        let data = TensorData::new(embeddings.concat(), [2, 3]);
                        let leaf = Tensor::<2>::from_data(data, (&backend.device, dtype)).require_grad();
                        let labels = integers(&[1, 0], &backend.device);
                        let value = loss.forward(leaf.clone(), labels.clone());
                        assert_eq!(value.dtype(), dtype);
                        assert_eq!(loss.forward_no_reduction(leaf.clone(), labels).dtype(), dtype);
                        let gradient = leaf.grad(&value.backward()).expect("a gradient");
                        (host(value.cast(DType::F32)), host(gradient.cast(DType::F32)))
                    };
                    let ((value, gradient), (expected, expected_gradient)) = (run(dtype), run(DType::F32));
                    assert_close("half", &value, &expected, Tolerance::new(rounding, 0.0));
                    let largest = expected_gradient.iter().fold(0.0_f64, |largest, slope| largest.max(slope.abs()));
                    assert_close("half", &gradient, &expected_gradient, Tolerance::new(rounding, rounding * largest));
                }};
            }
            check!(ProxyNcaLossConfig::new(4, 3), proxies);
            check!(ProxyAnchorLossConfig::new(4, 3), proxies);
            check!(NormalizedSoftmaxLossConfig::new(4, 3), proxies);
            check!(SoftTripleLossConfig::new(2, 3).with_centers_per_class(2).with_regularizer_weight(0.2), centers);
        }
    }
}

#[test]
fn configs_survive_json_with_every_field_changed() {
    let labels = LabelPolicy::new().with_ignore_label(Some(-100)).with_on_bad_label(OnBadLabel::Ignore);
    let initializer = Initializer::Uniform { min: -0.25, max: 0.75 };
    let streaming = Streaming::new().with_kept_bytes(0).with_block(Some(5));
    let centers = CentersConfig::new().with_labels(labels).with_initializer(initializer).with_streaming(streaming);
    macro_rules! round_trip {
        ($config:expr, $type:ty) => {{
            let json = serde_json::to_string(&$config).expect("JSON");
            let back: $type = serde_json::from_str(&json).expect("the config");
            assert_eq!(serde_json::to_string(&back).expect("JSON"), json);
        }};
    }
    let nca = ProxyNcaLossConfig::new(7, 3).with_scale(9.0).with_denominator(Denominator::OtherProxies);
    round_trip!(nca.with_centers(centers.clone()), ProxyNcaLossConfig);
    let anchor = ProxyAnchorLossConfig::new(7, 3).with_margin(0.2).with_alpha(16.0);
    round_trip!(anchor.with_centers(centers.clone()), ProxyAnchorLossConfig);
    let softmax = NormalizedSoftmaxLossConfig::new(7, 3).with_temperature(0.07);
    round_trip!(softmax.with_centers(centers.clone()), NormalizedSoftmaxLossConfig);
    let soft_triple = SoftTripleLossConfig::new(7, 3).with_centers_per_class(4).with_scale(10.0).with_gamma(0.2);
    let soft_triple = soft_triple.with_margin(0.0).with_regularizer_weight(0.2);
    round_trip!(soft_triple.with_centers(centers), SoftTripleLossConfig);
}
