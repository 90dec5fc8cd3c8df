//! How training pictures are changed.

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::range::within;

/// How far a training picture is changed, anew in every epoch; what is not given depends on the pictures.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Augmentation {
    /// Whether half of the pictures are mirrored.
    pub mirror: Option<bool>,
    /// Turned by up to this angle either way, in radians; in `[0, 3.15]`.
    pub rotation: Option<f64>,
    /// Enlarged or shrunk by up to this share; in `[0, 0.5]`.
    pub zoom: Option<f64>,
    /// Moved by up to this share of the side length, in whole pixels; in `[0, 0.5]`.
    pub shift: Option<f64>,
    /// Made brighter or darker by up to this share of the full range; in `[0, 1]`.
    pub brightness: Option<f64>,
    /// Contrast raised or lowered by up to this share; in `[0, 1]`.
    pub contrast: Option<f64>,
    /// The share of pictures that are blurred; in `[0, 1]`.
    pub blur: Option<f64>,
    /// The share of pictures that are brought to a half or a third of their resolution; in `[0, 1]`.
    pub low_resolution: Option<f64>,
    /// The share of pictures of which a rectangle is covered; in `[0, 1]`.
    pub erasing: Option<f64>,
}

impl Augmentation {
    /// What photographs take: the mix that docs/measured.md was measured with. What each part brings was not.
    const PHOTOGRAPHS: Self = Self {
        mirror: Some(true),
        rotation: Some(0.17),
        zoom: Some(0.1),
        shift: Some(0.0625),
        brightness: Some(0.15),
        contrast: Some(0.3),
        blur: Some(0.1),
        low_resolution: Some(0.1),
        erasing: Some(0.5),
    };
    /// What drawn faces take, whose snapshots turn, blur and cover them already.
    const DRAWN: Self = Self {
        mirror: Some(true),
        rotation: Some(0.0),
        zoom: Some(0.0),
        shift: Some(0.0625),
        brightness: Some(0.15),
        contrast: Some(0.0),
        blur: Some(0.0),
        low_resolution: Some(0.0),
        erasing: Some(0.0),
    };

    /// These settings with the defaults where nothing is given.
    ///
    /// # Errors
    ///
    /// If a setting is out of its range.
    pub fn resolve(&self, photographs: bool) -> Result<Self> {
        let defaults = if photographs { Self::PHOTOGRAPHS } else { Self::DRAWN };
        let pick = |name: &str, given: Option<f64>, default: Option<f64>, most: f64| match given {
            None => Ok(default),
            Some(value) => within(name, value, 0.0..=most).map(|()| Some(value)),
        };
        Ok(Self {
            mirror: self.mirror.or(defaults.mirror),
            rotation: pick("rotation", self.rotation, defaults.rotation, 3.15)?,
            zoom: pick("zoom", self.zoom, defaults.zoom, 0.5)?,
            shift: pick("shift", self.shift, defaults.shift, 0.5)?,
            brightness: pick("brightness", self.brightness, defaults.brightness, 1.0)?,
            contrast: pick("contrast", self.contrast, defaults.contrast, 1.0)?,
            blur: pick("blur", self.blur, defaults.blur, 1.0)?,
            low_resolution: pick("low_resolution", self.low_resolution, defaults.low_resolution, 1.0)?,
            erasing: pick("erasing", self.erasing, defaults.erasing, 1.0)?,
        })
    }
}
