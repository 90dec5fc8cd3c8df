//! Angular-margin heads.

use burn::module::Param;
use burn_losses::heads::{ArcFaceConfig, CombinedMarginConfig, CosFaceConfig, Head, MarginRule, NormFaceConfig};
use serde_json::{Value, json};

use super::{Call, Input, Kind, Labels, Losses, Row, Run, Sample, Steepness};
use crate::golden::Case;
use crate::naive;

/// The row of a head: every head has the same config fields and the same public `centers`, but no common constructor.
macro_rules! head {
    ($loss:literal, $config:ident, $samples:expr) => {
        Row {
            loss: $loss,
            family: "margin",
            kind: Kind::Head,
            inputs: &[Input::rows("embeddings"), Input::classes("weights")],
            losses: Losses::PerRow,
            samples: $samples,
            run: |call| {
                let [classes, embedding_dim] = call.sizes("weights");
                let new = || call.config($config::new(classes, embedding_dim)).init(call.device);
                let mut head = new();
                head.centers.weight = Param::from_tensor(call.parameter("weights"));
                run_head(call, &call.module(head, new))
            },
            naive: naive::margin::losses,
            steepness: Steepness::Scaled(|case| case.number("scale")),
            labels: Labels::Classes,
            deviation: "",
        }
    };
}

/// One row per head.
pub(super) const ROWS: &[Row] = &[
    head!("NormFace", NormFaceConfig, &[Sample::new(r#"{"scale": 20.0}"#), Sample::new(r#"{"scale": 64.0}"#)]),
    head!(
        "CosFace",
        CosFaceConfig,
        &[Sample::new(r#"{"scale": 32.0}"#), Sample::new(r#"{"scale": 64.0, "margin": -0.1}"#)]
    ),
    head!(
        "ArcFace",
        ArcFaceConfig,
        &[
            Sample::new(r#"{"scale": 64.0, "margin": 0.5}"#),
            Sample::new(r#"{"scale": 32.0, "margin": 3.141592653589793, "large_angle": "Fold"}"#),
            Sample::new(r#"{"scale": 64.0, "margin": 0.5, "large_angle": "EasyMargin"}"#),
            Sample::new(r#"{"scale": 1e4, "margin": 0.5, "gradient": "Detached"}"#),
        ]
    ),
    head!(
        "CombinedMargin",
        CombinedMarginConfig,
        &[
            Sample::new(r#"{"scale": 32.0, "angle_factor": 1.3}"#),
            Sample::new(r#"{"scale": 64.0, "angle_factor": 4.0, "angle_margin": 0.5, "cosine_margin": 0.1}"#),
        ]
    ),
];

fn run_head<R: MarginRule>(call: &Call<'_>, head: &Head<R>) -> Run {
    let embeddings = call.leaf("embeddings");
    let losses = if call.how.reduced {
        head.forward(embeddings.clone(), call.labels())
    } else {
        head.forward_no_reduction(embeddings.clone(), call.labels())
    };

    Run::new(losses, [("embeddings", embeddings), ("weights", head.centers.weight.val())])
}

/// A case for the tests that vary inputs by hand: `embeddings` and `weights` as given, settings over the defaults.
pub fn head_case(loss: &str, settings: Value, embeddings: &[Vec<f64>], weights: &[Vec<f64>], labels: &[i64]) -> Case {
    let array = |rows: &[Vec<f64>]| json!({"shape": [rows.len(), weights[0].len()], "data": rows.concat()});
    let case = json!({
        "name": loss, "loss": loss, "settings": settings, "labels": labels,
        "inputs": {"embeddings": array(embeddings), "weights": array(weights)},
        "cotangent": (0..labels.len()).map(|row| 0.5 + 0.3 * row as f64).collect::<Vec<_>>(),
        "expected": {"losses": {"shape": [0], "data": []}, "gradients": {}}, "source": "none",
    });
    serde_json::from_value(case).expect("a case")
}
