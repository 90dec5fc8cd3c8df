use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use burn::config::Config;
use burn::module::{Module, Param, ParamGroup};
use burn::nn::{Linear, LinearConfig};
use burn::optim::{AdamConfig, GradientsParams, ModuleOptimizer, SgdConfig};
use burn::tensor::{DType, Device, Tensor, TensorData};
use burn_losses::distance::Distance;
use burn_losses::reduction::Reduction;
use burn_losses::regularization::*;
use parity::{Backend, backends};
use serde::Deserialize;
use serde::Serialize;
use serde::de::DeserializeOwned;
use support::close::{Tolerance, assert_close, assert_finite};
use support::golden::Array;
use support::table::host;

// ------------------------------------------------------------------------------------------------------------------
// scikit-learn: the numbers of golden/scikit_learn.json, which generate/scikit_learn.py writes.

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
    l1_share: f64,
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
fn proximal_l1_converges_to_the_lasso_of_scikit_learn_with_the_same_zeros() {
    converges("Lasso", 1, |regression, fit| {
        let shrink = ProximalL1Config::new(fit.strength).init();
        regression.descend(|_| None, |model| shrink.step(LEARNING_RATE, model))
    });
}

#[test]
fn proximal_elastic_net_converges_to_that_of_scikit_learn_with_the_same_zeros() {
    converges("ElasticNet", 1, |regression, fit| {
        let shrink = ProximalElasticNetConfig::new(fit.strength).with_l1_share(fit.l1_share).init();
        regression.descend(|_| None, |model| shrink.step(LEARNING_RATE, model))
    });
}

#[test]
fn an_l2_penalty_converges_to_the_ridge_of_scikit_learn() {
    converges("Ridge", 1, |regression, fit| {
        let penalty = L2PenaltyConfig::new(fit.strength).init();
        regression.descend(|model| Some(penalty.forward(model)), |model| model)
    });
}

/// Its fixed point `w = (1 - rate·strength)·(w - rate·gradient)` is that of a ridge with
/// `strength / (1 - rate·strength)`.
#[test]
fn decoupled_l2_converges_to_a_ridge_of_a_larger_strength() {
    converges("Ridge", 1, |regression, fit| {
        let shrink = DecoupledL2Config::new(fit.strength / (1.0 + LEARNING_RATE * fit.strength)).init();
        regression.descend(|_| None, |model| shrink.step(LEARNING_RATE, model))
    });
}

#[test]
fn proximal_row_groups_converge_to_the_multi_task_lasso_of_scikit_learn_with_the_same_zero_rows() {
    converges("MultiTaskLasso", 3, |regression, fit| {
        let shrink = ProximalRowGroupsConfig::new(fit.strength).init();
        regression.descend(|_| None, |model| shrink.step(LEARNING_RATE, model))
    });
}

/// Where scikit-learn has found the minimum, data and penalty pull with the same force on every weight that is not 0,
/// and the data pull less than the penalty can on every weight that is.
#[test]
fn penalties_balance_the_data_at_the_minimum_of_scikit_learn() {
    let reference = reference();
    for backend in backends().iter().filter(|backend| backend.is_double()) {
        let regression = Regression::new(&reference, 1, backend);
        for fit in reference.fits.iter().filter(|fit| fit.model != "MultiTaskLasso") {
            let model = regression.model(&fit.coefficients, &fit.intercept);
            let elastic = ElasticNetPenaltyConfig::new(fit.strength).with_l1_share(fit.l1_share).init();
            let penalty = match fit.model.as_str() {
                "Lasso" => L1PenaltyConfig::new(fit.strength).init().forward(&model),
                "Ridge" => L2PenaltyConfig::new(fit.strength).init().forward(&model),
                _ => elastic.forward(&model),
            };
            let gradients = (regression.loss(&model) + penalty).backward();
            let slopes = host(model.weight.grad(&gradients).expect("a gradient"));
            for (slope, weight) in slopes.into_iter().zip(&fit.coefficients) {
                let allowed = if *weight == 0.0 { fit.strength * fit.l1_share } else { 1e-9 };
                assert!(slope.abs() <= allowed, "{} {}: {slope} at {weight}", fit.model, fit.strength);
            }
        }
    }
}

#[test]
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

            let l1 = L1PenaltyConfig::new(strength).init();
            assert_close("Laplace", &with(each(&|w| l1.of(w)), laplace), &minus(&log_laplace), tolerance);
            let l2 = L2PenaltyConfig::new(strength).init();
            assert_close("normal", &with(each(&|w| l2.of(w)), normal), &minus(&log_normal), tolerance);

            // The elastic net of twice the strength is the product of the two.
            let both = ElasticNetPenaltyConfig::new(2.0 * strength).init();
            let product: Vec<f64> = log_laplace.iter().zip(&log_normal).map(|(a, b)| -a - b).collect();
            assert_close("both", &with(each(&|w| both.of(w)), laplace + normal), &product, tolerance);
        }
    }
}

// ------------------------------------------------------------------------------------------------------------------
// Laws of the steps.

const RATE: f64 = 0.25;

/// Reproducible numbers in (-3, 3) that nobody chose.
fn numbers(count: usize, seed: u64) -> Vec<f64> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        6.0 * ((state >> 11) as f64 / (1_u64 << 53) as f64) - 3.0
    };
    (0..count).map(|_| next()).collect()
}

fn matrix(data: &[f64], columns: usize, backend: &Backend) -> Tensor<2> {
    let data = TensorData::new(data.to_vec(), [data.len() / columns, columns]);
    Tensor::from_data(data, (&backend.device, backend.dtype))
}

/// Every proximal step with a strength, on rows of three numbers; and the penalty that it is the step of.
fn proximal_steps(strength: f64, backend: &Backend) -> Vec<(&'static str, ProximalStep<'_>, RowPenalty)> {
    let shrink = move |step: Box<dyn Fn(Tensor<2>) -> Tensor<2>>| -> ProximalStep<'_> {
        Box::new(move |weights| host(step(matrix(weights, 3, backend))))
    };
    let l1 = ProximalL1Config::new(strength).init();
    let elastic = ProximalElasticNetConfig::new(strength).with_l1_share(0.3).init();
    let ridge = ProximalElasticNetConfig::new(strength).with_l1_share(0.0).init();
    let rows = ProximalRowGroupsConfig::new(strength).init();
    let absolute = |row: &[f64]| row.iter().map(|w| w.abs()).sum::<f64>();
    let half_square = |row: &[f64]| row.iter().map(|w| 0.5 * w * w).sum::<f64>();
    vec![
        ("L1", shrink(Box::new(move |w| l1.shrink(RATE, w))), Box::new(move |row| strength * absolute(row))),
        (
            "elastic net",
            shrink(Box::new(move |w| elastic.shrink(RATE, w))),
            Box::new(move |row| strength * (0.3 * absolute(row) + 0.7 * half_square(row))),
        ),
        ("L2", shrink(Box::new(move |w| ridge.shrink(RATE, w))), Box::new(move |row| strength * half_square(row))),
        (
            "row groups",
            shrink(Box::new(move |w| rows.shrink(RATE, w))),
            Box::new(move |row| strength * (2.0 * half_square(row)).sqrt()),
        ),
    ]
}

type ProximalStep<'a> = Box<dyn Fn(&[f64]) -> Vec<f64> + 'a>;
type RowPenalty = Box<dyn Fn(&[f64]) -> f64>;

fn slack(backend: &Backend) -> f64 {
    if backend.is_double() { 1e-12 } else { 1e-5 }
}

/// The definition: a step lands where `rate·penalty(x) + 1/2·‖x - w‖²` is smallest. No point of a grid around the
/// weights is better, and the best of them is near.
#[test]
fn a_proximal_step_finds_the_minimum_of_a_grid() {
    for backend in backends() {
        for strength in [0.5, 4.0, 20.0] {
            for (name, step, penalty) in proximal_steps(strength, &backend) {
                for seed in 1..4 {
                    let weights = numbers(3, seed);
                    let value = |x: &[f64]| {
                        let squares: f64 = x.iter().zip(&weights).map(|(x, w)| 0.5 * (x - w) * (x - w)).sum();
                        RATE * penalty(x) + squares
                    };
                    let found = step(&weights);
                    let mut best = (f64::INFINITY, Vec::new());
                    const POINTS: i32 = 24;
                    let place = |k: i32, axis: usize| weights[axis] * f64::from(k) / f64::from(POINTS);
                    for a in -2..=POINTS + 2 {
                        for b in -2..=POINTS + 2 {
                            for c in -2..=POINTS + 2 {
                                let point = vec![place(a, 0), place(b, 1), place(c, 2)];
                                let at = value(&point);
                                if at < best.0 {
                                    best = (at, point);
                                }
                            }
                        }
                    }
                    let what = format!("{name} {strength} of {weights:?} on {}", backend.name);
                    assert!(value(&found) <= best.0 + slack(&backend), "{what}: {found:?} is worse than {:?}", best.1);
                    for (axis, (x, y)) in found.iter().zip(&best.1).enumerate() {
                        // The grid's own spacing.
                        let near = weights[axis].abs() / f64::from(POINTS) + slack(&backend);
                        assert!((x - y).abs() <= near, "{what}: {found:?} is far from {:?}", best.1);
                    }
                }
            }
        }
    }
}

/// `‖P(x) - P(y)‖² <= <P(x) - P(y), x - y>`, which a proximal step has and a wrong one has not.
#[test]
fn a_proximal_step_is_firmly_non_expansive() {
    for backend in backends() {
        for strength in [0.1, 2.0, 9.0] {
            for (name, step, _) in proximal_steps(strength, &backend) {
                for seed in 0..20 {
                    let (x, y) = (numbers(12, 2 * seed), numbers(12, 2 * seed + 1));
                    let (from, to) = (step(&x), step(&y));
                    let moved: Vec<f64> = from.iter().zip(&to).map(|(a, b)| a - b).collect();
                    let square: f64 = moved.iter().map(|a| a * a).sum();
                    let product: f64 = moved.iter().zip(x.iter().zip(&y)).map(|(m, (x, y))| m * (x - y)).sum();
                    assert!(square <= product + slack(&backend), "{name} {strength}: {square} > {product}");
                }
            }
        }
    }
}

#[test]
fn a_step_of_strength_zero_or_learning_rate_zero_changes_no_bit() {
    let weights = [0.3, -1e-20, 0.0, 3e30, -7.0, 2e-38];
    for backend in backends() {
        let before = host(matrix(&weights, 3, &backend));
        for (name, step, _) in proximal_steps(0.0, &backend) {
            assert_eq!(step(&weights), before, "{name} on {}", backend.name);
        }
        let w = || matrix(&weights, 3, &backend);
        assert_eq!(host(DecoupledL2Config::new(0.0).init().shrink(0.5, w())), before, "{}", backend.name);
        assert_eq!(host(DecoupledL2Config::new(3.0).init().shrink(0.0, w())), before, "{}", backend.name);
        assert_eq!(host(ProximalL1Config::new(3.0).init().shrink(0.0, w())), before, "{}", backend.name);
        assert_eq!(host(ProximalRowGroupsConfig::new(3.0).init().shrink(0.0, w())), before, "{}", backend.name);
    }
}

#[test]
fn zeros_grow_with_the_strength_until_all_is_zero() {
    let weights = numbers(60, 5);
    for backend in backends() {
        for name in ["L1", "elastic net", "row groups"] {
            let mut before = vec![false; weights.len()];
            for strength in [0.0, 0.5, 1.0, 3.0, 5.0, 9.0, 25.0, 50.0] {
                let steps = proximal_steps(strength, &backend);
                let (_, step, _) = steps.iter().find(|(step, ..)| *step == name).expect("a step");
                let zeros: Vec<bool> = step(&weights).iter().map(|&number| number == 0.0).collect();
                let stays = before.iter().zip(&zeros).all(|(before, now)| !before || *now);
                assert!(stays, "{name} {strength}: a zero came back on {}", backend.name);
                before = zeros;
            }
            assert!(before.iter().all(|&zero| zero), "{name} on {}", backend.name);
        }
    }
}

#[test]
fn zeros_have_no_sign() {
    for backend in backends() {
        for (name, step, _) in proximal_steps(50.0, &backend).into_iter().filter(|(name, ..)| *name != "L2") {
            let shrunk = step(&[-0.5, 0.5, -0.0, -2.0, 1.0, 2.0]);
            assert!(shrunk.iter().all(|number| *number == 0.0 && number.is_sign_positive()), "{name}: {shrunk:?}");
        }
    }
}

#[test]
fn the_elastic_net_is_a_soft_threshold_and_then_a_division_and_its_ends_are_l1_and_l2() {
    let weights = numbers(30, 3);
    for backend in backends() {
        let w = || matrix(&weights, 3, &backend);
        let elastic =
            |share: f64| host(ProximalElasticNetConfig::new(4.0).with_l1_share(share).init().shrink(RATE, w()));
        let tolerance = Tolerance::new(10.0 * slack(&backend), slack(&backend));

        // rate·strength = 1.
        let thresholded = host(soft_threshold(w(), 0.3));
        let divided: Vec<f64> = thresholded.iter().map(|number| number / 1.7).collect();
        assert_close("the formula", &elastic(0.3), &divided, tolerance);
        assert_eq!(elastic(1.0), host(ProximalL1Config::new(4.0).init().shrink(RATE, w())));
        // The closed form of the step of strength/2·w².
        let halved: Vec<f64> = host(w()).iter().map(|number| number / 2.0).collect();
        assert_close("the L2 end", &elastic(0.0), &halved, tolerance);
    }
}

#[test]
fn a_group_of_one_number_is_an_l1_step() {
    let weights = numbers(30, 4);
    for backend in backends() {
        let w = || matrix(&weights, 1, &backend);
        let grouped = host(ProximalRowGroupsConfig::new(3.0).init().shrink(RATE, w()));
        let single = host(ProximalL1Config::new(3.0).init().shrink(RATE, w()));

        assert_close("groups of one", &grouped, &single, Tolerance::new(slack(&backend), slack(&backend)));
    }
}

#[test]
fn decoupled_l2_takes_the_same_share_of_every_weight() {
    let weights = numbers(30, 6);
    for backend in backends() {
        let shrunk = host(DecoupledL2Config::new(0.4).init().shrink(RATE, matrix(&weights, 3, &backend)));
        let expected: Vec<f64> = host(matrix(&weights, 3, &backend)).iter().map(|weight| 0.9 * weight).collect();

        assert_close("nine tenths", &shrunk, &expected, Tolerance::new(slack(&backend), 0.0));
    }
}

/// Burn's AdamW shrinks before its step and this one shrinks after it, so with the gradient 0 they are the same.
#[test]
fn decoupled_l2_is_the_weight_decay_of_adamw_where_the_gradient_is_zero() {
    for backend in backends() {
        let model = two_layers(&backend);
        let ones = Tensor::<2>::ones([1, 3], (&backend.device, backend.dtype));
        let gradients = || {
            let loss = model.forward(ones.clone()).sum().mul_scalar(0.0);
            GradientsParams::from_grads(loss.backward(), &model)
        };
        let mut adamw: ModuleOptimizer = burn::optim::AdamWConfig::new().with_weight_decay(0.5).init();
        let mut adam: ModuleOptimizer = AdamConfig::new().init();
        let decayed = adamw.step(0.1, model.clone(), gradients());
        let shrunk = DecoupledL2Config::new(0.5).init().step(0.1, adam.step(0.1, model.clone(), gradients()));

        let (decayed, shrunk) = (host(decayed.first.weight.val()), host(shrunk.first.weight.val()));
        assert_close("the decay", &shrunk, &decayed, Tolerance::new(1e-6, 1e-7));
    }
}

// ------------------------------------------------------------------------------------------------------------------
// Modules.

#[derive(Module, Debug)]
struct TwoLayers {
    first: Linear,
    second: Linear,
}

impl TwoLayers {
    fn forward(&self, inputs: Tensor<2>) -> Tensor<2> {
        self.second.forward(self.first.forward(inputs).tanh())
    }
}

fn two_layers(backend: &Backend) -> TwoLayers {
    let layer = |sizes: [usize; 2], seed: u64| {
        let mut layer = LinearConfig::new(sizes[0], sizes[1]).init(&backend.device);
        layer.weight = Param::from_tensor(matrix(&numbers(sizes[0] * sizes[1], seed), sizes[1], backend));
        let bias = numbers(sizes[1], seed + 50);
        layer.bias = Some(Param::from_tensor(Tensor::from_data(bias.as_slice(), (&backend.device, backend.dtype))));
        layer
    };
    TwoLayers { first: layer([3, 4], 1), second: layer([4, 2], 2) }
}

fn in_first() -> ParameterChoice {
    ParameterChoice::new().with_group(ParamGroup::from_regex(r"^first\.").expect("an expression"))
}

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
        let none = ProximalElasticNetConfig::new(0.0).init();
        let with = train(&backend, |model| none.step(0.05, model));
        let without = train(&backend, |model| model);
        assert_eq!(host(with.first.weight.val()), host(without.first.weight.val()), "{}", backend.name);
        assert_eq!(host(with.second.weight.val()), host(without.second.weight.val()), "{}", backend.name);

        let model = two_layers(&backend);
        let (before, device) = (model.first.weight.clone(), model.first.weight.val().device());
        let after = ProximalL1Config::new(1.0).init().step(0.5, model);
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
        let after = ProximalL1Config::new(100.0).with_parameters(in_first()).init().step(1.0, model.clone());

        assert!(host(after.first.weight.val()).iter().all(|&weight| weight == 0.0), "{}", backend.name);
        let bias = |layer: &Linear| host(layer.bias.as_ref().expect("a bias").val());
        assert_eq!(bias(&after.first), bias(&model.first));
        assert_eq!(host(after.second.weight.val()), host(model.second.weight.val()));

        let all = in_first().with_biases_and_norms(BiasesAndNorms::Included);
        let after = ProximalL1Config::new(100.0).with_parameters(all).init().step(1.0, model);
        assert!(bias(&after.first).iter().all(|&weight| weight == 0.0), "{}", backend.name);
    }
}

#[test]
fn a_frozen_layer_is_neither_penalised_nor_moved() {
    for backend in backends() {
        let mut model = two_layers(&backend);
        model.first = model.first.freeze();
        let before = host(model.first.weight.val());
        let penalty = L1PenaltyConfig::new(1.0).with_parameters(in_first()).init();
        assert_eq!(host(penalty.forward(&model)), [0.0], "{}", backend.name);

        let after = ProximalL1Config::new(100.0).init().step(1.0, model);
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

        let l1 = L1PenaltyConfig::new(0.7).init().forward(&model);
        assert_close("L1", &host(l1), &[0.7 * absolute], tolerance);
        let elastic = ElasticNetPenaltyConfig::new(0.7).with_l1_share(0.2).init().forward(&model);
        assert_close("elastic", &host(elastic), &[0.7 * (0.2 * absolute + 0.4 * squares)], tolerance);
        let l2 = L2PenaltyConfig::new(0.7).init().forward(&model);
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
        let elastic = |share: f64| host(ElasticNetPenaltyConfig::new(0.7).with_l1_share(share).init().forward(&model));

        assert_eq!(elastic(1.0), host(L1PenaltyConfig::new(0.7).init().forward(&model)), "{}", backend.name);
        assert_eq!(elastic(0.0), host(L2PenaltyConfig::new(0.7).init().forward(&model)), "{}", backend.name);
    }
}

#[test]
fn a_penalty_on_a_million_weights_keeps_its_digits() {
    for backend in backends() {
        let mut model = LinearConfig::new(1100, 1000).init(&backend.device);
        model.weight = Param::from_tensor(Tensor::full([1100, 1000], 0.1, (&backend.device, backend.dtype)));
        let tenth = host(model.weight.val())[0];
        let expected = 1_100_000.0 * tenth;

        let penalty = host(L1PenaltyConfig::new(1.0).init().forward(&model));
        assert_close(&backend.name, &penalty, &[expected], Tolerance::new(5e-6, 0.0));
    }
}

#[test]
fn half_precision_keeps_its_type_and_its_zeros_are_exact() {
    let backend = Backend { name: "flex".to_owned(), ..backends().remove(backends().len() - 1) };
    for dtype in [DType::F16, DType::BF16] {
        let backend = Backend { device: Device::flex().autodiff(), dtype, ..in_single(&backend) };
        let weights = [0.5, -0.25, 2.0, -0.0625, 0.125, -4.0];
        let mut model = LinearConfig::new(3, 2).init(&backend.device);
        model.weight = Param::from_tensor(matrix(&weights, 2, &backend));

        let after = ProximalL1Config::new(0.5).init().step(0.5, model.clone());
        assert_eq!(after.weight.val().dtype(), dtype);
        assert_eq!(host(after.weight.val()), [0.25, 0.0, 1.75, 0.0, 0.0, -3.75]);
        // By hand: lengths of the rows 0.559, 2.001 and 4.002.
        let rows = host(ProximalRowGroupsConfig::new(1.0).init().step(1.0, model.clone()).weight.val());
        assert_eq!(rows[..2], [0.0, 0.0]);
        assert!((rows[5] + 4.0 * (1.0 - 1.0 / 4.001_953)).abs() < 0.02, "{rows:?}");

        let penalty = L2PenaltyConfig::new(1.0).init().forward(&model);
        assert_eq!(penalty.dtype(), dtype);
        let slopes = host(model.weight.grad(&penalty.backward()).expect("a gradient"));
        assert_eq!(slopes, weights);
    }
}

fn in_single(backend: &Backend) -> Backend {
    Backend { name: backend.name.clone(), device: backend.device.clone(), ..*backend }
}

// ------------------------------------------------------------------------------------------------------------------
// Hostile inputs.

fn rejected<T>(what: &str, message: &str, build: impl FnOnce() -> T) {
    let panic = catch_unwind(AssertUnwindSafe(|| drop(build()))).expect_err(what);
    let text = panic.downcast_ref::<String>().map_or("", String::as_str);
    assert!(text.contains(message), "{what}: {text:?} does not say {message:?}");
}

#[test]
fn strengths_that_are_negative_infinite_or_no_number_are_rejected() {
    for strength in [-1.0, -1e-300, f64::INFINITY, f64::NEG_INFINITY, f64::NAN, 1e31] {
        let message = "strength must be in [0, 1e30]";
        rejected("L1Penalty", message, || L1PenaltyConfig::new(strength).init());
        rejected("L2Penalty", message, || L2PenaltyConfig::new(strength).init());
        rejected("ElasticNetPenalty", message, || ElasticNetPenaltyConfig::new(strength).init());
        rejected("ProximalL1", message, || ProximalL1Config::new(strength).init());
        rejected("ProximalElasticNet", message, || ProximalElasticNetConfig::new(strength).init());
        rejected("ProximalRowGroups", message, || ProximalRowGroupsConfig::new(strength).init());
        rejected("DecoupledL2", message, || DecoupledL2Config::new(strength).init());
    }
    for share in [-0.1, 1.1, f64::NAN] {
        rejected("a share", "l1_share must be in [0, 1]", || {
            ElasticNetPenaltyConfig::new(1.0).with_l1_share(share).init()
        });
        rejected("a share", "l1_share must be in [0, 1]", || {
            ProximalElasticNetConfig::new(1.0).with_l1_share(share).init()
        });
    }
}

#[test]
fn learning_rates_that_are_negative_infinite_or_no_number_are_rejected() {
    let weights = || Tensor::<1>::ones([3], &Device::flex());
    for rate in [-0.1, f64::INFINITY, f64::NAN] {
        let message = "learning_rate must be in [0, 1e30]";
        rejected("ProximalL1", message, || ProximalL1Config::new(1.0).init().shrink(rate, weights()));
        rejected("elastic", message, || ProximalElasticNetConfig::new(1.0).init().shrink(rate, weights()));
        rejected("rows", message, || ProximalRowGroupsConfig::new(1.0).init().shrink(rate, weights()));
        rejected("DecoupledL2", message, || DecoupledL2Config::new(1.0).init().shrink(rate, weights()));
    }
    rejected("the product", "learning_rate·strength must be in [0, 1]", || {
        DecoupledL2Config::new(11.0).init().shrink(0.1, weights())
    });
}

#[test]
fn a_penalty_of_strength_zero_is_zero_with_gradient_zero() {
    for backend in backends() {
        let model = two_layers(&backend);
        let penalties = [
            L1PenaltyConfig::new(0.0).init().forward(&model),
            L2PenaltyConfig::new(0.0).init().forward(&model),
            ElasticNetPenaltyConfig::new(0.0).init().forward(&model),
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
            check("L1", &|w| L1PenaltyConfig::new(0.5).init().of(w));
            check("L2", &|w| L2PenaltyConfig::new(0.5).init().of(w));
            check("elastic net", &|w| ElasticNetPenaltyConfig::new(0.5).init().of(w));
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
        let penalty = host(L1PenaltyConfig::new(1.0).init().forward(&model));
        let expected: f64 = host(model.second.weight.val()).iter().map(|weight| weight.abs()).sum();
        assert_close("the rest", &penalty, &[expected], Tolerance::new(slack(&backend), 0.0));

        let after = ProximalRowGroupsConfig::new(1.0).init().step(0.1, model.clone());
        assert_eq!(after.first.weight.val().dims(), [0, 4]);
        let after = ProximalElasticNetConfig::new(1.0).init().step(0.1, after);
        assert_eq!(after.first.weight.val().dims(), [0, 4]);
        assert!(after.first.weight.is_require_grad() && after.first.weight.id == model.first.weight.id);
    }
}

// ------------------------------------------------------------------------------------------------------------------
// Embeddings and class weights.

type Loss = Box<dyn Fn(Tensor<2>) -> Tensor<1>>;

/// Every loss; those of class weights take any even number of rows.
fn losses(rows: usize) -> Vec<(&'static str, Loss)> {
    let lp = |norm: Distance, power: f64| -> Loss {
        let loss = LpRegularizerConfig::new().with_norm(norm).with_power(power).init();
        Box::new(move |embeddings| loss.forward_no_reduction(embeddings))
    };
    let zero_mean = ZeroMeanRegularizerConfig::new().init();
    let center_invariant = CenterInvariantRegularizerConfig::new().init();
    let regular_face = RegularFaceRegularizerConfig::new().init();
    let mut losses: Vec<(&'static str, Loss)> = vec![
        ("Euclidean", lp(Distance::Euclidean, 1.0)),
        ("root of Manhattan", lp(Distance::Manhattan, 0.5)),
        ("Chebyshev", lp(Distance::Chebyshev, 1.0)),
        ("Minkowski", lp(Distance::Minkowski(3.0), 0.25)),
        ("ZeroMean", Box::new(move |rows| zero_mean.forward_no_reduction(rows))),
        ("CenterInvariant", Box::new(move |rows| center_invariant.forward_no_reduction(rows))),
        ("RegularFace", Box::new(move |rows| regular_face.forward_no_reduction(rows))),
    ];
    if rows > 0 && rows % 2 == 0 {
        let sparse = SparseCentersRegularizerConfig::new(rows / 2, 2).init();
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
        let loss = RegularFaceRegularizerConfig::new().init().forward(row.clone(), Reduction::Mean)
            + CenterInvariantRegularizerConfig::new().init().forward(row.clone(), Reduction::Mean);
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
            let total = Reduction::Mean.apply(losses);
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
        for reduction in [Reduction::Mean, Reduction::Sum, Reduction::MeanNonZero] {
            let rows = || matrix(&numbers(12, 8), 3, &backend);
            let pairs = [
                {
                    let loss = LpRegularizerConfig::new().init();
                    (loss.forward(rows(), reduction), loss.forward_no_reduction(rows()))
                },
                {
                    let loss = ZeroMeanRegularizerConfig::new().init();
                    (loss.forward(rows(), reduction), loss.forward_no_reduction(rows()))
                },
                {
                    let loss = CenterInvariantRegularizerConfig::new().init();
                    (loss.forward(rows(), reduction), loss.forward_no_reduction(rows()))
                },
                {
                    let loss = RegularFaceRegularizerConfig::new().init();
                    (loss.forward(rows(), reduction), loss.forward_no_reduction(rows()))
                },
                {
                    let loss = SparseCentersRegularizerConfig::new(2, 2).init();
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
        let center_invariant = CenterInvariantRegularizerConfig::new().init();
        let same = matrix(&[3.0, 4.0, -5.0, 0.0, 4.0, -3.0], 2, &backend);
        assert_eq!(host(center_invariant.forward_no_reduction(same)), [0.0; 3], "{}", backend.name);
        let zero_mean = ZeroMeanRegularizerConfig::new().init();
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
        let losses = host(RegularFaceRegularizerConfig::new().init().forward_no_reduction(weights()));
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

// ------------------------------------------------------------------------------------------------------------------
// Configs.

fn round_trip<C: Serialize + DeserializeOwned>(config: &C) {
    let json = serde_json::to_string(config).expect("JSON");
    let back: C = serde_json::from_str(&json).expect("the config");
    assert_eq!(serde_json::to_string(&back).expect("JSON"), json);
}

#[test]
fn configs_survive_json_with_every_field_changed() {
    let choice = in_first().with_biases_and_norms(BiasesAndNorms::Included);
    round_trip(&L1PenaltyConfig::new(0.1).with_parameters(choice.clone()));
    round_trip(&L2PenaltyConfig::new(0.1).with_parameters(choice.clone()));
    round_trip(&ElasticNetPenaltyConfig::new(0.1).with_l1_share(0.25).with_parameters(choice.clone()));
    round_trip(&ProximalL1Config::new(0.1).with_parameters(choice.clone()));
    round_trip(&ProximalElasticNetConfig::new(0.1).with_l1_share(0.25).with_parameters(choice.clone()));
    round_trip(&ProximalRowGroupsConfig::new(0.1).with_parameters(choice.clone()));
    round_trip(&DecoupledL2Config::new(0.1).with_parameters(choice.clone()));
    round_trip(&LpRegularizerConfig::new().with_norm(Distance::lp(f64::INFINITY)).with_power(1.5));
    round_trip(&SparseCentersRegularizerConfig::new(7, 3));
    round_trip(&ZeroMeanRegularizerConfig::new());
    round_trip(&CenterInvariantRegularizerConfig::new());
    round_trip(&RegularFaceRegularizerConfig::new());

    let path = std::env::temp_dir().join(format!("burn-losses-choice-{}.json", std::process::id()));
    ProximalL1Config::new(0.25).with_parameters(choice).save(&path).expect("saved");
    let config = ProximalL1Config::load(&path).expect("loaded");
    std::fs::remove_file(&path).expect("removed");
    let paths = config.parameters.paths(&two_layers(&backends()[0]));
    assert_eq!((config.strength, paths), (0.25, vec!["first.weight".to_owned(), "first.bias".to_owned()]));
}
