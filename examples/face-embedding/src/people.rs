//! The people of a run: those it trains on and those it is measured on.

use std::path::Path;

use anyhow::{Context, Result};

use crate::config::TrainConfig;
use crate::data::procedural::ProceduralFaces;
use crate::data::{FaceSet, folder};

/// Two sets of people that share nobody.
pub struct People {
    /// Trained on.
    pub train: FaceSet,
    /// Measured on.
    pub test: FaceSet,
}

impl People {
    /// Draws or reads the people of a run, and prints what there is.
    ///
    /// # Errors
    ///
    /// If a folder cannot be read, or holds too few people or pictures.
    pub fn load(config: &TrainConfig) -> Result<Self> {
        let (train, test) = match (&config.data, &config.val_data) {
            (None, _) => draw(config)?,
            (Some(data), None) => read_folder(data, config.image_size)?
                .split_people(config.held_out_share, config.seed)
                .with_context(|| format!("people of {}", data.display()))?,
            (Some(data), Some(val_data)) => {
                (read_folder(data, config.image_size)?, read_folder(val_data, config.image_size)?)
            }
        };
        println!("train: {}", describe(&train));
        println!("test:  {} (unseen in training)", describe(&test));
        Ok(Self { train, test })
    }
}

fn draw(config: &TrainConfig) -> Result<(FaceSet, FaceSet)> {
    let people = config.people + config.test_people;
    let faces =
        ProceduralFaces { people, pictures_per_person: config.pictures, size: config.image_size, seed: config.seed };
    println!("drawing {people} people (seed {})", config.seed);
    faces.generate().split_people(config.test_people as f64 / people as f64, config.seed)
}

/// Reads a folder with one sub-folder per person, and prints what became of its files.
///
/// # Errors
///
/// If the folder cannot be read, or holds too few people or pictures.
pub(crate) fn read_folder(directory: &Path, image_size: usize) -> Result<FaceSet> {
    let (faces, report) = folder::load(directory, image_size)?;
    println!("{}: {report}", directory.display());
    Ok(faces)
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
