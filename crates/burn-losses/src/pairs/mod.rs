//! Losses of pairs and triplets of embeddings: equal identities close, different ones apart.
//!
//! All but three are called alike. [`forward`](crate::EmbeddingLoss::forward) takes the pairs that the labels of a batch make;
//! [`forward_pairs`](PairLoss::forward_pairs) takes [`Pairs`]: with references, with a memory, two views, given row by row,
//! of a matrix of distances, or as a [miner](crate::mining) has chosen them. A loss that has no use for such pairs panics.
//! [`MultipleNegativesRankingLoss`] takes a [`RankingBatch`], [`CoSentLoss`] graded pairs, [`MultiLabelSupConLoss`] sets of labels.
//!
//! | loss | takes | for | memory beside the gradients |
//! | --- | --- | --- | --- |
//! | [`ContrastiveLoss`] | pairs by their distance | data that comes as pairs | `batch·references` distances |
//! | [`TripletLoss`] | triplets: given, mined, all, hard, semi-hard | ranking; data that comes as triplets | `batch·references` distances |
//! | [`LiftedStructureLoss`] | all positives and all negatives of an anchor | hard triplets without jumps | `batch·references` distances |
//! | [`MarginLoss`] | pairs against a trained distance | one threshold for all pairs | `batch·references` distances |
//! | [`InfoNceLoss`] | one positive among negatives, by cosine | two views, image and text, query and document | streamed |
//! | [`DecoupledContrastiveLoss`] | the same without the positive in the denominator | two views in small batches | streamed, but for weights by labels |
//! | [`MultipleNegativesRankingLoss`] | a [`RankingBatch`]: queries, documents, hard negatives | search | streamed |
//! | [`CoSentLoss`] | graded pairs, by their order | semantic similarity | `batch` |
//! | [`SigLipLoss`] | every pair by itself, by cosine | image and text in small batches, several positives | streamed |
//! | [`SupConLoss`] | all positives at once among all others | labels, several samples of each class | streamed |
//! | [`MultiLabelSupConLoss`] | the same of sets of labels, by what they have in common | several labels per sample | a few `batch·batch` |
//! | [`NPairsLoss`] | one positive among those of other classes, by product | labels, two samples of each class | streamed |
//! | [`MultiSimilarityLoss`] | weighted positives and negatives | retrieval by labelled batches | streamed |
//! | [`CircleLoss`] | positives and negatives weighted by their own distance from where they should be | the same | streamed |
//!
//! What is streamed keeps up to 32 MiB of scores, and beyond that no number per pair.
//!
//! Labels are identities here: only whether two are equal matters, and a row with a negative label is in no pair.

mod argument;
mod asked;
mod batch_triplets;
mod circle;
mod co_sent;
mod contrastive;
mod decoupled;
mod guide;
mod info_nce;
mod lifted_structure;
mod loss;
mod margin;
mod masked;
mod multi_label_sup_con;
mod multi_similarity;
mod n_pairs;
mod one_positive;
mod ranking;
mod sig_lip;
mod streamed;
mod sup_con;
mod temperature;
mod triplet;

use burn::tensor::{Int, Tensor};

use crate::module::{default_is_new, inherent_forward};

pub use burn_losses_kernels::triplets::{NegativeDistance, TripletShape};

pub use argument::Pairs;
pub use batch_triplets::TripletMining;
pub use circle::{CircleLoss, CircleLossConfig};
pub use co_sent::{CoSentLoss, CoSentLossConfig, RowSimilarity};
pub use contrastive::{ContrastiveForm, ContrastiveLoss, ContrastiveLossConfig, PairBalance};
pub use decoupled::{DecoupledContrastiveLoss, DecoupledContrastiveLossConfig};
pub use guide::GuideMargin;
pub use info_nce::{InfoNceLoss, InfoNceLossConfig};
pub use lifted_structure::{LiftedStructureLoss, LiftedStructureLossConfig};
pub use loss::{AnchorLosses, PairLoss};
pub use margin::{MarginLoss, MarginLossConfig};
pub use multi_label_sup_con::{MultiLabelSupConLoss, MultiLabelSupConLossConfig};
pub use multi_similarity::{MultiSimilarityLoss, MultiSimilarityLossConfig};
pub use n_pairs::{NPairsLoss, NPairsLossConfig, PairScore};
pub use ranking::{
    HardnessScope, MultipleNegativesRankingLoss, MultipleNegativesRankingLossConfig, PartitionMode, RankingBatch,
    RankingDirection,
};
pub use sig_lip::{SigLipLoss, SigLipLossConfig};
pub use sup_con::{SupConLoss, SupConLossConfig};
pub use temperature::{Temperature, TemperatureMode};
pub use triplet::{TripletLoss, TripletLossConfig};

default_is_new!(
    CircleLossConfig,
    CoSentLossConfig,
    ContrastiveLossConfig,
    DecoupledContrastiveLossConfig,
    InfoNceLossConfig,
    LiftedStructureLossConfig,
    MarginLossConfig,
    MultiLabelSupConLossConfig,
    MultiSimilarityLossConfig,
    MultipleNegativesRankingLossConfig,
    NPairsLossConfig,
    SigLipLossConfig,
    SupConLossConfig,
    TripletLossConfig,
);

/// What a loss of pairs does, without a trait that has to be imported.
macro_rules! inherent_forward_pairs {
    ($($loss:ty),+ $(,)?) => {
        inherent_forward!($($loss),+);
        $(impl $loss {
            /// The reduced loss of these pairs, as [`PairLoss::forward_pairs`] says.
            #[track_caller]
            pub fn forward_pairs(&self, pairs: &Pairs) -> Tensor<1> {
                PairLoss::forward_pairs(self, pairs)
            }

            /// The loss of every anchor, as [`PairLoss::forward_pairs_no_reduction`] says.
            #[track_caller]
            pub fn forward_pairs_no_reduction(&self, pairs: &Pairs) -> Tensor<1> {
                PairLoss::forward_pairs_no_reduction(self, pairs)
            }
        })+
    };
}

inherent_forward_pairs!(
    CircleLoss,
    ContrastiveLoss,
    DecoupledContrastiveLoss,
    InfoNceLoss,
    LiftedStructureLoss,
    MarginLoss,
    MultiSimilarityLoss,
    NPairsLoss,
    SigLipLoss,
    SupConLoss,
    TripletLoss,
);
