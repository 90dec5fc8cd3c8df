use std::collections::BTreeMap;

use crate::similarity::{cosine, dot};
use crate::{EvalError, ImpostorSupport, LabelledRows};

/// One row for each label, the mean direction of its rows; made by [`templates`].
#[derive(Clone, Debug, PartialEq)]
pub struct Templates {
    /// The labels, ascending, each once.
    pub labels: Vec<usize>,
    /// `[labels, dim]`, row-major, in the order of the labels.
    pub embeddings: Vec<f32>,
}

/// The mean of the rows of each label, each row brought to length 1 before, so that all rows count the same.
///
/// ```
/// use embedding_eval::{LabelledRows, templates};
///
/// let rows = LabelledRows::new(&[3.0, 0.0, 0.0, 5.0, 0.0, 2.0], 2, &[4, 4, 1])?;
/// let templates = templates(rows);
/// assert_eq!((templates.labels, templates.embeddings), (vec![1, 4], vec![0.0, 1.0, 0.5, 0.5]));
/// # Ok::<(), embedding_eval::EvalError>(())
/// ```
pub fn templates(rows: LabelledRows<'_>) -> Templates {
    let mut sums = BTreeMap::<usize, (usize, Vec<f64>)>::new();
    for (row, label) in rows.iter() {
        let (count, sum) = sums.entry(label).or_insert_with(|| (0, vec![0.0; row.len()]));
        *count += 1;
        let length = dot(row, row).sqrt();
        if length > 0.0 {
            sum.iter_mut().zip(row).for_each(|(sum, &value)| *sum += f64::from(value) / length);
        }
    }
    let embeddings = sums.values().flat_map(|(count, sum)| sum.iter().map(|value| (value / *count as f64) as f32));
    Templates { embeddings: embeddings.collect(), labels: sums.keys().copied().collect() }
}

/// A probe whose label is in the gallery.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MatedProbe {
    /// Its row among the probes.
    pub probe: usize,
    /// The cosine with the gallery row of its label.
    pub score: f64,
    /// The place of that row among all gallery rows, from 1 on. Rows that are equally near are placed before it, so
    /// that a model that gives all rows one score recognises nobody.
    pub rank: usize,
}

/// A probe whose label is not in the gallery.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct UnmatedProbe {
    /// Its row among the probes.
    pub probe: usize,
    /// The cosine with the nearest gallery row.
    pub score: f64,
}

/// What a search for every probe finds; made by [`identification`].
#[derive(Clone, Debug, PartialEq)]
pub struct Identification {
    /// In the order of the probes.
    pub mated: Vec<MatedProbe>,
    /// In the order of the probes.
    pub unmated: Vec<UnmatedProbe>,
    /// How many gallery rows there are; at least 1.
    pub gallery: usize,
}

/// Misses at a bound on false alarms; made by [`Identification::fnir_at_fpir`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FnirAtFpir {
    /// The bound asked for.
    pub target: f64,
    /// False negative identification rate, from 0 to 1.
    pub fnir: f64,
    /// False positive identification rate measured at the threshold; at most `target`.
    pub fpir: f64,
    /// A probe is said to be known when its highest score is at least this; infinite if nobody is.
    pub threshold: f64,
    /// Whether the unmated probes are enough for `target`.
    pub support: ImpostorSupport,
}

/// Compares every probe with every row of a gallery, which holds each label once: [`templates`], or one picture each.
///
/// Time grows as `probes * gallery * dim`; no matrix of scores is kept.
///
/// # Errors
///
/// - [`Empty`](EvalError::Empty) if there is no probe or no gallery row
/// - [`LengthMismatch`](EvalError::LengthMismatch) if gallery rows are not as long as those of the probes
/// - [`RepeatedLabel`](EvalError::RepeatedLabel) if the gallery has a label twice
pub fn identification(probes: LabelledRows<'_>, gallery: LabelledRows<'_>) -> Result<Identification, EvalError> {
    let gallery: Vec<(&[f32], f64, usize)> = gallery.iter().map(|(row, label)| (row, dot(row, row), label)).collect();
    let mut labels: Vec<usize> = gallery.iter().map(|(_, _, label)| *label).collect();
    labels.sort_unstable();
    if let Some(twice) = labels.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(EvalError::RepeatedLabel { label: twice[0] });
    }
    let mut found = Identification { mated: Vec::new(), unmated: Vec::new(), gallery: gallery.len() };
    let Some((first, ..)) = gallery.first() else { return Err(EvalError::Empty { what: "gallery" }) };
    for (probe, (row, label)) in probes.iter().enumerate() {
        if row.len() != first.len() {
            return Err(EvalError::LengthMismatch { what: "gallery rows", expected: row.len(), actual: first.len() });
        }
        let norm = dot(row, row);
        let scores: Vec<f64> =
            gallery.iter().map(|(other, other_norm, _)| cosine(dot(row, other), norm, *other_norm)).collect();
        match gallery.iter().position(|(_, _, other)| *other == label) {
            Some(own) => {
                let score = scores[own];
                let rank = scores.iter().filter(|other| **other >= score).count();
                found.mated.push(MatedProbe { probe, score, rank });
            }
            None => {
                let score = scores.into_iter().fold(f64::NEG_INFINITY, f64::max);
                found.unmated.push(UnmatedProbe { probe, score });
            }
        }
    }
    if found.mated.is_empty() && found.unmated.is_empty() {
        return Err(EvalError::Empty { what: "probes" });
    }
    Ok(found)
}

impl Identification {
    /// The share of mated probes whose own row is among the first `rank`: a point of the cumulative match
    /// characteristic (CMC). None without mated probes.
    ///
    /// # Panics
    ///
    /// If `rank` is 0.
    ///
    /// # Source
    ///
    /// ISO/IEC 19795-1, closed-set identification.
    pub fn recognised_within(&self, rank: usize) -> Option<f64> {
        assert!(rank >= 1, "recognised_within: rank must be at least 1, got 0");
        let recognised = self.mated.iter().filter(|probe| probe.rank <= rank).count();
        (!self.mated.is_empty()).then(|| recognised as f64 / self.mated.len() as f64)
    }

    /// The least share of missed mated probes among the thresholds that raise at most `target` false alarms.
    ///
    /// ```text
    /// fpir(threshold) = #{ unmated probes with score >= threshold } / unmated probes
    /// fnir(threshold) = #{ mated probes with rank > 1 or score < threshold } / mated probes
    /// result          = min { fnir(threshold) : fpir(threshold) <= target }
    /// ```
    ///
    /// Exact: every score is a candidate, and equal scores are accepted or rejected together. Of several such
    /// thresholds it is the highest.
    ///
    /// # Errors
    ///
    /// - [`InvalidTarget`](EvalError::InvalidTarget) unless `0 < target < 1`
    /// - [`OneSidedProbes`](EvalError::OneSidedProbes) without mated or without unmated probes
    ///
    /// # Source
    ///
    /// Grother, Ngan, Hanaoka: Face Recognition Vendor Test, part 2: Identification (NIST IR 8271), for rank 1.
    pub fn fnir_at_fpir(&self, target: f64) -> Result<FnirAtFpir, EvalError> {
        if !(target > 0.0 && target < 1.0) {
            return Err(EvalError::InvalidTarget { target });
        }
        let (mated, unmated) = (self.mated.len(), self.unmated.len());
        if mated == 0 || unmated == 0 {
            return Err(EvalError::OneSidedProbes { mated, unmated });
        }
        let mut alarms: Vec<f64> = self.unmated.iter().map(|probe| probe.score).collect();
        alarms.sort_unstable_by(|a, b| b.total_cmp(a));
        let allowed = (0..=unmated).rfind(|&count| count as f64 / unmated as f64 <= target).unwrap_or(0);
        // One more false alarm than is allowed would come at this score.
        let above = alarms[allowed.min(unmated - 1)];
        let recognised =
            self.mated.iter().filter(|probe| probe.rank == 1 && probe.score > above).map(|probe| probe.score);
        let (count, threshold) =
            recognised.fold((0, f64::INFINITY), |(count, least), score| (count + 1, least.min(score)));
        Ok(FnirAtFpir {
            target,
            fnir: (mated - count) as f64 / mated as f64,
            fpir: alarms.iter().filter(|score| **score >= threshold).count() as f64 / unmated as f64,
            threshold,
            support: ImpostorSupport::of(unmated, target),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Unit vectors at angles in degrees.
    fn at(degrees: &[f64]) -> Vec<f32> {
        degrees.iter().flat_map(|angle| [angle.to_radians().cos() as f32, angle.to_radians().sin() as f32]).collect()
    }

    #[test]
    fn ranks_and_scores_are_those_of_the_angles() {
        // By hand: the gallery has label 0 at 0, label 1 at 90 and label 2 at 180 degrees.
        let (probes, gallery) = (at(&[10.0, 50.0, 100.0, 40.0]), at(&[0.0, 90.0, 180.0]));
        let probes = LabelledRows::new(&probes, 2, &[0, 0, 2, 9]).unwrap();
        let gallery = LabelledRows::new(&gallery, 2, &[0, 1, 2]).unwrap();
        let found = identification(probes, gallery).unwrap();
        let ranks: Vec<_> = found.mated.iter().map(|probe| (probe.probe, probe.rank)).collect();
        // 10 degrees is nearest to 0; 50 to 90 and then 0; 100 to 90 and then 180.
        assert_eq!(ranks, [(0, 1), (1, 2), (2, 2)]);
        assert_eq!((found.unmated.len(), found.unmated[0].probe, found.gallery), (1, 3, 3));
        assert!((found.unmated[0].score - 40.0_f64.to_radians().cos()).abs() < 1e-7);
        assert_eq!(found.recognised_within(1), Some(1.0 / 3.0));
        assert_eq!(found.recognised_within(2), Some(1.0));
    }

    #[test]
    fn equal_scores_recognise_nobody() {
        let rows = [1.0_f32; 6];
        let rows = LabelledRows::new(&rows, 2, &[0, 1, 2]).unwrap();
        let found = identification(rows, rows).unwrap();
        assert_eq!(found.recognised_within(1), Some(0.0));
        assert_eq!(found.recognised_within(3), Some(1.0));
    }

    fn search(mated: &[(f64, usize)], unmated: &[f64]) -> Identification {
        let mated = mated.iter().enumerate().map(|(probe, &(score, rank))| MatedProbe { probe, score, rank });
        let unmated = unmated.iter().enumerate().map(|(probe, &score)| UnmatedProbe { probe, score });
        Identification { mated: mated.collect(), unmated: unmated.collect(), gallery: 5 }
    }

    #[test]
    fn misses_are_the_least_that_the_false_alarms_allow() {
        // By hand: of ten unmated probes two may raise an alarm at 0.2, those at 0.9 and 0.8. The next two are at 0.7
        // together, so the threshold is above it; of the mated probes above, 0.95 and 0.75, both are recognised.
        let unmated = [0.9, 0.8, 0.7, 0.7, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1];
        let found = search(&[(0.95, 1), (0.75, 1), (0.7, 1), (0.85, 2)], &unmated);
        let measured = found.fnir_at_fpir(0.2).unwrap();
        assert_eq!((measured.fnir, measured.fpir, measured.threshold), (0.5, 0.2, 0.75));
        // Three would be allowed, but the two at 0.7 come together.
        assert_eq!(found.fnir_at_fpir(0.3).unwrap().threshold, 0.75);
        let measured = found.fnir_at_fpir(0.4).unwrap();
        assert_eq!((measured.fnir, measured.fpir, measured.threshold), (0.25, 0.4, 0.7));
        assert_eq!(measured.support, ImpostorSupport::TooFew);
        assert_eq!(found.fnir_at_fpir(0.05).unwrap().support, ImpostorSupport::BelowResolution);
    }

    #[test]
    fn every_threshold_tried_in_turn_gives_the_same_rates() {
        // Scores on a coarse grid, so that there are ties; the plain loop of the definition is the reference.
        let value = |index: usize| (index * 7919 % 23) as f64 / 23.0;
        let mated: Vec<(f64, usize)> = (0..60).map(|index| (value(index) + 0.2, 1 + index % 7 / 5)).collect();
        let unmated: Vec<f64> = (100..150).map(value).collect();
        let found = search(&mated, &unmated);
        let scores: Vec<f64> = mated.iter().map(|probe| probe.0).chain(unmated.iter().copied()).collect();
        for target in [0.01, 0.1, 0.25, 0.5, 0.9] {
            let fpir = |threshold: f64| unmated.iter().filter(|s| **s >= threshold).count() as f64 / 50.0;
            let fnir =
                |threshold: f64| mated.iter().filter(|(s, rank)| *rank > 1 || *s < threshold).count() as f64 / 60.0;
            let allowed = scores.iter().copied().chain([f64::INFINITY]).filter(|&threshold| fpir(threshold) <= target);
            let least = allowed.map(fnir).fold(1.0, f64::min);
            let measured = found.fnir_at_fpir(target).unwrap();
            assert_eq!(measured.fnir, least, "{target}");
            assert_eq!((fnir(measured.threshold), fpir(measured.threshold)), (measured.fnir, measured.fpir));
        }
    }

    #[test]
    fn what_cannot_be_searched_is_refused() {
        let rows = [1.0_f32, 0.0, 0.0, 1.0];
        let two = LabelledRows::new(&rows, 2, &[3, 3]).unwrap();
        let none = LabelledRows::new(&[], 2, &[]).unwrap();
        let four = LabelledRows::new(&rows, 4, &[3]).unwrap();
        assert_eq!(identification(four, two).unwrap_err(), EvalError::RepeatedLabel { label: 3 });
        assert_eq!(identification(two, none).unwrap_err(), EvalError::Empty { what: "gallery" });
        assert_eq!(identification(none, four).unwrap_err(), EvalError::Empty { what: "probes" });
        let expected = EvalError::LengthMismatch { what: "gallery rows", expected: 2, actual: 4 };
        assert_eq!(identification(two, four).unwrap_err(), expected);
        assert_eq!(
            search(&[], &[0.5]).fnir_at_fpir(0.5).unwrap_err(),
            EvalError::OneSidedProbes { mated: 0, unmated: 1 }
        );
        assert_eq!(
            search(&[(0.5, 1)], &[]).fnir_at_fpir(0.5).unwrap_err(),
            EvalError::OneSidedProbes { mated: 1, unmated: 0 }
        );
        assert_eq!(
            search(&[(0.5, 1)], &[0.1]).fnir_at_fpir(1.0).unwrap_err(),
            EvalError::InvalidTarget { target: 1.0 }
        );
    }
}
