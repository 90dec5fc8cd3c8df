//! The range that a setting may lie in.

use std::fmt::Display;
use std::ops::RangeInclusive;

use anyhow::{Result, bail};

/// More characters than any number has that is meant.
const LONGEST: usize = 24;

/// Checks that a setting lies in its range; NaN never does.
///
/// # Errors
///
/// If it does not; names the setting, its value and its range.
pub(super) fn within<T: PartialOrd + Display>(name: &str, value: T, range: RangeInclusive<T>) -> Result<()> {
    if !range.contains(&value) {
        bail!("{name}: must be in [{}, {}], got {}", range.start(), range.end(), shown(value));
    }
    Ok(())
}

/// A number as text, by its power of ten where it has hundreds of digits.
pub(super) fn shown(value: impl Display) -> String {
    let plain = value.to_string();
    match plain.parse::<f64>() {
        Ok(number) if plain.len() > LONGEST => format!("{number:e}"),
        _ => plain,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_of_three_hundred_digits_is_shown_by_its_power() {
        let refused = |value: f64| within("lr", value, 1e-7..=10.0).expect_err("out of range").to_string();
        assert_eq!(refused(1e300), "lr: must be in [0.0000001, 10], got 1e300");
        assert_eq!(refused(-2.5e-300), "lr: must be in [0.0000001, 10], got -2.5e-300");
        for (value, plain) in [(0.1 + 0.2, "0.30000000000000004"), (1e20, "100000000000000000000"), (f64::NAN, "NaN")] {
            assert_eq!(shown(value), plain);
        }
        assert_eq!(shown(u64::MAX), "18446744073709551615");
    }
}
