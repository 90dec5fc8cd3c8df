//! One number per class, given by the user.

use alloc::vec::Vec;

use burn::tensor::{Tensor, TensorData};

/// # Panics
///
/// If a weight is not in `[0, largest]`, or there is none.
pub(super) fn check_weights(loss: &str, field: &str, weights: Option<&Vec<f64>>, largest: f64) {
    let Some(weights) = weights else { return };
    assert!(!weights.is_empty(), "{loss}: {field} must have a number per class, got none");
    for weight in weights {
        assert!((0.0..=largest).contains(weight), "{loss}: {field} must be in [0, {largest:?}], got {weight}");
    }
}

/// The weights as a row of `[1, classes]` that fits `logits`.
///
/// # Panics
///
/// If there is not one per class.
pub(super) fn weight_row(loss: &str, field: &str, weights: &[f64], logits: &Tensor<2>) -> Tensor<2> {
    let [_, classes] = logits.dims();
    assert!(weights.len() == classes, "{loss}: {field} has {} numbers for {classes} classes", weights.len());
    Tensor::from_data(TensorData::new(weights.to_vec(), [1, classes]), (&logits.device(), logits.dtype()))
}
