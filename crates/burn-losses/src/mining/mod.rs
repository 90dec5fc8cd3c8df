//! Which pairs and triplets count.
//!
//! Labels are identities: only whether two are equal matters, and a row with a negative label is in no pair.

mod pairs;

pub use pairs::{Pairs, Triplets};
