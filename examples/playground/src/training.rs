use anyhow::{Result, ensure};
use burn::module::Module;
use burn::nn::{Linear, LinearConfig, Relu};
use burn::optim::{AdamConfig, GradientsParams, ModuleOptimizer};
use burn::tensor::{Device, Int, Tensor, TensorData};
use serde::Deserialize;
use serde_json::Value;

use crate::{CLASSES, FEATURES, Objective, Points};

const HIDDEN: usize = 64;

/// What a [`Training`] is of.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The name of the loss, see [`Objective::all`].
    pub loss: String,
    /// Its settings.
    pub settings: Value,
    /// The length of an embedding: 2 for a circle, 3 for a sphere.
    pub dimensions: usize,
    /// How many samples; all of them are in every batch.
    pub samples: usize,
    /// How far samples stray from the place of their class, which has a standard deviation of 1.
    pub noise: f32,
    /// Of Adam.
    pub learning_rate: f64,
    /// Of the samples and of the network's first weights.
    pub seed: u64,
}

impl Settings {
    fn check(&self) -> Result<()> {
        let Self { dimensions, samples, noise, learning_rate, .. } = *self;
        ensure!((2..=3).contains(&dimensions), "dimensions: must be 2 or 3, got {dimensions}");
        ensure!((CLASSES..=4096).contains(&samples), "samples: must be in [{CLASSES}, 4096], got {samples}");
        ensure!((0.0..=100.0).contains(&noise), "noise: must be in [0, 100], got {noise}");
        ensure!((0.0..=10.0).contains(&learning_rate), "learning_rate: must be in [0, 10], got {learning_rate}");
        Ok(())
    }
}

#[derive(Module, Debug)]
struct Model {
    first: Linear,
    second: Linear,
    last: Linear,
    activation: Relu,
    objective: Objective,
}

impl Model {
    fn new(settings: &Settings, device: &Device) -> Result<Self> {
        let Settings { dimensions, .. } = *settings;
        Ok(Self {
            first: LinearConfig::new(FEATURES, HIDDEN).init(device),
            second: LinearConfig::new(HIDDEN, HIDDEN).init(device),
            last: LinearConfig::new(HIDDEN, dimensions).init(device),
            activation: Relu::new(),
            objective: Objective::new(&settings.loss, &settings.settings, dimensions, device)?,
        })
    }

    fn embed(&self, inputs: Tensor<2>) -> Tensor<2> {
        let hidden = self.activation.forward(self.first.forward(inputs));
        self.last.forward(self.activation.forward(self.second.forward(hidden)))
    }
}

/// A network, its loss, its samples and its optimizer.
pub struct Training {
    model: Model,
    optimizer: ModuleOptimizer,
    inputs: Tensor<2>,
    labels: Vec<usize>,
    label_tensor: Tensor<1, Int>,
    learning_rate: f64,
}

impl Training {
    /// Begins on a device with gradients (`Device::flex().autodiff()`).
    ///
    /// # Errors
    ///
    /// As [`Objective::new`]; and if a setting of the training is out of its range.
    ///
    /// # Panics
    ///
    /// As [`Objective::new`].
    pub fn new(settings: &Settings, device: &Device) -> Result<Self> {
        settings.check()?;
        device.seed(settings.seed);
        let Points { inputs, classes } = Points::new(settings.samples, settings.noise, settings.seed);
        Ok(Self {
            model: Model::new(settings, device)?,
            optimizer: AdamConfig::new().init(),
            inputs: Tensor::from_data(TensorData::new(inputs, [settings.samples, FEATURES]), device),
            label_tensor: label_tensor(&classes, device),
            labels: classes,
            learning_rate: settings.learning_rate,
        })
    }

    /// Trains one step on all samples; the loss before it, `[1]`.
    pub fn step(&mut self) -> Tensor<1> {
        let embeddings = self.model.embed(self.inputs.clone());
        let loss = self.model.objective.forward(embeddings, self.label_tensor.clone());
        let gradients = GradientsParams::from_grads(loss.backward(), &self.model);
        self.model = self.optimizer.step(self.learning_rate, self.model.clone(), gradients);
        loss.inner()
    }

    /// Where the samples are now: `[samples, dimensions]`.
    pub fn embeddings(&self) -> Tensor<2> {
        self.model.valid().embed(self.inputs.clone().inner())
    }

    /// Where the classes are, see [`Objective::class_places`].
    pub fn class_places(&self) -> Option<Tensor<2>> {
        self.model.objective.class_places().map(Tensor::inner)
    }

    /// What it trains with.
    pub fn objective(&self) -> &Objective {
        &self.model.objective
    }

    /// The class that each sample is said to have.
    pub fn labels(&self) -> &[usize] {
        &self.labels
    }

    /// Says that a sample is of the next class, as a mistake in a data set would; the last class is followed by the first.
    ///
    /// # Panics
    ///
    /// If there is no such sample.
    pub fn relabel(&mut self, sample: usize) {
        self.labels[sample] = (self.labels[sample] + 1) % CLASSES;
        self.label_tensor = label_tensor(&self.labels, &self.label_tensor.device());
    }
}

fn label_tensor(labels: &[usize], device: &Device) -> Tensor<1, Int> {
    let labels: Vec<i64> = labels.iter().map(|&label| label as i64).collect();
    Tensor::from_data(labels.as_slice(), device)
}
