//! The operation as Burn's backends see it.

#![cfg_attr(
    not(any(feature = "cpu-path", feature = "cube", feature = "tch", feature = "remote")),
    allow(dead_code, unused_variables, reason = "without a backend there is nothing to run")
)]
#![cfg_attr(feature = "ndarray", expect(deprecated, reason = "Burn deprecates ndarray; this project supports it"))]

#[cfg(feature = "fusion")]
use burn::backend::fusion::custom::TensorSpec;
use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Backend, backend_extension};
#[cfg(feature = "fusion")]
use burn::tensor::Shape;

use super::CenterChoice;
use crate::logsumexp::backend::{Exclusion, Wanted};

/// What the keys weigh; see [`Rivals`](super::Rivals) and [`PairSum`](super::PairSum).
#[derive(Clone, Copy, Debug)]
pub(crate) enum Terms {
    LogSumExp,
    Reweighted { quadratic: f64 },
    Softplus { exponent: f64, detached: bool },
    SelfPaced { reach: f64, goal: f64 },
}

impl Terms {
    /// The columns of the output: a sum of softplus is followed by its negative slope by the bias.
    #[cfg(any(feature = "cpu-path", feature = "fusion"))]
    pub(crate) fn columns(self) -> usize {
        if matches!(self, Self::Softplus { .. }) { 3 } else { 2 }
    }
}

/// How to run the operation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(super) sub_centers: usize,
    pub(super) choice: CenterChoice,
    pub(super) terms: Terms,
    pub(super) scale: f64,
    pub(super) exclusion: Exclusion,
    /// Whether keys are divided by their length.
    pub(super) normalise: bool,
    /// Keys per block; `None` to choose.
    pub(super) block: Option<usize>,
}

/// What the forward pass leaves for the backward pass.
pub(super) struct Saved<B: Backend> {
    pub(super) queries: FloatTensor<B>,
    pub(super) keys: FloatTensor<B>,
    pub(super) row_terms: FloatTensor<B>,
    pub(super) labels: IntTensor<B>,
    pub(super) key_labels: IntTensor<B>,
    pub(super) output: FloatTensor<B>,
}

/// - `queries`: `[N, D]` unit rows in `f32` or `f64`, `N >= 1`, `D >= 1`
/// - `keys`: `[classes·sub_centers, D]` in the same type or in half precision, `classes >= 1`
/// - `row_terms`: `[N, 3]`, what the terms need of every row
/// - `labels`: `[N]`, `key_labels`: `[classes]`, or anything where it is not looked at
/// - output: `[N, 2]`, or `[N, 3]` for a sum of softplus
#[backend_extension(
    NdArray: cfg(feature = "ndarray"),
    Flex: cfg(feature = "flex"),
    Cube: cfg(feature = "cube"),
    LibTorch: cfg(feature = "tch"),
    Remote: cfg(all(feature = "remote", not(feature = "fusion"))),
    Autodiff,
    Fusion: cfg(feature = "fusion")
)]
#[expect(clippy::too_many_arguments, reason = "Burn wants every tensor of an operation as an argument")]
pub(crate) trait RivalOps: Backend {
    #[fusion(meta = forward_meta)]
    fn rivals(
        queries: FloatTensor<Self>,
        keys: FloatTensor<Self>,
        row_terms: FloatTensor<Self>,
        labels: IntTensor<Self>,
        key_labels: IntTensor<Self>,
        plan: Plan,
    ) -> FloatTensor<Self>;

    /// The gradients of `(queries, keys)`, from the output of the forward pass and its gradient.
    #[fusion(meta = backward_meta)]
    fn rivals_backward(
        queries: FloatTensor<Self>,
        keys: FloatTensor<Self>,
        row_terms: FloatTensor<Self>,
        labels: IntTensor<Self>,
        key_labels: IntTensor<Self>,
        output: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        plan: Plan,
        wanted: Wanted,
    ) -> (FloatTensor<Self>, FloatTensor<Self>);
}

#[cfg(feature = "fusion")]
fn forward_meta(
    queries: &TensorSpec,
    _: &TensorSpec,
    _: &TensorSpec,
    _: &TensorSpec,
    _: &TensorSpec,
    plan: &Plan,
) -> TensorSpec {
    TensorSpec::new(Shape::from([queries.shape[0], plan.terms.columns()]), queries.dtype)
}

#[cfg(feature = "fusion")]
#[expect(clippy::too_many_arguments, reason = "one per argument of the operation")]
fn backward_meta(
    queries: &TensorSpec,
    keys: &TensorSpec,
    _: &TensorSpec,
    _: &TensorSpec,
    _: &TensorSpec,
    _: &TensorSpec,
    _: &TensorSpec,
    _: &Plan,
    wanted: &Wanted,
) -> (TensorSpec, TensorSpec) {
    let of = |wanted: bool, tensor: &TensorSpec| {
        if wanted { tensor.clone() } else { TensorSpec::new(Shape::from([1]), tensor.dtype) }
    };
    (of(wanted.queries, queries), of(wanted.keys, keys))
}

#[cfg(any(feature = "cpu-path", feature = "cube", feature = "tch", feature = "remote"))]
macro_rules! run_by {
    ($way:ident, $backend:ty) => {
        impl RivalOps for $backend {
            fn rivals(
                queries: FloatTensor<Self>,
                keys: FloatTensor<Self>,
                row_terms: FloatTensor<Self>,
                labels: IntTensor<Self>,
                key_labels: IntTensor<Self>,
                plan: Plan,
            ) -> FloatTensor<Self> {
                super::$way::forward::<Self>(queries, keys, row_terms, labels, key_labels, plan)
            }

            fn rivals_backward(
                queries: FloatTensor<Self>,
                keys: FloatTensor<Self>,
                row_terms: FloatTensor<Self>,
                labels: IntTensor<Self>,
                key_labels: IntTensor<Self>,
                output: FloatTensor<Self>,
                gradient: FloatTensor<Self>,
                plan: Plan,
                wanted: Wanted,
            ) -> (FloatTensor<Self>, FloatTensor<Self>) {
                let saved = Saved { queries, keys, row_terms, labels, key_labels, output };
                super::$way::backward::<Self>(saved, gradient, plan, wanted)
            }
        }
    };
}

#[cfg(feature = "flex")]
run_by!(host, burn::backend::Flex);
#[cfg(feature = "ndarray")]
run_by!(host, burn::backend::NdArray);
#[cfg(feature = "cube")]
run_by!(blocks, burn_cubecl::CubeBackend);
#[cfg(feature = "tch")]
run_by!(blocks, burn::backend::LibTorch);
#[cfg(all(feature = "remote", not(feature = "fusion")))]
run_by!(blocks, burn::backend::Remote);
