//! The tool from the outside: command lines in, files and messages out.
//!
//! The pictures are tiny, so that an unoptimised build takes seconds; whether the model learns well
//! is measured by the runs in README.md.

mod cache;
mod command;
mod damage;
mod devices;
mod embed;
mod folder;
mod identify;
mod interruption;
mod layers;
mod lfw;
mod network;
mod packed;
mod readme;
mod report;
mod resume;
#[cfg(feature = "remote-server")]
mod servers;
mod settings;
mod templates;
mod validation;
mod verify;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use face_embedding::commands::report::Metrics;
use face_embedding::data::procedural::ProceduralFaces;
use image::RgbImage;

/// Few people, small pictures, a narrow trunk, two epochs of three steps.
const TINY: &str = "--people 6 --test-people 6 --pictures 6 --image-size 16 --width 2 \
                    --embedding-size 8 --batch-size 12 --epochs 2 --seed 5";

/// The same people, of which more batches are made.
const TINY_PEOPLE: &str =
    "--people 6 --test-people 6 --pictures 6 --image-size 16 --width 2 --embedding-size 8 --seed 5";

/// The same as the first, for pictures that are not drawn.
const TINY_MODEL: &str = "--image-size 16 --width 2 --embedding-size 8 --batch-size 12 --epochs 2 --seed 5";

/// Runs a command line; what it printed, or the message it failed with. (In a process of its own,
/// since Burn's random numbers are shared by all threads of a process.)
fn run(line: &str) -> Result<String, String> {
    let (status, text, error) = outcome(line);
    if status == 0 { Ok(text) } else { Err(error) }
}

/// Runs a command line: its exit status, what it printed, and what it printed as errors and notes.
fn outcome(line: &str) -> (i32, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_face-embedding"))
        .args(line.split_whitespace())
        .output()
        .expect("the binary starts");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().expect("it was not killed"), text(&output.stdout), text(&output.stderr))
}

/// A run that has begun to train, and what it prints from there on.
fn begun(line: &str) -> (Child, impl Iterator<Item = String> + use<>) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_face-embedding"))
        .args(line.split_whitespace())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    let output = child.stdout.take().expect("it is a pipe");
    let mut lines = BufReader::new(output).lines().map(|line| line.expect("text"));
    lines.by_ref().find(|line| line.starts_with("model:")).expect("it says what it trains");
    (child, lines)
}

/// Runs a command line whose answer nobody can write down, where there is such a device.
fn to_full_disk(line: &str) {
    let Ok(full) = std::fs::File::options().write(true).open("/dev/full") else { return };
    let command = Command::new(env!("CARGO_BIN_EXE_face-embedding"))
        .args(line.split_whitespace())
        .stdout(full)
        .output()
        .expect("the binary starts");
    let error = String::from_utf8_lossy(&command.stderr);
    assert!(error.contains("cannot write the answer"), "{error}");
    assert_eq!(command.status.code(), Some(2), "{error}");
}

/// Drawn faces as files, one folder per person.
fn write_people(directory: &Path, people: usize, pictures: usize, seed: u64) {
    let size = 24;
    let set = ProceduralFaces { people, pictures_per_person: pictures, size, seed }.generate();
    for (number, face) in set.faces.iter().enumerate() {
        let person = directory.join(format!("person {}", face.person));
        std::fs::create_dir_all(&person).expect("the test folder is writable");
        let side = size as u32;
        let picture = RgbImage::from_raw(side, side, face.pixels().expect("drawn faces are in memory").to_vec())
            .expect("three bytes a pixel");
        let ending = ["png", "bmp", "ppm"][number % 3];
        picture.save(person.join(format!("{number}.{ending}"))).expect("the picture is written");
    }
}

/// An empty folder of its own for each test.
fn fresh(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    if path.exists() {
        std::fs::remove_dir_all(&path).expect("an old test folder can be removed");
    }
    std::fs::create_dir_all(&path).expect("a test folder can be made");
    path
}

fn metrics(path: &Path) -> Metrics {
    let text = std::fs::read_to_string(path).expect("the figures were written");
    serde_json::from_str(&text).expect("the figures have the promised form")
}

/// The message of a command line that must fail.
fn refused(line: &str) -> String {
    run(line).expect_err("this must fail")
}

/// The figures of a run with another cosine at a false accept rate of 1e-1.
fn with_cosine(run: &Path, cosine: f64) -> PathBuf {
    let text = std::fs::read(run.join("metrics.json")).expect("it was written");
    let mut figures: serde_json::Value = serde_json::from_slice(&text).expect("JSON");
    figures["verification"]["thresholds"]["at_far"]["1e-1"]["cosine"] = cosine.into();
    let file = run.with_file_name(format!("thresholds{cosine}.json"));
    std::fs::write(&file, figures.to_string()).expect("writable");
    file
}
