//! Center loss.

use std::collections::BTreeMap;

use burn_losses::center::{CenterLossConfig, CenterMode};

use super::{Call, Labels, Row, Run, Steepness};
use crate::naive;

/// One row.
pub(super) const ROWS: &[Row] = &[Row {
    loss: "CenterLoss",
    family: "center",
    run: center,
    naive: naive::center::losses,
    steepness: Steepness::Ordinary,
    labels: Labels::Classes,
    deviation: "",
}];

fn center(call: &Call<'_>) -> Run {
    let [classes, embedding_dim] = call.sizes("centers");
    let config = call.config(CenterLossConfig::new(classes, embedding_dim));
    let loss = config.init(call.device).with_centers(call.leaf("centers"));
    let embeddings = call.leaf("embeddings");
    let mut leaves = BTreeMap::from([("embeddings", embeddings.clone())]);
    let mut outputs = BTreeMap::new();

    let losses = loss.forward_no_reduction(embeddings.clone(), call.labels());
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
