//! Writing the files of a run so that a kill, a full disk or a power cut leaves the old file or the new one.

use std::fs;
use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result};
use burn_pack::AtomicFile;

/// Writes a file aside, brings it to the disk and gives it its name.
///
/// # Errors
///
/// If the file cannot be written; what was there before is then still there.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let write = || {
        let (aside, mut file) = AtomicFile::create(path)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        drop(file);
        aside.commit()?;
        anyhow::Ok(())
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

/// A path as an argument of a command line in a message, which a shell takes for one.
pub(crate) fn quoted(path: &Path) -> String {
    let path = path.display().to_string();
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-+:,=@%".contains(&byte);
    if path.bytes().all(is_plain) && !path.is_empty() { path } else { format!("'{}'", path.replace('\'', r"'\''")) }
}

/// Removes what a kill left of files that were being written; nobody else may write into the folder. Returns how many.
///
/// # Errors
///
/// If a file cannot be removed.
pub(super) fn remove_leftovers(folder: &Path) -> Result<usize> {
    let Ok(entries) = fs::read_dir(folder) else { return Ok(0) };
    let mut removed = 0;
    for entry in entries {
        let path = entry.with_context(|| format!("cannot list {}", folder.display()))?.path();
        if path.is_file() && path.to_str().is_some_and(is_aside) {
            fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
            removed += 1;
        }
    }
    Ok(removed)
}

/// Whether a name is one that `AtomicFile` gives: that of the file, then `.PROCESS-NUMBER.tmp`.
fn is_aside(name: &str) -> bool {
    let numbers = name.strip_suffix(".tmp").and_then(|name| name.rsplit_once('.')?.1.split_once('-'));
    numbers.is_some_and(|(process, number)| process.parse::<u32>().is_ok() && number.parse::<u64>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_quoted_where_a_shell_would_split_it() {
        for (path, expected) in [("runs/a-2", "runs/a-2"), ("my run", "'my run'"), ("Ada's $x", r"'Ada'\''s $x'")] {
            assert_eq!(quoted(Path::new(path)), expected);
        }
    }

    #[test]
    fn a_file_is_replaced_whole_and_nothing_is_left_aside() {
        let folder = std::env::temp_dir().join(format!("face-embedding-files-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder for the test");
        let path = folder.join("config.json");
        write(&path, b"old and longer").expect("writable");
        write(&path, b"new").expect("writable");
        assert_eq!(fs::read(&path).expect("it was written"), b"new");
        assert_eq!(fs::read_dir(&folder).expect("the folder").count(), 1);

        let (aside, _) = AtomicFile::create(&path).expect("writable");
        // As a kill leaves it: its owner has no time to remove it.
        std::mem::forget(aside);
        fs::write(folder.join("notes.tmp"), b"of somebody else").expect("writable");
        assert_eq!(remove_leftovers(&folder).expect("removable"), 1);
        assert_eq!(fs::read_dir(&folder).expect("the folder").count(), 2);
        fs::remove_dir_all(&folder).expect("removable");
    }
}
