//! Angular-margin heads: class centers and a margin rule each.
//!
//! A head replaces the last linear layer and the cross-entropy of a classifier. It compares the direction of every
//! embedding with one trained center per class, makes the own class harder to reach by a margin, and takes the
//! cross-entropy of the scaled cosines. What it trains is the embedding: after training the head is thrown away and
//! two pictures are compared by the cosine of their embeddings.
//!
//! | head | own cosine becomes | source |
//! | --- | --- | --- |
//! | [`NormFace`] | `cosine` | Wang et al. 2017, NormFace |
//! | [`CosFace`] | `cosine - margin` | Wang et al. 2018, CosFace; AM-Softmax |
//! | [`ArcFace`] | `cos(angle + margin)` | Deng et al. 2019, ArcFace |
//! | [`CombinedMargin`] | `cos(angle_factor·angle + angle_margin) - cosine_margin` | Deng et al. 2019, section 2.3 |
//!
//! Two wrap any of these where classes are many: [`PartialFc`] compares with a sample of them, [`ShardedHead`] spreads them
//! over devices.
//!
//! Every head is a field of the model, so that its centers are trained with it. Its own learning rate comes from a
//! parameter group by path, such as `^head\.`.

mod angle;
mod arcface;
mod class_centers;
mod combined;
mod cosface;
mod head;
mod normface;
mod partial_fc;
mod sharded;

pub use arcface::{ArcFace, ArcFaceConfig, LargeAngle};
pub use burn_losses_kernels::logsumexp::{Streaming, streams_on};
pub use class_centers::ClassCenters;
pub use combined::{CombinedMargin, CombinedMarginConfig};
pub use cosface::{CosFace, CosFaceConfig};
pub(crate) use head::silence;
pub use head::{ClassScores, GradientMode, MarginHead};
pub use normface::{NormFace, NormFaceConfig};
pub use partial_fc::{PartialFc, PartialFcConfig};
pub use sharded::ShardedHead;
