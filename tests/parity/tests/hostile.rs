use burn::module::Param;
use burn::tensor::{DType, Int, Tensor, TensorData};
use burn_losses::center::{CenterLossConfig, CenterMode};
use burn_losses::distance::Distance;
use burn_losses::heads::ArcFaceConfig;
use parity::{Backend, backends};
use serde_json::{Value, json};
use support::close::{Tolerance, assert_close, assert_finite};
use support::table::{Call, head_case, host, row};

/// Every head with the settings under which its margin bends most.
fn heads() -> Vec<(&'static str, Value)> {
    vec![
        ("NormFace", json!({"scale": 64.0})),
        ("CosFace", json!({"scale": 64.0})),
        ("ArcFace", json!({"scale": 64.0, "margin": 0.5})),
        ("ArcFace", json!({"scale": 64.0, "margin": std::f64::consts::PI, "large_angle": "Fold"})),
        ("ArcFace", json!({"scale": 64.0, "margin": 0.5, "large_angle": "EasyMargin"})),
        ("ArcFace", json!({"scale": 1e4, "margin": 0.5, "gradient": "Detached"})),
        ("CombinedMargin", json!({"scale": 64.0})),
        ("CombinedMargin", json!({"scale": 64.0, "angle_factor": 4.0, "angle_margin": 0.5})),
    ]
}

/// Runs every head on every backend on one batch; every loss and every gradient must be finite.
fn finite(what: &str, embeddings: &[Vec<f64>], weights: &[Vec<f64>], labels: &[i64]) {
    for backend in backends() {
        for (loss, settings) in heads() {
            let case = head_case(loss, settings, embeddings, weights, labels);
            let run = (row(loss).run)(&Call::new(&case, &backend.device, backend.dtype));
            let what = format!("{what}: {loss} {:?} on {} {:?}", case.settings, backend.name, backend.dtype);
            assert_finite(&what, &run.loss_values());
            for (name, gradient) in run.gradients(&case.cotangent) {
                assert_finite(&format!("{what}: gradient of {name}"), &gradient);
            }
        }
    }
}

fn axes() -> Vec<Vec<f64>> {
    vec![vec![1.0, 0.0, 0.0], vec![0.0, 2.0, 0.0], vec![0.0, 0.0, 0.1]]
}

#[test]
fn zero_tiny_and_huge_embeddings() {
    for length in [0.0, 1e-30, 1e-20, 1e-12, 1e20, 1e38] {
        finite("length", &[vec![length, 0.0, 0.0], vec![0.0, length, -length]], &axes(), &[1, 1]);
    }
}

#[test]
fn zero_tiny_and_huge_centers() {
    for length in [0.0, 1e-30, 1e-20, 1e20, 1e38] {
        let mut weights = axes();
        weights[1] = vec![length, -length, 0.0];
        finite("center", &[vec![0.3, -2.0, 1.0], vec![1.0, 1.0, 1.0]], &weights, &[1, 0]);
    }
}

#[test]
fn an_own_cosine_of_one_minus_one_and_zero() {
    // With 1, 1, 1 the cosine comes out above 1 in f32 on some backends.
    for own in [[1.0, 0.0, 0.0], [1.0, 1.0, 1.0], [0.1, 0.7, -0.3]] {
        let weights = vec![own.to_vec(), vec![0.0, 2.0, 0.0], vec![0.0, 0.0, 0.1]];
        let scaled = |factor: f64| own.iter().map(|number| factor * number).collect::<Vec<_>>();
        finite("own cosine", &[scaled(3.0), scaled(-0.7), scaled(1.0)], &weights, &[0, 0, 0]);
    }
    finite("own cosine 0", &[vec![1.0, 0.0, 0.0]], &axes(), &[1]);
}

#[test]
fn angles_at_the_end_of_the_margin() {
    // angle + margin = pi for the margin 0.5, and one rounding error beside it.
    let angle = std::f64::consts::PI - 0.5;
    for angle in [angle, angle - 1e-7, angle + 1e-7] {
        finite("edge", &[vec![angle.cos(), angle.sin(), 0.0]], &axes(), &[0]);
    }
}

#[test]
fn one_class_one_row_one_dimension_and_equal_rows() {
    finite("one class", &[vec![0.2, -0.4, 1.0]], &[vec![1.0, 2.0, 3.0]], &[0]);
    finite("one dimension", &[vec![0.2], vec![-3.0]], &[vec![1.0], vec![-0.5]], &[0, 0]);
    finite("equal rows", &[vec![0.2, 1.0, 3.0], vec![0.2, 1.0, 3.0]], &axes(), &[2, 2]);
    finite("equal centers", &[vec![0.2, 1.0, 3.0]], &[vec![1.0; 3], vec![1.0; 3]], &[0]);
}

#[test]
fn a_single_class_has_loss_zero_and_gradient_zero() {
    for backend in backends() {
        for (loss, settings) in heads() {
            let case = head_case(loss, settings, &[vec![0.2, -0.4]], &[vec![1.0, 2.0]], &[0]);
            let run = (row(loss).run)(&Call::new(&case, &backend.device, backend.dtype));

            assert_eq!(run.loss_values(), [0.0], "{loss} on {}", backend.name);
            for gradient in run.gradients(&case.cotangent).into_values() {
                assert!(gradient.iter().all(|&slope| slope == 0.0), "{loss} on {}", backend.name);
            }
        }
    }
}

#[test]
fn a_nan_stays_in_its_row_and_spoils_the_mean() {
    for backend in backends() {
        let head = arcface(&backend);
        let data = [0.5, 0.25, -1.0, f64::NAN, 1.0, 0.0, 0.75, 0.5, 3.0];
        let embeddings =
            Tensor::<2>::from_data(TensorData::new(data.to_vec(), [3, 3]), (&backend.device, backend.dtype));
        let labels = Tensor::<1, Int>::from_data([0, 1, 2], &backend.device);
        let losses = host(head.forward_no_reduction(embeddings.clone(), labels.clone()));
        let mean = host(head.forward(embeddings, labels));

        assert!(losses[1].is_nan() && mean[0].is_nan(), "{} {losses:?}", backend.name);
        assert_finite("the other rows", &[losses[0], losses[2]]);
    }
}

#[test]
fn an_empty_batch_has_loss_zero() {
    for backend in backends() {
        let embeddings = || Tensor::<2>::zeros([0, 3], (&backend.device, backend.dtype));
        let labels = || Tensor::<1, Int>::zeros([0], &backend.device);
        let head = arcface(&backend);
        let center_loss = CenterLossConfig::new(3, 3).init(&backend.device);

        assert_eq!(host(head.forward(embeddings(), labels())), [0.0], "{}", backend.name);
        assert_eq!(head.forward_no_reduction(embeddings(), labels()).dims(), [0]);
        assert_eq!(head.logits(embeddings()).dims(), [0, 3]);
        assert_eq!(head.margin_logits(embeddings(), labels()).dims(), [0, 3]);
        assert_eq!(head.target_cosine(embeddings(), labels()).dims(), [0]);
        assert_eq!(host(center_loss.forward(embeddings(), labels())), [0.0], "{}", backend.name);
    }
}

#[test]
fn an_empty_batch_has_gradient_zero() {
    for backend in backends() {
        let empty = || Tensor::<2>::zeros([0, 3], (&backend.device, backend.dtype));
        let labels = Tensor::<1, Int>::zeros([0], &backend.device);
        let head = arcface(&backend);
        let gradients = head.forward(empty(), labels.clone()).backward();
        let weight = head.centers.weight.val().grad(&gradients).expect("a gradient");
        assert!(host(weight).iter().all(|&slope| slope == 0.0), "{}", backend.name);

        let trained = CenterLossConfig::new(3, 3).with_mode(CenterMode::Trained).init(&backend.device);
        let trained = trained.with_centers(Tensor::ones([3, 3], (&backend.device, backend.dtype)));
        let gradients = trained.forward(empty(), labels.clone()).backward();
        let centers = trained.centers().grad(&gradients).expect("a gradient");
        assert!(host(centers).iter().all(|&slope| slope == 0.0), "{}", backend.name);
    }
}

const DISTANCES: [Distance; 9] = [
    Distance::SmallestDifference,
    Distance::DifferentCount,
    Distance::Manhattan,
    Distance::Euclidean,
    Distance::SquaredEuclidean,
    Distance::Minkowski(0.5),
    Distance::Minkowski(3.0),
    Distance::Chebyshev,
    Distance::Cosine,
];

/// Lengths whose square, where a distance has one, is still a number.
#[test]
fn distances_of_zero_tiny_and_huge_rows_and_their_gradients_are_finite() {
    for backend in backends() {
        for distance in DISTANCES {
            for length in [0.0, 1e-38, 1e-30, 1e-20, 1e-12, 1e18, 1e20, 1e36] {
                if length > 1e18 && distance == Distance::SquaredEuclidean {
                    continue;
                }
                let rows = [[length, 0.0, -length], [0.0, length, 2.0 * length], [length, 0.0, -length]];
                let other = [[0.0, 0.0, length], [1.0, 0.0, 0.0], [length, 0.0, -length]];
                let leaf =
                    |rows: [[f64; 3]; 3]| Tensor::<2>::from_data(rows, (&backend.device, backend.dtype)).require_grad();
                let (first, second) = (leaf(rows), leaf(other));
                let rowwise = distance.rowwise(first.clone(), second.clone());
                let matrix = distance.matrix(first.clone(), second.clone()).reshape([9]);
                let losses = Tensor::cat(vec![rowwise, matrix], 0);
                let what = format!("{distance:?} of {length:e} on {} {:?}", backend.name, backend.dtype);
                assert_finite(&what, &host(losses.clone()));
                let gradients = losses.sum().backward();
                for leaf in [first, second] {
                    assert_finite(&format!("gradient of {what}"), &host(leaf.grad(&gradients).expect("a gradient")));
                }
            }
        }
    }
}

#[test]
fn a_nan_row_stays_in_its_own_distances() {
    for backend in backends() {
        for distance in DISTANCES {
            let options = (&backend.device, backend.dtype);
            let first = Tensor::<2>::from_data([[1.0, 2.0], [3.0, -1.0]], options);
            let second = Tensor::<2>::from_data([[0.5, 0.0], [f64::NAN, 1.0], [-2.0, 4.0]], options);
            let matrix = host(distance.matrix(first, second));

            for (place, value) in matrix.into_iter().enumerate() {
                assert_eq!(value.is_nan(), place % 3 == 1, "{distance:?} {place} on {}", backend.name);
            }
        }
    }
}

/// One row of a huge length takes no digit from the distances of the others.
#[test]
fn a_huge_row_leaves_the_other_distances_alone() {
    for backend in backends() {
        let options = (&backend.device, backend.dtype);
        let first = Tensor::<2>::from_data([[3.0, 0.0], [1e20, 0.0]], options);
        let second = Tensor::<2>::from_data([[0.0, 4.0], [0.0, 1e20]], options);
        let matrix = host(Distance::Euclidean.matrix(first, second));

        let expected = [5.0, 1e20, 1e20, 2.0_f64.sqrt() * 1e20];
        assert_close(&backend.name, &matrix, &expected, Tolerance::new(1e-6, 0.0));
    }
}

#[test]
fn center_loss_of_zero_tiny_and_huge_rows_is_finite() {
    for backend in backends() {
        for length in [0.0, 1e-38, 1e-20, 1e18] {
            for mode in [CenterMode::Updated, CenterMode::Trained] {
                let options = (&backend.device, backend.dtype);
                let loss = CenterLossConfig::new(2, 2).with_mode(mode).init(&backend.device);
                let loss = loss.with_centers(Tensor::from_data([[length, 1.0], [-length, 0.0]], options));
                let embeddings = Tensor::<2>::from_data([[length, -length], [length, 2.0]], options).require_grad();
                let labels = Tensor::<1, Int>::from_data([0, 1], &backend.device);
                let value = loss.forward(embeddings.clone(), labels);
                let gradients = value.backward();

                assert_finite("loss", &host(value));
                assert_finite("gradient", &host(embeddings.grad(&gradients).expect("a gradient")));
                assert_finite("centers", &host(loss.centers()));
            }
        }
    }
}

/// Half precision in, computed in f32, half precision out: the error is that of rounding the inputs and the result.
#[test]
fn half_precision_is_as_exact_as_its_inputs() {
    for backend in backends().iter().filter(|backend| !backend.is_double()) {
        // (eps/2 of the type) · scale, for the rounding of every cosine's inputs and of the loss.
        for (dtype, rounding) in [(DType::F16, 2.0_f64.powi(-11)), (DType::BF16, 2.0_f64.powi(-8))] {
            let supported = !backend.name.starts_with("ndarray") && backend.device.supports_dtype(dtype);
            if !supported {
                println!("{} has no {dtype:?}", backend.name);
                continue;
            }
            let embeddings = [0.5, 0.25, -1.0, 2.0, 1.0, 0.0];
            let run = |dtype: DType| {
                let data = TensorData::new(embeddings.to_vec(), [2, 3]);
                let embeddings = Tensor::<2>::from_data(data, (&backend.device, dtype)).require_grad();
                let labels = Tensor::<1, Int>::from_data([2, 1], &backend.device);
                let losses = arcface(backend).forward_no_reduction(embeddings.clone(), labels);
                assert_eq!(losses.dtype(), dtype);
                let gradients = losses.clone().cast(DType::F32).sum().backward();
                let gradient = embeddings.grad(&gradients).expect("a gradient");
                assert_eq!(gradient.dtype(), dtype);
                (host(losses.cast(DType::F32)), host(gradient.cast(DType::F32)))
            };
            let (losses, gradient) = run(dtype);
            let (expected_losses, expected_gradient) = run(DType::F32);
            let what = format!("{} {dtype:?}", backend.name);
            assert_close(&what, &losses, &expected_losses, Tolerance::new(2.0 * rounding, 0.0));
            let largest = expected_gradient.iter().fold(0.0_f64, |largest, slope| largest.max(slope.abs()));
            assert_close(&what, &gradient, &expected_gradient, Tolerance::new(2.0 * rounding, rounding * largest));
        }
    }
}

#[test]
fn inputs_that_are_views_give_the_same_losses() {
    for backend in backends() {
        let head = arcface(&backend);
        let labels = Tensor::<1, Int>::from_data([0, 2], &backend.device);
        let plain = Tensor::<2>::from_data([[0.5, 0.25, -1.0], [2.0, 1.0, 0.0]], (&backend.device, backend.dtype));
        let expected = host(head.forward_no_reduction(plain.clone(), labels.clone()));

        let transposed = plain.clone().transpose().mul_scalar(1.0).transpose();
        let doubled = Tensor::cat(vec![plain.zeros_like(), plain], 0).slice([2..4, 0..3]);
        for view in [transposed, doubled] {
            let losses = host(head.forward_no_reduction(view, labels.clone()));
            assert_close(&backend.name, &losses, &expected, Tolerance::new(1e-6, 0.0));
        }
    }
}

fn arcface(backend: &Backend) -> burn_losses::heads::ArcFace {
    let mut head = ArcFaceConfig::new(3, 3).with_scale(16.0).init(&backend.device);
    let weights = [[1.0, 0.5, 0.0], [0.0, 2.0, -0.5], [0.3, 0.0, 0.1]];
    head.centers.weight = Param::from_tensor(Tensor::from_data(weights, (&backend.device, backend.dtype)));
    head
}
