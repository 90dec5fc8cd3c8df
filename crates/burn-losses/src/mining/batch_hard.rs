use burn::module::Module;
use burn::tensor::{Int, Tensor};

use super::choice::{Candidates, Chosen};
use super::{Pairs, Triplets};

/// For every anchor its farthest positive and its closest negative.
///
/// The usual miner beside the triplet loss. It looks at the worst of a batch, so wrong labels weigh heavily, and with a
/// model that starts from nothing it tends to collapse (the loss then equals the margin): begin with every triplet or
/// with [`SemiHardMiner`](super::SemiHardMiner).
///
/// # Source
///
/// Hermans, Beyer, Leibe: [In Defense of the Triplet Loss](https://arxiv.org/abs/1703.07737), 2017, section 2,
/// equation 5.
///
/// ```
/// use burn::tensor::{Device, Int, Tensor};
/// use burn_losses::distance::Distance;
/// use burn_losses::mining::{BatchHardMiner, Pairs};
///
/// let device = Device::default();
/// let embeddings = Tensor::<2>::from_data([[0.0], [1.0], [4.0], [6.0]], &device);
/// let labels = Tensor::<1, Int>::from_ints([0, 0, 0, 1], &device);
/// let distances = Distance::Euclidean.matrix(embeddings.clone(), embeddings);
/// let triplets = BatchHardMiner::new().mine(distances, &Pairs::in_batch(labels));
///
/// assert_eq!(triplets.positive.narrow(0, 0, 3).try_into_vec_as::<i64>().unwrap(), [2, 2, 0]);
/// // Row 3 is alone in its class.
/// assert_eq!(triplets.valid.try_into_vec_as::<bool>().unwrap(), [true, true, true, false]);
/// ```
#[derive(Module, Debug, Default)]
pub struct BatchHardMiner {}

impl BatchHardMiner {
    /// The miner; it has no settings.
    pub fn new() -> Self {
        Self {}
    }

    /// The triplet of every anchor that has a positive and a negative.
    ///
    /// # Shapes
    ///
    /// - distances: `[anchors, references]`, smaller is closer
    /// - pairs: masks of `[anchors, references]`
    /// - output: `anchors` entries (none if there are no references)
    ///
    /// # Panics
    ///
    /// If the shapes differ.
    pub fn mine(&self, distances: Tensor<2>, pairs: &Pairs) -> Triplets {
        let Some(candidates) = Candidates::new(distances, pairs) else {
            return Triplets::none(&pairs.positive.device());
        };
        let Candidates { distances, positive, negative, home } = candidates;
        let positive = Chosen::farthest(distances.clone(), positive);
        let negative = Chosen::closest(distances, negative);

        one_each(positive, negative).on_device(&home)
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
