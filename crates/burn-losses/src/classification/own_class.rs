use burn::tensor::{Int, Tensor};
use burn_losses_kernels::log_space::{log_sum_exp, softplus};
use burn_losses_kernels::logsumexp::NOTHING;

/// The logarithms of the probability of the own class and of all others together, `[batch]` each: both exact where the other
/// is near 0.
pub(crate) struct OwnClassLog {
    pub(crate) own: Tensor<1>,
    pub(crate) others: Tensor<1>,
}

impl OwnClassLog {
    /// # Shapes
    ///
    /// - logits: `[batch, classes]`, at least one of each
    /// - index: `[batch]`, in `0..classes`
    pub(crate) fn of(logits: Tensor<2>, index: Tensor<1, Int>) -> Self {
        let shape = logits.dims();
        let classes = Tensor::<1, Int>::arange(0..shape[1] as i64, (&index.device(), index.dtype()));
        let is_own = classes.unsqueeze_dim::<2>(0).expand(shape).equal(index.unsqueeze_dim::<2>(1).expand(shape));
        let own = logits.clone().mask_fill(is_own.clone().bool_not(), 0.0).sum_dim(1).squeeze_dim::<1>(1);
        // Hugely negative instead of minus infinity, whose difference with itself is not a number.
        let others = log_sum_exp(logits.mask_fill(is_own, NOTHING).clamp_min(NOTHING));
        let lead = others - own;

        Self { own: softplus(lead.clone()).neg(), others: softplus(lead.neg()).neg() }
    }
}
