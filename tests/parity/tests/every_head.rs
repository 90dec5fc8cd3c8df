//! What all heads keep that are more than a rule of the own cosine.

use burn::module::{Module, Param};
use burn::tensor::{Int, Tensor, TensorData};
use burn_losses::heads::{
    AdaCosConfig, AdaFaceConfig, CurricularFaceConfig, ElasticFaceConfig, Head, MagFaceConfig, MarginRule,
    MvSoftmaxConfig, SphereFace2Config, SphereFaceConfig, SubCenterArcFaceConfig, UniFaceConfig,
};
use parity::{Backend, backends};
use support::close::{Tolerance, assert_close};
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
