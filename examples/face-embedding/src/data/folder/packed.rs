//! Pictures that are packed into one file with the pairs that they make: InsightFace's `lfw.bin` and its kind.

use std::borrow::Cow;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use anyhow::{Context, Result, anyhow, ensure};
use rayon::prelude::*;

use super::decode::decode;
use super::reader::Reader;
use super::wanted::Frame;
use crate::data::face_set::{Face, FaceSet};
use crate::data::pickle::{Lists, byte_strings_and_bools};

/// Longest file that is read: ten times the largest one that is known.
const LONGEST_FILE: u64 = 1 << 30;
/// Most bytes of decoded pictures.
const MEMORY_LIMIT: u64 = 4 << 30;

/// Reads a file of pairs: a pickle of a list of encoded pictures and of one of bools, whether the first two pictures are of one
/// person, the next two, and so on. Who they are of, it does not say: each picture is of a person of its own here.
///
/// # Errors
///
/// If the file cannot be read, holds anything else, or has a picture that cannot be used: whoever leaves out pictures measures
/// something else.
pub fn load_packed(path: &Path, reader: &Reader) -> Result<(FaceSet, Vec<bool>)> {
    let wanted = reader.wanted();
    let read = || {
        ensure!(wanted.landmarks.is_none(), "its pictures are aligned, so there are no landmarks of them");
        let mut bytes = Vec::new();
        File::open(path)?.take(LONGEST_FILE + 1).read_to_end(&mut bytes)?;
        ensure!(bytes.len() as u64 <= LONGEST_FILE, "must be at most {LONGEST_FILE} bytes long");
        let Lists { byte_strings: pictures, bools: same } = byte_strings_and_bools(&bytes)?;
        ensure!(
            pictures.len() == 2 * same.len(),
            "must have two pictures for every pair, got {} pictures and {} pairs",
            pictures.len(),
            same.len()
        );
        let decoded = pictures.len() as u64 * (wanted.size * wanted.size * 3) as u64;
        ensure!(
            decoded <= MEMORY_LIMIT,
            "{} pictures of {} x {} pixels need {decoded} bytes of memory, the limit is {MEMORY_LIMIT}",
            pictures.len(),
            wanted.size,
            wanted.size
        );
        let frame = Frame { size: wanted.size, smallest: wanted.smallest, points: None };
        let face = |(person, bytes): (usize, &Cow<[u8]>)| {
            let pixels = decode(bytes, frame).map_err(|reason| anyhow!("picture {person}: {reason}"))?;
            Ok(Face::drawn(person, pixels))
        };
        let faces: Vec<Result<Face>> = reader.install(|| pictures.par_iter().enumerate().map(face).collect());
        // Of several that cannot be read, it is the first that is named, whichever thread was quicker.
        let faces: Vec<Face> = faces.into_iter().collect::<Result<_>>()?;
        let people = (0..faces.len()).map(|number| format!("picture {number}")).collect();
        Ok((FaceSet { size: wanted.size, people, faces }, same))
    };
    read().with_context(|| format!("cannot read the pairs {}", path.display()))
}
