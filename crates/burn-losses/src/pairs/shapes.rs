/// # Panics
///
/// If the argument has another shape; the message names the loss and the argument.
#[track_caller]
pub(super) fn expect_shape<const D: usize>(loss: &str, argument: &str, shape: [usize; D], expected: [usize; D]) {
    assert!(shape == expected, "{loss}: {argument} must have shape {expected:?}, got {shape:?}");
}
