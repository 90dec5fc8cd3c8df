//! Heads that see the other classes otherwise than a plain softmax does.

use burn::module::Param;
use burn::tensor::Tensor;
use burn_losses::heads::{
    CurricularFaceConfig, Head, MarginRule, MvSoftmaxConfig, SphereFace2Config, SubCenterArcFaceConfig, UniFaceConfig,
};

use super::{Call, Labels, Row, Run, Steepness};
use crate::naive;

macro_rules! head {
    ($loss:literal, $config:ident, $more:expr, $deviation:literal) => {
        Row {
            loss: $loss,
            family: "rivals",
            run: |call| {
                let [_, embedding_dim] = call.sizes("weights");
                let classes = call.case.settings["classes"].as_u64().expect("a number of classes") as usize;
                let mut head = call.config($config::new(classes, embedding_dim)).init(call.device);
                head.centers.weight = Param::from_tensor(call.leaf("weights"));
                $more(call, head)
            },
            naive: naive::rival_heads::losses,
            steepness: Steepness::Scaled(|case| case.number("scale")),
            labels: Labels::Classes,
            deviation: $deviation,
        }
    };
}

/// One row per head.
pub(super) const ROWS: &[Row] = &[
    head!("SubCenterArcFace", SubCenterArcFaceConfig, |call, head| run_head(call, &head), ""),
    head!(
        "CurricularFace",
        CurricularFaceConfig,
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
        |call, head| run_head(call, &head),
        "public code drops the margin where the own cosine is below it; the paper does not"
    ),
    head!(
        "UniFace",
        UniFaceConfig,
        |call: &Call<'_>, mut head: burn_losses::heads::UniFace| {
            let bias = call.leaf("bias");
            head.rule.bias = bias_of(&bias);
            with_bias(run_head(call, &head), bias)
        },
        "public code clamps the exponents to the scale, which stops the gradient of what is most wrong"
    ),
    head!(
        "SphereFace2",
        SphereFace2Config,
        |call: &Call<'_>, mut head: burn_losses::heads::SphereFace2| {
            let bias = call.leaf("bias");
            head.rule.bias = bias_of(&bias);
            with_bias(run_head(call, &head), bias)
        },
        "public code multiplies the loss with a weight and the number of classes"
    ),
];

fn run_head<R: MarginRule>(call: &Call<'_>, head: &Head<R>) -> Run {
    let embeddings = call.leaf("embeddings");
    let losses = head.forward_no_reduction(embeddings.clone(), call.labels());

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
