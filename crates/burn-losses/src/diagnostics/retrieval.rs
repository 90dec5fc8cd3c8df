use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use burn::tensor::{Int, Tensor, TensorReadError};
use burn::train::metric::{Metric, MetricMetadata, MetricName, Numeric, NumericEntry, SerializedEntry};
use embedding_eval::{LabelledRows, Nearness, Retrieval, retrieval_among};

/// How well the embeddings of a split find others of their label; see
/// [`Retrieval`](embedding_eval::Retrieval).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetrievalFigure {
    /// The share of embeddings that have one of their label among so many nearest; `>= 1`. 1 is the precision at 1.
    RecallAt(usize),
    /// The share of the `R` nearest that have the label, where `R` others have it.
    RPrecision,
    /// The mean over the `R` nearest of the precision up to each that has the label.
    MapAtR,
    /// The mean of one over the place of the nearest with the label.
    MeanReciprocalRank,
}

impl RetrievalFigure {
    fn name(self) -> String {
        match self {
            Self::RecallAt(k) => format!("Recall at {k} (%)"),
            Self::RPrecision => String::from("R-precision (%)"),
            Self::MapAtR => String::from("MAP@R (%)"),
            Self::MeanReciprocalRank => String::from("Mean reciprocal rank (%)"),
        }
    }

    fn of(self, found: &Retrieval) -> f64 {
        match self {
            Self::RecallAt(k) => found.recall_at(k),
            Self::RPrecision => found.r_precision(),
            Self::MapAtR => found.map_at_r(),
            Self::MeanReciprocalRank => found.mean_reciprocal_rank(),
        }
    }
}

/// What a step hands to a [`RetrievalMetric`].
#[derive(Clone, Debug)]
pub struct RetrievalInput {
    /// `[batch, embedding_dim]`.
    pub embeddings: Tensor<2>,
    /// `[batch]`; a row with a negative label is left out.
    pub labels: Tensor<1, Int>,
}

/// A [`RetrievalFigure`] of all embeddings of a split among themselves, by cosine, as a metric of Burn's training loop.
///
/// It keeps the embeddings of the split on the host and is computed at its end, in `rows²·embedding_dim` time: for validation.
/// Before that it has no value. Where no two rows share a label, or a number is not finite, it is NaN.
///
/// # Example
///
/// ```
/// use burn::tensor::{Device, Int, Tensor};
/// use burn::train::metric::Adaptor;
/// use burn_losses::diagnostics::{RetrievalFigure, RetrievalInput, RetrievalMetric};
///
/// /// What a validation step returns.
/// struct Output {
///     embeddings: Tensor<2>,
///     labels: Tensor<1, Int>,
/// }
///
/// impl Adaptor<RetrievalInput> for Output {
///     fn adapt(&self) -> RetrievalInput {
///         RetrievalInput { embeddings: self.embeddings.clone(), labels: self.labels.clone() }
///     }
/// }
///
/// // training.metric_valid_numeric(metric)
/// let metric = RetrievalMetric::new(RetrievalFigure::RecallAt(1));
/// ```
#[derive(Clone)]
pub struct RetrievalMetric {
    figure: RetrievalFigure,
    name: MetricName,
    embeddings: Vec<f32>,
    labels: Vec<usize>,
    dim: usize,
    value: Option<f64>,
}

impl RetrievalMetric {
    /// The metric of a figure.
    ///
    /// # Panics
    ///
    /// If a recall is at 0.
    #[track_caller]
    pub fn new(figure: RetrievalFigure) -> Self {
        assert!(figure != RetrievalFigure::RecallAt(0), "RetrievalMetric: recall must be at 1 or more, got 0");
        let name = Arc::new(figure.name());
        Self { figure, name, embeddings: Vec::new(), labels: Vec::new(), dim: 1, value: None }
    }

    /// In percent.
    fn found(&self) -> f64 {
        let rows = LabelledRows::new(&self.embeddings, self.dim, &self.labels);
        let found = rows.and_then(|rows| retrieval_among(rows, Nearness::Cosine));
        found.map_or(f64::NAN, |found| 100.0 * self.figure.of(&found))
    }

    fn entry(&self, value: Option<f64>) -> SerializedEntry {
        let text = value.map_or_else(|| String::from("at the end of the split"), |value| format!("{value:.2}"));
        let number = value.map_or_else(String::new, |value| format!("{value}"));
        SerializedEntry::new(format!("{}: {text}", self.name), number)
    }
}

impl Metric for RetrievalMetric {
    type Input = RetrievalInput;

    fn name(&self) -> MetricName {
        self.name.clone()
    }

    fn update(&mut self, input: &RetrievalInput, _: &MetricMetadata) -> Result<SerializedEntry, TensorReadError> {
        let [_, dim] = input.embeddings.dims();
        let numbers = input.embeddings.clone().try_into_vec_as::<f32>()?;
        let labels = input.labels.clone().try_into_vec_as::<i64>()?;
        self.dim = dim;
        for (row, &label) in numbers.chunks_exact(dim).zip(&labels) {
            if let Ok(label) = usize::try_from(label) {
                self.embeddings.extend_from_slice(row);
                self.labels.push(label);
            }
        }
        Ok(self.entry(None))
    }

    fn compute(&mut self) -> Result<SerializedEntry, TensorReadError> {
        self.value = Some(self.found());
        Ok(self.entry(self.value))
    }

    fn clear(&mut self) {
        *self = Self::new(self.figure);
    }
}

impl Numeric for RetrievalMetric {
    fn value(&self) -> Option<NumericEntry> {
        self.value.map(NumericEntry::Value)
    }

    fn running_value(&self) -> Option<NumericEntry> {
        self.value()
    }

    fn final_value(&self) -> NumericEntry {
        NumericEntry::Final(self.value.unwrap_or(f64::NAN))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::data::dataloader::Progress;
    use burn::tensor::Device;

    #[test]
    fn a_split_is_searched_as_a_whole() {
        let device = Device::flex();
        let metadata = MetricMetadata { progress: Progress::new(1, 2, None), iteration: Some(0), lr: None };
        let batches = [
            ([[1.0_f32, 0.0], [0.9, 0.1]], [5, 5]),
            ([[0.0, 1.0], [0.1, 0.9]], [6, 5]),
            ([[0.0, 2.0], [1.0, 0.01]], [6, -1]),
        ];
        let mut metric = RetrievalMetric::new(RetrievalFigure::RecallAt(1));
        for (embeddings, labels) in batches {
            let (embeddings, labels) = (Tensor::from_data(embeddings, &device), Tensor::from_ints(labels, &device));
            metric.update(&RetrievalInput { embeddings, labels }, &metadata).unwrap();
            assert!(metric.value().is_none(), "before the end of the split there is no value");
        }
        metric.compute().unwrap();
        // By hand: the first two find each other, and so do the two of label 6, which point the same way; the third of label 5 is
        // nearest to these. The last row has no label, or the first one would find it.
        assert_eq!(metric.final_value().current(), 80.0);
        metric.clear();
        metric.compute().unwrap();
        assert!(metric.final_value().current().is_nan(), "nothing can be found in an empty split");
    }
}
