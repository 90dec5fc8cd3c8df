//! `verify`: the score, the threshold, the verdict and the exit status.

use std::fs;
use std::path::{Path, PathBuf};

use super::{TINY, fresh, metrics, outcome, run, to_full_disk, with_cosine, write_people};

/// A finished run, and the drawn pictures of two people: 0.png and 3.png of the first, 6.png of the second.
fn run_and_pictures(name: &str) -> (PathBuf, PathBuf) {
    let folder = fresh(name);
    let output = folder.join("run");
    run(&format!("train {TINY} --output {}", output.display())).expect("a tiny run works");
    write_people(&folder.join("people"), 2, 6, 9);
    for file in ["person 0/0.png", "person 0/3.png", "person 1/6.png"] {
        let file = folder.join("people").join(file);
        fs::copy(&file, folder.join(file.file_name().expect("a picture"))).expect("writable");
    }
    (folder, output)
}

#[test]
fn the_verdict_and_the_exit_status_follow_from_score_and_threshold() {
    let (folder, output) = run_and_pictures("verdict");
    let verify = |first: &str, second: &str, flags: &str| {
        let [first, second] = [first, second].map(|file| folder.join(file).display().to_string());
        outcome(&format!("verify {first} {second} --run {} --far 0.1 {flags}", output.display()))
    };
    let (status, text, _) = verify("0.png", "6.png", "--json");
    let verdict: serde_json::Value = serde_json::from_str(&text).expect("one line of JSON and nothing else");
    let number = |name: &str| verdict[name].as_f64().expect("a number");
    assert!((-1.0..=1.0).contains(&number("score")), "{text}");
    assert_eq!(verdict["same_person"], number("score") >= number("threshold"), "{text}");
    assert_eq!((verdict["far"].as_str(), status), (Some("1e-1"), i32::from(verdict["same_person"] == false)));
    assert!(verdict["first"].as_str().is_some_and(|file| file.ends_with("0.png")), "{text}");
    let stored = metrics(&output.join("metrics.json")).verification.thresholds.at_far["1e-1"];
    assert_eq!(number("threshold"), stored.expect("540 impostor pairs measure 1 in 10").cosine);

    // A threshold at, right below and right above the score; the score of two pictures does not depend on their order.
    for (step, status, words) in [
        (0.0, 0, "verdict   same person"),
        (-1e-9, 0, "verdict   same person"),
        (1e-9, 1, "verdict   different people"),
    ] {
        let file = with_cosine(&output, number("score") + step);
        let (found, text, error) = verify("6.png", "0.png", &format!("--thresholds {}", file.display()));
        assert!(text.contains(words) && text.contains("at a false accept rate of 1e-1"), "{text}{error}");
        assert_eq!(found, status, "{text}");
    }

    for flags in ["", "--json"] {
        let [first, second] = ["3.png", "3.png"].map(|file| folder.join(file).display().to_string());
        to_full_disk(&format!("verify {first} {second} --run {} --far 0.1 {flags}", output.display()));
    }

    let (status, text, notes) = verify("3.png", "3.png", "");
    assert!(status == 0 && text.contains("score     1.0000"), "{text}");
    assert!(notes.contains("both are the same picture"), "{notes}");
}

#[test]
fn what_cannot_be_answered_has_status_two_and_a_reason() {
    let (folder, output) = run_and_pictures("no_verdict");
    fs::write(folder.join("broken.png"), b"\x89PNG\r\n\x1a\nnothing").expect("writable");
    let refused = |second: &str, flags: &str| {
        let [first, second] = ["0.png", second].map(|file| folder.join(file).display().to_string());
        let (status, text, error) = outcome(&format!("verify {first} {second} --run {} {flags}", output.display()));
        assert_eq!((status, text.as_str()), (2, ""), "{error}");
        error
    };
    let error = refused("6.png", "");
    assert!(error.contains("run: there is no threshold for 1e-3: it takes 1000 impostor pairs"), "{error}");
    assert!(error.contains("there were 540; there is: 1e-1"), "{error}");
    assert!(refused("6.png", "--far 2").contains("must be a false accept rate between 0 and 1"));
    assert!(refused("broken.png", "--far 0.1").contains("broken.png: broken: the Png data is damaged"));
    assert!(refused("missing.png", "--far 0.1").contains("missing.png cannot be read"));
    let error = refused("6.png", &format!("--thresholds {}", output.join("config.json").display()));
    assert!(error.contains("config.json holds no thresholds") && error.contains("--json FILE writes some"), "{error}");

    // Of another model, of one that is not named, and with a number that is no cosine.
    let other = output.with_file_name("other");
    run(&format!("train {TINY} --seed 6 --output {}", other.display())).expect("a tiny run works");
    let of_file = |file: &Path| refused("6.png", &format!("--far 0.1 --thresholds {}", file.display()));
    let [own, foreign] =
        [&output, &other].map(|run| metrics(&run.join("metrics.json")).trunk.expect("it was measured"));
    let error = of_file(&other.join("metrics.json"));
    assert!(error.contains(&format!("was measured with the trunk {foreign}")), "{error}");
    assert!(error.contains(&format!("that of {} is {own}", output.display())), "{error}");
    let text = fs::read_to_string(output.join("metrics.json")).expect("it was written");
    let nameless = folder.join("nameless.json");
    fs::write(&nameless, text.replace("\"trunk\"", "\"another\"")).expect("writable");
    let error = of_file(&nameless);
    assert!(error.contains("nameless.json: does not name the trunk that was measured"), "{error}");
    assert!(error.contains(&own), "{error}");
    for cosine in [1.5, -1.0001] {
        let error = of_file(&with_cosine(&output, cosine));
        assert!(
            error.contains("the threshold at a false accept rate of 1e-1 must be a cosine from -1 to 1"),
            "{error}"
        );
    }

    let figures = output.join("metrics.json");
    let text = fs::read_to_string(&figures).expect("it was written");
    fs::write(&figures, text.replacen('1', "2", 1)).expect("writable");
    assert!(refused("6.png", "--far 0.1").contains("metrics.json is damaged"));
}
