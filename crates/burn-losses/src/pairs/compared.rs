use burn::tensor::{Bool, DType, Int, Tensor, assert_shape};
use burn_losses_kernels::logsumexp::KeyLabels;
use burn_losses_kernels::math::{NOTHING, cast_to, signed, unit_rows, widen};

use crate::distance::Distance;
use crate::mining::Pairs;

/// Anchors and the references they are compared with: what a [`PairwiseLoss`](super::PairwiseLoss) sees of embeddings.
///
/// Half precision is widened to `f32`. Rows with a negative label are 0, whatever was in them.
#[derive(Clone, Debug)]
pub struct Compared {
    /// `[anchors, embedding_dim]`.
    pub anchors: Tensor<2>,
    /// `[anchors]`.
    pub labels: Tensor<1, Int>,
    /// `[references, embedding_dim]`, in the precision of the anchors.
    pub references: Tensor<2>,
    /// `[references]`, in the integers of the labels.
    pub reference_labels: Tensor<1, Int>,
    /// Whether the references are the anchors, so that a row is not its own reference.
    pub in_batch: bool,
    dtype: DType,
}

impl Compared {
    /// A batch with itself.
    ///
    /// # Shapes
    ///
    /// - embeddings: `[batch, embedding_dim]`
    /// - labels: `[batch]`
    ///
    /// # Panics
    ///
    /// If the shapes do not agree, or `embedding_dim` is 0.
    pub fn in_batch(embeddings: Tensor<2>, labels: Tensor<1, Int>) -> Self {
        let dtype = embeddings.dtype();
        let (embeddings, labels) = rows(embeddings, labels);
        Self {
            anchors: embeddings.clone(),
            labels: labels.clone(),
            references: embeddings,
            reference_labels: labels,
            in_batch: true,
            dtype,
        }
    }

    /// A batch with other rows.
    ///
    /// # Shapes
    ///
    /// - embeddings: `[batch, embedding_dim]`
    /// - labels: `[batch]`
    /// - references: `[references, embedding_dim]`
    /// - reference_labels: `[references]`
    ///
    /// # Panics
    ///
    /// If the shapes do not agree, or `embedding_dim` is 0.
    pub fn between(
        embeddings: Tensor<2>,
        labels: Tensor<1, Int>,
        references: Tensor<2>,
        reference_labels: Tensor<1, Int>,
    ) -> Self {
        let dtype = embeddings.dtype();
        let ([_, dim], [count, _]) = (embeddings.dims(), references.dims());
        assert_shape!(references, [count, dim]);
        let (anchors, labels) = rows(embeddings, labels);
        let (references, reference_labels) = rows(references, reference_labels);
        let references = cast_to(references, anchors.dtype());
        // Casts of integers that agree stop Burn's servers.
        let agree = reference_labels.dtype() == labels.dtype();
        let reference_labels = if agree { reference_labels } else { reference_labels.cast(labels.dtype()) };
        Self { anchors, labels, references, reference_labels, in_batch: false, dtype }
    }

    /// The same rows with other labels; those that become negative are in no pair.
    pub fn relabelled(self, labels: impl Fn(Tensor<1, Int>) -> Tensor<1, Int>) -> Self {
        let again = if self.in_batch {
            Self::in_batch(self.anchors, labels(self.labels))
        } else {
            Self::between(self.anchors, labels(self.labels), self.references, labels(self.reference_labels))
        };
        Self { dtype: self.dtype, ..again }
    }

    /// All rows divided by their length.
    pub fn unit(self) -> Self {
        let anchors = unit_rows(self.anchors);
        let references = if self.in_batch { anchors.clone() } else { unit_rows(self.references) };
        Self { anchors, references, ..self }
    }

    /// Whether there is nothing to compare.
    pub fn is_empty(&self) -> bool {
        self.anchors.dims()[0] == 0 || self.references.dims()[0] == 0
    }

    /// The pairs that the labels make, `[anchors, references]`.
    pub fn pairs(&self) -> Pairs {
        if self.in_batch {
            Pairs::in_batch(self.labels.clone())
        } else {
            Pairs::between(self.labels.clone(), self.reference_labels.clone())
        }
    }

    /// The references that are positives of an anchor, for a streamed sum.
    pub fn positives(&self) -> KeyLabels {
        KeyLabels::Same { labels: self.reference_labels.clone(), in_batch: self.in_batch }
    }

    /// The references that are negatives of an anchor, for a streamed sum. An anchor with a negative label has all of them.
    pub fn negatives(&self) -> KeyLabels {
        KeyLabels::Tensor(self.reference_labels.clone())
    }

    /// The products of all anchors and references, `[anchors, references]`.
    pub fn products(&self) -> Tensor<2> {
        self.anchors.clone().matmul(self.references.clone().transpose())
    }

    /// The distances of all anchors and references, `[anchors, references]`.
    pub fn distances(&self, distance: Distance) -> Tensor<2> {
        let ([anchors, _], [references, _]) = (self.anchors.dims(), self.references.dims());
        if self.is_empty() {
            return Tensor::zeros([anchors, references], (&self.anchors.device(), self.anchors.dtype()));
        }
        distance.matrix(self.anchors.clone(), self.references.clone())
    }

    /// The loss of anchors with nothing to compare: 0, and connected to the embeddings, so that a backward finds the
    /// gradient 0. `[1]`.
    pub fn no_loss(self) -> Tensor<1> {
        // The sum of nothing is -0.0 on some backends.
        self.no_losses().sum().add_scalar(0.0)
    }

    /// What `losses` makes of the rows, one number per anchor, in the precision that the embeddings came in.
    pub(super) fn losses_of(self, losses: impl FnOnce(Self) -> Tensor<1>) -> Tensor<1> {
        let dtype = self.dtype;
        cast_to(if self.is_empty() { self.no_losses() } else { losses(self) }, dtype)
    }

    /// The precision that the embeddings came in.
    pub(super) fn dtype(&self) -> DType {
        self.dtype
    }

    fn no_losses(self) -> Tensor<1> {
        let dims @ [batch, _] = self.anchors.dims();
        if batch == 0 {
            return self.anchors.reshape([0]);
        }
        let all = Tensor::<2, Bool>::full(dims, true, &self.anchors.device());
        self.anchors.mask_fill(all, 0.0).sum_dim(1).squeeze_dim(1)
    }
}

fn rows(embeddings: Tensor<2>, labels: Tensor<1, Int>) -> (Tensor<2>, Tensor<1, Int>) {
    let dims @ [count, dim] = embeddings.dims();
    assert!(dim >= 1, "embeddings must have at least one column");
    assert_shape!(labels, [count]);
    let labels = signed(labels);
    if count == 0 {
        return (widen(embeddings), labels);
    }
    let in_no_pair = labels.clone().lower_scalar(0).unsqueeze_dim::<2>(1).expand(dims);

    (widen(embeddings).mask_fill(in_no_pair, 0.0), labels)
}

/// Whether a log-sum-exp is of anything, `[anchors]`.
pub(super) fn is_something(log_sum_exp: Tensor<1>) -> Tensor<1, Bool> {
    // What was added to the log-sum-exp of nothing is far smaller than it.
    log_sum_exp.lower_scalar(0.5 * NOTHING).bool_not()
}
