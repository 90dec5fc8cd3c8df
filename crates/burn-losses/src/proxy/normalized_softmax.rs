use burn::config::Config;
use burn::module::Module;
use burn::tensor::{Device, Int, Tensor};
use burn_losses_kernels::math::softplus;

use super::softmax::{per_row, proxies, reduced, scores};
use crate::EmbeddingLoss;
use crate::heads::{CenterChoice, CentersConfig, ClassCenters};
use crate::labels::SafeLabels;
use crate::reduction::EmbeddingReduction;

/// Settings of [`NormalizedSoftmaxLoss`].
#[derive(Config, Debug)]
pub struct NormalizedSoftmaxLossConfig {
    /// How many classes; `>= 1`.
    pub classes: usize,
    /// The length of an embedding; `>= 1`.
    pub embedding_dim: usize,
    /// What cosines are divided by; in `[1e-6, 1e6]`.
    /// Default: `0.05`.
    #[config(default = 0.05)]
    pub temperature: f64,
    /// How the losses become one number.
    /// Default: `EmbeddingReduction::Mean`.
    #[config(default = "EmbeddingReduction::Mean")]
    pub reduction: EmbeddingReduction,
    /// How the proxies start (drawn around 0 with deviation 0.1), which labels count, and what a batch is compared with.
    /// Default: `proxies()`.
    #[config(default = "proxies()")]
    pub centers: CentersConfig,
}

impl NormalizedSoftmaxLossConfig {
    /// Builds the loss with random proxies on `device`.
    ///
    /// # Panics
    ///
    /// If a field is out of its range.
    #[track_caller]
    pub fn init(&self, device: &Device) -> NormalizedSoftmaxLoss {
        let temperature = self.temperature;
        let fits = (1e-6..=1e6).contains(&temperature);
        assert!(fits, "NormalizedSoftmaxLoss: temperature must be in [1e-6, 1e6], got {temperature}");
        let size = [self.classes, self.embedding_dim];

        NormalizedSoftmaxLoss {
            proxies: self.centers.init("NormalizedSoftmaxLoss", size, device),
            temperature,
            reduction: self.reduction,
        }
    }
}

/// Classification by cosine: one proxy per class.
///
/// ```text
/// score[i, j] = cosine(embedding[i], proxy[j]) / temperature
/// loss[i]     = -log softmax of score[i] at labels[i]
/// ```
///
/// The same loss as [`NormFace`](crate::heads::NormFace) with `scale = 1 / temperature`, as the retrieval literature
/// knows it. The scores of a batch with all classes are streamed, never stored.
///
/// # Deviations
///
/// The paper puts a layer norm before the embedding is divided by its length; that belongs to the model.
///
/// # When to take it
///
/// A strong baseline for retrieval; it is [`NormFace`](crate::heads::NormFace) with a temperature. For a margin between
/// classes take [`ArcFace`](crate::heads::ArcFace).
///
/// # Source
///
/// Zhai, Wu: [Classification is a Strong Baseline for Deep Metric Learning](https://arxiv.org/abs/1811.12649), 2018,
/// section 3.
///
/// # Example
///
/// ```
/// use burn::module::Param;
/// use burn::tensor::{Device, Int, Tensor};
/// use burn_losses::proxy::NormalizedSoftmaxLossConfig;
///
/// let device = Device::default();
/// let mut loss = NormalizedSoftmaxLossConfig::new(2, 2).with_temperature(0.5).init(&device);
/// loss.proxies.weight = Param::from_tensor(Tensor::from_data([[1.0, 0.0], [-1.0, 0.0]], &device));
/// let embeddings = Tensor::<2>::from_data([[5.0, 0.0]], &device);
/// // Cosines of 1 and -1, divided by 0.5.
/// let loss = loss.forward(embeddings, Tensor::<1, Int>::from_ints([0], &device)).into_scalar::<f32>();
/// assert!((loss - (-4.0_f32).exp().ln_1p()).abs() < 1e-5, "{loss}");
/// ```
#[derive(Module, Debug)]
pub struct NormalizedSoftmaxLoss {
    /// The trained proxies.
    pub proxies: ClassCenters,
    temperature: f64,
    #[module(skip)]
    reduction: EmbeddingReduction,
}

impl EmbeddingLoss for NormalizedSoftmaxLoss {
    fn forward(&self, embeddings: Tensor<2>, labels: Tensor<1, Int>) -> Tensor<1> {
        let labels = self.proxies.check(&embeddings, labels);
        reduced(&self.proxies, embeddings, labels, self.reduction, |rows, labels| self.losses(rows, labels))
    }

    fn forward_no_reduction(&self, embeddings: Tensor<2>, labels: Tensor<1, Int>) -> Tensor<1> {
        let labels = self.proxies.check(&embeddings, labels);
        per_row(embeddings, labels, |rows, labels| self.losses(rows, labels))
    }
}

impl NormalizedSoftmaxLoss {
    fn losses(&self, embeddings: Tensor<2>, labels: &SafeLabels) -> Tensor<1> {
        let scale = 1.0 / self.temperature;
        let scores = scores(&self.proxies, embeddings, labels, CenterChoice::Nearest, scale);
        softplus(scores.negatives - scores.target_cosine.mul_scalar(scale))
            .mask_fill(labels.valid.clone().bool_not(), 0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::module::Param;

    #[test]
    fn cosines_are_divided_by_the_temperature() {
        let device = Device::flex();
        let mut loss = NormalizedSoftmaxLossConfig::new(2, 2).with_temperature(0.5).init(&device);
        loss.proxies.weight = Param::from_tensor(Tensor::from_data([[3.0_f32, 0.0], [0.0, 0.1]], &device));
        let embeddings = Tensor::<2>::from_data([[3.0_f32, 4.0]], &device);
        let value = loss.forward(embeddings, Tensor::from_ints([0], &device)).into_scalar::<f32>();

        // By hand: scores 1.2 and 1.6.
        assert!((value - (1.0 + 0.4_f32.exp()).ln()).abs() < 1e-6, "{value}");
    }

    #[test]
    #[should_panic(expected = "NormalizedSoftmaxLoss: temperature must be in [1e-6, 1e6], got -1")]
    fn a_negative_temperature_is_rejected() {
        NormalizedSoftmaxLossConfig::new(2, 2).with_temperature(-1.0).init(&Device::flex());
    }
}
