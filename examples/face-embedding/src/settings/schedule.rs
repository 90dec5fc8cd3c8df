//! How the learning rate falls.

use anyhow::{Result, bail, ensure};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::range::{shown, within};

/// The curve along which the learning rates fall after their rise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[value(rename_all = "lowercase")]
pub enum ScheduleKind {
    /// Half a cosine.
    #[default]
    Cosine,
    /// A power of the share of the steps that is left.
    Polynomial,
    /// Steps down at some places of the run.
    Milestones,
}

impl std::fmt::Display for ScheduleKind {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Cosine => "cosine",
            Self::Polynomial => "polynomial",
            Self::Milestones => "milestones",
        })
    }
}

/// The curve and its settings; a curve fills in its own and refuses those of others.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ScheduleSettings {
    /// The curve.
    #[serde(default)]
    pub schedule: ScheduleKind,
    /// The power (polynomial only); in `[0.1, 10]`.
    pub power: Option<f64>,
    /// Shares of all steps after which the rates step down, in rising order (milestones only); each in `[0.001, 0.999]`.
    pub milestones: Option<Vec<f64>>,
    /// What the rates are multiplied with there (milestones only); in `[0.001, 0.999]`.
    pub gamma: Option<f64>,
}

impl ScheduleSettings {
    /// The power of PartialFC's schedule in arcface_torch.
    const POWER: f64 = 2.0;
    const MILESTONES: [f64; 2] = [0.5, 0.75];
    const GAMMA: f64 = 0.1;

    /// These settings with the defaults of the curve where nothing is given.
    ///
    /// # Errors
    ///
    /// If a setting is out of its range, or belongs to another curve.
    pub fn resolve(mut self) -> Result<Self> {
        let of = |kind: ScheduleKind, name: &str, given: Option<String>| match given {
            Some(value) if kind != self.schedule => {
                bail!("{name}: the schedule {} has no such setting (got {value}); leave it out", self.schedule)
            }
            _ => Ok(()),
        };
        of(ScheduleKind::Polynomial, "power", self.power.map(shown))?;
        of(ScheduleKind::Milestones, "milestones", self.milestones.as_ref().map(|shares| format!("{shares:?}")))?;
        of(ScheduleKind::Milestones, "gamma", self.gamma.map(shown))?;
        match self.schedule {
            ScheduleKind::Cosine => {}
            ScheduleKind::Polynomial => within("power", *self.power.get_or_insert(Self::POWER), 0.1..=10.0)?,
            ScheduleKind::Milestones => {
                within("gamma", *self.gamma.get_or_insert(Self::GAMMA), 0.001..=0.999)?;
                let milestones = self.milestones.get_or_insert(Self::MILESTONES.to_vec());
                ensure!(!milestones.is_empty(), "milestones: must be one share of the steps at least, got none");
                for &milestone in milestones.iter() {
                    within("milestones", milestone, 0.001..=0.999)?;
                }
                let rising = milestones.windows(2).all(|pair| pair[0] < pair[1]);
                ensure!(rising, "milestones: must be in rising order, got {milestones:?}");
            }
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_curve_has_its_own_settings_only() {
        let of = |schedule| ScheduleSettings { schedule, ..ScheduleSettings::default() };
        let resolved = |settings: ScheduleSettings| settings.resolve().expect("in range");
        assert_eq!(resolved(of(ScheduleKind::Polynomial)).power, Some(2.0));
        let milestones = resolved(of(ScheduleKind::Milestones));
        assert_eq!((milestones.milestones, milestones.gamma), (Some(vec![0.5, 0.75]), Some(0.1)));

        let message = |settings: ScheduleSettings| settings.resolve().expect_err("refused").to_string();
        assert_eq!(
            message(ScheduleSettings { power: Some(1.0), ..of(ScheduleKind::Cosine) }),
            "power: the schedule cosine has no such setting (got 1); leave it out"
        );
        assert_eq!(
            message(ScheduleSettings { milestones: Some(vec![0.5]), ..of(ScheduleKind::Polynomial) }),
            "milestones: the schedule polynomial has no such setting (got [0.5]); leave it out"
        );
        assert_eq!(
            message(ScheduleSettings { milestones: Some(vec![0.5, 0.5]), ..of(ScheduleKind::Milestones) }),
            "milestones: must be in rising order, got [0.5, 0.5]"
        );
        assert_eq!(
            message(ScheduleSettings { gamma: Some(1.0), ..of(ScheduleKind::Milestones) }),
            "gamma: must be in [0.001, 0.999], got 1"
        );
    }
}
