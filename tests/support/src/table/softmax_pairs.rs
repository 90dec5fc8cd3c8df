//! Losses with a log-sum-exp over pairs.

use burn::module::{Param, ParamId};
use burn::tensor::{Int, Tensor, TensorData};
use burn_losses::pairs::{
    CircleLossConfig, InfoNceLossConfig, MultiSimilarityLossConfig, NPairsLossConfig, PairLoss, Pairs, SupConLossConfig,
};

use super::per_pair::{Negatives, per_pair};
use super::{Call, Hostile, Input, Kind, Labels, Law, Losses, Row, Run, Sample, Steepness};
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
            Sample::but(r#"{"temperature": 0.5}"#, &[(Law::Translation, "it compares directions from the origin")]),
            Sample::but(r#"{"temperature": 0.01}"#, &[(Law::Translation, "it compares directions from the origin")]),
            Sample::but(r#"{"temperature": 1e-4}"#, &[(Law::Translation, "it compares directions from the origin")]),
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
            Sample::but(r#"{"temperature": 0.5}"#, &[(Law::Translation, "it compares directions from the origin")]),
            Sample::but(r#"{"temperature": 0.01}"#, &[(Law::Translation, "it compares directions from the origin")]),
            Sample::but(r#"{"temperature": 1e-4}"#, &[(Law::Translation, "it compares directions from the origin")]),
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
        samples: &[
            Sample::but(
                r#"{"score": "Cosine"}"#,
                &[
                    (Law::Translation, "it compares directions from the origin"),
                    (Law::BatchOrder, "the first row of a class is its anchor, the second its positive"),
                ],
            ),
            Sample::but(
                r#"{"score": "Product"}"#,
                &[
                    (Law::Translation, "products are those of the rows as they are"),
                    (Law::BatchOrder, "the first row of a class is its anchor, the second its positive"),
                    (Law::Length, "products are those of the rows as they are"),
                    (Law::Perpendicular, "products are those of the rows as they are"),
                    (Law::Finite(Hostile::HugeRows), "such a product is beyond f32"),
                ],
            ),
        ],
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
            Sample::but(
                r#"{"alpha": 2.0, "beta": 50.0, "base": 0.5}"#,
                &[
                    (Law::Translation, "it compares directions from the origin"),
                    (Law::NoPositive, "rows without a positive are still pushed apart"),
                ],
            ),
            Sample::but(
                r#"{"alpha": 1e4, "beta": 1e4, "base": 0.5}"#,
                &[
                    (Law::Translation, "it compares directions from the origin"),
                    (Law::NoPositive, "rows without a positive are still pushed apart"),
                ],
            ),
        ],
        run: multi_similarity,
        naive: naive::softmax_pairs::multi_similarity,
        steepness: Steepness::Scaled(|case| case.number("beta")),
        labels: Labels::Identities,
        deviation: "the paper drops easy pairs first; here a miner does, if it is asked to",
    },
    Row {
        loss: "CircleLoss",
        family: "softmax_pairs",
        kind: Kind::Pairs,
        inputs: &[Input::rows("embeddings")],
        losses: Losses::PerRow,
        samples: &[
            Sample::but(
                r#"{"margin": 0.4, "scale": 80.0}"#,
                &[(Law::Translation, "it compares directions from the origin")],
            ),
            Sample::but(
                r#"{"margin": 0.25, "scale": 1e4}"#,
                &[(Law::Translation, "it compares directions from the origin")],
            ),
        ],
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
    pairs: Pairs,
    leaves: Vec<(&'static str, Tensor<2>)>,
}

impl Batch {
    fn of(call: &Call<'_>) -> Self {
        let embeddings = call.leaf("embeddings");
        let [count, _] = embeddings.dims();
        let labels = |labels: &[i64]| Tensor::<1, Int>::from_data(TensorData::from(labels), call.device);
        let of_batch = labels(&call.case.labels[..count]);
        if !call.has("references") {
            return Self {
                pairs: Pairs::in_batch(embeddings.clone(), of_batch),
                leaves: vec![("embeddings", embeddings)],
            };
        }
        let references = call.leaf("references");
        let of_references = (references.clone(), labels(&call.case.labels[count..]));
        Self {
            pairs: Pairs::with_references(embeddings.clone(), of_batch, of_references),
            leaves: vec![("embeddings", embeddings), ("references", references)],
        }
    }

    fn run(self, loss: &dyn PairLoss) -> Run {
        Run::new(loss.forward_pairs_no_reduction(&self.pairs), self.leaves)
    }
}

fn info_nce(call: &Call<'_>) -> Run {
    let mut loss = call.config(InfoNceLossConfig::new()).init(call.device);
    if call.has("first") {
        let (first, second) = (call.leaf("first"), call.leaf("second"));
        let losses = loss.forward_pairs_no_reduction(&Pairs::views(first.clone(), second.clone()));
        return Run::new(losses, [("first", first), ("second", second)]);
    }
    if call.has("queries") {
        let (queries, keys) = (call.leaf("queries"), call.leaf("keys"));
        if !call.has("queue") {
            let losses = loss.forward_pairs_no_reduction(&Pairs::aligned(queries.clone(), keys.clone()));
            return Run::new(losses, [("queries", queries), ("keys", keys)]);
        }
        let queue = call.leaf("queue");
        let pairs = Pairs::queue(queries.clone(), keys.clone(), (queue.clone(), call.labels()));
        let losses = loss.forward_pairs_no_reduction(&pairs);
        return Run::new(losses, [("queries", queries), ("keys", keys), ("queue", queue)]);
    }
    if call.has("references") {
        return Batch::of(call).run(&loss);
    }
    let embeddings = call.leaf("embeddings");
    let mut leaves = vec![("embeddings", embeddings.clone())];
    if call.has("log_scale") {
        let log_scale = call.leaf("log_scale");
        loss.temperature.log_scale = Some(Param::initialized(ParamId::new(), log_scale.clone().reshape([1])));
        leaves.push(("log_scale", log_scale));
    }
    Run::new(per_pair(call, &loss, embeddings, Negatives::All), leaves)
}

fn sup_con(call: &Call<'_>) -> Run {
    Batch::of(call).run(&call.config(SupConLossConfig::new()).init(call.device))
}

fn multi_similarity(call: &Call<'_>) -> Run {
    Batch::of(call).run(&call.config(MultiSimilarityLossConfig::new()).init(call.device))
}

fn circle(call: &Call<'_>) -> Run {
    // Not a field: it tells the tests that the gradient is not the derivative of the value.
    let mut case: Case = call.case.clone();
    case.settings.remove("gradient");
    Batch::of(call).run(&call.of(&case).config(CircleLossConfig::new()).init(call.device))
}

fn n_pairs(call: &Call<'_>) -> Run {
    let loss = call.config(NPairsLossConfig::new()).init(call.device);
    if call.has("anchors") {
        let (anchors, positives) = (call.leaf("anchors"), call.leaf("positives"));
        let losses = loss.forward_pairs(&Pairs::aligned(anchors.clone(), positives.clone()));
        return Run::new(losses, [("anchors", anchors), ("positives", positives)]);
    }
    let batch = Batch::of(call);
    if call.has("references") {
        return Run::new(loss.forward_pairs(&batch.pairs), batch.leaves);
    }
    batch.run(&loss)
}
