//! `eval`: measures a finished run.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};

use super::cli::EvalFlags;
use super::report::Metrics;
use super::trained_model::TrainedModel;
use crate::data::face_set::FaceSet;
use crate::data::folder::{Reader, Wanted, load_listed, load_numbered, load_packed, read_points};
use crate::model::embed::Views;
use crate::model::face_model::untrained_trunk;
use crate::protocols::lfw::{PairFigures, PairsFile, Thresholding};
use crate::protocols::people::{People, Seen, read_test_folder};
use crate::protocols::templates::{Subjects, TemplateFigures, TemplatePair, TemplatePicture, TemplateSums, read_lines};
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
    let mut model = TrainedModel::open(&flags.run)?;
    if let Some(path) = &flags.json {
        model.run.ensure_foreign(path, "--json")?;
    }
    say!("run: {}", model.run.path().display());
    say!("backend: {} ({})", model.config.backend, backend::describe(&model.device));
    let json = match (&flags.pairs, &flags.bin, &flags.data) {
        (Some(pairs), _, Some(directory)) => of_pairs(&model, pairs, directory, flags.protocol)?,
        (_, Some(bin), _) => of_packed(&model, bin, flags.protocol)?,
        (_, _, Some(directory)) if flags.templates.is_some() => of_templates(&mut model, flags, directory)?,
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
        untrained: protocol.verify(&Views::of(config), &untrained_trunk(config, device), &test, device)?,
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

fn of_packed(model: &TrainedModel, bin: &Path, protocol: Thresholding) -> Result<String> {
    let (faces, same) = load_packed(bin, &model.reader)?;
    say!("test:  {} pictures in {} pairs, {}", faces.faces.len(), same.len(), seen(model, &faces));
    let figures = PairFigures::of_rows(&model.embed(&faces)?, &same, protocol)
        .with_context(|| format!("the pairs {}", bin.display()))?;
    say!("{figures}");
    Ok(serde_json::to_string_pretty(&figures)? + "\n")
}

/// Pictures that are in memory at once, of a set that may have half a million.
const AT_ONCE: usize = 1024;

fn of_templates(model: &mut TrainedModel, flags: &EvalFlags, directory: &Path) -> Result<String> {
    let list = flags.templates.as_deref().context("--templates is missing")?;
    let asks = flags.template_pairs.is_some() || !flags.gallery.is_empty();
    ensure!(asks, "templates: give --template-pairs, or --gallery and --probes, which say what is asked of them");
    let pictures: Vec<TemplatePicture> = read_lines(list)?;
    let pairs: Option<Vec<TemplatePair>> = flags.template_pairs.as_deref().map(read_lines).transpose()?;
    let gallery = |path: &PathBuf| {
        let name = path.file_stem().map_or_else(|| path.display().to_string(), |stem| stem.display().to_string());
        Ok((name, Subjects::read_gallery(path)?))
    };
    let galleries = flags.gallery.iter().map(gallery).collect::<Result<Vec<_>>>()?;
    let probes = flags.probes.as_deref().map(Subjects::read).transpose()?;
    let mut scores = None;
    if let Some(points) = &flags.points {
        let (landmarks, of_file) = read_points(points, directory)?;
        let wanted = Wanted { landmarks: Some(Arc::new(landmarks)), ..Wanted::of(&model.config, None)? };
        model.reader = Reader::new(wanted, &model.config.reading)?;
        scores = Some(of_file);
    }

    // Embedding may take hours, so what is missing is told before.
    let known: HashSet<u32> = pictures.iter().map(|picture| picture.template).collect();
    let of_subjects = galleries.iter().map(|(_, subjects)| subjects).chain(&probes).flat_map(Subjects::templates);
    let mut asked = pairs.iter().flatten().flat_map(TemplatePair::templates).chain(of_subjects);
    if let Some(unknown) = asked.find(|template| !known.contains(template)) {
        bail!("templates: template {unknown} is asked for, and has no picture in {}", list.display());
    }
    for TemplatePicture { name, .. } in &pictures {
        ensure!(directory.join(name).is_file(), "templates: there is no picture {name} in {}", directory.display());
        let has_score = scores.as_ref().is_none_or(|scores| scores.contains_key(name));
        ensure!(has_score, "points: {name} has no line");
    }

    let trained = model.run.trained_pictures();
    let mut seen = Seen::default();
    let mut sums = TemplateSums::default();
    for (chunk, some) in pictures.chunks(AT_ONCE).enumerate() {
        let names: Vec<&str> = some.iter().map(|picture| picture.name.as_str()).collect();
        let faces = load_listed(directory, &names, &model.reader)?;
        let embeddings = model.embed(&faces)?;
        for (picture, embedding) in some.iter().zip(embeddings.chunks_exact(embeddings.len() / some.len())) {
            let weight = scores.as_ref().and_then(|scores| scores.get(&picture.name));
            sums.add(picture, embedding, weight.copied().unwrap_or(1.0));
        }
        if let Ok(trained) = &trained {
            seen = seen.and(Seen::new(trained, &faces));
        }
        say!("embedded {} of {} pictures", chunk * AT_ONCE + some.len(), pictures.len());
    }
    match trained {
        Ok(_) => say!("test:  {seen}"),
        Err(error) => say!("warning: whether these pictures are trained on cannot be told: {error:#}"),
    }
    let templates = sums.templates();
    let figures = TemplateFigures {
        pictures: pictures.len(),
        templates: templates.count(),
        verification: pairs.as_deref().map(|pairs| templates.verify(pairs)).transpose()?,
        search: probes.as_ref().map(|probes| templates.search(probes, &galleries)).transpose()?.unwrap_or_default(),
    };
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
