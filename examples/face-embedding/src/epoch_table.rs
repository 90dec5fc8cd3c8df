//! `metrics.csv`: one row per epoch.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

const HEADER: &str = "epoch,loss,learning_rate,head_learning_rate,images_per_second,mean_angle,nearest_other_angle,\
                      embedding_length,direction_variance,bad_labels,seconds";

/// One epoch of a run.
#[derive(Clone, Copy, Debug, PartialEq)]
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
    /// How long the epoch took.
    pub seconds: f64,
}

impl EpochRow {
    fn fields(&self) -> [f64; 10] {
        [
            self.loss,
            self.learning_rate,
            self.head_learning_rate,
            self.images_per_second,
            self.mean_angle,
            self.nearest_other_angle,
            self.embedding_length,
            self.direction_variance,
            self.bad_labels,
            self.seconds,
        ]
    }

    fn line(&self) -> String {
        let fields = self.fields().map(|field| format!("{field:.8}"));
        format!("{},{}\n", self.epoch, fields.join(","))
    }

    fn parse(line: &str) -> Option<Self> {
        let (epoch, rest) = line.split_once(',')?;
        let fields: Vec<f64> = rest.split(',').map(str::parse).collect::<Result<_, _>>().ok()?;
        let &[
            loss,
            learning_rate,
            head_learning_rate,
            images_per_second,
            mean_angle,
            nearest_other_angle,
            embedding_length,
            direction_variance,
            bad_labels,
            seconds,
        ] = fields.as_slice()
        else {
            return None;
        };
        Some(Self {
            epoch: epoch.parse().ok()?,
            loss,
            learning_rate,
            head_learning_rate,
            images_per_second,
            mean_angle,
            nearest_other_angle,
            embedding_length,
            direction_variance,
            bad_labels,
            seconds,
        })
    }
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
    /// If the file cannot be read or written.
    pub fn begin(path: &Path, epochs_done: usize) -> Result<Self> {
        let mut text = format!("{HEADER}\n");
        if epochs_done > 0 {
            // A run that was killed may have written a row of an epoch that has no checkpoint.
            for row in read(path)?.iter().filter(|row| row.epoch <= epochs_done) {
                text += &row.line();
            }
        }
        std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Self { path: path.to_path_buf() })
    }

    /// Adds a row at once, so that it is there if the run is killed later.
    ///
    /// # Errors
    ///
    /// If the file cannot be written.
    pub fn append(&self, row: &EpochRow) -> Result<()> {
        OpenOptions::new()
            .append(true)
            .open(&self.path)
            .and_then(|mut file| file.write_all(row.line().as_bytes()))
            .with_context(|| format!("cannot write {}", self.path.display()))
    }
}

/// The rows of a file.
///
/// # Errors
///
/// If the file cannot be read or is no such table.
pub fn read(path: &Path) -> Result<Vec<EpochRow>> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut lines = text.lines();
    if lines.next() != Some(HEADER) {
        bail!("{}: the first line is not the expected header", path.display());
    }
    // The last line may be cut short by a kill; such a line is no row.
    Ok(lines.filter_map(EpochRow::parse).collect())
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

    #[test]
    fn a_row_is_read_back_as_written() {
        let row = EpochRow {
            epoch: 3,
            loss: 1.25,
            learning_rate: 0.1,
            head_learning_rate: 0.5,
            images_per_second: 1000.5,
            mean_angle: 0.75,
            nearest_other_angle: 1.25,
            embedding_length: 3.5,
            direction_variance: 0.5,
            bad_labels: 2.0,
            seconds: 12.0,
        };
        assert_eq!(EpochRow::parse(row.line().trim_end()), Some(row));
        assert_eq!(EpochRow::parse("3,1.25,0.1"), None);
    }
}
