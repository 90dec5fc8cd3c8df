//! Logits with a target each, for losses of a yes or no.

use burn::nn::loss::Reduction;
use burn::tensor::{Bool, DType, Tensor};
use burn_losses_kernels::elements::{Element, elements, sum_of_elements};
use burn_losses_kernels::math::{cast_to, widen};

use crate::reduction::{Divisor, reduce, reduce_sum};
use crate::shape::check_shape;
use crate::targets::check_range;

/// Logits and targets of one shape, in a precision fit for sums.
pub(super) struct Elements<const D: usize> {
    /// 0 where the target is ignored.
    pub(super) logits: Tensor<D>,
    /// 0 where the target is ignored.
    targets: Tensor<D>,
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
        // In the precision that they come in, to which the setting is rounded as they are.
        let ignored = ignore_target
            .filter(|_| logits.shape().num_elements() > 0)
            .map(|ignore_target| targets.clone().equal_scalar(ignore_target));
        let targets = cast_to(targets, logits.dtype());
        let Some(ignored) = ignored else {
            return Self { logits, targets, ignored: None, dtype };
        };

        Self {
            logits: logits.mask_fill(ignored.clone(), 0.0),
            targets: targets.mask_fill(ignored.clone(), 0.0),
            ignored: Some(ignored),
            dtype,
        }
    }

    /// The losses as the caller gets them, 0 where the target is ignored.
    pub(super) fn each(self, answers: Answers, weights: Weights<D>) -> Tensor<D> {
        let (dtype, ignored) = (self.dtype, self.ignored.clone());
        let losses = self.losses(answers, weights);
        let losses = match ignored {
            Some(ignored) => losses.mask_fill(ignored, 0.0),
            None => losses,
        };
        cast_to(losses, dtype)
    }

    /// The losses as one number; a mean is over the targets that are not ignored.
    pub(super) fn reduced(self, reduction: Reduction, answers: Answers, weights: Weights<D>) -> Tensor<1> {
        let (shape, dtype, ignored) = (self.logits.dims(), self.dtype, self.ignored.clone());
        let count = shape.iter().product::<usize>();
        if let (Weights::Same(weights), None, true) = (&weights, &ignored, count > 0) {
            let sum = sum_of_elements(self.logits, self.targets, answers.element(*weights));
            return cast_to(reduce_sum(reduction, sum, count, shape[0]), dtype);
        }
        let losses = Self { dtype: self.logits.dtype(), ..self }.each(answers, weights);
        let divisor = ignored.map_or(Divisor::Count, |ignored| Divisor::Valid(ignored.bool_not().reshape([count])));
        cast_to(reduce(reduction, losses, shape[0], divisor), dtype)
    }

    fn losses(self, answers: Answers, weights: Weights<D>) -> Tensor<D> {
        let Self { logits, targets, .. } = self;
        if logits.shape().num_elements() == 0 {
            // Of both, so that a backward finds the gradient of either.
            return logits + targets;
        }
        match weights {
            Weights::Same(weights) => elements(logits, targets, answers.element(weights)),
            Weights::Each { present, absent } => {
                let yes = elements(logits.clone(), targets.clone(), answers.element([1.0, 0.0])) * present;
                let no = elements(logits, targets, answers.element([0.0, 1.0]));
                yes + absent.map_or(no.clone(), |absent| no * absent)
            }
        }
    }
}

/// How a loss of yes and no focuses on those that are not sure.
#[derive(Clone, Copy)]
pub(super) struct Answers {
    pub(super) gamma_present: f64,
    pub(super) gamma_absent: f64,
    pub(super) clip: f64,
}

impl Answers {
    fn element(self, [present, absent]: [f64; 2]) -> Element {
        let Self { gamma_present, gamma_absent, clip } = self;
        Element::Answer { present, absent, gamma_present, gamma_absent, clip }
    }
}

/// What a yes and a no weigh.
#[allow(clippy::large_enum_variant, reason = "made once in a forward; how large, the backends decide")]
pub(super) enum Weights<const D: usize> {
    /// The same everywhere.
    Same([f64; 2]),
    /// Numbers that spread over the logits; without one, a no weighs 1.
    Each { present: Tensor<D>, absent: Option<Tensor<D>> },
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
