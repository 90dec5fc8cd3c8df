//! The files of a run and where they lie.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use burn::lr_scheduler::LrSchedulerRecord;
use burn::optim::OptimizerRecord;
use burn::store::{ModuleRecord, ModuleSnapshot, SafetensorsStore};
use burn::tensor::Device;

use crate::config::TrainConfig;
use crate::epoch_table::{self, EpochRow};
use crate::model::{Trunk, trunk_config};

/// Where runs lie when `--output` is not given.
pub const DEFAULT_OUTPUT: &str = "runs/face-embedding";

const CONFIG: &str = "config.json";
const EPOCHS: &str = "metrics.csv";
const METRICS: &str = "metrics.json";
const TRUNK: &str = "trunk.safetensors";
const PEOPLE: &str = "people.json";
const CHECKPOINTS: &str = "checkpoint";

/// The folder of a run.
#[derive(Clone, Debug)]
pub struct RunDirectory {
    path: PathBuf,
}

impl RunDirectory {
    /// A folder for a new run: the one asked for, or the next free number of the default one.
    /// What an earlier run has written is never touched, and nothing is made yet.
    ///
    /// # Errors
    ///
    /// If the folder that was asked for holds a run already.
    pub fn choose(output: Option<&Path>) -> Result<Self> {
        let run = match output {
            Some(path) => Self { path: path.to_path_buf() },
            None => numbered().find(|run| !run.holds_a_run()).context("no number is left for a new run")?,
        };
        ensure!(
            !run.holds_a_run(),
            "{} already holds a run; continue it with --resume, or choose another --output",
            run.path.display()
        );
        Ok(run)
    }

    /// Makes the folder and writes the settings and who the classes are, before the first epoch.
    ///
    /// # Errors
    ///
    /// If the folder cannot be made or written to, or if a resumed run would be given other people.
    pub fn begin(&self, config: &TrainConfig, people: &[String]) -> Result<()> {
        std::fs::create_dir_all(&self.path)
            .with_context(|| format!("cannot make the folder {}", self.path.display()))?;
        self.keep_people(people)?;
        config.save(&self.config_path())
    }

    /// The folder of a run to continue: the one asked for, or the newest of the default ones.
    ///
    /// # Errors
    ///
    /// If there is no run.
    pub fn resume(output: Option<&Path>) -> Result<Self> {
        match output {
            Some(path) => Self::open(path),
            None => numbered()
                .take_while(Self::holds_a_run)
                .last()
                .with_context(|| format!("there is no run to resume in {DEFAULT_OUTPUT}")),
        }
    }

    /// The folder of a run.
    ///
    /// # Errors
    ///
    /// If it holds none.
    pub fn open(path: &Path) -> Result<Self> {
        let run = Self { path: path.to_path_buf() };
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

    /// Writes who the classes are, in order; or, in a resumed run, checks that they are still the same.
    ///
    /// # Errors
    ///
    /// If somebody was added, removed or renamed since the run was begun: the class centers in the checkpoint would
    /// silently be given to other people.
    fn keep_people(&self, people: &[String]) -> Result<()> {
        let path = self.path.join(PEOPLE);
        if !path.is_file() {
            let text = serde_json::to_string_pretty(people)? + "\n";
            return std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()));
        }
        let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let before: Vec<String> = serde_json::from_str(&text).with_context(|| format!("{}", path.display()))?;
        if before == people {
            return Ok(());
        }
        let gone = before.iter().find(|name| !people.contains(name));
        let new = people.iter().find(|name| !before.contains(name));
        let example = [gone.map(|name| format!("{name} is gone")), new.map(|name| format!("{name} is new"))];
        bail!(
            "the people in the data are not those the run was begun with ({} then, {} now; {}); \
             begin a new run, or bring the folders back",
            before.len(),
            people.len(),
            example.into_iter().flatten().collect::<Vec<_>>().join(", ")
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

/// `runs/face-embedding`, `runs/face-embedding-2`, `runs/face-embedding-3`, ...
fn numbered() -> impl Iterator<Item = RunDirectory> {
    let first = std::iter::once(DEFAULT_OUTPUT.to_string());
    let later = (2..100_000).map(|number| format!("{DEFAULT_OUTPUT}-{number}"));
    first.chain(later).map(|path| RunDirectory { path: path.into() })
}
