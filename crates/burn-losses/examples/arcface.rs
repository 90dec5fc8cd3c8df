//! Trains an ArcFace head with Burn's training loop, stops, continues from the checkpoint, and names samples by their nearest center.
//!
//! ```sh
//! cargo run -p burn-losses --example arcface --features flex,data,train,optim
//! ```
//!
//! Its last line: `named by the nearest center: 92.2 % of 400 new samples`

use std::sync::Arc;

use burn::data::dataloader::batcher::Batcher;
use burn::data::dataloader::{DataLoader, DataLoaderBuilder};
use burn::data::dataset::InMemDataset;
use burn::module::{Module, ParamGroup};
use burn::nn::{Linear, LinearConfig, Relu};
use burn::optim::AdamConfig;
use burn::optim::lr_scheduler::module_lr_scheduler::ModuleLrScheduler;
use burn::tensor::{Device, Distribution, Int, Tensor};
use burn::train::metric::{AccuracyMetric, LossMetric};
use burn::train::{InferenceStep, Learner, SupervisedTraining, TrainOutput, TrainStep};
use burn_losses::diagnostics::{Diagnostic, DiagnosticMetric, EmbeddingOutput};
use burn_losses::{ArcFace, ArcFaceConfig};

const IDENTITIES: usize = 20;
const FEATURES: usize = 16;

/// The trunk is yours; the head is a field, so its centers are trained, saved and moved with the model.
#[derive(Module, Debug)]
struct Model {
    first: Linear,
    activation: Relu,
    second: Linear,
    head: ArcFace,
}

impl Model {
    fn new(device: &Device) -> Self {
        Self {
            first: LinearConfig::new(FEATURES, 64).init(device),
            activation: Relu::new(),
            second: LinearConfig::new(64, 8).init(device),
            // With few and small classes a scale of 64 is too steep.
            head: ArcFaceConfig::new(IDENTITIES, 8).with_margin(0.3).with_scale(16.0).init(device),
        }
    }

    fn embed(&self, inputs: Tensor<2>) -> Tensor<2> {
        self.second.forward(self.activation.forward(self.first.forward(inputs)))
    }

    fn forward(&self, Batch { inputs, labels }: Batch) -> (Tensor<1>, EmbeddingOutput) {
        let embeddings = self.embed(inputs);
        let loss = self.head.forward(embeddings.clone(), labels.clone());
        (loss.clone(), EmbeddingOutput::of_head(&self.head, embeddings, labels, loss))
    }
}

#[derive(Clone, Debug)]
struct Batch {
    inputs: Tensor<2>,
    labels: Tensor<1, Int>,
}

impl TrainStep for Model {
    type Input = Batch;
    type Output = EmbeddingOutput;

    fn step(&self, batch: Batch) -> TrainOutput<EmbeddingOutput> {
        let (loss, output) = self.forward(batch);
        TrainOutput::new(self, loss.backward(), output)
    }
}

impl InferenceStep for Model {
    type Input = Batch;
    type Output = EmbeddingOutput;

    fn step(&self, batch: Batch) -> EmbeddingOutput {
        self.forward(batch).1
    }
}

/// Features of a sample and who it is of.
type Sample = (Vec<f32>, usize);

/// Every identity is a place, and its samples lie around it.
fn samples(places: &[f32], each: usize, device: &Device) -> Vec<Sample> {
    let noise = Tensor::<1>::random([IDENTITIES * each * FEATURES], Distribution::Normal(0.0, 0.7), device);
    let noise = noise.try_into_vec_as::<f32>().expect("noise is numbers");
    let of_sample = noise.chunks_exact(FEATURES).enumerate().map(|(sample, noise)| {
        let place = &places[sample % IDENTITIES * FEATURES..][..FEATURES];
        (place.iter().zip(noise).map(|(place, noise)| place + noise).collect(), sample % IDENTITIES)
    });
    of_sample.collect()
}

struct Stack;

impl Batcher<Sample, Batch> for Stack {
    fn batch(&self, samples: Vec<Sample>, device: &Device) -> Batch {
        let labels: Vec<i64> = samples.iter().map(|(_, identity)| *identity as i64).collect();
        let numbers: Vec<f32> = samples.into_iter().flat_map(|(features, _)| features).collect();
        let inputs = Tensor::<1>::from_data(numbers.as_slice(), device).reshape([-1, FEATURES as i32]);
        Batch { inputs, labels: Tensor::from_data(labels.as_slice(), device) }
    }
}

fn loader(samples: Vec<Sample>) -> Arc<dyn DataLoader<Batch>> {
    DataLoaderBuilder::new(Stack).batch_size(64).shuffle(42).build(InMemDataset::new(samples))
}

fn main() {
    let device = Device::flex();
    device.seed(42);
    let places = Tensor::<1>::random([IDENTITIES * FEATURES], Distribution::Normal(0.0, 1.0), &device);
    let places = places.try_into_vec_as::<f32>().expect("places are numbers");
    let [train, valid, new] = [40, 10, 20].map(|each| samples(&places, each, &device));

    let folder = std::env::temp_dir().join(format!("burn-losses-arcface-{}", std::process::id()));
    // Trains up to an epoch, from the one that is done.
    let train_to = |epochs: usize, done: Option<usize>| {
        let mut training = SupervisedTraining::new(&folder, loader(train.clone()), loader(valid.clone()))
            .num_epochs(epochs)
            .with_application_logger(None)
            .with_default_checkpointers()
            .metrics((LossMetric::new(), AccuracyMetric::new()))
            .metric_train_numeric(DiagnosticMetric::new(Diagnostic::TargetAngle))
            .metric_train_numeric(DiagnosticMetric::new(Diagnostic::NearestNegativeAngle))
            .summary();
        if let Some(done) = done {
            training = training.checkpoint(done);
        }
        // The centers take larger steps than the trunk. By path, since a checkpoint brings parameter ids of its own.
        let head = ParamGroup::from_regex(r"^head\.").expect("a pattern");
        let rates = ModuleLrScheduler::new(3e-3).with_group(head, 3e-2);
        training.launch(Learner::new(Model::new(&device.clone().autodiff()), AdamConfig::new().init(), rates)).model
    };
    train_to(3, None);
    let model = train_to(6, Some(3));
    std::fs::remove_dir_all(&folder).expect("the folder of the run is ours");

    // Whoever the nearest center is of. People who were not in training are compared by their embeddings instead.
    let count = new.len();
    let Batch { inputs, labels } = Stack.batch(new, &device);
    let nearest = model.head.centers.cosines(model.embed(inputs)).argmax(1).squeeze_dim::<1>(1);
    let right = nearest.equal(labels).int().sum().into_scalar::<i64>();
    println!("named by the nearest center: {:.1} % of {count} new samples", 100.0 * right as f64 / count as f64);
}
