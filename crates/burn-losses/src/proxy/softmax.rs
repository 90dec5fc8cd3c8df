use burn::module::Initializer;
use burn::tensor::Tensor;
use burn_losses_kernels::math::cast_to;

use crate::heads::{CenterChoice, CentersConfig, ClassCenters, ClassScores, Comparison, Terms};
use crate::labels::{SafeLabels, silence};
use crate::reduction::{EmbeddingReduction, zero_of};

/// How proxies start.
pub(super) fn proxies() -> CentersConfig {
    CentersConfig::new().with_initializer(Initializer::Normal { mean: 0.0, std: 0.1 })
}

/// What every row has to do with all proxies, streamed; at least one row.
pub(super) fn scores(
    proxies: &ClassCenters,
    embeddings: Tensor<2>,
    labels: &SafeLabels,
    choice: CenterChoice,
    scale: f64,
) -> ClassScores {
    let embeddings = silence(embeddings, labels.valid.clone());
    let comparison = Comparison::new(core::slice::from_ref(proxies), &embeddings, &labels.index_or_none());

    comparison.scores(&scale.into(), &Terms::Exp, choice)
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
