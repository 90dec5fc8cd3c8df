//! Keeping some people apart, to measure on faces the model has never seen.

use anyhow::{Result, ensure};

use super::face_set::{Face, FaceSet};
use super::random::Random;

/// One person alone can be compared with nobody else, so each half keeps at least two.
const PEOPLE_PER_HALF: usize = 2;

impl FaceSet {
    /// Splits by people: nobody is in both halves. Returns (kept, held out).
    ///
    /// The held-out half has the nearest whole number of people to `held_out_share`, but each half
    /// has at least two. The same seed gives the same split. People keep their order and are
    /// numbered from zero in each half.
    ///
    /// # Errors
    ///
    /// If `held_out_share` is not between 0 and 1, or there are fewer than four people.
    pub fn split_people(self, held_out_share: f64, seed: u64) -> Result<(FaceSet, FaceSet)> {
        ensure!(
            held_out_share > 0.0 && held_out_share < 1.0,
            "the share of people held out must be between 0 and 1, got {held_out_share}"
        );
        let people = self.people.len();
        ensure!(
            people >= 2 * PEOPLE_PER_HALF,
            "splitting needs at least {} people ({PEOPLE_PER_HALF} in each half), found {people}",
            2 * PEOPLE_PER_HALF
        );
        let held_out = (people as f64 * held_out_share).round() as usize;
        let held_out = held_out.clamp(PEOPLE_PER_HALF, people - PEOPLE_PER_HALF);

        let mut order: Vec<usize> = (0..people).collect();
        Random::of(seed, &[people as u64]).shuffle(&mut order);
        let mut is_held_out = vec![false; people];
        for &person in &order[..held_out] {
            is_held_out[person] = true;
        }
        Ok(self.divide(&is_held_out))
    }

    fn divide(self, is_second: &[bool]) -> (FaceSet, FaceSet) {
        let empty = || FaceSet { size: self.size, people: Vec::new(), faces: Vec::new() };
        let mut halves = [empty(), empty()];
        let mut new_number = Vec::with_capacity(self.people.len());
        for (name, &second) in self.people.into_iter().zip(is_second) {
            let half = &mut halves[usize::from(second)];
            new_number.push(half.people.len());
            half.people.push(name);
        }
        for face in self.faces {
            let half = &mut halves[usize::from(is_second[face.person])];
            half.faces.push(Face { person: new_number[face.person], ..face });
        }
        halves.into()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Person `n` has `n + 1` pictures whose only byte is `n`.
    fn numbered_people(people: usize) -> FaceSet {
        let faces = (0..people).flat_map(|person| (0..=person).map(move |_| Face::drawn(person, [person as u8])));
        FaceSet { size: 1, people: (0..people).map(|person| format!("{person}")).collect(), faces: faces.collect() }
    }

    #[test]
    fn halves_share_nobody_and_lose_nobody() {
        let (kept, held_out) = numbered_people(20).split_people(0.25, 7).unwrap();
        assert_eq!((kept.people.len(), held_out.people.len()), (15, 5));
        let names: BTreeSet<_> = kept.people.iter().chain(&held_out.people).collect();
        assert_eq!(names.len(), 20);
        assert_eq!(kept.faces.len() + held_out.faces.len(), 210);
    }

    #[test]
    fn every_picture_stays_with_its_person() {
        let (kept, held_out) = numbered_people(20).split_people(0.4, 1).unwrap();
        for half in [kept, held_out] {
            for face in &half.faces {
                assert_eq!(half.people[face.person], face.pixels().unwrap()[0].to_string());
            }
            let expected: Vec<usize> = half.people.iter().map(|name| name.parse::<usize>().unwrap() + 1).collect();
            assert_eq!(half.pictures_per_person(), expected);
        }
    }

    #[test]
    fn split_depends_on_the_seed_alone() {
        let people = |seed| numbered_people(20).split_people(0.5, seed).unwrap().1.people;
        assert_eq!(people(1), people(1));
        assert_ne!(people(1), people(2));
    }

    #[test]
    fn each_half_has_at_least_two_people() {
        for share in [0.001, 0.999] {
            let (kept, held_out) = numbered_people(5).split_people(share, 0).unwrap();
            assert_eq!(kept.people.len().min(held_out.people.len()), 2);
        }
    }

    #[test]
    fn impossible_splits_say_what_was_wrong() {
        let message = |people, share| numbered_people(people).split_people(share, 0).unwrap_err().to_string();
        assert!(message(3, 0.5).contains("at least 4 people"));
        for share in [0.0, 1.0, -1.0, f64::NAN] {
            assert!(message(9, share).contains("between 0 and 1"));
        }
    }
}
