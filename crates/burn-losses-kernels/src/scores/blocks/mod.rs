//! The operation as a loop over blocks of keys, in operations that every backend has. Used where tensors are not memory of
//! this process.
//!
//! With `f` what the products go through, `scale·f + bias` the scores, and `p` the share of a key in a log-sum-exp or the
//! slope of its softplus, and unit rows where they are normalised, the backward pass is
//!
//! ```text
//! S[i, j]    = g_sum[i]·p[i, j] where j counts for i, else 0
//! G[i, j]    = scale·S[i, j]·f'(product[i, j]), or g_target[i] where j is the target of i
//! d bias[j]  = sum over i of S[i, j]
//! d query[i] = sum over j of G[i, j]·key[j]
//! d key[j]   = sum over i of G[i, j]·query[i]
//! ```
//!
//! and of a row that was divided by its length, `(d unit - <d unit, unit>·unit) / length`. Of a key with several centers, `G`
//! goes to those that were chosen.

mod terms;

use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;

use burn::backend::tensor::{BoolTensor, FloatTensor, IntTensor};
use burn::backend::{Backend, TensorMetadata, get_or_init_device_settings};
use burn::tensor::{FloatDType, IntDType, Shape, Slice};

use super::backend::{Batch, Exclusion, Gradients, Plan, Results, Term, Wanted};
use crate::math::NOTHING;
use crate::math::norm::{NO_DIRECTION, SUM_OF_SQUARES_FLOOR};
use terms::{active, by_center, by_key, choose, scores_of, slopes_of, softplus, to_centers};

/// What a block may take, scores and keys together: 2048 keys for 256 queries of 512 columns. On lavapipe blocks of a
/// quarter of that took no less memory in all, and blocks of several times that were a fifth faster.
const BLOCK_BYTES: usize = 16 << 20;

/// Blocks are a multiple of this, which suits every matrix kernel.
const BLOCK_MULTIPLE: usize = 64;

/// What is known of every query after some blocks, `[N, 1]` each.
pub(super) struct Running<B: Backend> {
    pub(super) target: FloatTensor<B>,
    /// The largest scaled score.
    pub(super) largest: FloatTensor<B>,
    /// The sum of `exp(scale·score - largest)`; as long as no key counts, `largest` is [`NOTHING`] and this means nothing.
    pub(super) sum: FloatTensor<B>,
}

/// Which keys of a block a query leaves out.
#[derive(Clone)]
pub(super) struct Excluded<B: Backend> {
    /// `[N]`.
    pub(super) labels: IntTensor<B>,
    /// `[block]`, or anything where the exclusion does not read them.
    pub(super) key_labels: IntTensor<B>,
    /// The position of the first key of the block.
    pub(super) start: usize,
    pub(super) exclusion: Exclusion,
}

/// The steps of a block. A backend with kernels of its own replaces them.
pub(super) trait Blocks: Backend {
    /// Whether the products of all centers are one matrix, `[N, block·sub_centers]`, key by key. If not, there is a matrix
    /// `[N, block]` for the first centers, one for the second ones, and so on.
    const CENTERS_TOGETHER: bool = false;

    /// Rows `[rows, D]` divided by their length, and `1 / length` as `[rows, 1]`.
    fn unit_block(rows: FloatTensor<Self>) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let bools = get_or_init_device_settings::<Self>(&rows.device()).bool_dtype;
        let largest = Self::float_max_abs_dim(rows.clone(), 1);
        let no_direction = Self::float_lower_elem(largest.clone(), NO_DIRECTION.into(), bools);
        let largest = Self::float_mask_fill(largest, no_direction, 1.0.into());
        let scaled = Self::float_div(rows, largest.clone());
        let squares = Self::float_sum_dim(Self::float_mul(scaled.clone(), scaled.clone()), 1);
        let length = Self::float_sqrt(Self::float_clamp_min(squares, SUM_OF_SQUARES_FLOOR.into()));
        let unit = Self::float_div(scaled, length.clone());

        (unit, Self::float_recip(Self::float_mul(largest, length)))
    }

    /// The unscaled scores of a block, `[N, block]`, from its products. Adds the products of the targets to `target`, `[N, 1]`,
    /// if they are wanted.
    fn scores(
        walk: &Walk<Self>,
        block: &Block<Self>,
        products: Vec<FloatTensor<Self>>,
        target: &mut Option<FloatTensor<Self>>,
    ) -> FloatTensor<Self> {
        let (products, _) = choose::<Self>(products, walk.plan.choice);
        if walk.plan.exclusion.has_target()
            && let Some(before) = target.take()
        {
            let here = Masks::new(&block.excluded, &products).target_of(products.clone());
            *target = Some(here.into_iter().fold(before, Self::float_add));
        }
        scores_of::<Self>(products, walk, block)
    }

    /// Takes the unscaled scores `[N, block]` of a block into account.
    fn merge(scores: FloatTensor<Self>, scale: f64, excluded: Excluded<Self>, running: Running<Self>) -> Running<Self> {
        let bools = get_or_init_device_settings::<Self>(&scores.device()).bool_dtype;
        let Running { target, largest, sum } = running;
        let masks = Masks::new(&excluded, &scores);
        let target = match masks.target_of(scores.clone()) {
            Some(scores) => Self::float_add(target, scores),
            None => target,
        };
        let scores = Self::float_mul_scalar(scores, scale.into());
        let scores = Self::float_mask_fill(scores, masks.excluded, NOTHING.into());
        let block_largest = Self::float_max_dim(scores.clone(), 1);
        let grows = Self::float_greater(block_largest.clone(), largest.clone(), bools);
        let new_largest = Self::float_mask_where(largest.clone(), grows, block_largest);
        let sum = Self::float_mul(sum, Self::float_exp(Self::float_sub(largest, new_largest.clone())));
        let block_sum = Self::float_sum_dim(Self::float_exp(Self::float_sub(scores, new_largest.clone())), 1);

        Running { target, largest: new_largest, sum: Self::float_add(sum, block_sum) }
    }

    /// Which key has the largest of the scores so far, `[N, 1]`, from the largest scaled score and its key before this block, `[N, 1]`
    /// each.
    fn largest_key(
        scores: FloatTensor<Self>,
        scale: f64,
        excluded: Excluded<Self>,
        (largest, key): (FloatTensor<Self>, FloatTensor<Self>),
    ) -> FloatTensor<Self> {
        let settings = get_or_init_device_settings::<Self>(&scores.device());
        let (bools, dtype) = (settings.bool_dtype, FloatDType::from(scores.dtype()));
        let masks = Masks::<Self>::new(&excluded, &scores);
        let scores = Self::float_mul_scalar(scores, scale.into());
        let scores = Self::float_mask_fill(scores, masks.excluded, NOTHING.into());
        let (of_block, here) = Self::float_max_dim_with_indices(scores, 1, settings.int_dtype);
        let here = Self::float_add_scalar(Self::int_into_float(here, dtype), (excluded.start as f64).into());
        Self::float_mask_where(key, Self::float_greater(of_block, largest, bools), here)
    }

    /// The gradient `[N, block]` of the unscaled scores of a block, from `sums`, `g_target` and `g_sum`, `[N, 1]` each.
    fn gradient(
        scores: FloatTensor<Self>,
        scale: f64,
        excluded: Excluded<Self>,
        sums: FloatTensor<Self>,
        [g_target, g_sum]: [FloatTensor<Self>; 2],
    ) -> FloatTensor<Self> {
        let masks = Masks::new(&excluded, &scores);
        let share = Self::float_exp(Self::float_sub(Self::float_mul_scalar(scores, scale.into()), sums));
        let g_sum = Self::float_mul_scalar(g_sum, scale.into());
        let gradient = Self::float_mask_fill(Self::float_mul(share, g_sum), masks.excluded.clone(), 0.0.into());
        masks.with_target(gradient, g_target)
    }

    /// Adds the softplus of the scores `[N, block]` of a block, with `[N, 1]` offsets, to their sum, that of their slopes, and
    /// how many are not 0, `[N, 1]` each.
    fn merge_softplus(
        scores: FloatTensor<Self>,
        offsets: FloatTensor<Self>,
        scale: f64,
        excluded: Excluded<Self>,
        before: [FloatTensor<Self>; 3],
    ) -> [FloatTensor<Self>; 3] {
        let masks = Masks::<Self>::new(&excluded, &scores);
        let (terms, slopes) = softplus::<Self>(scores, offsets, scale);
        let not_zero = active::<Self>(&terms);
        let [sum, slope, count] = before;
        [(sum, terms), (slope, slopes), (count, not_zero)]
            .map(|(before, numbers)| Self::float_add(before, masks.sum(numbers)))
    }

    /// The gradient `[N, block]` of the unscaled scores of a softplus; 0 for keys that do not count.
    fn softplus_gradient(
        scores: FloatTensor<Self>,
        offsets: FloatTensor<Self>,
        scale: f64,
        excluded: Excluded<Self>,
        g_sum: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        let masks = Masks::<Self>::new(&excluded, &scores);
        let (_, slopes) = softplus::<Self>(scores, offsets, scale);
        let gradient = Self::float_mul(slopes, Self::float_mul_scalar(g_sum, scale.into()));
        Self::float_mask_fill(gradient, masks.excluded, 0.0.into())
    }

    /// The gradient of the products of a block from that of its scores, with that of the targets, `[N, 1]`.
    fn of_products(
        walk: &Walk<Self>,
        block: &Block<Self>,
        products: Vec<FloatTensor<Self>>,
        gradient: FloatTensor<Self>,
        g_target: FloatTensor<Self>,
    ) -> Vec<FloatTensor<Self>> {
        let (products, chosen) = choose::<Self>(products, walk.plan.choice);
        let gradient = match slopes_of::<Self>(products.clone(), walk) {
            Some(slopes) => Self::float_mul(gradient, slopes),
            None => gradient,
        };
        let gradient = if walk.plan.exclusion.has_target() {
            let masks = Masks::new(&block.excluded, &products);
            // A logit counts for its own sum, too.
            match walk.plan.term {
                Term::Logits { .. } => masks.added_to_target(gradient, g_target),
                _ => masks.with_target(gradient, g_target),
            }
        } else {
            gradient
        };
        to_centers::<Self>(gradient, products, chosen)
    }

    /// The gradient of rows from that of the rows divided by their length.
    fn project(
        unit_gradient: FloatTensor<Self>,
        unit: FloatTensor<Self>,
        inverse_length: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        let along = Self::float_sum_dim(Self::float_mul(unit_gradient.clone(), unit.clone()), 1);
        let across = Self::float_sub(unit_gradient, Self::float_mul(unit, along));
        Self::float_mul(across, inverse_length)
    }
}

/// Where in a block a query's target is, and which keys it leaves out, `[N, block]`.
pub(super) struct Masks<B: Backend> {
    target: Option<BoolTensor<B>>,
    excluded: BoolTensor<B>,
}

impl<B: Backend> Masks<B> {
    fn new(excluded: &Excluded<B>, scores: &FloatTensor<B>) -> Self {
        let shape = scores.shape();
        let [batch, count] = [shape[0], shape[1]];
        let device = scores.device();
        let bools = get_or_init_device_settings::<B>(&device).bool_dtype;
        let column = |labels: IntTensor<B>| B::int_expand(B::int_reshape(labels, [batch, 1].into()), shape.clone());
        let row = |labels: IntTensor<B>| B::int_expand(B::int_reshape(labels, [1, count].into()), shape.clone());
        let labels = excluded.labels.clone();
        let integers: IntDType = labels.dtype().into();
        let unused = || {
            let key_labels = B::int_reshape(excluded.key_labels.clone(), [1, count].into());
            B::bool_expand(B::int_lower_elem(key_labels, 0.into(), bools), shape.clone())
        };
        let at = |queries: IntTensor<B>| {
            let positions = excluded.start as i64..(excluded.start + count) as i64;
            B::int_equal(queries, row(B::int_arange(positions, &device, integers)), bools)
        };
        let is_target = || at(column(labels.clone()));
        let key_labels = || row(excluded.key_labels.clone());
        match excluded.exclusion {
            Exclusion::Target => {
                let target = is_target();
                Self { target: Some(target.clone()), excluded: target }
            }
            Exclusion::TargetAndUnused => {
                let target = is_target();
                Self { target: Some(target.clone()), excluded: B::bool_or(target, unused()) }
            }
            Exclusion::SameLabel => {
                let same = B::int_equal(column(labels.clone()), key_labels(), bools);
                Self { target: None, excluded: B::bool_or(same, unused()) }
            }
            Exclusion::OtherLabels { in_batch } => {
                let other = B::int_not_equal(column(labels.clone()), key_labels(), bools);
                let excluded = B::bool_or(other, unused());
                if !in_batch {
                    return Self { target: None, excluded };
                }
                let queries = column(B::int_arange(0..batch as i64, &device, integers));
                Self { target: None, excluded: B::bool_or(excluded, at(queries)) }
            }
        }
    }

    /// The number of every query at its target, `[N, 1]`; 0 where that is not in the block.
    fn target_of(&self, numbers: FloatTensor<B>) -> Option<FloatTensor<B>> {
        let target = self.target.clone()?;
        Some(B::float_sum_dim(B::float_mask_fill(numbers, B::bool_not(target), 0.0.into()), 1))
    }

    /// Numbers with those of the targets, `[N, 1]`, put in.
    fn with_target(self, numbers: FloatTensor<B>, of_target: FloatTensor<B>) -> FloatTensor<B> {
        let Some(target) = self.target else { return numbers };
        let shape = numbers.shape();
        B::float_mask_where(numbers, target, B::float_expand(of_target, shape))
    }

    /// Numbers with those of the targets, `[N, 1]`, added.
    fn added_to_target(self, numbers: FloatTensor<B>, of_target: FloatTensor<B>) -> FloatTensor<B> {
        let Some(target) = self.target else { return numbers };
        let shape = numbers.shape();
        let added = B::float_add(numbers.clone(), B::float_expand(of_target, shape));
        B::float_mask_where(numbers, target, added)
    }

    /// The sum of every query over the keys that count, `[N, 1]`.
    fn sum(&self, terms: FloatTensor<B>) -> FloatTensor<B> {
        B::float_sum_dim(B::float_mask_fill(terms, self.excluded.clone(), 0.0.into()), 1)
    }
}

pub(super) fn forward<B: Blocks>(batch: Batch<B>) -> Results<B> {
    let walk = Walk::<B>::new(batch);
    let Plan { term, scale, keep, .. } = walk.plan;
    let device = walk.queries.device();
    let column = |value: f64| B::float_full([walk.batch, 1].into(), value.into(), &device, walk.dtype);
    let mut running = Running { target: column(0.0), largest: column(NOTHING), sum: column(0.0) };
    let mut softplus = [0.0; 3].map(column);
    let mut target = Some(column(0.0));
    let kept = if keep { walk.batch * walk.count } else { 1 };
    let mut kept = B::float_empty([kept].into(), &device, walk.dtype);
    let [mut weighted, mut largest_key] = [0.0, -1.0].map(column);

    for keys in walk.blocks() {
        let block = walk.load(keys.clone());
        let mut products = walk.products(&block.centers);
        if keep {
            kept = walk.with_kept(kept, keys, products[0].clone());
        }
        if walk.is_plain() {
            running = B::merge(products.remove(0), scale, block.excluded, running);
            continue;
        }
        let scores = B::scores(&walk, &block, products, &mut target);
        if let Term::Softplus(_) = term {
            softplus = B::merge_softplus(scores, walk.row(0), scale, block.excluded, softplus);
            continue;
        }
        if let Term::Logits { .. } = term {
            if let Some(weights) = &block.weights {
                let product = B::float_matmul(scores.clone(), B::float_transpose(weights.clone()));
                weighted = B::float_add(weighted, product);
            }
            let before = (running.largest.clone(), largest_key);
            largest_key = B::largest_key(scores.clone(), scale, block.excluded.clone(), before);
        }
        running = B::merge(scores, scale, block.excluded, running);
    }
    let target = match target {
        Some(target) if !walk.is_plain() => target,
        _ => running.target,
    };
    let columns = match term {
        Term::Softplus(_) => [vec![target], softplus.to_vec()].concat(),
        _ => vec![target, B::float_add(running.largest.clone(), B::float_log(running.sum))],
    };
    let columns = match term {
        Term::Logits { .. } => {
            let weighted = B::float_mul_scalar(weighted, scale.into());
            [columns, vec![weighted, running.largest, largest_key]].concat()
        }
        _ => columns,
    };
    Results { output: B::float_cat(columns, 1), kept }
}

pub(super) fn backward<B: Blocks>(
    batch: Batch<B>,
    results: Results<B>,
    gradient: FloatTensor<B>,
    wanted: Wanted,
) -> Gradients<B> {
    let keys_of_batch = batch.keys.clone();
    let walk = Walk::<B>::new(batch);
    let (device, key_dtype) = (walk.queries.device(), FloatDType::from(keys_of_batch.dtype()));
    let upstream = Upstream::<B> {
        sums: column::<B>(&results.output, 1),
        g_target: column::<B>(&gradient, 0),
        g_sum: column::<B>(&gradient, 1),
        g_weighted: walk.weights.as_ref().map(|_| column::<B>(&gradient, 2)),
    };
    let nothing = |dtype: FloatDType| B::float_empty([1].into(), &device, dtype);
    let shape_of = |wanted: bool, tensor: &FloatTensor<B>| if wanted { tensor.shape() } else { Shape::from([1]) };
    let mut of_queries = B::float_zeros(shape_of(wanted.queries, &walk.queries), &device, walk.dtype);
    // The blocks cover all keys.
    let mut of_keys = B::float_empty(shape_of(wanted.keys, &keys_of_batch), &device, key_dtype);
    let mut of_bias = Vec::new();

    for keys in walk.blocks() {
        let block = walk.load(keys.clone());
        let products =
            if walk.plan.keep { vec![walk.kept(&results.kept, keys.clone())] } else { walk.products(&block.centers) };
        let g_target = upstream.g_target.clone();
        let gradients = if walk.is_plain() {
            let (excluded, upstream) = (block.excluded.clone(), &upstream);
            let gradient = |products| {
                let of_output = [g_target.clone(), upstream.g_sum.clone()];
                B::gradient(products, walk.plan.scale, excluded.clone(), upstream.sums.clone(), of_output)
            };
            products.into_iter().map(gradient).collect()
        } else {
            let (gradient, of_block) = walk.gradient(products.clone(), &block, &upstream, wanted.bias);
            of_bias.extend(of_block);
            B::of_products(&walk, &block, products, gradient, g_target)
        };
        if wanted.queries {
            for (gradient, centers) in gradients.iter().zip(block.centers) {
                of_queries = B::float_add(of_queries, B::float_matmul(gradient.clone(), centers));
            }
        }
        if wanted.keys {
            let of_center = |gradient| B::float_matmul(B::float_transpose(gradient), walk.queries.clone());
            let mut part = by_key::<B>(gradients.into_iter().map(of_center).collect());
            if let Some(inverse_length) = block.inverse_length {
                part = B::project(part, block.unit, inverse_length);
            }
            let part = cast::<B>(part, key_dtype);
            of_keys = if keys.len() == walk.count {
                part
            } else {
                let sub_centers = walk.plan.sub_centers;
                let rows = keys.start * sub_centers..keys.end * sub_centers;
                B::float_slice_assign(of_keys, &[Slice::from(rows), Slice::from(0..walk.dim)], part)
            };
        }
    }
    if let (true, Some(inverse_length)) = (wanted.queries, walk.inverse_length) {
        of_queries = B::project(of_queries, walk.queries, inverse_length);
    }
    let of_bias =
        if wanted.bias { B::float_reshape(B::float_cat(of_bias, 1), [walk.count].into()) } else { nothing(walk.dtype) };
    Gradients { queries: of_queries, keys: of_keys, bias: of_bias }
}

/// What the backward pass knows of every query, `[N, 1]` each.
struct Upstream<B: Backend> {
    sums: FloatTensor<B>,
    g_target: FloatTensor<B>,
    g_sum: FloatTensor<B>,
    g_weighted: Option<FloatTensor<B>>,
}

/// The way through the keys.
pub(super) struct Walk<B: Backend> {
    /// `[N, D]`, divided by their lengths where that is asked for.
    queries: FloatTensor<B>,
    /// Then one over these, `[N, 1]`.
    inverse_length: Option<FloatTensor<B>>,
    keys: FloatTensor<B>,
    /// In units of the products, `[1, M]`.
    bias: Option<FloatTensor<B>>,
    pub(super) rows: Option<FloatTensor<B>>,
    /// `[1, M]`.
    weights: Option<FloatTensor<B>>,
    labels: IntTensor<B>,
    key_labels: IntTensor<B>,
    pub(super) plan: Plan,
    batch: usize,
    dim: usize,
    /// `M`.
    count: usize,
    /// Keys per block.
    block: usize,
    dtype: FloatDType,
}

/// Some keys.
pub(super) struct Block<B: Backend> {
    /// All their centers in the precision of the queries, key by key.
    unit: FloatTensor<B>,
    /// One over their lengths, if they were divided by these.
    inverse_length: Option<FloatTensor<B>>,
    /// The same, as one matrix or by their place among the centers of a key: see [`Blocks::CENTERS_TOGETHER`].
    centers: Vec<FloatTensor<B>>,
    /// In units of the products, `[1, block]`.
    pub(super) bias: Option<FloatTensor<B>>,
    /// `[1, block]`.
    weights: Option<FloatTensor<B>>,
    pub(super) excluded: Excluded<B>,
}

impl<B: Blocks> Walk<B> {
    fn new(batch: Batch<B>) -> Self {
        let Batch { queries, keys, bias, rows, weights, labels, key_labels, plan } = batch;
        let (shape, rows_of_keys) = (queries.shape(), keys.shape()[0]);
        let ([batch, dim], count) = ([shape[0], shape[1]], rows_of_keys / plan.sub_centers);
        let per_row = (2 * batch + 3 * dim) * queries.dtype().size();
        let fitting = (BLOCK_BYTES / per_row / BLOCK_MULTIPLE).max(1) * BLOCK_MULTIPLE;
        let block = plan.block.unwrap_or(fitting).div_ceil(plan.sub_centers).min(count);
        let dtype = queries.dtype().into();
        let (queries, inverse_length) = unit_if::<B>(plan.normalise.queries(), queries);
        let row = |numbers: &FloatTensor<B>| B::float_reshape(numbers.clone(), [1, count].into());
        let in_units = |bias: &FloatTensor<B>| B::float_mul_scalar(row(bias), (1.0 / plan.scale).into());
        let (bias, rows) = (bias.as_option().map(in_units), rows.as_option().cloned());
        let weights = weights.as_option().map(row);

        Self {
            queries,
            inverse_length,
            keys,
            bias,
            rows,
            weights,
            labels,
            key_labels,
            plan,
            batch,
            dim,
            count,
            block,
            dtype,
        }
    }

    fn blocks(&self) -> impl Iterator<Item = Range<usize>> {
        let (count, block) = (self.count, self.block);
        (0..count).step_by(block).map(move |start| start..(start + block).min(count))
    }

    /// Whether the products are the scores.
    fn is_plain(&self) -> bool {
        matches!(self.plan.term, Term::Exp) && self.bias.is_none() && self.plan.sub_centers == 1
    }

    fn load(&self, keys: Range<usize>) -> Block<B> {
        let (sub_centers, exclusion, all) = (self.plan.sub_centers, self.plan.exclusion, keys.len() == self.count);
        let rows = if all {
            self.keys.clone()
        } else {
            let rows = keys.start * sub_centers..keys.end * sub_centers;
            B::float_slice(self.keys.clone(), &[Slice::from(rows), Slice::from(0..self.dim)])
        };
        let (unit, inverse_length) = unit_if::<B>(self.plan.normalise.keys(), cast::<B>(rows, self.dtype));
        let key_labels = if exclusion.reads_key_labels() && !all {
            B::int_slice(self.key_labels.clone(), &[Slice::from(keys.clone())])
        } else {
            self.key_labels.clone()
        };
        let of_block = |numbers: &Option<FloatTensor<B>>| {
            let place = [Slice::from(0..1), Slice::from(keys.clone())];
            numbers.clone().map(|numbers| B::float_slice(numbers, &place))
        };
        let (bias, weights) = (of_block(&self.bias), of_block(&self.weights));
        let excluded = Excluded { labels: self.labels.clone(), key_labels, start: keys.start, exclusion };

        let centers = if B::CENTERS_TOGETHER { vec![unit.clone()] } else { by_center::<B>(unit.clone(), sub_centers) };

        Block { centers, unit, inverse_length, bias, weights, excluded }
    }

    /// The products of all queries with the centers.
    fn products(&self, centers: &[FloatTensor<B>]) -> Vec<FloatTensor<B>> {
        let with =
            |centers: &FloatTensor<B>| B::float_matmul(self.queries.clone(), B::float_transpose(centers.clone()));
        centers.iter().map(with).collect()
    }

    /// A number of every query, `[N, 1]`.
    fn row(&self, index: usize) -> FloatTensor<B> {
        column::<B>(self.rows.as_ref().expect("terms of rows"), index)
    }

    /// The gradient of the scores of a block before a cap, `[N, block]` and without that of the targets, and that of its bias,
    /// `[1, block]`, if it is wanted.
    fn gradient(
        &self,
        products: Vec<FloatTensor<B>>,
        block: &Block<B>,
        upstream: &Upstream<B>,
        of_bias: bool,
    ) -> (FloatTensor<B>, Option<FloatTensor<B>>) {
        let Upstream { sums, g_sum, g_weighted, .. } = upstream;
        let Plan { term, scale, .. } = self.plan;
        let (excluded, g_sum) = (block.excluded.clone(), g_sum.clone());
        let scores = B::scores(self, block, products, &mut None);
        let mut gradient = if let Term::Softplus(_) = term {
            B::softplus_gradient(scores.clone(), self.row(0), scale, excluded, g_sum)
        } else {
            let no_target = B::float_zeros([self.batch, 1].into(), &sums.device(), self.dtype);
            B::gradient(scores.clone(), scale, excluded, sums.clone(), [no_target, g_sum])
        };
        if let (Some(g_weighted), Some(weights)) = (g_weighted, &block.weights) {
            let g_weighted = B::float_mul_scalar(g_weighted.clone(), scale.into());
            gradient = B::float_add(gradient, B::float_matmul(g_weighted, weights.clone()));
        }
        if let Term::Logits { cap: Some(cap) } = term {
            let bent = B::float_mul_scalar(scores, (scale / cap).into());
            let slope = B::float_add_scalar(B::float_neg(B::float_mul(bent.clone(), bent)), 1.0.into());
            gradient = B::float_mul(gradient, slope);
        }
        let of_all = || B::float_mul_scalar(B::float_sum_dim(gradient.clone(), 0), (1.0 / scale).into());
        let of_bias = of_bias.then(of_all);

        (gradient, of_bias)
    }

    /// Where the products of a block are among those that are kept.
    fn place(&self, keys: &Range<usize>) -> [Slice; 1] {
        [Slice::from(self.batch * keys.start..self.batch * keys.end)]
    }

    fn with_kept(&self, kept: FloatTensor<B>, keys: Range<usize>, products: FloatTensor<B>) -> FloatTensor<B> {
        let flat = B::float_reshape(products, [self.batch * keys.len()].into());
        if keys.len() == self.count { flat } else { B::float_slice_assign(kept, &self.place(&keys), flat) }
    }

    fn kept(&self, kept: &FloatTensor<B>, keys: Range<usize>) -> FloatTensor<B> {
        let flat = B::float_slice(kept.clone(), &self.place(&keys));
        B::float_reshape(flat, [self.batch, keys.len()].into())
    }
}

fn unit_if<B: Blocks>(normalise: bool, rows: FloatTensor<B>) -> (FloatTensor<B>, Option<FloatTensor<B>>) {
    if !normalise {
        return (rows, None);
    }
    let (unit, inverse_length) = B::unit_block(rows);
    (unit, Some(inverse_length))
}

fn column<B: Backend>(tensor: &FloatTensor<B>, index: usize) -> FloatTensor<B> {
    let rows = tensor.shape()[0];
    B::float_slice(tensor.clone(), &[Slice::from(0..rows), Slice::from(index..index + 1)])
}

fn cast<B: Backend>(tensor: FloatTensor<B>, dtype: FloatDType) -> FloatTensor<B> {
    if FloatDType::from(tensor.dtype()) == dtype { tensor } else { B::float_cast(tensor, dtype) }
}

#[cfg(feature = "tch")]
impl Blocks for burn::backend::LibTorch {}
#[cfg(all(feature = "remote", not(feature = "fusion")))]
impl Blocks for burn::backend::Remote {}
