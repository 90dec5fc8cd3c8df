//! Size: a step through the gradient cache holds the activations of a chunk, not those of the batch. Prints how long a step
//! takes with and without it; speed is judged by no test.
//!
//! One test, alone in its file, because peak memory belongs to the whole process.

#![allow(missing_docs)]

use std::time::Instant;

use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::optim::GradientsParams;
use burn::tensor::{Device, Distribution, Tensor};
use burn_losses::gradient_cache::GradientCache;
use burn_losses::pairs::{InfoNceLossConfig, Pairs};

const BATCH: usize = 8192;
const CHUNK: usize = 64;
const HIDDEN: usize = 512;

#[derive(Module, Debug)]
struct Network {
    first: Linear,
    second: Linear,
    third: Linear,
}

impl Network {
    fn forward(&self, rows: Tensor<2>) -> Tensor<2> {
        let hidden = self.second.forward(self.first.forward(rows).tanh()).tanh();
        self.third.forward(hidden)
    }
}

#[test]
fn a_step_holds_the_activations_of_a_chunk() {
    let device = Device::flex().autodiff();
    let layer = |from, to| LinearConfig::new(from, to).init(&device);
    let network = Network { first: layer(16, HIDDEN), second: layer(HIDDEN, HIDDEN), third: layer(HIDDEN, 16) };
    let loss = InfoNceLossConfig::new().init(&device);
    let inputs = Tensor::<2>::random([BATCH / 2, 16], Distribution::Default, &device);
    let others = inputs.clone() + inputs.random_like(Distribution::Normal(0.0, 0.1));
    let pairs = |rows: Tensor<2>| {
        let half = rows.dims()[0] / 2;
        Pairs::symmetric(rows.clone().narrow(0, 0, half), rows.narrow(0, half, half))
    };
    let rows = Tensor::cat(vec![inputs, others], 0);
    let cached = |rows: &Tensor<2>| {
        let step = GradientCache::new().backward(
            &network,
            &rows.clone().split(CHUNK, 0),
            |network, rows| [network.forward(rows.clone())],
            |[rows]| loss.forward_pairs(&pairs(rows)),
        );
        (step.loss.into_scalar::<f32>(), step.gradients)
    };
    let whole = |rows: &Tensor<2>| {
        let value = loss.forward_pairs(&pairs(network.forward(rows.clone())));
        let gradients = GradientsParams::from_grads(value.backward(), &network);
        (value.into_scalar::<f32>(), gradients)
    };
    // What the program and its threads take anyway.
    let few = rows.clone().narrow(0, 0, 2 * CHUNK);
    cached(&few);
    whole(&few);

    let before = peak_memory();
    let began = Instant::now();
    let (value, gradients) = cached(&rows);
    let (time, of_cached) = (began.elapsed(), peak_memory());
    let began = Instant::now();
    let (expected, of_whole) = whole(&rows);
    let (time_of_whole, after) = (began.elapsed(), peak_memory());
    println!("{time:?} in chunks of {CHUNK}, {time_of_whole:?} at once, {BATCH} rows");
    assert!((value - expected).abs() < 1e-5 * expected, "{value} {expected}");
    let slopes = |gradients: &GradientsParams| gradients.get::<2>(network.second.weight.id).expect("a gradient");
    let difference = (slopes(&gradients) - slopes(&of_whole)).abs().max().into_scalar::<f32>();
    let largest = slopes(&of_whole).abs().max().into_scalar::<f32>();
    assert!(difference < 1e-5 * largest, "{difference} of {largest}");

    if let (Some(before), Some(of_cached), Some(after)) = (before, of_cached, after) {
        let (cached, whole) = (of_cached - before, after - before);
        println!("{} KiB in chunks, {} KiB at once", cached / 1024, whole / 1024);
        // One activation of the batch is 16 MiB.
        assert!(whole > 4 * BATCH * HIDDEN * 4, "{whole} bytes at once");
        assert!(cached < whole / 3, "{cached} bytes in chunks, {whole} at once");
    }
}

/// Peak resident memory of this process in bytes, where the system tells.
fn peak_memory() -> Option<usize> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kibibytes: usize = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kibibytes * 1024)
}
