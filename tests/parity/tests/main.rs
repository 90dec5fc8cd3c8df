//! All tests that run on every backend, in one binary.

#![allow(missing_docs)]
#![recursion_limit = "256"]

mod center;
mod config;
mod engine;
mod golden;
mod gradients;
mod hostile;
mod labels;
mod laws;
mod partial_fc;
mod sharded;
