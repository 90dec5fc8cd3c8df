//! Heads whose margin or scale depends on more than the own cosine.

use burn::module::Param;
use burn::tensor::Tensor;
use burn_losses::heads::{
    AdaCos, AdaCosConfig, AdaFace, AdaFaceConfig, ElasticFaceConfig, Head, MagFaceConfig, MarginRule, Scale,
    SphereFaceConfig,
};

use super::{Call, Labels, Row, Run, Steepness};
use crate::naive;

macro_rules! head {
    ($loss:literal, $config:ident, $steepness:expr, $outputs:expr, $deviation:literal) => {
        Row {
            loss: $loss,
            family: "adaptive",
            run: |call| {
                let [classes, embedding_dim] = call.sizes("weights");
                let mut head = call.config($config::new(classes, embedding_dim)).init(call.device);
                head.centers.weight = Param::from_tensor(call.leaf("weights"));
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
    head!("SphereFace", SphereFaceConfig, |case| case.number("scale"), |_| None, ""),
    head!(
        "MagFace",
        MagFaceConfig,
        |case| case.number("scale"),
        |_| None,
        "beyond pi the cosine goes on falling, folded; the authors leave the margin out beyond 90 degrees"
    ),
    head!(
        "AdaFace",
        AdaFaceConfig,
        |case| case.number("scale"),
        |head: &AdaFace| Some(("length_statistics", head.rule.length_statistics().unsqueeze_dim(1))),
        "beyond pi the cosine goes on falling, folded; the authors' is flat there. A batch of one leaves the deviation alone"
    ),
    head!(
        "ElasticFace",
        ElasticFaceConfig,
        |case| case.number("scale"),
        |_| None,
        "ElasticFace+ deals margins out by rank; the public code by a permutation where its inverse is meant"
    ),
    head!("AdaCos", AdaCosConfig, |_| 3.0, measured_scale, "the measured scale stays in [0.5, 10000]"),
];

fn measured_scale(head: &AdaCos) -> Option<(&'static str, Tensor<2>)> {
    match head.scale() {
        Scale::Constant(_) => None,
        Scale::Tensor(scale) => Some(("scale", scale.unsqueeze_dim(1))),
    }
}

fn run_head<R: MarginRule>(call: &Call<'_>, head: &Head<R>) -> Run {
    let embeddings = call.leaf("embeddings");
    let losses = head.forward_no_reduction(embeddings.clone(), call.labels());

    Run::new(losses, [("embeddings", embeddings), ("weights", head.centers.weight.val())])
}
