//! The selections as Burn's backends see them, and their gradients.

#![cfg_attr(
    not(any(feature = "cpu-path", feature = "cube", feature = "tch", feature = "remote")),
    allow(dead_code, unused_variables, reason = "without a backend there is nothing to run")
)]
#![cfg_attr(feature = "ndarray", expect(deprecated, reason = "Burn deprecates ndarray; this project supports it"))]

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
#[cfg(feature = "fusion")]
use burn::backend::fusion::custom::TensorSpec;
use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Autodiff, Backend, Dispatch, TensorMetadata, backend_extension};
use burn::tensor::{Bool, Int, Tensor};

use super::packed::tail;

/// The rows of a matrix, differentiable in it.
/// The selections, differentiable in the weights.
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

    /// `used`: `[drawn]`, negative for what does not count.
    fn distinct_rows(weights: FloatTensor<Self>, places: IntTensor<Self>, used: IntTensor<Self>) -> FloatTensor<Self>;
}

/// The gradient of a selection.
#[backend_extension(
    NdArray: cfg(feature = "ndarray"),
    Flex: cfg(feature = "flex"),
    Cube: cfg(feature = "cube"),
    LibTorch: cfg(feature = "tch"),
    Remote: cfg(all(feature = "remote", not(feature = "fusion"))),
    Fusion: cfg(feature = "fusion")
)]
pub(crate) trait RowKernels: Backend {
    /// `[rows, dim]` from `of_rows`, `[drawn, dim]`.
    #[fusion(meta = of_weights_meta)]
    fn of_weights(
        of_rows: FloatTensor<Self>,
        places: IntTensor<Self>,
        used: IntTensor<Self>,
        rows: usize,
    ) -> FloatTensor<Self>;
}

#[cfg(feature = "fusion")]
fn of_weights_meta(of_rows: &TensorSpec, _: &TensorSpec, _: &TensorSpec, rows: &usize) -> TensorSpec {
    TensorSpec::new([*rows, of_rows.shape[1]].into(), of_rows.dtype)
}

/// By what every backend has: what does not count has the gradient 0, and so may be added.
#[cfg(any(feature = "cpu-path", feature = "tch", all(feature = "remote", not(feature = "fusion"))))]
fn added<B: Backend>(of_rows: FloatTensor<B>, places: IntTensor<B>, rows: usize) -> FloatTensor<B> {
    let shape = [rows, of_rows.shape()[1]].into();
    let zeros = B::float_zeros(shape, &of_rows.device(), of_rows.dtype().into());
    B::float_select_assign(zeros, 0, places, of_rows, burn::tensor::IndexingUpdateOp::Add)
}

fn select<B: Backend>(weights: FloatTensor<B>, places: IntTensor<B>) -> FloatTensor<B> {
    B::float_select(weights, 0, places)
}

#[cfg(any(feature = "cpu-path", feature = "cube", feature = "tch", feature = "remote", feature = "fusion"))]
macro_rules! select_on {
    ($backend:ty $(, $bound:ident)?) => {
        impl$(<B: burn::backend::fusion::FusionBackend + $bound>)? RowOps for $backend {
            fn drawn_rows(
                weights: FloatTensor<Self>,
                places: IntTensor<Self>,
                _tail: FloatTensor<Self>,
            ) -> FloatTensor<Self> {
                select::<Self>(weights, places)
            }

            fn distinct_rows(
                weights: FloatTensor<Self>,
                places: IntTensor<Self>,
                _used: IntTensor<Self>,
            ) -> FloatTensor<Self> {
                select::<Self>(weights, places)
            }
        }
    };
}

#[cfg(any(feature = "cpu-path", feature = "tch", all(feature = "remote", not(feature = "fusion"))))]
macro_rules! added_on {
    ($backend:ty) => {
        select_on!($backend);

        impl RowKernels for $backend {
            fn of_weights(
                of_rows: FloatTensor<Self>,
                places: IntTensor<Self>,
                _used: IntTensor<Self>,
                rows: usize,
            ) -> FloatTensor<Self> {
                added::<Self>(of_rows, places, rows)
            }
        }
    };
}

#[cfg(feature = "flex")]
added_on!(burn::backend::Flex);
#[cfg(feature = "ndarray")]
added_on!(burn::backend::NdArray);
#[cfg(feature = "cube")]
select_on!(burn_cubecl::CubeBackend);
#[cfg(feature = "tch")]
added_on!(burn::backend::LibTorch);
#[cfg(all(feature = "remote", not(feature = "fusion")))]
added_on!(burn::backend::Remote);
#[cfg(feature = "fusion")]
select_on!(burn::backend::fusion::Fusion<B>, RowKernels);

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

#[derive(Debug)]
struct Distinct;

impl<B: RowKernels> Backward<B, 1> for Distinct {
    /// Places, which of them count, and how many rows there are.
    type State = (IntTensor<B>, IntTensor<B>, usize);

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let gradient = grads.consume::<B>(&ops.node);
        let (places, used, rows) = ops.state;
        if let [Some(node)] = ops.parents {
            grads.register::<B>(node.id, B::of_weights(gradient, places, used, rows));
        }
    }
}

impl<B: RowOps + RowKernels, C: CheckpointStrategy> RowOps for Autodiff<B, C> {
    fn drawn_rows(weights: FloatTensor<Self>, places: IntTensor<Self>, tail: FloatTensor<Self>) -> FloatTensor<Self> {
        let tail = tail.into_primitive();
        match Drawn.prepare::<C>([weights.node()]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish(tail.clone(), B::drawn_rows(weights.into_primitive(), places, tail)),
            OpsKind::UnTracked(prep) => prep.finish(B::drawn_rows(weights.into_primitive(), places, tail)),
        }
    }

    fn distinct_rows(weights: FloatTensor<Self>, places: IntTensor<Self>, used: IntTensor<Self>) -> FloatTensor<Self> {
        match Distinct.prepare::<C>([weights.node()]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => {
                let weights = weights.into_primitive();
                let state = (places.clone(), used.clone(), weights.shape()[0]);
                prep.finish(state, B::distinct_rows(weights, places, used))
            }
            OpsKind::UnTracked(prep) => prep.finish(B::distinct_rows(weights.into_primitive(), places, used)),
        }
    }
}

pub(super) fn drawn_rows(weights: Tensor<2>, places: Tensor<1, Int>, counted: Tensor<1, Bool>) -> Tensor<2> {
    let tail = tail(places.clone(), counted, weights.dtype());
    let (weights, places) = (weights.into_dispatch(), places.into_dispatch());
    Tensor::from_dispatch(<Dispatch as RowOps>::drawn_rows(weights, places, tail.into_dispatch()))
}

pub(super) fn distinct_rows(weights: Tensor<2>, places: Tensor<1, Int>, used: Tensor<1, Int>) -> Tensor<2> {
    let (weights, places, used) = (weights.into_dispatch(), places.into_dispatch(), used.into_dispatch());
    Tensor::from_dispatch(<Dispatch as RowOps>::distinct_rows(weights, places, used))
}
