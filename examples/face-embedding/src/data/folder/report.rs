//! What became of the files of a folder.

use std::fmt;
use std::path::PathBuf;

/// A file or folder that was not used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SkippedFile {
    /// Where it is.
    pub path: PathBuf,
    /// Why it was not used.
    pub reason: String,
}

/// Two files with the same picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SamePicture {
    /// The file that was read first.
    pub first: PathBuf,
    /// The other file.
    pub second: PathBuf,
}

/// What became of the files of a folder. Shown as text, it lists the first of each kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FolderReport {
    /// How many pictures are in the set.
    pub kept: usize,
    /// Everything that is not, in order of path.
    pub skipped: Vec<SkippedFile>,
    /// Folders of people without a single usable picture; they are not in the set.
    pub empty_people: Vec<PathBuf>,
    /// Pictures that are in the set under two names: one of the labels is wrong.
    pub same_pictures: Vec<SamePicture>,
    /// Pictures that a person has twice: such a pair says nothing about a model.
    pub repeated_pictures: Vec<SamePicture>,
}

/// How many of a long list are shown.
const SHOWN: usize = 1000;

impl fmt::Display for FolderReport {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Paths are shown escaped: a name with a line break must not look like two entries.
        write!(formatter, "kept {} pictures, skipped {}", self.kept, self.skipped.len())?;
        list(formatter, &self.skipped, |file| format!("{:?}: {}", file.path, file.reason))?;
        if !self.empty_people.is_empty() {
            write!(formatter, "\npeople without a usable picture: {}", self.empty_people.len())?;
            list(formatter, &self.empty_people, |path| format!("{path:?}"))?;
        }
        let same = [
            ("the same picture under two names", &self.same_pictures),
            ("the same picture twice in the folder of a person", &self.repeated_pictures),
        ];
        for (what, pictures) in same {
            if !pictures.is_empty() {
                write!(formatter, "\nwarning: {what}: {}", pictures.len())?;
                list(formatter, pictures, |same| format!("{:?} and {:?}", same.first, same.second))?;
            }
        }
        Ok(())
    }
}

fn list<T>(formatter: &mut fmt::Formatter<'_>, items: &[T], line: impl Fn(&T) -> String) -> fmt::Result {
    for item in items.iter().take(SHOWN) {
        write!(formatter, "\n  {}", line(item))?;
    }
    if items.len() > SHOWN {
        write!(formatter, "\n  and {} more", items.len() - SHOWN)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn report_shows_the_first_of_a_long_list_and_counts_the_rest() {
        let skipped =
            |number| SkippedFile { path: PathBuf::from(format!("ann/{number}")), reason: "broken".to_owned() };
        let report = FolderReport { skipped: (0..1002).map(skipped).collect(), ..Default::default() };
        let text = report.to_string();
        assert!(text.starts_with("kept 0 pictures, skipped 1002\n  \"ann/0\": broken\n"), "{text}");
        assert!(text.ends_with("\"ann/999\": broken\n  and 2 more"), "{text}");
    }

    #[test]
    fn line_break_in_a_name_is_escaped() {
        let report = FolderReport { empty_people: vec!["a\nb".into()], ..Default::default() };
        assert!(report.to_string().ends_with("\n  \"a\\nb\""), "{report}");
    }
}
