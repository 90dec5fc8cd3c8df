//! Losses of predictions and targets.

use burn::tensor::Tensor;
use burn_losses::regression::{
    CharbonnierLossConfig, GaussianNLLLossConfig, HuberLossConfig, LogCoshLossConfig, LpLossConfig,
    MeanAbsolutePercentageErrorLossConfig, MeanSquaredLogarithmicErrorLossConfig, MseLoss, PoissonNllLossConfig,
    QuantileLossConfig, Reduction, SmoothL1LossConfig,
};

use super::{Call, DEFAULTS, Hostile, Input, Kind, Labels, Law, Losses, Row, Run, Sample, Steepness, Values, flat};
use crate::naive::regression as naive;

/// The row of a loss; those of Burn are made without a device.
macro_rules! pointwise {
    ($loss:literal, $config:expr, $inputs:expr, $samples:expr, $naive:path $(, $device:ident)?) => {
        Row {
            inputs: $inputs,
            samples: $samples,
            run: |call| {
                let loss = call.config($config).init($(call.$device)?);
                pair(call, |predictions, targets| {
                    if call.how.reduced {
                        loss.forward(predictions, targets, Reduction::Mean)
                    } else {
                        flat(loss.forward_no_reduction(predictions, targets))
                    }
                })
            },
            ..row($loss, $naive)
        }
    };
}

const NUMBERS: &[Input] = &[Input::rows("predictions"), Input::rows("targets")];
const POSITIVE: &[Input] =
    &[Input::rows("predictions").holding(Values::Positive), Input::rows("targets").holding(Values::Positive)];
const COUNTS: &[Input] = &[Input::rows("predictions"), Input::rows("targets").holding(Values::Count)];
const VARIANCES: &[Input] =
    &[Input::rows("predictions"), Input::rows("targets"), Input::rows("variances").holding(Values::Positive)];

const OF_BURN: &[(Law, &str)] = &[
    (Law::EmptyBatch, "Burn's mean of nothing is NaN"),
    (Law::HalfPrecision, "Burn computes half precision in half precision"),
];
const SQUARES_OF_BURN: &[(Law, &str)] = &[
    (Law::EmptyBatch, "Burn's mean of nothing is NaN"),
    (Law::HalfPrecision, "Burn computes half precision in half precision"),
    (Law::Finite(Hostile::HugeErrors), "the square of such an error is beyond f32"),
];
const EXPONENTIAL: &[(Law, &str)] = &[(Law::Finite(Hostile::HugeErrors), "a rate of exp(1e10) is beyond every float")];

/// One row per loss, also for those of Burn that are re-exported.
pub(super) const ROWS: &[Row] = &[
    Row {
        run: |call| {
            pair(call, |predictions, targets| {
                if call.how.reduced {
                    MseLoss::new().forward(predictions, targets, Reduction::Mean)
                } else {
                    flat(MseLoss::new().forward_no_reduction(predictions, targets))
                }
            })
        },
        samples: &[Sample::but("{}", SQUARES_OF_BURN)],
        ..row("MseLoss", naive::squares)
    },
    pointwise!(
        "LpLoss",
        LpLossConfig::new(1.0),
        NUMBERS,
        &[
            Sample::but(r#"{"p": 1.0}"#, &[(Law::EmptyBatch, "Burn's mean of nothing is NaN")]),
            Sample::but(
                r#"{"p": 1.5}"#,
                &[
                    (Law::EmptyBatch, "Burn's mean of nothing is NaN"),
                    (Law::Finite(Hostile::HugeErrors), "such a power of such an error is beyond f32"),
                ]
            )
        ],
        naive::powers
    ),
    pointwise!(
        "HuberLoss",
        HuberLossConfig::new(1.0),
        NUMBERS,
        &[
            Sample::but(r#"{}"#, OF_BURN),
            Sample::but(r#"{"delta": 0.5}"#, &[(Law::EmptyBatch, "Burn's mean of nothing is NaN")])
        ],
        naive::huber
    ),
    Row {
        run: |call| {
            let loss = call.config(SmoothL1LossConfig::new()).init();
            pair(call, |predictions, targets| {
                if call.how.reduced {
                    loss.forward_with_reduction(predictions, targets, Reduction::Mean)
                } else {
                    flat(loss.forward(predictions, targets))
                }
            })
        },
        samples: &[Sample::but("{}", OF_BURN)],
        ..row("SmoothL1Loss", naive::smooth_l1)
    },
    Row {
        run: |call| {
            let loss = call.config(GaussianNLLLossConfig::new()).init();
            let [predictions, targets, variances] = ["predictions", "targets", "variances"].map(|name| call.leaf(name));
            let (first, second, third) = (predictions.clone(), targets.clone(), variances.clone());
            let losses = if call.how.reduced {
                loss.forward(first, second, third, Reduction::Mean)
            } else {
                flat(loss.forward_no_reduction(first, second, third))
            };
            Run::new(losses, [("predictions", predictions), ("targets", targets), ("variances", variances)])
        },
        inputs: VARIANCES,
        samples: &[Sample::but("{}", SQUARES_OF_BURN), Sample::but(r#"{"full": true, "eps": 1e-3}"#, SQUARES_OF_BURN)],
        // The errors of a Gaussian bend over the size of the variance, 0.1 and more.
        steepness: Steepness::Bent(|_| 10.0),
        ..row("GaussianNLLLoss", naive::gaussian)
    },
    pointwise!("LogCoshLoss", LogCoshLossConfig::new(), NUMBERS, &[Sample::new(r#"{}"#)], naive::log_cosh, device),
    pointwise!(
        "CharbonnierLoss",
        CharbonnierLossConfig::new(),
        NUMBERS,
        &[Sample::new(r#"{}"#), Sample::new(r#"{"epsilon": 0.5}"#)],
        naive::charbonnier,
        device
    ),
    pointwise!(
        "QuantileLoss",
        QuantileLossConfig::new(),
        NUMBERS,
        &[Sample::new(r#"{"quantile": 0.9}"#)],
        naive::quantile,
        device
    ),
    pointwise!(
        "MeanSquaredLogarithmicErrorLoss",
        MeanSquaredLogarithmicErrorLossConfig::new(),
        POSITIVE,
        &[Sample::new(r#"{}"#)],
        naive::squared_logarithmic,
        device
    ),
    pointwise!(
        "MeanAbsolutePercentageErrorLoss",
        MeanAbsolutePercentageErrorLossConfig::new(),
        POSITIVE,
        &[Sample::new(r#"{}"#), Sample::new(r#"{"epsilon": 1e-3}"#)],
        naive::percentage,
        device
    ),
    pointwise!(
        "PoissonNllLoss",
        PoissonNllLossConfig::new(),
        COUNTS,
        &[Sample::but(r#"{}"#, EXPONENTIAL), Sample::but(r#"{"target_term": "Stirling"}"#, EXPONENTIAL)],
        naive::poisson,
        device
    ),
];

const fn row(loss: &'static str, naive: fn(&crate::golden::Case) -> Vec<f64>) -> Row {
    Row {
        loss,
        family: "regression",
        kind: Kind::Numbers,
        inputs: NUMBERS,
        losses: Losses::PerNumber,
        samples: DEFAULTS,
        run: |_| unreachable!("every row has its own"),
        naive,
        steepness: Steepness::Ordinary,
        labels: Labels::None,
        deviation: "",
    }
}

fn pair(call: &Call<'_>, losses: impl FnOnce(Tensor<2>, Tensor<2>) -> Tensor<1>) -> Run {
    let (predictions, targets) = (call.leaf("predictions"), call.leaf("targets"));
    Run::new(losses(predictions.clone(), targets.clone()), [("predictions", predictions), ("targets", targets)])
}
