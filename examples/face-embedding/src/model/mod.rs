//! The model: a trunk that embeds pictures and a head that trains it.

mod face_model;
mod head;
mod trunk;

pub(crate) use face_model::trunk_config;
pub use face_model::{FaceBatch, FaceModel};
pub use head::{Head, HeadOutput};
pub use trunk::{Trunk, TrunkConfig};
