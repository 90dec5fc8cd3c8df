//! The log-odds of the class of every row in a softmax over its logits.
//!
//! Cross-entropy, focal, poly and generalised cross-entropy loss are functions of one number per row, and so is label
//! smoothing of a second one. Both come from one pass over the logits, whose backward pass writes the gradient and nothing
//! else as large as the logits.
//!
//! | file | what |
//! | --- | --- |
//! | `reference.rs` | ordinary tensor operations: the definition of correct, and what servers and LibTorch run |
//! | `backend.rs` | the two passes as Burn's backends see them, and their gradient |
//! | `rows.rs` | the two passes on the memory of Flex and NdArray |
//! | `cube.rs` | the two passes as kernels on GPUs |

#[cfg(any(feature = "cpu-path", feature = "cube"))]
mod backend;
#[cfg(feature = "cube")]
mod cube;
mod reference;
#[cfg(feature = "cpu-path")]
mod rows;

use burn::tensor::{Int, Tensor, assert_shape};

use crate::math::signed;

/// What a softmax says of the class of every row.
#[derive(Clone, Debug)]
pub struct LogOdds {
    /// `log(p / (1 - p))` of the row's class, `[rows]`; 0 for a row without one.
    pub log_odds: Tensor<1>,
    /// The weighted sum of `-log(p)` over all classes, `[rows]`, 0 for a row without a class; nothing without weights.
    pub spread: Option<Tensor<1>>,
}

/// The log-odds of the class of every row, and with weights the weighted sum of the negative log-probabilities of all.
///
/// ```text
/// log_odds[i] = logits[i, labels[i]] - log(sum over j != labels[i] of exp(logits[i, j]))
/// spread[i]   = sum over j of weights[j]·(log(sum over k of exp(logits[i, k])) - logits[i, j])
/// ```
///
/// What stands in a row without a class reaches nothing, not even NaN. With one class the log-odds are hugely positive.
/// Differentiable in the logits.
///
/// # Shapes
///
/// - logits: `[rows, classes]`, in `f32` or `f64`, at least one of each
/// - labels: `[rows]`, in `0..classes`; negative where the row has no class
/// - weights: `[classes]`, not negative
///
/// # Panics
///
/// If the shapes do not agree.
///
/// ```
/// use burn::tensor::{Device, Int, Tensor};
/// use burn_losses_kernels::log_odds::log_odds;
///
/// let device = Device::default();
/// // A softmax of 1/4 and 3/4.
/// let logits = Tensor::<2>::from_data([[0.0, 3.0_f64.ln()]], &device);
/// let labels = Tensor::<1, Int>::from_data([1], &device);
/// let log_odds = log_odds(logits, labels, None).log_odds.into_scalar::<f64>();
/// assert!((log_odds - 3.0_f64.ln()).abs() < 1e-6);
/// ```
pub fn log_odds(logits: Tensor<2>, labels: Tensor<1, Int>, weights: Option<Tensor<1>>) -> LogOdds {
    check(&logits, &labels, weights.as_ref());
    #[cfg(any(feature = "cpu-path", feature = "cube"))]
    if crate::one_pass::has_passes(&logits.device(), logits.dtype()) {
        return backend::log_odds(logits, signed(labels), weights);
    }
    reference::log_odds(logits, signed(labels), weights)
}

/// [`log_odds`] from ordinary tensor operations: the definition of correct.
pub fn log_odds_reference(logits: Tensor<2>, labels: Tensor<1, Int>, weights: Option<Tensor<1>>) -> LogOdds {
    check(&logits, &labels, weights.as_ref());
    reference::log_odds(logits, signed(labels), weights)
}

fn check(logits: &Tensor<2>, labels: &Tensor<1, Int>, weights: Option<&Tensor<1>>) {
    let [rows, classes] = logits.dims();
    assert!(rows >= 1 && classes >= 1, "log_odds: there must be a row and a class");
    assert_shape!(labels, [rows]);
    if let Some(weights) = weights {
        assert_shape!(weights, [classes]);
    }
}
