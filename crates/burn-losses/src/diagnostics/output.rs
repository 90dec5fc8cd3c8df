use alloc::vec::Vec;

use burn::tensor::{Bool, Device, ExecutionError, Int, Tensor};
use burn::train::metric::{AccuracyInput, Adaptor, ItemLazy, LossInput};

use super::figures::cosines_of_rows;
use super::{Figures, Reading};
use crate::heads::{Centers, Head, MarginRule};

/// What a training step of embeddings hands to Burn's metrics: the loss, the accuracy, and the [diagnostics](super).
///
/// It adapts to Burn's `LossMetric` and `AccuracyMetric` and to every [`DiagnosticMetric`](super::DiagnosticMetric). The
/// figures of a step are read from the device in one transfer, off the training thread. An accuracy is of the rows that have
/// a class, and no tensor of `[batch, classes]` is made for it; a batch in which no row has one counts as one wrong row.
///
/// ```
/// use std::sync::Arc;
///
/// use burn::data::dataloader::DataLoader;
/// use burn::module::Module;
/// use burn::nn::Linear;
/// use burn::optim::AdamConfig;
/// use burn::tensor::{Int, Tensor};
/// use burn::train::metric::{AccuracyMetric, LossMetric};
/// use burn::train::{InferenceStep, Learner, SupervisedTraining, TrainOutput, TrainStep};
/// use burn_losses::diagnostics::{Diagnostic, DiagnosticMetric, EmbeddingOutput};
/// use burn_losses::heads::ArcFace;
///
/// #[derive(Module, Debug)]
/// struct Model {
///     trunk: Linear,
///     head: ArcFace,
/// }
///
/// #[derive(Clone, Debug)]
/// struct Batch {
///     inputs: Tensor<2>,
///     labels: Tensor<1, Int>,
/// }
///
/// impl Model {
///     fn forward(&self, Batch { inputs, labels }: Batch) -> (Tensor<1>, EmbeddingOutput) {
///         let embeddings = self.trunk.forward(inputs);
///         let loss = self.head.forward(embeddings.clone(), labels.clone());
///         (loss.clone(), EmbeddingOutput::of_head(&self.head, embeddings, labels, loss))
///     }
/// }
///
/// impl TrainStep for Model {
///     type Input = Batch;
///     type Output = EmbeddingOutput;
///
///     fn step(&self, batch: Batch) -> TrainOutput<EmbeddingOutput> {
///         let (loss, output) = self.forward(batch);
///         TrainOutput::new(self, loss.backward(), output)
///     }
/// }
///
/// impl InferenceStep for Model {
///     type Input = Batch;
///     type Output = EmbeddingOutput;
///
///     fn step(&self, batch: Batch) -> EmbeddingOutput {
///         self.forward(batch).1
///     }
/// }
///
/// fn train(model: Model, batches: Arc<dyn DataLoader<Batch>>, valid: Arc<dyn DataLoader<Batch>>) -> Model {
///     let mut training = SupervisedTraining::new("run", batches, valid)
///         .num_epochs(10)
///         .metric_train_numeric(LossMetric::new())
///         .metric_valid_numeric(LossMetric::new())
///         .metric_train_numeric(AccuracyMetric::new())
///         .metric_valid_numeric(AccuracyMetric::new());
///     for diagnostic in Diagnostic::OF_HEADS {
///         training = training.metric_train_numeric(DiagnosticMetric::new(diagnostic));
///     }
///     training.launch(Learner::new(model, AdamConfig::new().init(), 1e-3)).model
/// }
/// ```
#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant)] // Only one or two are alive at a time.
pub enum EmbeddingOutput {
    /// Still on the device.
    OnDevice(Figures),
    /// Read; Burn reads an item before its metrics see it.
    Read(ReadOutput),
}

/// An [`EmbeddingOutput`] on the host.
#[derive(Clone, Debug)]
pub struct ReadOutput {
    /// All figures.
    pub reading: Reading,
    /// Whether a row that has a class is nearest to it.
    right: Vec<bool>,
    device: Device,
}

impl EmbeddingOutput {
    /// Of a head, as [`Figures::of_head`].
    ///
    /// # Shapes
    ///
    /// - embeddings: `[batch, embedding_dim]`
    /// - labels: `[batch]`
    /// - losses: `[batch]`, or their mean, `[1]`
    ///
    /// # Panics
    ///
    /// If the shapes do not agree, or by the [`LabelPolicy`](crate::labels::LabelPolicy).
    #[track_caller]
    pub fn of_head<R: MarginRule, C: Centers>(
        head: &Head<R, C>,
        embeddings: Tensor<2>,
        labels: Tensor<1, Int>,
        losses: Tensor<1>,
    ) -> Self {
        Figures::of_head(head, embeddings, labels, losses).into()
    }

    /// Of a loss of pairs or triplets, as [`Figures::of_tuples`].
    ///
    /// # Shapes
    ///
    /// - embeddings: `[batch, embedding_dim]`
    /// - labels: `[batch]`
    /// - losses: `[losses]`
    /// - counted: `[losses]`
    ///
    /// # Panics
    ///
    /// If the shapes do not agree.
    #[track_caller]
    pub fn of_tuples(
        embeddings: Tensor<2>,
        labels: Tensor<1, Int>,
        losses: Tensor<1>,
        counted: Tensor<1, Bool>,
    ) -> Self {
        Figures::of_tuples(embeddings, labels, losses, counted).into()
    }

    /// # Panics
    ///
    /// If Burn has not read it yet.
    fn read(&self) -> &ReadOutput {
        match self {
            Self::Read(read) => read,
            Self::OnDevice(_) => unreachable!("Burn syncs an item before its metrics see it"),
        }
    }
}

impl From<Figures> for EmbeddingOutput {
    fn from(figures: Figures) -> Self {
        Self::OnDevice(figures)
    }
}

impl ItemLazy for EmbeddingOutput {
    fn sync(self) -> Result<Self, ExecutionError> {
        let Self::OnDevice(figures) = self else { return Ok(self) };
        let device = figures.packed.device();
        let packed: Vec<f64> = figures.packed.try_into_data()?.iter::<f64>().collect();
        let right = cosines_of_rows(&packed).map(|(target, negative)| target > negative).collect();
        Ok(Self::Read(ReadOutput { reading: Reading::from_packed(&packed), right, device }))
    }
}

impl Adaptor<Reading> for EmbeddingOutput {
    fn adapt(&self) -> Reading {
        self.read().reading
    }
}

impl Adaptor<LossInput> for EmbeddingOutput {
    fn adapt(&self) -> LossInput {
        let read = self.read();
        LossInput::new(Tensor::from_data([read.reading.loss], &read.device))
    }
}

impl Adaptor<AccuracyInput> for EmbeddingOutput {
    fn adapt(&self) -> AccuracyInput {
        let read = self.read();
        // Two classes: the target is 1, and 0 is all others.
        let scores: Vec<f32> =
            read.right.iter().flat_map(|&right| if right { [0.0, 1.0] } else { [1.0, 0.0] }).collect();
        let scores = if scores.is_empty() { alloc::vec![1.0, 0.0] } else { scores };
        let rows = scores.len() / 2;
        let targets = Tensor::ones([rows], &read.device);
        AccuracyInput::new(Tensor::<1>::from_data(scores.as_slice(), &read.device).reshape([rows, 2]), targets)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::data::dataloader::Progress;
    use burn::train::metric::{AccuracyMetric, LossMetric, Metric, MetricMetadata, Numeric};

    /// Packed figures of a head: loss 0.5, then the cosines of four rows, the last of which has no class.
    fn output() -> EmbeddingOutput {
        let header = [0.5, -1.0, 0.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0];
        let rows = [0.9, 0.2, 0.5, 0.0, 0.1, 0.3, 0.5, 0.0, 1.0, 1.0, 1.0, 0.0];
        let packed = Tensor::<1>::from_data([&header[..], &rows].concat().as_slice(), &Device::flex());
        EmbeddingOutput::from(Figures { packed }).sync().unwrap()
    }

    #[test]
    fn burns_metrics_and_ours_read_the_same() {
        let metadata = MetricMetadata { progress: Progress::new(1, 2, None), iteration: Some(0), lr: None };
        let (mut loss, mut accuracy) = (LossMetric::new(), AccuracyMetric::new());
        loss.update(&output().adapt(), &metadata).unwrap();
        accuracy.update(&output().adapt(), &metadata).unwrap();
        let reading: Reading = output().adapt();

        // By hand: of three rows one is nearest to its target; equal cosines are not nearest.
        assert_eq!(loss.final_value().current(), 0.5);
        assert!((accuracy.final_value().current() - 100.0 / 3.0).abs() < 1e-6);
        assert_eq!((reading.accuracy, reading.active_share, reading.rows), (1.0 / 3.0, None, 3));
    }
}
