//! Losses of logits and targets: what a classifier is trained with.
//!
//! Logits are unnormalised scores. Targets are classes (`Tensor<1, Int>`, made safe by a
//! [`LabelPolicy`](crate::labels::LabelPolicy): an ignored or bad one gives its row loss 0 and gradient 0), or one number per
//! class. Everything is computed from logarithms of probabilities, so that nothing overflows and no gradient is lost where a
//! probability rounds to 0 or 1.
//!
//! | loss | targets | source |
//! | --- | --- | --- |
//! | [`CrossEntropyLoss`] | one class, or probabilities | the softmax's own |
//! | [`BinaryCrossEntropyLoss`] | yes or no per class | the sigmoid's own |
//! | [`FocalLoss`], [`BinaryFocalLoss`] | likewise | Lin et al. 2017 |
//! | [`AsymmetricLoss`] | yes or no per class | Ridnik et al. 2021 |
//! | [`PolyLoss`] | one class | Leng et al. 2022 |
//! | [`GeneralizedCrossEntropy`] | one class | Zhang, Sabuncu 2018 |
//! | [`MultiClassHinge`] | one class | Crammer, Singer 2001 |
//! | [`JensenShannon`] | another distribution | Lin 1991 |
//! | [`KLDivLoss`] | another distribution | Burn's own |
//!
//! # Burn's own losses
//!
//! [`KLDivLoss`] is re-exported: its value and gradient are finite wherever a target is 0. It takes Burn's
//! [`BurnReduction`], whose `Auto` means the sum divided by the batch size. Burn's `CrossEntropyLoss`,
//! `BinaryCrossEntropyLoss` and `MultiMarginLoss` are not re-exported: they index with labels nobody checked, know no ignored
//! label below 0, no target between 0 and 1, and no reduction but the mean (the first two); the ones here are the safe ones.

mod asymmetric;
mod binary_cross_entropy;
mod binary_focal;
mod class_weights;
mod cross_entropy;
mod focal;
mod generalized_cross_entropy;
mod hinge;
mod jensen_shannon;
mod own_class;
mod poly;

pub use asymmetric::{AsymmetricLoss, AsymmetricLossConfig};
pub use binary_cross_entropy::{BinaryCrossEntropyLoss, BinaryCrossEntropyLossConfig};
pub use binary_focal::{BinaryFocalLoss, BinaryFocalLossConfig};
pub use burn::nn::loss::{KLDivLoss, KLDivLossConfig, Reduction as BurnReduction};
pub use cross_entropy::{CrossEntropyLoss, CrossEntropyLossConfig};
pub use focal::{FocalLoss, FocalLossConfig};
pub use generalized_cross_entropy::{GeneralizedCrossEntropy, GeneralizedCrossEntropyConfig};
pub use hinge::{HingePower, MultiClassHinge, MultiClassHingeConfig};
pub use jensen_shannon::{JensenShannon, JensenShannonConfig};
pub use poly::{PolyLoss, PolyLossConfig};
