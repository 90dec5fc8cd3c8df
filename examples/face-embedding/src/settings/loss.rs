//! The losses to choose from and the settings each of them has.

use std::sync::LazyLock;

use anyhow::{Result, bail, ensure};
use burn_losses::diagnostics::Plateau;
use burn_losses::heads::{AnyHeadConfig, HeadKind};
use burn_losses::optim::RowGradient;
use clap::ValueEnum;
use clap::builder::PossibleValue;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::range::{shown, within};

/// A loss of pairs, triplets or proxies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContrastiveKind {
    /// `SupConLoss` of `burn_losses`.
    SupCon,
    /// `TripletLoss`.
    Triplet,
    /// `MultiSimilarityLoss`.
    MultiSimilarity,
    /// `CircleLoss`.
    Circle,
    /// `ProxyAnchorLoss`.
    ProxyAnchor,
}

impl ContrastiveKind {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::SupCon, Self::Triplet, Self::MultiSimilarity, Self::Circle, Self::ProxyAnchor];
}

/// What the head on top of the trunk computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum LossKind {
    /// An angular-margin head.
    Head(HeadKind),
    /// An ordinary linear layer and cross-entropy.
    Softmax,
    /// The same, with the center loss added.
    SoftmaxCenter,
    /// A loss of pairs, triplets or proxies, over batches of several pictures of each of several people.
    Contrastive(ContrastiveKind),
}

impl LossKind {
    /// All of them.
    pub const ALL: [Self; HeadKind::ALL.len() + ContrastiveKind::ALL.len() + 2] = {
        let mut all = [Self::Softmax; HeadKind::ALL.len() + ContrastiveKind::ALL.len() + 2];
        let mut head = 0;
        while head < HeadKind::ALL.len() {
            all[head] = Self::Head(HeadKind::ALL[head]);
            head += 1;
        }
        all[head + 1] = Self::SoftmaxCenter;
        let mut place = 0;
        while place < ContrastiveKind::ALL.len() {
            all[head + 2 + place] = Self::Contrastive(ContrastiveKind::ALL[place]);
            place += 1;
        }
        all
    };

    /// As it is written on the command line and in `config.json`.
    pub fn name(self) -> &'static str {
        /// Those of the heads, in small letters.
        static NAMES: LazyLock<[String; HeadKind::ALL.len()]> =
            LazyLock::new(|| HeadKind::ALL.map(|kind| kind.name().to_lowercase()));
        match self {
            Self::Head(kind) => &NAMES[kind as usize],
            Self::Softmax => "softmax",
            Self::SoftmaxCenter => "softmax+center",
            Self::Contrastive(ContrastiveKind::SupCon) => "supcon",
            Self::Contrastive(ContrastiveKind::Triplet) => "triplet",
            Self::Contrastive(ContrastiveKind::MultiSimilarity) => "multisimilarity",
            Self::Contrastive(ContrastiveKind::Circle) => "circle",
            Self::Contrastive(ContrastiveKind::ProxyAnchor) => "proxyanchor",
        }
    }

    /// Whether it is a loss of pairs, triplets or proxies.
    pub fn is_of_pairs(self) -> bool {
        matches!(self, Self::Contrastive(_))
    }

    /// Whether its classes lie on all devices of a training, a block on each; a loss where they do not is computed on the first.
    pub fn is_spread(self) -> bool {
        matches!(self, Self::Head(_))
    }

    /// Whether it has a scale that may rise while it is trained.
    pub fn has_rising_scale(self) -> bool {
        // Two heads train a threshold in units of the scale.
        let is_fixed = matches!(self, Self::Head(HeadKind::SphereFace2 | HeadKind::UniFace));
        matches!(self, Self::Head(_)) && !is_fixed && LossSettings::defaults(self).scale.is_some()
    }

    /// Whether it has parameters of its own, which learn at the rate of the head.
    pub fn has_parameters(self) -> bool {
        match self {
            Self::Head(_) | Self::Softmax | Self::SoftmaxCenter | Self::Contrastive(ContrastiveKind::ProxyAnchor) => {
                true
            }
            Self::Contrastive(_) => false,
        }
    }

    /// The loss of a model that tells so many people apart no better than by chance; that of a margin, or of two losses
    /// together, says nothing by itself.
    pub fn plateau(self, people: usize) -> Option<Plateau> {
        match self {
            Self::Head(HeadKind::NormFace | HeadKind::AdaCos) | Self::Softmax => Some(Plateau::Classes(people)),
            Self::Head(_) | Self::SoftmaxCenter | Self::Contrastive(_) => None,
        }
    }
}

impl ValueEnum for LossKind {
    fn value_variants<'a>() -> &'a [Self] {
        &Self::ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(self.name()))
    }
}

impl std::fmt::Display for LossKind {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.name())
    }
}

impl From<LossKind> for String {
    fn from(loss: LossKind) -> Self {
        loss.to_string()
    }
}

impl TryFrom<String> for LossKind {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        Self::from_str(&name, false)
    }
}

/// The settings of the losses; a loss fills in its own and refuses those of others.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LossSettings {
    /// Margin: an angle in radians or a cosine, as the head has it; in `[0, 1.5]`.
    pub margin: Option<f64>,
    /// Share of all steps in which the margin rises to its value; in `[0, 1]`. None: it has its value from the first step on.
    pub margin_warmup_share: Option<f64>,
    /// The margin that it rises from; in `[0, 1.5]`. None: from 0.
    #[serde(default)]
    pub margin_start: Option<f64>,
    /// Factor on the cosines before the softmax; in `[1, 1000]`.
    pub scale: Option<f64>,
    /// The scale of the first step, from which it goes to its value in a straight line; in `[1, 1000]`. None: it has its value
    /// from the first step on.
    #[serde(default)]
    pub scale_start: Option<f64>,
    /// In which share of all steps it does; in `[0.000001, 1]`.
    #[serde(default)]
    pub scale_warmup_share: Option<f64>,
    /// What cosines are divided by (supcon only); in `[0.01, 10]`.
    pub temperature: Option<f64>,
    /// Share of the people that a batch is compared with, besides those in it (heads only): Partial FC; in `[0.000001, 1]`.
    /// None: all of them.
    pub sample_rate: Option<f64>,
    /// Factor on the own angle (combinedmargin only); in `[0.5, 4]`.
    pub angle_factor: Option<f64>,
    /// Margin of the cosine on top of the others (combinedmargin only); in `[0, 1.5]`.
    pub cosine_margin: Option<f64>,
    /// Weight of the center loss (softmax+center only); in `[0, 1000]`.
    pub center_weight: Option<f64>,
    /// Share of the way a center moves per step (softmax+center only); in `[0.001, 1]`.
    pub center_update_rate: Option<f64>,
}

impl LossSettings {
    /// What a loss uses when nothing is given; suited to a few hundred people.
    pub fn defaults(loss: LossKind) -> Self {
        let none = Self::default();
        match loss {
            LossKind::Head(kind) => {
                let config = fields(&AnyHeadConfig::new(kind, 1, 1));
                let number = |name: &str| config.get(name).and_then(Value::as_f64);
                let margin = match kind {
                    HeadKind::CosFace | HeadKind::MvSoftmax => Some(0.25),
                    HeadKind::ArcFace
                    | HeadKind::SubCenterArcFace
                    | HeadKind::CurricularFace
                    | HeadKind::ElasticFace => Some(0.3),
                    HeadKind::CombinedMargin => Some(0.2),
                    _ => number("margin"),
                };
                Self {
                    margin,
                    scale: number("scale").map(|_| 16.0),
                    angle_factor: number("angle_factor"),
                    cosine_margin: number("cosine_margin").map(|_| 0.1),
                    ..none
                }
            }
            LossKind::Softmax => none,
            LossKind::SoftmaxCenter => Self { center_weight: Some(0.01), center_update_rate: Some(0.5), ..none },
            // Those of the papers, and so of the library; the margin of triplets is of cosines here.
            LossKind::Contrastive(kind) => match kind {
                ContrastiveKind::SupCon => Self { temperature: Some(0.1), ..none },
                ContrastiveKind::Triplet => Self { margin: Some(0.2), ..none },
                ContrastiveKind::MultiSimilarity => none,
                ContrastiveKind::Circle => Self { margin: Some(0.4), scale: Some(80.0), ..none },
                ContrastiveKind::ProxyAnchor => Self { margin: Some(0.1), scale: Some(32.0), ..none },
            },
        }
    }

    /// Whether a batch is compared with a part of the people only.
    pub fn samples(&self) -> bool {
        self.sample_rate.is_some_and(|rate| rate < 1.0)
    }

    /// Checks that a batch is compared with fewer people than there are, if it is to be; each device draws of the people it has.
    ///
    /// # Errors
    ///
    /// If the sample would be all of them.
    pub fn check_sample(&self, people: usize, batch_size: usize, devices: usize) -> Result<()> {
        let Some(rate) = self.sample_rate.filter(|_| self.samples()) else { return Ok(()) };
        let people = people / devices;
        let drawn = (rate * people as f64).ceil() as usize;
        let of_each = if devices == 1 { String::new() } else { format!(" of each of the {devices} devices") };
        ensure!(
            drawn + batch_size < people,
            "sample_rate: {rate} of {people} people{of_each}, and one more for each of the {batch_size} pictures of a batch, are all of \
             them, so there is nobody to leave out; take a smaller one or a smaller batch_size, or leave it out"
        );
        Ok(())
    }

    /// The settings of a head in the library; what this tool has no setting for is as the library has it.
    ///
    /// # Panics
    ///
    /// If these are not [resolved](Self::resolve) for the head.
    pub fn head_config(&self, kind: HeadKind, classes: usize, embedding_size: usize, seed: u64) -> AnyHeadConfig {
        let mut config = fields(&AnyHeadConfig::new(kind, classes, embedding_size));
        let margin = if kind == HeadKind::CombinedMargin { "angle_margin" } else { "margin" };
        let settings = [
            (margin, self.margin),
            ("scale", self.scale),
            ("angle_factor", self.angle_factor),
            ("cosine_margin", self.cosine_margin),
        ];
        for (name, value) in settings {
            if let Some(value) = value {
                let field = config.get_mut(name).unwrap_or_else(|| panic!("{kind} has no setting {name}"));
                *field = value.into();
            }
        }
        if let Some(rate) = self.sample_rate.filter(|_| self.samples()) {
            let centers = config.get_mut("centers").unwrap_or_else(|| panic!("{kind} has no centers"));
            centers["sample_rate"] = rate.into();
            centers["seed"] = seed.into();
            // For an optimizer that leaves the others alone.
            centers["gradient"] = serde_json::to_value(RowGradient::Drawn).expect("a setting is JSON");
        }
        serde_json::from_value(config).expect("the settings of a head")
    }

    /// These settings with the defaults of the loss where nothing is given.
    ///
    /// # Errors
    ///
    /// If a setting is out of its range, or belongs to another loss.
    pub fn resolve(&self, loss: LossKind) -> Result<Self> {
        let defaults = Self::defaults(loss);
        let pick = |name: &str, given: Option<f64>, default: Option<f64>, range| match (given, default) {
            (None, default) => Ok(default),
            (Some(value), Some(_)) => within(name, value, range).map(|()| Some(value)),
            (Some(value), None) => {
                bail!("{name}: the loss {loss} has no such setting (got {}); leave it out", shown(value))
            }
        };
        let most_margin = match loss {
            // Beyond that it has no pair that is good enough.
            LossKind::Contrastive(ContrastiveKind::Circle) => 0.99,
            LossKind::Contrastive(ContrastiveKind::ProxyAnchor) => 1.0,
            _ => 1.5,
        };
        if let Some(share) = self.margin_warmup_share {
            within("margin_warmup_share", share, 0.0..=1.0)?;
            ensure!(
                matches!(loss, LossKind::Head(_)) && defaults.margin.is_some(),
                "margin_warmup_share: the loss {loss} has no margin that could rise from 0 (got {}); leave it out",
                shown(share)
            );
        }
        if let Some(start) = self.margin_start {
            within("margin_start", start, 0.0..=most_margin)?;
            ensure!(
                self.margin_warmup_share.is_some_and(|share| share > 0.0),
                "margin_start: needs margin_warmup_share as well, the share of the steps in which it rises (got {start})"
            );
            let margin = self.margin.or(defaults.margin);
            ensure!(
                margin.is_some_and(|margin| margin > 0.0 && margin != start),
                "margin_start: must be another than the margin, and that one must not be 0, got {start} and {}",
                margin.unwrap_or_default()
            );
        }
        let of_scale = [
            ("scale_start", self.scale_start, 1.0..=1000.0),
            ("scale_warmup_share", self.scale_warmup_share, 1e-6..=1.0),
        ];
        for (name, given, range) in of_scale {
            let Some(value) = given else { continue };
            within(name, value, range)?;
            ensure!(
                loss.has_rising_scale(),
                "{name}: the loss {loss} has no scale that could rise (got {}); leave it out",
                shown(value)
            );
        }
        match (self.scale_start, self.scale_warmup_share) {
            (Some(_), None) => {
                bail!("scale_start: needs scale_warmup_share as well, the share of the steps in which it rises")
            }
            (None, Some(_)) => bail!("scale_warmup_share: needs scale_start as well, the scale that it rises from"),
            (Some(start), _) if Some(start) == self.scale.or(defaults.scale) => {
                bail!("scale_start: must be another than the scale, got {start} for both; leave it out")
            }
            _ => {}
        }
        if let Some(rate) = self.sample_rate {
            within("sample_rate", rate, 1e-6..=1.0)?;
            let is_head = matches!(loss, LossKind::Head(_));
            ensure!(
                is_head,
                "sample_rate: the loss {loss} compares with all people (got {}); leave it out",
                shown(rate)
            );
        }
        Ok(Self {
            margin: pick("margin", self.margin, defaults.margin, 0.0..=most_margin)?,
            margin_warmup_share: self.margin_warmup_share.filter(|&share| share > 0.0),
            margin_start: self.margin_start,
            temperature: pick("temperature", self.temperature, defaults.temperature, 0.01..=10.0)?,
            sample_rate: self.sample_rate.filter(|&rate| rate < 1.0),
            scale: pick("scale", self.scale, defaults.scale, 1.0..=1000.0)?,
            scale_start: self.scale_start,
            scale_warmup_share: self.scale_warmup_share,
            angle_factor: pick("angle_factor", self.angle_factor, defaults.angle_factor, 0.5..=4.0)?,
            cosine_margin: pick("cosine_margin", self.cosine_margin, defaults.cosine_margin, 0.0..=1.5)?,
            center_weight: pick("center_weight", self.center_weight, defaults.center_weight, 0.0..=1000.0)?,
            center_update_rate: pick(
                "center_update_rate",
                self.center_update_rate,
                defaults.center_update_rate,
                0.001..=1.0,
            )?,
        })
    }
}

fn fields(config: &AnyHeadConfig) -> Value {
    serde_json::to_value(config).expect("settings are JSON")
}

impl std::fmt::Display for LossSettings {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let named = [
            ("margin", self.margin),
            ("from margin", self.margin_start),
            ("margin warmup share", self.margin_warmup_share),
            ("scale", self.scale),
            ("from scale", self.scale_start),
            ("scale warmup share", self.scale_warmup_share),
            ("temperature", self.temperature),
            ("sample rate", self.sample_rate),
            ("angle factor", self.angle_factor),
            ("cosine margin", self.cosine_margin),
            ("center weight", self.center_weight),
            ("center update rate", self.center_update_rate),
        ];
        let parts: Vec<String> =
            named.into_iter().filter_map(|(name, value)| value.map(|value| format!("{name} {value}"))).collect();
        formatter.write_str(&parts.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_the_same_on_the_command_line_and_in_json() {
        for loss in LossKind::ALL {
            let json = serde_json::to_string(&loss).expect("a loss is a JSON string");
            assert_eq!(json, format!("\"{loss}\""));
            assert_eq!(serde_json::from_str::<LossKind>(&json).expect("a loss"), loss);
            assert_eq!(LossKind::from_str(loss.name(), false), Ok(loss));
        }
    }

    #[test]
    fn what_is_given_reaches_the_head() {
        let given = LossSettings { margin: Some(0.4), scale: Some(20.0), ..LossSettings::default() };
        for (kind, margin) in [(HeadKind::ArcFace, "margin"), (HeadKind::CombinedMargin, "angle_margin")] {
            let settings = given.resolve(LossKind::Head(kind)).expect("both have a margin and a scale");
            let config = fields(&settings.head_config(kind, 5, 3, 7));
            let found = [margin, "scale", "classes", "embedding_dim"].map(|name| config[name].as_f64());
            assert_eq!(found, [Some(0.4), Some(20.0), Some(5.0), Some(3.0)]);
        }
        let error = given.resolve(LossKind::Head(HeadKind::AdaCos)).expect_err("AdaCos has neither");
        assert_eq!(error.to_string(), "margin: the loss adacos has no such setting (got 0.4); leave it out");
    }

    #[test]
    fn a_sample_reaches_the_head_and_is_smaller_than_all() {
        let settings = LossSettings { sample_rate: Some(0.1), ..LossSettings::default() };
        let settings = settings.resolve(LossKind::Head(HeadKind::ArcFace)).expect("in range");
        let centers = fields(&settings.head_config(HeadKind::ArcFace, 5, 3, 7))["centers"].clone();
        assert_eq!((centers["sample_rate"].as_f64(), centers["seed"].as_u64()), (Some(0.1), Some(7)));
        assert_eq!(centers["gradient"], "Drawn");
        // By hand: 10 of 100 people are drawn, and at most 89 others come with the batch.
        settings.check_sample(100, 89, 1).expect("99 of 100");
        let error = settings.check_sample(100, 90, 1).expect_err("all of them").to_string();
        assert!(
            error.starts_with("sample_rate: 0.1 of 100 people, and one more for each of the 90 pictures of a batch"),
            "{error}"
        );
        let all = LossSettings { sample_rate: Some(1.0), ..settings.clone() };
        all.check_sample(3, 64, 1).expect("nothing is drawn");
        // 5 of 50 people, of whom 44 others may be in a batch.
        settings.check_sample(101, 44, 2).expect("49 of 50");
        let error = settings.check_sample(101, 45, 2).expect_err("all of them").to_string();
        assert!(error.starts_with("sample_rate: 0.1 of 50 people of each of the 2 devices, and one more"), "{error}");
    }

    #[test]
    fn a_setting_of_another_loss_is_refused() {
        let settings = LossSettings { margin: Some(0.3), ..LossSettings::default() };
        let error = settings.resolve(LossKind::Softmax).expect_err("softmax has no margin");
        assert_eq!(error.to_string(), "margin: the loss softmax has no such setting (got 0.3); leave it out");
    }
}
