//! Size: a step of distillation holds the logits of a chunk of tokens, not those of the batch.
//!
//! One test, alone in its file, because peak memory belongs to the whole process.

#![allow(missing_docs)]

use burn::nn::loss::Reduction;
use burn::tensor::{Device, Distribution, Int, Tensor};
use burn_losses::classification::{Divergence, LinearDistillationLossConfig, OutputLayer};

const TOKENS: usize = 4096;
const CLASSES: usize = 8192;
const DIM: usize = 8;

#[test]
fn a_step_holds_the_logits_of_a_chunk() {
    let device = Device::flex().autodiff();
    let random = |shape: [usize; 2]| Tensor::<2>::random(shape, Distribution::Default, &device);
    let divergence = Divergence::JensenShannon(0.5);
    let config = LinearDistillationLossConfig::new().with_divergence(divergence).with_chunk_bytes(16 << 20);
    let loss = config.init(&device);
    let (weight, weight_of_teacher) = (random([CLASSES, DIM]).require_grad(), random([CLASSES, DIM]));
    let (hidden, hidden_of_teacher) = (random([TOKENS, DIM]).require_grad(), random([TOKENS, DIM]));
    let step = |tokens: usize| {
        let (layer, teacher) =
            (OutputLayer::new(weight.clone(), None), OutputLayer::new(weight_of_teacher.clone(), None));
        let [rows, rows_of_teacher] = [&hidden, &hidden_of_teacher].map(|rows| rows.clone().narrow(0, 0, tokens));
        let labels = None::<Tensor<1, Int>>;
        let value = loss.forward(rows, layer, rows_of_teacher, teacher, labels, Reduction::Mean);
        let gradients = value.backward();
        assert!(weight.grad(&gradients).is_some() && value.into_scalar::<f32>() > 0.0);
    };
    // What the program and its threads take anyway.
    step(16);
    let before = peak_memory();
    step(TOKENS);
    if let (Some(before), Some(after)) = (before, peak_memory()) {
        let logits = TOKENS * CLASSES * 4;
        println!("{} KiB; logits are {} KiB", (after - before) / 1024, logits / 1024);
        assert!(after - before < logits / 2, "{} bytes, and logits are {logits}", after - before);
    }
}

/// Peak resident memory of this process in bytes, where the system tells.
fn peak_memory() -> Option<usize> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kibibytes: usize = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kibibytes * 1024)
}
