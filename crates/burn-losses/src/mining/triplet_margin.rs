use burn::config::Config;
use burn::module::Module;
use burn::tensor::Device;

use super::choice::Candidates;
use super::{Miner, PairMasks, Triplets};
use crate::distance::Distance;
use crate::pairs::Pairs;

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
    /// Default: `0.2`.
    #[config(default = 0.2)]
    pub margin: f64,
    /// Which triplets.
    /// Default: `TripletKind::All`.
    #[config(default = "TripletKind::All")]
    pub kind: TripletKind,
    /// How far apart two embeddings are.
    /// Default: `Distance::Euclidean`.
    #[config(default = "Distance::Euclidean")]
    pub distance: Distance,
}

impl TripletMarginMinerConfig {
    /// Builds the miner for embeddings on `device`.
    ///
    /// # Panics
    ///
    /// If `margin` is negative.
    #[track_caller]
    pub fn init(&self, _device: &Device) -> TripletMarginMiner {
        self.distance.validate();
        let Self { margin, kind, distance } = *self;
        assert!(margin >= 0.0, "TripletMarginMiner: margin must be >= 0, got {margin}");
        TripletMarginMiner { distance, margin, kind }
    }
}

/// Every triplet that violates a margin, or of another [`TripletKind`].
///
/// It marks all `anchors·references²` combinations, see [`mining`](super) for what that takes.
///
/// # When to take it
///
/// Where the triplets of a loss should be chosen by the margin. It lists all of them: for batches of more than a few
/// hundred rows take [`SemiHardMiner`](super::SemiHardMiner).
///
/// # Source
///
/// pytorch-metric-learning, `TripletMarginMiner`.
///
/// # Example
///
/// ```
/// use burn::tensor::{Device, Int, Tensor};
/// use burn_losses::mining::TripletMarginMinerConfig;
/// use burn_losses::pairs::{Pairs, TripletLossConfig};
///
/// let device = Device::default();
/// let embeddings = Tensor::<2>::from_data([[0.0], [1.0], [2.25]], &device);
/// let labels = Tensor::<1, Int>::from_ints([0, 0, 1], &device);
/// let miner = TripletMarginMinerConfig::new().with_margin(0.5).init(&device);
/// let chosen = miner.mine(&Pairs::in_batch(embeddings, labels));
/// // From 0 the positive is 1 and the negative 2.25 away: kept apart. From 1 they are 1 and 1.25 away: a loss of 0.25.
/// let loss = TripletLossConfig::new().with_margin(0.5).init(&device).forward_pairs(&chosen).into_scalar::<f32>();
/// assert!((loss - 0.25).abs() < 1e-5, "{loss}");
/// ```
#[derive(Module, Debug)]
pub struct TripletMarginMiner {
    #[module(skip)]
    distance: Distance,
    margin: f64,
    #[module(skip)]
    kind: TripletKind,
}

impl Miner for TripletMarginMiner {
    /// The triplets of the kind, `anchors·references²` entries.
    fn mine(&self, pairs: &Pairs) -> Pairs {
        let Some(candidates) = Candidates::new("TripletMarginMiner", self.distance, pairs) else {
            return pairs.clone();
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
        let triplets = taken.bool_and(PairMasks { positive, negative }.cube());
        pairs.clone().with_triplets(Triplets::among_all(triplets).on_device(&home))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[should_panic(expected = "TripletMarginMiner: margin must be >= 0, got -0.1")]
    fn a_negative_margin_is_rejected() {
        TripletMarginMinerConfig::new().with_margin(-0.1).init(&Device::flex());
    }
}
