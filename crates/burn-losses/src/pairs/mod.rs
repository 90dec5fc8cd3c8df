//! Losses of pairs and triplets of embeddings: equal identities close, different ones apart.
//!
//! Labels are identities here: only whether two are equal matters, and a row with a negative label is in no pair.

mod batch_triplets;
mod circle;
mod compared;
mod contrastive;
mod info_nce;
mod lifted_structure;
mod loss;
mod margin;
mod masked;
mod multi_similarity;
mod n_pairs;
mod sup_con;
mod temperature;
mod triplet;
mod views;

pub use burn_losses_kernels::triplets::{NegativeDistance, TripletShape};

pub use batch_triplets::TripletMining;
pub use circle::{CircleLoss, CircleLossConfig};
pub use compared::Compared;
pub use contrastive::{ContrastiveForm, ContrastiveLoss, ContrastiveLossConfig, PairBalance};
pub use info_nce::{InfoNceLoss, InfoNceLossConfig};
pub use lifted_structure::{LiftedStructureLoss, LiftedStructureLossConfig};
pub use loss::PairwiseLoss;
pub use margin::{MarginLoss, MarginLossConfig};
pub use multi_similarity::{MultiSimilarityLoss, MultiSimilarityLossConfig};
pub use n_pairs::{NPairsLoss, NPairsLossConfig, PairScore};
pub use sup_con::{SupConLoss, SupConLossConfig};
pub use temperature::{Temperature, TemperatureMode};
pub use triplet::{TripletLoss, TripletLossConfig};
