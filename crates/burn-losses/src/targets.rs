//! Targets that are numbers: checked where they lie in host memory, ignored where a setting says so.

use burn::tensor::{DType, Tensor};
use burn_losses_kernels::math::in_host_memory;

/// By how much a target may be beside its range: what a mixture of targets is off by in half precision.
const ROUNDING: f64 = 1e-2;

/// Looks at targets where that costs nothing; on other devices they are believed.
///
/// # Panics
///
/// If a target is not in `[smallest, largest]`, up to rounding, and not the ignored one. What is no number makes a loss that
/// is none, so it needs no message.
#[track_caller]
pub(crate) fn check_range<const D: usize>(
    loss: &str,
    argument: &str,
    targets: &Tensor<D>,
    [smallest, largest]: [f64; 2],
    ignored: Option<f64>,
) {
    if !in_host_memory(&targets.device()) {
        return;
    }
    let (smallest_allowed, largest_allowed) = (smallest - ROUNDING, largest + ROUNDING);
    let data = targets.to_data();
    let bad = |&(_, target): &(usize, f64)| {
        (target < smallest_allowed || target > largest_allowed) && Some(target) != ignored
    };
    let found = match data.dtype() {
        DType::F32 => data.iter::<f32>().map(f64::from).enumerate().find(bad),
        _ => data.iter::<f64>().enumerate().find(bad),
    };
    if let Some((place, target)) = found {
        let index = index_of(place, targets.dims());
        panic!("{loss}: {argument}{index:?} is {target}, but must be in [{smallest}, {largest}]");
    }
}

/// Where the element is that comes so many after the first.
fn index_of<const D: usize>(place: usize, shape: [usize; D]) -> [usize; D] {
    let mut rest = place;
    let mut index = [0; D];
    for axis in (0..D).rev() {
        index[axis] = rest % shape[axis];
        rest /= shape[axis];
    }
    index
}
