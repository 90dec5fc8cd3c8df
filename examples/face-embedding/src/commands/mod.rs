//! What the command line asks for: a file per command, which puts the layers below together.
//!
//! - [`cli`]: the flags, and how they make settings.
//! - [`train`] and [`evaluate`]: the commands.
//! - [`report`]: the figures that they print and write.

pub mod cli;
pub mod evaluate;
pub mod report;
pub mod train;

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
