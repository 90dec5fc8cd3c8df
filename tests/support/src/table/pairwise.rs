//! Losses of distances of pairs and triplets.
//!
//! Beside the fields of a config, the settings of a case say what is compared (`call`); without a `reduction`, each loss is
//! compared.

use burn::config::Config;
use burn::module::{Param, ParamId};
use burn::tensor::{Int, Tensor, TensorData};
use burn_losses::mining::Triplets;
use burn_losses::pairs::{
    ContrastiveLossConfig, LiftedStructureLossConfig, MarginLossConfig, PairLoss, Pairs, TripletLossConfig,
};

use super::per_pair::{Negatives, per_pair};
use super::{Call, Hostile, Input, Kind, Labels, Law, Losses, Row, Run, Sample, Steepness};
use crate::naive;

/// Settings that are no fields of a config.
const OF_THE_CALL: [&str; 3] = ["call", "triplets", "reference_labels"];

/// One row per loss.
pub(super) const ROWS: &[Row] = &[
    Row {
        loss: "ContrastiveLoss",
        family: "pairwise",
        kind: Kind::Pairs,
        inputs: &[Input::rows("embeddings")],
        losses: Losses::PerPair,
        samples: &[
            Sample::but(
                r#"{"form": "Squared", "negative_margin": 1.5}"#,
                &[
                    (Law::Length, "distances are those of the rows as they are"),
                    (Law::Perpendicular, "distances are those of the rows as they are"),
                    (Law::NoPositive, "negatives push each other without a positive"),
                    (Law::Finite(Hostile::HugeRows), "the square of such a distance is beyond f32"),
                ],
            ),
            Sample::but(
                r#"{"form": "SquaredDistance", "balance": "Joint", "positive_margin": 0.1}"#,
                &[
                    (Law::Length, "distances are those of the rows as they are"),
                    (Law::Perpendicular, "distances are those of the rows as they are"),
                    (Law::NoPositive, "negatives push each other without a positive"),
                    (Law::Finite(Hostile::HugeRows), "the square of such a distance is beyond f32"),
                ],
            ),
            Sample::but(
                r#"{"form": "Hinge", "distance": "Manhattan"}"#,
                &[
                    (Law::Length, "distances are those of the rows as they are"),
                    (Law::Perpendicular, "distances are those of the rows as they are"),
                    (Law::NoPositive, "negatives push each other without a positive"),
                    (Law::Rotation, "a distance along the axes turns with them"),
                ],
            ),
        ],
        run: contrastive,
        naive: naive::pairwise::contrastive,
        steepness: Steepness::Ordinary,
        labels: Labels::Identities,
        deviation: "positives and negatives are reduced by themselves by default, as in pytorch-metric-learning; the paper sums \
                    all pairs, which is `Joint`",
    },
    Row {
        loss: "TripletLoss",
        family: "pairwise",
        kind: Kind::Pairs,
        inputs: &[Input::rows("embeddings")],
        losses: Losses::PerRow,
        samples: &[
            Sample::but(
                r#"{"mining": "All", "margin": 0.4}"#,
                &[
                    (Law::Length, "distances are those of the rows as they are"),
                    (Law::Perpendicular, "distances are those of the rows as they are"),
                ],
            ),
            Sample::but(
                r#"{"mining": "Hard", "shape": "Softplus", "margin": 0.3}"#,
                &[
                    (Law::Length, "distances are those of the rows as they are"),
                    (Law::Perpendicular, "distances are those of the rows as they are"),
                ],
            ),
            Sample::but(
                r#"{"mining": "SemiHard", "negative_distance": "Nearest"}"#,
                &[
                    (Law::Length, "distances are those of the rows as they are"),
                    (Law::Perpendicular, "distances are those of the rows as they are"),
                    (Law::NanSpreads, "a distance that is no number is not between two others, so it makes no triplet"),
                ],
            ),
            Sample::but(
                r#"{"mining": "All", "negative_distance": "Nearest", "shape": "Softplus"}"#,
                &[
                    (Law::Length, "distances are those of the rows as they are"),
                    (Law::Perpendicular, "distances are those of the rows as they are"),
                ],
            ),
        ],
        run: triplet,
        naive: naive::pairwise::triplet,
        steepness: Steepness::Ordinary,
        labels: Labels::Identities,
        deviation: "nothing is added to a difference, where PyTorch adds 1e-6, and equal rows have the gradient 0; semi-hard mining \
                    leaves out a positive pair without a farther negative, where TensorFlow Addons takes the farthest one",
    },
    Row {
        loss: "LiftedStructureLoss",
        family: "pairwise",
        kind: Kind::Pairs,
        inputs: &[Input::rows("embeddings")],
        losses: Losses::PerRow,
        samples: &[
            Sample::but(
                r#"{}"#,
                &[
                    (Law::Length, "distances are those of the rows as they are"),
                    (Law::Perpendicular, "distances are those of the rows as they are"),
                ],
            ),
            Sample::but(
                r#"{"positive_margin": 0.25, "negative_margin": 0.8}"#,
                &[
                    (Law::Length, "distances are those of the rows as they are"),
                    (Law::Perpendicular, "distances are those of the rows as they are"),
                ],
            ),
        ],
        run: lifted_structure,
        naive: naive::pairwise::lifted_structure,
        steepness: Steepness::Ordinary,
        labels: Labels::Identities,
        deviation: "an anchor without a positive or a negative has loss 0 and does not count in a mean, as the formula \
                    has it; pytorch-metric-learning keeps the half that is there",
    },
    Row {
        loss: "MarginLoss",
        family: "pairwise",
        kind: Kind::Pairs,
        inputs: &[Input::rows("embeddings"), Input::number("beta")],
        losses: Losses::PerPair,
        samples: &[
            Sample::but(
                r#"{}"#,
                &[
                    (Law::Length, "distances are those of the rows as they are"),
                    (Law::Perpendicular, "distances are those of the rows as they are"),
                ],
            ),
            Sample::but(
                r#"{"nu": 0.1, "margin": 0.3, "distance": "Manhattan", "on_bad_label": "Ignore"}"#,
                &[
                    (Law::Rotation, "a distance along the axes turns with them"),
                    (Law::Length, "distances are those of the rows as they are"),
                    (Law::Perpendicular, "distances are those of the rows as they are"),
                ],
            ),
        ],
        run: margin,
        naive: naive::pairwise::margin,
        steepness: Steepness::Ordinary,
        labels: Labels::Identities,
        deviation: "a pair counts once, as in the paper, where pytorch-metric-learning counts it once per triplet; `nu` weighs the mean \
                    boundary of the anchors in a pair, where pytorch-metric-learning divides their sum by the active triplets; \
                    the paper's boundary per image is left out",
    },
];

fn config<C: Config>(call: &Call<'_>, defaults: C) -> C {
    let mut case = call.case.clone();
    case.settings
        .retain(|name, value| !(OF_THE_CALL.contains(&name.as_str()) || name == "reduction" && value.is_null()));
    call.of(&case).config(defaults)
}

fn is_reduced(call: &Call<'_>) -> bool {
    call.case.settings.get("reduction").is_some_and(|reduction| !reduction.is_null())
}

fn integers(call: &Call<'_>, numbers: &[i64]) -> Tensor<1, Int> {
    Tensor::from_data(TensorData::from(numbers), call.device)
}

/// The reduced loss of a batch, or that of every anchor.
fn of_batch(call: &Call<'_>, loss: &dyn PairLoss, embeddings: Tensor<2>) -> Tensor<1> {
    let pairs = Pairs::in_batch(embeddings, call.labels());
    if is_reduced(call) { loss.forward_pairs(&pairs) } else { loss.forward_pairs_no_reduction(&pairs) }
}

fn contrastive(call: &Call<'_>) -> Run {
    let loss = config(call, ContrastiveLossConfig::new()).init(call.device);
    if call.case.word("call", "") == "pairs" {
        let (first, second) = (call.leaf("first"), call.leaf("second"));
        let pairs = Pairs::given(first.clone(), second.clone(), call.labels().equal_scalar(1));
        return Run::new(loss.forward_pairs_no_reduction(&pairs), [("first", first), ("second", second)]);
    }
    let embeddings = call.leaf("embeddings");
    let losses = if is_reduced(call) {
        of_batch(call, &loss, embeddings.clone())
    } else {
        per_pair(call, &loss, embeddings.clone(), Negatives::OfThePair)
    };
    Run::new(losses, [("embeddings", embeddings)])
}

fn triplet(call: &Call<'_>) -> Run {
    let loss = config(call, TripletLossConfig::new()).init(call.device);
    if call.case.word("call", "") == "triplets" {
        let [anchor, positive, negative] = ["anchor", "positive", "negative"].map(|name| call.leaf(name));
        let pairs = Pairs::given_triplets(anchor.clone(), positive.clone(), negative.clone());
        let losses = loss.forward_pairs_no_reduction(&pairs);
        return Run::new(losses, [("anchor", anchor), ("positive", positive), ("negative", negative)]);
    }
    let embeddings = call.leaf("embeddings");
    let leaves = [("embeddings", embeddings.clone())];
    if let Some(columns) = call.case.settings.get("triplets") {
        let columns: [Vec<i64>; 3] = serde_json::from_value(columns.clone()).expect("three columns");
        let [anchor, positive, negative] = columns.map(|column| integers(call, &column));
        let valid = anchor.clone().greater_equal_scalar(0);
        let triplets = Triplets { anchor, positive, negative, valid };
        let pairs = Pairs::in_batch(embeddings, call.labels()).with_triplets(triplets);
        return Run::new(loss.forward_pairs(&pairs), leaves);
    }
    Run::new(of_batch(call, &loss, embeddings), leaves)
}

fn lifted_structure(call: &Call<'_>) -> Run {
    let loss = config(call, LiftedStructureLossConfig::new()).init(call.device);
    let embeddings = call.leaf("embeddings");
    Run::new(of_batch(call, &loss, embeddings.clone()), [("embeddings", embeddings)])
}

fn margin(call: &Call<'_>) -> Run {
    let mut loss = config(call, MarginLossConfig::new()).init(call.device);
    let (embeddings, beta) = (call.leaf("embeddings"), call.leaf("beta"));
    loss.beta = Param::initialized(ParamId::new(), beta.clone().reshape([call.sizes("beta")[0]]));
    let mut leaves = vec![("embeddings", embeddings.clone()), ("beta", beta)];
    if let Some(labels) = call.case.settings.get("reference_labels") {
        let labels: Vec<i64> = serde_json::from_value(labels.clone()).expect("labels");
        let references = call.leaf("references");
        let of_references = integers(call, &labels);
        let pairs = Pairs::with_references(embeddings, call.labels(), (references.clone(), of_references));
        leaves.push(("references", references));
        return Run::new(loss.forward_pairs(&pairs), leaves);
    }
    let losses = if is_reduced(call) {
        of_batch(call, &loss, embeddings)
    } else {
        per_pair(call, &loss, embeddings, Negatives::OfThePair)
    };
    Run::new(losses, leaves)
}
