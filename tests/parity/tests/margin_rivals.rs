//! Heads that see the other classes otherwise than a plain softmax does: what they have in common with plain ones, and
//! their state.

use burn::module::Module;
use burn::store::ModuleRecord;
use burn::tensor::{Int, Tensor, TensorData};
use burn_losses::heads::{
    ArcFaceConfig, ClassCenters, CosFaceConfig, CurricularFaceConfig, LargeAngle, MvMargin, MvSoftmaxConfig,
    MvWeighting, ShardedHead, SphereFace2Config, SubCenterArcFaceConfig, UniFaceConfig,
};
use parity::backends;
use support::close::{Tolerance, assert_close, assert_finite};
use support::table::host;

use crate::every_head::{CLASSES, COTANGENT, DIM, LABELS, labels, matrix, outcome, same, sampling, with_weight};

#[test]
fn one_center_per_class_is_arcface_and_equal_centers_are_one() {
    for backend in backends() {
        let arcface = ArcFaceConfig::new(CLASSES, DIM).with_scale(16.0).init(&backend.device);
        let arcface = with_weight(arcface, matrix(CLASSES, 1, &backend));
        let expected = outcome(&arcface, matrix(5, 2, &backend), &backend);
        let config = SubCenterArcFaceConfig::new(CLASSES, DIM).with_scale(16.0);
        let one = with_weight(config.clone().with_sub_centers(1).init(&backend.device), matrix(CLASSES, 1, &backend));
        same("one center", &backend, &outcome(&one, matrix(5, 2, &backend), &backend), &expected);

        // Every class twice the same center: one of the two gets all of the gradient.
        let twice = matrix(CLASSES, 1, &backend).repeat_dim(1, 2).reshape([2 * CLASSES, DIM]);
        let two = with_weight(config.with_sub_centers(2).init(&backend.device), twice);
        let [losses, embeddings, centers] = outcome(&two, matrix(5, 2, &backend), &backend);
        let together =
            |class: usize, column: usize| centers[2 * class * DIM + column] + centers[(2 * class + 1) * DIM + column];
        let centers = (0..CLASSES * DIM).map(|place| together(place / DIM, place % DIM)).collect();
        same("equal centers", &backend, &[losses, embeddings, centers], &expected);
    }
}

#[test]
fn without_a_weight_mv_softmax_is_cosface_or_arcface() {
    for backend in backends() {
        for weighting in [MvWeighting::Fixed, MvWeighting::Adaptive] {
            let config = MvSoftmaxConfig::new(CLASSES, DIM).with_weighting(weighting).with_weight(0.0);
            let config = config.with_scale(16.0).with_margin(0.35);
            let head = with_weight(config.clone().init(&backend.device), matrix(CLASSES, 1, &backend));
            let cosface = CosFaceConfig::new(CLASSES, DIM).with_scale(16.0).init(&backend.device);
            let cosface = with_weight(cosface, matrix(CLASSES, 1, &backend));
            let expected = outcome(&cosface, matrix(5, 2, &backend), &backend);
            same("CosFace", &backend, &outcome(&head, matrix(5, 2, &backend), &backend), &expected);

            let head = config.with_margin_kind(MvMargin::Angle).init(&backend.device);
            let head = with_weight(head, matrix(CLASSES, 1, &backend));
            let arcface = ArcFaceConfig::new(CLASSES, DIM).with_scale(16.0).with_margin(0.35);
            let arcface = arcface.with_large_angle(LargeAngle::LinearFall).init(&backend.device);
            let arcface = with_weight(arcface, matrix(CLASSES, 1, &backend));
            let expected = outcome(&arcface, matrix(5, 2, &backend), &backend);
            same("ArcFace", &backend, &outcome(&head, matrix(5, 2, &backend), &backend), &expected);
        }
    }
}

/// Of 64 classes a quarter is drawn; the own ones are always among them, so the loss is finite, and at most that of all
/// classes but for rounding. The gradient of a class that was not drawn is 0.
#[test]
fn partial_fc_compares_every_head_with_a_sample() {
    for backend in &backends() {
        let device = &backend.device;
        macro_rules! check {
            ($config:ident, $sub_centers:expr) => {{
                let head = $config::new(64, DIM).with_scale(16.0).init(device);
                let head = with_weight(head, matrix(64 * $sub_centers, 1, backend));
                let whole = outcome(&head, matrix(5, 2, backend), backend);
                let partial = sampling(head, 0.25);
                let sampled = outcome(&partial, matrix(5, 2, backend), backend);
                assert_finite(stringify!($config), &sampled.concat());
                for (less, more) in sampled[0].iter().zip(&whole[0]) {
                    assert!(*less <= more + 1e-4, "{} on {}: {less} {more}", stringify!($config), backend.name);
                }
                let moved =
                    sampled[2].chunks($sub_centers * DIM).filter(|class| class.iter().any(|&slope| slope != 0.0));
                let moved = moved.count();
                assert!((3..=16 + 5).contains(&moved), "{} on {}: {moved}", stringify!($config), backend.name);
            }};
        }
        check!(SubCenterArcFaceConfig, 3);
        check!(CurricularFaceConfig, 1);
        check!(MvSoftmaxConfig, 1);
        check!(UniFaceConfig, 1);
        check!(SphereFace2Config, 1);
    }
}

#[test]
fn sub_centers_are_sharded_class_by_class() {
    for backend in backends() {
        let head = SubCenterArcFaceConfig::new(7, DIM).with_scale(16.0).init(&backend.device);
        let head = with_weight(head, matrix(21, 1, &backend));
        let sharded = ShardedHead::new(head.clone(), &[backend.device.clone(), backend.device.clone()]);
        assert_eq!(sharded.classes(), 7);
        let losses = |losses: Tensor<1>| host(losses);
        let tolerance = if backend.is_double() { Tolerance::new(1e-12, 1e-12) } else { Tolerance::new(1e-5, 1e-4) };
        assert_close(
            &backend.name,
            &losses(sharded.forward_no_reduction(matrix(5, 2, &backend), labels(&backend))),
            &losses(head.forward_no_reduction(matrix(5, 2, &backend), labels(&backend))),
            tolerance,
        );
        let back = sharded.unshard(&backend.device);
        assert_eq!(host(back.centers.weight.val()), host(head.centers.weight.val()));
    }
}

#[test]
fn heads_that_weigh_other_classes_otherwise_are_sharded() {
    for backend in &backends() {
        let device = &backend.device;
        let double = backend.is_double();
        let tolerance = if double { Tolerance::new(1e-12, 1e-12) } else { Tolerance::new(1e-5, 1e-4) };
        macro_rules! check {
            ($config:expr) => {{
                let head = || with_weight($config.with_scale(16.0).init(device), matrix(CLASSES, 1, backend));
                let [losses, embeddings, centers] = outcome(&head(), matrix(5, 2, backend), backend);
                let sharded = ShardedHead::new(head(), &[device.clone(), device.clone()]);
                let leaf = matrix(5, 2, backend).require_grad();
                let spread = sharded.forward_no_reduction(leaf.clone(), labels(backend));
                let weights = Tensor::<1>::from_data(COTANGENT, (&backend.device, backend.dtype));
                let gradients = (spread.clone() * weights).sum().backward();
                let of = |leaf: Tensor<2>| host(leaf.grad(&gradients).expect("a gradient"));
                let together: Vec<f64> = sharded.centers.iter().flat_map(|block| of(block.weight.val())).collect();
                let name = format!("{} on {}", stringify!($config), backend.name);
                assert_close(&name, &host(spread), &losses, tolerance);
                assert_close(&name, &of(leaf), &embeddings, tolerance);
                assert_close(&name, &together, &centers, tolerance);
            }};
        }
        check!(CurricularFaceConfig::new(CLASSES, DIM).with_momentum(0.5));
        check!(MvSoftmaxConfig::new(CLASSES, DIM).with_weight(0.3));
        check!(UniFaceConfig::new(CLASSES, DIM));
        check!(SphereFace2Config::new(CLASSES, DIM));
    }
}

#[test]
fn the_average_cosine_is_saved_and_left_alone_in_evaluation_and_when_frozen() {
    for backend in backends() {
        let head = || {
            let config = CurricularFaceConfig::new(CLASSES, DIM).with_momentum(0.5);
            with_weight(config.init(&backend.device), matrix(CLASSES, 1, &backend))
        };
        let trained = head();
        trained.forward(matrix(5, 2, &backend), labels(&backend));
        let average = host(trained.rule.average_cosine());
        assert_ne!(average, [0.0], "{}", backend.name);

        let valid = trained.valid();
        let inner = backend.device.clone().inner();
        let bare = matrix(5, 3, &backend).without_autodiff();
        valid.forward(bare, Tensor::from_data(TensorData::from(LABELS), &inner));
        assert_eq!(host(valid.rule.average_cosine()), average, "evaluation on {}", backend.name);

        let path = std::env::temp_dir().join(format!("burn-losses-curricular-{}.bpk", std::process::id()));
        trained.clone().into_record().save(&path).expect("saved");
        let restored = head().load_record(ModuleRecord::load(&path).expect("loaded"));
        assert_eq!(host(restored.rule.average_cosine()), average, "saved on {}", backend.name);
        std::fs::remove_file(&path).expect("removed");

        let frozen = head().freeze();
        frozen.forward(matrix(5, 2, &backend), labels(&backend));
        assert_eq!(host(frozen.rule.average_cosine()), [0.0], "frozen on {}", backend.name);
    }
}

/// Through the docs of `ClassCenters`: the cosine of a class is that of its nearest center.
#[test]
fn cosines_and_target_cosines_are_those_of_the_nearest_center() {
    for backend in backends() {
        let config = SubCenterArcFaceConfig::new(2, 2).with_sub_centers(2).with_scale(2.0);
        let weight = [[2.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -3.0]];
        let head = config.init(&backend.device);
        let head = with_weight(head, Tensor::from_data(weight, (&backend.device, backend.dtype)));
        let centers: &ClassCenters = &head.centers;
        assert_eq!((centers.classes(), centers.sub_centers()), (2, 2));
        let rows = Tensor::<2>::from_data([[3.0, 4.0], [-4.0, 3.0]], (&backend.device, backend.dtype));
        let labels = Tensor::<1, Int>::from_data([0, 1], &backend.device);

        // By hand.
        let close = |actual: Vec<f64>, expected: &[f64]| {
            assert_close(&backend.name, &actual, expected, Tolerance::new(1e-6, 1e-6));
        };
        close(host(centers.cosines(rows.clone())), &[0.8, -0.6, 0.6, 0.8]);
        close(host(head.target_cosine(rows.clone(), labels.clone())), &[0.8, 0.8]);
        close(host(head.center_cosines(rows, labels)), &[0.6, 0.8, 0.8, -0.6]);
    }
}
