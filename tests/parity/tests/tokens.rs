//! Tokens and layers of the losses that apply a layer themselves.

use burn::module::Param;
use burn::nn::{Linear, LinearConfig, LinearLayout};
use burn::tensor::{DType, Int, Tensor, TensorData};
use burn_losses::classification::OutputLayer;
use parity::{Backend, backends};
use support::close::{Tolerance, assert_close, assert_finite};
use support::table::{host, numbers};

pub(crate) const DIM: usize = 5;
pub(crate) const TOKENS: usize = 21;
pub(crate) const CLASSES: usize = 37;
pub(crate) const IGNORED: i64 = -100;

pub(crate) fn tensor<const D: usize>(backend: &Backend, shape: [usize; D], seed: u64) -> Tensor<D> {
    let data = numbers(shape.iter().product(), seed);
    Tensor::<D>::from_data(TensorData::new(data, shape), (&backend.device, backend.dtype)).mul_scalar(2.0)
}

/// Three sequences of seven tokens, of which every fifth is padding.
pub(crate) fn labels(backend: &Backend) -> Tensor<2, Int> {
    let label = |token: usize| if token % 5 == 4 { IGNORED } else { (token * 29 % CLASSES) as i64 };
    let all: Vec<i64> = (0..TOKENS).map(label).collect();
    Tensor::<1, Int>::from_data(all.as_slice(), &backend.device).reshape([3, 7])
}

/// A linear layer of Burn's with numbers of its own.
pub(crate) fn linear(backend: &Backend, dim: usize, biased: bool, layout: LinearLayout, seed: u64) -> Linear {
    let mut layer = LinearConfig::new(dim, CLASSES).with_bias(biased).with_layout(layout).init(&backend.device);
    let weight = tensor::<2>(backend, [dim, CLASSES], seed);
    layer.weight = Param::from_tensor(match layout {
        LinearLayout::Row => weight,
        // The same numbers, column after column.
        LinearLayout::Col => weight.transpose().mul_scalar(1.0).transpose(),
    });
    layer.bias = biased.then(|| Param::from_tensor(tensor(backend, [CLASSES], seed + 1)));
    layer
}

/// What a step gives: loss, and gradients of hidden states, weights and bias.
pub(crate) type Outcome = [Vec<f64>; 4];

/// A step by a loss of hidden states and a layer.
pub(crate) fn step(
    backend: &Backend,
    biased: bool,
    layout: LinearLayout,
    run: impl FnOnce(Tensor<3>, &Linear) -> Tensor<1>,
) -> Outcome {
    let hidden = tensor(backend, [3, 7, DIM], 1).require_grad();
    let layer = linear(backend, DIM, biased, layout, 2);
    let loss = run(hidden.clone(), &layer);
    // It is a part of a larger one.
    let gradients = loss.clone().mul_scalar(0.75).backward();
    let of_bias = layer.bias.as_ref().and_then(|bias| bias.val().grad(&gradients));
    [
        host(loss),
        host(hidden.grad(&gradients).expect("a gradient")),
        host(layer.weight.val().grad(&gradients).expect("a gradient")),
        of_bias.map_or_else(Vec::new, host),
    ]
}

/// A loss and its gradients are finite.
pub(crate) fn assert_finite_step<const D: usize>(what: &str, loss: Tensor<1>, hidden: &Tensor<D>, weight: &Tensor<2>) {
    let gradients = loss.backward();
    assert_finite(what, &host(loss));
    assert_finite(what, &host(hidden.grad(&gradients).expect("a gradient")));
    assert_finite(what, &host(weight.grad(&gradients).expect("a gradient")));
}

/// Numbers that `bf16` has, in a type.
pub(crate) fn rounded(backend: &Backend, shape: [usize; 2], seed: u64, dtype: DType) -> Tensor<2> {
    tensor(backend, shape, seed).cast(DType::BF16).cast(dtype).detach()
}

/// A loss of hidden states and a layer in `bf16` is that of the same numbers in `f32`, and so are its gradients.
pub(crate) fn assert_half_is_computed_in_single(run: impl Fn(&Backend, Tensor<2>, OutputLayer) -> Tensor<1>) {
    for backend in backends().iter().filter(|backend| backend.name == "flex" && backend.dtype == DType::F32) {
        let in_precision = |dtype: DType| {
            let hidden = rounded(backend, [4, DIM], 1, dtype).require_grad();
            let weight = rounded(backend, [CLASSES, DIM], 2, dtype).require_grad();
            let value = run(backend, hidden.clone(), OutputLayer::new(weight.clone(), None));
            assert_eq!(value.dtype(), dtype);
            let gradients = value.backward();
            let of_weight = weight.grad(&gradients).expect("a gradient");
            assert_eq!(of_weight.dtype(), dtype);
            [host(value), host(hidden.grad(&gradients).expect("a gradient")), host(of_weight)]
        };
        for (half, single) in in_precision(DType::BF16).iter().zip(&in_precision(DType::F32)) {
            assert_close("bf16", half, single, Tolerance::new(8e-3, 1e-5));
        }
    }
}

/// Classes in three parts, one of them on another backend, are those of the whole, and so are the gradients. What runs is told
/// its backend and another one, which is the same for the whole, and gives what has a gradient and what else is seen.
pub(crate) fn assert_parts_are_the_whole(
    tolerance: fn(&Backend) -> Tolerance,
    run: impl Fn([&Backend; 2], Tensor<2>, OutputLayer) -> (Tensor<1>, Vec<Tensor<1>>),
) {
    let all = backends();
    for backend in &all {
        let other = all.iter().find(|other| other.dtype == backend.dtype && other.name != backend.name);
        let other = other.filter(|other| !other.is_gpu() && !backend.is_gpu()).unwrap_or(backend);
        let outcome = |split: bool| {
            let hidden = tensor::<2>(backend, [TOKENS, DIM], 1).require_grad();
            let weight = tensor::<2>(backend, [CLASSES, DIM], 2).require_grad();
            let bias = tensor::<1>(backend, [CLASSES], 3).require_grad();
            let part = |start: usize, count: usize, home: &Backend| {
                let weight = weight.clone().narrow(0, start, count).to_device(&home.device);
                OutputLayer::new(weight, Some(bias.clone().narrow(0, start, count).to_device(&home.device)))
            };
            let (layer, other) = if split {
                (OutputLayer::sharded([part(0, 10, backend), part(10, 20, other), part(30, 7, backend)]), other)
            } else {
                (OutputLayer::new(weight.clone(), Some(bias.clone())), backend)
            };
            let (value, seen) = run([backend, other], hidden.clone(), layer);
            let gradients = value.backward();
            let slopes = [hidden.grad(&gradients).map(host), weight.grad(&gradients).map(host)];
            let slopes = slopes.into_iter().chain([bias.grad(&gradients).map(host)]);
            let slopes = slopes.map(|slope| slope.expect("a gradient"));
            seen.into_iter().chain([value]).map(host).chain(slopes).collect::<Vec<_>>()
        };
        for (split, whole) in outcome(true).iter().zip(&outcome(false)) {
            assert_close(&backend.name, split, whole, tolerance(backend));
        }
    }
}
