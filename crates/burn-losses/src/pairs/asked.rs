//! What losses and miners ask of [`Pairs`].

use alloc::vec;
use alloc::vec::Vec;

use burn::tensor::{Bool, DType, Device, Int, Tensor};
use burn_losses_kernels::math::{cast_to, unit_rows};
use burn_losses_kernels::pair_sums::{kinds_of_labels, kinds_of_masks};

use super::Pairs;
use super::argument::{Chosen, Rows};
use crate::distance::Distance;
use crate::matryoshka::cut;
use crate::mining::{PairMasks, Triplets};

/// Rows whose pairs are those of their labels, for a loss that streams them.
#[derive(Clone, Debug)]
pub(super) struct Labelled {
    /// `[anchors, embedding_dim]`.
    pub(super) anchors: Tensor<2>,
    /// `[anchors]`.
    pub(super) labels: Tensor<1, Int>,
    /// `[references, embedding_dim]`.
    pub(super) references: Tensor<2>,
    /// `[references]`.
    pub(super) reference_labels: Tensor<1, Int>,
    pub(super) in_batch: bool,
}

impl Labelled {
    /// All rows divided by their length.
    pub(super) fn unit(self) -> Self {
        let anchors = unit_rows(self.anchors);
        let references = if self.in_batch { anchors.clone() } else { unit_rows(self.references) };
        Self { anchors, references, ..self }
    }
}

/// Distances of pairs, where each pair counts as often as it was chosen.
pub(super) struct Listed {
    /// `[rows, columns]`.
    pub(super) distances: Tensor<2>,
    /// `[rows, columns]`.
    pub(super) masks: PairMasks,
    /// The anchor of every row; without it, row `i` is that of anchor `i`.
    pub(super) anchor: Option<Tensor<1, Int>>,
}

/// A [`Listed`] with its masks as numbers.
pub(super) struct ListedKinds {
    /// `[rows, columns]`.
    pub(super) distances: Tensor<2>,
    /// `[rows, columns]`, as `pair_sums` takes them.
    pub(super) kinds: Tensor<2>,
    /// The anchor of every row; without it, row `i` is that of anchor `i`.
    pub(super) anchor: Option<Tensor<1, Int>>,
}

impl Pairs {
    /// How many anchors there are, and how many references each is compared with.
    pub fn dims(&self) -> [usize; 2] {
        match &self.rows {
            Rows::Embeddings { anchors, references } => [anchors.dims()[0], references.dims()[0]],
            Rows::Distances { matrix, .. } => matrix.dims(),
            Rows::Beside { anchors, others } => [anchors.dims()[0], others.len()],
        }
    }

    /// Where the embeddings or the distances are.
    pub fn device(&self) -> Device {
        match &self.rows {
            Rows::Embeddings { anchors, .. } | Rows::Beside { anchors, .. } => anchors.device(),
            Rows::Distances { matrix, .. } => matrix.device(),
        }
    }

    /// The labels of the anchors and of the references, classes or identities, negative for a row in no pair.
    ///
    /// # Shapes
    ///
    /// - output: `[anchors]` and `[references]`
    ///
    /// # Panics
    ///
    /// If there are none: pairs that are given row by row, views, aligned rows and queues have none.
    #[track_caller]
    pub fn class_labels(&self) -> &[Tensor<1, Int>; 2] {
        let user = self.user;
        match &self.labels {
            Some(labels) if !self.by_position => labels,
            _ => panic!("{user}: pairs by position have no labels of classes; give labels with Pairs::in_batch"),
        }
    }

    /// Which anchors and references are a pair: as the labels or the miner have it.
    ///
    /// # Shapes
    ///
    /// - output: masks of `[anchors, references]`; of rows that are given side by side a column for each
    ///
    /// # Panics
    ///
    /// If there are negatives on other devices.
    #[track_caller]
    pub fn masks(&self) -> PairMasks {
        self.expect_here();
        let [anchors, references] = self.dims();
        match (&self.chosen, &self.labels) {
            (Chosen::Masks(masks), _) => masks.clone(),
            (Chosen::Triplets(triplets), _) => triplets.pairs([anchors, references]),
            (Chosen::Queue, Some([labels, reference_labels])) => {
                let own = PairMasks::between(labels.clone(), labels.clone()).positive;
                let keys = PairMasks::none([anchors, anchors], &own.device());
                let queue = reference_labels.clone().narrow(0, anchors, references - anchors);
                let filled =
                    queue.greater_equal_scalar(0).unsqueeze_dim::<2>(0).expand([anchors, references - anchors]);
                let nothing = PairMasks::none(filled.dims(), &filled.device());
                PairMasks {
                    positive: Tensor::cat(vec![own, nothing.positive], 1),
                    negative: Tensor::cat(vec![keys.negative, filled], 1),
                }
            }
            (Chosen::Identified, Some([labels, _])) => identified(labels),
            (Chosen::Symmetric, Some([labels, _])) => {
                let samples = anchors / 2;
                let PairMasks { positive, negative } = identified(&labels.clone().narrow(0, 0, samples));
                let nothing = PairMasks::none([samples, samples], &positive.device()).positive;
                let across = |mask: Tensor<2, Bool>| {
                    let upper = Tensor::cat(vec![nothing.clone(), mask.clone()], 1);
                    Tensor::cat(vec![upper, Tensor::cat(vec![mask, nothing.clone()], 1)], 0)
                };
                PairMasks { positive: across(positive), negative: across(negative) }
            }
            (_, Some([labels, _])) if self.in_batch => PairMasks::in_batch(labels.clone()),
            (_, Some([labels, reference_labels])) => PairMasks::between(labels.clone(), reference_labels.clone()),
            (_, None) => unreachable!("rows side by side come with masks"),
        }
    }

    /// The triplets that a miner has chosen, if it chose triplets.
    pub fn triplets(&self) -> Option<&Triplets> {
        match &self.chosen {
            Chosen::Triplets(triplets) => Some(triplets),
            _ => None,
        }
    }

    /// The distances of all anchors to all references, whether they are a pair or not.
    ///
    /// # Shapes
    ///
    /// - output: `[anchors, references]`; of rows that are given side by side a column for each
    ///
    /// # Panics
    ///
    /// If the distances are precomputed, and others.
    #[track_caller]
    pub fn distances(&self, distance: Distance) -> Tensor<2> {
        self.expect_here();
        match &self.rows {
            Rows::Embeddings { anchors, references } => distance.matrix(anchors.clone(), references.clone()),
            Rows::Distances { distance: known, matrix } => {
                let user = self.user;
                assert!(
                    *known == distance,
                    "{user}: the distances are to be {distance:?}, the precomputed ones are {known:?}"
                );
                matrix.clone()
            }
            Rows::Beside { anchors, others } => {
                columns(others, |other| distance.rowwise(anchors.clone(), other.clone()))
            }
        }
    }

    /// The cosines of all anchors and references.
    ///
    /// # Shapes
    ///
    /// - output: `[anchors, references]`; of rows that are given side by side a column for each
    ///
    /// # Panics
    ///
    /// If distances are precomputed that are not [`Distance::Cosine`].
    #[track_caller]
    pub fn cosines(&self) -> Tensor<2> {
        match &self.rows {
            Rows::Distances { .. } => self.distances(Distance::Cosine).neg().add_scalar(1.0),
            _ => self.clone().unit().products(),
        }
    }

    /// The products of all anchors and references.
    ///
    /// # Shapes
    ///
    /// - output: `[anchors, references]`; of rows that are given side by side a column for each
    ///
    /// # Panics
    ///
    /// If distances are precomputed.
    #[track_caller]
    pub fn products(&self) -> Tensor<2> {
        self.expect_here();
        match &self.rows {
            Rows::Embeddings { anchors, references } => anchors.clone().matmul(references.clone().transpose()),
            Rows::Beside { anchors, others } => {
                columns(others, |other| (anchors.clone() * other.clone()).sum_dim(1).squeeze_dim(1))
            }
            Rows::Distances { .. } => panic!("{}: products are computed of embeddings, not of distances", self.user),
        }
    }

    /// Refuses negatives on other devices, which would be left out in silence.
    #[track_caller]
    fn expect_here(&self) {
        let user = self.user;
        assert!(
            self.elsewhere.is_empty(),
            "{user}: negatives elsewhere are not for this; see Pairs::with_negatives_elsewhere"
        );
    }

    /// Refuses pairs that are given row by row: an anchor has a positive or a negative there, never both, so that every
    /// loss would be 0.
    #[track_caller]
    pub(super) fn expect_triplets(&self) {
        let user = self.user;
        let single = matches!(&self.rows, Rows::Beside { others, .. } if others.len() == 1);
        assert!(!single, "{user}: an anchor needs a positive and a negative, which Pairs::given does not have");
    }

    /// The same pairs of the first numbers of each row.
    pub(crate) fn cut(&self, length: usize) -> Self {
        let rows = match &self.rows {
            Rows::Embeddings { anchors, references } => {
                Rows::Embeddings { anchors: cut(anchors, length), references: cut(references, length) }
            }
            Rows::Beside { anchors, others } => Rows::Beside {
                anchors: cut(anchors, length),
                others: others.iter().map(|rows| cut(rows, length)).collect(),
            },
            rows @ Rows::Distances { .. } => rows.clone(),
        };
        let elsewhere = self.elsewhere.iter().map(|(rows, labels)| (cut(rows, length), labels.clone())).collect();
        Self { rows, elsewhere, ..self.clone() }
    }

    /// How long the embeddings are that `user` is to cut.
    #[track_caller]
    pub(crate) fn embedding_dim(&self, user: &str) -> usize {
        match &self.rows {
            Rows::Embeddings { anchors, .. } | Rows::Beside { anchors, .. } => anchors.dims()[1],
            Rows::Distances { .. } => panic!("{user}: embeddings can be cut, precomputed distances cannot"),
        }
    }

    /// How long they are, or 0 of precomputed distances, and the precision that they are compared in.
    pub(super) fn dim_and_precision(&self) -> (usize, DType) {
        match &self.rows {
            Rows::Embeddings { anchors, .. } | Rows::Beside { anchors, .. } => (anchors.dims()[1], anchors.dtype()),
            Rows::Distances { matrix, .. } => (0, matrix.dtype()),
        }
    }

    /// All embeddings that `user` looks at apart from what they are compared with: anchors, and references that are none.
    #[track_caller]
    pub(crate) fn all_rows(&self, user: &str) -> Tensor<2> {
        match &self.rows {
            Rows::Embeddings { anchors, .. } if self.in_batch || matches!(self.chosen, Chosen::Symmetric) => {
                anchors.clone()
            }
            Rows::Embeddings { anchors, references } => Tensor::cat(vec![anchors.clone(), references.clone()], 0),
            Rows::Beside { anchors, others } => {
                Tensor::cat(core::iter::once(anchors).chain(others).cloned().collect(), 0)
            }
            Rows::Distances { .. } => panic!("{user}: embeddings are needed, precomputed distances have none"),
        }
    }

    /// The precision that losses come back in.
    pub(crate) fn precision(&self) -> DType {
        self.dtype
    }

    /// The same pairs, asked for by `user`.
    pub(crate) fn used_by(self, user: &'static str) -> Self {
        Self { user, ..self }
    }

    /// All rows divided by their length; distances stay what they are.
    pub(crate) fn unit(self) -> Self {
        let in_batch = self.in_batch;
        let rows = match self.rows {
            Rows::Embeddings { anchors, references } => {
                let anchors = unit_rows(anchors);
                let references = if in_batch { anchors.clone() } else { unit_rows(references) };
                Rows::Embeddings { anchors, references }
            }
            Rows::Beside { anchors, others } => {
                Rows::Beside { anchors: unit_rows(anchors), others: others.into_iter().map(unit_rows).collect() }
            }
            rows => rows,
        };
        Self { rows, ..self }
    }

    /// The same rows beside autodiff: a miner's choice has no gradient.
    pub(crate) fn without_autodiff(self) -> Self {
        let rows = match self.rows {
            Rows::Embeddings { anchors, references } => {
                Rows::Embeddings { anchors: anchors.without_autodiff(), references: references.without_autodiff() }
            }
            Rows::Distances { distance, matrix } => Rows::Distances { distance, matrix: matrix.without_autodiff() },
            Rows::Beside { anchors, others } => Rows::Beside {
                anchors: anchors.without_autodiff(),
                others: others.into_iter().map(Tensor::without_autodiff).collect(),
            },
        };
        Self { rows, ..self }
    }

    /// The embeddings of anchors that are compared with every reference, and those of the references.
    pub(crate) fn embeddings(&self) -> Option<(Tensor<2>, Tensor<2>)> {
        match &self.rows {
            Rows::Embeddings { anchors, references } => Some((anchors.clone(), references.clone())),
            _ => None,
        }
    }

    /// The embeddings and labels, where labels alone say what a pair is: for a loss that streams.
    #[track_caller]
    pub(super) fn labelled(&self) -> Option<Labelled> {
        self.expect_here();
        match (&self.rows, &self.labels, &self.chosen) {
            (
                Rows::Embeddings { anchors, references },
                Some([labels, reference_labels]),
                Chosen::ByLabels | Chosen::Views | Chosen::Aligned,
            ) => Some(Labelled {
                anchors: anchors.clone(),
                labels: labels.clone(),
                references: references.clone(),
                reference_labels: reference_labels.clone(),
                in_batch: self.in_batch,
            }),
            _ => None,
        }
    }

    /// The distances of the chosen pairs, each as often as it was chosen.
    #[track_caller]
    pub(super) fn listed(&self, distance: Distance) -> Listed {
        let distances = self.distances(distance);
        let Chosen::Triplets(triplets) = &self.chosen else {
            return Listed { distances, masks: self.masks(), anchor: None };
        };
        let [near, far] =
            [&triplets.positive, &triplets.negative].map(|column| gather(&distances, &triplets.anchor, column));
        let valid = triplets.valid.clone().unsqueeze_dim::<2>(1);
        let nothing = PairMasks::none(valid.dims(), &valid.device());
        Listed {
            distances: Tensor::cat(vec![near, far], 1),
            masks: PairMasks {
                positive: Tensor::cat(vec![valid.clone(), nothing.positive], 1),
                negative: Tensor::cat(vec![nothing.negative, valid], 1),
            },
            anchor: Some(triplets.anchor.clone()),
        }
    }

    /// The same, with what a pair is as a number: 1 for a positive, -1 for a negative, 0 for none.
    #[track_caller]
    pub(super) fn listed_kinds(&self, distance: Distance) -> ListedKinds {
        if let (Chosen::ByLabels | Chosen::Views | Chosen::Aligned, Some([labels, references])) =
            (&self.chosen, &self.labels)
        {
            let distances = self.distances(distance);
            let kinds = kinds_of_labels(labels.clone(), references.clone(), self.in_batch, distances.dtype());
            return ListedKinds { distances, kinds, anchor: None };
        }
        let Listed { distances, masks, anchor } = self.listed(distance);
        let kinds = kinds_of_masks(masks.positive, masks.negative, distances.dtype());
        ListedKinds { distances, kinds, anchor }
    }

    /// The identities of the anchors, `[anchors]`, which may be numbers of samples.
    #[track_caller]
    pub(super) fn identities(&self) -> Tensor<1, Int> {
        let user = self.user;
        let [labels, _] = self.labels.as_ref().unwrap_or_else(|| {
            panic!("{user}: rows side by side have no identities; give a batch with labels, Pairs::in_batch")
        });
        labels.clone()
    }

    /// Whether the pairs are triplets already, of a miner or given row by row.
    pub(super) fn are_triplets(&self) -> bool {
        matches!(self.chosen, Chosen::Triplets(_)) || matches!(self.rows, Rows::Beside { .. })
    }

    /// The distance of the positive and the negative of every triplet in [`listed`](Self::listed), `[rows, 1]`.
    #[track_caller]
    pub(super) fn between_listed(&self, distance: Distance) -> Tensor<2> {
        match (&self.rows, &self.chosen) {
            (_, Chosen::Triplets(triplets)) => {
                gather(&self.among_references(distance), &triplets.positive, &triplets.negative)
            }
            (Rows::Beside { others, .. }, _) if others.len() == 2 => {
                distance.rowwise(others[0].clone(), others[1].clone()).unsqueeze_dim(1)
            }
            _ => unreachable!("only triplets are asked"),
        }
    }

    /// The distances of the references to each other, `[references, references]`.
    #[track_caller]
    fn among_references(&self, distance: Distance) -> Tensor<2> {
        match &self.rows {
            _ if self.in_batch => self.distances(distance),
            Rows::Embeddings { references, .. } => distance.matrix(references.clone(), references.clone()),
            Rows::Distances { .. } => panic!(
                "{}: the distances of references to each other are needed, which precomputed distances of a batch with \
                 references do not hold",
                self.user
            ),
            Rows::Beside { .. } => panic!(
                "{}: rows that are given side by side are triplets already; choose triplets of a batch, of Pairs::in_batch",
                self.user
            ),
        }
    }

    /// The same triplets as a batch with itself, for what is asked of distances of references to each other: anchors and
    /// references are the rows of one batch, in this order, and only anchors have pairs. `[anchors + references]` rows
    /// where references are not the anchors.
    #[track_caller]
    pub(super) fn united(&self, distance: Distance) -> (Tensor<2>, PairMasks) {
        let masks = self.masks();
        if self.in_batch {
            return (self.distances(distance), masks);
        }
        let across = self.among_references(distance);
        let [anchors, references] = self.dims();
        // Anchors are nobody's reference: their distances to each other are not looked at.
        let distances = self.distances(distance);
        let unused = Tensor::<2>::zeros([anchors, anchors], (&self.device(), distances.dtype()));
        let distances = Tensor::cat(
            vec![Tensor::cat(vec![unused, distances.clone()], 1), Tensor::cat(vec![distances.transpose(), across], 1)],
            0,
        );
        let padded = |mask: Tensor<2, Bool>| {
            let none = |rows, columns| Tensor::<2, Bool>::full([rows, columns], false, &mask.device());
            let top = Tensor::cat(vec![none(anchors, anchors), mask.clone()], 1);
            Tensor::cat(vec![top, none(references, anchors + references)], 0)
        };
        (distances, PairMasks { positive: padded(masks.positive.clone()), negative: padded(masks.negative) })
    }

    /// Whether there is nothing to compare.
    pub fn is_empty(&self) -> bool {
        self.dims().contains(&0)
    }

    /// The same, or, where there is nothing to compare, one row at least of zeros in no pair: no loss then needs to know
    /// of empty tensors, and all that is trained has the gradient 0.
    pub(super) fn filled(&self) -> Self {
        if !self.is_empty() {
            return self.clone();
        }
        let ([anchors, _], device) = (self.dims(), self.device());
        let count = anchors.max(1);
        let nobody = |count: usize| {
            let options = self.labels.as_ref().map_or(DType::I32, |[labels, _]| labels.dtype());
            Tensor::<1, Int>::full([count], -1, (&device, options))
        };
        let labels = Some([nobody(count), nobody(if self.in_batch { count } else { 1 })]);
        let silent = |rows: &Tensor<2>| {
            let [rows_there, dim] = rows.dims();
            if rows_there == 0 {
                return Tensor::<2>::zeros([1, dim], (&device, rows.dtype()));
            }
            // Connected, so that a backward finds the gradient 0.
            rows.clone().mask_fill(Tensor::<2, Bool>::full([rows_there, dim], true, &device), 0.0)
        };
        let (rows, chosen) = match &self.rows {
            Rows::Embeddings { anchors, references } => {
                let anchors = silent(anchors);
                let dim = references.dims()[1];
                let one = Tensor::<2>::zeros([1, dim], (&device, anchors.dtype()));
                let references = if self.in_batch { anchors.clone() } else { one };
                (Rows::Embeddings { anchors, references }, Chosen::ByLabels)
            }
            Rows::Distances { distance, matrix } => {
                let columns = if self.in_batch { count } else { 1 };
                let matrix = Tensor::<2>::zeros([count, columns], (&device, matrix.dtype()));
                (Rows::Distances { distance: *distance, matrix }, Chosen::ByLabels)
            }
            Rows::Beside { anchors, others } => {
                let none = PairMasks::none([count, others.len()], &device);
                let others = others.iter().map(silent).collect();
                (Rows::Beside { anchors: silent(anchors), others }, Chosen::Masks(none))
            }
        };
        let labels = if self.labels.is_some() { labels } else { None };
        Self { rows, labels, chosen, elsewhere: Vec::new(), ..self.clone() }
    }

    /// Losses in the precision that the embeddings came in; connected to the embeddings even if there are none.
    pub(super) fn finish(&self, losses: Tensor<1>) -> Tensor<1> {
        let losses = cast_to(losses, self.dtype);
        let nothing = match &self.rows {
            Rows::Embeddings { anchors, .. } | Rows::Beside { anchors, .. } if anchors.dims()[0] == 0 => anchors,
            Rows::Distances { matrix, .. } if self.is_empty() => matrix,
            _ => return losses,
        };
        let shape = losses.dims();
        losses + cast_to(nothing.clone().sum(), self.dtype).expand(shape)
    }

    /// The losses of no anchors.
    pub(super) fn no_losses(&self) -> Tensor<1> {
        let nothing = match &self.rows {
            Rows::Embeddings { anchors, .. } | Rows::Beside { anchors, .. } => anchors,
            Rows::Distances { matrix, .. } => matrix,
        };
        cast_to(nothing.clone().flatten(0, 1), self.dtype)
    }
}

/// The pairs of rows and their partners, which stand at the same place; others of the same label are none.
fn identified(labels: &Tensor<1, Int>) -> PairMasks {
    let [count] = labels.dims();
    let places = Tensor::<1, Int>::arange(0..count as i64, (&labels.device(), labels.dtype()));
    let places = places.mask_fill(labels.clone().lower_scalar(0), -1);
    PairMasks {
        positive: PairMasks::between(places.clone(), places).positive,
        negative: PairMasks::between(labels.clone(), labels.clone()).negative,
    }
}

/// The numbers in these rows and columns, `[entries, 1]`.
fn gather(matrix: &Tensor<2>, rows: &Tensor<1, Int>, columns: &Tensor<1, Int>) -> Tensor<2> {
    let [_, width] = matrix.dims();
    let place = rows.clone().mul_scalar(width as i64) + columns.clone();
    matrix.clone().flatten::<1>(0, 1).select(0, place).unsqueeze_dim(1)
}

fn columns(others: &[Tensor<2>], column: impl Fn(&Tensor<2>) -> Tensor<1>) -> Tensor<2> {
    Tensor::cat(others.iter().map(|other| column(other).unsqueeze_dim::<2>(1)).collect(), 1)
}
