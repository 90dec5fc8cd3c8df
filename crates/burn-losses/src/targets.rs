//! Targets that are numbers: checked where they lie in host memory, ignored where a setting says so.

use alloc::format;
use alloc::vec::Vec;

use burn::tensor::{DType, Element, ElementConversion, Tensor, TensorData, bf16, f16};
use burn_losses_kernels::math::in_host_memory;

/// By how much a target may be beside its range: what a mixture of targets is off by in half precision.
const ROUNDING: f64 = 1e-2;

/// Numbers that are looked at together.
const CHUNK: usize = 1024;

/// Numbers that are copied to be looked at: so few that they stay in a core's cache.
const PIECE: usize = 1 << 17;

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
    let allowed = [smallest_allowed, largest_allowed];
    let count = targets.shape().num_elements();
    let flat = targets.clone().reshape([count]);
    let mut pieces = (0..count).step_by(PIECE).map(|start| {
        let piece = flat.clone().narrow(0, start, PIECE.min(count - start)).to_data();
        first_of_piece(&piece, allowed, ignored).map(|(place, target)| (start + place, target))
    });
    if let Some((place, target)) = pieces.find_map(|found| found) {
        let index = index_of(place, targets.dims());
        let or_ignored = ignored.map(|ignored| format!(" or ignore_target, {ignored}")).unwrap_or_default();
        panic!("{loss}: {argument}{index:?} is {target}, but must be in [{smallest}, {largest}]{or_ignored}");
    }
}

fn first_of_piece(data: &TensorData, allowed: [f64; 2], ignored: Option<f64>) -> Option<(usize, f64)> {
    match data.dtype() {
        DType::F32 => first_outside(data.as_slice::<f32>().expect("numbers of f32"), allowed, ignored),
        DType::F64 => first_outside(data.as_slice::<f64>().expect("numbers of f64"), allowed, ignored),
        DType::F16 => first_outside(data.as_slice::<f16>().expect("numbers of f16"), allowed, ignored),
        DType::BF16 => first_outside(data.as_slice::<bf16>().expect("numbers of bf16"), allowed, ignored),
        _ => first_outside(&data.iter::<f64>().collect::<Vec<_>>(), allowed, ignored),
    }
}

/// The first number that is outside of the range and not ignored, and its place.
fn first_outside<N: Element + PartialOrd>(
    numbers: &[N],
    [smallest, largest]: [f64; 2],
    ignored: Option<f64>,
) -> Option<(usize, f64)> {
    let (low, high) = (smallest.elem::<N>(), largest.elem::<N>());
    // As the targets have it.
    let ignored = ignored.map(|ignored| ignored.elem::<N>().to_f64());
    let chunks = numbers.chunks(CHUNK).enumerate();
    // Without a branch per number, so that a compiler can compare many at once.
    let suspects = chunks.filter(|(_, chunk)| chunk.iter().fold(false, |bad, &n| bad | (n < low) | (n > high)));
    let numbers = suspects.flat_map(|(chunk, numbers)| {
        numbers.iter().enumerate().map(move |(place, &number)| (chunk * CHUNK + place, number.to_f64()))
    });
    numbers.into_iter().find(|&(_, number)| (number < smallest || number > largest) && Some(number) != ignored)
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

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    /// In a later piece of a matrix that is not in order, counted as it is indexed.
    #[test]
    #[should_panic(expected = "Loss: targets[2, 60000] is 7, but must be in [0, 1]")]
    fn the_place_of_a_bad_target_is_that_of_its_index() {
        let rows = Tensor::<2>::zeros([70_000, 3], &Device::flex());
        let seven = Tensor::<2>::full([1, 1], 7.0, &Device::flex());
        let targets = rows.slice_assign([60_000..60_001, 2..3], seven).transpose();
        check_range("Loss", "targets", &targets, [0.0, 1.0], None);
    }

    #[test]
    fn no_targets_are_fine() {
        check_range("Loss", "targets", &Tensor::<2>::zeros([0, 3], &Device::flex()), [0.0, 1.0], None);
    }
}
