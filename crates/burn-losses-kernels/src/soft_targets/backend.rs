//! The passes as Burn's backends see them, and their gradient.

#![cfg_attr(feature = "ndarray", expect(deprecated, reason = "Burn deprecates ndarray; this project supports it"))]

use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, backend_extension};
use burn::tensor::Tensor;

use super::{SoftRule, rows};
use crate::host::Host;
use crate::math::cast_to;

/// The operation, differentiable in logits and targets.
#[backend_extension(NdArray: cfg(feature = "ndarray"), Flex: cfg(feature = "flex"), Autodiff)]
pub(crate) trait SoftOps: Backend {
    /// - `logits`, `targets`: `[rows, classes]` in the same type, `f32` or `f64`
    /// - `weights`: `[classes, 1]` in the same type, constants
    /// - output: `[rows, 1]`
    fn soft_losses(
        logits: FloatTensor<Self>,
        targets: FloatTensor<Self>,
        weights: FloatTensor<Self>,
        rule: SoftRule,
    ) -> FloatTensor<Self>;
}

macro_rules! on_host {
    ($backend:ty) => {
        impl SoftOps for $backend {
            fn soft_losses(
                logits: FloatTensor<Self>,
                targets: FloatTensor<Self>,
                weights: FloatTensor<Self>,
                rule: SoftRule,
            ) -> FloatTensor<Self> {
                rows::forward::<Self>([&logits, &targets, &weights], rule).losses
            }
        }
    };
}

#[cfg(feature = "flex")]
on_host!(burn::backend::Flex);
#[cfg(feature = "ndarray")]
on_host!(burn::backend::NdArray);

#[derive(Debug)]
struct Rows;

#[derive(Clone, Debug)]
struct State<B: Backend> {
    inputs: [NodeId; 2],
    weights: FloatTensor<B>,
    /// What the forward pass found of every row.
    sums: FloatTensor<B>,
    rule: SoftRule,
}

impl<B: Host> Backward<B, 2> for Rows {
    type State = State<B>;

    fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, checkpointer: &mut Checkpointer) {
        let State { inputs, weights, sums, rule } = ops.state;
        let gradient = grads.consume::<B>(&ops.node);
        let [logits, targets] = inputs.map(|node| checkpointer.retrieve_node_output::<FloatTensor<B>>(node));
        let inputs = [&logits, &targets, &weights, &sums, &gradient];
        let [of_logits, of_targets] = ops.parents;
        if let Some(node) = of_logits {
            grads.register::<B>(node.id, rows::of_logits::<B>(inputs, rule));
        }
        if let Some(node) = of_targets {
            grads.register::<B>(node.id, rows::of_targets::<B>(inputs, rule));
        }
    }
}

impl<B: Host + SoftOps, C: CheckpointStrategy> SoftOps for Autodiff<B, C> {
    fn soft_losses(
        logits: FloatTensor<Self>,
        targets: FloatTensor<Self>,
        weights: FloatTensor<Self>,
        rule: SoftRule,
    ) -> FloatTensor<Self> {
        let weights = weights.into_primitive();
        match Rows.prepare::<C>([logits.node(), targets.node()]).compute_bound().stateful() {
            OpsKind::Tracked(mut prep) => {
                let inputs = [prep.checkpoint(&logits), prep.checkpoint(&targets)];
                let (logits, targets) = (logits.into_primitive(), targets.into_primitive());
                let passed = rows::forward::<B>([&logits, &targets, &weights], rule);
                prep.finish(State { inputs, weights, sums: passed.sums, rule }, passed.losses)
            }
            OpsKind::UnTracked(prep) => {
                let (logits, targets) = (logits.into_primitive(), targets.into_primitive());
                prep.finish(rows::forward::<B>([&logits, &targets, &weights], rule).losses)
            }
        }
    }
}

pub(super) fn soft_losses(
    logits: Tensor<2>,
    targets: Tensor<2>,
    weights: Option<Tensor<1>>,
    rule: SoftRule,
) -> Tensor<1> {
    let [rows, classes] = logits.dims();
    let weights = weights.unwrap_or_else(|| Tensor::ones([classes], (&logits.device(), logits.dtype())));
    let weights = cast_to(weights.detach(), logits.dtype()).unsqueeze_dim::<2>(1);
    let losses = <Dispatch as SoftOps>::soft_losses(
        logits.into_dispatch(),
        targets.into_dispatch(),
        weights.into_dispatch(),
        rule,
    );
    Tensor::<2>::from_dispatch(losses).reshape([rows])
}
