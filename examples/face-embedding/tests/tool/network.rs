//! Networks, the weights they begin with, and what is written for PyTorch.

use std::fs;
use std::path::{Path, PathBuf};

use face_embedding::settings::config::TrainConfig;
use safetensors::SafeTensors;

use super::{TINY, fresh, metrics, refused, run};

/// A tensor of a safetensors file: its shape and numbers.
pub(super) fn tensor(file: &Path, name: &str) -> (Vec<usize>, Vec<f32>) {
    let bytes = fs::read(file).expect("it was written");
    let file = SafeTensors::deserialize(&bytes).expect("safetensors");
    let tensor = file.tensor(name).expect("it is there");
    let numbers =
        tensor.data().chunks_exact(4).map(|number| f32::from_le_bytes(number.try_into().expect("four bytes")));
    (tensor.shape().to_vec(), numbers.collect())
}

fn trained(name: &str) -> PathBuf {
    let output = fresh(name).join("run");
    run(&format!("train {TINY} --output {}", output.display())).expect("a tiny run works");
    output
}

pub(super) fn export(model: &Path) -> PathBuf {
    let output = model.with_extension("export");
    run(&format!("export {} --output {}", model.display(), output.display())).expect("the run is finished");
    output
}

#[test]
fn a_run_begins_with_the_trunk_of_another_or_with_the_weights_of_a_file() {
    let first = trained("init");
    let backbone = export(&first).join("backbone.safetensors");
    let again = |name: &str, flags: &str| {
        let output = first.with_file_name(name);
        run(&format!("train {TINY} {flags} --output {}", output.display())).expect("the weights fit");
        output
    };
    // So slow that the weights stay what they were.
    let still = "--lr 1e-7 --weight-decay 0 --epochs 1";
    let weights = |run: &Path| tensor(&run.join("trunk.safetensors"), "first.conv.weight").1;
    let distance = |run: &Path| -> f32 {
        weights(run).iter().zip(weights(&first)).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
    };
    let of_run = again("of_run", &format!("{still} --init {}", first.display()));
    let of_file = again("of_file", &format!("{still} --init {}", backbone.display()));
    assert!(distance(&of_run) < 1e-5, "{}", distance(&of_run));
    assert!(distance(&again("random", &format!("{still} --seed 6"))) > 0.1);
    let read = |run: &Path| fs::read(run.join("trunk.safetensors")).expect("it was written");
    assert!(read(&of_run) == read(&of_file));

    let digest = |run: &Path| TrainConfig::load(&run.join("config.json")).expect("settings").init_sha256;
    assert_eq!(digest(&of_run), metrics(&first.join("metrics.json")).trunk);
    let wants = fs::read_to_string(backbone.with_file_name("preprocessing.json")).expect("it was written");
    assert!(wants.contains(&format!("\"backbone.safetensors\": \"{}\"", digest(&of_file).expect("it is noted"))));
}

#[test]
fn a_resumed_run_does_not_read_again_what_it_began_with() {
    let first = trained("init_resumed");
    let output = first.with_file_name("second");
    let path = output.display();
    run(&format!("train {TINY} --lr 0.05 --init {} --output {path}", first.display())).expect("the weights fit");
    let files = ["trunk.safetensors", "metrics.json", "config.json"];
    let read = || files.map(|file| fs::read(output.join(file)).expect("it was written"));
    let [trunk, _, config] = read();
    let figures = metrics(&output.join("metrics.json"));
    // As a kill in the second epoch leaves it.
    for part in ["model-2.bpk", "optim-2.bpk", "scheduler-2.bpk", "manifest-2.json"] {
        fs::remove_file(output.join("checkpoint").join(part)).expect("it was written");
    }
    for file in ["metrics.json", "trunk.safetensors"] {
        fs::remove_file(output.join(file)).expect("it was written");
    }
    let moved = first.with_file_name("moved");
    fs::rename(&first, &moved).expect("the test folder is writable");
    run(&format!("train --resume --output {path}")).expect("the checkpoint has the weights");
    let [resumed, _, settings] = read();
    assert!(resumed == trunk && settings == config);
    let again = metrics(&output.join("metrics.json"));
    assert_eq!((again.verification, again.untrained), (figures.verification, figures.untrained));

    // Without a checkpoint it begins again, and only with what it began with before.
    for file in ["checkpoint", "metrics.json", "trunk.safetensors", "manifest.json"] {
        let file = output.join(file);
        if file.is_dir() { fs::remove_dir_all(file) } else { fs::remove_file(file) }.expect("it was written");
    }
    let resume = format!("train --resume --output {path}");
    let error = refused(&resume);
    assert!(error.contains(&format!("init: cannot read {}", first.display())), "{error}");
    let other = trained("init_other");
    fs::rename(&other, &first).expect("the test folder is writable");
    run(&format!("train --resume --epochs 3 --output {}", first.display())).expect("it is another trunk now");
    let error = refused(&resume);
    assert!(error.contains("is not the file of init_sha256"), "{error}");
    fs::remove_dir_all(&first).expect("it is there");
    fs::rename(&moved, &first).expect("the test folder is writable");
    run(&resume).expect("it is what it was");
    assert!(read()[0] == trunk);
}

#[test]
fn what_cannot_begin_a_run_is_refused() {
    let first = trained("init_refused");
    let output = first.with_file_name("refused");
    let refused = |flags: &str| refused(&format!("train {TINY} {flags} --output {}", output.display()));
    let of_run = format!("--init {}", first.display());
    let error = refused("--init no-such-file.pth");
    assert!(error.contains("init: cannot read") && error.contains("no-such-file.pth"), "{error}");
    let error = refused(&format!("{of_run} --embedding-size 9"));
    assert!(error.contains("has the network small of width 2, embeddings of 8 numbers, pictures of 16"), "{error}");
    assert!(error.contains("asked for is small of width 2, embeddings of 9 numbers"), "{error}");
    let backbone = export(&first).join("backbone.safetensors");
    let error = refused(&format!("--init {} --width 3", backbone.display()));
    assert!(error.contains("embedding.weight must be [8, 24], got [8, 16]"), "{error}");
    let error = refused(&format!("--init {}", first.join("trunk.safetensors").display()));
    assert!(error.contains("it does not have: ") && error.contains("first.norm.weight"), "{error}");
    let config = first.with_file_name("config.json");
    fs::write(&config, r#"{"init_sha256": "12"}"#).expect("the test folder is writable");
    let error = refused(&format!("--config {}", config.display()));
    assert!(error.contains("init_sha256: is of the file of init, and there is none"), "{error}");
    assert!(!output.exists());
    fs::write(first.join("trunk.safetensors"), "damaged").expect("the test folder is writable");
    assert!(refused(&of_run).contains("trunk.safetensors is damaged"));
}

#[test]
fn a_model_is_exported_with_its_centers_and_what_pictures_it_wants() {
    for loss in ["arcface", "subcenterarcface", "softmax"] {
        let output = fresh(&format!("export_{loss}")).join("run");
        run(&format!("train {TINY} --loss {loss} --output {}", output.display())).expect("a tiny run works");
        let exported = export(&output);
        let (shape, _) = tensor(&exported.join("backbone.safetensors"), "stages.2.shortcut.norm.running_var");
        assert_eq!(shape, [16]);
        let centers = exported.join("centers.safetensors");
        let (shape, numbers) = tensor(&centers, "weight");
        let rows = if loss == "subcenterarcface" { 18 } else { 6 };
        assert_eq!(shape, [rows, 8], "{loss}");
        assert!(numbers.iter().all(|number| number.is_finite() && *number != 0.0), "{loss}");
        if loss == "softmax" {
            assert_eq!(tensor(&centers, "bias").0, [6]);
        }
        let text = fs::read_to_string(exported.join("preprocessing.json")).expect("it was written");
        let wants: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!((&wants["network"], &wants["image_size"]), (&"small".into(), &16.into()));
        assert_eq!(wants["people"].as_array().map(Vec::len), Some(6));
        let error = refused(&format!("export {} --output {}", output.display(), exported.display()));
        assert!(error.contains("holds a run or an export already"), "{error}");
    }
    let output = fresh("export_softmax").join("run");
    let error = refused(&format!("export {} --output elsewhere", output.display()));
    assert!(error.contains("holds no run"), "{error}");
}

#[test]
fn onnx_is_written_where_it_is_in_the_build() {
    let model = trained("export_onnx");
    let output = model.with_extension("export");
    let command = format!("export {} --onnx --output {}", model.display(), output.display());
    if cfg!(feature = "onnx") {
        run(&command).expect("all operations of the network are known");
        assert!(output.join("backbone.onnx").is_file());
        let text = fs::read_to_string(output.join("preprocessing.json")).expect("it was written");
        assert!(text.contains("\"backbone.onnx\": \""), "{text}");
    } else {
        let error = refused(&command);
        assert!(error.contains("--onnx is not in this build") && error.contains("--features onnx"), "{error}");
        assert!(!output.exists());
    }
}

#[test]
fn centers_of_another_epoch_are_not_exported() {
    let output = trained("export_no_centers");
    fs::remove_file(output.join("checkpoint/model-2.bpk")).expect("it was written");
    let exported = output.with_extension("export");
    let text = run(&format!("export {} --output {}", output.display(), exported.display())).expect("it has a trunk");
    assert!(text.contains("there will be no centers.safetensors") && text.contains("has another trunk"), "{text}");
    assert!(exported.join("backbone.safetensors").is_file() && !exported.join("centers.safetensors").exists());
}
