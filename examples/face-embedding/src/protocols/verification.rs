//! The protocol of verification: which pairs are asked about, and the figures of the answers.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use burn::tensor::Device;
use embedding_eval::{ScoredPairs, all_pairs, cosine_similarity, k_fold_accuracy, roc};
use serde::{Deserialize, Serialize};

use super::pairs::{Pair, balanced_pairs};
use super::rates::{Intervals, TarAtFar, tar_at_far, warn_of_few};
use super::search::{Search, SearchProtocol};
use super::thresholds::Thresholds;
use crate::data::face_set::FaceSet;
use crate::data::random::random;
use crate::model::embed::embed;
use crate::model::trunk::Trunk;

/// Folds of the accuracy, as in LFW's protocol; fewer if there are too few people.
const FOLDS: usize = 10;
/// Pairs in a fold, as in LFW's protocol; half of them are genuine.
const PAIRS_PER_FOLD: usize = 600;
/// A fold needs two people to compare.
const PEOPLE_PER_FOLD: usize = 2;
/// Beyond so many pictures (ten million pairs), the figures over all pairs are of some people only.
const MOST_PICTURES: usize = 4472;

/// How well a model tells whether two pictures show the same person.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Verification {
    /// Mean accuracy over the folds, each with the threshold of the others.
    pub accuracy: f64,
    /// Standard deviation over the folds (of the population, as the field prints it).
    pub accuracy_std: f64,
    /// Area under the ROC curve of all pairs.
    pub auc: f64,
    /// Error rate at which false accepts and false rejects are equally frequent.
    pub eer: f64,
    /// Greatest true accept rate whose false accept rate is at most the key; null if there are too
    /// few impostor pairs to measure such a rate at all.
    pub tar_at_far: TarAtFar,
    /// Where these three would lie for other people, by drawing the test people anew.
    pub intervals: Intervals,
    /// How well it finds people among many.
    pub search: Search,
    /// From which cosine on two pictures are taken for the same person.
    pub thresholds: Thresholds,
}

/// The pairs of a set of people, the same for every model that is measured on it.
pub struct Protocol {
    fold_pairs: Vec<Pair>,
    /// The pictures whose pairs are all compared, and who is on them.
    pictures: Vec<usize>,
    persons: Vec<usize>,
    /// Among these pictures.
    search: SearchProtocol,
    seed: u64,
}

impl Protocol {
    /// Chooses the pairs and prints how many there are.
    ///
    /// # Errors
    ///
    /// If there are too few people, or too few pictures of a person.
    pub fn new(faces: &FaceSet, seed: u64) -> Result<Self> {
        let people = faces.people.len();
        ensure!(
            people >= 2 * PEOPLE_PER_FOLD,
            "measuring needs at least {} people, found {people}; hold back more of --data with --held-out-share, or give \
             others with --val-data",
            2 * PEOPLE_PER_FOLD
        );
        let everybody: Vec<usize> = faces.faces.iter().map(|face| face.person).collect();
        let comparable = faces.pictures_per_person().iter().filter(|&&count| count >= 2).count();
        ensure!(comparable >= 2, "measuring needs at least 2 people with 2 pictures or more, found {comparable}");
        let folds = FOLDS.min(people / PEOPLE_PER_FOLD).min(comparable);
        let fold_pairs = balanced_pairs(&everybody, folds, PAIRS_PER_FOLD, seed)
            .context("cannot choose pairs of the test people")?;

        let pictures = some_people(&everybody, people, seed);
        let persons: Vec<usize> = pictures.iter().map(|&picture| everybody[picture]).collect();
        let search = SearchProtocol::new(&persons, seed);
        let protocol = Self { fold_pairs, pictures, persons, search, seed };
        protocol.print(folds, everybody.len());
        Ok(protocol)
    }

    fn print(&self, folds: usize, all_pictures: usize) {
        let pictures = self.pictures.len();
        let mut counts = BTreeMap::<usize, usize>::new();
        for &person in &self.persons {
            *counts.entry(person).or_default() += 1;
        }
        let genuine: usize = counts.values().map(|count| count * (count - 1) / 2).sum();
        let impostors = pictures * (pictures - 1) / 2 - genuine;

        say!(
            "pairs: {} in {folds} folds for the accuracy (half genuine, no person in two folds); \
             {genuine} genuine and {impostors} impostor pairs for the rest",
            self.fold_pairs.len()
        );
        if pictures < all_pictures {
            say!("       the latter of {pictures} of {all_pictures} pictures, to bound time and memory");
        }
        warn_of_few(impostors);
    }

    /// The figures of a trunk on a set of people.
    ///
    /// # Errors
    ///
    /// If an embedding cannot be read or is not finite.
    pub fn verify(&self, trunk: &Trunk, faces: &FaceSet, device: &Device) -> Result<Verification> {
        let embeddings = embed(trunk, faces, device)?;
        self.measure(&embeddings, embeddings.len() / faces.faces.len())
    }

    /// The figures of the embeddings of a set of people.
    ///
    /// # Shapes
    ///
    /// - embeddings: `[pictures, dim]`, row-major, in the order of the set
    ///
    /// # Errors
    ///
    /// If an embedding is not finite.
    pub fn measure(&self, embeddings: &[f32], dim: usize) -> Result<Verification> {
        let row = |picture: usize| &embeddings[picture * dim..(picture + 1) * dim];

        let mut scores = Vec::with_capacity(self.fold_pairs.len());
        for pair in &self.fold_pairs {
            scores.push(cosine_similarity(row(pair.first), row(pair.second))?);
        }
        let same: Vec<bool> = self.fold_pairs.iter().map(|pair| pair.same).collect();
        let folds: Vec<usize> = self.fold_pairs.iter().map(|pair| pair.fold).collect();
        let accuracy = k_fold_accuracy(ScoredPairs::new(&scores, &same)?, &folds)?;

        let chosen: Vec<f32> = self.pictures.iter().flat_map(|&picture| row(picture)).copied().collect();
        let pairs = all_pairs(&chosen, dim, &self.persons)?;
        let curve = roc(pairs.scored()?)?;
        let tar_at_far = tar_at_far(&curve)?;
        let people = self.persons.iter().map(|&person| person as u32).collect::<Vec<_>>();
        let people: Vec<[u32; 2]> = people
            .iter()
            .enumerate()
            .flat_map(|(place, &one)| people[place + 1..].iter().map(move |&other| [one, other]))
            .collect();
        Ok(Verification {
            accuracy: accuracy.mean,
            accuracy_std: accuracy.standard_deviation,
            auc: curve.area(),
            eer: curve.equal_error_rate().rate,
            intervals: Intervals::new(&pairs.scores, &people, &tar_at_far, self.seed)?,
            tar_at_far,
            search: self.search.measure(&chosen, dim, &self.persons)?,
            thresholds: Thresholds::new(&curve)?,
        })
    }
}

/// All pictures, or those of people drawn at random until there are enough.
fn some_people(everybody: &[usize], people: usize, seed: u64) -> Vec<usize> {
    if everybody.len() <= MOST_PICTURES {
        return (0..everybody.len()).collect();
    }
    let mut order: Vec<usize> = (0..people).collect();
    order.sort_by_cached_key(|&person| random(&[seed, person as u64]));
    let mut place = vec![0; people];
    for (rank, &person) in order.iter().enumerate() {
        place[person] = rank;
    }
    let mut pictures: Vec<usize> = (0..everybody.len()).collect();
    // Stable, so that the pictures of a person stay together and in order.
    pictures.sort_by_key(|&picture| place[everybody[picture]]);
    pictures.truncate(MOST_PICTURES);
    pictures
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_set_is_cut_at_whole_people_where_possible() {
        let everybody: Vec<usize> = (0..1000).flat_map(|person| [person; 6]).collect();
        let pictures = some_people(&everybody, 1000, 3);
        assert_eq!(pictures.len(), MOST_PICTURES);
        let mut persons: Vec<usize> = pictures.iter().map(|&picture| everybody[picture]).collect();
        persons.dedup();
        assert_eq!(persons.len(), MOST_PICTURES.div_ceil(6));
    }
}
