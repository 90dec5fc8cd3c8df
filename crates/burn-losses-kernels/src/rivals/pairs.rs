use burn::tensor::{Int, Tensor, assert_shape};

use super::backend::{Plan, Terms};
use super::{CenterChoice, reference, run, with_bias_gradient};
use crate::logsumexp::{KeyLabels, Scale, Streaming, scaled};
use crate::math::{cast_to, signed, widen};

/// What the scores of a query's keys add up to.
#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant, reason = "made once per call; which variant is large depends on the backends")]
pub enum PairSum {
    /// `sum over j of softplus(scale·score[i, j] - bias[i])`.
    Softplus {
        /// `[N]`; it receives a gradient.
        bias: Tensor<1>,
    },
    /// `log(sum over j of exp(scale·max(score[i, j] + reach, 0)·(score[i, j] - goal)))`, where the maximum is a constant
    /// of the gradient: a score pulls the harder the farther it reaches.
    SelfPaced {
        /// Below `-reach` a score has no weight; finite.
        reach: f64,
        /// Where the sign changes; finite.
        goal: f64,
    },
}

/// What the scores of every query and the keys it is compared with add up to, streamed over blocks of keys.
///
/// ```text
/// score[i, j]  = <queries[i], keys[j]>
/// output[i, 0] = how many terms of a Softplus are not 0, without a gradient; else 0
/// output[i, 1] = what `sum` says of { score[i, j] : key_labels compares j with i }
/// ```
///
/// Without a key to compare with, the second is 0 for a sum of softplus and [`NOTHING`](crate::math::NOTHING) for a
/// log-sum-exp, with gradient 0. Differentiable in `queries`, `keys`, the bias and a [`Scale::Tensor`]. Nothing of
/// `[N, M]` is stored. Half precision is computed in `f32`, which is what the output is then.
///
/// # Shapes
///
/// - queries: `[N, D]`, `N >= 1`, `D >= 1`
/// - keys: `[M, D]`, `M >= 1`
/// - query_labels: `[N]`
/// - output: `[N, 2]`
///
/// # Panics
///
/// If the shapes do not agree or are empty, the scale is out of its range, `reach` or `goal` is not finite, or
/// `streaming.block` is 0.
///
/// ```
/// use burn::tensor::{Device, Int, Tensor};
/// use burn_losses_kernels::logsumexp::{KeyLabels, Streaming};
/// use burn_losses_kernels::rivals::{PairSum, pair_sums};
///
/// let rows = Tensor::<2>::from_floats([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]], &Device::default());
/// let labels = Tensor::<1, Int>::from_ints([7, 7, 5], &Device::default());
/// let same = KeyLabels::Same { labels: labels.clone(), in_batch: true };
/// let sum = PairSum::Softplus { bias: Tensor::zeros([3], &Device::default()) };
/// let sums = pair_sums(rows.clone(), rows, labels, same, sum, 2.0, Streaming::new());
/// let sums = sums.try_into_vec_as::<f32>().unwrap();
/// // The first two rows have one positive each, of product 1; the third has none.
/// assert!((sums[1] - (1.0_f32 + 2.0_f32.exp()).ln()).abs() < 1e-6 && sums[0] == 1.0);
/// assert_eq!(sums[4..], [0.0, 0.0]);
/// ```
pub fn pair_sums(
    queries: Tensor<2>,
    keys: Tensor<2>,
    query_labels: Tensor<1, Int>,
    key_labels: KeyLabels,
    sum: PairSum,
    scale: impl Into<Scale>,
    streaming: Streaming,
) -> Tensor<2> {
    let (job, bias) = job(queries, keys, query_labels, key_labels, sum, scale.into(), streaming.block);
    let Job { queries, keys, row_terms, labels, key_labels, plan } = job;
    with_gradient_of(bias, run(queries, keys, row_terms, labels, key_labels, plan))
}

/// [`pair_sums`] from ordinary tensor operations, with all scores in memory: the definition of correct.
pub fn pair_sums_reference(
    queries: Tensor<2>,
    keys: Tensor<2>,
    query_labels: Tensor<1, Int>,
    key_labels: KeyLabels,
    sum: PairSum,
    scale: impl Into<Scale>,
) -> Tensor<2> {
    let (job, bias) = job(queries, keys, query_labels, key_labels, sum, scale.into(), None);
    let Job { queries, keys, row_terms, labels, key_labels, plan } = job;
    with_gradient_of(bias, reference::rivals(queries, keys, row_terms, labels, key_labels, plan))
}

/// The arguments of the operation.
struct Job {
    queries: Tensor<2>,
    keys: Tensor<2>,
    row_terms: Tensor<2>,
    labels: Tensor<1, Int>,
    key_labels: Tensor<1, Int>,
    plan: Plan,
}

fn job(
    queries: Tensor<2>,
    keys: Tensor<2>,
    query_labels: Tensor<1, Int>,
    key_labels: KeyLabels,
    sum: PairSum,
    scale: Scale,
    block: Option<usize>,
) -> (Job, Option<Tensor<1>>) {
    let ([batch, dim], [count, _]) = (queries.dims(), keys.dims());
    assert!(batch >= 1 && count >= 1 && dim >= 1, "pair sums: there must be a query, a key and a column");
    assert!(block != Some(0), "pair sums: streaming.block must be >= 1, got 0");
    assert_shape!(keys, [count, dim]);
    assert_shape!(query_labels, [batch]);
    let (queries, scale) = scaled(widen(queries), scale);
    let keys = cast_to(keys, queries.dtype());
    let labels = signed(query_labels);
    // A position is a label too; what has an own key would have its score in the output.
    let key_labels = match key_labels {
        KeyLabels::Position => KeyLabels::Tensor(Tensor::arange(0..count as i64, (&labels.device(), labels.dtype()))),
        given => given,
    };
    let (exclusion, key_labels) = key_labels.exclusion();
    let key_labels = signed(key_labels.expect("no position is left"));
    assert_shape!(key_labels, [count]);

    let options = (&queries.device(), queries.dtype());
    let (terms, row_terms, bias) = match sum {
        PairSum::Softplus { bias } => {
            assert_shape!(bias, [batch]);
            let bias = cast_to(bias, queries.dtype());
            let column = bias.clone().detach().unsqueeze_dim::<2>(1);
            let row_terms = Tensor::cat(alloc::vec![column, Tensor::zeros([batch, 2], options)], 1);
            (Terms::Softplus { exponent: 1.0, detached: false }, row_terms, Some(bias))
        }
        PairSum::SelfPaced { reach, goal } => {
            assert!(reach.is_finite(), "pair sums: reach must be finite, got {reach}");
            assert!(goal.is_finite(), "pair sums: goal must be finite, got {goal}");
            (Terms::SelfPaced { reach, goal }, Tensor::zeros([batch, 3], options), None)
        }
    };
    let plan = Plan { sub_centers: 1, choice: CenterChoice::Nearest, terms, scale, exclusion, normalise: false, block };

    (Job { queries, keys, row_terms, labels, key_labels, plan }, bias)
}

fn with_gradient_of(bias: Option<Tensor<1>>, output: Tensor<2>) -> Tensor<2> {
    match bias {
        Some(bias) => with_bias_gradient(output, bias),
        None => output,
    }
}
