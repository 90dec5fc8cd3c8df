//! What all heads keep that are more than a rule of the own cosine.

use burn::module::{Module, Param};
use burn::tensor::{DType, Int, Tensor, TensorData};
use burn_losses::heads::{
    AdaCosConfig, AdaFaceConfig, CurricularFaceConfig, ElasticFaceConfig, Head, MagFaceConfig, MarginRule,
    MvSoftmaxConfig, SphereFace2Config, SphereFaceConfig, SubCenterArcFaceConfig, UniFaceConfig,
};
use parity::{Backend, backends};
use support::close::{Tolerance, assert_close, assert_finite};
use support::table::host;

pub(crate) const CLASSES: usize = 6;
pub(crate) const DIM: usize = 4;
pub(crate) const LABELS: [i64; 5] = [0, 5, -1, 3, 3];
/// What the losses of the rows are weighted with before they are summed and differentiated.
pub(crate) const COTANGENT: [f64; 5] = [0.5, 1.5, 7.0, -0.3, 0.8];

pub(crate) fn matrix(rows: usize, seed: usize, backend: &Backend) -> Tensor<2> {
    let number = |place: usize| ((place * 7919 + seed * 104_729 + 1) as f64 * 0.618_033_988_7).fract() - 0.5;
    let numbers: Vec<f64> = (0..rows * DIM).map(number).collect();
    Tensor::from_data(TensorData::new(numbers, [rows, DIM]), (&backend.device, backend.dtype))
}

pub(crate) fn with_weight<R: MarginRule>(mut head: Head<R>, weight: Tensor<2>) -> Head<R> {
    head.centers = head.centers.with_weight(Param::from_tensor(weight));
    head
}

/// A head that compares with a sample of the classes.
pub(crate) fn sampling<R: MarginRule>(mut head: Head<R>, sample_rate: f64) -> Head<R> {
    head.centers.set_sample_rate(sample_rate);
    head
}

pub(crate) fn labels(backend: &Backend) -> Tensor<1, Int> {
    Tensor::from_data(TensorData::from(LABELS), &backend.device)
}

/// Losses, and the gradients of embeddings and centers.
pub(crate) fn outcome<R: MarginRule>(head: &Head<R>, embeddings: Tensor<2>, backend: &Backend) -> [Vec<f64>; 3] {
    outcome_of(head, embeddings, labels(backend), backend)
}

fn outcome_of<R: MarginRule>(
    head: &Head<R>,
    embeddings: Tensor<2>,
    labels: Tensor<1, Int>,
    backend: &Backend,
) -> [Vec<f64>; 3] {
    let embeddings = embeddings.require_grad();
    let losses = head.forward_no_reduction(embeddings.clone(), labels);
    let weights = Tensor::<1>::from_data(COTANGENT, (&backend.device, backend.dtype));
    let gradients = (losses.clone() * weights).sum().backward();
    let of = |leaf: Tensor<2>| host(leaf.grad(&gradients).expect("a gradient"));
    [host(losses), of(embeddings), of(head.centers.weight.val())]
}

pub(crate) fn same(what: &str, backend: &Backend, actual: &[Vec<f64>; 3], expected: &[Vec<f64>; 3]) {
    let tolerance = if backend.is_double() { Tolerance::new(1e-11, 1e-11) } else { Tolerance::new(2e-4, 2e-4) };
    for (actual, expected) in actual.iter().zip(expected) {
        assert_close(&format!("{what} on {} {:?}", backend.name, backend.dtype), actual, expected, tolerance);
    }
}

/// Calls the body with every head that is more than a rule of the own cosine, those with state at rest.
macro_rules! for_every_head {
    ($backend:expr, |$name:ident, $head:ident| $body:block) => {{
        let device = &$backend.device;
        macro_rules! each {
            ($config:expr, $rows:expr) => {{
                let $head = with_weight($config.with_scale(16.0).init(device), matrix($rows, 1, $backend));
                let $name = stringify!($config);
                $body
            }};
        }
        each!(SubCenterArcFaceConfig::new(CLASSES, DIM).with_sub_centers(3), 3 * CLASSES);
        each!(CurricularFaceConfig::new(CLASSES, DIM).with_momentum(0.0), CLASSES);
        each!(MvSoftmaxConfig::new(CLASSES, DIM).with_weight(0.3), CLASSES);
        each!(UniFaceConfig::new(CLASSES, DIM), CLASSES);
        each!(SphereFace2Config::new(CLASSES, DIM), CLASSES);
        each!(SphereFaceConfig::new(CLASSES, DIM), CLASSES);
        // Between the shortest and the longest, so that the gradient does go along the rows.
        each!(MagFaceConfig::new(CLASSES, DIM).with_shortest(0.1).with_longest(2.0), CLASSES);
        each!(AdaFaceConfig::new(CLASSES, DIM).with_momentum(0.0).with_concentration(3.0), CLASSES);
        each!(ElasticFaceConfig::new(CLASSES, DIM).with_deviation(0.0), CLASSES);
        {
            let $head = AdaCosConfig::new(CLASSES, DIM).init(device).freeze();
            let weight = matrix(CLASSES, 1, $backend).require_grad();
            let $head = with_weight($head, weight);
            let $name = "AdaCos";
            $body
        }
    }};
}
pub(crate) use for_every_head;

/// A sample of all classes, and a block of one class at a time, are the head itself.
#[test]
fn partial_fc_at_rate_one_and_small_blocks_change_nothing() {
    for backend in &backends() {
        for_every_head!(backend, |name, head| {
            let expected = outcome(&head, matrix(5, 2, backend), backend);
            let partial = sampling(head.clone(), 1.0);
            same(name, backend, &outcome(&partial, matrix(5, 2, backend), backend), &expected);

            let streaming = burn_losses::heads::Streaming::new().with_block(Some(1));
            let mut in_blocks = head.clone();
            in_blocks.centers.set_streaming(streaming);
            same(name, backend, &outcome(&in_blocks, matrix(5, 2, backend), backend), &expected);
        });
    }
}

/// Zero, tiny and huge rows, cosines of 1 and -1, one class: value and gradient finite.
#[test]
fn extreme_rows_are_finite_in_every_head() {
    for backend in &backends() {
        for_every_head!(backend, |name, head| {
            for length in [0.0, 1e-30, 1e-12, 1.0, 1e20, 1e36] {
                let data = [length, 0.0, 0.0, 0.0, -length, 0.0, 0.0, 0.0, length, length, 0.0, 0.0];
                let all = [data.as_slice(), &[0.3, -0.2, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0]].concat();
                let options = (&backend.device, backend.dtype);
                let rows = Tensor::<2>::from_data(TensorData::new(all, [5, DIM]), options);
                for numbers in outcome(&head, rows.clone(), backend) {
                    assert_finite(&format!("{name} {length:e} on {}", backend.name), &numbers);
                }
                // The centers are the rows, and one of them a row of zeros.
                let count = head.centers.weight.shape()[0];
                let weight = rows.repeat_dim(0, count.div_ceil(5)).narrow(0, 0, count);
                let head = with_weight(head.clone(), weight);
                for numbers in outcome(&head, matrix(5, 2, backend), backend) {
                    assert_finite(&format!("{name}, centers of {length:e} on {}", backend.name), &numbers);
                }
            }
        });
    }
}

#[test]
fn an_empty_batch_and_a_single_class_are_finite() {
    for backend in &backends() {
        for_every_head!(backend, |name, head| {
            let empty = Tensor::<2>::zeros([0, DIM], (&backend.device, backend.dtype));
            let none = Tensor::<1, Int>::zeros([0], &backend.device);
            let loss = head.forward(empty.clone(), none.clone());
            assert_eq!(host(loss.clone()), [0.0], "{name} on {}", backend.name);
            let gradient = head.centers.weight.val().grad(&loss.backward()).expect("a gradient");
            assert!(host(gradient).iter().all(|&slope| slope == 0.0), "{name} on {}", backend.name);
            assert_eq!(head.forward_no_reduction(empty.clone(), none).dims(), [0]);
            assert_eq!(head.logits(empty).dims(), [0, CLASSES]);

            let sub_centers = head.centers.sub_centers();
            let head = with_weight(head.clone(), matrix(sub_centers, 1, backend));
            let only = Tensor::<1, Int>::from_data([0, 0, -1, 0, 0], &backend.device);
            for numbers in outcome_of(&head, matrix(5, 2, backend), only, backend) {
                assert_finite(&format!("{name} with one class on {}", backend.name), &numbers);
            }
        });
    }
}

/// Rows in another order have their losses in that order, and the centers the same gradient.
#[test]
fn permuting_the_batch_permutes_the_losses_of_every_head() {
    for backend in &backends() {
        for_every_head!(backend, |name, head| {
            let order = [3, 0, 4, 1, 2];
            let index = Tensor::<1, Int>::from_data(TensorData::from(order), &backend.device);
            let rows = matrix(5, 2, backend);
            let before = host(head.forward_no_reduction(rows.clone(), labels(backend)));
            let permuted = rows.select(0, index.clone());
            let after = host(head.forward_no_reduction(permuted, labels(backend).select(0, index)));
            let expected: Vec<f64> = order.iter().map(|&place| before[place as usize]).collect();
            let tolerance = if backend.is_double() { Tolerance::new(1e-12, 1e-12) } else { Tolerance::new(1e-4, 1e-4) };
            assert_close(&format!("{name} on {}", backend.name), &after, &expected, tolerance);
        });
    }
}

/// Half precision in, computed in f32, half precision out.
#[test]
fn half_precision_is_computed_in_single_in_every_head() {
    for backend in &backends() {
        if backend.is_double() || !backend.name.starts_with("flex") {
            continue;
        }
        for_every_head!(backend, |name, head| {
            let rows = matrix(5, 2, backend).cast(DType::F16);
            let expected = host(head.forward_no_reduction(rows.clone().cast(DType::F32), labels(backend)));
            let losses = head.forward_no_reduction(rows, labels(backend));
            assert_eq!(losses.dtype(), DType::F16, "{name}");
            assert_close(name, &host(losses.cast(DType::F32)), &expected, Tolerance::new(1e-3, 1e-3));
        });
    }
}

/// A head in evaluation has the losses it has in training, but for what it measures and draws.
#[test]
fn evaluation_gives_the_losses_of_training() {
    for backend in &backends() {
        for_every_head!(backend, |name, head| {
            let training = host(head.forward_no_reduction(matrix(5, 2, backend), labels(backend)));
            let inner = backend.device.clone().inner();
            let bare = Tensor::<1, Int>::from_data(TensorData::from(LABELS), &inner);
            let valid = head.valid();
            let losses = valid.forward_no_reduction(matrix(5, 2, backend).without_autodiff(), bare);
            let tolerance = if backend.is_double() { Tolerance::new(1e-13, 1e-13) } else { Tolerance::new(1e-5, 1e-5) };
            assert_close(&format!("{name} on {}", backend.name), &host(losses), &training, tolerance);
        });
    }
}
