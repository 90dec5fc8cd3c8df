//! Center loss.

use std::collections::BTreeMap;

use burn_losses::center::{CenterLossConfig, CenterMode};
use burn_losses::optim::RowGradient;

use super::{Call, Hostile, Input, Kind, Labels, Law, Losses, Row, Run, Sample, Steepness};
use crate::naive;

const BREAKS: &[(Law, &str)] = &[
    (Law::Length, "distances are those of the rows as they are"),
    (Law::Perpendicular, "distances are those of the rows as they are"),
    (Law::CenterLength, "distances are those of the rows as they are"),
    (Law::Finite(Hostile::HugeRows), "the square of such a distance is beyond f32"),
];

/// One row.
pub(super) const ROWS: &[Row] = &[Row {
    loss: "CenterLoss",
    family: "center",
    kind: Kind::Center,
    inputs: &[Input::rows("embeddings"), Input::classes("centers")],
    losses: Losses::PerRow,
    samples: &[
        Sample::but(r#"{"mode": "Updated"}"#, BREAKS),
        Sample::but(r#"{"mode": "Trained", "update_rate": 0.3, "initializer": "Ones"}"#, BREAKS),
        Sample::but(r#"{"mode": "Trained", "gradient": "Drawn"}"#, BREAKS),
    ],
    run: center,
    naive: naive::center::losses,
    steepness: Steepness::Ordinary,
    labels: Labels::Classes,
    deviation: "`forward` is the mean of a batch, where the paper sums, so that the weight of the loss does not depend on the \
                batch size; rows that are not finite move no center",
}];

fn center(call: &Call<'_>) -> Run {
    let [classes, embedding_dim] = call.sizes("centers");
    let config = call.config(CenterLossConfig::new(classes, embedding_dim));
    let loss = config.init(call.device).with_centers(call.parameter("centers"));
    let loss = call.module(loss, || config.init(call.device));
    let embeddings = call.leaf("embeddings");
    let mut leaves = BTreeMap::from([("embeddings", embeddings.clone())]);
    let mut outputs = BTreeMap::new();

    let losses = if call.how.reduced {
        loss.forward(embeddings.clone(), call.labels())
    } else {
        loss.forward_no_reduction(embeddings.clone(), call.labels())
    };
    match (config.mode, config.gradient) {
        (CenterMode::Trained, RowGradient::Dense) => {
            leaves.insert("centers", loss.centers());
        }
        // For an optimizer of rows alone; see `optim.rs` of the parity tests.
        (CenterMode::Trained, RowGradient::Drawn) => {}
        (CenterMode::Updated, _) => {
            outputs.insert("centers", loss.centers());
            let _ = loss.forward_no_reduction(embeddings.detach(), call.labels());
            outputs.insert("centers_after_two", loss.centers());
        }
    }
    Run { losses, leaves, outputs }
}
