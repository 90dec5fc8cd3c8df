//! Settings and weights that make no sense, or hardly any.

use std::panic::{AssertUnwindSafe, catch_unwind};

use burn::module::Param;
use burn::tensor::{Device, Tensor};
use burn_losses::regularization::{
    DecoupledL2Config, ElasticNetPenaltyConfig, L1PenaltyConfig, L2PenaltyConfig, ParameterPenalty,
    ProximalElasticNetConfig, ProximalL1Config, ProximalRowGroupsConfig, ShrinkageStep,
};
use parity::backends;
use support::close::{Tolerance, assert_close, assert_finite};
use support::table::host;

use super::{matrix, proximal_steps, slack, two_layers};

fn rejected<T>(what: &str, message: &str, build: impl FnOnce() -> T) {
    let panic = catch_unwind(AssertUnwindSafe(|| drop(build()))).expect_err(what);
    let text = panic.downcast_ref::<String>().map_or("", String::as_str);
    assert!(text.contains(message), "{what}: {text:?} does not say {message:?}");
}

#[test]
fn strengths_that_are_negative_infinite_or_no_number_are_rejected() {
    for strength in [-1.0, -1e-300, f64::INFINITY, f64::NEG_INFINITY, f64::NAN, 1e31] {
        let message = "strength must be in [0, 1e30]";
        rejected("L1Penalty", message, || L1PenaltyConfig::new(strength).init(&Device::flex()));
        rejected("L2Penalty", message, || L2PenaltyConfig::new(strength).init(&Device::flex()));
        rejected("ElasticNetPenalty", message, || ElasticNetPenaltyConfig::new(strength).init(&Device::flex()));
        rejected("ProximalL1", message, || ProximalL1Config::new(strength).init(&Device::flex()));
        rejected("ProximalElasticNet", message, || ProximalElasticNetConfig::new(strength).init(&Device::flex()));
        rejected("ProximalRowGroups", message, || ProximalRowGroupsConfig::new(strength).init(&Device::flex()));
        rejected("DecoupledL2", message, || DecoupledL2Config::new(strength).init(&Device::flex()));
    }
    for share in [-0.1, 1.1, f64::NAN] {
        rejected("a share", "l1_ratio must be in [0, 1]", || {
            ElasticNetPenaltyConfig::new(1.0).with_l1_ratio(share).init(&Device::flex())
        });
        rejected("a share", "l1_ratio must be in [0, 1]", || {
            ProximalElasticNetConfig::new(1.0).with_l1_ratio(share).init(&Device::flex())
        });
    }
}

#[test]
fn learning_rates_that_are_negative_infinite_or_no_number_are_rejected() {
    let weights = || Tensor::<1>::ones([3], &Device::flex());
    for rate in [-0.1, f64::INFINITY, f64::NAN] {
        let message = "learning_rate must be in [0, 1e30]";
        rejected("ProximalL1", message, || ProximalL1Config::new(1.0).init(&Device::flex()).shrink(rate, weights()));
        rejected("elastic", message, || {
            ProximalElasticNetConfig::new(1.0).init(&Device::flex()).shrink(rate, weights())
        });
        rejected("rows", message, || ProximalRowGroupsConfig::new(1.0).init(&Device::flex()).shrink(rate, weights()));
        rejected("DecoupledL2", message, || DecoupledL2Config::new(1.0).init(&Device::flex()).shrink(rate, weights()));
    }
    rejected("the product", "learning_rate·strength must be in [0, 1]", || {
        DecoupledL2Config::new(11.0).init(&Device::flex()).shrink(0.1, weights())
    });
}

#[test]
fn a_penalty_of_strength_zero_is_zero_with_gradient_zero() {
    for backend in backends() {
        let model = two_layers(&backend);
        let penalties = [
            L1PenaltyConfig::new(0.0).init(&backend.device).forward(&model),
            L2PenaltyConfig::new(0.0).init(&backend.device).forward(&model),
            ElasticNetPenaltyConfig::new(0.0).init(&backend.device).forward(&model),
        ];
        for penalty in penalties {
            assert_eq!(host(penalty.clone()), [0.0], "{}", backend.name);
            let slopes = host(model.first.weight.grad(&penalty.backward()).expect("a gradient"));
            assert!(slopes.iter().all(|&slope| slope == 0.0), "{}", backend.name);
        }
    }
}

#[test]
fn penalties_of_zero_tiny_and_huge_weights_have_finite_gradients() {
    for backend in backends() {
        for size in [0.0, -0.0, 1e-38, 1e-30, 1e-20, 1e10, 1e18] {
            let weights = || matrix(&[size, -size, 0.0], 3, &backend).require_grad();
            let check = |what: &str, penalty: &dyn Fn(Tensor<2>) -> Tensor<1>| {
                let weights = weights();
                let penalty = penalty(weights.clone());
                let what = format!("{what} of {size:e} on {} {:?}", backend.name, backend.dtype);
                assert_finite(&what, &host(penalty.clone()));
                let slopes = host(weights.grad(&penalty.backward()).expect("a gradient"));
                assert_finite(&what, &slopes);
                assert_eq!(slopes[2], 0.0, "{what}");
            };
            check("L1", &|w| L1PenaltyConfig::new(0.5).init(&backend.device).of(w));
            check("L2", &|w| L2PenaltyConfig::new(0.5).init(&backend.device).of(w));
            check("elastic net", &|w| ElasticNetPenaltyConfig::new(0.5).init(&backend.device).of(w));
        }
    }
}

#[test]
fn steps_of_zero_tiny_and_huge_weights_are_finite_and_shrink() {
    for backend in backends() {
        for strength in [1e-30, 1.0, 1e30] {
            for size in [0.0, 1e-38, 1e-30, 1e-20, 1.0, 1e20, 1e36] {
                let weights = [size, -size, 0.5 * size, 0.0, 0.0, 0.0];
                for (name, step, _) in proximal_steps(strength, &backend) {
                    let shrunk = step(&weights);
                    let what = format!("{name} {strength:e} of {size:e} on {} {:?}", backend.name, backend.dtype);
                    assert_finite(&what, &shrunk);
                    for (after, before) in shrunk.iter().zip(weights) {
                        let grown = after.abs() > before.abs() * (1.0 + 1e-6) || after * before < 0.0;
                        assert!(!grown, "{what}: {after} from {before}");
                    }
                }
            }
        }
    }
}

#[test]
fn a_module_with_an_empty_parameter_is_penalised_and_shrunk_like_any_other() {
    for backend in backends() {
        let mut model = two_layers(&backend);
        model.first.weight = Param::from_tensor(Tensor::zeros([0, 4], (&backend.device, backend.dtype)));
        let penalty = host(L1PenaltyConfig::new(1.0).init(&backend.device).forward(&model));
        let expected: f64 = host(model.second.weight.val()).iter().map(|weight| weight.abs()).sum();
        assert_close("the rest", &penalty, &[expected], Tolerance::new(slack(&backend), 0.0));

        let after = ProximalRowGroupsConfig::new(1.0).init(&backend.device).step(0.1, model.clone());
        assert_eq!(after.first.weight.val().dims(), [0, 4]);
        let after = ProximalElasticNetConfig::new(1.0).init(&backend.device).step(0.1, after);
        assert_eq!(after.first.weight.val().dims(), [0, 4]);
        assert!(after.first.weight.is_require_grad() && after.first.weight.id == model.first.weight.id);
    }
}
