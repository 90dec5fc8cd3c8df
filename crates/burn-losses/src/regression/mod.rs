//! Losses of predictions and targets: numbers that should equal numbers.
//!
//! | loss | formula, with `error = prediction - target` | from |
//! | --- | --- | --- |
//! | [`MseLoss`] | `error²`; the squared L2 norm with `Sum` | Burn |
//! | [`LpLoss`] | `abs(error)^p`; `p = 1` is MAE with `Mean`, L1 with `Sum` | Burn |
//! | [`HuberLoss`] | `error²/2` up to `delta`, then `delta·(abs(error) - delta/2)` | Burn |
//! | [`SmoothL1Loss`] | Huber with `delta = beta`, divided by `beta` | Burn |
//! | [`GaussianNLLLoss`] | `(log(variance) + error² / variance) / 2` | Burn |
//! | [`LogCoshLoss`] | `log(cosh(error))` | here |
//! | [`CharbonnierLoss`] | `sqrt(error² + epsilon²)` | here |
//! | [`QuantileLoss`] | `quantile·(-error)` below the target, `(1 - quantile)·error` above | here |
//! | [`MeanSquaredLogarithmicErrorLoss`] | `(log(1 + prediction) - log(1 + target))²` | here |
//! | [`MeanAbsolutePercentageErrorLoss`] | `100·abs(error / target)` | here |
//! | [`PoissonNllLoss`] | `exp(prediction) - target·prediction` | here |
//!
//! Every `forward(predictions, targets, reduction)` takes Burn's [`Reduction`]. With the losses that are from here `Mean` and
//! `Auto` divide the sum by the number of losses, `BatchMean` by the length of the first axis, and nothing at all is 0.
//!
//! # Burn's own losses
//!
//! They are re-exported, not written again, and tested here against PyTorch as ours are. What to know of them:
//!
//! - `BatchMean` panics, and the mean of an empty batch is NaN.
//! - They compute `f16` and `bf16` in `f16` and `bf16`. Cast to `f32` first.
//! - A prediction and a target of different shapes broadcast without a word.
//! - [`MseLoss`], [`GaussianNLLLoss`]: an error beyond `1e19` has an infinite square in `f32`; use [`HuberLoss`].
//! - [`LpLoss`]: `p` has no default. With `0 < p < 1` the gradient at error 0 is infinite or NaN; with `p` other than 1 and 2 the
//!   exponent is rounded to `f32`. Gradient 0 at error 0 for `p = 1`. Its value is not a norm: no root is taken.
//! - [`HuberLoss`]: `delta` has no default (PyTorch: 1). With `delta = 0` the loss is 0 everywhere.
//! - [`SmoothL1Loss`]: `beta` 1. Its `forward` does not reduce; `forward_with_reduction` does. An `f64` gradient is
//!   divided by `beta` in `f32`.
//! - [`GaussianNLLLoss`]: `eps` 1e-6, `full` false. Takes variances, not deviations or their logarithms. A variance below
//!   `eps` counts as `eps` and has gradient 0 (PyTorch lets the gradient through); negative ones are not noticed.
//!
//! Not re-exported: `PoissonNllLoss`, whose forward reads its targets back from the device; [`PoissonNllLoss`] does not.

mod charbonnier;
mod elementwise;
mod log_cosh;
mod percentage;
mod poisson;
mod quantile;
mod squared_logarithmic;

use crate::module::{default_is_new, one_line};

pub use burn::nn::loss::{
    GaussianNLLLoss, GaussianNLLLossConfig, HuberLoss, HuberLossConfig, LpLoss, LpLossConfig, MseLoss, Reduction,
    SmoothL1Loss, SmoothL1LossConfig,
};
pub use charbonnier::{CharbonnierLoss, CharbonnierLossConfig};
pub use log_cosh::{LogCoshLoss, LogCoshLossConfig};
pub use percentage::{MeanAbsolutePercentageErrorLoss, MeanAbsolutePercentageErrorLossConfig};
pub use poisson::{PoissonInput, PoissonNllLoss, PoissonNllLossConfig, TargetTerm};
pub use quantile::{QuantileLoss, QuantileLossConfig};
pub use squared_logarithmic::{MeanSquaredLogarithmicErrorLoss, MeanSquaredLogarithmicErrorLossConfig};

default_is_new!(
    CharbonnierLossConfig,
    LogCoshLossConfig,
    MeanAbsolutePercentageErrorLossConfig,
    MeanSquaredLogarithmicErrorLossConfig,
    PoissonNllLossConfig,
    QuantileLossConfig,
);
one_line!(
    CharbonnierLoss,
    LogCoshLoss,
    MeanAbsolutePercentageErrorLoss,
    MeanSquaredLogarithmicErrorLoss,
    PoissonNllLoss,
    QuantileLoss,
);
