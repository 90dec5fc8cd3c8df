//! Losses that compare embeddings with a few trained vectors per class, the proxies, instead of with each other.
//!
//! | loss | takes | for | memory |
//! | --- | --- | --- | --- |
//! | [`NormalizedSoftmaxLoss`] | one proxy per class, a softmax of cosines | a baseline | `classes` proxies |
//! | [`ProxyNcaLoss`] | one proxy per class, a softmax of squared distances | pairs that converge too slowly | `classes` proxies |
//! | [`ProxyAnchorLoss`] | one proxy per class, each pulling at its samples and pushing the others of the batch | retrieval with known classes | `classes` proxies and `batch²` numbers |
//! | [`SoftTripleLoss`] | several proxies per class, softly chosen | classes with several kinds of samples | `classes·centers_per_class` proxies |
//!
//! None makes a number per sample and proxy: they are streamed as the heads are.
//!
//! The proxies are parameters of the loss: make it a field of the model, or nothing trains them. Proxies often want a
//! larger learning rate than the model, by a parameter group such as `^loss\.proxies`.
//!
//! Labels are classes, as in the [heads](crate::heads): ignored and bad ones are as if their rows were not there.
//!
//! ```
//! use burn::tensor::{Device, Int, Tensor};
//! use burn_losses::proxy::ProxyAnchorLossConfig;
//!
//! let device = Device::default().autodiff();
//! let loss = ProxyAnchorLossConfig::new(10, 4).init(&device);
//! let embeddings = Tensor::<2>::ones([3, 4], &device).require_grad();
//! let labels = Tensor::<1, Int>::from_ints([0, 9, 0], &device);
//! let gradients = loss.forward(embeddings, labels).backward();
//! assert!(loss.proxies.weight.val().grad(&gradients).is_some());
//! ```

mod anchor;
mod nca;
mod normalized_softmax;
mod soft_triple;
mod softmax;

use burn::tensor::{Int, Tensor};

use crate::module::inherent_forward;

pub use anchor::{ProxyAnchorLoss, ProxyAnchorLossConfig};
pub use nca::{Denominator, ProxyNcaLoss, ProxyNcaLossConfig};
pub use normalized_softmax::{NormalizedSoftmaxLoss, NormalizedSoftmaxLossConfig};
pub use soft_triple::{SoftTripleLoss, SoftTripleLossConfig};

inherent_forward!(NormalizedSoftmaxLoss, ProxyAnchorLoss, ProxyNcaLoss, SoftTripleLoss);
