//! The figures over all pairs: true accept rates at false accept rates, and how far off they may be.

use std::collections::BTreeMap;
use std::fmt;

use anyhow::Result;
use embedding_eval::{Bootstrap, ImpostorSupport, Interval, Roc, bootstrap_over_people};
use serde::{Deserialize, Serialize};

/// The false accept rates at which the true accept rate is reported; other figures are of a part of them.
pub(super) const RATES: [(&str, f64); 6] =
    [("1e-1", 1e-1), ("1e-2", 1e-2), ("1e-3", 1e-3), ("1e-4", 1e-4), ("1e-5", 1e-5), ("1e-6", 1e-6)];

/// Below some hundred resamples the ends of the intervals are themselves uncertain.
const RESAMPLES: usize = 200;
const LEVEL: f64 = 0.95;

/// Greatest true accept rates whose false accept rates are at most the keys; null if there are too few impostor pairs
/// to measure such a rate at all.
pub type TarAtFar = BTreeMap<String, Option<f64>>;

/// What is measured at each rate, by its name; null where it is nothing, or where there are too few impostors to
/// measure such a rate at all.
pub(super) fn at_rates<T>(
    rates: &[(&str, f64)],
    measure: impl Fn(f64) -> Result<(Option<T>, ImpostorSupport)>,
) -> Result<BTreeMap<String, Option<T>>> {
    let mut measured = BTreeMap::new();
    for (name, rate) in rates {
        let (found, support) = measure(*rate)?;
        let measurable = support != ImpostorSupport::BelowResolution;
        measured.insert(name.to_string(), found.filter(|_| measurable));
    }
    Ok(measured)
}

/// Reads the rates off a curve.
pub(super) fn tar_at_far(curve: &Roc) -> Result<TarAtFar> {
    at_rates(&RATES, |rate| {
        let measured = curve.tar_at_far(rate)?;
        Ok((Some(measured.tar), measured.support))
    })
}

/// A share as text.
pub(crate) fn percent(share: f64) -> String {
    percent_to(2, share)
}

/// A share as text, with so many digits.
pub(super) fn percent_to(digits: usize, share: f64) -> String {
    format!("{:.digits$} %", 100.0 * share)
}

/// An interval of shares as text.
pub(super) fn between([low, high]: [f64; 2]) -> String {
    format!("{:.2} to {}", 100.0 * low, percent(high))
}

/// Says at which rates the impostor pairs are too few.
pub(super) fn warn_of_few(impostors: usize) {
    let support = |least: f64| move |(_, rate): &&(&str, f64)| (impostors as f64) < least / rate;
    let names = |few: Vec<&(&str, f64)>| few.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
    let (missing, measured): (Vec<_>, Vec<_>) = RATES.iter().partition(support(1.0));
    let unreliable: Vec<_> = measured.into_iter().filter(support(10.0)).collect();
    if !unreliable.is_empty() {
        say!(
            "warning: {impostors} impostor pairs are too few for a reliable true accept rate at FAR {}; it takes ten \
             times the inverse of the rate",
            names(unreliable)
        );
    }
    if !missing.is_empty() {
        say!("note: they are too few to measure FAR {} at all", names(missing));
    }
}

/// Where the figures of other people of the same kind would lie, by drawing the people anew.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Intervals {
    /// The share of the resamples inside.
    pub level: f64,
    /// How often people were drawn.
    pub resamples: usize,
    /// Of the area under the ROC curve.
    pub auc: [f64; 2],
    /// Of the equal error rate.
    pub eer: [f64; 2],
    /// Of the true accept rates; null where the rate is.
    pub tar_at_far: BTreeMap<String, Option<[f64; 2]>>,
}

impl fmt::Display for Intervals {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { level, resamples, .. } = self;
        let [low, high] = self.auc.map(|area| format!("{area:.4}"));
        writeln!(formatter, "{} % of {resamples} draws of other test people", 100.0 * level)?;
        writeln!(formatter, "{:<26} {:>20}", "area under ROC", format!("{low} to {high}"))?;
        write!(formatter, "{:<26} {:>20}", "equal error rate", between(self.eer))?;
        for (rate, interval) in &self.tar_at_far {
            let Some(interval) = interval else { continue };
            write!(formatter, "\n{:<26} {:>20}", format!("true accepts, FAR <= {rate}"), between(*interval))?;
        }
        Ok(())
    }
}

impl Intervals {
    /// Those of pairs of people, twice the same person for a genuine pair, for the rates that can be measured.
    pub(super) fn new(scores: &[f64], people: &[[u32; 2]], rates: &TarAtFar, seed: u64) -> Result<Self> {
        let targets: Vec<f64> =
            RATES.iter().filter(|(name, _)| rates[*name].is_some()).map(|(_, rate)| *rate).collect();
        let bootstrap = Bootstrap { resamples: RESAMPLES, level: LEVEL, seed };
        let found = bootstrap_over_people(scores, people, &targets, bootstrap)?;
        let ends = |interval: &Interval| [interval.low, interval.high];
        let mut measured = found.tar_at_far.iter().map(ends);
        let tar_at_far = rates.iter().map(|(name, rate)| (name.clone(), rate.and_then(|_| measured.next()))).collect();
        Ok(Self {
            level: LEVEL,
            resamples: RESAMPLES,
            auc: ends(&found.area),
            eer: ends(&found.equal_error_rate),
            tar_at_far,
        })
    }
}
