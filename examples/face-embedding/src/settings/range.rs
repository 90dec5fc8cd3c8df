//! The range that a setting may lie in.

use std::fmt::Display;
use std::ops::RangeInclusive;

use anyhow::{Result, bail};

/// Checks that a setting lies in its range; NaN never does.
///
/// # Errors
///
/// If it does not; names the setting, its value and its range.
pub(super) fn within<T: PartialOrd + Display>(name: &str, value: T, range: RangeInclusive<T>) -> Result<()> {
    if !range.contains(&value) {
        bail!("{name}: must be in [{}, {}], got {value}", range.start(), range.end());
    }
    Ok(())
}
