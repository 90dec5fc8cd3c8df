//! `identify`: the nearest people of a gallery, the verdict and the exit status.

use std::fs;
use std::path::Path;

use super::{TINY, fresh, outcome, run, to_full_disk, with_cosine, write_people};

#[test]
fn the_nearest_person_is_found_or_said_to_be_unknown() {
    let folder = fresh("identify");
    let output = folder.join("run");
    run(&format!("train {TINY} --output {}", output.display())).expect("a tiny run works");
    let gallery = folder.join("gallery");
    write_people(&gallery, 3, 3, 9);
    let unknown = folder.join("1.bmp");
    fs::copy(gallery.join("person 0").join("1.bmp"), &unknown).expect("writable");
    // A person of one picture is nearest to that picture, and the score is 1.
    for file in ["1.bmp", "2.ppm"] {
        fs::remove_file(gallery.join("person 0").join(file)).expect("a picture");
    }
    let probe = folder.join("0.png");
    fs::copy(gallery.join("person 0").join("0.png"), &probe).expect("writable");
    let line = |probe: &Path, gallery: &Path, flags: &str| {
        let [probe, gallery, run] = [probe, gallery, &output].map(|path| path.display().to_string());
        format!("identify {probe} --gallery {gallery} --run {run} --far 1e-1 {flags}")
    };
    let identify = |gallery: &Path, flags: &str| outcome(&line(&probe, gallery, flags));

    let (status, text, notes) = identify(&gallery, "--json");
    let found: serde_json::Value = serde_json::from_str(&text).expect("one line of JSON and nothing else");
    assert_eq!((status, &found["person"]), (0, &"person 0".into()), "{text}");
    assert!(notes.contains("the picture itself is in the gallery") && notes.contains("kept 7 pictures"), "{notes}");
    let nearest = found["nearest"].as_array().expect("a list");
    let number = |place: usize, name: &str| nearest[place][name].as_f64().expect("a number");
    assert_eq!((nearest.len(), number(0, "pictures"), number(1, "pictures")), (3, 1.0, 3.0));
    assert!((number(0, "score") - 1.0).abs() < 1e-6, "{text}");
    assert!(number(1, "score") >= number(2, "score"), "{text}");

    for flags in ["", "--json"] {
        to_full_disk(&line(&probe, &gallery, flags));
    }

    let thresholds = with_cosine(&output, 1.0);
    let flags = format!("--top 1 --thresholds {}", thresholds.display());
    let (status, text, error) = outcome(&line(&unknown, &gallery, &flags));
    assert_eq!(status, 1, "{text}{error}");
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 3, "{text}");
    assert!(lines[0].contains("  person ") && lines[0].ends_with(" pictures)"), "{text}");
    assert_eq!(
        lines[1..],
        [
            "threshold 1.0000 (at a false accept rate of 1e-1)",
            "verdict   unknown: nobody in the gallery is near enough"
        ]
    );

    let flat = folder.join("flat");
    fs::create_dir(&flat).expect("writable");
    fs::copy(&probe, flat.join("0.png")).expect("writable");
    let (status, _, error) = identify(&flat, "");
    assert!(status == 2 && error.contains("has pictures and no people"), "{error}");
    fs::remove_file(flat.join("0.png")).expect("a picture");
    let (status, _, error) = identify(&flat, "");
    assert!(status == 2 && error.contains("holds no picture that can be used"), "{error}");
    assert!(!error.contains("people without a usable picture"), "{error}");
    let (status, _, error) = identify(&gallery, "--top 0");
    assert!(status == 2 && error.contains("must be at least 1"), "{error}");
}
