//! Distances.

use burn_losses::distance::Distance;

use super::{Call, Input, Kind, Labels, Losses, Row, Run, Sample, Steepness};
use crate::naive;

/// One row.
pub(super) const ROWS: &[Row] = &[Row {
    loss: "Distance",
    family: "distance",
    kind: Kind::Distance,
    inputs: &[Input::rows("first"), Input::rows("second")],
    losses: Losses::PerRow,
    samples: &[
        Sample::new(r#"{"form": "rowwise", "distance": "SmallestDifference"}"#),
        Sample::new(r#"{"form": "rowwise", "distance": "DifferentCount"}"#),
        Sample::new(r#"{"form": "rowwise", "distance": "Manhattan"}"#),
        Sample::new(r#"{"form": "rowwise", "distance": "Euclidean"}"#),
        Sample::new(r#"{"form": "rowwise", "distance": "SquaredEuclidean"}"#),
        Sample::new(r#"{"form": "rowwise", "distance": {"Minkowski": 0.5}}"#),
        Sample::new(r#"{"form": "rowwise", "distance": {"Minkowski": 3.0}}"#),
        Sample::new(r#"{"form": "rowwise", "distance": "Chebyshev"}"#),
        Sample::new(r#"{"form": "rowwise", "distance": "Cosine"}"#),
    ],
    run: distance,
    naive: naive::distance::distances,
    // A power below 1 bends the more the smaller a difference is.
    steepness: Steepness::Bent(|case| {
        let root = case.settings.get("distance").is_some_and(|distance| distance["Minkowski"].as_f64() == Some(0.5));
        if root { 30.0 } else { 1.0 }
    }),
    labels: Labels::None,
    deviation: "",
}];

fn distance(call: &Call<'_>) -> Run {
    let settings = &call.case.settings;
    let distance: Distance = serde_json::from_value(settings["distance"].clone()).expect("a distance");
    let (first, second) = (call.leaf("first"), call.leaf("second"));
    let losses = match settings["form"].as_str() {
        Some("rowwise") => distance.rowwise(first.clone(), second.clone()),
        _ => {
            let matrix = distance.matrix(first.clone(), second.clone());
            let count = matrix.shape().num_elements();
            matrix.reshape([count])
        }
    };
    Run::new(losses, [("first", first), ("second", second)])
}
