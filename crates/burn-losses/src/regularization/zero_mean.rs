use burn::config::Config;
use burn::module::Module;
use burn::tensor::{Device, Tensor};
use burn_losses_kernels::math::{cast_to, widen};

use super::empty::losses_of_nothing;
use crate::reduction::EmbeddingReduction;

/// Settings of [`ZeroMeanRegularizer`].
#[derive(Config, Debug)]
pub struct ZeroMeanRegularizerConfig {
    /// How the losses become one number.
    /// Default: `EmbeddingReduction::Mean`.
    #[config(default = "EmbeddingReduction::Mean")]
    pub reduction: EmbeddingReduction,
}

impl ZeroMeanRegularizerConfig {
    /// Builds the loss.
    #[track_caller]
    pub fn init(&self, _device: &Device) -> ZeroMeanRegularizer {
        ZeroMeanRegularizer { reduction: self.reduction }
    }
}

/// Asks the numbers of every embedding to sum to 0.
///
/// ```text
/// loss[i] = abs(sum over k of embeddings[i, k])
/// ```
///
/// Beside a loss that compares angles, it keeps embeddings from sharing a large common part. The gradient is the sign of
/// the sum, and 0 where the sum is 0.
///
/// # When to take it
///
/// Beside a loss that compares angles, where embeddings share a large common part. A loss of Euclidean distances does
/// not see such a part and does not need it; to keep embeddings short take [`LpRegularizer`](super::LpRegularizer).
///
/// # Source
///
/// `ZeroMeanRegularizer` of pytorch-metric-learning.
///
/// # Example
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use burn_losses::regularization::ZeroMeanRegularizerConfig;
///
/// let device = Device::default();
/// let embeddings = Tensor::<2>::from_data([[1.0, -3.0]], &device);
/// let loss = ZeroMeanRegularizerConfig::new().init(&device).forward(embeddings);
/// // The magnitude of the sum.
/// assert!((loss.into_scalar::<f32>() - 2.0).abs() < 1e-5);
/// ```
#[derive(Module, Debug)]
#[module(custom_display)]
pub struct ZeroMeanRegularizer {
    #[module(skip)]
    reduction: EmbeddingReduction,
}

impl ZeroMeanRegularizer {
    /// One value for the whole batch; see [`forward_no_reduction`](Self::forward_no_reduction).
    pub fn forward(&self, embeddings: Tensor<2>) -> Tensor<1> {
        self.reduction.apply(self.forward_no_reduction(embeddings))
    }

    /// One value per row.
    ///
    /// # Shapes
    ///
    /// - embeddings: `[batch, embedding_dim]`
    /// - output: `[batch]`
    pub fn forward_no_reduction(&self, embeddings: Tensor<2>) -> Tensor<1> {
        if let Some(nothing) = losses_of_nothing(&embeddings) {
            return nothing;
        }
        let dtype = embeddings.dtype();

        cast_to(widen(embeddings).sum_dim(1).squeeze_dim::<1>(1).abs(), dtype)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_counts_whatever_its_sign() {
        let embeddings = Tensor::<2>::from_data([[1.0_f32, -4.0], [2.0, 0.5], [1.0, -1.0]], &Device::flex().autodiff())
            .require_grad();
        let loss = ZeroMeanRegularizerConfig::new().with_reduction(EmbeddingReduction::Sum).init(&Device::flex());
        let loss = loss.forward(embeddings.clone());
        let gradient = embeddings.grad(&loss.clone().backward()).unwrap();

        assert_eq!(loss.into_scalar::<f32>(), 5.5);
        assert_eq!(gradient.try_into_vec_as::<f32>().unwrap(), [-1.0, -1.0, 1.0, 1.0, 0.0, 0.0]);
    }
}
