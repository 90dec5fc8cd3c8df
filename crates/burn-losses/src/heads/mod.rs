//! Angular-margin heads: class centers and a margin rule each.
//!
//! A head replaces the last linear layer and the cross-entropy of a classifier. It compares the direction of every
//! embedding with one trained center per class, makes the class of the label harder to reach by a margin, and takes the
//! cross-entropy of the scaled cosines. What it trains is the embedding: after training the head is thrown away and
//! two pictures are compared by the cosine of their embeddings.
//!
#![cfg_attr(doc, doc = include_str!("../../pictures/heads.svg"))]
//!
//! | head | target cosine becomes | source |
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
//! | [`MvSoftmax`] | those that beat the class of the label weigh more | Wang et al. 2020, MV-Softmax |
//! | [`SphereFace2`] | a yes-or-no question each | Wen et al. 2022 |
//! | [`UniFace`] | each below one threshold for all | Zhou et al. 2023 |
//!
//! All of them are a [`Head`] with another [`MarginRule`]. Where classes are many, a batch can be compared with a sample of
//! them (Partial FC, see [`ClassCenters`]), or the classes can be spread over devices ([`ShardedHead`]). A program that
//! chooses the head at run time takes [`AnyHead`].
//!
//! Every head is a field of the model, so that its centers are trained with it. Its own learning rate comes from a
//! parameter group by path, such as `^head\.`; the path of the centers is `head.centers.weight`.

mod adacos;
mod adaface;
mod angle;
mod any;
mod arcface;
mod class_centers;
mod combined;
mod comparison;
mod cosface;
mod curricularface;
mod elasticface;
#[allow(clippy::module_inception, reason = "the type every head is")]
mod head;
mod magface;
mod mv_softmax;
mod normface;
mod rule;
mod sampling;
mod sharded;
mod sphereface;
mod sphereface2;
mod sub_center_arcface;
mod uniface;

pub use adacos::{AdaCos, AdaCosConfig, AdaCosRule, AdaCosScale};
pub use adaface::{AdaFace, AdaFaceConfig, AdaFaceRule};
pub(crate) use angle::folded_cosine;
pub use any::{AnyHead, AnyHeadConfig, AnyRule, HeadKind};
pub use arcface::{ArcFace, ArcFaceConfig, ArcFaceRule, LargeAngle};
pub use burn_losses_kernels::scores::{Scale, Streaming, streams_on};
pub(crate) use class_centers::nearest_of_class;
pub use class_centers::{Centers, CentersConfig, ClassCenters, ClassRows};
pub use combined::{CombinedMargin, CombinedMarginConfig, CombinedMarginRule};
pub(crate) use comparison::{CenterChoice, ClassScores, Comparison};
pub use comparison::{Curve, Reweighting, Terms};
pub use cosface::{CosFace, CosFaceConfig, CosFaceRule};
pub use curricularface::{CurricularFace, CurricularFaceConfig, CurricularFaceRule};
pub use elasticface::{ElasticFace, ElasticFaceConfig, ElasticFaceRule, ElasticMargin, ElasticOrder};
pub use head::Head;
pub use magface::{MagFace, MagFaceConfig, MagFaceRule};
pub use mv_softmax::{MvMargin, MvSoftmax, MvSoftmaxConfig, MvSoftmaxRule, MvWeighting};
pub use normface::{NormFace, NormFaceConfig, NormFaceRule};
pub use rule::{Batch, GradientMode, MarginRule, Target};
pub use sharded::ShardedHead;
pub use sphereface::{SphereFace, SphereFaceConfig, SphereFaceRule};
pub use sphereface2::{SphereFace2, SphereFace2Config, SphereFace2Rule};
pub use sub_center_arcface::{Outlier, SubCenterArcFace, SubCenterArcFaceConfig, SubCenterArcFaceRule, outliers};
pub use uniface::{UniFace, UniFaceConfig, UniFaceRule};
