use alloc::string::ToString;
use alloc::sync::Arc;
use alloc::vec::Vec;

use burn::tensor::{ExecutionError, TensorReadError};
use burn::train::metric::state::{FormatOptions, NumericMetricState};
use burn::train::metric::{
    Adaptor, ItemLazy, Metric, MetricMetadata, MetricName, Numeric, NumericEntry, SerializedEntry,
};

use super::{Figures, Reading};

/// What a training step hands to [`DiagnosticMetric`]s: [`Figures`] until Burn syncs it, off the training thread, and
/// then a [`Reading`].
///
/// An output with more in it implements `Adaptor<Reading>` itself.
#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant)] // Only one or two are alive at a time.
pub enum Diagnostics {
    /// Still on the device.
    OnDevice(Figures),
    /// Read.
    Read(Reading),
}

impl ItemLazy for Diagnostics {
    fn sync(self) -> Result<Self, ExecutionError> {
        let Self::OnDevice(figures) = self else { return Ok(self) };
        let values: Vec<f64> = figures.packed.try_into_data()?.iter::<f64>().collect();
        Ok(Self::Read(Reading::from_packed(&values)))
    }
}

impl Adaptor<Reading> for Diagnostics {
    fn adapt(&self) -> Reading {
        match self {
            Self::Read(reading) => *reading,
            Self::OnDevice(_) => unreachable!("Burn syncs an item before its metrics see it"),
        }
    }
}

/// A figure of a [`Reading`] that can be a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Diagnostic {
    /// Mean angle to the class of the label, in degrees.
    TargetAngle,
    /// Mean angle to the nearest other class, in degrees.
    NearestNegativeAngle,
    /// Share of the losses that are larger than 0, in percent.
    ActiveShare,
    /// Mean length of the embeddings.
    EmbeddingLength,
    /// How far the directions of the embeddings spread; nearly 0 is a [`Collapse`](super::Collapse).
    DirectionVariance,
    /// Labels that are no class.
    BadLabels,
}

impl Diagnostic {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::TargetAngle,
        Self::NearestNegativeAngle,
        Self::ActiveShare,
        Self::EmbeddingLength,
        Self::DirectionVariance,
        Self::BadLabels,
    ];

    /// The name of the metric.
    pub fn name(self) -> &'static str {
        match self {
            Self::TargetAngle => "Target angle",
            Self::NearestNegativeAngle => "Nearest negative angle",
            Self::ActiveShare => "Active losses",
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
            Self::ActiveShare => (100.0 * reading.active_share, reading.batch),
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
/// let metrics = Diagnostic::ALL.map(DiagnosticMetric::new);
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
    use burn::tensor::{Device, Tensor};

    #[test]
    fn an_epoch_shows_the_mean_of_its_rows() {
        let metadata = MetricMetadata { progress: Progress::new(1, 2, None), iteration: Some(0), lr: None };
        let mut metric = DiagnosticMetric::new(Diagnostic::TargetAngle);
        // Cosine 1 for two rows, then 0 for one row and a row that does not count.
        for rows in [[1.0, 1.0, 0.5, 0.5, 1.0, 1.0], [0.0, 0.3, 0.5, 0.5, 1.0, 0.0]] {
            let packed = [[0.0; 9].as_slice(), &rows].concat();
            let packed = Tensor::<1>::from_data(packed.as_slice(), &Device::flex());
            let read = Diagnostics::OnDevice(Figures { packed }).sync().unwrap();
            metric.update(&read.adapt(), &metadata).unwrap();
        }
        let mean = metric.final_value().current();
        assert!((mean - 30.0).abs() < 1e-9, "{mean}");
    }
}
