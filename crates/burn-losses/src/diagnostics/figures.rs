use alloc::vec;
use alloc::vec::Vec;

use burn::tensor::{Bool, FloatDType, Int, Tensor, assert_shape};
use burn_losses_kernels::math::{cast_to, widen};

use super::embeddings::EMBEDDING_FIGURES;
use super::{ClassCosines, embedding_figures};
use crate::heads::{Centers, Head, MarginRule};
use crate::labels::count_bad;
use crate::reduction::EmbeddingReduction;

/// Figures before those of every row: loss, share of active losses, bad labels, those of the embeddings.
const HEADER: usize = 3 + EMBEDDING_FIGURES;

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
/// let losses = head.forward_no_reduction(embeddings.clone(), labels.clone());
/// let figures = Figures::of_head(&head, embeddings, labels, losses);
///
/// let reading = Reading::from_packed(&figures.packed.try_into_vec_as::<f64>().unwrap());
/// assert_eq!((reading.bad_labels, reading.rows), (1, 1));
/// assert_eq!((reading.length_min, reading.length_max), (1.0, 5.0));
/// ```
#[derive(Clone, Debug)]
pub struct Figures {
    /// `[9 + 3·batch]`; [`Reading::from_packed`] knows what is where.
    pub packed: Tensor<1>,
}

impl Figures {
    /// Of a head, with the losses it gave the batch.
    ///
    /// # Shapes
    ///
    /// - embeddings: `[batch, embedding_dim]`
    /// - labels: `[batch]`
    /// - losses: `[batch]`
    ///
    /// # Panics
    ///
    /// If the shapes do not agree, or by the [`LabelPolicy`](crate::labels::LabelPolicy).
    pub fn of_head<R: MarginRule, C: Centers>(
        head: &Head<R, C>,
        embeddings: Tensor<2>,
        labels: Tensor<1, Int>,
        losses: Tensor<1>,
    ) -> Self {
        let (classes, first) = (head.centers.classes(), &head.centers.blocks()[0]);
        let bad = first.count_bad(labels.clone(), classes);
        let safe = first.check_among(classes, &embeddings, labels);
        let valid = safe.valid.clone();
        let cosines = ClassCosines::with_safe_labels(&head.centers, embeddings.clone(), safe);
        Self::new(embeddings, cosines, losses, valid, bad)
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
    pub fn of_tuples(
        embeddings: Tensor<2>,
        labels: Tensor<1, Int>,
        losses: Tensor<1>,
        counted: Tensor<1, Bool>,
    ) -> Self {
        let bad = count_bad(labels.clone(), i32::MAX as usize, None);
        let cosines = ClassCosines::in_batch(embeddings.clone(), labels);
        Self::new(embeddings, cosines, losses, counted, bad)
    }

    /// Of any loss.
    ///
    /// # Shapes
    ///
    /// - embeddings: `[batch, embedding_dim]`
    /// - cosines: of the same batch
    /// - losses: `[losses]`
    /// - counted: `[losses]`, which of them count
    /// - bad_labels: `[1]`
    ///
    /// # Panics
    ///
    /// If the shapes do not agree.
    pub fn new(
        embeddings: Tensor<2>,
        cosines: ClassCosines,
        losses: Tensor<1>,
        counted: Tensor<1, Bool>,
        bad_labels: Tensor<1, Int>,
    ) -> Self {
        let [count] = losses.dims();
        assert_shape!(counted, [count]);
        let figures = embedding_figures(embeddings);
        let options = (&figures.device(), figures.dtype());
        let losses = cast_to(widen(losses.without_autodiff()), figures.dtype());
        let counted = counted.without_autodiff();
        let number = |yes: Tensor<1, Bool>| Tensor::<1>::ones(yes.shape(), options).mask_fill(yes.bool_not(), 0.0);
        let (mean, active) = if count == 0 {
            (Tensor::zeros([1], options), Tensor::zeros([1], options))
        } else {
            let losses = losses.mask_fill(counted.clone().bool_not(), 0.0);
            let active = number(losses.clone().greater_scalar(0.0));
            let mean = |values| EmbeddingReduction::Mean.apply_valid(values, counted.clone());
            (mean(losses), mean(active))
        };
        let bad = bad_labels.without_autodiff().cast(FloatDType::from(figures.dtype()));
        let mut parts: Vec<Tensor<1>> = vec![mean, active, bad, figures.clone()];
        if cosines.target.dims() != [0] {
            let of = |cosine: Tensor<1>| cast_to(cosine.without_autodiff(), figures.dtype());
            parts.extend([of(cosines.target), of(cosines.nearest_negative), number(cosines.valid.without_autodiff())]);
        }
        Self { packed: Tensor::cat(parts, 0) }
    }
}

/// What a trainer wants to see of a batch, on the host.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reading {
    /// Mean of the losses that count.
    pub loss: f64,
    /// Share of them that are larger than 0: what still trains. Small means that mining must look for harder ones.
    pub active_share: f64,
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
    /// Mean angle to the class of the label, in radians; NaN if `rows` is 0.
    pub target_angle: f64,
    /// Mean angle to the nearest other class, in radians; NaN if `rows` is 0.
    pub nearest_negative_angle: f64,
    /// How many rows the angles are the mean of.
    pub rows: usize,
    /// How many rows there are.
    pub batch: usize,
}

impl Reading {
    /// From [`Figures::packed`].
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
        let (header, rows) = values.split_at(HEADER);
        let batch = rows.len() / 3;
        let valid = &rows[2 * batch..];
        let used = valid.iter().filter(|&&valid| valid > 0.5).count();
        let mean_angle = |cosines: &[f64]| {
            let angles = cosines.iter().zip(valid).filter(|&(_, &valid)| valid > 0.5);
            angles.map(|(cosine, _)| libm::acos(cosine.clamp(-1.0, 1.0))).sum::<f64>() / used as f64
        };
        Self {
            loss: header[0],
            active_share: header[1],
            bad_labels: header[2] as usize,
            length_mean: header[3],
            length_min: header[4],
            length_max: header[5],
            length_deviation: header[6],
            variance: header[7],
            direction_variance: header[8],
            target_angle: mean_angle(&rows[..batch]),
            nearest_negative_angle: mean_angle(&rows[batch..2 * batch]),
            rows: used,
            batch,
        }
    }
}
