//! Center loss.

use std::collections::BTreeMap;

use burn_losses::center::{CenterLossConfig, CenterMode};

use super::{Call, Input, Kind, Labels, Losses, Row, Run, Sample, Steepness};
use crate::naive;

/// One row.
pub(super) const ROWS: &[Row] = &[Row {
    loss: "CenterLoss",
    family: "center",
    kind: Kind::Center,
    inputs: &[Input::rows("embeddings"), Input::classes("centers")],
    losses: Losses::PerRow,
    samples: &[Sample::new(r#"{"mode": "Updated"}"#), Sample::new(r#"{"mode": "Trained", "update_rate": 0.3}"#)],
    run: center,
    naive: naive::center::losses,
    steepness: Steepness::Ordinary,
    labels: Labels::Classes,
    deviation: "",
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
    match config.mode {
        CenterMode::Trained => {
            leaves.insert("centers", loss.centers());
        }
        CenterMode::Updated => {
            outputs.insert("centers", loss.centers());
            let _ = loss.forward_no_reduction(embeddings.detach(), call.labels());
            outputs.insert("centers_after_two", loss.centers());
        }
    }
    Run { losses, leaves, outputs }
}
