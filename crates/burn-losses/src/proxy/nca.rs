use burn::config::Config;
use burn::module::Module;
use burn::tensor::{Device, Int, Tensor};
use burn_losses_kernels::math::{NOTHING, softplus};

use super::softmax::{per_row, proxies, reduced, scores};
use crate::EmbeddingLoss;
use crate::heads::{CenterChoice, CentersConfig, ClassCenters};
use crate::labels::SafeLabels;
use crate::reduction::EmbeddingReduction;

/// Which proxies the denominator of [`ProxyNcaLoss`] adds up.
#[derive(Config, Debug, Copy, PartialEq, Eq)]
pub enum Denominator {
    /// All, the own one too: a probability, with a loss that is never below 0. pytorch-metric-learning's, and that of
    /// ProxyNCA++ ([Teh et al. 2020](https://arxiv.org/abs/2004.01113)).
    AllProxies,
    /// Those of the other classes, as the paper has it; the loss falls below 0.
    OtherProxies,
}

/// Settings of [`ProxyNcaLoss`].
#[derive(Config, Debug)]
pub struct ProxyNcaLossConfig {
    /// How many classes; `>= 1`.
    pub classes: usize,
    /// The length of an embedding; `>= 1`.
    pub embedding_dim: usize,
    /// What squared distances are multiplied with; in `[1e-6, 1e6]`. The paper has 1; a probability of unit vectors is
    /// flat then, and ProxyNCA++ uses 9.
    /// Default: `1.0`.
    #[config(default = 1.0)]
    pub scale: f64,
    /// Which proxies the denominator adds up.
    /// Default: `Denominator::AllProxies`.
    #[config(default = "Denominator::AllProxies")]
    pub denominator: Denominator,
    /// How the losses become one number.
    /// Default: `EmbeddingReduction::Mean`.
    #[config(default = "EmbeddingReduction::Mean")]
    pub reduction: EmbeddingReduction,
    /// How the proxies start (drawn around 0 with deviation 0.1), which labels count, and what a batch is compared with.
    /// Default: `proxies()`.
    #[config(default = "proxies()")]
    pub centers: CentersConfig,
}

impl ProxyNcaLossConfig {
    /// Builds the loss with random proxies on `device`.
    ///
    /// # Panics
    ///
    /// If a field is out of its range.
    #[track_caller]
    pub fn init(&self, device: &Device) -> ProxyNcaLoss {
        let scale = self.scale;
        assert!((1e-6..=1e6).contains(&scale), "ProxyNcaLoss: scale must be in [1e-6, 1e6], got {scale}");
        let size = [self.classes, self.embedding_dim];

        ProxyNcaLoss {
            proxies: self.centers.init("ProxyNcaLoss", size, device),
            scale,
            denominator: self.denominator,
            reduction: self.reduction,
        }
    }
}

/// Pulls an embedding to the proxy of its class and away from the others, by squared distances of unit vectors.
///
/// ```text
/// d[i, j] = ‖embedding[i] / length - proxy[j] / length‖² = 2 - 2·cosine
/// loss[i] = scale·d[i, labels[i]] + log(sum over the proxies j of exp(-scale·d[i, j]))
/// ```
///
/// The sum is over all proxies, or over those of the other classes: see [`Denominator`]. A row whose sum is empty (one
/// class) has loss 0. The distances of a batch to all proxies are streamed, never stored.
///
/// # Deviations
///
/// The paper's sum leaves the own proxy out; the default here has it, as every public implementation that is in use:
/// set [`Denominator::OtherProxies`] for the paper's.
///
/// # When to take it
///
/// Where classes are known and pairs converge too slowly. Each row is seen by itself: with
/// [`ProxyAnchorLoss`](super::ProxyAnchorLoss) the hardest rows of a batch count most.
///
/// # Source
///
/// Movshovitz-Attias et al.: [No Fuss Distance Metric Learning using Proxies](https://arxiv.org/abs/1703.07464), 2017,
/// section 3.
///
/// # Example
///
/// ```
/// use burn::module::Param;
/// use burn::tensor::{Device, Int, Tensor};
/// use burn_losses::proxy::ProxyNcaLossConfig;
///
/// let device = Device::default();
/// let mut loss = ProxyNcaLossConfig::new(2, 2).init(&device);
/// loss.proxies.weight = Param::from_tensor(Tensor::from_data([[1.0, 0.0], [-1.0, 0.0]], &device));
/// let embeddings = Tensor::<2>::from_data([[5.0, 0.0]], &device);
/// // On its own proxy, and a squared distance of 4 from the other.
/// let loss = loss.forward(embeddings, Tensor::<1, Int>::from_ints([0], &device)).into_scalar::<f32>();
/// assert!((loss - (-4.0_f32).exp().ln_1p()).abs() < 1e-5, "{loss}");
/// ```
#[derive(Module, Debug)]
pub struct ProxyNcaLoss {
    /// The trained proxies.
    pub proxies: ClassCenters,
    scale: f64,
    #[module(skip)]
    denominator: Denominator,
    #[module(skip)]
    reduction: EmbeddingReduction,
}

impl EmbeddingLoss for ProxyNcaLoss {
    fn forward(&self, embeddings: Tensor<2>, labels: Tensor<1, Int>) -> Tensor<1> {
        let labels = self.proxies.check(&embeddings, labels);
        reduced(&self.proxies, embeddings, labels, self.reduction, |rows, labels| self.losses(rows, labels))
    }

    fn forward_no_reduction(&self, embeddings: Tensor<2>, labels: Tensor<1, Int>) -> Tensor<1> {
        let labels = self.proxies.check(&embeddings, labels);
        per_row(embeddings, labels, |rows, labels| self.losses(rows, labels))
    }
}

impl ProxyNcaLoss {
    fn losses(&self, embeddings: Tensor<2>, labels: &SafeLabels) -> Tensor<1> {
        // The 2 of every squared distance cancels.
        let scale = 2.0 * self.scale;
        let scores = scores(&self.proxies, embeddings, labels, CenterChoice::Nearest, scale);
        let mut silent = labels.valid.clone().bool_not();
        let behind = scores.negatives.clone() - scores.target_cosine.mul_scalar(scale);
        let losses = match self.denominator {
            Denominator::AllProxies => softplus(behind),
            Denominator::OtherProxies => {
                // A sum of no proxies is hugely negative.
                silent = silent.bool_or(scores.negatives.lower_scalar(0.5 * NOTHING));
                behind
            }
        };
        losses.mask_fill(silent, 0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::module::Param;

    fn run(config: ProxyNcaLossConfig, proxies: Tensor<2>) -> f32 {
        let device = Device::flex();
        let mut loss = config.init(&device);
        loss.proxies.weight = Param::from_tensor(proxies);
        let embeddings = Tensor::<2>::from_data([[3.0_f32, 4.0]], &device);
        loss.forward(embeddings, Tensor::from_ints([0], &device)).into_scalar::<f32>()
    }

    #[test]
    fn squared_distances_of_unit_vectors_are_compared() {
        let proxies = || Tensor::<2>::from_data([[3.0_f32, 0.0], [0.0, 0.1], [0.0, -2.0]], &Device::flex());
        // By hand: cosines 0.6, 0.8, -0.8, so squared distances 0.8, 0.4, 3.6.
        let others = (-0.4_f32).exp() + (-3.6_f32).exp();
        let all = run(ProxyNcaLossConfig::new(3, 2), proxies());
        assert!((all - (0.8 + (others + (-0.8_f32).exp()).ln())).abs() < 1e-6, "{all}");

        let paper = run(ProxyNcaLossConfig::new(3, 2).with_denominator(Denominator::OtherProxies), proxies());
        assert!((paper - (0.8 + others.ln())).abs() < 1e-6, "{paper}");
    }

    #[test]
    fn with_one_class_there_is_nothing_to_tell_apart() {
        for denominator in [Denominator::AllProxies, Denominator::OtherProxies] {
            let config = ProxyNcaLossConfig::new(1, 2).with_denominator(denominator);
            assert_eq!(run(config, Tensor::<2>::from_data([[1.0_f32, 2.0]], &Device::flex())), 0.0);
        }
    }
}
