//! The protocol of identification: whether a picture finds its person among those enrolled, or nobody.

use std::collections::BTreeMap;

use anyhow::Result;
use embedding_eval::{Identification, LabelledRows, identification};
use serde::{Deserialize, Serialize};

use super::rates::{RATES, at_rates};
use crate::data::random::Random;

/// The last rank of the CMC.
const RANKS: usize = 10;
/// At how many of the rates, as false positive identification rates, misses are reported.
const WITH_MISSES: usize = 2;

/// How well a model finds people.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Search {
    /// People enrolled, with one picture each.
    pub gallery: usize,
    /// All their other pictures.
    pub probes: usize,
    /// Share of the probes whose own person is the nearest one, among the two nearest, and so on up to ten.
    pub cmc: Vec<f64>,
    /// With half of the people enrolled only: the least share of their probes that is missed (not the nearest, or below
    /// the threshold) while at most the key of the other half's probes raises an alarm; null if these are too few.
    pub fnir_at_fpir: BTreeMap<String, Option<f64>>,
}

/// Which pictures are enrolled, and which are searched for.
pub(super) struct SearchProtocol {
    /// A picture of each person with two or more, in an order by chance.
    gallery: Vec<usize>,
    /// The other pictures of these people.
    probes: Vec<usize>,
}

impl SearchProtocol {
    /// Enrols a picture of each person; `persons` holds the person of every picture.
    pub(super) fn new(persons: &[usize], seed: u64) -> Self {
        let mut pictures = BTreeMap::<usize, Vec<usize>>::new();
        for (picture, &person) in persons.iter().enumerate() {
            pictures.entry(person).or_default().push(picture);
        }
        let mut random = Random::of(seed, &[persons.len() as u64]);
        let (mut gallery, mut probes) = (Vec::new(), Vec::new());
        for mut own in pictures.into_values().filter(|own| own.len() >= 2) {
            gallery.push(own.swap_remove(random.below(own.len())));
            probes.extend(own);
        }
        random.shuffle(&mut gallery);
        Self { gallery, probes }
    }

    /// The figures of embeddings, `[pictures, dim]`, row-major.
    pub(super) fn measure(&self, embeddings: &[f32], dim: usize, persons: &[usize]) -> Result<Search> {
        let search = |gallery: &[usize]| -> Result<Identification> {
            let rows = |pictures: &[usize]| -> (Vec<f32>, Vec<usize>) {
                let row = |&picture: &usize| &embeddings[picture * dim..(picture + 1) * dim];
                (pictures.iter().flat_map(row).copied().collect(), pictures.iter().map(|&one| persons[one]).collect())
            };
            let (probes, gallery) = (rows(&self.probes), rows(gallery));
            let (probes, gallery) =
                (LabelledRows::new(&probes.0, dim, &probes.1)?, LabelledRows::new(&gallery.0, dim, &gallery.1)?);
            Ok(identification(probes, gallery)?)
        };
        let closed = search(&self.gallery)?;
        let cmc = (1..=RANKS.min(self.gallery.len())).filter_map(|rank| closed.recognised_within(rank)).collect();
        let open = search(&self.gallery[..self.gallery.len() / 2])?;
        let fnir_at_fpir = at_rates(&RATES[..WITH_MISSES], |rate| {
            let measured = open.fnir_at_fpir(rate)?;
            Ok((Some(measured.fnir), measured.support))
        })?;
        Ok(Search { gallery: self.gallery.len(), probes: self.probes.len(), cmc, fnir_at_fpir })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Everybody has an axis of their own, but for the last picture, which lies on that of person 0.
    #[test]
    fn the_one_picture_on_a_foreign_axis_is_the_one_not_found() {
        let persons = [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3, 4];
        let axes = [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3, 0];
        let mut embeddings = vec![0.0; persons.len() * 4];
        axes.iter().enumerate().for_each(|(picture, axis)| embeddings[picture * 4 + axis] = 1.0);
        // Person 4 has one picture and can neither be enrolled nor searched for.
        let protocol = SearchProtocol::new(&persons, 3);
        let found = protocol.measure(&embeddings, 4, &persons).expect("four people");
        assert_eq!((found.gallery, found.probes), (4, 8));
        assert_eq!(found.cmc, [1.0; 4]);
        // Of two people each, the four probes of the others score 0, which is less than the 1 of the own ones.
        assert_eq!(found.fnir_at_fpir["1e-1"], None);

        // A picture of person 1 that is not enrolled moves to the axis of person 0.
        let moved = *protocol.probes.iter().find(|&&picture| persons[picture] == 1).expect("two of three");
        embeddings[moved * 4..][..2].copy_from_slice(&[1.0, 0.1]);
        let found = protocol.measure(&embeddings, 4, &persons).expect("four people");
        assert_eq!(found.cmc, [7.0 / 8.0, 1.0, 1.0, 1.0]);
    }

    #[test]
    fn misses_are_measured_where_enough_people_are_not_enrolled() {
        let persons: Vec<usize> = (0..20).flat_map(|person| [person; 3]).collect();
        let mut embeddings = vec![0.0; 60 * 20];
        persons.iter().enumerate().for_each(|(picture, person)| embeddings[picture * 20 + person] = 1.0);
        let found = SearchProtocol::new(&persons, 1).measure(&embeddings, 20, &persons).expect("twenty people");
        // 20 probes of people who are not enrolled measure 1 in 10, and not 1 in 100.
        assert_eq!(found.fnir_at_fpir["1e-1"], Some(0.0));
        assert_eq!(found.fnir_at_fpir["1e-2"], None);
        let same = SearchProtocol::new(&persons, 1).measure(&vec![1.0; 1200], 20, &persons).expect("twenty people");
        assert_eq!((same.cmc[0], same.fnir_at_fpir["1e-1"]), (0.0, Some(1.0)));
    }
}
