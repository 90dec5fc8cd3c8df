//! The passes as Burn's backends see them, and their gradient.

#![cfg_attr(feature = "ndarray", expect(deprecated, reason = "Burn deprecates ndarray; this project supports it"))]

use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
#[cfg(feature = "fusion")]
use burn::backend::fusion::custom::TensorSpec;
use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Autodiff, Backend, Dispatch, backend_extension};
use burn::tensor::{Int, Tensor};

use super::LogOdds;
use crate::math::cast_to;
use crate::one_pass::Passed;
#[cfg(feature = "fusion")]
use crate::one_pass::PassedMetadata;

/// What the forward pass finds of every row: the log-sum-exp of the other classes and of all, two numbers each, and the sum of
/// the weights.
pub(super) const SUMS: usize = 5;

/// The operation, differentiable in the logits.
#[backend_extension(
    NdArray: cfg(feature = "ndarray"),
    Flex: cfg(feature = "flex"),
    Cube: cfg(feature = "cube"),
    Autodiff
)]
pub(crate) trait LogOddsOps: Backend {
    /// As the forward pass of [`LogOddsPasses`].
    fn log_odds(
        logits: FloatTensor<Self>,
        labels: IntTensor<Self>,
        weights: FloatTensor<Self>,
        spread: bool,
    ) -> FloatTensor<Self>;
}

/// The passes.
#[backend_extension(
    NdArray: cfg(feature = "ndarray"),
    Flex: cfg(feature = "flex"),
    Cube: cfg(feature = "cube"),
    Fusion: cfg(feature = "fusion")
)]
pub(crate) trait LogOddsPasses: Backend {
    /// - `logits`: `[rows, classes]` in `f32` or `f64`
    /// - `labels`: `[rows]`
    /// - `weights`: `[classes, 1]` in the type of the logits, or `[1, 1]` where no spread is wanted; constants
    /// - output: `[rows, 2]`, the log-odds and the spread; sums: `[rows, SUMS]`
    #[fusion(meta = forward_meta)]
    fn forward(
        logits: FloatTensor<Self>,
        labels: IntTensor<Self>,
        weights: FloatTensor<Self>,
        spread: bool,
    ) -> Passed<Self>;

    /// The gradient of the logits, from that of the output.
    #[fusion(meta = backward_meta)]
    fn backward(
        logits: FloatTensor<Self>,
        labels: IntTensor<Self>,
        weights: FloatTensor<Self>,
        sums: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        spread: bool,
    ) -> FloatTensor<Self>;
}

#[cfg(feature = "fusion")]
fn forward_meta(logits: &TensorSpec, _: &TensorSpec, _: &TensorSpec, _: &bool) -> PassedMetadata {
    let columns = |count: usize| TensorSpec::new([logits.shape[0], count].into(), logits.dtype);
    PassedMetadata { output: columns(2), sums: columns(SUMS) }
}

#[cfg(feature = "fusion")]
fn backward_meta(
    logits: &TensorSpec,
    _: &TensorSpec,
    _: &TensorSpec,
    _: &TensorSpec,
    _: &TensorSpec,
    _: &bool,
) -> TensorSpec {
    logits.clone()
}

macro_rules! by_the_forward_pass {
    ($backend:ty $(, $bound:ident)?) => {
        impl$(<B: burn::backend::fusion::FusionBackend + $bound>)? LogOddsOps for $backend {
            fn log_odds(
                logits: FloatTensor<Self>,
                labels: IntTensor<Self>,
                weights: FloatTensor<Self>,
                spread: bool,
            ) -> FloatTensor<Self> {
                Self::forward(logits, labels, weights, spread).output
            }
        }
    };
}

#[cfg(feature = "cpu-path")]
macro_rules! on_host {
    ($backend:ty) => {
        by_the_forward_pass!($backend);

        impl LogOddsPasses for $backend {
            fn forward(
                logits: FloatTensor<Self>,
                labels: IntTensor<Self>,
                weights: FloatTensor<Self>,
                spread: bool,
            ) -> Passed<Self> {
                super::rows::forward::<Self>(&logits, labels, spread.then_some(&weights))
            }

            fn backward(
                logits: FloatTensor<Self>,
                labels: IntTensor<Self>,
                weights: FloatTensor<Self>,
                sums: FloatTensor<Self>,
                gradient: FloatTensor<Self>,
                spread: bool,
            ) -> FloatTensor<Self> {
                super::rows::backward::<Self>(&logits, labels, spread.then_some(&weights), &sums, &gradient)
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
by_the_forward_pass!(burn::backend::fusion::Fusion<B>, LogOddsPasses);

#[derive(Debug)]
struct Passes;

#[derive(Clone, Debug)]
struct State<B: Backend> {
    logits: NodeId,
    labels: IntTensor<B>,
    weights: FloatTensor<B>,
    sums: FloatTensor<B>,
    spread: bool,
}

impl<B: LogOddsPasses> Backward<B, 1> for Passes {
    type State = State<B>;

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, checkpointer: &mut Checkpointer) {
        let State { logits, labels, weights, sums, spread } = ops.state;
        let gradient = grads.consume::<B>(&ops.node);
        let logits = checkpointer.retrieve_node_output::<FloatTensor<B>>(logits);
        if let [Some(node)] = ops.parents {
            grads.register::<B>(node.id, B::backward(logits, labels, weights, sums, gradient, spread));
        }
    }
}

impl<B: LogOddsPasses, C: CheckpointStrategy> LogOddsOps for Autodiff<B, C> {
    fn log_odds(
        logits: FloatTensor<Self>,
        labels: IntTensor<Self>,
        weights: FloatTensor<Self>,
        spread: bool,
    ) -> FloatTensor<Self> {
        let weights = weights.into_primitive();
        match Passes.prepare::<C>([logits.node()]).compute_bound().stateful() {
            OpsKind::Tracked(mut prep) => {
                let node = prep.checkpoint(&logits);
                let passed = B::forward(logits.into_primitive(), labels.clone(), weights.clone(), spread);
                prep.finish(State { logits: node, labels, weights, sums: passed.sums, spread }, passed.output)
            }
            OpsKind::UnTracked(prep) => {
                prep.finish(B::forward(logits.into_primitive(), labels, weights, spread).output)
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
