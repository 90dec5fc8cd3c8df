//! The losses of embeddings and class weights.

use burn::tensor::{DType, Device, Tensor, TensorData};
use burn_losses::distance::Distance;
use burn_losses::reduction::EmbeddingReduction;
use burn_losses::regularization::{
    CenterInvariantRegularizerConfig, LpRegularizerConfig, RegularFaceRegularizerConfig,
    SparseCentersRegularizerConfig, ZeroMeanRegularizerConfig,
};
use parity::backends;
use support::close::{Tolerance, assert_close, assert_finite};
use support::table::host;

use super::{matrix, numbers, slack};

type Loss = Box<dyn Fn(Tensor<2>) -> Tensor<1>>;

/// Every loss; those of class weights take any even number of rows.
fn losses(rows: usize) -> Vec<(&'static str, Loss)> {
    let lp = |norm: Distance, power: f64| -> Loss {
        let loss = LpRegularizerConfig::new().with_norm(norm).with_power(power).init(&Device::flex());
        Box::new(move |embeddings| loss.forward_no_reduction(embeddings))
    };
    let zero_mean = ZeroMeanRegularizerConfig::new().init(&Device::flex());
    let center_invariant = CenterInvariantRegularizerConfig::new().init(&Device::flex());
    let regular_face = RegularFaceRegularizerConfig::new().init(&Device::flex());
    let mut losses: Vec<(&'static str, Loss)> = vec![
        ("Euclidean", lp(Distance::Euclidean, 1.0)),
        ("root of Manhattan", lp(Distance::Manhattan, 0.5)),
        ("Chebyshev", lp(Distance::Chebyshev, 1.0)),
        ("Minkowski", lp(Distance::Minkowski(3.0), 0.25)),
        ("ZeroMean", Box::new(move |rows| zero_mean.forward_no_reduction(rows))),
        ("CenterInvariant", Box::new(move |rows| center_invariant.forward_no_reduction(rows))),
        ("RegularFace", Box::new(move |rows| regular_face.forward_no_reduction(rows))),
    ];
    if rows > 0 && rows.is_multiple_of(2) {
        let sparse = SparseCentersRegularizerConfig::new(rows / 2, 2).init(&Device::flex());
        losses.push(("SparseCenters", Box::new(move |rows| sparse.forward_no_reduction(rows))));
    }
    losses
}

/// Runs every loss on every backend; every loss and every gradient must be finite.
fn finite(what: &str, data: &[f64], columns: usize) {
    for backend in backends() {
        for (name, loss) in losses(data.len() / columns) {
            let rows = matrix(data, columns, &backend).require_grad();
            let losses = loss(rows.clone());
            let what = format!("{name}, {what} on {} {:?}", backend.name, backend.dtype);
            assert_finite(&what, &host(losses.clone()));
            let gradients = losses.sum().backward();
            assert_finite(&what, &host(rows.grad(&gradients).expect("a gradient")));
        }
    }
}

#[test]
fn zero_tiny_and_huge_rows_are_finite() {
    for size in [0.0, 1e-38, 1e-30, 1e-20, 1e-12, 1e12, 1e20, 1e36] {
        finite(&format!("{size:e}"), &[size, -size, 0.5 * size, size, 0.0, 0.0, 1.0, 2.0, -0.5, 0.0, 0.0, 0.0], 3);
    }
}

#[test]
fn equal_opposite_and_all_zero_rows_are_finite() {
    finite("equal rows", &[0.1, 0.7, -0.3].repeat(4), 3);
    finite("opposite rows", &[0.1, 0.7, -0.3, -0.1, -0.7, 0.3], 3);
    finite("rows of zeros", &[0.0; 12], 3);
    finite("one dimension", &[2.0, -3.0, 0.0, 1.0], 1);
}

#[test]
fn one_row_has_a_finite_gradient_and_no_other_class() {
    finite("one row", &[0.2, -0.4, 1.0], 3);
    for backend in backends() {
        let row = matrix(&[0.2, -0.4, 1.0], 3, &backend).require_grad();
        let loss =
            RegularFaceRegularizerConfig::new().init(&backend.device).forward(row.clone(), EmbeddingReduction::Mean)
                + CenterInvariantRegularizerConfig::new()
                    .init(&backend.device)
                    .forward(row.clone(), EmbeddingReduction::Mean);
        assert_eq!(host(loss.clone()), [0.0], "{}", backend.name);
        let slopes = host(row.grad(&loss.backward()).expect("a gradient"));
        assert!(slopes.iter().all(|&slope| slope == 0.0), "{}", backend.name);
    }
}

#[test]
fn no_rows_have_loss_zero_and_a_gradient() {
    for backend in backends() {
        let empty = || Tensor::<2>::zeros([0, 3], (&backend.device, backend.dtype)).require_grad();
        for (name, loss) in losses(0) {
            let rows = empty();
            let losses = loss(rows.clone());
            assert_eq!(losses.dims(), [0], "{name} on {}", backend.name);
            let total = EmbeddingReduction::Mean.apply(losses);
            assert_eq!(host(total.clone()), [0.0], "{name} on {}", backend.name);
            assert_eq!(rows.grad(&total.backward()).expect("a gradient").dims(), [0, 3], "{name}");
        }
        for (name, loss) in losses(3) {
            let numberless = Tensor::<2>::zeros([3, 0], (&backend.device, backend.dtype));
            assert_eq!(host(loss(numberless)), [0.0; 3], "{name} on {}", backend.name);
        }
    }
}

#[test]
fn a_nan_stays_in_its_embedding() {
    for backend in backends() {
        for (name, loss) in losses(3).into_iter().take(5) {
            let values = host(loss(matrix(&[1.0, 2.0, f64::NAN, 1.0, -3.0, 0.5], 2, &backend)));
            let numbers: Vec<bool> = values.iter().map(|value| value.is_nan()).collect();
            assert_eq!(numbers, [false, true, false], "{name} on {}: {values:?}", backend.name);
        }
    }
}

#[test]
fn forward_is_the_reduction_of_every_loss() {
    for backend in backends() {
        for reduction in [EmbeddingReduction::Mean, EmbeddingReduction::Sum, EmbeddingReduction::MeanNonZero] {
            let rows = || matrix(&numbers(12, 8), 3, &backend);
            let pairs = [
                {
                    let loss = LpRegularizerConfig::new().init(&backend.device);
                    (loss.forward(rows(), reduction), loss.forward_no_reduction(rows()))
                },
                {
                    let loss = ZeroMeanRegularizerConfig::new().init(&backend.device);
                    (loss.forward(rows(), reduction), loss.forward_no_reduction(rows()))
                },
                {
                    let loss = CenterInvariantRegularizerConfig::new().init(&backend.device);
                    (loss.forward(rows(), reduction), loss.forward_no_reduction(rows()))
                },
                {
                    let loss = RegularFaceRegularizerConfig::new().init(&backend.device);
                    (loss.forward(rows(), reduction), loss.forward_no_reduction(rows()))
                },
                {
                    let loss = SparseCentersRegularizerConfig::new(2, 2).init(&backend.device);
                    (loss.forward(rows(), reduction), loss.forward_no_reduction(rows()))
                },
            ];
            for (reduced, losses) in pairs {
                assert_eq!(host(reduced), host(reduction.apply(losses)), "{reduction:?} on {}", backend.name);
            }
        }
    }
}

#[test]
fn permuting_the_rows_permutes_the_losses() {
    let (data, order) = (numbers(15, 12), [3, 0, 4, 1, 2]);
    let moved: Vec<f64> = order.iter().flat_map(|&row| data[3 * row..3 * row + 3].to_vec()).collect();
    for backend in backends() {
        for (name, loss) in losses(5) {
            let before = host(loss(matrix(&data, 3, &backend)));
            let after = host(loss(matrix(&moved, 3, &backend)));
            let expected: Vec<f64> = order.iter().map(|&row| before[row]).collect();
            assert_close(name, &after, &expected, Tolerance::new(10.0 * slack(&backend), slack(&backend)));
        }
    }
}

#[test]
fn losses_of_directions_do_not_see_lengths_and_those_of_lengths_do_not_see_rotations() {
    let data = numbers(12, 13);
    let scaled: Vec<f64> = data.iter().enumerate().map(|(place, x)| x * [0.01, 30.0, 2.0, 5.0][place / 3]).collect();
    // A turn of the first two axes by an angle with sine 0.6.
    let turned: Vec<f64> =
        data.chunks(3).flat_map(|row| [0.8 * row[0] - 0.6 * row[1], 0.6 * row[0] + 0.8 * row[1], row[2]]).collect();
    for backend in backends() {
        let tolerance = Tolerance::new(10.0 * slack(&backend), slack(&backend));
        for (name, loss) in losses(4) {
            let at = |data: &[f64]| host(loss(matrix(data, 3, &backend)));
            if ["RegularFace", "SparseCenters"].contains(&name) {
                assert_close(name, &at(&scaled), &at(&data), tolerance);
            }
            if ["Euclidean", "CenterInvariant", "RegularFace", "SparseCenters"].contains(&name) {
                assert_close(name, &at(&turned), &at(&data), tolerance);
            }
        }
    }
}

#[test]
fn rows_of_one_length_and_sums_of_zero_cost_nothing() {
    for backend in backends() {
        let center_invariant = CenterInvariantRegularizerConfig::new().init(&backend.device);
        let same = matrix(&[3.0, 4.0, -5.0, 0.0, 4.0, -3.0], 2, &backend);
        assert_eq!(host(center_invariant.forward_no_reduction(same)), [0.0; 3], "{}", backend.name);
        let zero_mean = ZeroMeanRegularizerConfig::new().init(&backend.device);
        let balanced = matrix(&[3.0, -3.0, -0.5, 0.5], 2, &backend);
        assert_eq!(host(zero_mean.forward_no_reduction(balanced)), [0.0; 2], "{}", backend.name);
    }
}

/// More classes than one block of the search holds.
#[test]
fn regular_face_of_many_classes_equals_the_full_matrix() {
    const CLASSES: usize = 4200;
    for backend in backends().iter().filter(|backend| !backend.is_double()) {
        let weights = || matrix(&numbers(2 * CLASSES, 21), 2, backend);
        let losses = host(RegularFaceRegularizerConfig::new().init(&backend.device).forward_no_reduction(weights()));
        // Classes 0, 1000, ... against all, in plain loops.
        let rows = host(weights());
        let cosine = |a: &[f64], b: &[f64]| (a[0] * b[0] + a[1] * b[1]) / (a[0].hypot(a[1]) * b[0].hypot(b[1]));
        for own in (0..CLASSES).step_by(1000) {
            let row = &rows[2 * own..2 * own + 2];
            let others = rows.chunks(2).enumerate().filter(|(other, _)| *other != own);
            let expected = others.map(|(_, other)| cosine(row, other)).fold(f64::NEG_INFINITY, f64::max);
            assert_close(&backend.name, &[losses[own]], &[expected], Tolerance::new(slack(backend), 0.0));
        }
    }
}

#[test]
fn views_give_the_same_losses() {
    for backend in backends() {
        let plain = matrix(&numbers(12, 14), 3, &backend);
        let view = matrix(&numbers(12, 14), 3, &backend).transpose().reshape([3, 4]).transpose();
        assert_eq!(host(view.clone()), host(plain.clone()));
        let wide = Tensor::cat(vec![plain.clone(), plain.clone()], 1);
        for (name, loss) in losses(4) {
            let expected = host(loss(plain.clone()));
            for view in [view.clone(), wide.clone().narrow(1, 3, 3)] {
                let tolerance = Tolerance::new(slack(&backend), slack(&backend));
                assert_close(name, &host(loss(view)), &expected, tolerance);
            }
        }
    }
}

#[test]
fn half_precision_losses_are_those_of_single_precision_rounded() {
    for (dtype, rounding) in [(DType::F16, 2.0_f64.powi(-11)), (DType::BF16, 2.0_f64.powi(-8))] {
        let device = Device::flex().autodiff();
        let data = TensorData::new(numbers(12, 15), [4, 3]);
        let half = Tensor::<2>::from_data(data, (&device, dtype));
        for (name, loss) in losses(4) {
            let exact = host(loss(half.clone().cast(DType::F32)));
            let leaf = half.clone().require_grad();
            let losses = loss(leaf.clone());
            assert_eq!(losses.dtype(), dtype, "{name}");
            assert_close(name, &host(losses.clone()), &exact, Tolerance::new(rounding, 1e-6));
            let slopes = leaf.grad(&losses.sum().backward()).expect("a gradient");
            assert_eq!(slopes.dtype(), dtype, "{name}");
            assert_finite(name, &host(slopes));
        }
    }
}
