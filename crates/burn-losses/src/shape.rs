//! Shapes of what a loss is given, checked once.

/// # Panics
///
/// If an argument of a loss has another shape than it must have, with the names of both.
#[track_caller]
pub(crate) fn check_shape(loss: &str, argument: &str, actual: impl AsRef<[usize]>, expected: impl AsRef<[usize]>) {
    let (actual, expected) = (actual.as_ref(), expected.as_ref());
    assert!(actual == expected, "{loss}: {argument} must have the shape {expected:?}, got {actual:?}");
}
