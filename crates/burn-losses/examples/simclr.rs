//! Embeddings without labels: two views of every sample, told apart from those of a small batch and of a memory of past batches.
//!
//! ```sh
//! cargo run -p burn-losses --example simclr --features flex,optim
//! ```
//!
//! Its last line: `recall at 1 of another view of the same sample: 28.0 % before, 100.0 % after`

use burn::module::Module;
use burn::nn::{Linear, LinearConfig, Relu};
use burn::optim::{AdamConfig, GradientsParams};
use burn::tensor::{Device, Distribution, Int, Tensor};
use burn_losses::InfoNceLossConfig;
use burn_losses::memory::CrossBatchMemoryConfig;
use burn_losses::prelude::*;
use embedding_eval::{LabelledRows, Nearness, retrieval_among};

const FEATURES: usize = 24;
/// Numbers that a view leaves as they are; it draws the others anew.
const KEPT: usize = 8;

#[derive(Module, Debug)]
struct Model {
    first: Linear,
    activation: Relu,
    second: Linear,
}

impl Model {
    fn embed(&self, inputs: Tensor<2>) -> Tensor<2> {
        self.second.forward(self.activation.forward(self.first.forward(inputs)))
    }
}

/// The same samples as a camera might see them another time: what they are is kept, what is around them is not.
fn view(samples: &Tensor<2>) -> Tensor<2> {
    let [rows, kept] = samples.dims();
    let device = samples.device();
    let shaken = samples.clone() + Tensor::random([rows, kept], Distribution::Normal(0.0, 0.1), &device);
    Tensor::cat(vec![shaken, Tensor::random([rows, FEATURES - kept], Distribution::Normal(0.0, 1.0), &device)], 1)
}

fn recall(model: &Model, inputs: Tensor<2>, labels: &[usize]) -> f64 {
    let embeddings = model.embed(inputs);
    let dim = embeddings.dims()[1];
    let numbers = embeddings.try_into_vec_as::<f32>().expect("embeddings are numbers");
    let rows = LabelledRows::new(&numbers, dim, labels).expect("a label for each row");
    100.0 * retrieval_among(rows, Nearness::Cosine).expect("every class has two samples").precision_at_1()
}

fn main() {
    let device = Device::flex();
    device.seed(42);
    let samples = Tensor::<2>::random([2048, KEPT], Distribution::Normal(0.0, 1.0), &device);
    // Ten views of twenty samples: who finds another view of itself?
    let (probes, count) = (samples.clone().narrow(0, 0, 20), 10);
    let probes = Tensor::cat((0..count).map(|_| view(&probes)).collect(), 0);
    let classes: Vec<usize> = (0..20 * count).map(|row| row % 20).collect();

    let training_device = device.clone().autodiff();
    let mut model = Model {
        first: LinearConfig::new(FEATURES, 64).init(&training_device),
        activation: Relu::new(),
        second: LinearConfig::new(64, 16).init(&training_device),
    };
    let before = recall(&model.valid(), probes.clone(), &classes);

    let loss = InfoNceLossConfig::new().with_temperature(0.1).init(&training_device);
    // Negatives from the last 8 batches. Shorter than an epoch, so no sample meets an older view of itself there.
    let memory = CrossBatchMemoryConfig::new(16).with_capacity(512).init(&training_device);
    let mut optimizer = AdamConfig::new().init();
    for epoch in 0..8 {
        let (mut sum, mut steps) = (0.0, 0.0);
        for batch in (0..2048).step_by(64) {
            let places = Tensor::<1, Int>::arange(batch..batch + 64, &device);
            let samples = samples.clone().select(0, places);
            // Row i of one view is the positive of row i of the other. `Pairs::views(first, second)` is SimCLR without a memory.
            let [first, second] = [view(&samples), view(&samples)].map(|view| model.embed(Tensor::from_inner(view)));
            let value = loss.forward_pairs(&Pairs::queue(first, second.clone(), memory.references()));
            let gradients = GradientsParams::from_grads(value.backward(), &model);
            model = optimizer.step(3e-3, model, gradients);
            memory.enqueue(second, Tensor::arange(batch..batch + 64, &training_device));
            sum += value.into_scalar::<f64>();
            steps += 1.0;
        }
        println!("epoch {}: loss {:.4}", epoch + 1, sum / steps);
    }
    let after = recall(&model.valid(), probes, &classes);
    println!("recall at 1 of another view of the same sample: {before:.1} % before, {after:.1} % after");
}
