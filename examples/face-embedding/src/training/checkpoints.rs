//! Checkpoints: model, optimizer and schedule of an epoch, and a manifest that is written when all three are there.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, anyhow, ensure};
use burn::module::Module;
use burn::store::ModuleRecord;
use burn::tensor::Bytes;
use burn::train::checkpoint::{Checkpoint, Checkpointer, CheckpointerError};

use super::files;
use super::manifest::Manifest;
use crate::model::face_model::FaceModel;

/// The files of a checkpoint, beside its manifest.
const PARTS: [&str; 3] = ["model", "optim", "scheduler"];

fn part_name(part: &str, epoch: usize) -> String {
    format!("{part}-{epoch}.bpk")
}

fn manifest_name(epoch: usize) -> String {
    format!("manifest-{epoch}.json")
}

/// A checkpoint that is whole.
#[derive(Clone, Debug)]
pub struct WholeCheckpoint {
    /// The epoch it ends.
    pub epoch: usize,
    /// What it belongs to.
    pub manifest: Manifest,
}

impl WholeCheckpoint {
    /// The last one in a folder, if there is one. Those that are not whole are told and passed over.
    ///
    /// # Errors
    ///
    /// If none is whole, though more than the first epoch was trained.
    pub fn last(folder: &Path) -> Result<Option<Self>> {
        let epochs = epochs(folder);
        for &epoch in epochs.iter().rev() {
            match Self::open(folder, epoch) {
                Ok(checkpoint) => return Ok(Some(checkpoint)),
                Err(error) => say!("warning: the checkpoint of epoch {epoch} cannot be used: {error:#}"),
            }
        }
        ensure!(
            epochs.last().is_none_or(|&last| last <= 1),
            "no checkpoint in {} is whole; begin a new run with another --output",
            folder.display()
        );
        Ok(None)
    }

    fn open(folder: &Path, epoch: usize) -> Result<Self> {
        let manifest = Manifest::read(&folder.join(manifest_name(epoch)))?;
        for part in PARTS {
            manifest.check_file(folder, &part_name(part, epoch))?;
        }
        Ok(Self { epoch, manifest })
    }

    /// The model, with the weights of this checkpoint.
    ///
    /// # Errors
    ///
    /// If the file cannot be read, or does not fit the model.
    pub(super) fn load_model(&self, folder: &Path, model: FaceModel) -> Result<FaceModel> {
        let name = part_name("model", self.epoch);
        let bytes = fs::read(folder.join(&name)).with_context(|| format!("cannot read {name}"))?;
        self.manifest.check(&name, &bytes)?;
        let record = ModuleRecord::from_bytes(Bytes::from_bytes_vec(bytes));
        record.and_then(|record| model.try_load_record(record)).map_err(|error| anyhow!("cannot read {name}: {error}"))
    }
}

/// Every epoch that there is a file of.
fn epochs(folder: &Path) -> BTreeSet<usize> {
    let number = |name: &str| {
        let (part, epoch) = name.split_once('.')?.0.rsplit_once('-')?;
        (PARTS.contains(&part) || part == "manifest").then(|| epoch.parse().ok())?
    };
    let files = fs::read_dir(folder).into_iter().flatten().flatten();
    files.filter_map(|file| number(file.file_name().to_str()?)).collect()
}

/// Writes and reads one part of the checkpoints, as Burn's training loop asks for it.
pub(super) struct PartCheckpointer {
    part: &'static str,
    folder: PathBuf,
    /// What every manifest begins with.
    run: Manifest,
    /// Manifests that still miss a part; each part is written by a thread of its own.
    unfinished: Arc<Mutex<BTreeMap<usize, Manifest>>>,
}

impl PartCheckpointer {
    /// One for each of model, optimizer and schedule.
    ///
    /// # Errors
    ///
    /// If the folder cannot be made.
    pub(super) fn all(folder: &Path, run: &Manifest) -> Result<[Self; PARTS.len()]> {
        fs::create_dir_all(folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;
        let unfinished = Arc::new(Mutex::new(BTreeMap::new()));
        let of = |part| Self { part, folder: folder.to_path_buf(), run: run.clone(), unfinished: unfinished.clone() };
        Ok(PARTS.map(of))
    }

    fn write(&self, epoch: usize, bytes: &[u8]) -> Result<()> {
        // One of this epoch that is not whole may be there from before.
        self.remove(&manifest_name(epoch))?;
        let name = part_name(self.part, epoch);
        files::write(&self.folder.join(&name), bytes)?;

        let mut unfinished = self.unfinished.lock().unwrap_or_else(PoisonError::into_inner);
        let manifest = unfinished.entry(epoch).or_insert_with(|| self.run.clone());
        manifest.add(&name, bytes);
        if PARTS.iter().all(|part| manifest.has(&part_name(part, epoch))) {
            manifest.write(&self.folder.join(manifest_name(epoch)))?;
            unfinished.remove(&epoch);
        }
        Ok(())
    }

    fn remove(&self, name: &str) -> Result<()> {
        let path = self.folder.join(name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(error).with_context(|| format!("cannot remove {}", path.display()))
            }
            _ => Ok(()),
        }
    }
}

fn explain(error: anyhow::Error) -> CheckpointerError {
    CheckpointerError::Unknown(format!("{error:#}"))
}

impl<R: Checkpoint> Checkpointer<R> for PartCheckpointer {
    fn save(&self, epoch: usize, record: R) -> Result<(), CheckpointerError> {
        let bytes = record.checkpoint_into_bytes().map_err(CheckpointerError::Record)?;
        self.write(epoch, &bytes).map_err(explain)
    }

    fn delete(&self, epoch: usize) -> Result<(), CheckpointerError> {
        // The manifest goes first: without it the rest is no checkpoint.
        self.remove(&manifest_name(epoch)).map_err(explain)?;
        self.remove(&part_name(self.part, epoch)).map_err(explain)
    }

    fn restore(&self, epoch: usize) -> Result<R, CheckpointerError> {
        let path = self.folder.join(part_name(self.part, epoch));
        let bytes = fs::read(path).map_err(CheckpointerError::IOError)?;
        R::checkpoint_from_bytes(Bytes::from_bytes_vec(bytes)).map_err(CheckpointerError::Record)
    }
}
