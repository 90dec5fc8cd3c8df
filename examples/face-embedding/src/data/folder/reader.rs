//! Reads pictures from files, and keeps as many of them decoded as there is memory for.

use std::fmt;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use anyhow::{Context, Result, ensure};
use rayon::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};

use super::wanted::Wanted;
use super::{decode, read};
use crate::data::face_set::{Face, Pixels};
use crate::data::fingerprint::Fingerprint;
use crate::settings::reading::Reading;

/// Sides a picture can be resized to.
const SIZES: std::ops::RangeInclusive<usize> = 1..=1024;
/// Each thread may hold one decoded picture of hundreds of megabytes.
const MOST_WORKERS: usize = 8;

/// Reads pictures from files; copies share its workers and its memory.
#[derive(Clone)]
pub struct Reader(Arc<Shared>);

struct Shared {
    wanted: Wanted,
    workers: ThreadPool,
    /// Bytes of pictures that may be kept beside those that are.
    room: AtomicUsize,
}

impl Reader {
    /// Brings pictures to what is wanted of them.
    ///
    /// # Errors
    ///
    /// If the side length is out of its range, or there can be no threads.
    pub fn new(wanted: Wanted, reading: &Reading) -> Result<Self> {
        let cores = || thread::available_parallelism().map_or(1, NonZero::get).min(MOST_WORKERS);
        Self::with(wanted, reading.workers.unwrap_or_else(cores), reading.cache_mib.saturating_mul(1 << 20))
    }

    /// With room for so many bytes of pictures.
    pub(super) fn with(wanted: Wanted, workers: usize, room: usize) -> Result<Self> {
        let size = wanted.size;
        ensure!(SIZES.contains(&size), "the side of a picture must be in {SIZES:?}, got {size}");
        let workers = ThreadPoolBuilder::new().num_threads(workers).build();
        let workers = workers.context("workers: cannot start the threads that decode pictures")?;
        Ok(Self(Arc::new(Shared { wanted, workers, room: AtomicUsize::new(room) })))
    }

    /// The side length that pictures are brought to.
    pub fn size(&self) -> usize {
        self.0.wanted.size
    }

    /// What it brings pictures to.
    pub(super) fn wanted(&self) -> &Wanted {
        &self.0.wanted
    }

    /// Runs this with the workers as the threads of rayon.
    pub(in crate::data) fn install<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        self.0.workers.install(work)
    }

    /// The pixels of the picture of a file, or why it cannot be used.
    pub(in crate::data) fn pixels(&self, file: &Path) -> Result<Vec<u8>, String> {
        let bytes = read::read(file)?;
        decode::decode(&bytes, self.0.wanted.frame(file)?)
    }

    /// Reads a picture for the first time, and keeps it if there is room.
    pub(super) fn face(&self, person: usize, file: PathBuf) -> Result<Face, Unusable> {
        let pixels = match self.pixels(&file) {
            Ok(pixels) => pixels,
            Err(reason) => return Err(Unusable { file, reason }),
        };
        let fingerprint = Fingerprint::of_pixels(&pixels);
        let left = |room: usize| room.checked_sub(pixels.len());
        let pixels = match self.0.room.try_update(Ordering::Relaxed, Ordering::Relaxed, left) {
            Ok(_) => Pixels::Kept(pixels.into()),
            Err(_) => Pixels::InFile(self.clone()),
        };
        Ok(Face { person, file: Some(file), fingerprint, pixels })
    }

    /// As [`face`](Self::face), for the persons and files of many pictures at once; the result is in their order.
    pub(super) fn faces(&self, files: Vec<(usize, PathBuf)>) -> Vec<Result<Face, Unusable>> {
        // Files differ in cost by thousands, so workers take one at a time.
        self.install(|| files.into_par_iter().with_max_len(1).map(|(person, file)| self.face(person, file)).collect())
    }
}

/// A file that is no picture, or not one that can be used.
pub(super) struct Unusable {
    pub(super) file: PathBuf,
    pub(super) reason: String,
}

impl fmt::Debug for Reader {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Reader").field("size", &self.size()).finish_non_exhaustive()
    }
}
