use burn::config::Config;
use burn::module::Module;
use burn::tensor::Device;

use super::choice::Candidates;
use super::{Miner, PairMasks};
use crate::distance::Distance;
use crate::pairs::Pairs;

/// Settings of [`PairMarginMiner`].
#[derive(Config, Debug)]
pub struct PairMarginMinerConfig {
    /// Positives that are farther are taken; any distance.
    /// Default: `0.2`.
    #[config(default = 0.2)]
    pub positive_margin: f64,
    /// Negatives that are closer are taken; any distance.
    /// Default: `0.8`.
    #[config(default = 0.8)]
    pub negative_margin: f64,
    /// How far apart two embeddings are.
    /// Default: `Distance::Euclidean`.
    #[config(default = "Distance::Euclidean")]
    pub distance: Distance,
}

impl PairMarginMinerConfig {
    /// Builds the miner for embeddings on `device`.
    ///
    /// # Panics
    ///
    /// If a margin is not finite.
    #[track_caller]
    pub fn init(&self, _device: &Device) -> PairMarginMiner {
        self.distance.validate();
        let Self { positive_margin, negative_margin, distance } = *self;
        for (field, margin) in [("positive_margin", positive_margin), ("negative_margin", negative_margin)] {
            assert!(margin.is_finite(), "PairMarginMiner: {field} must be finite, got {margin}");
        }
        PairMarginMiner { distance, positive_margin, negative_margin }
    }
}

/// The pairs on the wrong side of a fixed distance: those a contrastive loss with these margins has a loss for.
///
/// ```text
/// positives: distance > positive_margin
/// negatives: distance < negative_margin
/// ```
///
/// # When to take it
///
/// Before a [`ContrastiveLoss`](crate::pairs::ContrastiveLoss) or another loss of pairs, where easy pairs are many. Its
/// bounds are fixed and must fit the distance: where they cannot be known, take
/// [`MultiSimilarityMiner`](super::MultiSimilarityMiner).
///
/// # Source
///
/// pytorch-metric-learning, `PairMarginMiner`.
///
/// # Example
///
/// ```
/// use burn::tensor::{Device, Int, Tensor};
/// use burn_losses::mining::PairMarginMinerConfig;
/// use burn_losses::pairs::Pairs;
///
/// let device = Device::default();
/// let embeddings = Tensor::<2>::from_data([[0.0], [0.1], [0.5], [3.0]], &device);
/// let labels = Tensor::<1, Int>::from_ints([0, 0, 0, 1], &device);
/// let chosen = PairMarginMinerConfig::new().init(&device).mine(&Pairs::in_batch(embeddings, labels));
/// // Of three positive pairs, seen from both sides, one is closer than 0.2; all negative ones are far.
/// assert_eq!(chosen.masks().positive.int().sum().into_scalar::<i64>(), 4);
/// assert_eq!(chosen.masks().negative.int().sum().into_scalar::<i64>(), 0);
/// ```
#[derive(Module, Debug)]
pub struct PairMarginMiner {
    #[module(skip)]
    distance: Distance,
    positive_margin: f64,
    negative_margin: f64,
}

impl Miner for PairMarginMiner {
    /// The pairs that violate a margin.
    fn mine(&self, pairs: &Pairs) -> Pairs {
        let Some(candidates) = Candidates::new("PairMarginMiner", self.distance, pairs) else {
            return pairs.clone();
        };
        let Candidates { distances, positive, negative, home } = candidates;
        let far = distances.clone().greater_scalar(self.positive_margin);
        let close = distances.lower_scalar(self.negative_margin);

        pairs.clone().with_masks(PairMasks {
            positive: positive.bool_and(far).to_device(&home),
            negative: negative.bool_and(close).to_device(&home),
        })
    }
}
