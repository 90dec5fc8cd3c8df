use alloc::vec;
use alloc::vec::Vec;

use burn::tensor::{Bool, DType, Int, Tensor};
use burn_losses_kernels::math::{cast_to, comparable, signed, widen};

use crate::distance::Distance;
use crate::labels::{ClassLabels, silence};
use crate::mining::{PairMasks, Triplets};
use crate::shape::check_shape;

/// Which rows are compared with which, and which of these pairs count: what every [`PairLoss`](super::PairLoss) and every
/// [`Miner`](crate::mining::Miner) takes.
///
/// | made by | anchors | references | pairs |
/// | --- | --- | --- | --- |
/// | [`in_batch`](Self::in_batch) | the batch | the batch | of labels, but no row with itself |
/// | [`with_references`](Self::with_references) | the batch | other rows, such as a memory's | of labels |
/// | [`views`](Self::views) (SimCLR) | both views | both views | a view and the other view of its sample; all others |
/// | [`aligned`](Self::aligned) (N-pairs, SigLIP) | queries | keys | a query and its key; all other keys |
/// | [`symmetric`](Self::symmetric) (CLIP) | both sides | both sides | a row and its partner; all others of the partner's side |
/// | [`queue`](Self::queue) (MoCo) | queries | keys and a queue | a query and its key; the queue |
/// | [`given`](Self::given) | first rows | second rows | row `i` and row `i` |
/// | [`given_triplets`](Self::given_triplets) | anchors | positives and negatives | the three rows `i` |
/// | [`precomputed`](Self::precomputed) | a matrix of distances in place of embeddings || of labels |
///
/// A miner, [`with_masks`](Self::with_masks) and [`with_triplets`](Self::with_triplets) choose among the pairs;
/// [`with_identities`](Self::with_identities) says which rows of aligned or symmetric ones are no negatives of each other;
/// [`with_negatives_elsewhere`](Self::with_negatives_elsewhere) brings negatives of other devices.
///
/// Half precision is computed in `f32`, and losses come back in the precision of the embeddings. A row with a negative
/// label is in no pair, whatever stands in it.
///
/// ```
/// use burn::tensor::{Device, Int, Tensor};
/// use burn_losses::mining::MultiSimilarityMinerConfig;
/// use burn_losses::pairs::{MultiSimilarityLossConfig, Pairs};
///
/// let device = Device::default();
/// let miner = MultiSimilarityMinerConfig::new().init(&device);
/// let loss = MultiSimilarityLossConfig::new().init(&device);
/// let embeddings = Tensor::<2>::from_data([[1.0, 0.0], [0.8, 0.6], [0.6, 0.8]], &device);
/// let labels = Tensor::<1, Int>::from_ints([5, 5, 6], &device);
///
/// let pairs = miner.mine(&Pairs::in_batch(embeddings, labels));
/// assert!(loss.forward_pairs(&pairs).into_scalar::<f32>() > 0.0);
/// ```
#[derive(Clone, Debug)]
pub struct Pairs {
    pub(super) rows: Rows,
    /// Those of the anchors and of the references; not of rows that are given side by side.
    pub(super) labels: Option<[Tensor<1, Int>; 2]>,
    /// Whether the labels number the samples, and are no classes.
    pub(super) by_position: bool,
    /// Whether the references are the anchors, so that a row is not its own reference.
    pub(super) in_batch: bool,
    pub(super) chosen: Chosen,
    /// Negatives on other devices, `[rows, embedding_dim]`, and their labels, `[rows]`.
    pub(super) elsewhere: Vec<(Tensor<2>, Tensor<1, Int>)>,
    pub(super) dtype: DType,
    /// Who asks, for messages.
    pub(super) user: &'static str,
}

/// What is compared.
#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant, reason = "made once per call; which variant is large depends on the backends")]
pub(super) enum Rows {
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
pub(super) enum Chosen {
    /// Equal labels are a positive pair, different ones a negative pair.
    ByLabels,
    /// Likewise, where each half of the rows is the positives of the other half.
    Views,
    /// Likewise, where a reference is the positive of the anchor at its place.
    Aligned,
    /// A reference is the positive of the anchor at its place, those of other labels are its negatives.
    Identified,
    /// The same of two sides, one after the other: the references of an anchor are those of the other side.
    Symmetric,
    /// The first references are the positives of the anchors at their places, the rest are negatives of all.
    Queue,
    Masks(PairMasks),
    Triplets(Triplets),
}

impl Pairs {
    /// Of rows and their labels, which are classes where the pairs are chosen by them.
    fn of(rows: Rows, labels: Option<[Tensor<1, Int>; 2]>, chosen: Chosen, dtype: DType) -> Self {
        let by_position = !matches!(chosen, Chosen::ByLabels);
        Self { rows, labels, by_position, in_batch: false, chosen, elsewhere: Vec::new(), dtype, user: "Pairs" }
    }

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
        Self { in_batch: true, user, ..Self::of(rows, Some([labels.clone(), labels]), Chosen::ByLabels, dtype) }
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
    /// use burn_losses::pairs::{Pairs, TripletLossConfig};
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
        check_shape("Pairs", "references", references.dims(), [count, dim]);
        let (anchors, labels) = labelled("Pairs", ["embeddings", "labels"], embeddings, labels);
        let (references, reference_labels) =
            labelled("Pairs", ["references", "labels of the references"], references, reference_labels);
        let rows = Rows::Embeddings { references: cast_to(references, anchors.dtype()), anchors };
        let (labels, reference_labels) = comparable(labels, reference_labels);
        let labels = Some([labels, reference_labels]);

        Self::of(rows, labels, Chosen::ByLabels, dtype)
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

        Self { in_batch: true, ..Self::of(rows, Some([samples.clone(), samples]), Chosen::Views, dtype) }
    }

    /// Queries, each with a key, among all keys: one direction of CLIP, of which [`symmetric`](Self::symmetric) has both;
    /// the pairs of an N-pairs loss.
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

        Self::of(rows, Some([samples.clone(), samples]), Chosen::Aligned, dtype)
    }

    /// Two sides of the same samples, such as images and their texts, each compared with the other one: CLIP's pairs. A row
    /// looks for its partner among all rows of the other side; rows of one side are not compared. The anchors are the rows
    /// of `first`, then those of `second`, so that a mean over them is the mean of both directions.
    ///
    /// # Shapes
    ///
    /// - first: `[samples, embedding_dim]`
    /// - second: `[samples, embedding_dim]`; row `i` is the partner of row `i`
    ///
    /// # Panics
    ///
    /// If the shapes do not agree, or `embedding_dim` is 0.
    ///
    /// ```
    /// use burn::tensor::{Device, Tensor};
    /// use burn_losses::pairs::{InfoNceLossConfig, Pairs};
    ///
    /// let device = Device::default();
    /// let loss = InfoNceLossConfig::new().init(&device);
    /// let images = || Tensor::<2>::from_data([[1.0, 0.0], [0.6, 0.8]], &device);
    /// let texts = || Tensor::<2>::from_data([[0.8, 0.6], [0.0, 1.0]], &device);
    /// let both = loss.forward_pairs(&Pairs::symmetric(images(), texts()));
    /// let one = loss.forward_pairs(&Pairs::aligned(images(), texts()));
    /// let other = loss.forward_pairs(&Pairs::aligned(texts(), images()));
    /// assert!((both - (one + other) * 0.5).abs().into_scalar::<f32>() < 1e-6);
    /// ```
    #[track_caller]
    pub fn symmetric(first: Tensor<2>, second: Tensor<2>) -> Self {
        let pairs = Self::views(first, second);

        Self { in_batch: false, chosen: Chosen::Symmetric, ..pairs }
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
        check_shape("Pairs", "queue", queue.dims(), [count, dim]);
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

        Self::of(rows, Some([samples, reference_labels]), Chosen::Queue, dtype)
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
        check_shape("Pairs", "is_same", is_same.dims(), [count]);
        let (anchors, second) = beside("Pairs", ["first", "second"], first, second);
        // `unsqueeze_dim` of nothing is fine; `reshape` would read the 0 as "as it is".
        let positive = is_same.unsqueeze_dim::<2>(1);
        let masks = PairMasks { negative: positive.clone().bool_not(), positive };
        let rows = Rows::Beside { anchors, others: vec![second] };

        Self::of(rows, None, Chosen::Masks(masks), dtype)
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
            if count == 0 {
                // Burn's GPU backends cannot put empty tensors side by side.
                return Tensor::<2, Bool>::empty([0, 2], &device);
            }
            let column = |value| Tensor::<2, Bool>::full([count, 1], value, &device);
            Tensor::cat(columns.map(column).to_vec(), 1)
        };
        let masks = PairMasks { positive: mask([true, false]), negative: mask([false, true]) };
        let rows = Rows::Beside { anchors, others: vec![positives, negatives] };

        Self::of(rows, None, Chosen::Masks(masks), dtype)
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
        check_shape("Pairs", "distances", distances.dims(), [anchors, references]);
        let (labels, reference_labels) = comparable(labels, reference_labels);
        let labels = Some([labels, reference_labels]);
        let rows = Rows::Distances { distance, matrix: widen(distances) };

        Self::of(rows, labels, Chosen::ByLabels, dtype)
    }

    /// The same rows, [`aligned`](Self::aligned) or [`symmetric`](Self::symmetric), of which those with the same identity are
    /// not negatives of each other: a caption that stands twice in a batch, two questions with one answer. The positive of
    /// a row is still its partner alone. A row with a negative identity is in no pair, and neither is its partner.
    ///
    /// # Shapes
    ///
    /// - identities: `[samples]`
    ///
    /// # Panics
    ///
    /// If the shapes do not agree, or the pairs are neither aligned nor symmetric.
    #[track_caller]
    pub fn with_identities(self, identities: Tensor<1, Int>) -> Self {
        let user = self.user;
        let ([anchors, _], Rows::Embeddings { anchors: rows, references }) = (self.dims(), self.rows) else {
            panic!("{user}: identities are for Pairs::aligned and Pairs::symmetric");
        };
        let (samples, chosen) = match self.chosen {
            Chosen::Aligned | Chosen::Identified => (anchors, Chosen::Identified),
            Chosen::Symmetric => (anchors / 2, Chosen::Symmetric),
            _ => panic!("{user}: identities are for Pairs::aligned and Pairs::symmetric"),
        };
        check_shape(user, "identities", identities.dims(), [samples]);
        let identities = signed(identities);
        let labels = match chosen {
            Chosen::Symmetric if samples > 0 => Tensor::cat(vec![identities.clone(), identities], 0),
            _ => identities,
        };
        let rows = if samples == 0 {
            Rows::Embeddings { anchors: rows, references }
        } else {
            let known = labels.clone().greater_equal_scalar(0);
            Rows::Embeddings { anchors: silence(rows, known.clone()), references: silence(references, known) }
        };
        Self { rows, labels: Some([labels.clone(), labels]), chosen, ..self }
    }

    /// The same pairs, [`aligned`](Self::aligned) or of a [`queue`](Self::queue), and more negatives of every query that lie on other
    /// devices, of any backend, also on other machines: the keys of the other devices' batches. They have a gradient.
    ///
    /// The queries go to every device, a number each comes back, and all are put together, as
    /// [`ShardedHead`](crate::heads::ShardedHead) does it; so no device ever holds the rows of another, and
    /// [`InfoNceLoss`](super::InfoNceLoss), [`SigLipLoss`](super::SigLipLoss) and
    /// [`DecoupledContrastiveLoss`](super::DecoupledContrastiveLoss), which take it, are those of one device that holds all. For
    /// both directions add up the losses of the queries of all devices and those of the keys.
    ///
    /// # Shapes
    ///
    /// - negatives: `([rows, embedding_dim], [rows])` for each device, rows and labels on it: one with a negative label is an
    ///   empty slot. Others are not looked at, but after [`with_identities`](Self::with_identities): then they are identities.
    ///
    /// # Panics
    ///
    /// If the shapes do not agree, or the pairs are neither aligned nor of a queue. Another loss than these panics.
    ///
    /// ```
    /// use burn::tensor::{Device, Int, Tensor};
    /// use burn_losses::pairs::{InfoNceLossConfig, Pairs};
    ///
    /// let (device, other) = (Device::default(), Device::default());
    /// let rows = |rows: [[f32; 2]; 2], device: &Device| Tensor::<2>::from_data(rows, device);
    /// let keys = || rows([[0.8, 0.6], [0.6, 0.8]], &device);
    /// let queries = || rows([[1.0, 0.0], [0.0, 1.0]], &device);
    /// let theirs = (rows([[0.0, 1.0], [1.0, 0.0]], &other), Tensor::<1, Int>::zeros([2], &other));
    ///
    /// let loss = InfoNceLossConfig::new().with_temperature(1.0).init(&device);
    /// let pairs = Pairs::aligned(queries(), keys()).with_negatives_elsewhere(vec![theirs]);
    /// // Each has its own key at cosine 0.8, and others at 0.6, 0 and 1.
    /// let expected = ((0.6_f32 - 0.8).exp() + (0.0_f32 - 0.8).exp() + (1.0_f32 - 0.8).exp()).ln_1p();
    /// assert!((loss.forward_pairs(&pairs).into_scalar::<f32>() - expected).abs() < 1e-6);
    /// ```
    #[must_use]
    #[track_caller]
    pub fn with_negatives_elsewhere(mut self, negatives: Vec<(Tensor<2>, Tensor<1, Int>)>) -> Self {
        let user = self.user;
        let (Rows::Embeddings { anchors, .. }, Chosen::Aligned | Chosen::Identified | Chosen::Queue) =
            (&self.rows, &self.chosen)
        else {
            panic!("{user}: negatives elsewhere are for Pairs::aligned and Pairs::queue");
        };
        let ([_, dim], dtype) = (anchors.dims(), anchors.dtype());
        for (rows, labels) in negatives {
            let [count, _] = rows.dims();
            check_shape(user, "negatives elsewhere", rows.dims(), [count, dim]);
            let (rows, labels) = labelled(user, ["negatives elsewhere", "labels of negatives elsewhere"], rows, labels);
            if count > 0 {
                self.elsewhere.push((cast_to(rows, dtype), labels));
            }
        }
        self
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
        check_shape(self.user, "positive pairs", masks.positive.dims(), self.dims());
        check_shape(self.user, "negative pairs", masks.negative.dims(), self.dims());
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
        check_shape(self.user, "positives of the triplets", triplets.positive.dims(), [count]);
        check_shape(self.user, "negatives of the triplets", triplets.negative.dims(), [count]);
        check_shape(self.user, "valid triplets", triplets.valid.dims(), [count]);
        if count == 0 || self.is_empty() {
            let none = PairMasks::none(self.dims(), &self.device());
            return Self { chosen: Chosen::Masks(none), ..self };
        }
        let triplets = triplets.inside(self.dims());
        Self { chosen: Chosen::Triplets(triplets), ..self }
    }

    /// The same pairs of classes, where a row with a label from `classes` on is in no pair or an error, as `checked` has
    /// it. A negative label is in no pair, as ever.
    ///
    /// # Panics
    ///
    /// By the policy, and if there are no labels of classes: pairs that are given row by row, views, aligned rows and
    /// queues have none.
    #[track_caller]
    pub(super) fn among_classes(self, checked: &ClassLabels, classes: usize) -> Self {
        let [labels, reference_labels] = self.class_labels();
        let known = checked.check(labels.clone().clamp_min(-1), classes).valid;
        let reference_known = checked.check(reference_labels.clone().clamp_min(-1), classes).valid;
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
    check_shape(user, names[1], second.dims(), [rows, dim]);
    let first = widen(first);
    let second = cast_to(widen(second), first.dtype());

    (first, second)
}

/// Rows with their labels; rows with a negative one are 0, whatever was in them.
#[track_caller]
fn labelled(user: &str, names: [&str; 2], rows: Tensor<2>, labels: Tensor<1, Int>) -> (Tensor<2>, Tensor<1, Int>) {
    let [count, dim] = rows.dims();
    assert!(dim >= 1, "{user}: {} must have at least one column", names[0]);
    check_shape(user, names[1], labels.dims(), [count]);
    let labels = signed(labels);
    if count == 0 {
        return (widen(rows), labels);
    }
    let known = labels.clone().greater_equal_scalar(0);

    (silence(widen(rows), known), labels)
}
