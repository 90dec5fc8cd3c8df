//! How a model is measured: on which people, with which questions, by which figures.
//!
//! - [`people`]: whom a run trains on and whom it is measured on.
//! - [`pairs`]: same-or-different questions; [`verification`]: the figures of the answers.
//! - [`lfw`]: such questions in official folds, from a file; [`search`]: who of many it is; [`templates`]: both of several pictures
//!   of somebody at once.
//! - [`rates`]: true accept rates and their intervals, for both.
//! - [`answers`]: how the scores lie and where they are most wrong, to be looked at.
//! - [`thresholds`]: from which cosine on two pictures are taken for the same person.

pub mod answers;
pub mod lfw;
pub mod pairs;
pub mod people;
pub mod rates;
pub mod search;
pub mod templates;
pub mod thresholds;
pub mod verification;
