use burn::config::Config;
use burn::module::{Initializer, Module, Param};
use burn::tensor::{Device, Int, Tensor, assert_shape};
use burn_losses_kernels::math::{cast_to, hinge, signed, widen};

use super::compared::Compared;
use super::loss::PairwiseLoss;
use super::masked::{check, flat, flat_mask, inside, silent};
use crate::distance::Distance;
use crate::labels::{LabelPolicy, OnBadLabel, SafeLabels};
use crate::mining::Pairs;
use crate::reduction::EmbeddingReduction;

/// Settings of [`MarginLoss`].
#[derive(Config, Debug)]
pub struct MarginLossConfig {
    /// How far on its own side of the boundary a pair should be (the paper's alpha); finite and `>= 0`.
    #[config(default = 0.2)]
    pub margin: f64,
    /// Where the boundary between positives and negatives starts; finite.
    #[config(default = 1.2)]
    pub beta: f64,
    /// With a number, every class of anchors has a boundary of its own, and a label that is not in `0..classes` is in no
    /// pair; `>= 1`. Without, there is one boundary, and labels are any identities.
    #[config(default = "None")]
    pub classes: Option<usize>,
    /// The weight of the mean boundary as a loss of its own (the paper's nu); finite and `>= 0`.
    #[config(default = 0.0)]
    pub nu: f64,
    /// How far apart two embeddings are.
    #[config(default = "Distance::Euclidean")]
    pub distance: Distance,
}

impl MarginLossConfig {
    /// Builds the loss with its boundaries on `device`.
    ///
    /// # Panics
    ///
    /// If a field is out of its range.
    pub fn init(&self, device: &Device) -> MarginLoss {
        self.distance.validate();
        let Self { margin, beta, classes, nu, distance } = *self;
        assert!(margin >= 0.0 && margin.is_finite(), "MarginLoss: margin must be finite and >= 0, got {margin}");
        assert!(beta.is_finite(), "MarginLoss: beta must be finite, got {beta}");
        assert!(classes != Some(0), "MarginLoss: classes must be >= 1, got 0");
        assert!(nu >= 0.0 && nu.is_finite(), "MarginLoss: nu must be finite and >= 0, got {nu}");

        let beta = Initializer::Constant { value: beta }.init([classes.unwrap_or(1)], device);
        MarginLoss { beta, per_class: classes.is_some(), margin, nu, distance }
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
/// distance-weighted sampling on embeddings of length 1, and divides by the number of pairs with a loss:
/// [`EmbeddingReduction::MeanNonZero`]. To keep the boundary as it is, freeze the module or give it learning rate 0.
///
/// Deviation from pytorch-metric-learning: its `MarginLoss` walks triplets, so a pair counts once per triplet it is in.
/// Here, as in the paper, a pair counts once; the two agree where every anchor has as many positives as negatives.
/// Its regulariser of per-class boundaries is divided by the active triplets; here it is a mean over anchors, so that
/// `nu` does not depend on the batch.
///
/// # Source
///
/// Wu, Manmatha, Smola, Krähenbühl: [Sampling Matters in Deep Embedding Learning](https://arxiv.org/abs/1706.07567),
/// 2017, section 4, margin based loss; the boundary per image is left out.
///
/// ```
/// use burn::tensor::{Device, Int, Tensor};
/// use burn_losses::pairs::{MarginLossConfig, PairwiseLoss};
/// use burn_losses::reduction::EmbeddingReduction;
///
/// let device = Device::default();
/// let loss = MarginLossConfig::new().with_margin(0.5).with_beta(1.0).init(&device);
/// let embeddings = Tensor::<2>::from_data([[0.0], [2.0], [3.0]], &device);
/// let labels = Tensor::<1, Int>::from_ints([0, 0, 1], &device);
///
/// // Positive, 2 apart: 2 - 1 + 0.5. Negatives, 3 and 1 apart: 0 and 1 - 1 + 0.5. Each from both sides.
/// let loss = loss.forward(embeddings, labels, EmbeddingReduction::MeanNonZero).into_scalar::<f32>();
/// assert!((loss - 1.0).abs() < 1e-6);
/// ```
#[derive(Module, Debug)]
pub struct MarginLoss {
    /// The boundary, `[1]` or `[classes]`.
    pub beta: Param<Tensor<1>>,
    per_class: bool,
    margin: f64,
    nu: f64,
    #[module(skip)]
    distance: Distance,
}

impl PairwiseLoss for MarginLoss {
    fn compare(&self, rows: Compared, reduction: EmbeddingReduction) -> Tensor<1> {
        let rows = rows.relabelled(|labels| self.known(labels));
        self.forward_distances(rows.distances(self.distance), rows.labels.clone(), &rows.pairs(), reduction)
    }

    fn nothing(&self, rows: Compared) -> Tensor<1> {
        let nothing = rows.no_loss();
        nothing.clone() + self.no_boundary(&nothing)
    }
}

impl MarginLoss {
    /// The loss of every pair in a batch, without the regulariser; 0 where two rows are no pair.
    ///
    /// # Shapes
    ///
    /// - embeddings: `[batch, embedding_dim]`
    /// - labels: `[batch]`
    /// - output: `[batch, batch]`
    ///
    /// # Panics
    ///
    /// If the shapes do not agree.
    pub fn forward_no_reduction(&self, embeddings: Tensor<2>, labels: Tensor<1, Int>) -> Tensor<2> {
        let rows = Compared::in_batch(embeddings, self.known(labels));
        let (distances, pairs, dtype) = (rows.distances(self.distance), rows.pairs(), rows.dtype());

        cast_to(self.forward_distances_no_reduction(distances, rows.labels, &pairs), dtype)
    }

    /// The reduced loss of chosen pairs, such as a miner's or those with a memory, and the regulariser.
    ///
    /// # Shapes
    ///
    /// - distances: `[anchors, references]`
    /// - labels: `[anchors]`, those of the anchors; where classes have boundaries, one without is in no pair
    /// - pairs: `[anchors, references]`
    /// - output: `[1]`
    ///
    /// # Panics
    ///
    /// If the shapes do not agree.
    pub fn forward_distances(
        &self,
        distances: Tensor<2>,
        labels: Tensor<1, Int>,
        pairs: &Pairs,
        reduction: EmbeddingReduction,
    ) -> Tensor<1> {
        let dtype = distances.dtype();
        check(&distances, pairs);
        if distances.shape().num_elements() == 0 {
            let nothing = reduction.apply(flat(distances));
            return nothing.clone() + self.no_boundary(&nothing);
        }
        let pairs = &self.of_known(labels.clone(), pairs);
        let distances = widen(distances);
        let any_pair = pairs.positive.clone().bool_or(pairs.negative.clone());
        let paired = flat_mask(any_pair.clone().any_dim(1));
        let beta = self.boundaries(labels, &distances);
        let regularizer = beta.clone().mask_fill(paired.clone().bool_not(), 0.0).mul_scalar(self.nu);
        let losses = self.losses(distances, beta, pairs);
        let loss = reduction.apply_valid(losses, flat_mask(any_pair));

        cast_to(loss + EmbeddingReduction::Mean.apply_valid(regularizer, paired), dtype)
    }

    /// The loss of every chosen pair, without the regulariser; 0 for the others.
    ///
    /// # Shapes
    ///
    /// - distances: `[anchors, references]`
    /// - labels: `[anchors]`, those of the anchors
    /// - pairs: `[anchors, references]`
    /// - output: `[anchors, references]`
    ///
    /// # Panics
    ///
    /// As [`forward_distances`](Self::forward_distances).
    pub fn forward_distances_no_reduction(
        &self,
        distances: Tensor<2>,
        labels: Tensor<1, Int>,
        pairs: &Pairs,
    ) -> Tensor<2> {
        let dtype = distances.dtype();
        check(&distances, pairs);
        let [anchors, references] = distances.dims();
        if anchors == 0 || references == 0 {
            return distances;
        }
        let pairs = &self.of_known(labels.clone(), pairs);
        let distances = widen(distances);
        let beta = self.boundaries(labels, &distances);

        cast_to(self.losses(distances, beta, pairs).reshape([anchors, references]), dtype)
    }

    /// 0, connected to the boundary, so that a backward finds its gradient.
    fn no_boundary(&self, like: &Tensor<1>) -> Tensor<1> {
        cast_to(silent(self.beta.val().to_device(&like.device())).sum(), like.dtype())
    }

    /// Labels, those without a boundary made negative: in no pair.
    fn known(&self, labels: Tensor<1, Int>) -> Tensor<1, Int> {
        let labels = signed(labels);
        if !self.per_class || labels.dims() == [0] {
            return labels;
        }
        let SafeLabels { valid, .. } = self.classes_of(labels.clone());
        labels.mask_fill(valid.bool_not(), -1)
    }

    /// Labels that are safe to find a boundary with.
    fn classes_of(&self, labels: Tensor<1, Int>) -> SafeLabels {
        let [classes] = self.beta.val().dims();
        LabelPolicy::new().with_on_bad_label(OnBadLabel::Ignore).sanitise("MarginLoss", labels, classes)
    }

    /// The pairs whose anchor has a boundary.
    fn of_known(&self, labels: Tensor<1, Int>, pairs: &Pairs) -> Pairs {
        let Pairs { positive, negative } = pairs.clone();
        if !self.per_class {
            return Pairs { positive, negative };
        }
        let shape = positive.dims();
        assert_shape!(labels, [shape[0]]);
        let known = self.known(labels).greater_equal_scalar(0).unsqueeze_dim::<2>(1).expand(shape);

        Pairs { positive: positive.bool_and(known.clone()), negative: negative.bool_and(known) }
    }

    /// The boundary of every anchor, `[anchors]`.
    fn boundaries(&self, labels: Tensor<1, Int>, distances: &Tensor<2>) -> Tensor<1> {
        let [anchors, _] = distances.dims();
        assert_shape!(labels, [anchors]);
        let beta = cast_to(self.beta.val().to_device(&distances.device()), distances.dtype());
        if self.per_class { beta.select(0, self.classes_of(labels).index) } else { beta.expand([anchors]) }
    }

    fn losses(&self, distances: Tensor<2>, beta: Tensor<1>, pairs: &Pairs) -> Tensor<1> {
        let beta = flat(beta.unsqueeze_dim::<2>(1).expand(distances.dims()));
        let beyond = flat(distances) - beta;
        let positive =
            inside(flat_mask(pairs.positive.clone()), beyond.clone(), |beyond| hinge(beyond.add_scalar(self.margin)));
        let negative =
            inside(flat_mask(pairs.negative.clone()), beyond, |beyond| hinge(beyond.neg().add_scalar(self.margin)));

        positive + negative
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(device: &Device) -> (Tensor<2>, Tensor<1, Int>) {
        let embeddings = Tensor::from_data([[0.0_f32], [2.0], [3.0]], device);
        (embeddings, Tensor::from_ints([1, 1, 0], device))
    }

    #[test]
    fn the_boundary_is_pulled_from_both_sides() {
        let device = Device::flex().autodiff();
        let loss = MarginLossConfig::new().with_margin(0.5).with_beta(1.0).init(&device);
        let (embeddings, labels) = batch(&device);
        let value = loss.forward(embeddings, labels, EmbeddingReduction::Sum);
        let gradient = loss.beta.val().grad(&value.backward()).unwrap().into_scalar::<f32>();

        // Two positives of 1.5 with slope -1, two negatives of 0.5 with slope 1, two of 0.
        assert_eq!(gradient, 0.0);
        assert!((value.into_scalar::<f32>() - 4.0).abs() < 1e-5);
    }

    #[test]
    fn every_class_has_its_boundary_and_its_share_of_the_regularizer() {
        let device = Device::flex().autodiff();
        let config = MarginLossConfig::new().with_margin(0.5).with_beta(1.0).with_classes(Some(3)).with_nu(0.3);
        let loss = config.init(&device);
        let (embeddings, labels) = batch(&device);
        let value = loss.forward(embeddings, labels, EmbeddingReduction::Sum);
        let gradient = loss.beta.val().grad(&value.backward()).unwrap().try_into_vec_as::<f32>().unwrap();

        // The sum 4 and 0.3·1. Anchors of class 1: two positives, one negative; of class 0: one negative. Of three
        // anchors two are of class 1.
        for (slope, expected) in gradient.into_iter().zip([1.0 + 0.1, -2.0 + 1.0 + 0.2, 0.0]) {
            assert!((slope - expected).abs() < 1e-6, "{slope} is not {expected}");
        }
        assert!((value.into_scalar::<f32>() - 4.3).abs() < 1e-5);
    }

    #[test]
    #[should_panic(expected = "MarginLoss: classes must be >= 1, got 0")]
    fn no_classes_are_rejected() {
        MarginLossConfig::new().with_classes(Some(0)).init(&Device::flex());
    }
}
