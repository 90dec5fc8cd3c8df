use burn::config::Config;
use burn::module::Module;
use burn::tensor::{Int, Tensor, assert_shape};
use burn_losses_kernels::math::{cast_to, widen};
use burn_losses_kernels::triplets::{NegativeDistance, TripletRule, TripletShape, TripletSums, all_triplets};

use super::batch_triplets::{TripletMining, hard_triplets, losses, semi_hard_triplets, shorter};
use super::compared::Compared;
use super::loss::PairwiseLoss;
use super::masked::{check, flat, silent};
use crate::distance::Distance;
use crate::mining::{Pairs, Triplets};
use crate::reduction::EmbeddingReduction;

/// Settings of [`TripletLoss`].
#[derive(Config, Debug)]
pub struct TripletLossConfig {
    /// By how much a negative should be farther than the positive; finite. FaceNet uses 0.2 on squared distances of unit
    /// embeddings, PyTorch 1, the soft margin 0.
    #[config(default = 0.2)]
    pub margin: f64,
    /// How the loss grows with what is missing of the margin.
    #[config(default = "TripletShape::Hinge")]
    pub shape: TripletShape,
    /// Which triplets of a batch count.
    #[config(default = "TripletMining::All")]
    pub mining: TripletMining,
    /// Which distance a negative is held to: the anchor swap.
    #[config(default = "NegativeDistance::FromAnchor")]
    pub negative_distance: NegativeDistance,
    /// How far apart two embeddings are.
    #[config(default = "Distance::Euclidean")]
    pub distance: Distance,
}

impl TripletLossConfig {
    /// Builds the loss.
    ///
    /// # Panics
    ///
    /// If a field is out of its range.
    pub fn init(&self) -> TripletLoss {
        self.distance.validate();
        let Self { margin, shape, mining, negative_distance, distance } = *self;
        assert!(margin.is_finite(), "TripletLoss: margin must be finite, got {margin}");

        TripletLoss { margin, shape, mining, negative_distance, distance }
    }
}

/// Asks that an anchor be nearer to a positive, a row of its identity, than to a negative, by a margin.
///
/// ```text
/// excess = d(anchor, positive) - d(anchor, negative) + margin
/// loss   = max(excess, 0)             (Hinge)
///        = log(1 + exp(excess))       (Softplus)
/// ```
///
/// Triplets come from you ([`forward_triplets`](Self::forward_triplets)), from a miner
/// ([`forward_mined`](Self::forward_mined)), or from the batch ([`forward`](Self::forward), by [`TripletMining`]). In a
/// batch, [`EmbeddingReduction::Mean`] divides by the number of triplets and [`EmbeddingReduction::MeanNonZero`] by that of the triplets
/// with a loss, never by that of the anchors. Start with `All` and `MeanNonZero`, as pytorch-metric-learning does; `Hard`
/// tends to collapse early in training: a loss that stays at the margin says that all embeddings have become the same.
/// With references, such as those of a memory, negatives cannot be measured from the positive:
/// `forward_with_references` panics with [`NegativeDistance::Nearest`].
///
/// Memory is that of a few `[batch, batch]` matrices, also with `All`: its `batch³` triplets are never held, and leave
/// nothing in the graph but one matrix of slopes. `All` and `SemiHard` take `batch` passes over such a matrix.
///
/// `SemiHard` takes FaceNet at its word: a positive pair all of whose negatives are nearer gives no triplet, where
/// TensorFlow Addons takes the farthest negative instead.
///
/// All gradients are finite, also where rows are equal. Burn's own `nn::loss::TripletMarginLoss` (0.22.1) has a NaN
/// gradient for an anchor that equals its positive or its negative, and so for every weight before it, because its root
/// has no floor under it. PyTorch's adds 1e-6 to every difference instead; this loss equals PyTorch's with `eps` 0.
///
/// # Source
///
/// Schroff, Kalenichenko, Philbin: [FaceNet](https://arxiv.org/abs/1503.03832), 2015, section 3.1, and 3.2 for
/// semi-hard negatives; Hermans, Beyer, Leibe: [In Defense of the Triplet Loss for Person
/// Re-Identification](https://arxiv.org/abs/1703.07737), 2017, section 2, for batch-all, batch-hard and the soft margin;
/// Balntas et al.: [Learning local feature descriptors with triplets and shallow convolutional neural
/// networks](https://bmva-archive.org.uk/bmvc/2016/papers/paper119/index.html), 2016, for the anchor swap.
///
/// ```
/// use burn::tensor::{Device, Int, Tensor};
/// use burn_losses::pairs::{PairwiseLoss, TripletLossConfig};
/// use burn_losses::reduction::EmbeddingReduction;
///
/// let device = Device::default();
/// let loss = TripletLossConfig::new().with_margin(0.5).init();
/// let embeddings = Tensor::<2>::from_data([[0.0], [1.0], [2.0]], &device);
/// let labels = Tensor::<1, Int>::from_ints([3, 3, 8], &device);
///
/// // Two triplets: from the first row 1 - 2 + 0.5 < 0, from the second 1 - 1 + 0.5.
/// let mean = |reduction| loss.forward(embeddings.clone(), labels.clone(), reduction).into_scalar::<f32>();
/// assert_eq!((mean(EmbeddingReduction::Mean), mean(EmbeddingReduction::MeanNonZero)), (0.25, 0.5));
/// ```
#[derive(Module, Debug)]
pub struct TripletLoss {
    margin: f64,
    #[module(skip)]
    shape: TripletShape,
    #[module(skip)]
    mining: TripletMining,
    #[module(skip)]
    negative_distance: NegativeDistance,
    #[module(skip)]
    distance: Distance,
}

impl PairwiseLoss for TripletLoss {
    /// # Panics
    ///
    /// With `NegativeDistance::Nearest`, of rows that are not of one batch: the distances of its positives and negatives
    /// are not there.
    fn compare(&self, rows: Compared, reduction: EmbeddingReduction) -> Tensor<1> {
        self.check(&rows);
        self.forward_distances(rows.distances(self.distance), &rows.pairs(), reduction)
    }

    /// # Panics
    ///
    /// As `compare`.
    fn nothing(&self, rows: Compared) -> Tensor<1> {
        self.check(&rows);
        rows.no_loss()
    }
}

impl TripletLoss {
    fn check(&self, rows: &Compared) {
        let swaps = self.negative_distance == NegativeDistance::Nearest;
        assert!(rows.in_batch || !swaps, "TripletLoss: NegativeDistance::Nearest takes no references, only a batch");
    }

    /// The sum of the losses of the triplets of every anchor in a batch.
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

    /// The reduced loss of the triplets among chosen pairs, such as those with a memory; 0 without a triplet.
    ///
    /// # Shapes
    ///
    /// - distances: `[anchors, references]`; with `NegativeDistance::Nearest` those of a batch with itself
    /// - pairs: `[anchors, references]`
    /// - output: `[1]`
    ///
    /// # Panics
    ///
    /// If the shapes do not agree, or with `NegativeDistance::Nearest` are not square.
    pub fn forward_distances(&self, distances: Tensor<2>, pairs: &Pairs, reduction: EmbeddingReduction) -> Tensor<1> {
        let dtype = distances.dtype();
        check(&distances, pairs);
        if distances.shape().num_elements() == 0 {
            return reduction.apply(flat(distances));
        }
        let TripletSums { losses, triplets, active } = self.sums(widen(distances), pairs);

        cast_to(reduction.apply_sums(losses, triplets, active), dtype)
    }

    /// The sum of the losses of every anchor's triplets among chosen pairs. With `TripletMining::All` and
    /// `NegativeDistance::Nearest`, a triplet that is swapped counts for its positive, which has become the anchor.
    ///
    /// # Shapes
    ///
    /// - distances: `[anchors, references]`; with `NegativeDistance::Nearest` those of a batch with itself
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
        if anchors == 0 {
            return distances.reshape([0]);
        }
        if references == 0 {
            return Tensor::zeros([anchors], (&distances.device(), dtype));
        }
        cast_to(self.sums(widen(distances), pairs).losses, dtype)
    }

    /// The reduced loss of triplets that a miner has listed; 0 when none is valid.
    ///
    /// Takes memory for the list alone. On GPUs Burn adds up the gradient of the distances entry by entry: keep lists to
    /// some ten thousand triplets there, or use [`forward_distances`](Self::forward_distances).
    ///
    /// # Shapes
    ///
    /// - distances: `[anchors, references]`; with `NegativeDistance::Nearest` those of a batch with itself
    /// - triplets: `[triplets]`
    /// - output: `[1]`
    ///
    /// # Panics
    ///
    /// If the shapes do not agree, or with `NegativeDistance::Nearest` are not square.
    pub fn forward_mined(&self, distances: Tensor<2>, triplets: &Triplets, reduction: EmbeddingReduction) -> Tensor<1> {
        let dtype = distances.dtype();
        let [count] = triplets.anchor.dims();
        if count == 0 || distances.shape().num_elements() == 0 {
            return reduction.apply(silent(flat(distances)));
        }
        let losses = self.mined(widen(distances), triplets);

        cast_to(reduction.apply_valid(losses, triplets.valid.clone()), dtype)
    }

    /// The loss of every listed triplet; 0 where the entry is not valid.
    ///
    /// # Shapes
    ///
    /// - distances: `[anchors, references]`
    /// - triplets: `[triplets]`
    /// - output: `[triplets]`
    ///
    /// # Panics
    ///
    /// As [`forward_mined`](Self::forward_mined).
    pub fn forward_mined_no_reduction(&self, distances: Tensor<2>, triplets: &Triplets) -> Tensor<1> {
        let dtype = distances.dtype();
        let [count] = triplets.anchor.dims();
        if count == 0 || distances.shape().num_elements() == 0 {
            return Tensor::zeros([count], (&distances.device(), dtype));
        }
        cast_to(self.mined(widen(distances), triplets), dtype)
    }

    /// The reduced loss of triplets that are given row by row.
    ///
    /// # Shapes
    ///
    /// - anchor: `[triplets, embedding_dim]`
    /// - positive: `[triplets, embedding_dim]`
    /// - negative: `[triplets, embedding_dim]`
    /// - output: `[1]`
    ///
    /// # Panics
    ///
    /// If the shapes do not agree.
    pub fn forward_triplets(
        &self,
        anchor: Tensor<2>,
        positive: Tensor<2>,
        negative: Tensor<2>,
        reduction: EmbeddingReduction,
    ) -> Tensor<1> {
        let dtype = anchor.dtype();
        // The losses stay wide until they have become one number.
        let losses = self.forward_triplets_no_reduction(widen(anchor), widen(positive), widen(negative));

        cast_to(reduction.apply(losses), dtype)
    }

    /// The loss of every given triplet.
    ///
    /// # Shapes
    ///
    /// - anchor: `[triplets, embedding_dim]`
    /// - positive: `[triplets, embedding_dim]`
    /// - negative: `[triplets, embedding_dim]`
    /// - output: `[triplets]`
    ///
    /// # Panics
    ///
    /// As [`forward_triplets`](Self::forward_triplets).
    pub fn forward_triplets_no_reduction(
        &self,
        anchor: Tensor<2>,
        positive: Tensor<2>,
        negative: Tensor<2>,
    ) -> Tensor<1> {
        let dtype = anchor.dtype();
        let [triplets, dim] = anchor.dims();
        assert_shape!(positive, [triplets, dim]);
        assert_shape!(negative, [triplets, dim]);
        if triplets == 0 {
            return flat(anchor);
        }
        let (anchor, positive, negative) = (widen(anchor), widen(positive), widen(negative));
        let near = self.distance.rowwise(anchor.clone(), positive.clone());
        let far = self.distance.rowwise(anchor, negative.clone());
        let far = match self.negative_distance {
            NegativeDistance::FromAnchor => far,
            NegativeDistance::Nearest => shorter(far, self.distance.rowwise(positive, negative)),
        };
        cast_to(self.shape.loss((near - far).add_scalar(self.margin)), dtype)
    }

    fn sums(&self, distances: Tensor<2>, pairs: &Pairs) -> TripletSums {
        self.check_swap(&distances);
        let rule = self.rule();
        match self.mining {
            TripletMining::All => all_triplets(distances, pairs.positive.clone(), pairs.negative.clone(), rule),
            TripletMining::Hard => hard_triplets(distances, pairs, rule),
            TripletMining::SemiHard => semi_hard_triplets(distances, pairs, rule),
        }
    }

    fn mined(&self, distances: Tensor<2>, triplets: &Triplets) -> Tensor<1> {
        let [count] = triplets.anchor.dims();
        assert_shape!(triplets.positive, [count]);
        assert_shape!(triplets.negative, [count]);
        assert_shape!(triplets.valid, [count]);
        self.check_swap(&distances);
        let [_, references] = distances.dims();
        let distances = flat(distances);
        let between = |row: &Tensor<1, Int>, column: &Tensor<1, Int>| {
            let place = row.clone().mul_scalar(references as i64) + column.clone();
            distances.clone().select(0, place.mask_fill(triplets.valid.clone().bool_not(), 0))
        };
        let near = between(&triplets.anchor, &triplets.positive);
        let far = between(&triplets.anchor, &triplets.negative);
        let far = match self.negative_distance {
            NegativeDistance::FromAnchor => far,
            NegativeDistance::Nearest => shorter(far, between(&triplets.positive, &triplets.negative)),
        };
        losses(self.rule(), near, far, triplets.valid.clone())
    }

    fn rule(&self) -> TripletRule {
        TripletRule { margin: self.margin, shape: self.shape, negative_distance: self.negative_distance }
    }

    fn check_swap(&self, distances: &Tensor<2>) {
        let [anchors, references] = distances.dims();
        assert!(
            self.negative_distance == NegativeDistance::FromAnchor || anchors == references,
            "TripletLoss: NegativeDistance::Nearest needs the distances of a batch with itself, got \
             [{anchors}, {references}]"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use burn::tensor::Device;

    /// On a line: 0 and 1 and 4 of one identity, 2 and 9 of another.
    fn per_anchor(config: TripletLossConfig) -> Vec<f32> {
        let device = Device::flex();
        let embeddings = Tensor::<2>::from_data([[0.0_f32], [1.0], [4.0], [2.0], [9.0]], &device);
        let labels = Tensor::<1, Int>::from_ints([5, 5, 5, 6, 6], &device);
        config.init().forward_no_reduction(embeddings, labels).try_into_vec_as::<f32>().unwrap()
    }

    #[test]
    fn the_triplets_of_a_batch_by_hand() {
        let config = TripletLossConfig::new().with_margin(0.5);

        // Anchor 0: positives 1, 4, negatives 2, 9: 4 - 2. Anchor 1: 1, 3 | 1, 8: 1 - 1, 3 - 1. Anchor 4: 4, 3 | 2, 5:
        // 4 - 2, 3 - 2. Anchor 2: 7 | 2, 1, 2. Anchor 9: 7 | 9, 8, 5. Half more for each.
        let all = [2.5, 0.5 + 2.5, 2.5 + 1.5, 5.5 + 6.5 + 5.5, 2.5];
        equal(per_anchor(config.clone()), all);
        equal(per_anchor(config.clone().with_mining(TripletMining::Hard)), [2.5, 2.5, 2.5, 6.5, 2.5]);
        // Of the negatives that are farther: 1 | 2, 4 | 9; 1 | 8, 3 | 8; 4 | 5, 3 | 5; none; 7 | 8. Margin 1.5.
        let semi = config.with_margin(1.5).with_mining(TripletMining::SemiHard);
        equal(per_anchor(semi), [0.5, 0.0, 0.5, 0.0, 0.5]);
    }

    fn equal(actual: Vec<f32>, expected: [f32; 5]) {
        for (number, expected) in actual.iter().zip(expected) {
            assert!((number - expected).abs() < 1e-5, "{actual:?}");
        }
    }

    #[test]
    fn a_mean_counts_triplets_and_not_anchors() {
        let device = Device::flex();
        let embeddings = Tensor::<2>::from_data([[0.0_f32], [1.0], [4.0], [2.0], [9.0]], &device);
        let labels = Tensor::<1, Int>::from_ints([5, 5, 5, 6, 6], &device);
        let loss = TripletLossConfig::new().with_margin(0.5).init();
        let reduced = |reduction| loss.forward(embeddings.clone(), labels.clone(), reduction).into_scalar::<f32>();

        // The sum 29.5 of the test above, over 3·2·2 + 2·1·3 triplets, 9 of them active.
        assert!((reduced(EmbeddingReduction::Sum) - 29.5).abs() < 1e-5);
        assert!((reduced(EmbeddingReduction::Mean) - 29.5 / 18.0).abs() < 1e-6);
        assert!((reduced(EmbeddingReduction::MeanNonZero) - 29.5 / 9.0).abs() < 1e-6);
    }

    #[test]
    fn the_swap_takes_the_nearer_of_anchor_and_positive() {
        let device = Device::flex();
        let row = |x: f32| Tensor::<2>::from_data([[x]], &device);
        let config = TripletLossConfig::new().with_margin(0.5);
        let value = |config: TripletLossConfig| {
            config.init().forward_triplets(row(0.0), row(2.0), row(2.5), EmbeddingReduction::Sum).into_scalar::<f32>()
        };
        // 2 - 2.5 + 0.5 and 2 - 0.5 + 0.5.
        assert_eq!(value(config.clone()), 0.0);
        assert_eq!(value(config.with_negative_distance(NegativeDistance::Nearest)), 2.0);
    }

    #[test]
    #[should_panic(expected = "TripletLoss: margin must be finite, got inf")]
    fn an_infinite_margin_is_rejected() {
        TripletLossConfig::new().with_margin(f64::INFINITY).init();
    }
}
