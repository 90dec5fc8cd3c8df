//! Finds what may be pictures, without opening a file.

use std::ffi::OsStr;
use std::fs::{self, DirEntry, FileType};
use std::io;
use std::path::{Path, PathBuf};

use super::report::SkippedFile;

/// Extensions of the formats that can be read; files without an extension are tried as well.
const EXTENSIONS: [&str; 13] =
    ["png", "jpg", "jpeg", "jpe", "jfif", "webp", "bmp", "dib", "pnm", "pbm", "pgm", "ppm", "pam"];

/// The folder of a person.
pub(super) struct Person {
    pub(super) path: PathBuf,
    /// Printable, even if the name of the folder is not.
    pub(super) name: String,
}

/// A file that may be a picture of a person.
pub(super) struct Candidate {
    /// Index into [`Listing::people`].
    pub(super) person: usize,
    pub(super) path: PathBuf,
}

/// What a folder of faces holds.
#[derive(Default)]
pub(super) struct Listing {
    /// In order of the bytes of their names.
    pub(super) people: Vec<Person>,
    /// In order of person, then of the bytes of their names.
    pub(super) candidates: Vec<Candidate>,
    pub(super) skipped: Vec<SkippedFile>,
}

/// Lists the people below `dir` and their files.
pub(super) fn scan(dir: &Path) -> io::Result<Listing> {
    let mut listing = Listing::default();
    for entry in sorted_entries(dir, &mut listing)? {
        let path = entry.path();
        match entry.file_type() {
            Ok(kind) if kind.is_dir() && is_hidden(&entry.file_name()) => {
                listing.skip(path, "a hidden folder");
            }
            Ok(kind) if kind.is_dir() => listing.add_person(path, &entry.file_name()),
            Ok(kind) if kind.is_file() => {
                let reason =
                    if may_be_picture(&entry.file_name()) { "not in the folder of a person" } else { "not a picture" };
                listing.skip(path, reason);
            }
            Ok(kind) => listing.skip(path, special(kind)),
            Err(error) => listing.skip(path, format!("cannot be examined: {error}")),
        }
    }
    Ok(listing)
}

/// As [`scan`], but a folder without sub-folders is that of one person without a name.
pub(super) fn scan_any(dir: &Path) -> io::Result<Listing> {
    let listing = scan(dir)?;
    if !listing.people.is_empty() {
        return Ok(listing);
    }
    let mut flat = Listing::default();
    flat.add_person(dir.into(), OsStr::new(""));
    Ok(flat)
}

impl Listing {
    fn skip(&mut self, path: PathBuf, reason: impl Into<String>) {
        self.skipped.push(SkippedFile { path, reason: reason.into() });
    }

    fn add_person(&mut self, path: PathBuf, name: &OsStr) {
        let person = self.people.len();
        let entries = match sorted_entries(&path, self) {
            Ok(entries) => entries,
            Err(error) => {
                self.skip(path.clone(), format!("cannot be listed: {error}"));
                Vec::new()
            }
        };
        self.people.push(Person { path, name: printable(name) });
        for entry in entries {
            let path = entry.path();
            match entry.file_type() {
                Ok(kind) if kind.is_file() && may_be_picture(&entry.file_name()) => {
                    self.candidates.push(Candidate { person, path });
                }
                Ok(kind) if kind.is_file() => self.skip(path, "not a picture"),
                Ok(kind) if kind.is_dir() => self.skip(path, "a folder in the folder of a person"),
                Ok(kind) => self.skip(path, special(kind)),
                Err(error) => self.skip(path, format!("cannot be examined: {error}")),
            }
        }
    }
}

/// The entries in order of the bytes of their names; those that cannot be read are skipped.
fn sorted_entries(dir: &Path, listing: &mut Listing) -> io::Result<Vec<DirEntry>> {
    let mut entries = Vec::new();
    for entry in fs::read_dir(dir)? {
        match entry {
            Ok(entry) => entries.push(entry),
            Err(error) => listing.skip(dir.into(), format!("an entry cannot be read: {error}")),
        }
    }
    entries.sort_by_cached_key(|entry| entry.file_name().as_encoded_bytes().to_vec());
    Ok(entries)
}

/// Why something that is neither file nor folder is left alone.
fn special(kind: FileType) -> &'static str {
    if kind.is_symlink() { "a link" } else { "not a regular file" }
}

fn is_hidden(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(b".")
}

fn may_be_picture(name: &OsStr) -> bool {
    let is_known = |extension: &OsStr| EXTENSIONS.iter().any(|known| extension.eq_ignore_ascii_case(known));
    !is_hidden(name) && Path::new(name).extension().is_none_or(is_known)
}

/// The name with everything escaped that is not text or that would disturb a terminal.
fn printable(name: &OsStr) -> String {
    let mut printable = String::new();
    for chunk in name.as_encoded_bytes().utf8_chunks() {
        for character in chunk.valid().chars() {
            if character.is_control() {
                printable.extend(character.escape_default());
            } else {
                printable.push(character);
            }
        }
        for byte in chunk.invalid() {
            printable.push_str(&format!("\\x{byte:02x}"));
        }
    }
    printable
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extension_decides_what_is_tried() {
        for name in ["a.png", "a.JPG", "a.b.jpeg", "a", "a.PgM", "émil.bmp", "a.WebP", "\u{1f600}.ppm"] {
            assert!(may_be_picture(OsStr::new(name)), "{name}");
        }
        for name in [".DS_Store", "._a.jpg", "Thumbs.db", "a.txt", "a.gif", "a.jpg.part", ".png"] {
            assert!(!may_be_picture(OsStr::new(name)), "{name}");
        }
    }

    #[test]
    fn printable_name_keeps_text_and_escapes_the_rest() {
        assert_eq!(printable(OsStr::new("Émil \u{1f600}")), "Émil \u{1f600}");
        assert_eq!(printable(OsStr::new("a\nb\u{1b}[2J")), "a\\nb\\u{1b}[2J");
        #[cfg(unix)]
        {
            use std::os::unix::ffi::OsStrExt;
            assert_eq!(printable(OsStr::from_bytes(b"a\xffb\xc3")), "a\\xffb\\xc3");
        }
    }
}
