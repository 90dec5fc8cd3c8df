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
