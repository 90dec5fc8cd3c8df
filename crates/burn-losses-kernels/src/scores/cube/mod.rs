//! Kernels for the steps of a block on GPUs: each step reads its scores or rows from memory as few times as it can, in
//! one launch, where the tensor operations of `blocks/` take five to twenty.
//!
//! They compute in the type of their tensors, which is `f32` or `f64`: half precision is widened before.

mod terms;

use burn::backend::tensor::FloatTensor;
use burn::tensor::{DType, Shape};
use burn_cubecl::CubeBackend;
use burn_cubecl::ops::numeric::empty_device_contiguous_dtype;
use burn_cubecl::tensor::CubeTensor;
use cubecl::ir::ElemType;
use cubecl::prelude::*;

use super::backend::Exclusion;
use super::blocks::{Block, Blocks, Excluded, Running, Walk};
use crate::gpu::reductions::{Exponentials, larger, largest_of_cube, sum_of_cube};
use crate::gpu::{address_type, cubes, dims, in_rows, output_like, storage, units_for, writable};
use crate::math::NOTHING;
use crate::math::norm::{NO_DIRECTION, SUM_OF_SQUARES_FLOOR};

/// `unit[i] = keys[i] / |keys[i]|` and `inverse_length[i] = 1 / |keys[i]|`, one cube per row `i`.
///
/// The row is divided by its largest magnitude first; a NaN is not seen by that maximum, but it is by the sum of squares.
#[cube(launch, address_type = "dynamic")]
fn unit_rows_kernel<F: Float>(
    keys: &Tensor<F>,               // [rows, columns]
    unit_keys: &mut Tensor<F>,      // [rows, columns]
    inverse_length: &mut Tensor<F>, // [rows, 1]
    no_direction: InputScalar,
    floor: InputScalar,
    #[comptime] units: usize,
    #[define(F)] _dtype: ElemType,
) {
    let row = CUBE_POS;
    if row >= keys.shape(0) {
        terminate!();
    }
    let unit = UNIT_POS_X as usize;
    let columns = keys.shape(1);
    let from = row * keys.stride(0);
    let to = row * unit_keys.stride(0);

    let mut largest = F::new(0.0_f32);
    let mut column = unit;
    while column < columns {
        largest = larger::<F>(largest, keys[from + column].abs());
        column += units;
    }
    largest = largest_of_cube::<F>(largest, unit, units);
    if largest < no_direction.get::<F>() {
        largest = F::new(1.0_f32);
    }

    let mut squares = F::new(0.0_f32);
    let mut column = unit;
    while column < columns {
        let scaled = keys[from + column] / largest;
        squares += scaled * scaled;
        column += units;
    }
    squares = sum_of_cube::<F>(squares, unit, units);
    if squares < floor.get::<F>() {
        squares = floor.get::<F>();
    }
    let length = squares.sqrt();

    let mut column = unit;
    while column < columns {
        let direction = keys[from + column] / largest / length;
        let index = to + column;
        unit_keys[index] = direction;
        column += units;
    }
    if unit == 0 {
        let index = row * inverse_length.stride(0);
        inverse_length[index] = F::new(1.0_f32) / (largest * length);
    }
}

/// Takes a row of scores into `largest` and `sum`, one cube per row `i`, with `j` over the keys that count:
///
/// ```text
/// new[i] = max(largest[i], max over j of scale·scores[i, j])
/// sum[i] = sum[i]·exp(largest[i] - new[i]) + sum over j of exp(scale·scores[i, j] - new[i])
/// ```
///
/// Every unit keeps its own maximum and sum, so the scores are read once.
#[cube(launch, address_type = "dynamic")]
fn merge_kernel<F: Float, I: Int, J: Int, L: Int>(
    scores: &Tensor<F>,      // [rows, columns]
    labels: &Tensor<I>,      // [rows]
    key_labels: &Tensor<J>,  // [columns], or anything where they are not read
    target: &mut Tensor<F>,  // [rows, 1]
    largest: &mut Tensor<F>, // [rows, 1]
    sum: &mut Tensor<F>,     // [rows, 1]
    scale: InputScalar,
    nothing: InputScalar,
    start: i32,
    #[comptime] exclusion: Exclusion,
    #[comptime] units: usize,
    #[define(F, I, J, L)] _dtypes: [ElemType; 4],
) {
    let row = CUBE_POS;
    if row >= scores.shape(0) {
        terminate!();
    }
    let unit = UNIT_POS_X as usize;
    let columns = scores.shape(1);
    let first = row * scores.stride(0);
    let label = L::cast_from(labels[row * labels.stride(0)]);
    let start = L::cast_from(start);
    let scale = scale.get::<F>();

    let mut unit_sum = Exponentials::<F>::above(nothing.get::<F>());
    let mut column = unit;
    while column < columns {
        if !is_excluded::<J, L>(row, column, label, start, key_labels, exclusion) {
            unit_sum.add(scores[first + column] * scale);
        }
        column += units;
    }
    let of_block = unit_sum.of_cube(unit, units);

    if unit == 0 {
        let index = row * largest.stride(0);
        let before = Exponentials::<F> { largest: largest[index], sum: sum[row * sum.stride(0)] };
        let common = larger::<F>(before.largest, of_block.largest);
        largest[index] = common;

        let index = row * sum.stride(0);
        let merged = before.relative_to(common) + of_block.relative_to(common);
        sum[index] = merged;
        // No key has counted yet: the logarithm of the sum must stay finite beside `NOTHING`.
        if merged == F::new(0.0_f32) {
            sum[index] = F::new(1.0_f32);
        }

        // Compared before subtracting, which could overflow for labels that are no position.
        if comptime!(exclusion.has_target()) && label >= start && label < start + L::cast_from(columns) {
            let index = row * target.stride(0);
            target[index] += scores[first + usize::cast_from(label - start)];
        }
    }
}

/// `G[i, j] = scale·g_sum[i]·exp(scale·scores[i, j] - sums[i])` for keys that count, `g_target[i]` for the target and
/// 0 for the rest. A cube takes `units` neighbours of one row.
#[cube(launch, address_type = "dynamic")]
fn gradient_kernel<F: Float, I: Int, J: Int, L: Int>(
    scores: &Tensor<F>,       // [rows, columns]
    labels: &Tensor<I>,       // [rows]
    key_labels: &Tensor<J>,   // [columns], or anything where they are not read
    sums: &Tensor<F>,         // [rows, 1]
    g_target: &Tensor<F>,     // [rows, 1]
    g_sum: &Tensor<F>,        // [rows, 1]
    gradient: &mut Tensor<F>, // [rows, columns]
    scale: InputScalar,
    start: i32,
    #[comptime] exclusion: Exclusion,
    #[comptime] units: usize,
    #[define(F, I, J, L)] _dtypes: [ElemType; 4],
) {
    let columns = scores.shape(1);
    let cubes_per_row = columns.div_ceil(units);
    let row = CUBE_POS / cubes_per_row;
    let column = CUBE_POS % cubes_per_row * units + UNIT_POS_X as usize;
    if row >= scores.shape(0) || column >= columns {
        terminate!();
    }
    let label = L::cast_from(labels[row * labels.stride(0)]);
    let start = L::cast_from(start);
    let index = row * gradient.stride(0) + column;

    if is_excluded::<J, L>(row, column, label, start, key_labels, exclusion) {
        gradient[index] = F::new(0.0_f32);
    } else {
        let score = scores[row * scores.stride(0) + column] * scale.get::<F>();
        let share = (score - sums[row * sums.stride(0)]).exp();
        gradient[index] = share * (g_sum[row * g_sum.stride(0)] * scale.get::<F>());
    }
    if comptime!(exclusion.has_target()) && start + L::cast_from(column) == label {
        gradient[index] = g_target[row * g_target.stride(0)];
    }
}

/// `(g[i] - <g[i], unit[i]>·unit[i])·inverse_length[i]`, one cube per row `i`.
#[cube(launch, address_type = "dynamic")]
fn project_kernel<F: Float>(
    unit_gradient: &Tensor<F>,  // [rows, columns]
    unit_keys: &Tensor<F>,      // [rows, columns]
    inverse_length: &Tensor<F>, // [rows, 1]
    gradient: &mut Tensor<F>,   // [rows, columns]
    #[comptime] units: usize,
    #[define(F)] _dtype: ElemType,
) {
    let row = CUBE_POS;
    if row >= unit_gradient.shape(0) {
        terminate!();
    }
    let unit = UNIT_POS_X as usize;
    let columns = unit_gradient.shape(1);
    let from = row * unit_gradient.stride(0);
    let along_from = row * unit_keys.stride(0);
    let to = row * gradient.stride(0);
    let factor = inverse_length[row * inverse_length.stride(0)];

    let mut along = F::new(0.0_f32);
    let mut column = unit;
    while column < columns {
        along += unit_gradient[from + column] * unit_keys[along_from + column];
        column += units;
    }
    along = sum_of_cube::<F>(along, unit, units);

    let mut column = unit;
    while column < columns {
        let across = unit_gradient[from + column] - unit_keys[along_from + column] * along;
        let index = to + column;
        gradient[index] = across * factor;
        column += units;
    }
}

/// Whether the query leaves out the key at `start + column`.
#[cube]
fn is_excluded<J: Int, L: Int>(
    query: usize,
    column: usize,
    label: L,
    start: L,
    key_labels: &Tensor<J>,
    #[comptime] exclusion: Exclusion,
) -> bool {
    let position = start + L::cast_from(column);
    let mut excluded = false;
    if comptime!(exclusion.has_target()) {
        excluded = position == label;
    }
    if comptime!(exclusion.reads_key_labels()) {
        let key_label = L::cast_from(key_labels[column * key_labels.stride(0)]);
        excluded = excluded || key_label < L::new(0);
        if comptime!(exclusion == Exclusion::SameLabel) {
            excluded = excluded || key_label == label;
        }
        if comptime!(matches!(exclusion, Exclusion::OtherLabels { .. })) {
            excluded = excluded || key_label != label;
        }
        if comptime!(exclusion == Exclusion::OtherLabels { in_batch: true }) {
            excluded = excluded || position == L::cast_from(query);
        }
    }
    excluded
}

impl Blocks for CubeBackend {
    const CENTERS_TOGETHER: bool = true;

    fn scores(
        walk: &Walk<Self>,
        block: &Block<Self>,
        mut products: Vec<FloatTensor<Self>>,
        target: &mut Option<FloatTensor<Self>>,
    ) -> FloatTensor<Self> {
        terms::scores(walk, block, products.remove(0), target)
    }

    fn of_products(
        walk: &Walk<Self>,
        block: &Block<Self>,
        mut products: Vec<FloatTensor<Self>>,
        gradient: FloatTensor<Self>,
        g_target: FloatTensor<Self>,
    ) -> Vec<FloatTensor<Self>> {
        vec![terms::of_products(walk, block, products.remove(0), gradient, g_target)]
    }

    fn largest_key(
        scores: FloatTensor<Self>,
        scale: f64,
        excluded: Excluded<Self>,
        before: (FloatTensor<Self>, FloatTensor<Self>),
    ) -> FloatTensor<Self> {
        terms::largest_key(scores, scale, excluded, before)
    }

    fn merge_softplus(
        scores: FloatTensor<Self>,
        offsets: FloatTensor<Self>,
        scale: f64,
        excluded: Excluded<Self>,
        before: [FloatTensor<Self>; 3],
    ) -> [FloatTensor<Self>; 3] {
        terms::merge_softplus(scores, offsets, scale, excluded, before)
    }

    fn softplus_gradient(
        scores: FloatTensor<Self>,
        offsets: FloatTensor<Self>,
        scale: f64,
        excluded: Excluded<Self>,
        g_sum: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        terms::softplus_gradient(scores, offsets, scale, excluded, g_sum)
    }

    fn unit_block(keys: FloatTensor<Self>) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let keys = in_rows(keys);
        let [rows, columns] = dims(&keys);
        let (client, dtype) = (keys.client.clone(), storage(&keys));
        let units = units_for(&client, columns);
        let shape = Shape::from([rows, 1]);
        let inverse_length = empty_device_contiguous_dtype(client.clone(), keys.device.clone(), shape, keys.dtype);
        let (unit_keys, unit_keys_arg) = output_like(&keys);
        unit_rows_kernel::launch(
            &client,
            cubes(&client, rows),
            CubeDim::new_1d(units),
            address_type(&[&keys, &unit_keys]),
            keys.into_tensor_arg(),
            unit_keys_arg,
            inverse_length.clone().into_tensor_arg(),
            InputScalar::new(NO_DIRECTION, dtype),
            InputScalar::new(SUM_OF_SQUARES_FLOOR, dtype),
            units as usize,
            dtype,
        );
        (unit_keys, inverse_length)
    }

    fn merge(scores: FloatTensor<Self>, scale: f64, excluded: Excluded<Self>, running: Running<Self>) -> Running<Self> {
        let scores = in_rows(scores);
        let [rows, columns] = dims(&scores);
        let (client, dtype) = (scores.client.clone(), storage(&scores));
        let units = units_for(&client, columns);
        let Excluded { labels, key_labels, start, exclusion } = excluded;
        let dtypes = label_types(dtype, &labels, &key_labels);
        // Written in place: with outputs beside inputs there would be more buffers than WebGPU promises.
        let [target, largest, sum] = [running.target, running.largest, running.sum].map(writable);
        merge_kernel::launch(
            &client,
            cubes(&client, rows),
            CubeDim::new_1d(units),
            address_type(&[&scores]),
            scores.into_tensor_arg(),
            labels.into_tensor_arg(),
            key_labels.into_tensor_arg(),
            target.clone().into_tensor_arg(),
            largest.clone().into_tensor_arg(),
            sum.clone().into_tensor_arg(),
            InputScalar::new(scale, dtype),
            InputScalar::new(NOTHING, dtype),
            start as i32,
            exclusion,
            units as usize,
            dtypes,
        );
        Running { target, largest, sum }
    }

    fn gradient(
        scores: FloatTensor<Self>,
        scale: f64,
        excluded: Excluded<Self>,
        sums: FloatTensor<Self>,
        [g_target, g_sum]: [FloatTensor<Self>; 2],
    ) -> FloatTensor<Self> {
        let scores = in_rows(scores);
        let [rows, columns] = dims(&scores);
        let (client, dtype) = (scores.client.clone(), storage(&scores));
        let units = units_for(&client, columns);
        let Excluded { labels, key_labels, start, exclusion } = excluded;
        let dtypes = label_types(dtype, &labels, &key_labels);
        let (gradient, gradient_arg) = output_like(&scores);
        gradient_kernel::launch(
            &client,
            cubes(&client, rows * columns.div_ceil(units as usize)),
            CubeDim::new_1d(units),
            address_type(&[&scores, &gradient]),
            scores.into_tensor_arg(),
            labels.into_tensor_arg(),
            key_labels.into_tensor_arg(),
            sums.into_tensor_arg(),
            g_target.into_tensor_arg(),
            g_sum.into_tensor_arg(),
            gradient_arg,
            InputScalar::new(scale, dtype),
            start as i32,
            exclusion,
            units as usize,
            dtypes,
        );
        gradient
    }

    fn project(
        unit_gradient: FloatTensor<Self>,
        unit: FloatTensor<Self>,
        inverse_length: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        let [unit_gradient, unit] = [unit_gradient, unit].map(in_rows);
        let [rows, columns] = dims(&unit_gradient);
        let (client, dtype) = (unit_gradient.client.clone(), storage(&unit_gradient));
        let units = units_for(&client, columns);
        let (gradient, gradient_arg) = output_like(&unit_gradient);
        project_kernel::launch(
            &client,
            cubes(&client, rows),
            CubeDim::new_1d(units),
            address_type(&[&unit_gradient, &unit, &gradient]),
            unit_gradient.into_tensor_arg(),
            unit.into_tensor_arg(),
            inverse_length.into_tensor_arg(),
            gradient_arg,
            units as usize,
            dtype,
        );
        gradient
    }
}

/// The types of a kernel: of the numbers, of the labels, of those of the keys, and what the labels are compared in, 64 bits
/// where one of them has as many.
fn label_types(numbers: ElemType, labels: &CubeTensor, key_labels: &CubeTensor) -> [ElemType; 4] {
    let is_wide = |labels: &&CubeTensor| labels.dtype == DType::I64;
    let widest = [labels, key_labels].into_iter().find(is_wide).unwrap_or(labels);
    [numbers, storage(labels), storage(key_labels), storage(widest)]
}
