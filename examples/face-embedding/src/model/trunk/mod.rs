//! The trunk: one of the networks from a picture to its embedding.
//!
//! | module | what |
//! | --- | --- |
//! | `any` | whichever network it is, as one module |
//! | [`small`] | the small network |
//! | [`iresnet`], [`mobilefacenet`] | the networks of InsightFace |
//! | [`weights`] | the weights of each as PyTorch names and lays them, in and out |
//! | `onnx` | a network and its weights as ONNX |
//! | `prelu` | the activation that they have in common |

pub mod iresnet;
pub mod mobilefacenet;
pub mod small;
pub mod weights;

mod any;
#[cfg(feature = "onnx")]
pub(crate) mod onnx;
mod prelu;

pub use any::{Trunk, TrunkConfig};
