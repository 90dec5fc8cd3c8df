//! Which samples meet in a batch.
