use burn::config::Config;
use burn::module::Module;
use burn::tensor::{Device, Tensor};
use burn_losses_kernels::math::log_sum_exp_where;

use super::argument::Pairs;
use super::asked::Labelled;
use super::loss::{AnchorLosses, PairLoss};
use super::masked::inside;
use super::temperature::check_temperature;
use crate::identities::label_sums;
use crate::mining::PairMasks;
use crate::reduction::EmbeddingReduction;

/// Settings of [`SupConLoss`].
#[derive(Config, Debug)]
pub struct SupConLossConfig {
    /// What cosines are divided by; in `[1e-6, 1e6]`. The paper uses 0.1, its public code 0.07.
    /// Default: `0.1`.
    #[config(default = 0.1)]
    pub temperature: f64,
    /// How the losses become one number.
    /// Default: `EmbeddingReduction::Mean`.
    #[config(default = "EmbeddingReduction::Mean")]
    pub reduction: EmbeddingReduction,
}

impl SupConLossConfig {
    /// Builds the loss for embeddings on `device`.
    ///
    /// # Panics
    ///
    /// If a field is out of its range.
    #[track_caller]
    pub fn init(&self, _device: &Device) -> SupConLoss {
        check_temperature("SupConLoss", self.temperature);
        SupConLoss { temperature: self.temperature, reduction: self.reduction }
    }
}

/// Supervised contrastive loss: all rows of a label attract each other at once, against all other rows.
///
/// ```text
/// score[i, j] = cosine(anchor[i], reference[j]) / temperature
/// all[i]      = log(sum over j != i of exp(score[i, j]))
/// loss[i]     = all[i] - mean over the positives p of i of score[i, p]
/// ```
///
/// The mean stands outside of the logarithm (the paper's `L_out`). The positives are in the denominator, so with `P` of
/// them the loss never falls below `log(P)`: watch its change, not its size. With one positive per row it is
/// [`InfoNceLoss`](super::InfoNceLoss) with views. A row without a positive has loss 0 and no part in a mean; a row without a
/// negative still has one.
///
/// The denominator is streamed, and the scores of the positives are one product with the sum of the rows of a label. Memory
/// is `O((batch + references)·dim)`, and up to 32 MiB of scores that are kept for the backward pass.
///
/// # When to take it
///
/// For labelled batches with several samples of each class; large batches help. For pairs without labels take
/// [`InfoNceLoss`](super::InfoNceLoss), for several labels per sample
/// [`MultiLabelSupConLoss`](super::MultiLabelSupConLoss).
///
/// # Deviations
///
/// pytorch-metric-learning's loss is 0 for a batch without a single negative; this is the paper's formula there. Its
/// default mean is over the losses that are not 0, which is [`EmbeddingReduction::MeanNonZero`]; it differs from
/// [`EmbeddingReduction::Mean`] only where a row with one positive and no negative has loss 0, which here is 0 but for rounding.
///
/// # Source
///
/// Khosla et al.: [Supervised Contrastive Learning](https://arxiv.org/abs/2004.11362), 2020, section 3.2.2, equation 2.
///
/// # Example
///
/// ```
/// use burn::tensor::{Device, Int, Tensor};
/// use burn_losses::pairs::SupConLossConfig;
///
/// let device = Device::default();
/// let embeddings = Tensor::<2>::from_data([[1.0, 0.0], [1.0, 0.0], [2.0, 0.0]], &device);
/// let labels = Tensor::<1, Int>::from_ints([4, 4, 4], &device);
/// let loss = SupConLossConfig::new().init(&device).forward(embeddings, labels);
/// // Two positives each, which cannot be told apart.
/// assert!((loss.into_scalar::<f32>() - 2.0_f32.ln()).abs() < 1e-5);
/// ```
#[derive(Module, Debug)]
pub struct SupConLoss {
    temperature: f64,
    #[module(skip)]
    reduction: EmbeddingReduction,
}

impl PairLoss for SupConLoss {
    fn reduction(&self) -> EmbeddingReduction {
        self.reduction
    }

    fn anchor_losses(&self, pairs: &Pairs) -> AnchorLosses {
        pairs.expect_triplets();
        let scale = 1.0 / self.temperature;
        let (all, mean, counts) = match pairs.labelled().map(Labelled::unit) {
            Some(rows) => {
                let (mean, counts) = mean_of_positives(&rows);
                (rows.log_sum_of_all(scale), mean, counts)
            }
            None => {
                let (cosines, PairMasks { positive, negative }) = (pairs.cosines(), pairs.masks());
                let count = |mask| inside(mask, cosines.ones_like(), |ones| ones).sum_dim(1).squeeze_dim::<1>(1);
                let counts = count(positive.clone());
                let sums = inside(positive.clone(), cosines.clone(), |cosines| cosines).sum_dim(1).squeeze_dim::<1>(1);
                let all = log_sum_exp_where(cosines.mul_scalar(scale), positive.bool_or(negative));
                (all, sums / counts.clone().clamp_min(1.0), counts)
            }
        };
        let none = counts.lower_equal_scalar(0.0);
        let losses = (all - mean.mul_scalar(scale)).mask_fill(none.clone(), 0.0);

        AnchorLosses::one_each(losses, none.bool_not())
    }
}

/// The mean cosine of every anchor and its positives, and how many there are.
fn mean_of_positives(rows: &Labelled) -> (Tensor<1>, Tensor<1>) {
    let (sums, counts) = label_sums(rows.references.clone(), rows.reference_labels.clone(), rows.labels.clone());
    let (sums, counts) = if rows.in_batch {
        // Without the row itself; rows in no pair stay at 0.
        (sums - rows.anchors.clone(), counts.sub_scalar(1.0).clamp_min(0.0))
    } else {
        (sums, counts)
    };
    let sums = (rows.anchors.clone() * sums).sum_dim(1).squeeze_dim::<1>(1);

    (sums / counts.clone().clamp_min(1.0), counts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::TensorData;

    fn run(labels: &[i64]) -> alloc::vec::Vec<f32> {
        let device = Device::flex();
        let embeddings = Tensor::<2>::from_data([[1.0_f32, 0.0], [3.0, 4.0], [0.0, 2.0]], &device);
        let labels = Tensor::from_data(TensorData::from(labels), &device);
        SupConLossConfig::new()
            .with_temperature(0.5)
            .init(&device)
            .forward_no_reduction(embeddings, labels)
            .try_into_vec_as()
            .unwrap()
    }

    #[test]
    fn the_positives_are_averaged_outside_of_the_logarithm() {
        // By hand: cosines 0.6 (rows 0 and 1), 0 (0 and 2), 0.8 (1 and 2); divided by 0.5.
        let all = |a: f32, b: f32| (a.exp() + b.exp()).ln();
        let two = run(&[1, 1, 2]);
        assert!((two[0] - (all(1.2, 0.0) - 1.2)).abs() < 1e-6, "{two:?}");
        assert!((two[1] - (all(1.2, 1.6) - 1.2)).abs() < 1e-6, "{two:?}");
        assert_eq!(two[2], 0.0);

        let three = run(&[1, 1, 1]);
        assert!((three[1] - (all(1.2, 1.6) - 1.4)).abs() < 1e-6, "{three:?}");
    }

    #[test]
    fn a_row_with_a_negative_label_is_nowhere() {
        let losses = run(&[1, 1, -1]);

        // Rows 0 and 1 have each other alone: the denominator is the positive.
        assert!(losses[..2].iter().all(|loss| loss.abs() < 1e-6), "{losses:?}");
        assert_eq!(losses[2], 0.0);
    }
}
