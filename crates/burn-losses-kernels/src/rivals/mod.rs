//! What the other classes weigh in heads that see them otherwise than a plain softmax does, streamed over blocks of
//! classes: with several centers per class, with hard classes reweighted, or as a sum of softplus instead of a
//! log-sum-exp. And what the positives or the negatives of a row add up to in a batch, in the same way.
//!
//! The walk over the classes, the normalisation and the gradient of a block are those of
//! [`logsumexp`](crate::logsumexp); this folder holds what is done with the cosines of a block. They are computed again in
//! the backward pass, so nothing of `[batch, classes]` is ever stored.
//!
//! | file | what |
//! | --- | --- |
//! | `reference.rs` | the same result from ordinary tensor operations: the definition of correct, and the fallback |
//! | `pairs.rs` | the sums over the pairs of a batch |
//! | `backend.rs` | the operation as Burn's backends see it |
//! | `host.rs` | the walk over the memory of CPU backends |
//! | `blocks.rs` | the loop over blocks in operations every backend has |
//! | `autodiff.rs` | the gradient |

mod autodiff;
pub(crate) mod backend;
#[cfg(any(feature = "cube", feature = "tch", feature = "remote"))]
mod blocks;
#[cfg(feature = "cpu-path")]
mod host;
mod pairs;
mod reference;

use burn::backend::Dispatch;
use burn::tensor::{DType, Int, Tensor, assert_shape};

use crate::logsumexp::backend::Exclusion;
use crate::logsumexp::{Streaming, class_scores, sampled_class_scores, streams_on};
use crate::math::{NOTHING, cast_to, signed, unit_rows, widen};
use backend::{Plan, RivalOps, Terms};

pub use pairs::{PairSum, pair_sums, pair_sums_reference};

/// How the classes are compared with.
#[derive(Clone, Debug)]
pub struct Comparison {
    /// How many centers a class has. The rows of the weights are the centers of class 0, then those of class 1, and so on.
    pub sub_centers: usize,
    /// Which of its centers speaks for a class.
    pub choice: CenterChoice,
    /// What the other classes weigh.
    pub rivals: Rivals,
}

impl Default for Comparison {
    fn default() -> Self {
        Self { sub_centers: 1, choice: CenterChoice::Nearest, rivals: Rivals::LogSumExp }
    }
}

/// Which of its centers speaks for a class.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum CenterChoice {
    /// The nearest, by the largest cosine.
    Nearest,
    /// All, by a softmax of their cosines divided by `gamma`: the cosine of the class is the mean of theirs with these
    /// weights.
    Soft {
        /// In `[1e-6, 1e6]`; the smaller, the nearer to `Nearest`.
        gamma: f64,
    },
}

/// What the other classes weigh.
#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant, reason = "made once per call; which variant is large depends on the backends")]
pub enum Rivals {
    /// `log(sum over j of exp(scale·cosine[i, j]))`.
    LogSumExp,
    /// The same, with the cosines of hard classes replaced.
    Reweighted(Reweighting),
    /// `sum over j of softplus(scale·curve(cosine[i, j]) - bias)`.
    Softplus {
        /// Taken off every score, `[1]`; it receives a gradient.
        bias: Tensor<1>,
        /// What the cosines go through.
        curve: Curve,
    },
}

/// Which classes are hard for a row, and what their cosines are replaced by: constants of the gradient but for the
/// cosine itself.
///
/// ```text
/// cosine[i, j] > threshold[i]:  quadratic·cosine[i, j]² + linear[i]·cosine[i, j] + constant[i]
/// ```
#[derive(Clone, Debug)]
pub struct Reweighting {
    /// `[batch]`.
    pub threshold: Tensor<1>,
    /// The same for all rows.
    pub quadratic: f64,
    /// `[batch]`.
    pub linear: Tensor<1>,
    /// `[batch]`.
    pub constant: Tensor<1>,
}

/// `curve(cosine) = 2·((cosine + 1) / 2)^exponent - 1`, which keeps -1 and 1 and bends what lies between.
#[derive(Clone, Copy, Debug)]
pub struct Curve {
    /// In `[1, 100]`; 1 is a straight line.
    pub exponent: f64,
    /// Whether the gradient passes it by, as if the cosine were used unchanged.
    pub detached: bool,
}

/// The cosine with the own class, and what the other classes weigh.
///
/// With `x` and `w` the rows of `embeddings` and `weights` divided by their length, and several centers per class:
///
/// ```text
/// cosine[i, j] = largest over k of <x[i], w[j·sub_centers + k]>, or what `choice` says
/// output[i, 0] = cosine[i, labels[i]]
/// output[i, 1] = what `rivals` says of { cosine[i, j] : j != labels[i], used[j] >= 0 }
/// ```
///
/// A label that is not in `0..classes` names no class: the first number is 0, the second is over all classes. Without
/// another class the second is [`NOTHING`] for a log-sum-exp and 0 for a sum of softplus, with gradient 0. Differentiable
/// in `embeddings`, `weights` and the bias. Half precision is computed in `f32`, which is what the output is then.
///
/// # Shapes
///
/// - embeddings: `[N, D]`, with `D >= 1`
/// - weights: `[classes·sub_centers, D]`
/// - labels: `[N]`
/// - used: `[classes]`, negative for a class that does not count; `None` where all do
/// - output: `[N, 2]`
///
/// # Panics
///
/// If the shapes do not agree, `sub_centers` is 0, `scale` is not in `[1e-10, 1e10]`, `gamma` not in `[1e-6, 1e6]`, the
/// exponent of a curve not in `[1, 100]`, or `streaming.block` is 0.
///
/// ```
/// use burn::tensor::{Device, Int, Tensor};
/// use burn_losses_kernels::logsumexp::Streaming;
/// use burn_losses_kernels::rivals::{Comparison, rival_scores};
///
/// // Two classes of two centers: the second center of class 0 is the nearest of the own class.
/// let device = Device::default();
/// let centers = Tensor::<2>::from_floats([[0.0, 1.0], [1.0, 0.0], [-1.0, 0.0], [0.0, -1.0]], &device);
/// let embedding = Tensor::<2>::from_floats([[3.0, 0.0]], &device);
/// let comparison = Comparison { sub_centers: 2, ..Comparison::default() };
/// let label = Tensor::<1, Int>::from_ints([0], &device);
/// let scores = rival_scores(embedding, centers, label, None, comparison, 8.0, Streaming::new());
/// let scores = scores.try_into_vec_as::<f32>().unwrap();
/// assert!((scores[0] - 1.0).abs() < 1e-6 && scores[1].abs() < 1e-6);
/// ```
pub fn rival_scores(
    embeddings: Tensor<2>,
    weights: Tensor<2>,
    labels: Tensor<1, Int>,
    used: Option<Tensor<1, Int>>,
    comparison: Comparison,
    scale: f64,
    streaming: Streaming,
) -> Tensor<2> {
    let Comparison { sub_centers, choice, rivals } = comparison;
    assert!(sub_centers >= 1, "rival scores: sub_centers must be >= 1, got 0");
    if let CenterChoice::Soft { gamma } = choice {
        assert!((1e-6..=1e6).contains(&gamma), "rival scores: gamma must be in [1e-6, 1e6], got {gamma}");
    }
    if sub_centers == 1 && matches!(rivals, Rivals::LogSumExp) {
        return match used {
            None => class_scores(embeddings, weights, labels, scale, streaming),
            Some(used) => sampled_class_scores(embeddings, weights, labels, used, scale, streaming),
        };
    }
    let ([batch, dim], [centers, _]) = (embeddings.dims(), weights.dims());
    let classes = centers / sub_centers;
    assert!(dim >= 1, "rival scores: embeddings must have at least one column");
    assert!((1e-10..=1e10).contains(&scale), "rival scores: scale must be in [1e-10, 1e10], got {scale}");
    assert!(streaming.block != Some(0), "rival scores: streaming.block must be >= 1, got 0");
    assert_shape!(weights, [classes * sub_centers, dim]);
    assert_shape!(labels, [batch]);
    if let Some(used) = &used {
        assert_shape!(used, [classes]);
    }
    let embeddings = widen(embeddings);
    if batch == 0 || classes == 0 {
        // Nothing to compare: the plain operation knows what to return, and how to stay in the graph.
        let others = class_scores(embeddings, weights, labels, scale, streaming);
        let sums = matches!(rivals, Rivals::Softplus { .. }) && batch > 0;
        return if sums { others.clone().mask_fill(others.lower_equal_scalar(NOTHING), 0.0) } else { others };
    }

    let queries = unit_rows(embeddings);
    let (terms, row_terms, bias) = row_terms(rivals, &queries);
    let widens = matches!(weights.dtype(), DType::F16 | DType::BF16) && queries.dtype() == DType::F32;
    let keys = if widens { weights } else { cast_to(weights, queries.dtype()) };
    let exclusion = exclusion_of(&used);
    let labels = signed(labels);
    // Operations of a backend take no optional tensors; without a sample this one is not looked at.
    let used = used.map_or_else(|| labels.clone().narrow(0, 0, 1), signed);
    let plan = Plan { sub_centers, choice, terms, scale, exclusion, normalise: true, block: streaming.block };
    let output = run(queries, keys, row_terms, labels, used, plan);
    match bias {
        None => output,
        Some(bias) => with_bias_gradient(output, bias),
    }
}

/// [`rival_scores`] from ordinary tensor operations, with all cosines in memory: the definition of correct. For at least
/// one embedding and one class.
pub fn rival_scores_reference(
    embeddings: Tensor<2>,
    weights: Tensor<2>,
    labels: Tensor<1, Int>,
    used: Option<Tensor<1, Int>>,
    comparison: Comparison,
    scale: f64,
) -> Tensor<2> {
    let queries = unit_rows(widen(embeddings));
    let Comparison { sub_centers, choice, rivals } = comparison;
    let (terms, row_terms, bias) = row_terms(rivals, &queries);
    let exclusion = exclusion_of(&used);
    let plan = Plan { sub_centers, choice, terms, scale, exclusion, normalise: true, block: None };
    let labels = signed(labels);
    let used = used.map_or_else(|| labels.clone(), signed);
    let keys = cast_to(weights, queries.dtype());
    let output = reference::rivals(queries, keys, row_terms, labels, used, plan);
    match bias {
        None => output,
        Some(bias) => with_bias_gradient(output, bias),
    }
}

fn exclusion_of(used: &Option<Tensor<1, Int>>) -> Exclusion {
    if used.is_some() { Exclusion::OwnKeyAndUnused } else { Exclusion::OwnKey }
}

/// The operation where the device has it, else its reference.
fn run(
    queries: Tensor<2>,
    keys: Tensor<2>,
    row_terms: Tensor<2>,
    labels: Tensor<1, Int>,
    key_labels: Tensor<1, Int>,
    plan: Plan,
) -> Tensor<2> {
    if !streams_on(&queries.device()) {
        return reference::rivals(queries, keys, row_terms, labels, key_labels, plan);
    }
    Tensor::from_dispatch(<Dispatch as RivalOps>::rivals(
        queries.into_dispatch(),
        keys.into_dispatch(),
        row_terms.into_dispatch(),
        labels.into_dispatch(),
        key_labels.into_dispatch(),
        plan,
    ))
}

/// The kind of the terms, the numbers of every row that they need, `[N, 3]` and without a gradient, and the bias.
fn row_terms(rivals: Rivals, queries: &Tensor<2>) -> (Terms, Tensor<2>, Option<Tensor<1>>) {
    let [batch, _] = queries.dims();
    let (dtype, device) = (queries.dtype(), queries.device());
    let column = |numbers: Tensor<1>| {
        let numbers = cast_to(numbers, dtype).to_device(&device).detach();
        numbers.expand([batch]).unsqueeze_dim::<2>(1)
    };
    let zeros = || Tensor::<1>::zeros([batch], (&device, dtype));
    match rivals {
        Rivals::LogSumExp => (Terms::LogSumExp, Tensor::zeros([batch, 3], (&device, dtype)), None),
        Rivals::Reweighted(Reweighting { threshold, quadratic, linear, constant }) => {
            for numbers in [&threshold, &linear, &constant] {
                assert_shape!(numbers, [batch]);
            }
            let columns = alloc::vec![column(threshold), column(linear), column(constant)];
            (Terms::Reweighted { quadratic }, Tensor::cat(columns, 1), None)
        }
        Rivals::Softplus { bias, curve: Curve { exponent, detached } } => {
            assert!((1.0..=100.0).contains(&exponent), "rival scores: exponent must be in [1, 100], got {exponent}");
            assert_shape!(bias, [1]);
            let columns = alloc::vec![column(bias.clone()), column(zeros()), column(zeros())];
            let bias = cast_to(bias, dtype);
            (Terms::Softplus { exponent, detached }, Tensor::cat(columns, 1), Some(bias))
        }
    }
}

/// `[N, 2]` of `[N, 3]`, whose last column is the negative slope of the second by the bias. The difference that carries
/// the gradient is exactly 0.
fn with_bias_gradient(output: Tensor<2>, bias: Tensor<1>) -> Tensor<2> {
    let [batch, _] = output.dims();
    let slope = output.clone().narrow(1, 2, 1).detach();
    let nothing = (bias.clone() - bias.detach()).unsqueeze_dim::<2>(1).expand([batch, 1]);
    let sums = output.clone().narrow(1, 1, 1) - slope * nothing;
    Tensor::cat(alloc::vec![output.narrow(1, 0, 1), sums], 1)
}
