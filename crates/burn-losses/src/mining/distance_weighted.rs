use alloc::vec::Vec;

use burn::config::Config;
use burn::module::Module;
use burn::tensor::{Device, Int, Tensor};

use super::choice::{Candidates, beyond_all, blocks};
use super::{Miner, Triplets};
use crate::distance::Distance;
use crate::pairs::Pairs;
use crate::random::{Draws, first_draw, next_draw, this_draw};

/// Settings of [`DistanceWeightedMiner`].
#[derive(Config, Debug)]
pub struct DistanceWeightedMinerConfig {
    /// The length of an embedding; `>= 2`.
    pub embedding_dim: usize,
    /// Closer negatives are weighed as if they were this far, so that a few noisy ones are not drawn always; in
    /// `(0, 2)`.
    /// Default: `0.5`.
    #[config(default = 0.5)]
    pub cutoff: f64,
    /// Negatives that are as far or farther are not drawn, since they have no loss; in `(cutoff, 2]`.
    /// Default: `1.4`.
    #[config(default = 1.4)]
    pub nonzero_loss_cutoff: f64,
    /// What the draws follow from, together with the number of draws before.
    /// Default: `0`.
    #[config(default = 0)]
    pub seed: u64,
}

impl DistanceWeightedMinerConfig {
    /// Builds the miner with the state of its draws on `device`.
    ///
    /// # Panics
    ///
    /// If a field is out of its range.
    #[track_caller]
    pub fn init(&self, device: &Device) -> DistanceWeightedMiner {
        let Self { embedding_dim, cutoff, nonzero_loss_cutoff, seed } = *self;
        assert!(embedding_dim >= 2, "DistanceWeightedMiner: embedding_dim must be >= 2, got {embedding_dim}");
        assert!(cutoff > 0.0 && cutoff < 2.0, "DistanceWeightedMiner: cutoff must be in (0, 2), got {cutoff}");
        assert!(
            nonzero_loss_cutoff > cutoff && nonzero_loss_cutoff <= 2.0,
            "DistanceWeightedMiner: nonzero_loss_cutoff must be in (cutoff, 2], got {nonzero_loss_cutoff}"
        );

        DistanceWeightedMiner { embedding_dim, cutoff, nonzero_loss_cutoff, draws: first_draw(seed, device) }
    }
}

/// For every positive pair a negative drawn so that all distances come up alike.
///
/// ```text
/// density(d)  ∝ d^(embedding_dim - 2)·(1 - d²/4)^((embedding_dim - 3)/2)     of points on a sphere
/// weight      = 1 / density(max(d, cutoff)),  0 if d >= nonzero_loss_cutoff
/// ```
///
/// Almost all negatives are at about `sqrt(2)`; drawn evenly, they teach little, and the hardest ones are noise. The
/// distances are Euclidean ones between the rows divided by their length; precomputed ones must be of such rows. Made for
/// the margin loss, on embeddings of length 1.
///
/// Which negatives are drawn follows from `seed` and the number of draws before, on every backend alike but for
/// rounding (one draw in a million); both are state that is saved and loaded with the module. Pairs without autodiff,
/// those of a validation, are drawn for as well, but do not count as a draw, so that a validation loss can be
/// computed again. An anchor whose negatives are all too far is in no triplet (pytorch-metric-learning draws one of
/// them evenly then).
///
/// # When to take it
///
/// Before a [`MarginLoss`](crate::pairs::MarginLoss) or a [`TripletLoss`](crate::pairs::TripletLoss) on embeddings of
/// length 1, for negatives of every distance. For embeddings of any length take
/// [`SemiHardMiner`](super::SemiHardMiner).
///
/// # Source
///
/// Wu, Manmatha, Smola, Krähenbühl: [Sampling Matters in Deep Embedding Learning](https://arxiv.org/abs/1706.07567),
/// 2017, section 4.
///
/// # Example
///
/// ```
/// use burn::tensor::{Device, Int, Tensor};
/// use burn_losses::mining::DistanceWeightedMinerConfig;
/// use burn_losses::pairs::{MarginLossConfig, Pairs};
/// use burn_losses::reduction::EmbeddingReduction;
///
/// let device = Device::default();
/// let miner = DistanceWeightedMinerConfig::new(2).init(&device);
/// let loss = MarginLossConfig::new().with_reduction(EmbeddingReduction::MeanNonZero).init(&device);
/// let embeddings = Tensor::<2>::from_data([[1.0, 0.0], [-1.0, 0.0], [0.8, 0.6]], &device);
/// let labels = Tensor::<1, Int>::from_ints([5, 5, 6], &device);
///
/// // One triplet: the second row has no negative within 1.4. Its positive is 2 apart, its negative sqrt(0.4).
/// let value = loss.forward_pairs(&miner.mine(&Pairs::in_batch(embeddings, labels))).into_scalar::<f32>();
/// assert!((value - ((2.0 - 1.2 + 0.2) + (1.2 - 0.4_f32.sqrt() + 0.2)) / 2.0).abs() < 1e-5);
/// ```
#[derive(Module, Debug)]
pub struct DistanceWeightedMiner {
    embedding_dim: usize,
    cutoff: f64,
    nonzero_loss_cutoff: f64,
    draws: Draws,
}

impl Miner for DistanceWeightedMiner {
    /// A triplet for every positive pair whose anchor has a negative within `nonzero_loss_cutoff`, `anchors·references`
    /// entries.
    ///
    /// # Panics
    ///
    /// If there are more than 2^30 combinations of an anchor and a reference, or distances are precomputed that are not
    /// [`Distance::Euclidean`].
    fn mine(&self, pairs: &Pairs) -> Pairs {
        let training = pairs.device().is_autodiff();
        let unit = pairs.clone().without_autodiff().unit();
        let Some(candidates) = Candidates::new("DistanceWeightedMiner", Distance::Euclidean, &unit) else {
            return pairs.clone();
        };
        let Candidates { distances, positive, negative, home } = candidates;
        let [anchors, references] = positive.dims();
        let count = anchors * references;
        assert!(count <= 1 << 30, "DistanceWeightedMiner: anchors·references must be <= 2^30, got {count}");

        let device = distances.device();
        let numbers = Tensor::<1, Int>::arange(0..count as i64, &device);
        let draw = if training { next_draw } else { this_draw };
        let mixer = draw(&self.draws, &device, numbers.dtype());
        let uniform = mixer.uniform(numbers, distances.dtype()).reshape([anchors, references]);

        let allowed = negative.bool_and(distances.clone().lower_scalar(self.nonzero_loss_cutoff));
        let found = allowed.clone().any_dim(1);
        let logs = self.log_weights(distances).mask_fill(allowed.clone().bool_not(), -beyond_all(uniform.dtype()));
        let largest = logs.clone().max_dim(1);
        let weights = (logs - largest).exp().mask_fill(allowed.bool_not(), 0.0);
        // The drawn one is the first whose sum with all before it is beyond the random share of the whole sum.
        let sums = weights.cumsum(1);
        let shares = uniform * sums.clone().narrow(1, references - 1, 1).expand([anchors, references]);

        let mut chosen = Vec::new();
        for (start, length) in blocks([anchors, references]) {
            let shape = [anchors, length, references];
            let share = shares.clone().narrow(1, start, length).unsqueeze_dim::<3>(2).expand(shape);
            let before = sums.clone().unsqueeze_dim::<3>(1).expand(shape).lower_equal(share);
            chosen.push(before.int().sum_dim(2).reshape([anchors, length]));
        }
        // Where there is nothing to draw, the number of all those before is one too large.
        let chosen = Tensor::cat(chosen, 1).clamp_max(references as i64 - 1);
        let valid = positive.bool_and(found.expand([anchors, references]));

        pairs.clone().with_triplets(Triplets::of_pairs(chosen, valid).on_device(&home))
    }
}

impl DistanceWeightedMiner {
    fn log_weights(&self, distances: Tensor<2>) -> Tensor<2> {
        let dim = self.embedding_dim as f64;
        let distances = distances.clamp(self.cutoff, self.nonzero_loss_cutoff);
        // At a distance of 2 nothing is left; a rounding error keeps the logarithm finite.
        let rest = distances.clone().square().mul_scalar(-0.25).add_scalar(1.0).clamp_min(1e-7);

        distances.log().mul_scalar(2.0 - dim) - rest.log().mul_scalar(0.5 * (dim - 3.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By hand, in 5 dimensions: `-3·ln(d) - ln(1 - d²/4)`; nearer than the cutoff of 0.5 counts as 0.5.
    #[test]
    fn weights_are_one_over_the_density_of_distances_on_a_sphere() {
        let miner = DistanceWeightedMinerConfig::new(5).init(&Device::flex());
        let distances = Tensor::<2>::from_data([[0.25, 0.5, 0.8, 1.0, 1.3]], &Device::flex());
        let weights = miner.log_weights(distances).try_into_vec_as::<f32>().expect("readable");
        for (weight, expected) in weights.into_iter().zip([2.143_98, 2.143_98, 0.843_784, 0.287_682, -0.238_046]) {
            assert!((weight - expected).abs() < 1e-5, "{weight}, expected {expected}");
        }
    }

    #[test]
    fn a_weight_is_the_inverse_of_the_density_of_its_distance() {
        let device = Device::flex();
        let miner = DistanceWeightedMinerConfig::new(5).init(&device);
        let distances = Tensor::<2>::from_data([[0.3_f32, 0.8, 1.2, 1.9]], &device);
        let logs = miner.log_weights(distances).try_into_vec_as::<f32>().unwrap();

        // By hand: the density is d³·(1 - d²/4); distances count as no less than 0.5 and no more than 1.4.
        for (log, d) in logs.into_iter().zip([0.5_f32, 0.8, 1.2, 1.4]) {
            let expected = -(d.powi(3) * (1.0 - d * d / 4.0)).ln();
            assert!((log - expected).abs() < 1e-5, "{log} is not {expected} at {d}");
        }
    }

    #[test]
    #[should_panic(expected = "DistanceWeightedMiner: nonzero_loss_cutoff must be in (cutoff, 2], got 0.5")]
    fn cutoffs_that_leave_nothing_are_rejected() {
        DistanceWeightedMinerConfig::new(4).with_nonzero_loss_cutoff(0.5).init(&Device::flex());
    }
}
