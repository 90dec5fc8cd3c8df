//! `embed`: the embeddings of the pictures of a folder, as a file.

use std::path::Path;

use anyhow::{Context, Result, ensure};

use super::cli::EmbedFlags;
use super::embeddings_file::{Format, Name, encode};
use super::trained_model::TrainedModel;
use crate::data::face_set::{Face, FaceSet};
use crate::data::folder;
use crate::training::files;

/// `embed`: writes the embeddings of the pictures of a folder.
///
/// # Errors
///
/// If the run or the folder cannot be read, or the file cannot be written.
pub fn command(flags: &EmbedFlags) -> Result<()> {
    let format = Format::of(&flags.output)?;
    let folder = flags.output.parent().filter(|folder| !folder.as_os_str().is_empty());
    ensure!(folder.is_none_or(Path::is_dir), "--output: there is no folder to write {} to", flags.output.display());
    let model = TrainedModel::open(&flags.run)?;
    model.run.ensure_foreign(&flags.output, "--output")?;
    let (faces, report) = folder::load_any(&flags.directory, &model.reader)?;
    say!("{}: {report}", flags.directory.display());
    let names: Vec<Name> =
        faces.faces.iter().map(|face| name(face, &faces, &flags.directory)).collect::<Result<_>>()?;
    let embeddings = model.embed(&faces)?;
    files::write(&flags.output, &encode(format, &names, &embeddings)?)?;
    let dim = embeddings.len() / names.len();
    say!("wrote {} embeddings of {dim} values to {}", names.len(), flags.output.display());
    Ok(())
}

fn name(face: &Face, faces: &FaceSet, directory: &Path) -> Result<Name> {
    let path = face.file.as_deref().context("a picture of a folder has a file")?;
    let parts = path.strip_prefix(directory)?.iter().map(|part| {
        part.to_str().with_context(|| format!("the name of the file {path:?} must be UTF-8, which the file can hold"))
    });
    Ok(Name { file: parts.collect::<Result<Vec<_>>>()?.join("/"), person: faces.people[face.person].clone() })
}
