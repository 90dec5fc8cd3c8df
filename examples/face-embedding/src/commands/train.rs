//! `train`: trains a new model or continues one, and measures it.

use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result, ensure};

use super::Answer;
use super::cli::TrainFlags;
use super::page::Page;
use super::report::Metrics;
use crate::data::face_set::FaceSet;
use crate::model::embed::Views;
use crate::model::face_model::untrained_trunk;
use crate::model::trunk::Trunk;
use crate::protocols::people::People;
use crate::protocols::verification::Protocol;
use crate::settings::backend;
use crate::settings::config::TrainConfig;
use crate::training::checkpoints::WholeCheckpoint;
use crate::training::epoch_table;
use crate::training::fit::{Trained, Training, fit};
use crate::training::initial::initial_trunk;
use crate::training::interruption::Interruption;
use crate::training::place::Place;
use crate::training::renderer::readable;
use crate::training::run_directory::RunDirectory;

/// Fewer steps than these have hardly moved the weights from where they began.
const FEW_STEPS: usize = 300;

/// `train`: trains a new model or continues one, measures it, and writes the files of the run.
///
/// # Errors
///
/// If a setting, the data, a file or the training fails.
pub fn command(flags: &TrainFlags) -> Result<Answer> {
    let began = Instant::now();
    let interruption = Interruption::listen("before the training began; nothing was trained")?;
    let Plan { run, mut config, checkpoints, initial } = Plan::new(flags)?;
    let checkpoint = checkpoints.first();
    let devices = config.open_devices()?;
    let device = devices[0].clone();
    match &config.devices {
        None => say!("backend: {} ({})", config.backend, backend::describe(&device)),
        Some(names) => {
            let described =
                names.iter().zip(&devices).map(|(name, device)| format!("{name} ({})", backend::describe(device)));
            say!("devices: {}", described.collect::<Vec<_>>().join("; "));
        }
    }
    if devices.len() > 1 && !config.loss.is_spread() {
        say!(
            "note: the loss {} cannot be spread over devices; the first one computes it of all embeddings",
            config.loss
        );
    }
    say!(
        "run: {}{}",
        run.path().display(),
        match checkpoint {
            Some(checkpoint) => format!(", continued after {}", checkpoint.place),
            None if flags.resume => ", from its beginning, as it has no checkpoint".to_string(),
            None => String::new(),
        }
    );

    let People { train, test, found } = People::load(&config)?;
    config.fit_to(train.faces.len(), train.people.len())?;
    let (_, batch_size) = config.length();
    config.loss_settings.check_sample(train.people.len(), batch_size, devices.len())?;
    if let Some(problem) = too_short(config.steps(train.faces.len())) {
        ensure!(!flags.require_better, "{problem}");
        say!("warning: {problem}");
    }
    let batches = train.faces.len() / batch_size;
    if config.optimization.accumulate > batches {
        say!(
            "warning: accumulate: an epoch has {batches} batches, so no step is of more; see --batch-size and --accumulate"
        );
    }
    if let Some([_, each]) = config.sampling.counts() {
        let fewer = with_fewer_pictures(&train, each);
        if fewer > 0 {
            say!(
                "warning: {fewer} of {} people have fewer than {each} pictures (--pictures-per-person), so that theirs are in \
                 a batch several times, changed in several ways",
                train.people.len()
            );
        }
    }
    let protocol = Protocol::new(&test, config.pair_seed)
        .context("the people to measure on (--held-out-share, --val-data or --test-people says who)")?;
    let protocol = Arc::new(protocol);
    let mut manifest = run.begin(&config, &train, &test, checkpoint)?;
    interruption.does_other(format!("before the first step; it begins with:\n{}", run.resume_command()));

    // Measured before training: Burn's batch statistics are shared by all copies of a model.
    let views = Views::of(&config);
    let untrained = protocol.verify(&views, &untrained_trunk(&config, &device), &test, &device)?;
    let training = Training {
        config: &config,
        run: &run,
        manifest: &manifest,
        checkpoints: &checkpoints,
        initial,
        faces: train,
        validate: {
            let (protocol, views, test, device) = (protocol.clone(), views.clone(), test.clone(), device.clone());
            Box::new(move |trunk| protocol.validate(&views, trunk, &test, &device))
        },
        interruption: interruption.clone(),
        devices: &devices,
    };
    let trunk = match fit(training)? {
        Trained::Trunk(trunk) => trunk,
        Trained::Interrupted(place) => {
            say!("interrupted after {place}, of which there is a checkpoint; go on with:");
            say!("{}", run.resume_command());
            return Ok(Answer::Interrupted);
        }
    };
    let measuring = format!("before the trained model was measured; go on with:\n{}", run.resume_command());
    interruption.does_other(measuring.clone());
    // It came after the last look that the training had.
    if interruption.is_requested() {
        note!("interrupted {measuring}");
        return Ok(Answer::Interrupted);
    }
    run.save_trunk(&trunk, &mut manifest)?;

    let epochs = run.epoch_rows()?;
    let (train_seconds, images_per_second) = epoch_table::totals(&epochs);
    let embeddings = views.embed(&trunk, &test, &device)?;
    let dim = embeddings.len() / test.faces.len();
    let metrics = Metrics {
        verification: protocol.measure(&embeddings, dim)?,
        untrained,
        images_per_second,
        train_seconds,
        backend: config.computing(),
        seed: config.seed,
        trunk: Some(run.trunk_sha256()?),
    };
    let page = Page {
        config: &config,
        metrics: &metrics,
        epochs: &epochs,
        test: &test,
        found: &found,
        answers: &protocol.answers(&embeddings, dim)?,
        embeddings: &embeddings,
    };
    run.finish(&metrics.to_json()?, &page.html(&device)?, manifest)?;
    metrics.print();
    say!(
        "trained at {images_per_second:.0} images/s; everything took {}; files are in {}; report.html shows them",
        readable(began.elapsed()),
        run.path().display()
    );
    if let Some(problem) = metrics.not_better() {
        // All files of the run are there.
        ensure!(!flags.require_better, "{problem}");
        say!("warning: {problem}");
    }
    Ok(Answer::Yes)
}

/// How many people have fewer pictures than these.
fn with_fewer_pictures(faces: &FaceSet, each: usize) -> usize {
    let mut counts = vec![0; faces.people.len()];
    faces.faces.iter().for_each(|face| counts[face.person] += 1);
    counts.into_iter().filter(|&count| count < each).count()
}

/// What is wrong with a run of so many steps, if it has few.
fn too_short(steps: usize) -> Option<String> {
    let of =
        |steps| format!("{steps} steps in all are few: below {FEW_STEPS} a model has hardly learned; see --epochs");
    (steps < FEW_STEPS).then(|| of(steps))
}

/// What to train, where, and from which epoch on.
struct Plan {
    run: RunDirectory,
    config: TrainConfig,
    /// Those that are whole, the last one first, where it goes on; none for a run from the beginning.
    checkpoints: Vec<WholeCheckpoint>,
    /// The trunk that `init` names, for a run from the beginning.
    initial: Option<Trunk>,
}

impl Plan {
    fn new(flags: &TrainFlags) -> Result<Self> {
        if !flags.resume {
            let mut config = flags.config()?;
            // Everything that can be wrong with the settings is looked at before a folder is made.
            let device = config.open_devices()?.swap_remove(0);
            let initial = initial_trunk(&mut config, &device)?;
            let run = RunDirectory::choose(flags.output.as_deref())?;
            return Ok(Self { run, config, checkpoints: Vec::new(), initial });
        }
        let run = RunDirectory::resume(flags.output.as_deref())?;
        let checkpoints = run.checkpoints()?;
        let checkpoint = checkpoints.first();
        let mut config = flags.resumed_config(&run.config_to_resume(checkpoint)?)?;
        if let (Some(epochs), Some(WholeCheckpoint { place, .. })) = (config.epochs, checkpoint) {
            let is_longer = *place <= Place::end_of(epochs);
            ensure!(is_longer, "epochs: the run has trained {} already, got {epochs}", place.epochs);
        }
        // The trunk of a checkpoint has taken the place of the one it began with.
        let initial = match checkpoint {
            Some(_) => None,
            None => {
                let device = config.open_devices()?.swap_remove(0);
                initial_trunk(&mut config, &device)?
            }
        };
        Ok(Self { run, config, checkpoints, initial })
    }
}
