//! The points of faces in pictures, as a detector has found them.

use std::collections::HashMap;
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use csv::{ReaderBuilder, StringRecord};

use super::align::Points;

/// What the columns of a file are called.
const COLUMNS: [&str; 11] = ["path", "x1", "y1", "x2", "y2", "x3", "y3", "x4", "y4", "x5", "y5"];

/// The points of the faces of a file, by picture.
#[derive(Debug)]
pub struct Landmarks {
    file: PathBuf,
    points: HashMap<PathBuf, Points>,
}

impl Landmarks {
    /// Reads a table with the columns `path`, `x1`, `y1` to `x5`, `y5`: eyes, nose and corners of the mouth, those on the
    /// left of the picture first, in pixels of the upright picture. Paths begin at the folder of the file.
    ///
    /// # Errors
    ///
    /// If the file cannot be read, or a line has other columns, a picture that an earlier one has, or what is no number.
    pub fn read(file: &Path) -> Result<Self> {
        let read = || {
            let path = file.canonicalize()?;
            let folder = path.parent().context("it is in no folder")?;
            let mut table = ReaderBuilder::new().from_reader(BufReader::new(File::open(file)?));
            ensure!(
                table.headers()?.iter().eq(COLUMNS),
                "its first line must be {}, got {}",
                COLUMNS.join(","),
                table.headers()?.iter().collect::<Vec<_>>().join(",")
            );
            let mut points = HashMap::new();
            for line in table.records() {
                let line = line?;
                let number = line.position().map_or(0, csv::Position::line);
                let of_line = points_of(&line).with_context(|| format!("line {number}"))?;
                let is_new = points.insert(folder.join(&line[0]), of_line).is_none();
                ensure!(is_new, "line {number}: {} is there twice", &line[0]);
            }
            Ok(Self { file: file.to_path_buf(), points })
        };
        read().with_context(|| format!("landmarks: cannot read {}", file.display()))
    }

    /// Those of a file of another form, by the real paths of the pictures.
    pub(super) fn of_points(file: &Path, points: HashMap<PathBuf, Points>) -> Self {
        Self { file: file.to_path_buf(), points }
    }

    /// The points of a picture, or why there are none.
    pub(super) fn of(&self, picture: &Path) -> Result<&Points, String> {
        let path = picture.canonicalize().map_err(|error| format!("cannot be read: {error}"))?;
        self.points.get(&path).ok_or_else(|| format!("has no line in {}", self.file.display()))
    }
}

fn points_of(line: &StringRecord) -> Result<Points> {
    let mut points = Points::default();
    for (at, (text, name)) in line.iter().zip(COLUMNS).skip(1).enumerate() {
        let number: f64 = text
            .trim()
            .parse()
            .ok()
            .filter(|number: &f64| number.is_finite())
            .with_context(|| format!("{name} must be a number, got {text:?}"))?;
        points[at / 2][at % 2] = number;
    }
    Ok(points)
}
