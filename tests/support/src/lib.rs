//! What the tests of this workspace share.
//!
//! - [`close`]: the only comparison of numbers; NaN equals nothing.
//! - [`gradient`]: finite differences in `f64`.
//! - [`naive`]: every loss as plain `f64` loops, written from the papers: simple, slow, correct.
//! - [`golden`]: the files with numbers from other libraries.
//! - [`table`]: one row per loss, which all the tests go through.

#![forbid(unsafe_code)]

pub mod close;
pub mod golden;
pub mod gradient;
pub mod naive;
pub mod table;

// Compiles the example of the workspace's README.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
