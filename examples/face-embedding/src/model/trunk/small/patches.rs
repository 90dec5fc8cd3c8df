//! The product of weights and patches that a convolution is, with its gradient.
//!
//! Patches hold every number of the features as often as the kernel has places. Here they are made in blocks that stay in
//! the cache, and made again for the gradient, so that they are never all in memory.

#![cfg_attr(feature = "ndarray", expect(deprecated, reason = "Burn keeps ndarray until a later release, and so do we"))]

use std::ops::Range;

use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Autodiff, Backend, Dispatch, TensorMetadata, backend_extension};
use burn::tensor::{IndexingUpdateOp, Int, Shape, Slice, Tensor};
use rayon::iter::{IntoParallelIterator, ParallelIterator};
use rayon::slice::ParallelSlice;

/// About so many numbers per picture are in a block: half a megabyte for 64 pictures.
const ROWS_OF_BLOCK: usize = 2048;
/// Products of fewer columns are slow.
const LEAST_PLACES_OF_BLOCK: usize = 8;
/// Sums over all blocks are sums of so many, each by one thread. Not the number of threads, on which no digit depends.
const PARTS_OF_SUM: usize = 4;

/// The product of `weights` and the patches of `features`.
///
/// # Shapes
///
/// - features: `[rows, batch]`
/// - weights: `[channels, patch]`
/// - taps: `[places * patch]`, which row of the features each row of the patches is; in the order of [`blocks`], and in each
///   of them `[patch, places]`. If `padded`, a row of zeros follows the last one.
/// - output: `[channels, places * batch]`
pub(super) fn product_with_patches(
    features: Tensor<2>,
    weights: Tensor<2>,
    taps: Tensor<1, Int>,
    padded: bool,
) -> Tensor<2> {
    let [features, weights] = [features.into_dispatch(), weights.into_dispatch()];
    Tensor::from_dispatch(<Dispatch as PatchOps>::product_with_patches(features, weights, taps.into_dispatch(), padded))
}

/// The places of each block.
pub(super) fn blocks(patch: usize, places: usize) -> impl Iterator<Item = Range<usize>> {
    let of_block = (ROWS_OF_BLOCK / patch).max(LEAST_PLACES_OF_BLOCK);
    (0..places).step_by(of_block).map(move |first| first..places.min(first + of_block))
}

/// See [`product_with_patches`].
#[backend_extension(NdArray: cfg(feature = "ndarray"), Flex: cfg(feature = "flex"), Autodiff)]
trait PatchOps: Backend {
    fn product_with_patches(
        features: FloatTensor<Self>,
        weights: FloatTensor<Self>,
        taps: IntTensor<Self>,
        padded: bool,
    ) -> FloatTensor<Self>;
}

macro_rules! on_host {
    ($backend:ty) => {
        impl PatchOps for $backend {
            fn product_with_patches(
                features: FloatTensor<Self>,
                weights: FloatTensor<Self>,
                taps: IntTensor<Self>,
                padded: bool,
            ) -> FloatTensor<Self> {
                let patch = weights.shape()[1];
                Patches::<Self>::new(features, taps, patch, padded).product(&weights)
            }
        }
    };
}

#[cfg(feature = "flex")]
on_host!(burn::backend::Flex);
#[cfg(feature = "ndarray")]
on_host!(burn::backend::NdArray);

/// The patches of features, of which there is a block at a time.
struct Patches<B: Backend> {
    /// `[rows, batch]`, with the row of zeros
    features: FloatTensor<B>,
    taps: IntTensor<B>,
    patch: usize,
    batch: usize,
    /// Without the row of zeros.
    rows: usize,
}

impl<B: Backend> Patches<B> {
    fn new(features: FloatTensor<B>, taps: IntTensor<B>, patch: usize, padded: bool) -> Self {
        let [rows, batch] = features.shape().dims();
        let features = if padded {
            let zeros = B::float_zeros(Shape::new([1, batch]), &features.device(), features.dtype().into());
            B::float_cat(vec![features, zeros], 0)
        } else {
            features
        };
        Self { features, taps, patch, batch, rows }
    }

    fn blocks(&self) -> Vec<Range<usize>> {
        blocks(self.patch, self.taps.shape()[0] / self.patch).collect()
    }

    fn taps(&self, places: &Range<usize>) -> IntTensor<B> {
        B::int_slice(self.taps.clone(), &[slice(places.start * self.patch..places.end * self.patch)])
    }

    /// `[patch, places * batch]`
    fn block(&self, places: &Range<usize>) -> FloatTensor<B> {
        let rows = B::float_select(self.features.clone(), 0, self.taps(places));
        B::float_reshape(rows, Shape::new([self.patch, places.len() * self.batch]))
    }

    /// The columns of a block, of `[channels, places * batch]`.
    fn columns(&self, numbers: &FloatTensor<B>, places: &Range<usize>) -> FloatTensor<B> {
        let all = slice(0..numbers.shape()[0]);
        B::float_slice(numbers.clone(), &[all, slice(places.start * self.batch..places.end * self.batch)])
    }

    fn product(&self, weights: &FloatTensor<B>) -> FloatTensor<B> {
        let of_block = |places| B::float_matmul(weights.clone(), self.block(&places));
        B::float_cat(self.blocks().into_par_iter().map(of_block).collect(), 1)
    }

    /// The gradient of the weights, `[channels, patch]`, from that of the product.
    fn gradient_of_weights(&self, gradient: &FloatTensor<B>) -> FloatTensor<B> {
        let of_block = |places| {
            let patches = B::float_swap_dims(self.block(places), 0, 1);
            B::float_matmul(self.columns(gradient, places), patches)
        };
        let blocks = self.blocks();
        let parts = blocks.par_chunks(blocks.len().div_ceil(PARTS_OF_SUM));
        let sums: Vec<_> = parts.map(|part| part.iter().map(of_block).reduce(B::float_add)).collect();
        sums.into_iter().flatten().reduce(B::float_add).expect("there is a place")
    }

    /// The gradient of the features, `[rows, batch]`, from that of the product.
    fn gradient_of_features(&self, weights: &FloatTensor<B>, gradient: &FloatTensor<B>) -> FloatTensor<B> {
        let weights = B::float_swap_dims(weights.clone(), 0, 1);
        let (shape, batch) = (self.features.shape(), self.batch);
        let zeros = B::float_zeros(shape, &self.features.device(), self.features.dtype().into());
        let sum = self.blocks().into_iter().fold(zeros, |sum, places| {
            let patches = B::float_matmul(weights.clone(), self.columns(gradient, &places));
            let patches = B::float_reshape(patches, Shape::new([places.len() * self.patch, batch]));
            B::float_select_assign(sum, 0, self.taps(&places), patches, IndexingUpdateOp::Add)
        });
        B::float_slice(sum, &[slice(0..self.rows), slice(0..batch)])
    }
}

fn slice(range: Range<usize>) -> Slice {
    range.into()
}

#[derive(Debug)]
struct Product;

#[derive(Clone, Debug)]
struct State<B: Backend> {
    features: NodeId,
    weights: NodeId,
    taps: IntTensor<B>,
    padded: bool,
}

impl<B: Backend> Backward<B, 2> for Product {
    type State = State<B>;

    fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, checkpointer: &mut Checkpointer) {
        let State { features, weights, taps, padded } = ops.state;
        let gradient = grads.consume::<B>(&ops.node);
        let mut value = |node| checkpointer.retrieve_node_output::<FloatTensor<B>>(node);
        let (features, weights) = (value(features), value(weights));
        let patch = weights.shape()[1];
        let patches = Patches::<B>::new(features, taps, patch, padded);

        let [of_features, of_weights] = ops.parents;
        let (to_features, to_weights) = rayon::join(
            || of_features.is_some().then(|| patches.gradient_of_features(&weights, &gradient)),
            || of_weights.is_some().then(|| patches.gradient_of_weights(&gradient)),
        );
        for (node, gradient) in [(of_features, to_features), (of_weights, to_weights)] {
            if let (Some(node), Some(gradient)) = (node, gradient) {
                grads.register::<B>(node.id, gradient);
            }
        }
    }
}

impl<B: PatchOps, C: CheckpointStrategy> PatchOps for Autodiff<B, C> {
    fn product_with_patches(
        features: FloatTensor<Self>,
        weights: FloatTensor<Self>,
        taps: IntTensor<Self>,
        padded: bool,
    ) -> FloatTensor<Self> {
        let nodes = [features.node(), weights.node()];
        let product = |features: FloatTensor<Self>, weights: FloatTensor<Self>, taps| {
            B::product_with_patches(features.into_primitive(), weights.into_primitive(), taps, padded)
        };
        match Product.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(mut prep) => {
                let state = State {
                    features: prep.checkpoint(&features),
                    weights: prep.checkpoint(&weights),
                    taps: taps.clone(),
                    padded,
                };
                prep.finish(state, product(features, weights, taps))
            }
            OpsKind::UnTracked(prep) => prep.finish(product(features, weights, taps)),
        }
    }
}
