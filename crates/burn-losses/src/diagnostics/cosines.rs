use burn::tensor::{Bool, Int, Tensor, assert_shape};
use burn_losses_kernels::math::{cast_to, unit_rows, widen};

use crate::heads::ClassCenters;
use crate::labels::{SafeLabels, silence};
use crate::mining::PairMasks;

/// Numbers that a block of classes holds at once, about.
const BLOCK: usize = 1 << 22;

/// How close the embeddings of a batch are to their own class and to the nearest other one; without autodiff.
///
/// Angles are taken on the host, see [`Reading`](super::Reading): an arc cosine on the device is not exact near 1.
#[derive(Clone, Debug)]
pub struct ClassCosines {
    /// The cosine with the own class, `[batch]`; 0 where `valid` is false.
    pub own: Tensor<1>,
    /// The largest cosine with another class, `[batch]`; 0 where `valid` is false.
    pub nearest_other: Tensor<1>,
    /// Whether the row has a class, and there is another one, `[batch]`.
    pub valid: Tensor<1, Bool>,
}

impl ClassCosines {
    /// With the centers of a head.
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
    pub fn with_centers(centers: &ClassCenters, embeddings: Tensor<2>, labels: Tensor<1, Int>) -> Self {
        let labels = centers.check(&embeddings, labels);
        Self::with_rows(centers.weight.val(), embeddings, labels)
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
    pub fn with_rows(classes: Tensor<2>, embeddings: Tensor<2>, labels: SafeLabels) -> Self {
        let ([count, dim], [batch, _]) = (classes.dims(), embeddings.dims());
        assert_shape!(embeddings, [batch, dim]);
        assert_shape!(labels.index, [batch]);
        let valid = labels.valid.without_autodiff();
        if batch == 0 {
            let nothing = widen(embeddings.without_autodiff()).reshape([0]);
            return Self { own: nothing.clone(), nearest_other: nothing, valid };
        }
        let embeddings = widen(embeddings.without_autodiff());
        let unit = unit_rows(silence(embeddings, valid.clone()));
        let index = labels.index.without_autodiff();
        let classes = classes.without_autodiff();
        let of_block = |start, length| unit_rows(cast_to(classes.clone().narrow(0, start, length), unit.dtype()));

        let own = unit_rows(cast_to(classes.clone().select(0, index.clone()), unit.dtype()));
        let own = (unit.clone() * own).sum_dim(1).squeeze_dim(1);
        let length = (BLOCK / batch.max(dim)).clamp(1, count);
        let mut nearest = Tensor::<2>::full([batch, 1], -2.0, (&unit.device(), unit.dtype()));
        for start in (0..count).step_by(length) {
            let length = length.min(count - start);
            let cosines = unit.clone().matmul(of_block(start, length).transpose());
            let columns = Tensor::<1, Int>::arange(0..length as i64, (&index.device(), index.dtype()));
            let columns = columns.add_scalar(start as i64).unsqueeze_dim::<2>(0).expand([batch, length]);
            let itself = columns.equal(index.clone().unsqueeze_dim::<2>(1).expand([batch, length]));
            nearest = nearest.max_pair(cosines.mask_fill(itself, -2.0).max_dim(1));
        }
        let valid = if count == 1 { valid.clone().bool_and(valid.bool_not()) } else { valid };

        Self::new(own, nearest.squeeze_dim(1), valid)
    }

    /// Within a batch, for losses of pairs and triplets: `own` is the mean cosine with the other rows of the same
    /// identity, `nearest_other` the largest with a row of another. Makes `[batch, batch]` numbers.
    ///
    /// # Shapes
    ///
    /// - embeddings: `[batch, embedding_dim]`
    /// - labels: `[batch]`; a row with a negative label is in no pair
    ///
    /// # Panics
    ///
    /// If the shapes do not agree.
    pub fn in_batch(embeddings: Tensor<2>, labels: Tensor<1, Int>) -> Self {
        let [batch, _] = embeddings.dims();
        assert_shape!(labels, [batch]);
        let labels = labels.without_autodiff();
        let PairMasks { positive, negative } = PairMasks::in_batch(labels);
        let embeddings = widen(embeddings.without_autodiff());
        if batch == 0 {
            let (nothing, valid) = (embeddings.reshape([0]), Tensor::empty([0], &positive.device()));
            return Self { own: nothing.clone(), nearest_other: nothing, valid };
        }
        let used = positive.clone().any_dim(1).bool_and(negative.clone().any_dim(1));
        let in_a_pair = positive.clone().bool_or(negative.clone()).any_dim(1).squeeze_dim(1);
        let unit = unit_rows(silence(embeddings, in_a_pair));
        let cosines = unit.clone().matmul(unit.transpose());
        let ones = cosines.ones_like().mask_fill(positive.clone().bool_not(), 0.0);
        let own = cosines.clone().mask_fill(positive.bool_not(), 0.0).sum_dim(1) / ones.sum_dim(1).clamp_min(1.0);
        let nearest = cosines.mask_fill(negative.bool_not(), -2.0).max_dim(1);

        Self::new(own.squeeze_dim(1), nearest.squeeze_dim(1), used.squeeze_dim(1))
    }

    fn new(own: Tensor<1>, nearest_other: Tensor<1>, valid: Tensor<1, Bool>) -> Self {
        let hidden = valid.clone().bool_not();
        let shown = |cosine: Tensor<1>| cosine.mask_fill(hidden.clone(), 0.0);
        Self { own: shown(own), nearest_other: shown(nearest_other), valid }
    }
}
