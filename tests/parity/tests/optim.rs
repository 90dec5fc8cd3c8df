//! Optimizers of drawn rows: heads and center loss trained with them beside the same rule written in plain `f64` loops.

use burn::grad_clipping::GradientClipping;
use burn::module::{Module, Param, ParamGroup};
use burn::optim::{
    AdamWConfig, GradientsAccumulator, GradientsParams, ModuleOptimizer, SgdConfig, momentum::MomentumConfig,
};
use burn::tensor::{DType, Int, Tensor, TensorData};
use burn_losses::optim::{RowAdamWConfig, RowGradient, RowSgdConfig};
use burn_losses::{
    ArcFace, ArcFaceConfig, CenterLossConfig, CenterMode, CentersConfig, CurricularFaceConfig, LabelPolicy, OnBadLabel,
    SubCenterArcFaceConfig,
};
use parity::{Backend, backends};
use support::close::{Tolerance, assert_close};
use support::table::host;

const CLASSES: usize = 60;
const DIM: usize = 5;

fn tolerance(backend: &Backend) -> Tolerance {
    if backend.is_double() { Tolerance::new(1e-11, 1e-12) } else { Tolerance::new(2e-4, 2e-6) }
}

fn embeddings(backend: &Backend, step: usize) -> Tensor<2> {
    let numbers: Vec<f64> = (0..4 * DIM).map(|place| ((place * 37 + step * 11) as f64 * 0.7).sin()).collect();
    Tensor::from_data(TensorData::new(numbers, [4, DIM]), (&backend.device, backend.dtype))
}

fn labels(backend: &Backend, step: usize) -> Tensor<1, Int> {
    // Two rows of a class, and one without.
    Tensor::from_data([step * 7 % CLASSES, 3, 3, 59].map(|label| label as i64), &backend.device)
}

/// The rule of PartialFC in InsightFace: the rows of the sample and their velocity take a step, no others do.
struct Plain {
    /// Rows that are drawn together.
    group: usize,
    weights: Vec<f64>,
    velocity: Vec<f64>,
    momentum: f64,
    decay: f64,
}

impl Plain {
    fn step(&mut self, rate: f64, gradient: &[f64]) {
        let length = self.group * DIM;
        for ((weights, velocity), gradient) in
            self.weights.chunks_mut(length).zip(self.velocity.chunks_mut(length)).zip(gradient.chunks(length))
        {
            // No class of the sample has a gradient of nothing but zeros here.
            if gradient.iter().all(|&slope| slope == 0.0) {
                continue;
            }
            for ((weight, velocity), slope) in weights.iter_mut().zip(velocity).zip(gradient) {
                *velocity = self.momentum * *velocity + slope + self.decay * *weight;
                *weight -= rate * *velocity;
            }
        }
    }
}

/// The head drawn and optimized by rows, and its twin with dense gradients of the same sample, which `Plain` steps.
macro_rules! follows_the_plain_rule {
    ($config:expr, $backend:expr) => {{
        let backend = $backend;
        let heads = [RowGradient::Drawn, RowGradient::Dense].map(|gradient| {
            let centers = CentersConfig::new().with_sample_rate(0.2).with_seed(3).with_gradient(gradient);
            $config.with_centers(centers).init(&backend.device)
        });
        let [mut head, mut twin] = heads;
        let rows = head.centers.weight.dims()[0];
        let start: Vec<f64> = (0..rows * DIM).map(|place| ((place * 17 % 101) as f64 - 50.3) / 40.0).collect();
        let tensor = |numbers: &[f64]| {
            let data = TensorData::new(numbers.to_vec(), [rows, DIM]);
            Param::from_tensor(Tensor::<2>::from_data(data, (&backend.device, backend.dtype)))
        };
        head.centers.weight = tensor(&start);
        let group = head.centers.sub_centers();
        let mut plain = Plain { group, weights: start, velocity: vec![0.0; rows * DIM], momentum: 0.9, decay: 0.01 };
        let mut optimizer = RowSgdConfig::new().with_momentum(0.9).with_weight_decay(0.01).init();
        let mut moved = vec![false; CLASSES];
        for step in 0..6 {
            twin.centers.weight = tensor(&plain.weights);
            let rate = 0.3 / (step + 1) as f64;
            let loss = head.forward(embeddings(backend, step), labels(backend, step));
            let expected = twin.forward(embeddings(backend, step), labels(backend, step));
            let what = format!("{} step {step} on {} {:?}", stringify!($config), backend.name, backend.dtype);
            assert_close(&what, &host(loss.clone()), &host(expected.clone()), tolerance(backend));

            let dense = twin.centers.weight.val().grad(&expected.backward()).expect("a gradient");
            let dense = host(dense);
            dense
                .chunks(group * DIM)
                .zip(&mut moved)
                .for_each(|(row, moved)| *moved |= row.iter().any(|&slope| slope != 0.0));
            plain.step(rate, &dense);
            let before = host(head.centers.weight.val());
            head = optimizer.step(rate, head.clone(), GradientsParams::from_grads(loss.backward(), &head));
            let after = host(head.centers.weight.val());
            assert_close(&what, &after, &plain.weights, tolerance(backend));
            let length = group * DIM;
            for ((before, after), slopes) in before.chunks(length).zip(after.chunks(length)).zip(dense.chunks(length)) {
                let still = slopes.iter().all(|&slope| slope == 0.0);
                assert!(!still || before == after, "{what}: a row that was not drawn moved");
            }
        }
        let count = moved.iter().filter(|&&moved| moved).count();
        assert!((15..CLASSES).contains(&count), "{count} of {CLASSES} classes were drawn in six steps");
    }};
}

#[test]
fn a_sampled_head_follows_the_rule_of_insightface() {
    for backend in &backends() {
        follows_the_plain_rule!(ArcFaceConfig::new(CLASSES, DIM).with_scale(16.0), backend);
        follows_the_plain_rule!(SubCenterArcFaceConfig::new(CLASSES, DIM).with_scale(16.0), backend);
        follows_the_plain_rule!(CurricularFaceConfig::new(CLASSES, DIM).with_scale(16.0), backend);
    }
}

/// Several rows of a class, rows without one, and classes in no row.
#[test]
fn trained_centers_of_a_center_loss_follow_the_rule() {
    for backend in &backends() {
        let config = CenterLossConfig::new(CLASSES, DIM)
            .with_mode(CenterMode::Trained)
            .with_labels(LabelPolicy::new().with_on_bad_label(OnBadLabel::Ignore));
        let mut loss = config.clone().with_gradient(RowGradient::Drawn).init(&backend.device);
        let twin = config.init(&backend.device);
        let start: Vec<f64> = (0..CLASSES * DIM).map(|place| ((place * 17 % 101) as f64 - 50.3) / 40.0).collect();
        let velocity = vec![0.0; CLASSES * DIM];
        let mut plain = Plain { group: 1, weights: start.clone(), velocity, momentum: 0.9, decay: 0.1 };
        let centers = TensorData::new(start.clone(), [CLASSES, DIM]);
        loss = loss.with_centers(Tensor::from_data(centers, (&backend.device, backend.dtype)));
        let mut optimizer = RowSgdConfig::new().with_weight_decay(0.1).init();
        for step in 0..4 {
            // Class 0 is in the batch as a bad label only, and in the last step as a class before a bad label too.
            let labels = if step < 3 { [3, -7, 3, 10 + step as i64] } else { [0, 3, -7, 3] };
            let labels = Tensor::<1, Int>::from_data(labels, &backend.device);
            let centers = TensorData::new(plain.weights.clone(), [CLASSES, DIM]);
            let centers = Tensor::<2>::from_data(centers, (&backend.device, backend.dtype));
            let twin = twin.clone().with_centers(centers);
            let expected = twin.forward(embeddings(backend, step), labels.clone());
            let actual = loss.forward(embeddings(backend, step), labels);
            let what = format!("step {step} on {} {:?}", backend.name, backend.dtype);
            assert_close(&what, &host(actual.clone()), &host(expected.clone()), tolerance(backend));

            plain.step(0.5, &host(twin.centers().grad(&expected.backward()).expect("a gradient")));
            loss = optimizer.step(0.5, loss.clone(), GradientsParams::from_grads(actual.backward(), &loss));
            assert_close(&what, &host(loss.centers()), &plain.weights, tolerance(backend));
            assert!(plain.weights[3 * DIM] != start[3 * DIM] && (step == 3 || plain.weights[0] == start[0]), "{what}");
        }
    }
}

fn head(backend: &Backend, gradient: RowGradient) -> ArcFace {
    let centers = CentersConfig::new().with_sample_rate(0.2).with_gradient(gradient);
    let mut head = ArcFaceConfig::new(CLASSES, DIM).with_scale(16.0).with_centers(centers).init(&backend.device);
    let numbers: Vec<f64> = (0..CLASSES * DIM).map(|place| ((place * 17 % 101) as f64 - 50.3) / 40.0).collect();
    let weights = Tensor::<2>::from_data(TensorData::new(numbers, [CLASSES, DIM]), (&backend.device, backend.dtype));
    head.centers.weight = Param::from_tensor(weights);
    head
}

fn gradients(head: &ArcFace, backend: &Backend, step: usize) -> GradientsParams {
    let loss = head.forward(embeddings(backend, step), labels(backend, step));
    GradientsParams::from_grads(loss.backward(), head)
}

/// In a group of its own beside Burn's optimizer, saved and loaded with it.
#[test]
fn state_is_saved_and_resumed_beside_another_optimizer() {
    for backend in &backends() {
        for adam in [false, true] {
            let group = || ParamGroup::from_predicate("centers.weight");
            let fresh = || -> ModuleOptimizer {
                let all = AdamWConfig::new().init();
                if adam {
                    all.with_group(group(), RowAdamWConfig::new().build(), None)
                } else {
                    all.with_group(group(), RowSgdConfig::new().build(), None)
                }
            };
            let (mut model, mut optimizer) = (head(backend, RowGradient::Drawn), fresh());
            for step in 0..3 {
                let gradients = gradients(&model, backend, step);
                model = optimizer.step(0.1, model, gradients);
            }
            let mut resumed = fresh().load_record(optimizer.to_record());
            // A copy of the draws, which clones share.
            let mut twin = head(backend, RowGradient::Drawn).load_record(model.clone().into_record());
            for step in 3..6 {
                let of_both = [gradients(&model, backend, step), gradients(&twin, backend, step)];
                let [of_model, of_twin] = of_both;
                model = optimizer.step(0.1, model, of_model);
                twin = resumed.step(0.1, twin, of_twin);
            }
            let [expected, actual] = [model, twin].map(|model| host(model.centers.weight.val()));
            assert_eq!(actual, expected, "{adam} on {} {:?}", backend.name, backend.dtype);
        }
    }
}

/// With gradients of all rows these are Burn's optimizers, with the settings of PyTorch.
#[test]
fn dense_gradients_take_the_steps_of_burns_optimizers() {
    for backend in &backends() {
        let momentum = MomentumConfig::new().with_momentum(0.9).with_dampening(0.0).with_nesterov(true);
        let adam = RowAdamWConfig::new().with_weight_decay(0.1).with_epsilon(1e-4);
        let pairs: [(ModuleOptimizer, ModuleOptimizer); 2] = [
            (RowSgdConfig::new().with_nesterov(true).init(), SgdConfig::new().with_momentum(Some(momentum)).init()),
            (adam.init(), AdamWConfig::new().with_weight_decay(0.1).with_epsilon(1e-4).init()),
        ];
        for (mut ours, mut burns) in pairs {
            let mut models = [head(backend, RowGradient::Dense), head(backend, RowGradient::Dense)];
            for step in 0..4 {
                let [of_ours, of_burns] = [0, 1].map(|which| gradients(&models[which], backend, step));
                let [first, second] = models;
                models = [ours.step(0.05, first, of_ours), burns.step(0.05, second, of_burns)];
            }
            let [actual, expected] = models.map(|model| host(model.centers.weight.val()));
            // Burn keeps its betas in `f32`: `1 - 0.999` is wrong by 5e-5 of itself, and a number moves by up to 0.2.
            let what = format!("{} {:?}", backend.name, backend.dtype);
            assert_close(&what, &actual, &expected, Tolerance::new(0.0, 1e-5));
        }
    }
}

/// Other optimizers refuse a gradient of drawn rows, and these refuse a sum of several.
#[test]
fn gradients_of_drawn_rows_are_never_silently_misread() {
    for backend in &backends() {
        let model = head(backend, RowGradient::Drawn);
        let attempt = |run: &dyn Fn() -> ArcFace| {
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).map(|model| host(model.centers.weight.val()))
        };
        let with_sgd = || SgdConfig::new().init().step(0.1, model.clone(), gradients(&model, backend, 0));
        assert!(attempt(&with_sgd).is_err(), "{}", backend.name);

        let accumulated = || {
            let mut accumulator = GradientsAccumulator::new();
            accumulator.accumulate(&model, gradients(&model, backend, 0));
            accumulator.accumulate(&model, gradients(&model, backend, 1));
            RowSgdConfig::new().init().step(0.1, model.clone(), accumulator.grads())
        };
        match attempt(&accumulated) {
            Ok(weights) => assert!(weights.iter().any(|weight| weight.is_nan()), "{}", backend.name),
            Err(message) => {
                let message = message.downcast_ref::<&str>().copied().unwrap_or_default();
                assert!(message.contains("cannot be added, clipped or scaled"), "{}: {message}", backend.name);
            }
        }
    }
}

/// No number of what stands behind a gradient is above 1, so clipping by more finds the same rows.
#[test]
fn clipping_by_value_leaves_the_rows_what_they_are() {
    for backend in &backends() {
        let step = |clipping: Option<GradientClipping>| {
            let model = head(backend, RowGradient::Drawn);
            let before = host(model.centers.weight.val());
            let group = ParamGroup::from_predicate("centers.weight");
            let mut optimizer = AdamWConfig::new().init().with_group(group, RowSgdConfig::new().build(), clipping);
            let gradients = gradients(&model, backend, 0);
            let after = host(optimizer.step(0.1, model, gradients).centers.weight.val());
            let moved = |row: usize| before[row * DIM..][..DIM] != after[row * DIM..][..DIM];
            (0..CLASSES).filter(|&row| moved(row)).collect::<Vec<_>>()
        };
        let expected = step(None);
        assert!(expected.len() >= 12, "{}: {expected:?}", backend.name);
        for most in [1.0, 5.0, 1000.0] {
            assert_eq!(step(Some(GradientClipping::Value(most))), expected, "{most} on {}", backend.name);
        }
    }
}

/// Weights in half precision keep their type, and their state is in `f32`.
#[test]
fn half_precision_takes_a_step_in_single_precision() {
    for backend in backends().iter().filter(|backend| backend.name == "flex" && backend.dtype == DType::F32) {
        for dtype in [DType::F16, DType::BF16] {
            let mut model = head(backend, RowGradient::Drawn);
            let weights = model.centers.weight.val().detach().cast(dtype).detach();
            model.centers.weight = Param::from_tensor(weights.clone());
            let mut single = head(backend, RowGradient::Drawn);
            single.centers.weight = Param::from_tensor(weights.clone().cast(DType::F32).detach());
            let step = |model: ArcFace| {
                let gradients = gradients(&model, backend, 0);
                RowSgdConfig::new().init().step(0.1, model, gradients).centers.weight.val()
            };
            let (half, single) = (step(model), step(single));
            assert_eq!(half.dtype(), dtype);
            let moved = host(half.clone().cast(DType::F32) - weights.cast(DType::F32));
            assert!(moved.iter().any(|&step| step != 0.0));
            // To the digits of the type: the weights are small, steps are not.
            let share = if dtype == DType::F16 { 2e-3 } else { 2e-2 };
            assert_close(&format!("{dtype:?}"), &host(half), &host(single), Tolerance::new(share, share / 20.0));
        }
    }
}

#[test]
#[should_panic(expected = "RowSgd: momentum must be in [0, 1), got 1")]
fn a_momentum_of_one_is_rejected() {
    RowSgdConfig::new().with_momentum(1.0).build();
}

#[test]
#[should_panic(expected = "RowSgd: weight_decay must be finite and >= 0, got -1")]
fn a_negative_decay_is_rejected() {
    RowSgdConfig::new().with_weight_decay(-1.0).build();
}

#[test]
#[should_panic(expected = "RowAdamW: beta_2 must be in [0, 1), got 1")]
fn a_beta_of_one_is_rejected() {
    RowAdamWConfig::new().with_beta_2(1.0).build();
}

#[test]
#[should_panic(expected = "RowAdamW: epsilon must be finite and > 0, got 0")]
fn an_epsilon_of_zero_is_rejected() {
    RowAdamWConfig::new().with_epsilon(0.0).build();
}
