//! The training: Burn's loop with our batches, schedule, figures and files.
//!
//! - [`fit`](mod@fit): what is trained, and by what; `training_loop`: epochs, batches and steps; [`gradients`]: what becomes of
//!   the gradients before a step.
//! - [`initial`]: the trunk it begins with, if that is not random.
//! - `optimizer`: which parameters learn how.
//! - [`batches`] (read `ahead`), [`schedule`], [`figures`]: what goes in, how fast it learns, what is looked at.
//! - [`renderer`] and [`epoch_table`]: what is printed, and what is written of every epoch, from its `sums` and the time on its
//!   `stopwatch`; [`validation`]: what
//!   is measured between epochs.
//! - [`run_directory`]: the files of a run and where they lie; [`checkpoints`] of a [`place`] in it, `keeping` which of them stay,
//!   a head in `shards` being in one piece there, and the [`manifest`] that tells whether they are as they were written; [`interruption`]: Ctrl-C.

pub mod batches;
pub mod checkpoints;
pub mod epoch_table;
pub mod figures;
pub mod fit;
pub mod gradients;
pub mod initial;
pub mod interruption;
pub mod manifest;
pub mod place;
pub mod renderer;
pub mod run_directory;
pub mod schedule;
pub mod validation;

mod ahead;
mod keeping;
mod optimizer;
mod shards;
mod stopwatch;
mod sums;
mod training_loop;

pub(crate) mod files;
