//! What every head keeps, through the type that all have in common: settings, records, state, printing and diagnostics.

use std::panic::{AssertUnwindSafe, catch_unwind};

use burn::module::{Module, Param};
use burn::tensor::{Int, Tensor, TensorData};
use burn_losses::diagnostics::{ClassCosines, Figures, Reading};
use burn_losses::heads::{
    AnyHead, AnyHeadConfig, ArcFaceConfig, Centers, ClassCenters, CombinedMarginConfig, Head, HeadKind, MarginRule,
    ShardedHead, SubCenterArcFaceConfig,
};
use burn_losses::proxy::SoftTripleLossConfig;
use burn_losses::reduction::EmbeddingReduction;
use burn_losses::regularization::{ParameterChoice, RegularFaceRegularizerConfig};
use parity::{Backend, backends};
use support::close::{Tolerance, assert_close};
use support::table::host;

use crate::every_head::{COTANGENT, DIM, LABELS, labels, matrix};

const CLASSES: usize = 9;

/// A head with its default settings and centers that are the same on every backend.
fn head(kind: HeadKind, backend: &Backend) -> AnyHead {
    let mut head = AnyHeadConfig::new(kind, CLASSES, DIM).init(&backend.device);
    let rows = CLASSES * head.centers.sub_centers();
    head.centers.weight = Param::from_tensor(matrix(rows, 1, backend));
    head
}

fn saved<M: Module>(module: &M) -> Vec<u8> {
    module.clone().into_record().into_bytes().expect("a record").to_vec()
}

#[test]
fn every_head_is_built_from_its_settings_in_json() {
    let backend = &backends()[0];
    for kind in HeadKind::ALL {
        let config = AnyHeadConfig::new(kind, CLASSES, DIM);
        let json = serde_json::to_value(&config).expect("settings are JSON");
        assert_eq!(json["head"], kind.name());
        let back: AnyHeadConfig = serde_json::from_value(json.clone()).expect("the same settings");
        assert_eq!(serde_json::to_value(&back).expect("settings are JSON"), json);

        let head = back.init(&backend.device);
        assert_eq!((back.kind(), head.rule.name()), (kind, kind.name()));
        assert_eq!((head.centers.classes(), head.centers.embedding_dim()), (CLASSES, DIM));
    }
    let unknown = r#"{"head": "ArkFace", "classes": 3, "embedding_dim": 2}"#;
    assert!(serde_json::from_str::<AnyHeadConfig>(unknown).is_err());
}

/// A quarter of margin and scale is what the settings of a quarter give, and a head that has none says so.
#[test]
fn shares_of_margin_and_scale_are_those_of_the_settings() {
    let backend = &backends()[0];
    let refused = |share: &dyn Fn() -> AnyHead| {
        let panic = catch_unwind(AssertUnwindSafe(share)).err().map(|panic| panic.downcast::<String>());
        *panic.expect("it is refused").expect("a message")
    };
    for kind in HeadKind::ALL {
        let whole = head(kind, backend);
        let settings = AnyHead::to_string;
        let has_margin =
            !matches!(kind, HeadKind::NormFace | HeadKind::SphereFace | HeadKind::MagFace | HeadKind::AdaCos);
        let has_scale = !matches!(kind, HeadKind::AdaCos | HeadKind::SphereFace2 | HeadKind::UniFace);
        assert_eq!(settings(&whole.clone().with_shares(1.0, 1.0)), settings(&whole), "{kind}");
        if has_margin {
            assert_ne!(settings(&whole.clone().with_shares(0.25, 1.0)), settings(&whole), "{kind}");
        } else {
            let message = refused(&|| whole.clone().with_shares(0.25, 1.0));
            assert_eq!(message, format!("{kind:?}: has no margin to take a share of, got 0.25"));
        }
        if has_scale {
            assert_eq!(whole.clone().with_shares(1.0, 0.25).rule.scale(), 0.25 * whole.rule.scale(), "{kind}");
        } else {
            let message = refused(&|| whole.clone().with_shares(1.0, 0.25));
            assert_eq!(message, format!("{kind:?}: has no scale to take a share of, got 0.25"));
        }
        let message = refused(&|| whole.clone().with_shares(-1.0, 1.0));
        assert_eq!(message, format!("{kind:?}: the share of the margin must be >= 0, got -1"));
    }
    // By hand, for the head that has two margins.
    let config = CombinedMarginConfig::new(CLASSES, DIM).with_angle_margin(0.2).with_cosine_margin(0.4);
    let rule = config.init(&backend.device).with_shares(0.5, 1.0).rule;
    assert_eq!((rule.angle_margin, rule.cosine_margin, rule.angle_factor), (0.1, 0.2, config.angle_factor));
}

#[test]
fn centers_have_the_same_path_in_every_head() {
    let backend = &backends()[0];
    let all = ParameterChoice::new();
    for kind in HeadKind::ALL {
        let mut head = head(kind, backend);
        let has = |paths: Vec<String>, path: &str| {
            assert!(paths.iter().any(|found| found == path), "{kind}: {paths:?}");
        };
        has(all.paths(&head), "centers.weight");
        head.centers.set_sample_rate(0.5);
        has(all.paths(&head), "centers.weight");
        let sharded = ShardedHead::new(head, &[backend.device.clone(), backend.device.clone()]);
        has(all.paths(&sharded), "centers.0.weight");
        has(all.paths(&sharded), "centers.1.weight");
    }
    assert_eq!(all.paths(&ArcFaceConfig::new(3, 2).init(&backend.device)), ["centers.weight"]);
}

/// Nothing but a forward moves what a head measures or draws, and that once.
#[test]
fn a_batch_counts_once_whatever_is_looked_at_beside_its_loss() {
    for backend in &backends() {
        for kind in HeadKind::ALL {
            let head = head(kind, backend);
            let look = || {
                head.logits(matrix(5, 2, backend));
                head.margin_logits(matrix(5, 2, backend), labels(backend));
                head.target_cosine(matrix(5, 2, backend), labels(backend));
            };
            let start = saved(&head);
            look();
            assert_eq!(saved(&head), start, "{kind} on {}", backend.name);
            head.forward(matrix(5, 2, backend), labels(backend));
            let after = saved(&head);
            look();
            assert_eq!(saved(&head), after, "{kind} on {}", backend.name);
            let moves =
                matches!(kind, HeadKind::AdaFace | HeadKind::ElasticFace | HeadKind::AdaCos | HeadKind::CurricularFace);
            assert_eq!(after != start, moves, "{kind} on {}", backend.name);
        }
    }
}

#[test]
fn a_margin_can_be_changed_and_the_centers_stay() {
    for backend in &backends() {
        let of = |margin: f64| {
            let mut head = ArcFaceConfig::new(CLASSES, DIM).with_margin(margin).with_scale(8.0).init(&backend.device);
            head.centers.weight = Param::from_tensor(matrix(CLASSES, 1, backend));
            head
        };
        let losses = |head: &Head<_>| host(head.forward_no_reduction(matrix(5, 2, backend), labels(backend)));
        let mut head = of(0.1);
        let before = losses(&head);
        head.rule.margin = 0.4;
        assert_ne!(losses(&head), before);
        assert_eq!(losses(&head), losses(&of(0.4)));

        head.rule.margin = 28.6;
        let panic = catch_unwind(AssertUnwindSafe(|| losses(&head))).expect_err("a margin in degrees");
        let message = panic.downcast_ref::<String>().expect("a message");
        assert!(message.starts_with("ArcFace: margin must be in [0, 2.33] radians"), "{message}");
    }
}

#[test]
fn the_reduction_is_that_of_the_settings() {
    let backend = &backends()[0];
    let of = |reduction| {
        let mut head = ArcFaceConfig::new(CLASSES, DIM).with_scale(8.0).with_reduction(reduction).init(&backend.device);
        head.centers.weight = Param::from_tensor(matrix(CLASSES, 1, backend));
        host(head.forward(matrix(5, 2, backend), labels(backend)))[0]
    };
    // Four of the five rows have a class.
    let (mean, sum) = (of(EmbeddingReduction::Mean), of(EmbeddingReduction::Sum));
    assert!((sum - 4.0 * mean).abs() < 1e-4 * sum, "{sum} {mean}");
}

#[test]
fn every_head_prints_itself_and_its_settings_in_one_line() {
    let backend = &backends()[0];
    for kind in HeadKind::ALL {
        let text = head(kind, backend).to_string();
        assert!(text.starts_with(kind.name()) && !text.contains('\n'), "{text}");
        assert!(text.contains("classes: 9, embedding_dim: 4") && !text.contains("Initializer"), "{text}");
    }
    let head = SubCenterArcFaceConfig::new(9, 4).with_margin(0.25).init(&backend.device);
    let text = head.to_string();
    assert!(text.contains("sub_centers: 3") && text.contains("margin: 0.25") && text.contains("scale: 64"), "{text}");
    // 9 classes of 3 centers with 4 numbers.
    assert!(text.contains("params: 108"), "{text}");
}

/// The angles of the rows that have a class, by plain loops: to the class of the label and to the nearest other one.
fn angles(rows: &[f64], weights: &[f64], sub_centers: usize) -> [f64; 2] {
    let cosine = |a: &[f64], b: &[f64]| {
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
    };
    let mut sums = [0.0, 0.0];
    let labelled = || rows.chunks(DIM).zip(LABELS).filter(|&(_, label)| label >= 0);
    for (row, label) in labelled() {
        let classes = weights.chunks(sub_centers * DIM);
        let classes = classes.map(|class| class.chunks(DIM).map(|center| cosine(row, center)).fold(-1.0, f64::max));
        let cosines: Vec<f64> = classes.collect();
        let others = cosines.iter().enumerate().filter(|&(class, _)| class != label as usize);
        sums[0] += cosines[label as usize].acos();
        sums[1] += others.map(|(_, cosine)| cosine.acos()).fold(f64::INFINITY, f64::min);
    }
    sums.map(|sum| sum / labelled().count() as f64)
}

fn assert_figures<R: MarginRule, C: Centers>(what: &str, head: &Head<R, C>, expected: [f64; 2], backend: &Backend) {
    let losses = head.forward_no_reduction(matrix(5, 2, backend), labels(backend));
    let figures = Figures::of_head(head, matrix(5, 2, backend), labels(backend), losses.clone());
    let reading = Reading::from_packed(&host(figures.packed));
    let close = Tolerance::new(1e-5, 1e-5);
    assert_eq!((reading.rows, reading.batch), (4, 5), "{what}");
    assert_close(what, &[reading.target_angle, reading.nearest_negative_angle], &expected, close);
    let mean = host(losses).iter().sum::<f64>() / 4.0;
    assert_close(what, &[reading.loss], &[mean], close);
    let cosines = ClassCosines::with_centers(&head.centers, matrix(5, 2, backend), labels(backend));
    let target = host(head.target_cosine(matrix(5, 2, backend), labels(backend)));
    assert_close(what, &host(cosines.target), &target, close);
}

#[test]
fn every_diagnostic_is_right_for_every_head() {
    for backend in &backends() {
        let rows = host(matrix(5, 2, backend));
        for kind in HeadKind::ALL {
            let what = format!("{kind} on {}", backend.name);
            let mut head = head(kind, backend);
            let weights = host(head.centers.weight.val());
            let expected = angles(&rows, &weights, head.centers.sub_centers());
            assert_figures(&what, &head, expected, backend);
            let sharded = ShardedHead::new(head.clone(), &[backend.device.clone(), backend.device.clone()]);
            assert_figures(&format!("{what}, sharded"), &sharded, expected, backend);
            head.centers.set_sample_rate(0.3);
            assert_figures(&format!("{what}, sampled"), &head, expected, backend);
        }
        let mut loss = SoftTripleLossConfig::new(CLASSES, DIM).with_centers_per_class(2).init(&backend.device);
        loss.centers.weight = Param::from_tensor(matrix(2 * CLASSES, 3, backend));
        let expected = angles(&rows, &host(loss.centers.weight.val()), 2);
        let cosines = ClassCosines::with_centers(&loss.centers, matrix(5, 2, backend), labels(backend));
        let angle = |cosines: Vec<f64>| {
            let of = |(cosine, label): (f64, i64)| if label < 0 { 0.0 } else { cosine.acos() };
            cosines.into_iter().zip(LABELS).map(of).sum::<f64>() / 4.0
        };
        let found = [angle(host(cosines.target)), angle(host(cosines.nearest_negative))];
        assert_close("SoftTripleLoss", &found, &expected, Tolerance::new(1e-5, 1e-5));
    }
}

/// Centers of one class are no rivals.
#[test]
fn regular_face_asks_the_centers_which_of_them_are_of_one_class() {
    for backend in &backends() {
        let head = head(HeadKind::SubCenterArcFace, backend);
        let losses =
            host(RegularFaceRegularizerConfig::new().init(&backend.device).forward_no_reduction(&head.centers));
        let weights = host(head.centers.weight.val());
        for (row, (center, loss)) in weights.chunks(DIM).zip(losses).enumerate() {
            let rest = weights.chunks(DIM).enumerate().filter(|&(other, _)| other / 3 != row / 3);
            let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
            let cosines = rest.map(|(_, b)| dot(center, b) / (dot(center, center) * dot(b, b)).sqrt());
            let nearest = cosines.fold(-1.0, f64::max);
            assert!((loss - nearest).abs() < 1e-5, "{row} on {}: {loss} is not {nearest}", backend.name);
        }
    }
}

#[test]
fn a_head_is_the_same_as_one_of_the_common_type() {
    for backend in &backends() {
        let mut head = ArcFaceConfig::new(CLASSES, DIM).with_scale(8.0).init(&backend.device);
        head.centers.weight = Param::from_tensor(matrix(CLASSES, 1, backend));
        let losses = host(head.forward_no_reduction(matrix(5, 2, backend), labels(backend)));
        let any = head.into_any();
        assert_eq!(host(any.forward_no_reduction(matrix(5, 2, backend), labels(backend))), losses);
    }
}

/// A sampled head that is spread draws in every shard, and learns in all of them.
#[test]
fn every_head_can_be_sampled_in_shards() {
    for backend in &backends() {
        for kind in HeadKind::ALL {
            let mut head = AnyHeadConfig::new(kind, 64, DIM).init(&backend.device);
            let sub_centers = head.centers.sub_centers();
            head.centers.weight = Param::from_tensor(matrix(64 * sub_centers, 1, backend));
            head.centers.set_sample_rate(0.2);
            let sharded = ShardedHead::new(head, &[backend.device.clone(), backend.device.clone()]);
            let losses = sharded.forward_no_reduction(matrix(5, 2, backend), labels(backend));
            let weights = Tensor::<1>::from_data(TensorData::from(COTANGENT), (&backend.device, backend.dtype));
            let gradients = (losses * weights).sum().backward();
            for block in &sharded.centers {
                let block: &ClassCenters = block;
                let gradient = host(block.weight.val().grad(&gradients).expect("a gradient"));
                let moved = gradient.chunks(sub_centers * DIM).filter(|class| class.iter().any(|&slope| slope != 0.0));
                // Seven drawn ones of 32, and those of the batch; some may be too far away to feel anything.
                assert!(moved.count() <= 7 + 4, "{kind} on {}", backend.name);
                assert!(gradient.iter().all(|slope| slope.is_finite()), "{kind} on {}", backend.name);
            }
        }
    }
}

/// Rows that are too short to have a direction do not disturb what a head measures.
#[test]
fn rows_without_a_direction_count_in_no_average_of_cosines() {
    for backend in &backends() {
        for kind in [HeadKind::CurricularFace, HeadKind::AdaCos] {
            let state = |rows: &[[f64; DIM]], labels: &[i64]| {
                let head = head(kind, backend);
                let rows = TensorData::new(rows.as_flattened().to_vec(), [labels.len(), DIM]);
                let rows = Tensor::<2>::from_data(rows, (&backend.device, backend.dtype));
                head.forward(rows, Tensor::<1, Int>::from_data(TensorData::from(labels), &backend.device));
                match &head.rule {
                    burn_losses::heads::AnyRule::CurricularFace(rule) => host(rule.average_cosine()),
                    rule => host(rule.scale_factor().expect("a measured scale")),
                }
            };
            let (long, short) = ([0.3, -0.2, 0.5, 0.1], [9e-13, 0.0, -5e-13, 0.0]);
            let expected = state(&[long, [0.1, 0.4, 0.0, 0.2]], &[3, 4]);
            let found = state(&[long, short, [0.1, 0.4, 0.0, 0.2], [0.0; DIM]], &[3, 2, 4, 5]);
            assert_close(&format!("{kind} on {}", backend.name), &found, &expected, Tolerance::new(1e-6, 1e-6));
        }
    }
}
