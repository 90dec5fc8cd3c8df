//! Embeddings of a set of pictures.

use anyhow::Result;
use burn::tensor::Device;

use super::trunk::Trunk;
use crate::data::augment::Change;
use crate::data::face_set::{Face, FaceSet, pixels};
use crate::data::tensor::pictures;

/// Pictures embedded at once, where they are small.
const BATCH: usize = 128;
/// Places in the pictures embedded at once: the first features of a large network have 64 numbers for each.
const PLACES: usize = 128 * 64 * 64;

/// The embeddings of all pictures, `[pictures, embedding_size]`, row-major; each is the sum of the
/// embedding of the picture and of its mirror image, as the field does.
///
/// # Errors
///
/// If a picture or an embedding cannot be read.
pub(crate) fn embed(trunk: &Trunk, faces: &FaceSet, device: &Device) -> Result<Vec<f32>> {
    let mut embeddings = Vec::new();
    let at_once = (PLACES / (faces.size * faces.size)).clamp(1, BATCH);
    for batch in faces.faces.chunks(at_once) {
        let batch = pixels(&batch.iter().collect::<Vec<&Face>>())?;
        let of = |change| pictures(batch.iter().map(|pixels| (&**pixels, change)), faces.size, device);
        let both = trunk.forward(of(Change::NONE)) + trunk.forward(of(Change::MIRROR));
        embeddings.extend(both.try_into_data()?.iter::<f32>());
    }
    Ok(embeddings)
}
