//! Heads that see the other classes otherwise than a plain softmax does.

use burn::module::Param;
use burn::tensor::Tensor;
use burn_losses::heads::{
    CurricularFaceConfig, Head, MarginRule, MvSoftmaxConfig, SphereFace2Config, SubCenterArcFaceConfig, UniFaceConfig,
};

use super::{Call, Input, Kind, Labels, Losses, Row, Run, Sample, Steepness};
use crate::naive;

macro_rules! head {
    ($loss:literal, $config:ident, $inputs:expr, $samples:expr, $more:expr, $deviation:literal) => {
        Row {
            loss: $loss,
            family: "rivals",
            kind: Kind::Head,
            inputs: $inputs,
            losses: Losses::PerRow,
            samples: $samples,
            run: |call| {
                let [_, embedding_dim] = call.sizes("weights");
                let classes = call.case.settings["classes"].as_u64().expect("a number of classes") as usize;
                let new = || call.config($config::new(classes, embedding_dim)).init(call.device);
                let mut head = new();
                head.centers.weight = Param::from_tensor(call.parameter("weights"));
                $more(call, call.module(head, new))
            },
            naive: naive::rival_heads::losses,
            steepness: Steepness::Scaled(|case| case.number("scale")),
            labels: Labels::Classes,
            deviation: $deviation,
        }
    };
}

const PLAIN: &[Input] = &[Input::rows("embeddings"), Input::classes("weights")];
const WITH_BIAS: &[Input] = &[Input::rows("embeddings"), Input::classes("weights"), Input::number("bias")];

/// One row per head.
pub(super) const ROWS: &[Row] = &[
    head!(
        "SubCenterArcFace",
        SubCenterArcFaceConfig,
        PLAIN,
        &[
            Sample::new(r#"{"scale": 16.0, "sub_centers": 3}"#),
            Sample::new(r#"{"scale": 64.0, "sub_centers": 2, "margin": 0.3}"#),
        ],
        |call, head| run_head(call, &head),
        ""
    ),
    head!(
        "CurricularFace",
        CurricularFaceConfig,
        PLAIN,
        &[
            Sample::new(r#"{"scale": 16.0, "momentum": 0.0}"#),
            Sample::new(r#"{"scale": 64.0, "momentum": 0.3, "margin": 0.4}"#),
        ],
        |call: &Call<'_>, head: burn_losses::heads::CurricularFace| {
            let mut run = run_head(call, &head);
            run.outputs.insert("average_cosine", head.rule.average_cosine().unsqueeze_dim(1));
            run
        },
        "the average is not updated in evaluation, which the authors' code does"
    ),
    head!(
        "MvSoftmax",
        MvSoftmaxConfig,
        PLAIN,
        &[
            Sample::new(r#"{"scale": 16.0, "weight": 0.3}"#),
            Sample::new(r#"{"scale": 32.0, "margin_kind": "Angle", "weighting": "Fixed", "margin": 0.5}"#),
        ],
        |call, head| run_head(call, &head),
        "public code drops the margin where the own cosine is below it; the paper does not"
    ),
    head!(
        "UniFace",
        UniFaceConfig,
        WITH_BIAS,
        &[Sample::new(r#"{"scale": 16.0}"#), Sample::new(r#"{"scale": 64.0, "balance": 0.3, "margin": 0.1}"#),],
        |call: &Call<'_>, mut head: burn_losses::heads::UniFace| {
            let bias = call.parameter("bias");
            head.rule.bias = bias_of(&bias);
            with_bias(run_head(call, &head), bias)
        },
        "public code clamps the exponents to the scale, which stops the gradient of what is most wrong"
    ),
    head!(
        "SphereFace2",
        SphereFace2Config,
        WITH_BIAS,
        &[
            Sample::new(r#"{"scale": 16.0}"#),
            Sample::new(r#"{"scale": 40.0, "balance": 0.6, "exponent": 2.0, "gradient": "Detached", "margin": 0.3}"#),
        ],
        |call: &Call<'_>, mut head: burn_losses::heads::SphereFace2| {
            let bias = call.parameter("bias");
            head.rule.bias = bias_of(&bias);
            with_bias(run_head(call, &head), bias)
        },
        "public code multiplies the loss with a weight and the number of classes"
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

/// A parameter that is in the graph of a leaf.
fn bias_of(leaf: &Tensor<2>) -> Param<Tensor<1>> {
    Param::initialized(burn::module::ParamId::new(), leaf.clone().reshape([1]))
}

fn with_bias(mut run: Run, bias: Tensor<2>) -> Run {
    run.leaves.insert("bias", bias);
    run
}
