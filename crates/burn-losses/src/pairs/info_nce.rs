use alloc::vec::Vec;

use burn::config::Config;
use burn::module::Module;
use burn::tensor::{Device, FloatDType, Tensor};
use burn_losses_kernels::math::{in_host_memory, log_sum_exp_where, softplus, unit_rows};

use super::argument::Pairs;
use super::asked::Labelled;
use super::loss::{AnchorLosses, PairLoss, together};
use super::masked::inside;
use super::streamed::{Contrast, sum_of_picks};
use super::temperature::{Temperature, TemperatureMode, times};
use crate::identities::count_matches;
use crate::reduction::EmbeddingReduction;

/// Settings of [`InfoNceLoss`].
#[derive(Config, Debug)]
pub struct InfoNceLossConfig {
    /// What cosines are divided by; in `[1e-6, 1e6]`. MoCo and CLIP use 0.07, SimCLR 0.1 to 0.5.
    /// Default: `0.07`.
    #[config(default = 0.07)]
    pub temperature: f64,
    /// Whether the temperature is trained.
    /// Default: `TemperatureMode::Fixed`.
    #[config(default = "TemperatureMode::Fixed")]
    pub temperature_mode: TemperatureMode,
    /// How the losses become one number.
    /// Default: `EmbeddingReduction::Mean`.
    #[config(default = "EmbeddingReduction::Mean")]
    pub reduction: EmbeddingReduction,
}

impl InfoNceLossConfig {
    /// Builds the loss; a learned temperature is on `device`.
    ///
    /// # Panics
    ///
    /// If a field is out of its range.
    #[track_caller]
    pub fn init(&self, device: &Device) -> InfoNceLoss {
        let Self { temperature, temperature_mode, reduction } = *self;
        InfoNceLoss { temperature: Temperature::new("InfoNceLoss", temperature, temperature_mode, device), reduction }
    }
}

/// Picks every positive out among the negatives of its anchor: InfoNCE, NT-Xent, the contrastive loss of SimCLR, MoCo
/// and CLIP.
///
/// ```text
/// score[i, j]  = cosine(anchor[i], reference[j]) / temperature
/// negatives[i] = log(sum over the negatives n of i of exp(score[i, n]))
/// loss[i, p]   = softplus(negatives[i] - score[i, p])
///              = -log(exp(score[i, p]) / (exp(score[i, p]) + sum over n of exp(score[i, n])))
/// ```
///
/// One loss per positive pair, and a mean is over these; other positives of the anchor are not in its denominator. An
/// anchor without a positive has no loss, one without a negative the loss 0.
///
/// | pairs | positives | negatives | memory |
/// | --- | --- | --- | --- |
/// | [`Pairs::in_batch`] | rows of the same label | rows of another label | `O(batch·dim)` |
/// | [`Pairs::with_references`] | the same, among references | the same | `O((batch + references)·dim)` |
/// | [`Pairs::views`] (SimCLR) | the other view | both views of all others | `O(batch·dim)` |
/// | [`Pairs::aligned`] | the key in the same row | all other keys | `O(batch·dim)` |
/// | [`Pairs::symmetric`] (CLIP) | the partner in the same row | all others of the partner's side | `O(batch·dim)` |
/// | [`Pairs::queue`] (MoCo) | the key in the same row | the queue | `O((batch + queue)·dim)` |
/// | of a miner | those it chose | those it chose | `O(batch·references)` |
///
/// The denominators are streamed in every form but the last, and so are the losses of the positive pairs that labels make:
/// neither a positive is paired with every negative, nor is there a matrix of `[batch, references]` beyond the up to 32 MiB
/// of scores that are kept for the backward pass. In host memory `forward_pairs` of aligned rows that are tracked computes the
/// gradient, too, and holds it until the backward pass or the loss is gone: a loss that is only looked at belongs on the model's
/// `valid()`. In host memory the two directions of symmetric rows share their products, too.
///
/// A temperature that is [learned](TemperatureMode::Learned) does not fall below 0.01, as in CLIP; beyond the bound its
/// gradient still passes, so that it can come back.
///
/// # When to take it
///
/// For two views of a sample, image and text, query and document: one positive, many negatives. With several positives per row,
/// [`SupConLoss`](super::SupConLoss).
///
/// # Source
///
/// van den Oord, Li, Vinyals: [Representation Learning with Contrastive Predictive
/// Coding](https://arxiv.org/abs/1807.03748), 2018, equation 4; Chen et al.:
/// [SimCLR](https://arxiv.org/abs/2002.05709), 2020, equation 1; He et al.: [MoCo](https://arxiv.org/abs/1911.05722),
/// 2020, equation 1; Radford et al.: [CLIP](https://arxiv.org/abs/2103.00020), 2021, section 2.3.
///
/// # Example
///
/// ```
/// use burn::tensor::{Device, Int, Tensor};
/// use burn_losses::pairs::InfoNceLossConfig;
///
/// let device = Device::default();
/// let loss = InfoNceLossConfig::new().init(&device);
/// let embeddings = Tensor::<2>::from_data([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0]], &device);
/// let labels = Tensor::<1, Int>::from_ints([4, 4, 9], &device);
/// let value = loss.forward(embeddings, labels).into_scalar::<f32>();
/// // Both positives have cosine 1, their negative 0.
/// assert!((value - (1.0 + (-1.0 / 0.07_f32).exp()).ln()).abs() < 1e-6);
/// ```
#[derive(Module, Debug)]
pub struct InfoNceLoss {
    /// What cosines are divided by.
    pub temperature: Temperature,
    #[module(skip)]
    reduction: EmbeddingReduction,
}

impl PairLoss for InfoNceLoss {
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
            Some(rows) => self.streamed(&rows.unit()),
            None => self.of_chosen(pairs),
        }
    }

    fn forward_pairs(&self, pairs: &Pairs) -> Tensor<1> {
        let filled = pairs.filled().used_by(self.name());
        let loss = self.at_once(&filled);
        pairs.finish(loss.unwrap_or_else(|| self.anchor_losses(&filled).reduce(self.reduction)))
    }

    fn forward_pairs_of_lengths(&self, pairs: &Pairs, lengths: &[usize]) -> Vec<Tensor<1>> {
        pairs.expect_triplets();
        together(self, pairs, lengths, |pairs| self.of_places(pairs, lengths))
    }
}

impl InfoNceLoss {
    /// The sum or the mean of aligned rows; `None` where there is no one pass for it.
    fn at_once(&self, pairs: &Pairs) -> Option<Tensor<1>> {
        if self.reduction == EmbeddingReduction::MeanNonZero || !in_host_memory(&pairs.device()) {
            return None;
        }
        let [anchors, references] = pairs.all_others()?.map(unit_rows);
        let ([count, _], scale) = (anchors.dims(), self.temperature.scale(anchors.dtype()));
        let sum = sum_of_picks(anchors, references, &scale)?;
        Some(if self.reduction == EmbeddingReduction::Mean { sum.mul_scalar(1.0 / count as f64) } else { sum })
    }

    /// The losses where every anchor has one positive at a known place.
    fn of_places(&self, pairs: &Pairs, lengths: &[usize]) -> Option<Vec<AnchorLosses>> {
        let (_, dtype) = pairs.dim_and_precision();
        let scale = self.temperature.scale(dtype);
        let (contrasts, paired) = pairs.contrasts(lengths, &scale)?;
        let losses = |Contrast { own, negatives }: Contrast| softplus(negatives - times(own, &scale));
        let losses = contrasts.into_iter().map(losses);
        Some(losses.map(|losses| AnchorLosses::where_paired(losses, paired.clone())).collect())
    }

    /// The losses of the pairs that labels make.
    fn streamed(&self, rows: &Labelled) -> AnchorLosses {
        let scale = self.temperature.scale(rows.anchors.dtype());
        let counts = count_matches(rows.labels.clone(), rows.reference_labels.clone(), rows.in_batch);
        // A row without a positive has no loss, whatever its negatives are.
        let alone = counts.clone().equal_scalar(0);
        let counts = counts.cast(FloatDType::from(rows.anchors.dtype()));
        let negatives = rows.log_sum_of_negatives(scale.clone()).mask_fill(alone, 0.0);
        let (losses, active) = rows.sums_of_softplus(rows.anchors.clone().neg(), negatives, scale);

        AnchorLosses::new(losses, counts, active)
    }

    /// The losses of the pairs that a miner chose.
    fn of_chosen(&self, pairs: &Pairs) -> AnchorLosses {
        let masks = pairs.masks();
        let dims = masks.positive.dims();
        let cosines = pairs.cosines();
        let scale = self.temperature.scale(cosines.dtype());
        let scores = times(cosines, &scale);
        let negatives = log_sum_exp_where(scores.clone(), masks.negative).unsqueeze_dim::<2>(1).expand(dims);
        let losses = inside(masks.positive.clone(), negatives - scores, softplus);

        AnchorLosses::of_pairs(losses, masks.positive)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::{Int, TensorData};

    fn loss(temperature: f64) -> InfoNceLoss {
        InfoNceLossConfig::new().with_temperature(temperature).init(&Device::flex())
    }

    fn run(labels: &[i64]) -> alloc::vec::Vec<f32> {
        let device = Device::flex();
        let embeddings = Tensor::<2>::from_data([[1.0_f32, 0.0], [3.0, 4.0], [0.0, 2.0]], &device);
        let labels = Tensor::from_data(TensorData::from(labels), &device);
        loss(0.5).forward_no_reduction(embeddings, labels).try_into_vec_as::<f32>().unwrap()
    }

    #[test]
    fn a_positive_is_picked_out_among_the_negatives() {
        // By hand: cosines 0.6 (rows 0 and 1), 0 (0 and 2), 0.8 (1 and 2); divided by 0.5.
        let first = (1.0 + (0.0_f32 - 1.2).exp()).ln();
        let second = (1.0 + (1.6_f32 - 1.2).exp()).ln();
        let losses = run(&[1, 1, 2]);

        assert!((losses[0] - first).abs() < 1e-6 && (losses[1] - second).abs() < 1e-6, "{losses:?}");
        assert_eq!(losses[2], 0.0);
    }

    #[test]
    fn without_a_positive_or_a_negative_the_loss_is_zero() {
        assert_eq!(run(&[1, 2, 3]), [0.0; 3]);
        assert_eq!(run(&[1, 1, 1]), [0.0; 3]);
        assert_eq!(run(&[-1, -1, 1]), [0.0; 3]);
    }

    fn close(actual: Tensor<1>, expected: &[f32]) {
        let actual = actual.try_into_vec_as::<f32>().unwrap();
        assert!(actual.iter().zip(expected).all(|(a, e)| (a - e).abs() < 1e-6), "{actual:?} {expected:?}");
        assert_eq!(actual.len(), expected.len());
    }

    fn rows(rows: [[f32; 2]; 2]) -> Tensor<2> {
        Tensor::from_data(rows, &Device::flex())
    }

    #[test]
    fn a_view_is_told_from_both_views_of_the_other_sample() {
        let (first, second) = (rows([[1.0, 0.0], [0.0, 2.0]]), rows([[0.6, 0.8], [0.0, 1.0]]));

        // By hand, from the cosines 0.6 (own of sample 0), 1 (own of sample 1), 0, 0, 0.8 and 0.8.
        let other = |own: f32, negatives: [f32; 2]| (1.0 + (negatives[0].exp() + negatives[1].exp()) / own.exp()).ln();
        let expected = [other(0.6, [0.0, 0.0]), other(1.0, [0.0, 0.8]), other(0.6, [0.8, 0.8]), other(1.0, [0.0, 0.8])];
        close(loss(1.0).forward_pairs_no_reduction(&Pairs::views(first, second)), &expected);
    }

    #[test]
    fn a_query_is_told_from_the_other_keys_or_from_a_queue() {
        let (queries, keys) = (rows([[1.0, 0.0], [0.0, 2.0]]), rows([[0.6, 0.8], [0.0, 1.0]]));
        let queue = Tensor::<2>::from_data([[f32::NAN, 1.0], [-3.0, 0.0]], &Device::flex());
        let slots = Tensor::<1, Int>::from_ints([-1, 0], &Device::flex());

        // By hand: the second key of the first query has cosine 0, the first of the second 0.8.
        let expected = [(1.0 + (-0.6_f32).exp()).ln(), (1.0 + (0.8_f32 - 1.0).exp()).ln()];
        let aligned = Pairs::aligned(queries.clone(), keys.clone());
        close(loss(1.0).forward_pairs_no_reduction(&aligned), &expected);
        // One row of the queue is empty; the other has cosines -1 and 0.
        let expected = [(1.0 + (-1.6_f32).exp()).ln(), (1.0 + (-1.0_f32).exp()).ln()];
        close(loss(1.0).forward_pairs_no_reduction(&Pairs::queue(queries, keys, (queue, slots))), &expected);
    }

    #[test]
    #[should_panic(expected = "InfoNceLoss: temperature must be in [1e-6, 1e6], got 0")]
    fn a_temperature_of_zero_is_rejected() {
        InfoNceLossConfig::new().with_temperature(0.0).init(&Device::flex());
    }
}
