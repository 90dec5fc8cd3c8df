//! Runs whose files were damaged: what is whole is used, and the rest is told.

use std::fs;
use std::path::{Path, PathBuf};

use super::{TINY, fresh, metrics, outcome, refused, run};

/// A finished run of two epochs.
fn finished(name: &str) -> PathBuf {
    let output = fresh(name).join("run");
    run(&format!("train {TINY} --output {}", output.display())).expect("a tiny run works");
    output
}

/// A copy of a run, to compare with.
fn copy(run: &Path) -> PathBuf {
    let copy = run.with_file_name("copy");
    for folder in ["", "checkpoint"] {
        fs::create_dir_all(copy.join(folder)).expect("the test folder is writable");
        for entry in fs::read_dir(run.join(folder)).expect("the run").map(|entry| entry.expect("a file")) {
            if entry.path().is_file() {
                fs::copy(entry.path(), copy.join(folder).join(entry.file_name())).expect("writable");
            }
        }
    }
    copy
}

/// Flips one bit in the middle of a file.
fn flip(path: &Path) {
    let mut bytes = fs::read(path).expect("the file was written");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(path, bytes).expect("writable");
}

#[test]
fn a_run_goes_on_from_its_checkpoint_whatever_else_is_damaged() {
    let output = finished("all_damaged");
    let whole = copy(&output);
    for file in ["config.json", "people.json", "test_people.json", "metrics.csv", "manifest.json", "metrics.json"] {
        fs::write(output.join(file), "").expect("writable");
    }
    fs::remove_file(output.join("trunk.safetensors")).expect("it was written");
    for leftover in ["config.json.7-0.tmp", "checkpoint/model-3.bpk.7-1.tmp"] {
        fs::write(output.join(leftover), "half").expect("writable");
    }

    let prolong = |path: &Path| run(&format!("train --resume --epochs 3 --output {}", path.display()));
    let text = prolong(&output).expect("the checkpoint is whole");
    for told in [
        "removed 2 files that were not finished",
        "going on with the settings of the checkpoint of epoch 2",
        "the rows of the first 2 epochs are lost",
        "continued after epoch 2",
    ] {
        assert!(text.contains(told), "{told}: {text}");
    }
    prolong(&whole).expect("nothing is damaged here");
    for file in ["config.json", "people.json", "test_people.json", "trunk.safetensors"] {
        let [one, other] = [&output, &whole].map(|run| fs::read(run.join(file)).expect("it was written"));
        assert!(one == other, "{file} differs");
    }
    let [one, other] = [&output, &whole].map(|run| metrics(&run.join("metrics.json")).verification);
    assert_eq!(one, other);
    assert!(!output.join("config.json.7-0.tmp").exists());
}

#[cfg(unix)]
#[test]
fn a_full_disk_leaves_the_run_as_it_was() {
    let output = finished("full_disk");
    let whole = copy(&output);
    let line = format!(
        "ulimit -f 0; trap '' XFSZ; exec {} train --resume --epochs 3 --output {}",
        env!("CARGO_BIN_EXE_face-embedding"),
        output.display()
    );
    let full = std::process::Command::new("sh").args(["-c", &line]).output().expect("a shell");
    let error = String::from_utf8_lossy(&full.stderr);
    assert!(!full.status.success() && error.contains("cannot write"), "{error}");
    for file in ["config.json", "people.json", "metrics.csv", "trunk.safetensors", "checkpoint/model-2.bpk"] {
        let [one, other] = [&output, &whole].map(|run| fs::read(run.join(file)).expect("still there"));
        assert!(one == other, "{file} differs");
    }
    run(&format!("train --resume --epochs 3 --output {}", output.display())).expect("there is space again");
}

#[test]
fn a_flipped_bit_in_the_trunk_is_seen_and_made_good() {
    let output = finished("flipped_trunk");
    let path = output.display();
    let before = fs::read(output.join("trunk.safetensors")).expect("it was written");
    flip(&output.join("trunk.safetensors"));
    let error = refused(&format!("eval --model {path}"));
    assert!(error.contains("trunk.safetensors is damaged: its bytes are not those that were written"), "{error}");
    assert!(error.contains(&format!("train --resume --output {path} makes it again")), "{error}");

    run(&format!("train --resume --output {path}")).expect("the checkpoint is whole");
    assert!(fs::read(output.join("trunk.safetensors")).expect("it was written") == before);
    run(&format!("eval --model {path}")).expect("it is whole again");
}

#[test]
fn a_flipped_bit_in_what_only_people_read_is_told() {
    let output = finished("flipped_page");
    let path = output.display();
    flip(&output.join("report.html"));
    let (status, _, told) = outcome(&format!("eval --model {path}"));
    assert_eq!(status, 0, "{told}");
    assert!(told.contains("warning: report.html is damaged: its bytes are not those that were written"), "{told}");
    flip(&output.join("test_people.json"));
    let error = refused(&format!("eval --model {path}"));
    assert!(error.contains("test_people.json is damaged: its bytes are not those that were written"), "{error}");
}

#[test]
fn figures_without_a_manifest_are_not_used() {
    let output = finished("no_manifest");
    let path = output.display();
    fs::remove_file(output.join("manifest.json")).expect("it was written");
    let error = refused(&format!("eval --model {path}"));
    assert!(error.contains("has no manifest.json") && error.contains("measures it anew"), "{error}");
    run(&format!("train --resume --output {path}")).expect("the checkpoint is whole");
    run(&format!("eval --model {path}")).expect("it is measured");

    fs::remove_file(output.join("manifest.json")).expect("it was written");
    fs::remove_dir_all(output.join("checkpoint")).expect("it was written");
    let error = refused(&format!("eval --model {path}"));
    assert!(error.contains("it has no checkpoint") && error.contains("begin a new run"), "{error}");
}

#[test]
fn a_run_that_is_prolonged_and_killed_has_no_figures_of_the_trunk_before() {
    let output = finished("prolonged");
    // The table of epochs cannot be written to, so the run ends after its beginning, as by a kill.
    fs::remove_file(output.join("metrics.csv")).expect("it was written");
    fs::create_dir(output.join("metrics.csv")).expect("writable");
    refused(&format!("train --resume --epochs 3 --output {}", output.display()));
    let config = fs::read_to_string(output.join("config.json")).expect("it was written");
    assert!(config.contains("\"epochs\": 3"), "{config}");
    assert!(!output.join("metrics.json").exists() && !output.join("manifest.json").exists());
    assert!(refused(&format!("eval --model {}", output.display())).contains("has no manifest.json"));
}

#[test]
fn settings_that_were_edited_are_told() {
    let output = finished("edited");
    let path = output.display();
    let config = output.join("config.json");
    let text = fs::read_to_string(&config).expect("it was written");
    fs::write(&config, text.replace("\"embedding_size\": 8", "\"embedding_size\": 9")).expect("writable");
    let error = refused(&format!("eval --model {path}"));
    assert!(error.contains("config.json is damaged"), "{error}");
    let told = run(&format!("train --resume --epochs 3 --output {path}")).expect("the checkpoint has the settings");
    assert!(told.contains("config.json has 9 for embedding_size, which was 8 in the training"), "{told}");
    assert_eq!(fs::read_to_string(&config).expect("written anew"), text.replace("\"epochs\": 2", "\"epochs\": 3"));
}

#[test]
fn a_flipped_bit_in_a_checkpoint_is_told_and_the_one_before_is_taken() {
    let output = finished("flipped_checkpoint");
    let path = output.display();
    flip(&output.join("checkpoint/optim-2.bpk"));
    let text = run(&format!("train --resume --output {path}")).expect("the first checkpoint is whole");
    assert!(text.contains("the checkpoint of epoch 2 cannot be used: optim-2.bpk is damaged"), "{text}");
    assert!(text.contains("continued after epoch 1"), "{text}");

    flip(&output.join("checkpoint/model-1.bpk"));
    flip(&output.join("checkpoint/manifest-2.json"));
    let error = refused(&format!("train --resume --output {path}"));
    assert!(error.contains("no checkpoint in") && error.contains("is whole"), "{error}");
}

#[test]
fn equal_runs_write_equal_trunks_that_others_may_read() {
    let output = finished("equal");
    let again = output.with_file_name("again");
    run(&format!("train {TINY} --output {}", again.display())).expect("a tiny run works");
    let [one, other] = [&output, &again].map(|run| fs::read(run.join("trunk.safetensors")).expect("it was written"));
    assert!(one == other);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        fs::write(output.join("plain"), "").expect("writable");
        let [trunk, plain] = ["trunk.safetensors", "plain"]
            .map(|file| output.join(file).metadata().expect("it is there").permissions().mode());
        assert_eq!(trunk, plain);
    }
}
