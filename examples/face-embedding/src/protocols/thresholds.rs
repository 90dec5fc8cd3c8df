//! From which cosine on two pictures are taken for the same person.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use anyhow::{Context, Result, anyhow, ensure};
use embedding_eval::{EqualErrorRate, Roc, RocPoint};
use serde::{Deserialize, Serialize};

use super::rates::{RATES, at_rates, percent, percent_to};

/// How many of the rates get a threshold.
const WITH_THRESHOLD: usize = 4;

/// The name of the point of equal errors, on the command line and in messages.
const EQUAL_ERROR: &str = "equal-error";

/// Which threshold of a model is meant.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum OperatingPoint {
    /// The one that accepts at most this share of the impostor pairs.
    FalseAcceptRate(f64),
    /// The one at which false accepts and false rejects are equally frequent.
    EqualError,
}

impl FromStr for OperatingPoint {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        if text == EQUAL_ERROR {
            return Ok(Self::EqualError);
        }
        let rate = text.parse().ok().filter(|rate: &f64| *rate > 0.0 && *rate < 1.0);
        rate.map(Self::FalseAcceptRate)
            .ok_or_else(|| anyhow!("must be a false accept rate between 0 and 1, such as 1e-3, or {EQUAL_ERROR}"))
    }
}

impl OperatingPoint {
    /// In words.
    pub fn describe(&self) -> String {
        match self {
            Self::FalseAcceptRate(_) => format!("at a false accept rate of {self}"),
            Self::EqualError => "at equal errors".to_string(),
        }
    }
}

impl fmt::Display for OperatingPoint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FalseAcceptRate(rate) => write!(formatter, "{rate:e}"),
            Self::EqualError => formatter.write_str(EQUAL_ERROR),
        }
    }
}

/// A threshold, and what it did on the people it was measured on.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Threshold {
    /// Two pictures are taken for the same person if their cosine is at least this.
    pub cosine: f64,
    /// Share of the impostor pairs that it accepted.
    pub false_accept_rate: f64,
    /// Share of the genuine pairs that it accepted.
    pub true_accept_rate: f64,
}

impl Threshold {
    /// None for an infinite threshold, which accepts nobody and so verifies nothing.
    fn new(cosine: f64, false_accept_rate: f64, true_accept_rate: f64) -> Option<Self> {
        cosine.is_finite().then_some(Self { cosine, false_accept_rate, true_accept_rate })
    }
}

/// The thresholds of a model, from all pairs of the test pictures.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Thresholds {
    /// How many genuine pairs they were measured on.
    pub genuine_pairs: usize,
    /// How many impostor pairs they were measured on.
    pub impostor_pairs: usize,
    /// That of the greatest true accept rate whose false accept rate is at most the key; null if there are too few
    /// impostor pairs to measure such a rate, or if no genuine pair scores higher than enough impostors.
    pub at_far: BTreeMap<String, Option<Threshold>>,
    /// The one whose false accept and false reject rates differ least; null if it accepts nobody.
    pub equal_error: Option<Threshold>,
}

impl Thresholds {
    /// Reads the thresholds off a curve.
    ///
    /// # Errors
    ///
    /// None for the rates above.
    pub(super) fn new(curve: &Roc) -> Result<Self> {
        let at_far = at_rates(&RATES[..WITH_THRESHOLD], |rate| {
            let point = curve.tar_at_far(rate)?;
            Ok((Threshold::new(point.threshold, point.far, point.tar), point.support))
        })?;
        let EqualErrorRate { nearest: RocPoint { threshold, far, tar, .. }, .. } = curve.equal_error_rate();
        Ok(Self {
            genuine_pairs: curve.genuine(),
            impostor_pairs: curve.impostors(),
            at_far,
            equal_error: Threshold::new(threshold, far, tar),
        })
    }

    /// The same cosines, and what they do on the pairs of another curve.
    pub(super) fn applied(&self, curve: &Roc) -> Self {
        let apply = |Threshold { cosine, .. }: Threshold| {
            let RocPoint { far, tar, .. } = curve.at(cosine);
            Threshold { cosine, false_accept_rate: far, true_accept_rate: tar }
        };
        Self {
            genuine_pairs: curve.genuine(),
            impostor_pairs: curve.impostors(),
            at_far: self.at_far.iter().map(|(name, threshold)| (name.clone(), threshold.map(apply))).collect(),
            equal_error: self.equal_error.map(apply),
        }
    }

    /// Looks at thresholds from a file.
    ///
    /// # Errors
    ///
    /// If one is no cosine.
    pub fn check(&self) -> Result<()> {
        for (point, Threshold { cosine, .. }) in self.present() {
            let name = point.describe();
            ensure!((-1.0..=1.0).contains(&cosine), "the threshold {name} must be a cosine from -1 to 1, got {cosine}");
        }
        Ok(())
    }

    /// The threshold at an operating point.
    ///
    /// # Errors
    ///
    /// If there is none; the message says why, and which there are.
    pub fn at(&self, point: OperatingPoint) -> Result<Threshold> {
        let found = match point {
            OperatingPoint::EqualError => self.equal_error,
            OperatingPoint::FalseAcceptRate(rate) => self.of_rate(rate).flatten(),
        };
        found.with_context(|| {
            let has: Vec<String> = self.present().map(|(point, _)| point.to_string()).collect();
            let has = if has.is_empty() { "none".to_string() } else { has.join(", ") };
            format!("there is no threshold for {point}: {}; there is: {has}", self.why_not(point))
        })
    }

    /// None if the rate is not kept, and none inside if it has no threshold.
    fn of_rate(&self, rate: f64) -> Option<Option<Threshold>> {
        self.at_far.iter().find(|(name, _)| name.parse() == Ok(rate)).map(|(_, threshold)| *threshold)
    }

    fn why_not(&self, point: OperatingPoint) -> String {
        let OperatingPoint::FalseAcceptRate(rate) = point else {
            return "errors would be equal where nobody is accepted".to_string();
        };
        if self.of_rate(rate).is_none() {
            return "thresholds are kept for a few rates only".to_string();
        }
        if 1.0 / self.impostor_pairs as f64 > rate {
            return format!(
                "it takes {:.0} impostor pairs of test pictures to measure that rate, and there were {}",
                1.0 / rate,
                self.impostor_pairs
            );
        }
        "too many impostor pairs score higher than any genuine pair".to_string()
    }

    /// Those that there are, from the most tolerant on.
    fn present(&self) -> impl Iterator<Item = (OperatingPoint, Threshold)> {
        let point = |name: &String| name.parse().map(OperatingPoint::FalseAcceptRate).ok();
        let at_far = self.at_far.iter().filter_map(move |(name, threshold)| Some((point(name)?, (*threshold)?)));
        at_far.chain(self.equal_error.map(|threshold| (OperatingPoint::EqualError, threshold)))
    }
}

impl fmt::Display for Thresholds {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{:<26} {:>16} {:>16} {:>16}",
            "the same person from", "cosine", "false accepts", "true accepts"
        )?;
        for (point, threshold) in self.present() {
            let name = match point {
                OperatingPoint::FalseAcceptRate(rate) => format!("at FAR {rate:e}"),
                OperatingPoint::EqualError => point.describe(),
            };
            write!(
                formatter,
                "\n{name:<26} {:>16.4} {:>16} {:>16}",
                threshold.cosine,
                percent_to(3, threshold.false_accept_rate),
                percent(threshold.true_accept_rate)
            )?;
        }
        for (name, _) in self.at_far.iter().filter(|(_, threshold)| threshold.is_none()) {
            write!(formatter, "\n{:<26} {:>16}", format!("at FAR {name}"), "not measurable")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use embedding_eval::{ScoredPairs, roc};

    use super::*;

    /// Genuine pairs of the first scores, impostor pairs of the second.
    fn thresholds(genuine: &[f64], impostors: &[f64]) -> Thresholds {
        let same: Vec<bool> = (0..genuine.len() + impostors.len()).map(|pair| pair < genuine.len()).collect();
        let scores = [genuine, impostors].concat();
        let curve = roc(ScoredPairs::new(&scores, &same).expect("finite")).expect("both kinds");
        Thresholds::new(&curve).expect("the rates are valid")
    }

    #[test]
    fn the_threshold_is_the_one_of_the_greatest_true_accept_rate_within_the_bound() {
        // By hand: of 20 impostors at 0.00, 0.01, ..., 0.19, two may be accepted at FAR 0.1. The genuine 0.185
        // is accepted with one of them, 0.19; the genuine 0.165 would take a third.
        let impostors: Vec<f64> = (0..20).map(|score| f64::from(score) / 100.0).collect();
        let found = thresholds(&[0.9, 0.185, 0.165, 0.05], &impostors);
        let expected = Threshold { cosine: 0.185, false_accept_rate: 0.05, true_accept_rate: 0.5 };
        assert_eq!(found.at(OperatingPoint::FalseAcceptRate(0.1)).expect("20 impostors are enough"), expected);
        assert_eq!((found.genuine_pairs, found.impostor_pairs), (4, 20));
        // From 0.15 on, 5 of 20 are accepted and one of 4 is rejected.
        assert_eq!(found.equal_error.map(|threshold| threshold.false_accept_rate), Some(0.25));

        let error = found.at(OperatingPoint::FalseAcceptRate(0.01)).expect_err("20 impostors are too few").to_string();
        assert_eq!(
            error,
            "there is no threshold for 1e-2: it takes 100 impostor pairs of test pictures to measure that rate, and \
             there were 20; there is: 1e-1, equal-error"
        );
        let error = found.at(OperatingPoint::FalseAcceptRate(0.3)).expect_err("no such rate").to_string();
        assert!(error.contains("for 3e-1: thresholds are kept for a few rates only"), "{error}");
        // As a file may have it.
        let mut without = found;
        without.at_far.remove("1e-1");
        let error = without.at(OperatingPoint::FalseAcceptRate(0.1)).expect_err("it is missing").to_string();
        assert!(error.contains("for 1e-1: thresholds are kept for a few rates only; there is: equal-error"), "{error}");
    }

    #[test]
    fn thresholds_keep_their_cosine_on_other_people() {
        let found = thresholds(&[0.9, 0.6], &[0.5; 10]);
        // By hand: 0.6 accepts one of two genuine pairs and three of four impostors.
        let scores = [0.7, 0.2, 0.8, 0.6, 0.9, 0.1];
        let same = [true, true, false, false, false, false];
        let curve = roc(ScoredPairs::new(&scores, &same).expect("finite")).expect("both kinds");
        let applied = found.applied(&curve);
        let expected = Threshold { cosine: 0.6, false_accept_rate: 0.75, true_accept_rate: 0.5 };
        assert_eq!((applied.at_far["1e-1"], applied.at_far["1e-2"]), (Some(expected), None));
        assert_eq!((applied.genuine_pairs, applied.impostor_pairs), (2, 4));
    }

    #[test]
    fn pairs_of_the_same_score_are_accepted_together() {
        // By hand: two impostors at 0.5 would be 2 of 10, so neither is accepted, nor the genuine pair beside them.
        let found = thresholds(&[0.9, 0.5], &[0.5, 0.5, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1]);
        let expected = Threshold { cosine: 0.9, false_accept_rate: 0.0, true_accept_rate: 0.5 };
        assert_eq!(found.at_far["1e-1"], Some(expected));
    }

    #[test]
    fn a_threshold_that_accepts_nobody_is_none() {
        let found = thresholds(&[0.1], &[0.5; 10]);
        assert_eq!(found.at_far["1e-1"], None);
        let error = found.at(OperatingPoint::FalseAcceptRate(0.1)).expect_err("nobody is accepted").to_string();
        assert!(error.contains("too many impostor pairs score higher than any genuine pair"), "{error}");
    }

    #[test]
    fn operating_points_are_read_and_shown() {
        let read = |text: &str| text.parse::<OperatingPoint>();
        for text in ["0.001", "1e-3"] {
            assert_eq!(read(text).expect("a rate"), OperatingPoint::FalseAcceptRate(1e-3));
        }
        assert_eq!(OperatingPoint::FalseAcceptRate(1e-3).to_string(), "1e-3");
        assert_eq!(read("equal-error").expect("a point").to_string(), "equal-error");
        for text in ["0", "1", "-0.1", "nan", "often"] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
