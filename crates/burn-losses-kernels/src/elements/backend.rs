//! The passes as Burn's backends see them, and their gradient.

#![cfg_attr(feature = "ndarray", expect(deprecated, reason = "Burn deprecates ndarray; this project supports it"))]

use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
#[cfg(feature = "fusion")]
use burn::backend::fusion::custom::TensorSpec;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, backend_extension};
use burn::tensor::Tensor;

use super::Element;

/// What the forward pass writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Output {
    /// Every loss, `[1, count]`.
    Each,
    /// Their sum, `[1, 1]`.
    Sum,
    /// The sums of so many each, `[1, rows]`.
    Rows(usize),
}

/// What a gradient is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Side {
    Predictions,
    Targets,
}

/// The operation on `[1, count]` numbers each, differentiable in both.
#[backend_extension(
    NdArray: cfg(feature = "ndarray"),
    Flex: cfg(feature = "flex"),
    Cube: cfg(feature = "cube"),
    Autodiff
)]
pub(crate) trait ElementOps: Backend {
    fn elements(
        predictions: FloatTensor<Self>,
        targets: FloatTensor<Self>,
        element: Element,
        output: Output,
    ) -> FloatTensor<Self>;
}

/// The passes.
#[backend_extension(
    NdArray: cfg(feature = "ndarray"),
    Flex: cfg(feature = "flex"),
    Cube: cfg(feature = "cube"),
    Fusion: cfg(feature = "fusion")
)]
pub(crate) trait ElementPasses: Backend {
    /// - `predictions`: `[1, count]` in `f32` or `f64`
    /// - `targets`: the same in the same type, or one number that stands for all
    #[fusion(meta = forward_meta)]
    fn forward(
        predictions: FloatTensor<Self>,
        targets: FloatTensor<Self>,
        element: Element,
        output: Output,
    ) -> FloatTensor<Self>;

    /// The gradient of one side, `[1, count]`, from that of the output.
    #[fusion(meta = backward_meta)]
    fn backward(
        gradient: FloatTensor<Self>,
        predictions: FloatTensor<Self>,
        targets: FloatTensor<Self>,
        element: Element,
        side: Side,
    ) -> FloatTensor<Self>;
}

#[cfg(feature = "fusion")]
fn forward_meta(predictions: &TensorSpec, _: &TensorSpec, _: &Element, output: &Output) -> TensorSpec {
    let count = predictions.shape[1];
    let written = match *output {
        Output::Each => count,
        Output::Sum => 1,
        Output::Rows(columns) => count / columns,
    };
    TensorSpec::new([1, written].into(), predictions.dtype)
}

#[cfg(feature = "fusion")]
fn backward_meta(_: &TensorSpec, predictions: &TensorSpec, _: &TensorSpec, _: &Element, _: &Side) -> TensorSpec {
    predictions.clone()
}

macro_rules! by_the_forward_pass {
    ($backend:ty $(, $bound:ident)?) => {
        impl$(<B: burn::backend::fusion::FusionBackend + $bound>)? ElementOps for $backend {
            fn elements(
                predictions: FloatTensor<Self>,
                targets: FloatTensor<Self>,
                element: Element,
                output: Output,
            ) -> FloatTensor<Self> {
                Self::forward(predictions, targets, element, output)
            }
        }
    };
}

#[cfg(feature = "cpu-path")]
macro_rules! on_host {
    ($backend:ty) => {
        by_the_forward_pass!($backend);

        impl ElementPasses for $backend {
            fn forward(
                predictions: FloatTensor<Self>,
                targets: FloatTensor<Self>,
                element: Element,
                output: Output,
            ) -> FloatTensor<Self> {
                super::passes::forward::<Self>(&predictions, &targets, element, output)
            }

            fn backward(
                gradient: FloatTensor<Self>,
                predictions: FloatTensor<Self>,
                targets: FloatTensor<Self>,
                element: Element,
                side: Side,
            ) -> FloatTensor<Self> {
                super::passes::backward::<Self>([&predictions, &targets, &gradient], element, side)
            }
        }
    };
}

#[cfg(feature = "flex")]
on_host!(burn::backend::Flex);
#[cfg(feature = "ndarray")]
on_host!(burn::backend::NdArray);
#[cfg(feature = "cube")]
by_the_forward_pass!(burn_cubecl::CubeBackend);
#[cfg(feature = "fusion")]
by_the_forward_pass!(burn::backend::fusion::Fusion<B>, ElementPasses);

#[derive(Debug)]
struct Passes;

impl<B: ElementPasses> Backward<B, 2> for Passes {
    type State = ([NodeId; 2], Element);

    fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, checkpointer: &mut Checkpointer) {
        let (nodes, element) = ops.state;
        let gradient = grads.consume::<B>(&ops.node);
        let [predictions, targets] = nodes.map(|node| checkpointer.retrieve_node_output::<FloatTensor<B>>(node));
        let [of_predictions, of_targets] = ops.parents;
        if let Some(node) = of_targets {
            let inputs = (predictions.clone(), targets.clone());
            let gradient = B::backward(gradient.clone(), inputs.0, inputs.1, element, Side::Targets);
            grads.register::<B>(node.id, gradient);
        }
        // The last one may write where the gradient of the output is.
        if let Some(node) = of_predictions {
            let gradient = B::backward(gradient, predictions, targets, element, Side::Predictions);
            grads.register::<B>(node.id, gradient);
        }
    }
}

impl<B: ElementPasses, C: CheckpointStrategy> ElementOps for Autodiff<B, C> {
    fn elements(
        predictions: FloatTensor<Self>,
        targets: FloatTensor<Self>,
        element: Element,
        output: Output,
    ) -> FloatTensor<Self> {
        match Passes.prepare::<C>([predictions.node(), targets.node()]).compute_bound().stateful() {
            OpsKind::Tracked(mut prep) => {
                let nodes = [prep.checkpoint(&predictions), prep.checkpoint(&targets)];
                let losses = B::forward(predictions.into_primitive(), targets.into_primitive(), element, output);
                prep.finish((nodes, element), losses)
            }
            OpsKind::UnTracked(prep) => {
                prep.finish(B::forward(predictions.into_primitive(), targets.into_primitive(), element, output))
            }
        }
    }
}

pub(super) fn elements<const D: usize>(predictions: Tensor<D>, targets: Tensor<D>, element: Element) -> Tensor<D> {
    let shape = predictions.dims();
    run(predictions, targets, element, Output::Each).reshape(shape)
}

pub(super) fn sum_of_elements<const D: usize>(
    predictions: Tensor<D>,
    targets: Tensor<D>,
    element: Element,
) -> Tensor<1> {
    run(predictions, targets, element, Output::Sum).reshape([1])
}

pub(super) fn sums_of_rows(predictions: Tensor<2>, targets: Tensor<2>, element: Element) -> Tensor<1> {
    let [rows, columns] = predictions.dims();
    run(predictions, targets, element, Output::Rows(columns)).reshape([rows])
}

fn run<const D: usize>(predictions: Tensor<D>, targets: Tensor<D>, element: Element, output: Output) -> Tensor<2> {
    let row = |numbers: Tensor<D>| {
        let count = numbers.shape().num_elements();
        numbers.reshape([1, count]).into_dispatch()
    };
    Tensor::from_dispatch(<Dispatch as ElementOps>::elements(row(predictions), row(targets), element, output))
}
