use alloc::vec::Vec;

use burn::tensor::{Bool, Int, Tensor};
use burn_losses_kernels::math::{cast_to, unit_rows, widen};

use crate::heads::{Centers, ClassRows, nearest_of_class};
use crate::labels::{SafeLabels, silence};
use crate::mining::PairMasks;
use crate::shape::check_shape;

/// Numbers that a block of classes holds at once, about.
const BLOCK: usize = 1 << 22;

/// How close the embeddings of a batch are to the class of their label and to the nearest other one; without autodiff.
///
/// Angles are taken on the host, see [`Reading`](super::Reading): an arc cosine on the device is not exact near 1.
#[derive(Clone, Debug)]
pub struct ClassCosines {
    /// The cosine with the class of the label, `[batch]`; 0 where `valid` is false.
    pub target: Tensor<1>,
    /// The largest cosine with another class, `[batch]`; 0 where `valid` is false.
    pub nearest_negative: Tensor<1>,
    /// Whether the row has a class, and there is another one, `[batch]`.
    pub valid: Tensor<1, Bool>,
}

impl ClassCosines {
    /// With the centers of a head, of those of a class the nearest.
    ///
    /// The classes are compared with in blocks, so that no tensor of `[batch, classes]` is made. It costs about what a
    /// forward of the head costs.
    ///
    /// # Shapes
    ///
    /// - embeddings: `[batch, embedding_dim]`
    /// - labels: `[batch]`
    ///
    /// # Panics
    ///
    /// If the shapes do not agree, or by the [`LabelPolicy`](crate::labels::LabelPolicy).
    #[track_caller]
    pub fn with_centers<C: Centers>(centers: &C, embeddings: Tensor<2>, labels: Tensor<1, Int>) -> Self {
        let blocks = centers.blocks();
        let labels = blocks[0].check_among(centers.classes(), &embeddings, labels);
        Self::with_safe_labels(centers, embeddings, labels)
    }

    /// [`with_centers`](Self::with_centers), of labels that have been made safe.
    pub(super) fn with_safe_labels<C: Centers>(centers: &C, embeddings: Tensor<2>, labels: SafeLabels) -> Self {
        Self::with(centers.blocks().iter().map(ClassRows::from).collect(), embeddings, labels)
    }

    /// With any rows that stand for the classes, such as the weight of a linear layer, transposed.
    ///
    /// # Shapes
    ///
    /// - classes: `[classes, embedding_dim]`, at least one
    /// - embeddings: `[batch, embedding_dim]`
    /// - labels: `[batch]`, made safe by [`LabelPolicy::sanitise`](crate::labels::LabelPolicy::sanitise)
    ///
    /// # Panics
    ///
    /// If the shapes do not agree.
    #[track_caller]
    pub fn with_rows(classes: impl Into<ClassRows>, embeddings: Tensor<2>, labels: SafeLabels) -> Self {
        let classes = classes.into();
        let ([_, dim], [batch, _]) = (classes.rows.dims(), embeddings.dims());
        check_shape("ClassCosines", "embeddings", embeddings.dims(), [batch, dim]);
        check_shape("ClassCosines", "labels", labels.index.dims(), [batch]);
        Self::with(alloc::vec![classes], embeddings, labels)
    }

    /// With blocks of classes, each on its device.
    fn with(blocks: Vec<ClassRows>, embeddings: Tensor<2>, labels: SafeLabels) -> Self {
        let [batch, dim] = embeddings.dims();
        let valid = labels.valid.without_autodiff();
        let embeddings = widen(embeddings.without_autodiff());
        if batch == 0 {
            let nothing = embeddings.reshape([0]);
            return Self { target: nothing.clone(), nearest_negative: nothing, valid };
        }
        let unit = unit_rows(silence(embeddings, valid.clone()));
        let index = labels.index.without_autodiff();
        let of = |number: f64| Tensor::<2>::full([batch, 1], number, (&unit.device(), unit.dtype()));
        let (mut target, mut nearest, mut first) = (of(-2.0), of(-2.0), 0);
        for ClassRows { rows, sub_centers } in blocks {
            let rows = rows.without_autodiff();
            let (device, count) = (rows.device(), rows.dims()[0] / sub_centers);
            let (unit, index) = (unit.clone().to_device(&device), index.clone().to_device(&device));
            let length = (BLOCK / batch.max(dim) / sub_centers).clamp(1, count);
            for start in (0..count).step_by(length) {
                let length = length.min(count - start);
                let rows = rows.clone().narrow(0, start * sub_centers, length * sub_centers);
                let rows = unit_rows(cast_to(rows, unit.dtype()));
                let cosines = nearest_of_class(unit.clone().matmul(rows.transpose()), sub_centers);
                let columns = Tensor::<1, Int>::arange(0..length as i64, (&device, index.dtype()));
                let columns = columns.add_scalar((first + start) as i64).unsqueeze_dim::<2>(0).expand([batch, length]);
                let is_target = columns.equal(index.clone().unsqueeze_dim::<2>(1).expand([batch, length]));
                let largest = |hidden| cosines.clone().mask_fill(hidden, -2.0).max_dim(1).to_device(&nearest.device());
                let (hit, missed) = (largest(is_target.clone().bool_not()), largest(is_target));
                (target, nearest) = (target.max_pair(hit), nearest.max_pair(missed));
            }
            first += count;
        }
        let valid = if first == 1 { valid.clone().bool_and(valid.bool_not()) } else { valid };

        Self::new(target.squeeze_dim(1), nearest.squeeze_dim(1), valid)
    }

    /// Within a batch, for losses of pairs and triplets: `target` is the mean cosine with the other rows of the same
    /// identity, `nearest_negative` the largest with a row of another. Makes `[batch, batch]` numbers.
    ///
    /// # Shapes
    ///
    /// - embeddings: `[batch, embedding_dim]`
    /// - labels: `[batch]`; a row with a negative label is in no pair
    ///
    /// # Panics
    ///
    /// If the shapes do not agree.
    #[track_caller]
    pub fn in_batch(embeddings: Tensor<2>, labels: Tensor<1, Int>) -> Self {
        let [batch, _] = embeddings.dims();
        check_shape("ClassCosines", "labels", labels.dims(), [batch]);
        let labels = labels.without_autodiff();
        let PairMasks { positive, negative } = PairMasks::in_batch(labels);
        let embeddings = widen(embeddings.without_autodiff());
        if batch == 0 {
            let (nothing, valid) = (embeddings.reshape([0]), Tensor::empty([0], &positive.device()));
            return Self { target: nothing.clone(), nearest_negative: nothing, valid };
        }
        let used = positive.clone().any_dim(1).bool_and(negative.clone().any_dim(1));
        let in_a_pair = positive.clone().bool_or(negative.clone()).any_dim(1).squeeze_dim(1);
        let unit = unit_rows(silence(embeddings, in_a_pair));
        let cosines = unit.clone().matmul(unit.transpose());
        let ones = cosines.ones_like().mask_fill(positive.clone().bool_not(), 0.0);
        let target = cosines.clone().mask_fill(positive.bool_not(), 0.0).sum_dim(1) / ones.sum_dim(1).clamp_min(1.0);
        let nearest = cosines.mask_fill(negative.bool_not(), -2.0).max_dim(1);

        Self::new(target.squeeze_dim(1), nearest.squeeze_dim(1), used.squeeze_dim(1))
    }

    fn new(target: Tensor<1>, nearest_negative: Tensor<1>, valid: Tensor<1, Bool>) -> Self {
        let hidden = valid.clone().bool_not();
        let shown = |cosine: Tensor<1>| cosine.mask_fill(hidden.clone(), 0.0);
        Self { target: shown(target), nearest_negative: shown(nearest_negative), valid }
    }
}
