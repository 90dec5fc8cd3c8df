//! The time that a training takes, without what is done beside it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A watch that stands still while something else is done, for all that hold a clone of it.
#[derive(Clone, Debug)]
pub(super) struct Stopwatch {
    began: Instant,
    stood_still: Arc<Mutex<Duration>>,
}

impl Stopwatch {
    /// A watch that runs from now on.
    pub(super) fn start() -> Self {
        Self { began: Instant::now(), stood_still: Arc::default() }
    }

    /// How long it has run.
    pub(super) fn elapsed(&self) -> Duration {
        let stood_still = *self.stood_still.lock().unwrap_or_else(PoisonError::into_inner);
        self.began.elapsed().saturating_sub(stood_still)
    }

    /// Does something of which the time does not count.
    pub(super) fn stopped<T>(&self, work: impl FnOnce() -> T) -> T {
        let began = Instant::now();
        let done = work();
        *self.stood_still.lock().unwrap_or_else(PoisonError::into_inner) += began.elapsed();
        done
    }
}
