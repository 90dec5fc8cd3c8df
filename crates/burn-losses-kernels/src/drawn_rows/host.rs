//! The steps on the memory of CPU backends, every row where it lies.

#![cfg_attr(feature = "ndarray", expect(deprecated, reason = "Burn deprecates ndarray; this project supports it"))]

use alloc::vec::Vec;

use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, AutodiffBackend, Backend, Dispatch, ExtensionType, TensorMetadata, backend_extension};
use burn::tensor::{DType, Element, Shape, Tensor};
use bytemuck::Pod;

use super::packed::{BASE, BYTES, CHECK, COUNTS, SECOND, TAIL, is_packed};
use super::{AdamWRule, Moments, SgdRule};
use crate::host::threads::join;
use crate::host::{Host, Key, Real, Strided, Vectorised, vectorised};
use crate::math::cast_to;

/// Below this many numbers a second thread is not woken.
const WORTH_A_THREAD: usize = 1 << 15;

/// What AdamW changes.
#[derive(Clone, Debug, ExtensionType)]
pub(crate) struct AdamWState<B: Backend> {
    pub(crate) weights: FloatTensor<B>,
    pub(crate) first: FloatTensor<B>,
    pub(crate) second: FloatTensor<B>,
    pub(crate) shares: FloatTensor<B>,
}

/// What gradient descent changes.
#[derive(Clone, Debug, ExtensionType)]
pub(crate) struct SgdState<B: Backend> {
    pub(crate) weights: FloatTensor<B>,
    pub(crate) velocity: FloatTensor<B>,
}

/// All tensors are in the same type, `f32` or `f64`.
#[backend_extension(NdArray: cfg(feature = "ndarray"), Flex: cfg(feature = "flex"), Autodiff)]
pub(crate) trait StepOps: Backend {
    fn sgd(
        #[extension_type] state: SgdState<Self>,
        gradient: FloatTensor<Self>,
        rule: SgdRule,
        learning_rate: f64,
    ) -> SgdState<Self>;

    fn adamw(
        #[extension_type] state: AdamWState<Self>,
        gradient: FloatTensor<Self>,
        rule: AdamWRule,
        learning_rate: f64,
    ) -> AdamWState<Self>;
}

macro_rules! on_host {
    ($backend:ty) => {
        impl StepOps for $backend {
            fn sgd(
                state: SgdState<Self>,
                gradient: FloatTensor<Self>,
                rule: SgdRule,
                learning_rate: f64,
            ) -> SgdState<Self> {
                match gradient.dtype() {
                    DType::F64 => sgd::<Self, f64>(state, &gradient, rule, learning_rate),
                    _ => sgd::<Self, f32>(state, &gradient, rule, learning_rate),
                }
            }

            fn adamw(
                state: AdamWState<Self>,
                gradient: FloatTensor<Self>,
                rule: AdamWRule,
                learning_rate: f64,
            ) -> AdamWState<Self> {
                match gradient.dtype() {
                    DType::F64 => adamw::<Self, f64>(state, &gradient, rule, learning_rate),
                    _ => adamw::<Self, f32>(state, &gradient, rule, learning_rate),
                }
            }
        }
    };
}

#[cfg(feature = "flex")]
on_host!(burn::backend::Flex);
#[cfg(feature = "ndarray")]
on_host!(burn::backend::NdArray);

/// A step has no gradient.
impl<B: StepOps, C: CheckpointStrategy> StepOps for Autodiff<B, C> {
    fn sgd(state: SgdState<Self>, gradient: FloatTensor<Self>, rule: SgdRule, learning_rate: f64) -> SgdState<Self> {
        let state = SgdState { weights: Self::inner(state.weights), velocity: Self::inner(state.velocity) };
        let SgdState { weights, velocity } = B::sgd(state, Self::inner(gradient), rule, learning_rate);
        SgdState { weights: Self::from_inner(weights), velocity: Self::from_inner(velocity) }
    }

    fn adamw(
        state: AdamWState<Self>,
        gradient: FloatTensor<Self>,
        rule: AdamWRule,
        learning_rate: f64,
    ) -> AdamWState<Self> {
        let AdamWState { weights, first, second, shares } = state;
        let [weights, first, second, shares] = [weights, first, second, shares].map(Self::inner);
        let state = AdamWState { weights, first, second, shares };
        let AdamWState { weights, first, second, shares } = B::adamw(state, Self::inner(gradient), rule, learning_rate);
        let [weights, first, second, shares] = [weights, first, second, shares].map(Self::from_inner);
        AdamWState { weights, first, second, shares }
    }
}

pub(super) fn sgd_step(
    weights: Tensor<2>,
    velocity: Tensor<2>,
    gradient: Tensor<2>,
    rule: SgdRule,
    learning_rate: f64,
) -> (Tensor<2>, Tensor<2>) {
    let gradient = cast_to(gradient, weights.dtype()).into_dispatch();
    let state = SgdState { weights: weights.into_dispatch(), velocity: velocity.into_dispatch() };
    let SgdState { weights, velocity } = <Dispatch as StepOps>::sgd(state, gradient, rule, learning_rate);

    (Tensor::from_dispatch(weights), Tensor::from_dispatch(velocity))
}

pub(super) fn adamw_step(
    weights: Tensor<2>,
    moments: Moments,
    gradient: Tensor<2>,
    rule: AdamWRule,
    learning_rate: f64,
) -> (Tensor<2>, Moments) {
    let gradient = cast_to(gradient, weights.dtype()).into_dispatch();
    let Moments { first, second, shares } = moments;
    let [weights, first, second, shares] = [weights, first, second, shares].map(Tensor::into_dispatch);
    let state = AdamWState { weights, first, second, shares };
    let AdamWState { weights, first, second, shares } =
        <Dispatch as StepOps>::adamw(state, gradient, rule, learning_rate);
    let [weights, first, second, shares] = [weights, first, second, shares].map(Tensor::from_dispatch);

    (weights, Moments { first, second, shares })
}

fn sgd<H: Host, T: Real + Key<T> + Element + Pod>(
    state: SgdState<H>,
    gradient: &FloatTensor<H>,
    rule: SgdRule,
    learning_rate: f64,
) -> SgdState<H> {
    let gradients = Gradients::<'_, T>::of::<H>(gradient, &state.weights);
    let dim = gradients.dim;
    let [momentum, decay, rate] = [rule.momentum, rule.weight_decay, learning_rate].map(T::of);
    let mut velocity = None;
    let weights = H::changed::<T>(state.weights, |weights| {
        velocity = Some(H::changed::<T>(state.velocity, |velocity| {
            gradients.walk([(weights, dim), (velocity, dim)], &|[weights, velocity], gradient| {
                vectorised(Sgd { weights, velocity, gradient, momentum, decay, rate, nesterov: rule.nesterov });
            });
        }));
    });
    SgdState { weights, velocity: velocity.expect("the weights were changed") }
}

fn adamw<H: Host, T: Real + Key<T> + Element + Pod>(
    state: AdamWState<H>,
    gradient: &FloatTensor<H>,
    rule: AdamWRule,
    learning_rate: f64,
) -> AdamWState<H> {
    let gradients = Gradients::<'_, T>::of::<H>(gradient, &state.weights);
    let dim = gradients.dim;
    let (mut moments, AdamWState { weights, first, second, shares }) = (None, state);
    let weights = H::changed::<T>(weights, |weights| {
        let mut others = None;
        let first = H::changed::<T>(first, |first| {
            let mut shares_after = None;
            let second = H::changed::<T>(second, |second| {
                shares_after = Some(H::changed::<T>(shares, |shares| {
                    let matrices = [(weights, dim), (first, dim), (second, dim), (shares, 2)];
                    gradients.walk(matrices, &|[weights, first, second, shares], gradient| {
                        vectorised(AdamW { weights, first, second, shares, gradient, rule, learning_rate });
                    });
                }));
            });
            others = Some((second, shares_after));
        });
        moments = Some((first, others));
    });
    let (first, others) = moments.expect("the weights were changed");
    let (second, shares) = others.expect("the first moments were changed");

    AdamWState { weights, first, second, shares: shares.expect("the second moments were changed") }
}

/// The rows of a gradient that count, in the order of their places.
struct Gradients<'a, T: Copy> {
    /// Packed, or of all rows.
    numbers: Strided<'a, T>,
    dim: usize,
    /// Of a row of the gradient, with its tail if it has one.
    width: usize,
    /// The place of a row and its number in the gradient.
    order: Vec<(usize, usize)>,
}

impl<'a, T: Real + Key<T> + Element + Pod> Gradients<'a, T> {
    fn of<H: Host>(gradient: &'a FloatTensor<H>, weights: &FloatTensor<H>) -> Self {
        let ([count, width], [rows, dim]) = (of_matrix(&gradient.shape()), of_matrix(&weights.shape()));
        let numbers = H::strided::<T>(gradient);
        let order = if is_packed([count, width], [rows, dim]) {
            places_in_order(&numbers, [count, width], rows)
        } else {
            (0..rows).map(|row| (row, row)).collect()
        };
        Self { numbers, dim, width, order }
    }

    /// Calls `step` with a row of every matrix, which is so many numbers long, and its gradient, for every row that counts.
    fn walk<const N: usize>(&self, matrices: [(&mut [T], usize); N], step: &(impl Fn([&mut [T]; N], &[T]) + Sync)) {
        self.walk_some(&self.order, 0, matrices, step);
    }

    /// For some of them; the matrices begin with row `start`.
    fn walk_some<const N: usize>(
        &self,
        order: &[(usize, usize)],
        start: usize,
        matrices: [(&mut [T], usize); N],
        step: &(impl Fn([&mut [T]; N], &[T]) + Sync),
    ) {
        let few = order.len() * self.dim <= WORTH_A_THREAD;
        let middle = order.len() / 2;
        // Between two rows of different places.
        let middle =
            order[middle..].iter().position(|entry| entry.0 != order[middle].0).map_or(0, |more| middle + more);
        if few || middle == 0 {
            let (mut matrices, mut room) = (matrices, Vec::new());
            for &(place, number) in order {
                let gradient = &self.numbers.row(number, self.width, &mut room)[..self.dim];
                let rows = matrices.each_mut().map(|(numbers, width)| {
                    let width = *width;
                    &mut numbers[(place - start) * width..][..width]
                });
                step(rows, gradient);
            }
            return;
        }
        let boundary = order[middle].0;
        let mut second = Vec::with_capacity(N);
        let first = matrices.map(|(numbers, width)| {
            let (before, after) = numbers.split_at_mut((boundary - start) * width);
            second.push((after, width));
            (before, width)
        });
        let second = second.try_into().unwrap_or_else(|_| unreachable!("there are as many"));
        join(
            || self.walk_some(&order[..middle], start, first, step),
            || self.walk_some(&order[middle..], boundary, second, step),
        );
    }
}

fn of_matrix(shape: &Shape) -> [usize; 2] {
    [shape[0], shape[1]]
}

/// The places of the rows that count, and their numbers in a packed gradient.
fn places_in_order<T: Real + Key<T>>(
    packed: &Strided<'_, T>,
    [drawn, width]: [usize; 2],
    rows: usize,
) -> Vec<(usize, usize)> {
    let (mut order, mut room) = (Vec::with_capacity(drawn), Vec::new());
    for number in 0..drawn {
        let row = packed.row(number, width, &mut room);
        let Some((place, counts)) = place_of(&row[width - TAIL..]) else {
            panic!(
                "drawn_rows: gradients of drawn rows cannot be added, clipped or scaled; take a step for every batch"
            );
        };
        assert!(place < rows, "drawn_rows: a gradient of row {place}, of which there are {rows}");
        if counts {
            order.push((place, number));
        }
    }
    order.sort_unstable();
    order
}

/// The place of a row and whether it counts, if its tail is as it was made.
fn place_of<T: Real>(tail: &[T]) -> Option<(usize, bool)> {
    let mark = tail[TAIL - 1];
    let (mut place, mut check) = (0, 0);
    for byte in 0..BYTES {
        let number = (tail[byte] * T::of(BASE)).to_i64().filter(|&number| T::of(number as f64 / BASE) == tail[byte])?;
        place += usize::try_from(number).ok()? << (8 * byte);
        check += CHECK[byte] * number * number;
    }
    let right = tail[BYTES] == T::of((check & 255) as f64 / BASE);
    let known = mark == T::of(COUNTS) || mark == T::of(SECOND);
    (right && known).then_some((place, mark == T::of(COUNTS)))
}

struct Sgd<'a, T> {
    weights: &'a mut [T],
    velocity: &'a mut [T],
    gradient: &'a [T],
    momentum: T,
    decay: T,
    rate: T,
    nesterov: bool,
}

impl<T: Real> Vectorised for Sgd<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<const FUSED: bool>(self) {
        let Self { momentum, decay, rate, nesterov, .. } = self;
        for ((weight, velocity), &gradient) in self.weights.iter_mut().zip(self.velocity).zip(self.gradient) {
            let gradient = gradient + decay * *weight;
            *velocity = momentum * *velocity + gradient;
            let step = if nesterov { gradient + momentum * *velocity } else { *velocity };
            *weight = *weight - rate * step;
        }
    }
}

struct AdamW<'a, T> {
    weights: &'a mut [T],
    first: &'a mut [T],
    second: &'a mut [T],
    shares: &'a mut [T],
    gradient: &'a [T],
    rule: AdamWRule,
    learning_rate: f64,
}

impl<T: Real> Vectorised for AdamW<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<const FUSED: bool>(self) {
        let AdamWRule { beta_1, beta_2, epsilon, weight_decay } = self.rule;
        let mean = |old: T, beta: f64, new: T| T::of(beta) * old + T::of(1.0 - beta) * new;
        let [first_share, second_share] = self.shares else { unreachable!("a row of shares is two numbers") };
        *first_share = mean(*first_share, beta_1, T::one());
        *second_share = mean(*second_share, beta_2, T::one());
        let (rate, decay) = (T::of(self.learning_rate) / *first_share, T::of(self.learning_rate * weight_decay));
        let (of_square, epsilon) = (second_share.recip(), T::of(epsilon));
        let moments = self.first.iter_mut().zip(self.second);
        for ((weight, (first, second)), &gradient) in self.weights.iter_mut().zip(moments).zip(self.gradient) {
            *first = mean(*first, beta_1, gradient);
            *second = mean(*second, beta_2, gradient * gradient);
            let root = (*second * of_square).sqrt() + epsilon;
            *weight = *weight - decay * *weight - rate * *first / root;
        }
    }
}
