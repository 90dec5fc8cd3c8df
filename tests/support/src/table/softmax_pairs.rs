//! Losses with a log-sum-exp over pairs.

use burn::module::{Param, ParamId};
use burn::tensor::{Bool, Int, Tensor, TensorData};
use burn_losses::adaptive_layer::AdaptiveLayerLossConfig;
use burn_losses::matryoshka::MatryoshkaLossConfig;
use burn_losses::pairs::{
    CircleLossConfig, CoSentLossConfig, DecoupledContrastiveLossConfig, InfoNceLossConfig, MultiLabelSupConLossConfig,
    MultiSimilarityLossConfig, MultipleNegativesRankingLossConfig, NPairsLossConfig, PairLoss, Pairs, RankingBatch,
    SigLipLossConfig, SupConLossConfig,
};

use super::per_pair::{Negatives, per_pair};
use super::{Call, Hostile, Input, Kind, Labels, Law, Losses, Row, Run, Sample, Steepness};
use crate::golden::Case;
use crate::naive;

const NUMBERS: &str = "softmaxes of rows are of their numbers";
const ALL_ROWS: &str = "layers are pulled together in all rows, whatever their labels are";

/// What does not hold for layers that are compared as softmaxes.
const OF_LAYERS: &[(Law, &str)] = &[
    (Law::Translation, "it compares directions from the origin"),
    (Law::Rotation, NUMBERS),
    (Law::Length, NUMBERS),
    (Law::Perpendicular, NUMBERS),
    (Law::NoLabel, ALL_ROWS),
    (Law::RowWithoutLabel, ALL_ROWS),
    (Law::NoPositive, ALL_ROWS),
];

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
        loss: "SigLipLoss",
        family: "softmax_pairs",
        kind: Kind::Pairs,
        inputs: &[Input::rows("embeddings")],
        losses: Losses::PerRow,
        samples: &[
            Sample::but(
                r#"{"temperature": 0.5, "bias": -1.0, "temperature_mode": "Fixed"}"#,
                &[
                    (Law::Translation, "it compares directions from the origin"),
                    (Law::NoPositive, "rows without a positive are still pushed apart"),
                ],
            ),
            Sample::but(
                r#"{"temperature": 1e-4, "bias": -10.0, "temperature_mode": "Fixed"}"#,
                &[
                    (Law::Translation, "it compares directions from the origin"),
                    (Law::NoPositive, "rows without a positive are still pushed apart"),
                ],
            ),
        ],
        run: sig_lip,
        naive: naive::softmax_pairs::sig_lip,
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
        loss: "DecoupledContrastiveLoss",
        family: "softmax_pairs",
        kind: Kind::Pairs,
        inputs: &[Input::rows("embeddings")],
        losses: Losses::PerRow,
        samples: &[
            Sample::but(r#"{"temperature": 0.5}"#, &[(Law::Translation, "it compares directions from the origin")]),
            Sample::but(
                r#"{"temperature": 0.2, "weight_temperature": 0.5}"#,
                &[(Law::Translation, "it compares directions from the origin")],
            ),
            Sample::but(
                r#"{"temperature": 1e-4, "weight_temperature": 1e-3}"#,
                &[(Law::Translation, "it compares directions from the origin")],
            ),
        ],
        run: decoupled,
        naive: naive::softmax_pairs::decoupled,
        // A weight bends by its own temperature.
        steepness: Steepness::Scaled(|case| {
            let weight = case.settings.get("weight_temperature").and_then(serde_json::Value::as_f64);
            2.0 / case.number("temperature") * (1.0 / weight.unwrap_or(1.0)).max(1.0)
        }),
        labels: Labels::Identities,
        deviation: "",
    },
    Row {
        loss: "MultipleNegativesRankingLoss",
        family: "softmax_pairs",
        kind: Kind::Pairs,
        inputs: &[Input::rows("queries"), Input::rows("documents"), Input::rows("hard")],
        losses: Losses::PerRow,
        samples: &[
            Sample::but(
                r#"{"temperature": 0.5}"#,
                &[
                    (Law::Translation, "it compares directions from the origin"),
                    (Law::NoPositive, "every query has its document, whatever the identities are"),
                ],
            ),
            Sample::but(
                r#"{"temperature": 0.2, "hardness": 3.0, "directions":
                    ["QueryToDocument", "QueryToQuery", "DocumentToQuery", "DocumentToDocument"]}"#,
                &[
                    (Law::Translation, "it compares directions from the origin"),
                    (Law::NoPositive, "every query has its document, whatever the identities are"),
                ],
            ),
            Sample::but(
                r#"{"temperature": 1e-4, "hardness": 9.0, "hardness_scope": "HardNegatives",
                    "directions": ["QueryToDocument", "DocumentToQuery"]}"#,
                &[
                    (Law::Translation, "it compares directions from the origin"),
                    (Law::NoPositive, "every query has its document, whatever the identities are"),
                ],
            ),
        ],
        run: ranking,
        naive: naive::softmax_pairs::ranking,
        steepness: Steepness::Scaled(|case| {
            let hardness = case.settings.get("hardness").and_then(serde_json::Value::as_f64);
            1.0 / case.number("temperature") + hardness.unwrap_or(0.0)
        }),
        labels: Labels::Identities,
        deviation: "the positive stands once in the joint sum, in sentence-transformers once for each direction between queries \
                    and documents",
    },
    Row {
        loss: "CoSentLoss",
        family: "softmax_pairs",
        kind: Kind::Distance,
        inputs: &[Input::rows("first"), Input::rows("second")],
        losses: Losses::One,
        samples: &[
            Sample::but(
                r#"{"scale": 2.0}"#,
                &[
                    (Law::Translation, "it compares directions from the origin"),
                    (Law::NanStays, "there is one loss, of all pairs of pairs"),
                ],
            ),
            Sample::but(
                r#"{"scale": 3.0, "similarity": "ComplexAngle"}"#,
                &[
                    (Law::Translation, "it compares directions from the origin"),
                    (Law::NanStays, "there is one loss, of all pairs of pairs"),
                    (Law::Rotation, "the halves of a row are real and imaginary parts"),
                    (Law::Finite(Hostile::OneDimension), "one number has no halves"),
                ],
            ),
            Sample::but(
                r#"{"scale": 1e4}"#,
                &[
                    (Law::Translation, "it compares directions from the origin"),
                    (Law::NanStays, "there is one loss, of all pairs of pairs"),
                ],
            ),
        ],
        run: co_sent,
        naive: naive::softmax_pairs::co_sent,
        steepness: Steepness::Scaled(|case| 2.0 * case.number("scale")),
        labels: Labels::Identities,
        deviation: "",
    },
    Row {
        loss: "AdaptiveLayerLoss",
        family: "softmax_pairs",
        kind: Kind::Pairs,
        inputs: &[Input::rows("embeddings"), Input::rows("first"), Input::rows("fourth")],
        losses: Losses::One,
        samples: &[
            Sample::but("{}", OF_LAYERS),
            Sample::but(
                r#"{"last_layer_weight": 2.0, "layer_weighting": "Linear", "kl_temperature": 2.0, "kl_div_weight": 0.5}"#,
                OF_LAYERS,
            ),
        ],
        run: adaptive_layer,
        naive: naive::softmax_pairs::adaptive_layer,
        // That of the loss of each layer, at its default temperature.
        steepness: Steepness::Scaled(|_| 10.0),
        labels: Labels::Identities,
        deviation: "",
    },
    Row {
        loss: "MatryoshkaLoss",
        family: "softmax_pairs",
        kind: Kind::Pairs,
        inputs: &[Input::rows("embeddings")],
        losses: Losses::PerRow,
        samples: &[
            Sample::but(
                r#"{"lengths": [2, 4]}"#,
                &[
                    (Law::Translation, "it compares directions from the origin"),
                    (Law::Rotation, "it looks at the first numbers of a row apart"),
                    (Law::Finite(Hostile::OneDimension), "one number cannot be cut to two"),
                ],
            ),
            Sample::but(
                r#"{"lengths": [3, 4, 2], "weights": [0.5, 1.0, 2.0, 0.0]}"#,
                &[
                    (Law::Translation, "it compares directions from the origin"),
                    (Law::Rotation, "it looks at the first numbers of a row apart"),
                    (Law::Finite(Hostile::OneDimension), "one number cannot be cut to two"),
                ],
            ),
        ],
        run: matryoshka,
        naive: naive::softmax_pairs::matryoshka,
        // That of the loss of each length, at its default temperature.
        steepness: Steepness::Scaled(|_| 10.0),
        labels: Labels::Identities,
        deviation: "",
    },
    Row {
        loss: "MultiLabelSupConLoss",
        family: "softmax_pairs",
        kind: Kind::Pairs,
        inputs: &[Input::rows("embeddings")],
        losses: Losses::PerRow,
        samples: &[
            Sample::but(
                r#"{"temperature": 0.5, "overlap": 0.3}"#,
                &[
                    (Law::Translation, "it compares directions from the origin"),
                    (Law::ClassOrder, "the bits of a number are the labels of its row"),
                    (Law::NoPositive, "other numbers have labels in common"),
                ],
            ),
            Sample::but(
                r#"{"temperature": 1e-4, "overlap": 0.5}"#,
                &[
                    (Law::Translation, "it compares directions from the origin"),
                    (Law::ClassOrder, "the bits of a number are the labels of its row"),
                    (Law::NoPositive, "other numbers have labels in common"),
                ],
            ),
        ],
        run: multi_label_sup_con,
        naive: naive::softmax_pairs::multi_label_sup_con,
        steepness: Steepness::Scaled(|case| 1.0 / case.number("temperature")),
        labels: Labels::Identities,
        deviation: "rows without a label are in no pair, where pytorch-metric-learning 3 takes two of them for equal",
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

    /// Rows that belong together by their place, of which the case names the sides.
    fn of_places(call: &Call<'_>) -> Option<Self> {
        let sides = [["first", "second"], ["images", "texts"], ["queries", "keys"]];
        let [one, other] = sides.into_iter().find(|[one, _]| call.has(one))?;
        let (first, second) = (call.leaf(one), call.leaf(other));
        let mut leaves = vec![(one, first.clone()), (other, second.clone())];
        let pairs = match one {
            "first" => Pairs::views(first, second),
            _ if call.has("queue") => {
                let queue = call.leaf("queue");
                leaves.push(("queue", queue.clone()));
                Pairs::queue(first, second, (queue, call.labels()))
            }
            _ => {
                let pairs =
                    if one == "images" { Pairs::symmetric(first, second) } else { Pairs::aligned(first, second) };
                if call.case.labels.is_empty() { pairs } else { pairs.with_identities(call.labels()) }
            }
        };
        Some(Self { pairs, leaves })
    }

    fn run(self, loss: &dyn PairLoss) -> Run {
        self.run_with(loss, Vec::new())
    }

    /// The same of a loss that has trained numbers.
    fn run_with(mut self, loss: &dyn PairLoss, trained: Vec<(&'static str, Tensor<2>)>) -> Run {
        self.leaves.extend(trained);
        Run::new(loss.forward_pairs_no_reduction(&self.pairs), self.leaves)
    }
}

/// A number of the case as a parameter of a loss, and as a leaf.
fn trained_number(
    call: &Call<'_>,
    name: &'static str,
    trained: &mut Vec<(&'static str, Tensor<2>)>,
) -> Param<Tensor<1>> {
    let number = call.leaf(name);
    trained.push((name, number.clone()));
    Param::initialized(ParamId::new(), number.reshape([1]))
}

fn info_nce(call: &Call<'_>) -> Run {
    let mut loss = call.config(InfoNceLossConfig::new()).init(call.device);
    let mut trained = Vec::new();
    if call.has("log_scale") {
        loss.temperature.log_scale = Some(trained_number(call, "log_scale", &mut trained));
    }
    if let Some(batch) = Batch::of_places(call) {
        return batch.run_with(&loss, trained);
    }
    if call.has("references") {
        return Batch::of(call).run(&loss);
    }
    let embeddings = call.leaf("embeddings");
    trained.push(("embeddings", embeddings.clone()));
    Run::new(per_pair(call, &loss, embeddings, Negatives::All), trained)
}

fn sig_lip(call: &Call<'_>) -> Run {
    let mut loss = call.config(SigLipLossConfig::new()).init(call.device);
    let mut trained = Vec::new();
    if call.has("log_scale") {
        loss.temperature.log_scale = Some(trained_number(call, "log_scale", &mut trained));
        loss.learned_bias = Some(trained_number(call, "bias", &mut trained));
    }
    Batch::of_places(call).unwrap_or_else(|| Batch::of(call)).run_with(&loss, trained)
}

fn sup_con(call: &Call<'_>) -> Run {
    Batch::of(call).run(&call.config(SupConLossConfig::new()).init(call.device))
}

fn decoupled(call: &Call<'_>) -> Run {
    let loss = call.config(DecoupledContrastiveLossConfig::new()).init(call.device);
    Batch::of_places(call).unwrap_or_else(|| Batch::of(call)).run(&loss)
}

fn ranking(call: &Call<'_>) -> Run {
    let mut loss = call.config(MultipleNegativesRankingLossConfig::new()).init(call.device);
    let mut leaves = Vec::new();
    if call.has("log_scale") {
        loss.temperature.log_scale = Some(trained_number(call, "log_scale", &mut leaves));
    }
    let (queries, documents) = (call.leaf("queries"), call.leaf("documents"));
    leaves.extend([("queries", queries.clone()), ("documents", documents.clone())]);
    let mut batch = RankingBatch::new(queries, documents);
    for name in ["hard", "harder"].into_iter().filter(|name| call.has(name)) {
        let rows = call.leaf(name);
        leaves.push((name, rows.clone()));
        batch = batch.with_hard_negatives(rows);
    }
    let batch = if call.case.labels.is_empty() { batch } else { batch.with_identities(call.labels()) };
    Run::new(loss.forward_no_reduction(&batch), leaves)
}

/// The labels of the case are grades.
fn co_sent(call: &Call<'_>) -> Run {
    let loss = call.config(CoSentLossConfig::new()).init(call.device);
    let (first, second) = (call.leaf("first"), call.leaf("second"));
    let grades = call.labels().float();
    Run::new(loss.forward(first.clone(), second.clone(), grades), [("first", first), ("second", second)])
}

/// Of the supervised contrastive loss.
fn adaptive_layer(call: &Call<'_>) -> Run {
    let loss = call.config(AdaptiveLayerLossConfig::new()).init(SupConLossConfig::new().init(call.device));
    let [last, first, fourth] = ["embeddings", "first", "fourth"].map(|name| call.leaf(name));
    let value = loss.forward(&[(0, first.clone()), (3, fourth.clone())], last.clone(), call.labels());
    Run::new(value, [("embeddings", last), ("first", first), ("fourth", fourth)])
}

fn matryoshka(call: &Call<'_>) -> Run {
    let loss = call.config(MatryoshkaLossConfig::new(Vec::new())).init(SupConLossConfig::new().init(call.device));
    let batch = Batch::of(call);
    Run::new(loss.forward_pairs_no_reduction(&batch.pairs), batch.leaves)
}

/// The labels of the case stand for sets.
fn multi_label_sup_con(call: &Call<'_>) -> Run {
    let loss = call.config(MultiLabelSupConLossConfig::new()).init(call.device);
    let embeddings = call.leaf("embeddings");
    let sets = naive::softmax_pairs::label_sets(&call.case.labels);
    let count = sets.len();
    let sets = TensorData::new(sets.concat(), [count, 6]);
    let losses = loss.forward_no_reduction(embeddings.clone(), Tensor::<2, Bool>::from_data(sets, call.device));
    Run::new(losses, [("embeddings", embeddings)])
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
