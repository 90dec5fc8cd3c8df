//! Losses that are one number, whose gradients are there when the forward pass ends.

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend};

use super::cpu::chunks;
use crate::host::Host;

/// The gradients are there already; what comes from above is a factor.
#[derive(Debug)]
pub(super) struct Known;

impl<B: Host, const N: usize> Backward<B, N> for Known {
    type State = [FloatTensor<B>; N];

    fn backward(self, ops: Ops<Self::State, N>, grads: &mut Gradients, _: &mut Checkpointer) {
        let factor = chunks::number::<B>(&grads.consume::<B>(&ops.node));
        for (node, gradient) in ops.parents.into_iter().zip(ops.state) {
            if let Some(node) = node {
                grads.register::<B>(node.id, chunks::multiplied::<B>(gradient, factor));
            }
        }
    }
}

/// Whether something would come back to a tensor: the graph says so to an operation, which is not finished then.
#[derive(Debug)]
struct Question;

impl<B: Backend> Backward<B, 1> for Question {
    type State = ();

    fn backward(self, _: Ops<(), 1>, _: &mut Gradients, _: &mut Checkpointer) {
        unreachable!("it is no part of a graph")
    }
}

pub(super) fn is_tracked<B: Backend, C: CheckpointStrategy>(tensor: &FloatTensor<Autodiff<B, C>>) -> bool {
    let asked = Backward::<B, 1>::prepare::<C>(Question, [tensor.node()]);
    matches!(asked.compute_bound().stateful(), OpsKind::Tracked(_))
}
