//! The gradient: the backward pass of the inner backend, with `[N]` numbers kept, or the scores where they fit.

use burn::backend::Autodiff;
use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::{FloatTensor, IntTensor};

use super::backend::{LogSumExpOps, Plan, Wanted};

#[derive(Debug)]
struct Scores;

/// What the forward pass keeps: the two inputs as nodes of the graph, and its small results.
#[derive(Clone, Debug)]
struct State<I, F> {
    queries: NodeId,
    keys: NodeId,
    labels: I,
    key_labels: I,
    scores: F,
    kept: F,
    plan: Plan,
}

impl<B: LogSumExpOps> Backward<B, 2> for Scores {
    type State = State<IntTensor<B>, FloatTensor<B>>;

    fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, checkpointer: &mut Checkpointer) {
        let [queries_node, keys_node] = ops.parents;
        let gradient = grads.consume::<B>(&ops.node);
        let State { queries, keys, labels, key_labels, scores, kept, plan } = ops.state;
        let queries = checkpointer.retrieve_node_output::<FloatTensor<B>>(queries);
        let keys = checkpointer.retrieve_node_output::<FloatTensor<B>>(keys);
        let wanted = Wanted { queries: queries_node.is_some(), keys: keys_node.is_some() };

        let (queries_gradient, keys_gradient) =
            B::scores_backward(queries, keys, labels, key_labels, scores, kept, gradient, plan, wanted);
        if let Some(node) = queries_node {
            grads.register::<B>(node.id, queries_gradient);
        }
        if let Some(node) = keys_node {
            grads.register::<B>(node.id, keys_gradient);
        }
    }
}

impl<B: LogSumExpOps, C: CheckpointStrategy> LogSumExpOps for Autodiff<B, C> {
    fn scores(
        queries: FloatTensor<Self>,
        keys: FloatTensor<Self>,
        labels: IntTensor<Self>,
        key_labels: IntTensor<Self>,
        plan: Plan,
    ) -> FloatTensor<Self> {
        match Scores.prepare::<C>([queries.node(), keys.node()]).compute_bound().stateful() {
            OpsKind::Tracked(mut prep) => {
                let (queries_node, keys_node) = (prep.checkpoint(&queries), prep.checkpoint(&keys));
                let (scores, kept) = B::scores_forward(
                    queries.into_primitive(),
                    keys.into_primitive(),
                    labels.clone(),
                    key_labels.clone(),
                    plan,
                );
                let state = State {
                    queries: queries_node,
                    keys: keys_node,
                    labels,
                    key_labels,
                    scores: scores.clone(),
                    kept,
                    plan,
                };
                prep.finish(state, scores)
            }
            OpsKind::UnTracked(prep) => {
                prep.finish(B::scores(queries.into_primitive(), keys.into_primitive(), labels, key_labels, plan))
            }
        }
    }

    fn scores_forward(
        _: FloatTensor<Self>,
        _: FloatTensor<Self>,
        _: IntTensor<Self>,
        _: IntTensor<Self>,
        _: Plan,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        unreachable!("only `scores` is called with autodiff; it calls the inner backend")
    }

    fn scores_backward(
        _: FloatTensor<Self>,
        _: FloatTensor<Self>,
        _: IntTensor<Self>,
        _: IntTensor<Self>,
        _: FloatTensor<Self>,
        _: FloatTensor<Self>,
        _: FloatTensor<Self>,
        _: Plan,
        _: Wanted,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        unreachable!("the backward pass runs on the inner backend")
    }
}
