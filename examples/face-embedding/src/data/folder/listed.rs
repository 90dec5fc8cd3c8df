//! Pictures that a list names, some at a time: a set of half a million is never in memory as a whole.

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use rayon::prelude::*;

use super::landmarks::Landmarks;
use super::reader::Reader;
use crate::data::face_set::{Face, FaceSet};

/// How many of a long list are shown.
const SHOWN: usize = 10;

/// Reads the pictures of these names in a folder, in their order; who they are of is not known.
///
/// # Errors
///
/// If a picture is missing or cannot be used: whoever leaves out pictures measures something else.
pub fn load_listed(dir: &Path, names: &[&str], reader: &Reader) -> Result<FaceSet> {
    let read = |(person, name): (usize, &&str)| {
        let file = dir.join(name);
        match reader.pixels(&file) {
            Ok(pixels) => Ok(Face { file: Some(file), ..Face::drawn(person, pixels) }),
            Err(reason) => Err(format!("{file:?}: {reason}")),
        }
    };
    let pictures: Vec<_> = reader.install(|| names.par_iter().enumerate().with_max_len(1).map(read).collect());
    let (mut faces, mut problems) = (Vec::new(), Vec::new());
    for picture in pictures {
        match picture {
            Ok(face) => faces.push(face),
            Err(problem) => problems.push(problem),
        }
    }
    ensure!(
        problems.is_empty(),
        "{}: {} of {} pictures cannot be used; the first of them:\n  {}",
        dir.display(),
        problems.len(),
        names.len(),
        problems[..problems.len().min(SHOWN)].join("\n  ")
    );
    Ok(FaceSet { size: reader.size(), people: names.iter().map(|name| (*name).to_string()).collect(), faces })
}

/// Reads InsightFace's file of five points and a detector's score for every picture of a folder, `name x1 y1 .. x5 y5 score`:
/// what aligns the pictures, and the scores by their names.
///
/// # Errors
///
/// If the file cannot be read, or a line is not in the form or there twice.
pub fn read_points(file: &Path, dir: &Path) -> Result<(Landmarks, HashMap<String, f64>)> {
    let read = || {
        let dir = dir.canonicalize().with_context(|| dir.display().to_string())?;
        let (mut points, mut scores) = (HashMap::new(), HashMap::new());
        for (place, line) in std::fs::read_to_string(file)?.lines().enumerate() {
            let mut fields = line.split_whitespace();
            let Some(name) = fields.next() else { continue };
            let numbers: Option<Vec<f64>> =
                fields.map(|field| field.parse().ok().filter(|number: &f64| number.is_finite())).collect();
            let numbers: Option<[f64; 11]> = numbers.and_then(|numbers| numbers.try_into().ok());
            let [points_of_face @ .., score] =
                numbers.with_context(|| format!("line {}: must have a name and 11 numbers", place + 1))?;
            let points_of_face =
                [0, 1, 2, 3, 4].map(|point| [points_of_face[2 * point], points_of_face[2 * point + 1]]);
            points.insert(dir.join(name), points_of_face);
            let is_new = scores.insert(name.to_string(), score).is_none();
            ensure!(is_new, "line {}: {name} is there twice", place + 1);
        }
        Ok((Landmarks::of_points(file, points), scores))
    };
    read().with_context(|| format!("points: cannot read {}", file.display()))
}
