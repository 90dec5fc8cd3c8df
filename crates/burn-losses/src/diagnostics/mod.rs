//! What a trainer wants to see beside the loss.
//!
//! [`Figures`] measure a batch on the device and pack what they found into one small tensor, so that a step has one
//! transfer more at most and none to wait for; [`Reading`] interprets the numbers on the host: angles to the target
//! and to the nearest negative, the training accuracy without a margin, the share of pairs that still train, lengths and
//! spread of the embeddings, bad labels.
//! [`Collapse`] says whether the model tells anything apart, and [`fixed_scale`] and [`least_scale`] choose the scale of
//! a head from the number of classes. With crate feature `train`, `EmbeddingOutput` is what a step hands to
//! Burn's training loop, and `DiagnosticMetric` shows them there; `RetrievalMetric` says how well the embeddings of a split find
//! others of their label.

mod collapse;
mod cosines;
mod embeddings;
mod figures;
#[cfg(feature = "train")]
mod metric;
#[cfg(feature = "train")]
mod output;
#[cfg(feature = "train")]
mod retrieval;
mod scale;

pub use collapse::{Collapse, Plateau};
pub use cosines::ClassCosines;
pub use embeddings::embedding_figures;
pub use figures::{Figures, Reading};
#[cfg(feature = "train")]
pub use metric::{Diagnostic, DiagnosticMetric};
#[cfg(feature = "train")]
pub use output::{EmbeddingOutput, ReadOutput};
#[cfg(feature = "train")]
pub use retrieval::{RetrievalFigure, RetrievalInput, RetrievalMetric};
pub use scale::{fixed_scale, least_loss, least_scale};
