//! Losses of logits and targets: what a classifier is trained with.
//!
//! Logits are unnormalised scores. Targets are classes (`Tensor<1, Int>`) or one probability per class.
//!
//! | loss | targets | for |
//! | --- | --- | --- |
//! | [`CrossEntropyLoss`] | classes or probabilities | the default |
//! | [`FocalLoss`], [`BinaryFocalLoss`] | both | few of what matters among much that is easy |
//! | [`BinaryCrossEntropyLoss`] | probabilities | several classes at once |
//! | [`AsymmetricLoss`] | probabilities | several classes at once, most of them absent |
//! | [`PolyLoss`] | classes | a stronger pull on confident samples |
//! | [`GeneralizedCrossEntropyLoss`] | classes | labels of which some are wrong |
//! | [`MulticlassHingeLoss`] | classes | margins instead of probabilities |
//! | [`JensenShannonLoss`] | none | several views that should be predicted alike |
//! | [`KLDivLoss`] | (log-)probabilities | distillation; Burn's own |
//!
//! # Burn's own losses
//!
//! [`KLDivLoss`] is Burn's, re-exported: `target·(log(target) - prediction)`, where `predictions` are **log**-probabilities
//! and, with `log_target` (default false), `targets` are too. Its traps: Burn's `EmbeddingReduction::Mean` divides by batch times
//! classes, `BatchMean` and `Auto` by the batch; targets above 1 are cut to 1 inside their logarithm; a prediction of
//! -infinity is NaN even where its target is 0; half precision is computed in half precision; the mean of an empty batch
//! is NaN. Reduce `forward_no_reduction` with [`EmbeddingReduction`](crate::reduction::EmbeddingReduction) to get 0 there.
//!
//! Not re-exported, because there is a safe one here: Burn's `CrossEntropyLoss` (no soft targets with a reduction, no
//! negative label to ignore, an unchecked gather), `BinaryCrossEntropyLoss` (integer targets, mean only),
//! and `MultiMarginLoss` (no ignored label, an unchecked gather; [`MulticlassHingeLoss`] has the same value).

mod asymmetric;
mod binary_cross_entropy;
mod binary_focal;
mod class_weights;
mod cross_entropy;
mod focal;
mod generalized_cross_entropy;
mod jensen_shannon;
mod log_odds;
mod log_probabilities;
mod multiclass_hinge;
mod poly;
mod samples;

pub use asymmetric::{AsymmetricLoss, AsymmetricLossConfig};
pub use binary_cross_entropy::{BinaryCrossEntropyLoss, BinaryCrossEntropyLossConfig};
pub use binary_focal::{BinaryFocalLoss, BinaryFocalLossConfig};
pub use burn::nn::loss::{KLDivLoss, KLDivLossConfig};
pub use cross_entropy::{CrossEntropyLoss, CrossEntropyLossConfig};
pub use focal::{FocalLoss, FocalLossConfig};
pub use generalized_cross_entropy::{GeneralizedCrossEntropyLoss, GeneralizedCrossEntropyLossConfig};
pub use jensen_shannon::{JensenShannonLoss, JensenShannonLossConfig};
pub use multiclass_hinge::{HingePower, MulticlassHingeLoss, MulticlassHingeLossConfig};
pub use poly::{PolyLoss, PolyLossConfig};
