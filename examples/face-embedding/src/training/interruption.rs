//! Ctrl-C: the first one lets a training end where it can go on, the second ends the process.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

/// The exit status of a process that was interrupted, as shells have it.
pub const EXIT_STATUS: u8 = 130;

/// How soon it is said that an interruption was heard.
const SOON: Duration = Duration::from_millis(50);

/// What was asked of the process while this value lives.
pub struct Interruption {
    requested: Arc<AtomicBool>,
    /// Nobody looks any more.
    ended: Arc<AtomicBool>,
}

impl Interruption {
    /// Listens to SIGINT (Ctrl-C) and SIGTERM.
    ///
    /// # Errors
    ///
    /// If the system does not let it.
    pub fn listen() -> Result<Self> {
        let requested = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM] {
            // In this order, so that the first of two is put down and the second ends the process.
            flag::register_conditional_shutdown(signal, i32::from(EXIT_STATUS), requested.clone())
                .and_then(|_| flag::register(signal, requested.clone()))
                .context("cannot listen to Ctrl-C")?;
        }
        let interruption = Self { requested, ended: Arc::default() };
        let (requested, ended) = (interruption.requested.clone(), interruption.ended.clone());
        // A step, or a measurement, may take minutes.
        thread::spawn(move || {
            while !requested.load(Ordering::SeqCst) {
                thread::sleep(SOON);
            }
            if !ended.load(Ordering::SeqCst) {
                note!(
                    "interrupted: the training ends after this step, with a checkpoint; once more ends it at once, without"
                );
            }
        });
        Ok(interruption)
    }

    /// Whether the training is to end.
    pub fn is_requested(&self) -> bool {
        self.requested.load(Ordering::SeqCst)
    }
}

impl Drop for Interruption {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        // The next one ends the process.
        self.requested.store(true, Ordering::SeqCst);
    }
}
