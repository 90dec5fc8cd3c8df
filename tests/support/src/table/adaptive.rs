//! Heads whose margin or scale depends on more than the own cosine.

use burn::module::Param;
use burn::tensor::Tensor;
use burn_losses::heads::{
    AdaCos, AdaCosConfig, AdaFace, AdaFaceConfig, ElasticFaceConfig, Head, MagFaceConfig, MarginRule, Scale,
    SphereFaceConfig,
};

use super::{Call, Input, Kind, Labels, Losses, Row, Run, Sample, Steepness};
use crate::naive;

macro_rules! head {
    ($loss:literal, $config:ident, $samples:expr, $steepness:expr, $outputs:expr, $deviation:literal) => {
        Row {
            loss: $loss,
            family: "adaptive",
            kind: Kind::Head,
            inputs: &[Input::rows("embeddings"), Input::classes("weights")],
            losses: Losses::PerRow,
            samples: $samples,
            run: |call| {
                let [classes, embedding_dim] = call.sizes("weights");
                let new = || call.config($config::new(classes, embedding_dim)).init(call.device);
                let mut head = new();
                head.centers.weight = Param::from_tensor(call.parameter("weights"));
                let head = call.module(head, new);
                let mut run = run_head(call, &head);
                run.outputs.extend($outputs(&head));
                run
            },
            naive: naive::adaptive_heads::losses,
            steepness: Steepness::Scaled($steepness),
            labels: Labels::Classes,
            deviation: $deviation,
        }
    };
}

/// One row per head.
pub(super) const ROWS: &[Row] = &[
    head!(
        "SphereFace",
        SphereFaceConfig,
        &[
            Sample::new(r#"{"scale": 30.0}"#),
            Sample::new(r#"{"scale": 64.0, "multiplier": 4.0, "gradient": "Detached"}"#),
        ],
        |case| case.number("scale"),
        |_| None,
        ""
    ),
    head!(
        "MagFace",
        MagFaceConfig,
        // Between the shortest and the longest, so that the gradient does go along the rows.
        &[
            Sample::new(r#"{"scale": 16.0, "shortest": 0.1, "longest": 2.0}"#),
            Sample::new(r#"{"scale": 64.0, "smallest_margin": 0.3, "largest_margin": 0.6, "length_weight": 20.0}"#),
        ],
        |case| case.number("scale"),
        |_| None,
        "beyond pi the cosine goes on falling, folded; the authors leave the margin out beyond 90 degrees"
    ),
    head!(
        "AdaFace",
        AdaFaceConfig,
        &[
            Sample::new(r#"{"scale": 16.0, "momentum": 0.0, "concentration": 3.0}"#),
            Sample::new(r#"{"scale": 64.0, "margin": 0.5}"#),
        ],
        |case| case.number("scale"),
        |head: &AdaFace| Some(("length_statistics", head.rule.length_statistics().unsqueeze_dim(1))),
        "beyond pi the cosine goes on falling, folded; the authors' is flat there. A batch of one leaves the deviation alone"
    ),
    head!(
        "ElasticFace",
        ElasticFaceConfig,
        &[
            Sample::new(r#"{"scale": 16.0, "deviation": 0.0}"#),
            Sample::new(r#"{"scale": 64.0, "deviation": 0.05, "margin_kind": "Cosine", "margin": 0.4}"#),
            Sample::new(r#"{"scale": 64.0, "deviation": 0.05, "order": "FarthestLargest", "seed": 3}"#),
        ],
        |case| case.number("scale"),
        |_| None,
        "ElasticFace+ deals margins out by rank; the public code by a permutation where its inverse is meant"
    ),
    head!(
        "AdaCos",
        AdaCosConfig,
        &[Sample::new(r#"{"scale": "Fixed"}"#), Sample::new(r#"{"scale": "Measured"}"#)],
        |_| 3.0,
        measured_scale,
        "the measured scale stays in [0.5, 10000]"
    ),
];

fn measured_scale(head: &AdaCos) -> Option<(&'static str, Tensor<2>)> {
    match head.scale() {
        Scale::Constant(_) => None,
        Scale::Tensor(scale) => Some(("scale", scale.unsqueeze_dim(1))),
    }
}

fn run_head<R: MarginRule>(call: &Call<'_>, head: &Head<R>) -> Run {
    let embeddings = call.leaf("embeddings");
    let losses = if call.how.reduced {
        head.forward(embeddings.clone(), call.labels())
    } else {
        head.forward_no_reduction(embeddings.clone(), call.labels())
    };

    Run::new(losses, [("embeddings", embeddings), ("weights", head.centers.weight.val())])
}
