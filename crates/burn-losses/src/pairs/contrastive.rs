use burn::config::Config;
use burn::module::Module;
use burn::tensor::Device;
use burn_losses_kernels::pair_sums::{PairCost, PairRule, pair_sums};

use super::argument::Pairs;
use super::asked::ListedKinds;
use super::loss::{AnchorLosses, PairLoss};
use crate::distance::Distance;
use crate::reduction::EmbeddingReduction;

/// The published forms of the contrastive loss.
#[derive(Config, Debug, Copy, PartialEq, Eq)]
pub enum ContrastiveForm {
    /// Half the square of what exceeds the margin: `1/2·max(d - positive_margin, 0)²` and
    /// `1/2·max(negative_margin - d, 0)²`. With `positive_margin` 0 it is that of Hadsell, Chopra, LeCun 2006.
    Squared,
    /// The margins are on the squared distance: `1/2·max(d² - positive_margin, 0)` and
    /// `1/2·max(negative_margin - d², 0)²`. The gradient of a negative pair vanishes as its distance does, so rows that
    /// are equal are never pushed apart.
    SquaredDistance,
    /// What exceeds the margin, not squared: `max(d - positive_margin, 0)` and `max(negative_margin - d, 0)`, as in
    /// pytorch-metric-learning.
    Hinge,
}

/// How positive and negative pairs share one reduction.
#[derive(Config, Debug, Copy, PartialEq, Eq)]
pub enum PairBalance {
    /// Positives and negatives are reduced by themselves and the two numbers added: in a batch, where negatives are
    /// many, each side weighs the same. pytorch-metric-learning's default is this with
    /// [`MeanNonZero`](EmbeddingReduction::MeanNonZero).
    Separate,
    /// All pairs are reduced together, as in the paper.
    Joint,
}

/// Settings of [`ContrastiveLoss`].
#[derive(Config, Debug)]
pub struct ContrastiveLossConfig {
    /// Positive pairs that are nearer have loss 0; `>= 0`. On the squared distance in the form `SquaredDistance`. A margin
    /// of a cosine is one minus itself here, on `Distance::Cosine`: 1 for positives is 0, and 0 for negatives is 1.
    /// Default: `0.0`.
    #[config(default = 0.0)]
    pub positive_margin: f64,
    /// Negative pairs that are farther have loss 0; finite. On the squared distance in the form `SquaredDistance`.
    /// Default: `1.0`.
    #[config(default = 1.0)]
    pub negative_margin: f64,
    /// Which of the published forms.
    /// Default: `ContrastiveForm::Squared`.
    #[config(default = "ContrastiveForm::Squared")]
    pub form: ContrastiveForm,
    /// How far apart two embeddings are.
    /// Default: `Distance::Euclidean`.
    #[config(default = "Distance::Euclidean")]
    pub distance: Distance,
    /// How positive and negative pairs share one reduction.
    /// Default: `PairBalance::Separate`.
    #[config(default = "PairBalance::Separate")]
    pub balance: PairBalance,
    /// How the losses become one number.
    /// Default: `EmbeddingReduction::Mean`.
    #[config(default = "EmbeddingReduction::Mean")]
    pub reduction: EmbeddingReduction,
}

impl ContrastiveLossConfig {
    /// Builds the loss for embeddings on `device`.
    ///
    /// # Panics
    ///
    /// If a field is out of its range.
    #[track_caller]
    pub fn init(&self, _device: &Device) -> ContrastiveLoss {
        self.distance.validate();
        let Self { positive_margin, negative_margin, form, distance, balance, reduction } = *self;
        let near = positive_margin >= 0.0 && positive_margin.is_finite();
        assert!(near, "ContrastiveLoss: positive_margin must be finite and >= 0, got {positive_margin}");
        assert!(negative_margin.is_finite(), "ContrastiveLoss: negative_margin must be finite, got {negative_margin}");

        ContrastiveLoss { positive_margin, negative_margin, form, distance, balance, reduction }
    }
}

/// Pulls two embeddings of one identity together and pushes two of different identities apart, up to a margin.
///
/// ```text
/// d                  = distance(first, second)
/// loss of a positive = 1/2·max(d - positive_margin, 0)²
/// loss of a negative = 1/2·max(negative_margin - d, 0)²
/// ```
///
/// This is [`ContrastiveForm::Squared`]; the other two are described there. It needs no more than pairs, so it fits data
/// that comes as pairs, [`Pairs::given`]. In a batch each pair counts from both sides. Where embeddings shall only be
/// ordered by distance, without a threshold in mind, a [`TripletLoss`](super::TripletLoss) asks for less.
///
/// Where `d` is 0 for two rows that are equal, its slope is taken as 0: such a negative pair has a loss and no gradient.
/// In the squared forms `d²` overflows for rows beyond `1e19` in `f32`, as `SquaredEuclidean` does.
///
/// # When to take it
///
/// For data of pairs, or a start with few settings. The margins must fit the distance: divide embeddings by their length, or choose
/// `negative_margin` by looking at the distances. With labels, [`MultiSimilarityLoss`](super::MultiSimilarityLoss) learns more from a batch.
///
/// # Source
///
/// Hadsell, Chopra, LeCun: [Dimensionality Reduction by Learning an Invariant
/// Mapping](http://yann.lecun.com/exdb/publis/pdf/hadsell-chopra-lecun-06.pdf), 2006, section 2.1, equation 4.
///
/// # Example
///
/// ```
/// use burn::tensor::{Device, Int, Tensor};
/// use burn_losses::pairs::ContrastiveLossConfig;
///
/// let device = Device::default();
/// let loss = ContrastiveLossConfig::new().with_negative_margin(3.0).init(&device);
/// let embeddings = Tensor::<2>::from_data([[0.0], [1.0], [2.0]], &device);
/// let labels = Tensor::<1, Int>::from_ints([7, 7, 4], &device);
///
/// // The positive pair is 1 apart: 1/2. The negative pairs are 2 and 1 apart: 1/2·1² and 1/2·2², 5/4 in the mean.
/// assert_eq!(loss.forward(embeddings, labels).into_scalar::<f32>(), 1.75);
/// ```
#[derive(Module, Debug)]
pub struct ContrastiveLoss {
    positive_margin: f64,
    negative_margin: f64,
    #[module(skip)]
    form: ContrastiveForm,
    #[module(skip)]
    distance: Distance,
    #[module(skip)]
    balance: PairBalance,
    #[module(skip)]
    reduction: EmbeddingReduction,
}

impl PairLoss for ContrastiveLoss {
    fn reduction(&self) -> EmbeddingReduction {
        self.reduction
    }

    fn anchor_losses(&self, pairs: &Pairs) -> AnchorLosses {
        let ListedKinds { distances, kinds, anchor } = pairs.listed_kinds(self.distance);
        let sums = pair_sums(distances, kinds, self.rule());
        let [positive, negative] = [sums.positive, sums.negative].map(|sums| [sums.losses, sums.pairs, sums.active]);
        match self.balance {
            PairBalance::Separate => {
                AnchorLosses::listed_sums(positive, anchor.clone()).and(AnchorLosses::listed_sums(negative, anchor))
            }
            PairBalance::Joint => {
                let [losses, pairs, active] = positive;
                let [of_negatives, negatives, active_negatives] = negative;
                let both = [losses + of_negatives, pairs + negatives, active + active_negatives];
                AnchorLosses::listed_sums(both, anchor)
            }
        }
    }
}

impl ContrastiveLoss {
    fn rule(&self) -> PairRule {
        let cost = |margin, factor, squared| PairCost { margin, factor, squared };
        let (near, far) = (self.positive_margin, self.negative_margin);
        let (of_squares, positive, negative) = match self.form {
            ContrastiveForm::Squared => (false, cost(near, 0.5, true), cost(far, 0.5, true)),
            ContrastiveForm::SquaredDistance => (true, cost(near, 0.5, false), cost(far, 0.5, true)),
            ContrastiveForm::Hinge => (false, cost(near, 1.0, false), cost(far, 1.0, false)),
        };
        PairRule { of_squares, positive, negative }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::{Bool, Int, Tensor};

    fn explicit(config: ContrastiveLossConfig) -> alloc::vec::Vec<f32> {
        let device = Device::flex();
        let first = Tensor::<2>::from_data([[0.0_f32], [0.0], [0.0], [0.0]], &device);
        let second = Tensor::<2>::from_data([[3.0_f32], [3.0], [0.5], [0.5]], &device);
        let is_same = Tensor::<1, Bool>::from_data([true, false, true, false], &device);
        let pairs = Pairs::given(first, second, is_same);
        config.init(&device).forward_pairs_no_reduction(&pairs).try_into_vec_as::<f32>().unwrap()
    }

    #[test]
    fn the_three_forms_by_hand() {
        let config = ContrastiveLossConfig::new().with_negative_margin(1.0);

        // Distances 3 and 1/2. Positives: 9/2 and (1/4)/2; negatives: 0 and (1 - 1/2)²/2.
        assert_eq!(explicit(config.clone()), [4.5, 0.0, 0.125, 0.125]);
        // Negatives: (1 - 1/4)²/2.
        let squared_distance = config.clone().with_form(ContrastiveForm::SquaredDistance);
        assert_eq!(explicit(squared_distance), [4.5, 0.0, 0.125, 0.281_25]);
        // Positives beyond 1/4: 2.75 and 0.25.
        let plain = config.with_form(ContrastiveForm::Hinge).with_positive_margin(0.25);
        assert_eq!(explicit(plain), [2.75, 0.0, 0.25, 0.5]);
    }

    #[test]
    fn positives_and_negatives_are_averaged_apart_or_together() {
        let device = Device::flex();
        let embeddings = Tensor::<2>::from_data([[0.0_f32], [1.0], [2.0]], &device);
        let labels = Tensor::<1, Int>::from_ints([0, 0, 1], &device);
        let loss = |balance| {
            let config = ContrastiveLossConfig::new().with_negative_margin(3.0).with_balance(balance);
            config.init(&device).forward(embeddings.clone(), labels.clone()).into_scalar::<f32>()
        };
        // The pairs, each from both sides: 1/2 positive, 1/2 and 2 negative.
        assert_eq!(loss(PairBalance::Separate), 0.5 + 1.25);
        assert_eq!(loss(PairBalance::Joint), 1.0);
    }

    #[test]
    #[should_panic(expected = "ContrastiveLoss: positive_margin must be finite and >= 0, got -1")]
    fn a_negative_positive_margin_is_rejected() {
        ContrastiveLossConfig::new().with_positive_margin(-1.0).init(&Device::flex());
    }
}
