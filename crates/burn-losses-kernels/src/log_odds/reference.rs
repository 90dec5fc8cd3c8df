use burn::tensor::{Int, Tensor};

use super::LogOdds;
use crate::math::{cast_to, log_sum_exp, log_sum_exp_where};

pub(super) fn log_odds(logits: Tensor<2>, labels: Tensor<1, Int>, weights: Option<Tensor<1>>) -> LogOdds {
    let [rows, classes] = logits.dims();
    let unlabelled = labels.clone().lower_scalar(0);
    let column = unlabelled.clone().unsqueeze_dim::<2>(1).expand([rows, classes]);
    let logits = logits.mask_fill(column, 0.0);
    // Below 0 everywhere, so that no logit is as small as that of nothing and counts for something.
    let logits = logits.clone() - logits.detach().max_dim(1).expand([rows, classes]);
    let index = labels.mask_fill(unlabelled.clone(), 0);
    let all = Tensor::<1, Int>::arange(0..classes as i64, (&index.device(), index.dtype()));
    let all = all.unsqueeze_dim::<2>(0).expand([rows, classes]);
    let is_other = all.not_equal(index.clone().unsqueeze_dim::<2>(1).expand([rows, classes]));
    let target = logits.clone().gather(1, index.unsqueeze_dim::<2>(1)).squeeze_dim::<1>(1);
    let log_odds = (target - log_sum_exp_where(logits.clone(), is_other)).mask_fill(unlabelled.clone(), 0.0);
    let spread = weights.map(|weights| {
        let weights = cast_to(weights, logits.dtype()).unsqueeze_dim::<2>(0).expand([rows, classes]);
        let sums = log_sum_exp(logits.clone()).unsqueeze_dim::<2>(1).expand([rows, classes]);
        // A weight of 0 takes infinity out too: a class that is masked and weighs nothing.
        let weightless = weights.clone().equal_scalar(0.0);
        ((sums - logits).mask_fill(weightless, 0.0) * weights).sum_dim(1).squeeze_dim::<1>(1).mask_fill(unlabelled, 0.0)
    });
    LogOdds { log_odds, spread }
}
