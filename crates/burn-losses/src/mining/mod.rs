//! Which pairs and triplets count.
//!
//! Labels are identities: only whether two are equal matters, and a row with a negative label is in no pair.
//!
//! A [`Miner`] chooses among [`Pairs`](crate::pairs::Pairs), by the distances of their rows. What it returns goes into any
//! [loss of pairs](crate::pairs):
//!
//! ```text
//! let pairs = miner.mine(&Pairs::in_batch(embeddings, labels));
//! loss.forward_pairs(&pairs)
//! ```
//!
//! No gradient goes through a choice, and a distance that is NaN is in none. What is chosen has a shape that depends on the
//! shapes of the input alone, so nothing is read back from the device and nothing is sorted. Where distances are equal the
//! choice among them is the backend's.
//!
//! | miner | chooses | as |
//! | --- | --- | --- |
//! | [`PairMasks::triplets`] | every triplet | [`Triplets`], `anchors·references²` |
//! | [`BatchHardMiner`] | the farthest positive and the closest negative of an anchor | [`Triplets`], `anchors` |
//! | [`BatchEasyHardMiner`] | an easy, semi-hard, hard or every positive; likewise a negative | [`PairMasks`] |
//! | [`SemiHardMiner`] | for every positive pair, the closest negative beyond it | [`Triplets`], `anchors·references` |
//! | [`MultiSimilarityMiner`] | pairs that are harder than the hardest of the other kind, by a margin | [`PairMasks`] |
//! | [`DistanceWeightedMiner`] | for every positive pair a drawn negative, all distances alike | [`Triplets`], `anchors·references` |
//! | [`PairMarginMiner`] | pairs on the wrong side of a fixed distance | [`PairMasks`] |
//! | [`TripletMarginMiner`] | every triplet within, or beyond, a margin | [`Triplets`], `anchors·references²` |
//! | [`AngularMiner`] | every triplet whose angle at the negative is large | [`Triplets`], `anchors·references²` |
//!
//! `anchors·references²` entries are 13 to 25 bytes each: 0.4 GB for a batch of 256 with itself. For larger batches mine
//! a block of anchors against all references, or choose a miner with fewer entries.

mod angular;
mod batch_easy_hard;
mod batch_hard;
mod choice;
mod chosen;
mod distance_weighted;
mod miner;
mod multi_similarity;
mod pair_margin;
mod semi_hard;
mod triplet_margin;

pub(crate) use choice::beyond_all;

use crate::module::{default_is_new, inherent_mine};

pub use angular::{AngularMiner, AngularMinerConfig};
pub use batch_easy_hard::{BatchEasyHardMiner, BatchEasyHardMinerConfig, Strategy};
pub use batch_hard::{BatchHardMiner, BatchHardMinerConfig};
pub use chosen::{PairMasks, Triplets};
pub use distance_weighted::{DistanceWeightedMiner, DistanceWeightedMinerConfig};
pub use miner::Miner;
pub use multi_similarity::{MultiSimilarityMiner, MultiSimilarityMinerConfig};
pub use pair_margin::{PairMarginMiner, PairMarginMinerConfig};
pub use semi_hard::{SemiHardMiner, SemiHardMinerConfig};
pub use triplet_margin::{TripletKind, TripletMarginMiner, TripletMarginMinerConfig};

default_is_new!(
    AngularMinerConfig,
    BatchEasyHardMinerConfig,
    BatchHardMinerConfig,
    MultiSimilarityMinerConfig,
    PairMarginMinerConfig,
    SemiHardMinerConfig,
    TripletMarginMinerConfig,
);
inherent_mine!(
    AngularMiner,
    BatchEasyHardMiner,
    BatchHardMiner,
    DistanceWeightedMiner,
    MultiSimilarityMiner,
    PairMarginMiner,
    SemiHardMiner,
    TripletMarginMiner,
);
