//! A backend that is on in Burn and off in this crate: Burn would stop with "Backend not supported for custom op".
//!
//! `cargo test -p burn-losses-kernels` builds it so; with the feature `flex` (which the whole workspace turns on) there is
//! no such backend to test.

#![cfg(not(feature = "flex"))]
#![allow(missing_docs)]

use burn::tensor::{Device, Int, Tensor};
use burn_losses_kernels::scores::{Comparison, Counted, Normalise, Scores, scores, scores_reference, streams_on};

fn leaf(rows: i64, columns: i64, device: &Device) -> Tensor<2> {
    Tensor::<1, Int>::arange(1..rows * columns + 1, device)
        .float()
        .sin()
        .reshape([rows, columns])
        .detach()
        .require_grad()
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.try_into_vec_as::<f32>().unwrap()
}

fn packed(scores: Scores) -> Tensor<2> {
    Tensor::stack(vec![scores.target, scores.sum], 1)
}

fn classes(scale: f64) -> Comparison {
    Comparison { normalise: Normalise::Both, ..Comparison::new(scale) }
}

#[test]
fn the_heads_operation_falls_back_to_the_reference() {
    for device in [Device::flex(), Device::flex().autodiff()] {
        assert!(!streams_on(&device));
    }
    let device = Device::flex().autodiff();
    let labels = || Tensor::<1, Int>::from_ints([2, -1, 6], &device);
    let run = |fall_back: bool| {
        let (x, w) = (leaf(3, 4, &device), leaf(6, 4, &device));
        let scores = if fall_back {
            packed(scores(x.clone(), w.clone(), labels(), classes(8.0)))
        } else {
            packed(scores_reference(x.clone(), w.clone(), labels(), classes(8.0)))
        };
        let gradients = scores.clone().powi_scalar(2).sum().backward();
        [values(scores), values(x.grad(&gradients).unwrap()), values(w.grad(&gradients).unwrap())]
    };
    let expected = run(false);
    assert!(expected[2].iter().all(|&slope| slope != 0.0));
    assert_eq!(run(true), expected);
}

#[test]
fn labelled_keys_and_samples_fall_back_too() {
    let device = Device::flex().autodiff();
    let (queries, keys) = (leaf(2, 3, &device), leaf(5, 3, &device));
    let ours = || Tensor::<1, Int>::from_ints([1, 2], &device);
    let theirs = || Counted::OtherLabels(Tensor::<1, Int>::from_ints([1, 2, 3, -1, 1], &device));
    let others = || Comparison { counted: theirs(), ..Comparison::new(2.0) };
    let expected = scores_reference(queries.clone(), keys.clone(), ours(), others());
    let actual = scores(queries.clone(), keys.clone(), ours(), others());
    assert_eq!(values(actual.sum), values(expected.sum));

    let used = Counted::Sample(Tensor::<1, Int>::from_ints([0, 0, 0, -1, -1], &device));
    let sampled = scores(queries.clone(), keys.clone(), ours(), Comparison { counted: used, ..classes(2.0) });
    let expected = scores(queries, keys.narrow(0, 0, 3), ours(), classes(2.0));
    assert_eq!(values(packed(sampled)), values(packed(expected)));
}

#[test]
fn half_precision_falls_back_too() {
    let device = Device::flex().autodiff();
    let half = leaf(5, 3, &device).detach().cast(burn::tensor::DType::F16).detach().require_grad();
    let scores = packed(scores(leaf(2, 3, &device), half.clone(), Tensor::from_ints([0, 4], &device), classes(8.0)));
    let gradient = half.grad(&scores.sum().backward()).unwrap();
    assert_eq!(gradient.dtype(), burn::tensor::DType::F16);
    assert!(values(gradient.cast(burn::tensor::DType::F32)).iter().any(|&slope| slope != 0.0));
}
