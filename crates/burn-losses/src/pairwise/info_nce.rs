use alloc::vec::Vec;

use burn::config::Config;
use burn::module::Module;
use burn::tensor::{Bool, Device, Int, Tensor};
use burn_losses_kernels::log_space::softplus;
use burn_losses_kernels::logsumexp::{KeyLabels, Scale, Streaming, streamed_logsumexp};
use burn_losses_kernels::precision::cast_to;

use super::compared::Compared;
use super::loss::PairwiseLoss;
use super::masked::{flat, flat_mask};
use super::temperature::{Temperature, TemperatureMode, times};
use crate::identities::{first_match, from_the_start};
use crate::reduction::Reduction;

/// Settings of [`InfoNce`].
#[derive(Config, Debug)]
pub struct InfoNceConfig {
    /// What cosines are divided by; in `[1e-6, 1e6]`. MoCo and CLIP use 0.07, SimCLR 0.1 to 0.5.
    #[config(default = 0.07)]
    pub temperature: f64,
    /// Whether the temperature is trained.
    #[config(default = "TemperatureMode::Fixed")]
    pub temperature_mode: TemperatureMode,
    /// How many positives of an anchor count where they are found by labels: `None` for all, in a matrix of
    /// `[batch, references]`; `Some(count)`, with `count >= 1`, for the first ones in the order of the rows, without
    /// that matrix. With `K` rows of every class in a batch, `K - 1` are all.
    #[config(default = "None")]
    pub positives_per_row: Option<usize>,
}

impl InfoNceConfig {
    /// Builds the loss; a learned temperature is on `device`.
    ///
    /// # Panics
    ///
    /// If a field is out of its range.
    pub fn init(&self, device: &Device) -> InfoNce {
        assert!(self.positives_per_row != Some(0), "InfoNce: positives_per_row must be >= 1, got 0");
        InfoNce {
            temperature: Temperature::new("InfoNce", self.temperature, self.temperature_mode, device),
            positives_per_row: self.positives_per_row,
        }
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
/// | [`forward`](Self::forward) | rows of the same label | rows of another label | `O(batch²)`, see below |
/// | [`forward_with_references`](Self::forward_with_references) | the same, among references | the same | see below |
/// | [`forward_views`](Self::forward_views) (SimCLR) | the other view | both views of all others | `O(batch·dim)` |
/// | [`forward_aligned`](Self::forward_aligned) (CLIP) | the key in the same row | all other keys | `O(batch·dim)` |
/// | [`forward_queue`](Self::forward_queue) (MoCo) | the key in the same row | the queue | `O((batch + queue)·dim)` |
///
/// The denominators are streamed in every form, so a positive is never paired with every negative. Where labels say
/// which pairs are positive, these are a matrix of `[batch, references]`, unless `positives_per_row` is set: then the
/// positives are looked up one after the other, in `O(positives_per_row·batch·dim)`. A step of 8192 rows of 64 numbers
/// took 1.2 GiB beyond them on flex with the matrix, and 37 MiB with three positives per row.
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
/// use burn_losses::pairwise::{InfoNceConfig, PairwiseLoss};
/// use burn_losses::reduction::Reduction;
///
/// let device = Device::default();
/// let loss = InfoNceConfig::new().init(&device);
/// let embeddings = Tensor::<2>::from_data([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0]], &device);
/// let labels = Tensor::<1, Int>::from_ints([4, 4, 9], &device);
/// let value = loss.forward(embeddings, labels, Reduction::Mean).into_scalar::<f32>();
/// // Both positives have cosine 1, their negative 0.
/// assert!((value - (1.0 + (-1.0 / 0.07_f32).exp()).ln()).abs() < 1e-6);
/// ```
#[derive(Module, Debug)]
pub struct InfoNce {
    /// What cosines are divided by.
    pub temperature: Temperature,
    #[module(skip)]
    positives_per_row: Option<usize>,
}

impl PairwiseLoss for InfoNce {
    fn compare(&self, rows: Compared, reduction: Reduction) -> Tensor<1> {
        let (losses, valid) = match self.positives_per_row {
            Some(count) => self.first_losses(rows, count),
            None => {
                let (losses, positive) = self.pair_losses(rows);
                (flat(losses), flat_mask(positive))
            }
        };
        reduction.apply_valid(losses, valid)
    }

    fn nothing(&self, rows: Compared) -> Tensor<1> {
        self.temperature.connected(rows.no_loss())
    }
}

impl InfoNce {
    /// The loss of every pair, whatever `positives_per_row` is; 0 where it is not positive.
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
        cast_to(self.pair_losses(rows).0, dtype)
    }

    /// The losses of all pairs, and where these are positive.
    fn pair_losses(&self, rows: Compared) -> (Tensor<2>, Tensor<2, Bool>) {
        let rows = rows.unit();
        let scale = self.temperature.scale();
        let positive = rows.pairs().positive;
        let dims = positive.dims();
        let scores = times(rows.products(), &scale);
        let not_positive = positive.clone().bool_not();
        let negatives = negatives(rows, scale).unsqueeze_dim::<2>(1).expand(dims);
        let behind = (negatives - scores).mask_fill(not_positive.clone(), 0.0);
        let losses = softplus(behind.reshape([dims[0] * dims[1]])).reshape(dims);

        (losses.mask_fill(not_positive, 0.0), positive)
    }

    /// The losses of the first positives of every row, `[count·batch]`, and which of them there are.
    fn first_losses(&self, rows: Compared, count: usize) -> (Tensor<1>, Tensor<1, Bool>) {
        let rows = rows.unit();
        let scale = self.temperature.scale();
        let [references, _] = rows.references.dims();
        let place =
            Tensor::<1, Int>::arange(0..rows.labels.dims()[0] as i64, (&rows.labels.device(), rows.labels.dtype()));
        let in_no_pair = rows.labels.clone().lower_scalar(0);
        let (anchors, keys) = (rows.anchors.clone(), rows.references.clone());
        let mut after = from_the_start(&rows.labels);
        let mut positives = Vec::new();
        for _ in 0..count {
            let mut found = first_match(rows.labels.clone(), rows.reference_labels.clone(), after);
            if rows.in_batch {
                // A row is not its own positive: the next one is.
                let next = first_match(rows.labels.clone(), rows.reference_labels.clone(), found.clone());
                let itself = found.clone().equal(place.clone());
                found = found.mask_where(itself, next);
            }
            after = found.clone();
            let none = found.clone().greater_equal_scalar(references as i64).bool_or(in_no_pair.clone());
            positives.push((found.mask_fill(none.clone(), 0), none));
        }
        let negatives = negatives(rows, scale.clone());
        let (losses, valid): (Vec<_>, Vec<_>) = positives
            .into_iter()
            .map(|(positive, none)| {
                let own = (anchors.clone() * keys.clone().select(0, positive)).sum_dim(1).squeeze_dim::<1>(1);
                let losses = softplus(negatives.clone() - times(own, &scale)).mask_fill(none.clone(), 0.0);
                (losses, none.bool_not())
            })
            .unzip();
        (Tensor::cat(losses, 0), Tensor::cat(valid, 0))
    }
}

/// `log(sum over the negatives of exp(score))` of every anchor.
fn negatives(rows: Compared, scale: Scale) -> Tensor<1> {
    let keys = KeyLabels::Tensor(rows.reference_labels);
    streamed_logsumexp(rows.anchors, rows.references, rows.labels, keys, scale, Streaming::new())
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::TensorData;

    fn run(labels: &[i64]) -> alloc::vec::Vec<f32> {
        let device = Device::flex();
        let embeddings = Tensor::<2>::from_data([[1.0_f32, 0.0], [3.0, 4.0], [0.0, 2.0]], &device);
        let labels = Tensor::from_data(TensorData::from(labels), &device);
        let loss = InfoNceConfig::new().with_temperature(0.5).init(&device);
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
    #[should_panic(expected = "InfoNce: positives_per_row must be >= 1, got 0")]
    fn no_positives_per_row_are_rejected() {
        InfoNceConfig::new().with_positives_per_row(Some(0)).init(&Device::flex());
    }

    #[test]
    #[should_panic(expected = "InfoNce: temperature must be in [1e-6, 1e6], got 0")]
    fn a_temperature_of_zero_is_rejected() {
        InfoNceConfig::new().with_temperature(0.0).init(&Device::flex());
    }
}
