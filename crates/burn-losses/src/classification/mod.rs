//! Losses of logits and targets: what a classifier is trained with.
//!
//! Logits are unnormalised scores. Targets are classes (`Tensor<_, Int>`) or one probability per class.
//!
//! Losses of classes take `[batch, classes]` with labels `[batch]`, and any other rank: PyTorch's `[batch, classes, ...]`
//! with labels `[batch, ...]` by default, `[..., classes]` with labels `[...]` when `class_dim` is -1. Binary losses take
//! logits and targets of any one shape.
//!
//! Every `forward` takes Burn's [`Reduction`] as its last argument: `Mean` and `Auto` divide the sum by what counts (rows with a
//! class, targets that are not ignored, the weights of [`CrossEntropyLoss`]), `BatchMean` by the length of the first axis;
//! where nothing counts the loss is 0.
//!
//! Data that cannot be right stops the training: a label that is no class by the [`LabelPolicy`](crate::labels::LabelPolicy),
//! and on flex and ndarray, where a look costs nothing, a target outside `[0, 1]` that is not `ignore_target`. (A target of -1
//! would make a binary cross-entropy negative: the loss would fall for ever.)
//!
//! ```
//! use burn::tensor::{Device, Int, Tensor};
//! use burn_losses::classification::{CrossEntropyLossConfig, Reduction};
//!
//! let device = Device::default();
//! // Two pictures of 4 x 4 pixels, 3 classes; a pixel of label 255 is not labelled.
//! let config = CrossEntropyLossConfig::new();
//! let loss = config.with_labels(burn_losses::labels::LabelPolicy::new().with_ignore_label(Some(255))).init(&device);
//! let logits = Tensor::<4>::zeros([2, 3, 4, 4], &device);
//! let labels = Tensor::<3, Int>::full([2, 4, 4], 255, &device).slice_fill([0..1, 0..2, 0..4], 1);
//! let mean = loss.forward(logits, labels, Reduction::Mean).into_scalar::<f32>();
//! assert!((mean - 3.0_f32.ln()).abs() < 1e-6);
//! ```
//!
//! | loss | targets | for |
//! | --- | --- | --- |
//! | [`CrossEntropyLoss`] | classes or probabilities | the default |
//! | [`LinearCrossEntropyLoss`] | classes | the same of a layer whose logits do not fit in memory: vocabularies |
//! | [`LinearDistillationLoss`] | a teacher's hidden states and output layer, or its most likely classes | a language model that learns from a larger one |
//! | [`FocalLoss`], [`BinaryFocalLoss`] | both | few of what matters among much that is easy |
//! | [`BinaryCrossEntropyLoss`] | probabilities | several classes at once |
//! | [`AsymmetricLoss`] | probabilities | several classes at once, most of them absent |
//! | [`PolyLoss`] | classes | a stronger pull on confident samples |
//! | [`GeneralizedCrossEntropyLoss`] | classes | labels of which some are wrong |
//! | [`MulticlassHingeLoss`] | classes | margins instead of probabilities |
//! | [`JensenShannonLoss`] | none | several views that should be predicted alike |
//! | [`KLDivLoss`] | (log-)probabilities | distillation of logits that fit in memory; Burn's own |
//!
//! # Burn's own losses
//!
//! [`KLDivLoss`] is Burn's, re-exported: `target·(log(target) - prediction)`, where `predictions` are **log**-probabilities
//! and, with `log_target` (default false), `targets` are too. Its traps: Burn's `Reduction::Mean` divides by batch times
//! classes, `BatchMean` and `Auto` by the batch; targets above 1 are cut to 1 inside their logarithm; a prediction of
//! -infinity is NaN even where its target is 0; half precision is computed in half precision; the mean of an empty batch
//! is NaN.
//!
//! Not re-exported, because there is a safe one here: Burn's `CrossEntropyLoss` (no soft targets with a reduction, no
//! negative label to ignore, an unchecked gather), `BinaryCrossEntropyLoss` (integer targets, mean only),
//! and `MultiMarginLoss` (no ignored label, an unchecked gather; [`MulticlassHingeLoss`] has the same value).

mod asymmetric;
mod binary_cross_entropy;
mod binary_focal;
mod class_weights;
mod cross_entropy;
mod divergence;
mod elements;
mod focal;
mod generalized_cross_entropy;
mod jensen_shannon;
mod linear_cross_entropy;
mod linear_distillation;
mod log_odds;
mod log_probabilities;
mod multiclass_hinge;
mod output_layer;
mod poly;
mod samples;
mod sparse_targets;

use crate::module::{default_is_new, one_line};

pub use asymmetric::{AsymmetricLoss, AsymmetricLossConfig};
pub use binary_cross_entropy::{BinaryCrossEntropyLoss, BinaryCrossEntropyLossConfig};
pub use binary_focal::{BinaryFocalLoss, BinaryFocalLossConfig};
pub use burn::nn::loss::{KLDivLoss, KLDivLossConfig, Reduction};
pub use class_weights::ClassWeight;
pub use cross_entropy::{CrossEntropyLoss, CrossEntropyLossConfig};
pub use divergence::Divergence;
pub use focal::{FocalLoss, FocalLossConfig};
pub use generalized_cross_entropy::{GeneralizedCrossEntropyLoss, GeneralizedCrossEntropyLossConfig};
pub use jensen_shannon::{JensenShannonLoss, JensenShannonLossConfig};
pub use linear_cross_entropy::{LinearCrossEntropyLoss, LinearCrossEntropyLossConfig, LinearCrossEntropyOutput};
pub use linear_distillation::{LinearDistillationLoss, LinearDistillationLossConfig};
pub use multiclass_hinge::{HingePower, MulticlassHingeLoss, MulticlassHingeLossConfig};
pub use output_layer::OutputLayer;
pub use poly::{PolyLoss, PolyLossConfig};
pub use sparse_targets::{RestOfMass, SparseTargets};

default_is_new!(
    AsymmetricLossConfig,
    BinaryCrossEntropyLossConfig,
    BinaryFocalLossConfig,
    CrossEntropyLossConfig,
    FocalLossConfig,
    GeneralizedCrossEntropyLossConfig,
    JensenShannonLossConfig,
    LinearCrossEntropyLossConfig,
    LinearDistillationLossConfig,
    MulticlassHingeLossConfig,
    PolyLossConfig,
);
one_line!(
    AsymmetricLoss,
    BinaryCrossEntropyLoss,
    BinaryFocalLoss,
    CrossEntropyLoss,
    FocalLoss,
    GeneralizedCrossEntropyLoss,
    JensenShannonLoss,
    LinearCrossEntropyLoss,
    LinearDistillationLoss,
    MulticlassHingeLoss,
    PolyLoss,
);
