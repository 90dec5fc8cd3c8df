//! Comparison of numbers.

/// How far a number may be from what is expected: `|actual - expected| <= absolute + relative·|expected|`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tolerance {
    /// The part that grows with the expected number.
    pub relative: f64,
    /// The part that does not.
    pub absolute: f64,
}

impl Tolerance {
    /// A tolerance of `absolute + relative·|expected|`.
    pub const fn new(relative: f64, absolute: f64) -> Self {
        Self { relative, absolute }
    }
}

/// The worst error, as a share of what the tolerance allows: 1 is just right, more is a failure.
///
/// # Errors
///
/// A message when the lengths differ, when a number on either side is NaN or infinite, or when an error is larger than
/// the tolerance allows; it names the worst element.
pub fn compare(actual: &[f64], expected: &[f64], tolerance: Tolerance) -> Result<f64, String> {
    if actual.len() != expected.len() {
        return Err(format!("{} numbers where {} are expected", actual.len(), expected.len()));
    }
    let mut worst = 0.0;
    let mut place = 0;
    for (index, (&a, &e)) in actual.iter().zip(expected).enumerate() {
        if !a.is_finite() || !e.is_finite() {
            return Err(format!("number {index} is {a}, expected {e}"));
        }
        let error = (a - e).abs();
        let share = if error == 0.0 { 0.0 } else { error / (tolerance.absolute + tolerance.relative * e.abs()) };
        if share > worst {
            (worst, place) = (share, index);
        }
    }
    if worst <= 1.0 {
        return Ok(worst);
    }
    let (a, e) = (actual[place], expected[place]);
    Err(format!(
        "number {place} is {a}, expected {e}: the error {:e} is {worst:.1} times what {tolerance:?} allows",
        a - e
    ))
}

/// The worst error as a share of what is expected, or of 1 where that is smaller; infinite where numbers are missing or not
/// finite.
pub fn worst_error(actual: &[f64], expected: &[f64]) -> f64 {
    if actual.len() != expected.len() {
        return f64::INFINITY;
    }
    let error = |(a, e): (&f64, &f64)| (a - e).abs() / e.abs().max(1.0);
    let errors = actual.iter().zip(expected).map(error);
    errors.fold(0.0, |worst, error| if error.is_finite() { error.max(worst) } else { f64::INFINITY })
}

/// [`compare`], or a panic that says what was compared.
#[track_caller]
pub fn assert_close(what: &str, actual: &[f64], expected: &[f64], tolerance: Tolerance) {
    if let Err(message) = compare(actual, expected, tolerance) {
        panic!("{what}: {message}");
    }
}

/// Panics unless every number is finite.
#[track_caller]
pub fn assert_finite(what: &str, numbers: &[f64]) {
    if let Some(index) = numbers.iter().position(|number| !number.is_finite()) {
        panic!("{what}: number {index} is {}", numbers[index]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOLERANCE: Tolerance = Tolerance::new(0.1, 0.5);

    #[test]
    fn the_worst_error_is_a_share_of_the_tolerance() {
        // By hand: allowed 1.5 and 0.5, errors 0.75 and 0.1.
        assert_eq!(compare(&[10.75, 0.1], &[10.0, 0.0], TOLERANCE), Ok(0.5));
        assert_eq!(compare(&[-0.0], &[0.0], Tolerance::new(0.0, 0.0)), Ok(0.0));
    }

    #[test]
    fn not_a_number_equals_nothing() {
        assert!(compare(&[f64::NAN], &[f64::NAN], TOLERANCE).is_err());
        assert!(compare(&[f64::INFINITY], &[f64::INFINITY], TOLERANCE).is_err());
        assert!(compare(&[1.0], &[f64::NAN], TOLERANCE).is_err());
    }

    #[test]
    fn swapped_missing_and_wrong_numbers_are_found() {
        assert!(compare(&[1.0, 9.0], &[9.0, 1.0], TOLERANCE).is_err());
        assert!(compare(&[1.0], &[1.0, 1.0], TOLERANCE).is_err());
        assert!(compare(&[1e-9], &[0.0], Tolerance::new(1.0, 0.0)).is_err());
    }
}
