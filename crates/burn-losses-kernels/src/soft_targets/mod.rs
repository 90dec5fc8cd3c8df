//! Cross-entropy and focal loss of a softmax against a probability for every class.
//!
//! As ordinary operations they write a dozen matrices as large as the logits; here they are one pass over logits and targets,
//! and one for each gradient.
//!
//! | file | what |
//! | --- | --- |
//! | `reference.rs` | ordinary tensor operations: the definition of correct, and what servers and LibTorch run |
//! | `backend.rs` | the passes as Burn's backends see them, and their gradient |
//! | `rows.rs` | the passes on the memory of Flex and NdArray |
//! | `cube.rs` | the passes as kernels on GPUs |

#[cfg(any(feature = "cpu-path", feature = "cube"))]
mod backend;
#[cfg(feature = "cube")]
mod cube;
mod reference;
#[cfg(feature = "cpu-path")]
mod rows;

use burn::tensor::{Tensor, assert_shape};

/// What `1 - p` is at least, for a power of it.
const SMALLEST_REST: f64 = 1e-7;

/// What the loss makes of targets and probabilities.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SoftRule {
    /// The share of every target that is spread over all classes; in `[0, 1]`.
    pub smoothing: f64,
    /// How much less a class costs that is sure already; finite and at least 0. 0 is cross-entropy.
    pub gamma: f64,
}

/// The losses of rows with a target for every class.
///
/// ```text
/// p         = softmax(logits[i])
/// share[c]  = (1 - smoothing)·targets[i, c] + smoothing/classes
/// losses[i] = sum over c of weights[c]·share[c]·(1 - p[c])^gamma·-log(p[c])
/// ```
///
/// A class with a logit of minus infinity that weighs nothing costs nothing. `1 - p` is at least `1e-7`. Differentiable in
/// logits and targets.
///
/// # Shapes
///
/// - logits: `[rows, classes]`, in `f32` or `f64`, at least one of each
/// - targets: `[rows, classes]`, in the same type
/// - weights: `[classes]`, constants; 1 for all without them
/// - output: `[rows]`
///
/// # Panics
///
/// If the shapes do not agree, or a number of the rule is out of its range.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use burn_losses_kernels::soft_targets::{SoftRule, soft_losses};
///
/// let device = Device::default();
/// // A softmax of 1/2 and 1/2.
/// let logits = Tensor::<2>::zeros([1, 2], &device);
/// let targets = Tensor::<2>::from_data([[0.25, 0.75]], &device);
/// let rule = SoftRule { smoothing: 0.0, gamma: 1.0 };
/// let loss = soft_losses(logits, targets, None, rule).into_scalar::<f32>();
/// assert!((loss - 0.5 * 2.0_f32.ln()).abs() < 1e-6);
/// ```
pub fn soft_losses(logits: Tensor<2>, targets: Tensor<2>, weights: Option<Tensor<1>>, rule: SoftRule) -> Tensor<1> {
    check(&logits, &targets, weights.as_ref(), rule);
    #[cfg(any(feature = "cpu-path", feature = "cube"))]
    if crate::one_pass::has_passes(&logits.device(), logits.dtype()) {
        return backend::soft_losses(logits, targets, weights, rule);
    }
    reference::soft_losses(logits, targets, weights, rule)
}

/// [`soft_losses`] from ordinary tensor operations: the definition of correct.
pub fn soft_losses_reference(
    logits: Tensor<2>,
    targets: Tensor<2>,
    weights: Option<Tensor<1>>,
    rule: SoftRule,
) -> Tensor<1> {
    check(&logits, &targets, weights.as_ref(), rule);
    reference::soft_losses(logits, targets, weights, rule)
}

fn check(
    logits: &Tensor<2>,
    targets: &Tensor<2>,
    weights: Option<&Tensor<1>>,
    SoftRule { smoothing, gamma }: SoftRule,
) {
    let [rows, classes] = logits.dims();
    assert!(rows >= 1 && classes >= 1, "soft_losses: there must be a row and a class");
    assert!((0.0..=1.0).contains(&smoothing), "soft_losses: smoothing must be in [0, 1], got {smoothing}");
    assert!((0.0..f64::INFINITY).contains(&gamma), "soft_losses: gamma must be finite and at least 0, got {gamma}");
    assert_shape!(targets, [rows, classes]);
    if let Some(weights) = weights {
        assert_shape!(weights, [classes]);
    }
}
