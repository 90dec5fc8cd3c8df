//! The figures of a training step that the renderer prints: those of `burn_losses`' diagnostics, and learning rates.

use std::sync::Arc;

use burn::module::ParamId;
use burn::tensor::TensorReadError;
use burn::train::metric::state::{FormatOptions, NumericMetricState};
use burn::train::metric::{Metric, MetricMetadata, MetricName, Numeric, NumericEntry, SerializedEntry};
use burn_losses::diagnostics::Reading;

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

    fn of(self, reading: &Reading, metadata: &MetricMetadata) -> f64 {
        let rate = |path| {
            // Burn's own metric shows the first group only. No parameter has a fresh id, so the
            // path alone decides the group.
            let rates = metadata.lr.as_ref();
            rates.map_or(0.0, |rates| rates.lr_from_param(ParamId::new(), Some(path)))
        };
        match self {
            Self::Loss => reading.loss,
            Self::MeanAngle => reading.target_angle,
            Self::NearestOtherAngle => reading.nearest_negative_angle,
            Self::EmbeddingLength => reading.length_mean,
            Self::DirectionVariance => reading.direction_variance,
            Self::BadLabels => reading.bad_labels as f64,
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
    type Input = Reading;

    fn name(&self) -> MetricName {
        self.name.clone()
    }

    fn update(&mut self, reading: &Reading, metadata: &MetricMetadata) -> Result<SerializedEntry, TensorReadError> {
        self.state.update(self.figure.of(reading, metadata), reading.batch);
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
