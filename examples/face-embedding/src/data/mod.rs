//! Pictures: where they come from, how they are split and changed, and how they become tensors.
//!
//! - [`face_set`]: pictures of known people, which all of this is about.
//! - [`procedural`] draws people that do not exist, so that the example runs without a download; [`folder`] reads
//!   pictures of real people, one sub-folder each, or a file of pairs, whose lists `pickle` reads.
//! - [`split`] keeps some people apart; `augment` changes training pictures, and `dropout` says which of their features
//!   are dropped; `tensor` brings pictures to a device; [`fingerprint`] tells their contents apart.

pub mod face_set;
pub mod fingerprint;
pub mod folder;
pub mod procedural;
pub mod split;

pub(crate) mod augment;
pub(crate) mod dropout;
pub(crate) mod random;
pub(crate) mod tensor;

mod pickle;
