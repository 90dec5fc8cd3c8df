//! Losses of predictions and targets, number by number.

use std::f64::consts::PI;

use crate::golden::Case;

fn each(case: &Case, loss: impl Fn(f64, f64) -> f64) -> Vec<f64> {
    let pairs = case.inputs["predictions"].data.iter().zip(&case.inputs["targets"].data);
    pairs.map(|(&prediction, &target)| loss(prediction, target)).collect()
}

/// Squared error.
pub fn squares(case: &Case) -> Vec<f64> {
    each(case, |prediction, target| (prediction - target).powi(2))
}

/// A power of the absolute error.
pub fn powers(case: &Case) -> Vec<f64> {
    each(case, |prediction, target| (prediction - target).abs().powf(case.number("p")))
}

/// Huber.
pub fn huber(case: &Case) -> Vec<f64> {
    let delta = case.number("delta");
    each(case, |prediction, target| match (prediction - target).abs() {
        error if error <= delta => error * error / 2.0,
        error => delta * (error - delta / 2.0),
    })
}

/// Smooth L1.
pub fn smooth_l1(case: &Case) -> Vec<f64> {
    let beta = case.number("beta");
    each(case, |prediction, target| match (prediction - target).abs() {
        error if error < beta => error * error / (2.0 * beta),
        error => error - beta / 2.0,
    })
}

/// Gaussian negative log-likelihood.
pub fn gaussian(case: &Case) -> Vec<f64> {
    let constant = if case.settings["full"] == true { (2.0 * PI).ln() } else { 0.0 };
    let variances = case.inputs["variances"].data.iter().map(|variance| variance.max(case.number("eps")));
    let squares = squares(case).into_iter().zip(variances);
    squares.map(|(square, variance)| (variance.ln() + square / variance + constant) / 2.0).collect()
}

/// Log-cosh.
pub fn log_cosh(case: &Case) -> Vec<f64> {
    each(case, |prediction, target| (prediction - target).cosh().ln())
}

/// CharbonnierLoss.
pub fn charbonnier(case: &Case) -> Vec<f64> {
    each(case, |prediction, target| ((prediction - target).powi(2) + case.number("epsilon").powi(2)).sqrt())
}

/// Pinball.
pub fn quantile(case: &Case) -> Vec<f64> {
    let quantile = case.number("quantile");
    each(case, |prediction, target| {
        if target > prediction { quantile * (target - prediction) } else { (1.0 - quantile) * (prediction - target) }
    })
}

/// Squared logarithmic error.
pub fn squared_logarithmic(case: &Case) -> Vec<f64> {
    each(case, |prediction, target| ((1.0 + prediction).ln() - (1.0 + target).ln()).powi(2))
}

/// Absolute percentage error.
pub fn percentage(case: &Case) -> Vec<f64> {
    each(case, |prediction, target| 100.0 * ((prediction - target) / target).abs())
}

/// Poisson negative log-likelihood.
pub fn poisson(case: &Case) -> Vec<f64> {
    each(case, |prediction, target| {
        let loss = match case.word("input", "LogRate") {
            "LogRate" => prediction.exp() - target * prediction,
            _ => prediction - target * (prediction + case.number("epsilon")).ln(),
        };
        let stirling = case.word("target_term", "Omitted") == "Stirling" && target > 1.0;
        loss + if stirling { target * target.ln() - target + 0.5 * (2.0 * PI * target).ln() } else { 0.0 }
    })
}
