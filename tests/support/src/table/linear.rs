//! Losses of a linear layer that they apply themselves.

use burn::nn::loss::Reduction;
use burn::tensor::{DType, Int, Tensor};
use burn_losses::classification::{LinearCrossEntropyLossConfig, LinearDistillationLossConfig, OutputLayer};

use super::{Call, Hostile, Input, Kind, Labels, Law, Losses, Row, Run, Sample, Steepness};
use crate::naive;

const LAYER: &[Input] = &[Input::rows("embeddings"), Input::classes("weights")];

const AS_THEY_ARE: &str = "products are those of the rows as they are";
const TOO_LARGE: &str = "such a product is beyond f32";

/// What does not hold for logits that are products of rows.
const OF_PRODUCTS: &[(Law, &str)] = &[
    (Law::Length, AS_THEY_ARE),
    (Law::Perpendicular, AS_THEY_ARE),
    (Law::CenterLength, AS_THEY_ARE),
    (Law::Finite(Hostile::HugeRows), TOO_LARGE),
];

const STUDENT_AND_TEACHER: &[Input] = &[
    Input::rows("embeddings"),
    Input::classes("weights"),
    Input::rows("teacher_embeddings"),
    Input::classes("teacher_weights"),
];

/// One row per loss.
pub(super) const ROWS: &[Row] = &[LINEAR_CROSS_ENTROPY, LINEAR_DISTILLATION];

const LINEAR_CROSS_ENTROPY: Row = Row {
    loss: "LinearCrossEntropyLoss",
    family: "linear",
    kind: Kind::Proxy,
    inputs: LAYER,
    losses: Losses::PerRow,
    samples: &[
        Sample::but(r#"{}"#, OF_PRODUCTS),
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
};

const LINEAR_DISTILLATION: Row = Row {
    loss: "LinearDistillationLoss",
    family: "linear",
    kind: Kind::Proxy,
    inputs: STUDENT_AND_TEACHER,
    losses: Losses::PerRow,
    samples: &[
        Sample::but(r#"{}"#, OF_PRODUCTS),
        Sample::but(r#"{"divergence": "ReverseKl", "temperature": 0.5}"#, OF_PRODUCTS),
        Sample::but(r#"{"divergence": {"JensenShannon": 0.7}, "temperature": 2.0}"#, OF_PRODUCTS),
    ],
    run: linear_distillation,
    naive: naive::classification::linear_distillation,
    steepness: Steepness::Ordinary,
    labels: Labels::Classes,
    deviation: "times the square of the temperature, as Hinton has it: a gradient keeps its size when the temperature changes",
};

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

fn linear_distillation(call: &Call<'_>) -> Run {
    let mut case = call.case.clone();
    case.settings.retain(|name, _| !matches!(name.as_str(), "classes" | "embedding_dim"));
    let new = || call.of(&case).config(LinearDistillationLossConfig::new()).init(call.device);
    let loss = call.module(new(), new);
    let (embeddings, weights) = (call.leaf("embeddings"), call.parameter("weights"));
    let bias = call.has("bias").then(|| call.parameter("bias"));
    // Once for all rows, whose gradients are then added before they are rounded.
    let is_half = matches!(weights.dtype(), DType::F16 | DType::BF16);
    let wide = if is_half { weights.clone().cast(DType::F32) } else { weights.clone() };
    let layer = OutputLayer::new(wide, bias.clone().map(|bias| bias.squeeze_dim(1)));
    let constant = |name: &str| call.tensor(&case.inputs[name]);
    let bias_of_teacher = call.has("teacher_bias").then(|| constant("teacher_bias").squeeze_dim(1));
    let teacher_layer = || OutputLayer::new(constant("teacher_weights"), bias_of_teacher.clone());
    let (teacher, labels) = (constant("teacher_embeddings"), call.labels());
    let [rows, _] = embeddings.dims();
    let reduced = |rows: Tensor<2>, teacher: Tensor<2>, labels: Tensor<1, Int>, reduction: Reduction| {
        loss.forward(rows, layer.clone(), teacher, teacher_layer(), Some(labels), reduction)
    };
    let losses = if call.how.reduced || rows == 0 {
        reduced(embeddings.clone(), teacher, labels, Reduction::Mean)
    } else if call.device.is_autodiff() {
        // A bad label is told by its place among all.
        let _ = reduced(embeddings.clone(), teacher.clone(), labels.clone(), Reduction::Sum);
        // Losses of tokens have no gradient, so every token is a batch of its own.
        let of_row = |row: usize| {
            let [of_student, of_teacher] = [&embeddings, &teacher].map(|rows| rows.clone().narrow(0, row, 1));
            reduced(of_student, of_teacher, labels.clone().narrow(0, row, 1), Reduction::Sum)
        };
        Tensor::cat((0..rows).map(of_row).collect(), 0)
    } else {
        loss.forward_no_reduction(embeddings.clone(), layer, teacher, teacher_layer(), Some(labels))
    };
    let bias = bias.map(|bias| ("bias", bias));
    Run::new(losses, [("embeddings", embeddings), ("weights", weights)].into_iter().chain(bias))
}
