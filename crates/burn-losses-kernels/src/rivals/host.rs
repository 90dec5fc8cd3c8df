//! The operation on the memory of CPU backends: the walk of [`logsumexp`](crate::logsumexp), told what a class is and what
//! is added up.

use burn::backend::tensor::{FloatTensor, IntTensor};

use super::backend::{Plan, Saved};
use crate::logsumexp::backend::{Plan as WalkPlan, Wanted};
use crate::logsumexp::cpu::Rivals;
use crate::logsumexp::cpu::memory::{Call, Host, Results};

pub(super) fn forward<H: Host>(
    queries: FloatTensor<H>,
    keys: FloatTensor<H>,
    row_terms: FloatTensor<H>,
    labels: IntTensor<H>,
    key_labels: IntTensor<H>,
    plan: Plan,
) -> FloatTensor<H> {
    let (walk, rivals) = parts(plan);
    Call::<H>::new(queries, keys, labels, key_labels, walk).with_rivals(rivals, row_terms).forward().0
}

pub(super) fn backward<H: Host>(
    saved: Saved<H>,
    gradient: FloatTensor<H>,
    plan: Plan,
    wanted: Wanted,
) -> (FloatTensor<H>, FloatTensor<H>) {
    let Saved { queries, keys, row_terms, labels, key_labels, output } = saved;
    let (walk, rivals) = parts(plan);
    let call = Call::<H>::new(queries, keys, labels, key_labels, walk).with_rivals(rivals, row_terms);
    call.backward(&Results { output, kept: None, gradient }, wanted)
}

fn parts(plan: Plan) -> (WalkPlan, Rivals) {
    let Plan { sub_centers, choice, terms, scale, exclusion, normalise, block } = plan;
    (WalkPlan { exclusion, normalise, scale, keep: false, block }, Rivals { sub_centers, choice, terms })
}
