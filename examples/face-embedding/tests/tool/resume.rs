//! `--resume`: a run that was killed ends as one that was not.

use std::fs;
use std::path::Path;

use face_embedding::training::epoch_table::{self, EpochRow};
use sha2::Digest;

use super::{TINY, fresh, metrics, refused, run};

fn rows(run: &Path) -> Vec<EpochRow> {
    epoch_table::read(&run.join("metrics.csv")).expect("one row per epoch")
}

/// Leaves what a kill during the third epoch's checkpoint leaves.
pub(super) fn kill_in_epoch_3(run: &Path) {
    let checkpoint = |part: &str| run.join(format!("checkpoint/{part}-3.bpk"));
    let whole = fs::read(checkpoint("model")).expect("a checkpoint of the last epoch");
    fs::write(checkpoint("model"), &whole[..whole.len() / 2]).expect("it can be cut short");
    for file in [checkpoint("optim"), checkpoint("scheduler")] {
        fs::remove_file(file).expect("a checkpoint of the last epoch");
    }
    for file in ["metrics.json", "trunk.safetensors"] {
        fs::remove_file(run.join(file)).expect("the run was finished");
    }
}

#[test]
fn a_killed_run_ends_as_one_that_was_not() {
    let output = fresh("killed").join("run");
    let path = output.display();
    // Different rates, so that a lost group would show.
    let learning = "--lr 0.05 --head-lr 0.2 --dropout 0.3 --schedule polynomial --power 1.5 \
                    --accumulate 2 --clip-norm 2";
    run(&format!("train {TINY} --epochs 3 {learning} --output {path}")).expect("a tiny run works");
    let (whole_rows, whole) = (rows(&output), metrics(&output.join("metrics.json")));

    kill_in_epoch_3(&output);
    let error = refused(&format!("eval --model {path}"));
    let resume = format!("; continue it with: face-embedding train --resume --output {path}");
    assert!(error.contains("its training is not finished") && error.ends_with(&format!("{resume}\n")), "{error}");
    run(&format!("train --resume --output {path}")).expect("the run can be continued");

    let resumed = rows(&output);
    assert_eq!(resumed.len(), 3);
    assert_eq!(resumed[..2], whole_rows[..2]);
    let (resumed, whole_row) = (resumed[2], whole_rows[2]);
    assert_eq!(resumed.learning_rate, whole_row.learning_rate);
    assert_eq!(resumed.head_learning_rate, whole_row.head_learning_rate);
    assert!((resumed.head_learning_rate - 4.0 * resumed.learning_rate).abs() < 1e-7);
    assert_eq!((resumed.loss, resumed.mean_angle), (whole_row.loss, whole_row.mean_angle));
    let resumed = metrics(&output.join("metrics.json"));
    assert_eq!(resumed.verification, whole.verification);
    assert_eq!(resumed.untrained, whole.untrained);
}

#[test]
fn a_run_that_was_killed_after_training_is_measured() {
    let output = fresh("unmeasured").join("run");
    let path = output.display();
    run(&format!("train {TINY} --output {path}")).expect("a tiny run works");
    let whole = metrics(&output.join("metrics.json"));
    for file in ["metrics.json", "trunk.safetensors"] {
        fs::remove_file(output.join(file)).expect("the run was finished");
    }
    run(&format!("train --resume --output {path}")).expect("the run can be continued");
    assert_eq!(metrics(&output.join("metrics.json")), whole);
}

#[test]
fn a_finished_run_can_be_prolonged() {
    let output = fresh("prolonged").join("run");
    let path = output.display();
    run(&format!("train {TINY} --lr 0.05 --head-lr 0.2 --output {path}")).expect("a tiny run works");
    run(&format!("train --resume --epochs 3 --output {path}")).expect("it can be prolonged");
    let rows = rows(&output);
    assert_eq!(rows.iter().map(|row| row.epoch).collect::<Vec<_>>(), [1, 2, 3]);
    assert!(rows[2].learning_rate > 0.0);
    assert!((rows[2].head_learning_rate - 4.0 * rows[2].learning_rate).abs() < 1e-7);
    assert!(output.join("trunk.safetensors").is_file());
}

#[test]
fn a_resumed_run_keeps_its_settings() {
    let output = fresh("other_settings");
    fs::write(output.join("config.json"), r#"{"lr": 0.5}"#).expect("the test folder is writable");
    let error = refused(&format!("train --resume --lr 0.25 --output {}", output.display()));
    assert!(error.contains("lr: the run was begun with 0.5, got 0.25"), "{error}");
}

#[test]
fn the_default_run_with_the_highest_number_is_resumed_and_a_new_one_comes_after_it() {
    let folder = fresh("numbers");
    let run_there = |line: &str| {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_face-embedding"))
            .args(line.split_whitespace())
            .current_dir(&folder)
            .output()
            .expect("the binary starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    run_there(&format!("train {TINY}"));
    // Number 2 is not there, and others are no numbers.
    fs::rename(folder.join("runs/face-embedding"), folder.join("runs/face-embedding-3")).expect("writable");
    fs::create_dir(folder.join("runs/face-embedding-old")).expect("writable");
    fs::create_dir(folder.join("runs/face-embedding-007")).expect("writable");
    let text = run_there("train --resume --epochs 3");
    assert!(text.contains("run: runs/face-embedding-3, continued after epoch 2"), "{text}");
    let text = run_there(&format!("train {TINY}"));
    assert!(text.contains("run: runs/face-embedding-4\n"), "{text}");
}

#[test]
fn a_trained_trunk_without_a_checkpoint_is_not_trained_over() {
    let output = fresh("no_checkpoint").join("run");
    let path = output.display();
    run(&format!("train {TINY} --output {path}")).expect("a tiny run works");
    fs::remove_dir_all(output.join("checkpoint")).expect("it was written");
    let error = refused(&format!("train --resume --output {path}"));
    assert!(error.contains("has a trained trunk and no checkpoint"), "{error}");
    run(&format!("eval --model {path}")).expect("nothing has changed");
}

#[test]
fn there_must_be_a_run_to_resume() {
    let output = fresh("nothing");
    let error = refused(&format!("train --resume --output {}", output.display()));
    assert!(error.contains("holds no run"), "{error}");
}

/// What this version writes and the one before did not.
const NEW_SETTINGS: [&str; 13] = [
    "margin_start",
    "scale_start",
    "scale_warmup_share",
    "accumulate",
    "clip_norm",
    "validate_every",
    "keep",
    "checkpoint_steps",
    "margin_warmup_share",
    "sample_rate",
    "cache_mib",
    "workers",
    "devices",
];

/// A text as the version before wrote it: without the lines of the new settings, and of the new part of a checkpoint.
fn as_before(text: &str) -> String {
    let mut is_figures = false;
    let is_old = |line: &&str| {
        is_figures |= line.contains("\"figures-");
        let is_new = is_figures || NEW_SETTINGS.iter().any(|name| line.contains(&format!("\"{name}\": ")));
        is_figures &= !line.contains('}');
        !is_new
    };
    text.lines().filter(is_old).map(|line| format!("{line}\n")).collect()
}

/// What a manifest says of the content of a file.
fn seal(bytes: &[u8]) -> String {
    let sha256: String = sha2::Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("\"bytes\": {},\n      \"sha256\": \"{sha256}\"", bytes.len())
}

#[test]
fn a_run_of_the_version_before_is_measured_and_goes_on() {
    let output = fresh("version_before").join("run");
    let path = output.display();
    run(&format!("train {TINY} --output {path}")).expect("a tiny run works");
    let mut seals = Vec::new();
    for name in ["config.json", "metrics.csv"] {
        let text = fs::read_to_string(output.join(name)).expect("it was written");
        let before = match name {
            "metrics.csv" => {
                text.lines().map(|line| line.split(',').take(11).collect::<Vec<_>>().join(",") + "\n").collect()
            }
            _ => as_before(&text),
        };
        assert!(before.len() < text.len(), "{name}");
        fs::write(output.join(name), &before).expect("writable");
        seals.push((seal(text.as_bytes()), seal(before.as_bytes())));
    }
    for name in ["manifest.json", "checkpoint/manifest-1.json", "checkpoint/manifest-2.json"] {
        let text = fs::read_to_string(output.join(name)).expect("it was written");
        // Without its own.
        let (text, _) = text.rsplit_once(",\n  \"sha256\": \"").expect("it has a SHA-256 of its own");
        let mut text = as_before(&format!("{text}\n}}\n"));
        for (now, before) in &seals {
            text = text.replace(now, before);
        }
        fs::write(output.join(name), text).expect("writable");
    }
    for epoch in [1, 2] {
        fs::remove_file(output.join(format!("checkpoint/figures-{epoch}.json"))).expect("it was written");
    }

    run(&format!("eval --run {path}")).expect("it is whole");
    let text = run(&format!("train --resume --epochs 3 --output {path}")).expect("it can be prolonged");
    assert!(text.contains("continued after epoch 2") && !text.contains("going on with the settings"), "{text}");
    let rows = rows(&output);
    assert_eq!(rows.iter().map(|row| row.margin).collect::<Vec<_>>(), [None, None, Some(0.3)]);
    assert!(output.join("checkpoint/figures-3.json").is_file());
}
