use std::num::NonZero;
use std::thread;

use crate::EvalError;

/// The ends of an interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    /// The lower end.
    pub low: f64,
    /// The upper end.
    pub high: f64,
}

/// How far figures of other people might be from those measured; made by [`bootstrap_over_people`].
#[derive(Clone, Debug, PartialEq)]
pub struct BootstrapIntervals {
    /// Of [`Roc::area`](crate::Roc::area).
    pub area: Interval,
    /// Of the rate of [`Roc::equal_error_rate`](crate::Roc::equal_error_rate).
    pub equal_error_rate: Interval,
    /// Of the true accept rate of [`Roc::tar_at_far`](crate::Roc::tar_at_far), in the order of the targets.
    pub tar_at_far: Vec<Interval>,
}

/// What to draw for [`bootstrap_over_people`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bootstrap {
    /// How many times people are drawn; some hundreds give ends to a few percent of the width.
    pub resamples: usize,
    /// The share of the resamples inside the intervals, such as 0.95.
    pub level: f64,
    /// The same seed gives the same intervals, on any number of cores.
    pub seed: u64,
}

/// Intervals of the figures of pairs, by drawing people, not pairs.
///
/// Pairs that share a person are no independent observations: whoever has an odd picture is in many of them. So each
/// resample draws as many people as there are, with replacement, and whoever is drawn `w` times has that weight:
///
/// ```text
/// weight of a genuine pair  of a      = w[a]
/// weight of an impostor pair of a, b  = w[a] * w[b]
/// ```
///
/// The figures are those of the weighted pairs, and an interval reaches from the `(1 - level) / 2` quantile of the
/// resamples to the `(1 + level) / 2` quantile (interpolated, as `numpy.quantile` does). A resample without both kinds
/// of pairs is drawn again.
///
/// `people[i]` are the people of pair `i`, twice the same number for a genuine pair. Time is that of sorting the scores
/// and one pass over them per resample, on all cores; memory is 16 bytes a pair.
///
/// # Errors
///
/// - [`LengthMismatch`](EvalError::LengthMismatch) if there are not two people for each score
/// - [`NotFinite`](EvalError::NotFinite) for the first score that is NaN or infinite
/// - [`NoGenuinePairs`](EvalError::NoGenuinePairs) or
///   [`NoImpostorPairs`](EvalError::NoImpostorPairs) if one kind is missing
/// - [`InvalidTarget`](EvalError::InvalidTarget) for a target that is not strictly between 0 and 1
/// - [`InvalidBootstrap`](EvalError::InvalidBootstrap) for fewer than two resamples, or a level not strictly between
///   0 and 1
///
/// # Source
///
/// The vertex bootstrap of Snijders, Borgatti: Non-parametric standard errors and tests for network statistics, 1999;
/// that intervals over pairs are too narrow for face matching: Fogliato, Patil, Perona, arXiv:2306.01198, 2023.
pub fn bootstrap_over_people(
    scores: &[f64],
    people: &[[u32; 2]],
    targets: &[f64],
    bootstrap: Bootstrap,
) -> Result<BootstrapIntervals, EvalError> {
    let Bootstrap { resamples, level, seed } = bootstrap;
    if people.len() != scores.len() {
        return Err(EvalError::LengthMismatch { what: "people", expected: scores.len(), actual: people.len() });
    }
    if let Some(index) = scores.iter().position(|score| !score.is_finite()) {
        return Err(EvalError::NotFinite { what: "scores", index, value: scores[index] });
    }
    let pairs = scores.len();
    let genuine = people.iter().filter(|[one, other]| one == other).count();
    if genuine == 0 {
        return Err(EvalError::NoGenuinePairs { pairs });
    }
    if genuine == pairs {
        return Err(EvalError::NoImpostorPairs { pairs });
    }
    if let Some(&target) = targets.iter().find(|target| !(**target > 0.0 && **target < 1.0)) {
        return Err(EvalError::InvalidTarget { target });
    }
    if resamples < 2 || !(level > 0.0 && level < 1.0) {
        return Err(EvalError::InvalidBootstrap { resamples, level });
    }

    let (ranked, count) = rank(scores, people);
    let threads = thread::available_parallelism().map_or(1, NonZero::get).min(resamples);
    let draw = |first: usize| {
        let resample = |number| resample(&ranked, count, targets, &mut Random::of(seed, number as u64));
        (first..resamples).step_by(threads).map(resample).collect::<Vec<_>>()
    };
    let figures: Vec<Vec<f64>> = thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|first| scope.spawn(move || draw(first))).collect();
        let done = workers
            .into_iter()
            .flat_map(|worker| worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        done.collect()
    });
    let interval = |place: usize| {
        let mut values: Vec<f64> = figures.iter().map(|figures| figures[place]).collect();
        values.sort_unstable_by(f64::total_cmp);
        Interval { low: quantile(&values, (1.0 - level) / 2.0), high: quantile(&values, (1.0 + level) / 2.0) }
    };
    Ok(BootstrapIntervals {
        area: interval(0),
        equal_error_rate: interval(1),
        tar_at_far: (0..targets.len()).map(|target| interval(2 + target)).collect(),
    })
}

/// A pair, and the places of its people among all people.
#[derive(Clone, Copy)]
struct RankedPair {
    score: f64,
    people: [u32; 2],
}

/// All pairs by falling score, and how many people there are.
fn rank(scores: &[f64], people: &[[u32; 2]]) -> (Vec<RankedPair>, usize) {
    let mut numbers: Vec<u32> = people.iter().flatten().copied().collect();
    numbers.sort_unstable();
    numbers.dedup();
    let place = |person: u32| numbers.binary_search(&person).unwrap_or_default() as u32;
    let mut ranked: Vec<RankedPair> =
        scores.iter().zip(people).map(|(&score, pair)| RankedPair { score, people: pair.map(place) }).collect();
    ranked.sort_unstable_by(|a, b| b.score.total_cmp(&a.score));
    (ranked, numbers.len())
}

/// Area, equal error rate, and the true accept rate at each target, of people drawn with replacement.
fn resample(ranked: &[RankedPair], people: usize, targets: &[f64], random: &mut Random) -> Vec<f64> {
    loop {
        let mut weights = vec![0_u64; people];
        for _ in 0..people {
            weights[random.below(people)] += 1;
        }
        if let Some(figures) = figures(ranked, &weights, targets) {
            return figures;
        }
    }
}

/// Accepted weight of genuine and of impostor pairs.
type Accepted = [u64; 2];

/// None if the weights leave no pair of one kind.
fn figures(ranked: &[RankedPair], weights: &[u64], targets: &[f64]) -> Option<Vec<f64>> {
    let add = |sum: &mut Accepted, pair: &RankedPair| {
        let [one, other] = pair.people.map(|person| person as usize);
        if one == other { sum[0] += weights[one] } else { sum[1] += weights[one] * weights[other] }
    };
    let mut all = [0; 2];
    ranked.iter().for_each(|pair| add(&mut all, pair));
    if all.contains(&0) {
        return None;
    }
    let [genuine, impostors] = all.map(|weight| weight as f64);

    let mut accepted = [0; 2];
    let mut twice_wins = 0_u128;
    let mut tars = vec![0.0; targets.len()];
    let mut equal_error = None;
    let mut rest = ranked;
    while let Some(first) = rest.first() {
        let before = accepted;
        while let Some((pair, others)) = rest.split_first().filter(|(pair, _)| pair.score == first.score) {
            add(&mut accepted, pair);
            rest = others;
        }
        twice_wins += u128::from(accepted[1] - before[1]) * (u128::from(before[0]) + u128::from(accepted[0]));
        let [tar, far] = [accepted[0] as f64 / genuine, accepted[1] as f64 / impostors];
        for (best, target) in tars.iter_mut().zip(targets) {
            if far <= *target {
                *best = tar;
            }
        }
        // As in `Roc::equal_error_rate`: the straight line from the point before to the first with FAR >= FRR.
        let gap = |[genuine_accepted, impostors_accepted]: Accepted| {
            i128::from(impostors_accepted) * i128::from(all[0])
                - i128::from(all[0] - genuine_accepted) * i128::from(all[1])
        };
        if equal_error.is_none() && gap(accepted) >= 0 {
            let weight = -gap(before) as f64 / (gap(accepted) - gap(before)) as f64;
            let far_before = before[1] as f64 / impostors;
            equal_error = Some(far_before + weight * (far - far_before));
        }
    }
    let area = twice_wins as f64 / (2.0 * genuine * impostors);
    Some([area, equal_error?].into_iter().chain(tars).collect())
}

/// Of ascending values, at least one.
fn quantile(values: &[f64], share: f64) -> f64 {
    let place = share * (values.len() - 1) as f64;
    let (low, high) = (values[place.floor() as usize], values[place.ceil() as usize]);
    low + (high - low) * place.fract()
}

/// SplitMix64 (Steele, Lea, Flood 2014): one stream for each resample.
struct Random(u64);

impl Random {
    fn of(seed: u64, stream: u64) -> Self {
        let start = Self(seed).next();
        Self(start ^ Self(stream).next())
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let bits = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        ((u128::from(self.next()) * end as u128) >> 64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ScoredPairs, roc};

    /// All pairs of `people` people with `pictures` pictures each; scores with ties, genuine ones higher by `shift`.
    fn pairs(people: u32, pictures: usize, shift: f64) -> (Vec<f64>, Vec<[u32; 2]>) {
        let persons: Vec<u32> = (0..people).flat_map(|person| vec![person * 10; pictures]).collect();
        let mut random = Random(7);
        let (mut scores, mut both) = (Vec::new(), Vec::new());
        for (place, &one) in persons.iter().enumerate() {
            for &other in &persons[place + 1..] {
                let noise = (0..4).map(|_| random.below(50) as f64).sum::<f64>() / 100.0;
                scores.push(noise + if one == other { shift } else { 0.0 });
                both.push([one, other]);
            }
        }
        (scores, both)
    }

    const TARGETS: [f64; 3] = [0.3, 0.1, 0.01];

    #[test]
    fn weights_of_one_give_the_figures_of_the_curve() {
        let (scores, both) = pairs(8, 3, 0.4);
        let same: Vec<bool> = both.iter().map(|[one, other]| one == other).collect();
        let curve = roc(ScoredPairs::new(&scores, &same).unwrap()).unwrap();
        let (ranked, people) = rank(&scores, &both);
        let found = figures(&ranked, &vec![1; people], &TARGETS).unwrap();
        let mut expected = vec![curve.area(), curve.equal_error_rate().rate];
        expected.extend(TARGETS.map(|target| curve.tar_at_far(target).unwrap().tar));
        for (found, expected) in found.iter().zip(&expected) {
            assert!((found - expected).abs() < 1e-12, "{found} and {expected}");
        }
    }

    #[test]
    fn a_weight_counts_as_often_as_the_pairs_written_so_many_times() {
        let (scores, both) = pairs(6, 3, 0.3);
        let weights = [2, 0, 1, 3, 1, 1];
        let (ranked, _) = rank(&scores, &both);
        let found = figures(&ranked, &weights, &TARGETS).unwrap();

        let (mut repeated, mut same) = (Vec::new(), Vec::new());
        for (&score, &[one, other]) in scores.iter().zip(&both) {
            let [a, b] = [one, other].map(|person| weights[person as usize / 10]);
            let times = if one == other { a } else { a * b };
            repeated.extend((0..times).map(|_| score));
            same.extend((0..times).map(|_| one == other));
        }
        let curve = roc(ScoredPairs::new(&repeated, &same).unwrap()).unwrap();
        let mut expected = vec![curve.area(), curve.equal_error_rate().rate];
        expected.extend(TARGETS.map(|target| curve.tar_at_far(target).unwrap().tar));
        for (found, expected) in found.iter().zip(&expected) {
            assert!((found - expected).abs() < 1e-12, "{found} and {expected}");
        }
    }

    #[test]
    fn intervals_hold_the_figure_and_narrow_with_more_people() {
        let width = |people| {
            let (scores, both) = pairs(people, 4, 0.4);
            let same: Vec<bool> = both.iter().map(|[one, other]| one == other).collect();
            let area = roc(ScoredPairs::new(&scores, &same).unwrap()).unwrap().area();
            let bootstrap = Bootstrap { resamples: 200, level: 0.95, seed: 1 };
            let found = bootstrap_over_people(&scores, &both, &TARGETS, bootstrap).unwrap();
            assert_eq!(found, bootstrap_over_people(&scores, &both, &TARGETS, bootstrap).unwrap());
            let other = Bootstrap { seed: 2, ..bootstrap };
            assert_ne!(found, bootstrap_over_people(&scores, &both, &TARGETS, other).unwrap());
            let Interval { low, high } = found.area;
            assert!(low < area && area < high && high <= 1.0, "{low} {area} {high}");
            high - low
        };
        let (few, many) = (width(6), width(30));
        assert!(many < 0.7 * few, "{many} and {few}");
    }

    #[test]
    fn quantiles_are_those_of_numpy() {
        // NumPy 2.4.6: np.quantile([1, 2, 4, 8], [0, 0.025, 0.5, 0.975, 1]).
        let values = [1.0, 2.0, 4.0, 8.0];
        for (share, expected) in [(0.0, 1.0), (0.025, 1.075), (0.5, 3.0), (0.975, 7.7), (1.0, 8.0)] {
            assert!((quantile(&values, share) - expected).abs() < 1e-12);
        }
    }

    #[test]
    fn what_cannot_be_drawn_is_refused() {
        let good = Bootstrap { resamples: 10, level: 0.9, seed: 0 };
        let refused = |scores: &[f64], people: &[[u32; 2]], targets: &[f64], bootstrap| {
            bootstrap_over_people(scores, people, targets, bootstrap).unwrap_err()
        };
        let both = [[0, 0], [0, 1]];
        let expected = EvalError::LengthMismatch { what: "people", expected: 1, actual: 2 };
        assert_eq!(refused(&[0.5], &both, &[], good), expected);
        assert!(matches!(refused(&[0.5, f64::NAN], &both, &[], good), EvalError::NotFinite { index: 1, .. }));
        assert_eq!(refused(&[0.5], &both[1..], &[], good), EvalError::NoGenuinePairs { pairs: 1 });
        assert_eq!(refused(&[0.5], &both[..1], &[], good), EvalError::NoImpostorPairs { pairs: 1 });
        assert_eq!(refused(&[0.5, 0.1], &both, &[0.1, 1.0], good), EvalError::InvalidTarget { target: 1.0 });
        for bad in [Bootstrap { resamples: 1, ..good }, Bootstrap { level: 1.0, ..good }] {
            let expected = EvalError::InvalidBootstrap { resamples: bad.resamples, level: bad.level };
            assert_eq!(refused(&[0.5, 0.1], &both, &[], bad), expected);
        }
    }
}
