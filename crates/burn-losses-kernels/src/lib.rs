//! The engine under `burn-losses`: operations that Burn's tensor operations could
//! only do with far more memory, each in a folder of its own, with the same results on every backend.
//!
//! - [`scores`]: the scores of queries and keys, added up for every query: the log-sum-exp of softmax heads and contrastive
//!   losses, hard classes reweighted, a sum of softplus; with several centers per class, a bias per key, rows normalised or
//!   not. Streamed over blocks of keys, so that the `[queries, keys]` scores never exist at once. A loss of logits that is one
//!   number has its gradient in the forward pass. Cosines of two sides are added up for both, and for several lengths of their rows, in one
//!   walk.
//! - [`distances`]: of all rows to all rows, where no matrix product gives them.
//! - [`drawn_rows`]: rows that a batch draws, and steps of an optimizer that touch no others.
//! - [`elements`]: losses of a prediction and a target, number by number.
//! - [`log_odds`]: what a softmax over logits says of the class of every row, in one pass.
//! - [`pair_sums`]: losses of pairs by their distance, added up.
//! - [`row_groups`]: rows shortened as a whole, in place.
//! - [`soft_targets`]: cross-entropy and focal loss against a probability for every class.
//! - [`triplets`]: all triplets of a batch, added up without ever being listed.
//!
//! # Features
//!
//! - `std` (default): Burn with the standard library.
//! - one per backend (`flex`, `ndarray`, `wgpu`, `vulkan`, `webgpu`, `metal`, `cuda`, `rocm`, `cpu`, `tch`, `remote`):
//!   turns the backend on in Burn and its fast path on here. A backend that is on in Burn only runs the reference.
//! - `fusion`: Burn's fusion of operations on GPU backends. Burn's default features turn it on there, and then it must be
//!   on here too.

#![cfg_attr(not(feature = "std"), no_std)]

extern crate alloc;

pub mod distances;
pub mod drawn_rows;
pub mod elements;
#[cfg(feature = "cube")]
mod gpu;
#[cfg(feature = "cpu-path")]
mod host;
pub mod log_odds;
#[doc(hidden)]
pub mod math;
mod one_pass;
pub mod pair_sums;
pub mod row_groups;
pub mod scores;
pub mod soft_targets;
pub mod triplets;

pub use one_pass::one_pass_on;
