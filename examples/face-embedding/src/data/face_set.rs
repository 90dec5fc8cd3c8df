//! Pictures of known people.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

/// An RGB picture of a known person; all pictures of one set have the same side length.
#[derive(Clone)]
pub struct Face {
    /// Index into [`FaceSet::people`].
    pub person: usize,
    /// `size * size * 3` bytes, row by row, red before green before blue.
    pub pixels: Arc<[u8]>,
    /// The file it was read from; none for a drawn face.
    pub file: Option<PathBuf>,
}

impl fmt::Debug for Face {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The bytes of a picture would bury whatever message this is printed in.
        formatter
            .debug_struct("Face")
            .field("person", &self.person)
            .field("bytes", &self.pixels.len())
            .field("file", &self.file)
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
