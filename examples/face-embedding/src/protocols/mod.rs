//! How a model is measured: on which people, with which questions, by which figures.
//!
//! - [`people`]: whom a run trains on and whom it is measured on.
//! - [`pairs`]: same-or-different questions; [`verification`]: the figures of the answers.

pub mod pairs;
pub mod people;
pub mod verification;
