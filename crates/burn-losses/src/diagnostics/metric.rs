use alloc::string::ToString;
use alloc::sync::Arc;

use burn::tensor::TensorReadError;
use burn::train::metric::state::{FormatOptions, NumericMetricState};
use burn::train::metric::{Metric, MetricMetadata, MetricName, Numeric, NumericEntry, SerializedEntry};

use super::Reading;

/// A figure of a [`Reading`] that can be a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Diagnostic {
    /// Mean angle to the target, in degrees.
    TargetAngle,
    /// Mean angle to the nearest negative, in degrees.
    NearestNegativeAngle,
    /// Share of the rows that are nearest to their target, without a margin, in percent.
    Accuracy,
    /// Of pairs and triplets the share of the losses that are larger than 0, in percent.
    ActiveShare,
    /// Mean length of the embeddings.
    EmbeddingLength,
    /// How far the directions of the embeddings spread; nearly 0 is a [`Collapse`](super::Collapse).
    DirectionVariance,
    /// Labels that are no class, per batch.
    BadLabels,
}

impl Diagnostic {
    /// What there is to see of a head.
    pub const OF_HEADS: [Self; 6] = [
        Self::TargetAngle,
        Self::NearestNegativeAngle,
        Self::Accuracy,
        Self::EmbeddingLength,
        Self::DirectionVariance,
        Self::BadLabels,
    ];

    /// What there is to see of a loss of pairs or triplets.
    pub const OF_PAIRS: [Self; 7] = [
        Self::TargetAngle,
        Self::NearestNegativeAngle,
        Self::Accuracy,
        Self::ActiveShare,
        Self::EmbeddingLength,
        Self::DirectionVariance,
        Self::BadLabels,
    ];

    /// The name of the metric, with its unit.
    pub fn name(self) -> &'static str {
        match self {
            Self::TargetAngle => "Target angle (deg)",
            Self::NearestNegativeAngle => "Nearest negative angle (deg)",
            Self::Accuracy => "Accuracy without margin (%)",
            Self::ActiveShare => "Active losses (%)",
            Self::EmbeddingLength => "Embedding length",
            Self::DirectionVariance => "Direction variance",
            Self::BadLabels => "Bad labels",
        }
    }

    /// The figure, and how many rows it is the mean of.
    fn of(self, reading: &Reading) -> (f64, usize) {
        match self {
            Self::TargetAngle => (reading.target_angle.to_degrees(), reading.rows),
            Self::NearestNegativeAngle => (reading.nearest_negative_angle.to_degrees(), reading.rows),
            Self::Accuracy => (100.0 * reading.accuracy, reading.rows),
            Self::ActiveShare => match reading.active_share {
                Some(share) => (100.0 * share, reading.batch),
                None => (f64::NAN, 0),
            },
            Self::EmbeddingLength => (reading.length_mean, reading.batch),
            Self::DirectionVariance => (reading.direction_variance, reading.batch),
            Self::BadLabels => (reading.bad_labels as f64, reading.batch),
        }
    }
}

/// A [`Diagnostic`] as a numeric metric of Burn's training loop; an epoch shows its mean.
///
/// ```
/// use burn_losses::diagnostics::{Diagnostic, DiagnosticMetric};
///
/// // training.metric_train_numeric(metric)
/// let metrics = Diagnostic::OF_HEADS.map(DiagnosticMetric::new);
/// ```
#[derive(Clone)]
pub struct DiagnosticMetric {
    diagnostic: Diagnostic,
    name: MetricName,
    state: NumericMetricState,
}

impl DiagnosticMetric {
    /// The metric of a figure.
    pub fn new(diagnostic: Diagnostic) -> Self {
        Self { diagnostic, name: Arc::new(diagnostic.name().to_string()), state: NumericMetricState::default() }
    }
}

impl Metric for DiagnosticMetric {
    type Input = Reading;

    fn name(&self) -> MetricName {
        self.name.clone()
    }

    fn update(&mut self, reading: &Reading, _metadata: &MetricMetadata) -> Result<SerializedEntry, TensorReadError> {
        let (value, rows) = self.diagnostic.of(reading);
        // A batch without a row to look at has no mean.
        if rows > 0 {
            self.state.update(value, rows);
        }
        Ok(self.state.compute_update(FormatOptions::new(self.name()).precision(4)))
    }

    fn compute(&mut self) -> Result<SerializedEntry, TensorReadError> {
        Ok(self.state.compute_final(FormatOptions::new(self.name()).precision(4)))
    }

    fn clear(&mut self) {
        self.state.reset();
    }
}

impl Numeric for DiagnosticMetric {
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

#[cfg(test)]
mod tests {
    use super::*;
    use burn::data::dataloader::Progress;

    #[test]
    fn an_epoch_shows_the_mean_of_its_rows() {
        let metadata = MetricMetadata { progress: Progress::new(1, 2, None), iteration: Some(0), lr: None };
        let mut metric = DiagnosticMetric::new(Diagnostic::TargetAngle);
        // Cosine 1 for two rows, then 0 for one row and a row that does not count.
        for rows in [[1.0, 1.0, 0.5, 0.5, 1.0, 1.0], [0.0, 0.3, 0.5, 0.5, 1.0, 0.0]] {
            let packed = [[0.0; 9].as_slice(), &rows].concat();
            metric.update(&Reading::from_packed(&packed), &metadata).unwrap();
        }
        let mean = metric.final_value().current();
        assert!((mean - 30.0).abs() < 1e-9, "{mean}");
    }
}
