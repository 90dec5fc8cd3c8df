use burn::config::Config;
use burn::module::Module;
use burn::tensor::Tensor;

use super::choice::Candidates;
use super::{Pairs, Triplets};

/// Which triplets [`TripletMarginMiner`] takes, by `gap = distance to the negative - distance to the positive`.
#[derive(Config, Debug, Copy, PartialEq, Eq)]
pub enum TripletKind {
    /// `gap <= margin`: all that a triplet loss with this margin has a loss for.
    All,
    /// `gap <= 0`: the negative is not farther than the positive.
    Hard,
    /// `0 < gap <= margin`.
    SemiHard,
    /// `gap > margin`: those without a loss.
    Easy,
}

/// Settings of [`TripletMarginMiner`].
#[derive(Config, Debug)]
pub struct TripletMarginMinerConfig {
    /// How much farther a negative should be than a positive; `>= 0`.
    #[config(default = 0.2)]
    pub margin: f64,
    /// Which triplets.
    #[config(default = "TripletKind::All")]
    pub kind: TripletKind,
}

impl TripletMarginMinerConfig {
    /// Builds the miner.
    ///
    /// # Panics
    ///
    /// If `margin` is negative.
    pub fn init(&self) -> TripletMarginMiner {
        let Self { margin, kind } = *self;
        assert!(margin >= 0.0, "TripletMarginMiner: margin must be >= 0, got {margin}");
        TripletMarginMiner { margin, kind }
    }
}

/// Every triplet that violates a margin, or of another [`TripletKind`].
///
/// It marks all `anchors·references²` combinations, see [`mining`](super) for what that takes.
///
/// # Source
///
/// pytorch-metric-learning, `TripletMarginMiner`.
#[derive(Module, Debug)]
pub struct TripletMarginMiner {
    margin: f64,
    #[module(skip)]
    kind: TripletKind,
}

impl TripletMarginMiner {
    /// The triplets of the kind.
    ///
    /// # Shapes
    ///
    /// - distances: `[anchors, references]`, smaller is closer
    /// - pairs: masks of `[anchors, references]`
    /// - output: `anchors·references²` entries
    ///
    /// # Panics
    ///
    /// If the shapes differ.
    pub fn mine(&self, distances: Tensor<2>, pairs: &Pairs) -> Triplets {
        let Some(candidates) = Candidates::new(distances, pairs) else {
            return Triplets::none(&pairs.positive.device());
        };
        let Candidates { distances, positive, negative, home } = candidates;
        let [anchors, references] = positive.dims();
        let shape = [anchors, references, references];
        let to_positive = distances.clone().unsqueeze_dim::<3>(2).expand(shape);
        let gap = distances.unsqueeze_dim::<3>(1).expand(shape) - to_positive;
        let taken = match self.kind {
            TripletKind::All => gap.lower_equal_scalar(self.margin),
            TripletKind::Hard => gap.lower_equal_scalar(0.0),
            TripletKind::SemiHard => gap.clone().greater_scalar(0.0).bool_and(gap.lower_equal_scalar(self.margin)),
            TripletKind::Easy => gap.greater_scalar(self.margin),
        };
        Triplets::among_all(taken.bool_and(Pairs { positive, negative }.cube())).on_device(&home)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[should_panic(expected = "TripletMarginMiner: margin must be >= 0, got -0.1")]
    fn a_negative_margin_is_rejected() {
        TripletMarginMinerConfig::new().with_margin(-0.1).init();
    }
}
