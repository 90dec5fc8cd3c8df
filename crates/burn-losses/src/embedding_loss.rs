use burn::tensor::{Int, Tensor};

/// What every loss of embeddings does: heads, losses of pairs and triplets, of proxies, and center loss.
///
/// A program that chooses its loss at run time holds a `Box<dyn EmbeddingLoss>`. How the losses of a batch become one
/// number is a setting of the loss, see [`EmbeddingReduction`](crate::reduction::EmbeddingReduction).
pub trait EmbeddingLoss {
    /// The loss of a batch as one number; 0 where there is nothing to compare.
    ///
    /// # Shapes
    ///
    /// - embeddings: `[batch, embedding_dim]`
    /// - labels: `[batch]`, classes or identities
    /// - output: `[1]`
    ///
    /// # Panics
    ///
    /// If the shapes do not agree, or by the loss's rule for labels (see [`labels`](crate::labels)).
    #[track_caller]
    fn forward(&self, embeddings: Tensor<2>, labels: Tensor<1, Int>) -> Tensor<1>;

    /// The loss of every row of the batch: of a head that of the sample, of a loss of pairs the sum over the pairs or
    /// triplets of which the row is the anchor; of a
    /// [`ProxyAnchorLoss`](crate::proxy::ProxyAnchorLoss) that of every class, `[classes]`.
    ///
    /// # Shapes
    ///
    /// - embeddings: `[batch, embedding_dim]`
    /// - labels: `[batch]`, classes or identities
    /// - output: `[batch]`
    ///
    /// # Panics
    ///
    /// As [`forward`](Self::forward).
    #[track_caller]
    fn forward_no_reduction(&self, embeddings: Tensor<2>, labels: Tensor<1, Int>) -> Tensor<1>;
}
