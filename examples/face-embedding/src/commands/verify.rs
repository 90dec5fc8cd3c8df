//! `verify`: whether two pictures show the same person.

use anyhow::Result;
use embedding_eval::cosine_similarity;
use serde::Serialize;

use super::cli::VerifyFlags;
use super::trained_model::TrainedModel;
use super::{Answer, print_answer};
use crate::data::face_set::FaceSet;
use crate::data::folder::load_picture;

/// What `verify --json` prints.
#[derive(Serialize)]
struct Verdict<'a> {
    first: &'a str,
    second: &'a str,
    score: f64,
    threshold: f64,
    /// The name of the operating point.
    far: String,
    same_person: bool,
}

/// `verify`: prints the score of two pictures, the threshold and the verdict.
///
/// # Errors
///
/// If a picture or the run cannot be read, the run has no such threshold, or the answer cannot be written.
pub fn command(flags: &VerifyFlags) -> Result<Answer> {
    let model = TrainedModel::open(&flags.run)?;
    let threshold = model.threshold(&flags.threshold)?;
    let faces = [load_picture(&flags.first, &model.reader)?, load_picture(&flags.second, &model.reader)?];
    if faces[0].fingerprint() == faces[1].fingerprint() {
        note!("note: both are the same picture, which says nothing about the person");
    }
    let [first, second] = [&flags.first, &flags.second].map(|path| path.display().to_string());
    let set = FaceSet { size: model.reader.size(), people: vec![first.clone()], faces: faces.to_vec() };
    let embeddings = model.embed(&set)?;
    let (one, other) = embeddings.split_at(embeddings.len() / 2);
    let score = cosine_similarity(one, other)?;

    let same_person = score >= threshold.cosine;
    let (far, threshold) = (flags.threshold.far.to_string(), threshold.cosine);
    if flags.json {
        let verdict = Verdict { first: &first, second: &second, score, threshold, far, same_person };
        print_answer(&serde_json::to_string(&verdict)?)?;
    } else {
        let (far, verdict) =
            (flags.threshold.far.describe(), if same_person { "same person" } else { "different people" });
        print_answer(&format!("score     {score:.4}\nthreshold {threshold:.4} ({far})\nverdict   {verdict}"))?;
    }
    Ok(if same_person { Answer::Yes } else { Answer::No })
}
