//! Pictures of known people.

use std::error::Error;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use rayon::prelude::*;

use super::fingerprint::Fingerprint;
use super::folder::Reader;

/// An RGB picture of a known person; all pictures of one set have the same side length.
#[derive(Clone)]
pub struct Face {
    /// Index into [`FaceSet::people`].
    pub person: usize,
    /// The file it was read from; none for a drawn face.
    pub file: Option<PathBuf>,
    pub(super) fingerprint: Fingerprint,
    pub(super) pixels: Pixels,
}

/// Where the pixels of a picture are: `size * size * 3` bytes, row by row, red before green before blue.
#[derive(Clone)]
pub(super) enum Pixels {
    /// In memory.
    Kept(Arc<[u8]>),
    /// In the file, from which this reads them whenever they are needed.
    InFile(Reader),
}

impl Face {
    /// A picture without a file, of `size * size * 3` bytes.
    pub fn drawn(person: usize, pixels: impl Into<Arc<[u8]>>) -> Self {
        let pixels = pixels.into();
        Self { person, file: None, fingerprint: Fingerprint::of_pixels(&pixels), pixels: Pixels::Kept(pixels) }
    }

    /// What tells it from other pictures.
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// Whether it stays decoded in memory.
    pub fn is_kept(&self) -> bool {
        matches!(self.pixels, Pixels::Kept(_))
    }

    /// Its `size * size * 3` bytes, row by row, red before green before blue.
    ///
    /// # Errors
    ///
    /// If it is not kept in memory, and its file is gone, cannot be decoded any more or holds another picture.
    pub fn pixels(&self) -> Result<Arc<[u8]>, ChangedPicture> {
        let (reader, file) = match (&self.pixels, &self.file) {
            (Pixels::Kept(pixels), _) => return Ok(pixels.clone()),
            (Pixels::InFile(reader), Some(file)) => (reader, file),
            (Pixels::InFile(_), None) => unreachable!("a picture that is not kept has a file"),
        };
        let changed = |reason| ChangedPicture { file: file.clone(), reason };
        let pixels = reader.pixels(file).map_err(changed)?;
        if Fingerprint::of_pixels(&pixels) != self.fingerprint {
            return Err(changed("it is another picture".to_owned()));
        }
        Ok(pixels.into())
    }
}

/// A picture that is not in its file any more.
#[derive(Debug)]
pub struct ChangedPicture {
    file: PathBuf,
    reason: String,
}

impl fmt::Display for ChangedPicture {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, reason } = self;
        write!(formatter, "the picture {} was changed since it was first read: {reason}", file.display())
    }
}

impl Error for ChangedPicture {}

/// The pixels of pictures, in their order; those that are not kept are decoded by all workers.
///
/// # Errors
///
/// As [`Face::pixels`]; of several pictures, for the first.
pub(crate) fn pixels(faces: &[&Face]) -> Result<Vec<Arc<[u8]>>, ChangedPicture> {
    let reader = faces.iter().find_map(|face| match &face.pixels {
        Pixels::Kept(_) => None,
        Pixels::InFile(reader) => Some(reader),
    });
    let all: Vec<Result<Arc<[u8]>, ChangedPicture>> = match reader {
        None => faces.iter().map(|face| face.pixels()).collect(),
        Some(reader) => reader.install(|| faces.par_iter().with_max_len(1).map(|face| face.pixels()).collect()),
    };
    all.into_iter().collect()
}

impl fmt::Debug for Face {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The bytes of a picture would bury whatever message this is printed in.
        formatter
            .debug_struct("Face")
            .field("person", &self.person)
            .field("file", &self.file)
            .field("is_kept", &self.is_kept())
            .finish()
    }
}

/// Pictures of several people.
#[derive(Clone, Debug)]
pub struct FaceSet {
    /// Side length of every picture, in pixels.
    pub size: usize,
    /// One name per person.
    pub people: Vec<String>,
    /// All pictures, in order of person.
    pub faces: Vec<Face>,
}

impl FaceSet {
    /// How many pictures each person has, in the order of [`people`](Self::people).
    pub fn pictures_per_person(&self) -> Vec<usize> {
        let mut counts = vec![0; self.people.len()];
        for face in &self.faces {
            counts[face.person] += 1;
        }
        counts
    }
}
