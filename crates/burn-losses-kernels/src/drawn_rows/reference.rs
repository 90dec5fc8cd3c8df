use burn::tensor::Tensor;

use super::packed::Rows;
use super::{AdamWRule, Moments, SgdRule};
use crate::math::widen;

pub(super) fn sgd_step(
    weights: Tensor<2>,
    velocity: Tensor<2>,
    gradient: Tensor<2>,
    rule: SgdRule,
    learning_rate: f64,
) -> (Tensor<2>, Tensor<2>) {
    let [weights, velocity, gradient] = [weights, velocity, gradient].map(Tensor::detach);
    let rows = Rows::of(widen(gradient), weights.dims());
    let [old, old_velocity] = [&weights, &velocity].map(|matrix| rows.select(matrix));
    let gradient = rows.gradient.clone() + old.clone().mul_scalar(rule.weight_decay);
    let new_velocity = old_velocity.clone().mul_scalar(rule.momentum) + gradient.clone();
    let step =
        if rule.nesterov { gradient + new_velocity.clone().mul_scalar(rule.momentum) } else { new_velocity.clone() };

    (rows.add(weights, step.mul_scalar(-learning_rate)), rows.add(velocity, new_velocity - old_velocity))
}

pub(super) fn adamw_step(
    weights: Tensor<2>,
    moments: Moments,
    gradient: Tensor<2>,
    rule: AdamWRule,
    learning_rate: f64,
) -> (Tensor<2>, Moments) {
    let (weights, gradient) = (weights.detach(), gradient.detach());
    let rows = Rows::of(widen(gradient), weights.dims());
    let [first, second, shares] = [moments.first, moments.second, moments.shares].map(Tensor::detach);
    let [old, old_first, old_second, old_shares] =
        [&weights, &first, &second, &shares].map(|matrix| rows.select(matrix));
    let shape = old.dims();
    let mean = |old: &Tensor<2>, beta: f64, new: Tensor<2>| old.clone().mul_scalar(beta) + new.mul_scalar(1.0 - beta);
    let share = |column: usize, beta: f64| {
        let old = old_shares.clone().narrow(1, column, 1);
        mean(&old, beta, old.ones_like())
    };
    let (first_share, second_share) = (share(0, rule.beta_1), share(1, rule.beta_2));
    let gradient = rows.gradient.clone();
    let new_first = mean(&old_first, rule.beta_1, gradient.clone());
    let new_second = mean(&old_second, rule.beta_2, gradient.clone() * gradient);
    let root = (new_second.clone() / second_share.clone().expand(shape)).sqrt().add_scalar(rule.epsilon);
    let step = new_first.clone() / first_share.clone().expand(shape) / root + old.mul_scalar(rule.weight_decay);
    let moments = Moments {
        first: rows.add(first, new_first - old_first),
        second: rows.add(second, new_second - old_second),
        shares: rows.add(shares, Tensor::cat(alloc::vec![first_share, second_share], 1) - old_shares),
    };
    (rows.add(weights, step.mul_scalar(-learning_rate)), moments)
}
