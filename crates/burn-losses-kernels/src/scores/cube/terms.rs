//! Kernels between the products of a block and its scores, and those of a softplus.

use burn::backend::tensor::FloatTensor;
use burn::tensor::Shape;
use burn_cubecl::CubeBackend;
use burn_cubecl::ops::numeric::empty_device_contiguous_dtype;
use burn_cubecl::tensor::CubeTensor;
use cubecl::ir::ElemType;
use cubecl::prelude::*;

use super::super::backend::{Exclusion, Plan, Term};
use super::super::blocks::{Block, Excluded, Walk};
use super::super::{CenterChoice, Curve};
use super::{is_excluded, label_types};
use crate::gpu::reductions::sum_of_cube;
use crate::gpu::{address_type, cubes, dims, in_rows, output_like, storage, units_for, writable};
use crate::math::NOTHING;

/// What is compiled into the kernels of a comparison; its numbers come when they run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Steps {
    replacement: Replacement,
    sub_centers: usize,
    /// All centers speak for a key, by a softmax.
    soft: bool,
    has_target: bool,
    /// The gradient of the target comes to that of its score, instead of in its place.
    adds_target: bool,
    has_bias: bool,
    has_cap: bool,
}

/// What a product is replaced by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Replacement {
    Nothing,
    /// Above the threshold of the query, by a parabola.
    Hard,
    Paced,
    Bent {
        detached: bool,
    },
}

/// `gamma`, what a [`Replacement`] needs, and the cap in units of the products.
#[derive(Clone, Copy)]
struct Numbers {
    gamma: f64,
    first: f64,
    second: f64,
    cap: f64,
}

impl Steps {
    fn new(walk: &Walk<CubeBackend>, has_bias: bool) -> (Self, Numbers) {
        let Plan { term, choice, sub_centers, exclusion, scale, .. } = walk.plan;
        let (replacement, first, second) = match term {
            Term::Softplus(curve) if !curve.is_straight() => {
                (Replacement::Bent { detached: curve.detached }, curve.exponent, Curve::SMALLEST_BASE)
            }
            Term::Exp | Term::Softplus(_) | Term::Logits { .. } => (Replacement::Nothing, 0.0, 0.0),
            Term::Reweighted { quadratic } => (Replacement::Hard, quadratic, 0.0),
            Term::SelfPaced { reach, goal } => (Replacement::Paced, reach, goal),
        };
        let cap = match term {
            Term::Logits { cap } => cap.map(|cap| cap / scale),
            _ => None,
        };
        let gamma = match choice {
            CenterChoice::Soft { gamma } if sub_centers > 1 => Some(gamma),
            _ => None,
        };
        let steps = Self {
            replacement,
            sub_centers,
            soft: gamma.is_some(),
            has_target: exclusion.has_target(),
            adds_target: matches!(term, Term::Logits { .. }),
            has_bias,
            has_cap: cap.is_some(),
        };
        (steps, Numbers { gamma: gamma.unwrap_or(1.0), first, second, cap: cap.unwrap_or(1.0) })
    }
}

/// `scores[i, j]`, in units of the products, and `target[i] = the product of its target` if that is in the block. A cube takes
/// `units` neighbours of one row.
#[cube(launch, address_type = "dynamic")]
fn scores_kernel<F: Float, I: Int, L: Int>(
    products: &Tensor<F>,   // [rows, columns·sub_centers]
    labels: &Tensor<I>,     // [rows]
    constants: &Tensor<F>,  // [rows, ..], or anything where they are not read
    bias: &Tensor<F>,       // [1, columns], or anything where there is none
    target: &mut Tensor<F>, // [rows, 1], or anything where it is not written
    scores: &mut Tensor<F>, // [rows, columns]
    gamma: InputScalar,
    first: InputScalar,
    second: InputScalar,
    cap: InputScalar,
    start: i32,
    #[comptime] steps: Steps,
    #[comptime] units: usize,
    #[define(F, I, L)] _dtypes: [ElemType; 3],
) {
    let columns = scores.shape(1);
    let cubes_per_row = columns.div_ceil(units);
    let row = CUBE_POS / cubes_per_row;
    let column = CUBE_POS % cubes_per_row * units + UNIT_POS_X as usize;
    if row >= scores.shape(0) || column >= columns {
        terminate!();
    }
    let from = row * products.stride(0) + column * steps.sub_centers;
    let product = product_of_key::<F>(products, from, gamma.get::<F>(), steps);
    if comptime!(steps.has_target) {
        let label = L::cast_from(labels[row * labels.stride(0)]);
        if L::cast_from(start) + L::cast_from(column) == label {
            let index = row * target.stride(0);
            target[index] = product;
        }
    }

    let at = row * constants.stride(0);
    let mut score = replaced::<F>(product, constants, at, first.get::<F>(), second.get::<F>(), steps.replacement);
    if comptime!(steps.has_bias) {
        score += bias[column * bias.stride(1)];
    }
    if comptime!(steps.has_cap) {
        let cap = cap.get::<F>();
        score = (score / cap).tanh() * cap;
    }
    let index = row * scores.stride(0) + column;
    scores[index] = score;
}

/// The gradient of the products from that of the scores before a cap, and of the products of the targets. A cube takes `units`
/// neighbours of one row.
#[cube(launch, address_type = "dynamic")]
fn products_gradient_kernel<F: Float, I: Int, L: Int>(
    products: &Tensor<F>,       // [rows, columns·sub_centers]
    gradient: &Tensor<F>,       // [rows, columns]
    labels: &Tensor<I>,         // [rows]
    constants: &Tensor<F>,      // [rows, ..], or anything where they are not read
    g_target: &Tensor<F>,       // [rows, 1]
    g_products: &mut Tensor<F>, // [rows, columns·sub_centers]
    gamma: InputScalar,
    first: InputScalar,
    second: InputScalar,
    start: i32,
    #[comptime] steps: Steps,
    #[comptime] units: usize,
    #[define(F, I, L)] _dtypes: [ElemType; 3],
) {
    let columns = gradient.shape(1);
    let cubes_per_row = columns.div_ceil(units);
    let row = CUBE_POS / cubes_per_row;
    let column = CUBE_POS % cubes_per_row * units + UNIT_POS_X as usize;
    if row >= gradient.shape(0) || column >= columns {
        terminate!();
    }
    let from = row * products.stride(0) + column * steps.sub_centers;
    let to = row * g_products.stride(0) + column * steps.sub_centers;
    let product = product_of_key::<F>(products, from, gamma.get::<F>(), steps);
    let at = row * constants.stride(0);
    let slope = slope::<F>(product, constants, at, first.get::<F>(), second.get::<F>(), steps.replacement);
    let mut of_key = gradient[row * gradient.stride(0) + column] * slope;
    if comptime!(steps.has_target) {
        let label = L::cast_from(labels[row * labels.stride(0)]);
        if L::cast_from(start) + L::cast_from(column) == label {
            let of_target = g_target[row * g_target.stride(0)];
            if comptime!(steps.adds_target) {
                of_key += of_target;
            } else {
                of_key = of_target;
            }
        }
    }

    if comptime!(steps.soft) {
        let gamma = gamma.get::<F>();
        let largest = largest_product::<F>(products, from, steps.sub_centers);
        let all = sum_of_shares::<F>(products, from, largest, gamma, steps.sub_centers);
        #[unroll]
        for center in 0..steps.sub_centers {
            let of_center = products[from + center];
            let share = ((of_center - largest) / gamma).exp() / all;
            let index = to + center;
            g_products[index] = of_key * share * (F::new(1.0_f32) + (of_center - product) / gamma);
        }
    } else {
        // The first of the largest.
        let mut nearest = 0usize;
        let mut largest = products[from];
        #[unroll]
        for center in 1..steps.sub_centers {
            if products[from + center] > largest {
                largest = products[from + center];
                nearest = center;
            }
        }
        #[unroll]
        for center in 0..steps.sub_centers {
            let mut of_center = F::new(0.0_f32);
            if nearest == center {
                of_center = of_key;
            }
            let index = to + center;
            g_products[index] = of_center;
        }
    }
}

/// `key[i] = ` the first key of the block with the largest score, where that is above `largest[i]`; one cube per row `i`.
#[cube(launch, address_type = "dynamic")]
fn largest_key_kernel<F: Float, I: Int, J: Int, L: Int>(
    scores: &Tensor<F>,     // [rows, columns]
    labels: &Tensor<I>,     // [rows]
    key_labels: &Tensor<J>, // [columns], or anything where they are not read
    largest: &Tensor<F>,    // [rows, 1]
    key: &mut Tensor<F>,    // [rows, 1]
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
    let from = row * scores.stride(0);
    let label = L::cast_from(labels[row * labels.stride(0)]);
    let first = L::cast_from(start);

    let mut unit_largest = nothing.get::<F>();
    let mut unit_column = unit;
    let mut column = unit;
    while column < columns {
        if !is_excluded::<J, L>(row, column, label, first, key_labels, exclusion) {
            let score = scores[from + column] * scale.get::<F>();
            if score > unit_largest {
                unit_largest = score;
                unit_column = column;
            }
        }
        column += units;
    }

    let mut all_largest = Shared::<[F]>::new_slice(units);
    let mut all_columns = Shared::<[u32]>::new_slice(units);
    all_largest[unit] = unit_largest;
    all_columns[unit] = unit_column as u32;
    sync_cube();
    let mut half = CUBE_DIM_X as usize / 2;
    while half > 0 {
        if unit < half {
            let other = unit + half;
            let same = all_largest[other] == all_largest[unit];
            let sooner = same && all_columns[other] < all_columns[unit];
            if sooner || all_largest[other] > all_largest[unit] {
                all_largest[unit] = all_largest[other];
                all_columns[unit] = all_columns[other];
            }
        }
        sync_cube();
        half /= 2;
    }
    if unit == 0 && all_largest[0] > largest[row * largest.stride(0)] {
        let index = row * key.stride(0);
        key[index] = F::cast_from(all_columns[0]) + F::cast_from(start);
    }
}

/// Adds the softplus of a row of scores to `sum`, their slopes to `slope`, and how many are not 0 to `count`; one cube per row.
#[cube(launch, address_type = "dynamic")]
fn merge_softplus_kernel<F: Float, I: Int, J: Int, L: Int>(
    scores: &Tensor<F>,     // [rows, columns]
    labels: &Tensor<I>,     // [rows]
    key_labels: &Tensor<J>, // [columns], or anything where they are not read
    offsets: &Tensor<F>,    // [rows, 1]
    sum: &mut Tensor<F>,    // [rows, 1]
    slope: &mut Tensor<F>,  // [rows, 1]
    count: &mut Tensor<F>,  // [rows, 1]
    scale: InputScalar,
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
    let from = row * scores.stride(0);
    let label = L::cast_from(labels[row * labels.stride(0)]);
    let start = L::cast_from(start);
    let scale = scale.get::<F>();
    let offset = offsets[row * offsets.stride(0)];

    let mut terms = F::new(0.0_f32);
    let mut slopes = F::new(0.0_f32);
    let mut not_zero = F::new(0.0_f32);
    let mut column = unit;
    while column < columns {
        if !is_excluded::<J, L>(row, column, label, start, key_labels, exclusion) {
            let score = scores[from + column] * scale + offset;
            let term = softplus::<F>(score);
            terms += term;
            slopes += (score - term).exp();
            if term != F::new(0.0_f32) {
                not_zero += F::new(1.0_f32);
            }
        }
        column += units;
    }
    terms = sum_of_cube::<F>(terms, unit, units);
    slopes = sum_of_cube::<F>(slopes, unit, units);
    not_zero = sum_of_cube::<F>(not_zero, unit, units);
    if unit == 0 {
        let index = row * sum.stride(0);
        sum[index] += terms;
        let index = row * slope.stride(0);
        slope[index] += slopes;
        let index = row * count.stride(0);
        count[index] += not_zero;
    }
}

/// `scale·g_sum[i]·` the slope of a softplus for keys that count, 0 for the rest. A cube takes `units` neighbours of one row.
#[cube(launch, address_type = "dynamic")]
fn softplus_gradient_kernel<F: Float, I: Int, J: Int, L: Int>(
    scores: &Tensor<F>,       // [rows, columns]
    labels: &Tensor<I>,       // [rows]
    key_labels: &Tensor<J>,   // [columns], or anything where they are not read
    offsets: &Tensor<F>,      // [rows, 1]
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
        let scale = scale.get::<F>();
        let score = scores[row * scores.stride(0) + column] * scale + offsets[row * offsets.stride(0)];
        gradient[index] = (score - softplus::<F>(score)).exp() * (g_sum[row * g_sum.stride(0)] * scale);
    }
}

/// The product of a key, from those of its centers, which begin at `from`.
#[cube]
fn product_of_key<F: Float>(products: &Tensor<F>, from: usize, gamma: F, #[comptime] steps: Steps) -> F {
    let largest = largest_product::<F>(products, from, steps.sub_centers);
    let mut product = largest;
    if comptime!(steps.soft) {
        let all = sum_of_shares::<F>(products, from, largest, gamma, steps.sub_centers);
        product = F::new(0.0_f32);
        #[unroll]
        for center in 0..steps.sub_centers {
            let of_center = products[from + center];
            product += ((of_center - largest) / gamma).exp() / all * of_center;
        }
    }
    product
}

#[cube]
fn largest_product<F: Float>(products: &Tensor<F>, from: usize, #[comptime] sub_centers: usize) -> F {
    let mut largest = products[from];
    #[unroll]
    for center in 1..sub_centers {
        if products[from + center] > largest {
            largest = products[from + center];
        }
    }
    largest
}

#[cube]
fn sum_of_shares<F: Float>(
    products: &Tensor<F>,
    from: usize,
    largest: F,
    gamma: F,
    #[comptime] sub_centers: usize,
) -> F {
    let mut sum = F::new(0.0_f32);
    #[unroll]
    for center in 0..sub_centers {
        sum += ((products[from + center] - largest) / gamma).exp();
    }
    sum
}

/// The score of a product without its bias; `at` is where the constants of the query begin.
#[cube]
fn replaced<F: Float>(
    product: F,
    constants: &Tensor<F>,
    at: usize,
    first: F,
    second: F,
    #[comptime] replacement: Replacement,
) -> F {
    let mut score = product;
    if comptime!(replacement == Replacement::Hard) {
        if product > constants[at] {
            score = first * product * product + constants[at + 1] * product + constants[at + 2];
        }
    } else if comptime!(replacement == Replacement::Paced) {
        score = paced::<F>(product, first) * (product - second);
    } else if comptime!(matches!(replacement, Replacement::Bent { .. })) {
        score = power::<F>(product, first, second) * F::new(2.0_f32) - F::new(1.0_f32);
    }
    score
}

/// The slope of [`replaced`].
#[cube]
fn slope<F: Float>(
    product: F,
    constants: &Tensor<F>,
    at: usize,
    first: F,
    second: F,
    #[comptime] replacement: Replacement,
) -> F {
    let mut slope = F::new(1.0_f32);
    if comptime!(replacement == Replacement::Hard) {
        if product > constants[at] {
            slope = first * product * F::new(2.0_f32) + constants[at + 1];
        }
    } else if comptime!(replacement == Replacement::Paced) {
        slope = paced::<F>(product, first);
    } else if comptime!(replacement == Replacement::Bent { detached: false }) {
        slope = power::<F>(product, first - F::new(1.0_f32), second) * first;
    }
    slope
}

/// `max(product + reach, 0)`; a NaN stays.
#[cube]
fn paced<F: Float>(product: F, reach: F) -> F {
    let mut weight = product + reach;
    if weight < F::new(0.0_f32) {
        weight = F::new(0.0_f32);
    }
    weight
}

/// `((product + 1) / 2)^exponent`, of no less than `smallest`; a NaN stays.
#[cube]
fn power<F: Float>(product: F, exponent: F, smallest: F) -> F {
    let mut base = (product + F::new(1.0_f32)) * F::new(0.5_f32);
    if base < smallest {
        base = smallest;
    }
    (base.ln() * exponent).exp()
}

#[cube]
fn softplus<F: Float>(score: F) -> F {
    let mut positive = score;
    if score < F::new(0.0_f32) {
        positive = F::new(0.0_f32);
    }
    positive + (-score.abs()).exp().log1p()
}

/// See [`Blocks::scores`](super::super::blocks::Blocks::scores).
pub(super) fn scores(
    walk: &Walk<CubeBackend>,
    block: &Block<CubeBackend>,
    products: FloatTensor<CubeBackend>,
    target: &mut Option<FloatTensor<CubeBackend>>,
) -> FloatTensor<CubeBackend> {
    let products = in_rows(products);
    let (mut steps, numbers) = Steps::new(walk, block.bias.is_some());
    let [rows, columns] = dims(&products);
    let columns = columns / steps.sub_centers;
    let (client, dtype) = (products.client.clone(), storage(&products));
    let units = units_for(&client, columns);
    let Excluded { labels, key_labels, start, .. } = block.excluded.clone();
    let [_, of_labels, _, compared] = label_types(dtype, &labels, &key_labels);
    let constants = walk.rows.clone().map_or_else(|| products.clone(), in_rows);
    let bias = block.bias.clone().unwrap_or_else(|| products.clone());
    let shape = Shape::from([rows, columns]);
    let scores = empty_device_contiguous_dtype(client.clone(), products.device.clone(), shape, products.dtype);
    let written = target.take().map(writable);
    steps.has_target &= written.is_some();
    let target_arg = written.clone().unwrap_or_else(|| scores.clone());
    scores_kernel::launch(
        &client,
        cubes(&client, rows * columns.div_ceil(units as usize)),
        CubeDim::new_1d(units),
        address_type(&[&products, &scores]),
        products.into_tensor_arg(),
        labels.into_tensor_arg(),
        constants.into_tensor_arg(),
        bias.into_tensor_arg(),
        target_arg.into_tensor_arg(),
        scores.clone().into_tensor_arg(),
        InputScalar::new(numbers.gamma, dtype),
        InputScalar::new(numbers.first, dtype),
        InputScalar::new(numbers.second, dtype),
        InputScalar::new(numbers.cap, dtype),
        start as i32,
        steps,
        units as usize,
        [dtype, of_labels, compared],
    );
    *target = written;
    scores
}

/// See [`Blocks::of_products`](super::super::blocks::Blocks::of_products).
pub(super) fn of_products(
    walk: &Walk<CubeBackend>,
    block: &Block<CubeBackend>,
    products: FloatTensor<CubeBackend>,
    gradient: FloatTensor<CubeBackend>,
    g_target: FloatTensor<CubeBackend>,
) -> FloatTensor<CubeBackend> {
    let [products, gradient] = [products, gradient].map(in_rows);
    let (steps, numbers) = Steps::new(walk, block.bias.is_some());
    let [rows, columns] = dims(&gradient);
    let (client, dtype) = (products.client.clone(), storage(&products));
    let units = units_for(&client, columns);
    let Excluded { labels, key_labels, start, .. } = block.excluded.clone();
    let [_, of_labels, _, compared] = label_types(dtype, &labels, &key_labels);
    let constants = walk.rows.clone().map_or_else(|| gradient.clone(), in_rows);
    // Every unit reads its products before it writes them.
    let (g_products, g_products_arg) = output_like(&products);
    products_gradient_kernel::launch(
        &client,
        cubes(&client, rows * columns.div_ceil(units as usize)),
        CubeDim::new_1d(units),
        address_type(&[&products, &gradient, &g_products]),
        products.into_tensor_arg(),
        gradient.into_tensor_arg(),
        labels.into_tensor_arg(),
        constants.into_tensor_arg(),
        g_target.into_tensor_arg(),
        g_products_arg,
        InputScalar::new(numbers.gamma, dtype),
        InputScalar::new(numbers.first, dtype),
        InputScalar::new(numbers.second, dtype),
        start as i32,
        steps,
        units as usize,
        [dtype, of_labels, compared],
    );
    g_products
}

/// See [`Blocks::largest_key`](super::super::blocks::Blocks::largest_key).
pub(super) fn largest_key(
    scores: FloatTensor<CubeBackend>,
    scale: f64,
    excluded: Excluded<CubeBackend>,
    (largest, key): (FloatTensor<CubeBackend>, FloatTensor<CubeBackend>),
) -> FloatTensor<CubeBackend> {
    let scores = in_rows(scores);
    let [rows, columns] = dims(&scores);
    let (client, dtype) = (scores.client.clone(), storage(&scores));
    let units = units_for(&client, columns);
    let Excluded { labels, key_labels, start, exclusion } = excluded;
    let dtypes = label_types(dtype, &labels, &key_labels);
    let key = writable(key);
    largest_key_kernel::launch(
        &client,
        cubes(&client, rows),
        CubeDim::new_1d(units),
        address_type(&[&scores]),
        scores.into_tensor_arg(),
        labels.into_tensor_arg(),
        key_labels.into_tensor_arg(),
        largest.into_tensor_arg(),
        key.clone().into_tensor_arg(),
        InputScalar::new(scale, dtype),
        InputScalar::new(NOTHING, dtype),
        start as i32,
        exclusion,
        units as usize,
        dtypes,
    );
    key
}

/// See [`Blocks::merge_softplus`](super::super::blocks::Blocks::merge_softplus).
pub(super) fn merge_softplus(
    scores: FloatTensor<CubeBackend>,
    offsets: FloatTensor<CubeBackend>,
    scale: f64,
    excluded: Excluded<CubeBackend>,
    before: [FloatTensor<CubeBackend>; 3],
) -> [FloatTensor<CubeBackend>; 3] {
    let scores = in_rows(scores);
    let [rows, columns] = dims(&scores);
    let (client, dtype) = (scores.client.clone(), storage(&scores));
    let units = units_for(&client, columns);
    let Excluded { labels, key_labels, start, exclusion } = excluded;
    let dtypes = label_types(dtype, &labels, &key_labels);
    let sums = before.map(writable);
    let [sum, slope, count] = sums.clone().map(CubeTensor::into_tensor_arg);
    merge_softplus_kernel::launch(
        &client,
        cubes(&client, rows),
        CubeDim::new_1d(units),
        address_type(&[&scores]),
        scores.into_tensor_arg(),
        labels.into_tensor_arg(),
        key_labels.into_tensor_arg(),
        offsets.into_tensor_arg(),
        sum,
        slope,
        count,
        InputScalar::new(scale, dtype),
        start as i32,
        exclusion,
        units as usize,
        dtypes,
    );
    sums
}

/// See [`Blocks::softplus_gradient`](super::super::blocks::Blocks::softplus_gradient).
pub(super) fn softplus_gradient(
    scores: FloatTensor<CubeBackend>,
    offsets: FloatTensor<CubeBackend>,
    scale: f64,
    excluded: Excluded<CubeBackend>,
    g_sum: FloatTensor<CubeBackend>,
) -> FloatTensor<CubeBackend> {
    let scores = in_rows(scores);
    let [rows, columns] = dims(&scores);
    let (client, dtype) = (scores.client.clone(), storage(&scores));
    let units = units_for(&client, columns);
    let Excluded { labels, key_labels, start, exclusion } = excluded;
    let dtypes = label_types(dtype, &labels, &key_labels);
    let (gradient, gradient_arg) = output_like(&scores);
    softplus_gradient_kernel::launch(
        &client,
        cubes(&client, rows * columns.div_ceil(units as usize)),
        CubeDim::new_1d(units),
        address_type(&[&scores, &gradient]),
        scores.into_tensor_arg(),
        labels.into_tensor_arg(),
        key_labels.into_tensor_arg(),
        offsets.into_tensor_arg(),
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
