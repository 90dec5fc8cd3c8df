//! `export`: a trained model as PyTorch has it, and as ONNX.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use serde::Serialize;

use super::cli::{ExportFlags, RunFlags};
use super::trained_model::TrainedModel;
use crate::model::embed::Views;
use crate::model::trunk::weights::to_safetensors;
use crate::settings::network::NetworkSettings;
use crate::training::files;
use crate::training::manifest::sha256;
use crate::training::run_directory::RunDirectory;

const BACKBONE: &str = "backbone.safetensors";
const CENTERS: &str = "centers.safetensors";
const ONNX: &str = "backbone.onnx";
const PREPROCESSING: &str = "preprocessing.json";

/// What a program needs to know to use the weights; the form of `preprocessing.json`.
#[derive(Serialize)]
struct Preprocessing {
    #[serde(flatten)]
    network: NetworkSettings,
    /// The shape of pictures.
    layout: [&'static str; 4],
    /// The order of colours.
    channels: &'static str,
    /// What a picture is cropped to, and how that is resized.
    crop: &'static str,
    resize: &'static str,
    /// Of bytes, by channel: `(byte - mean) / std`.
    mean: [f32; 3],
    std: [f32; 3],
    /// What the tool compares by cosine.
    embedding: &'static str,
    /// Of the views of a picture: down and right, in pixels, beyond the border the border repeated.
    places: Vec<[isize; 2]>,
    /// The classes in the order of the centers.
    people: Vec<String>,
    /// SHA-256 of the other files.
    sha256: BTreeMap<&'static str, String>,
}

/// `export`: writes a trained model for PyTorch, and with `--onnx` for others.
///
/// # Errors
///
/// If the run cannot be read, the folder holds a run or an export, a file cannot be written, or ONNX is not in this build.
pub fn command(flags: &ExportFlags) -> Result<()> {
    let output = &flags.output;
    let taken = [BACKBONE, CENTERS, ONNX, PREPROCESSING].into_iter().find(|name| output.join(name).exists());
    ensure!(
        taken.is_none() && !RunDirectory::at(output.clone()).holds_a_run(),
        "--output: {} holds a run or an export already; choose another folder",
        output.display()
    );
    let model = TrainedModel::open(&RunFlags { run: flags.run.clone(), backend: flags.backend, landmarks: None })?;
    let mut written = vec![(BACKBONE, to_safetensors(model.trunk.to_pytorch())?)];
    match model.run.load_head(&model.config, &model.device) {
        Ok(head) => match head.to_pytorch() {
            centers if centers.is_empty() => say!("note: there will be no {CENTERS}: {} has none", model.config.loss),
            centers => written.push((CENTERS, to_safetensors(centers)?)),
        },
        Err(error) => say!("note: there will be no {CENTERS}: {error:#}"),
    }
    if flags.onnx {
        written.push((ONNX, to_onnx(&model)?));
    }
    let preprocessing = Preprocessing {
        network: model.config.network.clone(),
        layout: ["picture", "channel", "row", "column"],
        channels: "RGB",
        crop: "the square in the center",
        resize: "cubic (Catmull-Rom)",
        mean: [127.5; 3],
        std: [127.5; 3],
        embedding: "the sum of those of the picture and of its mirror image, at all places",
        places: Views::of(&model.config).places().to_vec(),
        people: model.run.trained_people()?,
        sha256: written.iter().map(|(name, bytes)| (*name, sha256(bytes))).collect(),
    };
    written.push((PREPROCESSING, (serde_json::to_string_pretty(&preprocessing)? + "\n").into_bytes()));

    std::fs::create_dir_all(output).with_context(|| format!("cannot make the folder {}", output.display()))?;
    for (name, bytes) in &written {
        files::write(&output.join(name), bytes)?;
    }
    let names: Vec<&str> = written.iter().map(|(name, _)| *name).collect();
    say!("wrote {} to {}", names.join(", "), output.display());
    Ok(())
}

#[cfg(feature = "onnx")]
fn to_onnx(model: &TrainedModel) -> Result<Vec<u8>> {
    crate::model::trunk::onnx::to_onnx(&model.trunk, model.config.network.image_size(), &model.device)
}

#[cfg(not(feature = "onnx"))]
fn to_onnx(_: &TrainedModel) -> Result<Vec<u8>> {
    anyhow::bail!(
        "--onnx is not in this build; add it with: cargo run --release -p face-embedding --features onnx -- export ..."
    )
}
