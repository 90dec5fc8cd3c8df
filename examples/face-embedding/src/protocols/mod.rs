//! How a model is measured: on which people, with which questions, by which figures.
//!
//! - [`people`]: whom a run trains on and whom it is measured on.
//! - [`pairs`]: same-or-different questions; [`verification`]: the figures of the answers.
//! - [`thresholds`]: from which cosine on two pictures are taken for the same person.

pub mod pairs;
pub mod people;
pub mod thresholds;
pub mod verification;
