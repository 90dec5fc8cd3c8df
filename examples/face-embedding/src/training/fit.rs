//! Burn's training loop with our data, schedule, figures and files.

use std::sync::Arc;

use anyhow::{Result, anyhow, bail};
use burn::module::{Module, ParamGroup, ParamGroupError};
use burn::optim::decay::WeightDecayConfig;
use burn::optim::lr_scheduler::module_lr_scheduler::ModuleLrScheduler;
use burn::optim::momentum::MomentumConfig;
use burn::optim::{ModuleOptimizer, SgdConfig};
use burn::tensor::Device;
use burn::train::checkpoint::KeepLastNCheckpoints;
use burn::train::logger::InMemoryMetricLogger;
use burn::train::metric::{LearningRateMetric, LossMetric};
use burn::train::{Interrupter, Learner, SupervisedTraining, TrainingStrategy};
use burn_losses::diagnostics::DiagnosticMetric;

use super::batches::{Dropout, TrainBatches, no_batches};
use super::checkpoints::PartCheckpointer;
use super::epoch_table::EpochTable;
use super::figures::{Figure, HeadLearningRate};
use super::manifest::Manifest;
use super::renderer::LineRenderer;
use super::run_directory::RunDirectory;
use super::schedule::Schedule;
use super::training_loop::TrainingLoop;
use crate::data::face_set::FaceSet;
use crate::model::face_model::FaceModel;
use crate::model::trunk::{Trunk, TrunkConfig};
use crate::settings::config::TrainConfig;

/// Checkpoints kept: one may be incomplete after a kill.
const CHECKPOINTS_KEPT: usize = 2;

/// Trains the epochs that are left and returns the trunk; `initial` is the one to begin with, if it is not random.
///
/// # Errors
///
/// If a file cannot be read or written, or the loss is no number any more.
pub fn fit(
    config: &TrainConfig,
    run: &RunDirectory,
    manifest: &Manifest,
    epochs_done: usize,
    initial: Option<Trunk>,
    faces: FaceSet,
    device: &Device,
) -> Result<Trunk> {
    let people = faces.people.len();
    say!("model: {}; loss: {} ({}) over {people} people", config.network, config.loss, config.loss_settings);

    let training_device = device.clone().autodiff();
    device.seed(config.seed);
    // Burn draws a weight when it is first used: in the first step, in the order of the network.
    let mut model = FaceModel::new(config, people, &training_device);
    if let Some(initial) = initial {
        model.trunk = initial.train();
    }

    let (epochs, batch_size) = config.length();
    let steps = config.steps(faces.faces.len());
    let batches_per_epoch = faces.faces.len() / batch_size;
    let augmentation = config.augmentation.clone();
    let features = TrunkConfig::of(&config.network).features();
    let dropout = Dropout { share: config.dropout, features: features.unwrap_or_default() };
    let batches = TrainBatches { batch_size, seed: config.seed, epochs, epochs_done, augmentation, dropout };
    let batches = batches.of(faces, &training_device);
    let table = EpochTable::begin(&run.epochs_path(), epochs_done)?;
    let interrupter = Interrupter::new();
    let plateau = config.loss.plateau(people);
    let renderer = LineRenderer::new(table, interrupter.clone(), batches_per_epoch, batch_size, plateau);

    let [model_part, optimizer_part, schedule_part] = PartCheckpointer::all(&run.checkpoints_path(), manifest)?;
    let mut training = SupervisedTraining::new(run.path(), batches, no_batches(&training_device))
        .num_epochs(epochs)
        .with_interrupter(interrupter)
        .with_training_strategy(TrainingStrategy::Custom(Arc::new(TrainingLoop {
            device: training_device,
            optimization: config.optimization.clone(),
        })))
        .renderer(Box::new(renderer))
        // Burn's default writes one file per metric and epoch, and a log for the whole process.
        .with_metric_logger(InMemoryMetricLogger::new())
        .with_application_logger(None)
        .with_custom_checkpointers(model_part, optimizer_part, schedule_part)
        .with_checkpointing_strategy(KeepLastNCheckpoints::new(CHECKPOINTS_KEPT))
        .metric_train_numeric(LossMetric::new())
        .metric_train_numeric(LearningRateMetric::new())
        .metric_train_numeric(HeadLearningRate::new());
    for diagnostic in Figure::ALL.into_iter().filter_map(Figure::diagnostic) {
        training = training.metric_train_numeric(DiagnosticMetric::new(diagnostic));
    }
    if epochs_done > 0 {
        training = training.checkpoint(epochs_done);
    }

    let schedule = learning_rates(config, steps)?;
    let result = training.launch(Learner::new(model, optimizer(config)?, schedule));
    if let Some(error) = result.error {
        bail!("training stopped: {error}");
    }
    if let Some(interruption) = result.interrupted {
        bail!("training stopped: {}", interruption.reason.as_deref().unwrap_or("no reason given"));
    }
    Ok(result.model.trunk)
}

/// The parameters of the head. By path, since a checkpoint brings its own parameter ids and a group
/// of ids would silently match nothing after a resume.
fn head_group() -> Result<ParamGroup> {
    group(r"^head\.")
}

/// Parameters that weight decay would only pull away from where they do their work.
fn undecayed_group() -> Result<ParamGroup> {
    group(r"(^|\.)(gamma|beta|alpha|bias)$")
}

fn group(pattern: &str) -> Result<ParamGroup> {
    ParamGroup::from_regex(pattern).map_err(|ParamGroupError::InvalidPatternError(error)| anyhow!(error))
}

/// Trunk and head each have a peak of their own; both rise and fall together.
fn learning_rates(config: &TrainConfig, steps: usize) -> Result<ModuleLrScheduler> {
    let warmup_steps = (config.warmup_share * steps as f64).round() as usize;
    let schedule = |peak| Schedule::new(peak, &config.schedule_settings, warmup_steps, steps);
    Ok(ModuleLrScheduler::new(schedule(config.lr)).with_group(head_group()?, schedule(config.head_lr)))
}

/// SGD with momentum, as the field trains these models.
fn optimizer(config: &TrainConfig) -> Result<ModuleOptimizer> {
    // Burn's default dampening is 0.1, where PyTorch and the papers have none.
    let momentum = MomentumConfig::new().with_momentum(0.9).with_dampening(0.0);
    let undecayed = SgdConfig::new().with_momentum(Some(momentum));
    let decayed = undecayed.clone().with_weight_decay(Some(WeightDecayConfig::new(config.weight_decay as f32)));
    Ok(decayed.init().with_group(undecayed_group()?, undecayed.build(), None))
}
