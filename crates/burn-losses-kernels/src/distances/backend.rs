//! The two passes as Burn's backends see them, and their gradient.

#![cfg_attr(feature = "ndarray", expect(deprecated, reason = "Burn deprecates ndarray; this project supports it"))]

use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, backend_extension};
use burn::tensor::Tensor;

use super::{Metric, passes};
use crate::host::Host;

/// The operation on matrices of one type, differentiable in both.
#[backend_extension(NdArray: cfg(feature = "ndarray"), Flex: cfg(feature = "flex"), Autodiff)]
pub(crate) trait DistanceOps: Backend {
    fn distances(first: FloatTensor<Self>, second: FloatTensor<Self>, metric: Metric) -> FloatTensor<Self>;
}

macro_rules! on_host {
    ($backend:ty) => {
        impl DistanceOps for $backend {
            fn distances(first: FloatTensor<Self>, second: FloatTensor<Self>, metric: Metric) -> FloatTensor<Self> {
                passes::forward::<Self>(&first, &second, metric)
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

#[derive(Clone, Debug)]
struct State<B: Backend> {
    nodes: [NodeId; 2],
    distances: FloatTensor<B>,
    metric: Metric,
}

impl<B: Host> Backward<B, 2> for Passes {
    type State = State<B>;

    fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, checkpointer: &mut Checkpointer) {
        let State { nodes, distances, metric } = ops.state;
        let gradient = grads.consume::<B>(&ops.node);
        let [first, second] = nodes.map(|node| checkpointer.retrieve_node_output::<FloatTensor<B>>(node));
        let wanted = [ops.parents[0].is_some(), ops.parents[1].is_some()];
        let gradients = passes::backward::<B>(&first, &second, metric, &distances, &gradient, wanted);
        for (node, gradient) in ops.parents.into_iter().zip(gradients) {
            if let (Some(node), Some(gradient)) = (node, gradient) {
                grads.register::<B>(node.id, gradient);
            }
        }
    }
}

impl<B: Host + DistanceOps, C: CheckpointStrategy> DistanceOps for Autodiff<B, C> {
    fn distances(first: FloatTensor<Self>, second: FloatTensor<Self>, metric: Metric) -> FloatTensor<Self> {
        match Passes.prepare::<C>([first.node(), second.node()]).compute_bound().stateful() {
            OpsKind::Tracked(mut prep) => {
                let nodes = [prep.checkpoint(&first), prep.checkpoint(&second)];
                let distances = B::distances(first.into_primitive(), second.into_primitive(), metric);
                prep.finish(State { nodes, distances: distances.clone(), metric }, distances)
            }
            OpsKind::UnTracked(prep) => {
                prep.finish(B::distances(first.into_primitive(), second.into_primitive(), metric))
            }
        }
    }
}

pub(super) fn distances(first: Tensor<2>, second: Tensor<2>, metric: Metric) -> Tensor<2> {
    let distances = <Dispatch as DistanceOps>::distances(first.into_dispatch(), second.into_dispatch(), metric);
    Tensor::from_dispatch(distances)
}
