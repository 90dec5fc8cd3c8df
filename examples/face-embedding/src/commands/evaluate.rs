//! `eval`: measures a finished run.

use anyhow::{Context, Result};

use super::cli::EvalFlags;
use super::report::Metrics;
use super::trained_model::TrainedModel;
use crate::model::face_model::untrained_trunk;
use crate::protocols::people::{People, Seen, read_folder};
use crate::protocols::verification::Protocol;
use crate::settings::backend;
use crate::training::epoch_table;

/// `eval`: the figures of a finished run on the people of a folder, or on its own test people.
///
/// # Errors
///
/// If the run or the folder cannot be read, or has too few people or pictures.
pub fn command(flags: &EvalFlags) -> Result<Metrics> {
    let TrainedModel { run, config, device, trunk: trained } = TrainedModel::open(&flags.run)?;
    say!("run: {}", run.path().display());
    say!("backend: {} ({})", config.backend, backend::describe(&device));

    let test = match &flags.data {
        Some(directory) => {
            let faces = read_folder(directory, config.image_size)?;
            match run.trained_pictures() {
                Ok(trained) => say!("test:  {}", Seen::new(&trained, &faces)),
                Err(error) => say!("warning: whether these pictures are trained on cannot be told: {error:#}"),
            }
            faces
        }
        None => People::load(&config)?.test,
    };
    let protocol = Protocol::new(&test, config.seed)?;
    let (train_seconds, images_per_second) = epoch_table::totals(&run.epoch_rows()?);
    let metrics = Metrics {
        verification: protocol.verify(&trained, &test, &device)?,
        untrained: protocol.verify(&untrained_trunk(&config, &device), &test, &device)?,
        images_per_second,
        train_seconds,
        backend: config.backend.to_string(),
        seed: config.seed,
    };
    metrics.print();
    if let Some(path) = &flags.json {
        // Not aside: it may be a pipe.
        std::fs::write(path, metrics.to_json()?).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(metrics)
}
