//! What can be set: the settings of a run with their ranges, as `config.json` holds them.
//!
//! The lowest layer: it knows no data, no model and no file but the one with the settings.

pub mod augmentation;
pub mod backend;
pub mod checkpointing;
pub mod config;
pub mod devices;
pub mod loss;
pub mod network;
pub mod optimization;
pub mod reading;
pub mod sampling;
pub mod schedule;

mod range;
