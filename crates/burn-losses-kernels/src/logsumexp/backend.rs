//! The operation as Burn's backends see it: one forward and one backward pass over primitives.

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

#[cfg(any(feature = "cube", feature = "tch", feature = "remote"))]
use super::blocks;

/// Which keys a query leaves out, and which one is its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Exclusion {
    /// The key whose position is the query's label; it is also the query's own.
    OwnKey,
    /// As `OwnKey`, and keys with a negative label.
    OwnKeyAndUnused,
    /// Keys with the query's label or a negative one; no key is the query's own.
    SameLabel,
    /// Keys with another label than the query or a negative one, and the key at the query's own position where that is the
    /// query itself; no key is the query's own.
    OtherLabel { in_batch: bool },
}

impl Exclusion {
    pub(crate) fn has_own_key(self) -> bool {
        matches!(self, Self::OwnKey | Self::OwnKeyAndUnused)
    }

    pub(crate) fn reads_key_labels(self) -> bool {
        self != Self::OwnKey
    }
}

/// How to run the operation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) exclusion: Exclusion,
    /// Whether keys are divided by their length.
    pub(crate) normalise: bool,
    /// What scores are multiplied with before the exponential.
    pub(crate) scale: f64,
    /// Whether the forward pass hands its scores to the backward pass.
    pub(crate) keep: bool,
    /// Keys per block; `None` to choose.
    pub(crate) block: Option<usize>,
}

/// Which gradients the backward pass should compute; the others come back with one meaningless element.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    pub(crate) queries: bool,
    pub(crate) keys: bool,
}

/// - `queries`: `[N, D]` in `f32` or `f64`, `N >= 1`, `D >= 1`
/// - `keys`: `[M, D]` in the same type or in half precision, `M >= 1`
/// - `labels`: `[N]`, `key_labels`: `[M]`, or anything where they are not read
/// - scores: `[N, 2]`, the score with the own key, unscaled (0 if there is none), and the log-sum-exp of the others
/// - `kept`: the scores of all pairs as `N·M` numbers in whatever order the backend likes, or one number
#[backend_extension(
    NdArray: cfg(feature = "ndarray"),
    Flex: cfg(feature = "flex"),
    Cube: cfg(feature = "cube"),
    LibTorch: cfg(feature = "tch"),
    Remote: cfg(all(feature = "remote", not(feature = "fusion"))),
    Autodiff,
    Fusion: cfg(feature = "fusion")
)]
#[diagnostic::on_unimplemented(
    message = "the streamed log-sum-exp does not know the backend `{Self}`",
    label = "is Burn's fusion on? Then turn on the feature `fusion` of `burn-losses` too",
    note = "Burn's default features fuse operations on GPUs: name both features, as in `features = [\"wgpu\", \"fusion\"]`"
)]
#[expect(clippy::too_many_arguments, reason = "Burn wants every tensor of an operation as an argument")]
pub(crate) trait LogSumExpOps: Backend {
    #[fusion(default)]
    fn scores(
        queries: FloatTensor<Self>,
        keys: FloatTensor<Self>,
        labels: IntTensor<Self>,
        key_labels: IntTensor<Self>,
        plan: Plan,
    ) -> FloatTensor<Self> {
        Self::scores_forward(queries, keys, labels, key_labels, Plan { keep: false, ..plan }).0
    }

    /// `(scores, kept)`.
    #[fusion(meta = forward_meta)]
    fn scores_forward(
        queries: FloatTensor<Self>,
        keys: FloatTensor<Self>,
        labels: IntTensor<Self>,
        key_labels: IntTensor<Self>,
        plan: Plan,
    ) -> (FloatTensor<Self>, FloatTensor<Self>);

    /// The gradients of `(queries, keys)`, from the results of the forward pass and the gradient of `scores`.
    #[fusion(meta = backward_meta)]
    fn scores_backward(
        queries: FloatTensor<Self>,
        keys: FloatTensor<Self>,
        labels: IntTensor<Self>,
        key_labels: IntTensor<Self>,
        scores: FloatTensor<Self>,
        kept: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        plan: Plan,
        wanted: Wanted,
    ) -> (FloatTensor<Self>, FloatTensor<Self>);
}

#[cfg(feature = "fusion")]
fn forward_meta(
    queries: &TensorSpec,
    keys: &TensorSpec,
    _: &TensorSpec,
    _: &TensorSpec,
    plan: &Plan,
) -> (TensorSpec, TensorSpec) {
    let kept = if plan.keep { queries.shape[0] * keys.shape[0] } else { 1 };
    (
        TensorSpec::new(Shape::from([queries.shape[0], 2]), queries.dtype),
        TensorSpec::new(Shape::from([kept]), queries.dtype),
    )
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

#[cfg(any(feature = "cube", feature = "tch", feature = "remote"))]
/// The operation in blocks, for backends without a loop of their own.
macro_rules! in_blocks {
    ($($backend:ty),+) => {$(
        impl LogSumExpOps for $backend {
            fn scores_forward(
                queries: FloatTensor<Self>,
                keys: FloatTensor<Self>,
                labels: IntTensor<Self>,
                key_labels: IntTensor<Self>,
                plan: Plan,
            ) -> (FloatTensor<Self>, FloatTensor<Self>) {
                blocks::forward::<Self>(queries, keys, labels, key_labels, plan)
            }

            fn scores_backward(
                queries: FloatTensor<Self>,
                keys: FloatTensor<Self>,
                labels: IntTensor<Self>,
                key_labels: IntTensor<Self>,
                scores: FloatTensor<Self>,
                kept: FloatTensor<Self>,
                gradient: FloatTensor<Self>,
                plan: Plan,
                wanted: Wanted,
            ) -> (FloatTensor<Self>, FloatTensor<Self>) {
                let tensors = blocks::Saved { queries, keys, labels, key_labels, scores, kept };
                blocks::backward::<Self>(tensors, gradient, plan, wanted)
            }
        }
    )+};
}

#[cfg(feature = "cube")]
in_blocks!(burn_cubecl::CubeBackend);

#[cfg(feature = "tch")]
impl blocks::Blocks for burn::backend::LibTorch {}
#[cfg(feature = "tch")]
in_blocks!(burn::backend::LibTorch);

#[cfg(all(feature = "remote", not(feature = "fusion")))]
impl blocks::Blocks for burn::backend::Remote {}
#[cfg(all(feature = "remote", not(feature = "fusion")))]
in_blocks!(burn::backend::Remote);
