//! The operation as Burn's backends see it.
//!
//! [`ScoreOps`] is what is called, [`ScoreKernels`] what a backend brings: a forward and a backward pass over its own
//! tensors. Autodiff has the first one only; see `autodiff.rs`.

#![cfg_attr(
    not(any(feature = "cpu-path", feature = "cube", feature = "tch", feature = "remote")),
    allow(dead_code, unused_variables, reason = "without a backend there is nothing to run")
)]
#![cfg_attr(feature = "ndarray", expect(deprecated, reason = "Burn deprecates ndarray; this project supports it"))]

#[cfg(feature = "fusion")]
use burn::backend::fusion::custom::TensorSpec;
use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Backend, ExtensionType, backend_extension};
#[cfg(feature = "fusion")]
use burn::tensor::Shape;

use super::{CenterChoice, Curve, Normalise};

/// Which keys a query leaves out, and which one is its target: a [`Counted`](super::Counted) without its tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Exclusion {
    /// The key whose position is the query's label; it is also the query's target.
    Target,
    /// As `Target`, and keys with a negative label.
    TargetAndUnused,
    /// Keys with the query's label or a negative one; no key is the query's target.
    SameLabel,
    /// Keys with another label than the query or a negative one, and the key at the query's own position where that is the
    /// query itself; no key is the query's target.
    OtherLabels { in_batch: bool },
}

impl Exclusion {
    pub(crate) fn has_target(self) -> bool {
        matches!(self, Self::Target | Self::TargetAndUnused)
    }

    pub(crate) fn reads_key_labels(self) -> bool {
        self != Self::Target
    }
}

/// A [`Terms`](super::Terms) without its tensors, which are the `rows` of a [`Batch`].
#[derive(Clone, Copy, Debug)]
pub(crate) enum Term {
    Exp,
    /// `rows`: `[N, 3]`, the thresholds, the linear and the constant parts.
    Reweighted {
        quadratic: f64,
    },
    /// `rows`: `[N, 1]`, the offsets.
    Softplus(Curve),
    SelfPaced {
        reach: f64,
        goal: f64,
    },
    /// `weights`: `[M]`, or nothing.
    Logits {
        cap: Option<f64>,
    },
}

impl Term {
    /// The columns of the output: the target and the sum; of a softplus also the sum of the slopes of the terms, and how
    /// many terms are not 0; of logits their weighted sum, the largest of them, and which key that is.
    #[cfg(any(feature = "cpu-path", feature = "fusion"))]
    pub(crate) fn columns(self) -> usize {
        match self {
            Self::Softplus(_) => 4,
            Self::Logits { .. } => 5,
            Self::Exp | Self::Reweighted { .. } | Self::SelfPaced { .. } => 2,
        }
    }
}

/// How to run the operation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) exclusion: Exclusion,
    pub(crate) term: Term,
    pub(crate) normalise: Normalise,
    /// How many keys in a row are one.
    pub(crate) sub_centers: usize,
    pub(crate) choice: CenterChoice,
    pub(crate) scale: f64,
    /// Whether the forward pass hands its scores to the backward pass; only where a key has one center and the terms are
    /// exponentials of what has no cap.
    pub(crate) keep: bool,
    /// Keys per block; `None` to choose.
    pub(crate) block: Option<usize>,
}

/// A tensor that a comparison may do without.
#[derive(Clone, Debug, ExtensionType)]
#[extension_type(fusion: cfg(feature = "fusion"))]
pub(crate) enum Maybe<B: Backend> {
    Nothing,
    Just(FloatTensor<B>),
}

impl<B: Backend> Maybe<B> {
    pub(crate) fn as_option(&self) -> Option<&FloatTensor<B>> {
        match self {
            Self::Nothing => None,
            Self::Just(tensor) => Some(tensor),
        }
    }
}

impl<B: Backend> From<Option<FloatTensor<B>>> for Maybe<B> {
    fn from(tensor: Option<FloatTensor<B>>) -> Self {
        tensor.map_or(Self::Nothing, Self::Just)
    }
}

/// What is compared.
#[derive(Clone, Debug, ExtensionType)]
#[extension_type(fusion: cfg(feature = "fusion"))]
pub(crate) struct Batch<B: Backend> {
    /// `[N, D]` in `f32` or `f64`, `N >= 1`, `D >= 1`.
    pub(crate) queries: FloatTensor<B>,
    /// `[M·sub_centers, D]` in the same type or in half precision, `M >= 1`.
    pub(crate) keys: FloatTensor<B>,
    /// `[M]` in the type of the queries.
    #[extension_type]
    pub(crate) bias: Maybe<B>,
    /// What the terms need of every query, `[N, ..]` in the type of the queries; constants.
    #[extension_type]
    pub(crate) rows: Maybe<B>,
    /// What the terms need of every key, `[M]` in the type of the queries; constants.
    #[extension_type]
    pub(crate) weights: Maybe<B>,
    /// `[N]`.
    pub(crate) labels: IntTensor<B>,
    /// `[M]`, or anything where they are not read.
    pub(crate) key_labels: IntTensor<B>,
    pub(crate) plan: Plan,
}

/// What a forward pass gives.
#[derive(Clone, Debug, ExtensionType)]
#[extension_type(fusion: cfg(feature = "fusion"))]
pub(crate) struct Results<B: Backend> {
    /// `[N, Term::columns()]`.
    pub(crate) output: FloatTensor<B>,
    /// The scores of all pairs as `N·M` numbers in whatever order the backend likes, or one number.
    pub(crate) kept: FloatTensor<B>,
}

/// What a backward pass gives: one meaningless number each where it is not wanted.
#[derive(Clone, Debug, ExtensionType)]
#[extension_type(fusion: cfg(feature = "fusion"))]
pub(crate) struct Gradients<B: Backend> {
    pub(crate) queries: FloatTensor<B>,
    pub(crate) keys: FloatTensor<B>,
    pub(crate) bias: FloatTensor<B>,
}

/// Which gradients a backward pass should compute.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    pub(crate) queries: bool,
    pub(crate) keys: bool,
    pub(crate) bias: bool,
}

/// The operation, differentiable in the queries, the keys and the bias.
#[backend_extension(
    NdArray: cfg(feature = "ndarray"),
    Flex: cfg(feature = "flex"),
    Cube: cfg(feature = "cube"),
    LibTorch: cfg(feature = "tch"),
    Remote: cfg(all(feature = "remote", not(feature = "fusion"))),
    Autodiff
)]
#[diagnostic::on_unimplemented(
    message = "the streamed scores do not know the backend `{Self}`",
    label = "is Burn's fusion on? Then turn on the feature `fusion` of `burn-losses` too",
    note = "Burn's default features fuse operations on GPUs: name both features, as in `features = [\"wgpu\", \"fusion\"]`"
)]
pub(crate) trait ScoreOps: Backend {
    fn scores(#[extension_type] batch: Batch<Self>) -> FloatTensor<Self>;
}

/// The two passes.
#[backend_extension(
    NdArray: cfg(feature = "ndarray"),
    Flex: cfg(feature = "flex"),
    Cube: cfg(feature = "cube"),
    LibTorch: cfg(feature = "tch"),
    Remote: cfg(all(feature = "remote", not(feature = "fusion"))),
    Fusion: cfg(feature = "fusion")
)]
pub(crate) trait ScoreKernels: Backend {
    #[fusion(meta = forward_meta)]
    fn forward(#[extension_type] batch: Batch<Self>) -> Results<Self>;

    /// `gradient`: that of the output.
    #[fusion(meta = backward_meta)]
    fn backward(
        #[extension_type] batch: Batch<Self>,
        #[extension_type] results: Results<Self>,
        gradient: FloatTensor<Self>,
        wanted: Wanted,
    ) -> Gradients<Self>;
}

/// The forward pass where no backward pass follows.
fn forward_only<B: ScoreKernels>(batch: Batch<B>) -> FloatTensor<B> {
    let plan = Plan { keep: false, ..batch.plan };
    B::forward(Batch { plan, ..batch }).output
}

#[cfg(feature = "fusion")]
fn spec(length: usize, like: &TensorSpec) -> TensorSpec {
    TensorSpec::new(Shape::from([length]), like.dtype)
}

#[cfg(feature = "fusion")]
fn forward_meta(batch: &BatchMetadata) -> ResultsMetadata {
    let BatchMetadata { queries, keys, plan, .. } = batch;
    let shape = Shape::from([queries.shape[0], plan.term.columns()]);
    let kept = if plan.keep { queries.shape[0] * keys.shape[0] } else { 1 };
    ResultsMetadata { output: TensorSpec::new(shape, queries.dtype), kept: spec(kept, queries) }
}

#[cfg(feature = "fusion")]
fn backward_meta(batch: &BatchMetadata, _: &ResultsMetadata, _: &TensorSpec, wanted: &Wanted) -> GradientsMetadata {
    let BatchMetadata { queries, keys, plan, .. } = batch;
    let of = |wanted: bool, tensor: &TensorSpec| if wanted { tensor.clone() } else { spec(1, tensor) };
    let bias = if wanted.bias { keys.shape[0] / plan.sub_centers } else { 1 };
    GradientsMetadata { queries: of(wanted.queries, queries), keys: of(wanted.keys, keys), bias: spec(bias, queries) }
}

#[cfg(any(feature = "cpu-path", feature = "cube", feature = "tch", feature = "remote"))]
/// The two passes of a module for a backend.
macro_rules! run_by {
    ($way:ident, $backend:ty) => {
        impl ScoreKernels for $backend {
            fn forward(batch: Batch<Self>) -> Results<Self> {
                super::$way::forward::<Self>(batch)
            }

            fn backward(
                batch: Batch<Self>,
                results: Results<Self>,
                gradient: FloatTensor<Self>,
                wanted: Wanted,
            ) -> Gradients<Self> {
                super::$way::backward::<Self>(batch, results, gradient, wanted)
            }
        }

        impl ScoreOps for $backend {
            fn scores(batch: Batch<Self>) -> FloatTensor<Self> {
                forward_only::<Self>(batch)
            }
        }
    };
}

#[cfg(feature = "flex")]
run_by!(cpu, burn::backend::Flex);
#[cfg(feature = "ndarray")]
run_by!(cpu, burn::backend::NdArray);
#[cfg(feature = "cube")]
run_by!(blocks, burn_cubecl::CubeBackend);
#[cfg(feature = "tch")]
run_by!(blocks, burn::backend::LibTorch);
#[cfg(all(feature = "remote", not(feature = "fusion")))]
run_by!(blocks, burn::backend::Remote);

#[cfg(feature = "fusion")]
impl<B: burn::backend::fusion::FusionBackend + ScoreKernels> ScoreOps for burn::backend::fusion::Fusion<B> {
    fn scores(batch: Batch<Self>) -> FloatTensor<Self> {
        forward_only::<Self>(batch)
    }
}
