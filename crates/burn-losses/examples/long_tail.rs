//! Classes of 400 to 4 samples: cross-entropy, cross-entropy with weights for rare classes, and focal loss.
//!
//! ```sh
//! cargo run -p burn-losses --example long_tail --features flex,optim
//! ```
//!
//! Its last line: `rare classes: 16.7 % with plain cross-entropy, 36.0 % with class weights`

use burn::module::Module;
use burn::nn::{Linear, LinearConfig, Relu};
use burn::optim::{AdamConfig, GradientsParams};
use burn::tensor::{Device, Distribution, Int, Tensor};
use burn_losses::classification::{CrossEntropyLossConfig, FocalLossConfig, Reduction};

const CLASSES: usize = 8;
const FEATURES: usize = 8;
/// From the most to the least common class.
const COUNTS: [usize; CLASSES] = [400, 220, 120, 60, 30, 16, 8, 4];

#[derive(Module, Debug)]
struct Classifier {
    first: Linear,
    activation: Relu,
    second: Linear,
}

impl Classifier {
    fn new(device: &Device) -> Self {
        Self {
            first: LinearConfig::new(FEATURES, 32).init(device),
            activation: Relu::new(),
            second: LinearConfig::new(32, CLASSES).init(device),
        }
    }

    fn forward(&self, inputs: Tensor<2>) -> Tensor<2> {
        self.second.forward(self.activation.forward(self.first.forward(inputs)))
    }
}

/// Samples around the place of their class, `counts` of each.
fn samples(places: &Tensor<2>, counts: [usize; CLASSES]) -> (Tensor<2>, Tensor<1, Int>) {
    let device = places.device();
    let of_class = |(class, &count): (usize, &usize)| {
        let place = places.clone().narrow(0, class, 1).expand([count, FEATURES]);
        place + Tensor::random([count, FEATURES], Distribution::Normal(0.0, 1.0), &device)
    };
    let inputs = Tensor::cat(counts.iter().enumerate().map(of_class).collect(), 0);
    let labels: Vec<i64> = (0..CLASSES).flat_map(|class| vec![class as i64; counts[class]]).collect();
    (inputs, Tensor::from_data(labels.as_slice(), &device))
}

type Loss = dyn Fn(Tensor<2>, Tensor<1, Int>) -> Tensor<1>;

/// The recall of every class after training with a loss.
fn recalls(loss: &Loss, train: &(Tensor<2>, Tensor<1, Int>), test: &(Tensor<2>, Tensor<1, Int>)) -> Vec<f64> {
    let device = train.0.device().autodiff();
    device.seed(1);
    let mut model = Classifier::new(&device);
    let mut optimizer = AdamConfig::new().init();
    let (inputs, labels) = (Tensor::from_inner(train.0.clone()), Tensor::from_inner(train.1.clone()));
    for _ in 0..150 {
        let value = loss(model.forward(inputs.clone()), labels.clone());
        let gradients = GradientsParams::from_grads(value.backward(), &model);
        model = optimizer.step(1e-2, model, gradients);
    }
    let (inputs, labels) = test.clone();
    let chosen = model.valid().forward(inputs).argmax(1).squeeze_dim::<1>(1);
    let right = chosen.equal(labels).int().reshape([CLASSES, 100]).sum_dim(1).squeeze_dim::<1>(1);
    right.try_into_vec_as::<i64>().expect("counts are numbers").into_iter().map(|right| right as f64).collect()
}

fn main() {
    let device = Device::flex();
    device.seed(42);
    let places = Tensor::<2>::random([CLASSES, FEATURES], Distribution::Normal(0.0, 1.0), &device);
    let (train, test) = (samples(&places, COUNTS), samples(&places, [100; CLASSES]));

    // A class weighs more the rarer it is: the root of the inverse of its count.
    let weights: Vec<f64> = COUNTS.map(|count| (COUNTS[0] as f64 / count as f64).sqrt()).to_vec();
    let training_device = device.autodiff();
    let plain = CrossEntropyLossConfig::new().init(&training_device);
    let weighted =
        CrossEntropyLossConfig::new().with_class_weights(Some(weights.clone().into())).init(&training_device);
    let largest = weights.iter().copied().fold(0.0, f64::max);
    let alpha: Vec<f64> = weights.iter().map(|weight| weight / largest).collect();
    let focal = FocalLossConfig::new().with_alpha(Some(alpha.into())).init(&training_device);
    let all: [(&str, Box<Loss>); 3] = [
        ("cross-entropy", Box::new(move |logits, labels| plain.forward(logits, labels, Reduction::Mean))),
        ("class weights", Box::new(move |logits, labels| weighted.forward(logits, labels, Reduction::Mean))),
        ("focal, weights", Box::new(move |logits, labels| focal.forward(logits, labels, Reduction::Mean))),
    ];

    println!("recall in % of classes with {COUNTS:?} samples");
    let mean = |recalls: &[f64]| recalls.iter().sum::<f64>() / recalls.len() as f64;
    let rare: Vec<f64> = all
        .iter()
        .map(|(name, loss)| {
            let recalls = recalls(loss.as_ref(), &train, &test);
            let each: Vec<String> = recalls.iter().map(|recall| format!("{recall:>3}")).collect();
            println!("{name:<16} {}   mean {:.1}", each.join(" "), mean(&recalls));
            mean(&recalls[CLASSES - 3..])
        })
        .collect();
    println!("rare classes: {:.1} % with plain cross-entropy, {:.1} % with class weights", rare[0], rare[1]);
}
