//! Reads all pictures of a folder into a set, and reports the rest.

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Context, Result, anyhow, ensure};

use super::reader::{Reader, Unusable};
use super::report::{FolderReport, SamePicture, SkippedFile};
use super::scan::{Listing, scan, scan_any};
use crate::data::face_set::{Face, FaceSet};
use crate::data::fingerprint::Fingerprint;

/// Reads the pictures below `dir`: one sub-folder per person, cropped to the center square and
/// resized as `reader` wants them. All are decoded once, to know which can be used; those stay decoded for which `reader` has
/// room.
///
/// PNG, JPEG, WebP, BMP and PNM (PBM, PGM, PPM, PAM) files are read, in gray or color, with 1 to 16
/// bits, palette or not; transparent parts become white; a JPEG is turned upright as its EXIF
/// data asks. The content decides what a file is, not the extension, but files with the extension
/// of something else, hidden files and links are left alone. People are ordered by the bytes of
/// their names, on every platform.
///
/// # Errors
///
/// If `dir` cannot be listed, or there are not at least two people and one person with two pictures; the message then says
/// what was found. Files that cannot be used are no error: they are in the report.
pub fn load(dir: &Path, reader: &Reader) -> Result<(FaceSet, FolderReport)> {
    let (set, report) = read_listing(scan(dir).with_context(|| cannot_be_listed(dir))?, reader);
    ensure!(
        set.people.len() >= 2 && set.pictures_per_person().iter().any(|&pictures| pictures >= 2),
        "{} must hold at least two people, one of them with two pictures or more; found \
         {} (pictures in all: {})\n{report}",
        dir.display(),
        set.people.len(),
        set.faces.len()
    );
    Ok((set, report))
}

/// Reads the pictures below `dir` as [`load`] does, with as little as one picture in them.
///
/// A folder without sub-folders may hold the pictures itself; then all of them are of one person without a name, which
/// no folder can have.
///
/// # Errors
///
/// If `dir` cannot be listed, or there is no picture in it.
pub fn load_any(dir: &Path, reader: &Reader) -> Result<(FaceSet, FolderReport)> {
    let listing = scan_any(dir).with_context(|| cannot_be_listed(dir))?;
    let (set, report) = read_listing(listing, reader);
    ensure!(!set.faces.is_empty(), "{} holds no picture that can be used\n{report}", dir.display());
    Ok((set, report))
}

pub(super) fn cannot_be_listed(dir: &Path) -> String {
    format!("the folder of faces {} cannot be listed", dir.display())
}

/// Reads one picture as [`load`] reads those of a folder; a link to one is followed, as somebody has named it.
///
/// # Errors
///
/// If it cannot be read or is no picture; the message says why.
pub fn load_picture(path: &Path, reader: &Reader) -> Result<Face> {
    let file = path.canonicalize().with_context(|| format!("{} cannot be read", path.display()))?;
    let pixels = reader.pixels(&file).map_err(|reason| anyhow!("{}: {reason}", path.display()))?;
    Ok(Face { file: Some(path.to_path_buf()), ..Face::drawn(0, pixels) })
}

/// Reads all files, numbers the people who have a picture and reports everything else.
fn read_listing(listing: Listing, reader: &Reader) -> (FaceSet, FolderReport) {
    let mut set = FaceSet { size: reader.size(), people: Vec::new(), faces: Vec::new() };
    let mut report = FolderReport { skipped: listing.skipped, ..FolderReport::default() };
    // Place in `set.faces` of the first picture with this content.
    let mut seen: HashMap<Fingerprint, usize> = HashMap::new();
    let folders: Vec<usize> = listing.candidates.iter().map(|candidate| candidate.person).collect();
    let files = listing.candidates.into_iter().map(|candidate| (candidate.person, candidate.path)).collect();
    let mut pictures = folders.into_iter().zip(reader.faces(files)).peekable();
    for (folder, person) in listing.people.into_iter().enumerate() {
        let number = set.people.len();
        let kept_before = set.faces.len();
        while let Some((_, picture)) = pictures.next_if(|(of, _)| *of == folder) {
            let face = match picture {
                Ok(face) => Face { person: number, ..face },
                Err(Unusable { file, reason }) => {
                    report.skipped.push(SkippedFile { path: file, reason });
                    continue;
                }
            };
            let first = *seen.entry(face.fingerprint()).or_insert(set.faces.len());
            if let (Some(Face { person, file: Some(first), .. }), Some(second)) = (set.faces.get(first), &face.file) {
                let same = SamePicture { first: first.clone(), second: second.clone() };
                if *person == number { &mut report.repeated_pictures } else { &mut report.same_pictures }.push(same);
            }
            set.faces.push(face);
        }
        if set.faces.len() > kept_before {
            set.people.push(person.name);
        } else if !person.name.is_empty() {
            report.empty_people.push(person.path);
        }
    }
    report.kept = set.faces.len();
    report.skipped.sort_by(|a, b| a.path.as_os_str().as_encoded_bytes().cmp(b.path.as_os_str().as_encoded_bytes()));
    (set, report)
}

#[cfg(test)]
mod tests;
