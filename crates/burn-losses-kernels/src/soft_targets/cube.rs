//! The passes on GPUs: forward a row by all units of a cube, backward every number by itself.

use burn::backend::tensor::FloatTensor;
use burn_cubecl::CubeBackend;
use cubecl::ir::ElemType;
use cubecl::prelude::*;

use super::backend::{Input, SUMS, SoftPasses};
use super::{SMALLEST_REST, SoftRule};
use crate::gpu::reductions::{Exponentials, LogSumExp, sum_of_cube};
use crate::gpu::{address_type, cubes, dims, in_rows, matrix_like, output_like, storage, units_for};
use crate::one_pass::Passed;

/// What a [`SoftRule`] computes with.
#[derive(CubeType, CubeLaunch)]
struct Numbers {
    /// How much of a target is left.
    kept: InputScalar,
    /// What every class gets besides.
    spread: InputScalar,
    gamma: InputScalar,
    /// What `1 - p` is at least.
    smallest_rest: InputScalar,
}

#[cube]
impl Numbers {
    /// What a class weighs in the loss of its row.
    fn share<F: Float>(&self, target: F, weight: F) -> F {
        weight * (self.kept.get::<F>() * target + self.spread.get::<F>())
    }

    /// `(1 - p)^gamma·-log(p)` of a log-probability.
    fn cost<F: Float>(&self, log_p: F, #[comptime] focused: bool) -> Cost<F> {
        let one = F::new(1.0_f32);
        let mut value = -log_p;
        let mut slope = -one;
        if comptime!(focused) {
            let p = log_p.exp();
            let gamma = self.gamma.get::<F>();
            let smallest = self.smallest_rest.get::<F>();
            let held = one - p < smallest;
            let rest = select(held, smallest, one - p);
            let factor = (gamma * rest.ln()).exp();
            // p·log(p), 0 for what is impossible, whose exponential a device need not make 0; a power that is held at its
            // smallest base has no slope.
            let none = held || p < F::new(1e-35_f32);
            let bend = select(none, F::new(0.0_f32), gamma * (p * log_p) / rest);
            value = -(factor * log_p);
            slope = factor * (bend - one);
        }
        Cost::<F> { value, slope }
    }
}

/// A cost and its slope by the log-probability.
#[derive(CubeType, Clone, Copy)]
struct Cost<F: Float> {
    value: F,
    slope: F,
}

/// One cube per row.
#[cube(launch, address_type = "dynamic")]
fn forward_kernel<F: Float>(
    logits: &Tensor<F>,     // [rows, classes]
    targets: &Tensor<F>,    // [rows, classes]
    weights: &Tensor<F>,    // [classes, 1]
    losses: &mut Tensor<F>, // [rows, 1]
    sums: &mut Tensor<F>,   // [rows, SUMS]
    numbers: &Numbers,
    #[comptime] focused: bool,
    #[comptime] units: usize,
    #[define(F)] _dtype: ElemType,
) {
    let row = CUBE_POS;
    if row >= logits.shape(0) {
        terminate!();
    }
    let unit = UNIT_POS_X as usize;
    let classes = logits.shape(1);
    let from = row * logits.stride(0);

    let mut unit_sum = Exponentials::<F>::above(F::min_value());
    let mut class = unit;
    while class < classes {
        unit_sum.add(logits[from + class]);
        class += units;
    }
    let exponentials = unit_sum.of_cube(unit, units);
    let sum = exponentials.logarithm();
    // A softmax of nothing but minus infinity is none, like the difference of two of them.
    let none = logits[from] - logits[from + classes - 1];
    let empty = exponentials.is_of_nothing(F::min_value());
    let sum = LogSumExp::<F> { largest: sum.largest, rest: select(empty, none, sum.rest) };

    let mut loss = F::new(0.0_f32);
    let mut slopes = F::new(0.0_f32);
    let mut class = unit;
    while class < classes {
        let target = targets[row * targets.stride(0) + class];
        let share = numbers.share::<F>(target, weights[class * weights.stride(0)]);
        let cost = numbers.cost::<F>(sum.log_share(logits[from + class]), focused);
        // Also where the cost is infinite.
        if share != F::new(0.0_f32) {
            loss += share * cost.value;
        }
        slopes += share * cost.slope;
        class += units;
    }
    loss = sum_of_cube::<F>(loss, unit, units);
    slopes = sum_of_cube::<F>(slopes, unit, units);
    if unit == 0 {
        let at = row * losses.stride(0);
        // Nor is there a loss where a logit is no number, whatever is wanted.
        losses[at] = select(sum.rest > F::min_value(), loss, sum.rest);
        let at = row * sums.stride(0);
        sums[at] = sum.largest;
        sums[at + 1] = sum.rest;
        sums[at + 2] = slopes;
    }
}

/// A cube takes `units` neighbours of one row.
#[cube(launch, address_type = "dynamic")]
fn backward_kernel<F: Float>(
    logits: &Tensor<F>,       // [rows, classes]
    targets: &Tensor<F>,      // [rows, classes]
    weights: &Tensor<F>,      // [classes, 1]
    sums: &Tensor<F>,         // [rows, SUMS]
    gradient: &Tensor<F>,     // [rows, 1]
    of_input: &mut Tensor<F>, // [rows, classes]
    numbers: &Numbers,
    #[comptime] focused: bool,
    #[comptime] input: Input,
    #[comptime] units: usize,
    #[define(F)] _dtype: ElemType,
) {
    let classes = logits.shape(1);
    let cubes_per_row = classes.div_ceil(units);
    let row = CUBE_POS / cubes_per_row;
    let class = CUBE_POS % cubes_per_row * units + UNIT_POS_X as usize;
    if row >= logits.shape(0) || class >= classes {
        terminate!();
    }
    let logit = logits[row * logits.stride(0) + class];
    let weight = weights[class * weights.stride(0)];
    let share = numbers.share::<F>(targets[row * targets.stride(0) + class], weight);
    let from = row * sums.stride(0);
    let sum = LogSumExp::<F> { largest: sums[from], rest: sums[from + 1] };
    let log_p = sum.log_share(logit);
    let cost = numbers.cost::<F>(log_p, focused);
    let of_loss = gradient[row * gradient.stride(0)];
    let index = row * of_input.stride(0) + class;
    if comptime!(input == Input::Logits) {
        of_input[index] = of_loss * (share * cost.slope - sums[from + 2] * log_p.exp());
    } else {
        // Minus infinity, which cannot be written down, is below all other numbers.
        let unwanted = logit < F::min_value() && share == F::new(0.0_f32);
        let slope = of_loss * numbers.kept.get::<F>() * weight * cost.value;
        of_input[index] = select(unwanted, F::new(0.0_f32), slope);
    }
}

impl SoftPasses for CubeBackend {
    fn forward(
        logits: FloatTensor<Self>,
        targets: FloatTensor<Self>,
        weights: FloatTensor<Self>,
        rule: SoftRule,
    ) -> Passed<Self> {
        let [logits, targets] = [logits, targets].map(in_rows);
        let [rows, classes] = dims(&logits);
        let (client, dtype) = (logits.client.clone(), storage(&logits));
        let units = units_for(&client, classes);
        let (output, sums) = (matrix_like(&logits, [rows, 1]), matrix_like(&logits, [rows, SUMS]));
        forward_kernel::launch(
            &client,
            cubes(&client, rows),
            CubeDim::new_1d(units),
            address_type(&[&logits, &targets]),
            logits.into_tensor_arg(),
            targets.into_tensor_arg(),
            weights.into_tensor_arg(),
            output.clone().into_tensor_arg(),
            sums.clone().into_tensor_arg(),
            launched(rule, classes, dtype),
            rule.gamma != 0.0,
            units as usize,
            dtype,
        );
        Passed { output, sums }
    }

    fn backward(
        logits: FloatTensor<Self>,
        targets: FloatTensor<Self>,
        weights: FloatTensor<Self>,
        sums: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        rule: SoftRule,
        input: Input,
    ) -> FloatTensor<Self> {
        let [logits, targets] = [logits, targets].map(in_rows);
        let [rows, classes] = dims(&logits);
        let (client, dtype) = (logits.client.clone(), storage(&logits));
        let units = units_for(&client, classes);
        let (of_input, of_input_arg) = output_like(&logits);
        backward_kernel::launch(
            &client,
            cubes(&client, rows * classes.div_ceil(units as usize)),
            CubeDim::new_1d(units),
            address_type(&[&logits, &targets, &of_input]),
            logits.into_tensor_arg(),
            targets.into_tensor_arg(),
            weights.into_tensor_arg(),
            sums.into_tensor_arg(),
            gradient.into_tensor_arg(),
            of_input_arg,
            launched(rule, classes, dtype),
            rule.gamma != 0.0,
            input,
            units as usize,
            dtype,
        );
        of_input
    }
}

fn launched(SoftRule { smoothing, gamma }: SoftRule, classes: usize, dtype: ElemType) -> NumbersLaunch {
    let number = |number: f64| InputScalar::new(number, dtype);
    let spread = smoothing / classes as f64;
    NumbersLaunch::new(number(1.0 - smoothing), number(spread), number(gamma), number(SMALLEST_REST))
}
