//! Losses of predictions and targets.

use burn::tensor::Tensor;
use burn_losses::regression::{
    CharbonnierLossConfig, GaussianNLLLossConfig, HuberLossConfig, LogCoshLossConfig, LpLossConfig,
    MeanAbsolutePercentageErrorLossConfig, MeanSquaredLogarithmicErrorLossConfig, MseLoss, PoissonNllLossConfig,
    QuantileLossConfig, SmoothL1LossConfig,
};

use super::{Call, DEFAULTS, Input, Kind, Labels, Losses, Row, Run, Sample, Steepness, Values};
use crate::naive::regression as naive;

/// The row of a loss; those of Burn are made without a device.
macro_rules! pointwise {
    ($loss:literal, $config:expr, $inputs:expr, $samples:expr, $naive:path $(, $device:ident)?) => {
        Row {
            inputs: $inputs,
            samples: $samples,
            run: |call| {
                let loss = call.config($config).init($(call.$device)?);
                pair(call, |predictions, targets| loss.forward_no_reduction(predictions, targets))
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

/// One row per loss, also for those of Burn that are re-exported.
pub(super) const ROWS: &[Row] = &[
    Row {
        run: |call| pair(call, |predictions, targets| MseLoss::new().forward_no_reduction(predictions, targets)),
        ..row("MseLoss", naive::squares)
    },
    pointwise!(
        "LpLoss",
        LpLossConfig::new(1.0),
        NUMBERS,
        &[Sample::new(r#"{"p": 1.0}"#), Sample::new(r#"{"p": 1.5}"#)],
        naive::powers
    ),
    pointwise!(
        "HuberLoss",
        HuberLossConfig::new(1.0),
        NUMBERS,
        &[Sample::new(r#"{}"#), Sample::new(r#"{"delta": 0.5}"#)],
        naive::huber
    ),
    Row {
        run: |call| {
            let loss = call.config(SmoothL1LossConfig::new()).init();
            pair(call, |predictions, targets| loss.forward(predictions, targets))
        },
        ..row("SmoothL1Loss", naive::smooth_l1)
    },
    Row {
        run: |call| {
            let loss = call.config(GaussianNLLLossConfig::new()).init();
            let [predictions, targets, variances] = ["predictions", "targets", "variances"].map(|name| call.leaf(name));
            let losses = loss.forward_no_reduction(predictions.clone(), targets.clone(), variances.clone());
            Run::new(losses, [("predictions", predictions), ("targets", targets), ("variances", variances)])
        },
        inputs: VARIANCES,
        samples: &[Sample::new("{}"), Sample::new(r#"{"full": true, "eps": 1e-3}"#)],
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
        &[Sample::new(r#"{}"#), Sample::new(r#"{"target_term": "Stirling"}"#)],
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

fn pair(call: &Call<'_>, losses: impl FnOnce(Tensor<2>, Tensor<2>) -> Tensor<2>) -> Run {
    let (predictions, targets) = (call.leaf("predictions"), call.leaf("targets"));
    Run::new(losses(predictions.clone(), targets.clone()), [("predictions", predictions), ("targets", targets)])
}
