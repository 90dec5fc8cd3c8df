//! Against golden/scikit_learn.json, which generate/scikit_learn.py writes.

use std::path::Path;

use burn::module::Param;
use burn::nn::{Linear, LinearConfig};
use burn::optim::{GradientsParams, ModuleOptimizer, SgdConfig};
use burn::tensor::{Device, Tensor, TensorData};
use burn_losses::regularization::{
    DecoupledL2Config, ElasticNetPenaltyConfig, L1PenaltyConfig, L2PenaltyConfig, ParameterPenalty,
    ProximalElasticNetConfig, ProximalL1Config, ProximalRowGroupsConfig,
};
use parity::{Backend, backends};
use serde::Deserialize;
use support::close::{Tolerance, assert_close};
use support::golden::Array;
use support::table::host;

#[derive(Deserialize)]
struct Reference {
    features: Array,
    targets: Array,
    fits: Vec<Fit>,
    densities: Vec<Densities>,
}

#[derive(Deserialize)]
struct Fit {
    model: String,
    strength: f64,
    #[serde(default)]
    l1_ratio: f64,
    coefficients: Vec<f64>,
    intercept: Vec<f64>,
}

#[derive(Deserialize)]
struct Densities {
    strength: f64,
    weights: Vec<f64>,
    log_laplace: Vec<f64>,
    log_normal: Vec<f64>,
}

fn reference() -> Reference {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/scikit_learn.json");
    serde_json::from_str(&std::fs::read_to_string(path).expect("the file")).expect("the numbers of scikit-learn")
}

/// Below 1 over the largest curvature of the problem, which is 4.54; the smallest is 0.16.
const LEARNING_RATE: f64 = 0.2;
const STEPS: usize = 600;

/// The regression problem on a device.
struct Regression {
    features: Tensor<2>,
    targets: Tensor<2>,
}

impl Regression {
    fn new(reference: &Reference, targets: usize, backend: &Backend) -> Self {
        let tensor = |array: &Array| {
            let data = TensorData::new(array.data.clone(), array.sizes());
            Tensor::<2>::from_data(data, (&backend.device, backend.dtype))
        };
        Self { features: tensor(&reference.features), targets: tensor(&reference.targets).narrow(1, 0, targets) }
    }

    fn model(&self, coefficients: &[f64], intercept: &[f64]) -> Linear {
        let options = (&self.features.device(), self.features.dtype());
        let [_, features] = self.features.dims();
        let targets = intercept.len();
        let mut model = LinearConfig::new(features, targets).init(&self.features.device());
        let weight = TensorData::new(coefficients.to_vec(), [features, targets]);
        model.weight = Param::from_tensor(Tensor::from_data(weight, options));
        model.bias = Some(Param::from_tensor(Tensor::from_data(intercept, options)));
        model
    }

    /// `1/(2·rows)·sum((prediction - target)²)`.
    fn loss(&self, model: &Linear) -> Tensor<1> {
        let [rows, _] = self.features.dims();
        let errors = model.forward(self.features.clone()) - self.targets.clone();
        errors.square().sum().mul_scalar(0.5 / rows as f64)
    }

    /// Gradient descent on all rows, from zero; the bias is in the model and nobody tells the penalty about it.
    fn descend(&self, penalty: impl Fn(&Linear) -> Option<Tensor<1>>, step: impl Fn(Linear) -> Linear) -> Linear {
        let ([_, features], [_, targets]) = (self.features.dims(), self.targets.dims());
        let mut model = self.model(&vec![0.0; features * targets], &vec![0.0; targets]);
        let mut optimizer: ModuleOptimizer = SgdConfig::new().init();
        for _ in 0..STEPS {
            let mut loss = self.loss(&model);
            if let Some(penalty) = penalty(&model) {
                loss = loss + penalty;
            }
            let gradients = GradientsParams::from_grads(loss.backward(), &model);
            model = step(optimizer.step(LEARNING_RATE, model, gradients));
        }
        model
    }
}

/// Runs every fit of a model of scikit-learn on every f64 backend, and compares coefficients, intercept and zeros.
fn converges(model: &str, targets: usize, train: impl Fn(&Regression, &Fit) -> Linear) {
    let reference = reference();
    let mut fits = 0;
    for backend in backends().iter().filter(|backend| backend.is_double()) {
        let regression = Regression::new(&reference, targets, backend);
        for fit in reference.fits.iter().filter(|fit| fit.model == model) {
            let trained = train(&regression, fit);
            let coefficients = host(trained.weight.val());
            let what = format!("{model} of strength {} on {}", fit.strength, backend.name);

            assert_close(&what, &coefficients, &fit.coefficients, Tolerance::new(0.0, 1e-7));
            let intercept = host(trained.bias.expect("a bias").val());
            assert_close(&what, &intercept, &fit.intercept, Tolerance::new(0.0, 1e-7));
            let zeros = |numbers: &[f64]| numbers.iter().map(|&number| number == 0.0).collect::<Vec<_>>();
            assert_eq!(zeros(&coefficients), zeros(&fit.coefficients), "the zeros of {what}: {coefficients:?}");
            fits += 1;
        }
    }
    assert!(fits > 0, "no fit of {model}");
}

#[test]
#[cfg_attr(not(any(feature = "flex", feature = "ndarray")), ignore = "in f64, which GPUs have not")]
fn proximal_l1_converges_to_the_lasso_of_scikit_learn_with_the_same_zeros() {
    converges("Lasso", 1, |regression, fit| {
        let shrink = ProximalL1Config::new(fit.strength).init(&Device::flex());
        regression.descend(|_| None, |model| shrink.step(LEARNING_RATE, model))
    });
}

#[test]
#[cfg_attr(not(any(feature = "flex", feature = "ndarray")), ignore = "in f64, which GPUs have not")]
fn proximal_elastic_net_converges_to_that_of_scikit_learn_with_the_same_zeros() {
    converges("ElasticNet", 1, |regression, fit| {
        let shrink = ProximalElasticNetConfig::new(fit.strength).with_l1_ratio(fit.l1_ratio).init(&Device::flex());
        regression.descend(|_| None, |model| shrink.step(LEARNING_RATE, model))
    });
}

#[test]
#[cfg_attr(not(any(feature = "flex", feature = "ndarray")), ignore = "in f64, which GPUs have not")]
fn an_l2_penalty_converges_to_the_ridge_of_scikit_learn() {
    converges("Ridge", 1, |regression, fit| {
        let penalty = L2PenaltyConfig::new(fit.strength).init(&Device::flex());
        regression.descend(|model| Some(penalty.forward(model)), |model| model)
    });
}

/// Its fixed point `w = (1 - rate·strength)·(w - rate·gradient)` is that of a ridge with
/// `strength / (1 - rate·strength)`.
#[test]
#[cfg_attr(not(any(feature = "flex", feature = "ndarray")), ignore = "in f64, which GPUs have not")]
fn decoupled_l2_converges_to_a_ridge_of_a_larger_strength() {
    converges("Ridge", 1, |regression, fit| {
        let shrink = DecoupledL2Config::new(fit.strength / (1.0 + LEARNING_RATE * fit.strength)).init(&Device::flex());
        regression.descend(|_| None, |model| shrink.step(LEARNING_RATE, model))
    });
}

#[test]
#[cfg_attr(not(any(feature = "flex", feature = "ndarray")), ignore = "in f64, which GPUs have not")]
fn proximal_row_groups_converge_to_the_multi_task_lasso_of_scikit_learn_with_the_same_zero_rows() {
    converges("MultiTaskLasso", 3, |regression, fit| {
        let shrink = ProximalRowGroupsConfig::new(fit.strength).init(&Device::flex());
        regression.descend(|_| None, |model| shrink.step(LEARNING_RATE, model))
    });
}

/// Where scikit-learn has found the minimum, data and penalty pull with the same force on every weight that is not 0,
/// and the data pull less than the penalty can on every weight that is.
#[test]
#[cfg_attr(not(any(feature = "flex", feature = "ndarray")), ignore = "in f64, which GPUs have not")]
fn penalties_balance_the_data_at_the_minimum_of_scikit_learn() {
    let reference = reference();
    for backend in backends().iter().filter(|backend| backend.is_double()) {
        let regression = Regression::new(&reference, 1, backend);
        for fit in reference.fits.iter().filter(|fit| fit.model != "MultiTaskLasso") {
            let model = regression.model(&fit.coefficients, &fit.intercept);
            let elastic = ElasticNetPenaltyConfig::new(fit.strength).with_l1_ratio(fit.l1_ratio).init(&backend.device);
            let penalty = match fit.model.as_str() {
                "Lasso" => L1PenaltyConfig::new(fit.strength).init(&backend.device).forward(&model),
                "Ridge" => L2PenaltyConfig::new(fit.strength).init(&backend.device).forward(&model),
                _ => elastic.forward(&model),
            };
            let gradients = (regression.loss(&model) + penalty).backward();
            let slopes = host(model.weight.grad(&gradients).expect("a gradient"));
            for (slope, weight) in slopes.into_iter().zip(&fit.coefficients) {
                let allowed = if *weight == 0.0 { fit.strength * fit.l1_ratio } else { 1e-9 };
                assert!(slope.abs() <= allowed, "{} {}: {slope} at {weight}", fit.model, fit.strength);
            }
        }
    }
}

#[test]
#[cfg_attr(not(any(feature = "flex", feature = "ndarray")), ignore = "in f64, which GPUs have not")]
fn penalties_are_minus_the_log_of_their_priors() {
    for backend in backends().iter().filter(|backend| backend.is_double()) {
        for Densities { strength, weights, log_laplace, log_normal } in reference().densities {
            let each = |penalty: &dyn Fn(Tensor<1>) -> Tensor<1>| -> Vec<f64> {
                let tensor = |weight: &f64| Tensor::from_data([*weight], (&backend.device, backend.dtype));
                weights.iter().flat_map(|weight| host(penalty(tensor(weight)))).collect()
            };
            let minus = |log: &[f64]| log.iter().map(|log| -log).collect::<Vec<_>>();
            // What the densities are divided by: 2 / strength and sqrt(2·pi / strength).
            let with = |penalties: Vec<f64>, constant: f64| penalties.iter().map(|p| p + constant).collect::<Vec<_>>();
            let (laplace, normal) = ((2.0 / strength).ln(), 0.5 * (2.0 * std::f64::consts::PI / strength).ln());
            let tolerance = Tolerance::new(1e-13, 1e-14);

            let l1 = L1PenaltyConfig::new(strength).init(&backend.device);
            assert_close("Laplace", &with(each(&|w| l1.of(w)), laplace), &minus(&log_laplace), tolerance);
            let l2 = L2PenaltyConfig::new(strength).init(&backend.device);
            assert_close("normal", &with(each(&|w| l2.of(w)), normal), &minus(&log_normal), tolerance);

            // The elastic net of twice the strength is the product of the two.
            let both = ElasticNetPenaltyConfig::new(2.0 * strength).init(&backend.device);
            let product: Vec<f64> = log_laplace.iter().zip(&log_normal).map(|(a, b)| -a - b).collect();
            assert_close("both", &with(each(&|w| both.of(w)), laplace + normal), &product, tolerance);
        }
    }
}
