//! The scores of queries and keys, and what they add up to for every query, streamed over blocks of keys.
//!
//! [`scores`] is the denominator of softmax heads and contrastive losses, and what stands in its place in heads that
//! weigh hard classes or ask one question per class. It never holds the `[queries, keys]` scores, unless they are few (see
//! [`Streaming`]): the forward pass keeps a few running numbers per query, the backward pass computes the scores again,
//! block by block.
//!
//! | file | what |
//! | --- | --- |
//! | `reference.rs` | the same result from ordinary tensor operations: the definition of correct, and the fallback |
//! | `backend.rs` | the operation as Burn's backends see it |
//! | `blocks/` | the walk over blocks in operations that every backend has |
//! | `cpu/` | the walk over the memory of Flex and NdArray |
//! | `cube/` | kernels for the steps of a block on GPUs: those of every comparison, and in `terms.rs` those of its terms |
//! | `autodiff.rs` | the gradient |
//! | `logit_loss.rs` | [`logit_loss`], which is known beforehand and has its gradient in the forward pass |
//! | `sigmoid_loss.rs` | [`sigmoid_loss`], likewise, where each pair is a question of its own |
//! | `known.rs` | what comes back to these two |
//! | `cosine_sums.rs` | [`cosine_sums`], of both sides of a comparison and of several lengths of their rows in one walk |

mod autodiff;
mod backend;
#[cfg(any(feature = "cube", feature = "tch", feature = "remote"))]
mod blocks;
mod cosine_sums;
#[cfg(feature = "cpu-path")]
pub(crate) mod cpu;
#[cfg(feature = "cube")]
mod cube;
#[cfg(feature = "cpu-path")]
mod known;
mod logit_loss;
mod reference;
mod sigmoid_loss;

use burn::backend::{Dispatch, DispatchDevice};
use burn::config::Config;
use burn::tensor::{Bool, DType, Device, Int, Tensor, assert_shape};

use crate::math::{NOTHING, cast_to, comparable, signed, unit_rows, widen};
use backend::{Batch, Exclusion, Plan, ScoreOps, Term};

pub use cosine_sums::{CosineSums, Sides, cosine_sums, cosine_sums_reference};
pub use logit_loss::{LogitLoss, logit_loss};
pub use sigmoid_loss::sigmoid_loss;

/// How the operation trades memory for time. It changes no result.
#[derive(Config, Debug, Copy, PartialEq, Eq)]
pub struct Streaming {
    /// The scores are kept for the backward pass if they need no more than this many bytes; else they are computed a
    /// second time, which costs a third more arithmetic. 0 keeps none. The default holds a step below 64 MiB beyond its
    /// gradients on a CPU. Only [`Terms::Exp`] of keys with one center are kept. Of a [`logit_loss`] it is what all that is beyond
    /// the gradients may take, in chunks of queries.
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

/// What the scores are multiplied with.
#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant, reason = "made once per call; which variant is large depends on the backends")]
pub enum Scale {
    /// A number in `[1e-10, 1e10]`.
    Constant(f64),
    /// A learned or measured number of shape `[1]`, which must be positive; it receives a gradient. For terms that are a
    /// function of `scale·product` alone: [`Terms::Exp`], and [`Terms::Softplus`] with a straight curve.
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

/// Which rows are divided by their length first. A row of length 0 has product 0 with everything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Normalise {
    /// None.
    #[default]
    Neither,
    /// The queries.
    Queries,
    /// The keys.
    Keys,
    /// Both: products are cosines.
    Both,
}

impl Normalise {
    pub(crate) fn queries(self) -> bool {
        matches!(self, Self::Queries | Self::Both)
    }

    pub(crate) fn keys(self) -> bool {
        matches!(self, Self::Keys | Self::Both)
    }
}

/// Which keys a query is compared with.
#[derive(Clone, Debug)]
pub enum Counted {
    /// All but its target, the key whose position is its label: key `j` is class `j`, or the view of query `j`.
    AllButTarget,
    /// The same in a sample of the keys, `[M]`: a key with a negative number does not count. For a sample that was gathered
    /// with repetitions; labels are positions in the sample.
    Sample(Tensor<1, Int>),
    /// The keys of another label, `[M]`; one with a negative label counts for no query. There is no target.
    OtherLabels(Tensor<1, Int>),
    /// The keys of the same label; one with a negative label counts for no query. There is no target.
    SameLabel {
        /// A label per key, `[M]`.
        labels: Tensor<1, Int>,
        /// Whether the keys are the rows that the queries are: then a query is not compared with the key at its own
        /// position.
        in_batch: bool,
    },
}

impl Counted {
    fn parts(self) -> (Exclusion, Option<Tensor<1, Int>>) {
        match self {
            Self::AllButTarget => (Exclusion::Target, None),
            Self::Sample(used) => (Exclusion::TargetAndUnused, Some(used)),
            Self::OtherLabels(labels) => (Exclusion::SameLabel, Some(labels)),
            Self::SameLabel { labels, in_batch } => (Exclusion::OtherLabels { in_batch }, Some(labels)),
        }
    }
}

/// Which of its centers speaks for a key.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum CenterChoice {
    /// The nearest, by the largest product.
    Nearest,
    /// All, by a softmax of their products divided by `gamma`: the product of the key is the mean of theirs with these
    /// weights.
    Soft {
        /// In `[1e-6, 1e6]`; the smaller, the nearer to `Nearest`.
        gamma: f64,
    },
}

/// What is added up over the keys that count.
#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant, reason = "made once per call; which variant is large depends on the backends")]
pub enum Terms {
    /// `log(sum over j of exp(scale·product[i, j] + bias[j]))`.
    Exp,
    /// The same, with the products of hard keys replaced.
    Reweighted(Reweighting),
    /// `sum over j of softplus(scale·curve(product[i, j]) + bias[j] + offset[i])`.
    Softplus {
        /// `[1]` or `[N]`; it receives a gradient.
        offset: Tensor<1>,
        /// What the products go through.
        curve: Curve,
    },
    /// `log(sum over j of exp(scale·max(product[i, j] + reach, 0)·(product[i, j] - goal) + bias[j]))`, where the maximum is a
    /// constant of the gradient: a product pulls the harder the farther it reaches.
    SelfPaced {
        /// Below `-reach` a product has no weight; finite.
        reach: f64,
        /// Where the sign changes; finite.
        goal: f64,
    },
    /// `log(sum over j of exp(logit[i, j]))` of the logits of a classifier, and [what else](LogitFigures) one pass over them
    /// says.
    Logits(Logits),
}

/// What the products of a classifier become.
///
/// ```text
/// logit[i, j] = cap·tanh((scale·product[i, j] + bias[j]) / cap), or what the hyperbolic tangent is of without a cap
/// ```
#[derive(Clone, Debug, Default)]
pub struct Logits {
    /// What a logit stays below, in `[1e-3, 1e6]`; `None` leaves it.
    pub cap: Option<f64>,
    /// What the logits of each key are multiplied with in [`LogitFigures::weighted`], `[M]`; constants. `None` spares it.
    pub weights: Option<Tensor<1>>,
}

/// Which keys are hard for a query, and what their products are replaced by: constants of the gradient but for the
/// product itself.
///
/// ```text
/// product[i, j] > threshold[i]:  quadratic·product[i, j]² + linear[i]·product[i, j] + constant[i]
/// ```
#[derive(Clone, Debug)]
pub struct Reweighting {
    /// `[N]`.
    pub threshold: Tensor<1>,
    /// The same for all queries.
    pub quadratic: f64,
    /// `[N]`.
    pub linear: Tensor<1>,
    /// `[N]`.
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

impl Curve {
    /// `curve(product) = product`.
    pub const STRAIGHT: Self = Self { exponent: 1.0, detached: false };

    /// Where `(cosine + 1) / 2` is smaller, its power is 0 in every precision, and its slope would be infinite.
    pub(crate) const SMALLEST_BASE: f64 = 1e-30;

    pub(crate) fn is_straight(self) -> bool {
        self.exponent == 1.0
    }
}

/// How queries are compared with keys.
#[derive(Clone, Debug)]
pub struct Comparison {
    /// Which keys a query is compared with; all but its target by default.
    pub counted: Counted,
    /// What is added up over them; exponentials by default.
    pub terms: Terms,
    /// Added to the scaled score of every key, `[M]`; it receives a gradient. None by default.
    pub bias: Option<Tensor<1>>,
    /// Which rows are divided by their length; none by default.
    pub normalise: Normalise,
    /// What products are multiplied with.
    pub scale: Scale,
    /// How many centers a key has: the rows of the keys are the centers of key 0, then those of key 1, and so on. 1 by
    /// default.
    pub sub_centers: usize,
    /// Which of them speaks for the key; the nearest by default.
    pub choice: CenterChoice,
    /// Memory for time.
    pub streaming: Streaming,
}

impl Comparison {
    /// Exponentials of all keys but the target, with this scale.
    pub fn new(scale: impl Into<Scale>) -> Self {
        Self {
            counted: Counted::AllButTarget,
            terms: Terms::Exp,
            bias: None,
            normalise: Normalise::Neither,
            scale: scale.into(),
            sub_centers: 1,
            choice: CenterChoice::Nearest,
            streaming: Streaming::new(),
        }
    }
}

/// What a comparison says of every query.
#[derive(Clone, Debug)]
pub struct Scores {
    /// The product with its target, neither scaled nor biased, `[N]`; 0 where it has none.
    pub target: Tensor<1>,
    /// What the terms of the keys that count add up to, `[N]`: of [`AllButTarget`](Counted::AllButTarget), of a
    /// [`Sample`](Counted::Sample) and of [`OtherLabels`](Counted::OtherLabels) the negatives, of
    /// [`SameLabel`](Counted::SameLabel) the positives.
    pub sum: Tensor<1>,
    /// How many terms of [`Terms::Softplus`] are not 0, `[N]` and without a gradient; `None` for others.
    pub active: Option<Tensor<1>>,
    /// Of [`Terms::Logits`]; `None` for others.
    pub logits: Option<LogitFigures>,
}

/// What a pass over logits says beside their log-sum-exp, `[N]` each.
#[derive(Clone, Debug)]
pub struct LogitFigures {
    /// `sum over j of weights[j]·logit[i, j]`, over all keys whether they count or not; `None` without weights.
    pub weighted: Option<Tensor<1>>,
    /// The largest logit of the keys that count, without a gradient; hugely negative where none does.
    pub largest: Tensor<1>,
    /// Which key has it: the first of equals; -1 where none counts.
    pub largest_key: Tensor<1, Int>,
}

/// The scores of queries with keys, added up.
///
/// With `q` the queries and `k` the keys, divided by their lengths where [`normalise`](Comparison::normalise) says so:
///
/// ```text
/// product[i, j] = <q[i], k[j]>, of the center that `choice` says where a key has several
/// target[i]     = product[i, labels[i]]
/// sum[i]        = what `terms` says of { product[i, j] : j that count for i }
///               = log(sum over j != labels[i] of exp(scale·product[i, j] + bias[j]))   by default
/// ```
///
/// A label that is the position of no key has no target: the product is 0, and all keys count. Where no key counts, a
/// log-sum-exp is -1e30 and a sum of softplus 0, both with gradient 0. With labels per key, a query with a negative label has
/// all keys of other labels, and none of the same.
///
/// Differentiable in `queries`, `keys`, the bias, the offset and a [`Scale::Tensor`]. Half precision is computed in `f32`,
/// which is what the output is then; a gradient is summed before it is rounded. Nothing of `[N, M]` is stored beyond
/// [`Streaming::kept_bytes`], and no normalised copy of the keys. Keys that are the transpose of what lies in memory, as the
/// weights of a linear layer are, are read where they lie.
///
/// # Shapes
///
/// - queries: `[N, D]`, with `D >= 1`
/// - keys: `[M·sub_centers, D]`
/// - labels: `[N]`
/// - output: `[N]` each
///
/// # Panics
///
/// If the shapes do not agree, a constant scale is not in `[1e-10, 1e10]`, `sub_centers` or `streaming.block` is 0, `gamma`
/// is not in `[1e-6, 1e6]`, the exponent of a curve not in `[1, 100]`, a cap not in `[1e-3, 1e6]`, `reach` or `goal` not finite,
/// or a scale is a tensor where it must be a number.
///
/// # Source
///
/// The running maximum and sum are those of Milakov and Gimelshein: [Online normalizer calculation for
/// softmax](https://arxiv.org/abs/1805.02867), 2018, algorithm 3.
///
/// ```
/// use burn::tensor::{Device, Int, Tensor};
/// use burn_losses_kernels::scores::{Comparison, Normalise, scores};
///
/// // A softmax head with the class centers (1, 0), (0, 1) and (-1, 0), and an embedding of class 1.
/// let device = Device::default();
/// let centers = Tensor::<2>::from_floats([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]], &device);
/// let embedding = Tensor::<2>::from_floats([[0.0, 3.0]], &device);
/// let label = Tensor::<1, Int>::from_ints([1], &device);
/// let cosines = Comparison { normalise: Normalise::Both, ..Comparison::new(8.0) };
/// let scores = scores(embedding, centers, label, cosines);
/// assert_eq!(scores.target.into_scalar::<f32>(), 1.0);
/// // Two other classes, of cosine 0.
/// assert!((scores.sum.into_scalar::<f32>() - 2.0_f32.ln()).abs() < 1e-6);
/// ```
pub fn scores(queries: Tensor<2>, keys: Tensor<2>, labels: Tensor<1, Int>, comparison: Comparison) -> Scores {
    compare(queries, keys, labels, comparison, streamed)
}

/// [`scores`] from ordinary tensor operations, with all scores and normalised copies in memory: the definition of correct.
pub fn scores_reference(queries: Tensor<2>, keys: Tensor<2>, labels: Tensor<1, Int>, comparison: Comparison) -> Scores {
    compare(queries, keys, labels, comparison, reference::packed)
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

/// A [`Batch`] of tensors of the user's side.
struct Inputs {
    queries: Tensor<2>,
    keys: Tensor<2>,
    bias: Option<Tensor<1>>,
    rows: Option<Tensor<2>>,
    weights: Option<Tensor<1>>,
    labels: Tensor<1, Int>,
    key_labels: Option<Tensor<1, Int>>,
    plan: Plan,
}

/// Checks the arguments, makes their types agree, and unpacks what `operation` returns, `[N, Term::columns()]`.
fn compare(
    queries: Tensor<2>,
    keys: Tensor<2>,
    labels: Tensor<1, Int>,
    comparison: Comparison,
    operation: impl FnOnce(Inputs) -> Tensor<2>,
) -> Scores {
    let Comparison { counted, terms, bias, normalise, scale, sub_centers, choice, streaming } = comparison;
    let ([batch, dim], [rows, _]) = (queries.dims(), keys.dims());
    assert!(dim >= 1, "scores: queries must have at least one column");
    assert!(sub_centers >= 1, "scores: sub_centers must be >= 1, got 0");
    assert!(streaming.block != Some(0), "scores: streaming.block must be >= 1, got 0");
    if let CenterChoice::Soft { gamma } = choice {
        assert!((1e-6..=1e6).contains(&gamma), "scores: gamma must be in [1e-6, 1e6], got {gamma}");
    }
    let count = rows / sub_centers;
    assert_shape!(keys, [count * sub_centers, dim]);
    assert_shape!(labels, [batch]);
    let (exclusion, key_labels) = counted.parts();
    if let Some(key_labels) = &key_labels {
        assert_shape!(key_labels, [count]);
    }
    if let Some(bias) = &bias {
        assert_shape!(bias, [count]);
    }
    let queries = widen(queries);
    let Parts { term, rows, offset, weights } = parts_of(terms, &queries, count);
    if let Scale::Tensor(_) = scale {
        let of_the_scaled = match term {
            Term::Exp | Term::Logits { .. } => true,
            Term::Softplus(curve) => curve.is_straight(),
            Term::Reweighted { .. } | Term::SelfPaced { .. } => false,
        };
        let of_the_scaled = of_the_scaled && (sub_centers == 1 || choice == CenterChoice::Nearest);
        assert!(of_the_scaled, "scores: scale must be a number where products are replaced or weighed");
    }
    if batch == 0 || count == 0 {
        return scores_of_nothing(queries, term, weights.is_some());
    }

    let (queries, normalise, factor, divisor) = scaled(queries, normalise, scale);
    // Half precision is widened block by block; any other type is made to agree here, gradient included.
    let widens = matches!(keys.dtype(), DType::F16 | DType::BF16) && queries.dtype() == DType::F32;
    let keys = if widens { keys } else { cast_to(keys, queries.dtype()) };
    let bias = bias.map(|bias| cast_to(bias, queries.dtype()));
    let (labels, key_labels) = match key_labels {
        Some(key_labels) if !exclusion.has_target() => {
            let (labels, key_labels) = comparable(labels, key_labels);
            (labels, Some(key_labels))
        }
        key_labels => (signed(labels), key_labels.map(signed)),
    };
    let bytes = batch.saturating_mul(count).saturating_mul(queries.dtype().size());
    let can_keep = matches!(term, Term::Exp | Term::Logits { cap: None }) && sub_centers == 1;
    let keep = can_keep && bytes <= streaming.kept_bytes;
    let plan = Plan { exclusion, term, normalise, sub_centers, choice, scale: factor, keep, block: streaming.block };
    let has_weights = weights.is_some();
    let packed = operation(Inputs { queries, keys, bias, rows, weights, labels, key_labels, plan });

    let column = |index| packed.clone().narrow(1, index, 1).squeeze_dim::<1>(1);
    let target = match divisor {
        Some(scale) if exclusion.has_target() => column(0) / scale.expand([batch]),
        _ => column(0),
    };
    match (term, offset) {
        (Term::Logits { .. }, _) => {
            let logits = LogitFigures {
                weighted: has_weights.then(|| column(2)),
                largest: column(3).detach(),
                largest_key: column(4).detach().int(),
            };
            Scores { target, sum: column(1), active: None, logits: Some(logits) }
        }
        (_, Some(offset)) => {
            let active = Some(column(3).detach());
            Scores { target, sum: with_gradient_of(offset, column(1), column(2)), active, logits: None }
        }
        (_, None) => Scores { target, sum: column(1), active: None, logits: None },
    }
}

/// The operation where the device has it, else its reference.
fn streamed(inputs: Inputs) -> Tensor<2> {
    if !streams_on(&inputs.queries.device()) {
        return reference::packed(inputs);
    }
    let Inputs { queries, keys, bias, rows, weights, labels, key_labels, plan } = inputs;
    // Where no labels of keys are read, those of the queries stand in.
    let key_labels = key_labels.unwrap_or_else(|| labels.clone());
    Tensor::from_dispatch(<Dispatch as ScoreOps>::scores(Batch {
        queries: queries.into_dispatch(),
        keys: keys.into_dispatch(),
        bias: bias.map(Tensor::into_dispatch).into(),
        rows: rows.map(Tensor::into_dispatch).into(),
        weights: weights.map(Tensor::into_dispatch).into(),
        labels: labels.into_dispatch(),
        key_labels: key_labels.into_dispatch(),
        plan,
    }))
}

/// Terms without and with their tensors.
struct Parts {
    term: Term,
    /// The constants that they need of every query.
    rows: Option<Tensor<2>>,
    offset: Option<Tensor<1>>,
    /// A constant of every key.
    weights: Option<Tensor<1>>,
}

fn parts_of(terms: Terms, queries: &Tensor<2>, count: usize) -> Parts {
    let [batch, _] = queries.dims();
    let (dtype, device) = (queries.dtype(), queries.device());
    let column = |numbers: Tensor<1>| {
        let numbers = cast_to(numbers, dtype).to_device(&device).detach();
        numbers.expand([batch]).unsqueeze_dim::<2>(1)
    };
    let of = |term| Parts { term, rows: None, offset: None, weights: None };
    match terms {
        Terms::Exp => of(Term::Exp),
        Terms::Reweighted(Reweighting { threshold, quadratic, linear, constant }) => {
            let numbers = [threshold, linear, constant];
            for numbers in &numbers {
                assert_shape!(numbers, [batch]);
            }
            Parts { rows: Some(Tensor::cat(numbers.map(column).to_vec(), 1)), ..of(Term::Reweighted { quadratic }) }
        }
        Terms::Softplus { offset, curve } => {
            let Curve { exponent, .. } = curve;
            assert!((1.0..=100.0).contains(&exponent), "scores: exponent must be in [1, 100], got {exponent}");
            if offset.dims() != [1] {
                assert_shape!(offset, [batch]);
            }
            let offset = cast_to(offset, dtype);
            Parts { rows: Some(column(offset.clone())), offset: Some(offset), ..of(Term::Softplus(curve)) }
        }
        Terms::SelfPaced { reach, goal } => {
            assert!(reach.is_finite(), "scores: reach must be finite, got {reach}");
            assert!(goal.is_finite(), "scores: goal must be finite, got {goal}");
            of(Term::SelfPaced { reach, goal })
        }
        Terms::Logits(Logits { cap, weights }) => {
            if let Some(cap) = cap {
                assert!((1e-3..=1e6).contains(&cap), "scores: cap must be in [1e-3, 1e6], got {cap}");
            }
            if let Some(weights) = &weights {
                assert_shape!(weights, [count]);
            }
            let weights = weights.map(|weights| cast_to(weights, dtype).to_device(&device).detach());
            Parts { weights, ..of(Term::Logits { cap }) }
        }
    }
}

/// Queries, which rows are yet to be normalised, the number that products are to be multiplied with, and what the target
/// is to be divided by: a scale that is a tensor goes into the queries, which are few, so it and its gradient cost nothing
/// per key.
fn scaled(queries: Tensor<2>, normalise: Normalise, scale: Scale) -> (Tensor<2>, Normalise, f64, Option<Tensor<1>>) {
    match scale {
        Scale::Constant(scale) => {
            assert!((1e-10..=1e10).contains(&scale), "scores: scale must be in [1e-10, 1e10], got {scale}");
            (queries, normalise, scale, None)
        }
        Scale::Tensor(scale) => {
            assert_shape!(scale, [1]);
            let dims = queries.dims();
            let scale = cast_to(scale, queries.dtype());
            let queries = if normalise.queries() { unit_rows(queries) } else { queries };
            let normalise = if normalise.keys() { Normalise::Keys } else { Normalise::Neither };
            (queries * scale.clone().unsqueeze_dim::<2>(1).expand(dims), normalise, 1.0, Some(scale))
        }
    }
}

/// Without queries, or without keys; then the queries find the gradient 0.
fn scores_of_nothing(queries: Tensor<2>, term: Term, has_weights: bool) -> Scores {
    let [batch, _] = queries.dims();
    let is_softplus = matches!(term, Term::Softplus(_));
    let column = if batch == 0 {
        Tensor::zeros([0], (&queries.device(), queries.dtype()))
    } else {
        queries.narrow(1, 0, 1).squeeze_dim::<1>(1)
    };
    let of = |number: f64| {
        if batch == 0 {
            return column.clone();
        }
        let all = Tensor::<1, Bool>::full([batch], true, &column.device());
        column.clone().mask_fill(all, number)
    };
    let sum = of(if is_softplus { 0.0 } else { NOTHING });
    let logits = matches!(term, Term::Logits { .. }).then(|| LogitFigures {
        weighted: has_weights.then(|| of(0.0)),
        largest: of(NOTHING).detach(),
        largest_key: of(-1.0).detach().int(),
    });
    Scores { target: of(0.0), sum, active: is_softplus.then(|| of(0.0).detach()), logits }
}

/// Sums of softplus with the gradient of the offset, whose slope is the sum of those of the terms. The difference that
/// carries it is exactly 0.
fn with_gradient_of(offset: Tensor<1>, sum: Tensor<1>, slope: Tensor<1>) -> Tensor<1> {
    let shape = sum.dims();
    let nothing = offset.clone() - offset.detach();
    sum + slope.detach() * nothing.expand(shape)
}
