//! The former entrances of [`scores`](crate::scores), for callers that are yet to move.
#![allow(missing_docs)]

use burn::tensor::{Int, Tensor};

use crate::scores::{Comparison, Counted, Normalise, Scores, scores, scores_reference};
pub use crate::scores::{Scale, Streaming, streams_on};

#[derive(Clone, Debug)]
pub enum KeyLabels {
    Position,
    Tensor(Tensor<1, Int>),
    Same { labels: Tensor<1, Int>, in_batch: bool },
}

impl From<KeyLabels> for Counted {
    fn from(labels: KeyLabels) -> Self {
        match labels {
            KeyLabels::Position => Self::AllButTarget,
            KeyLabels::Tensor(labels) => Self::OtherLabels(labels),
            KeyLabels::Same { labels, in_batch } => Self::SameLabel { labels, in_batch },
        }
    }
}

pub fn streamed_logsumexp(
    queries: Tensor<2>,
    keys: Tensor<2>,
    query_labels: Tensor<1, Int>,
    key_labels: KeyLabels,
    scale: impl Into<Scale>,
    streaming: Streaming,
) -> Tensor<1> {
    let comparison = Comparison { counted: key_labels.into(), streaming, ..Comparison::new(scale) };
    scores(queries, keys, query_labels, comparison).sum
}

pub fn streamed_logsumexp_reference(
    queries: Tensor<2>,
    keys: Tensor<2>,
    query_labels: Tensor<1, Int>,
    key_labels: KeyLabels,
    scale: f64,
) -> Tensor<1> {
    let comparison = Comparison { counted: key_labels.into(), ..Comparison::new(scale) };
    scores_reference(queries, keys, query_labels, comparison).sum
}

pub fn class_scores(
    embeddings: Tensor<2>,
    weights: Tensor<2>,
    labels: Tensor<1, Int>,
    scale: impl Into<Scale>,
    streaming: Streaming,
) -> Tensor<2> {
    packed(scores(embeddings, weights, labels, classes(scale.into(), streaming)))
}

pub fn class_scores_reference(
    embeddings: Tensor<2>,
    weights: Tensor<2>,
    labels: Tensor<1, Int>,
    scale: f64,
) -> Tensor<2> {
    packed(scores_reference(embeddings, weights, labels, classes(scale.into(), Streaming::new())))
}

pub fn sampled_class_scores(
    embeddings: Tensor<2>,
    weights: Tensor<2>,
    labels: Tensor<1, Int>,
    used: Tensor<1, Int>,
    scale: impl Into<Scale>,
    streaming: Streaming,
) -> Tensor<2> {
    let comparison = Comparison { counted: Counted::Sample(used), ..classes(scale.into(), streaming) };
    packed(scores(embeddings, weights, labels, comparison))
}

fn classes(scale: Scale, streaming: Streaming) -> Comparison {
    Comparison { normalise: Normalise::Both, streaming, ..Comparison::new(scale) }
}

pub(crate) fn packed(scores: Scores) -> Tensor<2> {
    Tensor::stack(alloc::vec![scores.target, scores.sum], 1)
}
