//! `eval`, and what it shares with `train`: measuring a trunk on people it has never seen.

use anyhow::Result;
use burn::tensor::Device;

use crate::augment::Change;
use crate::batches::pictures;
use crate::cli::EvalFlags;
use crate::config::TrainConfig;
use crate::data::FaceSet;
use crate::model::{Trunk, trunk_config};
use crate::people::{People, read_folder};
use crate::report::{Metrics, Verification};
use crate::run_directory::RunDirectory;
use crate::verification::Protocol;
use crate::{backend, epoch_table};

/// Pictures embedded at once.
const BATCH: usize = 128;

/// `eval`: the figures of a finished run on the people of a folder, or on its own test people.
///
/// # Errors
///
/// If the run or the folder cannot be read, or has too few people or pictures.
pub fn command(flags: &EvalFlags) -> Result<Metrics> {
    let run = RunDirectory::open(&flags.model)?;
    let mut config = run.config()?;
    config.backend = flags.backend.unwrap_or(config.backend);
    let device = config.backend.device()?;
    say!("backend: {} ({})", config.backend, backend::describe(&device));

    let trained = run.load_trunk(&config, &device)?;
    let test = match &flags.data {
        Some(directory) => read_folder(directory, config.image_size)?,
        None => People::load(&config)?.test,
    };
    let protocol = Protocol::new(&test, config.seed)?;
    let (train_seconds, images_per_second) = epoch_table::totals(&run.epoch_rows()?);
    let metrics = Metrics {
        verification: verify(&trained, &test, &protocol, &device)?,
        untrained: verify(&untrained_trunk(&config, &device), &test, &protocol, &device)?,
        images_per_second,
        train_seconds,
        backend: config.backend.to_string(),
        seed: config.seed,
    };
    metrics.print();
    if let Some(path) = &flags.json {
        metrics.save(path)?;
    }
    Ok(metrics)
}

/// The trunk that a run with this configuration begins with.
pub(crate) fn untrained_trunk(config: &TrainConfig, device: &Device) -> Trunk {
    device.seed(config.seed);
    // Burn draws a weight when it is first used: with the first pictures, in the order of the network.
    trunk_config(config).init(device)
}

/// The figures of a trunk on a set of people.
///
/// # Errors
///
/// If an embedding cannot be read or is not finite.
pub(crate) fn verify(trunk: &Trunk, faces: &FaceSet, protocol: &Protocol, device: &Device) -> Result<Verification> {
    let embeddings = embed(trunk, faces, device)?;
    protocol.measure(&embeddings, embeddings.len() / faces.faces.len())
}

/// The embeddings of all pictures, `[pictures, embedding_size]`, row-major; each is the sum of the
/// embedding of the picture and of its mirror image, as the field does.
fn embed(trunk: &Trunk, faces: &FaceSet, device: &Device) -> Result<Vec<f32>> {
    let mut embeddings = Vec::new();
    for batch in faces.faces.chunks(BATCH) {
        let of = |change| pictures(batch.iter().map(|face| (face, change)), faces.size, device);
        let both = trunk.forward(of(Change::default())) + trunk.forward(of(Change::mirror()));
        embeddings.extend(both.try_into_data()?.iter::<f32>());
    }
    Ok(embeddings)
}
