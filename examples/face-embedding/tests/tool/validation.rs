//! What is measured between epochs, and the best of them.

use std::fs;

use face_embedding::protocols::people::People;
use face_embedding::settings::checkpointing::Checkpointing;
use face_embedding::settings::config::TrainConfig;
use face_embedding::settings::network::NetworkSettings;
use face_embedding::training::epoch_table;
use face_embedding::training::fit::{Trained, Training, fit};
use face_embedding::training::interruption::Interruption;
use face_embedding::training::run_directory::RunDirectory;

use super::{TINY, fresh, metrics, refused, run};

#[test]
fn a_run_that_is_measured_on_its_way_is_trained_alike() {
    let folder = fresh("measured");
    let trained = |name: &str, flags: &str| {
        let output = folder.join(name);
        let text = run(&format!("train {TINY} --epochs 5 {flags} --output {}", output.display())).expect("it works");
        let trunk = fs::read(output.join("trunk.safetensors")).expect("it was written");
        let rows = epoch_table::read(&output.join("metrics.csv")).expect("one row per epoch");
        let report = fs::read_to_string(output.join("report.html")).expect("it was written");
        let measured = metrics(&output.join("metrics.json")).verification;
        (text, trunk, rows, report, measured)
    };
    let (_, plain, plain_rows, plain_report, plain_figures) = trained("plain", "");
    let (text, trunk, rows, report, figures) = trained("measured", "--validate-every 2");
    assert!(plain == trunk, "the trunks differ");
    assert_eq!(plain_figures, figures);
    let loss_and_angle = |row: &epoch_table::EpochRow| (row.loss, row.mean_angle, row.direction_variance);
    assert!(plain_rows.iter().map(loss_and_angle).eq(rows.iter().map(loss_and_angle)));

    // After every second epoch, and after the last, where they are those of the finished run.
    assert!(plain_rows.iter().all(|row| row.validation_auc.is_none() && row.validation_eer.is_none()));
    let measured: Vec<bool> = rows.iter().map(|row| row.validation_auc.is_some()).collect();
    assert_eq!(measured, [false, true, false, true, true]);
    assert_eq!((rows[4].validation_auc, rows[4].validation_eer), (Some(figures.auc), Some(figures.eer)));
    assert!(text.contains("epoch  2/5 on the test people: AUC 0."), "{text}");
    let title = "Area under the curve, on the test people";
    assert!(report.contains(title) && !plain_report.contains(title));
}

#[test]
fn the_best_epoch_is_kept_also_over_a_resume() {
    let output = fresh("best").join("run");
    let path = output.display();
    // So large a rate spoils what has been learned.
    let flags = "--epochs 6 --lr 1 --head-lr 1 --warmup-share 0 --seed 7 --validate-every 1 --keep best";
    let text = run(&format!("train {TINY} {flags} --output {path}")).expect("it works");
    let rows = epoch_table::read(&output.join("metrics.csv")).expect("one row per epoch");
    let areas: Vec<f64> = rows.iter().map(|row| row.validation_auc.expect("measured")).collect();
    let best =
        areas.iter().enumerate().fold(0, |best, (place, area)| if *area > areas[best] { place } else { best }) + 1;
    assert!(best <= 4, "the test wants a run that is best before its end: {areas:?}");
    assert!(text.contains(&format!("the trunk is that of epoch {best}")), "{text}");
    let figures = metrics(&output.join("metrics.json")).verification;
    assert_eq!(figures.auc, areas[best - 1]);
    for epoch in 1..=6 {
        let is_there = output.join(format!("checkpoint/manifest-{epoch}.json")).exists();
        assert_eq!(is_there, epoch == best || epoch >= 5, "{epoch}");
    }
    // The head is that of the same checkpoint.
    run(&format!("export {path} --output {path}-exported")).expect("it can be exported");
    assert!(output.with_file_name("run-exported").join("centers.safetensors").is_file());

    // As a kill in the last checkpoint leaves it.
    let trunk = fs::read(output.join("trunk.safetensors")).expect("it was written");
    fs::remove_file(output.join("checkpoint/manifest-6.json")).expect("it was written");
    let text = run(&format!("train --resume --output {path}")).expect("it goes on");
    assert!(text.contains("continued after epoch 5") && text.contains(&format!("that of epoch {best}")), "{text}");
    assert!(fs::read(output.join("trunk.safetensors")).expect("it was written") == trunk);
    // What is kept is free to change.
    let text = run(&format!("train --resume --keep last --output {path}")).expect("it is measured anew");
    assert!(!text.contains("that of epoch"), "{text}");
    assert!(fs::read(output.join("trunk.safetensors")).expect("it was written") != trunk);
}

/// Without it all along, the best of the measured epochs has gone the way of the others.
#[test]
fn a_better_epoch_whose_checkpoint_is_gone_is_told() {
    let output = fresh("best_gone").join("run");
    let path = output.display();
    let flags = "--epochs 6 --lr 1 --head-lr 1 --warmup-share 0 --seed 7 --validate-every 1";
    run(&format!("train {TINY} {flags} --output {path}")).expect("it works");
    let rows = epoch_table::read(&output.join("metrics.csv")).expect("one row per epoch");
    let best = rows.iter().max_by(|one, other| one.validation_auc.partial_cmp(&other.validation_auc).expect("numbers"));
    let best = best.expect("six rows").epoch;
    assert!(best <= 4, "the test wants a run that is best before its last two epochs, not in {best}");
    let text = run(&format!("train --resume --keep best --output {path}")).expect("it is measured anew");
    assert!(text.contains(&format!("warning: epoch {best} was better")), "{text}");
}

/// As it fails where embeddings overflow for a while, and the loss does not.
#[test]
fn a_measurement_that_fails_ends_no_training() {
    let config = TrainConfig {
        people: 6,
        test_people: 6,
        pictures: 6,
        epochs: Some(2),
        batch_size: Some(12),
        checkpointing: Checkpointing { validate_every: 1, ..Checkpointing::default() },
        network: NetworkSettings {
            image_size: Some(16),
            width: Some(2),
            embedding_size: Some(8),
            ..Default::default()
        },
        ..TrainConfig::default()
    };
    let mut config = config.resolve().expect("in range");
    let People { train, test, .. } = People::load(&config).expect("they are drawn");
    config.fit_to(train.faces.len(), train.people.len()).expect("enough");
    let output = fresh("not_measured").join("run");
    let run = RunDirectory::choose(Some(&output)).expect("a new folder");
    let manifest = run.begin(&config, &train, &test, None).expect("writable");
    let trained = fit(Training {
        config: &config,
        run: &run,
        manifest: &manifest,
        checkpoints: &[],
        initial: None,
        faces: train,
        validate: Box::new(|_| anyhow::bail!("embeddings[0] must be finite, got NaN")),
        interruption: Interruption::listen("").expect("there are signals"),
        devices: &config.open_devices().expect("flex"),
    });
    assert!(matches!(trained.expect("it goes on"), Trained::Trunk(_)));
    let rows = epoch_table::read(&output.join("metrics.csv")).expect("one row per epoch");
    assert_eq!(rows.iter().map(|row| row.validation_auc).collect::<Vec<_>>(), [None, None]);
    assert!(output.join("checkpoint/manifest-2.json").is_file());
}

#[test]
fn the_best_needs_a_measurement() {
    let error = refused(&format!("train {TINY} --keep best --output {}", fresh("no_best").join("run").display()));
    assert!(error.contains("keep: the best epoch is known only where epochs are measured"), "{error}");
}
