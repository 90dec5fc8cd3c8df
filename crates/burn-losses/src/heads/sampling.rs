//! The draws of classes by the centers of a head.

use burn::tensor::{Device, Int, Tensor};

use super::ClassCenters;
use crate::class_sample::{Sample, draw};
use crate::random::Draws;

/// The draws of a shard, from where those of the whole are: shard 0 draws as that would, the others have another seed.
pub(super) fn draws_of_shard(draws: &Draws, number: usize, device: &Device) -> Draws {
    draws.copy_with(|draws| {
        let draws = draws.to_device(device);
        let (seed, rest) = (draws.clone().narrow(0, 0, 1), draws.narrow(0, 1, 2));
        let seed = seed.add_scalar(number as i64).bitwise_and_scalar((1 << 24) - 1);
        Tensor::cat(alloc::vec![seed, rest], 0)
    })
}

/// Draws the classes that a batch is compared with, and counts it; `None` where that is all of them.
///
/// # Shapes
///
/// - index: `[batch]`; where it is not in `0..classes`, the row has no class here
pub(super) fn sample_of(centers: &ClassCenters, index: &Tensor<1, Int>) -> Option<Sample> {
    let draws = centers.draws.as_ref()?;
    draw(draws, &centers.weight.val().device(), centers.sample_rate(), centers.classes(), index)
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    #[test]
    #[should_panic(expected = "NormFace: sample_rate must be in (0, 1], got 10")]
    fn a_rate_in_percent_is_rejected() {
        let centers = crate::heads::CentersConfig::new().with_sample_rate(10.0);
        crate::heads::NormFaceConfig::new(2, 2).with_centers(centers).init(&Device::flex());
    }
}
