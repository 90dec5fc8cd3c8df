//! The losses to choose from and the settings each of them has.

use anyhow::{Result, bail};
use burn_losses::diagnostics::Plateau;
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::config::within;

/// What the head on top of the trunk computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[value(rename_all = "lowercase")]
pub enum LossKind {
    /// Softmax over scaled cosines, without a margin.
    NormFace,
    /// The own class must win by a margin of the cosine.
    CosFace,
    /// The own class must win by a margin of the angle.
    ArcFace,
    /// All three margins at once: cos(angle_factor·angle + margin) − cosine_margin.
    Combined,
    /// An ordinary linear layer and cross-entropy.
    Softmax,
    /// The same, with the center loss added.
    #[serde(rename = "softmax+center")]
    #[value(name = "softmax+center")]
    SoftmaxCenter,
}

impl LossKind {
    /// The loss of a model that tells so many people apart no better than by chance; that of a margin, or of two losses
    /// together, says nothing by itself.
    pub fn plateau(self, people: usize) -> Option<Plateau> {
        match self {
            Self::NormFace | Self::Softmax => Some(Plateau::Classes(people)),
            Self::CosFace | Self::ArcFace | Self::Combined | Self::SoftmaxCenter => None,
        }
    }
}

impl std::fmt::Display for LossKind {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.to_possible_value() {
            Some(value) => formatter.write_str(value.get_name()),
            None => write!(formatter, "{self:?}"),
        }
    }
}

/// The settings of the losses; a loss fills in its own and refuses those of others.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LossSettings {
    /// Margin: an angle in radians (arcface, combined) or a cosine (cosface); in `[0, 1.5]`.
    pub margin: Option<f64>,
    /// Factor on the cosines before the softmax; in `[1, 1000]`.
    pub scale: Option<f64>,
    /// Factor on the own angle (combined only); in `[0.5, 4]`.
    pub angle_factor: Option<f64>,
    /// Margin of the cosine on top of the others (combined only); in `[0, 1.5]`.
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
        let scaled = Self { scale: Some(16.0), ..none.clone() };
        match loss {
            LossKind::NormFace => scaled,
            LossKind::CosFace => Self { margin: Some(0.25), ..scaled },
            LossKind::ArcFace => Self { margin: Some(0.3), ..scaled },
            LossKind::Combined => {
                Self { margin: Some(0.2), angle_factor: Some(1.0), cosine_margin: Some(0.1), ..scaled }
            }
            LossKind::Softmax => none,
            LossKind::SoftmaxCenter => Self { center_weight: Some(0.01), center_update_rate: Some(0.5), ..none },
        }
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
                bail!("{name}: the loss {loss} has no such setting (got {value}); leave it out")
            }
        };
        Ok(Self {
            margin: pick("margin", self.margin, defaults.margin, 0.0..=1.5)?,
            scale: pick("scale", self.scale, defaults.scale, 1.0..=1000.0)?,
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

impl std::fmt::Display for LossSettings {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let named = [
            ("margin", self.margin),
            ("scale", self.scale),
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
        for loss in LossKind::value_variants() {
            let json = serde_json::to_string(loss).expect("a loss is a JSON string");
            assert_eq!(json, format!("\"{loss}\""));
        }
    }

    #[test]
    fn a_setting_of_another_loss_is_refused() {
        let settings = LossSettings { margin: Some(0.3), ..LossSettings::default() };
        let error = settings.resolve(LossKind::Softmax).expect_err("softmax has no margin");
        assert_eq!(error.to_string(), "margin: the loss softmax has no such setting (got 0.3); leave it out");
    }
}
