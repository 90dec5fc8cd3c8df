//! Logits with a target each, for losses of a yes or no.

use burn::nn::loss::Reduction;
use burn::tensor::{Bool, DType, Tensor};
use burn_losses_kernels::math::{cast_to, widen};

use crate::reduction::{Divisor, reduce};
use crate::shape::check_shape;
use crate::targets::check_range;

/// Logits and targets of one shape, in a precision fit for sums.
pub(super) struct Elements<const D: usize> {
    /// 0 where the target is ignored.
    pub(super) logits: Tensor<D>,
    /// 0 where the target is ignored.
    pub(super) targets: Tensor<D>,
    ignored: Option<Tensor<D, Bool>>,
    dtype: DType,
}

impl<const D: usize> Elements<D> {
    /// # Panics
    ///
    /// If the shapes differ, or a target in host memory is neither in `[0, 1]` nor ignored.
    #[track_caller]
    pub(super) fn new(loss: &str, ignore_target: Option<f64>, logits: Tensor<D>, targets: Tensor<D>) -> Self {
        check_shape(loss, "targets", targets.dims(), logits.dims());
        check_range(loss, "targets", &targets, [0.0, 1.0], ignore_target);
        let dtype = logits.dtype();
        let logits = widen(logits);
        let targets = cast_to(targets, logits.dtype());
        let Some(ignore_target) = ignore_target.filter(|_| logits.shape().num_elements() > 0) else {
            return Self { logits, targets, ignored: None, dtype };
        };
        let ignored = targets.clone().equal_scalar(ignore_target);

        Self {
            logits: logits.mask_fill(ignored.clone(), 0.0),
            targets: targets.mask_fill(ignored.clone(), 0.0),
            ignored: Some(ignored),
            dtype,
        }
    }

    /// The losses as the caller gets them: `losses` of this, 0 where the target is ignored.
    pub(super) fn each(self, losses: impl FnOnce(Self) -> Tensor<D>) -> Tensor<D> {
        let dtype = self.dtype;
        cast_to(self.losses(losses).0, dtype)
    }

    /// The losses as one number; a mean is over the targets that are not ignored.
    pub(super) fn reduced(self, reduction: Reduction, losses: impl FnOnce(Self) -> Tensor<D>) -> Tensor<1> {
        let (dtype, batch) = (self.dtype, self.logits.dims()[0]);
        let (losses, ignored) = self.losses(losses);
        let count = losses.shape().num_elements();
        let divisor = ignored.map_or(Divisor::Count, |ignored| Divisor::Valid(ignored.bool_not().reshape([count])));
        cast_to(reduce(reduction, losses, batch, divisor), dtype)
    }

    fn losses(self, losses: impl FnOnce(Self) -> Tensor<D>) -> (Tensor<D>, Option<Tensor<D, Bool>>) {
        let ignored = self.ignored.clone();
        if self.logits.shape().num_elements() == 0 {
            // Of both, so that a backward finds the gradient of either.
            return (self.logits + self.targets, ignored);
        }
        let losses = losses(self);
        match ignored {
            None => (losses, None),
            Some(ignored) => (losses.mask_fill(ignored.clone(), 0.0), Some(ignored)),
        }
    }
}

/// # Panics
///
/// If the ignored target is a probability, or no number.
#[track_caller]
pub(super) fn check_ignored(loss: &str, ignore_target: Option<f64>) {
    let Some(target) = ignore_target else { return };
    let is_apart = target.is_finite() && !(-0.01..=1.01).contains(&target);
    assert!(is_apart, "{loss}: ignore_target must be finite and outside [0, 1], got {target}");
}
