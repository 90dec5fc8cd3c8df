//! Losses with a log-sum-exp over pairs.

use burn::module::{Param, ParamId};
use burn::tensor::{Int, Tensor, TensorData};
use burn_losses::pairs::{
    CircleLossConfig, InfoNceLossConfig, MultiSimilarityLossConfig, NPairsLossConfig, PairwiseLoss, SupConLossConfig,
};
use burn_losses::reduction::EmbeddingReduction;

use super::{Call, Input, Kind, Labels, Losses, Row, Run, Sample, Steepness};
use crate::golden::Case;
use crate::naive;

/// One row per loss.
pub(super) const ROWS: &[Row] = &[
    Row {
        loss: "InfoNceLoss",
        family: "softmax_pairs",
        kind: Kind::Pairs,
        inputs: &[Input::rows("embeddings")],
        losses: Losses::PerPair,
        samples: &[
            Sample::new(r#"{"temperature": 0.5}"#),
            Sample::new(r#"{"temperature": 0.01}"#),
            Sample::new(r#"{"temperature": 1e-4}"#),
        ],
        run: info_nce,
        naive: naive::softmax_pairs::info_nce,
        steepness: Steepness::Scaled(|case| 1.0 / case.number("temperature")),
        labels: Labels::Identities,
        deviation: "",
    },
    Row {
        loss: "SupConLoss",
        family: "softmax_pairs",
        kind: Kind::Pairs,
        inputs: &[Input::rows("embeddings")],
        losses: Losses::PerRow,
        samples: &[
            Sample::new(r#"{"temperature": 0.5}"#),
            Sample::new(r#"{"temperature": 0.01}"#),
            Sample::new(r#"{"temperature": 1e-4}"#),
        ],
        run: sup_con,
        naive: naive::softmax_pairs::sup_con,
        steepness: Steepness::Scaled(|case| 1.0 / case.number("temperature")),
        labels: Labels::Identities,
        deviation: "a batch without a negative has the loss of the paper, where pytorch-metric-learning has 0",
    },
    Row {
        loss: "NPairsLoss",
        family: "softmax_pairs",
        kind: Kind::Pairs,
        inputs: &[Input::rows("embeddings")],
        losses: Losses::PerRow,
        samples: &[Sample::new(r#"{"score": "Cosine"}"#), Sample::new(r#"{"score": "Product"}"#)],
        run: n_pairs,
        naive: naive::softmax_pairs::n_pairs,
        steepness: Steepness::Ordinary,
        labels: Labels::Identities,
        deviation: "the penalty on lengths is a loss of its own",
    },
    Row {
        loss: "MultiSimilarityLoss",
        family: "softmax_pairs",
        kind: Kind::Pairs,
        inputs: &[Input::rows("embeddings")],
        losses: Losses::PerRow,
        samples: &[
            Sample::new(r#"{"alpha": 2.0, "beta": 50.0, "base": 0.5}"#),
            Sample::new(r#"{"alpha": 1e4, "beta": 1e4, "base": 0.5}"#),
        ],
        run: multi_similarity,
        naive: naive::softmax_pairs::multi_similarity,
        steepness: Steepness::Scaled(|case| case.number("beta")),
        labels: Labels::Identities,
        deviation: "",
    },
    Row {
        loss: "CircleLoss",
        family: "softmax_pairs",
        kind: Kind::Pairs,
        inputs: &[Input::rows("embeddings")],
        losses: Losses::PerRow,
        samples: &[Sample::new(r#"{"margin": 0.4, "scale": 80.0}"#), Sample::new(r#"{"margin": 0.25, "scale": 1e4}"#)],
        run: circle,
        naive: naive::softmax_pairs::circle,
        // The weights go up to 1 + margin, and a loss adds two of them.
        steepness: Steepness::Scaled(|case| 2.0 * case.number("scale")),
        labels: Labels::Identities,
        deviation: "",
    },
];

/// Embeddings and labels, and references and theirs where the case has them.
struct Batch {
    embeddings: Tensor<2>,
    labels: Tensor<1, Int>,
    references: Option<(Tensor<2>, Tensor<1, Int>)>,
}

impl Batch {
    fn of(call: &Call<'_>) -> Self {
        let embeddings = call.leaf("embeddings");
        let [count, _] = embeddings.dims();
        let labels = |labels: &[i64]| Tensor::<1, Int>::from_data(TensorData::from(labels), call.device);
        let references = call.has("references").then(|| (call.leaf("references"), labels(&call.case.labels[count..])));
        Self { embeddings, labels: labels(&call.case.labels[..count]), references }
    }

    fn run<const D: usize>(self, losses: Tensor<D>) -> Run {
        let mut leaves = vec![("embeddings", self.embeddings)];
        leaves.extend(self.references.map(|(references, _)| ("references", references)));
        Run::new(losses, leaves)
    }

    /// The losses of single rows, one after the other: with references there is only a reduced form.
    fn row_by_row(
        &self,
        loss: impl Fn(Tensor<2>, Tensor<1, Int>, Tensor<2>, Tensor<1, Int>) -> Tensor<1>,
    ) -> Tensor<1> {
        let (references, reference_labels) = self.references.clone().expect("references");
        let of = |row: usize| {
            let (embedding, label) = (self.embeddings.clone().narrow(0, row, 1), self.labels.clone().narrow(0, row, 1));
            loss(embedding, label, references.clone(), reference_labels.clone())
        };
        Tensor::cat((0..self.labels.dims()[0]).map(of).collect(), 0)
    }
}

/// Runs a loss on a batch, or on a batch and references.
macro_rules! on_batch {
    ($batch:expr, $loss:expr) => {{
        let (batch, loss) = ($batch, $loss);
        let losses = if batch.references.is_some() {
            batch.row_by_row(|rows, labels, references, reference_labels| {
                loss.forward_with_references(rows, labels, references, reference_labels, EmbeddingReduction::Sum)
            })
        } else {
            let losses = loss.forward_no_reduction(batch.embeddings.clone(), batch.labels.clone());
            let count = losses.shape().num_elements();
            losses.reshape([count])
        };
        batch.run(losses)
    }};
}

fn info_nce(call: &Call<'_>) -> Run {
    let mut loss = call.config(InfoNceLossConfig::new()).init(call.device);
    if call.has("first") {
        let (first, second) = (call.leaf("first"), call.leaf("second"));
        let losses = loss.forward_views_no_reduction(first.clone(), second.clone());
        return Run::new(losses, [("first", first), ("second", second)]);
    }
    if call.has("queries") {
        let (queries, keys) = (call.leaf("queries"), call.leaf("keys"));
        if !call.has("queue") {
            let losses = loss.forward_aligned_no_reduction(queries.clone(), keys.clone());
            return Run::new(losses, [("queries", queries), ("keys", keys)]);
        }
        let queue = call.leaf("queue");
        let losses = loss.forward_queue_no_reduction(queries.clone(), keys.clone(), queue.clone(), call.labels());
        return Run::new(losses, [("queries", queries), ("keys", keys), ("queue", queue)]);
    }
    let batch = Batch::of(call);
    if call.has("log_scale") {
        let log_scale = call.leaf("log_scale");
        loss.temperature.log_scale = Some(Param::initialized(ParamId::new(), log_scale.clone().reshape([1])));
        let losses = loss.forward_no_reduction(batch.embeddings.clone(), batch.labels.clone());
        let mut run = batch.run(losses);
        run.leaves.insert("log_scale", log_scale);
        return run;
    }
    // With references, the sum of the pairs of each row.
    on_batch!(batch, loss)
}

fn sup_con(call: &Call<'_>) -> Run {
    on_batch!(Batch::of(call), call.config(SupConLossConfig::new()).init())
}

fn multi_similarity(call: &Call<'_>) -> Run {
    on_batch!(Batch::of(call), call.config(MultiSimilarityLossConfig::new()).init())
}

fn circle(call: &Call<'_>) -> Run {
    // Not a field: it tells the tests that the gradient is not the derivative of the value.
    let mut case: Case = call.case.clone();
    case.settings.remove("gradient");
    on_batch!(Batch::of(call), call.of(&case).config(CircleLossConfig::new()).init())
}

fn n_pairs(call: &Call<'_>) -> Run {
    let loss = call.config(NPairsLossConfig::new()).init();
    if call.has("anchors") {
        let (anchors, positives) = (call.leaf("anchors"), call.leaf("positives"));
        let losses = loss.forward_pairs(anchors.clone(), positives.clone(), EmbeddingReduction::Mean);
        return Run::new(losses, [("anchors", anchors), ("positives", positives)]);
    }
    let batch = Batch::of(call);
    let losses = match batch.references.clone() {
        None => loss.forward_no_reduction(batch.embeddings.clone(), batch.labels.clone()),
        Some((references, labels)) => {
            let (rows, own) = (batch.embeddings.clone(), batch.labels.clone());
            loss.forward_with_references(rows, own, references, labels, EmbeddingReduction::Mean)
        }
    };
    batch.run(losses)
}
