//! What is wanted of the pictures of a folder.

use std::path::Path;
use std::sync::Arc;

use anyhow::Result;

use super::align::Points;
use super::landmarks::Landmarks;
use crate::settings::config::TrainConfig;

/// What pictures are brought to, and which are too small for that.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Side length that they are brought to, in pixels.
    pub size: usize,
    /// The shorter side of a picture that is used has at least so many pixels.
    pub smallest: usize,
    /// Where the faces are; none for pictures that are aligned.
    pub landmarks: Option<Arc<Landmarks>>,
}

impl Wanted {
    /// What a run with these settings wants, of pictures with their points in this file or of aligned ones.
    ///
    /// # Errors
    ///
    /// If the file cannot be read.
    ///
    /// # Panics
    ///
    /// If the settings are not [resolved](TrainConfig::resolve).
    pub fn of(config: &TrainConfig, landmarks: Option<&Path>) -> Result<Self> {
        let landmarks = landmarks.map(Landmarks::read).transpose()?.map(Arc::new);
        Ok(Self { size: config.network.image_size(), smallest: config.min_size, landmarks })
    }

    /// What is wanted of a picture, or why it cannot be had.
    pub(super) fn frame(&self, picture: &Path) -> Result<Frame, String> {
        let points = self.landmarks.as_ref().map(|landmarks| landmarks.of(picture).copied()).transpose()?;
        Ok(Frame { size: self.size, smallest: self.smallest, points })
    }
}

/// Pictures of this size, of whatever size they were.
impl From<usize> for Wanted {
    fn from(size: usize) -> Self {
        Self { size, smallest: 1, landmarks: None }
    }
}

/// What is wanted of one picture.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame {
    pub(super) size: usize,
    pub(super) smallest: usize,
    /// Of the face; none for its centre square.
    pub(super) points: Option<Points>,
}

/// The centre square in this size, of a picture of whatever size.
impl From<usize> for Frame {
    fn from(size: usize) -> Self {
        Self { size, smallest: 1, points: None }
    }
}
