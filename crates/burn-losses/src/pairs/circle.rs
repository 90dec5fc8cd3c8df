use burn::config::Config;
use burn::module::Module;
use burn::tensor::{Device, Tensor};
use burn_losses_kernels::math::{NOTHING, log_sum_exp_where, softplus};

use super::argument::Pairs;
use super::asked::Labelled;
use super::loss::{AnchorLosses, PairLoss};
use super::streamed::is_something;
use crate::mining::PairMasks;
use crate::reduction::EmbeddingReduction;

/// Settings of [`CircleLoss`].
#[derive(Config, Debug)]
pub struct CircleLossConfig {
    /// How far from perfect a pair may be (the paper's m); in `[0, 1)`. The paper: 0.4 for fine-grained retrieval, 0.25
    /// for faces and people.
    /// Default: `0.4`.
    #[config(default = 0.4)]
    pub margin: f64,
    /// What similarities are multiplied with (the paper's gamma); in `[1e-6, 1e6]`. The paper: 80, for faces 256, for
    /// people 128.
    /// Default: `80.0`.
    #[config(default = 80.0)]
    pub scale: f64,
    /// How the losses become one number.
    /// Default: `EmbeddingReduction::Mean`.
    #[config(default = "EmbeddingReduction::Mean")]
    pub reduction: EmbeddingReduction,
}

impl CircleLossConfig {
    /// Builds the loss for embeddings on `device`.
    ///
    /// # Panics
    ///
    /// If a field is out of its range.
    #[track_caller]
    pub fn init(&self, _device: &Device) -> CircleLoss {
        let Self { margin, scale, reduction } = *self;
        assert!((0.0..1.0).contains(&margin), "CircleLoss: margin must be in [0, 1), got {margin}");
        assert!((1e-6..=1e6).contains(&scale), "CircleLoss: scale must be in [1e-6, 1e6], got {scale}");
        CircleLoss { margin, scale, reduction }
    }
}

/// Every similarity pulls the harder the farther it is from its goal; the boundary is a circle.
///
/// ```text
/// positive[i, p] = -scale·max(1 + margin - similarity[i, p], 0)·(similarity[i, p] - (1 - margin))
/// negative[i, n] =  scale·max(similarity[i, n] + margin, 0)·(similarity[i, n] - margin)
/// loss[i]        = log(1 + sum over p of exp(positive[i, p])·sum over n of exp(negative[i, n]))
/// ```
///
/// The similarity is the cosine. The weights in the maxima have no gradient: the loss of pairs as the paper trains with
/// it. Rows without a positive or without a negative have loss 0 and no part in a mean. Memory is
/// `O((batch + references)·dim)`: the sums are streamed, but for pairs that a miner has chosen, which are a matrix.
///
/// # When to take it
///
/// As [`MultiSimilarityLoss`](super::MultiSimilarityLoss); each pair is weighted by how far it is from where it should be. A smaller scale
/// where it does not begin to learn.
///
/// # Source
///
/// Sun et al.: [Circle Loss](https://arxiv.org/abs/2002.10857), 2020, sections 3.2 and 3.3.
///
/// # Example
///
/// ```
/// use burn::tensor::{Device, Int, Tensor};
/// use burn_losses::pairs::CircleLossConfig;
///
/// let device = Device::default();
/// let embeddings = Tensor::<2>::from_data([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]], &device);
/// let labels = Tensor::<1, Int>::from_ints([5, 5, 6], &device);
/// let loss = CircleLossConfig::new().with_margin(0.5).with_scale(1.0).init(&device);
/// // Positive: -(0.5·0.5), negative: 0.5·(-0.5).
/// let value = loss.forward(embeddings, labels).into_scalar::<f32>();
/// assert!((value - (1.0 + (-0.5_f32).exp()).ln()).abs() < 1e-6);
/// ```
#[derive(Module, Debug)]
pub struct CircleLoss {
    margin: f64,
    scale: f64,
    #[module(skip)]
    reduction: EmbeddingReduction,
}

impl PairLoss for CircleLoss {
    fn reduction(&self) -> EmbeddingReduction {
        self.reduction
    }

    fn anchor_losses(&self, pairs: &Pairs) -> AnchorLosses {
        pairs.expect_triplets();
        let Self { margin, scale, .. } = *self;
        let (positive, negative) = match pairs.labelled().map(Labelled::unit) {
            Some(rows) => {
                // With anchors of the other sign, a positive is what a negative is: the farther it reaches, the worse.
                let anchors = rows.anchors.clone().neg();
                let positive = rows.self_paced_positives(anchors, 1.0 + margin, margin - 1.0, scale);
                (positive, rows.self_paced_negatives(margin, margin, scale))
            }
            None => self.sums(pairs.cosines(), pairs.masks()),
        };
        let paired = is_something(positive.clone()).bool_and(is_something(negative.clone()));
        let losses = softplus((positive + negative).mask_fill(paired.clone().bool_not(), NOTHING));

        AnchorLosses::one_each(losses, paired)
    }
}

impl CircleLoss {
    /// The logarithms of the two sums over chosen pairs.
    fn sums(&self, cosines: Tensor<2>, pairs: PairMasks) -> (Tensor<1>, Tensor<1>) {
        let Self { margin, scale, .. } = *self;
        let constant = cosines.clone().detach();
        let pull = constant.clone().neg().add_scalar(1.0 + margin).clamp_min(0.0).mul_scalar(-scale);
        let push = constant.add_scalar(margin).clamp_min(0.0).mul_scalar(scale);
        let positive = log_sum_exp_where(pull * cosines.clone().sub_scalar(1.0 - margin), pairs.positive);

        (positive, log_sum_exp_where(push * cosines.sub_scalar(margin), pairs.negative))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::TensorData;

    #[test]
    fn rows_without_both_kinds_of_pairs_have_loss_zero() {
        let device = Device::flex().autodiff();
        for labels in [[1_i64, 1, 1], [1, 2, 3], [-1, -1, 1]] {
            let rows = [[1.0_f32, 0.0], [1.0, 0.2], [-1.0, 1.0]];
            let embeddings = Tensor::<2>::from_data(rows, &device).require_grad();
            let labels = Tensor::from_data(TensorData::from(labels), &device);
            let losses = CircleLossConfig::new().init(&device).forward_no_reduction(embeddings.clone(), labels);
            let gradient = embeddings.grad(&losses.clone().sum().backward()).unwrap();

            assert_eq!(losses.try_into_vec_as::<f32>().unwrap(), [0.0; 3]);
            assert_eq!(gradient.try_into_vec_as::<f32>().unwrap(), [0.0; 6]);
        }
    }

    #[test]
    #[should_panic(expected = "CircleLoss: margin must be in [0, 1), got 1")]
    fn a_margin_of_one_is_rejected() {
        CircleLossConfig::new().with_margin(1.0).init(&Device::flex());
    }
}
