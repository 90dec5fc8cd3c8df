//! `identify`: who of the people of a folder is on a picture.

use anyhow::{Result, ensure};
use embedding_eval::{LabelledRows, Templates, cosine_similarity, templates};
use serde::Serialize;

use super::cli::IdentifyFlags;
use super::trained_model::TrainedModel;
use super::{Answer, print_answer};
use crate::data::face_set::{Face, FaceSet};
use crate::data::folder::{load_any, load_picture};

/// What `identify --json` prints.
#[derive(Serialize)]
struct Identity<'a> {
    probe: String,
    threshold: f64,
    /// The name of the operating point.
    far: String,
    /// The nearest person, if the score reaches the threshold.
    person: Option<&'a str>,
    nearest: Vec<Candidate<'a>>,
}

/// Somebody in the gallery.
#[derive(Serialize)]
struct Candidate<'a> {
    person: &'a str,
    score: f64,
    pictures: usize,
}

/// `identify`: prints the people of a gallery who are nearest to a picture, and whether the nearest is near enough.
///
/// # Errors
///
/// If the picture, the gallery or the run cannot be read, the run has no such threshold, or the answer cannot be
/// written.
pub fn command(flags: &IdentifyFlags) -> Result<Answer> {
    let model = TrainedModel::open(&flags.run)?;
    let threshold = model.threshold(&flags.threshold)?.cosine;
    let probe = load_picture(&flags.probe, &model.reader)?;
    let (gallery, report) = load_any(&flags.gallery, &model.reader)?;
    note!("{}: {report}", flags.gallery.display());
    ensure!(
        gallery.people != [""],
        "--gallery: {} has pictures and no people; give each person a folder in it",
        flags.gallery.display()
    );

    let candidates = candidates(&model, probe, &gallery)?;
    let far = flags.threshold.far;
    let person = candidates.first().filter(|nearest| nearest.score >= threshold).map(|nearest| nearest.person);
    let nearest: Vec<Candidate> = candidates.into_iter().take(flags.top).collect();
    let answer = if person.is_some() { Answer::Yes } else { Answer::No };
    if flags.json {
        let (probe, far) = (flags.probe.display().to_string(), far.to_string());
        print_answer(&serde_json::to_string(&Identity { probe, threshold, far, person, nearest })?)?;
        return Ok(answer);
    }
    let line =
        |Candidate { person, score, pictures }: Candidate| format!("{score:>7.4}  {person} ({pictures} pictures)");
    let mut lines: Vec<String> = nearest.into_iter().map(line).collect();
    lines.push(format!("threshold {threshold:.4} ({})", far.describe()));
    lines.push(format!("verdict   {}", person.unwrap_or("unknown: nobody in the gallery is near enough")));
    print_answer(&lines.join("\n"))?;
    Ok(answer)
}

/// The people of a gallery, from the nearest on; of equally near ones the first in the gallery.
fn candidates<'a>(model: &TrainedModel, probe: Face, gallery: &'a FaceSet) -> Result<Vec<Candidate<'a>>> {
    for face in gallery.faces.iter().filter(|face| face.fingerprint() == probe.fingerprint()) {
        note!("note: the picture itself is in the gallery, as {:?}", face.file.as_deref().unwrap_or("".as_ref()));
    }
    let persons: Vec<usize> = gallery.faces.iter().map(|face| face.person).collect();
    let embeddings = model.embed(gallery)?;
    let dim = embeddings.len() / persons.len();
    let Templates { labels, embeddings } = templates(LabelledRows::new(&embeddings, dim, &persons)?);
    let probe = model.embed(&FaceSet { size: gallery.size, people: vec![String::new()], faces: vec![probe] })?;
    let counts = gallery.pictures_per_person();
    let mut candidates = Vec::new();
    for (&person, template) in labels.iter().zip(embeddings.chunks_exact(dim)) {
        let score = cosine_similarity(&probe, template)?;
        candidates.push(Candidate { person: &gallery.people[person], score, pictures: counts[person] });
    }
    candidates.sort_by(|one, other| other.score.total_cmp(&one.score));
    Ok(candidates)
}
