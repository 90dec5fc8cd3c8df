//! The two passes as Burn's backends see them, and their gradient.

#![cfg_attr(feature = "ndarray", expect(deprecated, reason = "Burn deprecates ndarray; this project supports it"))]

use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Autodiff, Backend, Dispatch, backend_extension};
use burn::tensor::{Int, Tensor};

use super::{LogOdds, rows};
use crate::math::cast_to;

/// The operation, differentiable in the logits.
#[backend_extension(NdArray: cfg(feature = "ndarray"), Flex: cfg(feature = "flex"), Autodiff)]
pub(crate) trait LogOddsOps: Backend {
    /// - `logits`: `[rows, classes]` in `f32` or `f64`
    /// - `labels`: `[rows]`
    /// - `weights`: `[classes, 1]` in the type of the logits, or `[1, 1]` where no spread is wanted; constants
    /// - output: `[rows, 2]`, the log-odds and the spread
    fn log_odds(
        logits: FloatTensor<Self>,
        labels: IntTensor<Self>,
        weights: FloatTensor<Self>,
        spread: bool,
    ) -> FloatTensor<Self>;
}

macro_rules! on_host {
    ($backend:ty) => {
        impl LogOddsOps for $backend {
            fn log_odds(
                logits: FloatTensor<Self>,
                labels: IntTensor<Self>,
                weights: FloatTensor<Self>,
                spread: bool,
            ) -> FloatTensor<Self> {
                rows::forward::<Self>(&logits, labels, spread.then_some(&weights)).output
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
    logits: NodeId,
    labels: IntTensor<B>,
    weights: Option<FloatTensor<B>>,
    /// What the forward pass found of every row.
    sums: FloatTensor<B>,
}

impl<B: crate::host::Host> Backward<B, 1> for Rows {
    type State = State<B>;

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, checkpointer: &mut Checkpointer) {
        let State { logits, labels, weights, sums } = ops.state;
        let gradient = grads.consume::<B>(&ops.node);
        let logits = checkpointer.retrieve_node_output::<FloatTensor<B>>(logits);
        if let [Some(node)] = ops.parents {
            let gradient = rows::backward::<B>(&logits, labels, weights.as_ref(), &sums, &gradient);
            grads.register::<B>(node.id, gradient);
        }
    }
}

impl<B: crate::host::Host + LogOddsOps, C: CheckpointStrategy> LogOddsOps for Autodiff<B, C> {
    fn log_odds(
        logits: FloatTensor<Self>,
        labels: IntTensor<Self>,
        weights: FloatTensor<Self>,
        spread: bool,
    ) -> FloatTensor<Self> {
        let weights = spread.then(|| weights.into_primitive());
        match Rows.prepare::<C>([logits.node()]).compute_bound().stateful() {
            OpsKind::Tracked(mut prep) => {
                let node = prep.checkpoint(&logits);
                let passed = rows::forward::<B>(&logits.into_primitive(), labels.clone(), weights.as_ref());
                prep.finish(State { logits: node, labels, weights, sums: passed.sums }, passed.output)
            }
            OpsKind::UnTracked(prep) => {
                prep.finish(rows::forward::<B>(&logits.into_primitive(), labels, weights.as_ref()).output)
            }
        }
    }
}

pub(super) fn log_odds(logits: Tensor<2>, labels: Tensor<1, Int>, weights: Option<Tensor<1>>) -> LogOdds {
    let spread = weights.is_some();
    let weights = weights.unwrap_or_else(|| Tensor::zeros([1], &logits.device())).detach();
    let weights = cast_to(weights, logits.dtype()).unsqueeze_dim::<2>(1);
    let output = <Dispatch as LogOddsOps>::log_odds(
        logits.into_dispatch(),
        labels.into_dispatch(),
        weights.into_dispatch(),
        spread,
    );
    let output = Tensor::<2>::from_dispatch(output);
    let column = |place: usize| output.clone().narrow(1, place, 1).squeeze_dim::<1>(1);

    LogOdds { log_odds: column(0), spread: spread.then(|| column(1)) }
}
