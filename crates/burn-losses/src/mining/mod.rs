//! Which pairs and triplets count.
//!
//! Labels are identities: only whether two are equal matters, and a row with a negative label is in no pair.
//!
//! A miner chooses among the [`Pairs`] of a batch by a matrix of distances, `[anchors, references]`, smaller is closer:
//! what [`Distance::matrix`](crate::distance::Distance::matrix) returns, or 1 minus a similarity. No gradient goes
//! through a choice, and a distance that is NaN is in none; but the gradient of a matrix with a NaN in it is NaN, also
//! for pairs that are in no loss, so clean the rows of a batch before, those without an identity too. (The `forward` of a
//! loss does.) What it returns has a shape that depends on the shapes of
//! its input alone, so nothing is read back from the device and nothing is sorted. Where distances are equal the choice
//! among them is the backend's.
//!
//! | miner | chooses | returns |
//! | --- | --- | --- |
//! | [`Pairs::triplets`] | every triplet | [`Triplets`], `anchors·references²` |
//! | [`BatchHardMiner`] | the farthest positive and the closest negative of an anchor | [`Triplets`], `anchors` |
//! | [`BatchEasyHardMiner`] | an easy, semi-hard, hard or every positive; likewise a negative | [`Pairs`] |
//! | [`SemiHardMiner`] | for every positive pair, the closest negative beyond it | [`Triplets`], `anchors·references` |
//! | [`MultiSimilarityMiner`] | pairs that are harder than the hardest of the other kind, by a margin | [`Pairs`] |
//! | [`DistanceWeightedMiner`] | for every positive pair a drawn negative, all distances alike | [`Triplets`], `anchors·references` |
//! | [`PairMarginMiner`] | pairs on the wrong side of a fixed distance | [`Pairs`] |
//! | [`TripletMarginMiner`] | every triplet within, or beyond, a margin | [`Triplets`], `anchors·references²` |
//! | [`AngularMiner`] | every triplet whose angle at the negative is large | [`Triplets`], `anchors·references²` |
//!
//! `anchors·references²` entries are 13 to 25 bytes each: 0.4 GB for a batch of 256 with itself. For larger batches mine
//! a block of anchors against all references, or choose a miner with fewer entries.

mod angular;
mod batch_easy_hard;
mod batch_hard;
mod choice;
mod distance_weighted;
mod multi_similarity;
mod pair_margin;
mod pairs;
mod semi_hard;
mod triplet_margin;

pub(crate) use choice::beyond_all;

pub use angular::{AngularMiner, AngularMinerConfig};
pub use batch_easy_hard::{BatchEasyHardMiner, BatchEasyHardMinerConfig, Strategy};
pub use batch_hard::BatchHardMiner;
pub use distance_weighted::{DistanceWeightedMiner, DistanceWeightedMinerConfig};
pub use multi_similarity::{MultiSimilarityMiner, MultiSimilarityMinerConfig};
pub use pair_margin::{PairMarginMiner, PairMarginMinerConfig};
pub use pairs::{Pairs, Triplets};
pub use semi_hard::{SemiHardMiner, SemiHardMinerConfig};
pub use triplet_margin::{TripletKind, TripletMarginMiner, TripletMarginMinerConfig};
