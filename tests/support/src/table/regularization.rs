//! Penalties on embeddings and class weights.

use burn_losses::regularization::{
    CenterInvariantRegularizerConfig, LpRegularizerConfig, RegularFaceRegularizerConfig,
    SparseCentersRegularizerConfig, ZeroMeanRegularizerConfig,
};

use super::{Call, DEFAULTS, Input, Kind, Labels, Law, Losses, Row, Run, Sample, Steepness};
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
            Sample::but(
                r#"{"norm": "Euclidean"}"#,
                &[(Law::Length, "it is about the length"), (Law::Perpendicular, "it is about the length")],
            ),
            Sample::but(
                r#"{"norm": "Manhattan", "power": 0.5}"#,
                &[
                    (Law::Length, "it is about the length"),
                    (Law::Perpendicular, "it is about the length"),
                    (Law::Rotation, "a distance along the axes turns with them"),
                ],
            ),
            Sample::but(
                r#"{"norm": "Chebyshev"}"#,
                &[
                    (Law::Length, "it is about the length"),
                    (Law::Perpendicular, "it is about the length"),
                    (Law::Rotation, "a distance along the axes turns with them"),
                ],
            ),
            Sample::but(
                r#"{"norm": {"Minkowski": 3.0}, "power": 0.25}"#,
                &[
                    (Law::Length, "it is about the length"),
                    (Law::Perpendicular, "it is about the length"),
                    (Law::Rotation, "a distance along the axes turns with them"),
                ],
            ),
        ],
        ..row("LpRegularizer", lp, naive::lp, "")
    },
    Row {
        inputs: &[Input::rows("embeddings")],
        samples: &[Sample::but(
            "{}",
            &[
                (Law::Length, "it is about the sum of a row"),
                (Law::Perpendicular, "it is about the sum of a row"),
                (Law::Rotation, "the sum of a row is one along the axes"),
            ],
        )],
        ..row("ZeroMeanRegularizer", zero_mean, naive::zero_mean, "")
    },
    Row {
        samples: &[Sample::but(
            "{}",
            &[
                (Law::Length, "it is about the length"),
                (Law::Perpendicular, "it is about the length"),
                (Law::NanStays, "every class is compared with the average of all"),
            ],
        )],
        ..row(
            "CenterInvariantRegularizer",
            center_invariant,
            naive::center_invariant,
            "a squared length above 1e15 counts as 1e15: the fourth power of a length overflows f32",
        )
    },
    Row {
        samples: &[Sample::but("{}", &[(Law::NanStays, "every class is compared with all others")])],
        ..row("RegularFaceRegularizer", regular_face, naive::regular_face, "")
    },
    Row {
        losses: Losses::PerClass,
        samples: &[Sample::but(
            r#"{"classes": 3, "centers_per_class": 2}"#,
            &[
                (Law::BatchOrder, "which rows are of one class is their order"),
                (Law::NanStays, "the centers of a class are compared with each other"),
                (Law::EmptyBatch, "it has as many rows as its config says"),
                (Law::OneRow, "it has as many rows as its config says"),
            ],
        )],
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

/// Runs a loss on an input.
macro_rules! run_on {
    ($call:expr, $input:literal, $config:expr) => {{
        let loss = $call.config($config).init($call.device);
        let rows = $call.leaf($input);
        let losses =
            if $call.how.reduced { loss.forward(rows.clone()) } else { loss.forward_no_reduction(rows.clone()) };
        Run::new(losses, [($input, rows)])
    }};
}

fn lp(call: &Call<'_>) -> Run {
    run_on!(call, "embeddings", LpRegularizerConfig::new())
}

fn zero_mean(call: &Call<'_>) -> Run {
    run_on!(call, "embeddings", ZeroMeanRegularizerConfig::new())
}

fn center_invariant(call: &Call<'_>) -> Run {
    run_on!(call, "weights", CenterInvariantRegularizerConfig::new())
}

fn regular_face(call: &Call<'_>) -> Run {
    run_on!(call, "weights", RegularFaceRegularizerConfig::new())
}

fn sparse_centers(call: &Call<'_>) -> Run {
    run_on!(call, "weights", SparseCentersRegularizerConfig::new(1, 2))
}
