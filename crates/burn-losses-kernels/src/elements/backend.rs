//! The two passes as Burn's backends see them, and their gradient.

#![cfg_attr(feature = "ndarray", expect(deprecated, reason = "Burn deprecates ndarray; this project supports it"))]

use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, backend_extension};
use burn::tensor::Tensor;

use super::{Element, passes};
use crate::host::Host;

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

/// The operation on `[1, count]` numbers each, differentiable in both.
#[backend_extension(NdArray: cfg(feature = "ndarray"), Flex: cfg(feature = "flex"), Autodiff)]
pub(crate) trait ElementOps: Backend {
    fn elements(
        predictions: FloatTensor<Self>,
        targets: FloatTensor<Self>,
        element: Element,
        output: Output,
    ) -> FloatTensor<Self>;
}

macro_rules! on_host {
    ($backend:ty) => {
        impl ElementOps for $backend {
            fn elements(
                predictions: FloatTensor<Self>,
                targets: FloatTensor<Self>,
                element: Element,
                output: Output,
            ) -> FloatTensor<Self> {
                passes::forward::<Self>(&predictions, &targets, element, output)
            }
        }
    };
}

#[cfg(feature = "flex")]
on_host!(burn::backend::Flex);
#[cfg(feature = "ndarray")]
on_host!(burn::backend::NdArray);

#[derive(Debug)]
struct Passes;

impl<B: Host> Backward<B, 2> for Passes {
    type State = ([NodeId; 2], Element, Output);

    fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, checkpointer: &mut Checkpointer) {
        let ([predictions, targets], element, output) = ops.state;
        let gradient = grads.consume::<B>(&ops.node);
        let mut value = |node| checkpointer.retrieve_node_output::<FloatTensor<B>>(node);
        let (predictions, targets) = (value(predictions), value(targets));
        let wanted = [ops.parents[0].is_some(), ops.parents[1].is_some()];
        let gradients = passes::backward::<B>(&predictions, &targets, element, &gradient, output, wanted);
        for (node, gradient) in ops.parents.into_iter().zip(gradients) {
            if let (Some(node), Some(gradient)) = (node, gradient) {
                grads.register::<B>(node.id, gradient);
            }
        }
    }
}

impl<B: Host + ElementOps, C: CheckpointStrategy> ElementOps for Autodiff<B, C> {
    fn elements(
        predictions: FloatTensor<Self>,
        targets: FloatTensor<Self>,
        element: Element,
        output: Output,
    ) -> FloatTensor<Self> {
        match Passes.prepare::<C>([predictions.node(), targets.node()]).compute_bound().stateful() {
            OpsKind::Tracked(mut prep) => {
                let nodes = [prep.checkpoint(&predictions), prep.checkpoint(&targets)];
                let losses = B::elements(predictions.into_primitive(), targets.into_primitive(), element, output);
                prep.finish((nodes, element, output), losses)
            }
            OpsKind::UnTracked(prep) => {
                prep.finish(B::elements(predictions.into_primitive(), targets.into_primitive(), element, output))
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
