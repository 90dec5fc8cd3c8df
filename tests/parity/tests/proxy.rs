use std::panic::{AssertUnwindSafe, catch_unwind};

use burn::module::Param;
use burn::tensor::{Device, Int, Tensor, TensorData};
use burn_losses::heads::NormFaceConfig;
use burn_losses::proxy::{
    NormalizedSoftmaxLossConfig, ProxyAnchorLossConfig, ProxyNcaLossConfig, SoftTripleLossConfig,
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
