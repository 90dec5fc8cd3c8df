//! A run from beginning to end.

use face_embedding::protocols::verification::Verification;
use face_embedding::settings::config::TrainConfig;
use face_embedding::settings::loss::LossKind;
use face_embedding::training::epoch_table::{self, EpochRow};

use super::{TINY, fresh, metrics, refused, run};

#[test]
fn a_run_writes_its_files_and_eval_gives_the_same_figures() {
    let output = fresh("whole_run").join("run");
    let path = output.display();
    run(&format!("train {TINY} --output {path}")).expect("a tiny run works");

    let rows = epoch_table::read(&output.join("metrics.csv")).expect("one row per epoch");
    assert_eq!(rows.iter().map(|row| row.epoch).collect::<Vec<_>>(), [1, 2]);
    assert!(rows.iter().all(|row| row.loss.is_finite() && row.images_per_second > 0.0));
    for part in ["model", "optim", "scheduler"] {
        assert!(output.join(format!("checkpoint/{part}-2.bpk")).is_file());
    }
    assert!(output.join("trunk.safetensors").is_file());

    let trained = metrics(&output.join("metrics.json"));
    let in_range = |figures: &Verification| {
        let shares = [figures.accuracy, figures.auc, figures.eer, 2.0 * figures.accuracy_std];
        shares.iter().all(|share| (0.0..=1.0).contains(share))
    };
    assert!(in_range(&trained.verification) && in_range(&trained.untrained), "{trained:?}");
    assert_eq!(
        trained.verification.tar_at_far.keys().collect::<Vec<_>>(),
        ["1e-1", "1e-2", "1e-3", "1e-4", "1e-5", "1e-6"]
    );
    assert_eq!((trained.backend.as_str(), trained.seed), ("flex", 5));

    // 6 people with 6 pictures each: 6 * 15 genuine of 36 * 35 / 2 pairs; 540 impostor pairs measure 1 in 100.
    let thresholds = &trained.verification.thresholds;
    assert_eq!((thresholds.genuine_pairs, thresholds.impostor_pairs), (90, 540));
    let found: Vec<bool> = thresholds.at_far.values().map(Option::is_some).collect();
    assert_eq!(thresholds.at_far.keys().collect::<Vec<_>>(), ["1e-1", "1e-2", "1e-3", "1e-4"]);
    assert!(found[0] && !found[2] && !found[3], "{thresholds:?}");

    let Verification { search, intervals, auc, .. } = &trained.verification;
    assert_eq!((search.gallery, search.probes, search.cmc.len(), search.cmc[5]), (6, 30, 6, 1.0));
    assert!(intervals.auc[0] < *auc && *auc < intervals.auc[1], "{intervals:?}");

    let json = output.join("eval.json");
    run(&format!("eval --model {path} --json {}", json.display())).expect("the run can be read");
    assert_eq!(metrics(&json), trained);

    // What train wrote is accepted back, and gives the same run.
    let again = output.with_file_name("again");
    let config = output.join("config.json");
    run(&format!("train --config {} --output {}", config.display(), again.display()))
        .expect("a written configuration is accepted");
    let load = |path| TrainConfig::load(path).expect("a configuration");
    assert_eq!(load(&again.join("config.json")), load(&config));
    let repeated = epoch_table::read(&again.join("metrics.csv")).expect("one row per epoch");
    for (row, repeated) in rows.iter().zip(&repeated) {
        assert_eq!((row.loss, row.mean_angle), (repeated.loss, repeated.mean_angle));
    }
    assert_eq!(metrics(&again.join("metrics.json")).verification, trained.verification);
}

#[test]
fn every_loss_trains() {
    let folder = fresh("every_loss");
    for loss in LossKind::ALL {
        let output = folder.join(loss.to_string());
        run(&format!("train {TINY} --loss {loss} --output {}", output.display()))
            .unwrap_or_else(|error| panic!("{loss}: {error}"));
        let rows = epoch_table::read(&output.join("metrics.csv")).expect("one row per epoch");
        assert!(rows.iter().all(|row| row.loss.is_finite()), "{loss}: {rows:?}");
        let angles: Vec<f64> = rows.iter().map(|row| row.mean_angle).collect();
        assert!(angles.iter().all(|angle| (0.1..3.0).contains(angle)), "{loss}: {angles:?}");
        for row in rows {
            assert!((0.1..3.0).contains(&row.nearest_other_angle), "{loss}: {row:?}");
            assert!(row.embedding_length > 0.0 && row.embedding_length.is_finite(), "{loss}: {row:?}");
            // Of few directions, drawn at random.
            assert!((0.01..1.0).contains(&row.direction_variance), "{loss}: {row:?}");
            assert_eq!(row.bad_labels, 0.0, "{loss}");
        }
    }
}

#[test]
fn a_run_is_never_overwritten() {
    let output = fresh("kept");
    std::fs::write(output.join("config.json"), "{}").expect("the test folder is writable");
    let error = refused(&format!("train {TINY} --output {}", output.display()));
    assert!(error.contains("already holds a run"), "{error}");
    let kept = std::fs::read_to_string(output.join("config.json")).expect("still there");
    assert_eq!(kept, "{}");
}

#[test]
fn a_loss_that_explodes_is_an_error() {
    let output = fresh("explodes").join("run");
    let flags = "--loss softmax+center --center-weight 1000 --lr 10 --head-lr 10 --warmup-share 0";
    let error = refused(&format!("train {TINY} {flags} --epochs 40 --output {}", output.display()));
    assert!(
        error.contains("the loss became") && error.contains("; try a smaller --lr or --head-lr, or --clip-norm"),
        "{error}"
    );
    assert!(!output.join("metrics.json").exists());
}

#[test]
fn a_missing_run_is_an_error() {
    let error = refused("eval --model no-such-run");
    assert!(error.contains("error: no-such-run holds no run: it has no config.json"), "{error}");
}

#[test]
fn a_folder_that_is_no_run_is_told_from_one_that_is_not_finished() {
    let folder = fresh("foreign").join("my models");
    std::fs::create_dir_all(&folder).expect("the test folder is writable");
    std::fs::write(folder.join("config.json"), "{}").expect("the test folder is writable");
    let eval = || {
        let command = std::process::Command::new(env!("CARGO_BIN_EXE_face-embedding"))
            .args(["eval".as_ref(), "--run".as_ref(), folder.as_os_str()])
            .output()
            .expect("the binary starts");
        assert_eq!(command.status.code(), Some(2));
        String::from_utf8_lossy(&command.stderr).into_owned()
    };
    let error = eval();
    assert!(
        error.contains("holds no run: it has a config.json, and neither") && !error.contains("--resume"),
        "{error}"
    );
    std::fs::write(folder.join("people.json"), "[]").expect("the test folder is writable");
    let error = eval();
    assert!(
        error.contains(&format!("continue it with: face-embedding train --resume --output '{}'", folder.display())),
        "{error}"
    );
}

#[test]
fn two_processes_do_not_train_in_one_folder() {
    let output = fresh("twins").join("run");
    std::fs::create_dir_all(&output).expect("the test folder is writable");
    // What the other process holds while it trains.
    let lock = std::fs::File::create(output.join("run.lock")).expect("the test folder is writable");
    lock.lock().expect("nobody else holds it");
    let error = refused(&format!("train {TINY} --output {}", output.display()));
    assert!(error.contains("another process is training in"), "{error}");

    drop(lock);
    run(&format!("train {TINY} --output {}", output.display())).expect("the folder is free again");
    assert!(!output.join("run.lock").exists());
}

#[test]
fn a_reader_that_goes_away_does_not_stop_a_training() {
    let output = fresh("unread").join("run");
    let line = format!("train {TINY} --output {}", output.display());
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_face-embedding"))
        .args(line.split_whitespace())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("the binary starts");
    drop(child.stdout.take());

    assert!(child.wait().expect("it ends").success());
    assert!(output.join("metrics.json").is_file());
}

/// By hand: three batches are two steps, so there are four in all, and the rate of step k is 0.1 (1 - k / 4).
#[test]
fn rates_follow_the_steps_of_the_optimizer_and_long_gradients_are_shortened() {
    let folder = fresh("accumulate");
    let rows = |name: &str, flags: &str| {
        let output = folder.join(name);
        let schedule = "--schedule polynomial --power 1 --warmup-share 0 --lr 0.1 --accumulate 2";
        run(&format!("train {TINY} {schedule} {flags} --output {}", output.display())).expect("a tiny run works");
        epoch_table::read(&output.join("metrics.csv")).expect("one row per epoch")
    };
    let whole = rows("whole", "");
    for (row, rate) in whole.iter().zip([0.075, 0.025]) {
        assert!((row.learning_rate - rate).abs() < 1e-9, "{row:?}");
    }
    let shortened = rows("shortened", "--clip-norm 1e-6");
    // Both rows were made of nearly the first weights, which have been seen by one of two steps of the other run.
    assert!((shortened[0].loss - shortened[1].loss).abs() < (whole[0].loss - whole[1].loss).abs(), "{shortened:?}");
    assert_ne!(shortened[1].loss, whole[1].loss);
}

/// By hand: six steps, of which the first four are the rise; the third has 2 / 4 of the margin and the sixth all of it.
#[test]
fn a_margin_rises_over_the_first_steps() {
    let folder = fresh("margin_rise");
    let rows = |name: &str, flags: &str| {
        let output = folder.join(name);
        run(&format!("train {TINY} --margin 0.5 {flags} --output {}", output.display())).expect("a tiny run works");
        let report = std::fs::read_to_string(output.join("report.html")).expect("it was written");
        let is_drawn = report.contains("<figcaption>Margin</figcaption>");
        (epoch_table::read(&output.join("metrics.csv")).expect("one row per epoch"), is_drawn)
    };
    let (rising, is_drawn) = rows("rising", "--margin-warmup-share 0.6667");
    assert_eq!(rising.iter().map(|row| row.margin).collect::<Vec<_>>(), [Some(0.25), Some(0.5)]);
    assert!(is_drawn);
    let (both, _) = rows("both", "--loss combinedmargin --cosine-margin 0.2 --margin-warmup-share 0.6667");
    let margins = |row: &EpochRow| (row.margin, row.cosine_margin);
    assert_eq!(both.iter().map(margins).collect::<Vec<_>>(), [(Some(0.25), Some(0.1)), (Some(0.5), Some(0.2))]);
    // From 4 to 16 in four steps: half of the way in the third, and all of it in the sixth.
    let (scaled, _) = rows("scaled", "--scale-start 4 --scale-warmup-share 0.6667");
    assert_eq!(scaled.iter().map(|row| row.scale).collect::<Vec<_>>(), [Some(10.0), Some(16.0)]);
    let (whole, is_drawn) = rows("whole", "");
    assert!(
        whole[0].scale == Some(16.0) && scaled[0].loss < whole[0].loss - 1.0,
        "{} {}",
        scaled[0].loss,
        whole[0].loss
    );
    assert_eq!(whole[0].margin, Some(0.5));
    assert!(!is_drawn);
    // A smaller margin is a smaller loss.
    assert!(rising[0].loss < whole[0].loss - 1.0, "{} {}", rising[0].loss, whole[0].loss);
}
