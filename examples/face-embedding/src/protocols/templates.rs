//! The protocol of the IJB sets: templates of several pictures and videos of somebody, compared with each other (1:1) and searched
//! for in galleries (1:N), from the files in which InsightFace gives them away.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Component, Path};
use std::str::FromStr;

use anyhow::{Context, Result, anyhow, bail, ensure};
use csv::ReaderBuilder;
use embedding_eval::{LabelledRows, ScoredPairs, cosine_similarity, identification, roc};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::rates::{RATES, TarAtFar, at_rates, percent, tar_at_far, warn_of_few};

/// Longest file that is read; that of the pairs of IJB-C has 0.2 GiB.
const LONGEST_FILE: u64 = 2 << 30;

/// The ranks at which it is said how many are found.
const RANKS: [usize; 3] = [1, 5, 10];

/// At how many of the rates, as false positive identification rates, misses are reported.
const WITH_MISSES: usize = 3;

/// A line of the file that says which pictures are in which template: `name template media`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TemplatePicture {
    /// The file of the picture, in the folder of all of them.
    pub name: String,
    /// The template that it is in.
    pub template: u32,
    /// The picture or the video that it is of.
    pub media: u32,
}

impl FromStr for TemplatePicture {
    type Err = anyhow::Error;

    fn from_str(line: &str) -> Result<Self> {
        let [name, template, media] = fields(line)?;
        ensure!(
            Path::new(name).components().all(|part| matches!(part, Component::Normal(_))),
            "{name:?} is not the name of a picture"
        );
        Ok(Self { name: name.to_string(), template: number(template)?, media: number(media)? })
    }
}

/// A line of the file of pairs: `template template label`, 1 for one person and 0 for two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TemplatePair {
    templates: [u32; 2],
    is_genuine: bool,
}

impl FromStr for TemplatePair {
    type Err = anyhow::Error;

    fn from_str(line: &str) -> Result<Self> {
        let [one, other, label] = fields(line)?;
        ensure!(matches!(label, "0" | "1"), "the label must be 0 or 1, got {label:?}");
        Ok(Self { templates: [number(one)?, number(other)?], is_genuine: label == "1" })
    }
}

impl TemplatePair {
    /// Which two are compared.
    pub fn templates(&self) -> [u32; 2] {
        self.templates
    }
}

/// The lines of a file; empty ones are passed over.
///
/// # Errors
///
/// If it cannot be read, has no line, or a line is not in the form; the message names it.
pub fn read_lines<T: FromStr<Err = anyhow::Error>>(path: &Path) -> Result<Vec<T>> {
    let read = || {
        let mut lines = Vec::new();
        for (place, line) in BufReader::new(open(path)?).lines().enumerate() {
            let line = line?;
            if !line.trim().is_empty() {
                lines.push(line.parse().with_context(|| format!("line {}: {line:?}", place + 1))?);
            }
        }
        ensure!(!lines.is_empty(), "it is empty");
        Ok(lines)
    };
    read().with_context(|| format!("cannot read {}", path.display()))
}

fn open(path: &Path) -> Result<impl Read> {
    let length = std::fs::metadata(path)?.len();
    ensure!(length <= LONGEST_FILE, "must be at most {LONGEST_FILE} bytes long, has {length}");
    Ok(File::open(path)?.take(LONGEST_FILE))
}

fn fields<const N: usize>(line: &str) -> Result<[&str; N]> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let count = fields.len();
    fields.try_into().map_err(|_| anyhow!("must have {N} fields, has {count}"))
}

fn number(text: &str) -> Result<u32> {
    text.parse().map_err(|_| anyhow!("{text:?} is not a number of a template or of its media"))
}

/// Who the templates of a gallery, or those that are searched for, are of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subjects(BTreeMap<u32, usize>);

impl Subjects {
    /// Reads a table with the columns `TEMPLATE_ID` and `SUBJECT_ID`, among others; a template may have several lines.
    ///
    /// # Errors
    ///
    /// If it cannot be read, has no such columns or no line, or a template is of two subjects.
    pub fn read(path: &Path) -> Result<Self> {
        let read = || {
            let mut table = ReaderBuilder::new().flexible(true).from_reader(open(path)?);
            let headers = table.headers()?.clone();
            let column = |name: &str| {
                let place = headers.iter().position(|header| header.trim().eq_ignore_ascii_case(name));
                place.with_context(|| format!("its first line must have the column {name}"))
            };
            let [template, subject] = [column("TEMPLATE_ID")?, column("SUBJECT_ID")?];
            let mut subjects = BTreeMap::new();
            for line in table.records() {
                let line = line?;
                let place = line.position().map_or(0, csv::Position::line);
                let field = |column: usize| number(line.get(column).unwrap_or_default().trim());
                let of_line = || anyhow::Ok((field(template)?, field(subject)? as usize));
                let (template, subject) = of_line().with_context(|| format!("line {place}"))?;
                let before = subjects.insert(template, subject);
                ensure!(
                    before.is_none_or(|before| before == subject),
                    "line {place}: template {template} is of subject {subject}, and of another before"
                );
            }
            ensure!(!subjects.is_empty(), "it has no template");
            anyhow::Ok(Self(subjects))
        };
        read().with_context(|| format!("cannot read {}", path.display()))
    }

    /// Reads a gallery, which has one template of each subject.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read), and if a subject has two.
    pub fn read_gallery(path: &Path) -> Result<Self> {
        let gallery = Self::read(path)?;
        if let Some(subject) = gallery.enrolled_twice() {
            bail!("the gallery {}: subject {subject} has several templates", path.display());
        }
        Ok(gallery)
    }

    fn enrolled_twice(&self) -> Option<usize> {
        let mut enrolled = BTreeSet::new();
        self.0.values().copied().find(|&subject| !enrolled.insert(subject))
    }

    /// The templates.
    pub fn templates(&self) -> impl Iterator<Item = u32> {
        self.0.keys().copied()
    }

    /// Both galleries as one.
    fn with(&self, other: &Self) -> Self {
        Self(self.0.iter().chain(&other.0).map(|(&template, &subject)| (template, subject)).collect())
    }
}

/// What templates are made of: the sums of the embeddings of every picture and video in them.
///
/// ```text
/// media    = mean of the embeddings of its pictures, each times its weight
/// template = sum of its media, of length 1
/// ```
///
/// # Source
///
/// `image2template_feature` of InsightFace's `eval_ijbc.py` (arcface_torch), where weights are the detector's scores.
#[derive(Clone, Debug, Default)]
pub struct TemplateSums(BTreeMap<[u32; 2], (usize, Vec<f64>)>);

impl TemplateSums {
    /// Adds a picture.
    pub fn add(&mut self, picture: &TemplatePicture, embedding: &[f32], weight: f64) {
        let key = [picture.template, picture.media];
        let (count, sum) = self.0.entry(key).or_insert_with(|| (0, vec![0.0; embedding.len()]));
        *count += 1;
        sum.iter_mut().zip(embedding).for_each(|(sum, &value)| *sum += f64::from(value) * weight);
    }

    /// The templates.
    pub fn templates(self) -> Templates {
        let mut sums = BTreeMap::<u32, Vec<f64>>::new();
        for ([template, _], (count, media)) in self.0 {
            let sum = sums.entry(template).or_insert_with(|| vec![0.0; media.len()]);
            sum.iter_mut().zip(media).for_each(|(sum, value)| *sum += value / count as f64);
        }
        let unit = |sum: Vec<f64>| {
            let length = sum.iter().map(|value| value * value).sum::<f64>().sqrt();
            let length = if length > 0.0 { length } else { 1.0 };
            sum.into_iter().map(|value| (value / length) as f32).collect()
        };
        Templates(sums.into_iter().map(|(template, sum)| (template, unit(sum))).collect())
    }
}

/// The templates of a set, each of length 1.
#[derive(Clone, Debug)]
pub struct Templates(HashMap<u32, Vec<f32>>);

impl Templates {
    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    fn of(&self, template: u32) -> Result<&[f32]> {
        let found = self.0.get(&template).map(Vec::as_slice);
        found.with_context(|| format!("template {template} has no picture in the list of --templates"))
    }

    /// The figures of pairs of templates.
    ///
    /// # Errors
    ///
    /// If a template is not there, or there are no pairs of a kind.
    pub fn verify(&self, pairs: &[TemplatePair]) -> Result<TemplateVerification> {
        let score = |pair: &TemplatePair| {
            let [one, other] = pair.templates;
            Ok(cosine_similarity(self.of(one)?, self.of(other)?)?)
        };
        let scores: Vec<Result<f64>> = pairs.par_iter().map(score).collect();
        // Of several that are not there, it is the first that is named.
        let scores = scores.into_iter().collect::<Result<Vec<f64>>>()?;
        let same: Vec<bool> = pairs.iter().map(|pair| pair.is_genuine).collect();
        let pairs = ScoredPairs::new(&scores, &same)?;
        warn_of_few(pairs.impostors());
        let curve = roc(pairs)?;
        Ok(TemplateVerification {
            genuine_pairs: pairs.genuine(),
            impostor_pairs: pairs.impostors(),
            auc: curve.area(),
            eer: curve.equal_error_rate().rate,
            tar_at_far: tar_at_far(&curve)?,
        })
    }

    /// The figures of searches in galleries, by the names of these; with several, of which no two have somebody in common, also in
    /// `all` of them together.
    ///
    /// # Errors
    ///
    /// If a template is not there, or a gallery has two of one subject.
    pub fn search(
        &self,
        probes: &Subjects,
        galleries: &[(String, Subjects)],
    ) -> Result<BTreeMap<String, TemplateSearch>> {
        let mut figures = BTreeMap::new();
        for (name, gallery) in galleries {
            let found = self.search_one(probes, gallery).with_context(|| format!("the gallery {name}"))?;
            figures.insert(name.clone(), found);
        }
        if let [(_, first), others @ ..] = galleries
            && !others.is_empty()
        {
            let all = others.iter().fold(first.clone(), |all, (_, next)| all.with(next));
            if all.enrolled_twice().is_none() {
                figures.insert("all".to_string(), self.search_one(probes, &all)?);
            }
        }
        Ok(figures)
    }

    fn search_one(&self, probes: &Subjects, gallery: &Subjects) -> Result<TemplateSearch> {
        let rows = |subjects: &Subjects| -> Result<(Vec<f32>, Vec<usize>)> {
            let mut rows = Vec::new();
            for &template in subjects.0.keys() {
                rows.extend_from_slice(self.of(template)?);
            }
            Ok((rows, subjects.0.values().copied().collect()))
        };
        let (probes, gallery) = (rows(probes)?, rows(gallery)?);
        let dim = gallery.0.len() / gallery.1.len();
        let found = identification(
            LabelledRows::new(&probes.0, dim, &probes.1)?,
            LabelledRows::new(&gallery.0, dim, &gallery.1)?,
        )?;
        let within = |&rank: &usize| (rank.to_string(), found.recognised_within(rank));
        let fnir_at_fpir = match found.mated.is_empty() || found.unmated.is_empty() {
            true => RATES[..WITH_MISSES].iter().map(|(name, _)| (name.to_string(), None)).collect(),
            false => at_rates(&RATES[..WITH_MISSES], |rate| {
                let measured = found.fnir_at_fpir(rate)?;
                Ok((Some(measured.fnir), measured.support))
            })?,
        };
        Ok(TemplateSearch {
            gallery: found.gallery,
            mated_probes: found.mated.len(),
            unmated_probes: found.unmated.len(),
            found_within: RANKS.iter().map(within).collect(),
            fnir_at_fpir,
        })
    }
}

/// How well a model tells whether two templates are of one person.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TemplateVerification {
    /// Pairs of one person.
    pub genuine_pairs: usize,
    /// Pairs of two people.
    pub impostor_pairs: usize,
    /// Area under the ROC curve.
    pub auc: f64,
    /// Error rate at which false accepts and false rejects are equally frequent.
    pub eer: f64,
    /// The greatest true accept rate whose false accept rate is at most the key; null where impostor pairs are too few.
    pub tar_at_far: TarAtFar,
}

/// How well a model finds the person of a template in a gallery.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TemplateSearch {
    /// Templates that are enrolled.
    pub gallery: usize,
    /// Templates that are searched for and whose person is enrolled.
    pub mated_probes: usize,
    /// Those whose person is not.
    pub unmated_probes: usize,
    /// Share of the mated probes whose person is the nearest one (1), among the five and the ten nearest; null without any.
    pub found_within: BTreeMap<String, Option<f64>>,
    /// The least share of the mated probes that is missed while at most the key of the unmated ones raises an alarm; null where
    /// these are too few.
    pub fnir_at_fpir: BTreeMap<String, Option<f64>>,
}

/// The figures of a set of templates, as `eval --json` writes them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TemplateFigures {
    /// Pictures that were embedded.
    pub pictures: usize,
    /// Templates that they make.
    pub templates: usize,
    /// Of pairs (1:1); null where none are asked.
    pub verification: Option<TemplateVerification>,
    /// Of searches (1:N), by the name of the gallery's file.
    pub search: BTreeMap<String, TemplateSearch>,
}

impl fmt::Display for TemplateFigures {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} templates of {} pictures", self.templates, self.pictures)?;
        let shown = |share: Option<f64>| share.map_or_else(|| "not measurable".to_string(), percent);
        if let Some(TemplateVerification { genuine_pairs, impostor_pairs, auc, eer, tar_at_far }) = &self.verification {
            write!(formatter, "\n1:1, {genuine_pairs} genuine and {impostor_pairs} impostor pairs")?;
            write!(formatter, "\n{:<26} {auc:>14.4}", "  area under ROC")?;
            write!(formatter, "\n{:<26} {:>14}", "  equal error rate", percent(*eer))?;
            for (rate, tar) in tar_at_far {
                write!(formatter, "\n{:<26} {:>14}", format!("  TAR at FAR <= {rate}"), shown(*tar))?;
            }
        }
        for (name, search) in &self.search {
            let TemplateSearch { gallery, mated_probes, unmated_probes, found_within, fnir_at_fpir } = search;
            write!(
                formatter,
                "\n1:N in {name}, {gallery} enrolled, {mated_probes} probes of them and {unmated_probes} of others"
            )?;
            for rank in RANKS {
                let share = found_within.get(&rank.to_string()).copied().flatten();
                write!(formatter, "\n{:<26} {:>14}", format!("  found within {rank}"), shown(share))?;
            }
            for (rate, missed) in fnir_at_fpir {
                write!(formatter, "\n{:<26} {:>14}", format!("  FNIR at FPIR <= {rate}"), shown(*missed))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_is_not_in_the_form_is_named() {
        let picture = |line: &str| line.parse::<TemplatePicture>().map_err(|error| error.to_string());
        let expected = TemplatePicture { name: "img/1.jpg".to_string(), template: 4, media: 69544 };
        assert_eq!(picture("img/1.jpg 4 69544"), Ok(expected));
        assert_eq!(picture("1.jpg 4").unwrap_err(), "must have 3 fields, has 2");
        assert_eq!(picture("../1.jpg 4 5").unwrap_err(), "\"../1.jpg\" is not the name of a picture");
        assert_eq!(picture("1.jpg -4 5").unwrap_err(), "\"-4\" is not a number of a template or of its media");
        let pair = |line: &str| line.parse::<TemplatePair>().map_err(|error| error.to_string());
        assert_eq!(pair("1 2 0"), Ok(TemplatePair { templates: [1, 2], is_genuine: false }));
        assert_eq!(pair("1\t2\t2").unwrap_err(), "the label must be 0 or 1, got \"2\"");
    }

    /// By hand: two pictures of a video count as one; 3·(1, 0) and (0, 3 + 1)/2·2 are (3, 4) of length 5.
    #[test]
    fn a_template_is_the_sum_of_its_media() {
        let picture = |template, media| TemplatePicture { name: "a".to_string(), template, media };
        let mut sums = TemplateSums::default();
        sums.add(&picture(7, 1), &[1.0, 0.0], 3.0);
        sums.add(&picture(7, 2), &[0.0, 3.0], 2.0);
        sums.add(&picture(7, 2), &[0.0, 1.0], 2.0);
        sums.add(&picture(8, 2), &[0.0, 0.0], 1.0);
        let templates = sums.templates();
        assert_eq!((templates.of(7).unwrap(), templates.of(8).unwrap()), (&[0.6, 0.8][..], &[0.0, 0.0][..]));
        let error = templates.of(9).unwrap_err().to_string();
        assert_eq!(error, "template 9 has no picture in the list of --templates");
    }
}
