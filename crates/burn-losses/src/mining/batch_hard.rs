use burn::config::Config;
use burn::module::Module;
use burn::tensor::{Device, Int, Tensor};

use super::choice::{Candidates, Chosen};
use super::{Miner, Triplets};
use crate::distance::Distance;
use crate::pairs::Pairs;

/// Settings of [`BatchHardMiner`].
#[derive(Config, Debug)]
pub struct BatchHardMinerConfig {
    /// How far apart two embeddings are.
    /// Default: `Distance::Euclidean`.
    #[config(default = "Distance::Euclidean")]
    pub distance: Distance,
}

impl BatchHardMinerConfig {
    /// Builds the miner for embeddings on `device`.
    ///
    /// # Panics
    ///
    /// If a field is out of its range.
    #[track_caller]
    pub fn init(&self, _device: &Device) -> BatchHardMiner {
        self.distance.validate();
        BatchHardMiner { distance: self.distance }
    }
}

/// For every anchor its farthest positive and its closest negative.
///
/// The usual miner beside the triplet loss. It looks at the worst of a batch, so wrong labels weigh heavily, and with a
/// model that starts from nothing it tends to collapse (the loss then equals the margin): begin with every triplet or
/// with [`SemiHardMiner`](super::SemiHardMiner).
///
/// # When to take it
///
/// Before a [`TripletLoss`](crate::pairs::TripletLoss) on embeddings that are partly trained. Not at the start, nor
/// with labels that are wrong, since those look hard and are chosen: take [`SemiHardMiner`](super::SemiHardMiner).
///
/// # Source
///
/// Hermans, Beyer, Leibe: [In Defense of the Triplet Loss](https://arxiv.org/abs/1703.07737), 2017, section 2,
/// equation 5.
///
/// # Example
///
/// ```
/// use burn::tensor::{Device, Int, Tensor};
/// use burn_losses::mining::BatchHardMinerConfig;
/// use burn_losses::pairs::{Pairs, TripletLossConfig};
///
/// let device = Device::default();
/// let embeddings = Tensor::<2>::from_data([[0.0], [1.0], [4.0], [6.0]], &device);
/// let labels = Tensor::<1, Int>::from_ints([0, 0, 0, 1], &device);
/// let pairs = BatchHardMinerConfig::new().init(&device).mine(&Pairs::in_batch(embeddings, labels));
///
/// // From the third row, 4 and 2 away; row 3 is alone in its class.
/// let losses = TripletLossConfig::new().with_margin(0.5).init(&device).forward_pairs_no_reduction(&pairs);
/// let losses = losses.try_into_vec_as::<f32>().unwrap();
/// assert!(losses.iter().zip([0.0, 0.0, 2.5, 0.0]).all(|(loss, expected)| (loss - expected).abs() < 1e-5));
/// ```
#[derive(Module, Debug)]
pub struct BatchHardMiner {
    #[module(skip)]
    distance: Distance,
}

impl Miner for BatchHardMiner {
    /// The triplet of every anchor that has a positive and a negative, `anchors` entries.
    fn mine(&self, pairs: &Pairs) -> Pairs {
        let Some(candidates) = Candidates::new("BatchHardMiner", self.distance, pairs) else {
            return pairs.clone();
        };
        let Candidates { distances, positive, negative, home } = candidates;
        let positive = Chosen::farthest(distances.clone(), positive);
        let negative = Chosen::closest(distances, negative);

        pairs.clone().with_triplets(one_each(positive, negative).on_device(&home))
    }
}

/// A triplet for every anchor that chose a positive and a negative.
pub(super) fn one_each(positive: Chosen, negative: Chosen) -> Triplets {
    let [anchors, _] = positive.index.dims();
    let options = (&positive.index.device(), positive.index.dtype());
    Triplets {
        anchor: Tensor::<1, Int>::arange(0..anchors as i64, options),
        positive: positive.index.squeeze_dim(1),
        negative: negative.index.squeeze_dim(1),
        valid: positive.found.bool_and(negative.found).squeeze_dim(1),
    }
}
