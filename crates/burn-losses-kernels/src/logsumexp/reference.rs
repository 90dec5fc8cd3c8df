use burn::tensor::{Bool, Int, Tensor};

use super::backend::Exclusion;
use super::{Job, KeyLabels, Streaming};
use crate::math::{NOTHING, cast_to, log_sum_exp, unit_rows, widen};

/// [`streamed_logsumexp`](super::streamed_logsumexp) from ordinary tensor operations, with all scores in memory: the
/// definition of correct. For at least one query and one key.
pub fn streamed_logsumexp_reference(
    queries: Tensor<2>,
    keys: Tensor<2>,
    query_labels: Tensor<1, Int>,
    key_labels: KeyLabels,
    scale: f64,
) -> Tensor<1> {
    let (exclusion, key_labels) = key_labels.exclusion();
    let job = Job { exclusion, normalise: false, scale, streaming: Streaming::new() };
    scores(widen(queries), keys, query_labels, key_labels, job).narrow(1, 1, 1).squeeze_dim(1)
}

/// [`class_scores`](super::class_scores) from ordinary tensor operations, with all scores and a normalised copy of the
/// weights in memory: the definition of correct. For at least one embedding and one class.
pub fn class_scores_reference(
    embeddings: Tensor<2>,
    weights: Tensor<2>,
    labels: Tensor<1, Int>,
    scale: f64,
) -> Tensor<2> {
    let job = Job { exclusion: Exclusion::OwnKey, normalise: true, scale, streaming: Streaming::new() };
    scores(unit_rows(widen(embeddings)), weights, labels, None, job)
}

pub(super) fn scores(
    queries: Tensor<2>,
    keys: Tensor<2>,
    labels: Tensor<1, Int>,
    key_labels: Option<Tensor<1, Int>>,
    job: Job,
) -> Tensor<2> {
    let ([batch, _], [count, _]) = (queries.dims(), keys.dims());
    let keys = cast_to(keys, queries.dtype());
    let keys = if job.normalise { unit_rows(keys) } else { keys };
    let scores = queries.matmul(keys.transpose());

    let (own, excluded) = masks(labels, key_labels, [batch, count], job.exclusion);
    let own = scores.clone().mask_fill(own.bool_not(), 0.0).sum_dim(1);
    // Where everything is left out, the sum is over terms that are all as small; its log would still carry a gradient.
    let nothing: Tensor<2, Bool> = excluded.clone().int().sum_dim(1).equal_scalar(count as i64);
    let others = log_sum_exp(scores.mul_scalar(job.scale).mask_fill(excluded, NOTHING)).unsqueeze_dim::<2>(1);

    Tensor::cat(alloc::vec![own, others.mask_fill(nothing, NOTHING)], 1)
}

/// Which key is a query's own, and which ones it leaves out, `[queries, keys]`.
pub(crate) fn masks(
    labels: Tensor<1, Int>,
    key_labels: Option<Tensor<1, Int>>,
    shape: [usize; 2],
    exclusion: Exclusion,
) -> (Tensor<2, Bool>, Tensor<2, Bool>) {
    let [batch, count] = shape;
    let columns = |numbers: Tensor<1, Int>| numbers.unsqueeze_dim::<2>(0).expand(shape);
    let rows = |numbers: Tensor<1, Int>| numbers.unsqueeze_dim::<2>(1).expand(shape);
    let positions = |count: usize| Tensor::<1, Int>::arange(0..count as i64, (&labels.device(), labels.dtype()));
    let is_own = || columns(positions(count)).equal(rows(labels.clone()));
    let nobody = || Tensor::<2, Bool>::full(shape, false, &labels.device());
    let key_labels = || key_labels.clone().expect("key labels");
    let unused = || columns(key_labels()).lower_scalar(0);
    let same = || columns(cast_int(key_labels(), &labels)).equal(rows(labels.clone()));

    match exclusion {
        Exclusion::OwnKey => (is_own(), is_own()),
        Exclusion::OwnKeyAndUnused => (is_own(), is_own().bool_or(unused())),
        Exclusion::SameLabel => (nobody(), same().bool_or(unused())),
        Exclusion::OtherLabel { in_batch: false } => (nobody(), same().bool_not().bool_or(unused())),
        Exclusion::OtherLabel { in_batch: true } => {
            let itself = columns(positions(count)).equal(rows(positions(batch)));
            (nobody(), same().bool_not().bool_or(unused()).bool_or(itself))
        }
    }
}

fn cast_int(labels: Tensor<1, Int>, like: &Tensor<1, Int>) -> Tensor<1, Int> {
    if labels.dtype() == like.dtype() { labels } else { labels.cast(like.dtype()) }
}
