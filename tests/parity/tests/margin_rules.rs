//! Laws that the heads beyond the plain ones keep: what a rotation, a length and a margin do to their losses.

use burn::module::Param;
use burn::tensor::Tensor;
use burn_losses::heads::{
    AdaFaceConfig, CurricularFaceConfig, ElasticFaceConfig, MagFaceConfig, MvMargin, MvSoftmaxConfig,
    SphereFace2Config, SphereFaceConfig, SubCenterArcFaceConfig, UniFaceConfig,
};
use parity::{Backend, backends};
use support::table::host;

use crate::every_head::{CLASSES, DIM, LABELS, labels, matrix, with_weight};

/// The losses of a head with one margin after the other never fall in any row, and rise in some.
fn assert_grows(what: &str, backend: &Backend, losses: &[Vec<f64>]) {
    let slack = if backend.is_double() { 1e-12 } else { 1e-4 };
    let what = format!("{what} on {} {:?}", backend.name, backend.dtype);
    for pair in losses.windows(2) {
        for (row, (less, more)) in pair[0].iter().zip(&pair[1]).enumerate() {
            assert!(*less <= more + slack * more.abs().max(1.0), "{what}, row {row}: {less} to {more}");
            let grew = *more > less + 1e-3;
            assert!(grew == (LABELS[row] >= 0), "{what}, row {row} of label {}: {less} to {more}", LABELS[row]);
        }
    }
}

/// CurricularFace is not among them: a larger margin makes more classes hard, and while the average is small that lowers
/// what a class of positive cosine weighs. Its own logit falls, see below.
#[test]
fn the_loss_of_every_head_grows_with_its_margin() {
    for backend in &backends() {
        let device = &backend.device;
        macro_rules! grows {
            ($what:literal, $rows:expr, $margins:expr, |$margin:ident| $head:expr) => {{
                let of = |$margin: f64| {
                    let head = with_weight($head, matrix($rows, 1, backend));
                    host(head.forward_no_reduction(matrix(5, 2, backend), labels(backend)))
                };
                let losses: Vec<Vec<f64>> = $margins.into_iter().map(of).collect();
                assert_grows($what, backend, &losses);
            }};
        }
        let margins = [0.0, 0.2, 0.5, 0.9];
        grows!("SubCenterArcFace", 2 * CLASSES, margins, |margin| {
            let config = SubCenterArcFaceConfig::new(CLASSES, DIM).with_sub_centers(2);
            config.with_scale(4.0).with_margin(margin).init(device)
        });
        grows!("SphereFace", CLASSES, [1.0, 1.3, 1.7, 2.6, 4.0], |margin| {
            SphereFaceConfig::new(CLASSES, DIM).with_scale(4.0).with_multiplier(margin).init(device)
        });
        grows!("MvSoftmax, cosine", CLASSES, margins, |margin| {
            MvSoftmaxConfig::new(CLASSES, DIM).with_weight(0.3).with_scale(4.0).with_margin(margin).init(device)
        });
        grows!("MvSoftmax, angle", CLASSES, margins, |margin| {
            let config = MvSoftmaxConfig::new(CLASSES, DIM).with_weight(0.3).with_margin_kind(MvMargin::Angle);
            config.with_scale(4.0).with_margin(margin).init(device)
        });
        grows!("UniFace", CLASSES, margins, |margin| {
            UniFaceConfig::new(CLASSES, DIM).with_scale(4.0).with_margin(margin).init(device)
        });
        grows!("SphereFace2", CLASSES, margins, |margin| {
            let config = SphereFace2Config::new(CLASSES, DIM).with_scale(4.0).with_margin(margin);
            let mut head = config.init(device);
            // Where it starts depends on the margin.
            head.rule.bias = Param::from_tensor(Tensor::from_data([0.3], (device, backend.dtype)));
            head
        });
        grows!("MagFace", CLASSES, margins, |margin| {
            let config = MagFaceConfig::new(CLASSES, DIM).with_shortest(0.1).with_longest(2.0).with_scale(4.0);
            config.with_smallest_margin(margin).with_largest_margin(margin + 0.3).init(device)
        });
        // Of middling quality, where it is CosFace.
        grows!("AdaFace", CLASSES, margins, |margin| {
            let config = AdaFaceConfig::new(CLASSES, DIM).with_momentum(0.0).with_concentration(0.0);
            config.with_scale(4.0).with_margin(margin).init(device)
        });
        grows!("ElasticFace", CLASSES, margins, |margin| {
            ElasticFaceConfig::new(CLASSES, DIM).with_deviation(0.0).with_scale(4.0).with_margin(margin).init(device)
        });
    }
}

#[test]
fn the_own_logit_of_curricularface_falls_with_its_margin() {
    for backend in &backends() {
        let own = |margin: f64| {
            let config = CurricularFaceConfig::new(CLASSES, DIM).with_momentum(0.0).with_scale(4.0);
            let head = with_weight(config.with_margin(margin).init(&backend.device), matrix(CLASSES, 1, backend));
            let logits = host(head.margin_logits(matrix(5, 2, backend), labels(backend)));
            let of =
                |(row, &label): (usize, &i64)| if label < 0 { 0.0 } else { -logits[row * CLASSES + label as usize] };
            LABELS.iter().enumerate().map(of).collect::<Vec<f64>>()
        };
        assert_grows("CurricularFace", backend, &[0.0, 0.2, 0.5, 0.9].map(own));
    }
}
