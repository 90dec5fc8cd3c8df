use burn::config::Config;
use burn::tensor::{Bool, Int, Tensor};

use burn_losses_kernels::logsumexp::{Scale, class_scores, sampled_class_scores};
use burn_losses_kernels::math::{cast_to, row_lengths, softplus, widen};

use super::class_centers::ClassCenters;
use crate::labels::{SafeLabels, silence};
use crate::reduction::{EmbeddingReduction, zero_of};

/// Which gradient the margin has.
#[derive(Config, Debug, Copy, PartialEq, Eq)]
pub enum GradientMode {
    /// The derivative of the loss.
    Exact,
    /// The margin changes the value only; the gradient passes it by as if the own cosine were used unchanged. This is
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
/// If a scale is not in `[1e-6, 1e6]`: beyond it, cosines that differ by a rounding error are worlds apart.
pub(crate) fn check_scale(head: &str, scale: f64) {
    assert!((1e-6..=1e6).contains(&scale), "{head}: scale must be in [1e-6, 1e6], got {scale}");
}

/// # Panics
///
/// If a margin of either sign is larger than 1000.
pub(crate) fn check_margin(head: &str, field: &str, margin: f64) {
    assert!(margin.abs() <= 1e3, "{head}: {field} must be in [-1000, 1000], got {margin}");
}

/// What all angular-margin heads do; a head adds its margin rule.
///
/// With unit embeddings `x`, unit class centers `w` and labels `y`:
///
/// ```text
/// own[i]    = <x[i], w[y[i]]>
/// others[i] = log(sum over j != y[i] of exp(scale·<x[i], w[j]>))
/// loss[i]   = softplus(others[i] - scale·margin(own[i]))
///           = -log softmax of the scaled cosines at y[i], the own one replaced by margin(own[i])
/// ```
///
/// The margin rule sees one number per sample, never the `[batch, classes]` scores: those are streamed over blocks of
/// classes by [`class_scores`], on every backend whose feature is on in this crate. A head that compares with the other
/// classes in another way replaces [`compare`](Self::compare), one whose loss has another form
/// [`row_losses`](Self::row_losses).
///
/// Embeddings and centers are divided by their length inside; an embedding of length 0 has cosine 0 with everything.
/// Labels that are ignored or out of range give their row loss 0 and gradient 0, see [`labels`](crate::labels).
pub trait MarginHead {
    /// The centers this head compares with.
    fn centers(&self) -> &ClassCenters;

    /// The same head with other centers.
    fn with_centers(self, centers: ClassCenters) -> Self
    where
        Self: Sized;

    /// What the cosines are multiplied with: a number in `[1e-6, 1e6]`, or one that the head measures, on its device.
    fn scale(&self) -> Scale;

    /// The margin rule: what the cosine with the own class is replaced by.
    ///
    /// # Shapes
    ///
    /// - own: of `[batch]`
    /// - output: `[batch]`
    fn margin(&self, own: &OwnClass) -> Tensor<1>;

    /// What is added to the loss of every row that has a class, `[batch]`, or nothing.
    fn penalty(&self, own: &OwnClass) -> Option<Tensor<1>> {
        let _ = own;
        None
    }

    /// The loss of every row, from what [`compare`](Self::compare) says of it; what it says of rows without a class is
    /// not looked at.
    ///
    /// # Shapes
    ///
    /// - others: `[batch]`
    /// - own: of `[batch]`
    /// - output: `[batch]`
    fn row_losses(&self, others: Tensor<1>, own: &OwnClass) -> Tensor<1> {
        softplus(others - times(self.margin(own), &self.scale()))
    }

    /// Why the classes of this head cannot be spread over several devices, if they cannot.
    fn refuses_shards(&self) -> Option<&'static str> {
        None
    }

    /// The same head with a block of centers, as the shard of this number. A head that draws at random draws differently
    /// in every shard.
    fn shard(self, centers: ClassCenters, number: usize) -> Self
    where
        Self: Sized,
    {
        let _ = number;
        self.with_centers(centers)
    }

    /// What a batch has to do with the centers, before the margin: what a head that looks at some of them only replaces.
    ///
    /// # Shapes
    ///
    /// - embeddings: `[batch, embedding_dim]`, of any length, `batch >= 1`
    /// - index: `[batch]`, the class of each row; where it is not in `0..classes`, the row has no class here
    fn scores(&self, embeddings: Tensor<2>, index: Tensor<1, Int>) -> ClassScores {
        self.compare(embeddings, self.centers().weight.val(), index, None)
    }

    /// How a batch is compared with centers, all of them or a sample: what a head with another way to compare replaces.
    ///
    /// # Shapes
    ///
    /// - embeddings: `[batch, embedding_dim]`, of any length, `batch >= 1`
    /// - weights: `[classes·sub_centers, embedding_dim]`, the centers or those of a sample of the classes
    /// - index: `[batch]`, which of these classes is the own one; where it is none of them, the row has no class here
    /// - used: `[classes]`, negative for a class that is there a second time and does not count; `None` where all do
    fn compare(
        &self,
        embeddings: Tensor<2>,
        weights: Tensor<2>,
        index: Tensor<1, Int>,
        used: Option<Tensor<1, Int>>,
    ) -> ClassScores {
        let (scale, streaming) = (self.scale(), self.centers().streaming);
        ClassScores::new(match used {
            None => class_scores(embeddings, weights, index, scale, streaming),
            Some(used) => sampled_class_scores(embeddings, weights, index, used, scale, streaming),
        })
    }

    /// The mean loss of the rows that have a class; 0 when none has.
    ///
    /// # Shapes
    ///
    /// - embeddings: `[batch, embedding_dim]`
    /// - labels: `[batch]`
    /// - output: `[1]`
    ///
    /// # Panics
    ///
    /// If the shapes do not agree, or by the [`LabelPolicy`](crate::labels::LabelPolicy).
    fn forward(&self, embeddings: Tensor<2>, labels: Tensor<1, Int>) -> Tensor<1> {
        let dtype = embeddings.dtype();
        let labels = self.centers().check(&embeddings, labels);
        if labels.valid.dims() == [0] {
            return zero_of(embeddings, self.centers().weight.val());
        }
        let losses = losses(self, embeddings, labels.clone());

        cast_to(EmbeddingReduction::Mean.apply_valid(losses, labels.valid), dtype)
    }

    /// The loss of every row.
    ///
    /// # Shapes
    ///
    /// - embeddings: `[batch, embedding_dim]`
    /// - labels: `[batch]`
    /// - output: `[batch]`
    ///
    /// # Panics
    ///
    /// As [`forward`](Self::forward).
    fn forward_no_reduction(&self, embeddings: Tensor<2>, labels: Tensor<1, Int>) -> Tensor<1> {
        let dtype = embeddings.dtype();
        let labels = self.centers().check(&embeddings, labels);

        cast_to(losses(self, embeddings, labels), dtype)
    }

    /// Scaled cosines without a margin: the scores to predict a class with.
    ///
    /// # Shapes
    ///
    /// - embeddings: `[batch, embedding_dim]`
    /// - output: `[batch, classes]`
    fn logits(&self, embeddings: Tensor<2>) -> Tensor<2> {
        let [batch, _] = embeddings.dims();
        let cosines = self.centers().cosines(embeddings);
        // An elementwise operation on an empty matrix overflows in Burn's GPU backends.
        if batch == 0 { cosines } else { times(cosines, &self.scale()) }
    }

    /// Scaled cosines with the margin on the own class, for a cross-entropy of your own. Rows without a class are 0.
    ///
    /// The other classes are as in [`logits`](Self::logits), and no [`penalty`](Self::penalty) is in them: of a head that
    /// replaces [`compare`](Self::compare) or [`row_losses`](Self::row_losses) their cross-entropy is not the loss.
    ///
    /// # Shapes
    ///
    /// - embeddings: `[batch, embedding_dim]`
    /// - labels: `[batch]`
    /// - output: `[batch, classes]`
    ///
    /// # Panics
    ///
    /// As [`forward`](Self::forward).
    fn margin_logits(&self, embeddings: Tensor<2>, labels: Tensor<1, Int>) -> Tensor<2> {
        let dtype = embeddings.dtype();
        let SafeLabels { index, valid } = self.centers().check(&embeddings, labels);
        let [batch, _] = embeddings.dims();
        let classes = self.centers().classes();
        if batch == 0 {
            return self.logits(embeddings);
        }
        let embeddings = widen(silence(embeddings, valid.clone()));
        let cosine = self.centers().own_cosines(embeddings.clone(), index.clone());
        let target = self.margin(&OwnClass::new(cosine, valid.clone(), embeddings.clone()));
        let replaced = own_class(index, classes).bool_and(valid.unsqueeze_dim::<2>(1).expand([batch, classes]));
        let target = target.unsqueeze_dim::<2>(1).expand([batch, classes]);
        let cosines = self.centers().cosines(embeddings).mask_where(replaced, target);

        cast_to(times(cosines, &self.scale()), dtype)
    }

    /// The cosine of every embedding with the center of its own class, without a margin: what training is about, and
    /// worth printing as an angle. 0 for rows without a class.
    ///
    /// # Shapes
    ///
    /// - embeddings: `[batch, embedding_dim]`
    /// - labels: `[batch]`
    /// - output: `[batch]`
    ///
    /// # Panics
    ///
    /// As [`forward`](Self::forward).
    fn own_cosine(&self, embeddings: Tensor<2>, labels: Tensor<1, Int>) -> Tensor<1> {
        let dtype = embeddings.dtype();
        let SafeLabels { index, valid } = self.centers().check(&embeddings, labels);
        if valid.dims() == [0] {
            return embeddings.reshape([0]);
        }
        cast_to(self.centers().own_cosines(silence(embeddings, valid), index), dtype)
    }
}

/// What a margin rule may depend on: a row's own class and its length.
#[derive(Clone, Debug)]
pub struct OwnClass {
    /// The cosine of every row with its own class, `[batch]`, in `[-1, 1]` but for rounding; 0 for a row without a class.
    pub cosine: Tensor<1>,
    /// Whether the row has a class, `[batch]`.
    pub valid: Tensor<1, Bool>,
    embeddings: Tensor<2>,
}

impl OwnClass {
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
}

/// What a batch has to do with class centers.
#[derive(Clone, Debug)]
pub struct ClassScores {
    /// The cosine with the own center, `[batch]`; 0 for a row without a class.
    pub own_cosine: Tensor<1>,
    /// What the other classes weigh, `[batch]`: for most heads `log(sum over them of exp(scale·cosine))`, hugely negative
    /// where there is none.
    pub others: Tensor<1>,
}

impl ClassScores {
    /// From the packed `[batch, 2]` of the engine.
    pub(crate) fn new(packed: Tensor<2>) -> Self {
        let column = |column| packed.clone().narrow(1, column, 1).squeeze_dim::<1>(1);
        Self { own_cosine: column(0), others: column(1) }
    }
}

/// The loss of every row, in a precision fit for sums.
fn losses<H: MarginHead + ?Sized>(head: &H, embeddings: Tensor<2>, labels: SafeLabels) -> Tensor<1> {
    let [batch, _] = embeddings.dims();
    if batch == 0 {
        return embeddings.reshape([0]);
    }
    let embeddings = silence(embeddings, labels.valid.clone());
    let scores = head.scores(embeddings.clone(), index_or_none(&labels));

    margin_losses(head, scores, embeddings, labels.valid)
}

/// The class of every row, -1 where it has none: a sample of the classes must not hold class 0 for its sake.
pub(crate) fn index_or_none(labels: &SafeLabels) -> Tensor<1, Int> {
    labels.index.clone().mask_fill(labels.valid.clone().bool_not(), -1)
}

/// The losses from the scores; 0 where a row has no class.
pub(crate) fn margin_losses<H: MarginHead + ?Sized>(
    head: &H,
    scores: ClassScores,
    embeddings: Tensor<2>,
    valid: Tensor<1, Bool>,
) -> Tensor<1> {
    let own = OwnClass::new(scores.own_cosine, valid.clone(), embeddings);
    let losses = head.row_losses(scores.others, &own);
    let losses = match head.penalty(&own) {
        None => losses,
        Some(penalty) => losses + penalty,
    };
    losses.mask_fill(valid.bool_not(), 0.0)
}

/// Numbers multiplied with a scale.
pub(crate) fn times<const D: usize>(numbers: Tensor<D>, scale: &Scale) -> Tensor<D> {
    match scale {
        Scale::Constant(scale) => numbers.mul_scalar(*scale),
        Scale::Tensor(scale) => {
            let shape = numbers.dims();
            let scale = cast_to(scale.clone().to_device(&numbers.device()), numbers.dtype());
            numbers * scale.reshape([1; D]).expand(shape)
        }
    }
}

/// Where a class is the row's own, `[batch, classes]`.
fn own_class(index: Tensor<1, Int>, classes: usize) -> Tensor<2, Bool> {
    let [batch] = index.dims();
    let all = Tensor::<1, Int>::arange(0..classes as i64, (&index.device(), index.dtype()));
    let all = all.unsqueeze_dim::<2>(0).expand([batch, classes]);

    all.equal(index.unsqueeze_dim::<2>(1).expand([batch, classes]))
}
