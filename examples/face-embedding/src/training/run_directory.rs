//! The files of a run and where they lie.

use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use burn::lr_scheduler::LrSchedulerRecord;
use burn::optim::OptimizerRecord;
use burn::store::{ModuleRecord, ModuleSnapshot, SafetensorsStore};
use burn::tensor::Device;
use serde::{Deserialize, Serialize};

use super::epoch_table::{self, EpochRow};
use crate::data::face_set::FaceSet;
use crate::model::face_model::trunk_config;
use crate::model::trunk::Trunk;
use crate::settings::config::TrainConfig;

/// Where runs lie when `--output` is not given.
pub const DEFAULT_OUTPUT: &str = "runs/face-embedding";

const CONFIG: &str = "config.json";
const EPOCHS: &str = "metrics.csv";
const METRICS: &str = "metrics.json";
const TRUNK: &str = "trunk.safetensors";
const PEOPLE: &str = "people.json";
const LOCK: &str = "run.lock";
const CHECKPOINTS: &str = "checkpoint";

/// The folder of a run.
#[derive(Debug)]
pub struct RunDirectory {
    path: PathBuf,
    claim: Option<Claim>,
}

/// A lock on a run's folder, held as long as a process trains there.
#[derive(Debug)]
struct Claim {
    path: PathBuf,
    _file: File,
}

impl Drop for Claim {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
        // Nothing is left of a run that failed before it began; a folder with a run in it is not empty.
        if let Some(folder) = self.path.parent() {
            let _ = std::fs::remove_dir(folder);
        }
    }
}

/// A class of a run: who it is, and how many pictures there are.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Person {
    name: String,
    pictures: usize,
}

impl RunDirectory {
    /// A folder for a new run: the one asked for, or the next free number of the default one.
    /// What an earlier run has written is never touched, and no other process can choose the same folder.
    ///
    /// # Errors
    ///
    /// If the folder that was asked for holds a run already, or cannot be made.
    pub fn choose(output: Option<&Path>) -> Result<Self> {
        let Some(path) = output else {
            let free = numbered().filter(|run| !run.holds_a_run()).find_map(|run| run.claim().ok());
            return free.with_context(|| format!("cannot make a folder for a new run in {DEFAULT_OUTPUT}"));
        };
        let run = Self::at(path.to_path_buf());
        ensure!(
            !run.holds_a_run(),
            "{} already holds a run; continue it with --resume, or choose another --output",
            run.path.display()
        );
        run.claim()
    }

    fn at(path: PathBuf) -> Self {
        Self { path, claim: None }
    }

    fn claim(mut self) -> Result<Self> {
        std::fs::create_dir_all(&self.path)
            .with_context(|| format!("cannot make the folder {}", self.path.display()))?;
        let path = self.path.join(LOCK);
        let file = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
        ensure!(file.try_lock().is_ok(), "another process is training in {}", self.path.display());
        self.claim = Some(Claim { path, _file: file });
        Ok(self)
    }

    /// Writes the settings and who the classes are, before the first epoch.
    ///
    /// # Errors
    ///
    /// If the folder cannot be written to, or if a resumed run would be given other people or pictures.
    pub fn begin(&self, config: &TrainConfig, faces: &FaceSet) -> Result<()> {
        if self.path.join(PEOPLE).is_file() {
            self.check_people(faces)?;
        }
        config.save(&self.config_path())?;
        let path = self.path.join(PEOPLE);
        let text = serde_json::to_string_pretty(&classes(faces))? + "\n";
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
    }

    /// The folder of a run to continue: the one asked for, or the default one with the highest number.
    ///
    /// # Errors
    ///
    /// If there is no run, or another process is training it.
    pub fn resume(output: Option<&Path>) -> Result<Self> {
        let run = match output {
            Some(path) => Self::open(path)?,
            None => numbered()
                .take_while(Self::holds_a_run)
                .last()
                .with_context(|| format!("there is no run to resume in {DEFAULT_OUTPUT}"))?,
        };
        run.claim()
    }

    /// The folder of a run.
    ///
    /// # Errors
    ///
    /// If it holds none.
    pub fn open(path: &Path) -> Result<Self> {
        let run = Self::at(path.to_path_buf());
        ensure!(run.config_path().is_file(), "{} holds no run: it has no {CONFIG}", path.display());
        Ok(run)
    }

    fn holds_a_run(&self) -> bool {
        [CONFIG, PEOPLE, EPOCHS, METRICS, TRUNK, CHECKPOINTS].iter().any(|name| self.path.join(name).exists())
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// All settings of the run.
    pub fn config_path(&self) -> PathBuf {
        self.path.join(CONFIG)
    }

    /// One row per epoch.
    pub fn epochs_path(&self) -> PathBuf {
        self.path.join(EPOCHS)
    }

    /// The figures of the trained model.
    pub fn metrics_path(&self) -> PathBuf {
        self.path.join(METRICS)
    }

    /// The weights of the trained trunk.
    pub fn trunk_path(&self) -> PathBuf {
        self.path.join(TRUNK)
    }

    /// The settings that the run was trained with.
    ///
    /// # Errors
    ///
    /// If they cannot be read, or are not valid.
    pub fn config(&self) -> Result<TrainConfig> {
        TrainConfig::load(&self.config_path())?
            .resolve()
            .with_context(|| format!("configuration {}", self.config_path().display()))
    }

    /// The epochs that the run has finished.
    ///
    /// # Errors
    ///
    /// If the table cannot be read.
    pub fn epoch_rows(&self) -> Result<Vec<EpochRow>> {
        epoch_table::read(&self.epochs_path())
    }

    /// A folder added, removed or renamed would silently give class centers to other people, and other pictures would
    /// make another run of it.
    fn check_people(&self, faces: &FaceSet) -> Result<()> {
        let path = self.path.join(PEOPLE);
        let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let before: Vec<Person> = serde_json::from_str(&text).with_context(|| format!("{}", path.display()))?;
        let now = classes(faces);
        if before == now {
            return Ok(());
        }
        let has = |people: &[Person], name: &str| people.iter().any(|person| person.name == name);
        let gone = before.iter().find(|person| !has(&now, &person.name));
        let new = now.iter().find(|person| !has(&before, &person.name));
        let changed = before.iter().zip(&now).find(|(then, now)| then.name == now.name && then != now);
        let examples = [
            gone.map(|person| format!("{} is gone", person.name)),
            new.map(|person| format!("{} is new", person.name)),
            changed.map(|(then, now)| format!("{} had {} pictures and has {}", then.name, then.pictures, now.pictures)),
        ];
        bail!(
            "the people in the data are not those the run was begun with ({} then, {} now; {}); \
             begin a new run, or bring the pictures back",
            before.len(),
            now.len(),
            examples.into_iter().flatten().collect::<Vec<_>>().join(", ")
        )
    }

    /// The last epoch with a whole checkpoint, or 0 if there is none; incomplete files, as a kill
    /// leaves them behind, are passed over.
    pub fn last_complete_epoch(&self) -> usize {
        let checkpoints = self.path.join(CHECKPOINTS);
        let Ok(files) = std::fs::read_dir(&checkpoints) else { return 0 };
        let mut epochs: Vec<usize> = files
            .filter_map(|file| {
                let name = file.ok()?.file_name();
                name.to_str()?.strip_prefix("model-")?.strip_suffix(".bpk")?.parse().ok()
            })
            .collect();
        epochs.sort_unstable();
        let path = |part: &str, epoch: usize| checkpoints.join(format!("{part}-{epoch}.bpk"));
        let is_whole = |&epoch: &usize| {
            ModuleRecord::load(path("model", epoch)).is_ok()
                && OptimizerRecord::load(path("optim", epoch)).is_ok()
                && LrSchedulerRecord::load(path("scheduler", epoch)).is_ok()
        };
        epochs.into_iter().rev().find(is_whole).unwrap_or(0)
    }

    /// Writes the weights of the trunk.
    ///
    /// # Errors
    ///
    /// If the file cannot be written.
    pub fn save_trunk(&self, trunk: &Trunk) -> Result<()> {
        let path = self.trunk_path();
        // A resumed run replaces what it wrote when it was shorter.
        let mut store = SafetensorsStore::from_file(path.clone()).overwrite(true);
        trunk.save_into(&mut store).with_context(|| format!("cannot write {}", path.display()))
    }

    /// Reads the weights of the trunk.
    ///
    /// # Errors
    ///
    /// If the run is not finished, or the file does not fit its configuration.
    pub fn load_trunk(&self, config: &TrainConfig, device: &Device) -> Result<Trunk> {
        let path = self.trunk_path();
        if !path.is_file() {
            bail!(
                "{} has no {TRUNK}: its training is not finished; continue it with: train --resume --output {}",
                self.path.display(),
                self.path.display()
            );
        }
        let mut trunk = trunk_config(config).init(device);
        let mut store = SafetensorsStore::from_file(path.clone());
        trunk.load_from(&mut store).with_context(|| format!("cannot read {}", path.display()))?;
        Ok(trunk)
    }
}

fn classes(faces: &FaceSet) -> Vec<Person> {
    let person = |(name, pictures): (&String, usize)| Person { name: name.clone(), pictures };
    faces.people.iter().zip(faces.pictures_per_person()).map(person).collect()
}

/// `runs/face-embedding`, `runs/face-embedding-2`, `runs/face-embedding-3`, ...
fn numbered() -> impl Iterator<Item = RunDirectory> {
    let first = std::iter::once(DEFAULT_OUTPUT.to_string());
    let later = (2..100_000).map(|number| format!("{DEFAULT_OUTPUT}-{number}"));
    first.chain(later).map(|path| RunDirectory::at(path.into()))
}
