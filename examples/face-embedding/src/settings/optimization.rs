//! What becomes of the gradients before the optimizer takes them.

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::range::within;

/// What becomes of the gradients before a step; a file of an earlier version has none of these settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Optimization {
    /// Batches of one step of the optimizer, whose gradients are averaged; in `[1, 65536]`.
    pub accumulate: usize,
    /// Longest gradient of all parameters together, to which longer ones are shortened; in `[1e-6, 1e6]`. With a `sample_rate`
    /// of the trunk alone. None: as long as it is.
    pub clip_norm: Option<f64>,
}

impl Default for Optimization {
    fn default() -> Self {
        Self { accumulate: 1, clip_norm: None }
    }
}

impl Optimization {
    /// Checks the settings.
    ///
    /// # Errors
    ///
    /// If one is out of its range.
    pub fn check(&self) -> Result<()> {
        within("accumulate", self.accumulate, 1..=65_536)?;
        self.clip_norm.map_or(Ok(()), |norm| within("clip_norm", norm, 1e-6..=1e6))
    }

    /// Steps of the optimizer in so many batches of an epoch; the last one may be of fewer batches than the others.
    pub fn steps(&self, batches: usize) -> usize {
        batches.div_ceil(self.accumulate)
    }
}
