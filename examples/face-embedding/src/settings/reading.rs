//! How the pictures of folders are read.

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::range::within;

/// How the pictures of folders are read. None of it changes what is trained, so a resumed run may have others; a file of an
/// earlier version has none.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Reading {
    /// Memory for pictures that stay decoded, in MiB; in `[0, 1048576]`. The others are decoded whenever they are needed.
    pub cache_mib: usize,
    /// Threads that decode; in `[1, 256]`. None: one for each core, and at most 8.
    pub workers: Option<usize>,
}

impl Default for Reading {
    fn default() -> Self {
        Self { cache_mib: 2048, workers: None }
    }
}

impl Reading {
    /// The names of the settings.
    pub const NAMES: [&str; 2] = ["cache_mib", "workers"];

    /// Checks the settings.
    ///
    /// # Errors
    ///
    /// If one is out of its range.
    pub fn check(&self) -> Result<()> {
        within("cache_mib", self.cache_mib, 0..=1 << 20)?;
        if let Some(workers) = self.workers {
            within("workers", workers, 1..=256)?;
        }
        Ok(())
    }
}
