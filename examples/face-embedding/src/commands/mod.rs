//! What the command line asks for: a file per command, which puts the layers below together.
//!
//! - [`cli`]: the flags, and how they make settings.
//! - [`train`] and [`evaluate`] make and measure a model; [`verify`], [`identify`], [`embed`] and [`export`] use one, by
//!   `trained_model`.
//! - [`report`]: the figures that they print and write; `page`: a run to be looked at; `embeddings_file`: the file that `embed` writes.

pub mod cli;
pub mod embed;
pub mod evaluate;
pub mod export;
pub mod identify;
pub mod report;
pub mod train;
pub mod verify;

mod embeddings_file;
mod page;
mod trained_model;

use std::io::Write;

use anyhow::Context;

/// What a command that asks a question answers; the others always say yes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The same person; somebody of the gallery.
    Yes,
    /// Somebody else; nobody of the gallery.
    No,
    /// None: Ctrl-C ended a training, which can go on.
    Interrupted,
}

/// Prints the answer to a question, all of it at once. Unlike a line about progress, it must arrive: a script would take
/// the exit status for an answer that nobody has read.
///
/// # Errors
///
/// If it cannot be written.
fn print_answer(answer: &str) -> anyhow::Result<()> {
    let mut output = std::io::stdout().lock();
    writeln!(output, "{answer}").and_then(|()| output.flush()).context("cannot write the answer")
}

/// Runs what the command line asks for.
///
/// # Errors
///
/// If a setting, a file or the training fails; the message says which and why.
pub fn run(arguments: cli::Arguments) -> anyhow::Result<Answer> {
    match arguments.command {
        cli::Command::Train(flags) => train::command(&flags),
        cli::Command::Eval(flags) => evaluate::command(&flags).map(|()| Answer::Yes),
        cli::Command::Verify(flags) => verify::command(&flags),
        cli::Command::Identify(flags) => identify::command(&flags),
        cli::Command::Embed(flags) => embed::command(&flags).map(|()| Answer::Yes),
        cli::Command::Export(flags) => export::command(&flags).map(|()| Answer::Yes),
    }
}
