use burn::config::Config;
use burn::module::Module;
use burn::tensor::{DType, Device, Int, Tensor};
use burn_losses_kernels::math::{NOTHING, cast_to, log_sum_exp, softplus, unit_rows, widen};

use crate::order::ascending;
use crate::shape::check_shape;

/// How alike two rows are, for [`CoSentLoss`].
#[derive(Config, Debug, Copy, PartialEq, Eq)]
pub enum RowSimilarity {
    /// The cosine: CoSENT.
    Cosine,
    /// The first half of a row is the real part and the second half the imaginary part of complex numbers: the size of the
    /// sum of real and imaginary parts of their quotients, of unit rows. AnglE. It does not flatten where a cosine does.
    ComplexAngle,
}

/// Settings of [`CoSentLoss`].
#[derive(Config, Debug)]
pub struct CoSentLossConfig {
    /// What similarities are multiplied with; in `[1e-6, 1e6]`.
    /// Default: `20.0`.
    #[config(default = 20.0)]
    pub scale: f64,
    /// How alike two rows are.
    /// Default: `RowSimilarity::Cosine`.
    #[config(default = "RowSimilarity::Cosine")]
    pub similarity: RowSimilarity,
}

impl CoSentLossConfig {
    /// Builds the loss for embeddings on `device`.
    ///
    /// # Panics
    ///
    /// If a field is out of its range.
    #[track_caller]
    pub fn init(&self, _device: &Device) -> CoSentLoss {
        let Self { scale, similarity } = *self;
        assert!((1e-6..=1e6).contains(&scale), "CoSentLoss: scale must be in [1e-6, 1e6], got {scale}");
        CoSentLoss { scale, similarity }
    }
}

/// Brings pairs of rows into the order of their grades: a pair that is said to be more alike must be so. CoSENT, and AnglE
/// with [`RowSimilarity::ComplexAngle`].
///
/// ```text
/// score[i] = scale·similarity(first[i], second[i])
/// loss     = log(1 + sum over all i, k with grade[i] > grade[k] of exp(score[k] - score[i]))
/// ```
///
/// Only the order of the grades counts, so they may be on any scale, and pairs of one grade are not compared. The sum over
/// pairs of pairs is a running log-sum-exp in the order of the grades: memory is `O(batch)` beside the rows, and time
/// `O(batch·log(batch))`. The loss is one of the batch, and has no mean.
///
/// # When to take it
///
/// For pairs with graded likeness, such as those of semantic textual similarity. For pairs that are alike or not,
/// [`ContrastiveLoss`](super::ContrastiveLoss); for queries with one document each,
/// [`MultipleNegativesRankingLoss`](super::MultipleNegativesRankingLoss).
///
/// # Source
///
/// Su: [CoSENT](https://kexue.fm/archives/8847), 2022; Li, Li: [AnglE-optimized Text
/// Embeddings](https://arxiv.org/abs/2309.12871), 2023, section 3.4.
///
/// # Example
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use burn_losses::pairs::CoSentLossConfig;
///
/// let device = Device::default();
/// let first = Tensor::<2>::from_data([[1.0, 0.0], [1.0, 0.0]], &device);
/// let second = Tensor::<2>::from_data([[0.8, 0.6], [0.6, 0.8]], &device);
/// let grades = Tensor::<1>::from_data([4.5, 1.0], &device);
/// let loss = CoSentLossConfig::new().init(&device).forward(first, second, grades);
/// // The pair with the higher grade has a cosine of 0.8, the other one of 0.6.
/// assert!((loss.into_scalar::<f32>() - (-4.0_f32).exp().ln_1p()).abs() < 1e-6);
/// ```
#[derive(Module, Debug)]
pub struct CoSentLoss {
    scale: f64,
    #[module(skip)]
    similarity: RowSimilarity,
}

impl CoSentLoss {
    /// The loss of a batch; 0 where all grades are equal.
    ///
    /// # Shapes
    ///
    /// - first: `[pairs, embedding_dim]`
    /// - second: `[pairs, embedding_dim]`
    /// - grades: `[pairs]`, the larger the more alike; no NaN
    /// - output: `[1]`
    ///
    /// # Panics
    ///
    /// If the shapes do not agree, or `embedding_dim` is odd with [`RowSimilarity::ComplexAngle`].
    #[track_caller]
    pub fn forward(&self, first: Tensor<2>, second: Tensor<2>, grades: Tensor<1>) -> Tensor<1> {
        let dtype = first.dtype();
        let dims @ [count, dim] = first.dims();
        assert!(dim >= 1, "CoSentLoss: first must have at least one column");
        check_shape("CoSentLoss", "second", second.dims(), dims);
        check_shape("CoSentLoss", "grades", grades.dims(), [count]);
        if count == 0 {
            return first.sum().add_scalar(0.0);
        }
        let first = widen(first);
        let second = cast_to(widen(second), first.dtype());
        let scores = self.similarities(first, second).mul_scalar(self.scale);
        let grades = widen(grades.without_autodiff());
        let order = ascending(grades.clone());
        let (scores, order_of) = (scores.select(0, order.clone()), grades.select(0, order));

        // Of each pair the sum over those of lower grades, which end before the first of its own grade.
        let below = running_log_sum(scores.clone());
        let nothing = below.clone().narrow(0, 0, 1).full_like(NOTHING);
        let below = Tensor::cat(alloc::vec![nothing, below], 0).select(0, first_of_equals(order_of));
        let behind = (below - scores).unsqueeze_dim::<2>(0);

        cast_to(softplus(log_sum_exp(behind)), dtype)
    }

    fn similarities(&self, first: Tensor<2>, second: Tensor<2>) -> Tensor<1> {
        let [first, second] = [first, second].map(unit_rows);
        let product = |a: Tensor<2>, b: Tensor<2>| (a * b).sum_dim(1).squeeze_dim::<1>(1);
        match self.similarity {
            RowSimilarity::Cosine => product(first, second),
            RowSimilarity::ComplexAngle => {
                let [_, dim] = first.dims();
                assert!(dim.is_multiple_of(2), "CoSentLoss: complex rows must be even in length, got {dim}");
                let halves = |rows: &Tensor<2>| [0, dim / 2].map(|start| rows.clone().narrow(1, start, dim / 2));
                let ([real, imaginary], [other_real, other_imaginary]) = (halves(&first), halves(&second));
                let turned = product(imaginary, other_real) - product(real, other_imaginary);
                (product(first, second) + turned).abs()
            }
        }
    }
}

/// Of every number the log-sum-exp of it and all before it: each step doubles how many are in a sum.
fn running_log_sum(numbers: Tensor<1>) -> Tensor<1> {
    let [count] = numbers.dims();
    let mut sums = numbers;
    let mut reach = 1;
    while reach < count {
        let rest = count - reach;
        let (one, other) = (sums.clone().narrow(0, reach, rest), sums.clone().narrow(0, 0, rest));
        let both = log_sum_exp(Tensor::cat(alloc::vec![one.unsqueeze_dim::<2>(1), other.unsqueeze_dim(1)], 1));
        sums = Tensor::cat(alloc::vec![sums.narrow(0, 0, reach), both], 0);
        reach *= 2;
    }
    sums
}

/// Where the first of the numbers that equal each stands, of numbers in ascending order.
fn first_of_equals(sorted: Tensor<1>) -> Tensor<1, Int> {
    let [count] = sorted.dims();
    let device = sorted.device();
    let places = Tensor::<1, Int>::arange(0..count as i64, &device).cast(DType::I32);
    if count == 1 {
        return places;
    }
    let same = sorted.clone().narrow(0, 1, count - 1).equal(sorted.narrow(0, 0, count - 1));
    let starts = places.clone().narrow(0, 1, count - 1).mask_fill(same, 0);
    let mut firsts = Tensor::cat(alloc::vec![places.narrow(0, 0, 1), starts], 0);
    let mut reach = 1;
    while reach < count {
        let rest = count - reach;
        let largest = firsts.clone().narrow(0, reach, rest).max_pair(firsts.clone().narrow(0, 0, rest));
        firsts = Tensor::cat(alloc::vec![firsts.narrow(0, 0, reach), largest], 0);
        reach *= 2;
    }
    firsts
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::TensorData;

    fn rows(numbers: &[f32]) -> Tensor<2> {
        Tensor::from_data(TensorData::new(numbers.to_vec(), [numbers.len() / 2, 2]), &Device::flex())
    }

    #[test]
    fn equal_grades_are_not_compared() {
        let first = || rows(&[1.0, 0.0, 1.0, 0.0, 1.0, 0.0]);
        let second = || rows(&[0.8, 0.6, 0.0, 2.0, 0.6, 0.8]);
        let loss = CoSentLossConfig::new().with_scale(2.0).init(&Device::flex());
        let run = |grades: [f32; 3]| {
            loss.forward(first(), second(), Tensor::from_data(grades, &Device::flex())).into_scalar::<f32>()
        };

        // By hand: cosines 0.8, 0 and 0.6, times 2.
        let expected = ((0.0 - 1.6_f32).exp() + (1.2 - 1.6_f32).exp()).ln_1p();
        assert!((run([3.0, 1.0, 1.0]) - expected).abs() < 1e-6);
        let expected = ((1.6 - 1.2_f32).exp() + (1.6_f32).exp()).ln_1p();
        assert!((run([1.0, 2.0, 2.0]) - expected).abs() < 1e-6);
        assert_eq!(run([2.0; 3]), 0.0);
    }

    #[test]
    fn complex_rows_are_compared_by_their_quotients() {
        // By hand: (1 + 0i) / (0.6 + 0.8i) = 0.6 - 0.8i, and 1 / 1 = 1.
        let loss = CoSentLossConfig::new().with_scale(1.0).with_similarity(RowSimilarity::ComplexAngle);
        let (first, second) = (rows(&[1.0, 0.0, 1.0, 0.0]), rows(&[0.6, 0.8, 1.0, 0.0]));
        let grades = Tensor::from_data([2.0, 1.0], &Device::flex());
        let value = loss.init(&Device::flex()).forward(first, second, grades).into_scalar::<f32>();
        assert!((value - (1.0 - 0.2_f32).exp().ln_1p()).abs() < 1e-6, "{value}");
    }

    #[test]
    #[should_panic(expected = "CoSentLoss: scale must be in [1e-6, 1e6], got 0")]
    fn a_scale_of_zero_is_rejected() {
        CoSentLossConfig::new().with_scale(0.0).init(&Device::flex());
    }
}
