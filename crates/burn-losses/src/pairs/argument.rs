use alloc::vec;
use alloc::vec::Vec;

use burn::tensor::{Bool, DType, Device, Int, Tensor};
use burn_losses_kernels::math::{cast_to, comparable, signed, unit_rows, widen};
use burn_losses_kernels::scores::Counted;

use super::shapes::expect_shape;
use crate::distance::Distance;
use crate::labels::{LabelPolicy, OnBadLabel, silence};
use crate::mining::{PairMasks, Triplets};

/// Which rows are compared with which, and which of these pairs count: what every [`PairLoss`](super::PairLoss) and every
/// [`Miner`](crate::mining::Miner) takes.
///
/// | made by | anchors | references | pairs |
/// | --- | --- | --- | --- |
/// | [`in_batch`](Self::in_batch) | the batch | the batch | of labels, but no row with itself |
/// | [`with_references`](Self::with_references) | the batch | other rows, such as a memory's | of labels |
/// | [`views`](Self::views) (SimCLR) | both views | both views | a view and the other view of its sample; all others |
/// | [`aligned`](Self::aligned) (CLIP, N-pairs) | queries | keys | a query and its key; all other keys |
/// | [`queue`](Self::queue) (MoCo) | queries | keys and a queue | a query and its key; the queue |
/// | [`given`](Self::given) | first rows | second rows | row `i` and row `i` |
/// | [`given_triplets`](Self::given_triplets) | anchors | positives and negatives | the three rows `i` |
/// | [`precomputed`](Self::precomputed) | a matrix of distances in place of embeddings || of labels |
///
/// A miner, [`with_masks`](Self::with_masks) and [`with_triplets`](Self::with_triplets) choose among the pairs.
///
/// Half precision is computed in `f32`, and losses come back in the precision of the embeddings. A row with a negative
/// label is in no pair, whatever stands in it.
///
/// ```
/// use burn::tensor::{Device, Int, Tensor};
/// use burn_losses::mining::{Miner, MultiSimilarityMinerConfig};
/// use burn_losses::pairs::{MultiSimilarityLossConfig, PairLoss, Pairs};
///
/// let device = Device::default();
/// let (loss, miner) = (MultiSimilarityLossConfig::new().init(&device), MultiSimilarityMinerConfig::new().init(&device));
/// let embeddings = Tensor::<2>::from_data([[1.0, 0.0], [0.8, 0.6], [0.6, 0.8]], &device);
/// let labels = Tensor::<1, Int>::from_ints([5, 5, 6], &device);
///
/// let pairs = miner.mine(&Pairs::in_batch(embeddings, labels));
/// assert!(loss.forward_pairs(&pairs).into_scalar::<f32>() > 0.0);
/// ```
#[derive(Clone, Debug)]
pub struct Pairs {
    rows: Rows,
    /// Those of the anchors and of the references; not of rows that are given side by side.
    labels: Option<[Tensor<1, Int>; 2]>,
    /// Whether the labels number the samples, and are no classes.
    by_position: bool,
    /// Whether the references are the anchors, so that a row is not its own reference.
    in_batch: bool,
    chosen: Chosen,
    dtype: DType,
    /// Who asks, for messages.
    user: &'static str,
}

/// What is compared.
#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant, reason = "made once per call; which variant is large depends on the backends")]
enum Rows {
    /// Every anchor with every reference.
    Embeddings { anchors: Tensor<2>, references: Tensor<2> },
    /// The same, of which the distances are known.
    Distances { distance: Distance, matrix: Tensor<2> },
    /// Every anchor with the rows beside it.
    Beside { anchors: Tensor<2>, others: Vec<Tensor<2>> },
}

/// Which pairs count.
#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant, reason = "made once per call; which variant is large depends on the backends")]
enum Chosen {
    /// Equal labels are a positive pair, different ones a negative pair.
    ByLabels,
    /// Likewise, where each half of the rows is the positives of the other half.
    Views,
    /// Likewise, where a reference is the positive of the anchor at its place.
    Aligned,
    /// The first references are the positives of the anchors at their places, the rest are negatives of all.
    Queue,
    Masks(PairMasks),
    Triplets(Triplets),
}

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
}

impl Labelled {
    /// All rows divided by their length.
    pub(super) fn unit(self) -> Self {
        let anchors = unit_rows(self.anchors);
        let references = if self.in_batch { anchors.clone() } else { unit_rows(self.references) };
        Self { anchors, references, ..self }
    }
}

impl OnePositive {
    /// All rows divided by their length.
    pub(super) fn unit(self) -> Self {
        let [anchors, positives, negatives] = [self.anchors, self.positives, self.negatives].map(unit_rows);
        Self { anchors, positives, negatives, ..self }
    }

    /// The products of every anchor and its positive, `[anchors]`.
    pub(super) fn scores(&self) -> Tensor<1> {
        (self.anchors.clone() * self.positives.clone()).sum_dim(1).squeeze_dim(1)
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

impl Pairs {
    /// All pairs of a batch with itself, but for rows with themselves.
    ///
    /// # Shapes
    ///
    /// - embeddings: `[batch, embedding_dim]`
    /// - labels: `[batch]`, identities; a row with a negative one is in no pair
    ///
    /// # Panics
    ///
    /// If the shapes do not agree, or `embedding_dim` is 0.
    #[track_caller]
    pub fn in_batch(embeddings: Tensor<2>, labels: Tensor<1, Int>) -> Self {
        Self::of_batch("Pairs", embeddings, labels)
    }

    #[track_caller]
    pub(super) fn of_batch(user: &'static str, embeddings: Tensor<2>, labels: Tensor<1, Int>) -> Self {
        let dtype = embeddings.dtype();
        let (anchors, labels) = labelled(user, ["embeddings", "labels"], embeddings, labels);
        let rows = Rows::Embeddings { anchors: anchors.clone(), references: anchors };
        Self {
            rows,
            labels: Some([labels.clone(), labels]),
            by_position: false,
            in_batch: true,
            chosen: Chosen::ByLabels,
            dtype,
            user,
        }
    }

    /// All pairs of a batch with other rows; rows of the batch are not compared with each other.
    ///
    /// # Shapes
    ///
    /// - embeddings: `[batch, embedding_dim]`
    /// - labels: `[batch]`
    /// - references: `([references, embedding_dim], [references])`, rows and their labels, such as those that
    ///   [`CrossBatchMemory::references`](crate::memory::CrossBatchMemory::references) returns; one with a negative label is
    ///   in no pair
    ///
    /// # Panics
    ///
    /// If the shapes do not agree, or `embedding_dim` is 0.
    ///
    /// ```
    /// use burn::tensor::{Device, Int, Tensor};
    /// use burn_losses::memory::CrossBatchMemoryConfig;
    /// use burn_losses::pairs::{PairLoss, Pairs, TripletLossConfig};
    ///
    /// let device = Device::default().autodiff();
    /// let memory = CrossBatchMemoryConfig::new(1).with_capacity(3).init(&device);
    /// let rows = |numbers: [[f32; 1]; 2]| Tensor::<2>::from_data(numbers, &device);
    /// let labels = || Tensor::<1, Int>::from_ints([3, 8], &device);
    /// memory.enqueue(rows([[1.0], [2.0]]), labels());
    ///
    /// let pairs = Pairs::with_references(rows([[0.0], [2.0]]), labels(), memory.references());
    /// let loss = TripletLossConfig::new().with_margin(0.5).init(&device);
    /// // One positive and one negative each: 1 - 2 + 0.5 < 0, and 0 - 1 + 0.5 < 0.
    /// assert_eq!(loss.forward_pairs(&pairs).into_scalar::<f32>(), 0.0);
    /// ```
    #[track_caller]
    pub fn with_references(
        embeddings: Tensor<2>,
        labels: Tensor<1, Int>,
        references: (Tensor<2>, Tensor<1, Int>),
    ) -> Self {
        let dtype = embeddings.dtype();
        let (references, reference_labels) = references;
        let ([_, dim], [count, _]) = (embeddings.dims(), references.dims());
        expect_shape("Pairs", "references", references.dims(), [count, dim]);
        let (anchors, labels) = labelled("Pairs", ["embeddings", "labels"], embeddings, labels);
        let (references, reference_labels) =
            labelled("Pairs", ["references", "labels of the references"], references, reference_labels);
        let rows = Rows::Embeddings { references: cast_to(references, anchors.dtype()), anchors };
        let (labels, reference_labels) = comparable(labels, reference_labels);
        let labels = Some([labels, reference_labels]);

        Self { rows, labels, by_position: false, in_batch: false, chosen: Chosen::ByLabels, dtype, user: "Pairs" }
    }

    /// Two views of the same samples, such as two augmentations: SimCLR's pairs. Each view looks for the other one among
    /// both views of all samples. The anchors are the rows of `first`, then those of `second`.
    ///
    /// # Shapes
    ///
    /// - first: `[samples, embedding_dim]`
    /// - second: `[samples, embedding_dim]`; row `i` is the other view of row `i`
    ///
    /// # Panics
    ///
    /// If the shapes do not agree, or `embedding_dim` is 0.
    #[track_caller]
    pub fn views(first: Tensor<2>, second: Tensor<2>) -> Self {
        let dtype = first.dtype();
        let (first, second) = beside("Pairs", ["first", "second"], first, second);
        let samples = samples(&first);
        let samples = Tensor::cat(vec![samples.clone(), samples], 0);
        let both = Tensor::cat(vec![first, second], 0);
        let rows = Rows::Embeddings { anchors: both.clone(), references: both };

        Self {
            rows,
            labels: Some([samples.clone(), samples]),
            by_position: true,
            in_batch: true,
            chosen: Chosen::Views,
            dtype,
            user: "Pairs",
        }
    }

    /// Queries, each with a key, among all keys: one direction of CLIP, whose loss is the mean of this and of the same
    /// with queries and keys exchanged; the pairs of an N-pairs loss.
    ///
    /// # Shapes
    ///
    /// - queries: `[batch, embedding_dim]`
    /// - keys: `[batch, embedding_dim]`; row `i` is the positive of query `i`, the others are its negatives
    ///
    /// # Panics
    ///
    /// If the shapes do not agree, or `embedding_dim` is 0.
    #[track_caller]
    pub fn aligned(queries: Tensor<2>, keys: Tensor<2>) -> Self {
        let dtype = queries.dtype();
        let (anchors, references) = beside("Pairs", ["queries", "keys"], queries, keys);
        let samples = samples(&anchors);
        let rows = Rows::Embeddings { anchors, references };

        Self {
            rows,
            labels: Some([samples.clone(), samples]),
            by_position: true,
            in_batch: false,
            chosen: Chosen::Aligned,
            dtype,
            user: "Pairs",
        }
    }

    /// Queries, each with a key, among a queue of older keys: MoCo's pairs. The queue is a
    /// [`CrossBatchMemory`](crate::memory::CrossBatchMemory); keys and queue need no gradient.
    ///
    /// # Shapes
    ///
    /// - queries: `[batch, embedding_dim]`
    /// - keys: `[batch, embedding_dim]`; row `i` is the positive of query `i`, and in no other pair
    /// - queue: `([queue, embedding_dim], [queue])`, rows that are negatives of every query, and labels: a negative one is
    ///   an empty slot, others are not looked at
    ///
    /// # Panics
    ///
    /// If the shapes do not agree, or `embedding_dim` is 0.
    #[track_caller]
    pub fn queue(queries: Tensor<2>, keys: Tensor<2>, queue: (Tensor<2>, Tensor<1, Int>)) -> Self {
        let dtype = queries.dtype();
        let (queue, queue_labels) = queue;
        let ([_, dim], [count, _]) = (queries.dims(), queue.dims());
        expect_shape("Pairs", "queue", queue.dims(), [count, dim]);
        let (anchors, keys) = beside("Pairs", ["queries", "keys"], queries, keys);
        let (queue, queue_labels) = if count == 0 {
            // An empty slot, so that no loss needs to know of an empty queue.
            let slot = Tensor::<2>::zeros([1, dim], (&queue.device(), anchors.dtype()));
            (slot, Tensor::<1, Int>::full([1], -1, &queue_labels.device()))
        } else {
            labelled("Pairs", ["queue", "labels of the queue"], queue, queue_labels)
        };
        let samples = samples(&anchors);
        let (samples, slots) = comparable(samples, queue_labels);
        let references = Tensor::cat(vec![keys, cast_to(queue, anchors.dtype())], 0);
        let reference_labels = Tensor::cat(vec![samples.clone(), slots], 0);
        let rows = Rows::Embeddings { anchors, references };

        Self {
            rows,
            labels: Some([samples, reference_labels]),
            by_position: true,
            in_batch: false,
            chosen: Chosen::Queue,
            dtype,
            user: "Pairs",
        }
    }

    /// Pairs that are given row by row, such as those of a data set of pairs.
    ///
    /// # Shapes
    ///
    /// - first: `[pairs, embedding_dim]`
    /// - second: `[pairs, embedding_dim]`
    /// - is_same: `[pairs]`, whether the two are of one identity; from labels: `first_labels.equal(second_labels)`
    ///
    /// # Panics
    ///
    /// If the shapes do not agree, or `embedding_dim` is 0.
    #[track_caller]
    pub fn given(first: Tensor<2>, second: Tensor<2>, is_same: Tensor<1, Bool>) -> Self {
        let dtype = first.dtype();
        let [count, _] = first.dims();
        expect_shape("Pairs", "is_same", is_same.dims(), [count]);
        let (anchors, second) = beside("Pairs", ["first", "second"], first, second);
        // `unsqueeze_dim` of nothing is fine; `reshape` would read the 0 as "as it is".
        let positive = is_same.unsqueeze_dim::<2>(1);
        let masks = PairMasks { negative: positive.clone().bool_not(), positive };
        let rows = Rows::Beside { anchors, others: vec![second] };

        Self {
            rows,
            labels: None,
            by_position: true,
            in_batch: false,
            chosen: Chosen::Masks(masks),
            dtype,
            user: "Pairs",
        }
    }

    /// Triplets that are given row by row.
    ///
    /// # Shapes
    ///
    /// - anchors: `[triplets, embedding_dim]`
    /// - positives: `[triplets, embedding_dim]`
    /// - negatives: `[triplets, embedding_dim]`
    ///
    /// # Panics
    ///
    /// If the shapes do not agree, or `embedding_dim` is 0.
    #[track_caller]
    pub fn given_triplets(anchors: Tensor<2>, positives: Tensor<2>, negatives: Tensor<2>) -> Self {
        let dtype = anchors.dtype();
        let [count, _] = anchors.dims();
        let (_, negatives) = beside("Pairs", ["anchors", "negatives"], anchors.clone(), negatives);
        let (anchors, positives) = beside("Pairs", ["anchors", "positives"], anchors, positives);
        let device = anchors.device();
        let mask = |columns: [bool; 2]| {
            let column = |value| Tensor::<2, Bool>::full([count, 1], value, &device);
            Tensor::cat(columns.map(column).to_vec(), 1)
        };
        let masks = PairMasks { positive: mask([true, false]), negative: mask([false, true]) };
        let rows = Rows::Beside { anchors, others: vec![positives, negatives] };

        Self {
            rows,
            labels: None,
            by_position: true,
            in_batch: false,
            chosen: Chosen::Masks(masks),
            dtype,
            user: "Pairs",
        }
    }

    /// All pairs of a batch with itself, of which the distances are known; the gradient goes to these.
    ///
    /// A loss or a miner takes them if it is set to the same `distance`; those that compare cosines take
    /// [`Distance::Cosine`]. For a distance of your own, name the one that the loss is set to.
    ///
    /// # Shapes
    ///
    /// - distances: `[batch, batch]`, smaller is closer
    /// - labels: `[batch]`; a row with a negative one is in no pair
    ///
    /// # Panics
    ///
    /// If the shapes do not agree.
    #[track_caller]
    pub fn precomputed(distance: Distance, distances: Tensor<2>, labels: Tensor<1, Int>) -> Self {
        let in_batch = Self::precomputed_with_references(distance, distances, labels.clone(), labels);
        Self { in_batch: true, ..in_batch }
    }

    /// As [`precomputed`](Self::precomputed), of a batch with other rows.
    ///
    /// # Shapes
    ///
    /// - distances: `[batch, references]`
    /// - labels: `[batch]`
    /// - reference_labels: `[references]`
    ///
    /// # Panics
    ///
    /// If the shapes do not agree.
    #[track_caller]
    pub fn precomputed_with_references(
        distance: Distance,
        distances: Tensor<2>,
        labels: Tensor<1, Int>,
        reference_labels: Tensor<1, Int>,
    ) -> Self {
        let dtype = distances.dtype();
        let ([anchors], [references]) = (labels.dims(), reference_labels.dims());
        expect_shape("Pairs", "distances", distances.dims(), [anchors, references]);
        let (labels, reference_labels) = comparable(labels, reference_labels);
        let labels = Some([labels, reference_labels]);
        let rows = Rows::Distances { distance, matrix: widen(distances) };

        Self { rows, labels, by_position: false, in_batch: false, chosen: Chosen::ByLabels, dtype, user: "Pairs" }
    }

    /// The same rows, of which these pairs count.
    ///
    /// # Shapes
    ///
    /// - masks: `[anchors, references]`
    ///
    /// # Panics
    ///
    /// If the masks have another shape.
    #[track_caller]
    pub fn with_masks(self, masks: PairMasks) -> Self {
        expect_shape(self.user, "positive pairs", masks.positive.dims(), self.dims());
        expect_shape(self.user, "negative pairs", masks.negative.dims(), self.dims());
        Self { chosen: Chosen::Masks(masks), ..self }
    }

    /// The same rows, of which these triplets count. To a loss of pairs a triplet is a positive and a negative pair: the
    /// contrastive and the margin loss count a pair as often as it is listed, the losses with a sum per anchor once.
    /// An entry with a row that is not there counts for nothing.
    ///
    /// # Shapes
    ///
    /// - triplets: `[triplets]`
    ///
    /// # Panics
    ///
    /// If the columns are not equally long.
    #[track_caller]
    pub fn with_triplets(self, triplets: Triplets) -> Self {
        let [count] = triplets.anchor.dims();
        expect_shape(self.user, "positives of the triplets", triplets.positive.dims(), [count]);
        expect_shape(self.user, "negatives of the triplets", triplets.negative.dims(), [count]);
        expect_shape(self.user, "valid triplets", triplets.valid.dims(), [count]);
        if count == 0 || self.is_empty() {
            let none = PairMasks::none(self.dims(), &self.device());
            return Self { chosen: Chosen::Masks(none), ..self };
        }
        let triplets = triplets.inside(self.dims());
        Self { chosen: Chosen::Triplets(triplets), ..self }
    }

    /// The same pairs, but for rows whose label is not in `0..classes`, which are in no pair.
    ///
    /// # Panics
    ///
    /// If there are no labels of classes: pairs that are given row by row, views, aligned rows and queues have none.
    #[track_caller]
    pub fn among_classes(self, classes: usize) -> Self {
        let [labels, reference_labels] = self.class_labels();
        let policy = LabelPolicy::new().with_on_bad_label(OnBadLabel::Ignore);
        let known = |labels: &Tensor<1, Int>| policy.sanitise(self.user, labels.clone(), classes).valid;
        let (known, reference_known) = (known(labels), known(reference_labels));
        let again = [(labels, &known), (reference_labels, &reference_known)]
            .map(|(labels, known)| labels.clone().mask_fill(known.clone().bool_not(), -1));
        let rows = match self.rows {
            Rows::Embeddings { anchors, references } => Rows::Embeddings {
                anchors: silence(anchors, known.clone()),
                references: silence(references, reference_known.clone()),
            },
            rows => rows,
        };
        let chosen = match self.chosen {
            Chosen::Masks(masks) => Chosen::Masks(masks.among(known, reference_known)),
            Chosen::Triplets(triplets) => Chosen::Triplets(triplets.among(&known, &reference_known)),
            chosen => chosen,
        };
        Self { rows, labels: Some(again), chosen, ..self }
    }

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
    pub fn masks(&self) -> PairMasks {
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
        match &self.rows {
            Rows::Embeddings { anchors, references } => anchors.clone().matmul(references.clone().transpose()),
            Rows::Beside { anchors, others } => {
                columns(others, |other| (anchors.clone() * other.clone()).sum_dim(1).squeeze_dim(1))
            }
            Rows::Distances { .. } => panic!("{}: products are computed of embeddings, not of distances", self.user),
        }
    }

    /// Refuses pairs that are given row by row: an anchor has a positive or a negative there, never both, so that every
    /// loss would be 0.
    #[track_caller]
    pub(super) fn expect_triplets(&self) {
        let user = self.user;
        let single = matches!(&self.rows, Rows::Beside { others, .. } if others.len() == 1);
        assert!(!single, "{user}: an anchor needs a positive and a negative, which Pairs::given does not have");
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
    pub(super) fn labelled(&self) -> Option<Labelled> {
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

    /// The embeddings, where every anchor has one positive at a known place.
    pub(super) fn one_positive(&self) -> Option<OnePositive> {
        let (Rows::Embeddings { anchors, references }, Some([labels, reference_labels])) = (&self.rows, &self.labels)
        else {
            return None;
        };
        let (anchors, references) = (anchors.clone(), references.clone());
        let [count, _] = anchors.dims();
        let (positives, negatives, labels, counted) = match self.chosen {
            Chosen::Views => {
                let half = |start| anchors.clone().narrow(0, start, count / 2);
                let positives = Tensor::cat(vec![half(count / 2), half(0)], 0);
                (positives, references, labels.clone(), Counted::OtherLabels(labels.clone()))
            }
            Chosen::Aligned => (references.clone(), references, labels.clone(), Counted::AllButTarget),
            Chosen::Queue => {
                let [all, _] = references.dims();
                let slots = reference_labels.clone().narrow(0, count, all - count);
                // An anchor with a negative label leaves out none.
                let nobody = labels.clone().full_like(-1);
                let (keys, queue) = (references.clone().narrow(0, 0, count), references.narrow(0, count, all - count));
                (keys, queue, nobody, Counted::OtherLabels(slots))
            }
            Chosen::ByLabels | Chosen::Masks(_) | Chosen::Triplets(_) => return None,
        };
        Some(OnePositive { anchors, positives, negatives, labels, counted })
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

    /// The identities of the anchors, `[anchors]`, which may be numbers of samples.
    #[track_caller]
    pub(super) fn identities(&self) -> Tensor<1, Int> {
        let user = self.user;
        let [labels, _] =
            self.labels.as_ref().unwrap_or_else(|| panic!("{user}: rows side by side have no identities"));
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
            _ => panic!(
                "{}: the distances of references to each other are needed, which precomputed distances of a batch with \
                 references do not hold",
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
        Self { rows, labels, chosen, ..self.clone() }
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

/// The numbers in these rows and columns, `[entries, 1]`.
fn gather(matrix: &Tensor<2>, rows: &Tensor<1, Int>, columns: &Tensor<1, Int>) -> Tensor<2> {
    let [_, width] = matrix.dims();
    let place = rows.clone().mul_scalar(width as i64) + columns.clone();
    matrix.clone().flatten::<1>(0, 1).select(0, place).unsqueeze_dim(1)
}

fn columns(others: &[Tensor<2>], column: impl Fn(&Tensor<2>) -> Tensor<1>) -> Tensor<2> {
    Tensor::cat(others.iter().map(|other| column(other).unsqueeze_dim::<2>(1)).collect(), 1)
}

/// Which sample a row is.
fn samples(rows: &Tensor<2>) -> Tensor<1, Int> {
    signed(Tensor::arange(0..rows.dims()[0] as i64, &rows.device()))
}

/// Two inputs of the same shape, widened.
#[track_caller]
fn beside(user: &str, names: [&str; 2], first: Tensor<2>, second: Tensor<2>) -> (Tensor<2>, Tensor<2>) {
    let [rows, dim] = first.dims();
    assert!(dim >= 1, "{user}: {} must have at least one column", names[0]);
    expect_shape(user, names[1], second.dims(), [rows, dim]);
    let first = widen(first);
    let second = cast_to(widen(second), first.dtype());

    (first, second)
}

/// Rows with their labels; rows with a negative one are 0, whatever was in them.
#[track_caller]
fn labelled(user: &str, names: [&str; 2], rows: Tensor<2>, labels: Tensor<1, Int>) -> (Tensor<2>, Tensor<1, Int>) {
    let [count, dim] = rows.dims();
    assert!(dim >= 1, "{user}: {} must have at least one column", names[0]);
    expect_shape(user, names[1], labels.dims(), [count]);
    let labels = signed(labels);
    if count == 0 {
        return (widen(rows), labels);
    }
    let known = labels.clone().greater_equal_scalar(0);

    (silence(widen(rows), known), labels)
}
