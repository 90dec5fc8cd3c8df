//! `embed`: files of embeddings, of people and of pictures alone.

use std::fs;

use super::{TINY, fresh, outcome, refused, run, write_people};

#[test]
fn embeddings_are_written_in_every_format_with_their_names() {
    let folder = fresh("embed");
    let output = folder.join("run");
    run(&format!("train {TINY} --output {}", output.display())).expect("a tiny run works");
    let people = folder.join("people");
    write_people(&people, 2, 3, 9);
    fs::write(people.join("person 1").join("broken.png"), "nothing").expect("writable");
    let embed = |data: &std::path::Path, file: &str| {
        let file = folder.join(file);
        let text = run(&format!("embed {} --output {} --run {}", data.display(), file.display(), output.display()))
            .expect("there are pictures");
        (fs::read(&file).expect("it was written"), text)
    };

    let (bytes, text) = embed(&people, "people.csv");
    assert!(text.contains("kept 6 pictures, skipped 1") && text.contains("wrote 6 embeddings of 8 values"), "{text}");
    let table = String::from_utf8(bytes).expect("text");
    let lines: Vec<Vec<&str>> = table.lines().map(|line| line.split(',').collect()).collect();
    assert_eq!(lines.len(), 7);
    let names: Vec<&[&str]> = lines[1..].iter().map(|line| &line[..2]).collect();
    assert_eq!(names[..2], [["person 0/0.png", "person 0"], ["person 0/1.bmp", "person 0"]]);
    assert_eq!(names[5], ["person 1/5.ppm", "person 1"]);

    // The same values in the other formats, and the score of `verify` from two of them.
    let values =
        |line: &[&str]| -> Vec<f32> { line[2..].iter().map(|value| value.parse().expect("a number")).collect() };
    let all: Vec<u8> = lines[1..].iter().flat_map(|line| values(line)).flat_map(f32::to_le_bytes).collect();
    let (bytes, _) = embed(&people, "people.safetensors");
    assert!(bytes.ends_with(&all));
    let (bytes, _) = embed(&people, "people.npy");
    assert!(bytes.starts_with(b"\x93NUMPY") && bytes.ends_with(&all[all.len() - 4 * 8..]));
    let (one, other) = (values(&lines[1]), values(&lines[6]));
    let dot = |one: &[f32], other: &[f32]| -> f64 { one.iter().zip(other).map(|(a, b)| f64::from(a * b)).sum() };
    let cosine = dot(&one, &other) / (dot(&one, &one) * dot(&other, &other)).sqrt();

    // A folder of pictures, without people.
    let flat = folder.join("flat");
    fs::create_dir(&flat).expect("writable");
    for (person, file) in [("person 0", "0.png"), ("person 1", "5.ppm")] {
        fs::copy(people.join(person).join(file), flat.join(file)).expect("writable");
    }
    let (bytes, _) = embed(&flat, "flat.csv");
    let table = String::from_utf8(bytes).expect("text");
    assert!(table.lines().nth(1).is_some_and(|line| line.starts_with("0.png,,")), "{table}");
    let [first, second] = ["0.png", "5.ppm"].map(|file| flat.join(file).display().to_string());
    let (_, text, _) = outcome(&format!("verify {first} {second} --run {} --far 0.1 --json", output.display()));
    let verdict: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert!((verdict["score"].as_f64().expect("a number") - cosine).abs() < 1e-5, "{text}, {cosine}");

    let embed_wrongly =
        |data: &str, file: &str| refused(&format!("embed {data} --output {file} --run {}", output.display()));
    assert!(embed_wrongly("flat", "a.txt").contains("must end in .safetensors, .npy or .csv"));
    let error = embed_wrongly("nowhere", "nodir/a.csv");
    assert!(error.contains("--output: there is no folder to write nodir/a.csv to"), "{error}");
    let own = output.join("trunk.safetensors").display().to_string();
    assert!(embed_wrongly("nowhere", &own).contains("is a file of the run itself"));
    let empty = folder.join("empty");
    fs::create_dir(&empty).expect("writable");
    assert!(embed_wrongly(&empty.display().to_string(), "a.csv").contains("holds no picture that can be used"));
}
