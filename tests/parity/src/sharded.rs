//! A sharded head against the same head in one piece, for tests on devices of this process and on servers.

use burn::module::Param;
use burn::tensor::{Device, Int, Tensor, TensorData};
use burn_losses::heads::{
    ArcFaceConfig, CombinedMarginConfig, CosFaceConfig, Head, MarginRule, NormFaceConfig, ShardedHead,
};
use support::close::{Tolerance, assert_close};
use support::table::host;

const DIM: usize = 6;
const CLASSES: usize = 11;

/// Labels of every shard, one twice, and rows without a class.
const LABELS: [i64; 7] = [0, 10, 4, 4, -1, 7, -1];

/// Value and gradients of sharded heads on `devices` equal those of the head in one piece on `home`; every shard's
/// gradient is on the shard's device. All devices with autodiff.
///
/// # Panics
///
/// If they do not.
pub fn assert_sharded_equals_whole(home: &Device, devices: &[Device]) {
    check(home, devices, ArcFaceConfig::new(CLASSES, DIM).with_scale(16.0).init(home));
    check(home, devices, CosFaceConfig::new(CLASSES, DIM).with_scale(16.0).init(home));
    check(home, devices, NormFaceConfig::new(CLASSES, DIM).with_scale(16.0).init(home));
    check(home, devices, CombinedMarginConfig::new(CLASSES, DIM).with_scale(16.0).init(home));
}

fn check<R: MarginRule>(home: &Device, devices: &[Device], mut head: Head<R>) {
    head.centers.weight = Param::from_tensor(matrix(CLASSES, 3, home));
    let sharded = ShardedHead::new(head.clone(), devices);
    let labels = || Tensor::<1, Int>::from_data(TensorData::from(LABELS), home);
    let weights = Tensor::<1>::from_floats([0.5, 1.5, -0.3, 0.8, 7.0, 1.1, 9.0], home);

    let whole_leaf = matrix(LABELS.len(), 1, home).require_grad();
    let whole = head.forward_no_reduction(whole_leaf.clone(), labels());
    let whole_gradients = (whole.clone() * weights.clone()).sum().backward();
    let leaf = matrix(LABELS.len(), 1, home).require_grad();
    let spread = sharded.forward_no_reduction(leaf.clone(), labels());
    let gradients = (spread.clone() * weights).sum().backward();

    let tolerance = Tolerance::new(1e-5, 1e-5);
    assert_eq!(&spread.device(), home);
    assert_close("losses", &host(spread), &host(whole), tolerance);
    let of = |leaf: &Tensor<2>, gradients| host(leaf.grad(gradients).expect("a gradient"));
    assert_close("embeddings", &of(&leaf, &gradients), &of(&whole_leaf, &whole_gradients), tolerance);
    let mut together = Vec::new();
    for (shard, device) in sharded.centers.iter().zip(devices) {
        let gradient = shard.weight.val().grad(&gradients).expect("a shard has a gradient");
        assert_eq!(gradient.device(), device.clone().without_autodiff());
        together.extend(host(gradient));
    }
    let whole_gradient = of(&head.centers.weight.val(), &whole_gradients);
    assert!(whole_gradient.iter().any(|&slope| slope.abs() > 1e-2));
    assert_close("centers", &together, &whole_gradient, tolerance);

    let embeddings = matrix(LABELS.len(), 1, home);
    let mean = |loss: Tensor<1>| host(loss);
    let whole_mean = mean(head.forward(embeddings.clone(), labels()));
    assert_close("mean", &mean(sharded.forward(embeddings.clone(), labels())), &whole_mean, tolerance);
    let logits = host(head.logits(embeddings.clone()));
    assert_close("logits", &host(sharded.logits(embeddings.clone())), &logits, tolerance);
    let margin_logits = host(head.margin_logits(embeddings.clone(), labels()));
    assert_close("margin", &host(sharded.margin_logits(embeddings.clone(), labels())), &margin_logits, tolerance);
    let target = host(head.target_cosine(embeddings.clone(), labels()));
    assert_close("target", &host(sharded.target_cosine(embeddings, labels())), &target, tolerance);
}

/// Numbers without a pattern.
fn matrix(rows: usize, seed: usize, device: &Device) -> Tensor<2> {
    let number = |place: usize| ((place * 7919 + seed * 104_729 + 1) as f64 * 0.618_033_988_7).fract() as f32 - 0.5;
    let numbers: Vec<f32> = (0..rows * DIM).map(number).collect();
    Tensor::from_data(TensorData::new(numbers, [rows, DIM]), device)
}
