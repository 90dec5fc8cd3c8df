//! The step on the memory of CPU backends.

#![cfg_attr(feature = "ndarray", expect(deprecated, reason = "Burn deprecates ndarray; this project supports it"))]

use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, AutodiffBackend, Backend, Dispatch, TensorMetadata, backend_extension};
use burn::tensor::{DType, Element, Tensor};
use bytemuck::Pod;

use crate::host::threads::*;
use crate::host::{Host, Real, Square, Summand, Vectorised, sum, vectorised};

/// Below this many numbers a second thread is not woken.
const WORTH_A_THREAD: usize = 1 << 15;
/// Numbers that are added in their own precision, 16 in a row, before the sum goes into one in `f64`.
const BLOCK: usize = 256;

#[backend_extension(NdArray: cfg(feature = "ndarray"), Flex: cfg(feature = "flex"), Autodiff)]
pub(crate) trait RowGroupOps: Backend {
    fn shortened_rows(rows: FloatTensor<Self>, threshold: f64) -> FloatTensor<Self>;
}

macro_rules! on_host {
    ($backend:ty) => {
        impl RowGroupOps for $backend {
            fn shortened_rows(rows: FloatTensor<Self>, threshold: f64) -> FloatTensor<Self> {
                match rows.dtype() {
                    DType::F64 => shortened::<Self, f64>(rows, threshold),
                    _ => shortened::<Self, f32>(rows, threshold),
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
impl<B: RowGroupOps, C: CheckpointStrategy> RowGroupOps for Autodiff<B, C> {
    fn shortened_rows(rows: FloatTensor<Self>, threshold: f64) -> FloatTensor<Self> {
        Self::from_inner(B::shortened_rows(Self::inner(rows), threshold))
    }
}

pub(super) fn shortened_rows(rows: Tensor<2>, threshold: f64) -> Tensor<2> {
    Tensor::from_dispatch(<Dispatch as RowGroupOps>::shortened_rows(rows.into_dispatch(), threshold))
}

fn shortened<H: Host, T: Real + Element + Pod>(rows: FloatTensor<H>, threshold: f64) -> FloatTensor<H> {
    let dim = rows.shape()[1];
    H::changed::<T>(rows, |numbers| {
        for_each_chunk(numbers, dim, WORTH_A_THREAD.div_ceil(dim), &|_, row| vectorised(Shorten { row, threshold }));
    })
}

struct Shorten<'a, T> {
    row: &'a mut [T],
    threshold: f64,
}

impl<T: Real> Vectorised for Shorten<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<const FUSED: bool>(self) {
        let length = length::<FUSED, _>(self.row);
        if length <= self.threshold {
            return self.row.fill(T::zero());
        }
        let kept = T::of((length - self.threshold) / length);
        for number in self.row {
            // The sum with 0 takes the sign off a zero.
            *number = *number * kept + T::zero();
        }
    }
}

/// The length of a row in `f64`, also where squares would be too large or too small for their type.
#[inline(always)]
fn length<const FUSED: bool, T: Real>(row: &[T]) -> f64 {
    let squares = sum::<BLOCK, FUSED, _>(row, Square);
    let (smallest, largest) = (T::min_positive_value() / (T::epsilon() * T::epsilon()), T::max_value());
    let wide = |number: T| number.to_f64().expect("a float is an f64");
    if squares >= wide(smallest) && squares <= wide(largest) || squares.is_nan() {
        return squares.sqrt();
    }
    let largest = row.iter().fold(T::zero(), |largest, number| largest.max(number.abs()));
    if largest == T::zero() {
        return 0.0;
    }
    sum::<BLOCK, FUSED, _>(row, ScaledSquare { largest }).sqrt() * wide(largest)
}

/// The square of the share of the largest.
#[derive(Clone, Copy)]
struct ScaledSquare<T> {
    largest: T,
}

impl<T: Real> Summand<T, 1> for ScaledSquare<T> {
    #[inline(always)]
    fn of<const FUSED: bool>(self, [number]: [T; 1]) -> T {
        let share = number / self.largest;
        share * share
    }
}
