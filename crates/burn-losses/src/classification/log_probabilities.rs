//! The logarithm of a softmax.

use burn::tensor::Tensor;

/// `logits - log(sum of exp(logits))` by row; logits of -infinity give -infinity as long as one of their row is finite.
pub(super) fn log_probabilities(logits: Tensor<2>) -> Tensor<2> {
    // The shift cancels in the result, so no gradient flows through it.
    let largest = logits.clone().detach().max_dim(1);
    let shifted = logits - largest;

    shifted.clone() - shifted.exp().sum_dim(1).log()
}
