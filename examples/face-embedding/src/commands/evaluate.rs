//! `eval`: measures a finished run.

use std::path::Path;

use anyhow::{Context, Result, ensure};

use super::cli::EvalFlags;
use super::report::Metrics;
use super::trained_model::TrainedModel;
use crate::data::face_set::FaceSet;
use crate::data::folder::load_numbered;
use crate::model::face_model::untrained_trunk;
use crate::protocols::lfw::{PairFigures, PairsFile, Thresholding};
use crate::protocols::people::{People, Seen, read_test_folder};
use crate::protocols::verification::Protocol;
use crate::settings::backend;
use crate::training::epoch_table;

/// `eval`: the figures of a finished run on the people of a folder or the pairs of a file, or on its own test people.
///
/// # Errors
///
/// If the run, the folder or the file cannot be read, or has too few people or pictures.
pub fn command(flags: &EvalFlags) -> Result<()> {
    ensure!(
        flags.data.is_some() || flags.run.landmarks.is_none(),
        "landmarks: are of the pictures of --data, and the test people of the run have their own"
    );
    let model = TrainedModel::open(&flags.run)?;
    if let Some(path) = &flags.json {
        model.run.ensure_foreign(path, "--json")?;
    }
    say!("run: {}", model.run.path().display());
    say!("backend: {} ({})", model.config.backend, backend::describe(&model.device));
    let json = match (&flags.pairs, &flags.data) {
        (Some(pairs), Some(directory)) => of_pairs(&model, pairs, directory, flags.protocol)?,
        _ => of_people(&model, flags.data.as_deref())?,
    };
    if let Some(path) = &flags.json {
        // Not aside: it may be a pipe.
        std::fs::write(path, json).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

fn of_people(model: &TrainedModel, directory: Option<&Path>) -> Result<String> {
    let TrainedModel { run, config, device, .. } = model;
    let test = match directory {
        Some(directory) => {
            let (faces, line) = read_test_folder(directory, &model.reader)?;
            say!("{line}");
            say!("test:  {}", seen(model, &faces));
            faces
        }
        None => People::load(config)?.test,
    };
    let protocol = Protocol::new(&test, config.pair_seed).with_context(|| match directory {
        Some(directory) => format!("the people of {}", directory.display()),
        None => "the test people of the run".to_string(),
    })?;
    let (train_seconds, images_per_second) = epoch_table::totals(&run.epoch_rows()?);
    let embeddings = model.embed(&test)?;
    let dim = embeddings.len() / test.faces.len();
    let metrics = Metrics {
        verification: protocol.measure(&embeddings, dim)?,
        untrained: protocol.verify(&untrained_trunk(config, device), &test, device)?,
        images_per_second,
        train_seconds,
        backend: config.backend.to_string(),
        seed: config.seed,
        trunk: Some(run.trunk_sha256()?),
    };
    metrics.print();
    if directory.is_some() {
        match model.thresholds() {
            Ok(thresholds) => {
                say!(
                    "\nThe thresholds of the run, on these people:\n{}",
                    protocol.apply(&thresholds, &embeddings, dim)?
                )
            }
            Err(error) => say!("warning: what thresholds of the run do on these people cannot be told: {error:#}"),
        }
    }
    metrics.to_json()
}

fn of_pairs(model: &TrainedModel, pairs: &Path, directory: &Path, protocol: Thresholding) -> Result<String> {
    let file = PairsFile::read(pairs)?;
    let faces = load_numbered(directory, &file.pictures(), &model.reader)?;
    say!("test:  {} pictures of {} people, {}", faces.faces.len(), faces.people.len(), seen(model, &faces));
    let figures = PairFigures::measure(&file, &model.embed(&faces)?, protocol, model.config.pair_seed)?;
    say!("{figures}");
    Ok(serde_json::to_string_pretty(&figures)? + "\n")
}

/// Which of these pictures were trained on.
fn seen(model: &TrainedModel, faces: &FaceSet) -> String {
    match model.run.trained_pictures() {
        Ok(trained) => Seen::new(&trained, faces).to_string(),
        Err(error) => format!("warning: whether these pictures are trained on cannot be told: {error:#}"),
    }
}
