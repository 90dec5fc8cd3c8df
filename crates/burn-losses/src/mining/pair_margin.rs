use burn::config::Config;
use burn::module::Module;
use burn::tensor::Tensor;

use super::Pairs;
use super::choice::Candidates;

/// Settings of [`PairMarginMiner`].
#[derive(Config, Debug)]
pub struct PairMarginMinerConfig {
    /// Positives that are farther are taken; any distance.
    #[config(default = 0.2)]
    pub positive_margin: f64,
    /// Negatives that are closer are taken; any distance.
    #[config(default = 0.8)]
    pub negative_margin: f64,
}

impl PairMarginMinerConfig {
    /// Builds the miner.
    ///
    /// # Panics
    ///
    /// If a margin is not finite.
    pub fn init(&self) -> PairMarginMiner {
        let Self { positive_margin, negative_margin } = *self;
        for (field, margin) in [("positive_margin", positive_margin), ("negative_margin", negative_margin)] {
            assert!(margin.is_finite(), "PairMarginMiner: {field} must be finite, got {margin}");
        }
        PairMarginMiner { positive_margin, negative_margin }
    }
}

/// The pairs on the wrong side of a fixed distance: those a contrastive loss with these margins has a loss for.
///
/// ```text
/// positives: distance > positive_margin
/// negatives: distance < negative_margin
/// ```
///
/// # Source
///
/// pytorch-metric-learning, `PairMarginMiner`.
#[derive(Module, Debug)]
pub struct PairMarginMiner {
    positive_margin: f64,
    negative_margin: f64,
}

impl PairMarginMiner {
    /// The pairs that violate a margin.
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
        let far = distances.clone().greater_scalar(self.positive_margin);
        let close = distances.lower_scalar(self.negative_margin);

        Pairs { positive: positive.bool_and(far).to_device(&home), negative: negative.bool_and(close).to_device(&home) }
    }
}
