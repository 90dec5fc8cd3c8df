//! The selection as Burn's backends see it, and its gradient.

#![cfg_attr(
    not(any(feature = "cpu-path", feature = "cube", feature = "tch", feature = "remote")),
    allow(dead_code, unused_variables, reason = "without a backend there is nothing to run")
)]
#![cfg_attr(feature = "ndarray", expect(deprecated, reason = "Burn deprecates ndarray; this project supports it"))]

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Autodiff, Backend, Dispatch, backend_extension};
use burn::tensor::{Bool, Int, Tensor};

use super::packed::tail;

/// The rows of a matrix, differentiable in it.
#[backend_extension(
    NdArray: cfg(feature = "ndarray"),
    Flex: cfg(feature = "flex"),
    Cube: cfg(feature = "cube"),
    LibTorch: cfg(feature = "tch"),
    Remote: cfg(all(feature = "remote", not(feature = "fusion"))),
    Autodiff
)]
pub(crate) trait RowOps: Backend {
    /// `tail`: `[drawn, TAIL]` in the type of the weights, what stands behind the gradient.
    fn drawn_rows(weights: FloatTensor<Self>, places: IntTensor<Self>, tail: FloatTensor<Self>) -> FloatTensor<Self>;
}

fn select<B: Backend>(weights: FloatTensor<B>, places: IntTensor<B>) -> FloatTensor<B> {
    B::float_select(weights, 0, places)
}

#[cfg(any(feature = "cpu-path", feature = "cube", feature = "tch", feature = "remote"))]
macro_rules! select_on {
    ($backend:ty) => {
        impl RowOps for $backend {
            fn drawn_rows(
                weights: FloatTensor<Self>,
                places: IntTensor<Self>,
                _tail: FloatTensor<Self>,
            ) -> FloatTensor<Self> {
                select::<Self>(weights, places)
            }
        }
    };
}

#[cfg(feature = "flex")]
select_on!(burn::backend::Flex);
#[cfg(feature = "ndarray")]
select_on!(burn::backend::NdArray);
#[cfg(feature = "cube")]
select_on!(burn_cubecl::CubeBackend);
#[cfg(feature = "tch")]
select_on!(burn::backend::LibTorch);
#[cfg(all(feature = "remote", not(feature = "fusion")))]
select_on!(burn::backend::Remote);

#[cfg(feature = "fusion")]
impl<B: burn::backend::fusion::FusionBackend> RowOps for burn::backend::fusion::Fusion<B> {
    fn drawn_rows(weights: FloatTensor<Self>, places: IntTensor<Self>, _tail: FloatTensor<Self>) -> FloatTensor<Self> {
        select::<Self>(weights, places)
    }
}

#[derive(Debug)]
struct Drawn;

impl<B: Backend> Backward<B, 1> for Drawn {
    type State = FloatTensor<B>;

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let gradient = grads.consume::<B>(&ops.node);
        if let [Some(node)] = ops.parents {
            grads.register::<B>(node.id, B::float_cat(alloc::vec![gradient, ops.state], 1));
        }
    }
}

impl<B: RowOps, C: CheckpointStrategy> RowOps for Autodiff<B, C> {
    fn drawn_rows(weights: FloatTensor<Self>, places: IntTensor<Self>, tail: FloatTensor<Self>) -> FloatTensor<Self> {
        let tail = tail.into_primitive();
        match Drawn.prepare::<C>([weights.node()]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish(tail.clone(), B::drawn_rows(weights.into_primitive(), places, tail)),
            OpsKind::UnTracked(prep) => prep.finish(B::drawn_rows(weights.into_primitive(), places, tail)),
        }
    }
}

pub(super) fn drawn_rows(weights: Tensor<2>, places: Tensor<1, Int>, counted: Tensor<1, Bool>) -> Tensor<2> {
    let tail = tail(places.clone(), counted, weights.dtype());
    let (weights, places) = (weights.into_dispatch(), places.into_dispatch());
    Tensor::from_dispatch(<Dispatch as RowOps>::drawn_rows(weights, places, tail.into_dispatch()))
}
