//! Losses of pairs and triplets of embeddings: equal identities close, different ones apart.
//!
//! Labels are identities here: only whether two are equal matters, and a row with a negative label is in no pair.

mod circle;
mod compared;
mod info_nce;
mod multi_similarity;
mod n_pairs;
mod sup_con;
mod temperature;
mod views;

pub use circle::{CircleLoss, CircleLossConfig};
pub use info_nce::{InfoNce, InfoNceConfig};
pub use multi_similarity::{MultiSimilarity, MultiSimilarityConfig};
pub use n_pairs::{NPairs, NPairsConfig, PairScore};
pub use sup_con::{SupCon, SupConConfig};
pub use temperature::{Temperature, TemperatureMode};
