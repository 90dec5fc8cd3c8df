use burn::config::Config;
use burn::module::Module;
use burn::tensor::{Device, IndexingUpdateOp, Int, Tensor};
use burn_losses_kernels::math::{log_sum_exp_where, softplus};
use burn_losses_kernels::scores::Counted;

use super::argument::Pairs;
use super::asked::Labelled;
use super::loss::{AnchorLosses, PairLoss};
use super::one_positive::OnePositive;
use crate::identities::{first_match, from_the_start, places_of};
use crate::mining::PairMasks;
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
    /// Default: `PairScore::Product`.
    #[config(default = "PairScore::Product")]
    pub score: PairScore,
    /// How the losses become one number.
    /// Default: `EmbeddingReduction::Mean`.
    #[config(default = "EmbeddingReduction::Mean")]
    pub reduction: EmbeddingReduction,
}

impl NPairsLossConfig {
    /// Builds the loss for embeddings on `device`.
    #[track_caller]
    pub fn init(&self, _device: &Device) -> NPairsLoss {
        NPairsLoss { score: self.score, reduction: self.reduction }
    }
}

/// One pair of every class; each anchor picks its positive out among those of all other classes.
///
/// ```text
/// loss[i] = log(1 + sum over j != i of exp(score(anchor[i], positive[j]) - score(anchor[i], positive[i])))
/// ```
///
/// From labels, the anchor of a class is its first row and the positive its second; further rows are not used, so build
/// batches of many classes with two rows each. Pairs that are laid out already are [`Pairs::aligned`]. Among references,
/// the positive of a class is its first one, and classes that only the references have are negatives. Of the pairs of a
/// miner, the first positive of the first anchor of every class counts. All other rows have loss 0 and no part in a mean.
/// Memory is `O(batch·dim)`, and up to 32 MiB of scores that are kept for the backward pass; `O(batch·references)` for the
/// pairs of a miner. In host memory only anchors and positives are compared; on other devices, which rows these are is not
/// known without waiting, so all rows are, and those that are not do not count.
///
/// # When to take it
///
/// For batches of two samples of each class; of more it uses two, and [`SupConLoss`](super::SupConLoss) all. Its
/// products grow with the length of embeddings: keep that in check, or use
/// [`PairScore::Cosine`](super::PairScore::Cosine).
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
/// # Example
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use burn_losses::pairs::{NPairsLossConfig, Pairs};
///
/// let device = Device::default();
/// let anchors = Tensor::<2>::from_data([[1.0, 0.0], [0.0, 1.0]], &device);
/// let positives = Tensor::<2>::from_data([[2.0, 0.0], [0.0, 2.0]], &device);
/// let loss = NPairsLossConfig::new().init(&device).forward_pairs(&Pairs::aligned(anchors, positives));
/// // The product with the own positive is 2, with the other one 0.
/// assert!((loss.into_scalar::<f32>() - (1.0 + (-2.0_f32).exp()).ln()).abs() < 1e-6);
/// ```
#[derive(Module, Debug)]
pub struct NPairsLoss {
    #[module(skip)]
    score: PairScore,
    #[module(skip)]
    reduction: EmbeddingReduction,
}

impl PairLoss for NPairsLoss {
    fn reduction(&self) -> EmbeddingReduction {
        self.reduction
    }

    fn anchor_losses(&self, pairs: &Pairs) -> AnchorLosses {
        pairs.expect_triplets();
        let cosine = self.score == PairScore::Cosine;
        let (labelled, groups) = (pairs.labelled(), pairs.one_positive());
        // Pairs that are laid out already, each of a class of its own.
        if !groups.is_empty() && labelled.as_ref().is_none_or(|labelled| !labelled.in_batch) {
            return OnePositive::losses(groups, |rows| behind(if cosine { rows.unit() } else { rows }));
        }
        match labelled {
            Some(rows) => of_labels(if cosine { rows.unit() } else { rows }),
            None => of_chosen(pairs, if cosine { pairs.cosines() } else { pairs.products() }),
        }
    }
}

fn of_labels(rows: Labelled) -> AnchorLosses {
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
    let first_of_class = || {
        let place = Tensor::<1, Int>::arange(0..count as i64, (&labels.device(), labels.dtype()));
        let start = from_the_start(&reference_labels);
        first_match(reference_labels.clone(), reference_labels.clone(), start).equal(place)
    };
    if let Some(places) = places_of(&anchor) {
        // Nothing is compared but the pairs.
        let at = |places: &Tensor<1, Int>, rows: &Tensor<2>| rows.clone().select(0, places.clone());
        let (anchors, own) = (at(&places, &rows.anchors), at(&found.select(0, places.clone()), &rows.references));
        let labels_of_pairs = labels.clone().select(0, places.clone());
        let (negatives, of_negatives) = if rows.in_batch {
            (own.clone(), labels_of_pairs.clone())
        } else {
            match places_of(&first_of_class()) {
                Some(places) => (at(&places, &rows.references), reference_labels.clone().select(0, places)),
                None => (rows.references, reference_labels.clone()),
            }
        };
        let counted = Counted::OtherLabels(of_negatives);
        let losses = behind(OnePositive::here(anchors, own, negatives, labels_of_pairs, counted));
        let nothing = Tensor::<1>::zeros(labels.dims(), (&losses.device(), losses.dtype()));
        return AnchorLosses::one_each(nothing.select_assign(0, places, losses, IndexingUpdateOp::Add), anchor);
    }
    let none = anchor.clone().bool_not();
    let own = rows.references.clone().select(0, found.mask_fill(none.clone(), 0));
    let (negatives, of_negatives) = if rows.in_batch {
        (own.clone(), labels.clone().mask_fill(none.clone(), -1))
    } else {
        (rows.references, reference_labels.clone().mask_fill(first_of_class().bool_not(), -1))
    };
    // Rows that are no anchors must not overflow: they would be NaN before they are left out.
    let dims = rows.anchors.dims();
    let silent = none.clone().unsqueeze_dim::<2>(1).expand(dims);
    let (anchors, positives) = (rows.anchors.mask_fill(silent.clone(), 0.0), own.mask_fill(silent, 0.0));
    let counted = Counted::OtherLabels(of_negatives);
    let losses = behind(OnePositive::here(anchors, positives, negatives, labels, counted));

    AnchorLosses::one_each(losses.mask_fill(none, 0.0), anchor)
}

/// The first anchor of every class that a miner chose a positive for, its first positive, and those of the others.
fn of_chosen(pairs: &Pairs, scores: Tensor<2>) -> AnchorLosses {
    let (labels, PairMasks { positive, .. }) = (pairs.identities(), pairs.masks());
    let shape @ [anchors, references] = scores.dims();
    let numbers = |count: usize| Tensor::<1, Int>::arange(0..count as i64, (&labels.device(), labels.dtype()));
    let places = numbers(references).unsqueeze_dim::<2>(0).expand(shape);
    let found = places.mask_fill(positive.bool_not(), references as i64).min_dim(1).squeeze_dim::<1>(1);
    let paired = found.clone().lower_scalar(references as i64);
    let labels = labels.clone().mask_fill(paired.clone().bool_not(), -1);
    let first = first_match(labels.clone(), labels.clone(), from_the_start(&labels)).equal(numbers(anchors));
    let anchor = paired.bool_and(first);
    let none = anchor.clone().bool_not();
    let labels = labels.mask_fill(none.clone(), -1);
    let found = found.mask_fill(none.clone(), 0);

    let own = scores.clone().gather(1, found.clone().unsqueeze_dim::<2>(1)).squeeze_dim::<1>(1);
    let others = PairMasks::between(labels.clone(), labels).negative;
    let negatives = log_sum_exp_where(scores.select(1, found), others);
    let behind = (negatives - own).mask_fill(none.clone(), 0.0);

    AnchorLosses::one_each(softplus(behind).mask_fill(none, 0.0), anchor)
}

/// How far the score of the positive is behind those of the negatives.
fn behind(rows: OnePositive) -> Tensor<1> {
    let scores = rows.scores();
    softplus(rows.log_sum_of_negatives(1.0) - scores)
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::TensorData;

    fn run(labels: &[i64]) -> alloc::vec::Vec<f32> {
        let device = Device::flex();
        let rows = [[1.0_f32, 0.0], [0.0, 1.0], [2.0, 1.0], [-1.0, 3.0], [9.0, 9.0]];
        let labels = Tensor::from_data(TensorData::from(labels), &device);
        NPairsLossConfig::new()
            .init(&device)
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
