//! The protocol of verification: which pairs are asked about, and the figures of the answers.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use burn::tensor::Device;
use embedding_eval::{Roc, ScoredPairs, all_pairs, cosine_similarity, k_fold_accuracy, roc};
use serde::{Deserialize, Serialize};

use super::answers::Answers;
use super::pairs::{Pair, balanced_pairs};
use super::rates::{Intervals, TarAtFar, tar_at_far, warn_of_few};
use super::search::{Search, SearchProtocol};
use super::thresholds::Thresholds;
use crate::data::face_set::FaceSet;
use crate::data::random::random;
use crate::model::embed::Views;
use crate::model::trunk::Trunk;
use crate::training::validation::Validation;

/// Folds of the accuracy, as in LFW's protocol; fewer if there are too few people.
const FOLDS: usize = 10;
/// How often people are dealt into folds: ten folds of a few dozen people have few people each, and another dealing is
/// another figure.
const DEALINGS: u64 = 10;
/// Pairs in a fold, as in LFW's protocol; half of them are genuine.
const PAIRS_PER_FOLD: usize = 600;
/// A fold needs two people to compare.
const PEOPLE_PER_FOLD: usize = 2;
/// Beyond so many pictures (ten million pairs), the figures over all pairs are of some people only.
const MOST_PICTURES: usize = 4472;

/// How well a model tells whether two pictures show the same person.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Verification {
    /// Mean accuracy over the folds, each with the threshold of the others, and over ten dealings of people into folds.
    pub accuracy: f64,
    /// Standard deviation over the folds of all dealings (of the population, as the field prints it).
    pub accuracy_std: f64,
    /// Standard deviation over the dealings of their mean accuracies (of the population): how much a single one would
    /// say by chance.
    pub accuracy_dealing_std: f64,
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
    /// For each dealing.
    fold_pairs: Vec<Vec<Pair>>,
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
            "measuring needs at least {} people, found {people}",
            2 * PEOPLE_PER_FOLD
        );
        let everybody: Vec<usize> = faces.faces.iter().map(|face| face.person).collect();
        let comparable = faces.pictures_per_person().iter().filter(|&&count| count >= 2).count();
        ensure!(comparable >= 2, "measuring needs at least 2 people with 2 pictures or more, found {comparable}");
        let folds = FOLDS.min(people / PEOPLE_PER_FOLD).min(comparable);
        let mut fold_pairs = Vec::new();
        for dealing in 0..DEALINGS {
            let seed = if dealing == 0 { seed } else { random(&[seed, dealing]) };
            let pairs = balanced_pairs(&everybody, folds, PAIRS_PER_FOLD, seed);
            fold_pairs.push(pairs.context("cannot choose pairs of the test people")?);
        }

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
            "pairs: {} in {folds} folds for the accuracy (half genuine, no person in two folds), dealt {DEALINGS} \
             times; {genuine} genuine and {impostors} impostor pairs for the rest",
            self.fold_pairs[0].len()
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
    pub fn verify(&self, views: &Views, trunk: &Trunk, faces: &FaceSet, device: &Device) -> Result<Verification> {
        let embeddings = views.embed(trunk, faces, device)?;
        self.measure(&embeddings, embeddings.len() / faces.faces.len())
    }

    /// The two figures that tell most, of the same pairs as all of them and in a small part of the time.
    ///
    /// # Errors
    ///
    /// As [`verify`](Self::verify).
    pub fn validate(&self, views: &Views, trunk: &Trunk, faces: &FaceSet, device: &Device) -> Result<Validation> {
        let embeddings = views.embed(trunk, faces, device)?;
        let dim = embeddings.len() / faces.faces.len();
        let pairs = all_pairs(&self.chosen(&embeddings, dim), dim, &self.persons)?;
        Ok(summary(&roc(pairs.scored()?)?))
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

        let (mut of_dealings, mut of_folds) = (Vec::new(), Vec::new());
        for dealing in &self.fold_pairs {
            let mut scores = Vec::with_capacity(dealing.len());
            for pair in dealing {
                scores.push(cosine_similarity(row(pair.first), row(pair.second))?);
            }
            let same: Vec<bool> = dealing.iter().map(|pair| pair.same).collect();
            let folds: Vec<usize> = dealing.iter().map(|pair| pair.fold).collect();
            let accuracy = k_fold_accuracy(ScoredPairs::new(&scores, &same)?, &folds)?;
            of_dealings.push(accuracy.mean);
            of_folds.extend(accuracy.folds.iter().map(|fold| fold.accuracy));
        }
        let (accuracy, accuracy_dealing_std) = mean_and_deviation(&of_dealings);
        let (_, accuracy_std) = mean_and_deviation(&of_folds);

        let chosen = self.chosen(embeddings, dim);
        let pairs = all_pairs(&chosen, dim, &self.persons)?;
        let curve = roc(pairs.scored()?)?;
        let Validation { auc, eer } = summary(&curve);
        let tar_at_far = tar_at_far(&curve)?;
        let people = self.persons.iter().map(|&person| person as u32).collect::<Vec<_>>();
        let people: Vec<[u32; 2]> = people
            .iter()
            .enumerate()
            .flat_map(|(place, &one)| people[place + 1..].iter().map(move |&other| [one, other]))
            .collect();
        Ok(Verification {
            accuracy,
            accuracy_std,
            accuracy_dealing_std,
            auc,
            eer,
            intervals: Intervals::new(&pairs.scores, &people, &tar_at_far, self.seed)?,
            tar_at_far,
            search: self.search.measure(&chosen, dim, &self.persons)?,
            thresholds: Thresholds::new(&curve)?,
        })
    }

    /// What the thresholds of other people do on these.
    ///
    /// # Errors
    ///
    /// If an embedding is not finite.
    pub fn apply(&self, thresholds: &Thresholds, embeddings: &[f32], dim: usize) -> Result<Thresholds> {
        let pairs = all_pairs(&self.chosen(embeddings, dim), dim, &self.persons)?;
        Ok(thresholds.applied(&roc(pairs.scored()?)?))
    }

    /// The answers themselves, of the same pairs as the figures.
    ///
    /// # Errors
    ///
    /// If an embedding is not finite.
    pub fn answers(&self, embeddings: &[f32], dim: usize) -> Result<Answers> {
        let pairs = all_pairs(&self.chosen(embeddings, dim), dim, &self.persons)?;
        Answers::new(&pairs.scores, &roc(pairs.scored()?)?, &self.pictures, &self.persons)
    }

    /// The embeddings of the pictures whose pairs are all compared.
    fn chosen(&self, embeddings: &[f32], dim: usize) -> Vec<f32> {
        let row = |&picture: &usize| &embeddings[picture * dim..(picture + 1) * dim];
        self.pictures.iter().flat_map(row).copied().collect()
    }
}

fn summary(curve: &Roc) -> Validation {
    Validation { auc: curve.area(), eer: curve.equal_error_rate().rate }
}

/// Mean and standard deviation of the population.
fn mean_and_deviation(values: &[f64]) -> (f64, f64) {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    (mean, (values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / count).sqrt())
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
    use crate::data::procedural::ProceduralFaces;

    #[test]
    fn dealings_differ_and_the_figure_is_their_mean() {
        let faces = ProceduralFaces { people: 12, pictures_per_person: 3, size: 16, seed: 4 }.generate();
        let protocol = |seed| Protocol::new(&faces, seed).expect("twelve people");
        let protocol_7 = protocol(7);
        assert_eq!(protocol_7.fold_pairs, protocol(7).fold_pairs);
        assert_ne!(protocol_7.fold_pairs, protocol(8).fold_pairs);
        let distinct: std::collections::HashSet<&Vec<Pair>> = protocol_7.fold_pairs.iter().collect();
        assert_eq!(distinct.len(), 10);

        // The angle of person p is p / 2 degrees, and of their pictures a little more: near people are taken for one.
        let angle = |place: usize| ((place / 3) as f64 / 2.0 + (place % 3) as f64 / 3.0).to_radians();
        let embeddings: Vec<f32> =
            (0..36).flat_map(|place| [angle(place).cos() as f32, angle(place).sin() as f32]).collect();
        let found = protocol_7.measure(&embeddings, 2).expect("finite embeddings");
        // Each dealing by itself, as a plain loop has it.
        let means: Vec<f64> = (0..10)
            .map(|dealing| {
                let pairs = &protocol_7.fold_pairs[dealing];
                let row = |place: usize| &embeddings[2 * place..2 * place + 2];
                let scores: Vec<f64> =
                    pairs.iter().map(|pair| cosine_similarity(row(pair.first), row(pair.second)).unwrap()).collect();
                let same: Vec<bool> = pairs.iter().map(|pair| pair.same).collect();
                let folds: Vec<usize> = pairs.iter().map(|pair| pair.fold).collect();
                k_fold_accuracy(ScoredPairs::new(&scores, &same).unwrap(), &folds).unwrap().mean
            })
            .collect();
        let mean = means.iter().sum::<f64>() / 10.0;
        let variance = means.iter().map(|one| (one - mean) * (one - mean)).sum::<f64>() / 10.0;
        assert!((found.accuracy - mean).abs() < 1e-12 && (0.5..1.0).contains(&mean), "{mean}");
        assert!((found.accuracy_dealing_std - variance.sqrt()).abs() < 1e-12 && variance > 0.0, "{found:?}");
        assert!(found.accuracy_std > found.accuracy_dealing_std, "{found:?}");
    }

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
