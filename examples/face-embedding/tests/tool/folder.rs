//! Folders of pictures, with everything in them that should not be there.

use std::fs;
use std::path::Path;

use super::{TINY_MODEL, fresh, metrics, refused, run, write_people};

#[test]
fn corrupt_files_are_skipped_and_the_rest_trains() {
    let folder = fresh("photographs");
    let (people, others) = (folder.join("people"), folder.join("others"));
    write_people(&people, 10, 6, 1);
    write_people(&others, 6, 5, 2);
    let first = people.join("person 0");
    fs::write(first.join("corrupt.png"), b"\x89PNG\r\n\x1a\nnothing").expect("writable");
    fs::write(first.join("notes.txt"), "not a picture").expect("writable");
    fs::write(first.join("empty.jpg"), "").expect("writable");

    let output = folder.join("run");
    run(&format!("train {TINY_MODEL} --data {} --held-out-share 0.4 --output {}", people.display(), output.display()))
        .expect("the good pictures are enough");
    assert!(metrics(&output.join("metrics.json")).verification.auc.is_finite());

    let json = folder.join("others.json");
    let text = run(&format!("eval --run {} --data {} --json {}", output.display(), others.display(), json.display()))
        .expect("other people can be measured");
    assert!(text.contains("The thresholds of the run, on these people:"), "{text}");
    // The area and its interval are in one unit.
    let areas: Vec<&str> = text.lines().filter(|line| line.starts_with("area under ROC")).collect();
    assert!(areas.len() == 2 && !areas.concat().contains('%') && areas[1].contains(" to "), "{areas:?}");
    assert!(metrics(&json).verification.auc.is_finite());

    // Nor are three people enough, and the advice is of flags that there are.
    for person in 3..6 {
        fs::remove_dir_all(others.join(format!("person {person}"))).expect("a person");
    }
    let error = refused(&format!("eval --run {} --data {}", output.display(), others.display()));
    assert!(error.contains("must hold at least 4 people to measure on"), "{error}");
    assert!(error.contains("found 3 (pictures in all: 15)") && !error.contains("--held-out-share"), "{error}");
    let flat = folder.join("flat");
    fs::rename(others.join("person 0"), &flat).expect("writable");
    let error = refused(&format!("eval --run {} --data {}", output.display(), flat.display()));
    assert!(error.contains("found 0 (pictures in all: 5)"), "{error}");

    // What the run itself has written is left as it is.
    for own in ["metrics.json", "../run/trunk.safetensors"] {
        let file = output.join(own);
        let before = fs::read(&file).expect("it was written");
        let error = refused(&format!("eval --run {} --json {}", output.display(), file.display()));
        assert!(error.contains("--json: ") && error.contains("is a file of the run itself"), "{error}");
        assert!(fs::read(&file).expect("still there") == before);
    }
}

#[test]
fn test_pictures_that_are_trained_on_are_told() {
    let folder = fresh("seen");
    let (people, others) = (folder.join("people"), folder.join("others"));
    write_people(&people, 8, 6, 1);
    write_people(&others, 6, 5, 2);
    let train = |val_data: &Path, name: &str| {
        let [data, val_data] = [&people, val_data].map(|path| path.display());
        let output = folder.join(name);
        run(&format!("train {TINY_MODEL} --data {data} --val-data {val_data} --output {}", output.display()))
    };
    let text = train(&others, "unseen").expect("two sets that share nothing");
    assert!(text.contains("(unseen in training)"), "{text}");

    // The same picture in another format and under another name; and one of a test person twice.
    let picture = image::open(people.join("person 0").join("0.png")).expect("a drawn picture");
    picture.save(others.join("person 3").join("copy.bmp")).expect("writable");
    fs::copy(others.join("person 4").join("21.png"), others.join("person 4").join("again.png")).expect("writable");
    let text = train(&others, "seen").expect("a warning is no error");
    assert!(text.contains("(warning: 1 of these pictures are trained on"), "{text}");
    assert!(text.contains(r#"copy.bmp", trained on as ""#) && !text.contains("unseen in training"), "{text}");
    assert!(text.contains("twice in the folder of a person: 1"), "{text}");

    // `eval` knows what the run was trained on.
    let model = folder.join("unseen");
    let eval = |data: &Path| run(&format!("eval --model {} --data {}", model.display(), data.display()));
    let text = eval(&people).expect("it can be measured on anybody");
    assert!(text.contains("warning: 48 of these pictures are trained on"), "{text}");
    assert!(text.contains(r#"0.png", trained on as person 0"#), "{text}");

    let copies = folder.join("copies");
    for entry in fs::read_dir(&people).expect("the people").map(|entry| entry.expect("a folder")) {
        let copy = copies.join(entry.file_name());
        fs::create_dir_all(&copy).expect("writable");
        for file in fs::read_dir(entry.path()).expect("the pictures").map(|file| file.expect("a file")) {
            fs::copy(file.path(), copy.join(file.file_name())).expect("writable");
        }
    }
    let error = train(&copies, "copied").expect_err("nobody is unseen");
    assert!(error.contains("all pictures of the test people are trained on"), "{error}");
}

#[test]
fn the_seed_of_the_training_leaves_the_test_people_as_they_are() {
    let folder = fresh("pair_seed");
    let people = folder.join("people");
    write_people(&people, 12, 4, 1);
    let test_people = |flags: &str| {
        let output = folder.join(flags.replace(' ', "_"));
        run(&format!("train {TINY_MODEL} --data {} {flags} --output {}", people.display(), output.display()))
            .expect("twelve people are enough");
        let untrained = metrics(&output.join("metrics.json")).untrained;
        (fs::read_to_string(output.join("test_people.json")).expect("it was written"), untrained)
    };
    let (one, other) = (test_people("--epochs 1 --seed 5"), test_people("--epochs 1 --seed 6"));
    assert_eq!(one.0, other.0);
    assert_ne!(one.1, other.1);
    assert_ne!(one.0, test_people("--epochs 1 --pair-seed 7").0);
}

#[test]
fn a_run_is_not_resumed_with_other_people() {
    let folder = fresh("other_people");
    let (people, others) = (folder.join("people"), folder.join("others"));
    write_people(&people, 10, 6, 1);
    write_people(&others, 6, 5, 2);
    let output = folder.join("run");
    // Nobody is held back, so that the person renamed is one of the classes.
    let [data, val_data] = [&people, &others].map(|path| path.display());
    let flags = format!("--data {data} --val-data {val_data} --output {}", output.display());
    run(&format!("train {TINY_MODEL} {flags}")).expect("ten people are enough");
    fs::rename(people.join("person 3"), people.join("somebody else")).expect("writable");

    let error = refused(&format!("train --resume --epochs 3 --output {}", output.display()));
    assert!(error.contains("person 3 is gone, somebody else is new"), "{error}");

    fs::rename(people.join("somebody else"), people.join("person 3")).expect("writable");
    fs::remove_file(people.join("person 0").join("0.png")).expect("the first picture");
    let error = refused(&format!("train --resume --epochs 3 --output {}", output.display()));
    assert!(error.contains("person 0 had 6 pictures and has 5"), "{error}");
}

#[test]
fn a_run_is_resumed_with_the_same_pictures_wherever_they_are() {
    let folder = fresh("moved");
    let (people, others) = (folder.join("people"), folder.join("others"));
    write_people(&people, 10, 6, 1);
    write_people(&others, 6, 5, 2);
    let output = folder.join("run");
    let [data, val_data] = [&people, &others].map(|path| path.display());
    run(&format!("train {TINY_MODEL} --data {data} --val-data {val_data} --output {}", output.display()))
        .expect("ten people are enough");

    let moved = folder.join("moved");
    fs::rename(&people, &moved).expect("writable");
    let resume = |epochs: usize| {
        let [data, output] = [&moved, &output].map(|path| path.display());
        run(&format!("train --resume --epochs {epochs} --data {data} --output {output}"))
    };
    resume(3).expect("the pictures are the same");

    // Two people exchange a picture; the number of pictures stays.
    let [one, other] = ["person 0/0.png", "person 1/6.png"].map(|file| moved.join(file));
    let [first, second] = [&one, &other].map(|file| fs::read(file).expect("a picture"));
    fs::write(&one, &second).expect("writable");
    fs::write(&other, &first).expect("writable");
    let error = resume(4).expect_err("two pictures have another label");
    assert!(error.contains("person 0 has another picture"), "{error}");
    fs::write(&one, &first).expect("writable");
    fs::write(&other, &second).expect("writable");

    fs::remove_file(others.join("person 3").join("15.png")).expect("a picture of a test person");
    let error = resume(4).expect_err("another measurement");
    assert!(error.contains("person 3 had 5 pictures and has 4"), "{error}");
}

#[test]
fn a_run_without_pictures_leaves_nothing() {
    let folder = fresh("no_pictures");
    let output = folder.join("made").join("for").join("it");
    let error = refused(&format!("train --data {} --output {}", folder.join("nowhere").display(), output.display()));
    assert!(error.contains("nowhere"), "{error}");
    assert!(!folder.join("made").exists());
}

#[test]
fn too_few_people_or_pictures_say_what_was_found() {
    let folder = fresh("too_few");
    let one = folder.join("one");
    write_people(&one, 1, 4, 1);
    let train = |data: &Path, flags: &str| {
        let output = folder.join("run");
        refused(&format!("train {TINY_MODEL} {flags} --data {} --output {}", data.display(), output.display()))
    };
    assert!(train(&one, "").contains("found 1"), "{}", train(&one, ""));
    let few = folder.join("few");
    write_people(&few, 6, 3, 1);
    let error = train(&few, "--batch-size 64");
    assert!(error.contains("batch_size: must be at most the number of training pictures"), "{error}");
    let error = train(&folder.join("missing"), "");
    assert!(error.contains("missing"), "{error}");
}

#[test]
fn a_run_trains_on_faces_that_are_aligned_by_their_points() {
    let folder = fresh("landmarks");
    let people = folder.join("people");
    write_people(&people, 6, 8, 3);
    // Half of the picture from 4 right and 2 down: the places of arcface_torch in 12 of 24 pixels, shifted.
    let face = [[8.103, 7.539], [11.879, 7.518], [10.003, 9.686], [8.452, 11.896], [11.578, 11.879]];
    let points: Vec<String> = face.iter().flatten().map(f64::to_string).collect();
    let mut table = "path,x1,y1,x2,y2,x3,y3,x4,y4,x5,y5\n".to_string();
    for number in 1..48 {
        let ending = ["png", "bmp", "ppm"][number % 3];
        table += &format!("people/person {}/{number}.{ending},{}\n", number / 8, points.join(","));
    }
    let landmarks = folder.join("points.csv");
    std::fs::write(&landmarks, table).expect("the test folder is writable");
    let output = folder.join("run");
    let (data, points, path) = (people.display(), landmarks.display(), output.display());
    let text = run(&format!("train {TINY_MODEL} --data {data} --landmarks {points} --output {path}"))
        .expect("there are enough pictures");
    assert!(text.contains("kept 47 pictures, skipped 1") && text.contains("0.png\": has no line in"), "{text}");

    let embed = |flags: &str, name: &str| {
        let file = folder.join(name);
        let text = run(&format!("embed {data} --run {path} --output {} {flags}", file.display())).expect("pictures");
        (text, std::fs::read(file).expect("it was written"))
    };
    let (text, aligned) = embed(&format!("--landmarks {points}"), "aligned.csv");
    assert!(text.contains("kept 47 pictures"), "{text}");
    let (text, centered) = embed("", "centered.csv");
    assert!(text.contains("kept 48 pictures"), "{text}");
    let row = |table: &[u8]| {
        let text = String::from_utf8(table.to_vec()).expect("text");
        text.lines().find(|line| line.starts_with("person 5/47.")).expect("the last picture").to_string()
    };
    assert_ne!(row(&aligned), row(&centered));

    let moved = folder.join("moved.csv");
    std::fs::rename(&landmarks, &moved).expect("the test folder is writable");
    let error = refused(&format!("eval --run {path}"));
    assert!(error.contains("landmarks: cannot read") && error.contains("points.csv"), "{error}");
    run(&format!("train --resume --epochs 3 --landmarks {} --output {path}", moved.display()))
        .expect("the same points lie elsewhere now");
    let error = refused(&format!("eval --run {path} --landmarks {}", moved.display()));
    assert!(error.contains("landmarks: are of the pictures of --data"), "{error}");
}
