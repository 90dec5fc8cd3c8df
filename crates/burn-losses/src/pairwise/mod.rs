//! Losses of pairs and triplets of embeddings: equal identities close, different ones apart.
//!
//! Labels are identities here: only whether two are equal matters, and a row with a negative label is in no pair.

mod batch_triplets;
mod contrastive;
mod hinge;
mod lifted_structure;
mod margin;
mod masked;
mod triplet;
mod triplet_shape;

pub use batch_triplets::{NegativeDistance, TripletMining};
pub use contrastive::{ContrastiveForm, ContrastiveLoss, ContrastiveLossConfig, PairBalance};
pub use lifted_structure::{LiftedStructureLoss, LiftedStructureLossConfig};
pub use margin::{MarginLoss, MarginLossConfig};
pub use triplet::{TripletLoss, TripletLossConfig};
pub use triplet_shape::TripletShape;
