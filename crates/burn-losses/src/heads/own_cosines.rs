use burn::tensor::{Bool, Int, Tensor};
use burn_losses_kernels::math::{cast_to, unit_rows, widen};

/// The own cosines of a batch before it is compared with all classes: what some heads need to tell hard classes from easy
/// ones. Constants of the gradient.
pub(crate) struct OwnCosines {
    /// 0 for a row without a class, `[batch]`.
    pub(crate) cosine: Tensor<1>,
    /// Whether the row has a class and a direction, `[batch]`.
    pub(crate) counted: Tensor<1, Bool>,
}

impl OwnCosines {
    /// # Shapes
    ///
    /// - embeddings: `[batch, embedding_dim]`
    /// - weights: `[classes, embedding_dim]`
    /// - index: `[batch]`; where it is not in `0..classes`, the row has no class
    pub(crate) fn of(embeddings: &Tensor<2>, weights: &Tensor<2>, index: &Tensor<1, Int>) -> Self {
        let [classes, _] = weights.dims();
        let outside = index.clone().lower_scalar(0).bool_or(index.clone().greater_equal_scalar(classes as i64));
        let embeddings = widen(embeddings.clone().detach());
        let own = weights.clone().detach().select(0, index.clone().mask_fill(outside.clone(), 0));
        let own = unit_rows(cast_to(own, embeddings.dtype()));
        let cosine = (unit_rows(embeddings.clone()) * own).sum_dim(1).squeeze_dim::<1>(1);
        let no_direction = embeddings.max_abs_dim(1).squeeze_dim::<1>(1).equal_scalar(0.0);

        Self { cosine: cosine.mask_fill(outside.clone(), 0.0), counted: outside.bool_or(no_direction).bool_not() }
    }
}
