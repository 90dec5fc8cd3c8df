use alloc::vec::Vec;

use burn::config::Config;
use burn::module::Module;
use burn::tensor::{Bool, Device, FloatDType, Tensor};
use burn_losses_kernels::math::log_sum_exp_where;
use burn_losses_kernels::scores::Scale;

use super::argument::Pairs;
use super::asked::Labelled;
use super::loss::{AnchorLosses, PairLoss, together};
use super::masked::inside;
use super::streamed::{Contrast, is_something};
use super::temperature::check_temperature;
use crate::identities::{count_matches, label_sums};
use crate::mining::PairMasks;
use crate::reduction::EmbeddingReduction;

/// Settings of [`DecoupledContrastiveLoss`].
#[derive(Config, Debug)]
pub struct DecoupledContrastiveLossConfig {
    /// What cosines are divided by; in `[1e-6, 1e6]`.
    /// Default: `0.1`.
    #[config(default = 0.1)]
    pub temperature: f64,
    /// What the cosines of positives are divided by for their weights, the paper's sigma; in `[1e-6, 1e6]`. With it, positives
    /// that are farther than others weigh more (DCLW, where the paper takes 0.5); without it each weighs 1 (DCL).
    /// Default: `None`.
    #[config(default = "None")]
    pub weight_temperature: Option<f64>,
    /// How the losses become one number.
    /// Default: `EmbeddingReduction::Mean`.
    #[config(default = "EmbeddingReduction::Mean")]
    pub reduction: EmbeddingReduction,
}

impl DecoupledContrastiveLossConfig {
    /// Builds the loss for embeddings on `device`.
    ///
    /// # Panics
    ///
    /// If a field is out of its range.
    #[track_caller]
    pub fn init(&self, _device: &Device) -> DecoupledContrastiveLoss {
        let Self { temperature, weight_temperature, reduction } = *self;
        check_temperature("DecoupledContrastiveLoss", temperature);
        if let Some(weight) = weight_temperature {
            assert!(
                (1e-6..=1e6).contains(&weight),
                "DecoupledContrastiveLoss: weight_temperature must be in [1e-6, 1e6], got {weight}"
            );
        }
        DecoupledContrastiveLoss { temperature, weight_temperature, reduction }
    }
}

/// The contrastive loss of two views without the positive in the denominator: DCL, and DCLW with weights.
///
/// ```text
/// score[i, j]  = cosine(anchor[i], reference[j]) / temperature
/// negatives[i] = log(sum over the negatives n of i of exp(score[i, n]))
/// loss[i, p]   = negatives[i] - weight[i, p]·score[i, p]
/// weight       = 2 - exp(cosine / weight_temperature) / its mean over all positives, a constant of the gradient; or 1
/// ```
///
/// [`InfoNceLoss`](super::InfoNceLoss) is `softplus` of the same difference, whose slope goes to 0 when the positive is
/// well ahead; here it does not. So losses are negative where all is well, and there is no smallest one: watch the
/// retrieval, not the loss. An anchor without a positive or without a negative has loss 0 and no part in a mean.
/// [`EmbeddingReduction::MeanNonZero`] is the mean of the rest here, since no loss is 0 by itself.
///
/// | pairs | memory |
/// | --- | --- |
/// | [`Pairs::views`], [`Pairs::aligned`], [`Pairs::symmetric`], [`Pairs::queue`] | `O(batch·dim)` |
/// | of labels, without weights | `O((batch + references)·dim)` |
/// | of labels with weights, or of a miner | `O(batch·references)` |
///
/// # When to take it
///
/// In place of [`InfoNceLoss`](super::InfoNceLoss) for two views in small batches (256 and fewer), where the paper finds it ahead. Not
/// for large ones, where the difference is gone, and not with labels: [`SupConLoss`](super::SupConLoss) takes those.
///
/// # Source
///
/// Yeh et al.: [Decoupled Contrastive Learning](https://arxiv.org/abs/2110.06848), 2022, equation 6.
///
/// # Example
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use burn_losses::pairs::{DecoupledContrastiveLossConfig, Pairs};
///
/// let device = Device::default();
/// let first = Tensor::<2>::from_data([[1.0, 0.0], [0.0, 2.0]], &device);
/// let second = Tensor::<2>::from_data([[3.0, 0.0], [0.0, 1.0]], &device);
/// let loss = DecoupledContrastiveLossConfig::new().with_temperature(0.5).init(&device);
/// let value = loss.forward_pairs(&Pairs::views(first, second));
/// // Two negatives of cosine 0, and a positive of cosine 1.
/// assert!((value.into_scalar::<f32>() - (2.0_f32.ln() - 2.0)).abs() < 1e-6);
/// ```
#[derive(Module, Debug)]
pub struct DecoupledContrastiveLoss {
    temperature: f64,
    #[module(skip)]
    weight_temperature: Option<f64>,
    #[module(skip)]
    reduction: EmbeddingReduction,
}

impl PairLoss for DecoupledContrastiveLoss {
    fn reduction(&self) -> EmbeddingReduction {
        self.reduction
    }

    fn anchor_losses(&self, pairs: &Pairs) -> AnchorLosses {
        pairs.expect_triplets();
        let (dim, _) = pairs.dim_and_precision();
        if let Some(mut losses) = self.of_places(pairs, &[dim]) {
            return losses.remove(0);
        }
        match pairs.labelled() {
            Some(rows) if self.weight_temperature.is_none() => self.of_labels(&rows.unit()),
            _ => self.of_chosen(pairs),
        }
    }

    fn forward_pairs_of_lengths(&self, pairs: &Pairs, lengths: &[usize]) -> Vec<Tensor<1>> {
        pairs.expect_triplets();
        together(self, pairs, lengths, |pairs| self.of_places(pairs, lengths))
    }
}

impl DecoupledContrastiveLoss {
    /// The losses where every anchor has one positive at a known place.
    fn of_places(&self, pairs: &Pairs, lengths: &[usize]) -> Option<Vec<AnchorLosses>> {
        let scale = 1.0 / self.temperature;
        let (contrasts, paired) = pairs.contrasts(lengths, &Scale::Constant(scale))?;
        let losses = |Contrast { own, negatives }: Contrast| {
            let counted = is_something(negatives.clone());
            let counted = paired.clone().map_or(counted.clone(), |paired| counted.bool_and(paired));
            let losses = negatives - self.weighted(own, counted.clone()).mul_scalar(scale);
            AnchorLosses::one_each(losses.mask_fill(counted.clone().bool_not(), 0.0), counted)
        };
        Some(contrasts.into_iter().map(losses).collect())
    }

    /// The losses of the pairs that labels make, each positive with weight 1.
    fn of_labels(&self, rows: &Labelled) -> AnchorLosses {
        let scale = 1.0 / self.temperature;
        let counts = count_matches(rows.labels.clone(), rows.reference_labels.clone(), rows.in_batch);
        let counts = counts.cast(FloatDType::from(rows.anchors.dtype()));
        let (sums, _) = label_sums(rows.references.clone(), rows.reference_labels.clone(), rows.labels.clone());
        let known = rows.labels.clone().greater_equal_scalar(0);
        // Without the row itself.
        let sums = if rows.in_batch { sums - rows.anchors.clone() } else { sums };
        let positives = (rows.anchors.clone() * sums).sum_dim(1).squeeze_dim::<1>(1);
        let negatives = rows.log_sum_of_negatives(scale);
        let counted = counts.clone().greater_scalar(0.0).bool_and(is_something(negatives.clone())).bool_and(known);
        let none = counted.clone().bool_not();
        let counts = counts.mask_fill(none.clone(), 0.0);
        let losses = (negatives * counts.clone() - positives.mul_scalar(scale)).mask_fill(none, 0.0);

        AnchorLosses::new(losses, counts.clone(), counts)
    }

    /// The losses of the pairs that a miner chose.
    fn of_chosen(&self, pairs: &Pairs) -> AnchorLosses {
        let scale = 1.0 / self.temperature;
        let (cosines, PairMasks { positive, negative }) = (pairs.cosines(), pairs.masks());
        let dims = cosines.dims();
        let negatives = log_sum_exp_where(cosines.clone().mul_scalar(scale), negative);
        let counted = is_something(negatives.clone()).unsqueeze_dim::<2>(1).expand(dims).bool_and(positive);
        let own = inside(counted.clone(), cosines, |cosines| cosines);
        let own = self.weighted(own, counted.clone()).mul_scalar(scale);
        let losses = inside(counted.clone(), negatives.unsqueeze_dim::<2>(1).expand(dims) - own, |losses| losses);

        AnchorLosses::of_pairs(losses, counted)
    }

    /// The cosines of positives times their weights.
    fn weighted<const D: usize>(&self, cosines: Tensor<D>, counted: Tensor<D, Bool>) -> Tensor<D> {
        let Some(sigma) = self.weight_temperature else {
            return cosines;
        };
        let none = counted.bool_not();
        let dims = cosines.dims();
        let exponents = cosines.clone().detach().mul_scalar(1.0 / sigma);
        // A cosine is at least -1, but for rounding: no other is farther below.
        let lowest = exponents.clone().mask_fill(none.clone(), -2.0 / sigma);
        let largest = lowest.clone().max().reshape([1; D]).expand(dims);
        let terms = (lowest - largest).exp().mask_fill(none.clone(), 0.0);
        let count = terms.ones_like().mask_fill(none, 0.0).sum();
        let total = terms.clone().sum();
        // Without a positive there is nothing to divide.
        let nothing = total.clone().equal_scalar(0.0);
        let share = (count / total.mask_fill(nothing, 1.0)).reshape([1; D]).expand(dims);

        cosines * (terms * share).neg().add_scalar(2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::{Int, TensorData};

    fn run(weight: Option<f64>, labels: &[i64]) -> Vec<f32> {
        let device = Device::flex();
        let embeddings = Tensor::<2>::from_data([[1.0_f32, 0.0], [3.0, 4.0], [0.0, 2.0]], &device);
        let labels = Tensor::<1, Int>::from_data(TensorData::from(labels), &device);
        let config = DecoupledContrastiveLossConfig::new().with_temperature(0.5).with_weight_temperature(weight);
        config.init(&device).forward_no_reduction(embeddings, labels).try_into_vec_as().unwrap()
    }

    #[test]
    fn the_positive_is_not_in_the_denominator() {
        // By hand: cosines 0.6 (rows 0 and 1), 0 (0 and 2), 0.8 (1 and 2); divided by 0.5.
        let losses = run(None, &[1, 1, 2]);
        assert!((losses[0] + 1.2).abs() < 1e-6 && (losses[1] - 0.4).abs() < 1e-6, "{losses:?}");
        assert_eq!(losses[2], 0.0);
        // Two positives of one cosine weigh 1 each.
        let weighted = run(Some(0.5), &[1, 1, 2]);
        assert!(losses.iter().zip(&weighted).all(|(one, other)| (one - other).abs() < 1e-6), "{weighted:?}");
    }

    #[test]
    fn a_far_positive_weighs_more_than_a_near_one() {
        let device = Device::flex();
        let first = Tensor::<2>::from_data([[1.0_f32, 0.0], [0.0, 1.0]], &device);
        let second = Tensor::<2>::from_data([[0.6_f32, 0.8], [0.0, 1.0]], &device);
        let config = DecoupledContrastiveLossConfig::new().with_temperature(1.0).with_weight_temperature(Some(0.5));
        let losses = config.init(&device).forward_pairs_no_reduction(&Pairs::aligned(first, second));
        let losses = losses.try_into_vec_as::<f32>().unwrap();

        // By hand: own cosines 0.6 and 1, one negative each at 0 and 0.8.
        let total = 1.2_f32.exp() + 2.0_f32.exp();
        let weights = [2.0 - 2.0 * 1.2_f32.exp() / total, 2.0 - 2.0 * 2.0_f32.exp() / total];
        let expected = [0.0 - 0.6 * weights[0], 0.8 - weights[1]];
        assert!(losses.iter().zip(expected).all(|(loss, number)| (loss - number).abs() < 1e-6), "{losses:?}");
    }

    #[test]
    fn without_a_positive_or_a_negative_the_loss_is_zero() {
        for weight in [None, Some(0.5)] {
            assert_eq!(run(weight, &[1, 2, 3]), [0.0; 3]);
            assert_eq!(run(weight, &[1, 1, 1]), [0.0; 3]);
            assert_eq!(run(weight, &[-1, -1, 1]), [0.0; 3]);
        }
    }
}
