//! Which path the losses of a backend take, said once.

use core::sync::atomic::{AtomicBool, Ordering};

use burn::tensor::Device;
use burn_losses_kernels::scores::streams_on;

/// Writes one line to the log if a backend is on in `burn` only: the losses are right there, but keep all scores of a batch.
/// `said` belongs to a family of losses, so that each says it once in a process.
pub(crate) fn warn_without_fast_path(loss: &str, device: &Device, said: &AtomicBool) {
    if streams_on(device) || said.swap(true, Ordering::Relaxed) {
        return;
    }
    log::warn!(
        "{loss} on {device:?}: this backend is on in burn and not in burn-losses, so every score of a batch is kept in memory; \
         turn on the feature of burn-losses that has its name"
    );
}
