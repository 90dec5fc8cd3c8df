//! Penalties on embeddings and class weights.

use burn::tensor::Tensor;
use burn_losses::regularization::{
    CenterInvariantRegularizerConfig, LpRegularizerConfig, RegularFaceRegularizerConfig,
    SparseCentersRegularizerConfig, ZeroMeanRegularizerConfig,
};

use super::{Call, DEFAULTS, Input, Kind, Labels, Losses, Row, Run, Sample, Steepness};
use crate::golden::Case;
use crate::naive::regularization as naive;

const WEIGHTS: &[Input] = &[Input::rows("weights")];

/// One row per loss.
pub(super) const ROWS: &[Row] = &[
    Row {
        steepness: Steepness::Bent(|case| {
            // A power below 1 bends the more the smaller a number is.
            let root = case.settings["norm"]["Minkowski"].as_f64() == Some(0.5);
            if root { 30.0 } else { 1.0 }
        }),
        inputs: &[Input::rows("embeddings")],
        samples: &[
            Sample::new(r#"{"norm": "Euclidean"}"#),
            Sample::new(r#"{"norm": "Manhattan", "power": 0.5}"#),
            Sample::new(r#"{"norm": "Chebyshev"}"#),
            Sample::new(r#"{"norm": {"Minkowski": 3.0}, "power": 0.25}"#),
        ],
        ..row("LpRegularizer", lp, naive::lp, "")
    },
    Row { inputs: &[Input::rows("embeddings")], ..row("ZeroMeanRegularizer", zero_mean, naive::zero_mean, "") },
    row(
        "CenterInvariantRegularizer",
        center_invariant,
        naive::center_invariant,
        "a squared length above 1e15 counts as 1e15: the fourth power of a length overflows f32",
    ),
    row("RegularFaceRegularizer", regular_face, naive::regular_face, ""),
    Row {
        losses: Losses::PerClass,
        samples: &[Sample::new(r#"{"classes": 3, "centers_per_class": 2}"#)],
        ..row(
            "SparseCentersRegularizer",
            sparse_centers,
            naive::sparse_centers,
            "the 1/2 of the source's divisor is in every loss, so that their mean is the number of the paper",
        )
    },
];

const fn row(
    loss: &'static str,
    run: fn(&Call<'_>) -> Run,
    naive: fn(&Case) -> Vec<f64>,
    deviation: &'static str,
) -> Row {
    let (steepness, labels) = (Steepness::Ordinary, Labels::None);
    Row {
        loss,
        family: "regularization",
        kind: Kind::Regularizer,
        inputs: WEIGHTS,
        losses: Losses::PerRow,
        samples: DEFAULTS,
        run,
        naive,
        steepness,
        labels,
        deviation,
    }
}

fn run_on(call: &Call<'_>, input: &'static str, loss: impl Fn(Tensor<2>) -> Tensor<1>) -> Run {
    let leaf = call.leaf(input);
    Run::new(loss(leaf.clone()), [(input, leaf)])
}

fn lp(call: &Call<'_>) -> Run {
    let loss = call.config(LpRegularizerConfig::new()).init(call.device);
    run_on(call, "embeddings", |embeddings| loss.forward_no_reduction(embeddings))
}

fn zero_mean(call: &Call<'_>) -> Run {
    let loss = call.config(ZeroMeanRegularizerConfig::new()).init(call.device);
    run_on(call, "embeddings", |embeddings| loss.forward_no_reduction(embeddings))
}

fn center_invariant(call: &Call<'_>) -> Run {
    let loss = call.config(CenterInvariantRegularizerConfig::new()).init(call.device);
    run_on(call, "weights", |weights| loss.forward_no_reduction(weights))
}

fn regular_face(call: &Call<'_>) -> Run {
    let loss = call.config(RegularFaceRegularizerConfig::new()).init(call.device);
    run_on(call, "weights", |weights| loss.forward_no_reduction(weights))
}

fn sparse_centers(call: &Call<'_>) -> Run {
    let loss = call.config(SparseCentersRegularizerConfig::new(1, 2)).init(call.device);
    run_on(call, "weights", |weights| loss.forward_no_reduction(weights))
}
