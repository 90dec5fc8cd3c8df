use core::f64::consts::FRAC_PI_2;

use burn::config::Config;
use burn::module::Module;
use burn::tensor::Device;

use super::choice::Candidates;
use super::{Miner, PairMasks, Triplets};
use crate::distance::Distance;
use crate::pairs::Pairs;

/// Settings of [`AngularMiner`].
#[derive(Config, Debug)]
pub struct AngularMinerConfig {
    /// Triplets with a larger angle are taken, in radians; in `(0, pi/2)`. The default is 20 degrees.
    /// Default: `20.0_f64.to_radians()`.
    #[config(default = "20.0_f64.to_radians()")]
    pub angle: f64,
}

impl AngularMinerConfig {
    /// Builds the miner for embeddings on `device`.
    ///
    /// # Panics
    ///
    /// If `angle` is not in `(0, pi/2)`.
    #[track_caller]
    pub fn init(&self, _device: &Device) -> AngularMiner {
        let angle = self.angle;
        assert!(angle > 0.0 && angle < FRAC_PI_2, "AngularMiner: angle must be in (0, pi/2) radians, got {angle}");
        AngularMiner { angle }
    }
}

/// Every triplet whose angle at the negative is larger than a limit.
///
/// ```text
/// center = (anchor + positive) / 2
/// tan(angle at the negative) = ‖anchor - positive‖ / (2·‖negative - center‖)
/// ```
///
/// of rows divided by their length. It is compared as
/// `‖anchor - positive‖² > 2·sin²(angle)·(‖anchor - negative‖² + ‖positive - negative‖²)`, which is the same without
/// an arc tangent, a root or a center per triplet.
///
/// pytorch-metric-learning's miner insists on a distance of unit rows, but measures the rows as they are: it takes the
/// same triplets when they have length 1. All `anchors·references²` combinations are marked, see [`mining`](super) for
/// what that takes.
///
/// # When to take it
///
/// Where distances differ in scale between classes: an angle does not. It lists all triplets: for large batches take
/// [`SemiHardMiner`](super::SemiHardMiner).
///
/// # Source
///
/// Wang et al.: [Deep Metric Learning with Angular Loss](https://arxiv.org/abs/1708.01682), 2017, section 3.2,
/// equation 4.
///
/// # Example
///
/// ```
/// use burn::tensor::{Device, Int, Tensor};
/// use burn_losses::mining::AngularMinerConfig;
/// use burn_losses::pairs::{Pairs, TripletLossConfig};
///
/// let device = Device::default();
/// let embeddings = Tensor::<2>::from_data([[1.0, 0.0], [0.98, 0.2], [-1.0, 0.0]], &device);
/// let labels = Tensor::<1, Int>::from_ints([0, 0, 1], &device);
/// // Seen from the negative, half the angle between the positives is atan(0.1 / 1.99), 0.05 rad: not worth a triplet.
/// let chosen = AngularMinerConfig::new().with_angle(0.2).init(&device).mine(&Pairs::in_batch(embeddings, labels));
/// let loss = TripletLossConfig::new().with_margin(2.0).init(&device).forward_pairs(&chosen);
/// assert_eq!(loss.into_scalar::<f32>(), 0.0);
/// ```
#[derive(Module, Debug)]
pub struct AngularMiner {
    angle: f64,
}

impl Miner for AngularMiner {
    /// The triplets beyond the angle, `anchors·references²` entries.
    ///
    /// # Panics
    ///
    /// If there are no embeddings that are all compared with each other.
    fn mine(&self, pairs: &Pairs) -> Pairs {
        let [rows, columns] = pairs.dims();
        if pairs.is_empty() {
            return pairs.clone();
        }
        let Some((anchors, references)) = pairs.clone().without_autodiff().unit().embeddings() else {
            panic!("AngularMiner: angles are of embeddings, not of precomputed distances or rows side by side");
        };
        let across = Distance::SquaredEuclidean.matrix(references.clone(), references.clone());
        let squares = Distance::SquaredEuclidean.matrix(anchors, references);
        let Candidates { distances: squares, positive, negative, home } = Candidates::among(squares, pairs.masks());

        let shape = [rows, columns, columns];
        let to_positive = squares.clone().unsqueeze_dim::<3>(2).expand(shape);
        let to_negative = squares.unsqueeze_dim::<3>(1).expand(shape) + across.unsqueeze_dim::<3>(0).expand(shape);
        let sine = libm::sin(self.angle);
        let taken = to_positive.greater(to_negative.mul_scalar(2.0 * sine * sine));

        let triplets = taken.bool_and(PairMasks { positive, negative }.cube());
        pairs.clone().with_triplets(Triplets::among_all(triplets).on_device(&home))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[should_panic(expected = "AngularMiner: angle must be in (0, pi/2) radians, got 20")]
    fn an_angle_in_degrees_is_rejected() {
        AngularMinerConfig::new().with_angle(20.0).init(&Device::flex());
    }
}
