//! Laws and hostile inputs of the losses of predictions and targets.

use burn::tensor::{DType, Device, Tensor, TensorData};
use burn_losses::regression::*;
use parity::{Backend, backends};
use support::close::{Tolerance, assert_close, assert_finite};
use support::table::host;

fn vector(numbers: &[f64], backend: &Backend) -> Tensor<1> {
    Tensor::from_data(TensorData::from(numbers), (&backend.device, backend.dtype))
}

fn tolerance(backend: &Backend) -> Tolerance {
    if backend.is_double() { Tolerance::new(1e-13, 1e-14) } else { Tolerance::new(3e-6, 1e-6) }
}

/// What the docs of the module promise of Burn's.
#[test]
fn a_huge_error_has_a_finite_gradient_in_the_huber_losses_of_burn() {
    for backend in backends() {
        for size in [1e20, 1e30] {
            let predictions = vector(&[size, -size], &backend).require_grad();
            let loss = HuberLossConfig::new(1.0).init();
            let losses = loss.forward_no_reduction(predictions.clone(), vector(&[0.0, 0.0], &backend));
            assert_finite("huber", &host(losses.clone()));
            let gradient = host(predictions.grad(&losses.sum().backward()).expect("a gradient"));
            assert_close("huber", &gradient, &[1.0, -1.0], tolerance(&backend));
        }
    }
}

#[test]
fn rates_of_zero_and_logarithms_of_tiny_rates_are_harmless() {
    for backend in backends() {
        for (input, prediction) in
            [(PoissonInput::Rate, 0.0), (PoissonInput::LogRate, -1e4), (PoissonInput::LogRate, 80.0)]
        {
            for target in [0.0, 1.0, 5.0] {
                let loss = PoissonNllLossConfig::new()
                    .with_input(input)
                    .with_target_term(TargetTerm::Stirling)
                    .init(&backend.device);
                let predictions = vector(&[prediction], &backend).require_grad();
                let loss = loss.forward(predictions.clone(), vector(&[target], &backend), Reduction::Mean);
                assert_finite("loss", &host(loss.clone()));
                assert_finite("gradient", &host(predictions.grad(&loss.backward()).expect("a gradient")));
            }
        }
    }
}

/// Two rows of three errors of 1: the mean of all, their sum, and the sum over the rows.
#[test]
fn every_reduction_divides_by_what_it_says() {
    for backend in backends() {
        let matrix = |number: f64| Tensor::<2>::full([2, 3], number, (&backend.device, backend.dtype));
        let loss = QuantileLossConfig::new().with_quantile(1.0).init(&backend.device);
        for (reduction, expected) in
            [(Reduction::Mean, 1.0), (Reduction::Auto, 1.0), (Reduction::Sum, 6.0), (Reduction::BatchMean, 3.0)]
        {
            assert_eq!(host(loss.forward(matrix(1.0), matrix(2.0), reduction)), [expected], "{}", backend.name);
        }
    }
}

#[test]
fn half_a_quantile_is_half_an_absolute_error() {
    for backend in backends() {
        let (predictions, targets) = (vector(&[1.0, -2.0, 3.5], &backend), vector(&[2.0, -5.0, 3.5], &backend));
        let quantile =
            QuantileLossConfig::new().init(&backend.device).forward_no_reduction(predictions.clone(), targets.clone());
        let absolute = LpLossConfig::l1().forward_no_reduction(predictions, targets);
        assert_close("quantile", &host(quantile.mul_scalar(2.0)), &host(absolute), tolerance(&backend));
    }
}

/// Below the target, on it and above it.
#[test]
fn slopes_of_a_quantile_loss_are_those_by_hand() {
    for backend in backends() {
        let predictions = vector(&[1.0, 2.0, 3.0], &backend).require_grad();
        let loss = QuantileLossConfig::new().with_quantile(0.75).init(&backend.device);
        let losses = loss.forward(predictions.clone(), vector(&[2.0; 3], &backend), Reduction::Sum);
        let slopes = host(predictions.grad(&losses.backward()).expect("a gradient"));
        assert_eq!(slopes, [-0.75, 0.0, 0.25], "{}", backend.name);
    }
}

#[test]
fn the_best_constant_of_a_quantile_loss_is_the_quantile() {
    // By hand: the derivative of the mean is share(targets below) - quantile, 0 between the 9th and the 10th of 12.
    let targets: Vec<f64> = (0..12).map(|number| f64::from(number * number)).collect();
    for backend in backends() {
        let loss = QuantileLossConfig::new().with_quantile(0.75).init(&backend.device);
        let at = |constant: f64| {
            let predictions = vector(&[constant; 12], &backend);
            host(loss.forward(predictions, vector(&targets, &backend), Reduction::Mean))[0]
        };
        assert!(at(70.0) < at(60.0) && at(70.0) < at(90.0), "{}", backend.name);
    }
}

#[test]
fn huber_over_delta_is_smooth_l1() {
    for backend in backends() {
        let (predictions, targets) = (vector(&[1.0, -2.0, 3.5], &backend), vector(&[1.25, -5.0, 3.0], &backend));
        let huber = HuberLossConfig::new(0.5).init().forward_no_reduction(predictions.clone(), targets.clone());
        let smooth = SmoothL1LossConfig::new().with_beta(0.5).init().forward(predictions, targets);
        assert_close("huber", &host(huber.mul_scalar(2.0)), &host(smooth), tolerance(&backend));
    }
}

#[test]
fn half_precision_is_computed_in_single_and_returned_in_half() {
    let device = Device::flex();
    for dtype in [DType::F16, DType::BF16] {
        let tensor = |number: f64| Tensor::<1>::full([3000], number, (&device, DType::F32)).cast(dtype);
        // 3000 errors of 30 sum to 90 000, beyond f16.
        let mean = LogCoshLossConfig::new().init(&device).forward(tensor(31.0), tensor(1.0), Reduction::Mean);
        assert_eq!(mean.dtype(), dtype);
        assert_close("mean", &host(mean), &[30.0 - std::f64::consts::LN_2], Tolerance::new(1e-2, 0.0));
    }
}

/// By hand: errors of 100 000 % and three times 0 %. The first is beyond the largest number of f16, 65504; the mean,
/// 25 000, is rounded to a multiple of 16.
#[test]
fn a_mean_in_half_precision_is_rounded_once() {
    for backend in backends().iter().filter(|backend| backend.name == "flex" && backend.dtype == DType::F32) {
        let half = |numbers: &[f64]| vector(numbers, backend).cast(DType::F16);
        let loss = MeanAbsolutePercentageErrorLossConfig::new().init(&backend.device);
        let mean = loss.forward(half(&[1001.0, 1.0, 1.0, 1.0]), half(&[1.0; 4]), Reduction::Mean);
        assert_eq!((mean.dtype(), host(mean)), (DType::F16, vec![24_992.0]));
    }
}

#[test]
#[should_panic(expected = "QuantileLoss: targets must have the shape [3], got [1]")]
fn shapes_do_not_broadcast() {
    let tensor = |count: usize| Tensor::<1>::zeros([count], &Device::flex());
    QuantileLossConfig::new().init(&Device::flex()).forward_no_reduction(tensor(3), tensor(1));
}
