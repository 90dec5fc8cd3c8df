//! Trains a face-embedding model with a head of `burn-losses` and measures how well it verifies
//! people it has never seen.
//!
//! - [`cli`] and [`config`]: flags and `config.json`, checked and merged.
//! - [`data`]: drawn faces, or a folder of photographs; [`batches`] turns them into tensors.
//! - [`model`]: the trunk, the head, and both as one module.
//! - [`train`]: Burn's training loop with our [`schedule`], [`step`] figures and [`renderer`].
//! - [`evaluate`]: verification of unseen people; [`report`] writes and prints the figures.
//! - [`run_directory`]: the files of a run and where they lie.
#![forbid(unsafe_code)]
#![recursion_limit = "256"]

/// Prints a line. A reader that has gone away (`| head`, a closed terminal, a full disk) must not stop a training, and
/// `println!` would panic, in a thread of Burn's that nobody hears.
macro_rules! say {
    ($($part:tt)*) => {{
        use std::io::Write;
        let _ = writeln!(std::io::stdout(), $($part)*);
    }};
}

pub mod backend;
pub mod batches;
pub mod cli;
pub mod config;
pub mod data;
pub mod epoch_table;
pub mod evaluate;
pub mod loss;
pub mod model;
pub mod people;
pub mod renderer;
pub mod report;
pub mod run_directory;
pub mod schedule;
pub mod step;
pub mod train;
pub mod verification;

mod augment;

/// Runs what the command line asks for.
///
/// # Errors
///
/// If a setting, a file or the training fails; the message says which and why.
pub fn run(arguments: cli::Arguments) -> anyhow::Result<()> {
    match arguments.command {
        cli::Command::Train(flags) => train::command(&flags).map(|_| ()),
        cli::Command::Eval(flags) => evaluate::command(&flags).map(|_| ()),
    }
}
