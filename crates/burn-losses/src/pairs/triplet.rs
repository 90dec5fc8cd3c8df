use burn::config::Config;
use burn::module::Module;
use burn::tensor::Device;
use burn_losses_kernels::triplets::{NegativeDistance, TripletRule, TripletShape, TripletSums, all_triplets};

use super::argument::Pairs;
use super::asked::Listed;
use super::batch_triplets::{TripletMining, hard_triplets, losses, semi_hard_triplets, shorter};
use super::loss::{AnchorLosses, PairLoss};
use super::masked::{flat, flat_mask};
use crate::distance::Distance;
use crate::reduction::EmbeddingReduction;

/// Settings of [`TripletLoss`].
#[derive(Config, Debug)]
pub struct TripletLossConfig {
    /// By how much a negative should be farther than the positive; `>= 0` and finite. FaceNet uses 0.2 on squared distances of unit
    /// embeddings, PyTorch 1, the soft margin 0.
    /// Default: `0.2`.
    #[config(default = 0.2)]
    pub margin: f64,
    /// How the loss grows with what is missing of the margin.
    /// Default: `TripletShape::Hinge`.
    #[config(default = "TripletShape::Hinge")]
    pub shape: TripletShape,
    /// Which triplets of a batch count.
    /// Default: `TripletMining::All`.
    #[config(default = "TripletMining::All")]
    pub mining: TripletMining,
    /// Which distance a negative is held to: the anchor swap.
    /// Default: `NegativeDistance::FromAnchor`.
    #[config(default = "NegativeDistance::FromAnchor")]
    pub negative_distance: NegativeDistance,
    /// How far apart two embeddings are.
    /// Default: `Distance::Euclidean`.
    #[config(default = "Distance::Euclidean")]
    pub distance: Distance,
    /// How the losses of the triplets become one number. pytorch-metric-learning: [`EmbeddingReduction::MeanNonZero`].
    /// Default: `EmbeddingReduction::Mean`.
    #[config(default = "EmbeddingReduction::Mean")]
    pub reduction: EmbeddingReduction,
}

impl TripletLossConfig {
    /// Builds the loss for embeddings on `device`.
    ///
    /// # Panics
    ///
    /// If a field is out of its range.
    #[track_caller]
    pub fn init(&self, _device: &Device) -> TripletLoss {
        self.distance.validate();
        let Self { margin, shape, mining, negative_distance, distance, reduction } = *self;
        assert!(margin >= 0.0 && margin.is_finite(), "TripletLoss: margin must be finite and >= 0, got {margin}");

        TripletLoss { margin, shape, mining, negative_distance, distance, reduction }
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
/// Triplets come from the batch, by [`TripletMining`]; from you, [`Pairs::given_triplets`]; or from a
/// [miner](crate::mining). Among the pairs that a miner chose, they are all triplets of these. [`EmbeddingReduction::Mean`]
/// divides by the number of triplets and [`EmbeddingReduction::MeanNonZero`] by that of the triplets with a loss, never by
/// that of the anchors. Start with `All` and `MeanNonZero`, as pytorch-metric-learning does; `Hard` tends to collapse early
/// in training: a loss that stays at the margin says that all embeddings have become the same.
///
/// With references and [`NegativeDistance::Nearest`], the distances of positives and negatives are those among the
/// references, a matrix of `[references, references]`. (pytorch-metric-learning 2.8 measures them between other rows
/// there.) In a batch with `All`, a triplet that is swapped counts for the row of its positive, which has become the anchor.
///
/// Memory is that of a few `[batch, batch]` matrices, also with `All`: its `batch³` triplets are never held, and leave
/// nothing in the graph but one matrix of slopes. On GPUs `All` takes `batch` passes over such a matrix, and so,
/// some at a time, does `SemiHard`. Triplets of a
/// miner take memory for the list; on GPUs Burn adds up the gradient of the distances entry by entry: keep lists to some ten
/// thousand triplets there.
///
/// `SemiHard` takes FaceNet at its word: a positive pair all of whose negatives are nearer gives no triplet, where
/// TensorFlow Addons takes the farthest negative instead.
///
/// All gradients are finite, also where rows are equal. Burn's own `nn::loss::TripletMarginLoss` (0.22.1) has a NaN
/// gradient for an anchor that equals its positive or its negative, and so for every weight before it, because its root
/// has no floor under it. PyTorch's adds 1e-6 to every difference instead; this loss equals PyTorch's with `eps` 0.
///
/// # When to take it
///
/// For ranking, and for data of triplets. All triplets or semi-hard ones to begin with;
/// [`TripletMining::Hard`](super::TripletMining::Hard) from the start, or with a high learning rate, can pull
/// everything to one point ([`Collapse`](crate::diagnostics::Collapse) sees it). For one threshold take
/// [`MarginLoss`](super::MarginLoss).
///
/// # Source
///
/// Schroff, Kalenichenko, Philbin: [FaceNet](https://arxiv.org/abs/1503.03832), 2015, section 3.1, and 3.2 for
/// semi-hard negatives; Hermans, Beyer, Leibe: [In Defense of the Triplet Loss for Person
/// Re-Identification](https://arxiv.org/abs/1703.07737), 2017, section 2, for batch-all, batch-hard and the soft margin;
/// Balntas et al.: [Learning local feature descriptors with triplets and shallow convolutional neural
/// networks](https://bmva-archive.org.uk/bmvc/2016/papers/paper119/index.html), 2016, for the anchor swap.
///
/// # Example
///
/// ```
/// use burn::tensor::{Device, Int, Tensor};
/// use burn_losses::pairs::TripletLossConfig;
/// use burn_losses::reduction::EmbeddingReduction;
///
/// let device = Device::default();
/// let embeddings = Tensor::<2>::from_data([[0.0], [1.0], [2.0]], &device);
/// let labels = Tensor::<1, Int>::from_ints([3, 3, 8], &device);
///
/// // Two triplets: from the first row 1 - 2 + 0.5 < 0, from the second 1 - 1 + 0.5.
/// let mean = |reduction| {
///     let loss = TripletLossConfig::new().with_margin(0.5).with_reduction(reduction).init(&device);
///     loss.forward(embeddings.clone(), labels.clone()).into_scalar::<f32>()
/// };
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
    #[module(skip)]
    reduction: EmbeddingReduction,
}

impl PairLoss for TripletLoss {
    fn reduction(&self) -> EmbeddingReduction {
        self.reduction
    }

    fn anchor_losses(&self, pairs: &Pairs) -> AnchorLosses {
        pairs.expect_triplets();
        if pairs.are_triplets() {
            return self.listed(pairs);
        }
        let ([anchors, _], rule) = (pairs.dims(), self.rule());
        let (distances, masks) = match self.negative_distance {
            NegativeDistance::FromAnchor => (pairs.distances(self.distance), pairs.masks()),
            NegativeDistance::Nearest => pairs.united(self.distance),
        };
        let of_anchors = |sums: TripletSums| {
            let [losses, triplets, active] =
                [sums.losses, sums.triplets, sums.active].map(|sums| sums.narrow(0, 0, anchors));
            TripletSums { losses, triplets, active }
        };
        let sums = match self.mining {
            TripletMining::All => all_triplets(distances, masks.positive, masks.negative, rule),
            TripletMining::Hard => of_anchors(hard_triplets(distances, &masks, rule)),
            TripletMining::SemiHard => of_anchors(semi_hard_triplets(distances, &masks, rule)),
        };
        AnchorLosses::new(sums.losses, sums.triplets, sums.active)
    }
}

impl TripletLoss {
    /// The losses of triplets that a miner chose or that are given row by row.
    fn listed(&self, pairs: &Pairs) -> AnchorLosses {
        let mining = self.mining;
        assert!(
            mining == TripletMining::All,
            "TripletLoss: mining must be All for triplets that are chosen, got {mining:?}"
        );
        let Listed { distances, masks, anchor } = pairs.listed(self.distance);
        let (near, far) = (distances.clone().narrow(1, 0, 1), distances.narrow(1, 1, 1));
        let far = match self.negative_distance {
            NegativeDistance::FromAnchor => far,
            NegativeDistance::Nearest => shorter(far, pairs.between_listed(self.distance)),
        };
        // Of rows side by side a miner may have chosen one pair and not the other.
        let valid = masks.positive.narrow(1, 0, 1).bool_and(masks.negative.narrow(1, 1, 1));
        let losses = losses(self.rule(), flat(near), flat(far), flat_mask(valid.clone()));

        AnchorLosses::listed(losses.unsqueeze_dim(1), valid, anchor)
    }

    fn rule(&self) -> TripletRule {
        TripletRule { margin: self.margin, shape: self.shape, negative_distance: self.negative_distance }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use burn::tensor::{Int, Tensor};

    /// On a line: 0 and 1 and 4 of one identity, 2 and 9 of another.
    fn per_anchor(config: TripletLossConfig) -> Vec<f32> {
        let device = Device::flex();
        let embeddings = Tensor::<2>::from_data([[0.0_f32], [1.0], [4.0], [2.0], [9.0]], &device);
        let labels = Tensor::<1, Int>::from_ints([5, 5, 5, 6, 6], &device);
        config.init(&device).forward_no_reduction(embeddings, labels).try_into_vec_as::<f32>().unwrap()
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
        let reduced = |reduction| {
            let loss = TripletLossConfig::new().with_margin(0.5).with_reduction(reduction).init(&device);
            loss.forward(embeddings.clone(), labels.clone()).into_scalar::<f32>()
        };

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
            let pairs = Pairs::given_triplets(row(0.0), row(2.0), row(2.5));
            config.init(&device).forward_pairs(&pairs).into_scalar::<f32>()
        };
        // 2 - 2.5 + 0.5 and 2 - 0.5 + 0.5.
        assert_eq!(value(config.clone()), 0.0);
        assert_eq!(value(config.with_negative_distance(NegativeDistance::Nearest)), 2.0);
    }

    #[test]
    #[should_panic(expected = "TripletLoss: margin must be finite and >= 0, got inf")]
    fn an_infinite_margin_is_rejected() {
        TripletLossConfig::new().with_margin(f64::INFINITY).init(&Device::flex());
    }

    #[test]
    #[should_panic(expected = "TripletLoss: margin must be finite and >= 0, got -1")]
    fn a_negative_margin_is_rejected() {
        TripletLossConfig::new().with_margin(-1.0).init(&Device::flex());
    }

    /// A mask of rows side by side may choose a positive without its negative.
    #[test]
    fn a_triplet_that_is_half_chosen_is_none() {
        let device = Device::flex();
        let row = |number: f32| Tensor::<2>::from_data([[number], [number]], &device);
        let mask = |rows: [[bool; 2]; 2]| Tensor::<2, burn::tensor::Bool>::from_data(rows, &device);
        let masks = crate::mining::PairMasks {
            positive: mask([[true, false], [true, false]]),
            negative: mask([[false, false], [false, true]]),
        };
        let pairs = Pairs::given_triplets(row(0.0), row(1.0), row(1.0)).with_masks(masks);
        let loss = TripletLossConfig::new().with_margin(0.5).init(&device);

        // By hand: 1 - 1 + 0.5 for the second, and a mean over it alone.
        assert_eq!(loss.forward_pairs_no_reduction(&pairs).try_into_vec_as::<f32>().unwrap(), [0.0, 0.5]);
        assert_eq!(loss.forward_pairs(&pairs).into_scalar::<f32>(), 0.5);
    }
}
