//! What a model answers to all pairs, to be looked at: how its scores lie, and where it is most wrong.

use std::collections::HashSet;

use anyhow::Result;
use embedding_eval::Roc;

/// Bins of a histogram, over cosines from -1 to 1.
pub const BINS: usize = 50;

/// Points of the curve: as many false accept rates, each so many times the one before.
const POINTS: usize = 200;

/// How many of the most wrong answers of a kind are kept.
const HARDEST: usize = 8;

/// A pair by its pictures, and its cosine.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Answer {
    /// Places in the set of faces.
    pub pictures: [usize; 2],
    /// How near the model takes them to be.
    pub cosine: f64,
}

/// The answers of a model to all pairs of some pictures.
#[derive(Clone, Debug, PartialEq)]
pub struct Answers {
    /// False accept rate and the greatest true accept rate there, from the smallest rate that can be told.
    pub curve: Vec<[f64; 2]>,
    /// The share of pairs of one person in every bin.
    pub genuine: Vec<f64>,
    /// The share of pairs of two people in every bin.
    pub impostors: Vec<f64>,
    /// The pairs of one person with the smallest cosines; one of each person.
    pub missed: Vec<Answer>,
    /// The pairs of two people with the largest; one of any two.
    pub confused: Vec<Answer>,
}

impl Answers {
    /// Of the scores of all pairs, in the order of [`embedding_eval::all_pairs`], with the curve that is made of them.
    ///
    /// # Errors
    ///
    /// If there is no pair of a kind.
    pub(super) fn new(scores: &[f64], curve: &Roc, pictures: &[usize], persons: &[usize]) -> Result<Self> {
        let pairs = || (0..pictures.len()).flat_map(|one| (one + 1..pictures.len()).map(move |other| [one, other]));
        let mut histograms = [vec![0.0; BINS], vec![0.0; BINS]];
        let mut answers: [Vec<(f64, [usize; 2])>; 2] = [Vec::new(), Vec::new()];
        for (&score, pair) in scores.iter().zip(pairs()) {
            let same = usize::from(persons[pair[0]] == persons[pair[1]]);
            let bin = ((score + 1.0) / 2.0 * BINS as f64).clamp(0.0, BINS as f64 - 1.0) as usize;
            let count = if same == 1 { curve.genuine() } else { curve.impostors() };
            histograms[same][bin] += 1.0 / count as f64;
            answers[same].push((score, pair));
        }
        let [impostors, genuine] = histograms;
        let [mut of_others, mut of_same] = answers;
        of_same.sort_unstable_by(|one, other| one.0.total_cmp(&other.0).then(one.1.cmp(&other.1)));
        of_others.sort_unstable_by(|one, other| other.0.total_cmp(&one.0).then(one.1.cmp(&other.1)));
        let hardest = |answers: Vec<(f64, [usize; 2])>| {
            let mut shown = HashSet::new();
            let is_new = |&(_, pair): &(f64, [usize; 2])| {
                let [one, other] = pair.map(|place| persons[place]);
                shown.insert([one.min(other), one.max(other)])
            };
            let answer = |(cosine, pair): (f64, [usize; 2])| Answer { pictures: pair.map(|p| pictures[p]), cosine };
            answers.into_iter().filter(is_new).take(HARDEST).map(answer).collect()
        };

        Ok(Self { curve: thinned(curve), genuine, impostors, missed: hardest(of_same), confused: hardest(of_others) })
    }
}

/// Points at false accept rates from one impostor pair to all of them, evenly on a logarithmic axis.
fn thinned(curve: &Roc) -> Vec<[f64; 2]> {
    let smallest = (1.0 / curve.impostors() as f64).ln();
    let targets = (0..=POINTS).map(|place| (smallest * (1.0 - place as f64 / POINTS as f64)).exp());
    let mut points = curve.points().peekable();
    let mut accepted = 0.0;
    let mut thinned = Vec::with_capacity(POINTS + 1);
    for target in targets {
        // A rate of k pairs in n is not rounded as the target is.
        while let Some(point) = points.next_if(|point| point.far <= target * (1.0 + 1e-12)) {
            accepted = point.tar;
        }
        thinned.push([target, accepted]);
    }
    thinned
}

#[cfg(test)]
mod tests {
    use super::*;
    use embedding_eval::{ScoredPairs, roc};

    #[test]
    fn the_hardest_answers_and_the_shares_are_those_of_the_scores() {
        // Pictures 10, 11 of person 0 and 12, 13 of person 1; pairs in the order (0,1) (0,2) (0,3) (1,2) (1,3) (2,3).
        let (pictures, persons) = ([10, 11, 12, 13], [0, 0, 1, 1]);
        let scores = [0.3, 0.1, 0.9, -1.0, 0.5, 1.0];
        let same = [true, false, false, false, false, true];
        let curve = roc(ScoredPairs::new(&scores, &same).unwrap()).unwrap();
        let answers = Answers::new(&scores, &curve, &pictures, &persons).unwrap();

        let of = |pictures: [usize; 2], cosine: f64| Answer { pictures, cosine };
        assert_eq!(answers.missed, [of([10, 11], 0.3), of([12, 13], 1.0)]);
        // One of the two people only.
        assert_eq!(answers.confused, [of([10, 13], 0.9)]);
        // By hand: bins are 0.04 wide; -1 is in the first, 1 in the last.
        assert_eq!((answers.genuine[BINS - 1], answers.genuine[32]), (0.5, 0.5));
        assert_eq!((answers.impostors[0], answers.impostors[27], answers.impostors[37]), (0.25, 0.25, 0.25));
        assert!((answers.impostors.iter().sum::<f64>() - 1.0).abs() < 1e-12);
        // Of four impostor pairs a rate of 1/4 is one; only the pair of cosine 1 is above it, at 0.5 both are accepted.
        assert_eq!(answers.curve[0], [0.25, 0.5]);
        assert_eq!(answers.curve[POINTS], [1.0, 1.0]);
    }
}
