//! Pictures that do not stay in memory: the same runs, more slowly.

use std::fs;

use super::interruption::assert_equal_runs;
use super::{begun, fresh, outcome, run, write_people};

/// Pictures of 12288 bytes, of which 85 are in a MiB.
const MODEL: &str = "--image-size 64 --width 2 --embedding-size 8 --batch-size 10 --epochs 2 --seed 5";

#[test]
fn neither_cache_nor_workers_change_a_run() {
    let folder = fresh("cache");
    let people = folder.join("people");
    write_people(&people, 12, 10, 1);
    let of = |name: &str, flags: &str, expected: Option<&str>| {
        let output = folder.join(name);
        let [data, path] = [&people, &output].map(|path| path.display());
        let flags = format!("{MODEL} --held-out-share 0.4 --validate-every 1 {flags}");
        let text = run(&format!("train --data {data} {flags} --output {path}")).expect("it works");
        assert_eq!(text.lines().find(|line| line.starts_with("cache: ")), expected, "{text}");
        let embeddings = folder.join(format!("{name}.npy"));
        run(&format!("embed {data} --run {path} --output {}", embeddings.display())).expect("it works");
        (output, fs::read(embeddings).expect("it was written"))
    };
    let (all, embeddings) = of("all", "", None);
    let line = |kept| {
        format!(
            "cache: {kept} of 120 pictures stay decoded in {} MiB (--cache-mib); the others are decoded whenever they are needed",
            usize::from(kept > 0)
        )
    };
    for (name, flags, kept) in [("none", "--cache-mib 0 --workers 1", 0), ("some", "--cache-mib 1 --workers 3", 85)] {
        let (other, of_other) = of(name, flags, Some(&line(kept)));
        assert_equal_runs(&all, &other);
        assert!(embeddings == of_other, "{name}: other embeddings");
        let [one, other] = [&all, &other].map(|run| fs::read(run.join("people.json")).expect("it was written"));
        assert!(one == other, "{name}: other fingerprints");
    }
    // It is free to change in a run that goes on.
    let path = folder.join("all");
    run(&format!("train --resume --cache-mib 0 --workers 2 --output {}", path.display())).expect("it goes on");
}

#[test]
fn a_picture_that_vanishes_in_a_training_is_named_and_nothing_is_lost() {
    let folder = fresh("vanished");
    let (people, others) = (folder.join("people"), folder.join("others"));
    write_people(&people, 8, 6, 1);
    write_people(&others, 6, 5, 2);
    let [whole, output] = ["whole", "run"].map(|name| folder.join(name));
    let [data, val_data] = [&people, &others].map(|path| path.display());
    let small = "--image-size 16 --width 2 --embedding-size 8 --batch-size 2 --epochs 3 --seed 5 --dropout 0.3";
    let line = format!("train {small} --data {data} --val-data {val_data} --validate-every 1 --cache-mib 0");
    run(&format!("{line} --output {}", whole.display())).expect("it works");

    // One that is trained on, and one that is measured on after an epoch.
    for (file, place, changed) in [
        (people.join("person 3").join("19.bmp"), "continued after batch ", "person 3 had 6 pictures and has 5"),
        (others.join("person 1").join("7.bmp"), "continued after epoch 1", "person 1 had 5 pictures and has 4"),
    ] {
        let (child, lines) = begun(&format!("{line} --output {}", output.display()));
        let aside = folder.join("aside.bmp");
        fs::rename(&file, &aside).expect("writable");
        let text = lines.collect::<Vec<_>>().join("\n");
        let ended = child.wait_with_output().expect("it ends");
        let error = String::from_utf8_lossy(&ended.stderr);
        assert_eq!(ended.status.code(), Some(2), "{text}{error}");
        let resume = format!("train --resume --output {}", output.display());
        let expected = format!("training stopped: the picture {} was changed since it was first read", file.display());
        assert!(error.contains(&expected), "{error}");
        assert!(
            error.contains(&format!("bring it back as it was, and go on with: face-embedding {resume}")),
            "{error}"
        );

        let (status, _, error) = outcome(&resume);
        assert!(status == 2 && error.contains(changed), "{error}");
        fs::rename(&aside, &file).expect("writable");
        let text = run(&resume).expect("it is there again");
        assert!(text.contains(place), "{text}");
        assert_equal_runs(&whole, &output);
        fs::remove_dir_all(&output).expect("it was written");
    }
}
