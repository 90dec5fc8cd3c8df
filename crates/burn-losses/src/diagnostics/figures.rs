use alloc::vec;
use alloc::vec::Vec;

use burn::tensor::{Bool, FloatDType, Int, Tensor};
use burn_losses_kernels::math::{cast_to, signed, widen};

use super::embeddings::EMBEDDING_FIGURES;
use super::{ClassCosines, embedding_figures};
use crate::heads::{Centers, Head, MarginRule};
use crate::reduction::EmbeddingReduction;
use crate::shape::check_shape;

/// Figures before those of every row: loss, share of active losses, bad labels, those of the embeddings.
const HEADER: usize = 3 + EMBEDDING_FIGURES;

/// In place of a share that is not known; no NaN, which not every shader language can write.
const UNKNOWN: f64 = -1.0;

/// What a trainer wants to see of a batch, on the device, in one tensor: one transfer brings all of it.
///
/// ```
/// use burn::tensor::{Device, Int, Tensor};
/// use burn_losses::diagnostics::{Figures, Reading};
/// use burn_losses::heads::{CentersConfig, CosFaceConfig};
/// use burn_losses::labels::{LabelPolicy, OnBadLabel};
///
/// let device = Device::default();
/// // So that the bad label below is counted instead of stopping the program.
/// let policy = LabelPolicy::new().with_on_bad_label(OnBadLabel::Ignore);
/// let head = CosFaceConfig::new(3, 2).with_centers(CentersConfig::new().with_labels(policy)).init(&device);
/// let embeddings = Tensor::<2>::from_data([[3.0, 4.0], [1.0, 0.0]], &device);
/// let labels = Tensor::<1, Int>::from_ints([0, 7], &device);
/// let loss = head.forward(embeddings.clone(), labels.clone());
/// let figures = Figures::of_head(&head, embeddings, labels, loss);
///
/// let reading = Reading::from_packed(&figures.packed.try_into_vec_as::<f64>().unwrap());
/// assert_eq!((reading.bad_labels, reading.rows, reading.batch), (1, 1, 2));
/// assert_eq!((reading.length_min, reading.length_max), (1.0, 5.0));
/// ```
#[derive(Clone, Debug)]
pub struct Figures {
    /// `[9 + 3·batch]`; [`Reading::from_packed`] knows what is where.
    pub packed: Tensor<1>,
}

impl Figures {
    /// Of a head, with the loss it gave the batch.
    ///
    /// # Shapes
    ///
    /// - embeddings: `[batch, embedding_dim]`
    /// - labels: `[batch]`
    /// - losses: `[batch]`, or their mean, `[1]`
    ///
    /// # Panics
    ///
    /// If the shapes do not agree, or by the [`LabelPolicy`](crate::labels::LabelPolicy).
    #[track_caller]
    pub fn of_head<R: MarginRule, C: Centers>(
        head: &Head<R, C>,
        embeddings: Tensor<2>,
        labels: Tensor<1, Int>,
        losses: Tensor<1>,
    ) -> Self {
        let (classes, first) = (head.centers.classes(), &head.centers.blocks()[0]);
        let bad = first.count_bad(labels.clone(), classes);
        let safe = first.check_among(classes, &embeddings, labels);
        let counted = match losses.dims() == safe.valid.dims() {
            true => safe.valid.clone(),
            false => Tensor::full(losses.shape(), true, &losses.device()),
        };
        let cosines = ClassCosines::with_safe_labels(&head.centers, embeddings.clone(), safe);
        Self::packed(embeddings, cosines, losses, counted, bad, Active::Unknown)
    }

    /// Of a loss of pairs or triplets, with the losses it gave, whatever they are of; `counted` says which of them there
    /// really are. A bad label is a negative one here.
    ///
    /// # Shapes
    ///
    /// - embeddings: `[batch, embedding_dim]`
    /// - labels: `[batch]`
    /// - losses: `[losses]`
    /// - counted: `[losses]`
    ///
    /// # Panics
    ///
    /// If the shapes do not agree.
    #[track_caller]
    pub fn of_tuples(
        embeddings: Tensor<2>,
        labels: Tensor<1, Int>,
        losses: Tensor<1>,
        counted: Tensor<1, Bool>,
    ) -> Self {
        let bad = signed(labels.clone()).lower_scalar(0).int().sum();
        let cosines = ClassCosines::in_batch(embeddings.clone(), labels);
        Self::packed(embeddings, cosines, losses, counted, bad, Active::AboveZero)
    }

    /// Of any other loss; how many of its losses are active is not asked.
    ///
    /// # Shapes
    ///
    /// - embeddings: `[batch, embedding_dim]`
    /// - cosines: of the same batch
    /// - losses: `[losses]`, of which each counts
    /// - bad_labels: `[1]`
    ///
    /// # Panics
    ///
    /// If the shapes do not agree.
    #[track_caller]
    pub fn new(embeddings: Tensor<2>, cosines: ClassCosines, losses: Tensor<1>, bad_labels: Tensor<1, Int>) -> Self {
        let counted = Tensor::full(losses.shape(), true, &losses.device());
        Self::packed(embeddings, cosines, losses, counted, bad_labels, Active::Unknown)
    }

    #[track_caller]
    fn packed(
        embeddings: Tensor<2>,
        cosines: ClassCosines,
        losses: Tensor<1>,
        counted: Tensor<1, Bool>,
        bad_labels: Tensor<1, Int>,
        active: Active,
    ) -> Self {
        let [count] = losses.dims();
        check_shape("Figures", "counted", counted.dims(), [count]);
        let figures = embedding_figures(embeddings);
        let options = (&figures.device(), figures.dtype());
        let losses = cast_to(widen(losses.without_autodiff()), figures.dtype());
        let counted = counted.without_autodiff();
        let number = |yes: Tensor<1, Bool>| Tensor::<1>::ones(yes.shape(), options).mask_fill(yes.bool_not(), 0.0);
        let mean = |values| EmbeddingReduction::Mean.apply_valid(values, counted.clone());
        let losses = if count == 0 { losses } else { losses.mask_fill(counted.clone().bool_not(), 0.0) };
        let active = match active {
            Active::Unknown => Tensor::full([1], UNKNOWN, options),
            Active::AboveZero if count == 0 => Tensor::zeros([1], options),
            Active::AboveZero => mean(number(losses.clone().greater_scalar(0.0))),
        };
        let mean = if count == 0 { Tensor::zeros([1], options) } else { mean(losses) };
        let bad = bad_labels.without_autodiff().cast(FloatDType::from(figures.dtype()));
        let mut parts: Vec<Tensor<1>> = vec![mean, active, bad, figures.clone()];
        if cosines.target.dims() != [0] {
            let of = |cosine: Tensor<1>| cast_to(cosine.without_autodiff(), figures.dtype());
            parts.extend([of(cosines.target), of(cosines.nearest_negative), number(cosines.valid.without_autodiff())]);
        }
        Self { packed: Tensor::cat(parts, 0) }
    }
}

/// Which losses still train.
enum Active {
    /// Those above 0: what a margin leaves of pairs and triplets.
    AboveZero,
    /// A softplus is never 0, so that all would count for ever.
    Unknown,
}

/// What a trainer wants to see of a batch, on the host.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reading {
    /// Mean of the losses that count.
    pub loss: f64,
    /// Of pairs and triplets the share that is larger than 0: what still trains. Small means that mining must look for harder
    /// ones. `None` for a head, of which no loss is ever 0.
    pub active_share: Option<f64>,
    /// Share of the rows that are nearest to their target: whose cosine with it, without a margin, is larger than with any
    /// other class. Training accuracy (top 1); NaN if `rows` is 0.
    pub accuracy: f64,
    /// Labels that are no class and not ignored; their rows train nothing.
    pub bad_labels: usize,
    /// Mean length of the embeddings.
    pub length_mean: f64,
    /// The shortest.
    pub length_min: f64,
    /// The longest.
    pub length_max: f64,
    /// Standard deviation of the lengths, of the population.
    pub length_deviation: f64,
    /// Mean squared distance of the embeddings to their mean.
    pub variance: f64,
    /// Mean squared distance of their directions to the mean direction: 0 if all are one, nearly 1 if they spread evenly.
    pub direction_variance: f64,
    /// Mean angle to the target (the own class), in radians; NaN if `rows` is 0.
    pub target_angle: f64,
    /// Mean angle to the nearest negative (the nearest other class), in radians; NaN if `rows` is 0.
    pub nearest_negative_angle: f64,
    /// How many rows the angles and the accuracy are the mean of.
    pub rows: usize,
    /// How many rows there are.
    pub batch: usize,
}

impl Reading {
    /// From the numbers of [`Figures`].
    ///
    /// # Panics
    ///
    /// If there are not so many numbers.
    pub fn from_packed(values: &[f64]) -> Self {
        let count = values.len();
        assert!(
            count >= HEADER && (count - HEADER).is_multiple_of(3),
            "Reading: {count} numbers are no packed figures"
        );
        let header = &values[..HEADER];
        let rows = cosines_of_rows(values);
        let used = rows.clone().count();
        let mean = |sum: f64| sum / used as f64;
        let angle = |cosine: f64| libm::acos(cosine.clamp(-1.0, 1.0));
        Self {
            loss: header[0],
            active_share: Some(header[1]).filter(|&share| share != UNKNOWN),
            accuracy: mean(rows.clone().filter(|(target, negative)| target > negative).count() as f64),
            bad_labels: header[2] as usize,
            length_mean: header[3],
            length_min: header[4],
            length_max: header[5],
            length_deviation: header[6],
            variance: header[7],
            direction_variance: header[8],
            target_angle: mean(rows.clone().map(|(target, _)| angle(target)).sum()),
            nearest_negative_angle: mean(rows.map(|(_, negative)| angle(negative)).sum()),
            rows: used,
            batch: (count - HEADER) / 3,
        }
    }
}

/// The cosines of every row that has a class, with the target and with the nearest negative.
pub(super) fn cosines_of_rows(packed: &[f64]) -> impl Iterator<Item = (f64, f64)> + Clone {
    let rows = &packed[HEADER..];
    let batch = rows.len() / 3;
    (0..batch).filter(move |row| rows[2 * batch + row] > 0.5).map(move |row| (rows[row], rows[batch + row]))
}
