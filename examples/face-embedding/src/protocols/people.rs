//! The people of a run: those it trains on and those it is measured on.

use std::collections::HashMap;
use std::fmt;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use crate::data::face_set::{Face, FaceSet};
use crate::data::fingerprint::{Fingerprint, fingerprints};
use crate::data::folder::{self, Reader, Wanted};
use crate::data::procedural::ProceduralFaces;
use crate::settings::config::TrainConfig;

/// Two folds of two people each.
const FEWEST_TO_MEASURE: usize = 4;
const FEWEST_TO_TRAIN: usize = 2;

/// Two sets of people that share nobody.
pub struct People {
    /// Trained on.
    pub train: FaceSet,
    /// Measured on.
    pub test: FaceSet,
    /// What was found and what was left out, as it was printed.
    pub found: Vec<String>,
}

impl People {
    /// Draws or reads the people of a run, and prints what there is.
    ///
    /// # Errors
    ///
    /// If a folder cannot be read, or holds too few people or pictures.
    pub fn load(config: &TrainConfig) -> Result<Self> {
        let reader = Reader::new(Wanted::of(config, config.landmarks.as_deref())?, &config.reading)?;
        let mut found = Vec::new();
        let mut tell = |line: String| {
            say!("{line}");
            found.push(line);
        };
        let (train, test) = match (&config.data, &config.val_data) {
            (None, _) => draw(config)?,
            (Some(data), None) => {
                let (faces, line) = read_folder(data, &reader)?;
                tell(line);
                let share = held_out_share(faces.people.len(), config.held_out_share);
                faces.split_people(share, config.pair_seed).with_context(|| format!("people of {}", data.display()))?
            }
            (Some(data), Some(val_data)) => {
                let (train, line) = read_folder(data, &reader)?;
                tell(line);
                let (test, line) = read_test_folder(val_data, &reader)?;
                tell(line);
                (train, test)
            }
        };
        tell(format!("train: {}", describe(&train)));
        let trained = fingerprints(&train).into_iter().zip(train.faces.iter().map(|face| place(face, &train)));
        let seen = Seen::new(&trained.collect(), &test);
        ensure!(
            seen.pictures.len() < test.faces.len(),
            "all pictures of the test people are trained on, too, such as {}; give other people with --val-data",
            seen.pictures[0]
        );
        tell(format!("test:  {} ({seen})", describe(&test)));
        let kept = [&train, &test].map(|set| set.faces.iter().filter(|face| face.is_kept()).count());
        if kept != [train.faces.len(), test.faces.len()] {
            let all = train.faces.len() + test.faces.len();
            tell(format!(
                "cache: {} of {all} pictures stay decoded in {} MiB (--cache-mib); the others are decoded whenever they are needed",
                kept[0] + kept[1],
                config.reading.cache_mib
            ));
        }
        Ok(Self { train, test, found })
    }
}

/// Which test pictures are training pictures as well: figures of these say nothing about unseen people.
#[derive(Default)]
pub(crate) struct Seen {
    /// A line for each, with both places.
    pictures: Vec<String>,
}

/// How many of them are shown.
const SHOWN: usize = 10;

impl Seen {
    /// Looks for test pictures among the trained ones, which have a place each.
    pub(crate) fn new(trained: &HashMap<Fingerprint, String>, test: &FaceSet) -> Self {
        let line = |(face, fingerprint): (&Face, Fingerprint)| {
            Some(format!("{}, trained on as {}", place(face, test), trained.get(&fingerprint)?))
        };
        Self { pictures: test.faces.iter().zip(fingerprints(test)).filter_map(line).collect() }
    }

    /// Those of both.
    pub(crate) fn and(mut self, other: Self) -> Self {
        self.pictures.extend(other.pictures);
        self
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.pictures.len();
        if count == 0 {
            return formatter.write_str("unseen in training");
        }
        write!(formatter, "warning: {count} of these pictures are trained on, so the figures flatter the model")?;
        for line in self.pictures.iter().take(SHOWN) {
            write!(formatter, "\n  {line}")?;
        }
        if count > SHOWN {
            write!(formatter, "\n  and {} more", count - SHOWN)?;
        }
        Ok(())
    }
}

/// Where a picture is from: its file, or the person on it.
fn place(face: &Face, faces: &FaceSet) -> String {
    face.file.as_ref().map_or_else(|| faces.people[face.person].clone(), |file| format!("{file:?}"))
}

/// The share to hold back: the one asked for, or what it takes to measure at all where there are few people.
fn held_out_share(people: usize, asked: f64) -> f64 {
    let least = FEWEST_TO_MEASURE as f64 / people.max(1) as f64;
    if people < FEWEST_TO_MEASURE + FEWEST_TO_TRAIN || asked >= least {
        return asked;
    }
    say!("note: {FEWEST_TO_MEASURE} of the {people} people are held back to measure on, the least it takes");
    least
}

fn draw(config: &TrainConfig) -> Result<(FaceSet, FaceSet)> {
    let people = config.people + config.test_people;
    let faces = ProceduralFaces {
        people,
        pictures_per_person: config.pictures,
        size: config.network.image_size(),
        seed: config.seed,
    };
    say!("drawing {people} people (seed {})", config.seed);
    faces.generate().split_people(config.test_people as f64 / people as f64, config.pair_seed)
}

/// Reads a folder of people to measure on, and says what became of its files.
///
/// # Errors
///
/// If the folder cannot be read, or holds too few people.
pub(crate) fn read_test_folder(directory: &Path, reader: &Reader) -> Result<(FaceSet, String)> {
    let (faces, report) = folder::load_any(directory, reader)?;
    // Pictures without people are of one without a name.
    let people = faces.people.iter().filter(|name| !name.is_empty()).count();
    ensure!(
        people >= FEWEST_TO_MEASURE,
        "{} must hold at least {FEWEST_TO_MEASURE} people to measure on, each in a folder of their own; found {people} \
         (pictures in all: {})\n{report}",
        directory.display(),
        faces.faces.len()
    );
    let line = format!("{}: {report}", directory.display());
    Ok((faces, line))
}

/// Reads a folder of people to train on, and says what became of its files.
fn read_folder(directory: &Path, reader: &Reader) -> Result<(FaceSet, String)> {
    let (faces, report) = folder::load(directory, reader)?;
    let line = format!("{}: {report}", directory.display());
    Ok((faces, line))
}

fn describe(faces: &FaceSet) -> String {
    let counts = faces.pictures_per_person();
    format!(
        "{} people, {} pictures ({} to {} each), {} x {} pixels",
        faces.people.len(),
        faces.faces.len(),
        counts.iter().min().copied().unwrap_or(0),
        counts.iter().max().copied().unwrap_or(0),
        faces.size,
        faces.size
    )
}
