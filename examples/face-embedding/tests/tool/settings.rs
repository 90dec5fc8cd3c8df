//! Bad settings are refused before anything is written, with the name, the value and the range.

use super::{TINY, fresh, metrics, refused, run};

fn refused_flags(flags: &str) -> String {
    // A folder of its own for each call: tests run side by side.
    let output = fresh(&format!("refused{}", flags.replace(['/', ' '], "_"))).join("run");
    let error = refused(&format!("train {flags} --output {}", output.display()));
    assert!(!output.exists(), "{flags} left a folder behind");
    error
}

#[test]
fn bad_settings_are_refused() {
    let cases = [
        ("--epochs 0", "epochs: must be in [1, 100000], got 0"),
        ("--lr nan", "lr: must be in [0.0000001, 10], got NaN"),
        ("--margin 5", "margin: must be in [0, 1.5], got 5"),
        ("--margin -0.1", "margin: must be in [0, 1.5], got -0.1"),
        ("--pair-seed 9007199254740993", "pair_seed: must be in [0, 9007199254740992], got 9007199254740993"),
        ("--lr 1e300", "lr: must be in [0.0000001, 10], got 1e300"),
        ("--loss softmax --margin 1e300", "margin: the loss softmax has no such setting (got 1e300)"),
        ("--lr -1", "lr: must be in [0.0000001, 10], got -1"),
        ("--data somewhere --people 5", "people: is of drawn faces, and the pictures are those of data"),
        ("--data somewhere --pictures 5", "pictures: is of drawn faces"),
        ("--landmarks points.csv", "landmarks: needs data as well"),
        ("--cache-mib 9", "cache_mib: is of the pictures of data, and there is none"),
        ("--workers 2", "workers: is of the pictures of data, and there is none"),
        ("--data somewhere --cache-mib 1048577", "cache_mib: must be in [0, 1048576], got 1048577"),
        ("--data somewhere --workers 0", "workers: must be in [1, 256], got 0"),
        ("--min-size 0", "min_size: is of the pictures of data, and there is none"),
        ("--data somewhere --min-size 0", "min_size: must be in [1, 1024], got 0"),
        ("--held-out-share 0.5", "held_out_share: is of the people of data, and there is none"),
        ("--data a --val-data b --held-out-share 0.5", "held_out_share: nobody is held back where there is val_data"),
        ("--power 1", "power: the schedule cosine has no such setting (got 1)"),
        ("--schedule polynomial --gamma 0.5", "gamma: the schedule polynomial has no such setting (got 0.5)"),
        ("--schedule milestones --milestones 0.7,0.5", "milestones: must be in rising order, got [0.7, 0.5]"),
        ("--accumulate 0", "accumulate: must be in [1, 65536], got 0"),
        ("--clip-norm 0", "clip_norm: must be in [0.000001, 1000000], got 0"),
        ("--validate-every 100001", "validate_every: must be in [0, 100000], got 100001"),
        ("--checkpoint-steps 0", "checkpoint_steps: must be in [1, 1000000000], got 0"),
        (
            "--loss magface --margin-warmup-share 0.2",
            "margin_warmup_share: the loss magface has no margin that could rise",
        ),
        (
            "--margin-start 0.1",
            "margin_start: needs margin_warmup_share as well, the share of the steps in which it rises",
        ),
        (
            "--margin-start 0.3 --margin-warmup-share 0.5",
            "margin_start: must be another than the margin, and that one must not be 0, got 0.3 and 0.3",
        ),
        ("--margin-start 2 --margin-warmup-share 0.5", "margin_start: must be in [0, 1.5], got 2"),
        ("--scale-start 4", "scale_start: needs scale_warmup_share as well"),
        ("--scale-warmup-share 0.5", "scale_warmup_share: needs scale_start as well"),
        ("--scale-start 16 --scale-warmup-share 0.5", "scale_start: must be another than the scale, got 16 for both"),
        ("--scale-start 0.5 --scale-warmup-share 0.5", "scale_start: must be in [1, 1000], got 0.5"),
        (
            "--loss uniface --scale-start 4 --scale-warmup-share 0.5",
            "scale_start: the loss uniface has no scale that could rise (got 4); leave it out",
        ),
        (
            "--loss circle --scale-start 4 --scale-warmup-share 0.5",
            "scale_start: the loss circle has no scale that could rise (got 4); leave it out",
        ),
        ("--margin-warmup-share 1.5", "margin_warmup_share: must be in [0, 1], got 1.5"),
        ("--sample-rate 0", "sample_rate: must be in [0.000001, 1], got 0"),
        ("--loss softmax --sample-rate 0.5", "sample_rate: the loss softmax compares with all people (got 0.5)"),
        ("--devices gpu", "invalid value 'gpu' for '--devices <DEVICES>': gpu: no such device; expected one of flex"),
        (
            "--devices flex,flex:1",
            "devices: flex:1: the backend flex has 1 device, from number 0 on; there is no number 1",
        ),
        (
            "--devices flex,flex --backend metal",
            "backend: is that of the first of the devices, which are flex,flex, got metal",
        ),
        (
            "--devices flex,flex,flex --batch-size 5 --people 6",
            "devices: each one needs 2 pictures of a batch at least, for 3 a batch_size of 6, got 5",
        ),
        (
            "--devices flex,flex,flex --people 2",
            "devices: each one needs somebody to compare with, got 3 devices for 2 people",
        ),
        (
            "--devices flex,flex --sample-rate 0.5 --people 12 --batch-size 4",
            "sample_rate: 0.5 of 6 people of each of the 2 devices, and one more for each of the 4 pictures",
        ),
        ("--loss supcon --head-lr 0.2", "head_lr: the loss supcon has no parameters that could learn; leave it out"),
        (
            "--sample-rate 0.9 --people 8 --batch-size 4",
            "sample_rate: 0.9 of 8 people, and one more for each of the 4 pictures",
        ),
        (
            "--loss supcon --batch-size 10",
            "batch_size: must be people_per_batch times pictures_per_person, 2 times 4, got 10",
        ),
        ("--loss supcon --people 8 --people-per-batch 9", "people_per_batch: must be at most the number of people"),
        ("--pictures-per-person 1", "pictures_per_person: must be in [2, 32768], got 1"),
        ("--loss triplet --temperature 0.1", "temperature: the loss triplet has no such setting (got 0.1)"),
        ("--loss circle --margin 1", "margin: must be in [0, 0.99], got 1"),
        (
            "--loss circle --margin-warmup-share 0.5",
            "margin_warmup_share: the loss circle has no margin that could rise",
        ),
        ("--dropout 0.95", "dropout: must be in [0, 0.9], got 0.95"),
        ("--loss softmax --scale 16", "scale: the loss softmax has no such setting (got 16)"),
        ("--val-data somewhere", "val_data: needs data as well"),
        ("--network iresnet50 --width 8", "width: the network iresnet50 has no such setting (got 8); leave it out"),
        ("--network mobilefacenet --image-size 40", "image_size: the network mobilefacenet takes 112, got 40"),
        ("--width 1", "width: must be in [2, 256], got 1"),
        ("--loss sphere", "invalid value 'sphere'"),
        ("--batchsize 3", "unexpected argument '--batchsize'"),
    ];
    for (flags, expected) in cases {
        let error = refused_flags(flags);
        assert!(error.contains(expected), "{flags}: {error}");
    }
}

#[cfg(not(feature = "metal"))]
#[test]
fn a_backend_that_was_not_compiled_in_names_its_feature() {
    let error = refused_flags("--backend metal");
    assert!(error.contains("--features metal"), "{error}");
}

#[test]
fn a_bad_file_of_settings_is_named() {
    let folder = fresh("bad_files");
    let refused_file = |name: &str, text: &str| {
        let file = folder.join(name);
        std::fs::write(&file, text).expect("the test folder is writable");
        let line = format!("train --config {} --output {}", file.display(), folder.join("run").display());
        let error = refused(&line);
        assert!(error.contains(name), "{error}");
        error
    };
    assert!(refused_file("unknown.json", r#"{"epoch": 3}"#).contains("epoch: no such setting"));
    assert!(refused_file("type.json", r#"{"lr": "fast"}"#).contains("lr: bad value \"fast\""));
    assert!(refused_file("broken.json", "{").contains("not valid JSON"));
    assert!(refused_file("list.json", "[]").contains("expected a JSON object"));
    assert!(refused_file("twice.json", r#"{"lr": 0.1, "lr": 0.2}"#).contains("lr: is there twice"));
    assert!(refused_file("long.json", &" ".repeat((1 << 20) + 1)).contains("at most 1048576 bytes"));
}

#[test]
fn flags_win_over_the_file() {
    let folder = fresh("flags_win");
    let file = folder.join("settings.json");
    std::fs::write(&file, r#"{"epochs": 0, "loss": "arcface", "margin": 0.4}"#).expect("the test folder is writable");
    let output = folder.join("run");
    run(&format!("train --config {} {TINY} --loss normface --epochs 1 --output {}", file.display(), output.display()))
        .expect("the flags are valid");
    let written = std::fs::read_to_string(output.join("config.json")).expect("it was written");
    assert!(written.contains(r#""loss": "normface""#), "{written}");
    assert!(written.contains(r#""margin": null"#), "{written}");
    assert!(written.contains(r#""epochs": 1"#), "{written}");
}

/// Six steps.
#[test]
fn a_run_that_can_have_learned_nothing_says_so() {
    let output = fresh("short").join("run");
    let text = run(&format!("train {TINY} --output {}", output.display())).expect("it is a warning");
    assert!(text.contains("warning: 6 steps in all are few"), "{text}");
    let figures = metrics(&output.join("metrics.json"));
    let says = text.contains("warning: the trained model is not better than the untrained one");
    assert_eq!(says, figures.verification.auc <= figures.untrained.auc, "{text}");

    let error = refused(&format!("train {TINY} --require-better --output {}", fresh("better").join("run").display()));
    assert!(error.contains("6 steps in all are few: below 300"), "{error}");
}
