use alloc::vec::Vec;
use core::cell::OnceCell;

use burn::config::Config;
use burn::module::{Module, ModuleDisplay};
use burn::tensor::{Bool, Tensor};
use burn_losses_kernels::math::{has_direction, row_lengths, softplus, widen};
use burn_losses_kernels::scores::Scale;

use super::comparison::{CenterChoice, Comparison, Terms};

/// What one angular-margin head does otherwise than the others: all that the author of a head writes.
///
/// A rule holds the settings of the head, as public fields that may be changed between two epochs, and what it measures.
/// [`Head`](super::Head) calls it and does the rest.
///
/// ```
/// use burn::module::Module;
/// use burn::tensor::{Device, Int, Tensor};
/// use burn_losses::heads::{CentersConfig, Head, MarginRule, Target};
/// use burn_losses::reduction::EmbeddingReduction;
///
/// /// `margin(cosine) = share·cosine`
/// #[derive(Module, Debug)]
/// struct Shrink {
///     share: f64,
///     scale: f64,
/// }
///
/// impl MarginRule for Shrink {
///     fn name(&self) -> &'static str {
///         "Shrink"
///     }
///
///     fn check(&self) {
///         assert!(self.share > 0.0, "Shrink: share must be > 0, got {}", self.share);
///     }
///
///     fn scale(&self) -> f64 {
///         self.scale
///     }
///
///     fn target(&self, target: &Target) -> Tensor<1> {
///         target.cosine.clone().mul_scalar(self.share)
///     }
/// }
///
/// let device = Device::default();
/// let centers = CentersConfig::new().init("Shrink", [10, 4], &device);
/// let head = Head::with_rule(centers, Shrink { share: 0.8, scale: 16.0 }, EmbeddingReduction::Mean);
/// let loss = head.forward(Tensor::ones([2, 4], &device), Tensor::<1, Int>::from_ints([0, 9], &device));
/// assert!(loss.into_scalar::<f32>().is_finite());
/// ```
pub trait MarginRule: Module + ModuleDisplay {
    /// The name of the head, for messages and for how it is printed.
    fn name(&self) -> &'static str;

    /// Checks the settings: when the head is built, and again before a batch, since they may have been changed.
    ///
    /// # Panics
    ///
    /// If one is out of its range; names head, setting, range and value. The scale is checked by the head.
    #[track_caller]
    fn check(&self) {}

    /// What the cosines are multiplied with, in `[1e-6, 1e6]`.
    fn scale(&self) -> f64;

    /// The margins, for a schedule that lets them rise ([`Head::with_shares`](super::Head::with_shares)); none where a share of
    /// them is no margin of this head.
    fn margins_mut(&mut self) -> Vec<&mut f64> {
        Vec::new()
    }

    /// The scale, for a schedule that lets it rise; nothing where it is measured, or where something trained is in units of it.
    fn scale_mut(&mut self) -> Option<&mut f64> {
        None
    }

    /// What the scale is multiplied with, a number that is measured on the device, `[1]`; or nothing.
    fn scale_factor(&self) -> Option<Tensor<1>> {
        None
    }

    /// What is added to every scaled score, `[1]`: a trained number such as a threshold; or nothing. The head reads it once
    /// and in single precision at least, so that what is added to its gradient is summed before it is rounded.
    fn offset(&self) -> Option<Tensor<1>> {
        None
    }

    /// The margin: what the cosine with the center of the label is replaced by. Moves no state.
    ///
    /// # Shapes
    ///
    /// - target: of `[batch]`
    /// - output: `[batch]`
    fn target(&self, target: &Target) -> Tensor<1>;

    /// What the other classes weigh: a plain log-sum-exp of the scaled cosines, or another term, in which the
    /// [`offset`](Batch::offset) is up to the rule. Moves no state.
    fn negatives(&self, batch: &Batch<'_>) -> Terms {
        let _ = batch;
        Terms::Exp
    }

    /// The loss of every row from what the negatives weigh and from the scaled [`target`](Self::target) with the
    /// [`offset`](Self::offset); what it says of rows without a class is not looked at.
    ///
    /// # Shapes
    ///
    /// - negatives: `[batch]`
    /// - target: `[batch]`
    /// - output: `[batch]`
    fn loss(&self, negatives: Tensor<1>, target: Tensor<1>) -> Tensor<1> {
        softplus(negatives - target)
    }

    /// What is added to the loss of every row that has a class, `[batch]`, or nothing.
    fn penalty(&self, target: &Target) -> Option<Tensor<1>> {
        let _ = target;
        None
    }

    /// Looks at a batch of a training before its loss is computed: state moves here and only here, once per forward on an
    /// autodiff device.
    fn observe(&self, batch: &Batch<'_>) {
        let _ = batch;
    }

    /// The rule for so many classes in all, where it was made for one of several shards: of what follows from their
    /// number.
    fn for_classes(self, classes: usize) -> Self {
        let _ = classes;
        self
    }
}

/// What a margin may depend on: how close a row is to the center of its label, and its length.
#[derive(Clone, Debug)]
pub struct Target {
    /// The cosine of every row with the center of its label, `[batch]`, in `[-1, 1]` but for rounding; 0 for a row without
    /// a class.
    pub cosine: Tensor<1>,
    /// Whether the row has a class, `[batch]`.
    pub valid: Tensor<1, Bool>,
    embeddings: Tensor<2>,
}

impl Target {
    /// Of rows, with what a comparison said of them.
    ///
    /// # Shapes
    ///
    /// - cosine: `[batch]`
    /// - valid: `[batch]`
    /// - embeddings: `[batch, embedding_dim]`, before any normalisation
    pub fn new(cosine: Tensor<1>, valid: Tensor<1, Bool>, embeddings: Tensor<2>) -> Self {
        Self { cosine, valid, embeddings }
    }

    /// Of rows of length 1 with these cosines, for the tests of margins.
    #[cfg(test)]
    pub(crate) fn of_cosines(cosines: &[f32], device: &burn::tensor::Device) -> Self {
        let valid = Tensor::full([cosines.len()], true, device);
        Self::new(Tensor::from_data(cosines, device), valid, Tensor::ones([cosines.len(), 1], device))
    }

    /// The length of every embedding before it is divided by it, `[batch]`; 0 for a row without a class.
    pub fn length(&self) -> Tensor<1> {
        row_lengths(widen(self.embeddings.clone()))
    }

    /// Whether the batch is one of a training: on an autodiff device.
    pub fn is_training(&self) -> bool {
        self.embeddings.device().is_autodiff()
    }
}

/// A batch before it is compared with all classes: what a rule may measure, and decide on which classes are hard. All of
/// it but the [`offset`](Self::offset) is a constant of the gradient.
pub struct Batch<'a> {
    comparison: &'a Comparison,
    embeddings: Tensor<2>,
    valid: Tensor<1, Bool>,
    offset: Option<Tensor<1>>,
    target_cosine: OnceCell<Tensor<1>>,
}

impl<'a> Batch<'a> {
    pub(super) fn new(
        comparison: &'a Comparison,
        embeddings: &Tensor<2>,
        valid: Tensor<1, Bool>,
        offset: Option<Tensor<1>>,
    ) -> Self {
        Self { comparison, embeddings: embeddings.clone().detach(), valid, offset, target_cosine: OnceCell::new() }
    }

    /// The [`offset`](MarginRule::offset) of the rule, `[1]`; 0 where it has none.
    pub fn offset(&self) -> Tensor<1> {
        self.offset.clone().unwrap_or_else(|| Tensor::zeros([1], &self.embeddings.device()))
    }

    /// Whether the row has a class, `[batch]`.
    pub fn valid(&self) -> Tensor<1, Bool> {
        self.valid.clone()
    }

    /// The length of every embedding, `[batch]`; 0 for a row without a class.
    pub fn length(&self) -> Tensor<1> {
        row_lengths(widen(self.embeddings.clone()))
    }

    /// The cosine of every row with the center of its label, `[batch]`; 0 for a row without a class.
    pub fn target_cosine(&self) -> Tensor<1> {
        let cosine = || self.comparison.detached().target_cosines();
        self.target_cosine.get_or_init(cosine).clone()
    }

    /// Whether the row counts in an average of cosines, `[batch]`: it has a class and a direction, and its cosine is a
    /// finite number.
    pub fn counted(&self) -> Tensor<1, Bool> {
        let directed = has_direction(&widen(self.embeddings.clone()));
        self.valid().bool_and(directed).bool_and(self.target_cosine().is_finite())
    }

    /// The log-sum-exp of the cosines with the other classes at this scale, `[batch]`: a comparison more.
    pub fn negatives(&self, scale: impl Into<Scale>) -> Tensor<1> {
        self.comparison.detached().scores(&scale.into(), &Terms::Exp, CenterChoice::Nearest).negatives
    }
}

/// Which gradient the margin has.
#[derive(Config, Debug, Copy, PartialEq, Eq)]
pub enum GradientMode {
    /// The derivative of the loss.
    Exact,
    /// The margin changes the value only; the gradient passes it by as if the target cosine were used unchanged. This is
    /// what InsightFace's `arcface_torch` trains with ("characteristic gradient detachment" in SphereFace-R,
    /// [Liu et al. 2021](https://arxiv.org/abs/2109.05565)).
    Detached,
}

impl GradientMode {
    pub(crate) fn apply(self, shifted: Tensor<1>, cosine: Tensor<1>) -> Tensor<1> {
        match self {
            Self::Exact => shifted,
            // The difference is exactly 0, so the value is the shifted one to the last bit.
            Self::Detached => shifted.detach() + (cosine.clone() - cosine.detach()),
        }
    }
}

/// # Panics
///
/// If a margin of either sign is larger than 1000.
#[track_caller]
pub(crate) fn check_margin(head: &str, field: &str, margin: f64) {
    assert!(margin.abs() <= 1e3, "{head}: {field} must be in [-1000, 1000], got {margin}");
}
