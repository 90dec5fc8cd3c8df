//! A trunk on several devices: a part of a batch on each, and the gradient of the whole batch.
//!
//! Burn's multi-device strategy (burn-train's `MultiDeviceOptim`) is not used: it has every device compute a loss of its own part, so that
//! no pair has its pictures on two devices, adds up gradients that are means, forks the model in every step, which takes all
//! classes of a [`ShardedHead`](burn_losses::heads::ShardedHead) to each device, and lets the devices share running statistics.

use burn::module::Module;
use burn::optim::{GradientsAccumulator, GradientsParams};
use burn::tensor::{Device, Gradients, Tensor};

use super::trunk::Trunk;

/// The part of a batch that one device embeds.
#[derive(Clone, Debug)]
pub struct Part {
    /// `[part, 3, size, size]`, values in `[-1, 1]`.
    pub pictures: Tensor<4>,
    /// Factors on the features before the embedding layer, `[part, features]`; none without dropout.
    pub factors: Option<Tensor<2>>,
}

/// The trunk on the other devices, as it is in one step.
///
/// Each has the parameters of the first, and running statistics of its own that nobody reads: those of the first are kept, as
/// DistributedDataParallel of PyTorch does it in arcface_torch (`broadcast_buffers=False`).
pub(super) struct Forks(Vec<Trunk>);

impl Forks {
    /// One for each part but the first, on its device.
    pub(super) fn new(trunk: &Trunk, parts: &[Part]) -> Self {
        let others = parts.iter().skip(1).map(|part| part.pictures.device());
        // `valid` takes a copy of the statistics, which clones share.
        Self(others.map(|device| trunk.valid().train().fork(&device)).collect())
    }

    /// The embeddings of all parts in their order, on the device of the first, `[batch, embedding_size]`.
    pub(super) fn embed(&self, trunk: &Trunk, parts: Vec<Part>) -> Tensor<2> {
        let trunks = std::iter::once(trunk).chain(&self.0);
        // All devices are busy before the first one is waited for.
        let embeddings: Vec<Tensor<2>> =
            trunks.zip(parts).map(|(trunk, part)| trunk.forward_with(part.pictures, part.factors)).collect();
        let home = embeddings[0].device();
        match <[_; 1]>::try_from(embeddings) {
            Ok([all]) => all,
            Err(parts) => Tensor::cat(parts.into_iter().map(|part| part.to_device(&home)).collect(), 0),
        }
    }

    /// The gradients of a model, with what the parts on the other devices add to those of its trunk: of the whole batch, since
    /// the loss is.
    pub(super) fn gradients<M: Module>(&self, model: &M, home: &Device, mut gradients: Gradients) -> GradientsParams {
        let others: Vec<GradientsParams> = self
            .0
            .iter()
            .map(|fork| GradientsParams::from_module(&mut gradients, fork).to_device(home, fork))
            .collect();
        let mut sum = GradientsAccumulator::new();
        sum.accumulate(model, GradientsParams::from_grads(gradients, model));
        others.into_iter().for_each(|other| sum.accumulate(model, other));
        sum.grads()
    }
}
