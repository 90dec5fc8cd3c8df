use burn::config::Config;
use burn::module::Module;
use burn::tensor::{Bool, Int, Tensor, assert_shape};
use burn_losses_kernels::math::{cast_to, hinge, widen};

use super::compared::Compared;
use super::loss::PairwiseLoss;
use super::masked::{check, flat, flat_mask, inside};
use crate::distance::Distance;
use crate::mining::Pairs;
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
    /// Positive pairs that are nearer have loss 0; `>= 0`. On the squared distance in the form `SquaredDistance`.
    #[config(default = 0.0)]
    pub positive_margin: f64,
    /// Negative pairs that are farther have loss 0; finite. On the squared distance in the form `SquaredDistance`.
    #[config(default = 1.0)]
    pub negative_margin: f64,
    /// Which of the published forms.
    #[config(default = "ContrastiveForm::Squared")]
    pub form: ContrastiveForm,
    /// How far apart two embeddings are.
    #[config(default = "Distance::Euclidean")]
    pub distance: Distance,
    /// How positive and negative pairs share one reduction.
    #[config(default = "PairBalance::Separate")]
    pub balance: PairBalance,
}

impl ContrastiveLossConfig {
    /// Builds the loss.
    ///
    /// # Panics
    ///
    /// If a field is out of its range.
    pub fn init(&self) -> ContrastiveLoss {
        self.distance.validate();
        let Self { positive_margin, negative_margin, form, distance, balance } = *self;
        let near = positive_margin >= 0.0 && positive_margin.is_finite();
        assert!(near, "ContrastiveLoss: positive_margin must be finite and >= 0, got {positive_margin}");
        assert!(negative_margin.is_finite(), "ContrastiveLoss: negative_margin must be finite, got {negative_margin}");

        ContrastiveLoss { positive_margin, negative_margin, form, distance, balance }
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
/// that comes as pairs ([`forward_pairs`](Self::forward_pairs)); [`forward`](Self::forward) takes all pairs of a batch,
/// each from both sides, and [`forward_distances`](Self::forward_distances) those that a miner has left.
///
/// Where `d` is 0 for two rows that are equal, its slope is taken as 0: such a negative pair has a loss and no gradient.
/// In the squared forms `d²` overflows for rows beyond `1e19` in `f32`, as `SquaredEuclidean` does.
///
/// # Source
///
/// Hadsell, Chopra, LeCun: [Dimensionality EmbeddingReduction by Learning an Invariant
/// Mapping](http://yann.lecun.com/exdb/publis/pdf/hadsell-chopra-lecun-06.pdf), 2006, section 2.1, equation 4.
///
/// ```
/// use burn::tensor::{Device, Int, Tensor};
/// use burn_losses::pairs::{ContrastiveLossConfig, PairwiseLoss};
/// use burn_losses::reduction::EmbeddingReduction;
///
/// let device = Device::default();
/// let loss = ContrastiveLossConfig::new().with_negative_margin(3.0).init();
/// let embeddings = Tensor::<2>::from_data([[0.0], [1.0], [2.0]], &device);
/// let labels = Tensor::<1, Int>::from_ints([7, 7, 4], &device);
///
/// // The positive pair is 1 apart: 1/2. The negative pairs are 2 and 1 apart: 1/2·1² and 1/2·2², 5/4 in the mean.
/// assert_eq!(loss.forward(embeddings, labels, EmbeddingReduction::Mean).into_scalar::<f32>(), 1.75);
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
}

/// The losses of pairs in a row, each 0 where the mask beside it is false.
struct PairLosses {
    positive: Tensor<1>,
    is_positive: Tensor<1, Bool>,
    negative: Tensor<1>,
    is_negative: Tensor<1, Bool>,
}

impl PairwiseLoss for ContrastiveLoss {
    fn compare(&self, rows: Compared, reduction: EmbeddingReduction) -> Tensor<1> {
        self.forward_distances(rows.distances(self.distance), &rows.pairs(), reduction)
    }
}

impl ContrastiveLoss {
    /// The loss of every pair in a batch; 0 where two rows are no pair.
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
        let rows = Compared::in_batch(embeddings, labels);
        let losses = self.forward_distances_no_reduction(rows.distances(self.distance), &rows.pairs());

        cast_to(losses, rows.dtype())
    }

    /// The reduced loss of chosen pairs, such as a miner's or those with a memory; 0 without a pair.
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
        let [anchors, references] = distances.dims();
        if anchors == 0 || references == 0 {
            return reduction.apply(flat(distances));
        }
        let (positive, negative) = (flat_mask(pairs.positive.clone()), flat_mask(pairs.negative.clone()));

        cast_to(self.reduce(self.losses(flat(widen(distances)), positive, negative), reduction), dtype)
    }

    /// The loss of every chosen pair; 0 for the others.
    ///
    /// # Shapes
    ///
    /// - distances: `[anchors, references]`
    /// - pairs: `[anchors, references]`
    /// - output: `[anchors, references]`
    ///
    /// # Panics
    ///
    /// As [`forward_distances`](Self::forward_distances).
    pub fn forward_distances_no_reduction(&self, distances: Tensor<2>, pairs: &Pairs) -> Tensor<2> {
        let dtype = distances.dtype();
        check(&distances, pairs);
        let [anchors, references] = distances.dims();
        if anchors == 0 || references == 0 {
            return distances;
        }
        let (positive, negative) = (flat_mask(pairs.positive.clone()), flat_mask(pairs.negative.clone()));
        let losses = self.losses(flat(widen(distances)), positive, negative);

        cast_to((losses.positive + losses.negative).reshape([anchors, references]), dtype)
    }

    /// The reduced loss of pairs that are given row by row.
    ///
    /// # Shapes
    ///
    /// - first: `[pairs, embedding_dim]`
    /// - second: `[pairs, embedding_dim]`
    /// - is_same: `[pairs]`, whether the two are of one identity; from labels: `first_labels.equal(second_labels)`
    /// - output: `[1]`
    ///
    /// # Panics
    ///
    /// If the shapes do not agree.
    pub fn forward_pairs(
        &self,
        first: Tensor<2>,
        second: Tensor<2>,
        is_same: Tensor<1, Bool>,
        reduction: EmbeddingReduction,
    ) -> Tensor<1> {
        let dtype = first.dtype();
        if first.dims()[0] == 0 {
            return reduction.apply(flat(first));
        }
        cast_to(self.reduce(self.explicit(first, second, is_same), reduction), dtype)
    }

    /// The loss of every given pair.
    ///
    /// # Shapes
    ///
    /// - first: `[pairs, embedding_dim]`
    /// - second: `[pairs, embedding_dim]`
    /// - is_same: `[pairs]`
    /// - output: `[pairs]`
    ///
    /// # Panics
    ///
    /// As [`forward_pairs`](Self::forward_pairs).
    pub fn forward_pairs_no_reduction(
        &self,
        first: Tensor<2>,
        second: Tensor<2>,
        is_same: Tensor<1, Bool>,
    ) -> Tensor<1> {
        let dtype = first.dtype();
        if first.dims()[0] == 0 {
            return flat(first);
        }
        let losses = self.explicit(first, second, is_same);

        cast_to(losses.positive + losses.negative, dtype)
    }

    fn explicit(&self, first: Tensor<2>, second: Tensor<2>, is_same: Tensor<1, Bool>) -> PairLosses {
        let [pairs, _] = first.dims();
        assert_shape!(is_same, [pairs]);
        let distances = self.distance.rowwise(widen(first), widen(second));

        self.losses(distances, is_same.clone(), is_same.bool_not())
    }

    fn losses(&self, distances: Tensor<1>, is_positive: Tensor<1, Bool>, is_negative: Tensor<1, Bool>) -> PairLosses {
        PairLosses {
            positive: inside(is_positive.clone(), distances.clone(), |distances| self.positive(distances)),
            negative: inside(is_negative.clone(), distances, |distances| self.negative(distances)),
            is_positive,
            is_negative,
        }
    }

    fn positive(&self, distances: Tensor<1>) -> Tensor<1> {
        let margin = self.positive_margin;
        match self.form {
            ContrastiveForm::Squared => hinge(distances.sub_scalar(margin)).square().mul_scalar(0.5),
            ContrastiveForm::SquaredDistance => hinge(distances.square().sub_scalar(margin)).mul_scalar(0.5),
            ContrastiveForm::Hinge => hinge(distances.sub_scalar(margin)),
        }
    }

    fn negative(&self, distances: Tensor<1>) -> Tensor<1> {
        let missing = |distances: Tensor<1>| hinge(distances.neg().add_scalar(self.negative_margin));
        match self.form {
            ContrastiveForm::Squared => missing(distances).square().mul_scalar(0.5),
            ContrastiveForm::SquaredDistance => missing(distances.square()).square().mul_scalar(0.5),
            ContrastiveForm::Hinge => missing(distances),
        }
    }

    fn reduce(&self, losses: PairLosses, reduction: EmbeddingReduction) -> Tensor<1> {
        let PairLosses { positive, is_positive, negative, is_negative } = losses;
        match self.balance {
            PairBalance::Separate => {
                reduction.apply_valid(positive, is_positive) + reduction.apply_valid(negative, is_negative)
            }
            PairBalance::Joint => reduction.apply_valid(positive + negative, is_positive.bool_or(is_negative)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    fn explicit(config: ContrastiveLossConfig) -> alloc::vec::Vec<f32> {
        let device = Device::flex();
        let first = Tensor::<2>::from_data([[0.0_f32], [0.0], [0.0], [0.0]], &device);
        let second = Tensor::<2>::from_data([[3.0_f32], [3.0], [0.5], [0.5]], &device);
        let is_same = Tensor::<1, Bool>::from_data([true, false, true, false], &device);
        config.init().forward_pairs_no_reduction(first, second, is_same).try_into_vec_as::<f32>().unwrap()
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
            config.init().forward(embeddings.clone(), labels.clone(), EmbeddingReduction::Mean).into_scalar::<f32>()
        };
        // The pairs, each from both sides: 1/2 positive, 1/2 and 2 negative.
        assert_eq!(loss(PairBalance::Separate), 0.5 + 1.25);
        assert_eq!(loss(PairBalance::Joint), 1.0);
    }

    #[test]
    #[should_panic(expected = "ContrastiveLoss: positive_margin must be finite and >= 0, got -1")]
    fn a_negative_positive_margin_is_rejected() {
        ContrastiveLossConfig::new().with_positive_margin(-1.0).init();
    }
}
