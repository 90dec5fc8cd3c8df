//! The figures of a training step: read from the device once, off the training thread.

use std::sync::Arc;

use burn::module::ParamId;
use burn::tensor::{ExecutionError, Int, Tensor, TensorReadError};
use burn::train::metric::state::{FormatOptions, NumericMetricState};
use burn::train::metric::{
    Adaptor, ItemLazy, Metric, MetricMetadata, MetricName, Numeric, NumericEntry, SerializedEntry,
};
use burn_losses::diagnostics::{Figures, Reading};

use crate::model::HeadOutput;

/// What a training step hands to the metrics.
#[allow(clippy::large_enum_variant)] // Only one or two are alive at a time.
pub enum StepOutput {
    /// Still on the device.
    OnDevice(Figures),
    /// Read.
    Read(StepFigures),
}

/// The figures of one step.
#[derive(Clone, Copy, Debug)]
pub struct StepFigures {
    /// The loss of the batch.
    pub loss: f64,
    /// Labels that are no class; their pictures trained nothing.
    pub bad_labels: f64,
    /// Mean angle between an embedding and the center of its own class, in radians.
    pub mean_angle: f64,
    /// Mean angle between an embedding and the nearest center of another class, in radians.
    pub nearest_other_angle: f64,
    /// Mean length of the embeddings.
    pub embedding_length: f64,
    /// How far the directions of the embeddings spread: 0 if all are one, nearly 1 if they spread evenly.
    pub direction_variance: f64,
    /// Pictures in the batch.
    pub pictures: usize,
}

impl StepOutput {
    /// Packs the figures into one tensor, so that reading them is one transfer.
    pub fn new(output: HeadOutput, embeddings: Tensor<2>, bad_labels: Tensor<1, Int>) -> Self {
        // One loss, the mean of the batch.
        let counted = Tensor::full([1], true, &output.loss.device());
        Self::OnDevice(Figures::new(embeddings, output.cosines, output.loss, counted, bad_labels))
    }
}

impl ItemLazy for StepOutput {
    fn sync(self) -> Result<Self, ExecutionError> {
        let Self::OnDevice(figures) = self else { return Ok(self) };
        let values: Vec<f64> = figures.packed.try_into_data()?.iter::<f64>().collect();
        let reading = Reading::from_packed(&values);
        Ok(Self::Read(StepFigures {
            loss: reading.loss,
            bad_labels: reading.bad_labels as f64,
            mean_angle: reading.target_angle,
            nearest_other_angle: reading.nearest_negative_angle,
            embedding_length: reading.length_mean,
            direction_variance: reading.direction_variance,
            pictures: reading.batch,
        }))
    }
}

impl Adaptor<StepFigures> for StepOutput {
    fn adapt(&self) -> StepFigures {
        match self {
            Self::Read(figures) => *figures,
            Self::OnDevice(_) => unreachable!("Burn syncs an item before its metrics see it"),
        }
    }
}

/// A figure of a step that the [renderer](crate::renderer) is told about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Figure {
    /// The loss.
    Loss,
    /// The mean angle to the own class, in radians.
    MeanAngle,
    /// The mean angle to the nearest other class, in radians.
    NearestOtherAngle,
    /// The mean length of the embeddings.
    EmbeddingLength,
    /// How far the directions of the embeddings spread.
    DirectionVariance,
    /// The count of bad labels.
    BadLabels,
    /// The learning rate of the trunk.
    LearningRate,
    /// The learning rate of the head.
    HeadLearningRate,
}

impl Figure {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Loss,
        Self::MeanAngle,
        Self::NearestOtherAngle,
        Self::EmbeddingLength,
        Self::DirectionVariance,
        Self::BadLabels,
        Self::LearningRate,
        Self::HeadLearningRate,
    ];

    /// The name under which Burn knows the metric.
    pub fn name(self) -> &'static str {
        match self {
            Self::Loss => "loss",
            Self::MeanAngle => "mean_angle",
            Self::NearestOtherAngle => "nearest_other_angle",
            Self::EmbeddingLength => "embedding_length",
            Self::DirectionVariance => "direction_variance",
            Self::BadLabels => "bad_labels",
            Self::LearningRate => "learning_rate",
            Self::HeadLearningRate => "head_learning_rate",
        }
    }

    fn of(self, figures: &StepFigures, metadata: &MetricMetadata) -> f64 {
        let rate = |path| {
            // Burn's own metric shows the first group only. No parameter has a fresh id, so the
            // path alone decides the group.
            let rates = metadata.lr.as_ref();
            rates.map_or(0.0, |rates| rates.lr_from_param(ParamId::new(), Some(path)))
        };
        match self {
            Self::Loss => figures.loss,
            Self::MeanAngle => figures.mean_angle,
            Self::NearestOtherAngle => figures.nearest_other_angle,
            Self::EmbeddingLength => figures.embedding_length,
            Self::DirectionVariance => figures.direction_variance,
            Self::BadLabels => figures.bad_labels,
            Self::LearningRate => rate("trunk.embedding.weight"),
            Self::HeadLearningRate => rate("head.centers.weight"),
        }
    }
}

/// A [`Figure`] as a metric of Burn.
#[derive(Clone)]
pub struct StepMetric {
    figure: Figure,
    name: MetricName,
    state: NumericMetricState,
}

impl StepMetric {
    /// The metric of a figure.
    pub fn new(figure: Figure) -> Self {
        Self { figure, name: Arc::new(figure.name().to_string()), state: NumericMetricState::default() }
    }
}

impl Metric for StepMetric {
    type Input = StepFigures;

    fn name(&self) -> MetricName {
        self.name.clone()
    }

    fn update(&mut self, figures: &StepFigures, metadata: &MetricMetadata) -> Result<SerializedEntry, TensorReadError> {
        self.state.update(self.figure.of(figures, metadata), figures.pictures);
        Ok(self.state.compute_update(FormatOptions::new(self.name())))
    }

    fn compute(&mut self) -> Result<SerializedEntry, TensorReadError> {
        Ok(self.state.compute_final(FormatOptions::new(self.name())))
    }

    fn clear(&mut self) {
        self.state.reset();
    }
}

impl Numeric for StepMetric {
    fn value(&self) -> Option<NumericEntry> {
        Some(self.state.current_value())
    }

    fn running_value(&self) -> Option<NumericEntry> {
        Some(self.state.running_value())
    }

    fn final_value(&self) -> NumericEntry {
        self.state.final_value()
    }
}
