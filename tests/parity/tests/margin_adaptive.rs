//! Heads whose margin or scale depends on more than the own cosine: what they have in common with plain ones, and their
//! state.

use burn::module::Module;
use burn::store::ModuleRecord;
use burn::tensor::{Int, Tensor, TensorData};
use burn_losses::heads::{
    AdaCosConfig, AdaCosScale, AdaFaceConfig, ArcFaceConfig, CosFaceConfig, CurricularFaceConfig, ElasticFace,
    ElasticFaceConfig, ElasticMargin, ElasticOrder, Head, LargeAngle, MagFaceConfig, MarginRule, NormFaceConfig, Scale,
    ShardedHead, SphereFaceConfig,
};
use parity::{Backend, backends};
use support::close::{Tolerance, assert_close, assert_finite};
use support::table::host;

use crate::every_head::{CLASSES, DIM, LABELS, labels, matrix, outcome, same, sampling, with_weight};

#[test]
fn heads_at_rest_are_the_plain_ones() {
    for backend in backends() {
        let device = &backend.device;
        let run = |head: &dyn Fn() -> [Vec<f64>; 3]| head();
        macro_rules! of {
            ($config:expr) => {
                run(&|| {
                    let head = with_weight($config.with_scale(16.0).init(device), matrix(CLASSES, 1, &backend));
                    outcome(&head, matrix(5, 2, &backend), &backend)
                })
            };
        }
        let normface = of!(NormFaceConfig::new(CLASSES, DIM));
        let arcface = of!(ArcFaceConfig::new(CLASSES, DIM).with_margin(0.4).with_large_angle(LargeAngle::Fold));
        let cosface = of!(CosFaceConfig::new(CLASSES, DIM).with_margin(0.3));

        let sphereface = SphereFaceConfig::new(CLASSES, DIM).with_multiplier(1.0);
        same("SphereFace 1", &backend, &of!(sphereface.clone()), &normface);
        same("AdaFace 0", &backend, &of!(AdaFaceConfig::new(CLASSES, DIM).with_margin(0.0)), &normface);
        let magface = MagFaceConfig::new(CLASSES, DIM).with_smallest_margin(0.4).with_largest_margin(0.4);
        same("MagFace", &backend, &of!(magface.clone().with_length_weight(0.0)), &arcface);
        let elastic = ElasticFaceConfig::new(CLASSES, DIM).with_deviation(0.0);
        same("ElasticFace-Arc", &backend, &of!(elastic.clone().with_margin(0.4)), &arcface);
        let elastic = elastic.with_margin_kind(ElasticMargin::Cosine).with_margin(0.3);
        same("ElasticFace-Cos", &backend, &of!(elastic.clone()), &cosface);

        let head = with_weight(
            AdaCosConfig::new(CLASSES, DIM).with_scale(AdaCosScale::Fixed).init(device),
            matrix(CLASSES, 1, &backend),
        );
        let scale = 2.0_f64.sqrt() * (CLASSES as f64 - 1.0).ln();
        let plain = NormFaceConfig::new(CLASSES, DIM).with_scale(scale).init(device);
        let plain = outcome(&with_weight(plain, matrix(CLASSES, 1, &backend)), matrix(5, 2, &backend), &backend);
        same("AdaCos, fixed", &backend, &outcome(&head, matrix(5, 2, &backend), &backend), &plain);
    }
}

/// The state of a head in numbers, after one batch of training, one of evaluation, saving and loading, and one more batch
/// on the frozen head.
fn check_state<R: MarginRule>(backend: &Backend, head: impl Fn() -> Head<R>, state: impl Fn(&Head<R>) -> Vec<f64>) {
    let head = || with_weight(head(), matrix(CLASSES, 1, backend));
    let trained = head();
    let start = state(&trained);
    trained.forward(matrix(5, 2, backend), labels(backend));
    let moved = state(&trained);
    assert_ne!(moved, start, "{}", backend.name);
    assert_finite(&backend.name, &moved);

    let valid = trained.valid();
    let inner = backend.device.clone().inner();
    let bare = Tensor::from_data(TensorData::from(LABELS), &inner);
    valid.forward(matrix(5, 3, backend).without_autodiff(), bare);
    assert_eq!(state(&valid), moved, "evaluation on {}", backend.name);

    let thread = format!("{:?}", std::thread::current().id());
    let name = format!("burn-losses-state-{}-{thread}.bpk", std::process::id());
    let path = std::env::temp_dir().join(name);
    trained.clone().into_record().save(&path).expect("saved");
    let restored = head().load_record(ModuleRecord::load(&path).expect("loaded"));
    assert_eq!(state(&restored), moved, "saved on {}", backend.name);
    std::fs::remove_file(&path).expect("removed");

    let frozen = head().freeze();
    frozen.forward(matrix(5, 2, backend), labels(backend));
    assert_eq!(state(&frozen), start, "frozen on {}", backend.name);

    // A batch without a class measures nothing.
    let idle = head();
    let nobody = Tensor::from_data([-1, -1], &backend.device);
    idle.forward(matrix(2, 2, backend), nobody);
    assert_eq!(state(&idle), start, "no class on {}", backend.name);
}

#[test]
fn measured_state_is_saved_and_moves_in_training_only() {
    for backend in &backends() {
        let device = &backend.device;
        check_state(
            backend,
            || AdaFaceConfig::new(CLASSES, DIM).with_momentum(0.5).init(device),
            |head| host(head.rule.length_statistics()),
        );
        check_state(
            backend,
            || AdaCosConfig::new(CLASSES, DIM).init(device),
            |head| match head.scale() {
                Scale::Tensor(scale) => host(scale.cast(burn::tensor::DType::F32)),
                Scale::Constant(scale) => vec![scale],
            },
        );
    }
}

#[test]
fn adaface_of_one_row_stays_finite() {
    for backend in &backends() {
        let head = AdaFaceConfig::new(CLASSES, DIM).with_momentum(0.5).init(&backend.device);
        let head = with_weight(head, matrix(CLASSES, 1, backend));
        for _ in 0..3 {
            let loss = head.forward(matrix(1, 2, backend), Tensor::from_data([0], &backend.device));
            assert_finite(&backend.name, &host(loss));
        }
        let statistics = host(head.rule.length_statistics());
        assert_eq!(statistics[1], 100.0, "{}", backend.name);
        assert_finite(&backend.name, &statistics);
    }
}

/// One bad row in a batch does not spoil what is measured for all that come after.
#[test]
fn a_row_that_is_not_a_number_measures_nothing() {
    for backend in &backends() {
        let mut data = [0.25_f64; 5 * DIM];
        data[1] = f64::NAN;
        data[2] = -1.0;
        let rows =
            || Tensor::<2>::from_data(TensorData::new(data.to_vec(), [5, DIM]), (&backend.device, backend.dtype));
        let adaface = AdaFaceConfig::new(CLASSES, DIM).init(&backend.device);
        adaface.forward(rows(), labels(backend));
        // As if the row had no class.
        let without = AdaFaceConfig::new(CLASSES, DIM).init(&backend.device);
        let clean = rows().mask_fill(rows().is_nan(), 0.0);
        let nobody = Tensor::from_data([-1, 5, -1, 3, 3], &backend.device);
        without.forward(clean, nobody);
        assert_eq!(host(adaface.rule.length_statistics()), host(without.rule.length_statistics()), "{}", backend.name);

        let adacos = with_weight(AdaCosConfig::new(CLASSES, DIM).init(&backend.device), matrix(CLASSES, 1, backend));
        let losses = host(adacos.forward_no_reduction(rows(), labels(backend)));
        assert!(losses[0].is_nan() && losses[1].is_finite(), "{} {losses:?}", backend.name);
        let Scale::Tensor(scale) = adacos.scale() else { panic!("a measured scale is a tensor") };
        assert_finite(&backend.name, &host(scale));
    }
}

#[test]
fn elastic_margins_follow_the_seed_and_the_draws_before_on_every_backend() {
    let mut all = Vec::new();
    for backend in backends().iter().filter(|backend| !backend.is_double()) {
        let head = |seed: u64| -> ElasticFace {
            let config = ElasticFaceConfig::new(CLASSES, DIM).with_seed(seed).with_deviation(0.2).with_scale(8.0);
            with_weight(config.init(&backend.device), matrix(CLASSES, 1, backend))
        };
        let losses = |head: &ElasticFace| host(head.forward_no_reduction(matrix(5, 2, backend), labels(backend)));
        let (first, again, other) = (head(3), head(3), head(4));
        let (one, two) = (losses(&first), losses(&first));
        assert_eq!(losses(&again), one);
        assert_ne!(one, two);
        assert_ne!(losses(&other), one);
        all.push([one, two].concat());
    }
    for other in &all[1..] {
        assert_close("another backend", other, &all[0], Tolerance::new(1e-4, 1e-4));
    }
}

#[test]
fn elastic_margins_go_on_where_a_record_was_saved() {
    for backend in &backends() {
        let config = ElasticFaceConfig::new(CLASSES, DIM).with_deviation(0.2).with_scale(8.0);
        let losses = |head: &ElasticFace| host(head.forward_no_reduction(matrix(5, 2, backend), labels(backend)));
        let head = with_weight(config.clone().with_seed(3).init(&backend.device), matrix(CLASSES, 1, backend));
        for _ in 0..3 {
            losses(&head);
        }
        let bytes = head.clone().into_record().into_bytes().expect("a record");
        let next = [losses(&head), losses(&head)];
        assert_ne!(next[0], next[1]);

        let fresh = config.with_seed(99).init(&backend.device);
        let loaded = fresh.load_record(ModuleRecord::from_bytes(bytes).expect("a record"));
        assert_eq!([losses(&loaded), losses(&loaded)], next, "{} {:?}", backend.name, backend.dtype);
    }
}

#[test]
fn adaptive_heads_are_sampled_and_sharded() {
    for backend in &backends() {
        let device = &backend.device;
        let tolerance = if backend.is_double() { Tolerance::new(1e-12, 1e-12) } else { Tolerance::new(1e-4, 1e-4) };
        macro_rules! check {
            ($config:ident $($with:tt)*) => {{
                let new = || with_weight($config::new(CLASSES, DIM)$($with)*.init(device), matrix(CLASSES, 1, backend));
                let whole = host(new().forward_no_reduction(matrix(5, 2, backend), labels(backend)));
                let sharded = ShardedHead::new(new(), &[device.clone(), device.clone()]);
                let spread = host(sharded.forward_no_reduction(matrix(5, 2, backend), labels(backend)));
                assert_close(&format!("{} on {}", stringify!($config), backend.name), &spread, &whole, tolerance);

                let many = with_weight($config::new(64, DIM)$($with)*.init(device), matrix(64, 1, backend));
                let partial = sampling(many, 0.25);
                let [losses, embeddings, weights] = outcome(&partial, matrix(5, 2, backend), backend);
                assert_finite(stringify!($config), &[losses, embeddings].concat());
                let moved = weights.chunks(DIM).filter(|class| class.iter().any(|&slope| slope != 0.0)).count();
                assert!((3..=16 + 5).contains(&moved), "{} on {}: {moved}", stringify!($config), backend.name);
            }};
        }
        check!(SphereFaceConfig.with_scale(16.0));
        check!(MagFaceConfig.with_scale(16.0).with_shortest(0.5).with_longest(2.0));
        check!(AdaFaceConfig.with_scale(16.0).with_momentum(0.0));
        check!(ElasticFaceConfig.with_scale(16.0).with_deviation(0.0));
        check!(AdaCosConfig.with_scale(AdaCosScale::Fixed));
        check!(AdaCosConfig);
    }
}

/// A state that is read in several forward passes without a step between: each has its backward.
#[test]
fn every_forward_has_its_backward() {
    for backend in &backends() {
        let device = &backend.device;
        macro_rules! check {
            ($head:expr) => {{
                let head = with_weight($head.init(device), matrix(CLASSES, 1, backend));
                for _ in 0..3 {
                    let [_, embeddings, _] = outcome(&head, matrix(5, 2, backend), backend);
                    assert!(embeddings.iter().any(|&slope| slope != 0.0), "{} on {}", stringify!($head), backend.name);
                }
            }};
        }
        check!(AdaCosConfig::new(CLASSES, DIM));
        check!(AdaFaceConfig::new(CLASSES, DIM));
        check!(ElasticFaceConfig::new(CLASSES, DIM));
        check!(CurricularFaceConfig::new(CLASSES, DIM));
    }
}

/// Whatever is drawn and dealt: rows without a class reach no center, and nobody else's margin is no number.
#[test]
fn elastic_margins_of_ignored_rows_reach_nothing() {
    for backend in &backends() {
        for kind in [ElasticMargin::Angle, ElasticMargin::Cosine] {
            for order in [ElasticOrder::Drawn, ElasticOrder::FarthestLargest] {
                let config = ElasticFaceConfig::new(CLASSES, DIM).with_margin_kind(kind).with_order(order);
                let head = with_weight(config.with_deviation(0.2).init(&backend.device), matrix(CLASSES, 1, backend));
                let what = format!("{kind:?} {order:?} on {}", backend.name);
                let embeddings = matrix(5, 2, backend).require_grad();
                let labels = Tensor::<1, Int>::from_data([1, -1, 3, -1, 2], &backend.device);
                let losses = head.forward_no_reduction(embeddings.clone(), labels.clone()).sum();
                let logits = head.margin_logits(embeddings, labels).sum();
                for loss in [losses, logits] {
                    let gradients = loss.backward();
                    let gradient = host(head.centers.weight.val().grad(&gradients).expect("a gradient"));
                    assert_finite(&what, &gradient);
                }
            }
        }
    }
}
