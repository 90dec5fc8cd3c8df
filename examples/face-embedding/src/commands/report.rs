//! The figures of a run: as JSON, and as a table to read.

use anyhow::Result;
use serde::{Deserialize, Serialize};

use crate::protocols::rates::percent;
use crate::protocols::verification::Verification;

/// What `metrics.json` holds; JSON has no NaN, so a figure that could not be measured is null.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Metrics {
    /// The trained model.
    pub verification: Verification,
    /// The same network with random weights, from the same seed.
    pub untrained: Verification,
    /// Pictures trained on per second.
    pub images_per_second: f64,
    /// Time spent in training epochs.
    pub train_seconds: f64,
    /// The backend that measured.
    pub backend: String,
    /// The seed of the run.
    pub seed: u64,
    /// The SHA-256 of the trunk that was measured; a file of an earlier version has none.
    #[serde(default)]
    pub trunk: Option<String>,
}

impl Metrics {
    /// The figures as text.
    ///
    /// # Errors
    ///
    /// If they are not JSON.
    pub fn to_json(&self) -> Result<String> {
        Ok(serde_json::to_string_pretty(self)? + "\n")
    }

    /// What is wrong if the trained model is not better than the untrained one, by the area under the ROC curve.
    pub fn not_better(&self) -> Option<String> {
        let (trained, untrained) = (self.verification.auc, self.untrained.auc);
        // Of a figure that is no number nothing is better.
        (trained.partial_cmp(&untrained) != Some(std::cmp::Ordering::Greater)).then(|| {
            format!(
                "the trained model is not better than the untrained one: its area under the ROC curve is {trained:.4}, \
                 and that of the untrained one {untrained:.4}; train longer, or look at the pictures and the rates"
            )
        })
    }

    /// Prints the trained model beside the untrained one.
    pub fn print(&self) {
        let (trained, untrained) = (&self.verification, &self.untrained);
        say!("{:<26} {:>16} {:>16}", "verification", "trained", "untrained");
        let accuracy =
            |figures: &Verification| format!("{} +- {}", percent(figures.accuracy), percent(figures.accuracy_std));
        row("accuracy over folds", accuracy(trained), accuracy(untrained));
        row(
            "  between dealings",
            format!("+- {}", percent(trained.accuracy_dealing_std)),
            format!("+- {}", percent(untrained.accuracy_dealing_std)),
        );
        row("area under ROC", format!("{:.4}", trained.auc), format!("{:.4}", untrained.auc));
        row("equal error rate", percent(trained.eer), percent(untrained.eer));
        for (target, tar) in &trained.tar_at_far {
            // What is missing is told before.
            let Some(tar) = tar else { continue };
            let other = untrained.tar_at_far.get(target).copied().flatten().unwrap_or_default();
            row(&format!("true accepts, FAR <= {target}"), percent(*tar), percent(other));
        }
        let (found, before) = (&trained.search, &untrained.search);
        for (rank, (share, other)) in
            found.cmc.iter().zip(&before.cmc).enumerate().filter(|(place, _)| [0, 4].contains(place))
        {
            row(&format!("found within {} of {}", rank + 1, found.gallery), percent(*share), percent(*other));
        }
        for (target, missed) in &found.fnir_at_fpir {
            let Some(missed) = missed else { continue };
            let other = before.fnir_at_fpir.get(target).copied().flatten().unwrap_or_default();
            row(&format!("missed at FPIR <= {target}"), percent(*missed), percent(other));
        }
        say!("\n{}", trained.intervals);
        say!("\n{}", trained.thresholds);
    }
}

fn row(name: &str, trained: String, untrained: String) {
    say!("{name:<26} {trained:>16} {untrained:>16}");
}
