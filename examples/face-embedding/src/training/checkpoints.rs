//! Checkpoints: model, optimizer and schedule of a place in the run, and a manifest that is written when all parts are there.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result, anyhow, ensure};
use burn::module::Module;
use burn::store::ModuleRecord;
use burn::tensor::Bytes;
use burn::train::checkpoint::{Checkpoint, Checkpointer, CheckpointerError};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::files;
use super::manifest::Manifest;
use super::place::Place;
use super::shards;
use super::sums::Added;
use super::validation::Validation;
use crate::model::face_model::FaceModel;

/// The files of a checkpoint that Burn's loop writes, beside its manifest.
const PARTS: [&str; 3] = [MODEL, OPTIMIZER, "scheduler"];
const MODEL: &str = "model";
const OPTIMIZER: &str = "optim";
/// What was found out on the way; a checkpoint of an earlier version has no such file.
const FIGURES: &str = "figures";
/// How well its trunk does; it comes after the other files, as measuring takes its time.
const VALIDATION: &str = "validation";
const MANIFEST: &str = "manifest";

fn part_name(part: &str, place: Place) -> String {
    format!("{part}-{}.bpk", place.in_name())
}

fn figures_name(place: Place) -> String {
    format!("{FIGURES}-{}.json", place.in_name())
}

fn validation_name(place: Place) -> String {
    format!("{VALIDATION}-{}.json", place.in_name())
}

fn manifest_name(place: Place) -> String {
    format!("{MANIFEST}-{}.json", place.in_name())
}

/// What a checkpoint holds beside what Burn puts there.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct FiguresSoFar {
    /// Of the epoch it is in; nothing at the end of one.
    pub(super) epoch: Added,
    /// How well the trunk does, if that was measured; here a checkpoint of an earlier version has it.
    #[serde(default, skip_serializing)]
    pub(super) validation: Option<Validation>,
}

/// A checkpoint that is whole.
#[derive(Clone, Debug)]
pub struct WholeCheckpoint {
    /// How much of the run it has behind it.
    pub place: Place,
    /// What it belongs to.
    pub manifest: Manifest,
    pub(super) figures: FiguresSoFar,
}

impl WholeCheckpoint {
    /// All of a folder, the last one first. Those that are not whole are told and passed over.
    ///
    /// # Errors
    ///
    /// If none is whole, though more than the first epoch was trained.
    pub fn all(folder: &Path) -> Result<Vec<Self>> {
        let places = places(folder);
        let mut whole = Vec::new();
        for &place in places.iter().rev() {
            match Self::open(folder, place) {
                Ok(checkpoint) => whole.push(checkpoint),
                Err(error) => say!("warning: the checkpoint of {place} cannot be used: {error:#}"),
            }
        }
        ensure!(
            !whole.is_empty() || places.last().is_none_or(|&last| last <= Place::end_of(1)),
            "no checkpoint in {} is whole; begin a new run with another --output",
            folder.display()
        );
        Ok(whole)
    }

    fn open(folder: &Path, place: Place) -> Result<Self> {
        let manifest = Manifest::read(&folder.join(manifest_name(place)))?;
        for part in PARTS {
            manifest.check_file(folder, &part_name(part, place))?;
        }
        let name = figures_name(place);
        let mut figures: FiguresSoFar = if manifest.has(&name) {
            read_sealed(folder, &manifest, &name)?
        } else {
            ensure!(place.batches == 0, "{name} is not in the manifest");
            FiguresSoFar::default()
        };
        let name = validation_name(place);
        if manifest.has(&name) {
            figures.validation = Some(read_sealed(folder, &manifest, &name)?);
        }
        Ok(Self { place, manifest, figures })
    }

    /// The model, with the weights of this checkpoint.
    ///
    /// # Errors
    ///
    /// If the file cannot be read, or does not fit the model.
    pub(super) fn load_model(&self, folder: &Path, model: FaceModel) -> Result<FaceModel> {
        load_model(folder, self.place, &self.manifest, model)
    }
}

/// What a file says, after a look whether it is as it was written.
fn read_sealed<T: DeserializeOwned>(folder: &Path, manifest: &Manifest, name: &str) -> Result<T> {
    let bytes = fs::read(folder.join(name)).with_context(|| format!("cannot read {name}"))?;
    manifest.check(name, &bytes)?;
    serde_json::from_slice(&bytes).with_context(|| format!("cannot read {name}"))
}

/// The model, with the weights of the checkpoint of a place.
///
/// # Errors
///
/// If it is not whole, or does not fit the model.
pub(super) fn load_model_of(folder: &Path, place: Place, model: FaceModel) -> Result<FaceModel> {
    let manifest = Manifest::read(&folder.join(manifest_name(place)))?;
    load_model(folder, place, &manifest, model)
}

fn load_model(folder: &Path, place: Place, manifest: &Manifest, model: FaceModel) -> Result<FaceModel> {
    let name = part_name(MODEL, place);
    let bytes = fs::read(folder.join(&name)).with_context(|| format!("cannot read {name}"))?;
    manifest.check(&name, &bytes)?;
    let bytes = for_shards(Bytes::from_bytes_vec(bytes), &model.head.shard_rows());
    let record = ModuleRecord::from_bytes(bytes.with_context(|| format!("cannot read {name}"))?);
    record.and_then(|record| model.try_load_record(record)).map_err(|error| anyhow!("cannot read {name}: {error}"))
}

/// What a file holds, for a head in shards of so many rows, or in one piece where there are none.
fn for_shards(bytes: Bytes, rows: &[usize]) -> Result<Bytes> {
    if rows.is_empty() { Ok(bytes) } else { shards::split(bytes, rows) }
}

/// Every place that there is a file of.
pub(super) fn places(folder: &Path) -> BTreeSet<Place> {
    let place = |name: &str| {
        let (part, place) = name.split_once('.')?.0.split_once('-')?;
        let is_ours = PARTS.contains(&part) || [FIGURES, VALIDATION, MANIFEST].contains(&part);
        is_ours.then(|| Place::of_name(place))?
    };
    let files = fs::read_dir(folder).into_iter().flatten().flatten();
    files.filter_map(|file| place(file.file_name().to_str()?)).collect()
}

/// The folder of the checkpoints of a run, which several threads write into.
pub(super) struct CheckpointFolder {
    path: PathBuf,
    /// What every manifest begins with.
    run: Manifest,
    batches_per_epoch: usize,
    /// How many rows each shard of the head has; none where it is in one piece, as it is in the files.
    shard_rows: Vec<usize>,
    /// Of the checkpoints that this process has written to; they may still miss a part.
    manifests: Mutex<BTreeMap<Place, Manifest>>,
}

impl CheckpointFolder {
    /// Makes the folder, if it is not there.
    ///
    /// # Errors
    ///
    /// If it cannot be made.
    pub(super) fn new(
        path: PathBuf,
        run: &Manifest,
        batches_per_epoch: usize,
        shard_rows: Vec<usize>,
    ) -> Result<Arc<Self>> {
        fs::create_dir_all(&path).with_context(|| format!("cannot make the folder {}", path.display()))?;
        Ok(Arc::new(Self { path, run: run.clone(), batches_per_epoch, shard_rows, manifests: Mutex::default() }))
    }

    /// One for each of model, optimizer and schedule.
    pub(super) fn parts(self: &Arc<Self>) -> [PartCheckpointer; PARTS.len()] {
        PARTS.map(|part| PartCheckpointer { part, folder: self.clone() })
    }

    /// Writes what a checkpoint holds beside these three; it is whole when all four are there.
    ///
    /// # Errors
    ///
    /// If the file cannot be written.
    pub(super) fn write_figures(&self, place: Place, figures: &FiguresSoFar) -> Result<()> {
        self.write(place, &figures_name(place), &serde_json::to_vec_pretty(figures)?)
    }

    fn write(&self, place: Place, name: &str, bytes: &[u8]) -> Result<()> {
        // One of this place that is not whole may be there from before.
        self.remove(&manifest_name(place))?;
        files::write(&self.path.join(name), bytes)?;

        let mut manifests = self.manifests();
        let manifest = manifests.entry(place).or_insert_with(|| self.run.clone());
        if is_whole(manifest, place) {
            // Another checkpoint of the same place begins.
            *manifest = self.run.clone();
        }
        manifest.add(name, bytes);
        self.seal(manifest, place)
    }

    /// Adds what was measured to a checkpoint, which is whole without it, and at every moment until it has it.
    ///
    /// # Errors
    ///
    /// If a file cannot be read or written.
    pub(super) fn write_validation(&self, place: Place, validation: &Validation) -> Result<()> {
        let (name, bytes) = (validation_name(place), serde_json::to_vec_pretty(validation)?);
        files::write(&self.path.join(&name), &bytes)?;

        let mut manifests = self.manifests();
        let manifest = match manifests.entry(place) {
            Entry::Occupied(entry) => entry.into_mut(),
            // The run has begun with this one.
            Entry::Vacant(entry) => entry.insert(Manifest::read(&self.path.join(manifest_name(place)))?),
        };
        manifest.add(&name, &bytes);
        self.seal(manifest, place)
    }

    fn manifests(&self) -> MutexGuard<'_, BTreeMap<Place, Manifest>> {
        self.manifests.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn seal(&self, manifest: &Manifest, place: Place) -> Result<()> {
        if is_whole(manifest, place) { manifest.write(&self.path.join(manifest_name(place))) } else { Ok(()) }
    }

    fn remove(&self, name: &str) -> Result<()> {
        let path = self.path.join(name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(error).with_context(|| format!("cannot remove {}", path.display()))
            }
            _ => Ok(()),
        }
    }
}

fn is_whole(manifest: &Manifest, place: Place) -> bool {
    PARTS.iter().all(|part| manifest.has(&part_name(part, place))) && manifest.has(&figures_name(place))
}

/// Writes and reads one part of the checkpoints, as Burn's training loop asks for it.
pub(super) struct PartCheckpointer {
    part: &'static str,
    folder: Arc<CheckpointFolder>,
}

impl PartCheckpointer {
    /// How many rows each shard of the head has, where this part holds any of it.
    fn shard_rows(&self) -> &[usize] {
        let holds_the_head = [MODEL, OPTIMIZER].contains(&self.part);
        if holds_the_head { &self.folder.shard_rows } else { &[] }
    }

    fn place(&self, number: usize) -> Place {
        Place::of_number(number, self.folder.batches_per_epoch)
    }
}

fn explain(error: anyhow::Error) -> CheckpointerError {
    CheckpointerError::Unknown(format!("{error:#}"))
}

impl<R: Checkpoint> Checkpointer<R> for PartCheckpointer {
    fn save(&self, number: usize, record: R) -> Result<(), CheckpointerError> {
        let mut bytes = record.checkpoint_into_bytes().map_err(CheckpointerError::Record)?;
        if !self.shard_rows().is_empty() {
            bytes = shards::join(bytes).map_err(explain)?;
        }
        let place = self.place(number);
        self.folder.write(place, &part_name(self.part, place), &bytes).map_err(explain)
    }

    fn delete(&self, number: usize) -> Result<(), CheckpointerError> {
        let place = self.place(number);
        // The manifest goes first: without it the rest is no checkpoint.
        for name in [manifest_name(place), figures_name(place), validation_name(place), part_name(self.part, place)] {
            self.folder.remove(&name).map_err(explain)?;
        }
        Ok(())
    }

    fn restore(&self, number: usize) -> Result<R, CheckpointerError> {
        let path = self.folder.path.join(part_name(self.part, self.place(number)));
        let bytes = fs::read(path).map_err(CheckpointerError::IOError)?;
        let bytes = for_shards(Bytes::from_bytes_vec(bytes), self.shard_rows()).map_err(explain)?;
        R::checkpoint_from_bytes(bytes).map_err(CheckpointerError::Record)
    }
}
