//! Losses of a linear layer that they apply themselves.

use burn::nn::loss::Reduction;
use burn_losses::classification::{LinearCrossEntropyLossConfig, OutputLayer};

use super::{Call, Hostile, Input, Kind, Labels, Law, Losses, Row, Run, Sample, Steepness};
use crate::naive;

const LAYER: &[Input] = &[Input::rows("embeddings"), Input::classes("weights")];

const AS_THEY_ARE: &str = "products are those of the rows as they are";
const TOO_LARGE: &str = "such a product is beyond f32";

/// One row per loss.
pub(super) const ROWS: &[Row] = &[Row {
    loss: "LinearCrossEntropyLoss",
    family: "linear",
    kind: Kind::Proxy,
    inputs: LAYER,
    losses: Losses::PerRow,
    samples: &[
        Sample::but(
            r#"{}"#,
            &[
                (Law::Length, AS_THEY_ARE),
                (Law::Perpendicular, AS_THEY_ARE),
                (Law::CenterLength, AS_THEY_ARE),
                (Law::Finite(Hostile::HugeRows), TOO_LARGE),
            ],
        ),
        Sample::but(
            r#"{"label_smoothing": 0.2, "class_weights": [0.5, 1.0, 2.0, 0.25, 1.5], "soft_cap": 3.0, "z_loss": 0.1}"#,
            &[
                (Law::Length, AS_THEY_ARE),
                (Law::Perpendicular, AS_THEY_ARE),
                (Law::CenterLength, AS_THEY_ARE),
                (Law::Reduction, "the mean is weighted, as in PyTorch"),
                (Law::OneClass, "the log-sum-exp of one class has a loss of its own"),
            ],
        ),
    ],
    run: linear_cross_entropy,
    naive: naive::classification::linear_cross_entropy,
    steepness: Steepness::Ordinary,
    labels: Labels::Classes,
    deviation: "",
}];

fn linear_cross_entropy(call: &Call<'_>) -> Run {
    // A layer knows its sizes, so they are no settings.
    let mut case = call.case.clone();
    case.settings.retain(|name, _| !matches!(name.as_str(), "classes" | "embedding_dim"));
    let new = || call.of(&case).config(LinearCrossEntropyLossConfig::new()).init(call.device);
    let loss = call.module(new(), new);
    let (embeddings, weights) = (call.leaf("embeddings"), call.parameter("weights"));
    let bias = call.has("bias").then(|| call.parameter("bias"));
    let layer = OutputLayer::new(weights.clone(), bias.clone().map(|bias| bias.squeeze_dim(1)));
    let losses = if call.how.reduced {
        loss.forward(embeddings.clone(), layer, call.labels(), Reduction::Mean)
    } else {
        loss.forward_no_reduction(embeddings.clone(), layer, call.labels())
    };
    let bias = bias.map(|bias| ("bias", bias));
    Run::new(losses, [("embeddings", embeddings), ("weights", weights)].into_iter().chain(bias))
}
