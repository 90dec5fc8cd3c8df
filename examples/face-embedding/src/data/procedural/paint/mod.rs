//! The drawing: every feature of a head has a file, and `picture` lays them over each other.

mod face;
mod hair;
mod head;
mod picture;
mod sitter;
mod worn;

pub(super) use picture::paint;
