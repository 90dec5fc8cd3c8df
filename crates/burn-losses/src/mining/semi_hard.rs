use alloc::vec::Vec;

use burn::config::Config;
use burn::module::Module;
use burn::tensor::{Device, Tensor};

use super::choice::{Candidates, beyond_all, blocks};
use super::{Miner, Triplets};
use crate::distance::Distance;
use crate::pairs::Pairs;

/// Settings of [`SemiHardMiner`].
#[derive(Config, Debug)]
pub struct SemiHardMinerConfig {
    /// A negative farther than the positive by more than this trains nothing and is not taken; `> 0`, as the margin of
    /// the loss.
    #[config(default = 0.2)]
    pub margin: f64,
    /// How far apart two embeddings are.
    #[config(default = "Distance::Euclidean")]
    pub distance: Distance,
}

impl SemiHardMinerConfig {
    /// Builds the miner for embeddings on `device`.
    ///
    /// # Panics
    ///
    /// If `margin` is not above 0.
    #[track_caller]
    pub fn init(&self, _device: &Device) -> SemiHardMiner {
        self.distance.validate();
        let margin = self.margin;
        assert!(margin > 0.0, "SemiHardMiner: margin must be > 0, got {margin}");
        SemiHardMiner { distance: self.distance, margin }
    }
}

/// For every positive pair the closest of the negatives that are farther than the positive, but within the margin.
///
/// ```text
/// distance(anchor, positive) < distance(anchor, negative) <= distance(anchor, positive) + margin
/// ```
///
/// A positive pair without such a negative is in no triplet. (TensorFlow's triplet loss takes the farthest negative
/// then, which is wrong by itself: FaceNet's argument against the hardest negatives is against it too.) The distances
/// of FaceNet are squared Euclidean ones of unit rows.
///
/// The comparison of all positives with all negatives goes in blocks of a few million.
///
/// # Source
///
/// Schroff, Kalenichenko, Philbin: [FaceNet](https://arxiv.org/abs/1503.03832), 2015, section 3.2, equation 4.
#[derive(Module, Debug)]
pub struct SemiHardMiner {
    #[module(skip)]
    distance: Distance,
    margin: f64,
}

impl Miner for SemiHardMiner {
    /// A triplet for every positive pair that has a semi-hard negative, `anchors·references` entries.
    fn mine(&self, pairs: &Pairs) -> Pairs {
        let Some(candidates) = Candidates::new("SemiHardMiner", self.distance, pairs) else {
            return pairs.clone();
        };
        let Candidates { distances, positive, negative, home } = candidates;
        let [anchors, references] = positive.dims();
        let (mut chosen, mut found) = (Vec::new(), Vec::new());
        for (start, length) in blocks([anchors, references]) {
            let shape = [anchors, length, references];
            let limit = distances.clone().narrow(1, start, length).unsqueeze_dim::<3>(2).expand(shape);
            let candidates = distances.clone().unsqueeze_dim::<3>(1).expand(shape);
            let gap = candidates.clone() - limit;
            let within = gap.clone().greater_scalar(0.0).bool_and(gap.lower_equal_scalar(self.margin));
            let allowed = within.bool_and(negative.clone().unsqueeze_dim::<3>(1).expand(shape));
            let beyond = beyond_all(distances.dtype());
            let index = candidates.mask_fill(allowed.clone().bool_not(), beyond).argmin(2);
            chosen.push(index.reshape([anchors, length]));
            found.push(allowed.any_dim(2).reshape([anchors, length]));
        }
        let valid = Tensor::cat(found, 1).bool_and(positive);

        pairs.clone().with_triplets(Triplets::of_pairs(Tensor::cat(chosen, 1), valid).on_device(&home))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[should_panic(expected = "SemiHardMiner: margin must be > 0, got 0")]
    fn a_margin_of_zero_is_rejected() {
        SemiHardMinerConfig::new().with_margin(0.0).init(&Device::flex());
    }
}
