//! A trained model, ready to embed pictures and to decide.

use anyhow::{Context, Result, bail, ensure};
use burn::tensor::Device;

use super::cli::{RunFlags, ThresholdFlags};
use super::report::Metrics;
use crate::data::face_set::FaceSet;
use crate::data::folder::{Reader, Wanted};
use crate::model::embed::Views;
use crate::model::trunk::Trunk;
use crate::protocols::thresholds::{Threshold, Thresholds};
use crate::settings::config::TrainConfig;
use crate::training::files::quoted;
use crate::training::run_directory::{PROGRAM, RunDirectory};

/// The model of a finished run.
pub(super) struct TrainedModel {
    /// The folder of the run.
    pub(super) run: RunDirectory,
    /// What it was trained with; the backend is the one that computes now.
    pub(super) config: TrainConfig,
    /// What computes.
    pub(super) device: Device,
    /// From a picture to its embedding.
    pub(super) trunk: Trunk,
    /// What reads pictures that are not those of its training.
    pub(super) reader: Reader,
}

impl TrainedModel {
    /// Reads the model of the run that was asked for, or of the newest one.
    pub(super) fn open(flags: &RunFlags) -> Result<Self> {
        let run = RunDirectory::open(flags.run.as_deref())?;
        let mut config = run.finished()?;
        config.backend = flags.backend.unwrap_or(config.backend);
        let device = config.backend.device()?;
        let trunk = run.load_trunk(&config, &device)?;
        let reader = Reader::new(Wanted::of(&config, flags.landmarks.as_deref())?, &config.reading)?;
        Ok(Self { run, config, device, trunk, reader })
    }

    /// The embeddings of pictures, `[pictures, embedding_size]`, row-major.
    pub(super) fn embed(&self, faces: &FaceSet) -> Result<Vec<f32>> {
        Views::of(&self.config).embed(&self.trunk, faces, &self.device)
    }

    /// The thresholds of the run.
    pub(super) fn thresholds(&self) -> Result<Thresholds> {
        let (path, text) = self.run.metrics()?;
        let metrics: Metrics = serde_json::from_slice(&text).with_context(|| {
            format!("{} holds no thresholds; {} measures them", path.display(), self.run.resume_command())
        })?;
        Ok(metrics.verification.thresholds)
    }

    /// The threshold that was asked for, of the file that was asked for or of the run.
    ///
    /// Cosines of one model say nothing about another, so the file must be of this one.
    pub(super) fn threshold(&self, flags: &ThresholdFlags) -> Result<Threshold> {
        let Some(path) = &flags.thresholds else {
            return self.thresholds()?.at(flags.far).with_context(|| self.run.path().display().to_string());
        };
        let text = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        let metrics: Metrics = serde_json::from_slice(&text).with_context(|| {
            format!("{} holds no thresholds; {} writes some", path.display(), self.measure_command())
        })?;
        let thresholds = metrics.verification.thresholds;
        self.check_measured(metrics.trunk.as_deref())
            .and_then(|()| thresholds.check())
            .and_then(|()| thresholds.at(flags.far))
            .with_context(|| path.display().to_string())
    }

    /// What writes thresholds of this trunk on a command line.
    fn measure_command(&self) -> String {
        format!("{PROGRAM} eval --run {} --data PEOPLE --json FILE", quoted(self.run.path()))
    }

    /// Whether figures are of this trunk, by the SHA-256 that they name.
    fn check_measured(&self, trunk: Option<&str>) -> Result<()> {
        let (run, own) = (self.run.path().display(), self.run.trunk_sha256()?);
        let measure = format!("{} measures it", self.measure_command());
        let Some(trunk) = trunk else {
            bail!("does not name the trunk that was measured, and that of {run} is {own}; {measure}");
        };
        ensure!(trunk == own, "was measured with the trunk {trunk}, and that of {run} is {own}; {measure}");
        Ok(())
    }
}
