//! The former entrances of [`scores`](crate::scores), for callers that are yet to move.
#![allow(missing_docs)]

use burn::tensor::{Int, Tensor};

use crate::logsumexp::{KeyLabels, packed};
pub use crate::scores::{CenterChoice, Curve, Reweighting};
use crate::scores::{
    Comparison as Scored, Counted, Normalise, Scale, Scores, Streaming, Terms, scores, scores_reference,
};

#[derive(Clone, Debug)]
pub struct Comparison {
    pub sub_centers: usize,
    pub choice: CenterChoice,
    pub rivals: Rivals,
}

impl Default for Comparison {
    fn default() -> Self {
        Self { sub_centers: 1, choice: CenterChoice::Nearest, rivals: Rivals::LogSumExp }
    }
}

#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant)]
pub enum Rivals {
    LogSumExp,
    Reweighted(Reweighting),
    Softplus { bias: Tensor<1>, curve: Curve },
}

fn scored(used: Option<Tensor<1, Int>>, comparison: Comparison, scale: f64, streaming: Streaming) -> Scored {
    let Comparison { sub_centers, choice, rivals } = comparison;
    let terms = match rivals {
        Rivals::LogSumExp => Terms::Exp,
        Rivals::Reweighted(reweighting) => Terms::Reweighted(reweighting),
        Rivals::Softplus { bias, curve } => Terms::Softplus { offset: bias.neg(), curve },
    };
    let counted = used.map_or(Counted::AllButTarget, Counted::Sample);
    Scored { counted, terms, normalise: Normalise::Both, sub_centers, choice, streaming, ..Scored::new(scale) }
}

pub fn rival_scores(
    embeddings: Tensor<2>,
    weights: Tensor<2>,
    labels: Tensor<1, Int>,
    used: Option<Tensor<1, Int>>,
    comparison: Comparison,
    scale: f64,
    streaming: Streaming,
) -> Tensor<2> {
    packed(scores(embeddings, weights, labels, scored(used, comparison, scale, streaming)))
}

pub fn rival_scores_reference(
    embeddings: Tensor<2>,
    weights: Tensor<2>,
    labels: Tensor<1, Int>,
    used: Option<Tensor<1, Int>>,
    comparison: Comparison,
    scale: f64,
) -> Tensor<2> {
    packed(scores_reference(embeddings, weights, labels, scored(used, comparison, scale, Streaming::new())))
}

#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant)]
pub enum PairSum {
    Softplus { bias: Tensor<1> },
    SelfPaced { reach: f64, goal: f64 },
}

fn of_pairs(key_labels: KeyLabels, sum: PairSum, scale: Scale, streaming: Streaming) -> Scored {
    let terms = match sum {
        PairSum::Softplus { bias } => Terms::Softplus { offset: bias.neg(), curve: Curve::STRAIGHT },
        PairSum::SelfPaced { reach, goal } => Terms::SelfPaced { reach, goal },
    };
    Scored { counted: key_labels.into(), terms, streaming, ..Scored::new(scale) }
}

fn active_and_sum(scores: Scores) -> Tensor<2> {
    let Scores { sum, active, .. } = scores;
    let first = active.unwrap_or_else(|| sum.zeros_like());
    Tensor::stack(alloc::vec![first, sum], 1)
}

pub fn pair_sums(
    queries: Tensor<2>,
    keys: Tensor<2>,
    query_labels: Tensor<1, Int>,
    key_labels: KeyLabels,
    sum: PairSum,
    scale: impl Into<Scale>,
    streaming: Streaming,
) -> Tensor<2> {
    active_and_sum(scores(queries, keys, query_labels, of_pairs(key_labels, sum, scale.into(), streaming)))
}

pub fn pair_sums_reference(
    queries: Tensor<2>,
    keys: Tensor<2>,
    query_labels: Tensor<1, Int>,
    key_labels: KeyLabels,
    sum: PairSum,
    scale: impl Into<Scale>,
) -> Tensor<2> {
    let of_pairs = of_pairs(key_labels, sum, scale.into(), Streaming::new());
    active_and_sum(scores_reference(queries, keys, query_labels, of_pairs))
}
