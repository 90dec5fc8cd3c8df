use alloc::vec::Vec;

use burn::tensor::{Bool, DType, Device, IndexingUpdateOp, Int, Tensor};
use burn_losses_kernels::math::{NOTHING, cast_to, in_host_memory, log_sum_exp_where};

use super::divergence::Divergence;
use crate::labels::{ClassLabels, SafeLabels};
use crate::shape::check_shape;
use crate::targets::check_range;

/// Less than this has the logarithm of this.
const TINY: f64 = 1e-30;

/// What becomes of the probability that a teacher gives to classes that are not listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RestOfMass {
    /// All classes that are not listed are one class, for the teacher and for the student: how the student divides that among them
    /// is its own affair. Right for any number of classes per token.
    Lump,
    /// The listed probabilities are divided by their sum, as if the teacher knew no other class. With
    /// [`Divergence::ForwardKl`] alone: to all others the student is infinitely far from it.
    Renormalise,
}

/// What a teacher holds most likely, as it is kept on disk: some classes of every token with their probabilities.
///
/// A probability is that at the temperature of the loss. Their sum may be below 1, and [`RestOfMass`] says what becomes of the
/// rest; above 1, by rounding, they are divided by it. An entry with the ignored label is none, so that tokens may have fewer
/// classes than others, and a token without an entry, or with a mass of 0, does not count: padding. The classes of a token are
/// different; in host memory this is looked at, elsewhere it is believed.
///
/// # Source
///
/// Lumped and renormalised lists beside each other, and how far they lead a student astray: Anshumann et al.: [Sparse Logit Sampling:
/// Accelerating Knowledge Distillation in LLMs](https://arxiv.org/abs/2503.16870), 2025.
///
/// # Example
///
/// ```
/// use burn::nn::LinearConfig;
/// use burn::tensor::{Device, Int, Tensor};
/// use burn_losses::classification::{LinearDistillationLossConfig, Reduction, RestOfMass, SparseTargets};
///
/// let device = Device::default();
/// let student = LinearConfig::new(8, 50).with_bias(false).init(&device);
/// // To this student all 50 classes are alike.
/// let hidden = Tensor::<2>::zeros([2, 8], &device);
/// // Of the first token the teacher holds two classes likely, of the second one.
/// let classes = Tensor::<2, Int>::from_ints([[17, 3], [42, -1]], &device);
/// let probabilities = Tensor::<2>::from_data([[0.5, 0.25], [1.0, 0.0]], &device);
/// let targets = SparseTargets::new(classes, probabilities, RestOfMass::Lump);
///
/// let loss = LinearDistillationLossConfig::new().init(&device);
/// let value = loss.forward_sparse(hidden, &student, targets, Reduction::Sum).into_scalar::<f32>();
/// // A quarter of the teacher's mass is on 48 classes.
/// let first = 0.5 * (0.5_f32 * 50.0).ln() + 0.25 * (0.25_f32 * 50.0).ln() + 0.25 * (0.25_f32 * 50.0 / 48.0).ln();
/// assert!((value - first - 50.0_f32.ln()).abs() < 1e-5);
/// ```
#[derive(Clone, Debug)]
pub struct SparseTargets<const D: usize> {
    pub(super) classes: Tensor<D, Int>,
    pub(super) probabilities: Tensor<D>,
    pub(super) rest: RestOfMass,
}

impl<const D: usize> SparseTargets<D> {
    /// Classes and their probabilities.
    ///
    /// # Shapes
    ///
    /// - classes: `[tokens, k]`, `[batch, length, k]` or any other that is that of the hidden states but for its last axis
    /// - probabilities: as classes, in `[0, 1]`
    ///
    /// # Panics
    ///
    /// If the shapes differ, or `k` is 0.
    #[track_caller]
    pub fn new(classes: Tensor<D, Int>, probabilities: Tensor<D>, rest: RestOfMass) -> Self {
        check_shape("SparseTargets", "probabilities", probabilities.dims(), classes.dims());
        assert!(classes.dims()[D - 1] > 0, "SparseTargets: a token must have at least one class, got none");
        Self { classes, probabilities, rest }
    }
}

/// Checked targets of all tokens, as constants.
pub(super) struct SparseRows {
    /// `[tokens, k]`, in the range of the classes.
    index: Tensor<2, Int>,
    /// Which of them count, `[tokens, k]`.
    is_there: Tensor<2, Bool>,
    /// `[tokens, k]`.
    log_shares: Tensor<2>,
    /// That of all others, `[tokens, 1]`; `None` where there is no rest.
    log_rest: Option<Tensor<2>>,
    /// Which tokens count, `[tokens]`.
    pub(super) counted: Tensor<1, Bool>,
}

impl SparseRows {
    /// In a precision fit for sums, on a device; of one token at least.
    #[track_caller]
    pub(super) fn new<const D: usize>(
        loss: &str,
        targets: SparseTargets<D>,
        checked: &ClassLabels,
        classes: usize,
        (device, dtype): (&Device, DType),
    ) -> Self {
        let SparseTargets { classes: listed, probabilities, rest } = targets;
        check_range(loss, "probabilities", &probabilities, [0.0, 1.0], None);
        let k = listed.dims()[D - 1];
        let tokens = listed.shape().num_elements() / k;
        let SafeLabels { index, valid } = checked.check(listed.reshape([tokens * k]), classes);
        check_different(loss, &index, &valid, k);
        let device = &device.clone().inner();
        let (index, is_there) = (index.reshape([tokens, k]).to_device(device), valid.reshape([tokens, k]));
        let is_there = is_there.to_device(device);

        let shares = cast_to(probabilities.reshape([tokens, k]).without_autodiff(), dtype).to_device(device);
        let shares = shares.mask_fill(is_there.clone().bool_not(), 0.0);
        let mass = shares.clone().sum_dim(1);
        let is_nothing = mass.clone().equal_scalar(0.0);
        let divisor = match rest {
            RestOfMass::Lump => mass.clone().mask_fill(mass.clone().lower_scalar(1.0), 1.0),
            RestOfMass::Renormalise => mass.clone().mask_fill(is_nothing.clone(), 1.0),
        };
        let log_rest = match rest {
            RestOfMass::Lump => Some(log((mass / divisor.clone()).neg().add_scalar(1.0))),
            RestOfMass::Renormalise => None,
        };
        let log_shares = log(shares / divisor.expand([tokens, k]));
        Self { index, is_there, log_shares, log_rest, counted: is_nothing.bool_not().squeeze_dim(1) }
    }

    /// As [`Divergence::of`], of some tokens, whose logarithms of probabilities are `[count, classes]`.
    pub(super) fn compare(&self, divergence: Divergence, start: usize, student: Tensor<2>) -> (Tensor<2>, Tensor<2>) {
        let ([count, _], [_, k]) = (student.dims(), self.index.dims());
        let of_chunk = |numbers: &Tensor<2>| numbers.clone().narrow(0, start, count);
        let index = self.index.clone().narrow(0, start, count);
        let is_there = self.is_there.clone().narrow(0, start, count);
        let spread = |numbers: Tensor<2>| {
            let numbers = numbers.mask_fill(is_there.clone().bool_not(), 0.0);
            student.zeros_like().scatter(1, index.clone(), numbers, IndexingUpdateOp::Add)
        };
        let listed = student.clone().gather(1, index.clone());
        // An entry that is none is as small for both.
        let listed = listed.mask_fill(is_there.clone().bool_not(), libm::log(TINY));
        let Some(log_rest) = &self.log_rest else {
            let (losses, _) = divergence.of(listed, of_chunk(&self.log_shares));
            let wanted = spread(of_chunk(&self.log_shares).exp());
            return (losses, student.exp() - wanted);
        };
        let is_listed = spread(listed.ones_like()).greater_scalar(0.0);
        let others = log_sum_exp_where(student.clone(), is_listed.clone().bool_not()).unsqueeze_dim::<2>(1);
        let has_none = others.clone().lower_scalar(0.5 * NOTHING);
        let others = others.mask_fill(has_none, libm::log(TINY));
        let lumped = |listed: Tensor<2>, rest: Tensor<2>| Tensor::cat(alloc::vec![listed, rest], 1);
        let (losses, slope) =
            divergence.of(lumped(listed, others.clone()), lumped(of_chunk(&self.log_shares), of_chunk(log_rest)));
        // What the lump is pulled by, each of its classes is pulled by according to its share.
        let within = (student.clone() - others).exp() * slope.clone().narrow(1, k, 1);
        let slope_of_listed = spread(slope.narrow(1, 0, k));
        (losses, within.mask_fill(is_listed, 0.0) + slope_of_listed)
    }
}

/// The logarithm of probabilities, which is finite for 0. What is no number stays none.
fn log(shares: Tensor<2>) -> Tensor<2> {
    let is_tiny = shares.clone().lower_scalar(TINY);
    shares.mask_fill(is_tiny, TINY).log()
}

/// # Panics
///
/// If a class stands twice among the `k` of a token, where a look waits for nothing.
#[track_caller]
fn check_different(loss: &str, index: &Tensor<1, Int>, valid: &Tensor<1, Bool>, k: usize) {
    if k == 1 || !in_host_memory(&index.device()) {
        return;
    }
    let (index, valid) = (index.to_data(), valid.to_data());
    let entries: Vec<(i64, bool)> = index.iter::<i64>().zip(valid.iter::<bool>()).collect();
    let mut of_token = Vec::with_capacity(k);
    for (token, entries) in entries.chunks(k).enumerate() {
        of_token.clear();
        of_token.extend(entries.iter().filter(|(_, is_there)| *is_there).map(|(class, _)| *class));
        of_token.sort_unstable();
        if let Some(pair) = of_token.windows(2).find(|pair| pair[0] == pair[1]) {
            panic!("{loss}: the classes of token {token} must be different, but {} is there twice", pair[0]);
        }
    }
}
