//! Logits with the class of every row, safe to compute with.

use burn::tensor::{Bool, DType, Int, Tensor, assert_shape};
use burn_losses_kernels::math::{cast_to, widen};

use crate::labels::{ClassLabels, SafeLabels};

/// A batch of logits with classes.
pub(super) struct Samples {
    /// The logits in a precision fit for sums, 0 in rows without a class; `[batch, classes]`.
    pub(super) logits: Tensor<2>,
    /// The class, `[batch]`; 0 in rows without one.
    pub(super) index: Tensor<1, Int>,
    /// Whether the row has a class, `[batch]`.
    pub(super) valid: Tensor<1, Bool>,
    dtype: DType,
}

impl Samples {
    /// Rows without a class become 0, whatever was in them.
    ///
    /// # Panics
    ///
    /// If there is not one label per row, or by the policy for labels.
    #[track_caller]
    pub(super) fn new(checked: &ClassLabels, logits: Tensor<2>, labels: Tensor<1, Int>) -> Self {
        let [batch, classes] = logits.dims();
        assert_shape!(labels, [batch]);
        let SafeLabels { index, valid } = checked.check(labels, classes);
        let dtype = logits.dtype();
        if batch == 0 || classes == 0 {
            return Self { logits, index, valid, dtype };
        }
        let invalid = valid.clone().bool_not().unsqueeze_dim::<2>(1).expand([batch, classes]);

        Self { logits: widen(logits.mask_fill(invalid, 0.0)), index, valid, dtype }
    }

    /// The losses as the caller gets them: `losses` of this, 0 in rows without a class.
    pub(super) fn losses(self, losses: impl FnOnce(&Self) -> Tensor<1>) -> Tensor<1> {
        let [batch, classes] = self.logits.dims();
        if batch == 0 {
            return self.logits.reshape([0]);
        }
        if classes == 0 {
            return Tensor::zeros([batch], (&self.logits.device(), self.dtype));
        }
        cast_to(losses(&self).mask_fill(self.valid.bool_not(), 0.0), self.dtype)
    }

    /// The number of every row's own class in `[batch, classes]` numbers.
    pub(super) fn own(&self, numbers: Tensor<2>) -> Tensor<1> {
        numbers.gather(1, self.index.clone().unsqueeze_dim::<2>(1)).squeeze_dim(1)
    }

    /// The numbers of `[1, classes]` at the classes of the rows; 0 for rows without one.
    pub(super) fn own_of_row(&self, row: Tensor<2>) -> Tensor<1> {
        let own = self.own(row.expand(self.logits.dims()));
        own.mask_fill(self.valid.clone().bool_not(), 0.0)
    }

    /// Where a class is the row's own, `[batch, classes]`.
    pub(super) fn own_class(&self) -> Tensor<2, Bool> {
        let [batch, classes] = self.logits.dims();
        let all = Tensor::<1, Int>::arange(0..classes as i64, (&self.index.device(), self.index.dtype()));
        let index = self.index.clone().unsqueeze_dim::<2>(1).expand([batch, classes]);

        all.unsqueeze_dim::<2>(0).expand([batch, classes]).equal(index)
    }
}
