//! Losses of pairs, triplets and proxies, as a head.

use burn::module::Module;
use burn::tensor::{Device, Int, Tensor};
use burn_losses::EmbeddingLoss;
use burn_losses::distance::Distance;
use burn_losses::pairs::{
    CircleLoss, CircleLossConfig, MultiSimilarityLoss, MultiSimilarityLossConfig, SupConLoss, SupConLossConfig,
    TripletLoss, TripletLossConfig,
};
use burn_losses::proxy::{ProxyAnchorLoss, ProxyAnchorLossConfig};
use burn_losses::reduction::EmbeddingReduction;

use crate::settings::loss::{ContrastiveKind, LossSettings};

/// One of these losses.
#[derive(Module, Debug)]
#[allow(clippy::large_enum_variant)] // A run has one, so its size does not matter.
pub enum ContrastiveHead {
    /// Over cosines.
    SupCon(SupConLoss),
    /// Over cosines, of all triplets that are not good enough.
    Triplet(TripletLoss),
    /// Over cosines.
    MultiSimilarity(MultiSimilarityLoss),
    /// Over cosines.
    Circle(CircleLoss),
    /// Over cosines with a trained proxy of each person.
    ProxyAnchor(ProxyAnchorLoss),
}

impl ContrastiveHead {
    /// Builds a loss for so many classes.
    ///
    /// # Panics
    ///
    /// If `settings` were not [resolved](LossSettings::resolve) for this loss.
    pub fn new(
        kind: ContrastiveKind,
        settings: &LossSettings,
        classes: usize,
        embedding_size: usize,
        device: &Device,
    ) -> Self {
        let of = |name: &str, value: Option<f64>| value.unwrap_or_else(|| panic!("{name} must be resolved first"));
        let (margin, scale) = (|| of("margin", settings.margin), || of("scale", settings.scale));
        match kind {
            ContrastiveKind::SupCon => {
                let temperature = of("temperature", settings.temperature);
                Self::SupCon(SupConLossConfig::new().with_temperature(temperature).init(device))
            }
            ContrastiveKind::Triplet => {
                let config = TripletLossConfig::new().with_margin(margin()).with_distance(Distance::Cosine);
                Self::Triplet(config.with_reduction(EmbeddingReduction::MeanNonZero).init(device))
            }
            ContrastiveKind::MultiSimilarity => Self::MultiSimilarity(MultiSimilarityLossConfig::new().init(device)),
            ContrastiveKind::Circle => {
                Self::Circle(CircleLossConfig::new().with_margin(margin()).with_scale(scale()).init(device))
            }
            ContrastiveKind::ProxyAnchor => {
                let config = ProxyAnchorLossConfig::new(classes, embedding_size);
                Self::ProxyAnchor(config.with_margin(margin()).with_alpha(scale()).init(device))
            }
        }
    }

    /// The loss of a batch, `[1]`.
    pub(super) fn forward(&self, embeddings: Tensor<2>, labels: Tensor<1, Int>) -> Tensor<1> {
        let loss: &dyn EmbeddingLoss = match self {
            Self::SupCon(loss) => loss,
            Self::Triplet(loss) => loss,
            Self::MultiSimilarity(loss) => loss,
            Self::Circle(loss) => loss,
            Self::ProxyAnchor(loss) => loss,
        };
        loss.forward(embeddings, labels)
    }
}

#[cfg(test)]
mod tests {
    use burn::module::Param;

    use super::*;
    use crate::settings::loss::LossKind;

    /// Two people at right angles with two equal pictures each: a positive of cosine 1 and two negatives of cosine 0.
    fn loss(kind: ContrastiveKind, given: LossSettings) -> f64 {
        let device = Device::flex();
        let settings = given.resolve(LossKind::Contrastive(kind)).expect("in range");
        let embeddings = Tensor::from_data([[2.0_f32, 0.0], [2.0, 0.0], [0.0, 0.5], [0.0, 0.5]], &device);
        let labels = Tensor::from_ints([0, 0, 1, 1], &device);
        let mut head = ContrastiveHead::new(kind, &settings, 2, 2, &device);
        if let ContrastiveHead::ProxyAnchor(loss) = &mut head {
            let proxies = Tensor::from_data([[1.0_f32, 0.0], [0.0, 1.0]], &device);
            loss.proxies.weight = Param::from_tensor(proxies);
        }
        head.forward(embeddings, labels).into_scalar()
    }

    /// By hand, from the formulas of the papers.
    #[test]
    fn what_is_given_reaches_the_loss() {
        let given = |margin, scale, temperature| LossSettings { margin, scale, temperature, ..LossSettings::default() };
        let softplus = |x: f64| x.exp().ln_1p();
        for (kind, settings, expected) in [
            // -ln(e^2 / (e^2 + 2))
            (ContrastiveKind::SupCon, given(None, None, Some(0.5)), (2.0 * (-2.0_f64).exp()).ln_1p()),
            // Distances 0 and 1.
            (ContrastiveKind::Triplet, given(Some(1.2), None, None), 0.2),
            // Powers 2 and 50, and a base of 0.5.
            (
                ContrastiveKind::MultiSimilarity,
                given(None, None, None),
                softplus(-1.0) / 2.0 + (2.0 * (-25.0_f64).exp()).ln_1p() / 50.0,
            ),
            // Weights of 0.25, and 0.25 beyond either margin: 2·0.25·0.25 for each of the two sums.
            (ContrastiveKind::Circle, given(Some(0.25), Some(2.0), None), (2.0 * (-0.25_f64).exp()).ln_1p()),
            // Two pictures at their proxy, -2·(1 - 0.5), and two at the other, 2·(0 + 0.5).
            (
                ContrastiveKind::ProxyAnchor,
                given(Some(0.5), Some(2.0), None),
                (2.0 * (-1.0_f64).exp()).ln_1p() + (2.0 * 1.0_f64.exp()).ln_1p(),
            ),
        ] {
            let found = loss(kind, settings);
            assert!((found - expected).abs() < 1e-5, "{kind:?}: {found} for {expected}");
        }
    }
}
