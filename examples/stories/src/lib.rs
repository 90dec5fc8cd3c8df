//! What the stories share: charts, the command line, and numbers that are the same on every run.
//!
//! The stories themselves are in `src/bin`, one file each.

#![forbid(unsafe_code)]

pub mod chart;
pub mod circle;
pub mod curves;
pub mod robust;
pub mod sparse;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Parser;

/// The options every story has.
#[derive(Parser, Debug)]
pub struct Options {
    /// Where the picture goes.
    #[arg(long)]
    pub output: Option<PathBuf>,
    /// What the data and the first weights follow from.
    #[arg(long, default_value_t = 42)]
    pub seed: u64,
}

impl Options {
    /// The file of the picture: the one asked for, or `runs/NAME.svg`; its folder is made.
    ///
    /// # Errors
    ///
    /// If the folder cannot be made, or the file is a folder.
    pub fn picture(&self, name: &str) -> Result<PathBuf> {
        let path = self.output.clone().unwrap_or_else(|| Path::new("runs").join(name).with_extension("svg"));
        anyhow::ensure!(!path.is_dir(), "{} is a folder; name a file for the picture", path.display());
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            std::fs::create_dir_all(folder)
                .with_context(|| format!("the folder {} cannot be made", folder.display()))?;
        }
        Ok(path)
    }
}

/// Writes a picture.
///
/// # Errors
///
/// If the file cannot be written.
pub fn save(path: &Path, svg: &str) -> Result<()> {
    std::fs::write(path, svg).with_context(|| format!("{} cannot be written", path.display()))?;
    println!("picture: {}", path.display());
    Ok(())
}

/// A generator of random numbers.
pub fn generator(seed: u64) -> rand::rngs::StdRng {
    rand::SeedableRng::seed_from_u64(seed)
}
