//! The gradient: the backward pass of the inner backend, with `[N]` numbers kept.

use burn::backend::Autodiff;
use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::{FloatTensor, IntTensor};

use super::backend::{Plan, RivalOps};
use crate::logsumexp::backend::Wanted;

#[derive(Debug)]
struct RivalScores;

/// What the forward pass keeps: the two inputs as nodes of the graph, and what is small.
#[derive(Clone, Debug)]
struct State<I, F> {
    queries: NodeId,
    keys: NodeId,
    row_terms: F,
    labels: I,
    key_labels: I,
    output: F,
    plan: Plan,
}

impl<B: RivalOps> Backward<B, 2> for RivalScores {
    type State = State<IntTensor<B>, FloatTensor<B>>;

    fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, checkpointer: &mut Checkpointer) {
        let [queries_node, keys_node] = ops.parents;
        let gradient = grads.consume::<B>(&ops.node);
        let State { queries, keys, row_terms, labels, key_labels, output, plan } = ops.state;
        let queries = checkpointer.retrieve_node_output::<FloatTensor<B>>(queries);
        let keys = checkpointer.retrieve_node_output::<FloatTensor<B>>(keys);
        let wanted = Wanted { queries: queries_node.is_some(), keys: keys_node.is_some() };

        let (queries_gradient, keys_gradient) =
            B::rivals_backward(queries, keys, row_terms, labels, key_labels, output, gradient, plan, wanted);
        if let Some(node) = queries_node {
            grads.register::<B>(node.id, queries_gradient);
        }
        if let Some(node) = keys_node {
            grads.register::<B>(node.id, keys_gradient);
        }
    }
}

impl<B: RivalOps, C: CheckpointStrategy> RivalOps for Autodiff<B, C> {
    fn rivals(
        queries: FloatTensor<Self>,
        keys: FloatTensor<Self>,
        row_terms: FloatTensor<Self>,
        labels: IntTensor<Self>,
        key_labels: IntTensor<Self>,
        plan: Plan,
    ) -> FloatTensor<Self> {
        let row_terms = row_terms.into_primitive();
        match RivalScores.prepare::<C>([queries.node(), keys.node()]).compute_bound().stateful() {
            OpsKind::Tracked(mut prep) => {
                let (queries_node, keys_node) = (prep.checkpoint(&queries), prep.checkpoint(&keys));
                let output = B::rivals(
                    queries.into_primitive(),
                    keys.into_primitive(),
                    row_terms.clone(),
                    labels.clone(),
                    key_labels.clone(),
                    plan,
                );
                let state = State {
                    queries: queries_node,
                    keys: keys_node,
                    row_terms,
                    labels,
                    key_labels,
                    output: output.clone(),
                    plan,
                };
                prep.finish(state, output)
            }
            OpsKind::UnTracked(prep) => {
                let output =
                    B::rivals(queries.into_primitive(), keys.into_primitive(), row_terms, labels, key_labels, plan);
                prep.finish(output)
            }
        }
    }

    fn rivals_backward(
        _: FloatTensor<Self>,
        _: FloatTensor<Self>,
        _: FloatTensor<Self>,
        _: IntTensor<Self>,
        _: IntTensor<Self>,
        _: FloatTensor<Self>,
        _: FloatTensor<Self>,
        _: Plan,
        _: Wanted,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        unreachable!("the backward pass runs on the inner backend")
    }
}
