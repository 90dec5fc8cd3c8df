use crate::pairs::Pairs;

/// Chooses among pairs.
///
/// ```
/// use burn::tensor::{Device, Int, Tensor};
/// use burn_losses::mining::BatchHardMinerConfig;
/// use burn_losses::pairs::{Pairs, TripletLossConfig};
///
/// let device = Device::default();
/// let (miner, loss) = (BatchHardMinerConfig::new().init(&device), TripletLossConfig::new().init(&device));
/// let embeddings = Tensor::<2>::from_data([[0.0], [1.0], [4.0], [6.0]], &device);
/// let labels = Tensor::<1, Int>::from_ints([0, 0, 0, 1], &device);
///
/// let pairs = miner.mine(&Pairs::in_batch(embeddings, labels));
/// // Farthest positives 4, 3 and 4, closest negatives 6, 5 and 2, a margin of 0.2: the third has a loss of 2.2.
/// assert!((loss.forward_pairs(&pairs).into_scalar::<f32>() - 2.2 / 3.0).abs() < 1e-5);
/// ```
pub trait Miner {
    /// The same rows, of which fewer pairs count, or triplets.
    ///
    /// # Panics
    ///
    /// If distances are precomputed, and not those that the miner compares.
    #[track_caller]
    fn mine(&self, pairs: &Pairs) -> Pairs;
}
