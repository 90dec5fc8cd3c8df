//! Cross-entropy with and without center loss beside it: how tight the classes are.
//!
//! ```sh
//! cargo run -p burn-losses --example center_loss --features flex,optim
//! ```
//!
//! Its last line: `spread within a class / distance of the classes: 0.31 without center loss, 0.22 with it`

use burn::module::Module;
use burn::nn::{Linear, LinearConfig, Relu};
use burn::optim::{AdamConfig, GradientsParams};
use burn::tensor::{Device, Distribution, Int, Tensor};
use burn_losses::classification::{CrossEntropyLossConfig, Reduction};
use burn_losses::{CenterLoss, CenterLossConfig, Distance};

const CLASSES: usize = 6;
const EACH: usize = 60;
const FEATURES: usize = 12;
const EMBEDDING: usize = 4;

#[derive(Module, Debug)]
struct Model {
    first: Linear,
    activation: Relu,
    second: Linear,
    classifier: Linear,
    /// A field, so that its centers are saved with the model. They move by themselves in every forward on an autodiff device.
    center_loss: CenterLoss,
}

impl Model {
    fn new(device: &Device) -> Self {
        Self {
            first: LinearConfig::new(FEATURES, 32).init(device),
            activation: Relu::new(),
            second: LinearConfig::new(32, EMBEDDING).init(device),
            classifier: LinearConfig::new(EMBEDDING, CLASSES).init(device),
            center_loss: CenterLossConfig::new(CLASSES, EMBEDDING).init(device),
        }
    }

    fn embed(&self, inputs: Tensor<2>) -> Tensor<2> {
        self.second.forward(self.activation.forward(self.first.forward(inputs)))
    }
}

/// Class by class, `EACH` samples around the place of each.
fn samples(places: &Tensor<2>) -> Tensor<2> {
    let noise = Tensor::<3>::random([CLASSES, EACH, FEATURES], Distribution::Normal(0.0, 0.8), &places.device());
    let places = places.clone().unsqueeze_dim::<3>(1).expand([CLASSES, EACH, FEATURES]);
    (places + noise).reshape([CLASSES * EACH, FEATURES])
}

/// The mean distance of new samples to the mean of their class, as a share of the mean distance between these means.
fn spread(weight_of_centers: f64, train: &Tensor<2>, test: &Tensor<2>) -> f64 {
    let device = train.device().autodiff();
    device.seed(1);
    let labels: Vec<i64> = (0..CLASSES * EACH).map(|sample| (sample / EACH) as i64).collect();
    let labels = Tensor::<1, Int>::from_data(labels.as_slice(), &device);
    let inputs = Tensor::from_inner(train.clone());
    let cross_entropy = CrossEntropyLossConfig::new().init(&device);
    let mut model = Model::new(&device);
    let mut optimizer = AdamConfig::new().init();
    for _ in 0..200 {
        let embeddings = model.embed(inputs.clone());
        let logits = model.classifier.forward(embeddings.clone());
        let of_centers = model.center_loss.forward(embeddings, labels.clone()).mul_scalar(weight_of_centers);
        let loss = cross_entropy.forward(logits, labels.clone(), Reduction::Mean) + of_centers;
        let gradients = GradientsParams::from_grads(loss.backward(), &model);
        model = optimizer.step(1e-2, model, gradients);
    }

    let embeddings = model.valid().embed(test.clone()).reshape([CLASSES, EACH, EMBEDDING]);
    let means = embeddings.clone().mean_dim(1);
    let nearest = means.clone().expand([CLASSES, EACH, EMBEDDING]).reshape([CLASSES * EACH, EMBEDDING]);
    let within = Distance::Euclidean.rowwise(embeddings.reshape([CLASSES * EACH, EMBEDDING]), nearest).mean();
    let means = means.reshape([CLASSES, EMBEDDING]);
    let between = Distance::Euclidean.matrix(means.clone(), means).sum().div_scalar((CLASSES * (CLASSES - 1)) as f64);
    (within / between).into_scalar::<f64>()
}

fn main() {
    let device = Device::flex();
    device.seed(42);
    let places = Tensor::<2>::random([CLASSES, FEATURES], Distribution::Normal(0.0, 1.0), &device);
    let (train, test) = (samples(&places), samples(&places));
    let [without, with] = [0.0, 4.0].map(|weight| spread(weight, &train, &test));
    println!("spread within a class / distance of the classes: {without:.2} without center loss, {with:.2} with it");
}
