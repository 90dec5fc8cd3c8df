//! Ctrl-C, and checkpoints within an epoch: a run that goes on from one ends as one that was not interrupted.

use std::fs;
use std::path::{Path, PathBuf};

use face_embedding::training::epoch_table::{self, EpochRow};

use super::{TINY_PEOPLE, fresh, metrics, run};

/// Eighteen batches an epoch, of which two make a step; the loss draws its margins and the features that are dropped.
const LONG: &str = "--batch-size 2 --epochs 3 --accumulate 2 --loss elasticface \
                    --margin-warmup-share 0.8 --margin-start 0.1 --scale-start 4 --scale-warmup-share 0.9 --dropout 0.3 --lr 0.02 --head-lr 0.05 \
                    --clip-norm 5";

/// What is the same in every run, bit by bit.
fn figures(run: &Path) -> Vec<EpochRow> {
    let mut rows = epoch_table::read(&run.join("metrics.csv")).expect("one row per epoch");
    for row in &mut rows {
        (row.seconds, row.images_per_second) = (0.0, 0.0);
    }
    rows
}

pub(super) fn assert_equal_runs(one: &Path, other: &Path) {
    assert_eq!(figures(one), figures(other));
    let trunk = |run: &Path| fs::read(run.join("trunk.safetensors")).expect("it was written");
    assert!(trunk(one) == trunk(other), "the trunks differ");
    let measured = |run: &Path| metrics(&run.join("metrics.json")).verification;
    assert_eq!(measured(one), measured(other));
}

/// A run of two epochs, and the same, which goes on from its last checkpoint within the second: equal ones.
fn resumed_in_its_last_epoch(folder: &Path, flags: &str, every: usize, place: &str) -> [PathBuf; 2] {
    let [whole, output] = ["whole", "run"].map(|name| folder.join(name));
    run(&format!("train {flags} --output {}", whole.display())).expect("a small run works");
    let path = output.display();
    run(&format!("train {flags} --checkpoint-steps {every} --output {path}")).expect("a small run works");
    for file in ["checkpoint/manifest-2.json", "trunk.safetensors"] {
        fs::remove_file(output.join(file)).expect("it was written");
    }
    let text = run(&format!("train --resume --output {path}")).expect("it can go on");
    assert!(text.contains(&format!("continued after {place}")), "{text}");
    assert_equal_runs(&whole, &output);
    [whole, output]
}

#[test]
fn a_run_that_was_killed_within_an_epoch_goes_on_from_there() {
    let folder = fresh("killed_within");
    let (whole, output) = (folder.join("whole"), folder.join("run"));
    run(&format!("train {TINY_PEOPLE} {LONG} --output {}", whole.display())).expect("a tiny run works");
    let path = output.display();
    // Nine steps an epoch, and a checkpoint of every fourth of the run: after steps 20 and 24 in the third epoch.
    run(&format!("train {TINY_PEOPLE} {LONG} --checkpoint-steps 4 --output {path}")).expect("a tiny run works");
    assert_equal_runs(&whole, &output);
    let checkpoint = |name: &str| output.join("checkpoint").join(name);
    assert!(checkpoint("manifest-3.json").is_file() && checkpoint("manifest-2-12.json").is_file());
    assert!(!checkpoint("manifest-2-4.json").exists() && !checkpoint("figures-2-4.json").exists());

    // As a kill leaves it while the last checkpoint is written, and then as damage does.
    for file in ["manifest-3.json", "optim-3.bpk"] {
        fs::remove_file(checkpoint(file)).expect("it was written");
    }
    fs::remove_file(output.join("trunk.safetensors")).expect("it was written");
    let text = run(&format!("train --resume --output {path}")).expect("it can go on");
    assert!(text.contains("the checkpoint of epoch 3 cannot be used"), "{text}");
    assert!(text.contains("continued after batch 12 of epoch 3"), "{text}");
    assert_equal_runs(&whole, &output);

    let figures = fs::read_to_string(checkpoint("figures-2-12.json")).expect("it is one of the last two");
    fs::write(checkpoint("figures-2-12.json"), figures.replace("\"batches\": 12", "\"batches\": 13"))
        .expect("writable");
    fs::remove_file(checkpoint("manifest-3.json")).expect("it was written");
    let error = super::refused(&format!("train --resume --output {path}"));
    assert!(error.contains("no checkpoint in") && error.contains("is whole"), "{error}");
}

/// The draws of the classes, and the momentum of those that are not drawn, are state of the run.
#[test]
fn a_run_that_samples_its_people_goes_on_from_within_an_epoch() {
    let folder = fresh("sampled");
    let sampled = "--people 40 --test-people 6 --pictures 3 --image-size 16 --width 2 --embedding-size 8 --seed 5 \
                   --batch-size 6 --epochs 2 --sample-rate 0.2 --margin-warmup-share 0.5 --clip-norm 0.5";
    // Twenty batches an epoch; the last multiple of three is 39.
    let [whole, output] = resumed_in_its_last_epoch(&folder, sampled, 3, "batch 19 of epoch 2");
    // The centers, too.
    let head = |run: &Path| {
        let exported = run.with_file_name(format!("{}-exported", run.file_name().expect("a name").display()));
        super::run(&format!("export {} --output {}", run.display(), exported.display())).expect("it can be exported");
        fs::read(exported.join("centers.safetensors")).expect("it was written")
    };
    assert!(head(&whole) == head(&output), "the centers differ");
}

#[test]
fn a_run_over_batches_of_people_goes_on_from_within_an_epoch() {
    let folder = fresh("contrastive");
    let flags = "--loss proxyanchor --people-per-batch 3 --pictures-per-person 2 --epochs 2 --lr 0.02";
    // Six batches an epoch; the last multiple of four is 8.
    resumed_in_its_last_epoch(&folder, &format!("{TINY_PEOPLE} {flags}"), 4, "batch 2 of epoch 2");
}

/// The checkpoint is there before the measurement begins, which takes long with so many test people.
#[test]
fn a_run_that_was_killed_while_it_was_measured_is_measured_when_it_goes_on() {
    let folder = fresh("killed_measuring");
    let [whole, output] = ["whole", "run"].map(|name| folder.join(name));
    let flags = "--people 6 --test-people 50 --pictures 6 --image-size 16 --width 2 --embedding-size 8 --seed 5 --batch-size 12 \
                 --epochs 3 --validate-every 1 --keep best";
    run(&format!("train {flags} --output {}", whole.display())).expect("a small run works");
    let (mut child, lines) = super::begun(&format!("train {flags} --output {}", output.display()));
    while !output.join("checkpoint/manifest-2.json").exists() {
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    child.kill().expect("it is still at work");
    child.wait().expect("it ends");
    let text = lines.collect::<Vec<_>>().join("\n");
    assert!(!text.contains("epoch  2/3 on the test people"), "the kill came too late: {text}");
    let unmeasured = figures(&output);
    assert_eq!(unmeasured.iter().map(|row| row.validation_auc.is_some()).collect::<Vec<_>>(), [true, false]);

    let text = run(&format!("train --resume --output {}", output.display())).expect("it can go on");
    assert!(text.contains("continued after epoch 2"), "{text}");
    let places = ["epoch  2/3 on the test people", "epoch  3/3 step"].map(|line| text.find(line).expect(line));
    assert!(places[0] < places[1], "{text}");
    assert_equal_runs(&whole, &output);
    let validation = |run: &Path| fs::read(run.join("checkpoint/validation-2.json")).expect("it was measured");
    assert!(validation(&whole) == validation(&output));
}

/// By hand: 18 batches are 9 steps, the first 6 of which are the rise; both batches of a step have its rate.
#[test]
fn the_rate_of_a_batch_is_that_of_the_step_it_goes_into() {
    let output = fresh("rates").join("run");
    let flags = "--batch-size 2 --epochs 1 --accumulate 2 --lr 0.06 --head-lr 0.12 --warmup-share 0.6667";
    run(&format!("train {TINY_PEOPLE} {flags} --checkpoint-steps 8 --output {}", output.display())).expect("it works");
    let text = fs::read_to_string(output.join("checkpoint/figures-0-16.json")).expect("after eight steps");
    let figures: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    // The rise of six steps, 2·(0.01 + 0.02 + .. + 0.06), then 2·0.06·(1 + cos(pi/3·k))/2 for k = 0, 1 of three.
    let expected = 2.0 * 0.21 + 2.0 * 0.06 * (1.0 + 0.75);
    for (name, expected) in [("learning_rate", expected), ("head_learning_rate", 2.0 * expected)] {
        let found = figures["epoch"]["figures"][name].as_f64().expect("a number");
        assert!((found - expected).abs() < 1e-12, "{name}: {found} for {expected}");
    }
}

/// By signals, which Unix has.
#[cfg(unix)]
mod signals {
    use std::io::{BufRead, BufReader};
    use std::process::{Child, Command, Stdio};

    use super::super::begun;
    use super::{LONG, TINY_PEOPLE, assert_equal_runs, fresh, run};

    fn send(signal: &str, child: &Child) {
        let sent = Command::new("kill").args([signal, &child.id().to_string()]).status().expect("a shell's command");
        assert!(sent.success());
    }

    #[test]
    fn an_interrupted_run_ends_as_one_that_was_not() {
        let folder = fresh("interrupted");
        let (whole, output) = (folder.join("whole"), folder.join("run"));
        // So many epochs that a signal meets one also where the machine is busy.
        let long = format!("{LONG} --epochs 9");
        run(&format!("train {TINY_PEOPLE} {long} --output {}", whole.display())).expect("a tiny run works");

        let resume = format!("train --resume --output {}", output.display());
        let told = format!("\nface-embedding {resume}");
        let mut line = format!("train {TINY_PEOPLE} {long} --output {}", output.display());
        let mut within = 0;
        for signal in ["-INT", "-TERM", "-HUP"] {
            let (mut child, lines) = begun(&line);
            send(signal, &child);
            let text = lines.collect::<Vec<_>>().join("\n");
            assert_eq!(child.wait().expect("it ends").code(), Some(130), "{text}");
            assert!(text.contains("interrupted after ") && text.ends_with(&told), "{text}");
            within += usize::from(text.contains("interrupted after batch "));
            assert!(!output.join("trunk.safetensors").exists() && !output.join("run.lock").exists());
            line.clone_from(&resume);
        }
        assert!(within > 0, "no interruption was within an epoch");
        let text = run(&resume).expect("it goes on");
        assert!(text.contains("continued after "), "{text}");
        assert_equal_runs(&whole, &output);
    }

    #[test]
    fn a_second_interruption_ends_the_process_at_once() {
        let output = fresh("interrupted_twice").join("run");
        // The first batch of so many pictures takes its time in a build that is not optimised.
        let slow = "--people 60 --test-people 6 --pictures 20 --image-size 64 --width 16 --embedding-size 8 --batch-size 1200 \
                    --epochs 50 --seed 5";
        let (mut child, lines) = begun(&format!("train {slow} --output {}", output.display()));
        let mut notes = BufReader::new(child.stderr.take().expect("it is a pipe")).lines();
        let began = std::time::Instant::now();
        send("-INT", &child);
        let told = notes.next().expect("it answers at once").expect("text");
        assert!(told.starts_with("interrupted: the training ends after this step"), "{told}");
        send("-INT", &child);
        assert_eq!(child.wait().expect("it ends").code(), Some(130));
        let (took, text) = (began.elapsed().as_secs_f64(), lines.collect::<String>());
        assert!(!text.contains("interrupted after") && took < 5.0, "{took} s: {text}");
        assert!(!output.join("checkpoint/manifest-1.json").exists());
    }

    /// A process that is not training: `line` is run until `is_there`, and then interrupted.
    fn ended_at(line: &str, is_there: impl Fn() -> bool) -> (Option<i32>, String) {
        let child = Command::new(env!("CARGO_BIN_EXE_face-embedding"))
            .args(line.split_whitespace())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        while !is_there() {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        send("-INT", &child);
        let output = child.wait_with_output().expect("it ends");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    }

    #[test]
    fn an_interruption_beside_the_training_is_answered() {
        let folder = fresh("interrupted_beside");
        let output = folder.join("run");
        let resume = format!("face-embedding train --resume --output {}\n", output.display());
        let flags = "--people 4 --image-size 24 --width 4 --embedding-size 8 --batch-size 8 --epochs 1 --seed 5";
        let line = |more: &str| format!("train {flags} {more} --output {}", output.display());
        let there = |name: &'static str| {
            let output = output.clone();
            move || output.join(name).exists()
        };
        // So many take their time to be drawn.
        let (status, told) = ended_at(&line("--test-people 1000 --pictures 20"), there("run.lock"));
        assert_eq!(
            (status, told.as_str()),
            (Some(130), "interrupted before the training began; nothing was trained\n")
        );

        // The untrained trunk is measured.
        let (status, told) = ended_at(&line("--test-people 30 --pictures 8"), there("test_people.json"));
        assert_eq!(
            (status, told),
            (Some(130), format!("interrupted before the first step; it begins with:\n{resume}"))
        );
        let line = format!("train --resume --output {}", output.display());
        let (status, told) = ended_at(&line, there("trunk.safetensors"));
        let expected = format!("interrupted before the trained model was measured; go on with:\n{resume}");
        assert_eq!((status, told), (Some(130), expected));
        assert!(!output.join("manifest.json").exists());
        run(&line).expect("it is measured");
        assert!(output.join("manifest.json").is_file());
    }

    /// `nohup` has a hangup ignored, and so does the training; without it, it ends as by Ctrl-C.
    #[test]
    #[cfg(target_os = "linux")]
    fn nohup_is_respected() {
        let output = fresh("nohup").join("run");
        let status = Command::new("sh")
            .args(["-c", "trap '' HUP; \"$0\" \"$@\" & sleep 0.5; kill -HUP $!; wait $!"])
            .arg(env!("CARGO_BIN_EXE_face-embedding"))
            .args(format!("train {TINY_PEOPLE} {LONG} --output {}", output.display()).split_whitespace())
            .stdout(Stdio::null())
            .status()
            .expect("a shell");
        assert!(status.success() && output.join("manifest.json").is_file(), "{status}");
    }
}
