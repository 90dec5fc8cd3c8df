//! Losses of predictions and targets.

use burn::tensor::Tensor;
use burn_losses::regression::{
    CharbonnierLossConfig, GaussianNLLLossConfig, HuberLossConfig, LogCoshLossConfig, LpLossConfig,
    MeanAbsolutePercentageErrorLossConfig, MeanSquaredLogarithmicErrorLossConfig, MseLoss, PoissonNllLossConfig,
    QuantileLossConfig, SmoothL1LossConfig,
};

use super::{Call, Labels, Row, Run, Steepness};
use crate::naive::regression as naive;

/// The row of a loss whose config has defaults.
macro_rules! pointwise {
    ($loss:literal, $config:expr, $naive:path) => {
        Row {
            run: |call| {
                let loss = call.config($config).init();
                pair(call, |predictions, targets| loss.forward_no_reduction(predictions, targets))
            },
            ..row($loss, $naive)
        }
    };
}

/// One row per loss, also for those of Burn that are re-exported.
pub(super) const ROWS: &[Row] = &[
    Row {
        run: |call| pair(call, |predictions, targets| MseLoss::new().forward_no_reduction(predictions, targets)),
        ..row("MseLoss", naive::squares)
    },
    pointwise!("LpLoss", LpLossConfig::new(1.0), naive::powers),
    pointwise!("HuberLoss", HuberLossConfig::new(1.0), naive::huber),
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
        // The errors of a Gaussian bend over the size of the variance, 0.1 and more.
        steepness: Steepness::Bent(|_| 10.0),
        ..row("GaussianNLLLoss", naive::gaussian)
    },
    pointwise!("LogCoshLoss", LogCoshLossConfig::new(), naive::log_cosh),
    pointwise!("CharbonnierLoss", CharbonnierLossConfig::new(), naive::charbonnier),
    pointwise!("QuantileLoss", QuantileLossConfig::new(), naive::quantile),
    pointwise!(
        "MeanSquaredLogarithmicErrorLoss",
        MeanSquaredLogarithmicErrorLossConfig::new(),
        naive::squared_logarithmic
    ),
    pointwise!("MeanAbsolutePercentageErrorLoss", MeanAbsolutePercentageErrorLossConfig::new(), naive::percentage),
    pointwise!("PoissonNllLoss", PoissonNllLossConfig::new(), naive::poisson),
];

const fn row(loss: &'static str, naive: fn(&crate::golden::Case) -> Vec<f64>) -> Row {
    Row {
        loss,
        family: "regression",
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
