//! Pictures by the name of a person and a number, as Labeled Faces in the Wild and its kind name their files.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use super::reader::{Reader, Unusable};
use super::scan::{Candidate, Listing, scan};
use crate::data::face_set::FaceSet;

/// How many of a long list are shown.
const SHOWN: usize = 10;

/// Reads the pictures `NAME/NAME_0001.jpg` of a folder for such names and numbers, in their order, with any of the
/// endings that [`load`](super::load()) takes.
///
/// # Errors
///
/// If the folder cannot be listed, or a picture is missing, is there with two endings, or cannot be used: whoever
/// leaves out pictures measures something else.
pub fn load_numbered(dir: &Path, pictures: &BTreeSet<(String, usize)>, reader: &Reader) -> Result<FaceSet> {
    let Listing { people, candidates, .. } = scan(dir).with_context(|| super::load::cannot_be_listed(dir))?;
    let mut files = BTreeMap::<(&str, &str), Vec<PathBuf>>::new();
    for Candidate { person, path } in &candidates {
        if let Some(stem) = path.file_stem().and_then(|stem| stem.to_str()) {
            files.entry((&people[*person].name, stem)).or_default().push(path.clone());
        }
    }
    let (mut found, mut problems) = (Vec::new(), Vec::new());
    let mut names: Vec<String> = Vec::new();
    for (name, number) in pictures {
        if names.last() != Some(name) {
            names.push(name.clone());
        }
        let stem = format!("{name}_{number:04}");
        match files.get(&(name, &stem)).map(Vec::as_slice) {
            Some([path]) => found.push((names.len() - 1, path.clone())),
            Some(several) => problems.push(format!("{name}/{stem}: there are {} files of that name", several.len())),
            None => problems.push(format!("{name}/{stem}: there is no such picture")),
        }
    }
    let mut faces = Vec::new();
    if problems.is_empty() {
        for picture in reader.faces(found) {
            match picture {
                Ok(face) => faces.push(face),
                Err(Unusable { file, reason }) => problems.push(format!("{file:?}: {reason}")),
            }
        }
    }
    let shown = problems[..problems.len().min(SHOWN)].join("\n  ");
    ensure!(
        problems.is_empty(),
        "{}: {} of {} pictures cannot be used; the first of them:\n  {shown}",
        dir.display(),
        problems.len(),
        pictures.len()
    );
    Ok(FaceSet { size: reader.size(), people: names, faces })
}
