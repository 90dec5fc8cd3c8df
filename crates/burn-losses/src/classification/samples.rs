//! Logits with the class of every sample, safe to compute with.

use alloc::vec::Vec;

use burn::nn::loss::Reduction;
use burn::tensor::{Bool, DType, Int, Tensor};
use burn_losses_kernels::log_odds::{LogOdds, log_odds};
use burn_losses_kernels::math::{cast_to, widen};
use burn_losses_kernels::soft_targets::{SoftRule, soft_losses};

use super::class_weights::{ClassWeights, class_axis};
use crate::labels::{ClassLabels, SafeLabels, silence};
use crate::reduction::{Divisor, reduce};
use crate::shape::check_shape;
use crate::targets::check_range;

/// A batch of logits with classes, one row per label.
pub(super) struct Samples {
    /// The logits in a precision fit for sums, `[rows, classes]`; anything in rows without a class.
    pub(super) logits: Tensor<2>,
    /// The class, `[rows]`; 0 in rows without one.
    pub(super) index: Tensor<1, Int>,
    /// Whether the row has a class, `[rows]`.
    pub(super) valid: Tensor<1, Bool>,
    batch: usize,
    dtype: DType,
}

impl Samples {
    /// # Panics
    ///
    /// If there is not one label per row, or by the policy for labels.
    #[track_caller]
    pub(super) fn new<const D: usize, const L: usize>(
        checked: &ClassLabels,
        class_dim: isize,
        logits: Tensor<D>,
        labels: Tensor<L, Int>,
    ) -> Self {
        const { assert!(D == L + 1, "labels must have one axis less than logits: that of the classes") }
        let axis = class_axis::<D>(checked.loss(), class_dim);
        let shape = logits.dims();
        let classes = shape[axis];
        check_shape(checked.loss(), "labels", labels.dims(), without(axis, shape));
        let rows = labels.shape().num_elements();
        let SafeLabels { index, valid } = checked.check(labels.reshape([rows]), classes);
        let (batch, dtype) = (shape[0], logits.dtype());
        let logits = by_row(logits, axis);
        let logits = if rows == 0 || classes == 0 { logits } else { widen(logits) };

        Self { logits, index, valid, batch, dtype }
    }

    /// The losses as the caller gets them, one per label: `losses` of this, 0 in rows without a class.
    pub(super) fn each<const L: usize>(self, shape: [usize; L], losses: impl FnOnce(&Self) -> Tensor<1>) -> Tensor<L> {
        let dtype = self.dtype;
        cast_to(self.losses(losses), dtype).reshape(shape)
    }

    /// The losses as one number; a mean is over the rows that have a class.
    pub(super) fn reduced(self, reduction: Reduction, losses: impl FnOnce(&Self) -> Tensor<1>) -> Tensor<1> {
        let divisor = Divisor::Valid(self.valid.clone());
        self.reduced_by(reduction, divisor, losses)
    }

    /// The losses as one number, with a mean of their own.
    pub(super) fn reduced_by(
        self,
        reduction: Reduction,
        divisor: Divisor,
        losses: impl FnOnce(&Self) -> Tensor<1>,
    ) -> Tensor<1> {
        let (batch, dtype) = (self.batch, self.dtype);
        cast_to(reduce(reduction, self.losses(losses), batch, divisor), dtype)
    }

    fn losses(self, losses: impl FnOnce(&Self) -> Tensor<1>) -> Tensor<1> {
        let [rows, classes] = self.logits.dims();
        if rows == 0 {
            return self.logits.reshape([0]);
        }
        if classes == 0 {
            // Connected, so that a backward finds the gradient of nothing.
            return Tensor::zeros([rows], (&self.logits.device(), self.logits.dtype())) + self.logits.sum();
        }
        losses(&self).mask_fill(self.valid.bool_not(), 0.0)
    }

    /// The log-odds of the class of every row, `[rows]`, and with weights of `[classes]` the weighted sum of `-log(p)`.
    pub(super) fn log_odds(&self, weights: Option<Tensor<1>>) -> LogOdds {
        let labels = self.index.clone().mask_fill(self.valid.clone().bool_not(), -1);
        log_odds(self.logits.clone(), labels, weights)
    }

    /// The logits with 0 in rows without a class.
    pub(super) fn known_logits(&self) -> Tensor<2> {
        silence(self.logits.clone(), self.valid.clone())
    }

    /// The number of every row's class in `[rows, classes]` numbers.
    pub(super) fn at_target(&self, numbers: Tensor<2>) -> Tensor<1> {
        numbers.gather(1, self.index.clone().unsqueeze_dim::<2>(1)).squeeze_dim(1)
    }

    /// The weights of the classes of the rows, from those of all classes; 0 for rows without one.
    pub(super) fn weight_of_target(&self, weights: Tensor<1>) -> Tensor<1> {
        weights.select(0, self.index.clone()).mask_fill(self.valid.clone().bool_not(), 0.0)
    }

    /// Where a class is that of the row, `[rows, classes]`.
    pub(super) fn is_target(&self) -> Tensor<2, Bool> {
        let [rows, classes] = self.logits.dims();
        let all = Tensor::<1, Int>::arange(0..classes as i64, (&self.index.device(), self.index.dtype()));
        let index = self.index.clone().unsqueeze_dim::<2>(1).expand([rows, classes]);

        all.unsqueeze_dim::<2>(0).expand([rows, classes]).equal(index)
    }
}

/// A batch of logits with a probability for every class, one row per sample.
pub(super) struct SoftSamples {
    /// In a precision fit for sums, `[rows, classes]`.
    pub(super) logits: Tensor<2>,
    /// In the same, `[rows, classes]`.
    pub(super) probabilities: Tensor<2>,
    batch: usize,
    dtype: DType,
}

impl SoftSamples {
    /// # Panics
    ///
    /// If the shapes differ, or a probability in host memory is not in `[0, 1]`.
    #[track_caller]
    pub(super) fn new<const D: usize>(
        loss: &str,
        class_dim: isize,
        logits: Tensor<D>,
        probabilities: Tensor<D>,
    ) -> Self {
        let axis = class_axis::<D>(loss, class_dim);
        let shape = logits.dims();
        check_shape(loss, "probabilities", probabilities.dims(), shape);
        check_range(loss, "probabilities", &probabilities, [0.0, 1.0], None);
        let dtype = logits.dtype();
        let logits = widen(by_row(logits, axis));
        let probabilities = cast_to(by_row(probabilities, axis), logits.dtype());

        Self { logits, probabilities, batch: shape[0], dtype }
    }

    /// The losses as the caller gets them, one per sample.
    pub(super) fn each<const D: usize, const L: usize>(
        self,
        class_dim: isize,
        shape: [usize; D],
        weights: Option<&ClassWeights>,
        rule: SoftRule,
    ) -> Tensor<L> {
        const { assert!(D == L + 1, "losses have one axis less than logits: that of the classes") }
        let dtype = self.dtype;
        let shape = without(class_axis::<D>("", class_dim), shape);
        let shape: [usize; L] = shape.try_into().expect("one axis less");
        cast_to(self.losses(weights, rule), dtype).reshape(shape)
    }

    /// The losses as one number; a mean is over the samples.
    pub(super) fn reduced(self, reduction: Reduction, weights: Option<&ClassWeights>, rule: SoftRule) -> Tensor<1> {
        let (batch, dtype) = (self.batch, self.dtype);
        cast_to(reduce(reduction, self.losses(weights, rule), batch, Divisor::Count), dtype)
    }

    fn losses(self, weights: Option<&ClassWeights>, rule: SoftRule) -> Tensor<1> {
        let Self { logits, probabilities, .. } = self;
        let [rows, classes] = logits.dims();
        if rows == 0 || classes == 0 {
            let nothing = Tensor::zeros([rows], (&logits.device(), logits.dtype()));
            return nothing + logits.sum() + probabilities.sum();
        }
        let weights = weights.map(|weights| weights.of_classes(&logits));
        soft_losses(logits, probabilities, weights, rule)
    }
}

/// `[rows, classes]`: the axis of the classes last, all others in one.
pub(super) fn by_row<const D: usize>(logits: Tensor<D>, axis: usize) -> Tensor<2> {
    let classes = logits.dims()[axis];
    let rows = without(axis, logits.dims()).iter().product();
    let logits = if axis + 1 == D { logits } else { logits.movedim(axis, D - 1) };
    logits.reshape([rows, classes])
}

/// A shape without one of its axes.
pub(super) fn without<const D: usize>(axis: usize, shape: [usize; D]) -> Vec<usize> {
    let others = shape.into_iter().enumerate().filter(|&(other, _)| other != axis);
    others.map(|(_, length)| length).collect()
}
