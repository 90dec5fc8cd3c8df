//! Every configured type has an example, and every field of a config says its default.

use std::fs;
use std::path::{Path, PathBuf};

fn sources(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("the sources are there") {
        let path = entry.expect("an entry can be read").path();
        if path.is_dir() {
            sources(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push(path);
        }
    }
}

/// Whether the documentation has a block of Rust.
fn has_example(source: &str) -> bool {
    let fences = source.lines().filter_map(|line| line.trim_start().strip_prefix("/// ```"));
    // Every second one closes a block; a block that names another language is no example.
    fences.step_by(2).any(str::is_empty)
}

#[test]
fn configured_types_have_an_example_and_defaults_are_told() {
    let mut files = Vec::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut files);
    let (mut configs, mut missing) = (0, Vec::new());
    for file in files {
        let source = fs::read_to_string(&file).expect("a source can be read");
        let source = source.split("#[cfg(test)]\nmod tests").next().expect("a split has a part");
        let names = source.lines().filter_map(|line| line.strip_prefix("pub struct ")?.split_once("Config {"));
        let names: Vec<&str> = names.map(|(name, _)| name).collect();
        configs += names.len();
        if !names.is_empty() && !has_example(source) {
            missing.push(format!("{}: an example of {}", file.display(), names.join(", ")));
        }
        let lines: Vec<&str> = source.lines().map(str::trim).collect();
        for pair in lines.windows(2) {
            let default = pair[1].strip_prefix("#[config(default = ").and_then(|rest| rest.strip_suffix(")]"));
            if let Some(default) = default.map(|default| default.trim_matches('"'))
                && pair[0] != format!("/// Default: `{default}`.")
            {
                missing.push(format!("{}: the default {default} of a field, in its last line", file.display()));
            }
        }
    }
    assert!(configs >= 66, "the sources are read: {configs} configs");
    assert!(missing.is_empty(), "missing:\n{}", missing.join("\n"));
}
