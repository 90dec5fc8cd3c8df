//! The protocol of Labeled Faces in the Wild: pairs in official folds, from its `pairs.txt` or a file in that form, or from a
//! file that has the pictures as well.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Component, Path};
use std::str::FromStr;

use anyhow::{Context, Result, anyhow, bail, ensure};
use clap::ValueEnum;
use embedding_eval::{
    ScoredPairs, contiguous_folds, cosine_similarity, insightface_accuracy, insightface_val_at_far, k_fold_accuracy,
    k_fold_tar_at_far, roc,
};
use serde::{Deserialize, Serialize};

use super::rates::{Intervals, RATES, TarAtFar, between, percent, tar_at_far, warn_of_few};

/// At which of the false accept rates VAL is reported: 1e-2 and 1e-3.
const WITH_VAL: std::ops::Range<usize> = 1..3;

/// In how many folds the pairs of a file are that does not say.
const PACKED_FOLDS: usize = 10;

/// Longest file of pairs that is read, in bytes.
const LONGEST_FILE: u64 = 64 << 20;

/// Which thresholds are tried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Thresholding {
    /// Every score; the false accept rate of the other folds is at most the target.
    #[default]
    Exact,
    /// The grids of InsightFace, to compare with its figures.
    Insightface,
}

/// A picture by its person and its number: `Ada_Lovelace_0003`.
pub(crate) type Numbered = (String, usize);

/// A line of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
struct NamedPair {
    pictures: [Numbered; 2],
    fold: usize,
}

impl NamedPair {
    fn is_genuine(&self) -> bool {
        self.pictures[0].0 == self.pictures[1].0
    }
}

/// The pairs of a file.
#[derive(Debug, PartialEq, Eq)]
pub struct PairsFile {
    pairs: Vec<NamedPair>,
    folds: usize,
}

impl PairsFile {
    /// Reads a file of pairs.
    ///
    /// # Errors
    ///
    /// If it cannot be read, or a line is not as the form has it; the message names the line.
    pub fn read(path: &Path) -> Result<Self> {
        let read = || {
            let length = std::fs::metadata(path)?.len();
            ensure!(length <= LONGEST_FILE, "must be at most {LONGEST_FILE} bytes long, has {length}");
            std::fs::read_to_string(path)?.parse()
        };
        read().with_context(|| format!("cannot read the pairs {}", path.display()))
    }

    /// The pictures that are asked about.
    pub(crate) fn pictures(&self) -> BTreeSet<Numbered> {
        self.pairs.iter().flat_map(|pair| pair.pictures.iter().cloned()).collect()
    }
}

impl FromStr for PairsFile {
    type Err = anyhow::Error;

    /// The first line has the number of folds and of genuine pairs in each; every fold has so many lines
    /// `name number number` and then as many `name number name number`.
    fn from_str(text: &str) -> Result<Self> {
        let mut lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
        let (_, first) = lines.next().context("it is empty")?;
        let counts: Option<Vec<usize>> = fields(first.trim()).iter().map(|field| field.parse().ok()).collect();
        let Some(&[folds, per_kind]) = counts.as_deref() else {
            bail!(
                "line 1 must have the number of folds and of genuine pairs in a fold and nothing else, such as \
                 \"10 300\", got {first:?}"
            );
        };
        ensure!(folds >= 2 && per_kind >= 1, "line 1 must ask for at least 2 folds of at least 1 pair, got {first:?}");
        let asked = folds.checked_mul(per_kind).and_then(|genuine| genuine.checked_mul(2));
        let asked = asked.with_context(|| format!("line 1 asks for more pairs than can be counted: {first:?}"))?;
        let mut pairs = Vec::new();
        for fold in 0..folds {
            for kind in [3, 4] {
                for _ in 0..per_kind {
                    let (place, line) = lines
                        .next()
                        .with_context(|| format!("line 1 asks for {asked} pairs, found {}", pairs.len()))?;
                    let pictures = pictures(line, kind).with_context(|| format!("line {}: {line:?}", place + 1))?;
                    pairs.push(NamedPair { pictures, fold });
                }
            }
        }
        if let Some((place, line)) = lines.next() {
            bail!("line {}: {line:?} is behind the last of {} pairs that line 1 asks for", place + 1, pairs.len());
        }
        Ok(Self { pairs, folds })
    }
}

/// Split at tabs, so that names may have spaces; at spaces where there are no tabs.
fn fields(line: &str) -> Vec<&str> {
    if line.contains('\t') { line.split('\t').map(str::trim).collect() } else { line.split_whitespace().collect() }
}

/// The two pictures of a line with so many fields.
fn pictures(line: &str, kind: usize) -> Result<[Numbered; 2]> {
    let number = |text: &str| text.parse::<usize>().map_err(|_| anyhow!("{text:?} is not the number of a picture"));
    let name = |text: &str| {
        let is_plain = matches!(Path::new(text).components().collect::<Vec<_>>()[..], [Component::Normal(_)]);
        ensure!(is_plain && !text.contains(['/', '\\']), "{text:?} is not the name of a folder");
        anyhow::Ok(text.to_string())
    };
    match (&fields(line)[..], kind) {
        (&[person, one, other], 3) => {
            ensure!(number(one)? != number(other)?, "a picture is compared with itself");
            Ok([(name(person)?, number(one)?), (name(person)?, number(other)?)])
        }
        (&[person, one, other_person, other], 4) => {
            ensure!(person != other_person, "an impostor pair must be of two people");
            Ok([(name(person)?, number(one)?), (name(other_person)?, number(other)?)])
        }
        (found, 3) => bail!("a genuine pair must have a name and two numbers here, got {} fields", found.len()),
        (found, _) => bail!("an impostor pair must have two names and numbers here, got {} fields", found.len()),
    }
}

/// A true accept rate with thresholds of the other folds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Val {
    /// Mean true accept rate over the folds.
    pub tar: f64,
    /// Standard deviation over the folds (of the population).
    pub tar_std: f64,
    /// Mean false accept rate over the folds, which may exceed the one asked for.
    pub far: f64,
}

/// The figures of a file of pairs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PairFigures {
    /// Which thresholds were tried for `accuracy` and `val_at_far`; the other figures are exact.
    pub protocol: Thresholding,
    /// How many pairs were asked.
    pub pairs: usize,
    /// In how many folds.
    pub folds: usize,
    /// Mean accuracy over the folds, each with the threshold of the others.
    pub accuracy: f64,
    /// Standard error of the mean, `s / sqrt(folds)` with `s` over `folds - 1`: what LFW asks for.
    pub accuracy_standard_error: f64,
    /// Standard deviation over the folds, of the population: what InsightFace prints.
    pub accuracy_std: f64,
    /// True accept rates with thresholds of the other folds; null where their impostor pairs are too few.
    pub val_at_far: BTreeMap<String, Option<Val>>,
    /// Area under the ROC curve of all pairs.
    pub auc: f64,
    /// Error rate at which false accepts and false rejects are equally frequent.
    pub eer: f64,
    /// Over all pairs: the greatest true accept rate whose false accept rate is at most the key; or null.
    pub tar_at_far: TarAtFar,
    /// By drawing the people anew; null where the file does not say who they are.
    pub intervals: Option<Intervals>,
}

impl PairFigures {
    /// The figures of embeddings, `[pictures, dim]`, row-major, in the order of [`pictures`](PairsFile::pictures).
    ///
    /// # Errors
    ///
    /// If an embedding is not finite.
    pub(crate) fn measure(file: &PairsFile, embeddings: &[f32], protocol: Thresholding, seed: u64) -> Result<Self> {
        let pictures: Vec<Numbered> = file.pictures().into_iter().collect();
        let dim = embeddings.len() / pictures.len();
        let mut names: Vec<&str> = pictures.iter().map(|(name, _)| name.as_str()).collect();
        names.dedup();
        let (mut scores, mut people) = (Vec::new(), Vec::new());
        for pair in &file.pairs {
            let row = |picture: &Numbered| {
                let place = pictures.binary_search(picture).unwrap_or_default();
                &embeddings[place * dim..(place + 1) * dim]
            };
            let [one, other] = &pair.pictures;
            scores.push(cosine_similarity(row(one), row(other))?);
            people.push([one, other].map(|(name, _)| names.binary_search(&name.as_str()).unwrap_or_default() as u32));
        }
        let same: Vec<bool> = file.pairs.iter().map(NamedPair::is_genuine).collect();
        let folds: Vec<usize> = file.pairs.iter().map(|pair| pair.fold).collect();
        let figures = Self::of_scores(&scores, &same, &folds, file.folds, protocol)?;
        Ok(Self { intervals: Some(Intervals::new(&scores, &people, &figures.tar_at_far, seed)?), ..figures })
    }

    /// The figures of pairs of embeddings, `[2·pairs, dim]`, row-major: the first two rows are a pair, the next two, and so on.
    /// Folds are ten parts of the list, as InsightFace takes them.
    ///
    /// # Errors
    ///
    /// If there are fewer pairs than folds, none of a kind, or an embedding is not finite.
    pub fn of_rows(embeddings: &[f32], same: &[bool], protocol: Thresholding) -> Result<Self> {
        ensure!(same.len() >= PACKED_FOLDS, "there must be at least {PACKED_FOLDS} pairs, got {}", same.len());
        let dim = embeddings.len() / (2 * same.len());
        let pairs = embeddings.chunks_exact(2 * dim).map(|pair| cosine_similarity(&pair[..dim], &pair[dim..]));
        let scores = pairs.collect::<Result<Vec<f64>, _>>()?;
        Self::of_scores(&scores, same, &contiguous_folds(same.len(), PACKED_FOLDS)?, PACKED_FOLDS, protocol)
    }

    fn of_scores(scores: &[f64], same: &[bool], folds: &[usize], count: usize, protocol: Thresholding) -> Result<Self> {
        let pairs = ScoredPairs::new(scores, same)?;
        let accuracy = match protocol {
            Thresholding::Exact => k_fold_accuracy(pairs, folds)?,
            Thresholding::Insightface => insightface_accuracy(pairs, folds)?,
        };
        let of_others = pairs.impostors() / count * (count - 1);
        let mut val_at_far = BTreeMap::new();
        for &(name, rate) in &RATES[WITH_VAL] {
            let val = match protocol {
                Thresholding::Exact => k_fold_tar_at_far(pairs, folds, rate)?,
                Thresholding::Insightface => insightface_val_at_far(pairs, folds, rate)?,
            };
            let val = Val { tar: val.tar, tar_std: val.tar_standard_deviation, far: val.far };
            val_at_far.insert(name.to_string(), (of_others as f64 * rate >= 1.0).then_some(val));
        }
        warn_of_few(pairs.impostors());
        let curve = roc(pairs)?;
        let tar_at_far = tar_at_far(&curve)?;
        Ok(Self {
            protocol,
            pairs: pairs.count(),
            folds: count,
            accuracy: accuracy.mean,
            accuracy_standard_error: accuracy.standard_error,
            accuracy_std: accuracy.standard_deviation,
            val_at_far,
            auc: curve.area(),
            eer: curve.equal_error_rate().rate,
            intervals: None,
            tar_at_far,
        })
    }
}

impl fmt::Display for PairFigures {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rule = match self.protocol {
            Thresholding::Exact => "every score is a threshold",
            Thresholding::Insightface => "on the grid of InsightFace",
        };
        writeln!(formatter, "{} pairs in {} folds, {rule}", self.pairs, self.folds)?;
        writeln!(
            formatter,
            "accuracy              {:>9}  standard error {}, standard deviation {}",
            percent(self.accuracy),
            percent(self.accuracy_standard_error),
            percent(self.accuracy_std)
        )?;
        for (rate, val) in &self.val_at_far {
            let Some(Val { tar, tar_std, far }) = val else {
                writeln!(formatter, "VAL at FAR {rate}       not measurable")?;
                continue;
            };
            let (far, tar_std) = (percent(*far), percent(*tar_std));
            writeln!(
                formatter,
                "VAL at FAR {rate}       {:>9}  standard deviation {tar_std}, FAR {far}",
                percent(*tar)
            )?;
        }
        let intervals = self.intervals.as_ref();
        let of_area = intervals.map(|Intervals { level, resamples, auc: [low, high], .. }| {
            format!("  {low:.4} to {high:.4} in {} % of {resamples} draws of people", 100.0 * level)
        });
        let of_shares = |ends: Option<[f64; 2]>| ends.map(|ends| format!("  {}", between(ends))).unwrap_or_default();
        writeln!(formatter, "area under ROC        {:>9.4}{}", self.auc, of_area.unwrap_or_default())?;
        let of_eer = of_shares(intervals.map(|intervals| intervals.eer));
        write!(formatter, "equal error rate      {:>9}{of_eer}", percent(self.eer))?;
        for (rate, tar) in &self.tar_at_far {
            let Some(tar) = tar else { continue };
            let interval = of_shares(intervals.and_then(|intervals| intervals.tar_at_far[rate]));
            write!(formatter, "\nTAR at FAR <= {rate}    {:>9}{interval}", percent(*tar))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO_FOLDS: &str = "2\t1\nAda\t1\t4\nAda\t2\tCarl Gauss\t1\nCarl Gauss\t1\t2\nAda\t1\tCarl Gauss\t2\n";

    #[test]
    fn genuine_and_impostor_pairs_are_read_fold_by_fold() {
        let file: PairsFile = TWO_FOLDS.parse().expect("two folds of a pair of each kind");
        let folds: Vec<_> = file.pairs.iter().map(|pair| (pair.fold, pair.is_genuine())).collect();
        assert_eq!(folds, [(0, true), (0, false), (1, true), (1, false)]);
        assert_eq!(file.pairs[1].pictures, [("Ada".to_string(), 2), ("Carl Gauss".to_string(), 1)]);
        assert_eq!(file.pictures().len(), 5);
        // LFW's own file has tabs; with spaces names have none.
        let spaces = TWO_FOLDS.replace("Carl Gauss", "Carl_Gauss").replace('\t', "  ") + "\n\n";
        assert_eq!(spaces.parse::<PairsFile>().expect("the same").pairs.len(), 4);
    }

    #[test]
    fn a_file_that_is_not_in_the_form_names_the_line() {
        let refused = |old: &str, new: &str| {
            assert!(TWO_FOLDS.contains(old), "{old}");
            format!("{:#}", TWO_FOLDS.replacen(old, new, 1).parse::<PairsFile>().expect_err("not in the form"))
        };
        assert!(refused("2\t1", "2").contains("line 1 must have the number of folds"));
        for more in ["2\t1\t1", "2\tabc\t1", "2\t1\tabc"] {
            assert!(refused("2\t1", more).contains("in a fold and nothing else"), "{more}");
        }
        assert!(refused("2\t1", "1\t2").contains("at least 2 folds"));
        // Either product is beyond a 64-bit number.
        for many in ["9999999999 9999999999", "9223372036854775807 2"] {
            assert!(refused("2\t1", many).contains("line 1 asks for more pairs than can be counted"), "{many}");
        }
        assert!(refused("2\t1", "3\t1").contains("line 1 asks for 6 pairs, found 4"));
        assert!(
            refused("Ada\t1\t4", "Ada\t1").contains("line 2: \"Ada\\t1\": a genuine pair must have a name and two")
        );
        assert!(refused("Ada\t1\t4", "Ada\t1\tx").contains("\"x\" is not the number of a picture"));
        assert!(refused("Ada\t1\t4", "Ada\t4\t4").contains("compared with itself"));
        assert!(refused("Ada\t1\t4", "../Ada\t1\t4").contains("\"../Ada\" is not the name of a folder"));
        assert!(refused("Ada\t2\tCarl Gauss", "Ada\t2\tAda").contains("must be of two people"));
        let more = format!("{TWO_FOLDS}Ada\t1\t2\n").parse::<PairsFile>().expect_err("one too many");
        assert!(format!("{more:#}").starts_with("line 6: \"Ada\\t1\\t2\" is behind the last of 4 pairs"), "{more:#}");
        assert_eq!("".parse::<PairsFile>().expect_err("nothing").to_string(), "it is empty");
    }

    #[test]
    fn figures_are_those_of_the_folds() {
        // By hand: pictures of Ada at 0 degrees and of Carl at 90, but for Ada's fourth, which is at 80.
        let file: PairsFile = TWO_FOLDS.parse().expect("two folds of a pair of each kind");
        let degrees: [f64; 5] = [0.0, 0.0, 80.0, 90.0, 90.0];
        let embeddings: Vec<f32> = degrees
            .iter()
            .flat_map(|angle| [angle.to_radians().cos() as f32, angle.to_radians().sin() as f32])
            .collect();
        for protocol in [Thresholding::Exact, Thresholding::Insightface] {
            let found = PairFigures::measure(&file, &embeddings, protocol, 1).expect("finite embeddings");
            // Fold 0 has cosines cos(80) and 0, fold 1 has 1 and 0. The threshold of fold 0 is 1 (on the grid 0.01),
            // which rejects cos(80): 1 of 2. That of fold 1 is cos(80): 2 of 2.
            assert_eq!((found.accuracy, found.accuracy_std, found.accuracy_standard_error), (0.75, 0.25, 0.25));
            assert_eq!((found.pairs, found.folds, found.auc, found.eer), (4, 2, 1.0, 0.0));
            assert_eq!((found.tar_at_far["1e-1"], found.val_at_far["1e-2"]), (None, None));
        }
    }
}
