use burn::config::Config;
use burn::module::Module;
use burn::tensor::{Bool, Int, Tensor, assert_shape};
use burn_losses_kernels::logsumexp::{KeyLabels, Streaming, streamed_logsumexp};
use burn_losses_kernels::math::{cast_to, softplus, unit_rows, widen};

use super::compared::Compared;
use super::loss::PairwiseLoss;
use crate::identities::{first_match, from_the_start};
use crate::reduction::EmbeddingReduction;

/// What an anchor and a positive are compared by.
#[derive(Config, Debug, Copy, PartialEq, Eq)]
pub enum PairScore {
    /// The sum of products, as in the paper: the lengths count, so give the embeddings a penalty. Rows whose products
    /// overflow (lengths beyond `1e15` in `f32`) are beyond it.
    Product,
    /// The cosine, for rows of any length; pytorch-metric-learning's default.
    Cosine,
}

/// Settings of [`NPairsLoss`].
#[derive(Config, Debug)]
pub struct NPairsLossConfig {
    /// What an anchor and a positive are compared by.
    #[config(default = "PairScore::Product")]
    pub score: PairScore,
}

impl NPairsLossConfig {
    /// Builds the loss.
    pub fn init(&self) -> NPairsLoss {
        NPairsLoss { score: self.score }
    }
}

/// One pair of every class; each anchor picks its positive out among those of all other classes.
///
/// ```text
/// loss[i] = log(1 + sum over j != i of exp(score(anchor[i], positive[j]) - score(anchor[i], positive[i])))
/// ```
///
/// From labels, the anchor of a class is its first row and the positive its second; further rows are not used, so build
/// batches of many classes with two rows each. Among references, the positive of a class is its first one, and classes
/// that only the references have are negatives. All other rows have loss 0 and no part in a mean. Memory is
/// `O(batch·dim)`, and up to 32 MiB of scores that are kept for the backward pass.
///
/// # Deviations
///
/// The paper adds a penalty on the squared lengths of the embeddings, which is a loss of its own here.
///
/// # Source
///
/// Sohn: [Improved Deep Metric Learning with Multi-class N-pair Loss
/// Objective](https://papers.nips.cc/paper/6200-improved-deep-metric-learning-with-multi-class-n-pair-loss-objective),
/// 2016, section 3.2.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use burn_losses::pairs::NPairsLossConfig;
/// use burn_losses::reduction::EmbeddingReduction;
///
/// let device = Device::default();
/// let anchors = Tensor::<2>::from_data([[1.0, 0.0], [0.0, 1.0]], &device);
/// let positives = Tensor::<2>::from_data([[2.0, 0.0], [0.0, 2.0]], &device);
/// let loss = NPairsLossConfig::new().init().forward_pairs(anchors, positives, EmbeddingReduction::Mean);
/// assert!((loss.into_scalar::<f32>() - (1.0 + (-2.0_f32).exp()).ln()).abs() < 1e-6);
/// ```
#[derive(Module, Debug)]
pub struct NPairsLoss {
    #[module(skip)]
    score: PairScore,
}

impl PairwiseLoss for NPairsLoss {
    fn compare(&self, rows: Compared, reduction: EmbeddingReduction) -> Tensor<1> {
        let (losses, valid) = self.losses(rows);
        reduction.apply_valid(losses, valid)
    }
}

impl NPairsLoss {
    /// The loss of every row; 0 where it is no anchor.
    ///
    /// # Shapes
    ///
    /// - embeddings: `[batch, embedding_dim]`
    /// - labels: `[batch]`
    /// - output: `[batch]`
    ///
    /// # Panics
    ///
    /// If the shapes do not agree.
    pub fn forward_no_reduction(&self, embeddings: Tensor<2>, labels: Tensor<1, Int>) -> Tensor<1> {
        Compared::in_batch(embeddings, labels).losses_of(|rows| self.losses(rows).0)
    }

    /// The reduced loss of pairs that are laid out already, each of a class of its own.
    ///
    /// # Shapes
    ///
    /// - anchors: `[pairs, embedding_dim]`
    /// - positives: `[pairs, embedding_dim]`; row `i` is the positive of anchor `i`
    /// - output: `[1]`
    ///
    /// # Panics
    ///
    /// If the shapes do not agree.
    pub fn forward_pairs(&self, anchors: Tensor<2>, positives: Tensor<2>, reduction: EmbeddingReduction) -> Tensor<1> {
        let [pairs, dim] = anchors.dims();
        assert_shape!(positives, [pairs, dim]);
        let dtype = anchors.dtype();
        if pairs == 0 {
            return anchors.sum().add_scalar(0.0);
        }
        let anchors = widen(anchors);
        let positives = cast_to(widen(positives), anchors.dtype());
        let (anchors, positives) = match self.score {
            PairScore::Product => (anchors, positives),
            PairScore::Cosine => (unit_rows(anchors), unit_rows(positives)),
        };
        let class = Tensor::arange(0..pairs as i64, &anchors.device());
        cast_to(reduction.apply(pair_losses(anchors, positives, class, KeyLabels::Position)), dtype)
    }

    /// The losses, and which rows are anchors.
    fn losses(&self, rows: Compared) -> (Tensor<1>, Tensor<1, Bool>) {
        let rows = match self.score {
            PairScore::Product => rows,
            PairScore::Cosine => rows.unit(),
        };
        let [count] = rows.reference_labels.dims();
        let (labels, reference_labels) = (rows.labels, rows.reference_labels);
        let place = Tensor::<1, Int>::arange(0..labels.dims()[0] as i64, (&labels.device(), labels.dtype()));
        let first = first_match(labels.clone(), labels.clone(), from_the_start(&labels));
        let found = if rows.in_batch {
            first_match(labels.clone(), reference_labels.clone(), first.clone())
        } else {
            first_match(labels.clone(), reference_labels.clone(), from_the_start(&labels))
        };
        let paired = found.clone().lower_scalar(count as i64);
        let anchor = paired.bool_and(first.equal(place)).bool_and(labels.clone().greater_equal_scalar(0));
        let none = anchor.clone().bool_not();
        let own = rows.references.clone().select(0, found.mask_fill(none.clone(), 0));

        let (keys, key_labels) = if rows.in_batch {
            (own.clone(), labels.clone().mask_fill(none.clone(), -1))
        } else {
            let place = Tensor::<1, Int>::arange(0..count as i64, (&labels.device(), labels.dtype()));
            let start = from_the_start(&reference_labels);
            let first = first_match(reference_labels.clone(), reference_labels.clone(), start).equal(place);
            (rows.references, reference_labels.mask_fill(first.bool_not(), -1))
        };
        // Rows that are no anchors must not overflow: they would be NaN before they are left out.
        let dims = rows.anchors.dims();
        let silent = none.clone().unsqueeze_dim::<2>(1).expand(dims);
        let anchors = rows.anchors.mask_fill(silent.clone(), 0.0);
        let losses = behind(anchors, own.mask_fill(silent, 0.0), keys, labels, KeyLabels::Tensor(key_labels));

        (losses.mask_fill(none, 0.0), anchor)
    }
}

fn pair_losses(anchors: Tensor<2>, own: Tensor<2>, labels: Tensor<1, Int>, key_labels: KeyLabels) -> Tensor<1> {
    behind(anchors, own.clone(), own, labels, key_labels)
}

/// How far the own score is behind the others.
fn behind(
    anchors: Tensor<2>,
    own: Tensor<2>,
    keys: Tensor<2>,
    labels: Tensor<1, Int>,
    key_labels: KeyLabels,
) -> Tensor<1> {
    let score = (anchors.clone() * own).sum_dim(1).squeeze_dim::<1>(1);
    softplus(streamed_logsumexp(anchors, keys, labels, key_labels, 1.0, Streaming::new()) - score)
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::{Device, TensorData};

    fn run(labels: &[i64]) -> alloc::vec::Vec<f32> {
        let device = Device::flex();
        let rows = [[1.0_f32, 0.0], [0.0, 1.0], [2.0, 1.0], [-1.0, 3.0], [9.0, 9.0]];
        let labels = Tensor::from_data(TensorData::from(labels), &device);
        NPairsLossConfig::new()
            .init()
            .forward_no_reduction(Tensor::from_data(rows, &device), labels)
            .try_into_vec_as()
            .unwrap()
    }

    #[test]
    fn the_first_row_of_a_class_looks_for_the_second() {
        let losses = run(&[7, 3, 7, 3, 7]);

        // By hand: anchors 0 and 1, positives 2 and 3, products 2, -1 and 3, 1.
        assert!((losses[0] - (1.0 + (-3.0_f32).exp()).ln()).abs() < 1e-6, "{losses:?}");
        assert!((losses[1] - (1.0 + (-2.0_f32).exp()).ln()).abs() < 1e-6, "{losses:?}");
        assert_eq!(losses[2..], [0.0; 3]);
    }

    #[test]
    fn without_two_pairs_there_is_no_loss() {
        assert_eq!(run(&[1, 2, 3, 4, 5]), [0.0; 5]);
        assert_eq!(run(&[1, 1, 3, 4, -1]), [0.0; 5]);
        assert_eq!(run(&[-1; 5]), [0.0; 5]);
    }
}
