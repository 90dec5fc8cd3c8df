//! Ctrl-C: the first one lets a training end where it can go on, the second ends the process.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

/// The exit status of a process that was interrupted, as shells have it.
pub const EXIT_STATUS: u8 = 130;

/// How soon it is said that an interruption was heard.
const SOON: Duration = Duration::from_millis(50);

/// What an interruption finds the process at.
enum Work {
    /// A training, which ends where it can go on.
    Training,
    /// What is begun anew the next time, so that the process ends at once; and what is said then.
    Other(String),
}

/// What was asked of the process.
#[derive(Clone)]
pub struct Interruption {
    requested: Arc<AtomicBool>,
    work: Arc<Mutex<Work>>,
}

impl Interruption {
    /// Listens to SIGINT (Ctrl-C), SIGTERM and SIGHUP (a terminal that was closed), in a process that is not training yet.
    ///
    /// # Errors
    ///
    /// If the system does not let it.
    pub fn listen(told: &str) -> Result<Self> {
        let requested = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM] {
            // In this order, so that the first of two is put down and the second ends the process.
            flag::register_conditional_shutdown(signal, i32::from(EXIT_STATUS), requested.clone())
                .and_then(|_| flag::register(signal, requested.clone()))
                .context("cannot listen to Ctrl-C")?;
        }
        // A terminal and its shell send one each, so a second one asks for no more than the first.
        #[cfg(unix)]
        if hears_hangup() {
            flag::register(signal_hook::consts::SIGHUP, requested.clone()).context("cannot listen to SIGHUP")?;
        }
        let work = Arc::new(Mutex::new(Work::Other(told.to_string())));
        let interruption = Self { requested, work };
        let listening = interruption.clone();
        thread::spawn(move || listening.answer());
        Ok(interruption)
    }

    /// Answers the first interruption soon: a step, or a measurement, may take minutes.
    fn answer(&self) {
        while !self.is_requested() {
            thread::sleep(SOON);
        }
        match &*self.work() {
            Work::Training => note!(
                "interrupted: the training ends after this step, with a checkpoint; once more ends it at once, without"
            ),
            Work::Other(told) => {
                note!("interrupted {told}");
                std::process::exit(i32::from(EXIT_STATUS));
            }
        }
    }

    fn work(&self) -> MutexGuard<'_, Work> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on the process trains.
    pub fn trains(&self) {
        *self.work() = Work::Training;
    }

    /// From now on the process does something else, of which `told` is said if it is interrupted.
    pub fn does_other(&self, told: String) {
        *self.work() = Work::Other(told);
    }

    /// Whether the process is to end.
    pub fn is_requested(&self) -> bool {
        self.requested.load(Ordering::SeqCst)
    }
}

/// Whether a hangup is to end the process: `nohup` says that it is not. Where that cannot be told, it stays as the system
/// has it.
#[cfg(unix)]
fn hears_hangup() -> bool {
    std::fs::read_to_string("/proc/self/status").is_ok_and(|status| !ignores_hangup(&status))
}

/// By a Linux process's status: the lowest bit of the ignored signals is SIGHUP, which is number 1.
#[cfg(unix)]
fn ignores_hangup(status: &str) -> bool {
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let bits = ignored.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok());
    bits.is_none_or(|bits| bits & 1 == 1)
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn nohup_is_seen_in_the_status_of_a_process() {
        // As Linux prints it for `nohup cat /proc/self/status`, and without nohup.
        assert!(ignores_hangup("SigBlk:\t0000000000000000\nSigIgn:\t0000000000000001\nSigCgt:\t0000000000000000\n"));
        assert!(!ignores_hangup("Name:\tcat\nSigIgn:\t0000000000001000\n"));
        assert!(ignores_hangup("Name:\tcat\n"));
    }
}
