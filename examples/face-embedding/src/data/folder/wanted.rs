//! What is wanted of the pictures of a folder.

use crate::settings::config::TrainConfig;

/// What pictures are brought to, and which are too small for that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Side length that they are brought to, in pixels.
    pub size: usize,
    /// The shorter side of a picture that is used has at least so many pixels.
    pub smallest: usize,
}

impl Wanted {
    /// What a run with these settings wants.
    ///
    /// # Panics
    ///
    /// If they are not [resolved](TrainConfig::resolve).
    pub fn of(config: &TrainConfig) -> Self {
        Self { size: config.network.image_size(), smallest: config.min_size }
    }
}

/// Pictures of this size, of whatever size they were.
impl From<usize> for Wanted {
    fn from(size: usize) -> Self {
        Self { size, smallest: 1 }
    }
}
