use burn::config::Config;
use burn::module::Module;
use burn::tensor::Device;
use burn_losses_kernels::math::{hinge, log_sum_exp_where};

use super::argument::Pairs;
use super::loss::{AnchorLosses, PairLoss};
use super::masked::flat_mask;
use crate::distance::Distance;
use crate::mining::PairMasks;
use crate::reduction::EmbeddingReduction;

/// Settings of [`LiftedStructureLoss`].
#[derive(Config, Debug)]
pub struct LiftedStructureLossConfig {
    /// What the distances of positives are lessened by; finite.
    /// Default: `0.0`.
    #[config(default = 0.0)]
    pub positive_margin: f64,
    /// How far negatives should be; finite.
    /// Default: `1.0`.
    #[config(default = 1.0)]
    pub negative_margin: f64,
    /// How far apart two embeddings are.
    /// Default: `Distance::Euclidean`.
    #[config(default = "Distance::Euclidean")]
    pub distance: Distance,
    /// How the losses become one number.
    /// Default: `EmbeddingReduction::Mean`.
    #[config(default = "EmbeddingReduction::Mean")]
    pub reduction: EmbeddingReduction,
}

impl LiftedStructureLossConfig {
    /// Builds the loss for embeddings on `device`.
    ///
    /// # Panics
    ///
    /// If a field is out of its range.
    #[track_caller]
    pub fn init(&self, _device: &Device) -> LiftedStructureLoss {
        self.distance.validate();
        let Self { positive_margin, negative_margin, distance, reduction } = *self;
        assert!(
            positive_margin.is_finite(),
            "LiftedStructureLoss: positive_margin must be finite, got {positive_margin}"
        );
        assert!(
            negative_margin.is_finite(),
            "LiftedStructureLoss: negative_margin must be finite, got {negative_margin}"
        );
        LiftedStructureLoss { positive_margin, negative_margin, distance, reduction }
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
/// # When to take it
///
/// Where a batch holds several samples of each class and all negatives should count, the near ones most. It orders
/// distances and sets no threshold: for one take [`MarginLoss`](super::MarginLoss).
///
/// # Source
///
/// Hermans, Beyer, Leibe: [In Defense of the Triplet Loss for Person Re-Identification](https://arxiv.org/abs/1703.07737),
/// 2017, section 2, `L_LG`; generalised from Song et al.: [Deep Metric Learning via Lifted Structured Feature
/// Embedding](https://arxiv.org/abs/1511.06452), 2016.
///
/// # Example
///
/// ```
/// use burn::tensor::{Device, Int, Tensor};
/// use burn_losses::pairs::LiftedStructureLossConfig;
///
/// let device = Device::default();
/// let embeddings = Tensor::<2>::from_data([[0.0], [1.0], [1.5]], &device);
/// let labels = Tensor::<1, Int>::from_ints([0, 0, 1], &device);
/// let loss = LiftedStructureLossConfig::new().init(&device).forward(embeddings, labels);
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
    #[module(skip)]
    reduction: EmbeddingReduction,
}

impl PairLoss for LiftedStructureLoss {
    fn reduction(&self) -> EmbeddingReduction {
        self.reduction
    }

    fn anchor_losses(&self, pairs: &Pairs) -> AnchorLosses {
        pairs.expect_triplets();
        let (distances, PairMasks { positive, negative }) = (pairs.distances(self.distance), pairs.masks());
        let valid = flat_mask(positive.clone().any_dim(1).bool_and(negative.clone().any_dim(1)));
        let far = log_sum_exp_where(distances.clone().sub_scalar(self.positive_margin), positive);
        let near = log_sum_exp_where(distances.neg().add_scalar(self.negative_margin), negative);
        let excess = (far + near).mask_fill(valid.clone().bool_not(), 0.0);

        AnchorLosses::one_each(hinge(excess), valid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::{Bool, Int, Tensor};

    #[test]
    fn positives_and_negatives_are_summed_in_log_space() {
        let device = Device::flex();
        let distances = Tensor::<2>::from_data([[0.0_f32, 2.0, 2.0, 1.5], [9.0, 9.0, 9.0, 9.0]], &device);
        let mask = |rows: [[bool; 4]; 2]| Tensor::<2, Bool>::from_data(rows, &device);
        let masks = PairMasks {
            positive: mask([[false, true, true, false], [false, true, false, false]]),
            negative: mask([[false, false, false, true], [false; 4]]),
        };
        let (labels, references) = (Tensor::<1, Int>::zeros([2], &device), Tensor::<1, Int>::zeros([4], &device));
        let pairs = Pairs::precomputed_with_references(Distance::Euclidean, distances, labels, references);
        let loss = LiftedStructureLossConfig::new().init(&device);
        let losses = loss.forward_pairs_no_reduction(&pairs.with_masks(masks));
        let losses = losses.try_into_vec_as::<f32>().unwrap();

        // log(2·exp(2)) + (1 - 1.5); the second row has no negative.
        let expected = core::f32::consts::LN_2 + 2.0 - 0.5;
        assert!((losses[0] - expected).abs() < 1e-6 && losses[1] == 0.0, "{losses:?}");
    }

    #[test]
    #[should_panic(expected = "LiftedStructureLoss: negative_margin must be finite, got NaN")]
    fn a_margin_that_is_no_number_is_rejected() {
        LiftedStructureLossConfig::new().with_negative_margin(f64::NAN).init(&Device::flex());
    }
}
