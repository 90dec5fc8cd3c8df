//! The passes on GPUs: every number is read once and, but for a sum, written once.

mod formulas;

use burn::backend::tensor::FloatTensor;
use burn_cubecl::CubeBackend;
use burn_cubecl::tensor::CubeTensor;
use cubecl::ir::ElemType;
use cubecl::prelude::*;

use self::formulas::{Formula, Numbers, NumbersLaunch, slope, value};
use super::Element;
use super::backend::{ElementPasses, Output, Side};
use crate::gpu::reductions::sum_of_cube;
use crate::gpu::{address_type, cubes, dims, in_rows, matrix_like, output_like, storage, units_for};

/// Numbers that one cube adds up where there is one sum of all.
const PART: usize = 1 << 14;

/// `losses[i] = value(predictions[i], targets[i])`. A cube takes `units` neighbours.
#[cube(launch, address_type = "dynamic")]
fn values_kernel<F: Float>(
    predictions: &Tensor<F>, // [1, count]
    targets: &Tensor<F>,     // [1, count] or [1, 1]
    losses: &mut Tensor<F>,  // [1, count]
    numbers: &Numbers,
    #[comptime] formula: Formula,
    #[comptime] units: usize,
    #[define(F)] _dtype: ElemType,
) {
    let place = CUBE_POS * units + UNIT_POS_X as usize;
    if place >= predictions.shape(1) {
        terminate!();
    }
    losses[place] = value::<F>(predictions[place], targets[place_of_all::<F>(targets, place)], numbers, formula);
}

/// `sums[k] = ` the sum of the values of the `k`-th part of all numbers, one cube per part; the last may be shorter.
#[cube(launch, address_type = "dynamic")]
fn sums_kernel<F: Float>(
    predictions: &Tensor<F>, // [1, count]
    targets: &Tensor<F>,     // [1, count] or [1, 1]
    sums: &mut Tensor<F>,    // [1, parts]
    numbers: &Numbers,
    #[comptime] formula: Formula,
    #[comptime] units: usize,
    #[define(F)] _dtype: ElemType,
) {
    let part = CUBE_POS;
    let parts = sums.shape(1);
    if part >= parts {
        terminate!();
    }
    let unit = UNIT_POS_X as usize;
    let count = predictions.shape(1);
    let length = count.div_ceil(parts);
    let mut end = (part + 1) * length;
    if end > count {
        end = count;
    }

    let mut sum = F::new(0.0_f32);
    let mut place = part * length + unit;
    while place < end {
        sum += value::<F>(predictions[place], targets[place_of_all::<F>(targets, place)], numbers, formula);
        place += units;
    }
    sum = sum_of_cube::<F>(sum, unit, units);
    if unit == 0 {
        sums[part] = sum;
    }
}

/// `slopes[i] = gradient[i]·slope(predictions[i], targets[i])`. A cube takes `units` neighbours.
#[cube(launch, address_type = "dynamic")]
fn slopes_kernel<F: Float>(
    gradient: &Tensor<F>,    // [1, sums], of as many numbers each
    predictions: &Tensor<F>, // [1, count]
    targets: &Tensor<F>,     // [1, count] or [1, 1]
    slopes: &mut Tensor<F>,  // [1, count]
    numbers: &Numbers,
    #[comptime] formula: Formula,
    #[comptime] side: Side,
    #[comptime] units: usize,
    #[define(F)] _dtype: ElemType,
) {
    let place = CUBE_POS * units + UNIT_POS_X as usize;
    let count = predictions.shape(1);
    if place >= count {
        terminate!();
    }
    let of_sum = gradient[place / (count / gradient.shape(1))];
    let target = targets[place_of_all::<F>(targets, place)];
    slopes[place] = of_sum * slope::<F>(predictions[place], target, numbers, formula, side);
}

/// Where the number of a place is, or the one that stands for all.
#[cube]
fn place_of_all<F: Float>(numbers: &Tensor<F>, place: usize) -> usize {
    select(numbers.shape(1) == 1, 0, place)
}

impl ElementPasses for CubeBackend {
    fn forward(
        predictions: FloatTensor<Self>,
        targets: FloatTensor<Self>,
        element: Element,
        output: Output,
    ) -> FloatTensor<Self> {
        let [predictions, targets] = [predictions, targets].map(in_rows);
        let (formula, numbers) = Formula::of(element);
        let [_, count] = dims(&predictions);
        match output {
            Output::Each => values(predictions, targets, formula, numbers),
            Output::Rows(columns) => sums([predictions, targets], formula, numbers, count / columns),
            Output::Sum => {
                let parts = sums([predictions, targets], formula, numbers, count.div_ceil(PART));
                // In an order that depends on their number alone.
                if dims(&parts) == [1, 1] { parts } else { sums([parts.clone(), parts], Formula::Same, numbers, 1) }
            }
        }
    }

    fn backward(
        gradient: FloatTensor<Self>,
        predictions: FloatTensor<Self>,
        targets: FloatTensor<Self>,
        element: Element,
        side: Side,
    ) -> FloatTensor<Self> {
        let [gradient, predictions, targets] = [gradient, predictions, targets].map(in_rows);
        let (formula, numbers) = Formula::of(element);
        let [_, count] = dims(&predictions);
        let (client, dtype) = (predictions.client.clone(), storage(&predictions));
        let units = units_for(&client, count);
        let (slopes, slopes_arg) = if dims(&gradient) == dims(&predictions) {
            output_like(&gradient)
        } else {
            let slopes = matrix_like(&predictions, [1, count]);
            (slopes.clone(), slopes.into_tensor_arg())
        };
        slopes_kernel::launch(
            &client,
            cubes(&client, count.div_ceil(units as usize)),
            CubeDim::new_1d(units),
            address_type(&[&predictions, &targets, &slopes]),
            gradient.into_tensor_arg(),
            predictions.into_tensor_arg(),
            targets.into_tensor_arg(),
            slopes_arg,
            launched(numbers, dtype),
            formula,
            side,
            units as usize,
            dtype,
        );
        slopes
    }
}

fn values(predictions: CubeTensor, targets: CubeTensor, formula: Formula, numbers: [f64; 5]) -> CubeTensor {
    let [_, count] = dims(&predictions);
    let (client, dtype) = (predictions.client.clone(), storage(&predictions));
    let units = units_for(&client, count);
    let (losses, losses_arg) = output_like(&predictions);
    values_kernel::launch(
        &client,
        cubes(&client, count.div_ceil(units as usize)),
        CubeDim::new_1d(units),
        address_type(&[&predictions, &targets, &losses]),
        predictions.into_tensor_arg(),
        targets.into_tensor_arg(),
        losses_arg,
        launched(numbers, dtype),
        formula,
        units as usize,
        dtype,
    );
    losses
}

/// The sums of so many parts, `[1, parts]`.
fn sums([predictions, targets]: [CubeTensor; 2], formula: Formula, numbers: [f64; 5], parts: usize) -> CubeTensor {
    let [_, count] = dims(&predictions);
    let (client, dtype) = (predictions.client.clone(), storage(&predictions));
    let units = units_for(&client, count.div_ceil(parts));
    let sums = matrix_like(&predictions, [1, parts]);
    sums_kernel::launch(
        &client,
        cubes(&client, parts),
        CubeDim::new_1d(units),
        address_type(&[&predictions, &targets, &sums]),
        predictions.into_tensor_arg(),
        targets.into_tensor_arg(),
        sums.clone().into_tensor_arg(),
        launched(numbers, dtype),
        formula,
        units as usize,
        dtype,
    );
    sums
}

fn launched(numbers: [f64; 5], dtype: ElemType) -> NumbersLaunch {
    let [first, second, third, fourth, fifth] = numbers.map(|number| InputScalar::new(number, dtype));
    NumbersLaunch::new(first, second, third, fourth, fifth)
}
