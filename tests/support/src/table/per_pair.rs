use burn::tensor::{Bool, Int, Tensor, TensorData};
use burn_losses::mining::PairMasks;
use burn_losses::pairs::{PairLoss, Pairs};

use super::Call;

/// Which negatives an anchor of one pair has.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Negatives {
    /// That of its pair, if it is one.
    OfThePair,
    /// All of its row.
    All,
}

/// The loss of every pair of a batch, `[batch·batch]`: each has an anchor of its own, with no other positive.
pub(super) fn per_pair(call: &Call<'_>, loss: &dyn PairLoss, embeddings: Tensor<2>, negatives: Negatives) -> Tensor<1> {
    let labels = &call.case.labels;
    let count = labels.len();
    let known = |i: usize, j: usize| labels[i] >= 0 && labels[j] >= 0;
    let mask = |holds: &dyn Fn(usize, usize, usize) -> bool| {
        let places = (0..count * count * count).map(|at| (at / count / count, at / count % count, at % count));
        let numbers: Vec<bool> = places.map(|(i, j, k)| holds(i, j, k)).collect();
        Tensor::<2, Bool>::from_data(TensorData::new(numbers, [count * count, count]), call.device)
    };
    let masks = PairMasks {
        positive: mask(&|i, j, k| k == j && i != j && known(i, j) && labels[i] == labels[j]),
        negative: mask(&|i, j, k| (negatives == Negatives::All || k == j) && known(i, k) && labels[i] != labels[k]),
    };
    let rows: Vec<i64> = (0..count * count).map(|at| (at / count) as i64).collect();
    let rows = Tensor::<1, Int>::from_data(TensorData::from(rows.as_slice()), call.device);
    let (anchors, of_anchors) = (embeddings.clone().select(0, rows.clone()), call.labels().select(0, rows));
    let pairs = Pairs::with_references(anchors, of_anchors, (embeddings, call.labels()));

    loss.forward_pairs_no_reduction(&pairs.with_masks(masks))
}
