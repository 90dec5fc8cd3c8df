//! The figures of a training step that the renderer is told about, and which metric of Burn brings each.

use std::sync::Arc;

use burn::module::ParamId;
use burn::tensor::TensorReadError;
use burn::train::metric::state::{FormatOptions, NumericMetricState};
use burn::train::metric::{
    LearningRateMetric, LossMetric, Metric, MetricMetadata, MetricName, Numeric, NumericEntry, SerializedEntry,
};
use burn_losses::diagnostics::Diagnostic;
use serde::{Deserialize, Serialize};

/// A figure of a step that the [renderer](super::renderer) is told about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Figure {
    /// The loss: Burn's `LossMetric`.
    Loss,
    /// The mean angle to the own class, in degrees.
    MeanAngle,
    /// The mean angle to the nearest other class, in degrees.
    NearestOtherAngle,
    /// The mean length of the embeddings.
    EmbeddingLength,
    /// How far the directions of the embeddings spread.
    DirectionVariance,
    /// The count of bad labels.
    BadLabels,
    /// The learning rate of the trunk: Burn's `LearningRateMetric`.
    LearningRate,
    /// The learning rate of the head: [`HeadLearningRate`].
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

    /// The diagnostic of `burn_losses` that it is, if it is one.
    pub fn diagnostic(self) -> Option<Diagnostic> {
        match self {
            Self::MeanAngle => Some(Diagnostic::TargetAngle),
            Self::NearestOtherAngle => Some(Diagnostic::NearestNegativeAngle),
            Self::EmbeddingLength => Some(Diagnostic::EmbeddingLength),
            Self::DirectionVariance => Some(Diagnostic::DirectionVariance),
            Self::BadLabels => Some(Diagnostic::BadLabels),
            Self::Loss | Self::LearningRate | Self::HeadLearningRate => None,
        }
    }

    /// The figure that a metric of Burn brings.
    pub fn of_metric(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|figure| match figure {
            Self::Loss => *LossMetric::new().name() == name,
            Self::LearningRate => *LearningRateMetric::new().name() == name,
            Self::HeadLearningRate => *HeadLearningRate::new().name() == name,
            figure => figure.diagnostic().is_some_and(|diagnostic| diagnostic.name() == name),
        })
    }
}

/// The learning rate of the head as a metric. (Burn's own metric shows that of the first group, the trunk, only.)
#[derive(Clone)]
pub struct HeadLearningRate {
    name: MetricName,
    state: NumericMetricState,
}

impl HeadLearningRate {
    /// The metric.
    #[allow(clippy::new_without_default)] // As Burn's metrics are made.
    pub fn new() -> Self {
        Self { name: Arc::new("Learning rate of the head".to_string()), state: NumericMetricState::default() }
    }
}

impl Metric for HeadLearningRate {
    type Input = ();

    fn name(&self) -> MetricName {
        self.name.clone()
    }

    fn update(&mut self, (): &(), metadata: &MetricMetadata) -> Result<SerializedEntry, TensorReadError> {
        // No parameter has a fresh id, so the path alone decides the group.
        let rates = metadata.lr.as_ref();
        let rate = rates.map_or(0.0, |rates| rates.lr_from_param(ParamId::new(), Some("head.centers.weight")));
        self.state.update(rate, 1);
        Ok(self.state.compute_update(FormatOptions::new(self.name())))
    }

    fn compute(&mut self) -> Result<SerializedEntry, TensorReadError> {
        Ok(self.state.compute_final(FormatOptions::new(self.name())))
    }

    fn clear(&mut self) {
        self.state.reset();
    }
}

impl Numeric for HeadLearningRate {
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
