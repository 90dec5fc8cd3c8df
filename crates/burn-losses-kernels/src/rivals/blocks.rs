//! The operation as a loop over blocks of classes, in operations that every backend has. Used where tensors are not memory of
//! this process.
//!
//! With `f` what the cosines go through, `scale·f` the scores, and `p` the share of a class in a log-sum-exp or the slope
//! of its softplus, the gradient of the cosines is `scale·g_others[i]·p[i, j]·f'(cosine[i, j])`, or `g_own[i]` for the own
//! class; it goes to the centers that were chosen, and from there on as in [`logsumexp`](crate::logsumexp). The keys of
//! pairs are classes of one center without an own one, and their products stand for the cosines.

use alloc::vec;
use alloc::vec::Vec;

use burn::backend::tensor::{BoolTensor, FloatTensor, IntTensor};
use burn::backend::{Backend, TensorMetadata, get_or_init_device_settings};
use burn::tensor::{FloatDType, Shape, Slice};

use super::CenterChoice;
use super::backend::{Plan, Saved, Terms};
use crate::logsumexp::backend::{Plan as WalkPlan, Wanted};
use crate::logsumexp::blocks::{Blocks, Excluded, Masks, Running, Walk, cast};
use crate::math::NOTHING;

/// Where `(cosine + 1) / 2` is smaller, its power is 0 in every precision.
const SMALLEST_BASE: f64 = 1e-30;

pub(super) fn forward<B: Blocks>(
    queries: FloatTensor<B>,
    keys: FloatTensor<B>,
    row_terms: FloatTensor<B>,
    labels: IntTensor<B>,
    key_labels: IntTensor<B>,
    plan: Plan,
) -> FloatTensor<B> {
    let walk = walk::<B>(&queries, &keys, plan);
    let (batch, device) = (queries.shape()[0], queries.device());
    let column = |value: f64| B::float_full([batch, 1].into(), value.into(), &device, walk.dtype);
    let mut running = Running { own: column(0.0), largest: column(NOTHING), sum: column(0.0) };
    let mut slopes = column(0.0);

    for (start, end) in walk.blocks() {
        let (unit, _) = walk.keys_of::<B>(&keys, start, end);
        let (cosines, _) = choose::<B>(scores::<B>(&queries, &by_center::<B>(unit, plan.sub_centers)), plan.choice);
        let excluded = excluded::<B>(&labels, &key_labels, start, end, plan);
        let scores = match plan.terms {
            Terms::LogSumExp => cosines,
            Terms::Reweighted { quadratic } => Reweighted::<B>::new(cosines, &row_terms, quadratic, &excluded).cosines,
            Terms::SelfPaced { reach, goal } => self_paced::<B>(cosines, reach, goal).0,
            Terms::Softplus { exponent, .. } => {
                let masks = Masks::<B>::new(&excluded, &cosines);
                let sum = |terms| B::float_sum_dim(B::float_mask_fill(terms, masks.excluded.clone(), 0.0.into()), 1);
                let own = masks.own.clone().map(|own| {
                    let others = B::bool_not(own);
                    B::float_sum_dim(B::float_mask_fill(cosines.clone(), others, 0.0.into()), 1)
                });
                let (terms, block_slopes) = softplus_terms::<B>(cosines, &row_terms, exponent, plan.scale);
                let own = own.unwrap_or_else(|| sum(active::<B>(&terms)));
                running.own = B::float_add(running.own, own);
                running.sum = B::float_add(running.sum, sum(terms));
                slopes = B::float_add(slopes, sum(block_slopes));
                continue;
            }
        };
        running = B::merge(scores, plan.scale, excluded, running);
    }
    let Running { own, largest, sum } = running;
    let columns = match plan.terms {
        Terms::Softplus { .. } => vec![own, sum, slopes],
        _ => vec![own, B::float_add(largest, B::float_log(sum))],
    };
    B::float_cat(columns, 1)
}

pub(super) fn backward<B: Blocks>(
    saved: Saved<B>,
    gradient: FloatTensor<B>,
    plan: Plan,
    wanted: Wanted,
) -> (FloatTensor<B>, FloatTensor<B>) {
    let Saved { queries, keys, row_terms, labels, key_labels, output } = saved;
    let walk = walk::<B>(&queries, &keys, plan);
    let device = queries.device();
    let upstream = Upstream::<B> {
        others: column::<B>(&output, 1),
        g_own: column::<B>(&gradient, 0),
        g_others: column::<B>(&gradient, 1),
    };
    let key_dtype: FloatDType = keys.dtype().into();
    let shape_of = |wanted: bool, tensor: &FloatTensor<B>| if wanted { tensor.shape() } else { Shape::from([1]) };
    let mut queries_gradient = B::float_zeros(shape_of(wanted.queries, &queries), &device, walk.dtype);
    // The blocks cover all keys.
    let mut keys_gradient = B::float_empty(shape_of(wanted.keys, &keys), &device, key_dtype);

    for (start, end) in walk.blocks() {
        let (unit, inverse_length) = walk.keys_of::<B>(&keys, start, end);
        let centers = by_center::<B>(unit.clone(), plan.sub_centers);
        let (cosines, chosen) = choose::<B>(scores::<B>(&queries, &centers), plan.choice);
        let excluded = excluded::<B>(&labels, &key_labels, start, end, plan);
        let gradient = cosines_gradient::<B>(cosines.clone(), &row_terms, excluded, &upstream, plan);
        let gradients = to_centers::<B>(gradient, cosines, chosen);
        if wanted.queries {
            for (gradient, centers) in gradients.iter().zip(centers) {
                let part = B::float_matmul(gradient.clone(), centers);
                queries_gradient = B::float_add(queries_gradient, part);
            }
        }
        if wanted.keys {
            let parts =
                gradients.into_iter().map(|gradient| B::float_matmul(B::float_transpose(gradient), queries.clone()));
            let part = by_class::<B>(parts.collect());
            let part = match inverse_length {
                Some(inverse_length) => B::project(part, unit, inverse_length),
                None => part,
            };
            let place = [Slice::from(start..end), Slice::from(0..walk.dim)];
            keys_gradient = B::float_slice_assign(keys_gradient, &place, cast::<B>(part, key_dtype));
        }
    }
    (queries_gradient, keys_gradient)
}

/// What the backward pass knows of every query, `[N, 1]` each.
struct Upstream<B: Backend> {
    others: FloatTensor<B>,
    g_own: FloatTensor<B>,
    g_others: FloatTensor<B>,
}

/// The gradient of the cosines of a block, `[N, classes]`.
fn cosines_gradient<B: Blocks>(
    cosines: FloatTensor<B>,
    row_terms: &FloatTensor<B>,
    excluded: Excluded<B>,
    upstream: &Upstream<B>,
    plan: Plan,
) -> FloatTensor<B> {
    let Upstream { others, g_own, g_others } = upstream;
    let gradient =
        |scores, excluded| B::gradient(scores, plan.scale, excluded, others.clone(), [g_own.clone(), g_others.clone()]);
    match plan.terms {
        Terms::LogSumExp => gradient(cosines, excluded),
        Terms::Reweighted { quadratic } => {
            let reweighted = Reweighted::<B>::new(cosines, row_terms, quadratic, &excluded);
            let slope = reweighted.slope();
            B::float_mul(gradient(reweighted.cosines, excluded), slope)
        }
        Terms::SelfPaced { reach, goal } => {
            let (scores, weights) = self_paced::<B>(cosines, reach, goal);
            B::float_mul(gradient(scores, excluded), weights)
        }
        Terms::Softplus { exponent, detached } => {
            let masks = Masks::<B>::new(&excluded, &cosines);
            let shape = cosines.shape();
            let (_, slopes) = softplus_terms::<B>(cosines.clone(), row_terms, exponent, plan.scale);
            let slopes = if detached { slopes } else { B::float_mul(slopes, curve_slope::<B>(cosines, exponent)) };
            let gradient = B::float_mul(slopes, B::float_mul_scalar(g_others.clone(), plan.scale.into()));
            let gradient = B::float_mask_fill(gradient, masks.excluded, 0.0.into());
            match masks.own {
                Some(own) => B::float_mask_where(gradient, own, B::float_expand(g_own.clone(), shape)),
                None => gradient,
            }
        }
    }
}

/// The way through the centers, in blocks of whole classes.
fn walk<B: Blocks>(queries: &FloatTensor<B>, keys: &FloatTensor<B>, plan: Plan) -> Walk {
    let Plan { exclusion, normalise, scale, block, .. } = plan;
    let walk_plan = WalkPlan { exclusion, normalise, scale, keep: false, block };
    let mut walk = Walk::new(queries, keys, walk_plan);
    walk.block = walk.block.div_ceil(plan.sub_centers) * plan.sub_centers;
    walk
}

/// Which classes of the centers `start..end` a query leaves out.
fn excluded<B: Backend>(
    labels: &IntTensor<B>,
    key_labels: &IntTensor<B>,
    start: usize,
    end: usize,
    plan: Plan,
) -> Excluded<B> {
    let (start, end) = (start / plan.sub_centers, end / plan.sub_centers);
    let (labels, exclusion) = (labels.clone(), plan.exclusion);
    let key_labels = if exclusion.reads_key_labels() {
        B::int_slice(key_labels.clone(), &[Slice::from(start..end)])
    } else {
        key_labels.clone()
    };
    Excluded { labels, key_labels, start, exclusion }
}

/// The first centers of all classes, then the second ones, and so on: `[classes, D]` each, from centers class by class.
fn by_center<B: Backend>(centers: FloatTensor<B>, sub_centers: usize) -> Vec<FloatTensor<B>> {
    if sub_centers == 1 {
        return vec![centers];
    }
    let [count, dim] = [centers.shape()[0], centers.shape()[1]];
    let classes = count / sub_centers;
    let centers = B::float_reshape(centers, [classes, sub_centers, dim].into());
    let place = |place: usize| [0..classes, place..place + 1, 0..dim].map(Slice::from);
    let of = |number| B::float_reshape(B::float_slice(centers.clone(), &place(number)), [classes, dim].into());
    (0..sub_centers).map(of).collect()
}

/// The way back from [`by_center`].
fn by_class<B: Backend>(mut centers: Vec<FloatTensor<B>>) -> FloatTensor<B> {
    if centers.len() == 1 {
        return centers.remove(0);
    }
    let (sub_centers, shape) = (centers.len(), centers[0].shape());
    let [classes, dim] = [shape[0], shape[1]];
    let rows = centers.into_iter().map(|rows| B::float_reshape(rows, [classes, 1, dim].into()));
    B::float_reshape(B::float_cat(rows.collect(), 1), [classes * sub_centers, dim].into())
}

/// The scores of all queries with the centers, `[N, classes]` each.
fn scores<B: Backend>(queries: &FloatTensor<B>, centers: &[FloatTensor<B>]) -> Vec<FloatTensor<B>> {
    let with = |centers: &FloatTensor<B>| B::float_matmul(queries.clone(), B::float_transpose(centers.clone()));
    centers.iter().map(with).collect()
}

/// How the cosines of the centers became those of the classes.
enum Chosen<B: Backend> {
    /// Where a center is nearer than those before it; not of the first one, `[N, classes]` each.
    Nearest(Vec<BoolTensor<B>>),
    /// The share of every center, and its cosine, `[N, classes]` each.
    Soft { shares: Vec<FloatTensor<B>>, cosines: Vec<FloatTensor<B>>, gamma: f64 },
}

/// The cosines of the classes, `[N, classes]`, from those of their centers, `[N, classes]` each.
fn choose<B: Backend>(cosines: Vec<FloatTensor<B>>, choice: CenterChoice) -> (FloatTensor<B>, Chosen<B>) {
    let mut largest = cosines[0].clone();
    let bools = get_or_init_device_settings::<B>(&largest.device()).bool_dtype;
    let mut nearer = Vec::new();
    for cosines in &cosines[1..] {
        let here = B::float_greater(cosines.clone(), largest.clone(), bools);
        largest = B::float_mask_where(largest, here.clone(), cosines.clone());
        nearer.push(here);
    }
    let CenterChoice::Soft { gamma } = choice else { return (largest, Chosen::Nearest(nearer)) };
    let share = |cosines: &FloatTensor<B>| {
        let behind = B::float_sub(cosines.clone(), largest.clone());
        B::float_exp(B::float_mul_scalar(behind, (1.0 / gamma).into()))
    };
    let sum = |parts: Vec<FloatTensor<B>>| parts.into_iter().reduce(B::float_add).expect("a class has a center");
    let shares: Vec<_> = cosines.iter().map(share).collect();
    let all = B::float_recip(sum(shares.clone()));
    let shares: Vec<_> = shares.into_iter().map(|share| B::float_mul(share, all.clone())).collect();
    let products = shares.iter().zip(&cosines).map(|(share, cosines)| B::float_mul(share.clone(), cosines.clone()));
    let mean = sum(products.collect());

    (mean, Chosen::Soft { shares, cosines, gamma })
}

/// The gradients of the centers, `[N, classes]` each, from the gradient and the cosines of the classes. The nearest center
/// has all of it; one that was chosen softly has `share·(1 + (its cosine - that of the class) / gamma)`.
fn to_centers<B: Backend>(
    gradient: FloatTensor<B>,
    class_cosines: FloatTensor<B>,
    chosen: Chosen<B>,
) -> Vec<FloatTensor<B>> {
    match chosen {
        Chosen::Nearest(nearer) => {
            let mut left = gradient;
            let mut gradients = Vec::new();
            // The last one that was nearer than all before it is the nearest.
            for nearer in nearer.into_iter().rev() {
                gradients.push(B::float_mask_fill(left.clone(), B::bool_not(nearer.clone()), 0.0.into()));
                left = B::float_mask_fill(left, nearer, 0.0.into());
            }
            gradients.push(left);
            gradients.reverse();
            gradients
        }
        Chosen::Soft { shares, cosines, gamma } => {
            let of = |(share, cosines)| {
                let ahead = B::float_mul_scalar(B::float_sub(cosines, class_cosines.clone()), (1.0 / gamma).into());
                B::float_mul(gradient.clone(), B::float_mul(share, B::float_add_scalar(ahead, 1.0.into())))
            };
            shares.into_iter().zip(cosines).map(of).collect()
        }
    }
}

/// The cosines of a block with those of hard classes replaced.
struct Reweighted<B: Backend> {
    cosines: FloatTensor<B>,
    before: FloatTensor<B>,
    hard: BoolTensor<B>,
    linear: FloatTensor<B>,
    quadratic: f64,
}

impl<B: Backend> Reweighted<B> {
    fn new(before: FloatTensor<B>, row_terms: &FloatTensor<B>, quadratic: f64, excluded: &Excluded<B>) -> Self {
        let shape = before.shape();
        let bools = get_or_init_device_settings::<B>(&before.device()).bool_dtype;
        let row_term = |index| B::float_expand(column::<B>(row_terms, index), shape.clone());
        let own = Masks::<B>::new(excluded, &before).own.expect("classes have an own one");
        let hard = B::float_greater(before.clone(), row_term(0), bools);
        let hard = B::bool_and(hard, B::bool_not(own));
        let linear = row_term(1);
        let square = B::float_mul_scalar(B::float_mul(before.clone(), before.clone()), quadratic.into());
        let line = B::float_add(B::float_mul(before.clone(), linear.clone()), row_term(2));
        let cosines = B::float_mask_where(before.clone(), hard.clone(), B::float_add(square, line));

        Self { cosines, before, hard, linear, quadratic }
    }

    /// The slope of the replacement, 1 where nothing is replaced.
    fn slope(&self) -> FloatTensor<B> {
        let slope = B::float_mul_scalar(self.before.clone(), (2.0 * self.quadratic).into());
        let slope = B::float_add(slope, self.linear.clone());
        B::float_mask_fill(slope, B::bool_not(self.hard.clone()), 1.0.into())
    }
}

/// `max(score + reach, 0)·(score - goal)`, and the first factor, which is its slope.
fn self_paced<B: Backend>(scores: FloatTensor<B>, reach: f64, goal: f64) -> (FloatTensor<B>, FloatTensor<B>) {
    let weights = B::float_clamp_min(B::float_add_scalar(scores.clone(), reach.into()), 0.0.into());
    let paced = B::float_mul(weights.clone(), B::float_add_scalar(scores, (-goal).into()));

    (paced, weights)
}

/// 1 for a term that is not 0.
fn active<B: Backend>(terms: &FloatTensor<B>) -> FloatTensor<B> {
    let (shape, device) = (terms.shape(), terms.device());
    let bools = get_or_init_device_settings::<B>(&device).bool_dtype;
    let nothing = B::float_equal_elem(terms.clone(), 0.0.into(), bools);
    B::float_mask_fill(B::float_ones(shape, &device, terms.dtype().into()), nothing, 0.0.into())
}

/// `softplus(scale·curve(cosine) - bias)` and its slope.
fn softplus_terms<B: Backend>(
    cosines: FloatTensor<B>,
    row_terms: &FloatTensor<B>,
    exponent: f64,
    scale: f64,
) -> (FloatTensor<B>, FloatTensor<B>) {
    let bent = match base::<B>(&cosines, exponent) {
        None => cosines,
        Some(base) => {
            let power = B::float_exp(B::float_mul_scalar(B::float_log(base), exponent.into()));
            B::float_add_scalar(B::float_mul_scalar(power, 2.0.into()), (-1.0).into())
        }
    };
    let scores = B::float_sub(B::float_mul_scalar(bent, scale.into()), column::<B>(row_terms, 0));
    let tail = B::float_log1p(B::float_exp(B::float_neg(B::float_abs(scores.clone()))));
    let terms = B::float_add(B::float_clamp_min(scores.clone(), 0.0.into()), tail);
    let slopes = B::float_exp(B::float_sub(scores, terms.clone()));

    (terms, slopes)
}

/// The slope of the curve: `exponent·((cosine + 1) / 2)^(exponent - 1)`.
fn curve_slope<B: Backend>(cosines: FloatTensor<B>, exponent: f64) -> FloatTensor<B> {
    match base::<B>(&cosines, exponent) {
        None => B::float_ones(cosines.shape(), &cosines.device(), cosines.dtype().into()),
        Some(base) => {
            let power = B::float_exp(B::float_mul_scalar(B::float_log(base), (exponent - 1.0).into()));
            B::float_mul_scalar(power, exponent.into())
        }
    }
}

/// What the curve takes the power of; `None` for a straight line.
fn base<B: Backend>(cosines: &FloatTensor<B>, exponent: f64) -> Option<FloatTensor<B>> {
    (exponent != 1.0).then(|| {
        let base = B::float_mul_scalar(B::float_add_scalar(cosines.clone(), 1.0.into()), 0.5.into());
        B::float_clamp_min(base, SMALLEST_BASE.into())
    })
}

fn column<B: Backend>(tensor: &FloatTensor<B>, index: usize) -> FloatTensor<B> {
    let rows = tensor.shape()[0];
    B::float_slice(tensor.clone(), &[Slice::from(0..rows), Slice::from(index..index + 1)])
}
