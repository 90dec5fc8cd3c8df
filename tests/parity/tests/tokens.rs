//! Tokens and layers of the losses that apply a layer themselves.

use burn::module::Param;
use burn::nn::{Linear, LinearConfig, LinearLayout};
use burn::tensor::{Int, Tensor, TensorData};
use parity::Backend;
use support::table::numbers;

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
