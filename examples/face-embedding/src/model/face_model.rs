//! Trunk and head as the one module that Burn's training loop trains.

use burn::module::Module;
use burn::tensor::{Device, Int, Tensor};
use burn::train::{InferenceStep, TrainOutput, TrainStep};
use burn_losses::diagnostics::{EmbeddingOutput, Figures};
use burn_losses::labels::count_bad;

use super::head::Head;
use super::trunk::{Trunk, TrunkConfig};
use crate::settings::config::TrainConfig;

/// Pictures and who is on them.
#[derive(Clone, Debug)]
pub struct FaceBatch {
    /// `[batch, 3, size, size]`, values in `[-1, 1]`.
    pub pictures: Tensor<4>,
    /// `[batch]`, in `0..classes`.
    pub labels: Tensor<1, Int>,
    /// Factors on the features before the embedding layer, `[batch, features]`; none without dropout.
    pub factors: Option<Tensor<2>>,
}

/// What is trained; only the trunk is kept afterwards.
#[derive(Module, Debug)]
pub struct FaceModel {
    /// From a picture to its embedding.
    pub trunk: Trunk,
    /// From embeddings and labels to a loss.
    pub head: Head,
    classes: usize,
}

impl FaceModel {
    /// A model with random weights for so many people.
    ///
    /// # Panics
    ///
    /// If the configuration was not [resolved](TrainConfig::resolve).
    pub fn new(config: &TrainConfig, classes: usize, device: &Device) -> Self {
        Self {
            trunk: trunk_config(config).init(device),
            head: Head::new(config.loss, &config.loss_settings, classes, config.embedding_size, device),
            classes,
        }
    }
}

/// The trunk of a run.
pub(crate) fn trunk_config(config: &TrainConfig) -> TrunkConfig {
    TrunkConfig::new(config.image_size, config.embedding_size).with_width(config.width)
}

/// The trunk that a run with this configuration begins with.
pub(crate) fn untrained_trunk(config: &TrainConfig, device: &Device) -> Trunk {
    device.seed(config.seed);
    // Burn draws a weight when it is first used: with the first pictures, in the order of the network.
    trunk_config(config).init(device)
}

impl TrainStep for FaceModel {
    type Input = FaceBatch;
    type Output = EmbeddingOutput;

    fn step(&self, batch: FaceBatch) -> TrainOutput<EmbeddingOutput> {
        let FaceBatch { pictures, labels, factors } = batch;
        let bad_labels = count_bad(labels.clone(), self.classes, Some(-1));
        let embeddings = self.trunk.forward_with(pictures, factors);
        let output = self.head.forward(embeddings.clone(), labels);
        let gradients = output.loss.backward();
        let figures = Figures::new(embeddings, output.cosines, output.loss, bad_labels);
        TrainOutput::new(self, gradients, figures.into())
    }
}

/// Burn asks for a validation step; there is none, since a loss over classes says nothing about
/// people who are not among them. Those are measured after training.
impl InferenceStep for FaceModel {
    type Input = ();
    type Output = ();

    fn step(&self, (): ()) {}
}
