//! Penalties on embeddings and class weights.

use super::Row;

/// One row per loss.
pub(super) const ROWS: &[Row] = &[];
