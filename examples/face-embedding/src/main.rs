//! The command line of the face-embedding example; see `--help`.
#![forbid(unsafe_code)]

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use face_embedding::commands::cli::Arguments;
use face_embedding::commands::{Answer, run};
use face_embedding::training::interruption::EXIT_STATUS;

/// A training allocates the same large tensors in every step; this one keeps their memory for the next.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(Answer::Yes) => ExitCode::SUCCESS,
        Ok(Answer::No) => ExitCode::from(1),
        Ok(Answer::Interrupted) => ExitCode::from(EXIT_STATUS),
        Err(error) => {
            // Nobody may be there to read it.
            let _ = writeln!(std::io::stderr(), "error: {error:#}");
            // As for a command line that cannot be understood.
            ExitCode::from(2)
        }
    }
}
