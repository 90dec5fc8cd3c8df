use burn::config::Config;
use burn::module::Module;
use burn::tensor::{Bool, Int, Tensor};
use burn_losses_kernels::logsumexp::{KeyLabels, Streaming, streamed_logsumexp};
use burn_losses_kernels::math::{NOTHING, cast_to, log_sum_exp_where, softplus, widen};

use super::compared::{Compared, is_something};
use super::loss::PairwiseLoss;
use super::masked::{check, flat};
use crate::mining::Pairs;
use crate::reduction::EmbeddingReduction;

/// Settings of [`MultiSimilarityLoss`].
#[derive(Config, Debug)]
pub struct MultiSimilarityLossConfig {
    /// How sharply the farthest positive is weighted; in `[1e-6, 1e6]`.
    #[config(default = 2.0)]
    pub alpha: f64,
    /// How sharply the nearest negative is weighted; in `[1e-6, 1e6]`.
    #[config(default = 50.0)]
    pub beta: f64,
    /// The cosine that separates positives from negatives (the paper's lambda); in `[-1, 1]`. The authors' code uses
    /// 0.5, the paper 1.
    #[config(default = 0.5)]
    pub base: f64,
}

impl MultiSimilarityLossConfig {
    /// Builds the loss.
    ///
    /// # Panics
    ///
    /// If a field is out of its range.
    pub fn init(&self) -> MultiSimilarityLoss {
        let Self { alpha, beta, base } = *self;
        assert!((1e-6..=1e6).contains(&alpha), "MultiSimilarityLoss: alpha must be in [1e-6, 1e6], got {alpha}");
        assert!((1e-6..=1e6).contains(&beta), "MultiSimilarityLoss: beta must be in [1e-6, 1e6], got {beta}");
        assert!((-1.0..=1.0).contains(&base), "MultiSimilarityLoss: base must be in [-1, 1], got {base}");
        MultiSimilarityLoss { alpha, beta, base }
    }
}

/// Weights every pair by its own similarity and by that of the other pairs of its anchor.
///
/// ```text
/// far[i]  = log(1 + sum over the positives p of i of exp(-alpha·(similarity[i, p] - base))) / alpha
/// near[i] = log(1 + sum over the negatives n of i of exp(beta·(similarity[i, n] - base))) / beta
/// loss[i] = far[i] + near[i]
/// ```
///
/// The similarity is the cosine. A row with negatives and no positive still has the loss `near`, as in the paper; a row
/// in no pair has loss 0 and no part in a mean. Memory is `O((batch + references)·dim)`, and up to 32 MiB of scores for each
/// of the two sums that are kept for the backward pass. The paper drops easy pairs first: give the pairs of a miner to
/// [`forward_similarities`](Self::forward_similarities), with `1 - Distance::Cosine.matrix(..)` as the similarities; that
/// keeps a few matrices of `[batch, references]`.
///
/// # Source
///
/// Wang et al.: [Multi-Similarity Loss with General Pair Weighting](https://arxiv.org/abs/1904.06627), 2019,
/// equation 15.
///
/// ```
/// use burn::tensor::{Device, Int, Tensor};
/// use burn_losses::pairs::{MultiSimilarityLossConfig, PairwiseLoss};
/// use burn_losses::reduction::EmbeddingReduction;
///
/// let device = Device::default();
/// let embeddings = Tensor::<2>::from_data([[1.0, 0.0], [0.6, 0.8]], &device);
/// let labels = Tensor::<1, Int>::from_ints([5, 5], &device);
/// let loss = MultiSimilarityLossConfig::new().init().forward(embeddings, labels, EmbeddingReduction::Mean);
/// assert!((loss.into_scalar::<f32>() - 0.5 * (1.0 + (-0.2_f32).exp()).ln()).abs() < 1e-6);
/// ```
#[derive(Module, Debug)]
pub struct MultiSimilarityLoss {
    alpha: f64,
    beta: f64,
    base: f64,
}

impl PairwiseLoss for MultiSimilarityLoss {
    fn compare(&self, rows: Compared, reduction: EmbeddingReduction) -> Tensor<1> {
        let (losses, paired) = self.streamed(rows);
        reduction.apply_valid(losses, paired)
    }
}

impl MultiSimilarityLoss {
    /// The loss of every row.
    ///
    /// # Shapes
    ///
    /// - embeddings: `[batch, embedding_dim]`
    /// - labels: `[batch]`
    /// - output: `[batch]`
    ///
    /// # Panics
    ///
    /// If the shapes do not agree.
    pub fn forward_no_reduction(&self, embeddings: Tensor<2>, labels: Tensor<1, Int>) -> Tensor<1> {
        Compared::in_batch(embeddings, labels).losses_of(|rows| self.streamed(rows).0)
    }

    /// The reduced loss of pairs that a miner chose, of similarities that are known; a mean is over the anchors in a
    /// pair.
    ///
    /// # Shapes
    ///
    /// - similarities: `[anchors, references]`, cosines; those of no pair are not looked at
    /// - pairs: `[anchors, references]`
    /// - output: `[1]`
    ///
    /// # Panics
    ///
    /// If the shapes do not agree.
    pub fn forward_similarities(
        &self,
        similarities: Tensor<2>,
        pairs: &Pairs,
        reduction: EmbeddingReduction,
    ) -> Tensor<1> {
        let dtype = similarities.dtype();
        check(&similarities, pairs);
        if similarities.shape().num_elements() == 0 {
            return reduction.apply(flat(similarities));
        }
        let above = widen(similarities).sub_scalar(self.base);
        let far = log_sum_exp_where(above.clone().mul_scalar(-self.alpha), pairs.positive.clone());
        let near = log_sum_exp_where(above.mul_scalar(self.beta), pairs.negative.clone());
        let paired = is_something(far.clone()).bool_or(is_something(near.clone()));

        cast_to(reduction.apply_valid(self.losses(far, near), paired), dtype)
    }

    /// The losses, and which anchors are in a pair.
    fn streamed(&self, rows: Compared) -> (Tensor<1>, Tensor<1, Bool>) {
        let Self { alpha, beta, base } = *self;
        let rows = rows.unit();
        let sum = |anchors: &Tensor<2>, partners: KeyLabels, scale: f64| {
            let (anchors, references) = (anchors.clone(), rows.references.clone());
            streamed_logsumexp(anchors, references, rows.labels.clone(), partners, scale, Streaming::new())
        };
        let far = sum(&rows.anchors.clone().neg(), rows.positives(), alpha).add_scalar(alpha * base);
        let near = sum(&rows.anchors, rows.negatives(), beta).sub_scalar(beta * base);
        // An anchor that is in no pair was compared with all references.
        let near = near.mask_fill(rows.labels.lower_scalar(0), NOTHING);
        let paired = is_something(far.clone()).bool_or(is_something(near.clone()));

        (self.losses(far, near), paired)
    }

    /// The losses of the two sums in the logarithms.
    fn losses(&self, far: Tensor<1>, near: Tensor<1>) -> Tensor<1> {
        softplus(far).mul_scalar(1.0 / self.alpha) + softplus(near).mul_scalar(1.0 / self.beta)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    #[test]
    fn pairs_of_a_miner_are_the_only_ones_that_count() {
        let device = Device::flex();
        let similarities = Tensor::<2>::from_data([[0.9_f32, 0.1, f32::NAN], [0.5, f32::NAN, 0.7]], &device);
        let mask = |mask: [[bool; 3]; 2]| Tensor::<2, Bool>::from_data(mask, &device);
        let pairs = Pairs {
            positive: mask([[false, true, false], [false; 3]]),
            negative: mask([[true, false, false], [false; 3]]),
        };
        let loss = MultiSimilarityLossConfig::new().with_beta(10.0).init();
        let value = loss.forward_similarities(similarities, &pairs, EmbeddingReduction::Mean).into_scalar::<f32>();

        // By hand: the first anchor has a positive at 0.1 and a negative at 0.9; the second is in no pair.
        let expected = (1.0 + 0.8_f32.exp()).ln() / 2.0 + (1.0 + 4.0_f32.exp()).ln() / 10.0;
        assert!((value - expected).abs() < 1e-6, "{value} {expected}");
    }

    #[test]
    #[should_panic(expected = "MultiSimilarityLoss: beta must be in [1e-6, 1e6], got NaN")]
    fn a_beta_that_is_no_number_is_rejected() {
        MultiSimilarityLossConfig::new().with_beta(f64::NAN).init();
    }
}
