//! Losses of distances of pairs and triplets.

use super::Row;

/// One row per loss.
pub(super) const ROWS: &[Row] = &[];
