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
//! | [`SphereFace`] | `folded_cos(multiplier·angle)` | Liu et al. 2017, 2021 |
//! | [`MagFace`] | `cos(angle + margin)`, the margin grows with the length of the embedding | Meng et al. 2021 |
//! | [`AdaFace`] | `cos(angle - margin·quality) - margin·(1 + quality)`, the quality from its length | Kim et al. 2022 |
//! | [`ElasticFace`] | `cos(angle + margin)` or `cosine - margin`, the margin drawn for every row | Boutros et al. 2022 |
//! | [`AdaCos`] | `cosine`, with a scale that is measured | Zhang et al. 2019 |
//! | [`SubCenterArcFace`] | that of ArcFace, to the nearest of several centers of the class | Deng et al. 2020 |
//!
//! These see the other classes otherwise than a softmax does:
//!
//! | head | other classes | source |
//! | --- | --- | --- |
//! | [`CurricularFace`] | hard ones weigh the more, the better the training already is | Huang et al. 2020 |
//! | [`MvSoftmax`] | those that beat the own class weigh more | Wang et al. 2020, MV-Softmax |
//! | [`SphereFace2`] | a yes-or-no question each | Wen et al. 2022 |
//! | [`UniFace`] | each below one threshold for all | Zhou et al. 2023 |
//!
//! Two wrap any of these where classes are many: [`PartialFc`] compares with a sample of them, [`ShardedHead`] spreads them
//! over devices.
//!
//! Every head is a field of the model, so that its centers are trained with it. Its own learning rate comes from a
//! parameter group by path, such as `^head\.`.

mod adacos;
mod adaface;
mod angle;
mod arcface;
mod class_centers;
mod combined;
mod cosface;
mod curricularface;
mod elasticface;
mod head;
mod magface;
mod mv_softmax;
mod normface;
mod own_cosines;
mod partial_fc;
mod sharded;
mod sphereface;
mod sphereface2;
mod sub_center_arcface;
mod uniface;

pub use adacos::{AdaCos, AdaCosConfig, AdaCosScale};
pub use adaface::{AdaFace, AdaFaceConfig};
pub(crate) use angle::folded_cosine;
pub use arcface::{ArcFace, ArcFaceConfig, LargeAngle};
pub use burn_losses_kernels::logsumexp::{Scale, Streaming, streams_on};
pub use class_centers::ClassCenters;
pub use combined::{CombinedMargin, CombinedMarginConfig};
pub use cosface::{CosFace, CosFaceConfig};
pub use curricularface::{CurricularFace, CurricularFaceConfig};
pub use elasticface::{ElasticFace, ElasticFaceConfig, ElasticMargin, ElasticOrder};
pub use head::{ClassScores, GradientMode, MarginHead, OwnClass};
pub use magface::{MagFace, MagFaceConfig};
pub use mv_softmax::{MvMargin, MvSoftmax, MvSoftmaxConfig, MvWeighting};
pub use normface::{NormFace, NormFaceConfig};
pub use partial_fc::{PartialFc, PartialFcConfig};
pub use sharded::ShardedHead;
pub use sphereface::{SphereFace, SphereFaceConfig};
pub use sphereface2::{SphereFace2, SphereFace2Config};
pub use sub_center_arcface::{Outlier, SubCenterArcFace, SubCenterArcFaceConfig, outliers};
pub use uniface::{UniFace, UniFaceConfig};
