use burn::tensor::{Int, Tensor};
use burn_losses_kernels::math::cast_to;

use super::compared::Compared;
use crate::reduction::EmbeddingReduction;

/// A loss of the pairs or triplets that labels make among embeddings.
///
/// A loss says what it makes of rows that are [`Compared`]; that they may come from the batch itself or from elsewhere,
/// that there may be none, and their precision is the same for all.
pub trait PairwiseLoss {
    /// The reduced loss of rows that are compared, with at least one anchor and one reference, `[1]`.
    fn compare(&self, rows: Compared, reduction: EmbeddingReduction) -> Tensor<1>;

    /// The reduced loss where there is nothing to compare: 0, connected to the embeddings and to what is trained, `[1]`.
    fn nothing(&self, rows: Compared) -> Tensor<1> {
        rows.no_loss()
    }

    /// The reduced loss of a batch; 0 without a pair.
    ///
    /// # Shapes
    ///
    /// - embeddings: `[batch, embedding_dim]`
    /// - labels: `[batch]`, identities; a row with a negative one is in no pair
    /// - output: `[1]`
    ///
    /// # Panics
    ///
    /// If the shapes do not agree, or `embedding_dim` is 0.
    fn forward(&self, embeddings: Tensor<2>, labels: Tensor<1, Int>, reduction: EmbeddingReduction) -> Tensor<1> {
        reduced(self, Compared::in_batch(embeddings, labels), reduction)
    }

    /// As [`forward`](Self::forward), of a batch with other rows, such as those of a
    /// [`CrossBatchMemory`](crate::memory::CrossBatchMemory); rows of the batch are not compared with each other.
    ///
    /// # Shapes
    ///
    /// - embeddings: `[batch, embedding_dim]`
    /// - labels: `[batch]`
    /// - references: `[references, embedding_dim]`
    /// - reference_labels: `[references]`; a reference with a negative label is in no pair
    /// - output: `[1]`
    ///
    /// # Panics
    ///
    /// If the shapes do not agree, or `embedding_dim` is 0.
    fn forward_with_references(
        &self,
        embeddings: Tensor<2>,
        labels: Tensor<1, Int>,
        references: Tensor<2>,
        reference_labels: Tensor<1, Int>,
        reduction: EmbeddingReduction,
    ) -> Tensor<1> {
        reduced(self, Compared::between(embeddings, labels, references, reference_labels), reduction)
    }
}

fn reduced(loss: &(impl PairwiseLoss + ?Sized), rows: Compared, reduction: EmbeddingReduction) -> Tensor<1> {
    let dtype = rows.dtype();
    let reduced = if rows.is_empty() { loss.nothing(rows) } else { loss.compare(rows, reduction) };
    cast_to(reduced, dtype)
}
