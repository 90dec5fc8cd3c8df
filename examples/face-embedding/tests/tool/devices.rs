//! `--devices`: a training that is spread over several.
//!
//! That ten steps on several devices are those on one is a test of `src/training/shards.rs`, without norms, whose statistics
//! are those of a part of the batch.

use std::fs;
use std::path::{Path, PathBuf};

use super::network::{export, tensor};
use super::resume::kill_in_epoch_3;
use super::{TINY, TINY_PEOPLE, fresh, metrics, run};

fn trained(folder: &Path, name: &str, flags: &str) -> PathBuf {
    let output = folder.join(name);
    run(&format!("train {flags} --output {}", output.display())).expect("a tiny run works");
    output
}

/// The largest difference between the numbers of a tensor in two files.
fn distance(files: [&Path; 2], name: &str) -> f32 {
    let [(shape, one), (other_shape, other)] = files.map(|file| tensor(file, name));
    assert_eq!(shape, other_shape);
    one.iter().zip(&other).map(|(one, other)| (one - other).abs()).fold(0.0, f32::max)
}

/// So slow that the weights stay what they were.
#[test]
fn the_first_weights_do_not_depend_on_the_devices() {
    let folder = fresh("devices_begin");
    let still = "--lr 1e-7 --head-lr 1e-7 --weight-decay 0 --epochs 1";
    let exported = |(name, devices)| export(&trained(&folder, name, &format!("{TINY} {still} {devices}")));
    let [one, two] = [("one", ""), ("two", "--devices flex,flex")].map(exported);
    for (file, weight) in [("backbone.safetensors", "stages.2.second.conv.weight"), ("centers.safetensors", "weight")] {
        let distance = distance([&one.join(file), &two.join(file)], weight);
        assert!(distance < 1e-4, "{weight}: {distance}");
    }
}

/// With a head of which a part is drawn, and with one that takes all; ended within the third epoch.
#[test]
fn a_killed_run_on_two_devices_ends_as_one_that_was_not() {
    let folder = fresh("devices_killed");
    let drawn = "--batch-size 8 --people 40 --test-people 6 --pictures 3 --image-size 16 --width 2 --embedding-size 8 --seed 5 \
                 --sample-rate 0.2 --clip-norm 2 --accumulate 2";
    let whole = format!("{TINY} --dropout 0.3 --accumulate 2 --clip-norm 2 --loss sphereface2");
    for (name, flags) in [("drawn", drawn), ("whole", whole.as_str())] {
        let output = trained(&folder, name, &format!("{flags} --epochs 3 --devices flex,flex"));
        let read = || fs::read(output.join("trunk.safetensors")).expect("it was written");
        let (trunk, figures) = (read(), metrics(&output.join("metrics.json")));
        assert_eq!(figures.backend, "flex,flex");
        kill_in_epoch_3(&output);
        let text = run(&format!("train --resume --output {}", output.display())).expect("the run can be continued");
        assert!(text.contains("continued after epoch 2") && text.contains("devices: flex ("), "{text}");
        assert!(read() == trunk, "{name}");
        assert_eq!(metrics(&output.join("metrics.json")).verification, figures.verification);
    }
}

#[test]
fn a_run_on_two_devices_is_used_and_goes_on_as_any() {
    let folder = fresh("devices_used");
    let output = trained(&folder, "run", &format!("{TINY_PEOPLE} --batch-size 12 --epochs 1 --devices flex,flex"));
    let path = output.display();
    run(&format!("eval --run {path}")).expect("the run is finished");
    let (shape, _) = tensor(&export(&output).join("centers.safetensors"), "weight");
    assert_eq!(shape, [6, 8]);
    for (epochs, devices) in [(2, "--backend flex"), (3, "--devices flex,flex,flex"), (4, "--devices flex")] {
        let line = format!("train --resume --epochs {epochs} {devices} --output {path}");
        let text = run(&line).expect("the number of devices is free");
        assert!(text.contains(&format!("continued after epoch {}", epochs - 1)), "{text}");
    }
    let config = fs::read_to_string(output.join("config.json")).expect("it was written");
    assert!(config.contains("\"devices\": [\n    \"flex\"\n  ]"), "{config}");
}

#[test]
fn the_best_trunk_of_a_run_on_two_devices_is_found() {
    let folder = fresh("devices_best");
    let output = trained(&folder, "run", &format!("{TINY} --validate-every 1 --keep best --devices flex,flex"));
    run(&format!("eval --run {}", output.display())).expect("the run is finished");
}

#[test]
fn a_loss_that_stays_on_the_first_device_says_so() {
    let folder = fresh("devices_softmax");
    let output = folder.join("run");
    let text = run(&format!("train {TINY} --loss softmax --devices flex,flex --output {}", output.display()));
    let text = text.expect("a tiny run works");
    assert!(text.contains("note: the loss softmax cannot be spread over devices; the first one computes it"), "{text}");
}
