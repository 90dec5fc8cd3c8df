//! Penalties and steps on the parameters of a module.

use burn::module::{Module, Param};
use burn::nn::{Linear, LinearConfig};
use burn::optim::{AdamConfig, GradientsParams, ModuleOptimizer};
use burn::tensor::{DType, Device, Tensor, TensorData};
use burn_losses::regularization::{
    BiasesAndNorms, ElasticNetPenaltyConfig, L1PenaltyConfig, L2PenaltyConfig, ProximalElasticNetConfig,
    ProximalL1Config, ProximalRowGroupsConfig,
};
use parity::{Backend, backends};
use support::close::{Tolerance, assert_close};
use support::table::host;

use super::{TwoLayers, in_first, matrix, numbers, slack, two_layers};

/// What a training with a step in between ends with, of every parameter.
fn train(backend: &Backend, step: impl Fn(TwoLayers) -> TwoLayers) -> TwoLayers {
    let inputs = matrix(&numbers(15, 9), 3, backend);
    let mut model = two_layers(backend);
    let mut optimizer: ModuleOptimizer = AdamConfig::new().init();
    for _ in 0..5 {
        let loss = model.forward(inputs.clone()).square().sum();
        let gradients = GradientsParams::from_grads(loss.backward(), &model);
        model = step(optimizer.step(0.05, model, gradients));
    }
    model
}

/// The optimizer finds its running averages again, or Adam's first steps, which go by the learning rate, would repeat.
#[test]
fn a_step_keeps_ids_trainability_and_the_state_of_the_optimizer() {
    for backend in backends() {
        let none = ProximalElasticNetConfig::new(0.0).init(&backend.device);
        let with = train(&backend, |model| none.step(0.05, model));
        let without = train(&backend, |model| model);
        assert_eq!(host(with.first.weight.val()), host(without.first.weight.val()), "{}", backend.name);
        assert_eq!(host(with.second.weight.val()), host(without.second.weight.val()), "{}", backend.name);

        let model = two_layers(&backend);
        let (before, device) = (model.first.weight.clone(), model.first.weight.val().device());
        let after = ProximalL1Config::new(1.0).init(&backend.device).step(0.5, model);
        assert_eq!(after.first.weight.id, before.id);
        assert!(after.first.weight.is_require_grad() && after.first.weight.val().is_autodiff());
        assert_eq!(after.first.weight.val().device(), device);
        // It is a leaf again: a backward finds its gradient, and train() after valid() still trains it.
        let gradients = after.forward(matrix(&[1.0, 2.0, 3.0], 3, &backend)).sum().backward();
        assert!(after.first.weight.grad(&gradients).is_some(), "{}", backend.name);
        assert!(after.valid().train().first.weight.is_require_grad());
    }
}

#[test]
fn a_step_changes_the_parameters_of_its_group_and_no_other() {
    for backend in backends() {
        let model = two_layers(&backend);
        let after =
            ProximalL1Config::new(100.0).with_parameters(in_first()).init(&backend.device).step(1.0, model.clone());

        assert!(host(after.first.weight.val()).iter().all(|&weight| weight == 0.0), "{}", backend.name);
        let bias = |layer: &Linear| host(layer.bias.as_ref().expect("a bias").val());
        assert_eq!(bias(&after.first), bias(&model.first));
        assert_eq!(host(after.second.weight.val()), host(model.second.weight.val()));

        let all = in_first().with_biases_and_norms(BiasesAndNorms::Included);
        let after = ProximalL1Config::new(100.0).with_parameters(all).init(&backend.device).step(1.0, model);
        assert!(bias(&after.first).iter().all(|&weight| weight == 0.0), "{}", backend.name);
    }
}

#[test]
fn a_frozen_layer_is_neither_penalised_nor_moved() {
    for backend in backends() {
        let mut model = two_layers(&backend);
        model.first = model.first.freeze();
        let before = host(model.first.weight.val());
        let penalty = L1PenaltyConfig::new(1.0).with_parameters(in_first()).init(&backend.device);
        // In the precision of the model, so that it can be added to a loss.
        let none = penalty.forward(&model);
        assert_eq!((none.dtype(), host(none)), (backend.dtype, vec![0.0]), "{}", backend.name);

        let after = ProximalL1Config::new(100.0).init(&backend.device).step(1.0, model);
        assert_eq!(host(after.first.weight.val()), before, "{}", backend.name);
        assert!(!after.first.weight.is_require_grad());
        assert!(host(after.second.weight.val()).iter().all(|&weight| weight == 0.0));
    }
}

#[test]
fn a_penalty_is_the_sum_over_the_weights_and_its_gradient_reaches_them_alone() {
    for backend in backends() {
        let model = two_layers(&backend);
        let weights = || [host(model.first.weight.val()), host(model.second.weight.val())].concat();
        let tolerance = Tolerance::new(slack(&backend), slack(&backend));
        let absolute: f64 = weights().iter().map(|weight| weight.abs()).sum();
        let squares: f64 = weights().iter().map(|weight| weight * weight).sum();

        let l1 = L1PenaltyConfig::new(0.7).init(&backend.device).forward(&model);
        assert_close("L1", &host(l1), &[0.7 * absolute], tolerance);
        let elastic = ElasticNetPenaltyConfig::new(0.7).with_l1_ratio(0.2).init(&backend.device).forward(&model);
        assert_close("elastic", &host(elastic), &[0.7 * (0.2 * absolute + 0.4 * squares)], tolerance);
        let l2 = L2PenaltyConfig::new(0.7).init(&backend.device).forward(&model);
        assert_close("L2", &host(l2.clone()), &[0.35 * squares], tolerance);

        let gradients = l2.backward();
        let slopes = host(model.second.weight.grad(&gradients).expect("a gradient"));
        let expected: Vec<f64> = host(model.second.weight.val()).iter().map(|weight| 0.7 * weight).collect();
        assert_close("the gradient", &slopes, &expected, tolerance);
        assert!(model.second.bias.as_ref().expect("a bias").grad(&gradients).is_none());
    }
}

#[test]
fn the_elastic_net_penalty_ends_in_l1_and_l2() {
    for backend in backends() {
        let model = two_layers(&backend);
        let elastic = |share: f64| {
            host(ElasticNetPenaltyConfig::new(0.7).with_l1_ratio(share).init(&backend.device).forward(&model))
        };

        assert_eq!(
            elastic(1.0),
            host(L1PenaltyConfig::new(0.7).init(&backend.device).forward(&model)),
            "{}",
            backend.name
        );
        assert_eq!(
            elastic(0.0),
            host(L2PenaltyConfig::new(0.7).init(&backend.device).forward(&model)),
            "{}",
            backend.name
        );
    }
}

#[test]
fn a_penalty_on_a_million_weights_keeps_its_digits() {
    for backend in backends() {
        let mut model = LinearConfig::new(1100, 1000).init(&backend.device);
        model.weight = Param::from_tensor(Tensor::full([1100, 1000], 0.1, (&backend.device, backend.dtype)));
        let tenth = host(model.weight.val())[0];
        let expected = 1_100_000.0 * tenth;

        let penalty = host(L1PenaltyConfig::new(1.0).init(&backend.device).forward(&model));
        assert_close(&backend.name, &penalty, &[expected], Tolerance::new(5e-6, 0.0));
    }
}

#[test]
fn half_precision_keeps_its_type_and_its_zeros_are_exact() {
    let device = Device::flex().autodiff();
    for dtype in [DType::F16, DType::BF16] {
        let weights = [0.5, -0.25, 2.0, -0.0625, 0.125, -4.0];
        let mut model = LinearConfig::new(3, 2).init(&device);
        let data = TensorData::new(weights.to_vec(), [3, 2]);
        model.weight = Param::from_tensor(Tensor::from_data(data, (&device, dtype)));

        let after = ProximalL1Config::new(0.5).init(&Device::flex()).step(0.5, model.clone());
        assert_eq!(after.weight.val().dtype(), dtype);
        assert_eq!(host(after.weight.val()), [0.25, 0.0, 1.75, 0.0, 0.0, -3.75]);
        // By hand: lengths of the rows 0.559, 2.001 and 4.002.
        let rows = host(ProximalRowGroupsConfig::new(1.0).init(&Device::flex()).step(1.0, model.clone()).weight.val());
        assert_eq!(rows[..2], [0.0, 0.0]);
        assert!((rows[5] + 4.0 * (1.0 - 1.0 / 4.001_953)).abs() < 0.02, "{rows:?}");

        let penalty = L2PenaltyConfig::new(1.0).init(&Device::flex()).forward(&model);
        assert_eq!(penalty.dtype(), dtype);
        let slopes = host(model.weight.grad(&penalty.backward()).expect("a gradient"));
        assert_eq!(slopes, weights);
    }
}
