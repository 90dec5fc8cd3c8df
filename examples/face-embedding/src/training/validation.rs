//! What is measured between epochs.

use anyhow::Result;
use serde::{Deserialize, Serialize};

use crate::model::trunk::Trunk;

/// How well a trunk does on the test people, in two of the figures of a finished run.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Validation {
    /// Area under the ROC curve of all pairs.
    pub auc: f64,
    /// Error rate at which false accepts and false rejects are equally frequent.
    pub eer: f64,
}

impl Validation {
    /// By the area, which no threshold or rate is chosen for.
    pub fn is_better_than(&self, other: &Self) -> bool {
        self.auc > other.auc
    }
}

/// Measures a trunk; whoever calls for a training brings it, since this layer knows no protocol.
pub type Validate = Box<dyn Fn(&Trunk) -> Result<Validation> + Send + Sync>;
