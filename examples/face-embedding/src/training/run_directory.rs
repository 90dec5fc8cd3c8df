//! The files of a run and where they lie.

use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use burn::store::{ModuleSnapshot, SafetensorsStore};
use burn::tensor::Device;
use serde::{Deserialize, Serialize};

use super::checkpoints::WholeCheckpoint;
use super::epoch_table::{self, EpochRow};
use super::files;
use super::manifest::{Manifest, sha256};
use crate::data::face_set::FaceSet;
use crate::data::fingerprint::{Fingerprint, fingerprints};
use crate::model::face_model::FaceModel;
use crate::model::head::Head;
use crate::model::trunk::{Trunk, TrunkConfig};
use crate::settings::config::{CONFIG, TrainConfig};

/// What the program is called on a command line.
pub(crate) const PROGRAM: &str = env!("CARGO_PKG_NAME");

/// Where runs lie when `--output` is not given.
pub const DEFAULT_OUTPUT: &str = "runs/face-embedding";

const EPOCHS: &str = "metrics.csv";
const METRICS: &str = "metrics.json";
const REPORT: &str = "report.html";
pub(super) const TRUNK: &str = "trunk.safetensors";
const PEOPLE: &str = "people.json";
const TEST_PEOPLE: &str = "test_people.json";
const MANIFEST: &str = "manifest.json";
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
    /// The folders that were made for it, the innermost first.
    made: Vec<PathBuf>,
}

impl Drop for Claim {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
        // Nothing is left of a run that failed before it began; a folder with a run in it is not empty.
        for folder in &self.made {
            let _ = std::fs::remove_dir(folder);
        }
    }
}

/// Somebody in a run: who it is, how many pictures there are, and which.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Person {
    name: String,
    pictures: usize,
    fingerprints: Vec<Fingerprint>,
}

impl RunDirectory {
    /// A folder for a new run: the one asked for, or the default one with the number after the highest.
    /// What an earlier run has written is never touched, and no other process can choose the same folder.
    ///
    /// # Errors
    ///
    /// If the folder that was asked for holds a run already, or cannot be made.
    pub fn choose(output: Option<&Path>) -> Result<Self> {
        let Some(path) = output else {
            let last = numbered().rfind(|(_, run)| run.holds_a_run()).map_or(0, |(number, _)| number);
            // Another process may have just taken the first of them.
            let free = (last + 1..last + 100).find_map(|number| Self::at(default_path(number)).claim().ok());
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

    /// The folder of this path, whatever it holds.
    pub(crate) fn at(path: PathBuf) -> Self {
        Self { path, claim: None }
    }

    fn claim(mut self) -> Result<Self> {
        let made = self.path.ancestors().filter(|folder| !folder.as_os_str().is_empty() && !folder.exists());
        let made = made.map(Path::to_path_buf).collect();
        std::fs::create_dir_all(&self.path)
            .with_context(|| format!("cannot make the folder {}", self.path.display()))?;
        let path = self.path.join(LOCK);
        let file = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
        ensure!(file.try_lock().is_ok(), "another process is training in {}", self.path.display());
        self.claim = Some(Claim { path, _file: file, made });
        Ok(self)
    }

    /// Writes the settings and who is trained and measured on, before the first epoch. Returns what every checkpoint
    /// has to say about the run.
    ///
    /// # Errors
    ///
    /// If the folder cannot be written to, or if a resumed run would be given other people or pictures.
    pub fn begin(
        &self,
        config: &TrainConfig,
        train: &FaceSet,
        test: &FaceSet,
        checkpoint: Option<&WholeCheckpoint>,
    ) -> Result<Manifest> {
        let people = [(PEOPLE, persons(train)), (TEST_PEOPLE, persons(test))];
        let mut texts = Vec::new();
        for (name, people) in &people {
            let text = serde_json::to_string_pretty(people)? + "\n";
            self.check_people(name, people, &text, checkpoint)?;
            texts.push((name, text));
        }

        // Of a run that goes on: the first says that all files are there, and they will not be; the other holds the
        // figures of the trunk before.
        for old in [MANIFEST, METRICS, REPORT].map(|name| self.path.join(name)) {
            if old.exists() {
                std::fs::remove_file(&old).with_context(|| format!("cannot remove {}", old.display()))?;
            }
        }
        let mut manifest = Manifest::new(config)?;
        files::write(&self.config_path(), config.to_json()?.as_bytes())?;
        for (name, text) in texts {
            self.write(name, text.as_bytes(), &mut manifest)?;
        }
        Ok(manifest)
    }

    fn write(&self, name: &str, bytes: &[u8], manifest: &mut Manifest) -> Result<()> {
        files::write(&self.path.join(name), bytes)?;
        manifest.add(name, bytes);
        Ok(())
    }

    /// The folder of a run to continue: the one asked for, or the default one with the highest number.
    ///
    /// # Errors
    ///
    /// If there is no run, or another process is training it.
    pub fn resume(output: Option<&Path>) -> Result<Self> {
        let run = match output {
            Some(path) => Self::at(path.to_path_buf()),
            None => {
                let newest = numbered().map(|(_, run)| run).rfind(Self::holds_a_run);
                newest.with_context(|| format!("there is no run to resume in {DEFAULT_OUTPUT}"))?
            }
        };
        // Whatever else is missing, a checkpoint is enough.
        if !run.checkpoints_path().is_dir() {
            run.ensure_config()?;
        }
        let run = run.claim()?;
        let leftovers = files::remove_leftovers(&run.path)? + files::remove_leftovers(&run.checkpoints_path())?;
        if leftovers > 0 {
            say!("note: removed {leftovers} files that were not finished");
        }
        Ok(run)
    }

    /// The folder of a run: the one asked for, or the default one with the highest number that has a trained trunk.
    ///
    /// # Errors
    ///
    /// If there is none.
    pub fn open(path: Option<&Path>) -> Result<Self> {
        let run = match path {
            Some(path) => Self::at(path.to_path_buf()),
            None => {
                let newest = numbered().map(|(_, run)| run).rfind(|run| run.path.join(TRUNK).is_file());
                newest.with_context(|| format!("there is no finished run in {DEFAULT_OUTPUT}; name one with --run"))?
            }
        };
        run.ensure_config()?;
        Ok(run)
    }

    fn ensure_config(&self) -> Result<()> {
        ensure!(self.config_path().is_file(), "{} holds no run: it has no {CONFIG}", self.path.display());
        Ok(())
    }

    /// Whether there is anything of a run in the folder.
    pub(crate) fn holds_a_run(&self) -> bool {
        [CONFIG, PEOPLE, TEST_PEOPLE, EPOCHS, METRICS, TRUNK, MANIFEST, CHECKPOINTS]
            .iter()
            .any(|name| self.path.join(name).exists())
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What goes on with the run on a command line.
    pub(crate) fn resume_command(&self) -> String {
        format!("{PROGRAM} train --resume --output {}", files::quoted(&self.path))
    }

    /// Looks where a flag would have a file written.
    ///
    /// # Errors
    ///
    /// If it is one of the run's own.
    pub(crate) fn ensure_foreign(&self, path: &Path, flag: &str) -> Result<()> {
        let own =
            [CONFIG, PEOPLE, TEST_PEOPLE, EPOCHS, METRICS, REPORT, TRUNK, MANIFEST].map(|name| self.path.join(name));
        let real = |path: &Path| path.canonicalize().ok();
        let is_own = real(path).is_some_and(|path| own.iter().any(|own| real(own).as_ref() == Some(&path)));
        ensure!(!is_own, "{flag}: {} is a file of the run itself; choose another", path.display());
        Ok(())
    }

    fn config_path(&self) -> PathBuf {
        self.path.join(CONFIG)
    }

    /// One row per epoch.
    pub fn epochs_path(&self) -> PathBuf {
        self.path.join(EPOCHS)
    }

    /// Model, optimizer and schedule of the last epochs.
    pub fn checkpoints_path(&self) -> PathBuf {
        self.path.join(CHECKPOINTS)
    }

    fn config(&self) -> Result<TrainConfig> {
        TrainConfig::load_of_run(&self.config_path())?
            .resolve()
            .with_context(|| format!("configuration {}", self.config_path().display()))
    }

    /// The settings of a run to continue: those in its folder, or of its checkpoint where these are damaged or others.
    ///
    /// # Errors
    ///
    /// If there is no checkpoint, and the settings cannot be read.
    pub fn config_to_resume(&self, checkpoint: Option<&WholeCheckpoint>) -> Result<TrainConfig> {
        let written = self.config();
        let Some(WholeCheckpoint { manifest, place, .. }) = checkpoint else { return written };
        let trained = manifest.config();
        let problem = match written {
            Ok(written) => match trained.fixed_difference(&written)? {
                None => return Ok(written),
                Some((name, old, new)) => format!("{CONFIG} has {new} for {name}, which was {old} in the training"),
            },
            Err(error) => format!("{error:#}"),
        };
        say!("warning: {problem}; going on with the settings of the checkpoint of {place}");
        Ok(trained.clone())
    }

    /// The settings that a finished run was trained with, after a look whether its files are as they were written.
    ///
    /// # Errors
    ///
    /// If the run is not finished, a file is damaged, or the settings cannot be read.
    pub fn finished(&self) -> Result<TrainConfig> {
        let (path, resume) = (self.path.display(), self.resume_command());
        ensure!(
            self.path.join(PEOPLE).is_file() || self.checkpoints_path().is_dir(),
            "{path} holds no run: it has a {CONFIG}, and neither {PEOPLE} nor a checkpoint"
        );
        ensure!(
            self.path.join(TRUNK).is_file(),
            "{path} has no {TRUNK}: its training is not finished; continue it with: {resume}"
        );
        let manifest = self.path.join(MANIFEST);
        ensure!(
            manifest.is_file(),
            "{path} has no {MANIFEST}, so whether its {TRUNK} and {METRICS} belong together cannot be told; {}",
            match self.checkpoints_path().is_dir() {
                true => format!("{resume} trains what is left of it and measures it anew"),
                false => "and it has no checkpoint to make them again from: begin a new run".to_string(),
            }
        );
        let manifest = Manifest::read(&manifest)?;
        for name in [CONFIG, PEOPLE, TEST_PEOPLE, EPOCHS, TRUNK] {
            manifest
                .check_file(&self.path, name)
                .with_context(|| format!("{path} cannot be used; {resume} makes it again from its checkpoint"))?;
        }
        // What only people read; a command that needs the figures refuses those that are damaged.
        for name in [METRICS, REPORT].into_iter().filter(|name| manifest.has(name)) {
            if let Err(error) = manifest.check_file(&self.path, name) {
                note!("warning: {error:#}; {resume} makes it again");
            }
        }
        self.config()
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
    fn check_people(&self, name: &str, now: &[Person], text: &str, checkpoint: Option<&WholeCheckpoint>) -> Result<()> {
        let path = self.path.join(name);
        let read = || anyhow::Ok(serde_json::from_slice::<Vec<Person>>(&std::fs::read(&path)?)?);
        let before = match (read(), checkpoint) {
            (_, Some(checkpoint)) if checkpoint.manifest.check(name, text.as_bytes()).is_ok() => return Ok(()),
            (Ok(before), _) => before,
            (Err(_), None) => return Ok(()),
            (Err(error), Some(_)) => bail!(
                "the people in the data are not those the run was begun with, and {} cannot tell who they were: {error}",
                path.display()
            ),
        };
        if before == now && checkpoint.is_none() {
            return Ok(());
        }
        let has = |people: &[Person], name: &str| people.iter().any(|person| person.name == name);
        let gone = before.iter().find(|person| !has(now, &person.name));
        let new = now.iter().find(|person| !has(&before, &person.name));
        let changed = before.iter().zip(now).find(|(then, now)| then.name == now.name && then != now);
        let change = |(then, now): (&Person, &Person)| match then.pictures == now.pictures {
            true => format!("{} has another picture", then.name),
            false => format!("{} had {} pictures and has {}", then.name, then.pictures, now.pictures),
        };
        let examples = [
            gone.map(|person| format!("{} is gone", person.name)),
            new.map(|person| format!("{} is new", person.name)),
            changed.map(change),
        ];
        let examples: Vec<String> = examples.into_iter().flatten().collect();
        let examples = if examples.is_empty() { "another order".to_string() } else { examples.join(", ") };
        bail!(
            "the people in the data are not those the run was begun with ({} then, {} now; {examples}); \
             begin a new run, or bring the pictures back",
            before.len(),
            now.len()
        )
    }

    /// The pictures that the run was trained on, and who is on them.
    ///
    /// # Errors
    ///
    /// If the file cannot be read.
    pub fn trained_pictures(&self) -> Result<HashMap<Fingerprint, String>> {
        let pictures = |person: Person| person.fingerprints.into_iter().map(move |one| (one, person.name.clone()));
        Ok(self.people()?.into_iter().flat_map(pictures).collect())
    }

    /// Who the run was trained on, in the order of the classes.
    ///
    /// # Errors
    ///
    /// If the file cannot be read.
    pub fn trained_people(&self) -> Result<Vec<String>> {
        Ok(self.people()?.into_iter().map(|person| person.name).collect())
    }

    fn people(&self) -> Result<Vec<Person>> {
        let path = self.path.join(PEOPLE);
        let read = || anyhow::Ok(serde_json::from_slice(&std::fs::read(&path)?)?);
        read().with_context(|| format!("cannot read {}", path.display()))
    }

    /// The checkpoints that are whole, the last one first.
    ///
    /// # Errors
    ///
    /// If none is whole, though more than the first epoch was trained.
    pub fn checkpoints(&self) -> Result<Vec<WholeCheckpoint>> {
        let checkpoints = WholeCheckpoint::all(&self.checkpoints_path())?;
        ensure!(
            !checkpoints.is_empty() || !self.path.join(TRUNK).exists(),
            "{} has a trained trunk and no checkpoint to continue from; begin a new run with another --output",
            self.path.display()
        );
        Ok(checkpoints)
    }

    /// Writes the weights of the trunk.
    ///
    /// # Errors
    ///
    /// If the file cannot be written.
    pub fn save_trunk(&self, trunk: &Trunk, manifest: &mut Manifest) -> Result<()> {
        self.write(TRUNK, &record(trunk)?, manifest)
    }

    /// The head that was trained together with the trunk, of the checkpoint that has this trunk.
    ///
    /// # Errors
    ///
    /// If there is no checkpoint of this trunk, or it cannot be read.
    pub fn load_head(&self, config: &TrainConfig, device: &Device) -> Result<Head> {
        let checkpoints = WholeCheckpoint::all(&self.checkpoints_path())?;
        let (people, sha256_of_trunk) = (self.people()?.len(), self.trunk_sha256()?);
        for checkpoint in &checkpoints {
            let model = FaceModel::new(config, people, device);
            let FaceModel { trunk, head, .. } = checkpoint.load_model(&self.checkpoints_path(), model)?;
            if sha256(&record(&trunk)?) == sha256_of_trunk {
                return Ok(head);
            }
        }
        let last = checkpoints.first().context("the run has no checkpoint")?;
        bail!("the last checkpoint that is whole, of {}, has another trunk", last.place)
    }

    /// The SHA-256 of the file of the trunk, which tells it from every other one.
    ///
    /// # Errors
    ///
    /// If the file cannot be read.
    pub fn trunk_sha256(&self) -> Result<String> {
        let path = self.path.join(TRUNK);
        let bytes = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        Ok(sha256(&bytes))
    }

    /// The figures that were measured after the training: their file and its content, after a look whether it is as it
    /// was written.
    ///
    /// # Errors
    ///
    /// If the file cannot be read, or is damaged.
    pub fn metrics(&self) -> Result<(PathBuf, Vec<u8>)> {
        let path = self.path.join(METRICS);
        let bytes = std::fs::read(&path)
            .with_context(|| format!("cannot read {}; {} measures it", path.display(), self.resume_command()))?;
        Manifest::read(&self.path.join(MANIFEST))?.check(METRICS, &bytes).with_context(|| {
            let (run, resume) = (self.path.display(), self.resume_command());
            format!("{run} cannot be used; {resume} makes it again from its checkpoint")
        })?;
        Ok((path, bytes))
    }

    /// Writes the figures, the page that shows them, and that the run is finished.
    ///
    /// # Errors
    ///
    /// If a file cannot be read or written.
    pub fn finish(&self, metrics: &str, page: &str, mut manifest: Manifest) -> Result<()> {
        self.write(METRICS, metrics.as_bytes(), &mut manifest)?;
        self.write(REPORT, page.as_bytes(), &mut manifest)?;
        let table = std::fs::read(self.epochs_path()).context("cannot read the table of epochs")?;
        manifest.add(EPOCHS, &table);
        manifest.write(&self.path.join(MANIFEST))
    }

    /// Reads the weights of the trunk.
    ///
    /// # Errors
    ///
    /// If the file cannot be read, or does not fit the settings.
    pub fn load_trunk(&self, config: &TrainConfig, device: &Device) -> Result<Trunk> {
        let path = self.path.join(TRUNK);
        let mut trunk = TrunkConfig::of(&config.network).init(device);
        let mut store = SafetensorsStore::from_file(path.clone());
        trunk.load_from(&mut store).with_context(|| format!("cannot read {}", path.display()))?;
        Ok(trunk)
    }
}

/// What the file of a trunk holds.
fn record(trunk: &Trunk) -> Result<Vec<u8>> {
    // Burn's own metadata come in an order by chance: two equal runs would write different files.
    let mut store = SafetensorsStore::from_bytes(None).clear_metadata().metadata("producer", "burn");
    trunk.save_into(&mut store).context("cannot write the trunk")?;
    Ok(store.get_bytes()?)
}

fn persons(faces: &FaceSet) -> Vec<Person> {
    let person = |name: &String| Person { name: name.clone(), pictures: 0, fingerprints: Vec::new() };
    let mut people: Vec<Person> = faces.people.iter().map(person).collect();
    for (face, fingerprint) in faces.faces.iter().zip(fingerprints(faces)) {
        let person = &mut people[face.person];
        person.pictures += 1;
        person.fingerprints.push(fingerprint);
    }
    people
}

/// `runs/face-embedding`, `runs/face-embedding-2`, `runs/face-embedding-3`, ...
fn default_path(number: usize) -> PathBuf {
    if number == 1 { DEFAULT_OUTPUT.into() } else { format!("{DEFAULT_OUTPUT}-{number}").into() }
}

/// Those of the default folders that are there, in the order of their numbers; there may be gaps.
fn numbered() -> impl DoubleEndedIterator<Item = (usize, RunDirectory)> {
    let default = Path::new(DEFAULT_OUTPUT);
    let entries = default.parent().and_then(|folder| std::fs::read_dir(folder).ok());
    let number = |name: &str| {
        let rest = name.strip_prefix(default.file_name()?.to_str()?)?;
        let number = if rest.is_empty() { 1 } else { rest.strip_prefix('-')?.parse::<u32>().ok()? as usize };
        // Not "-1", and not "-02".
        (default_path(number).file_name()?.to_str()? == name).then_some(number)
    };
    let names = entries.into_iter().flatten().flatten().map(|entry| entry.file_name());
    let mut numbers: Vec<usize> = names.filter_map(|name| number(name.to_str()?)).collect();
    numbers.sort_unstable();
    numbers.into_iter().map(|number| (number, RunDirectory::at(default_path(number))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_of_before_is_as_it_was_trained_and_measured() {
        let folder = std::env::temp_dir().join(format!("face-embedding-run-of-before-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder for the test");
        let run = RunDirectory::at(folder.clone());
        std::fs::write(run.config_path(), r#"{"data": "faces"}"#).expect("writable");
        let config = run.config_to_resume(None).expect("settings");
        assert_eq!((config.dropout, config.view_shift), (Some(0.0), Some(0.0)));
        std::fs::remove_dir_all(&folder).expect("removable");
    }
}
