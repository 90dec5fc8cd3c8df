//! The model: a trunk that embeds pictures, and a head that trains it.
//!
//! - [`trunk`]: from a picture to its embedding; `embed` asks it about many pictures.
//! - [`head`]: from embeddings and labels to a loss; [`contrastive`]: those of pairs, triplets and proxies.
//! - [`face_model`]: both as the one module that is trained; [`spread`]: on several devices.

pub mod contrastive;
pub mod face_model;
pub mod head;
pub mod spread;
pub mod trunk;

pub(crate) mod embed;
