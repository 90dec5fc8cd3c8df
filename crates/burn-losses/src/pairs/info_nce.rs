use burn::config::Config;
use burn::module::Module;
use burn::tensor::{Device, FloatDType, Int, Tensor};
use burn_losses_kernels::logsumexp::{Scale, Streaming, streamed_logsumexp};
use burn_losses_kernels::math::{cast_to, softplus};
use burn_losses_kernels::rivals::{PairSum, pair_sums};

use super::compared::Compared;
use super::loss::PairwiseLoss;
use super::temperature::{Temperature, TemperatureMode, times};
use crate::identities::count_matches;
use crate::reduction::EmbeddingReduction;

/// Settings of [`InfoNceLoss`].
#[derive(Config, Debug)]
pub struct InfoNceLossConfig {
    /// What cosines are divided by; in `[1e-6, 1e6]`. MoCo and CLIP use 0.07, SimCLR 0.1 to 0.5.
    #[config(default = 0.07)]
    pub temperature: f64,
    /// Whether the temperature is trained.
    #[config(default = "TemperatureMode::Fixed")]
    pub temperature_mode: TemperatureMode,
}

impl InfoNceLossConfig {
    /// Builds the loss; a learned temperature is on `device`.
    ///
    /// # Panics
    ///
    /// If a field is out of its range.
    pub fn init(&self, device: &Device) -> InfoNceLoss {
        InfoNceLoss { temperature: Temperature::new("InfoNceLoss", self.temperature, self.temperature_mode, device) }
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
/// | form | positives | negatives | memory |
/// | --- | --- | --- | --- |
/// | [`forward`](Self::forward) | rows of the same label | rows of another label | `O(batch·dim)` |
/// | [`forward_with_references`](Self::forward_with_references) | the same, among references | the same | `O((batch + references)·dim)` |
/// | [`forward_views`](Self::forward_views) (SimCLR) | the other view | both views of all others | `O(batch·dim)` |
/// | [`forward_aligned`](Self::forward_aligned) (CLIP) | the key in the same row | all other keys | `O(batch·dim)` |
/// | [`forward_queue`](Self::forward_queue) (MoCo) | the key in the same row | the queue | `O((batch + queue)·dim)` |
///
/// The denominators are streamed in every form, and so are the losses of the positive pairs that labels make: neither a
/// positive is paired with every negative, nor is there a matrix of `[batch, references]` beyond the up to 32 MiB of scores
/// that are kept for the backward pass. Only [`forward_no_reduction`](Self::forward_no_reduction) returns one.
///
/// A temperature that is [learned](TemperatureMode::Learned) does not fall below 0.01, as in CLIP; beyond the bound its
/// gradient still passes, so that it can come back.
///
/// # Source
///
/// van den Oord, Li, Vinyals: [Representation Learning with Contrastive Predictive
/// Coding](https://arxiv.org/abs/1807.03748), 2018, equation 4; Chen et al.:
/// [SimCLR](https://arxiv.org/abs/2002.05709), 2020, equation 1; He et al.: [MoCo](https://arxiv.org/abs/1911.05722),
/// 2020, equation 1; Radford et al.: [CLIP](https://arxiv.org/abs/2103.00020), 2021, section 2.3.
///
/// ```
/// use burn::tensor::{Device, Int, Tensor};
/// use burn_losses::pairs::{InfoNceLossConfig, PairwiseLoss};
/// use burn_losses::reduction::EmbeddingReduction;
///
/// let device = Device::default();
/// let loss = InfoNceLossConfig::new().init(&device);
/// let embeddings = Tensor::<2>::from_data([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0]], &device);
/// let labels = Tensor::<1, Int>::from_ints([4, 4, 9], &device);
/// let value = loss.forward(embeddings, labels, EmbeddingReduction::Mean).into_scalar::<f32>();
/// // Both positives have cosine 1, their negative 0.
/// assert!((value - (1.0 + (-1.0 / 0.07_f32).exp()).ln()).abs() < 1e-6);
/// ```
#[derive(Module, Debug)]
pub struct InfoNceLoss {
    /// What cosines are divided by.
    pub temperature: Temperature,
}

impl PairwiseLoss for InfoNceLoss {
    fn compare(&self, rows: Compared, reduction: EmbeddingReduction) -> Tensor<1> {
        let rows = rows.unit();
        let scale = self.temperature.scale();
        let counts = count_matches(rows.labels.clone(), rows.reference_labels.clone(), rows.in_batch);
        // A row without a positive has no loss, whatever its negatives are.
        let alone = counts.clone().equal_scalar(0);
        let counts = counts.cast(FloatDType::from(rows.anchors.dtype()));
        let bias = negatives(&rows, scale.clone()).neg().mask_fill(alone, 0.0);
        let sum = PairSum::Softplus { bias };
        let positives = rows.positives();
        let anchors = rows.anchors.neg();
        let sums = pair_sums(anchors, rows.references, rows.labels, positives, sum, scale, Streaming::new());
        let column = |index| sums.clone().narrow(1, index, 1).squeeze_dim::<1>(1);

        reduction.apply_sums(column(1), counts, column(0))
    }

    fn nothing(&self, rows: Compared) -> Tensor<1> {
        self.temperature.connected(rows.no_loss())
    }
}

impl InfoNceLoss {
    /// The loss of every pair; 0 where it is not positive.
    ///
    /// # Shapes
    ///
    /// - embeddings: `[batch, embedding_dim]`
    /// - labels: `[batch]`
    /// - output: `[batch, batch]`
    ///
    /// # Panics
    ///
    /// If the shapes do not agree.
    pub fn forward_no_reduction(&self, embeddings: Tensor<2>, labels: Tensor<1, Int>) -> Tensor<2> {
        let rows = Compared::in_batch(embeddings, labels);
        let dtype = rows.dtype();
        if rows.is_empty() {
            return rows.products();
        }
        cast_to(self.pair_losses(rows), dtype)
    }

    fn pair_losses(&self, rows: Compared) -> Tensor<2> {
        let rows = rows.unit();
        let scale = self.temperature.scale();
        let positive = rows.pairs().positive;
        let dims = positive.dims();
        let scores = times(rows.products(), &scale);
        let not_positive = positive.clone().bool_not();
        let negatives = negatives(&rows, scale).unsqueeze_dim::<2>(1).expand(dims);
        let behind = (negatives - scores).mask_fill(not_positive.clone(), 0.0);

        softplus(behind).mask_fill(not_positive, 0.0)
    }
}

/// `log(sum over the negatives of exp(score))` of every anchor.
fn negatives(rows: &Compared, scale: Scale) -> Tensor<1> {
    let Compared { anchors, references, labels, .. } = rows.clone();
    streamed_logsumexp(anchors, references, labels, rows.negatives(), scale, Streaming::new())
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::TensorData;

    fn run(labels: &[i64]) -> alloc::vec::Vec<f32> {
        let device = Device::flex();
        let embeddings = Tensor::<2>::from_data([[1.0_f32, 0.0], [3.0, 4.0], [0.0, 2.0]], &device);
        let labels = Tensor::from_data(TensorData::from(labels), &device);
        let loss = InfoNceLossConfig::new().with_temperature(0.5).init(&device);
        loss.forward_no_reduction(embeddings, labels).try_into_vec_as::<f32>().unwrap()
    }

    #[test]
    fn a_positive_is_picked_out_among_the_negatives() {
        // By hand: cosines 0.6 (rows 0 and 1), 0 (0 and 2), 0.8 (1 and 2); divided by 0.5.
        let first = (1.0 + (0.0_f32 - 1.2).exp()).ln();
        let second = (1.0 + (1.6_f32 - 1.2).exp()).ln();
        let losses = run(&[1, 1, 2]);

        assert!((losses[1] - first).abs() < 1e-6 && (losses[3] - second).abs() < 1e-6, "{losses:?}");
        assert!([0, 2, 4, 5, 6, 7, 8].into_iter().all(|pair| losses[pair] == 0.0), "{losses:?}");
    }

    #[test]
    fn without_a_positive_or_a_negative_the_loss_is_zero() {
        assert_eq!(run(&[1, 2, 3]), [0.0; 9]);
        assert_eq!(run(&[1, 1, 1]), [0.0; 9]);
        assert_eq!(run(&[-1, -1, 1]), [0.0; 9]);
    }

    #[test]
    #[should_panic(expected = "InfoNceLoss: temperature must be in [1e-6, 1e6], got 0")]
    fn a_temperature_of_zero_is_rejected() {
        InfoNceLossConfig::new().with_temperature(0.0).init(&Device::flex());
    }
}
