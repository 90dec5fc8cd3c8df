use anyhow::{Context, Result, bail};
use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{Device, Int, Tensor};
use burn_losses::heads::{AnyHead, AnyHeadConfig, HeadKind};
use burn_losses::{
    CenterLoss, CenterLossConfig, ContrastiveLoss, ContrastiveLossConfig, CrossEntropyLossConfig, MultiSimilarityLoss,
    MultiSimilarityLossConfig, ProxyAnchorLoss, ProxyAnchorLossConfig, Reduction, SupConLoss, SupConLossConfig,
    TripletLoss, TripletLossConfig,
};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use crate::CLASSES;

/// The share of center loss beside cross-entropy.
const CENTER_LOSS_WEIGHT: f64 = 0.5;
/// The scale that heads start with here. That of most papers, 64, is for thousands of classes.
const SCALE: f64 = 16.0;

/// A loss that is chosen by its name, with what it trains of its own.
#[derive(Module, Debug)]
#[allow(clippy::large_enum_variant, reason = "a page has one of them")]
pub enum Objective {
    /// Cross-entropy over a layer without a margin.
    Softmax(Linear),
    /// The same, and center loss beside it.
    SoftmaxAndCenterLoss(SoftmaxAndCenterLoss),
    /// One of the heads.
    Head(AnyHead),
    /// Of the triplets of a batch.
    TripletLoss(TripletLoss),
    /// Of the pairs of a batch, by their distances.
    ContrastiveLoss(ContrastiveLoss),
    /// Of the pairs of a batch, as a classification of each among the others.
    SupConLoss(SupConLoss),
    /// Of the pairs of a batch, by how hard they are.
    MultiSimilarityLoss(MultiSimilarityLoss),
    /// Of the pairs of samples and proxies of classes.
    ProxyAnchorLoss(ProxyAnchorLoss),
}

/// A layer of class logits, and a center for each class.
#[derive(Module, Debug)]
pub struct SoftmaxAndCenterLoss {
    classifier: Linear,
    center_loss: CenterLoss,
}

const SOFTMAX: &str = "Softmax";
const CENTER_LOSS: &str = "Softmax and CenterLoss";

impl Objective {
    /// Every name that [`new`](Self::new) knows, with the settings of the loss at their defaults.
    pub fn all(dimensions: usize) -> Map<String, Value> {
        let mut all = Map::new();
        let mut put = |name: &str, settings: Value| drop(all.insert(name.to_owned(), settings));
        put(SOFTMAX, json!({}));
        put(CENTER_LOSS, json!(CenterLossConfig::new(CLASSES, dimensions)));
        for kind in HeadKind::ALL {
            let mut settings = json!(AnyHeadConfig::new(kind, CLASSES, dimensions));
            if let Some(scale) = settings.get_mut("scale").filter(|scale| scale.is_number()) {
                *scale = json!(SCALE);
            }
            put(kind.name(), settings);
        }
        put("TripletLoss", json!(TripletLossConfig::new()));
        put("ContrastiveLoss", json!(ContrastiveLossConfig::new()));
        put("SupConLoss", json!(SupConLossConfig::new()));
        put("MultiSimilarityLoss", json!(MultiSimilarityLossConfig::new()));
        put("ProxyAnchorLoss", json!(ProxyAnchorLossConfig::new(CLASSES, dimensions)));
        all
    }

    /// Builds the loss with this name on `device`.
    ///
    /// # Errors
    ///
    /// If no loss has this name, or its settings are not those of [`all`](Self::all) with other values.
    ///
    /// # Panics
    ///
    /// If a setting is out of its range: the loss says which, and what the range is.
    pub fn new(name: &str, settings: &Value, dimensions: usize, device: &Device) -> Result<Self> {
        // Without a bias, so that the places of the classes say all.
        let classifier = || LinearConfig::new(dimensions, CLASSES).with_bias(false).init(device);
        Ok(match name {
            SOFTMAX => Self::Softmax(classifier()),
            CENTER_LOSS => Self::SoftmaxAndCenterLoss(SoftmaxAndCenterLoss {
                classifier: classifier(),
                center_loss: read::<CenterLossConfig>(name, settings, dimensions)?.init(device),
            }),
            "TripletLoss" => Self::TripletLoss(read::<TripletLossConfig>(name, settings, dimensions)?.init(device)),
            "ContrastiveLoss" => {
                Self::ContrastiveLoss(read::<ContrastiveLossConfig>(name, settings, dimensions)?.init(device))
            }
            "SupConLoss" => Self::SupConLoss(read::<SupConLossConfig>(name, settings, dimensions)?.init(device)),
            "MultiSimilarityLoss" => {
                Self::MultiSimilarityLoss(read::<MultiSimilarityLossConfig>(name, settings, dimensions)?.init(device))
            }
            "ProxyAnchorLoss" => {
                Self::ProxyAnchorLoss(read::<ProxyAnchorLossConfig>(name, settings, dimensions)?.init(device))
            }
            _ if HeadKind::ALL.iter().any(|kind| kind.name() == name) => {
                let config = read::<AnyHeadConfig>(name, settings, dimensions)?;
                if config.kind().name() != name {
                    bail!("{name}: its settings are those of {}", config.kind().name());
                }
                Self::Head(config.init(device))
            }
            _ => bail!("there is no loss {name:?}"),
        })
    }

    /// The loss of a batch: `[batch, dimensions]` and `[batch]` to `[1]`.
    pub fn forward(&self, embeddings: Tensor<2>, labels: Tensor<1, Int>) -> Tensor<1> {
        let softmax = |classifier: &Linear| {
            let logits = classifier.forward(embeddings.clone());
            CrossEntropyLossConfig::new().init(&logits.device()).forward(logits, labels.clone(), Reduction::Mean)
        };
        match self {
            Self::Softmax(classifier) => softmax(classifier),
            Self::SoftmaxAndCenterLoss(SoftmaxAndCenterLoss { classifier, center_loss }) => {
                let pull = center_loss.forward(embeddings.clone(), labels.clone());
                softmax(classifier) + pull.mul_scalar(CENTER_LOSS_WEIGHT)
            }
            Self::Head(head) => head.forward(embeddings, labels),
            Self::TripletLoss(loss) => loss.forward(embeddings, labels),
            Self::ContrastiveLoss(loss) => loss.forward(embeddings, labels),
            Self::SupConLoss(loss) => loss.forward(embeddings, labels),
            Self::MultiSimilarityLoss(loss) => loss.forward(embeddings, labels),
            Self::ProxyAnchorLoss(loss) => loss.forward(embeddings, labels),
        }
    }

    /// Where the loss wants the classes to be, as many rows for each, class after class: `[rows, dimensions]`. Losses of
    /// pairs have no such place.
    pub fn class_places(&self) -> Option<Tensor<2>> {
        match self {
            Self::Softmax(classifier) => Some(classifier.weight.val().transpose()),
            Self::SoftmaxAndCenterLoss(both) => Some(both.center_loss.centers()),
            Self::Head(head) => Some(head.centers.weight.val()),
            Self::ProxyAnchorLoss(loss) => Some(loss.proxies.weight.val()),
            _ => None,
        }
    }

    /// What is near to the place of a class.
    pub fn nearness(&self) -> Nearness {
        match self {
            Self::Softmax(_) => Nearness::Product,
            // On their default distance these see lengths.
            Self::SoftmaxAndCenterLoss(_) | Self::TripletLoss(_) | Self::ContrastiveLoss(_) => Nearness::Distance,
            _ => Nearness::Cosine,
        }
    }
}

/// How a loss compares an embedding with the place of a class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nearness {
    /// By direction alone: the length of an embedding means nothing.
    Cosine,
    /// By the product of both.
    Product,
    /// By where they are.
    Distance,
}

impl Nearness {
    /// As the page knows it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cosine => "cosine",
            Self::Product => "product",
            Self::Distance => "distance",
        }
    }
}

/// The settings of a loss; an error names the first field that cannot be as it is.
fn read<C: DeserializeOwned>(name: &str, settings: &Value, dimensions: usize) -> Result<C> {
    let error = match C::deserialize(settings) {
        Ok(config) => return Ok(config),
        Err(error) => error,
    };
    let defaults = Objective::all(dimensions).remove(name).unwrap_or_default();
    for (field, value) in settings.as_object().into_iter().flatten() {
        let mut one = defaults.clone();
        if let Some(place) = one.get_mut(field) {
            *place = value.clone();
        }
        C::deserialize(&one).with_context(|| format!("{name}: {field}: bad value {value}"))?;
    }
    Err(error).with_context(|| format!("{name}: settings cannot be read"))
}
