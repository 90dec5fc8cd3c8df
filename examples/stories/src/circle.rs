//! What heads make of samples when an embedding has two numbers only: five ways to train, the same samples and network.

use anyhow::{Result, anyhow};
use burn::module::{Module, ModuleDisplay};
use burn::nn::{Linear, LinearConfig, Relu};
use burn::optim::{AdamConfig, GradientsParams};
use burn::tensor::{Device, Distribution, Int, Tensor};
use burn_losses::classification::{CrossEntropyLossConfig, Reduction};
use burn_losses::{ArcFaceConfig, CenterLossConfig, CosFaceConfig, EmbeddingLoss, SubCenterArcFaceConfig};

/// How many classes there are.
pub const CLASSES: usize = 6;
const EACH: usize = 60;
const FEATURES: usize = 12;
const STEPS: usize = 400;

/// A way to train.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Cross-entropy over a layer.
    Softmax,
    /// The same with center loss beside it.
    CenterLoss,
    /// A margin of the cosine.
    CosFace,
    /// A margin of the angle.
    ArcFace,
    /// The same with three centers per class.
    SubCenterArcFace,
}

impl Way {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Softmax, Self::CenterLoss, Self::CosFace, Self::ArcFace, Self::SubCenterArcFace];

    /// What it is called.
    pub fn name(self) -> &'static str {
        match self {
            Self::Softmax => "softmax",
            Self::CenterLoss => "softmax and center loss",
            Self::CosFace => "CosFace",
            Self::ArcFace => "ArcFace",
            Self::SubCenterArcFace => "SubCenterArcFace",
        }
    }
}

#[derive(Module, Debug)]
struct Trunk {
    first: Linear,
    activation: Relu,
    second: Linear,
    /// Of the ways that need one.
    classifier: Linear,
}

impl Trunk {
    fn embed(&self, inputs: Tensor<2>) -> Tensor<2> {
        self.second.forward(self.activation.forward(self.first.forward(inputs)))
    }
}

/// Trains on samples of every class, and returns the embeddings of new ones with their class.
///
/// # Errors
///
/// If the embeddings cannot be read.
pub fn train(way: Way, device: &Device) -> Result<Vec<((f64, f64), usize)>> {
    device.seed(7);
    let inner = device.clone().inner();
    let places = Tensor::<3>::random([CLASSES, 1, FEATURES], Distribution::Normal(0.0, 1.0), &inner);
    let samples = || {
        let noise = Tensor::random([CLASSES, EACH, FEATURES], Distribution::Normal(0.0, 0.6), &inner);
        (places.clone().expand([CLASSES, EACH, FEATURES]) + noise).reshape([CLASSES * EACH, FEATURES])
    };
    let (inputs, new) = (Tensor::<2>::from_inner(samples()), samples());
    let classes: Vec<i64> = (0..CLASSES * EACH).map(|sample| (sample / EACH) as i64).collect();
    let labels = Tensor::<1, Int>::from_data(classes.as_slice(), device);

    let trunk = Trunk {
        first: LinearConfig::new(FEATURES, 48).init(device),
        activation: Relu::new(),
        second: LinearConfig::new(48, 2).init(device),
        classifier: LinearConfig::new(2, CLASSES).init(device),
    };
    let trunk = match way {
        Way::Softmax => fit(trunk, |trunk| softmax(trunk, &inputs, &labels)),
        Way::CenterLoss => {
            let centers = CenterLossConfig::new(CLASSES, 2).init(device);
            fit(trunk, |trunk| {
                let of_centers = centers.forward(trunk.embed(inputs.clone()), labels.clone());
                softmax(trunk, &inputs, &labels) + of_centers.mul_scalar(0.5)
            })
        }
        Way::CosFace => {
            with_head(trunk, CosFaceConfig::new(CLASSES, 2).with_scale(16.0).init(device), &inputs, &labels)
        }
        Way::ArcFace => {
            with_head(trunk, ArcFaceConfig::new(CLASSES, 2).with_scale(16.0).init(device), &inputs, &labels)
        }
        Way::SubCenterArcFace => {
            let head = SubCenterArcFaceConfig::new(CLASSES, 2).with_scale(16.0).init(device);
            with_head(trunk, head, &inputs, &labels)
        }
    };
    let numbers = trunk.valid().embed(new).try_into_vec_as::<f64>();
    let numbers = numbers.map_err(|error| anyhow!("embeddings cannot be read: {error}"))?;
    Ok(numbers.chunks_exact(2).zip(&classes).map(|(place, &class)| ((place[0], place[1]), class as usize)).collect())
}

fn softmax(trunk: &Trunk, inputs: &Tensor<2>, labels: &Tensor<1, Int>) -> Tensor<1> {
    let logits = trunk.classifier.forward(trunk.embed(inputs.clone()));
    CrossEntropyLossConfig::new().init(&logits.device()).forward(logits, labels.clone(), Reduction::Mean)
}

fn fit(mut trunk: Trunk, loss: impl Fn(&Trunk) -> Tensor<1>) -> Trunk {
    let mut optimizer = AdamConfig::new().init();
    for _ in 0..STEPS {
        let gradients = GradientsParams::from_grads(loss(&trunk).backward(), &trunk);
        trunk = optimizer.step(1e-2, trunk, gradients);
    }
    trunk
}

/// Trunk and head, by one optimizer.
#[derive(Module, Debug)]
struct Both<H: Module + ModuleDisplay> {
    trunk: Trunk,
    head: H,
}

fn with_head<H>(trunk: Trunk, head: H, inputs: &Tensor<2>, labels: &Tensor<1, Int>) -> Trunk
where
    H: Module + ModuleDisplay + EmbeddingLoss,
{
    let mut both = Both { trunk, head };
    let mut optimizer = AdamConfig::new().init();
    for _ in 0..STEPS {
        let loss = both.head.forward(both.trunk.embed(inputs.clone()), labels.clone());
        let gradients = GradientsParams::from_grads(loss.backward(), &both);
        both = optimizer.step(1e-2, both, gradients);
    }
    both.trunk
}
