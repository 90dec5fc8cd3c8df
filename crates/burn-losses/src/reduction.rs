//! The only place where a tensor of losses becomes one number. (A sum that the kernels have taken in the same pass as the losses
//! comes here for its divisor.)
//!
//! [`EmbeddingReduction`] is a setting of the losses of embeddings. Losses of logits and of numbers take Burn's
//! `burn::nn::loss::Reduction` with each call, as Burn's own do; see [`classification`](crate::classification).

use burn::config::Config;
use burn::nn::loss::Reduction;
use burn::tensor::{Bool, Tensor};

use burn_losses_kernels::math::{cast_to, widen};

/// Losses are added in groups of this many first: a single pass over millions of `f32` values loses digits on some
/// backends, and a fixed grouping gives the same sum on every run.
const GROUP: usize = 1024;

/// How the losses of a batch become the number to minimise.
#[derive(Config, Debug, Copy, PartialEq, Eq)]
pub enum EmbeddingReduction {
    /// `sum(losses) / count(losses)`; 0 for an empty batch.
    Mean,
    /// `sum(losses)`.
    Sum,
    /// `sum(losses) / count(losses != 0)`; 0 when every loss is.
    MeanNonZero,
}

impl EmbeddingReduction {
    /// Reduces every loss of the tensor.
    ///
    /// # Shapes
    ///
    /// - losses: any
    /// - output: `[1]`
    ///
    /// ```
    /// use burn::tensor::{Device, Tensor};
    /// use burn_losses::reduction::EmbeddingReduction;
    ///
    /// let losses = Tensor::<1>::from_data([0.0, 1.0, 5.0], &Device::default());
    /// assert_eq!(EmbeddingReduction::Mean.apply(losses.clone()).into_scalar::<f32>(), 2.0);
    /// assert_eq!(EmbeddingReduction::Sum.apply(losses.clone()).into_scalar::<f32>(), 6.0);
    /// assert_eq!(EmbeddingReduction::MeanNonZero.apply(losses).into_scalar::<f32>(), 3.0);
    /// ```
    pub fn apply<const D: usize>(self, losses: Tensor<D>) -> Tensor<1> {
        let count = losses.shape().num_elements();
        let dtype = losses.dtype();
        let losses = widen(losses).reshape([count]);

        let reduced = match self {
            Self::Mean => sum(losses).mul_scalar(1.0 / count.max(1) as f64),
            Self::Sum => sum(losses),
            Self::MeanNonZero => {
                let active = losses.clone().not_equal_scalar(0.0);
                mean_of(losses, active)
            }
        };
        cast_to(reduced, dtype)
    }

    /// Reduces the losses of the valid rows; the others must already be 0 and count for nothing.
    ///
    /// # Shapes
    ///
    /// - losses: `[batch]`
    /// - valid: `[batch]`
    /// - output: `[1]`
    pub fn apply_valid(self, losses: Tensor<1>, valid: Tensor<1, Bool>) -> Tensor<1> {
        match self {
            Self::Mean => {
                let dtype = losses.dtype();
                cast_to(mean_of(widen(losses), valid), dtype)
            }
            // Rows that are 0 change neither a sum nor a mean of what is not 0.
            Self::Sum | Self::MeanNonZero => self.apply(losses),
        }
    }

    /// Reduces sums of several losses each, of which `counts` are there and `active` are not 0.
    ///
    /// # Shapes
    ///
    /// - sums: `[sums]`
    /// - counts: `[sums]`
    /// - active: `[sums]`
    /// - output: `[1]`
    pub(crate) fn apply_sums(self, sums: Tensor<1>, counts: Tensor<1>, active: Tensor<1>) -> Tensor<1> {
        let divisor = match self {
            Self::Mean => counts,
            Self::Sum => return sum(sums),
            Self::MeanNonZero => active,
        };
        sum(sums) / sum(divisor).clamp_min(1.0)
    }
}

/// What the mean of losses of logits or numbers divides by.
pub(crate) enum Divisor {
    /// Their number.
    Count,
    /// The number of those that are valid, `[losses]`; the others are 0.
    Valid(Tensor<1, Bool>),
    /// The sum of their weights, `[losses]`, not negative; the losses are already multiplied with them.
    Weights(Tensor<1>),
}

/// Losses of logits or numbers as one number, `[1]`, by Burn's own setting: `Auto` is `Mean`, `BatchMean` divides the sum by
/// `batch`. Where nothing counts it is 0.
pub(crate) fn reduce<const D: usize>(
    reduction: Reduction,
    losses: Tensor<D>,
    batch: usize,
    divisor: Divisor,
) -> Tensor<1> {
    let all = EmbeddingReduction::Sum;
    match (reduction, divisor) {
        (Reduction::Sum, _) => all.apply(losses),
        (Reduction::BatchMean, _) => all.apply(losses).mul_scalar(1.0 / batch.max(1) as f64),
        (Reduction::Mean | Reduction::Auto, Divisor::Count) => EmbeddingReduction::Mean.apply(losses),
        (Reduction::Mean | Reduction::Auto, Divisor::Valid(valid)) => {
            let count = losses.shape().num_elements();
            EmbeddingReduction::Mean.apply_valid(losses.reshape([count]), valid)
        }
        (Reduction::Mean | Reduction::Auto, Divisor::Weights(weights)) => {
            let dtype = losses.dtype();
            let (total, weight) = (all.apply(widen(losses)), all.apply(widen(weights)));
            let nothing = weight.clone().equal_scalar(0.0);
            cast_to(total / weight.mask_fill(nothing, 1.0), dtype)
        }
    }
}

/// What [`reduce`] multiplies the sum of losses with, `[1]`, that are already multiplied with their `weights`, `[losses]`.
pub(crate) fn factor(reduction: Reduction, weights: Tensor<1>, batch: usize) -> Tensor<1> {
    let one = Tensor::<1>::ones([1], (&weights.device(), weights.dtype()));
    reduce(reduction, one, batch, Divisor::Weights(weights))
}

/// The same, of `count` losses that all count and whose sum is known, `[1]`.
pub(crate) fn reduce_sum(reduction: Reduction, sum: Tensor<1>, count: usize, batch: usize) -> Tensor<1> {
    match reduction {
        Reduction::Sum => sum,
        Reduction::BatchMean => sum.mul_scalar(1.0 / batch.max(1) as f64),
        Reduction::Mean | Reduction::Auto => sum.mul_scalar(1.0 / count.max(1) as f64),
    }
}

/// The loss of an empty batch: 0, and connected to the embeddings and to the trained `rows`, so that a backward finds
/// the gradient 0 instead of no graph.
pub(crate) fn zero_of(embeddings: Tensor<2>, rows: Tensor<2>) -> Tensor<1> {
    let dtype = embeddings.dtype();
    // Clones on other devices may have taken shared centers along.
    let row = rows.narrow(0, 0, 1).to_device(&embeddings.device());
    let all = Tensor::<2, Bool>::full(row.dims(), true, &row.device());

    embeddings.sum() + cast_to(row.mask_fill(all, 0.0).sum(), dtype)
}

fn mean_of(losses: Tensor<1>, counted: Tensor<1, Bool>) -> Tensor<1> {
    let ones = losses.clone().detach().ones_like();
    let count = sum(ones.mask_fill(counted.bool_not(), 0.0));

    // A batch in which nothing counts has loss 0, not NaN.
    sum(losses) / count.clamp_min(1.0)
}

fn sum(losses: Tensor<1>) -> Tensor<1> {
    let [count] = losses.dims();
    if count == 0 {
        // The sum of nothing is -0.0 on some backends.
        return losses.sum().add_scalar(0.0);
    }
    if count <= GROUP {
        return losses.sum();
    }
    let grouped = count / GROUP * GROUP;
    let groups = losses.clone().narrow(0, 0, grouped).reshape([count / GROUP, GROUP]);
    let total = sum(groups.sum_dim(1).reshape([count / GROUP]));

    if grouped == count { total } else { total + losses.narrow(0, grouped, count - grouped).sum() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use burn::tensor::{DType, Device, TensorData};

    fn scalar(tensor: Tensor<1>) -> f32 {
        tensor.into_scalar::<f32>()
    }

    #[test]
    fn nothing_reduces_to_zero() {
        let empty = || Tensor::<1>::zeros([0], &Device::flex());

        for reduction in [EmbeddingReduction::Mean, EmbeddingReduction::Sum, EmbeddingReduction::MeanNonZero] {
            assert_eq!(scalar(reduction.apply(empty())).to_bits(), 0);
        }
    }

    #[test]
    fn rows_that_are_not_valid_do_not_count() {
        let device = Device::flex();
        let losses = Tensor::<1>::from_data([3.0_f32, 0.0, 5.0], &device);
        let valid = Tensor::<1, Bool>::from_data([true, false, true], &device);
        let none = Tensor::<1, Bool>::from_data([false; 3], &device);

        assert_eq!(scalar(EmbeddingReduction::Mean.apply_valid(losses.clone(), valid)), 4.0);
        assert_eq!(scalar(EmbeddingReduction::Mean.apply_valid(losses.zeros_like(), none)), 0.0);
    }

    #[test]
    fn negative_losses_are_not_zero() {
        let losses = Tensor::<1>::from_data([-2.0_f32, 0.0, 5.0], &Device::flex());

        assert_eq!(scalar(EmbeddingReduction::MeanNonZero.apply(losses)), 1.5);
    }

    #[test]
    fn losses_in_half_precision_are_summed_in_single() {
        // The sum is beyond the largest number of f16, 65504; the mean is not.
        let losses = Tensor::<1>::full([5000], 20.0, (&Device::flex(), DType::F16));
        for reduction in [EmbeddingReduction::Mean, EmbeddingReduction::MeanNonZero] {
            let mean = reduction.apply(losses.clone());
            assert_eq!((mean.dtype(), scalar(mean)), (DType::F16, 20.0), "{reduction:?}");
        }
    }

    #[test]
    fn burns_reductions_divide_by_what_they_say() {
        let device = Device::flex();
        let losses = || Tensor::<2>::from_data([[3.0_f32, 0.0], [5.0, 4.0]], &device);
        let valid = || Divisor::Valid(Tensor::from_data([true, false, true, true], &device));
        let weights = || Divisor::Weights(Tensor::from_data([1.0_f32, 0.0, 0.5, 0.5], &device));
        let of = |reduction, divisor| scalar(reduce(reduction, losses(), 2, divisor));

        for mean in [Reduction::Mean, Reduction::Auto] {
            assert_eq!(of(mean.clone(), Divisor::Count), 3.0);
            assert_eq!(of(mean.clone(), valid()), 4.0);
            assert_eq!(of(mean, weights()), 6.0);
        }
        for divisor in [Divisor::Count, valid(), weights()] {
            assert_eq!(of(Reduction::Sum, divisor), 12.0);
        }
        for divisor in [Divisor::Count, valid(), weights()] {
            assert_eq!(of(Reduction::BatchMean, divisor), 6.0);
        }
        let nothing = Divisor::Weights(Tensor::zeros([4], &device));
        assert_eq!(scalar(reduce(Reduction::Mean, losses().zeros_like(), 2, nothing)), 0.0);
    }

    #[test]
    fn a_sum_of_five_million_tenths_keeps_its_digits() {
        let count = 5_000_003;
        let losses = Tensor::<1>::from_data(TensorData::new(vec![0.1_f32; count], [count]), &Device::flex());
        let expected = count as f64 * f64::from(0.1_f32);

        let relative = f64::from(scalar(EmbeddingReduction::Sum.apply(losses))) / expected - 1.0;
        assert!(relative.abs() < 1e-6, "relative error {relative}");
    }
}
