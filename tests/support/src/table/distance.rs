//! Distances.

use burn_losses::distance::Distance;

use super::{Call, Hostile, Input, Kind, Labels, Law, Losses, Row, Run, Sample, Steepness};
use crate::naive;

/// One row.
pub(super) const ROWS: &[Row] = &[Row {
    loss: "Distance",
    family: "distance",
    kind: Kind::Distance,
    inputs: &[Input::rows("first"), Input::rows("second")],
    losses: Losses::PerRow,
    samples: &[
        Sample::but(
            r#"{"form": "rowwise", "distance": "SmallestDifference"}"#,
            &[
                (Law::Length, "distances are those of the rows as they are"),
                (Law::Perpendicular, "distances are those of the rows as they are"),
                (Law::Rotation, "a distance along the axes turns with them"),
            ],
        ),
        Sample::new(r#"{"form": "rowwise", "distance": "DifferentCount"}"#),
        Sample::but(
            r#"{"form": "rowwise", "distance": "Manhattan"}"#,
            &[
                (Law::Length, "distances are those of the rows as they are"),
                (Law::Perpendicular, "distances are those of the rows as they are"),
                (Law::Rotation, "a distance along the axes turns with them"),
            ],
        ),
        Sample::but(
            r#"{"form": "rowwise", "distance": "Euclidean"}"#,
            &[
                (Law::Length, "distances are those of the rows as they are"),
                (Law::Perpendicular, "distances are those of the rows as they are"),
            ],
        ),
        Sample::but(
            r#"{"form": "rowwise", "distance": "SquaredEuclidean"}"#,
            &[
                (Law::Length, "distances are those of the rows as they are"),
                (Law::Perpendicular, "distances are those of the rows as they are"),
                (Law::Finite(Hostile::HugeRows), "the square of such a distance is beyond f32"),
            ],
        ),
        Sample::but(
            r#"{"form": "rowwise", "distance": {"Minkowski": 0.5}}"#,
            &[
                (Law::Length, "distances are those of the rows as they are"),
                (Law::Perpendicular, "distances are those of the rows as they are"),
                (Law::Rotation, "a distance along the axes turns with them"),
            ],
        ),
        Sample::but(
            r#"{"form": "rowwise", "distance": {"Minkowski": 3.0}}"#,
            &[
                (Law::Length, "distances are those of the rows as they are"),
                (Law::Perpendicular, "distances are those of the rows as they are"),
                (Law::Rotation, "a distance along the axes turns with them"),
            ],
        ),
        Sample::but(
            r#"{"form": "rowwise", "distance": "Chebyshev"}"#,
            &[
                (Law::Length, "distances are those of the rows as they are"),
                (Law::Perpendicular, "distances are those of the rows as they are"),
                (Law::Rotation, "a distance along the axes turns with them"),
            ],
        ),
        Sample::but(
            r#"{"form": "rowwise", "distance": "Cosine"}"#,
            &[(Law::Translation, "it compares directions from the origin")],
        ),
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
