//! The closest or the farthest of the references that an anchor may choose.

use burn::tensor::{Bool, DType, Device, Int, Tensor};

use super::PairMasks;
use crate::distance::Distance;
use crate::pairs::Pairs;

/// Numbers that the steps of a miner in blocks hold at once, about.
const BLOCK: usize = 1 << 22;

/// Distances and pairs in the form a miner works with: without autodiff, and every distance a number that can be
/// compared. NaN is in no pair, and an overflowed distance is merely the largest.
pub(super) struct Candidates {
    /// `[anchors, references]`, 0 where it was NaN.
    pub(super) distances: Tensor<2>,
    /// Where a positive may be chosen.
    pub(super) positive: Tensor<2, Bool>,
    /// Where a negative may be chosen.
    pub(super) negative: Tensor<2, Bool>,
    /// Where the masks were, for what is handed back.
    pub(super) home: Device,
}

impl Candidates {
    /// `None` if there are no anchors or no references.
    #[track_caller]
    pub(super) fn new(miner: &'static str, distance: Distance, pairs: &Pairs) -> Option<Self> {
        if pairs.is_empty() {
            return None;
        }
        let distances = pairs.clone().used_by(miner).without_autodiff().distances(distance);

        Some(Self::among(distances, pairs.masks()))
    }

    /// There is an anchor and a reference.
    pub(super) fn among(distances: Tensor<2>, pairs: PairMasks) -> Self {
        let unknown = distances.clone().is_nan();
        let largest = beyond_all(distances.dtype()) / 2.0;
        let distances = distances.mask_fill(unknown.clone(), 0.0).clamp(-largest, largest);
        let known = unknown.bool_not();
        let among = |mask: &Tensor<2, Bool>| {
            mask.clone().without_autodiff().to_device(&distances.device()).bool_and(known.clone())
        };
        let (positive, negative) = (among(&pairs.positive), among(&pairs.negative));

        Self { distances, positive, negative, home: pairs.positive.device() }
    }
}

/// What each anchor chose.
pub(super) struct Chosen {
    /// The reference, `[anchors, 1]`; some number in range where there was none to choose.
    pub(super) index: Tensor<2, Int>,
    /// Its distance, `[anchors, 1]`.
    pub(super) distance: Tensor<2>,
    /// Whether there was one to choose, `[anchors, 1]`.
    pub(super) found: Tensor<2, Bool>,
}

impl Chosen {
    /// The closest reference of each anchor among the allowed ones.
    pub(super) fn closest(distances: Tensor<2>, allowed: Tensor<2, Bool>) -> Self {
        let found = allowed.clone().any_dim(1);
        let beyond = beyond_all(distances.dtype());
        let index = distances.clone().mask_fill(allowed.bool_not(), beyond).argmin(1);
        Self { distance: distances.gather(1, index.clone()), index, found }
    }

    /// The farthest one.
    pub(super) fn farthest(distances: Tensor<2>, allowed: Tensor<2, Bool>) -> Self {
        let Self { index, distance, found } = Self::closest(distances.neg(), allowed);
        Self { index, distance: distance.neg(), found }
    }

    /// Where the choice is, as a mask `[anchors, references]`.
    pub(super) fn mask(self, references: usize) -> Tensor<2, Bool> {
        let [anchors, _] = self.index.dims();
        let shape = [anchors, references];
        let columns = Tensor::<1, Int>::arange(0..references as i64, (&self.index.device(), self.index.dtype()));
        let chosen = columns.unsqueeze_dim::<2>(0).expand(shape).equal(self.index.expand(shape));

        chosen.bool_and(self.found.expand(shape))
    }
}

/// A distance beyond every one of [`Candidates`]. Infinity would leave a row of nothing else without a largest number on
/// some backends.
pub(crate) fn beyond_all(dtype: DType) -> f64 {
    if dtype == DType::F64 { f64::MAX } else { f64::from(f32::MAX) }
}

/// Stretches of the references, so that `anchors·references` numbers for each of a stretch fit in memory:
/// `(start, length)`.
pub(super) fn blocks([anchors, references]: [usize; 2]) -> impl Iterator<Item = (usize, usize)> {
    let length = (BLOCK / (anchors * references).max(1)).clamp(1, references.max(1));
    (0..references).step_by(length).map(move |start| (start, length.min(references - start)))
}
