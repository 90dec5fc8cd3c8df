//! Who sits for a picture.

use super::super::identity::Identity;
use super::super::snapshot::Snapshot;
use super::super::view::View;

/// What every feature needs to know to be drawn.
pub(super) struct Sitter<'a> {
    pub(super) identity: &'a Identity,
    pub(super) snapshot: &'a Snapshot,
    pub(super) view: View,
}
