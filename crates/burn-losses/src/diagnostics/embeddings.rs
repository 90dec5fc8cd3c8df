use burn::tensor::Tensor;
use burn_losses_kernels::math::{row_lengths, unit_rows, widen};

/// How many figures [`embedding_figures`] are.
pub(super) const EMBEDDING_FIGURES: usize = 6;

/// How long the embeddings of a batch are and how far they spread, `[6]`: the mean, the smallest, the largest and the
/// standard deviation of their lengths; the mean squared distance of the embeddings to their mean; and that of their
/// directions, which is 0 if all point the same way and nearly 1 if they are spread evenly. Without autodiff, and all 0
/// for an empty batch. A deviation or spread whose square overflows is infinite.
///
/// # Shapes
///
/// - embeddings: `[batch, embedding_dim]`
/// - output: `[6]`
pub fn embedding_figures(embeddings: Tensor<2>) -> Tensor<1> {
    let [batch, dim] = embeddings.dims();
    let embeddings = widen(embeddings.without_autodiff());
    if batch == 0 || dim == 0 {
        return Tensor::zeros([EMBEDDING_FIGURES], (&embeddings.device(), embeddings.dtype()));
    }
    let lengths = row_lengths(embeddings.clone());
    let mean = lengths.clone().mean();
    let deviation = (lengths.clone() - mean.clone().expand([batch])).square().mean().sqrt();
    let spread = |rows: Tensor<2>| {
        let center = rows.clone().mean_dim(0).expand([batch, dim]);
        (rows - center).square().sum_dim(1).mean()
    };
    let (smallest, largest) = (lengths.clone().min(), lengths.max());
    let spreads = [spread(embeddings.clone()), spread(unit_rows(embeddings))];
    let [of_rows, of_directions] = spreads;

    Tensor::cat(alloc::vec![mean, smallest, largest, deviation, of_rows, of_directions], 0)
}
