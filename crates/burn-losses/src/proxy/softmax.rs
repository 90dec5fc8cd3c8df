use burn::tensor::Tensor;
use burn_losses_kernels::math::cast_to;
use burn_losses_kernels::rivals::{Comparison, rival_scores};

use crate::heads::{ClassCenters, ClassScores};
use crate::labels::{SafeLabels, silence};
use crate::reduction::{EmbeddingReduction, zero_of};

/// What every row has to do with all proxies, streamed; at least one row.
pub(super) fn scores(
    proxies: &ClassCenters,
    embeddings: Tensor<2>,
    labels: &SafeLabels,
    comparison: Comparison,
    scale: f64,
) -> ClassScores {
    let embeddings = silence(embeddings, labels.valid.clone());
    let (weight, index) = (proxies.weight.val(), labels.index.clone());

    ClassScores::new(rival_scores(embeddings, weight, index, None, comparison, scale, proxies.streaming))
}

/// The reduced loss of the rows that have a class, from a function that gives every row its loss.
pub(super) fn reduced(
    proxies: &ClassCenters,
    embeddings: Tensor<2>,
    labels: SafeLabels,
    reduction: EmbeddingReduction,
    losses: impl FnOnce(Tensor<2>, &SafeLabels) -> Tensor<1>,
) -> Tensor<1> {
    let dtype = embeddings.dtype();
    if labels.valid.dims() == [0] {
        return zero_of(embeddings, proxies.weight.val());
    }
    let losses = losses(embeddings, &labels);
    cast_to(reduction.apply_valid(losses, labels.valid), dtype)
}

/// The loss of every row, in the precision of the embeddings.
pub(super) fn per_row(
    embeddings: Tensor<2>,
    labels: SafeLabels,
    losses: impl FnOnce(Tensor<2>, &SafeLabels) -> Tensor<1>,
) -> Tensor<1> {
    let dtype = embeddings.dtype();
    if labels.valid.dims() == [0] {
        return embeddings.reshape([0]);
    }
    cast_to(losses(embeddings, &labels), dtype)
}
