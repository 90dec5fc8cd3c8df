//! The operation as Burn's backends see it, and its gradient.

#![cfg_attr(feature = "ndarray", expect(deprecated, reason = "Burn deprecates ndarray; this project supports it"))]

use alloc::vec;

use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::ops::{Backward, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, backend_extension};
use burn::tensor::{DType, Tensor};

use super::super::cosine_sums::op::TwoSides;
use super::super::cpu::sigmoid_loss as host;
use super::super::known::{Known, is_tracked};
use super::{Scale, Sides};
use crate::host::{Host, is_host};
use crate::math::{cast_to, comparable};

/// The operation, differentiable in both sides, the scale and the bias.
#[backend_extension(NdArray: cfg(feature = "ndarray"), Flex: cfg(feature = "flex"), Autodiff)]
pub(crate) trait SigmoidLossOps: Backend {
    /// - `sides`: of one length
    /// - bias, output: `[1]`
    fn sigmoid_loss(#[extension_type] sides: TwoSides<Self>, bias: FloatTensor<Self>) -> FloatTensor<Self>;
}

macro_rules! on_host {
    ($backend:ty) => {
        impl SigmoidLossOps for $backend {
            fn sigmoid_loss(sides: TwoSides<Self>, bias: FloatTensor<Self>) -> FloatTensor<Self> {
                host::loss::<Self>(&sides, &bias)
            }
        }
    };
}

#[cfg(feature = "flex")]
on_host!(burn::backend::Flex);
#[cfg(feature = "ndarray")]
on_host!(burn::backend::NdArray);

impl<B: Host + SigmoidLossOps, C: CheckpointStrategy> SigmoidLossOps for Autodiff<B, C> {
    fn sigmoid_loss(sides: TwoSides<Self>, bias: FloatTensor<Self>) -> FloatTensor<Self> {
        let TwoSides { first, second, scale, labels, other_labels, lengths } = sides;
        let wanted = [&first, &second].map(is_tracked::<B, C>);
        let parents = [first.node(), second.node(), scale.node(), bias.node()];
        let prepared = Backward::<B, 4>::prepare::<C>(Known, parents).compute_bound().stateful();
        let [first, second, scale, bias] = [first, second, scale, bias].map(FloatTensor::<Self>::into_primitive);
        let sides = TwoSides::<B> { first, second, scale, labels, other_labels, lengths };
        match prepared {
            OpsKind::Tracked(prepared) => {
                let (loss, gradients) = host::loss_and_gradients::<B>(&sides, &bias, wanted);
                prepared.finish(gradients, loss)
            }
            OpsKind::UnTracked(prepared) => prepared.finish(B::sigmoid_loss(sides, bias)),
        }
    }
}

pub(super) fn on_host(sides: Sides, scale: Scale, bias: Tensor<1>) -> Option<Tensor<1>> {
    let Sides { first, second, labels: [labels, other_labels] } = sides;
    let ([rows, dim], dtype, device) = (first.dims(), first.dtype(), first.device());
    let fits = matches!(dtype, DType::F32 | DType::F64) && second.dtype() == dtype && rows > 0 && dim > 0;
    if !fits || !is_host(&device) || second.device() != device {
        return None;
    }
    let scale = match scale {
        Scale::Constant(scale) => Tensor::from_data([scale], (&device, dtype)),
        Scale::Tensor(scale) => cast_to(scale, dtype),
    };
    let (labels, other_labels) = comparable(labels, other_labels);
    let sides = TwoSides {
        first: first.into_dispatch(),
        second: second.into_dispatch(),
        scale: scale.into_dispatch(),
        labels: labels.into_dispatch(),
        other_labels: other_labels.into_dispatch(),
        lengths: vec![dim],
    };
    let bias = cast_to(bias, dtype).into_dispatch();
    Some(Tensor::from_dispatch(<Dispatch as SigmoidLossOps>::sigmoid_loss(sides, bias)))
}
