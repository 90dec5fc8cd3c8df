//! What is measured and kept of a run on its way.

use anyhow::{Result, ensure};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::range::within;

/// Which trunk a run ends with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[value(rename_all = "lowercase")]
pub enum Keep {
    /// That of the last epoch.
    #[default]
    Last,
    /// That of the measured epoch with the largest area under the curve.
    Best,
}

/// What is measured and kept on the way. None of it changes what is trained, so a resumed run may have others; a file of an
/// earlier version has none.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Checkpointing {
    /// Epochs from one measurement on the test people to the next, the last epoch being measured too; in `[0, 100000]`, and 0
    /// measures after the training only.
    pub validate_every: usize,
    /// Which trunk the run ends with; `best` needs `validate_every`.
    pub keep: Keep,
    /// Steps of the optimizer from one checkpoint within an epoch to the next; in `[1, 1000000000]`. None: at the end of an epoch
    /// only.
    pub checkpoint_steps: Option<usize>,
}

impl Checkpointing {
    /// The names of the settings.
    pub const NAMES: [&str; 3] = ["validate_every", "keep", "checkpoint_steps"];

    /// Checks the settings.
    ///
    /// # Errors
    ///
    /// If one is out of its range, or needs another.
    pub fn check(&self) -> Result<()> {
        within("validate_every", self.validate_every, 0..=100_000)?;
        if let Some(steps) = self.checkpoint_steps {
            within("checkpoint_steps", steps, 1..=1_000_000_000)?;
        }
        ensure!(
            self.keep == Keep::Last || self.validate_every > 0,
            "keep: the best epoch is known only where epochs are measured; give validate_every, or keep the last"
        );
        Ok(())
    }
}
