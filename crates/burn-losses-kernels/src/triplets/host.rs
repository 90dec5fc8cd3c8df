//! The walk on the memory of CPU backends.

#![cfg_attr(feature = "ndarray", expect(deprecated, reason = "Burn deprecates ndarray; this project supports it"))]

use alloc::vec;
use alloc::vec::Vec;

use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Backend, Dispatch, TensorMetadata, backend_extension};
use burn::tensor::{Bool, DType, Int, Tensor, TensorData};

use super::{NegativeDistance, TripletRule, TripletShape, Walked};
use crate::host::threads::*;
use crate::host::{Host, Key, Real};
use crate::pair_sums::{NEGATIVE, POSITIVE, kinds_of_masks};

/// What stands behind the slopes of an anchor: its losses, how many triplets it has, and how many have a loss.
const SUMS: usize = 3;

/// Fewer anchors than this are not worth a thread.
const ANCHORS_PER_THREAD: usize = 16;

/// - `distances`: `[anchors, references]` in `f32` or `f64`
/// - `kinds`: `[anchors, references]` in the same type, [`POSITIVE`], [`NEGATIVE`] or 0
/// - output: `[anchors, references + 3]`, the slopes and the sums
#[backend_extension(NdArray: cfg(feature = "ndarray"), Flex: cfg(feature = "flex"))]
pub(crate) trait TripletOps: Backend {
    fn triplets(distances: FloatTensor<Self>, kinds: FloatTensor<Self>, rule: TripletRule) -> FloatTensor<Self>;

    /// - output: `[anchors, references]`, `I64`
    fn semi_hard_negatives(distances: FloatTensor<Self>, kinds: FloatTensor<Self>) -> IntTensor<Self>;
}

macro_rules! on_host {
    ($backend:ty) => {
        impl TripletOps for $backend {
            fn triplets(
                distances: FloatTensor<Self>,
                kinds: FloatTensor<Self>,
                rule: TripletRule,
            ) -> FloatTensor<Self> {
                match distances.dtype() {
                    DType::F64 => triplets::<Self, f64>(distances, kinds, rule),
                    _ => triplets::<Self, f32>(distances, kinds, rule),
                }
            }

            fn semi_hard_negatives(distances: FloatTensor<Self>, kinds: FloatTensor<Self>) -> IntTensor<Self> {
                match distances.dtype() {
                    DType::F64 => semi_hard::<Self, f64>(&distances, &kinds),
                    _ => semi_hard::<Self, f32>(&distances, &kinds),
                }
            }
        }
    };
}

#[cfg(feature = "flex")]
on_host!(burn::backend::Flex);
#[cfg(feature = "ndarray")]
on_host!(burn::backend::NdArray);

pub(super) fn walk(
    distances: Tensor<2>,
    positives: Tensor<2, Bool>,
    negatives: Tensor<2, Bool>,
    rule: TripletRule,
) -> Walked {
    let home = distances.device();
    let [anchors, references] = distances.dims();
    let distances = distances.without_autodiff();
    let kinds = kinds(&distances, positives, negatives);
    let output = <Dispatch as TripletOps>::triplets(distances.into_dispatch(), kinds.into_dispatch(), rule);
    let output = Tensor::<2>::from_dispatch(output).to_device(&home);
    let sums = |place: usize| output.clone().narrow(1, references + place, 1).reshape([anchors]);

    Walked { slopes: output.clone().narrow(1, 0, references), losses: sums(0), triplets: sums(1), active: sums(2) }
}

pub(super) fn semi_hard_negatives(
    distances: Tensor<2>,
    positives: Tensor<2, Bool>,
    negatives: Tensor<2, Bool>,
) -> Tensor<2, Int> {
    let home = distances.device();
    let distances = distances.without_autodiff();
    let kinds = kinds(&distances, positives, negatives);
    let output = <Dispatch as TripletOps>::semi_hard_negatives(distances.into_dispatch(), kinds.into_dispatch());

    Tensor::from_dispatch(output).to_device(&home)
}

/// What every reference is to every anchor, beside the distances.
fn kinds(distances: &Tensor<2>, positives: Tensor<2, Bool>, negatives: Tensor<2, Bool>) -> Tensor<2> {
    let device = distances.device();
    let [positives, negatives] = [positives, negatives].map(|mask| mask.without_autodiff().to_device(&device));
    kinds_of_masks(positives, negatives, distances.dtype())
}

fn semi_hard<H: Host, T: Real + Key<T> + burn::tensor::Element>(
    distances: &FloatTensor<H>,
    kinds: &FloatTensor<H>,
) -> IntTensor<H> {
    let shape = distances.shape();
    let [anchors, references] = [shape[0], shape[1]];
    let (all_distances, all_kinds) = (H::strided::<T>(distances), H::strided::<T>(kinds));
    let mut output = vec![-1_i64; anchors * references];
    for_each_chunk(&mut output, references, ANCHORS_PER_THREAD, &|anchor, row| {
        let (mut room, mut room_of_kinds) = (Vec::new(), Vec::new());
        let distances = all_distances.row(anchor, references, &mut room);
        let kinds = all_kinds.row(anchor, references, &mut room_of_kinds);
        let mut negatives: Vec<(T, i64)> = (0..references)
            .filter(|&reference| kinds[reference] == T::of(NEGATIVE) && distances[reference] < T::infinity())
            .map(|reference| (distances[reference], reference as i64))
            .collect();
        negatives.sort_unstable_by(|first, second| first.partial_cmp(second).expect("numbers below infinity compare"));
        for (reference, chosen) in row.iter_mut().enumerate().filter(|&(place, _)| kinds[place] == T::of(POSITIVE)) {
            let near = distances[reference];
            let farther = negatives.partition_point(|&(far, _)| far <= near);
            if let Some(&(far, negative)) = negatives.get(farther)
                && far > near
            {
                *chosen = negative;
            }
        }
    });
    H::int_from_data(TensorData::new(output, [anchors, references]), &distances.device())
}

fn triplets<H: Host, T: Real + Key<T> + burn::tensor::Element>(
    distances: FloatTensor<H>,
    kinds: FloatTensor<H>,
    rule: TripletRule,
) -> FloatTensor<H> {
    let shape = distances.shape();
    let [anchors, references] = [shape[0], shape[1]];
    let batch = Batch {
        distances: H::strided::<T>(&distances).rows(anchors, references),
        kinds: H::strided::<T>(&kinds).rows(anchors, references),
        references,
        margin: T::of(rule.margin),
        shape: rule.shape,
    };
    let width = references + SUMS;
    let mut output = vec![T::zero(); anchors * width];
    match rule.negative_distance {
        NegativeDistance::FromAnchor => {
            for_each_chunk(&mut output, width, ANCHORS_PER_THREAD, &|anchor, row| batch.held_to_anchor(anchor, row));
        }
        NegativeDistance::Nearest => batch.held_to_nearest(&mut output),
    }
    H::float_from_data(TensorData::new(output, [anchors, width]), &distances.device())
}

/// What is walked.
struct Batch<T> {
    distances: Vec<T>,
    kinds: Vec<T>,
    references: usize,
    margin: T,
    shape: TripletShape,
}

impl<T: Real> Batch<T> {
    /// The references of a kind.
    fn of_kind(&self, anchor: usize, kind: f64) -> Vec<usize> {
        let kinds = &self.kinds[anchor * self.references..(anchor + 1) * self.references];
        (0..self.references).filter(|&reference| kinds[reference] == T::of(kind)).collect()
    }

    fn distance(&self, row: usize, column: usize) -> T {
        self.distances[row * self.references + column]
    }

    /// The triplets of an anchor, into its row of the output.
    fn held_to_anchor(&self, anchor: usize, row: &mut [T]) {
        let (positives, negatives) = (self.of_kind(anchor, POSITIVE), self.of_kind(anchor, NEGATIVE));
        let far: Vec<T> = negatives.iter().map(|&negative| self.distance(anchor, negative)).collect();
        let mut negative_slopes = vec![T::zero(); negatives.len()];
        let (mut losses, mut active) = (0.0, 0.0);
        for &positive in &positives {
            let near = self.distance(anchor, positive);
            let [loss, slope, count] = match self.shape {
                TripletShape::Hinge => sums(near, &far, self.margin, &mut negative_slopes, hinge),
                TripletShape::Softplus => sums(near, &far, self.margin, &mut negative_slopes, softplus),
            };
            row[positive] = slope;
            losses += loss.to_f64().expect("a float is an f64");
            active += count.to_f64().expect("a float is an f64");
        }
        for (&negative, &slope) in negatives.iter().zip(&negative_slopes) {
            row[negative] = -slope;
        }
        row[self.references] = T::of(losses);
        row[self.references + 1] = T::of((positives.len() * negatives.len()) as f64);
        row[self.references + 2] = T::of(active);
    }

    /// The triplets of all anchors, each into the row of the one that its negative is nearer to.
    fn held_to_nearest(&self, output: &mut [T]) {
        let width = self.references + SUMS;
        let mut sums = vec![[0.0; SUMS]; self.references];
        for anchor in 0..self.references {
            let (positives, negatives) = (self.of_kind(anchor, POSITIVE), self.of_kind(anchor, NEGATIVE));
            for (&positive, &negative) in positives.iter().flat_map(|p| negatives.iter().map(move |n| (p, n))) {
                let (own, other) = (self.distance(anchor, negative), self.distance(positive, negative));
                let (row, near, far) = if other < own { (positive, anchor, other) } else { (anchor, positive, own) };
                let excess = self.distance(row, near) - far + self.margin;
                let [loss, slope] = match self.shape {
                    TripletShape::Hinge => hinge(excess),
                    TripletShape::Softplus => softplus(excess),
                };
                let slopes = &mut output[row * width..(row + 1) * width];
                slopes[near] = slopes[near] + slope;
                slopes[negative] = slopes[negative] - slope;
                for (sum, part) in sums[row].iter_mut().zip([loss, T::one(), counted(loss)]) {
                    *sum += part.to_f64().expect("a float is an f64");
                }
            }
        }
        for (row, sums) in output.chunks_exact_mut(width).zip(sums) {
            row[self.references..].copy_from_slice(&sums.map(T::of));
        }
    }
}

/// The sums of the losses, of the slopes, and of the losses that are not 0, of one positive and all negatives.
#[inline(always)]
fn sums<T: Real>(near: T, far: &[T], margin: T, slopes: &mut [T], shape: impl Fn(T) -> [T; 2]) -> [T; 3] {
    const LANES: usize = 16;
    let mut all = [[T::zero(); LANES]; 3];
    let (mut far, mut slopes) = (far.chunks_exact(LANES), slopes.chunks_exact_mut(LANES));
    let mut step = |lane: usize, far: T, slopes: &mut T| {
        let [loss, slope] = shape(near - far + margin);
        *slopes = *slopes + slope;
        for (sum, part) in all.iter_mut().zip([loss, slope, counted(loss)]) {
            sum[lane] = sum[lane] + part;
        }
    };
    for (far, slopes) in (&mut far).zip(&mut slopes) {
        for lane in 0..LANES {
            step(lane, far[lane], &mut slopes[lane]);
        }
    }
    for (lane, (&far, slopes)) in far.remainder().iter().zip(slopes.into_remainder()).enumerate() {
        step(lane, far, slopes);
    }
    all.map(|lanes| lanes.into_iter().fold(T::zero(), |sum, part| sum + part))
}

/// 1 for what is not 0.
#[inline(always)]
fn counted<T: Real>(loss: T) -> T {
    if loss == T::zero() { T::zero() } else { T::one() }
}

/// The loss and its slope; NaN stays NaN.
#[inline(always)]
fn hinge<T: Real>(excess: T) -> [T; 2] {
    if excess <= T::zero() { [T::zero(); 2] } else { [excess, T::one()] }
}

#[inline(always)]
fn softplus<T: Real>(excess: T) -> [T; 2] {
    let falling = (-excess.abs()).exp();
    let high = (T::one() + falling).recip();
    let (positive, slope) = if excess < T::zero() { (T::zero(), high * falling) } else { (excess, high) };
    [positive + falling.ln_1p(), slope]
}
