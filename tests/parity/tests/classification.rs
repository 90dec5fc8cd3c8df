//! Laws and hostile inputs of the losses of logits and targets.

use std::panic::{AssertUnwindSafe, catch_unwind};

use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use burn_losses::classification::*;
use burn_losses_kernels::math::in_host_memory;
use parity::{Backend, backends};
use support::close::{Tolerance, assert_close, assert_finite};
use support::golden::cases;
use support::table::{Call, host};

const LOGITS: [[f64; 3]; 4] = [[0.5, -1.0, 2.0], [3.0, 0.25, -0.5], [-2.0, 1.5, 0.0], [0.0, 0.0, 1.0]];
const LABELS: [i64; 4] = [2, 1, 1, 0];

const REDUCTIONS: [Reduction; 4] = [Reduction::Mean, Reduction::Sum, Reduction::BatchMean, Reduction::Auto];

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

#[test]
fn an_empty_batch_has_loss_zero_and_a_graph() {
    for backend in backends() {
        let empty = || Tensor::<2>::zeros([0, 3], (&backend.device, backend.dtype)).require_grad();
        let none = || Tensor::<1, Int>::zeros([0], &backend.device);
        for reduction in REDUCTIONS {
            let losses = [
                CrossEntropyLossConfig::new().init(&backend.device).forward(empty(), none(), reduction.clone()),
                CrossEntropyLossConfig::new().init(&backend.device).forward_soft(empty(), empty(), reduction.clone()),
                FocalLossConfig::new().init(&backend.device).forward(empty(), none(), reduction.clone()),
                FocalLossConfig::new().init(&backend.device).forward_soft(empty(), empty(), reduction.clone()),
                PolyLossConfig::new().init(&backend.device).forward(empty(), none(), reduction.clone()),
                GeneralizedCrossEntropyLossConfig::new().init(&backend.device).forward(
                    empty(),
                    none(),
                    reduction.clone(),
                ),
                MulticlassHingeLossConfig::new().init(&backend.device).forward(empty(), none(), reduction.clone()),
                BinaryCrossEntropyLossConfig::new().init(&backend.device).forward(empty(), empty(), reduction.clone()),
                BinaryFocalLossConfig::new().init(&backend.device).forward(empty(), empty(), reduction.clone()),
                AsymmetricLossConfig::new().init(&backend.device).forward(empty(), empty(), reduction.clone()),
                JensenShannonLossConfig::new().init(&backend.device).forward(vec![empty(), empty()], reduction.clone()),
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
        for reduction in REDUCTIONS {
            let logits = matrix(&LOGITS, &backend).require_grad();
            let weighted = CrossEntropyLossConfig::new()
                .with_class_weights(Some(vec![1.0, 2.0, 3.0].into()))
                .init(&backend.device);
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
        let focal =
            FocalLossConfig::new().with_gamma(0.0).init(&backend.device).forward_no_reduction(x.clone(), y.clone());
        let plain = CrossEntropyLossConfig::new().init(&backend.device).forward_no_reduction(x.clone(), y);
        assert_close("softmax", &host(focal), &host(plain), tolerance(&backend));

        let targets = matrix(&[[0.0, 1.0, 0.25], [0.5, 0.75, 1.0], [0.0; 3], [1.0; 3]], &backend);
        let focal = BinaryFocalLossConfig::new().with_gamma(0.0).init(&backend.device);
        let plain =
            BinaryCrossEntropyLossConfig::new().init(&backend.device).forward_no_reduction(x.clone(), targets.clone());
        assert_close(
            "binary",
            &host(focal.forward_no_reduction(x.clone(), targets.clone())),
            &host(plain.clone()),
            tolerance(&backend),
        );

        let asymmetric = AsymmetricLossConfig::new()
            .with_gamma_negative(0.0)
            .with_gamma_positive(0.0)
            .with_clip(0.0)
            .init(&backend.device);
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
        let plain =
            host(CrossEntropyLossConfig::new().init(&backend.device).forward_no_reduction(x.clone(), y.clone()));
        let poly =
            PolyLossConfig::new().with_epsilon(0.0).init(&backend.device).forward_no_reduction(x.clone(), y.clone());
        assert_close("poly", &host(poly), &plain, tolerance(backend));

        // (1 - p^q) / q = s - q·s²/2 + ... for s = -log(p).
        let q = 0.01;
        let general =
            GeneralizedCrossEntropyLossConfig::new().with_q(q).init(&backend.device).forward_no_reduction(x, y);
        let expected: Vec<f64> = plain.iter().map(|s| s - q * s * s / 2.0 + q * q * s.powi(3) / 6.0).collect();
        assert_close("generalized", &host(general), &expected, Tolerance::new(1e-4, 1e-4));
    }
}

#[test]
fn labels_are_probabilities_of_one() {
    for backend in backends() {
        let (x, y, soft) = (matrix(&LOGITS, &backend), labels(&LABELS, &backend), matrix(&one_hot(), &backend));
        for smoothing in [0.0, 0.2, 1.0] {
            let loss = CrossEntropyLossConfig::new().with_label_smoothing(smoothing).init(&backend.device);
            let hard = host(loss.forward(x.clone(), y.clone(), Reduction::Mean));
            assert_close(
                "mean",
                &host(loss.forward_soft(x.clone(), soft.clone(), Reduction::Mean)),
                &hard,
                tolerance(&backend),
            );
        }
        let loss = FocalLossConfig::new().with_alpha(Some(vec![0.5, 1.0, 2.0].into())).init(&backend.device);
        let hard = host(loss.forward_no_reduction(x.clone(), y));
        assert_close("focal", &host::<1>(loss.forward_soft_no_reduction(x, soft)), &hard, tolerance(&backend));
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
        let loss = call.config(CrossEntropyLossConfig::new()).init(&backend.device);
        let mean = loss.forward(call.leaf("logits"), call.labels(), Reduction::Mean);
        assert_close("mean", &host(mean), &[expected], tolerance(&backend));
    }
}

#[test]
fn views_may_be_swapped() {
    for backend in backends() {
        let (first, second) = (matrix(&LOGITS, &backend), matrix(&one_hot(), &backend));
        let loss = JensenShannonLossConfig::new().init(&backend.device);
        let forth = host::<1>(loss.forward_no_reduction(vec![first.clone(), second.clone()]));
        let back = host::<1>(loss.forward_no_reduction(vec![second, first]));
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
                .init(&backend.device)
                .forward(vec![first.clone(), second.clone()], Reduction::Mean);
            assert_finite("loss", &host(loss.clone()));
            let gradients = loss.backward();
            for view in [first, second] {
                assert_finite("gradient", &host(view.grad(&gradients).expect("a gradient")));
            }
        }
    }
}

#[test]
fn half_precision_is_computed_in_single_and_returned_in_half() {
    let device = Device::flex();
    for (dtype, relative) in [(DType::F16, 2e-3), (DType::BF16, 2e-2)] {
        let x = || Tensor::<2>::from_data(TensorData::new(LOGITS.concat(), [4, 3]), (&device, DType::F32));
        let y = || Tensor::<1, Int>::from_data(LABELS, &device);
        let loss = CrossEntropyLossConfig::new().with_class_weights(Some(vec![0.3, 1.7, 1.0].into())).init(&device);
        let half = loss.forward(x().cast(dtype), y(), Reduction::Mean);
        assert_eq!(half.dtype(), dtype);
        let full = host(loss.forward(x(), y(), Reduction::Mean));
        assert_close("half", &host(half), &full, Tolerance::new(relative, relative));
    }
}

/// Numbers without a pattern, in `(-2, 2)`.
fn numbers(count: usize, seed: usize) -> Vec<f64> {
    (0..count).map(|place| ((place * 7919 + seed * 104_729 + 1) as f64 * 0.618_033_988_7).fract() * 4.0 - 2.0).collect()
}

/// Pixels of two pictures with the classes in the middle, as PyTorch has them, and at the end, against one row per pixel.
#[test]
fn any_rank_is_the_flattened_call() {
    const SHAPE: [usize; 4] = [2, 5, 3, 4];
    let [batch, classes, height, width] = SHAPE;
    let rows = batch * height * width;
    for backend in backends() {
        let options = (&backend.device, backend.dtype);
        let logits = Tensor::<4>::from_data(TensorData::new(numbers(rows * classes, 1), SHAPE), options);
        let last = logits.clone().permute([0, 2, 3, 1]);
        let flat = last.clone().reshape([rows, classes]);
        let of_row: Vec<i64> = (0..rows as i64).map(|row| if row % 7 == 3 { -1 } else { row * row % 5 }).collect();
        let flat_labels = labels(&of_row, &backend);
        let pixel_labels = flat_labels.clone().reshape([batch, height, width]);
        let probabilities = last.clone().mul_scalar(0.1).add_scalar(0.3);
        let weights: Vec<f64> = (0..classes).map(|class| 0.5 + class as f64).collect();

        macro_rules! check {
            ($config:expr) => {{
                let config = $config;
                let middle = config.clone().init(&backend.device);
                let end = config.with_class_dim(-1).init(&backend.device);
                let expected = host(middle.forward_no_reduction(flat.clone(), flat_labels.clone()));
                let of_middle: Tensor<3> = middle.forward_no_reduction(logits.clone(), pixel_labels.clone());
                assert_eq!(of_middle.dims(), [batch, height, width]);
                let of_end = end.forward_no_reduction(last.clone(), pixel_labels.clone());
                assert_close("classes in the middle", &host(of_middle), &expected, tolerance(&backend));
                assert_close("classes at the end", &host(of_end), &expected, tolerance(&backend));
                for (reduction, factor) in [(Reduction::Mean, 1.0), (Reduction::Sum, 1.0), (Reduction::BatchMean, 12.0)]
                {
                    let expected =
                        host(middle.forward(flat.clone(), flat_labels.clone(), reduction.clone()))[0] * factor;
                    let found = host(middle.forward(logits.clone(), pixel_labels.clone(), reduction));
                    assert_close("reduced", &found, &[expected], tolerance(&backend));
                }
            }};
        }
        let cross_entropy = CrossEntropyLossConfig::new().with_class_weights(Some(weights.clone().into()));
        check!(cross_entropy.clone().with_label_smoothing(0.1));
        check!(FocalLossConfig::new().with_alpha(Some(weights.clone().into())));
        check!(PolyLossConfig::new());
        check!(GeneralizedCrossEntropyLossConfig::new());
        check!(MulticlassHingeLossConfig::new());

        macro_rules! check_soft {
            ($config:expr) => {{
                let config = $config;
                let middle = config.clone().init(&backend.device);
                let end = config.with_class_dim(-1).init(&backend.device);
                let flat_targets = probabilities.clone().reshape([rows, classes]);
                let targets = probabilities.clone().permute([0, 3, 1, 2]);
                let expected: Tensor<1> = middle.forward_soft_no_reduction(flat.clone(), flat_targets);
                let of_middle: Tensor<3> = middle.forward_soft_no_reduction(logits.clone(), targets);
                let of_end: Tensor<3> = end.forward_soft_no_reduction(last.clone(), probabilities.clone());
                assert_close("in the middle", &host(of_middle), &host(expected.clone()), tolerance(&backend));
                assert_close("at the end", &host(of_end), &host(expected), tolerance(&backend));
            }};
        }
        check_soft!(cross_entropy);
        check_soft!(FocalLossConfig::new().with_alpha(Some(weights.clone().into())));

        macro_rules! check_binary {
            ($config:expr, $at_the_end:expr) => {{
                let middle = $config.init(&backend.device);
                let end = $at_the_end.init(&backend.device);
                let flat_targets = probabilities.clone().reshape([rows, classes]);
                let expected = host(middle.forward_no_reduction(flat.clone(), flat_targets));
                let targets = probabilities.clone().permute([0, 3, 1, 2]);
                let of_middle = middle.forward_no_reduction(logits.clone(), targets).permute([0, 2, 3, 1]);
                let of_end = end.forward_no_reduction(last.clone(), probabilities.clone());
                assert_close("binary in the middle", &host(of_middle), &expected, tolerance(&backend));
                assert_close("binary at the end", &host(of_end), &expected, tolerance(&backend));
            }};
        }
        let cross_entropy = BinaryCrossEntropyLossConfig::new().with_positive_weights(Some(weights.into()));
        check_binary!(cross_entropy.clone(), cross_entropy.with_class_dim(-1));
        let focal = BinaryFocalLossConfig::new().with_alpha(Some(vec![0.1, 0.2, 0.3, 0.4, 0.5].into()));
        check_binary!(focal.clone(), focal.with_class_dim(-1));
        check_binary!(AsymmetricLossConfig::new(), AsymmetricLossConfig::new());

        let divergence = JensenShannonLossConfig::new().init(&backend.device);
        let half = logits.clone().mul_scalar(0.5);
        let found: Tensor<3> = divergence.forward_no_reduction(vec![logits.clone(), half]);
        let expected: Tensor<1> = divergence.forward_no_reduction(vec![flat.clone(), flat.mul_scalar(0.5)]);
        assert_close("views", &host(found), &host(expected.clone()), tolerance(&backend));
        let divergence = JensenShannonLossConfig::new().with_class_dim(-1).init(&backend.device);
        let found: Tensor<3> = divergence.forward_no_reduction(vec![last.clone(), last.mul_scalar(0.5)]);
        assert_close("views with the classes at the end", &host(found), &host(expected), tolerance(&backend));
    }
}

/// A target of -1 made a binary cross-entropy negative: here it is an error, or ignored where a setting says so.
#[test]
fn a_target_that_is_no_probability_is_an_error_or_ignored() {
    for backend in backends() {
        let x = matrix(&LOGITS[..2], &backend).require_grad();
        let targets = matrix(&[[1.0, -1.0, 0.25], [-1.0, 0.0, 0.5]], &backend);
        macro_rules! check {
            ($config:expr, $name:literal) => {{
                let plain = $config.init(&backend.device);
                if in_host_memory(&backend.device) {
                    let run = || _ = plain.forward_no_reduction(x.clone(), targets.clone());
                    let panic = catch_unwind(AssertUnwindSafe(run)).expect_err("a panic");
                    let message = panic.downcast_ref::<String>().expect("a message");
                    assert_eq!(message, concat!($name, ": targets[0, 1] is -1, but must be in [0, 1]"));
                }
                // By hand: what is ignored is 0, and the mean is that of the other four.
                let loss = $config.with_ignore_target(Some(-1.0)).init(&backend.device);
                let losses = host(loss.forward_no_reduction(x.clone(), targets.clone()));
                let kept = matrix(&[[1.0, 0.0, 0.25], [0.0, 0.0, 0.5]], &backend);
                let mut expected = host(plain.forward_no_reduction(x.clone(), kept));
                (expected[1], expected[3]) = (0.0, 0.0);
                assert_eq!(losses, expected, "{}", backend.name);
                let mean = loss.forward(x.clone(), targets.clone(), Reduction::Mean);
                let four = expected.iter().sum::<f64>() / 4.0;
                assert_close($name, &host(mean.clone()), &[four], tolerance(&backend));
                let gradient = host(x.grad(&mean.backward()).expect("a gradient"));
                assert_eq!((gradient[1], gradient[3]), (0.0, 0.0), "{}", backend.name);
            }};
        }
        check!(BinaryCrossEntropyLossConfig::new(), "BinaryCrossEntropyLoss");
        check!(BinaryFocalLossConfig::new(), "BinaryFocalLoss");
        check!(AsymmetricLossConfig::new(), "AsymmetricLoss");
    }
}

#[test]
#[should_panic(expected = "CrossEntropyLoss: probabilities[0, 2] is 1.5, but must be in [0, 1]")]
fn a_soft_target_that_is_no_probability_is_an_error() {
    let tensor = |row: [f64; 3]| Tensor::<2>::from_data([row], &Device::flex());
    let loss = CrossEntropyLossConfig::new().init(&Device::flex());
    loss.forward_soft(tensor([0.0; 3]), tensor([0.0, 0.25, 1.5]), Reduction::Mean);
}

/// Nothing hides it: the loss is no number either.
#[test]
fn a_target_that_is_no_number_spreads_to_its_loss_alone() {
    for backend in backends() {
        let (x, targets) = (matrix(&LOGITS[..1], &backend), matrix(&[[1.0, f64::NAN, 0.0]], &backend));
        let losses = host(BinaryCrossEntropyLossConfig::new().init(&backend.device).forward_no_reduction(x, targets));
        assert!(losses[1].is_nan() && losses[0].is_finite() && losses[2].is_finite(), "{losses:?}");
    }
}

/// Mixtures of targets are off by their rounding: `bf16` has no number between 1 and 1.0078.
#[test]
fn rounding_is_no_error() {
    let tensor = |row: [f64; 3]| Tensor::<2>::from_data([row], &Device::flex());
    let loss = BinaryCrossEntropyLossConfig::new().init(&Device::flex());
    loss.forward_no_reduction(tensor([0.0; 3]), tensor([1.0078, 1.000_000_1, -1e-7]));
}

#[test]
#[should_panic(expected = "CrossEntropyLoss: labels must have the shape [2, 3], got [2, 4]")]
fn a_shape_that_does_not_fit_names_loss_and_argument() {
    let loss = CrossEntropyLossConfig::new().init(&Device::flex());
    let labels = Tensor::<2, Int>::zeros([2, 4], &Device::flex());
    loss.forward(Tensor::<3>::zeros([2, 5, 3], &Device::flex()), labels, Reduction::Mean);
}

#[test]
fn a_loss_is_printed_in_one_line_without_its_weights() {
    let loss = CrossEntropyLossConfig::new().with_class_weights(Some(vec![1.5; 1000].into())).init(&Device::flex());

    assert_eq!(
        loss.to_string(),
        "CrossEntropyLoss {class_weights: Some(1000 numbers), label_smoothing: 0.0, labels: LabelPolicy { ignore_label: \
         Some(-1), on_bad_label: Panic }, class_dim: 1}"
    );
}
