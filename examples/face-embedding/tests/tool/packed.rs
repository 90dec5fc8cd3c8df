//! `eval --bin`: the files of pairs that InsightFace gives away, which `packed/generate.py` wrote small ones of.

use std::fs;
use std::path::{Path, PathBuf};

use face_embedding::data::folder::{Reader, Wanted, load_packed};
use face_embedding::protocols::lfw::{PairFigures, Thresholding};
use face_embedding::settings::reading::Reading;
use serde_json::Value;

use super::{TINY, fresh, refused, run};

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tool/packed").join(name)
}

#[test]
fn files_of_python_2_and_3_hold_the_same_pictures() {
    let reader = Reader::new(Wanted::from(16), &Reading::default()).expect("a reader");
    for name in
        (0..6).map(|protocol| format!("python3-{protocol}")).chain((0..3).map(|protocol| format!("python2-{protocol}")))
    {
        let (faces, same) = load_packed(&file(&format!("{name}.bin")), &reader).expect(&name);
        assert_eq!(same, [true, false, true, false, true, false], "{name}");
        let numbers = [0, 0, 1, 2, 3, 3, 4, 5, 6, 6, 7, 0];
        assert_eq!(faces.faces.len(), numbers.len(), "{name}");
        for (face, number) in faces.faces.iter().zip(numbers) {
            let color = [10 * number, 20 * number, 255 - 10 * number];
            // The one that is a JPEG is not exact.
            let most = if number == 7 { 2 } else { 0 };
            let is_near = |(place, &value): (usize, &u8)| value.abs_diff(color[place % 3]) <= most;
            let pixels = face.pixels().expect("it is in memory");
            assert!(pixels.iter().enumerate().all(is_near), "{name}, picture of {number}");
        }
    }
}

#[test]
fn figures_are_those_of_arcface_torch() {
    let text = fs::read_to_string(file("figures.json")).expect("it is there");
    let expected: Value = serde_json::from_str(&text).expect("JSON");
    let numbers = |value: &Value| -> Vec<f64> {
        value.as_array().expect("a list").iter().map(|number| number.as_f64().expect("a number")).collect()
    };
    let rows: Vec<f32> = numbers(&expected["rows"]).into_iter().map(|number| number as f32).collect();
    let same: Vec<bool> =
        expected["same"].as_array().expect("a list").iter().map(|same| same.as_bool().expect("a bool")).collect();
    let found = PairFigures::of_rows(&rows, &same, Thresholding::Insightface).expect("240 pairs");
    let near = |found: f64, expected: &Value| {
        let expected = expected.as_f64().expect("a number");
        assert!((found - expected).abs() < 1e-9, "{found} for {expected}");
    };
    assert_eq!((found.pairs, found.folds, found.intervals), (240, 10, None));
    near(found.accuracy, &expected["accuracy"]);
    near(found.accuracy_std, &expected["accuracy_std"]);
    // 108 impostor pairs in the other folds measure 1 in 100, and not 1 in 1000.
    let val = found.val_at_far["1e-2"].expect("there are enough");
    for (found, expected) in
        [val.tar, val.tar_std, val.far].into_iter().zip(expected["val_at_far"]["1e-2"].as_array().unwrap())
    {
        near(found, expected);
    }
    assert_eq!(found.val_at_far["1e-3"], None);
    for rate in ["1e-1", "1e-2"] {
        near(found.tar_at_far[rate].expect("there are enough"), &expected["tar_at_far"][rate]);
    }
    let error = PairFigures::of_rows(&rows[..9 * 8], &same[..9], Thresholding::Exact).expect_err("nine pairs");
    assert_eq!(error.to_string(), "there must be at least 10 pairs, got 9");
}

/// A pickle of protocol 2 of these files, in their order, and of who is the same.
fn pickle(pictures: &[PathBuf], same: &[bool]) -> Vec<u8> {
    let mut bytes = b"\x80\x02](".to_vec();
    for path in pictures {
        let picture = fs::read(path).expect("a picture");
        bytes.push(b'T');
        bytes.extend((picture.len() as u32).to_le_bytes());
        bytes.extend(picture);
    }
    bytes.extend(b"e](");
    bytes.extend(same.iter().map(|same| if *same { 0x88 } else { 0x89 }));
    bytes.extend(b"e\x86.");
    bytes
}

/// The same pairs as files of their own, with `--pairs`, give the same figures.
#[test]
fn a_file_of_pairs_is_asked_like_its_pictures() {
    let folder = fresh("packed");
    let output = folder.join("run");
    run(&format!("train {TINY} --output {}", output.display())).expect("a tiny run works");
    super::write_people(&folder.join("drawn"), 20, 2, 9);
    let picture = |person: usize, number: usize| {
        let ending = ["png", "bmp", "ppm"][(2 * person + number) % 3];
        folder.join(format!("drawn/person {person}/{}.{ending}", 2 * person + number))
    };
    let (mut lines, mut pictures, mut same) = (vec!["10\t2".to_string()], Vec::new(), Vec::new());
    for fold in 0..10 {
        let [one, other] = [2 * fold, 2 * fold + 1];
        lines.extend([one, other].map(|person| format!("P{person}\t1\t2")));
        lines.extend([1, 2].map(|number| format!("P{one}\t{number}\tP{other}\t{number}")));
        let of_fold = [[(one, 0), (one, 1)], [(other, 0), (other, 1)], [(one, 0), (other, 0)], [(one, 1), (other, 1)]];
        pictures.extend(of_fold.concat().into_iter().map(|(person, number)| picture(person, number)));
        same.extend([true, true, false, false]);
    }
    let [bin, pairs, people, json] = ["faces.bin", "pairs.txt", "people", "figures.json"].map(|name| folder.join(name));
    fs::write(&bin, pickle(&pictures, &same)).expect("writable");
    fs::write(&pairs, lines.join("\n")).expect("writable");
    for person in 0..20 {
        fs::create_dir_all(people.join(format!("P{person}"))).expect("writable");
        for number in 0..2 {
            let from = picture(person, number);
            let ending = from.extension().expect("it has one").display();
            fs::copy(&from, people.join(format!("P{person}/P{person}_{:04}.{ending}", number + 1))).expect("a picture");
        }
    }
    let figures = |flags: &str| {
        let text =
            run(&format!("eval --run {} {flags} --json {}", output.display(), json.display())).expect("it works");
        let figures: Value = serde_json::from_slice(&fs::read(&json).expect("it was written")).expect("JSON");
        (text, figures)
    };
    for protocol in ["exact", "insightface"] {
        let (text, of_bin) = figures(&format!("--bin {} --protocol {protocol}", bin.display()));
        assert!(text.contains("test:  80 pictures in 40 pairs, unseen in training"), "{text}");
        assert!(text.contains("40 pairs in 10 folds") && text.contains("TAR at FAR <= 1e-1"), "{text}");
        let (_, mut of_files) =
            figures(&format!("--pairs {} --data {} --protocol {protocol}", pairs.display(), people.display()));
        assert!(of_bin["intervals"].is_null() && of_files["intervals"].is_object());
        of_files["intervals"] = Value::Null;
        assert_eq!(of_bin, of_files);
    }

    let error = |bytes: &[u8]| {
        fs::write(&bin, bytes).expect("writable");
        refused(&format!("eval --run {} --bin {}", output.display(), bin.display()))
    };
    assert!(error(&pickle(&pictures, &same[1..])).contains("got 80 pictures and 39 pairs"));
    assert!(error(b"cposix\nsystem\n(S'true'\ntR.").contains("faces.bin: byte 0: it asks for posix.system"));
    assert!(error(b"\x80\x02](U\x01aU\x01be]\x88a\x86.").contains("picture 0: not a picture"));
    let error =
        refused(&format!("eval --run {} --bin {} --data {}", output.display(), bin.display(), people.display()));
    assert!(error.contains("cannot be used with"), "{error}");
    let error = refused(&format!("eval --run {} --protocol exact", output.display()));
    assert!(error.contains("required arguments were not provided"), "{error}");
}
