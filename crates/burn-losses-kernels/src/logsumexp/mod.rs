//! The log-sum-exp of the scores of queries and keys, streamed over blocks of keys.
//!
//! [`streamed_logsumexp`] is the denominator of contrastive losses, [`class_scores`] that of softmax heads with class
//! centers. Neither ever holds the `[queries, keys]` scores, unless they are few (see [`Streaming`]): the forward pass
//! keeps one running maximum and one running sum per query, the backward pass computes the scores again, block by block.
//!
//! | file | what |
//! | --- | --- |
//! | `reference.rs` | the same result from ordinary tensor operations: the definition of correct, and the fallback |
//! | `backend.rs` | the operation as Burn's backends see it |
//! | `blocks.rs` | the loop over blocks in operations every backend has |
//! | `cpu/` | the loop on the memory of Flex and NdArray, also that of [`rivals`](crate::rivals) |
//! | `cube.rs` | kernels for the steps of a block on GPUs |
//! | `autodiff.rs` | the gradient |

mod autodiff;
pub(crate) mod backend;
#[cfg(any(feature = "cube", feature = "tch", feature = "remote"))]
pub(crate) mod blocks;
#[cfg(feature = "cpu-path")]
pub(crate) mod cpu;
#[cfg(feature = "cube")]
mod cube;
pub(crate) mod reference;

use burn::backend::{Dispatch, DispatchDevice};
use burn::config::Config;
use burn::tensor::{Bool, DType, Device, Int, Tensor, assert_shape};

use crate::math::{NOTHING, cast_to, signed, unit_rows, widen};
use backend::{Exclusion, LogSumExpOps, Plan};

pub use reference::{class_scores_reference, streamed_logsumexp_reference};

/// How the operation trades memory for time. It changes no result.
#[derive(Config, Debug, Copy, PartialEq, Eq)]
pub struct Streaming {
    /// The scores are kept for the backward pass if they need no more than this many bytes; else they are computed a
    /// second time, which costs a third more arithmetic. 0 keeps none. The default holds a step below 64 MiB beyond its
    /// gradients on a CPU.
    #[config(default = "32 << 20")]
    pub kept_bytes: usize,
    /// How many keys are compared at once; `None` chooses for the backend.
    #[config(default = "None")]
    pub block: Option<usize>,
}

impl Default for Streaming {
    fn default() -> Self {
        Self::new()
    }
}

/// What the scores are multiplied with before the exponential.
#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant, reason = "made once per call; which variant is large depends on the backends")]
pub enum Scale {
    /// A number in `[1e-10, 1e10]`.
    Constant(f64),
    /// A learned or measured number of shape `[1]`, which must be positive; it receives a gradient.
    Tensor(Tensor<1>),
}

impl From<f64> for Scale {
    fn from(scale: f64) -> Self {
        Self::Constant(scale)
    }
}

impl From<Tensor<1>> for Scale {
    fn from(scale: Tensor<1>) -> Self {
        Self::Tensor(scale)
    }
}

/// What a key is labelled with, and which labels a query is compared with.
#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant, reason = "made once per call; which variant is large depends on the backends")]
pub enum KeyLabels {
    /// Its position: key `j` has label `j`, and no tensor is made. With query labels `0..N` every query leaves out the
    /// key at its own position.
    Position,
    /// A label per key, `[M]`: a query is compared with all keys of another label. A key with a negative label counts for
    /// no query.
    Tensor(Tensor<1, Int>),
    /// A query is compared with the keys of its own label.
    Same {
        /// A label per key, `[M]`. A key with a negative label counts for no query.
        labels: Tensor<1, Int>,
        /// Whether the keys are the rows that the queries are: then a query is not compared with the key at its own
        /// position.
        in_batch: bool,
    },
}

impl KeyLabels {
    pub(crate) fn exclusion(self) -> (Exclusion, Option<Tensor<1, Int>>) {
        match self {
            Self::Position => (Exclusion::OwnKey, None),
            Self::Tensor(labels) => (Exclusion::SameLabel, Some(labels)),
            Self::Same { labels, in_batch } => (Exclusion::OtherLabel { in_batch }, Some(labels)),
        }
    }
}

/// The log of the sum over the keys of another label of the exponential of their score, for every query.
///
/// ```text
/// output[i] = log(sum over { j : key_labels[j] != query_labels[i] } of exp(scale·<queries[i], keys[j]>))
/// ```
///
/// With [`KeyLabels::Same`], the sum is over the keys of the same label. A query with no such key gets [`NOTHING`] and the
/// gradient 0. A query with a negative label leaves out no key, and has none with `Same`.
/// Differentiable in `queries`, `keys` and a [`Scale::Tensor`]. Half precision is computed in `f32`, which is what the
/// output is then.
///
/// # Shapes
///
/// - queries: `[N, D]`, with `D >= 1`
/// - keys: `[M, D]`
/// - query_labels: `[N]`
/// - output: `[N]`
///
/// # Panics
///
/// If the shapes do not agree, the scale is out of its range, or `streaming.block` is 0.
///
/// # Source
///
/// The running maximum and sum are those of Milakov and Gimelshein: [Online normalizer calculation for
/// softmax](https://arxiv.org/abs/1805.02867), 2018, algorithm 3.
///
/// ```
/// use burn::tensor::{Device, Int, Tensor};
/// use burn_losses_kernels::logsumexp::{KeyLabels, Streaming, streamed_logsumexp};
///
/// // The denominator of NT-Xent: every row against all others.
/// let rows = Tensor::<2>::from_floats([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]], &Device::default());
/// let own = Tensor::<1, Int>::from_ints([0, 1, 2], &Device::default());
/// let others = streamed_logsumexp(rows.clone(), rows, own, KeyLabels::Position, 2.0, Streaming::default());
/// let expected = (1.0_f32 + (-2.0_f32).exp()).ln();
/// assert!((others.try_into_vec_as::<f32>().unwrap()[0] - expected).abs() < 1e-6);
/// ```
pub fn streamed_logsumexp(
    queries: Tensor<2>,
    keys: Tensor<2>,
    query_labels: Tensor<1, Int>,
    key_labels: KeyLabels,
    scale: impl Into<Scale>,
    streaming: Streaming,
) -> Tensor<1> {
    let (queries, scale) = scaled(widen(queries), scale.into());
    let (exclusion, key_labels) = key_labels.exclusion();
    let scores = scores(queries, keys, query_labels, key_labels, Job { exclusion, normalise: false, scale, streaming });
    scores.narrow(1, 1, 1).squeeze_dim(1)
}

/// The cosine with the own class, and the log-sum-exp of the scaled cosines with all others.
///
/// With `x` and `w` the rows of `embeddings` and `weights` divided by their length:
///
/// ```text
/// output[i, 0] = <x[i], w[labels[i]]>
/// output[i, 1] = log(sum over { j : j != labels[i] } of exp(scale·<x[i], w[j]>))
/// ```
///
/// A label that is not in `0..C` names no class: the first number is 0, the second the sum over all classes. Without
/// another class the second is [`NOTHING`], with gradient 0. A row of length 0 has cosine 0 with everything.
/// Differentiable in `embeddings`, `weights` and a [`Scale::Tensor`]. Half precision is computed in `f32`, which is what
/// the output is then. No normalised copy of the weights is made, and one gradient of them.
///
/// # Shapes
///
/// - embeddings: `[N, D]`, with `D >= 1`
/// - weights: `[C, D]`
/// - labels: `[N]`
/// - output: `[N, 2]`; packed, since an operation of a Burn backend has one differentiable output
///
/// # Panics
///
/// If the shapes do not agree, the scale is out of its range, or `streaming.block` is 0.
///
/// # Source
///
/// Wang et al.: [NormFace](https://arxiv.org/abs/1704.06369), 2017, for the scores; [`streamed_logsumexp`] for the sum.
pub fn class_scores(
    embeddings: Tensor<2>,
    weights: Tensor<2>,
    labels: Tensor<1, Int>,
    scale: impl Into<Scale>,
    streaming: Streaming,
) -> Tensor<2> {
    scores_of_classes(embeddings, weights, labels, None, scale.into(), streaming)
}

/// [`class_scores`] where some rows of the weights do not count: those with a negative number in `used`.
///
/// For a sample of the classes that is gathered with repetitions: `labels` are positions in the sample, and `used` is
/// negative for all but one of the rows of a class.
///
/// # Shapes
///
/// - embeddings: `[N, D]`, with `D >= 1`
/// - weights: `[M, D]`
/// - labels: `[N]`
/// - used: `[M]`
/// - output: `[N, 2]`
///
/// # Panics
///
/// As [`class_scores`].
pub fn sampled_class_scores(
    embeddings: Tensor<2>,
    weights: Tensor<2>,
    labels: Tensor<1, Int>,
    used: Tensor<1, Int>,
    scale: impl Into<Scale>,
    streaming: Streaming,
) -> Tensor<2> {
    scores_of_classes(embeddings, weights, labels, Some(used), scale.into(), streaming)
}

/// Whether the operation streams on this device. Where it does not, it is composed of ordinary tensor operations with
/// the same results and `[queries, keys]` memory: the backend is on in `burn`, but its feature is off in this crate.
pub fn streams_on(device: &Device) -> bool {
    streams_on_dispatch(device.as_dispatch())
}

fn streams_on_dispatch(device: &DispatchDevice) -> bool {
    #[allow(unreachable_patterns, reason = "which backends there are, the features of burn decide")]
    match device {
        #[cfg(feature = "flex")]
        DispatchDevice::Flex(_) => true,
        #[cfg(feature = "ndarray")]
        DispatchDevice::NdArray(_) => true,
        #[cfg(feature = "cube")]
        DispatchDevice::Cube(_) => true,
        #[cfg(feature = "tch")]
        DispatchDevice::LibTorch(_) => true,
        // With fusion, a remote device is a type this crate cannot name.
        #[cfg(all(feature = "remote", not(feature = "fusion")))]
        DispatchDevice::Remote(_) => true,
        DispatchDevice::Autodiff(device) => streams_on_dispatch(device),
        _ => false,
    }
}

/// What a call wants, beside its tensors.
#[derive(Clone, Copy)]
struct Job {
    exclusion: Exclusion,
    normalise: bool,
    scale: f64,
    streaming: Streaming,
}

fn scores_of_classes(
    embeddings: Tensor<2>,
    weights: Tensor<2>,
    labels: Tensor<1, Int>,
    used: Option<Tensor<1, Int>>,
    scale: Scale,
    streaming: Streaming,
) -> Tensor<2> {
    let [batch, _] = embeddings.dims();
    let exclusion = if used.is_some() { Exclusion::OwnKeyAndUnused } else { Exclusion::OwnKey };
    let embeddings = widen(embeddings);
    let embeddings = if batch == 0 { embeddings } else { unit_rows(embeddings) };
    let (queries, constant) = scaled(embeddings, scale.clone());
    let job = Job { exclusion, normalise: true, scale: constant, streaming };
    let scores = scores(queries, weights, labels, used, job);
    match scale {
        Scale::Tensor(scale) if batch > 0 => {
            let scale = cast_to(scale, scores.dtype());
            let own = scores.clone().narrow(1, 0, 1) / scale.unsqueeze_dim::<2>(1).expand([batch, 1]);
            Tensor::cat(alloc::vec![own, scores.narrow(1, 1, 1)], 1)
        }
        _ => scores,
    }
}

/// The score with the own key, unscaled, and the log-sum-exp of the others, `[N, 2]`.
fn scores(
    queries: Tensor<2>,
    keys: Tensor<2>,
    labels: Tensor<1, Int>,
    key_labels: Option<Tensor<1, Int>>,
    job: Job,
) -> Tensor<2> {
    let ([batch, dim], [count, _]) = (queries.dims(), keys.dims());
    assert!(dim >= 1, "streamed log-sum-exp: queries must have at least one column");
    assert!(job.streaming.block != Some(0), "streamed log-sum-exp: streaming.block must be >= 1, got 0");
    assert_shape!(keys, [count, dim]);
    assert_shape!(labels, [batch]);
    if let Some(key_labels) = &key_labels {
        assert_shape!(key_labels, [count]);
    }
    if batch == 0 || count == 0 {
        return scores_of_nothing(queries);
    }
    let device = queries.device();
    // Half precision is widened block by block; any other type is made to agree here, gradient included.
    let widens = matches!(keys.dtype(), DType::F16 | DType::BF16) && queries.dtype() == DType::F32;
    let keys = if widens { keys } else { cast_to(keys, queries.dtype()) };
    let labels = signed(labels);
    let key_labels = key_labels.map(signed);
    if !streams_on(&device) {
        return reference::scores(queries, keys, labels, key_labels, job);
    }
    // Operations of a backend take no optional tensors; without key labels this one is not looked at.
    let key_labels = key_labels.unwrap_or_else(|| labels.clone().narrow(0, 0, 1));
    let bytes = batch.saturating_mul(count).saturating_mul(queries.dtype().size());
    let plan = Plan {
        exclusion: job.exclusion,
        normalise: job.normalise,
        scale: job.scale,
        keep: bytes <= job.streaming.kept_bytes,
        block: job.streaming.block,
    };
    Tensor::from_dispatch(<Dispatch as LogSumExpOps>::scores(
        queries.into_dispatch(),
        keys.into_dispatch(),
        labels.into_dispatch(),
        key_labels.into_dispatch(),
        plan,
    ))
}

/// Without queries, or without keys; then the queries find the gradient 0.
fn scores_of_nothing(queries: Tensor<2>) -> Tensor<2> {
    let [batch, _] = queries.dims();
    let (device, dtype) = (queries.device(), queries.dtype());
    if batch == 0 {
        return Tensor::zeros([0, 2], (&device, dtype));
    }
    let column = queries.narrow(1, 0, 1);
    let all = Tensor::<2, Bool>::full([batch, 1], true, &device);
    Tensor::cat(alloc::vec![column.clone().mask_fill(all.clone(), 0.0), column.mask_fill(all, NOTHING)], 1)
}

/// Queries, and the number their scores are to be multiplied with: a scale that is a tensor goes into the queries, which
/// are few, so it and its gradient cost nothing per key.
pub(crate) fn scaled(queries: Tensor<2>, scale: Scale) -> (Tensor<2>, f64) {
    let dims = queries.dims();
    match scale {
        Scale::Constant(scale) => {
            let fits = (1e-10..=1e10).contains(&scale);
            assert!(fits, "streamed log-sum-exp: scale must be in [1e-10, 1e10], got {scale}");
            (queries, scale)
        }
        Scale::Tensor(scale) => {
            assert_shape!(scale, [1]);
            let scale = cast_to(scale, queries.dtype());
            let queries = if dims[0] == 0 { queries } else { queries * scale.unsqueeze_dim::<2>(1).expand(dims) };
            (queries, 1.0)
        }
    }
}
