//! The exact gradient of a batch that a network cannot hold at once.

use alloc::vec::Vec;
use core::array;

use burn::module::Module;
use burn::optim::{GradientsAccumulator, GradientsParams};
use burn::tensor::{Gradients, Tensor};
use burn_losses_kernels::math::{in_host_memory, widen};

use crate::shape::check_shape;

/// How far embeddings of a second pass may be from those of the first, as a share of the largest number: rounding of kernels
/// that add in another order each time.
const REPEATED: f64 = 1e-3;

/// The gradient of a loss of embeddings at a batch that the network cannot hold: exact, in the memory of a chunk.
///
/// ```text
/// e[k] = embed(chunk[k])                         for all chunks, without a graph
/// g    = gradient of loss(e) with respect to e   of the whole batch
/// the gradient of sum(embed(chunk[k])·g[k])      for one chunk after the other, added up
/// ```
///
/// A contrastive loss wants large batches, whose rows are compared with each other, so that gradients of parts of a batch
/// cannot be added up as those of a classifier can. But the losses here need little memory for many embeddings, and by the
/// chain rule the network needs to know of the loss only the gradient of its own embeddings. So every chunk goes through
/// the network twice, which costs about a third more time than the whole batch at once would, and only one chunk's
/// activations are there at a time. The gradient is that of the whole batch, not an approximation.
///
/// A chunk is whatever the closure takes: a tensor, a pair of images and texts, a struct. `embed` returns one tensor for each
/// of the `N` things that the loss takes, such as queries and keys, from one network or several; Burn's own
/// [`split`](Tensor::split) cuts a tensor into chunks.
///
/// # What the network does beside its embeddings
///
/// - Random layers must draw the same in both passes. With [`with_seed`](Self::with_seed) the generator of the device is set
///   before each chunk, in both; give another seed in each step, such as its number, or all steps draw the same. Without a
///   seed no generator is touched, and a network that draws numbers panics where embeddings lie in host memory, and makes
///   [`GradientCacheStep::drift`] large elsewhere. Burn's generator is one for all threads: let no other one draw meanwhile.
/// - Running statistics move once, in the second pass, chunk by chunk: the first pass has a copy of them. Batch
///   normalization normalises each chunk by itself, here as wherever a batch is cut; a network with it has another gradient
///   than at the whole batch, and exactly that of its chunks.
/// - The loss is computed once. All that it is computed from has a gradient: what is part of `model`, such as a head, in
///   [`GradientCacheStep::gradients`], everything else in [`GradientCacheStep::of_loss`].
///
/// # When to take it
///
/// When the batch that the loss wants does not fit beside the activations of the network. Where it fits, one backward is
/// quicker; where negatives may be some steps old, a [`CrossBatchMemory`](crate::memory::CrossBatchMemory) is cheaper still.
///
/// # Source
///
/// Gao et al.: [Scaling Deep Contrastive Learning Batch Size under Memory Limited
/// Setup](https://arxiv.org/abs/2101.06983), 2021, section 3.2.
///
/// # Example
///
/// ```
/// use burn::module::Module;
/// use burn::nn::{Linear, LinearConfig};
/// use burn::optim::{GradientsParams, SgdConfig};
/// use burn::tensor::{Device, Distribution, Tensor};
/// use burn_losses::gradient_cache::GradientCache;
/// use burn_losses::pairs::{InfoNceLossConfig, Pairs, TemperatureMode};
///
/// #[derive(Module, Debug)]
/// struct Towers {
///     image: Linear,
///     text: Linear,
/// }
///
/// let device = Device::default().autodiff();
/// let towers = Towers { image: LinearConfig::new(6, 4).init(&device), text: LinearConfig::new(5, 4).init(&device) };
/// let loss = InfoNceLossConfig::new().with_temperature_mode(TemperatureMode::Learned).init(&device);
/// let images = Tensor::<2>::random([32, 6], Distribution::Default, &device);
/// let texts = Tensor::<2>::random([32, 5], Distribution::Default, &device);
///
/// let chunks: Vec<_> = images.split(8, 0).into_iter().zip(texts.split(8, 0)).collect();
/// let step = GradientCache::new().backward(
///     &towers,
///     &chunks,
///     |towers, (images, texts)| [towers.image.forward(images.clone()), towers.text.forward(texts.clone())],
///     |[images, texts]| loss.forward_pairs(&Pairs::symmetric(images, texts)),
/// );
/// let before = step.loss.into_scalar::<f32>();
/// let gradients_of_loss = GradientsParams::from_grads(step.of_loss, &loss);
/// let towers = SgdConfig::new().init().step(0.01, towers, step.gradients);
/// let loss = SgdConfig::new().init().step(0.01, loss, gradients_of_loss);
///
/// let whole = |(images, texts): &(Tensor<2>, Tensor<2>)| {
///     (towers.image.forward(images.clone()), towers.text.forward(texts.clone()))
/// };
/// let (images, texts): (Vec<_>, Vec<_>) = chunks.iter().map(whole).unzip();
/// let after = loss.forward_pairs(&Pairs::symmetric(Tensor::cat(images, 0), Tensor::cat(texts, 0)));
/// assert!(after.into_scalar::<f32>() < before);
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct GradientCache {
    seed: Option<u64>,
}

/// What [`GradientCache::backward`] has found.
pub struct GradientCacheStep {
    /// The loss of the batch, `[1]`, without a graph.
    pub loss: Tensor<1>,
    /// The gradients of the module that embeds, for an optimizer.
    pub gradients: GradientsParams,
    /// The gradients of what else the loss is computed from, such as a learned temperature or centers of classes:
    /// `GradientsParams::from_grads(step.of_loss, &loss)`.
    pub of_loss: Gradients,
    /// How far the embeddings of the second pass are from those of the first, as a share of their largest number, `[1]`: 0 but
    /// for rounding, if the second pass has repeated the first.
    pub drift: Tensor<1>,
}

impl GradientCache {
    /// For a network that draws no random numbers.
    pub fn new() -> Self {
        Self::default()
    }

    /// For one that does: the generator of its device is set from this number before each chunk, in both passes. Give
    /// another number in each step.
    #[must_use]
    pub fn with_seed(self, seed: u64) -> Self {
        Self { seed: Some(seed) }
    }

    /// The loss of a batch, and its gradients.
    ///
    /// `embed` embeds a chunk by the module that it is handed, which in the first pass is a copy of `model` that is not
    /// tracked; `loss` is the loss of the embeddings of all chunks, one below the other in their order.
    ///
    /// # Shapes
    ///
    /// - output of `embed`: `[chunk, embedding_dim]` each; chunks may be of different sizes
    /// - argument of `loss`: `[batch, embedding_dim]` each
    /// - output of `loss`: `[1]`
    ///
    /// # Panics
    ///
    /// If there is no chunk, the model is not on an autodiff device, `embed` returns other shapes in the second pass than in
    /// the first, or, where embeddings lie in host memory, other numbers.
    #[track_caller]
    pub fn backward<M: Module, I, const N: usize>(
        &self,
        model: &M,
        chunks: &[I],
        embed: impl Fn(&M, &I) -> [Tensor<2>; N],
        loss: impl FnOnce([Tensor<2>; N]) -> Tensor<1>,
    ) -> GradientCacheStep {
        assert!(!chunks.is_empty(), "GradientCache: there must be at least one chunk");
        for device in model.devices() {
            assert!(device.is_autodiff(), "GradientCache: the model must be on an autodiff device, got {device:?}");
        }
        // In training, so that random layers draw, and of statistics of its own, so that those of the model do not move.
        let untracked = model.valid().train().no_grad();
        let embedded: Vec<[Tensor<2>; N]> = chunks
            .iter()
            .enumerate()
            .map(|(place, chunk)| {
                self.set_generator(model, place);
                embed(&untracked, chunk).map(Tensor::detach)
            })
            .collect();
        drop(untracked);

        let leaves: [Tensor<2>; N] = array::from_fn(|input| {
            let rows: Vec<_> = embedded.iter().map(|chunk| chunk[input].clone()).collect();
            Tensor::from_inner(Tensor::cat(rows, 0).without_autodiff()).require_grad()
        });
        let loss = loss(leaves.clone());
        check_shape("GradientCache", "the loss", loss.dims(), [1]);
        let mut of_loss = loss.backward();
        let of_embeddings = leaves.map(|leaf| leaf.grad_remove(&mut of_loss).map(Tensor::from_inner));

        let mut accumulator = GradientsAccumulator::new();
        let of_head = GradientsParams::from_module(&mut of_loss, model);
        accumulator.accumulate(model, of_head);
        let mut starts = [0; N];
        let mut drift = None;
        for (place, (chunk, before)) in chunks.iter().zip(embedded).enumerate() {
            self.set_generator(model, place);
            let mut products = None;
            for (input, (rows, before)) in embed(model, chunk).into_iter().zip(before).enumerate() {
                let [count, _] = before.dims();
                check_shape("GradientCache", "embeddings of the second pass", rows.dims(), before.dims());
                let start = starts[input];
                starts[input] += count;
                drift = largest_of(drift, drift_of(rows.clone(), before));
                if let (Some(gradient), true) = (&of_embeddings[input], rows.is_tracked() && count > 0) {
                    let gradient: Tensor<2> = gradient.clone();
                    let product = (rows * gradient.narrow(0, start, count)).sum();
                    products = Some(products.map_or(product.clone(), |sum: Tensor<1>| sum + product));
                }
            }
            if let Some(products) = products {
                accumulator.accumulate(model, GradientsParams::from_grads(products.backward(), model));
            }
        }
        let drift = drift.unwrap_or_else(|| loss.clone().detach().zeros_like());
        if in_host_memory(&drift.device()) {
            let drift = drift.clone().into_scalar::<f64>();
            assert!(
                // Of a NaN, which a network may well return, nothing is known.
                drift.is_nan() || drift <= REPEATED,
                "GradientCache: the second pass of the network is not the first, by {drift:e} of the largest embedding; \
                 if it draws random numbers, give GradientCache::with_seed another seed in each step"
            );
        }
        GradientCacheStep { loss: loss.detach(), gradients: accumulator.grads(), of_loss, drift }
    }

    /// Sets the generators of all devices of the model to where they must be for a chunk.
    fn set_generator<M: Module>(&self, model: &M, chunk: usize) {
        if let Some(seed) = self.seed {
            let seed = mixed(seed, chunk as u64);
            model.devices().iter().for_each(|device| device.seed(seed));
        }
    }
}

/// A number of a step and a chunk, unlike those of all others: SplitMix64.
fn mixed(seed: u64, chunk: u64) -> u64 {
    let step = |state: u64| {
        let state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let state = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let state = (state ^ (state >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        state ^ (state >> 31)
    };
    step(step(seed) ^ chunk)
}

/// The largest difference of two passes as a share of the largest number, `[1]`.
fn drift_of(after: Tensor<2>, before: Tensor<2>) -> Option<Tensor<1>> {
    if before.dims().contains(&0) {
        return None;
    }
    let [after, before] = [after, before].map(|rows| widen(rows.without_autodiff()));
    let size = before.clone().abs().max();
    let nothing = size.clone().equal_scalar(0.0);
    Some((after - before).abs().max() / size.mask_fill(nothing, 1.0))
}

fn largest_of(one: Option<Tensor<1>>, other: Option<Tensor<1>>) -> Option<Tensor<1>> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.max_pair(other)),
        (one, other) => one.or(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_and_chunks_draw_from_seeds_of_their_own() {
        let mut seeds: Vec<u64> = (0..50).flat_map(|step| (0..50).map(move |chunk| mixed(step, chunk))).collect();
        seeds.sort_unstable();
        seeds.dedup();
        assert_eq!(seeds.len(), 2500);
    }
}
