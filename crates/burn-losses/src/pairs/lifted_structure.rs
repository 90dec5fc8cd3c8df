use burn::config::Config;
use burn::module::Module;
use burn::tensor::{Bool, Int, Tensor};
use burn_losses_kernels::math::{cast_to, hinge, log_sum_exp, widen};

use super::compared::Compared;
use super::loss::PairwiseLoss;
use super::masked::{check, flat, flat_mask};
use crate::distance::Distance;
use crate::mining::Pairs;
use crate::reduction::EmbeddingReduction;

/// Stands for minus infinity in a sum of exponentials: an infinite score has no finite distance to the largest.
const NOTHING: f64 = -3e38;

/// Settings of [`LiftedStructureLoss`].
#[derive(Config, Debug)]
pub struct LiftedStructureLossConfig {
    /// What the distances of positives are lessened by; finite.
    #[config(default = 0.0)]
    pub positive_margin: f64,
    /// How far negatives should be; finite.
    #[config(default = 1.0)]
    pub negative_margin: f64,
    /// How far apart two embeddings are.
    #[config(default = "Distance::Euclidean")]
    pub distance: Distance,
}

impl LiftedStructureLossConfig {
    /// Builds the loss.
    ///
    /// # Panics
    ///
    /// If a field is out of its range.
    pub fn init(&self) -> LiftedStructureLoss {
        self.distance.validate();
        let Self { positive_margin, negative_margin, distance } = *self;
        assert!(
            positive_margin.is_finite(),
            "LiftedStructureLoss: positive_margin must be finite, got {positive_margin}"
        );
        assert!(
            negative_margin.is_finite(),
            "LiftedStructureLoss: negative_margin must be finite, got {negative_margin}"
        );
        LiftedStructureLoss { positive_margin, negative_margin, distance }
    }
}

/// The generalised lifted structure loss: a smooth hardest positive against a smooth hardest negative, per anchor.
///
/// ```text
/// loss[a] = max(log(sum over positives p of exp(d[a, p] - positive_margin))
///             + log(sum over negatives n of exp(negative_margin - d[a, n])), 0)
/// ```
///
/// Like batch-hard triplets without the jumps between one hardest row and the next: all positives and all negatives of an
/// anchor have a gradient. An anchor without a positive or without a negative has loss 0, the limit of the formula, and
/// does not count in a mean; pytorch-metric-learning keeps the half that is there, and counts every anchor.
///
/// # Source
///
/// Hermans, Beyer, Leibe: [In Defense of the Triplet Loss for Person Re-Identification](https://arxiv.org/abs/1703.07737),
/// 2017, section 2, `L_LG`; generalised from Song et al.: [Deep Metric Learning via Lifted Structured Feature
/// Embedding](https://arxiv.org/abs/1511.06452), 2016.
///
/// ```
/// use burn::tensor::{Device, Int, Tensor};
/// use burn_losses::pairs::{LiftedStructureLossConfig, PairwiseLoss};
/// use burn_losses::reduction::EmbeddingReduction;
///
/// let device = Device::default();
/// let embeddings = Tensor::<2>::from_data([[0.0], [1.0], [1.5]], &device);
/// let labels = Tensor::<1, Int>::from_ints([0, 0, 1], &device);
/// let loss = LiftedStructureLossConfig::new().init().forward(embeddings, labels, EmbeddingReduction::Mean);
///
/// // The first two rows have one positive and one negative each: 1 + (1 - 1.5) and 1 + (1 - 0.5).
/// assert!((loss.into_scalar::<f32>() - 1.0).abs() < 1e-6);
/// ```
#[derive(Module, Debug)]
pub struct LiftedStructureLoss {
    positive_margin: f64,
    negative_margin: f64,
    #[module(skip)]
    distance: Distance,
}

impl PairwiseLoss for LiftedStructureLoss {
    fn compare(&self, rows: Compared, reduction: EmbeddingReduction) -> Tensor<1> {
        self.forward_distances(rows.distances(self.distance), &rows.pairs(), reduction)
    }
}

impl LiftedStructureLoss {
    /// The loss of every anchor of a batch.
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
        let rows = Compared::in_batch(embeddings, labels);
        let losses = self.forward_distances_no_reduction(rows.distances(self.distance), &rows.pairs());

        cast_to(losses, rows.dtype())
    }

    /// The reduced loss of anchors whose pairs are chosen, such as a miner's or those with a memory.
    ///
    /// # Shapes
    ///
    /// - distances: `[anchors, references]`
    /// - pairs: `[anchors, references]`
    /// - output: `[1]`
    ///
    /// # Panics
    ///
    /// If the shapes do not agree.
    pub fn forward_distances(&self, distances: Tensor<2>, pairs: &Pairs, reduction: EmbeddingReduction) -> Tensor<1> {
        let dtype = distances.dtype();
        check(&distances, pairs);
        if distances.shape().num_elements() == 0 {
            return reduction.apply(flat(distances));
        }
        let (losses, valid) = self.losses(widen(distances), pairs);

        cast_to(reduction.apply_valid(losses, valid), dtype)
    }

    /// The loss of every anchor whose pairs are chosen; 0 without a positive or without a negative.
    ///
    /// # Shapes
    ///
    /// - distances: `[anchors, references]`
    /// - pairs: `[anchors, references]`
    /// - output: `[anchors]`
    ///
    /// # Panics
    ///
    /// As [`forward_distances`](Self::forward_distances).
    pub fn forward_distances_no_reduction(&self, distances: Tensor<2>, pairs: &Pairs) -> Tensor<1> {
        let dtype = distances.dtype();
        check(&distances, pairs);
        let [anchors, references] = distances.dims();
        if anchors == 0 || references == 0 {
            return Tensor::zeros([anchors], (&distances.device(), dtype));
        }
        cast_to(self.losses(widen(distances), pairs).0, dtype)
    }

    fn losses(&self, distances: Tensor<2>, pairs: &Pairs) -> (Tensor<1>, Tensor<1, Bool>) {
        let Pairs { positive, negative } = pairs;
        let scores =
            |scores: Tensor<2>, mask: &Tensor<2, Bool>| log_sum_exp(scores.mask_fill(mask.clone().bool_not(), NOTHING));
        let far = scores(distances.clone().sub_scalar(self.positive_margin), positive);
        let near = scores(distances.neg().add_scalar(self.negative_margin), negative);
        let valid = flat_mask(positive.clone().any_dim(1).bool_and(negative.clone().any_dim(1)));
        let excess = (far + near).mask_fill(valid.clone().bool_not(), 0.0);

        (hinge(excess), valid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    #[test]
    fn positives_and_negatives_are_summed_in_log_space() {
        let device = Device::flex();
        let distances = Tensor::<2>::from_data([[0.0_f32, 2.0, 2.0, 1.5], [9.0, 9.0, 9.0, 9.0]], &device);
        let mask = |rows: [[bool; 4]; 2]| Tensor::<2, Bool>::from_data(rows, &device);
        let pairs = Pairs {
            positive: mask([[false, true, true, false], [false, true, false, false]]),
            negative: mask([[false, false, false, true], [false; 4]]),
        };
        let losses = LiftedStructureLossConfig::new().init().forward_distances_no_reduction(distances, &pairs);
        let losses = losses.try_into_vec_as::<f32>().unwrap();

        // log(2·exp(2)) + (1 - 1.5); the second row has no negative.
        let expected = core::f32::consts::LN_2 + 2.0 - 0.5;
        assert!((losses[0] - expected).abs() < 1e-6 && losses[1] == 0.0, "{losses:?}");
    }

    #[test]
    #[should_panic(expected = "LiftedStructureLoss: negative_margin must be finite, got NaN")]
    fn a_margin_that_is_no_number_is_rejected() {
        LiftedStructureLossConfig::new().with_negative_margin(f64::NAN).init();
    }
}
