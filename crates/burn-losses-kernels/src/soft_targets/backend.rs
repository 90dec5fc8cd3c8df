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

use super::SoftRule;
use crate::math::cast_to;
use crate::one_pass::Passed;
#[cfg(feature = "fusion")]
use crate::one_pass::PassedMetadata;

/// What the forward pass on a GPU finds of every row: the log-sum-exp of the logits, two numbers, and the sum of the slopes of the
/// loss by the log-probabilities.
#[cfg(any(feature = "cube", feature = "fusion"))]
pub(super) const SUMS: usize = 3;

/// What a gradient is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Input {
    Logits,
    Targets,
}

/// The operation, differentiable in logits and targets.
#[backend_extension(
    NdArray: cfg(feature = "ndarray"),
    Flex: cfg(feature = "flex"),
    Cube: cfg(feature = "cube"),
    Autodiff
)]
pub(crate) trait SoftOps: Backend {
    /// As the forward pass of [`SoftPasses`].
    fn soft_losses(
        logits: FloatTensor<Self>,
        targets: FloatTensor<Self>,
        weights: FloatTensor<Self>,
        rule: SoftRule,
    ) -> FloatTensor<Self>;
}

/// The passes.
#[backend_extension(
    NdArray: cfg(feature = "ndarray"),
    Flex: cfg(feature = "flex"),
    Cube: cfg(feature = "cube"),
    Fusion: cfg(feature = "fusion")
)]
pub(crate) trait SoftPasses: Backend {
    /// - `logits`, `targets`: `[rows, classes]` in the same type, `f32` or `f64`
    /// - `weights`: `[classes, 1]` in the same type, constants
    /// - output: `[rows, 1]`; sums: `[rows, SUMS]`, in host memory, where the backward pass adds up the slopes, `[rows, 2]`
    #[fusion(meta = forward_meta)]
    fn forward(
        logits: FloatTensor<Self>,
        targets: FloatTensor<Self>,
        weights: FloatTensor<Self>,
        rule: SoftRule,
    ) -> Passed<Self>;

    /// The gradient of one input, from that of the output.
    #[fusion(meta = backward_meta)]
    fn backward(
        logits: FloatTensor<Self>,
        targets: FloatTensor<Self>,
        weights: FloatTensor<Self>,
        sums: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        rule: SoftRule,
        input: Input,
    ) -> FloatTensor<Self>;
}

#[cfg(feature = "fusion")]
fn forward_meta(logits: &TensorSpec, _: &TensorSpec, _: &TensorSpec, _: &SoftRule) -> PassedMetadata {
    let columns = |count: usize| TensorSpec::new([logits.shape[0], count].into(), logits.dtype);
    PassedMetadata { output: columns(1), sums: columns(SUMS) }
}

#[cfg(feature = "fusion")]
fn backward_meta(
    logits: &TensorSpec,
    _: &TensorSpec,
    _: &TensorSpec,
    _: &TensorSpec,
    _: &TensorSpec,
    _: &SoftRule,
    _: &Input,
) -> TensorSpec {
    logits.clone()
}

macro_rules! by_the_forward_pass {
    ($backend:ty $(, $bound:ident)?) => {
        impl$(<B: burn::backend::fusion::FusionBackend + $bound>)? SoftOps for $backend {
            fn soft_losses(
                logits: FloatTensor<Self>,
                targets: FloatTensor<Self>,
                weights: FloatTensor<Self>,
                rule: SoftRule,
            ) -> FloatTensor<Self> {
                Self::forward(logits, targets, weights, rule).output
            }
        }
    };
}

#[cfg(feature = "cpu-path")]
macro_rules! on_host {
    ($backend:ty) => {
        by_the_forward_pass!($backend);

        impl SoftPasses for $backend {
            fn forward(
                logits: FloatTensor<Self>,
                targets: FloatTensor<Self>,
                weights: FloatTensor<Self>,
                rule: SoftRule,
            ) -> Passed<Self> {
                super::rows::forward::<Self>([&logits, &targets, &weights], rule)
            }

            fn backward(
                logits: FloatTensor<Self>,
                targets: FloatTensor<Self>,
                weights: FloatTensor<Self>,
                sums: FloatTensor<Self>,
                gradient: FloatTensor<Self>,
                rule: SoftRule,
                input: Input,
            ) -> FloatTensor<Self> {
                super::rows::backward::<Self>([&logits, &targets, &weights, &sums, &gradient], rule, input)
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
by_the_forward_pass!(burn::backend::fusion::Fusion<B>, SoftPasses);

#[derive(Debug)]
struct Passes;

#[derive(Clone, Debug)]
struct State<B: Backend> {
    inputs: [NodeId; 2],
    weights: FloatTensor<B>,
    sums: FloatTensor<B>,
    rule: SoftRule,
}

impl<B: SoftPasses> Backward<B, 2> for Passes {
    type State = State<B>;

    fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, checkpointer: &mut Checkpointer) {
        let State { inputs, weights, sums, rule } = ops.state;
        let gradient = grads.consume::<B>(&ops.node);
        let [logits, targets] = inputs.map(|node| checkpointer.retrieve_node_output::<FloatTensor<B>>(node));
        for (node, input) in ops.parents.into_iter().zip([Input::Logits, Input::Targets]) {
            if let Some(node) = node {
                let [logits, targets, weights] = [&logits, &targets, &weights].map(Clone::clone);
                let (sums, gradient) = (sums.clone(), gradient.clone());
                let gradient = B::backward(logits, targets, weights, sums, gradient, rule, input);
                grads.register::<B>(node.id, gradient);
            }
        }
    }
}

impl<B: SoftPasses, C: CheckpointStrategy> SoftOps for Autodiff<B, C> {
    fn soft_losses(
        logits: FloatTensor<Self>,
        targets: FloatTensor<Self>,
        weights: FloatTensor<Self>,
        rule: SoftRule,
    ) -> FloatTensor<Self> {
        let weights = weights.into_primitive();
        match Passes.prepare::<C>([logits.node(), targets.node()]).compute_bound().stateful() {
            OpsKind::Tracked(mut prep) => {
                let inputs = [prep.checkpoint(&logits), prep.checkpoint(&targets)];
                let passed = B::forward(logits.into_primitive(), targets.into_primitive(), weights.clone(), rule);
                prep.finish(State { inputs, weights, sums: passed.sums, rule }, passed.output)
            }
            OpsKind::UnTracked(prep) => {
                prep.finish(B::forward(logits.into_primitive(), targets.into_primitive(), weights, rule).output)
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
