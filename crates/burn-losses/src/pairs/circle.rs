use burn::config::Config;
use burn::module::Module;
use burn::tensor::{Bool, Int, Tensor};
use burn_losses_kernels::logsumexp::{KeyLabels, Streaming};
use burn_losses_kernels::math::{NOTHING, cast_to, log_sum_exp_where, softplus, widen};
use burn_losses_kernels::rivals::{PairSum, pair_sums};

use super::compared::{Compared, is_something};
use super::loss::PairwiseLoss;
use super::masked::{check, flat};
use crate::mining::Pairs;
use crate::reduction::EmbeddingReduction;

/// Settings of [`CircleLoss`].
#[derive(Config, Debug)]
pub struct CircleLossConfig {
    /// How far from perfect a pair may be (the paper's m); in `[0, 1)`. The paper: 0.4 for fine-grained retrieval, 0.25
    /// for faces and people.
    #[config(default = 0.4)]
    pub margin: f64,
    /// What similarities are multiplied with (the paper's gamma); in `[1e-6, 1e6]`. The paper: 80, for faces 256, for
    /// people 128.
    #[config(default = 80.0)]
    pub scale: f64,
}

impl CircleLossConfig {
    /// Builds the loss.
    ///
    /// # Panics
    ///
    /// If a field is out of its range.
    pub fn init(&self) -> CircleLoss {
        let Self { margin, scale } = *self;
        assert!((0.0..1.0).contains(&margin), "CircleLoss: margin must be in [0, 1), got {margin}");
        assert!((1e-6..=1e6).contains(&scale), "CircleLoss: scale must be in [1e-6, 1e6], got {scale}");
        CircleLoss { margin, scale }
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
/// `O((batch + references)·dim)`: the sums are streamed.
///
/// # Source
///
/// Sun et al.: [Circle Loss](https://arxiv.org/abs/2002.10857), 2020, sections 3.2 and 3.3.
///
/// ```
/// use burn::tensor::{Device, Int, Tensor};
/// use burn_losses::pairs::{CircleLossConfig, PairwiseLoss};
/// use burn_losses::reduction::EmbeddingReduction;
///
/// let device = Device::default();
/// let embeddings = Tensor::<2>::from_data([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]], &device);
/// let labels = Tensor::<1, Int>::from_ints([5, 5, 6], &device);
/// let loss = CircleLossConfig::new().with_margin(0.5).with_scale(1.0).init();
/// // Positive: -(0.5·0.5), negative: 0.5·(-0.5).
/// let value = loss.forward(embeddings, labels, EmbeddingReduction::Mean).into_scalar::<f32>();
/// assert!((value - (1.0 + (-0.5_f32).exp()).ln()).abs() < 1e-6);
/// ```
#[derive(Module, Debug)]
pub struct CircleLoss {
    margin: f64,
    scale: f64,
}

impl PairwiseLoss for CircleLoss {
    fn compare(&self, rows: Compared, reduction: EmbeddingReduction) -> Tensor<1> {
        let (losses, paired) = self.streamed(rows);
        reduction.apply_valid(losses, paired)
    }
}

impl CircleLoss {
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

    /// The reduced loss of pairs that a miner chose, of similarities that are known; a mean is over the anchors with a
    /// positive and a negative.
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
        let Self { margin, scale } = *self;
        let similarities = widen(similarities);
        let constant = similarities.clone().detach();
        let pull = constant.clone().neg().add_scalar(1.0 + margin).clamp_min(0.0).mul_scalar(-scale);
        let push = constant.add_scalar(margin).clamp_min(0.0).mul_scalar(scale);
        let positive = log_sum_exp_where(pull * similarities.clone().sub_scalar(1.0 - margin), pairs.positive.clone());
        let negative = log_sum_exp_where(push * similarities.sub_scalar(margin), pairs.negative.clone());
        let (losses, paired) = losses(positive, negative);

        cast_to(reduction.apply_valid(losses, paired), dtype)
    }

    /// The losses, and which anchors have a positive and a negative.
    fn streamed(&self, rows: Compared) -> (Tensor<1>, Tensor<1, Bool>) {
        let Self { margin, scale } = *self;
        let rows = rows.unit();
        let sum = |anchors: Tensor<2>, partners: KeyLabels, reach: f64, goal: f64| {
            let (references, labels) = (rows.references.clone(), rows.labels.clone());
            let sum = PairSum::SelfPaced { reach, goal };
            pair_sums(anchors, references, labels, partners, sum, scale, Streaming::new())
                .narrow(1, 1, 1)
                .squeeze_dim::<1>(1)
        };
        // With anchors of the other sign, a positive is what a negative is: the farther it reaches, the worse.
        let positive = sum(rows.anchors.clone().neg(), rows.positives(), 1.0 + margin, margin - 1.0);
        let negative = sum(rows.anchors.clone(), rows.negatives(), margin, margin);

        losses(positive, negative)
    }
}

/// The losses of the two sums in the logarithm, and where there are both.
fn losses(positive: Tensor<1>, negative: Tensor<1>) -> (Tensor<1>, Tensor<1, Bool>) {
    let paired = is_something(positive.clone()).bool_and(is_something(negative.clone()));

    (softplus((positive + negative).mask_fill(paired.clone().bool_not(), NOTHING)), paired)
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::{Device, TensorData};

    #[test]
    fn rows_without_both_kinds_of_pairs_have_loss_zero() {
        let device = Device::flex().autodiff();
        for labels in [[1_i64, 1, 1], [1, 2, 3], [-1, -1, 1]] {
            let rows = [[1.0_f32, 0.0], [1.0, 0.2], [-1.0, 1.0]];
            let embeddings = Tensor::<2>::from_data(rows, &device).require_grad();
            let labels = Tensor::from_data(TensorData::from(labels), &device);
            let losses = CircleLossConfig::new().init().forward_no_reduction(embeddings.clone(), labels);
            let gradient = embeddings.grad(&losses.clone().sum().backward()).unwrap();

            assert_eq!(losses.try_into_vec_as::<f32>().unwrap(), [0.0; 3]);
            assert_eq!(gradient.try_into_vec_as::<f32>().unwrap(), [0.0; 6]);
        }
    }

    #[test]
    #[should_panic(expected = "CircleLoss: margin must be in [0, 1), got 1")]
    fn a_margin_of_one_is_rejected() {
        CircleLossConfig::new().with_margin(1.0).init();
    }
}
