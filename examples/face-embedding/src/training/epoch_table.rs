//! `metrics.csv`: one row per epoch.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use csv::{ReaderBuilder, WriterBuilder};
use serde::{Deserialize, Serialize};

use super::files;
use super::validation::Validation;

/// The columns, in the order of the fields of [`EpochRow`].
const COLUMNS: [&str; 16] = [
    "epoch",
    "loss",
    "learning_rate",
    "head_learning_rate",
    "images_per_second",
    "mean_angle",
    "nearest_other_angle",
    "embedding_length",
    "direction_variance",
    "bad_labels",
    "seconds",
    "margin",
    "validation_auc",
    "validation_eer",
    "cosine_margin",
    "scale",
];

/// So many of them the tables of earlier versions have.
const COLUMNS_BEFORE: [usize; 2] = [11, 14];

/// One epoch of a run.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct EpochRow {
    /// Number of the epoch, from 1.
    pub epoch: usize,
    /// Mean loss over the epoch.
    pub loss: f64,
    /// Learning rate of the trunk at the last step.
    pub learning_rate: f64,
    /// Learning rate of the head at the last step.
    pub head_learning_rate: f64,
    /// Pictures trained on per second.
    pub images_per_second: f64,
    /// Mean angle to the own class over the epoch, in radians.
    pub mean_angle: f64,
    /// Mean angle to the nearest other class over the epoch, in radians.
    pub nearest_other_angle: f64,
    /// Mean length of the embeddings over the epoch.
    pub embedding_length: f64,
    /// How far the directions of the embeddings of a batch spread, on average: nearly 0 is a collapsed model.
    pub direction_variance: f64,
    /// Labels of the epoch that were no class.
    pub bad_labels: f64,
    /// How long the epoch took, without what was measured after it.
    pub seconds: f64,
    /// Margin of the loss at the last step, where it has one that can rise.
    #[serde(default)]
    pub margin: Option<f64>,
    /// Area under the ROC curve on the test people after the epoch, if that was measured.
    #[serde(default)]
    pub validation_auc: Option<f64>,
    /// Their equal error rate.
    #[serde(default)]
    pub validation_eer: Option<f64>,
    /// The other margin of `combinedmargin` at the last step, that of the cosine.
    #[serde(default)]
    pub cosine_margin: Option<f64>,
    /// Scale of the loss at the last step, where it has one.
    #[serde(default)]
    pub scale: Option<f64>,
}

/// Rows as text, below the names of the columns or without them.
fn to_text(rows: &[EpochRow], header: bool) -> Result<Vec<u8>> {
    let mut writer = WriterBuilder::new().has_headers(false).from_writer(Vec::new());
    if header {
        writer.write_record(COLUMNS)?;
    }
    for row in rows {
        writer.serialize(row)?;
    }
    Ok(writer.into_inner()?)
}

/// The file and the way to it.
#[derive(Clone, Debug)]
pub struct EpochTable {
    path: PathBuf,
}

impl EpochTable {
    /// Begins the file, keeping the rows of the epochs that are done already.
    ///
    /// # Errors
    ///
    /// If the file cannot be written.
    pub fn begin(path: &Path, epochs_done: usize) -> Result<Self> {
        // The table is for people to read; the training goes on without it.
        let written = if epochs_done > 0 { read(path) } else { Ok(Vec::new()) };
        let mut rows = written.unwrap_or_else(|error| {
            say!("warning: {error:#}; the rows of the first {epochs_done} epochs are lost");
            Vec::new()
        });
        // A run that was killed may have written a row of an epoch that has no checkpoint.
        rows.retain(|row| row.epoch <= epochs_done);
        files::write(path, &to_text(&rows, true)?)?;
        Ok(Self { path: path.to_path_buf() })
    }

    /// Adds a row at once, so that it is there if the run is killed later.
    ///
    /// # Errors
    ///
    /// If the file cannot be written.
    pub fn append(&self, row: &EpochRow) -> Result<()> {
        let line = to_text(&[*row], false)?;
        OpenOptions::new()
            .append(true)
            .open(&self.path)
            .and_then(|mut file| {
                file.write_all(&line)?;
                file.sync_data()
            })
            .with_context(|| format!("cannot write {}", self.path.display()))
    }

    /// Puts down what was measured after an epoch whose row is there.
    ///
    /// # Errors
    ///
    /// If the file cannot be read or written.
    pub(super) fn add_validation(&self, epoch: usize, validation: Validation) -> Result<()> {
        let mut rows = read(&self.path)?;
        for row in rows.iter_mut().filter(|row| row.epoch == epoch) {
            (row.validation_auc, row.validation_eer) = (Some(validation.auc), Some(validation.eer));
        }
        files::write(&self.path, &to_text(&rows, true)?)
    }
}

/// The rows of a file.
///
/// # Errors
///
/// If the file cannot be read or is no such table.
pub fn read(path: &Path) -> Result<Vec<EpochRow>> {
    let text = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    parse(&text).with_context(|| format!("{} is not a table of epochs", path.display()))
}

fn parse(text: &[u8]) -> Result<Vec<EpochRow>> {
    // The last line may be cut short by a kill; such a line is no row.
    let whole = text.iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1);
    let mut reader = ReaderBuilder::new().from_reader(&text[..whole]);
    let header = reader.headers()?;
    let is_known = COLUMNS_BEFORE
        .into_iter()
        .chain([COLUMNS.len()])
        .any(|count| header.iter().eq(COLUMNS[..count].iter().copied()));
    ensure!(is_known, "the first line is not the names of the columns");
    Ok(reader.deserialize().collect::<Result<_, _>>()?)
}

/// Seconds spent in epochs, and the pictures trained on per second over all of them.
pub fn totals(rows: &[EpochRow]) -> (f64, f64) {
    let seconds: f64 = rows.iter().map(|row| row.seconds).sum();
    let images: f64 = rows.iter().map(|row| row.images_per_second * row.seconds).sum();
    // A table without rows has no speed, and JSON has no NaN.
    (seconds, if seconds > 0.0 { images / seconds } else { 0.0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(epoch: usize) -> EpochRow {
        EpochRow {
            epoch,
            loss: 1.0 / 3.0,
            learning_rate: 1e-9,
            head_learning_rate: 0.5,
            images_per_second: 1000.5,
            mean_angle: 0.75,
            nearest_other_angle: 1.25,
            embedding_length: 3.5,
            direction_variance: 0.5,
            bad_labels: 2.0,
            seconds: 12.0,
            margin: Some(0.3),
            validation_auc: (epoch == 1).then_some(2.0 / 3.0),
            validation_eer: (epoch == 1).then_some(0.25),
            cosine_margin: Some(0.1),
            scale: Some(16.0),
        }
    }

    #[test]
    fn rows_are_read_back_as_written() {
        let rows = [row(1), row(2)];
        let text = to_text(&rows, true).expect("rows are text");
        assert_eq!(parse(&text).expect("what was written"), rows);
        let header = String::from_utf8(text).expect("text").lines().next().map(str::to_string);
        assert_eq!(header.as_deref(), Some(COLUMNS.join(",").as_str()));
        assert_eq!(parse(&to_text(&[], true).expect("a header")).expect("no row"), []);
    }

    #[test]
    fn a_table_of_an_earlier_version_has_no_validation() {
        let old = format!("{}\n1,0.5,0.1,0.2,100,1,1.2,3,0.5,0,7\n", COLUMNS[..COLUMNS_BEFORE[0]].join(","));
        let rows = parse(old.as_bytes()).expect("the columns of before");
        assert_eq!((rows[0].seconds, rows[0].validation_auc, rows[0].validation_eer), (7.0, None, None));
        let old = format!("{}\n1,0.5,0.1,0.2,100,1,1.2,3,0.5,0,7,0.3,,\n", COLUMNS[..COLUMNS_BEFORE[1]].join(","));
        let rows = parse(old.as_bytes()).expect("the columns of before");
        assert_eq!((rows[0].margin, rows[0].validation_auc, rows[0].cosine_margin), (Some(0.3), None, None));
    }

    #[test]
    fn a_line_that_a_kill_cut_short_is_no_row() {
        let text = to_text(&[row(1), row(2)], true).expect("rows are text");
        for cut in 1..10 {
            assert_eq!(parse(&text[..text.len() - cut]).expect("the first row is whole"), [row(1)]);
        }
    }

    #[test]
    fn a_broken_line_and_another_header_are_errors() {
        let text = String::from_utf8(to_text(&[row(1), row(2)], true).expect("rows are text")).expect("text");
        let message = |text: &str| format!("{:#}", parse(text.as_bytes()).expect_err("no such table"));
        assert!(
            message(&text.replace("1,0.3", "1,x")).contains("line: 2"),
            "{}",
            message(&text.replace("1,0.3", "1,x"))
        );
        assert!(message(&text.replace("1000.5,", "")).contains("line: 2"));
        assert!(message(&text.replace("mean_angle", "angle")).contains("names of the columns"));
        assert!(message("").contains("names of the columns"));
    }
}
