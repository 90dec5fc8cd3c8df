//! Laws that the heads beyond the plain ones keep: what a rotation, a length and a margin do to their losses.

use burn::module::{Module, Param};
use burn::tensor::{Tensor, TensorData};
use burn_losses::heads::{
    AdaCosConfig, AdaFaceConfig, CurricularFaceConfig, ElasticFaceConfig, MagFaceConfig, MvMargin, MvSoftmaxConfig,
    SphereFace2Config, SphereFaceConfig, SubCenterArcFaceConfig, UniFaceConfig,
};
use parity::{Backend, backends};
use support::close::{Tolerance, assert_close};
use support::table::host;

use crate::every_head::{CLASSES, DIM, LABELS, for_every_head, labels, matrix, outcome, with_weight};

fn on(name: &str, backend: &Backend) -> String {
    format!("{name} on {} {:?}", backend.name, backend.dtype)
}

/// Whether the rule of a head looks at the length of embeddings.
fn looks_at_lengths(name: &str) -> bool {
    ["MagFace", "AdaFace"].iter().any(|head| name.starts_with(head))
}

fn tolerance(backend: &Backend) -> Tolerance {
    if backend.is_double() { Tolerance::new(1e-11, 1e-11) } else { Tolerance::new(2e-4, 2e-4) }
}

/// Two reflections: a rotation. In plain loops, so that every backend gets the same numbers.
fn rotated(rows: Tensor<2>, backend: &Backend) -> Tensor<2> {
    let shape = rows.dims();
    let mut data = host(rows);
    for mirror in [[0.7, -0.2, 0.4, 1.1], [-0.3, 0.9, 0.5, 0.1_f64]] {
        let square: f64 = mirror.iter().map(|number| number * number).sum();
        for row in data.chunks_mut(DIM) {
            let along: f64 = row.iter().zip(&mirror).map(|(a, b)| a * b).sum::<f64>() / square;
            row.iter_mut().zip(&mirror).for_each(|(number, mirror)| *number -= 2.0 * along * mirror);
        }
    }
    Tensor::from_data(TensorData::new(data, shape), (&backend.device, backend.dtype))
}

/// Rows times a positive factor each.
fn stretched(rows: Tensor<2>, backend: &Backend) -> Tensor<2> {
    let [count, _] = rows.dims();
    let factors: Vec<f64> = (0..count).map(|row| [70.0, 3.0, 0.6, 0.02, 11.0][row % 5]).collect();
    let factors = Tensor::<2>::from_data(TensorData::new(factors, [count, 1]), (&backend.device, backend.dtype));
    (rows * factors).detach()
}

#[test]
fn rotating_embeddings_and_centers_together_changes_no_loss_of_any_head() {
    for backend in &backends() {
        for_every_head!(backend, |name, head| {
            let name = on(name, backend);
            let [losses, embeddings, centers] = outcome(&head, matrix(5, 2, backend), backend);
            let weight = rotated(head.centers.weight.val().detach(), backend);
            let turned = with_weight(head.clone(), weight);
            let [after, turned_embeddings, turned_centers] =
                outcome(&turned, rotated(matrix(5, 2, backend), backend), backend);
            assert_close(&name, &after, &losses, tolerance(backend));
            // The gradients turn with the rows.
            let turn = |gradient: Vec<f64>| {
                let shape = [gradient.len() / DIM, DIM];
                let options = (&backend.device, backend.dtype);
                host(rotated(Tensor::from_data(TensorData::new(gradient, shape), options), backend))
            };
            assert_close(&name, &turned_embeddings, &turn(embeddings), tolerance(backend));
            assert_close(&name, &turned_centers, &turn(centers), tolerance(backend));
        });
    }
}

#[test]
fn lengths_change_nothing_in_heads_that_do_not_look_at_them() {
    for backend in &backends() {
        for_every_head!(backend, |name, head| {
            let name = on(name, backend);
            let before = host(head.forward_no_reduction(matrix(5, 2, backend), labels(backend)));
            let weight = stretched(head.centers.weight.val().detach(), backend);
            let longer = with_weight(head.clone(), weight);
            let after = host(longer.forward_no_reduction(matrix(5, 2, backend), labels(backend)));
            assert_close(&format!("{name}, centers"), &after, &before, tolerance(backend));

            let rows = stretched(matrix(5, 2, backend), backend);
            let after = host(head.forward_no_reduction(rows, labels(backend)));
            if looks_at_lengths(&name) {
                let most = after.iter().zip(&before).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
                assert!(most > 1e-2, "{name} does not look at lengths: {most}");
            } else {
                assert_close(&name, &after, &before, tolerance(backend));
            }
        });
    }
}

/// How much of the gradient of rows goes along them, as a share of what could.
fn along(gradient: &[f64], rows: &[f64]) -> f64 {
    let size = |row: &[f64]| row.iter().map(|number| number * number).sum::<f64>().sqrt();
    let share = |(slope, row): (&[f64], &[f64])| {
        let along: f64 = slope.iter().zip(row).map(|(a, b)| a * b).sum();
        along.abs() / (size(slope) * size(row)).max(1e-3)
    };
    gradient.chunks(DIM).zip(rows.chunks(DIM)).map(share).fold(0.0, f64::max)
}

#[test]
fn gradients_are_perpendicular_to_rows_whose_length_does_not_matter() {
    for backend in &backends() {
        let largest = if backend.is_double() { 1e-11 } else { 1e-3 };
        for_every_head!(backend, |name, head| {
            let name = on(name, backend);
            let [_, embeddings, centers] = outcome(&head, matrix(5, 2, backend), backend);
            let of_centers = along(&centers, &host(head.centers.weight.val()));
            assert!(of_centers <= largest, "{name}: {of_centers} along the centers");
            let of_embeddings = along(&embeddings, &host(matrix(5, 2, backend)));
            // AdaFace looks at the length, but as a constant of the gradient.
            if name.starts_with("MagFace") {
                assert!(of_embeddings > 1e-2, "{name}: nothing along the embeddings");
            } else {
                assert!(of_embeddings <= largest, "{name}: {of_embeddings} along the embeddings");
            }
        });
    }
}

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
