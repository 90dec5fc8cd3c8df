//! The folders of `src` are layers: no file imports from a layer below its own in the table of `lib.rs`.

use std::fs;
use std::path::{Path, PathBuf};

/// In the order of the table.
const LAYERS: [&str; 6] = ["settings", "data", "model", "training", "protocols", "commands"];

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("the sources are here").map(|entry| entry.expect("an entry").path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

#[test]
fn no_file_imports_from_a_later_layer() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut imports = 0;
    for (place, layer) in LAYERS.iter().enumerate() {
        for file in files(&src.join(layer)).iter().filter(|file| file.extension().is_some_and(|end| end == "rs")) {
            let text = fs::read_to_string(file).expect("a source file is text");
            for (later, name) in LAYERS.iter().enumerate() {
                let is_used = text.contains(&format!("crate::{name}::"));
                assert!(!is_used || later <= place, "{} imports from {name}", file.display());
                imports += usize::from(is_used);
            }
        }
    }
    assert!(imports > 20, "only {imports} imports were found: has the form of the paths changed?");
}
