//! Losses of logits and targets.

use burn::nn::loss::Reduction;
use burn::tensor::{Int, Tensor};
use burn_losses::classification::{
    AsymmetricLossConfig, BinaryCrossEntropyLossConfig, BinaryFocalLossConfig, CrossEntropyLossConfig, FocalLossConfig,
    GeneralizedCrossEntropyLossConfig, JensenShannonLossConfig, KLDivLossConfig, MulticlassHingeLossConfig,
    PolyLossConfig,
};

use super::{Call, Hostile, Input, Kind, Labels, Law, Losses, Row, Run, Sample, Steepness, Values, flat};
use crate::naive::classification as naive;

const LOGITS: &[Input] = &[Input::logits("logits")];
const SOFT: &[Input] = &[Input::logits("logits"), Input::logits("targets").holding(Values::Distribution)];
const BINARY: &[Input] = &[Input::logits("logits"), Input::logits("targets").holding(Values::Probability)];
const VIEWS: &[Input] = &[Input::logits("first"), Input::logits("second")];
const LOGARITHMS: &[Input] = &[
    Input::logits("predictions").holding(Values::LogDistribution),
    Input::logits("targets").holding(Values::Distribution),
];

/// The losses one by one, or their mean where the call asks for one number.
macro_rules! losses {
    ($call:expr, $loss:ident.$reduced:ident / $each:ident $(::<2, $rank:literal>)? ($($input:expr),*)) => {
        if $call.how.reduced {
            $loss.$reduced($($input,)* Reduction::Mean)
        } else {
            flat($loss.$each $(::<2, $rank>)? ($($input),*))
        }
    };
}

const BINARY_BREAKS: &[(Law, &str)] = &[(Law::LogitShift, "every class is a question of its own")];

/// One row per loss and kind of targets.
pub(super) const ROWS: &[Row] = &[
    Row {
        run: |call| {
            let loss = call.config(CrossEntropyLossConfig::new()).init(call.device);
            labelled(call, |logits, labels| losses!(call, loss.forward / forward_no_reduction(logits, labels)))
        },
        labels: Labels::Classes,
        kind: Kind::Logits,
        inputs: LOGITS,
        losses: Losses::PerRow,
        samples: &[
            Sample::new(r#"{}"#),
            Sample::but(
                r#"{"label_smoothing": 0.2, "class_weights": [0.5, 1.0, 2.0, 0.25, 1.5]}"#,
                &[
                    (Law::Reduction, "the mean is weighted, as in PyTorch"),
                    (
                        Law::Finite(Hostile::MaskedClasses),
                        "smoothing gives the masked class a probability, whose loss is infinite",
                    ),
                ],
            ),
        ],
        ..row("CrossEntropyLoss", naive::cross_entropy)
    },
    Row {
        run: |call| {
            let loss = call.config(CrossEntropyLossConfig::new()).init(call.device);
            targeted(call, |logits, targets| {
                losses!(call, loss.forward_soft / forward_soft_no_reduction::<2, 1>(logits, targets))
            })
        },
        kind: Kind::Probabilities,
        inputs: SOFT,
        losses: Losses::PerRow,
        samples: &[Sample::new(r#"{}"#), Sample::new(r#"{"label_smoothing": 0.2}"#)],
        ..row("CrossEntropyLoss soft", naive::soft_cross_entropy)
    },
    Row {
        run: |call| {
            let loss = call.config(BinaryCrossEntropyLossConfig::new()).init(call.device);
            targeted(call, |logits, targets| losses!(call, loss.forward / forward_no_reduction(logits, targets)))
        },
        kind: Kind::Probabilities,
        inputs: BINARY,
        losses: Losses::PerNumber,
        samples: &[Sample::but(r#"{}"#, BINARY_BREAKS), Sample::but(r#"{"ignore_target": -1.0}"#, BINARY_BREAKS)],
        ..row("BinaryCrossEntropyLoss", naive::binary_cross_entropy)
    },
    Row {
        run: |call| {
            let loss = call.config(BinaryFocalLossConfig::new()).init(call.device);
            fixed_targets(call, |logits, targets| losses!(call, loss.forward / forward_no_reduction(logits, targets)))
        },
        deviation: "soft targets weight the two losses instead of the probability under the power",
        kind: Kind::Probabilities,
        inputs: BINARY,
        losses: Losses::PerNumber,
        samples: &[
            Sample::but(r#"{}"#, BINARY_BREAKS),
            Sample::but(r#"{"gamma": 0.5, "alpha": [0.5, 1.0, 0.75, 0.25, 0.0]}"#, BINARY_BREAKS),
            Sample::but(r#"{"ignore_target": -1.0}"#, BINARY_BREAKS),
        ],
        ..row("BinaryFocalLoss", naive::binary_focal)
    },
    Row {
        run: |call| {
            let loss = call.config(FocalLossConfig::new()).init(call.device);
            labelled(call, |logits, labels| losses!(call, loss.forward / forward_no_reduction(logits, labels)))
        },
        labels: Labels::Classes,
        kind: Kind::Logits,
        inputs: LOGITS,
        losses: Losses::PerRow,
        samples: &[Sample::new(r#"{}"#), Sample::new(r#"{"gamma": 0.5}"#)],
        ..row("FocalLoss", naive::focal)
    },
    Row {
        run: |call| {
            let loss = call.config(FocalLossConfig::new()).init(call.device);
            fixed_targets(call, |logits, targets| {
                losses!(call, loss.forward_soft / forward_soft_no_reduction::<2, 1>(logits, targets))
            })
        },
        deviation: "a `1 - p` below 1e-7 counts as 1e-7",
        kind: Kind::Probabilities,
        inputs: SOFT,
        losses: Losses::PerRow,
        samples: &[Sample::new(r#"{}"#), Sample::new(r#"{"gamma": 0.5}"#)],
        ..row("FocalLoss soft", naive::soft_focal)
    },
    Row {
        run: |call| {
            let loss = call.config(AsymmetricLossConfig::new()).init(call.device);
            fixed_targets(call, |logits, targets| losses!(call, loss.forward / forward_no_reduction(logits, targets)))
        },
        deviation: "no floor under the logarithm, so the hardest positives keep their gradient; the paper's code sums over the batch, here \
                    any reduction goes",
        kind: Kind::Probabilities,
        inputs: BINARY,
        losses: Losses::PerNumber,
        samples: &[
            Sample::but(r#"{}"#, BINARY_BREAKS),
            Sample::but(r#"{"gamma_negative": 2.0, "gamma_positive": 0.5, "clip": 0.1}"#, BINARY_BREAKS),
            Sample::but(r#"{"ignore_target": -1.0}"#, BINARY_BREAKS),
        ],
        ..row("AsymmetricLoss", naive::asymmetric)
    },
    Row {
        run: |call| {
            let loss = call.config(PolyLossConfig::new()).init(call.device);
            labelled(call, |logits, labels| losses!(call, loss.forward / forward_no_reduction(logits, labels)))
        },
        labels: Labels::Classes,
        kind: Kind::Logits,
        inputs: LOGITS,
        losses: Losses::PerRow,
        samples: &[Sample::new(r#"{}"#), Sample::new(r#"{"epsilon": -0.5}"#)],
        ..row("PolyLoss", naive::poly)
    },
    Row {
        run: |call| {
            let loss = call.config(GeneralizedCrossEntropyLossConfig::new()).init(call.device);
            labelled(call, |logits, labels| losses!(call, loss.forward / forward_no_reduction(logits, labels)))
        },
        labels: Labels::Classes,
        kind: Kind::Logits,
        inputs: LOGITS,
        losses: Losses::PerRow,
        samples: &[Sample::new(r#"{}"#), Sample::new(r#"{"q": 0.1}"#)],
        ..row("GeneralizedCrossEntropyLoss", naive::generalized_cross_entropy)
    },
    Row {
        run: |call| {
            let loss = call.config(MulticlassHingeLossConfig::new()).init(call.device);
            labelled(call, |logits, labels| losses!(call, loss.forward / forward_no_reduction(logits, labels)))
        },
        labels: Labels::Classes,
        kind: Kind::Logits,
        inputs: LOGITS,
        losses: Losses::PerRow,
        samples: &[
            Sample::new(r#"{}"#),
            Sample::but(
                r#"{"power": "Squared", "margin": 0.5}"#,
                &[(Law::Finite(Hostile::HugeLogits), "the square of such a violation is beyond f32")],
            ),
        ],
        ..row("MulticlassHingeLoss", naive::multiclass_hinge)
    },
    Row {
        run: |call| {
            let loss = call.config(JensenShannonLossConfig::new()).init(call.device);
            let names = ["first", "second", "third"].into_iter().filter(|name| call.has(name));
            let views: Vec<_> = names.map(|name| (name, call.leaf(name))).collect();
            let all = views.iter().map(|(_, view)| view.clone()).collect();
            let losses = losses!(call, loss.forward / forward_no_reduction::<2, 1>(all));
            Run::new(losses, views)
        },
        deviation: "no floor under the mixture",
        kind: Kind::Probabilities,
        inputs: VIEWS,
        losses: Losses::PerRow,
        samples: &[Sample::new(r#"{}"#)],
        ..row("JensenShannonLoss", naive::jensen_shannon)
    },
    Row {
        run: |call| {
            let loss = call.config(KLDivLossConfig::new()).init();
            let (predictions, targets) = (call.leaf("predictions"), call.leaf("targets"));
            let (first, second) = (predictions.clone(), targets.clone());
            let losses = if call.how.reduced {
                loss.forward(first, second, Reduction::Mean)
            } else {
                flat(loss.forward_no_reduction(first, second))
            };
            Run::new(losses, [("predictions", predictions), ("targets", targets)])
        },
        kind: Kind::Probabilities,
        inputs: LOGARITHMS,
        losses: Losses::PerNumber,
        samples: &[Sample::but(
            r#"{}"#,
            &[
                (Law::EmptyBatch, "Burn's mean of nothing is NaN"),
                (Law::HalfPrecision, "Burn computes half precision in half precision"),
            ],
        )],
        ..row("KLDivLoss", naive::kullback_leibler)
    },
];

const fn row(loss: &'static str, naive: fn(&crate::golden::Case) -> Vec<f64>) -> Row {
    Row {
        loss,
        family: "classification",
        kind: Kind::Logits,
        inputs: LOGITS,
        losses: Losses::PerRow,
        samples: &[],
        run: |_| unreachable!("every row has its own"),
        naive,
        steepness: Steepness::Ordinary,
        labels: Labels::None,
        deviation: "",
    }
}

fn labelled(call: &Call<'_>, losses: impl FnOnce(Tensor<2>, Tensor<1, Int>) -> Tensor<1>) -> Run {
    let logits = call.leaf("logits");
    Run::new(losses(logits.clone(), call.labels()), [("logits", logits)])
}

fn targeted(call: &Call<'_>, losses: impl FnOnce(Tensor<2>, Tensor<2>) -> Tensor<1>) -> Run {
    let (logits, targets) = (call.leaf("logits"), call.leaf("targets"));
    Run::new(losses(logits.clone(), targets.clone()), [("logits", logits), ("targets", targets)])
}

/// Targets that take no gradient: libraries differ in theirs.
fn fixed_targets(call: &Call<'_>, losses: impl FnOnce(Tensor<2>, Tensor<2>) -> Tensor<1>) -> Run {
    let logits = call.leaf("logits");
    let targets = call.tensor(&call.case.inputs["targets"]);
    Run::new(losses(logits.clone(), targets), [("logits", logits)])
}
