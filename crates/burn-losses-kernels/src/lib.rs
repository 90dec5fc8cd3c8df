//! The engine under [`burn-losses`](https://crates.io/crates/burn-losses): operations that Burn's tensor operations could
//! only do with far more memory, each in a folder of its own, with the same results on every backend.
//!
//! - [`logsumexp`]: the log-sum-exp of the scores of queries and keys, streamed over blocks of keys, so that the
//!   `[queries, keys]` scores never exist at once. The denominator of softmax heads and contrastive losses.
//! - [`rivals`]: the same walk for heads that see the other classes otherwise: hard ones reweighted, a sum of softplus,
//!   several centers per class; and for the positives and negatives of a batch.
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

pub mod logsumexp;
#[doc(hidden)]
pub mod math;
pub mod rivals;
pub mod triplets;
