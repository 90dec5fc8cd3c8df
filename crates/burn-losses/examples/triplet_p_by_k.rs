//! Triplets of mined pairs, in batches of P classes with K samples each, measured by recall among classes never trained on.
//!
//! ```sh
//! cargo run -p burn-losses --example triplet_p_by_k --features flex,optim
//! ```
//!
//! Its last line: `recall at 1 of new classes: 18.8 % before, 90.0 % after`

use burn::module::Module;
use burn::nn::{Linear, LinearConfig, Relu};
use burn::optim::{AdamConfig, GradientsParams};
use burn::tensor::{Device, Distribution, Int, Tensor};
use burn_losses::prelude::*;
use burn_losses::sampling::ClassBalancedConfig;
use burn_losses::{SemiHardMinerConfig, TripletLossConfig};
use embedding_eval::{LabelledRows, Nearness, retrieval_among};

const FEATURES: usize = 24;
/// Numbers that tell the classes apart; the others are noise.
const TELLING: usize = 6;

#[derive(Module, Debug)]
struct Model {
    first: Linear,
    activation: Relu,
    second: Linear,
}

impl Model {
    /// Embeddings of length 1, on which a margin of distances has a meaning.
    fn embed(&self, inputs: Tensor<2>) -> Tensor<2> {
        let embeddings = self.second.forward(self.activation.forward(self.first.forward(inputs)));
        let lengths = embeddings.clone().square().sum_dim(1).add_scalar(1e-12).sqrt();
        embeddings / lengths
    }
}

/// `classes` classes of `each` samples: `[classes * each, FEATURES]`, sample by sample in the order of the classes.
fn samples(classes: usize, each: usize, device: &Device) -> (Tensor<2>, Vec<usize>) {
    let places = Tensor::<3>::random([classes, 1, TELLING], Distribution::Normal(0.0, 1.0), device);
    let near = Tensor::<3>::random([classes, each, TELLING], Distribution::Normal(0.0, 0.3), device);
    let noise = Tensor::<3>::random([classes, each, FEATURES - TELLING], Distribution::Normal(0.0, 1.0), device);
    let telling = places.expand([classes, each, TELLING]) + near;
    let all = Tensor::cat(vec![telling, noise], 2).reshape([classes * each, FEATURES]);
    (all, (0..classes * each).map(|sample| sample / each).collect())
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
    let (inputs, classes) = samples(40, 20, &device);
    let (new_inputs, new_classes) = samples(20, 12, &device);

    let training_device = device.clone().autodiff();
    let mut model = Model {
        first: LinearConfig::new(FEATURES, 64).init(&training_device),
        activation: Relu::new(),
        second: LinearConfig::new(64, 16).init(&training_device),
    };
    let before = recall(&model.valid(), new_inputs.clone(), &new_classes);

    // 8 classes with 4 samples each, so that every anchor has positives and negatives.
    let classes_of_samples: Vec<i64> = classes.iter().map(|&class| class as i64).collect();
    let plan = ClassBalancedConfig::new(8, 4).init(&classes_of_samples).expect("there are 8 classes");
    let miner = SemiHardMinerConfig::new().init(&training_device);
    let loss = TripletLossConfig::new().with_margin(0.2).init(&training_device);
    let mut optimizer = AdamConfig::new().init();
    for epoch in 0..10 {
        let (mut sum, mut steps) = (0.0, 0.0);
        for batch in plan.epoch(epoch) {
            let places: Vec<i64> = batch.iter().map(|&sample| sample as i64).collect();
            let labels: Vec<i64> = batch.iter().map(|&sample| classes[sample] as i64).collect();
            let places = Tensor::<1, Int>::from_data(places.as_slice(), &device);
            let inputs = Tensor::from_inner(inputs.clone().select(0, places));
            let labels = Tensor::<1, Int>::from_data(labels.as_slice(), &training_device);
            // What the miner chose, and nothing else, reaches the loss.
            let chosen = miner.mine(&Pairs::in_batch(model.embed(inputs), labels));
            let value = loss.forward_pairs(&chosen);
            let gradients = GradientsParams::from_grads(value.backward(), &model);
            model = optimizer.step(1e-3, model, gradients);
            sum += value.into_scalar::<f64>();
            steps += 1.0;
        }
        println!("epoch {:>2}: loss {:.4}", epoch + 1, sum / steps);
    }
    let after = recall(&model.valid(), new_inputs, &new_classes);
    println!("recall at 1 of new classes: {before:.1} % before, {after:.1} % after");
}
