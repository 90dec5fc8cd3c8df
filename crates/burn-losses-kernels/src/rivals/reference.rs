use burn::tensor::activation::softmax;
use burn::tensor::{Bool, Int, Tensor};

use super::CenterChoice;
use super::backend::{Plan, Terms};
use crate::logsumexp::reference::masks;
use crate::math::{NOTHING, cast_to, log_sum_exp, softplus, unit_rows};

/// Where `(cosine + 1) / 2` is smaller, its power is 0 in every precision, and its slope would be infinite.
const SMALLEST_BASE: f64 = 1e-30;

pub(super) fn rivals(
    queries: Tensor<2>,
    keys: Tensor<2>,
    row_terms: Tensor<2>,
    labels: Tensor<1, Int>,
    key_labels: Tensor<1, Int>,
    plan: Plan,
) -> Tensor<2> {
    let Plan { sub_centers, choice, terms, scale, exclusion, normalise, .. } = plan;
    let ([batch, _], [count, _]) = (queries.dims(), keys.dims());
    let classes = count / sub_centers;
    let shape = [batch, classes];
    let keys = cast_to(keys, queries.dtype());
    let keys = if normalise { unit_rows(keys) } else { keys };
    let cosines = queries.matmul(keys.transpose());
    let cosines = cosines.reshape([batch, classes, sub_centers]);
    let cosines = match choice {
        CenterChoice::Nearest => cosines.max_dim(2),
        CenterChoice::Soft { gamma } => {
            let shares = softmax(cosines.clone().mul_scalar(1.0 / gamma), 2);
            (shares * cosines).sum_dim(2)
        }
    };
    let cosines = cosines.reshape(shape);

    let (own, excluded) = masks(labels, Some(key_labels), shape, exclusion);
    let mut first = cosines.clone().mask_fill(own.bool_not(), 0.0).sum_dim(1);
    let row_term = |column: usize| row_terms.clone().narrow(1, column, 1).expand(shape);

    let rivals = match terms {
        Terms::LogSumExp => log_sum_of(cosines, scale, excluded),
        Terms::Reweighted { quadratic } => {
            let hard = cosines.clone().greater(row_term(0));
            let replaced = cosines.clone().square().mul_scalar(quadratic) + cosines.clone() * row_term(1) + row_term(2);
            log_sum_of(cosines.mask_where(hard, replaced), scale, excluded)
        }
        Terms::Softplus { exponent, detached } => {
            let scores = curve(cosines, exponent, detached).mul_scalar(scale) - row_term(0);
            // Rows that are left out must not bring an infinity into the gradient.
            let scores = scores.mask_fill(excluded.clone(), 0.0);
            let terms = softplus(scores.clone());
            let slopes = (scores - terms.clone()).detach().exp();
            let sum = |terms: Tensor<2>| terms.mask_fill(excluded.clone(), 0.0).sum_dim(1);
            if !exclusion.has_own_key() {
                first = sum(terms.clone().detach().sign());
            }
            Tensor::cat(alloc::vec![sum(terms), sum(slopes)], 1)
        }
        Terms::SelfPaced { reach, goal } => {
            let weights = cosines.clone().detach().add_scalar(reach).clamp_min(0.0);
            log_sum_of(weights * cosines.sub_scalar(goal), scale, excluded)
        }
    };
    Tensor::cat(alloc::vec![first, rivals], 1)
}

fn log_sum_of(cosines: Tensor<2>, scale: f64, excluded: Tensor<2, Bool>) -> Tensor<2> {
    let [_, classes] = cosines.dims();
    // Where everything is left out, the sum is over terms that are all as small; its log would still carry a gradient.
    let nothing: Tensor<2, Bool> = excluded.clone().int().sum_dim(1).equal_scalar(classes as i64);
    let others = log_sum_exp(cosines.mul_scalar(scale).mask_fill(excluded, NOTHING)).unsqueeze_dim::<2>(1);
    others.mask_fill(nothing, NOTHING)
}

fn curve(cosines: Tensor<2>, exponent: f64, detached: bool) -> Tensor<2> {
    if exponent == 1.0 {
        return cosines;
    }
    let base = cosines.clone().add_scalar(1.0).mul_scalar(0.5).clamp_min(SMALLEST_BASE);
    let bent = base.log().mul_scalar(exponent).exp().mul_scalar(2.0).sub_scalar(1.0);
    if detached { bent.detach() + (cosines.clone() - cosines.detach()) } else { bent }
}
