//! Size: batch-all takes the memory of matrices of the batch, not of its triplets.
//!
//! One test, alone in its file, because peak memory belongs to the whole process.

use burn::tensor::{Device, Distribution, Int, Tensor};
use burn_losses::pairs::{NegativeDistance, TripletLossConfig, TripletShape};

const BATCH: usize = 256;

/// One number per anchor, positive and negative, once: 64 MiB.
const ALL_TRIPLETS: usize = BATCH * BATCH * BATCH * 4;

#[test]
fn batch_all_does_not_hold_its_triplets() {
    let device = Device::flex().autodiff();
    let config = TripletLossConfig::new().with_shape(TripletShape::Softplus);
    let loss = config.with_negative_distance(NegativeDistance::Nearest).init(&device);
    let step = |batch: usize| {
        let embeddings = Tensor::<2>::random([batch, 8], Distribution::Default, &device).require_grad();
        let labels = Tensor::<1, Int>::arange(0..batch as i64, &device).remainder_scalar(8);
        let value = loss.forward(embeddings.clone(), labels);
        let gradient = embeddings.grad(&value.backward()).unwrap();
        (value.into_scalar::<f32>(), gradient.abs().sum().into_scalar::<f32>())
    };
    // What the program and its threads take anyway.
    step(16);
    let before = peak_memory();
    let (value, gradient) = step(BATCH);

    assert!(value > 0.0 && gradient > 0.0);
    if let (Some(before), Some(after)) = (before, peak_memory()) {
        println!("{} KiB more, of {} for all triplets", (after - before) / 1024, ALL_TRIPLETS / 1024);
        assert!(after - before < ALL_TRIPLETS / 3, "{} bytes, of {ALL_TRIPLETS} for all triplets", after - before);
    }
}

/// Peak resident memory of this process in bytes, where the system tells.
fn peak_memory() -> Option<usize> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kibibytes: usize = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kibibytes * 1024)
}
