//! The operation as a loop over blocks of keys, in operations that every backend has.
//!
//! With unit keys `k`, and `p[i, j] = exp(scale·score[i, j] - others[i])` for the keys that count, the backward pass is
//!
//! ```text
//! G[i, j]    = scale·g_others[i]·p[i, j], or g_own[i] where j is the own key of i
//! d query[i] = sum over j of G[i, j]·k[j]
//! d k[j]     = sum over i of G[i, j]·query[i]
//! d key[j]   = (d k[j] - <d k[j], k[j]>·k[j]) / |key[j]|
//! ```

use alloc::vec;

use burn::backend::tensor::{BoolTensor, FloatTensor, IntTensor};
use burn::backend::{Backend, TensorMetadata, get_or_init_device_settings};
use burn::tensor::Shape;
use burn::tensor::{FloatDType, IntDType, Slice};

use super::backend::Wanted;
use super::backend::{Exclusion, Plan};
use crate::math::{NO_DIRECTION, NOTHING, SUM_OF_SQUARES_FLOOR};

/// What a block may take, scores and keys together: 2048 keys for 256 queries of 512 columns. On lavapipe blocks of a
/// quarter of that took no less memory in all, and blocks of several times that were a fifth faster.
const BLOCK_BYTES: usize = 16 << 20;

/// Blocks are a multiple of this, which suits every matrix kernel.
const BLOCK_MULTIPLE: usize = 64;

/// What the forward pass leaves for the backward pass.
pub(super) struct Saved<B: Backend> {
    pub(super) queries: FloatTensor<B>,
    pub(super) keys: FloatTensor<B>,
    pub(super) labels: IntTensor<B>,
    pub(super) key_labels: IntTensor<B>,
    pub(super) scores: FloatTensor<B>,
    pub(super) kept: FloatTensor<B>,
}

/// What is known of every query after some blocks, `[N, 1]` each.
pub(crate) struct Running<B: Backend> {
    pub(crate) own: FloatTensor<B>,
    /// The largest scaled score.
    pub(crate) largest: FloatTensor<B>,
    /// The sum of `exp(scale·score - largest)`; as long as no key counts, `largest` is [`NOTHING`] and this means nothing.
    pub(crate) sum: FloatTensor<B>,
}

/// Which keys of a block a query leaves out.
#[derive(Clone)]
pub(crate) struct Excluded<B: Backend> {
    /// `[N]`.
    pub(crate) labels: IntTensor<B>,
    /// `[block]`, or anything where the exclusion does not read them.
    pub(crate) key_labels: IntTensor<B>,
    /// The position of the first key of the block.
    pub(crate) start: usize,
    pub(crate) exclusion: Exclusion,
}

/// The steps of a block. A backend with kernels of its own replaces them.
pub(crate) trait Blocks: Backend {
    /// Keys `[block, D]` divided by their length, and `1 / length` as `[block, 1]`.
    fn unit_block(keys: FloatTensor<Self>) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let bools = get_or_init_device_settings::<Self>(&keys.device()).bool_dtype;
        let largest = Self::float_max_abs_dim(keys.clone(), 1);
        let no_direction = Self::float_lower_elem(largest.clone(), NO_DIRECTION.into(), bools);
        let largest = Self::float_mask_fill(largest, no_direction, 1.0.into());
        let scaled = Self::float_div(keys, largest.clone());
        let squares = Self::float_sum_dim(Self::float_mul(scaled.clone(), scaled.clone()), 1);
        let length = Self::float_sqrt(Self::float_clamp_min(squares, SUM_OF_SQUARES_FLOOR.into()));
        let unit = Self::float_div(scaled, length.clone());

        (unit, Self::float_recip(Self::float_mul(largest, length)))
    }

    /// Takes the unscaled scores `[N, block]` of a block into account.
    fn merge(scores: FloatTensor<Self>, scale: f64, excluded: Excluded<Self>, running: Running<Self>) -> Running<Self> {
        let bools = get_or_init_device_settings::<Self>(&scores.device()).bool_dtype;
        let Running { own, largest, sum } = running;
        let masks = Masks::new(&excluded, &scores);
        let own = match masks.own {
            Some(mask) => {
                let own_scores = Self::float_mask_fill(scores.clone(), Self::bool_not(mask), 0.0.into());
                Self::float_add(own, Self::float_sum_dim(own_scores, 1))
            }
            None => own,
        };
        let scores = Self::float_mul_scalar(scores, scale.into());
        let scores = Self::float_mask_fill(scores, masks.excluded, NOTHING.into());
        let block_largest = Self::float_max_dim(scores.clone(), 1);
        let grows = Self::float_greater(block_largest.clone(), largest.clone(), bools);
        let new_largest = Self::float_mask_where(largest.clone(), grows, block_largest);
        let sum = Self::float_mul(sum, Self::float_exp(Self::float_sub(largest, new_largest.clone())));
        let block_sum = Self::float_sum_dim(Self::float_exp(Self::float_sub(scores, new_largest.clone())), 1);

        Running { own, largest: new_largest, sum: Self::float_add(sum, block_sum) }
    }

    /// The gradient `[N, block]` of the unscaled scores of a block, from `others`, `g_own` and `g_others`, `[N, 1]` each.
    fn gradient(
        scores: FloatTensor<Self>,
        scale: f64,
        excluded: Excluded<Self>,
        others: FloatTensor<Self>,
        [g_own, g_others]: [FloatTensor<Self>; 2],
    ) -> FloatTensor<Self> {
        let shape = scores.shape();
        let masks = Masks::new(&excluded, &scores);
        let share = Self::float_exp(Self::float_sub(Self::float_mul_scalar(scores, scale.into()), others));
        let g_others = Self::float_mul_scalar(g_others, scale.into());
        let gradient = Self::float_mask_fill(Self::float_mul(share, g_others), masks.excluded, 0.0.into());
        match masks.own {
            Some(mask) => Self::float_mask_where(gradient, mask, Self::float_expand(g_own, shape)),
            None => gradient,
        }
    }

    /// The gradient of keys from that of the unit keys.
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

/// Where in a block a query's own key is, and which keys it leaves out, `[N, block]`.
pub(crate) struct Masks<B: Backend> {
    pub(crate) own: Option<BoolTensor<B>>,
    pub(crate) excluded: BoolTensor<B>,
}

impl<B: Backend> Masks<B> {
    pub(crate) fn new(excluded: &Excluded<B>, scores: &FloatTensor<B>) -> Self {
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
        let is_own = || at(column(labels.clone()));
        let key_labels = || {
            let key_labels = excluded.key_labels.clone();
            // Only where it must be: a Burn server stops at any cast of integers.
            let alike = key_labels.dtype() == labels.dtype();
            row(if alike { key_labels } else { B::int_cast(key_labels, integers) })
        };
        match excluded.exclusion {
            Exclusion::OwnKey => {
                let own = is_own();
                Self { own: Some(own.clone()), excluded: own }
            }
            Exclusion::OwnKeyAndUnused => {
                let own = is_own();
                Self { own: Some(own.clone()), excluded: B::bool_or(own, unused()) }
            }
            Exclusion::SameLabel => {
                let same = B::int_equal(column(labels.clone()), key_labels(), bools);
                Self { own: None, excluded: B::bool_or(same, unused()) }
            }
            Exclusion::OtherLabel { in_batch } => {
                let other = B::int_not_equal(column(labels.clone()), key_labels(), bools);
                let excluded = B::bool_or(other, unused());
                if !in_batch {
                    return Self { own: None, excluded };
                }
                let queries = column(B::int_arange(0..batch as i64, &device, integers));
                Self { own: None, excluded: B::bool_or(excluded, at(queries)) }
            }
        }
    }
}

pub(super) fn forward<B: Blocks>(
    queries: FloatTensor<B>,
    keys: FloatTensor<B>,
    labels: IntTensor<B>,
    key_labels: IntTensor<B>,
    plan: Plan,
) -> (FloatTensor<B>, FloatTensor<B>) {
    let walk = Walk::new(&queries, &keys, plan);
    let (batch, count, device) = (queries.shape()[0], walk.count, queries.device());
    let column = |value: f64| B::float_full([batch, 1].into(), value.into(), &device, walk.dtype);
    let mut running = Running { own: column(0.0), largest: column(NOTHING), sum: column(0.0) };
    let mut kept = B::float_empty([if plan.keep { batch * count } else { 1 }].into(), &device, walk.dtype);

    for (start, end) in walk.blocks() {
        let (unit, _) = walk.keys_of::<B>(&keys, start, end);
        let scores = B::float_matmul(queries.clone(), B::float_transpose(unit));
        if plan.keep {
            let flat = B::float_reshape(scores.clone(), [batch * (end - start)].into());
            kept = if end - start == count {
                flat
            } else {
                B::float_slice_assign(kept, &[Slice::from(batch * start..batch * end)], flat)
            };
        }
        running = B::merge(scores, plan.scale, walk.excluded(&labels, &key_labels, start, end), running);
    }
    let others = B::float_add(running.largest, B::float_log(running.sum));
    (B::float_cat(vec![running.own, others], 1), kept)
}

pub(super) fn backward<B: Blocks>(
    saved: Saved<B>,
    gradient: FloatTensor<B>,
    plan: Plan,
    wanted: Wanted,
) -> (FloatTensor<B>, FloatTensor<B>) {
    let Saved { queries, keys, labels, key_labels, scores, kept } = saved;
    let walk = Walk::new(&queries, &keys, plan);
    let (batch, device) = (queries.shape()[0], queries.device());
    let column = |tensor: &FloatTensor<B>, index: usize| {
        B::float_slice(tensor.clone(), &[Slice::from(0..batch), Slice::from(index..index + 1)])
    };
    let others = column(&scores, 1);
    let upstream = [column(&gradient, 0), column(&gradient, 1)];
    let key_dtype: FloatDType = keys.dtype().into();
    let keys_shape = if wanted.keys { keys.shape() } else { Shape::from([1]) };
    let mut queries_gradient =
        B::float_zeros(if wanted.queries { queries.shape() } else { Shape::from([1]) }, &device, walk.dtype);
    let mut keys_gradient = B::float_empty(keys_shape, &device, key_dtype);

    for (start, end) in walk.blocks() {
        let (unit, inverse_length) = walk.keys_of::<B>(&keys, start, end);
        let scores = if plan.keep {
            let flat = B::float_slice(kept.clone(), &[Slice::from(batch * start..batch * end)]);
            B::float_reshape(flat, [batch, end - start].into())
        } else {
            B::float_matmul(queries.clone(), B::float_transpose(unit.clone()))
        };
        let excluded = walk.excluded(&labels, &key_labels, start, end);
        let gradient = B::gradient(scores, plan.scale, excluded, others.clone(), upstream.clone());
        if wanted.queries {
            let part = B::float_matmul(gradient.clone(), unit.clone());
            queries_gradient = B::float_add(queries_gradient, part);
        }
        if wanted.keys {
            let mut part = B::float_matmul(B::float_transpose(gradient), queries.clone());
            if let Some(inverse_length) = inverse_length {
                part = B::project(part, unit, inverse_length);
            }
            let part = cast::<B>(part, key_dtype);
            keys_gradient = if end - start == walk.count {
                part
            } else {
                B::float_slice_assign(keys_gradient, &[Slice::from(start..end), Slice::from(0..walk.dim)], part)
            };
        }
    }
    (queries_gradient, keys_gradient)
}

/// The way through the keys.
pub(crate) struct Walk {
    pub(crate) count: usize,
    pub(crate) dim: usize,
    pub(crate) dtype: FloatDType,
    plan: Plan,
    pub(crate) block: usize,
}

impl Walk {
    pub(crate) fn new<F: TensorMetadata>(queries: &F, keys: &F, plan: Plan) -> Self {
        let (queries_shape, count) = (queries.shape(), keys.shape()[0]);
        let [batch, dim] = [queries_shape[0], queries_shape[1]];
        let per_key = (2 * batch + 3 * dim) * queries.dtype().size();
        let fitting = (BLOCK_BYTES / per_key / BLOCK_MULTIPLE).max(1) * BLOCK_MULTIPLE;
        let block = plan.block.unwrap_or(fitting).min(count);

        Self { count, dim, dtype: queries.dtype().into(), plan, block }
    }

    pub(crate) fn blocks(&self) -> impl Iterator<Item = (usize, usize)> {
        let (count, block) = (self.count, self.block);
        (0..count).step_by(block).map(move |start| (start, (start + block).min(count)))
    }

    /// The keys of a block in the precision of the queries, and `1 / length` if they are divided by it.
    pub(crate) fn keys_of<B: Blocks>(
        &self,
        keys: &FloatTensor<B>,
        start: usize,
        end: usize,
    ) -> (FloatTensor<B>, Option<FloatTensor<B>>) {
        let rows = if end - start == self.count {
            keys.clone()
        } else {
            B::float_slice(keys.clone(), &[Slice::from(start..end), Slice::from(0..self.dim)])
        };
        let rows = cast::<B>(rows, self.dtype);
        if !self.plan.normalise {
            return (rows, None);
        }
        let (unit, inverse_length) = B::unit_block(rows);
        (unit, Some(inverse_length))
    }

    fn excluded<B: Backend>(
        &self,
        labels: &IntTensor<B>,
        key_labels: &IntTensor<B>,
        start: usize,
        end: usize,
    ) -> Excluded<B> {
        let exclusion = self.plan.exclusion;
        let key_labels = if exclusion.reads_key_labels() && end - start < self.count {
            B::int_slice(key_labels.clone(), &[Slice::from(start..end)])
        } else {
            key_labels.clone()
        };
        Excluded { labels: labels.clone(), key_labels, start, exclusion }
    }
}

pub(crate) fn cast<B: Backend>(tensor: FloatTensor<B>, dtype: FloatDType) -> FloatTensor<B> {
    if FloatDType::from(tensor.dtype()) == dtype { tensor } else { B::float_cast(tensor, dtype) }
}
