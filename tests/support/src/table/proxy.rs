//! Losses of embeddings and trained proxies.

use super::Row;

/// One row per loss.
pub(super) const ROWS: &[Row] = &[];
