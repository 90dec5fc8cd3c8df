//! The gradient: the backward pass of the inner backend, with `[N]` numbers kept, or the scores where they fit.

use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients as Registered;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Autodiff, AutodiffBackend, Backend};

use super::backend::{Batch, Gradients, Maybe, Plan, Results, ScoreKernels, ScoreOps, Wanted};

#[derive(Debug)]
struct Scores;

/// What the forward pass keeps: what it is differentiated by as nodes of the graph, and what is small.
#[derive(Clone, Debug)]
struct State<B: Backend> {
    queries: NodeId,
    keys: NodeId,
    bias: Option<NodeId>,
    rows: Maybe<B>,
    weights: Maybe<B>,
    labels: IntTensor<B>,
    key_labels: IntTensor<B>,
    results: Results<B>,
    plan: Plan,
}

impl<B: ScoreKernels> Backward<B, 3> for Scores {
    type State = State<B>;

    fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Registered, checkpointer: &mut Checkpointer) {
        let State { queries, keys, bias, rows, weights, labels, key_labels, results, plan } = ops.state;
        let gradient = grads.consume::<B>(&ops.node);
        let mut value = |node| checkpointer.retrieve_node_output::<FloatTensor<B>>(node);
        let (queries, keys, bias) = (value(queries), value(keys), bias.map(value).into());
        let batch = Batch { queries, keys, bias, rows, weights, labels, key_labels, plan };
        let [of_queries, of_keys, of_bias] = ops.parents;
        let wanted = Wanted { queries: of_queries.is_some(), keys: of_keys.is_some(), bias: of_bias.is_some() };

        let Gradients { queries, keys, bias } = B::backward(batch, results, gradient, wanted);
        for (node, gradient) in [(of_queries, queries), (of_keys, keys), (of_bias, bias)] {
            if let Some(node) = node {
                grads.register::<B>(node.id, gradient);
            }
        }
    }
}

impl<B: ScoreKernels + ScoreOps, C: CheckpointStrategy> ScoreOps for Autodiff<B, C> {
    fn scores(batch: Batch<Self>) -> FloatTensor<Self> {
        let Batch { queries, keys, bias, rows, weights, labels, key_labels, plan } = batch;
        let constant = |numbers: Maybe<Self>| -> Maybe<B> {
            numbers.as_option().map(|numbers| numbers.clone().into_primitive()).into()
        };
        let (rows, weights) = (constant(rows), constant(weights));
        // The number of parents is fixed: where there is no bias, something without a gradient stands in.
        let bias_node = match &bias {
            Maybe::Just(bias) => bias.node(),
            Maybe::Nothing => Self::from_inner(queries.clone().into_primitive()).node(),
        };
        let inner = |bias: Maybe<Self>, queries: FloatTensor<Self>, keys: FloatTensor<Self>| Batch::<B> {
            queries: queries.into_primitive(),
            keys: keys.into_primitive(),
            bias: constant(bias),
            rows: rows.clone(),
            weights: weights.clone(),
            labels: labels.clone(),
            key_labels: key_labels.clone(),
            plan,
        };
        match Scores.prepare::<C>([queries.node(), keys.node(), bias_node]).compute_bound().stateful() {
            OpsKind::Tracked(mut prep) => {
                let nodes = (prep.checkpoint(&queries), prep.checkpoint(&keys));
                let bias_node = bias.as_option().map(|bias| prep.checkpoint(bias));
                let results = B::forward(inner(bias, queries, keys));
                let output = results.output.clone();
                let (queries, keys, bias) = (nodes.0, nodes.1, bias_node);
                let state = State { queries, keys, bias, rows, weights, labels, key_labels, results, plan };
                prep.finish(state, output)
            }
            OpsKind::UnTracked(prep) => prep.finish(B::scores(inner(bias, queries, keys))),
        }
    }
}
