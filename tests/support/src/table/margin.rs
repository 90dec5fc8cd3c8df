//! Angular-margin heads.

use burn::module::Param;
use burn_losses::heads::{ArcFaceConfig, CombinedMarginConfig, CosFaceConfig, Head, MarginRule, NormFaceConfig};
use serde_json::{Value, json};

use super::{Call, Labels, Row, Run, Steepness};
use crate::golden::Case;
use crate::naive;

/// The row of a head: every head has the same config fields and the same public `centers`, but no common constructor.
macro_rules! head {
    ($loss:literal, $config:ident) => {
        Row {
            loss: $loss,
            family: "margin",
            run: |call| {
                let [classes, embedding_dim] = call.sizes("weights");
                let mut head = call.config($config::new(classes, embedding_dim)).init(call.device);
                head.centers.weight = Param::from_tensor(call.leaf("weights"));
                run_head(call, &head)
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
    head!("NormFace", NormFaceConfig),
    head!("CosFace", CosFaceConfig),
    head!("ArcFace", ArcFaceConfig),
    head!("CombinedMargin", CombinedMarginConfig),
];

fn run_head<R: MarginRule>(call: &Call<'_>, head: &Head<R>) -> Run {
    let embeddings = call.leaf("embeddings");
    let losses = head.forward_no_reduction(embeddings.clone(), call.labels());

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
