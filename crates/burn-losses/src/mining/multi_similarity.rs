use burn::config::Config;
use burn::module::Module;
use burn::tensor::Tensor;

use super::Pairs;
use super::choice::{Candidates, Chosen};

/// Settings of [`MultiSimilarityMiner`].
#[derive(Config, Debug)]
pub struct MultiSimilarityMinerConfig {
    /// By how much a pair may miss the hardest of the other kind and still be taken; any number, `>= 0` as a rule.
    #[config(default = 0.1)]
    pub epsilon: f64,
}

impl MultiSimilarityMinerConfig {
    /// Builds the miner.
    ///
    /// # Panics
    ///
    /// If `epsilon` is not finite.
    pub fn init(&self) -> MultiSimilarityMiner {
        let epsilon = self.epsilon;
        assert!(epsilon.is_finite(), "MultiSimilarityMiner: epsilon must be finite, got {epsilon}");
        MultiSimilarityMiner { epsilon }
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
/// # Source
///
/// Wang et al.: [Multi-Similarity Loss](https://arxiv.org/abs/1904.06627), 2019, section 4.1, equations 6 and 7.
#[derive(Module, Debug)]
pub struct MultiSimilarityMiner {
    epsilon: f64,
}

impl MultiSimilarityMiner {
    /// The hard pairs.
    ///
    /// # Shapes
    ///
    /// - distances: `[anchors, references]`, smaller is closer
    /// - pairs: masks of `[anchors, references]`
    /// - output: likewise
    ///
    /// # Panics
    ///
    /// If the shapes differ.
    pub fn mine(&self, distances: Tensor<2>, pairs: &Pairs) -> Pairs {
        let Some(candidates) = Candidates::new(distances, pairs) else {
            return pairs.clone();
        };
        let Candidates { distances, positive, negative, home } = candidates;
        let shape = positive.dims();
        let hardest_negative = Chosen::closest(distances.clone(), negative.clone());
        let hardest_positive = Chosen::farthest(distances.clone(), positive.clone());
        let close = distances.clone().add_scalar(self.epsilon).greater(hardest_negative.distance.expand(shape));
        let far = distances.sub_scalar(self.epsilon).lower(hardest_positive.distance.expand(shape));

        Pairs {
            positive: positive.bool_and(close).bool_and(hardest_negative.found.expand(shape)).to_device(&home),
            negative: negative.bool_and(far).bool_and(hardest_positive.found.expand(shape)).to_device(&home),
        }
    }
}
