//! Every configured type has an example that asserts something and says when to take it, and every field of a config says
//! its default.

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

/// The blocks of Rust in the documentation.
fn examples(source: &str) -> Vec<&str> {
    // Every second fence closes a block; a block that names another language is no example.
    source.split("/// ```").skip(1).step_by(2).filter(|block| block.starts_with('\n')).collect()
}

#[test]
fn configured_types_have_an_example_and_defaults_are_told() {
    let mut files = Vec::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut files);
    let (mut configs, mut missing) = (0, Vec::new());
    for file in files {
        let source = fs::read_to_string(&file).expect("a source can be read");
        let source = source.split("#[cfg(test)]\nmod tests").next().expect("a split has a part");
        let (file, examples) = (file.display(), examples(source));
        for line in source.lines() {
            let Some((name, _)) = line.strip_prefix("pub struct ").and_then(|rest| rest.split_once("Config {")) else {
                continue;
            };
            configs += 1;
            let config = format!("{name}Config::new(");
            if !examples.iter().any(|example| example.contains(&config) && example.contains("assert")) {
                missing.push(format!("{file}: an example that makes a {name} and asserts something"));
            }
            if !source.contains("/// # When to take it\n") {
                missing.push(format!("{file}: when to take {name}"));
            }
        }
        let lines: Vec<&str> = source.lines().map(str::trim).collect();
        for pair in lines.windows(2) {
            let default = pair[1].strip_prefix("#[config(default = ").and_then(|rest| rest.strip_suffix(")]"));
            if let Some(default) = default.map(|default| default.trim_matches('"'))
                && pair[0] != format!("/// Default: `{default}`.")
            {
                missing.push(format!("{file}: the default {default} of a field, in its last line"));
            }
        }
    }
    assert!(configs >= 66, "the sources are read: {configs} configs");
    assert!(missing.is_empty(), "missing:\n{}", missing.join("\n"));
}
