use burn::config::Config;
use burn::module::{Initializer, Module, Param};
use burn::tensor::{Device, Tensor};
use burn_losses_kernels::math::{cast_to, hinge};

use super::argument::Pairs;
use super::asked::Listed;
use super::loss::{AnchorLosses, PairLoss};
use super::masked::{flat_mask, inside};
use crate::distance::Distance;
use crate::labels::{ClassLabels, LabelPolicy, OnBadLabel};
use crate::mining::PairMasks;
use crate::reduction::EmbeddingReduction;

/// Settings of [`MarginLoss`].
#[derive(Config, Debug)]
pub struct MarginLossConfig {
    /// How far on its own side of the boundary a pair should be (the paper's alpha); finite and `>= 0`.
    /// Default: `0.2`.
    #[config(default = 0.2)]
    pub margin: f64,
    /// Where the boundary between positives and negatives starts; finite.
    /// Default: `1.2`.
    #[config(default = 1.2)]
    pub beta: f64,
    /// With a number, every class of anchors has a boundary of its own, and labels are classes in `0..classes`; `>= 1`.
    /// Without, there is one boundary, and labels are any identities. A row with a negative label is in no pair.
    /// Default: `None`.
    #[config(default = "None")]
    pub classes: Option<usize>,
    /// What is done about a label from `classes` on.
    /// Default: `OnBadLabel::Panic`.
    #[config(default = "OnBadLabel::Panic")]
    pub on_bad_label: OnBadLabel,
    /// The weight of the mean boundary as a loss of its own (the paper's nu); finite and `>= 0`.
    /// Default: `0.0`.
    #[config(default = 0.0)]
    pub nu: f64,
    /// How far apart two embeddings are.
    /// Default: `Distance::Euclidean`.
    #[config(default = "Distance::Euclidean")]
    pub distance: Distance,
    /// How the losses of the pairs become one number. The paper and pytorch-metric-learning:
    /// [`EmbeddingReduction::MeanNonZero`].
    /// Default: `EmbeddingReduction::Mean`.
    #[config(default = "EmbeddingReduction::Mean")]
    pub reduction: EmbeddingReduction,
}

impl MarginLossConfig {
    /// Builds the loss with its boundaries on `device`.
    ///
    /// # Panics
    ///
    /// If a field is out of its range.
    #[track_caller]
    pub fn init(&self, device: &Device) -> MarginLoss {
        self.distance.validate();
        let Self { margin, beta, classes, on_bad_label, nu, distance, reduction } = *self;
        assert!(margin >= 0.0 && margin.is_finite(), "MarginLoss: margin must be finite and >= 0, got {margin}");
        assert!(beta.is_finite(), "MarginLoss: beta must be finite, got {beta}");
        assert!(classes != Some(0), "MarginLoss: classes must be >= 1, got 0");
        assert!(nu >= 0.0 && nu.is_finite(), "MarginLoss: nu must be finite and >= 0, got {nu}");

        let beta = Initializer::Constant { value: beta }.init([classes.unwrap_or(1)], device);
        let labels =
            classes.map(|_| ClassLabels::new("MarginLoss", &LabelPolicy::new().with_on_bad_label(on_bad_label)));
        MarginLoss { beta, labels, margin, nu, distance, reduction }
    }
}

/// Puts a trained boundary `beta` between the distances of positives and those of negatives.
///
/// ```text
/// loss of a positive = max(d[a, p] - beta[label[a]] + margin, 0)
/// loss of a negative = max(beta[label[a]] - d[a, n] + margin, 0)
/// forward            = reduction over pairs + nu·(mean of beta[label[a]] over the anchors in a pair)
/// ```
///
/// Unlike a triplet loss it asks for the same boundary everywhere, which a threshold in use needs. The paper pairs it with
/// distance-weighted sampling on embeddings of length 1
/// ([`DistanceWeightedMiner`](crate::mining::DistanceWeightedMiner)), and divides by the number of pairs with a loss:
/// [`EmbeddingReduction::MeanNonZero`]. To keep the boundary as it is, freeze the module or give it learning rate 0.
///
/// # When to take it
///
/// With [`DistanceWeightedMiner`](crate::mining::DistanceWeightedMiner), where the distance that separates pairs should
/// be learned. Where only the order counts, take [`TripletLoss`](super::TripletLoss).
///
/// # Deviations
///
/// pytorch-metric-learning's `MarginLoss` makes all triplets of a batch, so that a pair counts once per triplet it is in.
/// Here, as in the paper, a pair of a batch counts once; the two agree where every anchor has as many positives as
/// negatives, and on the triplets of a miner, of which each counts its two pairs.
/// Its regulariser of per-class boundaries is divided by the active triplets; here it is a mean over anchors, so that
/// `nu` does not depend on the batch.
///
/// # Source
///
/// Wu, Manmatha, Smola, Krähenbühl: [Sampling Matters in Deep Embedding Learning](https://arxiv.org/abs/1706.07567),
/// 2017, section 4, margin based loss; the boundary per image is left out.
///
/// # Example
///
/// ```
/// use burn::tensor::{Device, Int, Tensor};
/// use burn_losses::pairs::MarginLossConfig;
/// use burn_losses::reduction::EmbeddingReduction;
///
/// let device = Device::default();
/// let config = MarginLossConfig::new().with_margin(0.5).with_beta(1.0);
/// let loss = config.with_reduction(EmbeddingReduction::MeanNonZero).init(&device);
/// let embeddings = Tensor::<2>::from_data([[0.0], [2.0], [3.0]], &device);
/// let labels = Tensor::<1, Int>::from_ints([0, 0, 1], &device);
///
/// // Positive, 2 apart: 2 - 1 + 0.5. Negatives, 3 and 1 apart: 0 and 1 - 1 + 0.5. Each from both sides.
/// let loss = loss.forward(embeddings, labels).into_scalar::<f32>();
/// assert!((loss - 1.0).abs() < 1e-6);
/// ```
#[derive(Module, Debug)]
pub struct MarginLoss {
    /// The boundary, `[1]` or `[classes]`.
    pub beta: Param<Tensor<1>>,
    /// With a boundary per class.
    #[module(skip)]
    labels: Option<ClassLabels>,
    margin: f64,
    nu: f64,
    #[module(skip)]
    distance: Distance,
    #[module(skip)]
    reduction: EmbeddingReduction,
}

impl PairLoss for MarginLoss {
    fn reduction(&self) -> EmbeddingReduction {
        self.reduction
    }

    fn anchor_losses(&self, pairs: &Pairs) -> AnchorLosses {
        let pairs = match &self.labels {
            Some(labels) => pairs.clone().among_classes(labels, self.beta.val().dims()[0]),
            None => pairs.clone(),
        };
        let Listed { distances, masks: PairMasks { positive, negative }, anchor } = pairs.listed(self.distance);
        let beta = self.boundaries(&pairs, &distances);
        let of_rows = anchor.clone().map_or_else(|| beta.clone(), |anchor| beta.clone().select(0, anchor));
        let beyond = distances.clone() - of_rows.unsqueeze_dim::<2>(1).expand(distances.dims());
        let margin = self.margin;
        let losses = inside(positive.clone(), beyond.clone(), |beyond| hinge(beyond.add_scalar(margin)))
            + inside(negative.clone(), beyond, |beyond| hinge(beyond.neg().add_scalar(margin)));
        let losses = AnchorLosses::listed(losses, positive.bool_or(negative), anchor);
        if self.nu == 0.0 {
            return losses;
        }
        let PairMasks { positive, negative } = pairs.masks();
        let paired = flat_mask(positive.bool_or(negative).any_dim(1));
        let beta = beta.mask_fill(paired.clone().bool_not(), 0.0).mul_scalar(self.nu);

        losses.with_penalty(EmbeddingReduction::Mean.apply_valid(beta, paired))
    }
}

impl MarginLoss {
    /// The boundary of every anchor, `[anchors]`.
    fn boundaries(&self, pairs: &Pairs, distances: &Tensor<2>) -> Tensor<1> {
        let beta = cast_to(self.beta.val().to_device(&distances.device()), distances.dtype());
        if self.labels.is_some() {
            let [labels, _] = pairs.class_labels();
            // A row without a boundary is in no pair, whichever it is given.
            beta.select(0, labels.clone().clamp_min(0))
        } else {
            beta.expand([pairs.dims()[0]])
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Int;

    fn batch(device: &Device) -> (Tensor<2>, Tensor<1, Int>) {
        let embeddings = Tensor::from_data([[0.0_f32], [2.0], [3.0]], device);
        (embeddings, Tensor::from_ints([1, 1, 0], device))
    }

    #[test]
    fn the_boundary_is_pulled_from_both_sides() {
        let device = Device::flex().autodiff();
        let config = MarginLossConfig::new().with_margin(0.5).with_beta(1.0);
        let loss = config.with_reduction(EmbeddingReduction::Sum).init(&device);
        let (embeddings, labels) = batch(&device);
        let value = loss.forward(embeddings, labels);
        let gradient = loss.beta.val().grad(&value.backward()).unwrap().into_scalar::<f32>();

        // Two positives of 1.5 with slope -1, two negatives of 0.5 with slope 1, two of 0.
        assert_eq!(gradient, 0.0);
        assert!((value.into_scalar::<f32>() - 4.0).abs() < 1e-5);
    }

    #[test]
    fn every_class_has_its_boundary_and_its_share_of_the_regularizer() {
        let device = Device::flex().autodiff();
        let config = MarginLossConfig::new().with_margin(0.5).with_beta(1.0).with_classes(Some(3)).with_nu(0.3);
        let loss = config.with_reduction(EmbeddingReduction::Sum).init(&device);
        let (embeddings, labels) = batch(&device);
        let value = loss.forward(embeddings, labels);
        let gradient = loss.beta.val().grad(&value.backward()).unwrap().try_into_vec_as::<f32>().unwrap();

        // The sum 4 and 0.3·1. Anchors of class 1: two positives, one negative; of class 0: one negative. Of three
        // anchors two are of class 1.
        for (slope, expected) in gradient.into_iter().zip([1.0 + 0.1, -2.0 + 1.0 + 0.2, 0.0]) {
            assert!((slope - expected).abs() < 1e-6, "{slope} is not {expected}");
        }
        assert!((value.into_scalar::<f32>() - 4.3).abs() < 1e-5);
    }

    #[test]
    #[should_panic(expected = "MarginLoss: labels[0] is 1, but there are 1 classes, 0-based (0 to 0)")]
    fn a_label_without_a_boundary_is_named() {
        let (embeddings, labels) = batch(&Device::flex());
        MarginLossConfig::new().with_classes(Some(1)).init(&Device::flex()).forward(embeddings, labels);
    }

    #[test]
    fn the_regularizer_is_a_mean_over_the_anchors_in_a_pair() {
        let device = Device::flex();
        let config = MarginLossConfig::new().with_margin(0.0).with_beta(1.0).with_nu(0.25);
        let embeddings = Tensor::<2>::from_data([[0.0_f32], [1.0], [9.0]], &device);
        let value = config.init(&device).forward(embeddings, Tensor::<1, Int>::from_ints([1, 1, -1], &device));

        // By hand: the positives are at the boundary. Two of three anchors have a pair: 1/4 of their mean boundary, 1.
        assert_eq!(value.into_scalar::<f32>(), 0.25);
    }

    #[test]
    #[should_panic(expected = "MarginLoss: classes must be >= 1, got 0")]
    fn no_classes_are_rejected() {
        MarginLossConfig::new().with_classes(Some(0)).init(&Device::flex());
    }
}
