//! Pictures of real people: one sub-folder per person, named after them; or pictures of whom nobody is named.
//!
//! A folder from the wild holds more than pictures, so everything that is not used is reported
//! with its reason, and nothing in it can stop the rest from being read: `scan` finds the
//! files without opening any, `read` opens them, `complete` rejects those that were cut off,
//! and `decode` turns them into squares of the size that is `wanted` (large ones `shrink` while they are read); with
//! `landmarks` it aligns them. A `reader` does that with several files at once, and again for those that it does not keep in
//! memory. `numbered` and `listed` read those that a list names, and `packed` those of a file that holds them all.

mod align;
mod complete;
mod decode;
mod landmarks;
mod listed;
mod load;
mod numbered;
mod packed;
mod read;
mod reader;
mod report;
mod scan;
mod shrink;
mod wanted;

pub use landmarks::Landmarks;
pub use listed::{load_listed, read_points};
pub use load::{load, load_any, load_picture};
pub use numbered::load_numbered;
pub use packed::load_packed;
pub use reader::Reader;
pub use report::{FolderReport, SamePicture, SkippedFile};
pub use wanted::Wanted;
