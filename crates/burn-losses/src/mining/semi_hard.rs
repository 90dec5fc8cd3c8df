use burn::config::Config;
use burn::module::Module;
use burn::tensor::Device;
use burn_losses_kernels::triplets::semi_hard_negatives;

use super::choice::Candidates;
use super::{Miner, Triplets};
use crate::distance::Distance;
use crate::pairs::Pairs;

/// Settings of [`SemiHardMiner`].
#[derive(Config, Debug)]
pub struct SemiHardMinerConfig {
    /// A negative farther than the positive by more than this trains nothing and is not taken; `> 0`, as the margin of
    /// the loss.
    /// Default: `0.2`.
    #[config(default = 0.2)]
    pub margin: f64,
    /// How far apart two embeddings are.
    /// Default: `Distance::Euclidean`.
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
/// # When to take it
///
/// Before a [`TripletLoss`](crate::pairs::TripletLoss) that [`BatchHardMiner`](super::BatchHardMiner) would make
/// collapse. Once it finds hardly a triplet, go on with that.
///
/// # Source
///
/// Schroff, Kalenichenko, Philbin: [FaceNet](https://arxiv.org/abs/1503.03832), 2015, section 3.2, equation 4.
///
/// # Example
///
/// ```
/// use burn::tensor::{Device, Int, Tensor};
/// use burn_losses::mining::SemiHardMinerConfig;
/// use burn_losses::pairs::{Pairs, TripletLossConfig};
///
/// let device = Device::default();
/// let embeddings = Tensor::<2>::from_data([[0.0], [1.0], [2.25]], &device);
/// let labels = Tensor::<1, Int>::from_ints([0, 0, 1], &device);
/// let chosen = SemiHardMinerConfig::new().with_margin(3.0).init(&device).mine(&Pairs::in_batch(embeddings, labels));
/// // From 0 the positive is 1 away and the negative 2.25, from 1 they are 1 and 1.25 away: losses of 0 and 0.25.
/// let loss = TripletLossConfig::new().with_margin(0.5).init(&device).forward_pairs(&chosen).into_scalar::<f32>();
/// assert!((loss - 0.125).abs() < 1e-5, "{loss}");
/// ```
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
        let index = semi_hard_negatives(distances.clone(), positive, negative);
        let missing = index.clone().lower_scalar(0);
        let index = index.mask_fill(missing.clone(), 0);
        let gap = distances.clone().gather(1, index.clone()) - distances;
        let valid = gap.lower_equal_scalar(self.margin).bool_and(missing.bool_not());

        pairs.clone().with_triplets(Triplets::of_pairs(index, valid).on_device(&home))
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
