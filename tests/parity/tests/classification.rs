//! Laws and hostile inputs of the losses of logits and targets.

use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use burn_losses::classification::*;
use burn_losses::labels::LabelPolicy;
use burn_losses::reduction::EmbeddingReduction;
use parity::{Backend, backends};
use support::close::{Tolerance, assert_close, assert_finite};
use support::golden::{Case, cases};
use support::table::{Call, Labels, host, table};

const LOGITS: [[f64; 3]; 4] = [[0.5, -1.0, 2.0], [3.0, 0.25, -0.5], [-2.0, 1.5, 0.0], [0.0, 0.0, 1.0]];
const LABELS: [i64; 4] = [2, 1, 1, 0];

fn matrix(rows: &[[f64; 3]], backend: &Backend) -> Tensor<2> {
    Tensor::from_data(TensorData::new(rows.concat(), [rows.len(), 3]), (&backend.device, backend.dtype))
}

fn labels(labels: &[i64], backend: &Backend) -> Tensor<1, Int> {
    Tensor::from_data(TensorData::from(labels), &backend.device)
}

fn one_hot() -> Vec<[f64; 3]> {
    LABELS.iter().map(|&label| [0, 1, 2].map(|class| if class == label { 1.0 } else { 0.0 })).collect()
}

fn tolerance(backend: &Backend) -> Tolerance {
    if backend.is_double() { Tolerance::new(1e-13, 1e-14) } else { Tolerance::new(3e-6, 1e-6) }
}

/// Every row of the family with its first case.
fn rows() -> impl Iterator<Item = (&'static support::table::Row, Case)> {
    table().filter(|row| row.family == "classification").map(|row| {
        let case = cases(row.family).into_iter().find(|case| case.loss == row.loss).expect("a case");
        (row, case)
    })
}

/// Runs every loss of logits with the logits filled in turn; values and gradients must be finite.
fn finite(what: &str, fill: impl Fn(usize) -> f64) {
    for backend in backends() {
        for (row, case) in rows().filter(|(_, case)| case.inputs.contains_key("logits")) {
            let mut case = case;
            let logits = case.inputs.get_mut("logits").expect("logits");
            logits.data.iter_mut().enumerate().for_each(|(place, logit)| *logit = fill(place));
            let run = (row.run)(&Call::new(&case, &backend.device, backend.dtype));
            let what = format!("{what}: {} on {}", row.loss, backend.name);
            assert_finite(&what, &run.loss_values());
            for (name, gradient) in run.gradients(&case.cotangent) {
                assert_finite(&format!("{what}: gradient of {name}"), &gradient);
            }
        }
    }
}

#[test]
fn logits_that_are_all_equal_are_harmless() {
    for value in [0.0, 1.0, -1e4, 1e30, 1e-30] {
        finite("equal", |_| value);
    }
}

#[test]
fn logits_of_ten_thousand_of_either_sign_are_harmless() {
    finite("sure and right or wrong", |place| if place % 3 == 0 { 1e4 } else { -1e4 });
    finite("one sure class", |place| if place % 5 == 1 { 1e4 } else { 0.0 });
}

#[test]
fn logits_whose_exponential_overflows_or_vanishes_are_harmless() {
    // exp(89) overflows f32, exp(-104) is 0 in it; sigmoid(17) rounds to 1.
    for size in [17.0, 40.0, 89.0, 104.0, 710.0] {
        finite("large", |place| if place % 2 == 0 { size } else { -size });
    }
}

#[test]
fn huge_logits_are_harmless_to_all_but_squares() {
    for backend in backends() {
        for (row, case) in
            rows().filter(|(row, case)| case.inputs.contains_key("logits") && row.loss != "MulticlassHingeLoss")
        {
            let mut case = case;
            let logits = case.inputs.get_mut("logits").expect("logits");
            logits.data.iter_mut().enumerate().for_each(|(place, logit)| *logit = [1e30, -1e30, 3e30][place % 3]);
            let run = (row.run)(&Call::new(&case, &backend.device, backend.dtype));
            assert_finite(row.loss, &run.loss_values());
            for gradient in run.gradients(&case.cotangent).into_values() {
                assert_finite(row.loss, &gradient);
            }
        }
    }
}

#[test]
fn other_classes_that_are_masked_with_minus_infinity_are_harmless_to_labels() {
    for backend in backends() {
        for (row, case) in rows().filter(|(row, _)| row.labels == Labels::Classes) {
            let mut case = case;
            let classes = case.inputs["logits"].shape[1];
            for (sample, &label) in case.labels.clone().iter().enumerate() {
                let masked = sample * classes + (label as usize + 1) % classes;
                case.inputs.get_mut("logits").expect("logits").data[masked] = f64::NEG_INFINITY;
            }
            let run = (row.run)(&Call::new(&case, &backend.device, backend.dtype));
            assert_finite(row.loss, &run.loss_values());
            for gradient in run.gradients(&case.cotangent).into_values() {
                assert_finite(row.loss, &gradient);
            }
        }
    }
}

#[test]
fn one_class_has_no_loss_and_no_gradient() {
    for backend in backends() {
        for (row, case) in rows().filter(|(row, _)| row.labels == Labels::Classes) {
            let mut case = case;
            let logits = case.inputs.get_mut("logits").expect("logits");
            logits.data.truncate(case.labels.len());
            logits.shape = vec![case.labels.len(), 1];
            case.labels.fill(0);
            let run = (row.run)(&Call::new(&case, &backend.device, backend.dtype));
            assert!(run.loss_values().iter().all(|&loss| loss == 0.0), "{} on {}", row.loss, backend.name);
            let gradient = &run.gradients(&case.cotangent)["logits"];
            assert!(gradient.iter().all(|&slope| slope == 0.0), "{} on {}", row.loss, backend.name);
        }
    }
}

#[test]
fn an_empty_batch_has_loss_zero_and_a_graph() {
    for backend in backends() {
        let empty = || Tensor::<2>::zeros([0, 3], (&backend.device, backend.dtype)).require_grad();
        let none = || Tensor::<1, Int>::zeros([0], &backend.device);
        for reduction in [EmbeddingReduction::Mean, EmbeddingReduction::Sum, EmbeddingReduction::MeanNonZero] {
            let losses = [
                CrossEntropyLossConfig::new().init().forward(empty(), none(), reduction),
                CrossEntropyLossConfig::new().init().forward_soft(empty(), empty(), reduction),
                FocalLossConfig::new().init().forward(empty(), none(), reduction),
                FocalLossConfig::new().init().forward_soft(empty(), empty(), reduction),
                PolyLossConfig::new().init().forward(empty(), none(), reduction),
                GeneralizedCrossEntropyLossConfig::new().init().forward(empty(), none(), reduction),
                MulticlassHingeLossConfig::new().init().forward(empty(), none(), reduction),
                BinaryCrossEntropyLossConfig::new().init().forward(empty(), empty(), reduction),
                BinaryFocalLossConfig::new().init().forward(empty(), empty(), reduction),
                AsymmetricLossConfig::new().init().forward(empty(), empty(), reduction),
                JensenShannonLossConfig::new().init().forward(vec![empty(), empty()], reduction),
            ];
            for loss in losses {
                assert_eq!(host(loss.clone()), [0.0], "{}", backend.name);
                let _ = loss.backward();
            }
        }
    }
}

#[test]
fn without_a_single_class_every_reduction_is_zero() {
    for backend in backends() {
        for reduction in [EmbeddingReduction::Mean, EmbeddingReduction::Sum, EmbeddingReduction::MeanNonZero] {
            let logits = matrix(&LOGITS, &backend).require_grad();
            let weighted = CrossEntropyLossConfig::new().with_class_weights(Some(vec![1.0, 2.0, 3.0])).init();
            let loss = weighted.forward(logits.clone(), labels(&[-1; 4], &backend), reduction);
            assert_eq!(host(loss.clone()), [0.0], "{}", backend.name);
            let gradient = host(logits.grad(&loss.backward()).expect("a gradient"));
            assert!(gradient.iter().all(|&slope| slope == 0.0), "{}", backend.name);
        }
    }
}

#[test]
fn focal_losses_without_focus_are_cross_entropies() {
    for backend in backends() {
        let (x, y) = (matrix(&LOGITS, &backend), labels(&LABELS, &backend));
        let focal = FocalLossConfig::new().with_gamma(0.0).init().forward_no_reduction(x.clone(), y.clone());
        let plain = CrossEntropyLossConfig::new().init().forward_no_reduction(x.clone(), y);
        assert_close("softmax", &host(focal), &host(plain), tolerance(&backend));

        let targets = matrix(&[[0.0, 1.0, 0.25], [0.5, 0.75, 1.0], [0.0; 3], [1.0; 3]], &backend);
        let focal = BinaryFocalLossConfig::new().with_gamma(0.0).init();
        let plain = BinaryCrossEntropyLossConfig::new().init().forward_no_reduction(x.clone(), targets.clone());
        assert_close(
            "binary",
            &host(focal.forward_no_reduction(x.clone(), targets.clone())),
            &host(plain.clone()),
            tolerance(&backend),
        );

        let asymmetric =
            AsymmetricLossConfig::new().with_gamma_negative(0.0).with_gamma_positive(0.0).with_clip(0.0).init();
        assert_close(
            "asymmetric",
            &host(asymmetric.forward_no_reduction(x, targets)),
            &host(plain),
            tolerance(&backend),
        );
    }
}

#[test]
fn poly_of_zero_and_generalized_of_almost_zero_are_cross_entropies() {
    for backend in backends().iter().filter(|backend| backend.is_double()) {
        let (x, y) = (matrix(&LOGITS, backend), labels(&LABELS, backend));
        let plain = host(CrossEntropyLossConfig::new().init().forward_no_reduction(x.clone(), y.clone()));
        let poly = PolyLossConfig::new().with_epsilon(0.0).init().forward_no_reduction(x.clone(), y.clone());
        assert_close("poly", &host(poly), &plain, tolerance(backend));

        // (1 - p^q) / q = s - q·s²/2 + ... for s = -log(p).
        let q = 0.01;
        let general = GeneralizedCrossEntropyLossConfig::new().with_q(q).init().forward_no_reduction(x, y);
        let expected: Vec<f64> = plain.iter().map(|s| s - q * s * s / 2.0 + q * q * s.powi(3) / 6.0).collect();
        assert_close("generalized", &host(general), &expected, Tolerance::new(1e-4, 1e-4));
    }
}

#[test]
fn labels_are_probabilities_of_one() {
    for backend in backends() {
        let (x, y, soft) = (matrix(&LOGITS, &backend), labels(&LABELS, &backend), matrix(&one_hot(), &backend));
        for smoothing in [0.0, 0.2, 1.0] {
            let loss = CrossEntropyLossConfig::new().with_label_smoothing(smoothing).init();
            let hard = host(loss.forward(x.clone(), y.clone(), EmbeddingReduction::Mean));
            assert_close(
                "mean",
                &host(loss.forward_soft(x.clone(), soft.clone(), EmbeddingReduction::Mean)),
                &hard,
                tolerance(&backend),
            );
        }
        let loss = FocalLossConfig::new().with_alpha(Some(vec![0.5, 1.0, 2.0])).init();
        let hard = host(loss.forward_no_reduction(x.clone(), y));
        assert_close("focal", &host(loss.forward_soft_no_reduction(x, soft)), &hard, tolerance(&backend));
    }
}

#[test]
fn the_weighted_mean_is_that_of_pytorch() {
    // torch 2.15.0: sum(w[y]·nll) / sum(w[y]), written out here with the plain loop.
    let case =
        cases("classification").into_iter().find(|case| case.name.ends_with("cross-entropy-weights")).expect("a case");
    let weights: Vec<f64> = serde_json::from_value(case.settings["class_weights"].clone()).expect("numbers");
    let total: f64 = case.labels.iter().map(|&label| weights[label as usize]).sum();
    let expected = case.expected.losses.data.iter().sum::<f64>() / total;
    for backend in backends() {
        let call = Call::new(&case, &backend.device, backend.dtype);
        let loss = call.config(CrossEntropyLossConfig::new()).init();
        let mean = loss.forward(call.leaf("logits"), call.labels(), EmbeddingReduction::Mean);
        assert_close("mean", &host(mean), &[expected], tolerance(&backend));
    }
}

#[test]
fn a_number_added_to_all_logits_of_a_row_changes_nothing() {
    for backend in backends() {
        for (row, case) in rows().filter(|(row, _)| row.labels == Labels::Classes || row.loss.ends_with("soft")) {
            let mut moved = case.clone();
            moved.inputs.get_mut("logits").expect("logits").data.iter_mut().for_each(|logit| *logit += 8.0);
            let run = |case: &Case| (row.run)(&Call::new(case, &backend.device, backend.dtype)).loss_values();
            let tolerance = if backend.is_double() { Tolerance::new(1e-12, 1e-13) } else { Tolerance::new(3e-5, 1e-5) };
            assert_close(row.loss, &run(&moved), &run(&case), tolerance);
        }
    }
}

#[test]
fn views_may_be_swapped() {
    for backend in backends() {
        let (first, second) = (matrix(&LOGITS, &backend), matrix(&one_hot(), &backend));
        let loss = JensenShannonLossConfig::new().init();
        let forth = host(loss.forward_no_reduction(vec![first.clone(), second.clone()]));
        let back = host(loss.forward_no_reduction(vec![second, first]));
        assert_close("swapped", &back, &forth, tolerance(&backend));
    }
}

#[test]
fn views_that_contradict_each_other_surely_are_harmless() {
    for backend in backends() {
        for size in [0.0, 1e2, 1e4, 1e30] {
            let view = |sign: f64| matrix(&[[sign * size, -sign * size, 0.0]], &backend).require_grad();
            let (first, second) = (view(1.0), view(-1.0));
            let loss = JensenShannonLossConfig::new()
                .init()
                .forward(vec![first.clone(), second.clone()], EmbeddingReduction::Mean);
            assert_finite("loss", &host(loss.clone()));
            let gradients = loss.backward();
            for view in [first, second] {
                assert_finite("gradient", &host(view.grad(&gradients).expect("a gradient")));
            }
        }
    }
}

#[test]
fn a_view_into_a_larger_tensor_is_as_good_as_a_copy() {
    for backend in backends() {
        let x = matrix(&LOGITS, &backend);
        let turned = x.clone().transpose();
        let copy = Tensor::<2>::from_data(turned.clone().into_data(), (&backend.device, backend.dtype));
        let y = labels(&[3, 0, 1], &backend);
        let loss = FocalLossConfig::new().init();
        let expected = host(loss.forward_no_reduction(copy, y.clone()));
        assert_close("view", &host(loss.forward_no_reduction(turned, y)), &expected, tolerance(&backend));
    }
}

#[test]
fn half_precision_is_computed_in_single_and_returned_in_half() {
    let device = Device::flex();
    for (dtype, relative) in [(DType::F16, 2e-3), (DType::BF16, 2e-2)] {
        let x = || Tensor::<2>::from_data(TensorData::new(LOGITS.concat(), [4, 3]), (&device, DType::F32));
        let y = || Tensor::<1, Int>::from_data(LABELS, &device);
        let loss = CrossEntropyLossConfig::new().with_class_weights(Some(vec![0.3, 1.7, 1.0])).init();
        let half = loss.forward(x().cast(dtype), y(), EmbeddingReduction::Mean);
        assert_eq!(half.dtype(), dtype);
        let full = host(loss.forward(x(), y(), EmbeddingReduction::Mean));
        assert_close("half", &host(half), &full, Tolerance::new(relative, relative));
    }
}

#[test]
fn every_config_survives_json() {
    let labels = LabelPolicy::new().with_ignore_label(Some(-100));
    let text = serde_json::to_string(
        &CrossEntropyLossConfig::new().with_class_weights(Some(vec![0.1, 2.0])).with_labels(labels),
    );
    let text = text.expect("JSON");
    let back: CrossEntropyLossConfig = serde_json::from_str(&text).expect("the config");
    assert_eq!(serde_json::to_string(&back).expect("JSON"), text);
    let text = serde_json::to_string(&MulticlassHingeLossConfig::new().with_power(HingePower::Squared)).expect("JSON");
    let back: MulticlassHingeLossConfig = serde_json::from_str(&text).expect("the config");
    assert_eq!(back.power, HingePower::Squared);
}
