//! Trains a face-embedding model with a head of `burn-losses` and measures how well it verifies
//! people it has never seen.
//!
//! The folders are layers, and a file imports from its own layer and those above it in this table only:
//!
//! | layer | what |
//! | --- | --- |
//! | [`settings`] | what can be set, checked and as `config.json` |
//! | [`data`] | drawn faces, or a folder of photographs, and how they become tensors |
//! | [`model`] | the trunk, the head, and both as one module |
//! | [`training`] | Burn's training loop, and the files of a run |
//! | [`protocols`] | on whom a model is measured, and how |
//! | [`commands`] | the command line: `train` and `eval`; with a trained model `verify`, `identify`, `embed` and `export` |
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

/// Prints a line beside the answer, which a script reads from standard output.
macro_rules! note {
    ($($part:tt)*) => {{
        use std::io::Write;
        let _ = writeln!(std::io::stderr(), $($part)*);
    }};
}

pub mod commands;
pub mod data;
pub mod model;
pub mod protocols;
pub mod settings;
pub mod training;
