use burn::tensor::activation::softmax;
use burn::tensor::{Bool, Int, Tensor};

use super::backend::{Exclusion, Plan, Term};
use super::{CenterChoice, Curve, Inputs};
use crate::math::{NOTHING, cast_to, log_sum_exp_where, soft_cap, softplus, unit_rows};

pub(super) fn packed(inputs: Inputs) -> Tensor<2> {
    let Inputs { queries, keys, bias, rows, weights, labels, key_labels, plan } = inputs;
    let Plan { exclusion, term, normalise, sub_centers, choice, scale, .. } = plan;
    let ([batch, _], [centers, _]) = (queries.dims(), keys.dims());
    let shape = [batch, centers / sub_centers];
    let keys = cast_to(keys, queries.dtype());
    let queries = if normalise.queries() { unit_rows(queries) } else { queries };
    let keys = if normalise.keys() { unit_rows(keys) } else { keys };
    let products = chosen(queries.matmul(keys.transpose()), sub_centers, choice);

    let (is_target, left_out) = masks(labels, key_labels, shape, exclusion);
    let target = products.clone().mask_fill(is_target.bool_not(), 0.0).sum_dim(1);
    let of_row = |column: usize| rows.clone().expect("terms of rows").narrow(1, column, 1).expand(shape);
    let biased = |products: Tensor<2>| match bias.clone() {
        None => products.mul_scalar(scale),
        Some(bias) => products.mul_scalar(scale) + bias.unsqueeze_dim::<2>(0).expand(shape),
    };
    let sums = match term {
        Term::Exp => log_sum_of(biased(products), left_out),
        Term::Reweighted { quadratic } => {
            let hard = products.clone().greater(of_row(0));
            let replaced = products.clone().square().mul_scalar(quadratic) + products.clone() * of_row(1) + of_row(2);
            log_sum_of(biased(products.mask_where(hard, replaced)), left_out)
        }
        Term::SelfPaced { reach, goal } => {
            let weights = products.clone().detach().add_scalar(reach).clamp_min(0.0);
            log_sum_of(biased(weights * products.sub_scalar(goal)), left_out)
        }
        Term::Softplus(curve) => {
            // Scores that are left out must not bring an infinity into the gradient.
            let scores = (biased(curve.of(products)) + of_row(0)).mask_fill(left_out.clone(), 0.0);
            let terms = softplus(scores.clone());
            let slopes = (scores - terms.clone()).detach().exp();
            let active = terms.clone().detach().sign();
            let sum = |terms: Tensor<2>| terms.mask_fill(left_out.clone(), 0.0).sum_dim(1);
            Tensor::cat(alloc::vec![sum(terms), sum(slopes), sum(active)], 1)
        }
        Term::Logits { cap } => {
            let logits = biased(products);
            let logits = match cap {
                Some(cap) => soft_cap(logits, cap),
                None => logits,
            };
            let weighted = match weights {
                Some(weights) => (logits.clone() * weights.unsqueeze_dim::<2>(0).expand(shape)).sum_dim(1),
                None => Tensor::zeros([batch, 1], (&logits.device(), logits.dtype())),
            };
            let (largest, key) = logits.clone().detach().mask_fill(left_out.clone(), NOTHING).max_dim_with_indices(1);
            let none_counts = left_out.clone().bool_not().any_dim(1).bool_not();
            let key = cast_to(key.float(), logits.dtype()).mask_fill(none_counts, -1.0);
            Tensor::cat(alloc::vec![log_sum_of(logits, left_out), weighted, largest, key], 1)
        }
    };
    Tensor::cat(alloc::vec![target, sums], 1)
}

/// The products of keys from those of their centers.
fn chosen(products: Tensor<2>, sub_centers: usize, choice: CenterChoice) -> Tensor<2> {
    if sub_centers == 1 {
        return products;
    }
    let [batch, centers] = products.dims();
    let keys = centers / sub_centers;
    let products = products.reshape([batch, keys, sub_centers]);
    let products = match choice {
        CenterChoice::Nearest => products.max_dim(2),
        CenterChoice::Soft { gamma } => {
            let shares = softmax(products.clone().mul_scalar(1.0 / gamma), 2);
            (shares * products).sum_dim(2)
        }
    };
    products.reshape([batch, keys])
}

fn log_sum_of(scores: Tensor<2>, left_out: Tensor<2, Bool>) -> Tensor<2> {
    log_sum_exp_where(scores, left_out.bool_not()).unsqueeze_dim(1)
}

/// Which key is a query's target, and which ones it leaves out, `[queries, keys]`.
fn masks(
    labels: Tensor<1, Int>,
    key_labels: Option<Tensor<1, Int>>,
    shape: [usize; 2],
    exclusion: Exclusion,
) -> (Tensor<2, Bool>, Tensor<2, Bool>) {
    let [batch, count] = shape;
    let columns = |numbers: Tensor<1, Int>| numbers.unsqueeze_dim::<2>(0).expand(shape);
    let rows = |numbers: Tensor<1, Int>| numbers.unsqueeze_dim::<2>(1).expand(shape);
    let positions = |count: usize| Tensor::<1, Int>::arange(0..count as i64, (&labels.device(), labels.dtype()));
    let is_target = || columns(positions(count)).equal(rows(labels.clone()));
    let nobody = || Tensor::<2, Bool>::full(shape, false, &labels.device());
    let key_labels = || columns(key_labels.clone().expect("labels of keys"));
    let unused = || key_labels().lower_scalar(0);
    let same = || key_labels().equal(rows(labels.clone()));

    match exclusion {
        Exclusion::Target => (is_target(), is_target()),
        Exclusion::TargetAndUnused => (is_target(), is_target().bool_or(unused())),
        Exclusion::SameLabel => (nobody(), same().bool_or(unused())),
        Exclusion::OtherLabels { in_batch: false } => (nobody(), same().bool_not().bool_or(unused())),
        Exclusion::OtherLabels { in_batch: true } => {
            let itself = columns(positions(count)).equal(rows(positions(batch)));
            (nobody(), same().bool_not().bool_or(unused()).bool_or(itself))
        }
    }
}

impl Curve {
    /// The curve of any cosines.
    pub fn of<const D: usize>(self, cosines: Tensor<D>) -> Tensor<D> {
        if self.is_straight() {
            return cosines;
        }
        let base = cosines.clone().add_scalar(1.0).mul_scalar(0.5).clamp_min(Self::SMALLEST_BASE);
        let bent = base.log().mul_scalar(self.exponent).exp().mul_scalar(2.0).sub_scalar(1.0);
        if self.detached { bent.detach() + (cosines.clone() - cosines.detach()) } else { bent }
    }
}
