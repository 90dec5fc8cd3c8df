//! The loop over epochs, batches and steps, of the parts that Burn's own loop is made of.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Result;
use burn::data::dataset::DatasetError;
use burn::module::Module;
use burn::train::metric::store::EventStoreClient;
use burn::train::{
    EventProcessorTraining, Interrupter, Learner, LearnerEvent, LearningCheckpointer, SupervisedLearningStrategy,
    SupervisedTrainingEventProcessor, TrainLoader, TrainingComponents, TrainingItem, ValidLoader,
};

use super::checkpoints::{CheckpointFolder, FiguresSoFar};
use super::epoch_table::EpochTable;
use super::gradients::{MeanGradients, clip_to_norm};
use super::interruption::Interruption;
use super::keeping::Best;
use super::place::Place;
use super::schedule::{MarginRise, ScaleRise};
use super::stopwatch::Stopwatch;
use super::sums::Sums;
use super::validation::{Validate, Validation};
use crate::data::face_set::ChangedPicture;
use crate::model::face_model::FaceModel;
use crate::settings::checkpointing::Checkpointing;
use crate::settings::optimization::Optimization;

/// What Burn calls a processor of events, for this model.
type Processor = SupervisedTrainingEventProcessor<FaceModel>;

/// Burn's loop on the devices that model and batches are on, with gradients that are averaged and shortened before a step, and checkpoints within an epoch.
/// (Burn's adds gradients up, has no place where the norm of all of them is known, and saves at the end of an epoch only.)
pub(super) struct TrainingLoop {
    pub(super) optimization: Optimization,
    /// Whether a batch is compared with some of the people only.
    pub(super) samples: bool,
    /// None for a loss without a margin that could rise.
    pub(super) margin: Option<MarginRise>,
    /// None for a loss without a scale.
    pub(super) scale: Option<ScaleRise>,
    pub(super) checkpointing: Checkpointing,
    pub(super) batch_size: usize,
    pub(super) batches_per_epoch: usize,
    /// Where the run goes on.
    pub(super) begin: Place,
    /// Whether the trunk of that place was measured.
    pub(super) is_measured: bool,
    /// What the renderer has added up of the epoch.
    pub(super) sums: Arc<Mutex<Sums>>,
    /// Stands still while checkpoints are written.
    pub(super) stopwatch: Stopwatch,
    pub(super) table: EpochTable,
    pub(super) folder: Arc<CheckpointFolder>,
    pub(super) best: Best,
    pub(super) validate: Validate,
    pub(super) interruption: Interruption,
    /// Where it was interrupted, if it was.
    pub(super) interrupted: Arc<Mutex<Option<Place>>>,
}

/// What is at work in a training.
struct Work {
    learner: Learner<FaceModel>,
    processor: Processor,
    checkpointer: Option<LearningCheckpointer<FaceModel>>,
    interrupter: Interrupter,
    store: Arc<EventStoreClient>,
}

impl Work {
    fn tell(&mut self, event: LearnerEvent<<FaceModel as burn::train::TrainStep>::Output>) {
        self.interrupter.fail_on_error(self.processor.process_train(event));
    }

    /// Waits until the renderer has seen everything; whether the training goes on after that.
    fn is_going_on(&mut self) -> bool {
        self.interrupter.fail_on_error(self.processor.flush());
        !self.interrupter.should_stop()
    }

    /// Stops the training if something went wrong.
    fn check(&self, result: Result<()>) {
        if let Err(error) = result {
            self.interrupter.stop(Some(&format!("{error:#}")));
        }
    }
}

impl TrainingLoop {
    fn sums(&self) -> MutexGuard<'_, Sums> {
        self.sums.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Trains on the batches of an epoch that are left. The last step of an epoch may be of fewer batches than the others; no
    /// batch is left out.
    fn batches(&self, work: &mut Work, batches: &TrainLoader<FaceModel>, begin: Place) {
        let mut batches = batches.iter();
        let mut gradients = MeanGradients::new();
        let mut place = begin;
        while let Some(batch) = batches.next() {
            let mut batch = match batch {
                Ok(batch) => batch,
                Err(error) => {
                    // What was trained up to here is not lost; a place within a step is none to go on from.
                    if gradients.batches() == 0 && place != begin {
                        self.save_within(work, place);
                    }
                    return work.interrupter.fail(error);
                }
            };
            let step = self.step_of(place);
            batch.margin_share = self.margin.map_or(1.0, |rise| rise.share(step));
            batch.scale_share = self.scale.map_or(1.0, |rise| rise.share(step));
            place.batches += 1;
            let is_last = place.batches == self.batches_per_epoch;
            let progress = batches.progress();
            // The rates of a step are those of all its batches.
            if gradients.batches() == 0 {
                work.learner.lr_step();
            }
            let output = work.learner.train_step(batch);
            gradients.add(&work.learner.model(), output.grads);
            let is_step = is_last || gradients.batches() == self.optimization.accumulate;
            if is_step {
                self.step(&mut work.learner, &mut gradients);
            }
            let rates = work.learner.lr_current();
            let item = TrainingItem::new(output.item, progress, Some(place.batches), Some(rates));
            work.tell(LearnerEvent::ProcessedItem(item));
            if work.interrupter.should_stop() {
                return;
            }
            // A place within a step, or at the end of an epoch, is not saved here.
            if is_step && !is_last {
                let (is_asked_for, steps) = (self.interruption.is_requested(), self.steps_at(place));
                let is_due = self.checkpointing.checkpoint_steps.is_some_and(|every| steps.is_multiple_of(every));
                if (is_asked_for || is_due) && !self.save_within(work, place) {
                    return;
                }
                if is_asked_for {
                    return self.interrupt(work, place);
                }
            }
        }
    }

    /// The step of the optimizer, from 0, that the batch after a place goes into.
    fn step_of(&self, place: Place) -> usize {
        self.steps_at(Place::end_of(place.epochs)) + place.batches / self.optimization.accumulate
    }

    /// Steps of the optimizer up to a place.
    fn steps_at(&self, place: Place) -> usize {
        let steps = |batches| self.optimization.steps(batches);
        place.epochs * steps(self.batches_per_epoch) + steps(place.batches)
    }

    /// A step of the optimizer.
    fn step(&self, learner: &mut Learner<FaceModel>, gradients: &mut MeanGradients<FaceModel>) {
        let model = learner.model();
        let mut gradients = gradients.take(&model);
        if let Some(longest) = self.optimization.clip_norm {
            gradients = match self.samples {
                // The gradient of a sample of the centers says which they are, too: no length can be taken of it.
                true => clip_to_norm(&model.trunk, gradients, longest),
                false => clip_to_norm(&model, gradients, longest),
            };
        }
        learner.optimizer_step(gradients);
    }

    /// A checkpoint of a place within an epoch; whether the training goes on there, or there is none.
    fn save_within(&self, work: &mut Work, place: Place) -> bool {
        let is_going_on = work.is_going_on();
        if is_going_on {
            let figures = FiguresSoFar { epoch: self.sums().added(), validation: None };
            self.save(work, place, &figures);
        }
        is_going_on
    }

    fn save(&self, work: &mut Work, place: Place, figures: &FiguresSoFar) {
        // Batch statistics that were measured last are put down, or the checkpoint would lack them.
        drop(work.learner.model().valid());
        self.stopwatch.stopped(|| {
            work.check(self.folder.write_figures(place, figures));
            if let (Some(checkpointer), false) = (&mut work.checkpointer, work.interrupter.should_stop()) {
                checkpointer.checkpoint(&work.learner, place.number(self.batches_per_epoch), &work.store);
            }
        });
    }

    fn interrupt(&self, work: &Work, place: Place) {
        // What went wrong with the checkpoint is worth more.
        if work.interrupter.should_stop() {
            return;
        }
        *self.interrupted.lock().unwrap_or_else(PoisonError::into_inner) = Some(place);
        work.interrupter.stop(Some("it was interrupted"));
    }

    /// Measures the trunk after an epoch, if that is asked for.
    fn validation(&self, work: &Work, epoch: usize, epochs: usize) -> Option<Validation> {
        let every = self.checkpointing.validate_every;
        if every == 0 || !(epoch.is_multiple_of(every) || epoch == epochs) {
            return None;
        }
        // Of batch statistics of its own: those of the model are shared by all its other copies.
        match (self.validate)(&work.learner.model().valid().trunk) {
            Ok(validation) => {
                let Validation { auc, eer } = validation;
                say!("epoch {epoch:>2}/{epochs} on the test people: AUC {auc:.4}, EER {eer:.4}");
                Some(validation)
            }
            Err(error) => {
                match error.downcast::<ChangedPicture>() {
                    Ok(changed) => work.interrupter.fail(DatasetError::new(changed)),
                    // The training may well recover.
                    Err(error) => {
                        say!("warning: the trunk cannot be measured after epoch {epoch}: {error:#}; try a smaller --lr")
                    }
                }
                None
            }
        }
    }

    /// What there is to do after the batches of an epoch; whether the training goes on.
    fn end_epoch(&self, work: &mut Work, epoch: usize, epochs: usize) -> bool {
        let mut row = self.sums().row(epoch, self.batch_size);
        // That of its last step, as the rates are.
        let last_step = self.steps_at(Place::end_of(epoch)) - 1;
        let margins = self.margin.map(|rise| rise.margins(last_step));
        row.margin = margins.map(|(margin, _)| margin);
        row.cosine_margin = margins.and_then(|(_, of_cosine)| of_cosine);
        row.scale = self.scale.map(|rise| rise.scale(last_step));
        work.check(self.table.append(&row));
        if work.interrupter.should_stop() {
            return false;
        }
        self.save(work, Place::end_of(epoch), &FiguresSoFar::default());
        self.measure(work, epoch, epochs)
    }

    /// Measures the trunk after an epoch of which there is a checkpoint, and adds it there: a run that is interrupted or killed
    /// until then is measured when it goes on. Whether the training goes on.
    fn measure(&self, work: &mut Work, epoch: usize, epochs: usize) -> bool {
        let place = Place::end_of(epoch);
        if self.interruption.is_requested() {
            self.interrupt(work, place);
        }
        if work.interrupter.should_stop() {
            return false;
        }
        if let Some(validation) = self.validation(work, epoch, epochs) {
            self.best.offer(place, validation);
            work.check(self.table.add_validation(epoch, validation));
            work.check(self.folder.write_validation(place, &validation));
        }
        if self.interruption.is_requested() {
            self.interrupt(work, place);
        }
        !work.interrupter.should_stop()
    }
}

impl SupervisedLearningStrategy<FaceModel> for TrainingLoop {
    fn fit(
        &self,
        components: TrainingComponents<FaceModel>,
        learner: Learner<FaceModel>,
        batches: TrainLoader<FaceModel>,
        _: ValidLoader<FaceModel>,
        // Burn takes the number of the checkpoint for that of an epoch.
        _: usize,
    ) -> (FaceModel, Processor) {
        let TrainingComponents { num_epochs, checkpointer, interrupter, event_store: store, .. } = components;
        let total_items = self.batches_per_epoch * self.batch_size;
        let mut work = Work { learner, processor: components.event_processor, checkpointer, interrupter, store };
        let mut begin = self.begin;
        let is_unmeasured = begin.epochs > 0 && begin.batches == 0 && !self.is_measured;
        let is_going_on = !is_unmeasured || self.measure(&mut work, begin.epochs, num_epochs);
        while is_going_on && begin.epochs < num_epochs {
            let epoch = begin.epochs + 1;
            work.tell(LearnerEvent::StartSplit { epoch_number: epoch, total_items });
            self.batches(&mut work, &batches, begin);
            work.tell(LearnerEvent::EndSplit(epoch));
            if work.interrupter.should_stop() {
                break;
            }
            work.tell(LearnerEvent::EndEpoch(epoch));
            if !work.is_going_on() || !self.end_epoch(&mut work, epoch, num_epochs) {
                break;
            }
            begin = Place::end_of(epoch);
        }
        let Work { learner, processor, .. } = work;
        (learner.model(), processor)
    }
}
