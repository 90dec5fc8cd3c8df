//! Opens files that anybody may have put there.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::Read;
use std::path::Path;

/// Longest file that is read: longer ones are no portraits.
pub(super) const LONGEST_FILE: u64 = 32 << 20;

/// The bytes of a regular file, or why it was not read.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, String> {
    let explain = |error: std::io::Error| format!("cannot be read: {error}");
    let expected = fs::symlink_metadata(path).map_err(explain)?;
    check(&expected)?;
    let file = open(path).map_err(explain)?;
    // Whoever can write the folder may have put something else in the place of the file since.
    let opened = file.metadata().map_err(explain)?;
    check(&opened)?;
    if !is_same(&expected, &opened) {
        return Err("was replaced while it was read".to_owned());
    }
    let mut bytes = Vec::with_capacity(opened.len() as usize);
    file.take(LONGEST_FILE + 1).read_to_end(&mut bytes).map_err(explain)?;
    check_length(bytes.len() as u64)?;
    Ok(bytes)
}

fn check(metadata: &Metadata) -> Result<(), String> {
    if metadata.is_symlink() {
        return Err("a link".to_owned());
    }
    if !metadata.is_file() {
        return Err("not a regular file".to_owned());
    }
    check_length(metadata.len())
}

fn check_length(length: u64) -> Result<(), String> {
    match length {
        0 => Err("empty".to_owned()),
        1..=LONGEST_FILE => Ok(()),
        _ => Err(format!("longer than {} MiB", LONGEST_FILE >> 20)),
    }
}

/// Opens for reading without waiting for the other end of a pipe.
fn open(path: &Path) -> std::io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.custom_flags(NON_BLOCKING);
    }
    options.open(path)
}

/// `O_NONBLOCK`, which std does not name; 0, no flag, where its value is not certain.
#[cfg(unix)]
const NON_BLOCKING: i32 = {
    const LINUX: bool = cfg!(any(target_os = "linux", target_os = "android"))
        && cfg!(any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64"));
    const APPLE: bool = cfg!(target_vendor = "apple");
    if LINUX {
        0o4000
    } else if APPLE {
        0x4
    } else {
        0
    }
};

#[cfg(unix)]
fn is_same(one: &Metadata, other: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}

#[cfg(not(unix))]
fn is_same(_: &Metadata, _: &Metadata) -> bool {
    true
}
