//! Same-or-different questions, for measuring verification.

use std::collections::{BTreeMap, HashSet};

use anyhow::{Result, ensure};

use crate::data::random::Random;

/// Two pictures, and whether they show the same person.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Pair {
    /// Index of one picture.
    pub first: usize,
    /// Index of the other picture, always the larger index.
    pub second: usize,
    /// Whether both show the same person.
    pub same: bool,
    /// The fold both people belong to.
    pub fold: usize,
}

/// Draws as many genuine as impostor pairs in every fold, in order of fold.
///
/// `persons` holds the person of every picture. Each person belongs to one fold only, so that a
/// threshold chosen on some folds is measured on people it has never seen. Half of
/// `pairs_per_fold`, which must be even, are genuine; their people take turns, so that somebody
/// with many pictures does not dominate. No pair occurs twice: a fold whose pictures allow fewer
/// pairs has fewer, still as many genuine as impostor ones, and the number of pairs returned shows
/// it.
///
/// # Errors
///
/// If `folds` is zero, `pairs_per_fold` is zero or odd, or the folds cannot all have two people,
/// one of them with two pictures.
///
/// # Source
///
/// The protocol of Huang, Ramesh, Berg, Learned-Miller: Labeled Faces in the Wild, 2007, view 2.
pub fn balanced_pairs(persons: &[usize], folds: usize, pairs_per_fold: usize, seed: u64) -> Result<Vec<Pair>> {
    ensure!(folds > 0, "the number of folds must be at least 1, got 0");
    ensure!(
        pairs_per_fold > 0 && pairs_per_fold.is_multiple_of(2),
        "the number of pairs in a fold must be even and at least 2, got {pairs_per_fold}"
    );
    let mut random = Random::of(seed, &[folds as u64]);
    let people_of_fold = deal_people(persons, folds, &mut random)?;

    let mut pairs = Vec::with_capacity(folds * pairs_per_fold);
    for (fold, people) in people_of_fold.iter().enumerate() {
        let wanted = (pairs_per_fold / 2).min(genuine_count(people)).min(impostor_count(people));
        let genuine = draw_genuine(people, wanted, &mut random);
        let impostor = draw_impostors(people, wanted, &mut random);
        let tell = |same| move |(first, second)| Pair { first, second, same, fold };
        pairs.extend(genuine.into_iter().map(tell(true)));
        pairs.extend(impostor.into_iter().map(tell(false)));
    }
    Ok(pairs)
}

/// The pictures of one person.
type Pictures = Vec<usize>;

/// Deals people to folds like cards; those with two pictures first, as every fold needs one.
fn deal_people(persons: &[usize], folds: usize, random: &mut Random) -> Result<Vec<Vec<Pictures>>> {
    let mut pictures_of: BTreeMap<usize, Pictures> = BTreeMap::new();
    for (picture, &person) in persons.iter().enumerate() {
        pictures_of.entry(person).or_default().push(picture);
    }
    let people = pictures_of.len();
    let (mut several, mut single): (Vec<_>, Vec<_>) =
        pictures_of.into_values().partition(|pictures| pictures.len() >= 2);
    ensure!(
        people >= 2 * folds && several.len() >= folds,
        "{folds} folds need at least {} people, {folds} of them with two or more pictures; \
         found {people} people, {} of them with two or more pictures",
        2 * folds,
        several.len()
    );
    random.shuffle(&mut several);
    random.shuffle(&mut single);
    let mut dealt = vec![Vec::new(); folds];
    for (place, pictures) in several.into_iter().chain(single).enumerate() {
        dealt[place % folds].push(pictures);
    }
    Ok(dealt)
}

/// How many different pairs these pictures of one person make.
fn pair_count(pictures: &Pictures) -> usize {
    pictures.len() * (pictures.len() - 1) / 2
}

fn genuine_count(people: &[Pictures]) -> usize {
    people.iter().map(pair_count).sum()
}

fn impostor_count(people: &[Pictures]) -> usize {
    let pictures: usize = people.iter().map(Vec::len).sum();
    pictures * pictures.saturating_sub(1) / 2 - genuine_count(people)
}

fn ordered(one: usize, other: usize) -> (usize, usize) {
    (one.min(other), one.max(other))
}

/// `wanted` must not exceed [`genuine_count`].
fn draw_genuine(people: &[Pictures], wanted: usize, random: &mut Random) -> Vec<(usize, usize)> {
    let mut drawn = HashSet::new();
    let mut pairs = Vec::with_capacity(wanted);
    // People who still have an unused pair, and how many pairs they have given.
    let mut open: Vec<(&Pictures, usize)> =
        people.iter().filter(|pictures| pictures.len() >= 2).map(|pictures| (pictures, 0)).collect();
    while pairs.len() < wanted {
        random.shuffle(&mut open);
        for (pictures, given) in open.iter_mut().take(wanted - pairs.len()) {
            let pair = loop {
                let one = random.below(pictures.len());
                let other = (one + 1 + random.below(pictures.len() - 1)) % pictures.len();
                let pair = ordered(pictures[one], pictures[other]);
                if drawn.insert(pair) {
                    break pair;
                }
            };
            pairs.push(pair);
            *given += 1;
        }
        open.retain(|(pictures, given)| *given < pair_count(pictures));
    }
    pairs
}

/// `wanted` must not exceed [`impostor_count`].
fn draw_impostors(people: &[Pictures], wanted: usize, random: &mut Random) -> Vec<(usize, usize)> {
    // When most pairs are wanted, drawing until a new one comes would take long.
    if impostor_count(people) / 4 < wanted {
        let mut all = Vec::with_capacity(impostor_count(people));
        for (place, one) in people.iter().enumerate() {
            for other in &people[place + 1..] {
                all.extend(one.iter().flat_map(|&a| other.iter().map(move |&b| ordered(a, b))));
            }
        }
        random.shuffle(&mut all);
        all.truncate(wanted);
        return all;
    }
    let mut drawn = HashSet::new();
    let mut pairs = Vec::with_capacity(wanted);
    while pairs.len() < wanted {
        let one = random.below(people.len());
        let other = (one + 1 + random.below(people.len() - 1)) % people.len();
        let picture = |person: usize, random: &mut Random| people[person][random.below(people[person].len())];
        let pair = ordered(picture(one, random), picture(other, random));
        if drawn.insert(pair) {
            pairs.push(pair);
        }
    }
    pairs
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// People 0, 1, ... with so many pictures each.
    fn persons(counts: &[usize]) -> Vec<usize> {
        counts.iter().enumerate().flat_map(|(person, &count)| vec![person; count]).collect()
    }

    fn count(pairs: &[Pair], fold: usize, same: bool) -> usize {
        pairs.iter().filter(|pair| pair.fold == fold && pair.same == same).count()
    }

    #[test]
    fn pairs_tell_the_truth_about_their_people() {
        let persons = persons(&[5; 30]);
        for pair in balanced_pairs(&persons, 10, 20, 1).unwrap() {
            assert_eq!(pair.same, persons[pair.first] == persons[pair.second], "{pair:?}");
            assert!(pair.first < pair.second, "{pair:?}");
        }
    }

    #[test]
    fn every_fold_is_balanced_and_full() {
        let pairs = balanced_pairs(&persons(&[6; 40]), 10, 60, 2).unwrap();
        for fold in 0..10 {
            assert_eq!((count(&pairs, fold, true), count(&pairs, fold, false)), (30, 30));
        }
        assert!(pairs.is_sorted_by_key(|pair| pair.fold));
    }

    #[test]
    fn nobody_is_in_two_folds() {
        let persons = persons(&[3; 25]);
        let mut fold_of = BTreeMap::new();
        for pair in balanced_pairs(&persons, 5, 30, 3).unwrap() {
            for picture in [pair.first, pair.second] {
                assert_eq!(*fold_of.entry(persons[picture]).or_insert(pair.fold), pair.fold);
            }
        }
        assert_eq!(fold_of.len(), 25);
    }

    #[test]
    fn no_pair_occurs_twice() {
        // 45 genuine and 100 impostor pairs exist: both ways of drawing impostors are taken.
        for pairs_per_fold in [20, 88] {
            let pairs = balanced_pairs(&persons(&[10, 10]), 1, pairs_per_fold, 4).unwrap();
            let different: BTreeSet<_> = pairs.iter().map(|p| (p.first, p.second)).collect();
            assert_eq!((pairs.len(), different.len()), (pairs_per_fold, pairs_per_fold));
        }
    }

    #[test]
    fn fold_with_few_pictures_has_fewer_pairs_but_stays_balanced() {
        // By hand: three people with two pictures have 3 genuine and 12 impostor pairs.
        let pairs = balanced_pairs(&persons(&[2, 2, 2]), 1, 100, 5).unwrap();
        assert_eq!((count(&pairs, 0, true), count(&pairs, 0, false)), (3, 3));
        // And 190 genuine but only 20 impostor pairs.
        let pairs = balanced_pairs(&persons(&[20, 1]), 1, 100, 5).unwrap();
        assert_eq!((count(&pairs, 0, true), count(&pairs, 0, false)), (20, 20));
    }

    #[test]
    fn somebody_with_many_pictures_does_not_dominate() {
        let persons = persons(&[100, 5, 5, 5]);
        let pairs = balanced_pairs(&persons, 1, 32, 6).unwrap();
        let of_first = pairs.iter().filter(|pair| pair.same && persons[pair.first] == 0).count();
        assert_eq!(of_first, 4);
    }

    #[test]
    fn person_with_one_picture_is_used_as_impostor() {
        let persons = persons(&[4, 1]);
        let pairs = balanced_pairs(&persons, 1, 4, 7).unwrap();
        assert!(pairs.iter().any(|pair| !pair.same && pair.second == 4));
    }

    #[test]
    fn same_seed_gives_the_same_pairs_and_another_does_not() {
        let pairs = |seed| balanced_pairs(&persons(&[5; 12]), 3, 10, seed).unwrap();
        assert_eq!(pairs(1), pairs(1));
        assert_ne!(pairs(1), pairs(2));
    }

    #[test]
    fn order_of_the_labels_does_not_matter() {
        let labels = [9, 4, 9, 4, 700, 4, 700, 12];
        for pair in balanced_pairs(&labels, 2, 2, 8).unwrap() {
            assert_eq!(pair.same, labels[pair.first] == labels[pair.second]);
        }
    }

    #[test]
    fn too_little_data_says_how_much_is_needed() {
        let message =
            |counts: &[usize], folds, pairs| balanced_pairs(&persons(counts), folds, pairs, 0).unwrap_err().to_string();
        assert_eq!(
            message(&[3, 1, 1], 2, 10),
            "2 folds need at least 4 people, 2 of them with two or more pictures; \
             found 3 people, 1 of them with two or more pictures"
        );
        assert!(message(&[3, 1, 1, 1], 2, 10).contains("1 of them with two"));
        assert!(message(&[], 1, 2).contains("found 0 people"));
        assert!(message(&[3, 3], 0, 2).contains("got 0"));
        assert!(message(&[3, 3], 1, 3).contains("got 3"));
        assert!(message(&[3, 3], 1, 0).contains("got 0"));
    }
}
