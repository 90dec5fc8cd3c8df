//! The two passes as Burn's backends see them, and their gradient.

#![cfg_attr(feature = "ndarray", expect(deprecated, reason = "Burn deprecates ndarray; this project supports it"))]

use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Autodiff, AutodiffBackend, Backend, Dispatch, backend_extension};
use burn::tensor::{DType, Int, Tensor};

use super::{PairRule, PairSums, PairTotals, passes};
use crate::host::Host;
use crate::math::signed;

/// The operations, the sums differentiable in the distances.
#[backend_extension(NdArray: cfg(feature = "ndarray"), Flex: cfg(feature = "flex"), Autodiff)]
pub(crate) trait PairOps: Backend {
    /// `[anchors, references]` each; output `[anchors, 6]`: losses, pairs and active ones of the positives and the negatives.
    fn pair_sums(distances: FloatTensor<Self>, kinds: FloatTensor<Self>, rule: PairRule) -> FloatTensor<Self>;

    fn kinds(
        labels: IntTensor<Self>,
        reference_labels: IntTensor<Self>,
        in_batch: bool,
        dtype: DType,
    ) -> FloatTensor<Self>;
}

macro_rules! on_host {
    ($backend:ty) => {
        impl PairOps for $backend {
            fn pair_sums(distances: FloatTensor<Self>, kinds: FloatTensor<Self>, rule: PairRule) -> FloatTensor<Self> {
                passes::forward::<Self>(&distances, &kinds, rule)
            }

            fn kinds(
                labels: IntTensor<Self>,
                reference_labels: IntTensor<Self>,
                in_batch: bool,
                dtype: DType,
            ) -> FloatTensor<Self> {
                passes::kinds::<Self>(labels, reference_labels, in_batch, dtype)
            }
        }
    };
}

#[cfg(feature = "flex")]
on_host!(burn::backend::Flex);
#[cfg(feature = "ndarray")]
on_host!(burn::backend::NdArray);

#[derive(Debug)]
struct Passes;

impl<B: Host> Backward<B, 1> for Passes {
    type State = (NodeId, FloatTensor<B>, PairRule);

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, checkpointer: &mut Checkpointer) {
        let (distances, kinds, rule) = ops.state;
        let gradient = grads.consume::<B>(&ops.node);
        let distances: FloatTensor<B> = checkpointer.retrieve_node_output(distances);
        if let [Some(node)] = ops.parents {
            grads.register::<B>(node.id, passes::backward::<B>(&distances, &kinds, rule, &gradient));
        }
    }
}

impl<B: Host + PairOps, C: CheckpointStrategy> PairOps for Autodiff<B, C> {
    fn pair_sums(distances: FloatTensor<Self>, kinds: FloatTensor<Self>, rule: PairRule) -> FloatTensor<Self> {
        let kinds = kinds.into_primitive();
        match Passes.prepare::<C>([distances.node()]).compute_bound().stateful() {
            OpsKind::Tracked(mut prep) => {
                let node = prep.checkpoint(&distances);
                let sums = B::pair_sums(distances.into_primitive(), kinds.clone(), rule);
                prep.finish((node, kinds, rule), sums)
            }
            OpsKind::UnTracked(prep) => prep.finish(B::pair_sums(distances.into_primitive(), kinds, rule)),
        }
    }

    fn kinds(
        labels: IntTensor<Self>,
        reference_labels: IntTensor<Self>,
        in_batch: bool,
        dtype: DType,
    ) -> FloatTensor<Self> {
        Self::from_inner(B::kinds(labels, reference_labels, in_batch, dtype))
    }
}

pub(super) fn pair_sums(distances: Tensor<2>, kinds: Tensor<2>, rule: PairRule) -> PairSums {
    let [anchors, _] = distances.dims();
    let sums = <Dispatch as PairOps>::pair_sums(distances.into_dispatch(), kinds.into_dispatch(), rule);
    let sums = Tensor::<2>::from_dispatch(sums);
    let totals = |first: usize| {
        let [losses, pairs, active] =
            [0, 1, 2].map(|place| sums.clone().narrow(1, first + place, 1).reshape([anchors]));
        PairTotals { losses, pairs, active }
    };
    PairSums { positive: totals(0), negative: totals(3) }
}

pub(super) fn kinds_of_labels(
    labels: Tensor<1, Int>,
    reference_labels: Tensor<1, Int>,
    in_batch: bool,
    dtype: DType,
) -> Tensor<2> {
    let [labels, references] = [labels, reference_labels].map(|labels| signed(labels).into_dispatch());
    Tensor::from_dispatch(<Dispatch as PairOps>::kinds(labels, references, in_batch, dtype))
}
