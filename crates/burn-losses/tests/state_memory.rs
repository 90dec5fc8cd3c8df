//! Size: an update of many centers and of a long memory writes into what is there and makes no copy of it.
//!
//! One test, alone in its file, because peak memory belongs to the whole process.

use burn::tensor::{Device, Distribution, Int, Tensor};
use burn_losses::center::{CenterLoss, CenterLossConfig};
use burn_losses::memory::{CrossBatchMemory, CrossBatchMemoryConfig};

const ROWS: usize = 200_000;
const DIM: usize = 64;
const BATCH: usize = 64;

/// 49 MiB.
const ALL_ROWS: usize = ROWS * DIM * 4;

#[test]
fn an_update_takes_memory_in_proportion_to_the_batch() {
    let device = Device::flex().autodiff();
    let of_size = |rows: usize| {
        let center_loss = CenterLossConfig::new(rows, DIM).init(&device);
        (center_loss, CrossBatchMemoryConfig::new(DIM).with_capacity(rows).init(&device))
    };
    let step = |(center_loss, memory): &(CenterLoss, CrossBatchMemory), factor: i64| {
        let embeddings = Tensor::<2>::random([BATCH, DIM], Distribution::Default, &device).require_grad();
        let labels = Tensor::<1, Int>::arange(0..BATCH as i64, &device).mul_scalar(factor);
        let value = center_loss.forward(embeddings.clone(), labels.clone());
        memory.enqueue(embeddings, labels);
        value.backward();
    };
    // What the program and its threads take anyway.
    step(&of_size(BATCH), 1);
    let large = of_size(ROWS);
    let before = peak_memory();
    (0..5).for_each(|_| step(&large, 3000));
    if let (Some(before), Some(after)) = (before, peak_memory()) {
        println!("{} KiB more, of {} for all rows", (after - before) / 1024, ALL_ROWS / 1024);
        assert!(after - before < ALL_ROWS / 4, "{} bytes, of {ALL_ROWS} for all rows", after - before);
    }
}

/// Peak resident memory of this process in bytes, where the system tells.
fn peak_memory() -> Option<usize> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kibibytes: usize = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kibibytes * 1024)
}
