//! Loss functions for [Burn](burn), as modules that run on every Burn backend.
//!
//! | module | what |
//! | --- | --- |
//! | [`heads`], [`center`] | angular-margin heads with trained class centers, and center loss |
//! | [`pairs`], [`proxy`] | losses of pairs and triplets of embeddings, and of embeddings and trained proxies |
//! | [`matryoshka`], [`adaptive_layer`] | any loss of embeddings at several lengths of them, and of several layers |
//! | [`mining`], [`sampling`], [`memory`] | which pairs count, which samples meet in a batch, and embeddings of past batches |
//! | [`classification`], [`regression`] | losses of logits and of numbers |
//! | [`regularization`] | penalties and steps on the parameters of any module, regularizers of embeddings |
//! | [`optim`] | optimizers that touch the rows a batch drew, for heads with very many classes |
//! | `gradient_cache` | exact gradients of a batch that the network cannot hold, with feature `optim` |
//! | [`diagnostics`] | what a trainer wants to see beside the loss |
//!
//! Every name but those of [`sampling`], [`diagnostics`], [`state`] and `gradient_cache` is also at the root of the crate, and
//! [`prelude`] has the traits. Losses of embeddings are called alike, `loss.forward(embeddings, labels)` ([`EmbeddingLoss`]), and have their
//! reduction as a field of their config; losses of logits and numbers look like Burn's own.
//!
//! They share distances ([`distance`]), labels that are safe to index with and never silently wrong ([`labels`]), one place
//! where losses of embeddings become one number ([`reduction`]), state that is saved and not trained ([`state`]), and a
//! precision rule: half precision is computed in `f32` and cast back.
//!
//! A head is an ordinary field of your model, so its class centers are trained, saved and moved with it:
//!
//! ```
//! use burn::module::Module;
//! use burn::nn::{Linear, LinearConfig};
//! use burn::tensor::{Device, Int, Tensor};
//! use burn_losses::{ArcFace, ArcFaceConfig};
//!
//! #[derive(Module, Debug)]
//! struct Model {
//!     trunk: Linear,
//!     head: ArcFace,
//! }
//!
//! let device = Device::default().autodiff();
//! let model = Model {
//!     trunk: LinearConfig::new(8, 4).init(&device),
//!     head: ArcFaceConfig::new(10, 4).with_margin(0.5).with_scale(64.0).init(&device),
//! };
//!
//! let inputs = Tensor::<2>::ones([3, 8], &device);
//! let labels = Tensor::<1, Int>::from_ints([0, 9, 4], &device);
//! let loss = model.head.forward(model.trunk.forward(inputs), labels);
//! let gradients = loss.backward();
//! assert!(model.head.centers.weight.val().grad(&gradients).is_some());
//! ```
//!
//! # Which loss do I take?
//!
//! | your data | start with | then |
//! | --- | --- | --- |
//! | identities, many samples each (faces, products) | [`ArcFace`] | [`CosFace`] if it does not start to learn; [`AdaFace`] or [`MagFace`] where quality varies; [`SphereFace2`], [`UniFace`] for verification at a fixed threshold |
//! | identities with wrong labels | [`SubCenterArcFace`] and its [`outliers`] | [`CurricularFace`] once they are clean |
//! | 100 000 classes and more | any head with [`CentersConfig::sample_rate`] below 1 (Partial FC) | [`RowGradient::Drawn`] with the optimizers of [`optim`]; [`ShardedHead`] over devices |
//! | identities, few samples each, or new ones all the time | [`SupConLoss`], [`MultiSimilarityLoss`] | [`TripletLoss`] with a miner of [`mining`]; [`ProxyAnchorLoss`] if classes are known |
//! | pairs that are alike or not | [`ContrastiveLoss`] on [`Pairs::given`] | [`MarginLoss`] with [`DistanceWeightedMiner`] |
//! | two views of each sample (SimCLR), a queue (MoCo) | [`InfoNceLoss`] on [`Pairs::views`] | [`Pairs::queue`], or a [`CrossBatchMemory`] |
//! | image and text | [`InfoNceLoss`] on [`Pairs::symmetric`] | a temperature that is learned, [`TemperatureMode::Learned`]; [`SigLipLoss`] in smaller batches |
//! | query and document | [`MultipleNegativesRankingLoss`] | hard negatives, identities; more directions |
//! | embeddings that are to be cut after training | any of these in a [`MatryoshkaLoss`] | [`AdaptiveLayerLoss`] around it, to cut layers too |
//! | pairs with grades of likeness | [`CoSentLoss`] | AnglE, [`RowSimilarity::ComplexAngle`] |
//! | classes, one per sample | [`CrossEntropyLoss`] | smoothing; [`CenterLoss`] beside it for tighter classes |
//! | tokens of a vocabulary, or classes whose logits do not fit | [`LinearCrossEntropyLoss`] | [`OutputLayer::with_adjustment`] for a long tail; a [`LinearCrossEntropyLossConfig::sample_rate`] below 1 |
//! | tokens of a vocabulary, and a teacher that knows them better | [`LinearDistillationLoss`] | forward, reverse or Jensen-Shannon [`Divergence`]; beside [`LinearCrossEntropyLoss`]; [`SparseTargets`] for a teacher on disk |
//! | classes with a long tail, or mostly background | [`FocalLoss`], class weights | [`BinaryFocalLoss`], [`AsymmetricLoss`] for many labels per sample |
//! | classes with wrong labels | [`GeneralizedCrossEntropyLoss`] | a smaller `q` for cleaner labels |
//! | numbers with outliers | [`HuberLoss`], [`LogCoshLoss`], [`CharbonnierLoss`] | [`QuantileLoss`] for intervals |
//! | counts | [`PoissonNllLoss`] | |
//! | weights that should be exact zeros | [`ProximalL1`], [`ProximalRowGroups`] after the optimizer | [`L1Penalty`], [`ElasticNetPenalty`] in the loss |
//!
#![cfg_attr(doc, doc = include_str!("../pictures/losses.svg"))]
//!
//! # Features
//!
//! - `std` (default): Burn with the standard library.
//! - `data`: [`sampling`]'s plans as a data loader of Burn. `train`: [`diagnostics`] as metrics of Burn's training.
//!   `optim`: the optimizers of [`optim`], and `gradient_cache`.
//! - one per backend (`flex`, `ndarray`, `wgpu`, `vulkan`, `webgpu`, `metal`, `cuda`, `rocm`, `cpu`, `tch`, `remote`):
//!   turns the backend on in Burn, and streams the heads on it. The crate turns on none by itself. On a backend that is on
//!   in `burn` only, the heads keep the scores of a batch with all classes; see
//!   [`streams_on`].
//! - `fusion`: Burn's fusion of operations on GPU backends. Burn's default features turn it on there, and then it must be
//!   on here too.

#![cfg_attr(not(feature = "std"), no_std)]
// Names the feature beside what needs one, where the documentation is built with this.
#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod adaptive_layer;
pub mod center;
pub mod classification;
pub mod diagnostics;
pub mod distance;
mod embedding_loss;
mod fast_path;
#[cfg(feature = "optim")]
pub mod gradient_cache;
pub mod heads;
pub mod labels;
pub mod matryoshka;
pub mod memory;
pub mod mining;
pub mod optim;
pub mod pairs;
pub mod proxy;
pub mod reduction;
pub mod regression;
pub mod regularization;
pub mod sampling;
pub mod state;

mod class_sample;
mod identities;
mod module;
mod on_device;
mod order;
mod random;
mod shape;
mod squares;
mod targets;

pub use embedding_loss::EmbeddingLoss;

#[doc(no_inline)]
pub use {
    adaptive_layer::*, center::*, classification::*, distance::*, heads::*, labels::*, matryoshka::*, memory::*,
    mining::*, optim::*, pairs::*, proxy::*, reduction::*, regression::*, regularization::*,
};

/// The traits of this crate, and what nearly every use of them names. Nothing in it has the name of something of Burn's.
///
/// ```
/// use burn::tensor::{Device, Int, Tensor};
/// use burn_losses::prelude::*;
/// use burn_losses::{ArcFaceConfig, TripletLossConfig};
///
/// // One loss of embeddings is swapped for another by one line, or at run time.
/// let device = Device::default();
/// let losses: [Box<dyn EmbeddingLoss>; 2] = [
///     Box::new(ArcFaceConfig::new(10, 4).init(&device)),
///     Box::new(TripletLossConfig::new().with_margin(0.3).init(&device)),
/// ];
/// for loss in losses {
///     let labels = Tensor::<1, Int>::from_ints([3, 3, 9], &device);
///     assert_eq!(loss.forward(Tensor::ones([3, 4], &device), labels).dims(), [1]);
/// }
/// ```
pub mod prelude {
    pub use crate::EmbeddingLoss;
    pub use crate::heads::MarginRule;
    pub use crate::mining::Miner;
    pub use crate::pairs::{PairLoss, Pairs};
    pub use crate::reduction::EmbeddingReduction;
    pub use crate::regularization::{ParameterPenalty, ShrinkageStep};
    pub use crate::sampling::BatchPlan;
}

// Compiles the example of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
