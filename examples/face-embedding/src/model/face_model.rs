//! Trunk and head as the one module that Burn's training loop trains.

use burn::module::Module;
use burn::tensor::{Device, Int, Tensor};
use burn::train::{InferenceStep, TrainOutput, TrainStep};
use burn_losses::diagnostics::{EmbeddingOutput, Figures};
use burn_losses::labels::count_bad;

use super::head::Head;
use super::spread::{Forks, Part};
use super::trunk::{Trunk, TrunkConfig};
use crate::settings::config::TrainConfig;

/// Pictures and who is on them.
#[derive(Clone, Debug)]
pub struct FaceBatch {
    /// One for each device, which its pictures are on; the first is that of the trunk.
    pub parts: Vec<Part>,
    /// Of all parts in their order, `[batch]`, in `0..classes`; on the first device.
    pub labels: Tensor<1, Int>,
    /// The share of its margin that the head has in this step; 1 but for the rise at the beginning of a run.
    pub margin_share: f64,
    /// The share of its scale that the head has in this step.
    pub scale_share: f64,
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
        Self::with_trunk(TrunkConfig::of(&config.network).init(device), config, classes, device)
    }

    fn with_trunk(trunk: Trunk, config: &TrainConfig, classes: usize, device: &Device) -> Self {
        let embedding_size = config.network.embedding_size();
        let head = Head::new(config.loss, &config.loss_settings, classes, embedding_size, config.seed, device);
        Self { trunk, head, classes }
    }

    /// The model that a training begins with, for several devices with the classes of its head on all of them, where it
    /// [can be spread](crate::settings::loss::LossKind::is_spread); the rest is on the first. The weights do not depend on how many
    /// devices there are: random ones, but for those of `initial`.
    ///
    /// # Panics
    ///
    /// As [`new`](Self::new), and if there are no devices, or more than classes.
    pub fn to_train(config: &TrainConfig, classes: usize, initial: Option<Trunk>, devices: &[Device]) -> Self {
        let home = &devices[0];
        let trunk = match initial {
            Some(initial) => initial.train(),
            None => TrunkConfig::of(&config.network).init(home),
        };
        let mut model = Self::with_trunk(trunk, config, classes, home);
        // Burn draws a weight when it is first used. Here all are, in the order in which the model has them.
        drop(model.valid());
        if devices.len() > 1 {
            model.head = model.head.spread(devices);
        }
        model
    }
}

/// A trunk with the random weights of a run with this configuration.
pub(crate) fn untrained_trunk(config: &TrainConfig, device: &Device) -> Trunk {
    device.seed(config.seed);
    // Burn draws a weight when it is first used: with the first pictures, in the order of the network.
    TrunkConfig::of(&config.network).init(device)
}

impl TrainStep for FaceModel {
    type Input = FaceBatch;
    type Output = EmbeddingOutput;

    fn step(&self, batch: FaceBatch) -> TrainOutput<EmbeddingOutput> {
        let FaceBatch { parts, labels, margin_share, scale_share } = batch;
        let bad_labels = count_bad(labels.clone(), self.classes, Some(-1));
        let forks = Forks::new(&self.trunk, &parts);
        let embeddings = forks.embed(&self.trunk, parts);
        let home = embeddings.device();
        let output = self.head.forward(embeddings.clone(), labels, margin_share, scale_share);
        let grads = forks.gradients(self, &home, output.loss.backward());
        let figures = Figures::new(embeddings, output.cosines, output.loss, bad_labels);
        TrainOutput { grads, item: figures.into() }
    }
}

/// Burn asks for a validation step; there is none, since a loss over classes says nothing about
/// people who are not among them. Those are measured after training.
impl InferenceStep for FaceModel {
    type Input = ();
    type Output = ();

    fn step(&self, (): ()) {}
}

#[cfg(test)]
mod tests {
    use burn::module::{ModuleVisitor, Param};
    use burn::optim::GradientsParams;

    use super::*;
    use crate::settings::network::{NetworkKind, NetworkSettings};

    /// Parameters that take part in the loss, and those that do not though they are to be trained.
    #[derive(Default)]
    struct Reached {
        gradients: GradientsParams,
        reached: usize,
        left_out: usize,
    }

    impl ModuleVisitor for Reached {
        fn visit_float<const D: usize>(&mut self, parameter: &Param<Tensor<D>>) {
            match self.gradients.get::<D>(parameter.id) {
                Some(gradient) => {
                    let finite = gradient.is_finite().all().into_scalar::<bool>();
                    assert!(finite, "a gradient is no number");
                    self.reached += 1;
                }
                None => self.left_out += usize::from(parameter.is_require_grad()),
            }
        }
    }

    /// Weights, and norms with two each, by hand: every parameter of the network has a gradient.
    fn step(network: NetworkKind, batch: usize, parameters: usize) {
        let network = NetworkSettings { network, embedding_size: Some(8), ..NetworkSettings::default() };
        let config = TrainConfig { network, ..TrainConfig::default() }.resolve().expect("in range");
        let device = Device::flex().autodiff();
        let model = FaceModel::new(&config, 3, &device);
        let size = config.network.image_size();
        let values = (0..batch * 3 * size * size).map(|place| (place as f32 * 0.37).sin()).collect();
        let labels: Vec<i64> = (0..batch as i64).map(|picture| picture % 3).collect();
        let output = TrainStep::step(
            &model,
            FaceBatch {
                parts: vec![Part {
                    pictures: Tensor::from_data(burn::tensor::TensorData::new(values, [batch, 3, size, size]), &device),
                    factors: None,
                }],
                labels: Tensor::from_data(labels.as_slice(), &device),
                margin_share: 1.0,
                scale_share: 1.0,
            },
        );
        let mut reached = Reached { gradients: output.grads, ..Reached::default() };
        model.visit(&mut reached);
        // The centers of the head, too.
        assert_eq!((reached.reached, reached.left_out), (parameters + 1, 0));
    }

    /// A convolution, two numbers of a norm and a slope in each of 2 + 2 * 15 + 1 blocks with an activation; without
    /// one in 15 + 1; and a linear layer and its norm.
    #[test]
    fn a_step_reaches_every_parameter_of_mobilefacenet() {
        step(NetworkKind::MobileFaceNet, 4, 4 * 33 + 3 * 16 + 3);
    }

    /// Three norms, two convolutions and a slope in each of 8 blocks; 4 shortcuts of three; 4 at the beginning; a norm, a
    /// linear layer with a bias, and one number of the last norm, whose weight stays 1.
    #[test]
    fn a_step_reaches_every_parameter_of_iresnet18() {
        step(NetworkKind::IResNet18, 2, 9 * 8 + 3 * 4 + 4 + 2 + 2 + 1);
    }
}
