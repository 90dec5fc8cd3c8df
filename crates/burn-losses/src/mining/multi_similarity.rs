use burn::config::Config;
use burn::module::Module;
use burn::tensor::Device;

use super::choice::{Candidates, Chosen};
use super::{Miner, PairMasks};
use crate::distance::Distance;
use crate::pairs::Pairs;

/// Settings of [`MultiSimilarityMiner`].
#[derive(Config, Debug)]
pub struct MultiSimilarityMinerConfig {
    /// By how much a pair may miss the hardest of the other kind and still be taken; any number, `>= 0` as a rule.
    /// Default: `0.1`.
    #[config(default = 0.1)]
    pub epsilon: f64,
    /// How far apart two embeddings are.
    /// Default: `Distance::Cosine`.
    #[config(default = "Distance::Cosine")]
    pub distance: Distance,
}

impl MultiSimilarityMinerConfig {
    /// Builds the miner for embeddings on `device`.
    ///
    /// # Panics
    ///
    /// If `epsilon` is not finite.
    #[track_caller]
    pub fn init(&self, _device: &Device) -> MultiSimilarityMiner {
        self.distance.validate();
        let epsilon = self.epsilon;
        assert!(epsilon.is_finite(), "MultiSimilarityMiner: epsilon must be finite, got {epsilon}");
        MultiSimilarityMiner { distance: self.distance, epsilon }
    }
}

/// The pairs that are harder than the hardest pair of the other kind, by a margin.
///
/// ```text
/// positives: distance + epsilon > smallest distance to a negative of the anchor
/// negatives: distance - epsilon < largest distance to a positive of the anchor
/// ```
///
/// Made for the multi-similarity loss, with [`Distance::Cosine`](crate::distance::Distance::Cosine), where it is the
/// paper's rule on cosines. An anchor without a positive or without a negative is in no pair.
///
/// # When to take it
///
/// Before a [`MultiSimilarityLoss`](crate::pairs::MultiSimilarityLoss), or another loss of cosines, to leave out what
/// is easy. One wrong label moves what counts as hard for its anchors: where labels are wrong take
/// [`PairMarginMiner`](super::PairMarginMiner), whose bounds do not depend on the batch.
///
/// # Source
///
/// Wang et al.: [Multi-Similarity Loss](https://arxiv.org/abs/1904.06627), 2019, section 4.1, equations 6 and 7.
///
/// # Example
///
/// ```
/// use burn::tensor::{Device, Int, Tensor};
/// use burn_losses::mining::MultiSimilarityMinerConfig;
/// use burn_losses::pairs::{MultiSimilarityLossConfig, Pairs};
///
/// let device = Device::default();
/// let miner = MultiSimilarityMinerConfig::new().init(&device);
/// let loss = MultiSimilarityLossConfig::new().init(&device);
/// let embeddings = Tensor::<2>::from_data([[1.0, 0.0], [1.0, 0.0], [-1.0, 0.0]], &device);
/// let labels = Tensor::<1, Int>::from_ints([5, 5, 6], &device);
/// let pairs = miner.mine(&Pairs::in_batch(embeddings, labels));
/// // Every positive is far nearer than every negative.
/// assert_eq!(loss.forward_pairs(&pairs).into_scalar::<f32>(), 0.0);
/// ```
#[derive(Module, Debug)]
pub struct MultiSimilarityMiner {
    #[module(skip)]
    distance: Distance,
    epsilon: f64,
}

impl Miner for MultiSimilarityMiner {
    /// The hard pairs.
    fn mine(&self, pairs: &Pairs) -> Pairs {
        let Some(candidates) = Candidates::new("MultiSimilarityMiner", self.distance, pairs) else {
            return pairs.clone();
        };
        let Candidates { distances, positive, negative, home } = candidates;
        let shape = positive.dims();
        let hardest_negative = Chosen::closest(distances.clone(), negative.clone());
        let hardest_positive = Chosen::farthest(distances.clone(), positive.clone());
        let close = distances.clone().add_scalar(self.epsilon).greater(hardest_negative.distance.expand(shape));
        let far = distances.sub_scalar(self.epsilon).lower(hardest_positive.distance.expand(shape));

        pairs.clone().with_masks(PairMasks {
            positive: positive.bool_and(close).bool_and(hardest_negative.found.expand(shape)).to_device(&home),
            negative: negative.bool_and(far).bool_and(hardest_positive.found.expand(shape)).to_device(&home),
        })
    }
}
