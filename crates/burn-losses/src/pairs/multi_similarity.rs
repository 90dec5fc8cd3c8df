use burn::config::Config;
use burn::module::Module;
use burn::tensor::Device;
use burn_losses_kernels::math::{NOTHING, log_sum_exp_where, softplus};

use super::argument::Pairs;
use super::asked::Labelled;
use super::loss::{AnchorLosses, PairLoss};
use super::streamed::is_something;
use crate::mining::PairMasks;
use crate::reduction::EmbeddingReduction;

/// Settings of [`MultiSimilarityLoss`].
#[derive(Config, Debug)]
pub struct MultiSimilarityLossConfig {
    /// How sharply the farthest positive is weighted; in `[1e-6, 1e6]`.
    /// Default: `2.0`.
    #[config(default = 2.0)]
    pub alpha: f64,
    /// How sharply the nearest negative is weighted; in `[1e-6, 1e6]`.
    /// Default: `50.0`.
    #[config(default = 50.0)]
    pub beta: f64,
    /// The cosine that separates positives from negatives (the paper's lambda); in `[-1, 1]`. The authors' code uses
    /// 0.5, the paper 1.
    /// Default: `0.5`.
    #[config(default = 0.5)]
    pub base: f64,
    /// How the losses become one number.
    /// Default: `EmbeddingReduction::Mean`.
    #[config(default = "EmbeddingReduction::Mean")]
    pub reduction: EmbeddingReduction,
}

impl MultiSimilarityLossConfig {
    /// Builds the loss for embeddings on `device`.
    ///
    /// # Panics
    ///
    /// If a field is out of its range.
    #[track_caller]
    pub fn init(&self, _device: &Device) -> MultiSimilarityLoss {
        let Self { alpha, beta, base, reduction } = *self;
        assert!((1e-6..=1e6).contains(&alpha), "MultiSimilarityLoss: alpha must be in [1e-6, 1e6], got {alpha}");
        assert!((1e-6..=1e6).contains(&beta), "MultiSimilarityLoss: beta must be in [1e-6, 1e6], got {beta}");
        assert!((-1.0..=1.0).contains(&base), "MultiSimilarityLoss: base must be in [-1, 1], got {base}");
        MultiSimilarityLoss { alpha, beta, base, reduction }
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
/// of the two sums that are kept for the backward pass. The paper drops easy pairs first, see
/// [`MultiSimilarityMiner`](crate::mining::MultiSimilarityMiner); what a miner has chosen keeps a few matrices of
/// `[batch, references]`.
///
/// # When to take it
///
/// Take it first for retrieval by labelled batches (P classes, K samples each), with
/// [`MultiSimilarityMiner`](crate::mining::MultiSimilarityMiner). For one positive per row take
/// [`InfoNceLoss`](super::InfoNceLoss).
///
/// # Source
///
/// Wang et al.: [Multi-Similarity Loss with General Pair Weighting](https://arxiv.org/abs/1904.06627), 2019,
/// equation 15.
///
/// # Example
///
/// ```
/// use burn::tensor::{Device, Int, Tensor};
/// use burn_losses::pairs::MultiSimilarityLossConfig;
///
/// let device = Device::default();
/// let embeddings = Tensor::<2>::from_data([[1.0, 0.0], [0.6, 0.8]], &device);
/// let labels = Tensor::<1, Int>::from_ints([5, 5], &device);
/// let loss = MultiSimilarityLossConfig::new().init(&device).forward(embeddings, labels);
/// // One positive each, with a cosine of 0.6, and no negative.
/// assert!((loss.into_scalar::<f32>() - 0.5 * (1.0 + (-0.2_f32).exp()).ln()).abs() < 1e-6);
/// ```
#[derive(Module, Debug)]
pub struct MultiSimilarityLoss {
    alpha: f64,
    beta: f64,
    base: f64,
    #[module(skip)]
    reduction: EmbeddingReduction,
}

impl PairLoss for MultiSimilarityLoss {
    fn reduction(&self) -> EmbeddingReduction {
        self.reduction
    }

    fn anchor_losses(&self, pairs: &Pairs) -> AnchorLosses {
        let Self { alpha, beta, base, .. } = *self;
        let (far, near) = match pairs.labelled().map(Labelled::unit) {
            Some(rows) => {
                let far = rows.log_sum_of_positives(rows.anchors.clone().neg(), alpha).add_scalar(alpha * base);
                let near = rows.log_sum_of_negatives(beta).sub_scalar(beta * base);
                // An anchor that is in no pair was compared with all references.
                (far, near.mask_fill(rows.labels.lower_scalar(0), NOTHING))
            }
            None => {
                let (above, PairMasks { positive, negative }) = (pairs.cosines().sub_scalar(base), pairs.masks());
                let far = log_sum_exp_where(above.clone().mul_scalar(-alpha), positive);
                (far, log_sum_exp_where(above.mul_scalar(beta), negative))
            }
        };
        let paired = is_something(far.clone()).bool_or(is_something(near.clone()));
        let losses = softplus(far).mul_scalar(1.0 / alpha) + softplus(near).mul_scalar(1.0 / beta);

        AnchorLosses::one_each(losses, paired)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::distance::Distance;
    use burn::tensor::{Bool, Int, Tensor};

    #[test]
    fn pairs_of_a_miner_are_the_only_ones_that_count() {
        let device = Device::flex();
        let distances = Tensor::<2>::from_data([[0.1_f32, 0.9, f32::NAN], [0.5, f32::NAN, 0.3]], &device);
        let mask = |mask: [[bool; 3]; 2]| Tensor::<2, Bool>::from_data(mask, &device);
        let masks = PairMasks {
            positive: mask([[false, true, false], [false; 3]]),
            negative: mask([[true, false, false], [false; 3]]),
        };
        let (labels, references) = (Tensor::<1, Int>::zeros([2], &device), Tensor::<1, Int>::zeros([3], &device));
        let pairs = Pairs::precomputed_with_references(Distance::Cosine, distances, labels, references);
        let loss = MultiSimilarityLossConfig::new().with_beta(10.0).init(&device);
        let value = loss.forward_pairs(&pairs.with_masks(masks)).into_scalar::<f32>();

        // By hand: the first anchor has a positive at cosine 0.1 and a negative at 0.9; the second is in no pair.
        let expected = (1.0 + 0.8_f32.exp()).ln() / 2.0 + (1.0 + 4.0_f32.exp()).ln() / 10.0;
        assert!((value - expected).abs() < 1e-6, "{value} {expected}");
    }

    #[test]
    #[should_panic(expected = "MultiSimilarityLoss: beta must be in [1e-6, 1e6], got NaN")]
    fn a_beta_that_is_no_number_is_rejected() {
        MultiSimilarityLossConfig::new().with_beta(f64::NAN).init(&Device::flex());
    }
}
