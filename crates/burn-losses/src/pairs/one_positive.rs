//! Anchors with one positive each, which is known by its place: views, aligned and symmetric rows, a queue.

use alloc::vec;
use alloc::vec::Vec;

use burn::tensor::{Bool, Int, Tensor};
use burn_losses_kernels::math::unit_rows;
use burn_losses_kernels::scores::{Counted, Sides};

use super::Pairs;
use super::argument::{Chosen, Rows};
use super::loss::AnchorLosses;
use crate::matryoshka::cut;

/// Anchors with one positive each, which is known by its place.
pub(super) struct OnePositive {
    /// `[anchors, embedding_dim]`.
    pub(super) anchors: Tensor<2>,
    /// `[anchors, embedding_dim]`, row by row.
    pub(super) positives: Tensor<2>,
    /// `[negatives, embedding_dim]`.
    pub(super) negatives: Tensor<2>,
    /// `[anchors]`, by which an anchor's negatives are counted.
    pub(super) labels: Tensor<1, Int>,
    pub(super) counted: Counted,
    /// Negatives on other devices, `[rows, embedding_dim]` and `[rows]`: of an anchor those of another label than its own among
    /// `labels_elsewhere`, `[anchors]`.
    pub(super) elsewhere: Vec<(Tensor<2>, Tensor<1, Int>)>,
    pub(super) labels_elsewhere: Tensor<1, Int>,
    /// `[anchors]`, which of them are in a pair; all without it.
    pub(super) paired: Option<Tensor<1, Bool>>,
}

impl OnePositive {
    /// Anchors that are all in a pair, and have no negatives on other devices.
    pub(super) fn here(
        anchors: Tensor<2>,
        positives: Tensor<2>,
        negatives: Tensor<2>,
        labels: Tensor<1, Int>,
        counted: Counted,
    ) -> Self {
        let labels_elsewhere = labels.clone();
        Self { anchors, positives, negatives, labels, counted, elsewhere: Vec::new(), labels_elsewhere, paired: None }
    }

    /// All rows divided by their length.
    pub(super) fn unit(self) -> Self {
        let [anchors, positives, negatives] = [self.anchors, self.positives, self.negatives].map(unit_rows);
        let elsewhere = self.elsewhere.into_iter().map(|(rows, labels)| (unit_rows(rows), labels)).collect();
        Self { anchors, positives, negatives, elsewhere, ..self }
    }

    /// The first numbers of every row.
    pub(super) fn cut(&self, length: usize) -> Self {
        let [anchors, positives, negatives] =
            [&self.anchors, &self.positives, &self.negatives].map(|rows| cut(rows, length));
        let elsewhere = self.elsewhere.iter().map(|(rows, labels)| (cut(rows, length), labels.clone())).collect();
        let (labels, counted) = (self.labels.clone(), self.counted.clone());
        let (labels_elsewhere, paired) = (self.labels_elsewhere.clone(), self.paired.clone());
        Self { anchors, positives, negatives, labels, counted, elsewhere, labels_elsewhere, paired }
    }

    /// The products of every anchor and its positive, `[anchors]`.
    pub(super) fn scores(&self) -> Tensor<1> {
        (self.anchors.clone() * self.positives.clone()).sum_dim(1).squeeze_dim(1)
    }

    /// One loss for every anchor that is in a pair, those of several groups of anchors one after the other.
    pub(super) fn losses(groups: Vec<Self>, loss: impl Fn(Self) -> Tensor<1>) -> AnchorLosses {
        let paired = Self::all_paired(&groups);
        AnchorLosses::where_paired(Tensor::cat(groups.into_iter().map(loss).collect(), 0), paired)
    }

    /// Which anchors of all groups are in a pair; all without it.
    pub(super) fn all_paired(groups: &[Self]) -> Option<Tensor<1, Bool>> {
        let paired: Option<Vec<_>> = groups.iter().map(|rows| rows.paired.clone()).collect();
        paired.map(|paired| Tensor::cat(paired, 0))
    }
}

impl Pairs {
    /// The embeddings, where every anchor has one positive at a known place: in groups of anchors, in their order, that are
    /// compared with rows of their own; none where it is not so.
    pub(super) fn one_positive(&self) -> Vec<OnePositive> {
        let (Rows::Embeddings { anchors, references }, Some([labels, reference_labels])) = (&self.rows, &self.labels)
        else {
            return Vec::new();
        };
        let (anchors, references) = (anchors.clone(), references.clone());
        let [count, _] = anchors.dims();
        let paired = |labels: &Tensor<1, Int>| Some(labels.clone().greater_equal_scalar(0));
        let (positives, negatives, labels, counted, paired) = match self.chosen {
            Chosen::Views => {
                let half = |start| anchors.clone().narrow(0, start, count / 2);
                let positives = Tensor::cat(vec![half(count / 2), half(0)], 0);
                (positives, references, labels.clone(), Counted::OtherLabels(labels.clone()), None)
            }
            Chosen::Aligned => (references.clone(), references, labels.clone(), Counted::AllButTarget, None),
            Chosen::Identified => {
                (references.clone(), references, labels.clone(), Counted::OtherLabels(labels.clone()), paired(labels))
            }
            Chosen::Symmetric => {
                let half = |start| anchors.clone().narrow(0, start, count / 2);
                let labels = labels.clone().narrow(0, 0, count / 2);
                let group = |anchors, partners: Tensor<2>| OnePositive {
                    anchors,
                    positives: partners.clone(),
                    negatives: partners,
                    labels: labels.clone(),
                    counted: Counted::OtherLabels(labels.clone()),
                    elsewhere: Vec::new(),
                    labels_elsewhere: labels.clone(),
                    paired: paired(&labels),
                };
                let [first, second] = [half(0), half(count / 2)];
                return vec![group(first.clone(), second.clone()), group(second, first)];
            }
            Chosen::Queue => {
                let [all, _] = references.dims();
                let slots = reference_labels.clone().narrow(0, count, all - count);
                // An anchor with a negative label leaves out none.
                let nobody = labels.clone().full_like(-1);
                let (keys, queue) = (references.clone().narrow(0, 0, count), references.narrow(0, count, all - count));
                (keys, queue, nobody, Counted::OtherLabels(slots), None)
            }
            Chosen::ByLabels | Chosen::Masks(_) | Chosen::Triplets(_) => return Vec::new(),
        };
        let labels_elsewhere = match self.chosen {
            Chosen::Identified => labels.clone(),
            // An anchor with a negative label leaves out none.
            _ => labels.full_like(-1),
        };
        let elsewhere = self.elsewhere.clone();
        vec![OnePositive { anchors, positives, negatives, labels, counted, elsewhere, labels_elsewhere, paired }]
    }

    /// The two sides, where all other references are the negatives of an anchor, whose positive is at its place.
    pub(super) fn all_others(&self) -> Option<[Tensor<2>; 2]> {
        match (&self.rows, &self.chosen) {
            (Rows::Embeddings { anchors, references }, Chosen::Aligned) if self.elsewhere.is_empty() => {
                Some([anchors.clone(), references.clone()])
            }
            _ => None,
        }
    }

    /// Whether both directions of two sides are compared.
    pub(super) fn is_symmetric(&self) -> bool {
        matches!(self.chosen, Chosen::Symmetric)
    }

    /// The two sides, where the positive of every anchor is the row at its place on the other side, and all negatives are there.
    pub(super) fn facing(&self) -> Option<Sides> {
        let (Rows::Embeddings { anchors, references }, Some([labels, _])) = (&self.rows, &self.labels) else {
            return None;
        };
        let (first, second, labels) = match self.chosen {
            Chosen::Symmetric => {
                let samples = anchors.dims()[0] / 2;
                let half = |start| anchors.clone().narrow(0, start, samples);
                (half(0), half(samples), labels.clone().narrow(0, 0, samples))
            }
            Chosen::Aligned | Chosen::Identified if self.elsewhere.is_empty() => {
                (anchors.clone(), references.clone(), labels.clone())
            }
            _ => return None,
        };
        Some(Sides { first, second, labels: [labels.clone(), labels] })
    }
}
