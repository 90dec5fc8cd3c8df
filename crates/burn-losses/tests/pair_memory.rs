//! Size: the losses of pairs with a sum of exponentials hold no number per pair, but for the scores of batches that are small
//! enough to keep them.
//!
//! One test, alone in its file, because peak memory belongs to the whole process.

use burn::tensor::{Device, Distribution, Int, Tensor};
use burn_losses::EmbeddingLoss;
use burn_losses::pairs::{
    CircleLossConfig, InfoNceLossConfig, MultiSimilarityLossConfig, NPairsLossConfig, SigLipLossConfig,
    SupConLossConfig,
};

/// Its scores are more than `Streaming::new()` keeps.
const BATCH: usize = 4096;

/// One number per pair, once: 64 MiB. A graph of ordinary operations holds a dozen of them.
const ALL_PAIRS: usize = BATCH * BATCH * 4;

#[test]
fn no_number_per_pair_is_held() {
    let device = Device::flex().autodiff();
    let losses: [(&str, Box<dyn EmbeddingLoss>); 6] = [
        ("InfoNceLoss", Box::new(InfoNceLossConfig::new().init(&device))),
        ("SupConLoss", Box::new(SupConLossConfig::new().init(&device))),
        ("NPairsLoss", Box::new(NPairsLossConfig::new().init(&device))),
        ("MultiSimilarityLoss", Box::new(MultiSimilarityLossConfig::new().init(&device))),
        ("SigLipLoss", Box::new(SigLipLossConfig::new().init(&device))),
        ("CircleLoss", Box::new(CircleLossConfig::new().init(&device))),
    ];
    let step = |loss: &dyn EmbeddingLoss, batch: usize| {
        let embeddings = Tensor::<2>::random([batch, 8], Distribution::Default, &device).require_grad();
        let labels = Tensor::<1, Int>::arange(0..batch as i64, &device).remainder_scalar(batch as i64 / 4);
        let value = loss.forward(embeddings.clone(), labels);
        let gradient = embeddings.grad(&value.backward()).unwrap();
        (value.into_scalar::<f32>(), gradient.abs().sum().into_scalar::<f32>())
    };
    // What the program and its threads take anyway.
    losses.iter().for_each(|(_, loss)| assert!(step(loss.as_ref(), 16).0 > 0.0));
    let before = peak_memory();
    for (name, loss) in &losses {
        let (value, gradient) = step(loss.as_ref(), BATCH);
        assert!(value > 0.0 && gradient > 0.0, "{name}");
        if let (Some(before), Some(after)) = (before, peak_memory()) {
            println!("{name}: {} KiB more so far, of {} for all pairs", (after - before) / 1024, ALL_PAIRS / 1024);
            assert!(after - before < ALL_PAIRS, "{name}: {} bytes, of {ALL_PAIRS} for all pairs", after - before);
        }
    }
}

/// Peak resident memory of this process in bytes, where the system tells.
fn peak_memory() -> Option<usize> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kibibytes: usize = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kibibytes * 1024)
}
