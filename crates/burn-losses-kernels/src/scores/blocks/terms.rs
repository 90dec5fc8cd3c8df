//! From the products of a block to its scores, and the way back.

use alloc::vec;
use alloc::vec::Vec;

use burn::backend::tensor::{BoolTensor, FloatTensor};
use burn::backend::{Backend, TensorMetadata, get_or_init_device_settings};
use burn::tensor::Slice;

use super::super::backend::{Plan, Term};
use super::super::{CenterChoice, Curve};
use super::{Block, Blocks, Walk};

/// The first centers of all keys, then the second ones, and so on: `[keys, D]` each, from centers key by key.
pub(super) fn by_center<B: Backend>(centers: FloatTensor<B>, sub_centers: usize) -> Vec<FloatTensor<B>> {
    if sub_centers == 1 {
        return vec![centers];
    }
    let [count, dim] = [centers.shape()[0], centers.shape()[1]];
    let keys = count / sub_centers;
    let centers = B::float_reshape(centers, [keys, sub_centers, dim].into());
    let place = |place: usize| [0..keys, place..place + 1, 0..dim].map(Slice::from);
    let of = |number| B::float_reshape(B::float_slice(centers.clone(), &place(number)), [keys, dim].into());
    (0..sub_centers).map(of).collect()
}

/// The way back from [`by_center`].
pub(super) fn by_key<B: Backend>(mut centers: Vec<FloatTensor<B>>) -> FloatTensor<B> {
    if centers.len() == 1 {
        return centers.remove(0);
    }
    let (sub_centers, shape) = (centers.len(), centers[0].shape());
    let [keys, dim] = [shape[0], shape[1]];
    let rows = centers.into_iter().map(|rows| B::float_reshape(rows, [keys, 1, dim].into()));
    B::float_reshape(B::float_cat(rows.collect(), 1), [keys * sub_centers, dim].into())
}

/// How the products of the centers became those of the keys.
pub(super) enum Chosen<B: Backend> {
    /// Where a center is nearer than those before it; not of the first one, `[N, keys]` each.
    Nearest(Vec<BoolTensor<B>>),
    /// The share of every center, and its product, `[N, keys]` each.
    Soft { shares: Vec<FloatTensor<B>>, products: Vec<FloatTensor<B>>, gamma: f64 },
}

/// The products of the keys, `[N, keys]`, from those of their centers, `[N, keys]` each.
pub(super) fn choose<B: Backend>(products: Vec<FloatTensor<B>>, choice: CenterChoice) -> (FloatTensor<B>, Chosen<B>) {
    let mut largest = products[0].clone();
    let bools = get_or_init_device_settings::<B>(&largest.device()).bool_dtype;
    let mut nearer = Vec::new();
    for products in &products[1..] {
        let here = B::float_greater(products.clone(), largest.clone(), bools);
        largest = B::float_mask_where(largest, here.clone(), products.clone());
        nearer.push(here);
    }
    let CenterChoice::Soft { gamma } = choice else { return (largest, Chosen::Nearest(nearer)) };
    let share = |products: &FloatTensor<B>| {
        let behind = B::float_sub(products.clone(), largest.clone());
        B::float_exp(B::float_mul_scalar(behind, (1.0 / gamma).into()))
    };
    let sum = |parts: Vec<FloatTensor<B>>| parts.into_iter().reduce(B::float_add).expect("a key has a center");
    let shares: Vec<_> = products.iter().map(share).collect();
    let all = B::float_recip(sum(shares.clone()));
    let shares: Vec<_> = shares.into_iter().map(|share| B::float_mul(share, all.clone())).collect();
    let weighted = shares.iter().zip(&products).map(|(share, products)| B::float_mul(share.clone(), products.clone()));
    let mean = sum(weighted.collect());

    (mean, Chosen::Soft { shares, products, gamma })
}

/// The gradients of the centers, `[N, keys]` each, from the gradient and the products of the keys. The nearest center has
/// all of it; one that was chosen softly has `share·(1 + (its product - that of the key) / gamma)`.
pub(super) fn to_centers<B: Backend>(
    gradient: FloatTensor<B>,
    of_keys: FloatTensor<B>,
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
        Chosen::Soft { shares, products, gamma } => {
            let of = |(share, products)| {
                let ahead = B::float_mul_scalar(B::float_sub(products, of_keys.clone()), (1.0 / gamma).into());
                B::float_mul(gradient.clone(), B::float_mul(share, B::float_add_scalar(ahead, 1.0.into())))
            };
            shares.into_iter().zip(products).map(of).collect()
        }
    }
}

/// The scores of a block in units of its products, which they are made of.
pub(super) fn scores_of<B: Blocks>(products: FloatTensor<B>, walk: &Walk<B>, block: &Block<B>) -> FloatTensor<B> {
    let Plan { term, scale, .. } = walk.plan;
    let scores = match term {
        Term::Exp | Term::Logits { .. } => products,
        Term::Softplus(curve) => curve.bend::<B>(products),
        Term::Reweighted { quadratic } => {
            let hard = hard::<B>(&products, walk);
            let square = B::float_mul_scalar(B::float_mul(products.clone(), products.clone()), quadratic.into());
            let line = B::float_add(B::float_mul(products.clone(), walk.row(1)), walk.row(2));
            B::float_mask_where(products, hard, B::float_add(square, line))
        }
        Term::SelfPaced { reach, goal } => {
            B::float_mul(paced::<B>(products.clone(), reach), B::float_add_scalar(products, (-goal).into()))
        }
    };
    let scores = match &block.bias {
        Some(bias) => B::float_add(scores, bias.clone()),
        None => scores,
    };
    let Term::Logits { cap: Some(cap) } = term else { return scores };
    let cap = cap / scale;
    B::float_mul_scalar(B::float_tanh(B::float_mul_scalar(scores, (1.0 / cap).into())), cap.into())
}

/// The slope of the scores by the products before a cap; `None` where it is 1.
pub(super) fn slopes_of<B: Blocks>(products: FloatTensor<B>, walk: &Walk<B>) -> Option<FloatTensor<B>> {
    match walk.plan.term {
        Term::Exp | Term::Logits { .. } => None,
        Term::Softplus(curve) => curve.slope::<B>(products),
        Term::Reweighted { quadratic } => {
            let easy = B::bool_not(hard::<B>(&products, walk));
            let slope = B::float_add(B::float_mul_scalar(products, (2.0 * quadratic).into()), walk.row(1));
            Some(B::float_mask_fill(slope, easy, 1.0.into()))
        }
        Term::SelfPaced { reach, .. } => Some(paced::<B>(products, reach)),
    }
}

/// Which products are above the threshold of their query.
fn hard<B: Blocks>(products: &FloatTensor<B>, walk: &Walk<B>) -> BoolTensor<B> {
    let bools = get_or_init_device_settings::<B>(&products.device()).bool_dtype;
    B::float_greater(products.clone(), B::float_expand(walk.row(0), products.shape()), bools)
}

fn paced<B: Backend>(products: FloatTensor<B>, reach: f64) -> FloatTensor<B> {
    B::float_clamp_min(B::float_add_scalar(products, reach.into()), 0.0.into())
}

/// 1 for a term that is not 0.
pub(super) fn active<B: Backend>(terms: &FloatTensor<B>) -> FloatTensor<B> {
    let (shape, device) = (terms.shape(), terms.device());
    let bools = get_or_init_device_settings::<B>(&device).bool_dtype;
    let nothing = B::float_equal_elem(terms.clone(), 0.0.into(), bools);
    B::float_mask_fill(B::float_ones(shape, &device, terms.dtype().into()), nothing, 0.0.into())
}

/// `softplus(scale·score + offset)` and its slope by that sum, with `[N, 1]` offsets.
pub(super) fn softplus<B: Backend>(
    scores: FloatTensor<B>,
    offsets: FloatTensor<B>,
    scale: f64,
) -> (FloatTensor<B>, FloatTensor<B>) {
    let scores = B::float_add(B::float_mul_scalar(scores, scale.into()), offsets);
    let tail = B::float_log1p(B::float_exp(B::float_neg(B::float_abs(scores.clone()))));
    let terms = B::float_add(B::float_clamp_min(scores.clone(), 0.0.into()), tail);
    let slopes = B::float_exp(B::float_sub(scores, terms.clone()));

    (terms, slopes)
}

impl Curve {
    /// The curve of the products of a block.
    pub(super) fn bend<B: Backend>(self, products: FloatTensor<B>) -> FloatTensor<B> {
        if self.is_straight() {
            return products;
        }
        let power = self.power::<B>(products, self.exponent);
        B::float_add_scalar(B::float_mul_scalar(power, 2.0.into()), (-1.0).into())
    }

    /// Its slope, `exponent·((product + 1) / 2)^(exponent - 1)`; `None` where that counts as 1.
    pub(super) fn slope<B: Backend>(self, products: FloatTensor<B>) -> Option<FloatTensor<B>> {
        if self.is_straight() || self.detached {
            return None;
        }
        let power = self.power::<B>(products, self.exponent - 1.0);
        Some(B::float_mul_scalar(power, self.exponent.into()))
    }

    fn power<B: Backend>(self, products: FloatTensor<B>, exponent: f64) -> FloatTensor<B> {
        let base = B::float_mul_scalar(B::float_add_scalar(products, 1.0.into()), 0.5.into());
        let base = B::float_clamp_min(base, Self::SMALLEST_BASE.into());
        B::float_exp(B::float_mul_scalar(B::float_log(base), exponent.into()))
    }
}
