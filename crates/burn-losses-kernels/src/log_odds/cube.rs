//! The passes on GPUs: forward a row by all units of a cube, backward every number by itself.

use burn::backend::tensor::{FloatTensor, IntTensor};
use burn_cubecl::CubeBackend;
use cubecl::ir::ElemType;
use cubecl::prelude::*;

use super::backend::{LogOddsPasses, SUMS};
use crate::gpu::reductions::{Exponentials, LogSumExp, larger, sum_of_cube};
use crate::gpu::{address_type, cubes, dims, in_rows, matrix_like, output_like, storage, units_for};
use crate::math::NOTHING;
use crate::one_pass::Passed;

/// One cube per row.
#[cube(launch, address_type = "dynamic")]
fn forward_kernel<F: Float, I: Int>(
    logits: &Tensor<F>,     // [rows, classes]
    labels: &Tensor<I>,     // [rows]
    weights: &Tensor<F>,    // [classes, 1], or anything where there is no spread
    output: &mut Tensor<F>, // [rows, 2]
    sums: &mut Tensor<F>,   // [rows, SUMS]
    nothing: InputScalar,
    #[comptime] spread: bool,
    #[comptime] units: usize,
    #[define(F, I)] _dtypes: [ElemType; 2],
) {
    let row = CUBE_POS;
    if row >= logits.shape(0) {
        terminate!();
    }
    let unit = UNIT_POS_X as usize;
    let from = row * logits.stride(0);
    let label = labels[row * labels.stride(0)];
    // A row without a class has no others either; all units go on to where they meet.
    let labelled = label >= I::new(0);
    let classes = select(labelled, logits.shape(1), 0);
    let target = select(labelled, usize::cast_from(label), 0);

    let mut unit_sum = Exponentials::<F>::above(F::min_value());
    let mut class = unit;
    while class < classes {
        if class != target {
            unit_sum.add(logits[from + class]);
        }
        class += units;
    }
    let exponentials = unit_sum.of_cube(unit, units);
    let alone = exponentials.is_of_nothing(F::min_value());
    let others = exponentials.logarithm();
    let others = LogSumExp::<F> {
        largest: select(alone, nothing.get::<F>(), others.largest),
        rest: select(alone, F::new(0.0_f32), others.rest),
    };

    // Of all: the larger of the class and the others, and what the smaller adds.
    let own = logits[from + target];
    let largest = larger::<F>(own, others.largest);
    let of_own = own - largest;
    let of_others = (others.largest - largest) + others.rest;
    let large = larger::<F>(of_own, of_others);
    let small = select(of_own < of_others, of_own, of_others);
    let all = LogSumExp::<F> { largest, rest: large + (small - large).exp().log1p() };

    let mut total = F::new(0.0_f32);
    let mut weighted = F::new(0.0_f32);
    if comptime!(spread) {
        let mut class = unit;
        while class < classes {
            let weight = weights[class * weights.stride(0)];
            // A weight of 0 takes infinity out too: a class that is masked and weighs nothing.
            if weight != F::new(0.0_f32) {
                weighted -= weight * all.log_share(logits[from + class]);
                total += weight;
            }
            class += units;
        }
        weighted = sum_of_cube::<F>(weighted, unit, units);
        total = sum_of_cube::<F>(total, unit, units);
    }
    if unit == 0 {
        let zero = F::new(0.0_f32);
        let at = row * output.stride(0);
        output[at] = select(labelled, others.log_share(own), zero);
        output[at + 1] = weighted;
        let at = row * sums.stride(0);
        sums[at] = others.largest;
        sums[at + 1] = others.rest;
        sums[at + 2] = all.largest;
        sums[at + 3] = all.rest;
        sums[at + 4] = total;
    }
}

/// A cube takes `units` neighbours of one row.
#[cube(launch, address_type = "dynamic")]
fn backward_kernel<F: Float, I: Int>(
    logits: &Tensor<F>,       // [rows, classes]
    labels: &Tensor<I>,       // [rows]
    weights: &Tensor<F>,      // [classes, 1], or anything where there is no spread
    sums: &Tensor<F>,         // [rows, SUMS]
    gradient: &Tensor<F>,     // [rows, 2]
    g_logits: &mut Tensor<F>, // [rows, classes]
    nothing: InputScalar,
    #[comptime] spread: bool,
    #[comptime] units: usize,
    #[define(F, I)] _dtypes: [ElemType; 2],
) {
    let classes = logits.shape(1);
    let cubes_per_row = classes.div_ceil(units);
    let row = CUBE_POS / cubes_per_row;
    let class = CUBE_POS % cubes_per_row * units + UNIT_POS_X as usize;
    if row >= logits.shape(0) || class >= classes {
        terminate!();
    }
    let label = labels[row * labels.stride(0)];
    let logit = logits[row * logits.stride(0) + class];
    let from = row * sums.stride(0);
    let others = LogSumExp::<F> { largest: sums[from], rest: sums[from + 1] };
    let all = LogSumExp::<F> { largest: sums[from + 2], rest: sums[from + 3] };
    let of_row = row * gradient.stride(0);

    let mut slope = F::new(0.0_f32);
    if label >= I::new(0) {
        // Where there is no other class, nothing depends on one.
        let alone = others.largest == nothing.get::<F>();
        if usize::cast_from(label) == class {
            slope = gradient[of_row];
        } else if !alone {
            slope = -(gradient[of_row] * others.log_share(logit).exp());
        }
        if comptime!(spread) {
            let share = all.log_share(logit).exp();
            let of_spread = gradient[of_row + 1] * (sums[from + 4] * share - weights[class * weights.stride(0)]);
            slope += select(alone, F::new(0.0_f32), of_spread);
        }
    }
    let index = row * g_logits.stride(0) + class;
    g_logits[index] = slope;
}

impl LogOddsPasses for CubeBackend {
    fn forward(
        logits: FloatTensor<Self>,
        labels: IntTensor<Self>,
        weights: FloatTensor<Self>,
        spread: bool,
    ) -> Passed<Self> {
        let logits = in_rows(logits);
        let [rows, classes] = dims(&logits);
        let (client, dtypes) = (logits.client.clone(), [storage(&logits), storage(&labels)]);
        let units = units_for(&client, classes);
        let (output, sums) = (matrix_like(&logits, [rows, 2]), matrix_like(&logits, [rows, SUMS]));
        forward_kernel::launch(
            &client,
            cubes(&client, rows),
            CubeDim::new_1d(units),
            address_type(&[&logits]),
            logits.into_tensor_arg(),
            labels.into_tensor_arg(),
            weights.into_tensor_arg(),
            output.clone().into_tensor_arg(),
            sums.clone().into_tensor_arg(),
            InputScalar::new(NOTHING, dtypes[0]),
            spread,
            units as usize,
            dtypes,
        );
        Passed { output, sums }
    }

    fn backward(
        logits: FloatTensor<Self>,
        labels: IntTensor<Self>,
        weights: FloatTensor<Self>,
        sums: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        spread: bool,
    ) -> FloatTensor<Self> {
        let [logits, gradient] = [logits, gradient].map(in_rows);
        let [rows, classes] = dims(&logits);
        let (client, dtypes) = (logits.client.clone(), [storage(&logits), storage(&labels)]);
        let units = units_for(&client, classes);
        let (g_logits, g_logits_arg) = output_like(&logits);
        backward_kernel::launch(
            &client,
            cubes(&client, rows * classes.div_ceil(units as usize)),
            CubeDim::new_1d(units),
            address_type(&[&logits, &g_logits]),
            logits.into_tensor_arg(),
            labels.into_tensor_arg(),
            weights.into_tensor_arg(),
            sums.into_tensor_arg(),
            gradient.into_tensor_arg(),
            g_logits_arg,
            InputScalar::new(NOTHING, dtypes[0]),
            spread,
            units as usize,
            dtypes,
        );
        g_logits
    }
}
