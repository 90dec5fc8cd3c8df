//! A small network that learns to place samples on a circle or on a sphere, one step at a time: what the page of this crate
//! shows while it trains. [`Training`] is the whole of it; in a browser `web` hands it to the page's script.

mod objective;
mod points;
mod training;

#[cfg(target_arch = "wasm32")]
pub mod web;

pub use objective::{Nearness, Objective};
pub use points::{CLASSES, FEATURES, Points};
pub use training::{Settings, Training};
