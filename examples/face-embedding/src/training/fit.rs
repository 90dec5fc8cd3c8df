//! What is trained, and by what: Burn's training with our data, schedule, loop, figures and files.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Result, bail};
use burn::tensor::Device;
use burn::train::logger::InMemoryMetricLogger;
use burn::train::metric::{LearningRateMetric, LossMetric};
use burn::train::{Interrupter, Learner, SupervisedTraining, TrainingError, TrainingStrategy};
use burn_losses::diagnostics::DiagnosticMetric;

use super::batches::{Dropout, TrainBatches, no_batches};
use super::checkpoints::{self, CheckpointFolder, WholeCheckpoint};
use super::epoch_table::{EpochRow, EpochTable};
use super::figures::{Figure, HeadLearningRate};
use super::interruption::Interruption;
use super::keeping::{Best, KeepLastAndBest};
use super::manifest::Manifest;
use super::optimizer::{learning_rates, optimizer};
use super::place::Place;
use super::renderer::LineRenderer;
use super::run_directory::RunDirectory;
use super::schedule::{MarginRise, ScaleRise};
use super::stopwatch::Stopwatch;
use super::sums::Sums;
use super::training_loop::TrainingLoop;
use super::validation::Validate;
use crate::data::face_set::FaceSet;
use crate::model::face_model::FaceModel;
use crate::model::trunk::{Trunk, TrunkConfig};
use crate::settings::checkpointing::Keep;
use crate::settings::config::TrainConfig;

/// What a training is given.
pub struct Training<'a> {
    /// The settings.
    pub config: &'a TrainConfig,
    /// Where its files go.
    pub run: &'a RunDirectory,
    /// What every manifest begins with.
    pub manifest: &'a Manifest,
    /// Those that are whole, the last one first: the run goes on from it.
    pub checkpoints: &'a [WholeCheckpoint],
    /// The trunk to begin with, if it is not random.
    pub initial: Option<Trunk>,
    /// Whom it is trained on.
    pub faces: FaceSet,
    /// How a trunk is measured between epochs.
    pub validate: Validate,
    /// What may end it.
    pub interruption: Interruption,
    /// What computes: the first has what is not spread over all of them, and measures.
    pub devices: &'a [Device],
}

/// How a training ended.
pub enum Trained {
    /// With the trunk that the settings ask for.
    Trunk(Box<Trunk>),
    /// By Ctrl-C, with a checkpoint of this place.
    Interrupted(Place),
}

/// Trains what is left of a run.
///
/// # Errors
///
/// If a file cannot be read or written, or the loss is no number any more.
pub fn fit(training: Training<'_>) -> Result<Trained> {
    let Training { config, run, manifest, checkpoints, initial, faces, validate, interruption, devices } = training;
    interruption.trains();
    let people = faces.people.len();
    say!("model: {}; loss: {} ({}) over {people} people", config.network, config.loss, config.loss_settings);

    let training_devices: Vec<Device> = devices.iter().map(|device| device.clone().autodiff()).collect();
    let home = &training_devices[0];
    home.seed(config.seed);
    let model = FaceModel::to_train(config, people, initial, &training_devices);

    let last = checkpoints.first();
    let begin = last.map_or(Place::default(), |checkpoint| checkpoint.place);
    let (epochs, batch_size) = config.length();
    let steps = config.steps(faces.faces.len());
    let batches_per_epoch = faces.faces.len() / batch_size;
    let batches = train_batches(config, begin).of(faces, &training_devices)?;

    let interrupter = Interrupter::new();
    let plateau = config.loss.plateau(people);
    let added = last.map(|checkpoint| checkpoint.figures.epoch.clone()).unwrap_or_default();
    let stopwatch = Stopwatch::start();
    let sums = Arc::new(Mutex::new(Sums::after(added, &stopwatch)));
    let length = [epochs, batches_per_epoch, batch_size];
    let (of_epoch, watch) = (sums.clone(), stopwatch.clone());
    let renderer = LineRenderer::new(interrupter.clone(), begin, length, plateau, remedies(config), of_epoch, watch);

    let best = best_of(checkpoints);
    let there = checkpoints::places(&run.checkpoints_path());
    let keeping = KeepLastAndBest::new(there, begin, kept(&best, config), batches_per_epoch);
    let folder = CheckpointFolder::new(run.checkpoints_path(), manifest, batches_per_epoch, model.head.shard_rows())?;
    let [model_part, optimizer_part, schedule_part] = folder.parts();
    let interrupted = Arc::new(Mutex::new(None));
    let training_loop = TrainingLoop {
        optimization: config.optimization.clone(),
        samples: config.loss_settings.samples(),
        margin: MarginRise::of(&config.loss_settings, steps),
        scale: ScaleRise::of(&config.loss_settings, steps),
        checkpointing: config.checkpointing.clone(),
        batch_size,
        batches_per_epoch,
        begin,
        is_measured: last.is_some_and(|checkpoint| checkpoint.figures.validation.is_some()),
        sums,
        stopwatch,
        table: EpochTable::begin(&run.epochs_path(), begin.epochs)?,
        folder,
        best: best.clone(),
        validate,
        interruption,
        interrupted: interrupted.clone(),
    };

    let mut training = SupervisedTraining::new(run.path(), batches, no_batches(home))
        .num_epochs(epochs)
        .with_interrupter(interrupter)
        .with_training_strategy(TrainingStrategy::Custom(Arc::new(training_loop)))
        .renderer(Box::new(renderer))
        // Burn's default writes one file per metric and epoch, and a log for the whole process.
        .with_metric_logger(InMemoryMetricLogger::new())
        .with_application_logger(None)
        .with_custom_checkpointers(model_part, optimizer_part, schedule_part)
        .with_checkpointing_strategy(keeping)
        .metric_train_numeric(LossMetric::new())
        .metric_train_numeric(LearningRateMetric::new())
        .metric_train_numeric(HeadLearningRate::new());
    for diagnostic in Figure::ALL.into_iter().filter_map(Figure::diagnostic) {
        training = training.metric_train_numeric(DiagnosticMetric::new(diagnostic));
    }
    if last.is_some() {
        training = training.checkpoint(begin.number(batches_per_epoch));
    }

    let schedule = learning_rates(config, steps)?;
    let result = training.launch(Learner::new(model, optimizer(config)?, schedule));
    if let Some(error) = result.error {
        if let TrainingError::Dataset(error) = &*error {
            let resume = run.resume_command();
            bail!("training stopped: {error}; bring it back as it was, and go on with: {resume}");
        }
        bail!("training stopped: {error}");
    }
    if let Some(place) = *interrupted.lock().unwrap_or_else(PoisonError::into_inner) {
        return Ok(Trained::Interrupted(place));
    }
    if let Some(interruption) = result.interrupted {
        bail!("training stopped: {}", interruption.reason.as_deref().unwrap_or("no reason given"));
    }
    let model = match config.checkpointing.keep {
        Keep::Last => result.model,
        Keep::Best => best_model(result.model, run, &best)?,
    };
    Ok(Trained::Trunk(Box::new(model.trunk)))
}

/// What may help where the loss is no number any more.
fn remedies(config: &TrainConfig) -> String {
    let rates = if config.loss.has_parameters() { "--lr or --head-lr" } else { "--lr" };
    match config.optimization.clip_norm {
        Some(_) => format!("a smaller {rates}, or a smaller --clip-norm"),
        None => format!("a smaller {rates}, or --clip-norm"),
    }
}

/// What is dealt out from a place on.
fn train_batches(config: &TrainConfig, begin: Place) -> TrainBatches {
    let (epochs, batch_size) = config.length();
    let features = TrunkConfig::of(&config.network).features();
    let share = config.dropout.expect("dropout is resolved");
    TrainBatches {
        batch_size,
        balanced: config.sampling.counts(),
        seed: config.seed,
        epochs,
        begin,
        augmentation: config.augmentation.clone(),
        dropout: Dropout { share, features: features.unwrap_or_default() },
    }
}

/// The best of the checkpoints that are there.
fn best_of(checkpoints: &[WholeCheckpoint]) -> Best {
    let best = Best::default();
    // From the first one on: of equally good ones it is the best.
    for checkpoint in checkpoints.iter().rev() {
        if let Some(validation) = checkpoint.figures.validation {
            best.offer(checkpoint.place, validation);
        }
    }
    best
}

/// The one that is kept beside the last.
fn kept(best: &Best, config: &TrainConfig) -> Best {
    match config.checkpointing.keep {
        Keep::Last => Best::default(),
        Keep::Best => best.clone(),
    }
}

/// The model with the weights of the best epoch.
fn best_model(model: FaceModel, run: &RunDirectory, best: &Best) -> Result<FaceModel> {
    match best.found() {
        Some((place, validation)) => {
            say!("the trunk is that of {place}, the best of the measured ones that there is a checkpoint of");
            let better = |row: &EpochRow| row.validation_auc.filter(|&auc| auc > validation.auc);
            let areas = run.epoch_rows()?.into_iter().filter_map(|row| Some((row.epoch, better(&row)?)));
            if let Some((epoch, auc)) = areas.max_by(|one, other| one.1.total_cmp(&other.1)) {
                say!(
                    "warning: epoch {epoch} was better (AUC {auc:.4}, here {:.4}), but its checkpoint is gone: the best is \
                     kept only with keep = best from the beginning",
                    validation.auc
                );
            }
            checkpoints::load_model_of(&run.checkpoints_path(), place, model)
        }
        None => {
            say!("warning: no epoch was measured before its end, so the trunk is that of the last one");
            Ok(model)
        }
    }
}

#[cfg(test)]
mod tests {
    use burn_losses::heads::HeadKind;

    use super::*;
    use crate::settings::loss::{ContrastiveKind, LossKind, LossSettings};
    use crate::settings::optimization::Optimization;

    #[test]
    fn what_is_advised_is_what_the_settings_take() {
        let of = |loss, clip_norm, sample_rate| {
            let loss_settings = LossSettings { sample_rate, ..LossSettings::default() };
            let optimization = Optimization { clip_norm, ..Optimization::default() };
            let config = TrainConfig { loss, loss_settings, optimization, ..TrainConfig::default() };
            remedies(&config.resolve().expect("they fit"))
        };
        let (head, pairs) = (LossKind::Head(HeadKind::ArcFace), LossKind::Contrastive(ContrastiveKind::Circle));
        assert_eq!(of(head, None, None), "a smaller --lr or --head-lr, or --clip-norm");
        assert_eq!(of(head, Some(2.0), Some(0.5)), "a smaller --lr or --head-lr, or a smaller --clip-norm");
        assert_eq!(of(pairs, None, None), "a smaller --lr, or --clip-norm");
        assert_eq!(of(pairs, Some(2.0), None), "a smaller --lr, or a smaller --clip-norm");
    }
}
