//! What keeps parameters, embeddings and class weights small, sparse or alike: `loss = data_loss + strength·penalty`.
//!
//! # Parameters of a module
//!
//! A penalty is added to the loss; a step changes the parameters after the step of the optimizer. Both take any module
//! and see those of its parameters that a [`ParameterChoice`] names: by default all that are trained, but for biases and
//! the parameters of normalization layers.
//!
//! | penalty | formula | as a step after the optimizer |
//! | --- | --- | --- |
//! | [`L1Penalty`] | `strength·sum(abs(w))` | [`ProximalL1`]: exact zeros |
//! | [`L2Penalty`] | `strength/2·sum(w²)` | [`DecoupledL2`] |
//! | [`ElasticNetPenalty`] | `strength·(l1_ratio·sum(abs(w)) + (1 - l1_ratio)/2·sum(w²))` | [`ProximalElasticNet`]: exact zeros |
//! | | `strength·sum over rows of length(row)` | [`ProximalRowGroups`]: rows that are exactly zero |
//!
//! Of two ways to the same minimum, the step is the better one where zeros are wanted: the gradient of an L1 penalty
//! makes a weight jump around 0, and only a step puts it on 0. It also stays out of the running averages of adaptive
//! optimizers such as Adam.
//!
//! ```
//! use burn::module::{Module, Param, ParamGroup};
//! use burn::nn::{Linear, LinearConfig};
//! use burn::tensor::{Device, Tensor};
//! use burn_losses::regularization::{
//!     L2PenaltyConfig, ParameterChoice, ParameterPenalty, ProximalL1Config, ShrinkageStep,
//! };
//!
//! #[derive(Module, Debug)]
//! struct Model { input: Linear, output: Linear }
//!
//! let device = Device::default().autodiff();
//! let model = Model {
//!     input: LinearConfig::new(2, 1).init(&device),
//!     output: LinearConfig::new(1, 1).init(&device),
//! };
//! # let mut model = model;
//! # model.input.weight = Param::from_tensor(Tensor::from_data([[3.0], [-0.04]], &device));
//!
//! // In the loss, on the weight of one layer: `strength/2·sum(w²)`.
//! let output = ParameterChoice::new().with_group(ParamGroup::from_predicate("output"));
//! let penalty = L2PenaltyConfig::new(0.01).with_parameters(output.clone()).init(&device);
//! assert_eq!(output.paths(&model), ["output.weight"]);
//! let loss = penalty.forward(&model); // + data_loss
//!
//! // After `model = optimizer.step(0.1, model, gradients)`, with the same learning rate.
//! let sparse = ProximalL1Config::new(0.5).init(&device);
//! let model = sparse.step(0.1, model);
//! # let weights = model.input.weight.val().try_into_vec_as::<f32>().unwrap();
//! # assert_eq!(weights, [3.0 - 0.05, 0.0]);
//! ```
//!
//! ## Conventions
//!
//! - `strength` is scikit-learn's `alpha` of `Lasso` and `ElasticNet`, and `l1_ratio` its `l1_ratio`, for a data loss of
//!   `1/2·mean((prediction - target)²)`. Its `Ridge` takes the sum where that takes the mean: `alpha = rows·strength`.
//! - The L2 penalty has the factor 1/2, so that its gradient is `strength·w`: `strength` is `weight_decay` of PyTorch's
//!   SGD and `penalty` of Burn's `WeightDecayConfig`. Keras's `L2` has no 1/2.
//! - A step multiplies `strength` with the learning rate. PyTorch's AdamW does the same with its `weight_decay`.
//!
//! ## Priors
//!
//! A penalty is the negative logarithm of a prior density of the weights, up to a number that no weight changes, so a
//! minimum of `data_loss + penalty` is the most probable set of weights, where the data loss is the negative logarithm
//! of the likelihood of all the data:
//!
//! ```text
//! L1          -log Laplace(w; 0, 1/strength)       = strength·abs(w) - log(strength/2)
//! L2          -log Normal(w; 0, 1/sqrt(strength))  = strength/2·w² - 1/2·log(strength / (2·pi))
//! elastic net -log of the product of the two, which is not normalised
//! ```
//!
//! With a data loss that is a mean over `rows`, the prior has the strength `rows·strength`.
//!
//! # Embeddings and class weights
//!
//! | loss | of every | formula |
//! | --- | --- | --- |
//! | [`LpRegularizer`] | embedding | `length^power`, in any Lp norm |
//! | [`ZeroMeanRegularizer`] | embedding | `abs(sum over k of embedding[k])` |
//! | [`CenterInvariantRegularizer`] | class | `1/4·(length² - mean of length²)²` |
//! | [`RegularFaceRegularizer`] | class | the cosine with the nearest other class |
//! | [`SparseCentersRegularizer`] | two centers of one class | half the distance of their directions |

mod center_invariant;
mod decoupled_l2;
mod elastic_net;
mod empty;
mod l1;
mod l2;
mod lp;
mod parameters;
mod penalty;
mod proximal;
mod proximal_elastic_net;
mod proximal_l1;
mod proximal_row_groups;
mod regular_face;
mod sparse_centers;
mod zero_mean;

use crate::module::{default_is_new, inherent_penalty, inherent_step, one_line};

pub use center_invariant::{CenterInvariantRegularizer, CenterInvariantRegularizerConfig};
pub use decoupled_l2::{DecoupledL2, DecoupledL2Config};
pub use elastic_net::{ElasticNetPenalty, ElasticNetPenaltyConfig};
pub use l1::{L1Penalty, L1PenaltyConfig};
pub use l2::{L2Penalty, L2PenaltyConfig};
pub use lp::{LpRegularizer, LpRegularizerConfig};
pub use parameters::{BiasesAndNorms, ParameterChoice};
pub use penalty::ParameterPenalty;
pub use proximal::{ShrinkageStep, soft_threshold};
pub use proximal_elastic_net::{ProximalElasticNet, ProximalElasticNetConfig};
pub use proximal_l1::{ProximalL1, ProximalL1Config};
pub use proximal_row_groups::{ProximalRowGroups, ProximalRowGroupsConfig};
pub use regular_face::{RegularFaceRegularizer, RegularFaceRegularizerConfig};
pub use sparse_centers::{SparseCentersRegularizer, SparseCentersRegularizerConfig};
pub use zero_mean::{ZeroMeanRegularizer, ZeroMeanRegularizerConfig};

default_is_new!(
    CenterInvariantRegularizerConfig,
    LpRegularizerConfig,
    RegularFaceRegularizerConfig,
    ZeroMeanRegularizerConfig,
);
one_line!(
    CenterInvariantRegularizer,
    DecoupledL2,
    ElasticNetPenalty,
    L1Penalty,
    L2Penalty,
    LpRegularizer,
    ProximalElasticNet,
    ProximalL1,
    ProximalRowGroups,
    RegularFaceRegularizer,
    SparseCentersRegularizer,
    ZeroMeanRegularizer,
);
inherent_penalty!(ElasticNetPenalty, L1Penalty, L2Penalty);
inherent_step!(DecoupledL2, ProximalElasticNet, ProximalL1, ProximalRowGroups);
