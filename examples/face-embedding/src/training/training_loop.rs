//! The loop over epochs, batches and steps, of the parts that Burn's own loop is made of.

use burn::module::Module;
use burn::tensor::Device;
use burn::train::{
    EventProcessorTraining, Interrupter, Learner, LearnerEvent, SupervisedLearningStrategy,
    SupervisedTrainingEventProcessor, TrainLoader, TrainingComponents, TrainingItem, ValidLoader,
};

use super::gradients::{MeanGradients, clip_to_norm};
use crate::model::face_model::FaceModel;
use crate::settings::optimization::Optimization;

/// What Burn calls a processor of events, for this model.
type Processor = SupervisedTrainingEventProcessor<FaceModel>;

/// Burn's loop on one device, with gradients that are averaged and shortened before a step. (Burn's adds them up, and has no
/// place where the norm of all of them is known.)
pub(super) struct TrainingLoop {
    pub(super) device: Device,
    pub(super) optimization: Optimization,
}

impl TrainingLoop {
    /// Trains on the batches of an epoch. The last step of an epoch may be of fewer batches than the others; no batch is left
    /// out.
    fn epoch(
        &self,
        learner: &mut Learner<FaceModel>,
        batches: &TrainLoader<FaceModel>,
        processor: &mut Processor,
        interrupter: &Interrupter,
    ) {
        let mut batches = batches.iter();
        let mut gradients = MeanGradients::new();
        let mut iteration = 0;
        while let Some(batch) = batches.next() {
            let batch = match batch {
                Ok(batch) => batch,
                Err(error) => return interrupter.fail(error),
            };
            iteration += 1;
            let progress = batches.progress();
            let output = learner.train_step(batch);
            gradients.add(&learner.model(), output.grads);
            if gradients.batches() == self.optimization.accumulate || progress.is_completed() {
                self.step(learner, &mut gradients);
            }
            let item = TrainingItem::new(output.item, progress, Some(iteration), Some(learner.lr_current()));
            interrupter.fail_on_error(processor.process_train(LearnerEvent::ProcessedItem(item)));
            if interrupter.should_stop() {
                return;
            }
        }
    }

    /// A step of the learning rates and of the optimizer.
    fn step(&self, learner: &mut Learner<FaceModel>, gradients: &mut MeanGradients<FaceModel>) {
        let model = learner.model();
        let mut gradients = gradients.take(&model);
        if let Some(longest) = self.optimization.clip_norm {
            gradients = clip_to_norm(&model, gradients, longest);
        }
        learner.lr_step();
        learner.optimizer_step(gradients);
    }
}

impl SupervisedLearningStrategy<FaceModel> for TrainingLoop {
    fn fit(
        &self,
        components: TrainingComponents<FaceModel>,
        mut learner: Learner<FaceModel>,
        batches: TrainLoader<FaceModel>,
        _: ValidLoader<FaceModel>,
        first_epoch: usize,
    ) -> (FaceModel, Processor) {
        let TrainingComponents { num_epochs, mut checkpointer, interrupter, event_store, .. } = components;
        let mut processor = components.event_processor;
        learner.fork(&self.device);
        let batches = batches.to_device(&self.device);
        let total_items = batches.num_items();
        for epoch in first_epoch..=num_epochs {
            let begin = LearnerEvent::StartSplit { epoch_number: epoch, total_items };
            interrupter.fail_on_error(processor.process_train(begin));
            self.epoch(&mut learner, &batches, &mut processor, &interrupter);
            interrupter.fail_on_error(processor.process_train(LearnerEvent::EndSplit(epoch)));
            if interrupter.should_stop() {
                break;
            }
            interrupter.fail_on_error(processor.process_train(LearnerEvent::EndEpoch(epoch)));
            // What the renderer has to say of the epoch, before there is a checkpoint of it.
            interrupter.fail_on_error(processor.flush());
            if interrupter.should_stop() {
                break;
            }
            // Batch statistics that were measured last are put down, or the checkpoint would lack them.
            drop(learner.model().valid());
            if let Some(checkpointer) = &mut checkpointer {
                checkpointer.checkpoint(&learner, epoch, &event_store);
            }
        }
        (learner.model(), processor)
    }
}
