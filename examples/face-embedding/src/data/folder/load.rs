//! Reads all pictures of a folder into a set, and reports the rest.

use std::collections::HashMap;
use std::num::NonZero;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use anyhow::{Context, Result, anyhow, ensure};

use super::report::{FolderReport, SamePicture, SkippedFile};
use super::scan::{Candidate, Listing, scan, scan_any};
use super::wanted::Wanted;
use super::{decode, read};
use crate::data::face_set::{Face, FaceSet};
use crate::data::fingerprint::Fingerprint;

/// Sides a picture can be resized to.
const SIZES: std::ops::RangeInclusive<usize> = 1..=1024;
/// All pictures are kept in memory, so there must be an end to it.
const MEMORY_LIMIT: u64 = 8 << 30;
/// Each thread may hold one decoded picture of hundreds of megabytes.
const MOST_THREADS: usize = 8;

/// Reads the pictures below `dir`: one sub-folder per person, cropped to the center square and
/// resized to `size` pixels a side.
///
/// PNG, JPEG, WebP, BMP and PNM (PBM, PGM, PPM, PAM) files are read, in gray or color, with 1 to 16
/// bits, palette or not; transparent parts become white; a JPEG is turned upright as its EXIF
/// data asks. The content decides what a file is, not the extension, but files with the extension
/// of something else, hidden files and links are left alone. People are ordered by the bytes of
/// their names, on every platform.
///
/// # Errors
///
/// If `dir` cannot be listed, the pictures would need more than 8 GiB, or there are not at least
/// two people and one person with two pictures; the message then says what was found. Files that
/// cannot be used are no error: they are in the report.
pub fn load(dir: &Path, wanted: impl Into<Wanted>) -> Result<(FaceSet, FolderReport)> {
    let (set, report) = read_listing(scan(dir).with_context(|| cannot_be_listed(dir))?, wanted.into())?;
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
/// If `dir` cannot be listed, the pictures would need more than 8 GiB, or there is none.
pub fn load_any(dir: &Path, wanted: impl Into<Wanted>) -> Result<(FaceSet, FolderReport)> {
    let listing = scan_any(dir).with_context(|| cannot_be_listed(dir))?;
    let (set, report) = read_listing(listing, wanted.into())?;
    ensure!(!set.faces.is_empty(), "{} holds no picture that can be used\n{report}", dir.display());
    Ok((set, report))
}

pub(super) fn cannot_be_listed(dir: &Path) -> String {
    format!("the folder of faces {} cannot be listed", dir.display())
}

fn read_listing(listing: Listing, wanted: Wanted) -> Result<(FaceSet, FolderReport)> {
    let pictures = read_candidates(&listing.candidates, &wanted)?;
    Ok(collect(listing, pictures, wanted.size))
}

/// Reads and decodes files on all cores, after a look whether there is memory for them.
pub(super) fn read_candidates(candidates: &[Candidate], wanted: &Wanted) -> Result<Vec<Outcome>> {
    let size = wanted.size;
    ensure!(SIZES.contains(&size), "the side of a picture must be in {SIZES:?}, got {size}");
    check_memory(candidates.len(), size)?;
    let threads = thread::available_parallelism().map_or(1, NonZero::get).min(MOST_THREADS);
    Ok(read_all(candidates, wanted, threads))
}

/// Reads one picture as [`load`] reads those of a folder; a link to one is followed, as somebody has named it.
///
/// # Errors
///
/// If it cannot be read or is no picture; the message says why.
pub fn load_picture(path: &Path, wanted: impl Into<Wanted>) -> Result<Face> {
    let file = path.canonicalize().with_context(|| format!("{} cannot be read", path.display()))?;
    let (pixels, _) = read_one(&file, &wanted.into()).map_err(|reason| anyhow!("{}: {reason}", path.display()))?;
    Ok(Face { person: 0, pixels, file: Some(path.to_path_buf()) })
}

pub(super) fn check_memory(pictures: usize, size: usize) -> Result<()> {
    let bytes = pictures as u64 * (size * size * 3) as u64;
    ensure!(
        bytes <= MEMORY_LIMIT,
        "{pictures} pictures of {size} x {size} pixels need {:.1} GiB of memory, the limit is \
         {} GiB: choose a smaller size or fewer pictures",
        bytes as f64 / f64::from(1 << 30),
        MEMORY_LIMIT >> 30
    );
    Ok(())
}

/// A picture that was read, or why not.
pub(super) type Outcome = std::result::Result<(Arc<[u8]>, Fingerprint), String>;

/// Reads and decodes all files; the result is in their order.
fn read_all(candidates: &[Candidate], wanted: &Wanted, threads: usize) -> Vec<Outcome> {
    let next = AtomicUsize::new(0);
    // Files differ in cost by thousands, so threads take the next one instead of a fixed share.
    let work = || {
        let mut done = Vec::new();
        loop {
            let place = next.fetch_add(1, Ordering::Relaxed);
            let Some(candidate) = candidates.get(place) else { return done };
            done.push((place, read_one(&candidate.path, wanted)));
        }
    };
    let mut outcomes: Vec<(usize, Outcome)> = thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let done = workers
            .into_iter()
            .flat_map(|worker| worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        done.collect()
    });
    outcomes.sort_unstable_by_key(|(place, _)| *place);
    outcomes.into_iter().map(|(_, outcome)| outcome).collect()
}

fn read_one(path: &Path, wanted: &Wanted) -> Outcome {
    let bytes = read::read(path)?;
    let pixels = decode::decode(&bytes, wanted.frame(path)?)?;
    let fingerprint = Fingerprint::of_pixels(&pixels);
    Ok((pixels.into(), fingerprint))
}

/// Numbers the people who have a picture and reports everything else.
fn collect(listing: Listing, pictures: Vec<Outcome>, size: usize) -> (FaceSet, FolderReport) {
    let mut set = FaceSet { size, people: Vec::new(), faces: Vec::new() };
    let mut report = FolderReport { skipped: listing.skipped, ..FolderReport::default() };
    // Place in `set.faces` of the first picture with this content.
    let mut seen: HashMap<Fingerprint, usize> = HashMap::new();
    let mut pictures = listing.candidates.into_iter().zip(pictures).peekable();
    for (folder, person) in listing.people.into_iter().enumerate() {
        let number = set.people.len();
        let kept_before = set.faces.len();
        while let Some((candidate, outcome)) = pictures.next_if(|(candidate, _)| candidate.person == folder) {
            let (pixels, fingerprint) = match outcome {
                Ok(picture) => picture,
                Err(reason) => {
                    report.skipped.push(SkippedFile { path: candidate.path, reason });
                    continue;
                }
            };
            let first = *seen.entry(fingerprint).or_insert(set.faces.len());
            if let Some(Face { person, file: Some(first), .. }) = set.faces.get(first) {
                let same = SamePicture { first: first.clone(), second: candidate.path.clone() };
                if *person == number { &mut report.repeated_pictures } else { &mut report.same_pictures }.push(same);
            }
            set.faces.push(Face { person: number, pixels, file: Some(candidate.path) });
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
