use burn::tensor::{Bool, Tensor};

use super::kinds::masks;
use super::{PairCost, PairRule, PairSums, PairTotals};

pub(super) fn pair_sums(distances: Tensor<2>, kinds: Tensor<2>, rule: PairRule) -> PairSums {
    let [positive, negative] = masks(kinds);
    let measure = |distances: Tensor<2>| if rule.of_squares { distances.clone() * distances } else { distances };
    let beyond = |distances: Tensor<2>| measure(distances).sub_scalar(rule.positive.margin);
    let missing = |distances: Tensor<2>| measure(distances).neg().add_scalar(rule.negative.margin);

    PairSums {
        positive: totals(distances.clone(), positive, beyond, rule.positive),
        negative: totals(distances, negative, missing, rule.negative),
    }
}

fn totals(
    distances: Tensor<2>,
    mask: Tensor<2, Bool>,
    excess: impl Fn(Tensor<2>) -> Tensor<2>,
    cost: PairCost,
) -> PairTotals {
    let outside = mask.bool_not();
    // A pair without a loss has no slope, however far it is.
    let free = excess(distances.clone().detach()).lower_equal_scalar(0.0).bool_or(outside.clone());
    let excess = excess(distances.clone().mask_fill(free.clone(), 0.0));
    let scaled = excess.clone().mul_scalar(cost.factor);
    let losses = if cost.squared { scaled * excess } else { scaled }.mask_fill(free, 0.0);
    let ones = distances.detach().ones_like();
    let none = losses.clone().detach().equal_scalar(0.0);
    let sum = |numbers: Tensor<2>| numbers.sum_dim(1).squeeze_dim(1);

    PairTotals {
        losses: sum(losses),
        pairs: sum(ones.clone().mask_fill(outside, 0.0)),
        active: sum(ones.mask_fill(none, 0.0)),
    }
}
