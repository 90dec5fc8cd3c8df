//! The memory of a backend's tensors, and the operation on it.

use alloc::borrow::Cow;
use alloc::vec;
use alloc::vec::Vec;

use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Backend, TensorMetadata};
use burn::tensor::{DType, Element, Shape, TensorData};
use bytemuck::Pod;
use half::{bf16, f16};

use super::super::backend::{LogSumExpOps, Plan, Wanted};
use super::exponential::Real;
use super::{Inputs, Rivals, backward, forward};

/// A type keys are stored in, and how it becomes and comes from the working precision.
pub(crate) trait Key<T>: Element + Pod {
    fn widen(self) -> T;
    fn narrow(number: T) -> Self;
}

macro_rules! key {
    ($key:ty, $real:ty, $widen:expr, $narrow:expr) => {
        impl Key<$real> for $key {
            #[inline(always)]
            fn widen(self) -> $real {
                $widen(self)
            }

            #[inline(always)]
            fn narrow(number: $real) -> Self {
                $narrow(number)
            }
        }
    };
}

key!(f32, f32, core::convert::identity, core::convert::identity);
key!(f64, f64, core::convert::identity, core::convert::identity);
key!(f16, f32, f16::to_f32, f16::from_f32);
key!(bf16, f32, bf16::to_f32, bf16::from_f32);

/// A matrix as it lies in memory.
pub(crate) struct Strided<'a, E: Copy> {
    pub(super) numbers: Cow<'a, [E]>,
    pub(super) offset: isize,
    pub(super) row_stride: isize,
    pub(super) column_stride: isize,
}

impl<E: Copy> Strided<'_, E> {
    #[inline(always)]
    pub(super) fn copy_row<T>(&self, row: usize, into: &mut [T])
    where
        E: Key<T>,
    {
        let start = self.offset + row as isize * self.row_stride;
        if self.column_stride == 1 {
            let row = &self.numbers[start as usize..start as usize + into.len()];
            into.iter_mut().zip(row).for_each(|(into, &number)| *into = number.widen());
        } else {
            for (column, into) in into.iter_mut().enumerate() {
                *into = self.numbers[(start + column as isize * self.column_stride) as usize].widen();
            }
        }
    }

    /// The numbers of `rows` rows one after the other.
    pub(crate) fn rows(&self, rows: usize, columns: usize) -> Vec<E>
    where
        E: Key<E>,
    {
        let mut numbers = vec![E::zeroed(); rows * columns];
        numbers.chunks_exact_mut(columns).enumerate().for_each(|(row, into)| self.copy_row(row, into));
        numbers
    }

    /// The numbers of `columns` columns one after the other.
    fn columns(self, rows: usize, columns: usize) -> Vec<E>
    where
        E: Key<E>,
    {
        let (row_stride, column_stride) = (self.column_stride, self.row_stride);
        Self { row_stride, column_stride, ..self }.rows(columns, rows)
    }
}

/// A backend whose tensors are memory of this process.
pub(crate) trait Host: Backend {
    /// The numbers of a matrix of type `E`. Of a vector, which must be whole and without gaps, only `numbers` has a meaning.
    fn strided<E: Element + Pod>(tensor: &FloatTensor<Self>) -> Strided<'_, E>;

    fn integers(tensor: IntTensor<Self>) -> Vec<i64>;
}

/// The tensors of a forward pass, labels read.
pub(crate) struct Call<H: Host> {
    queries: FloatTensor<H>,
    keys: FloatTensor<H>,
    labels: Vec<i64>,
    key_labels: Vec<i64>,
    plan: Plan,
    rivals: Rivals,
    /// `[N, 3]`; `None` for a plain log-sum-exp.
    row_terms: Option<FloatTensor<H>>,
}

/// The results of the forward pass, and the gradient of its output.
pub(crate) struct Results<H: Host> {
    pub(crate) output: FloatTensor<H>,
    /// `None` where no scores were kept.
    pub(crate) kept: Option<FloatTensor<H>>,
    pub(crate) gradient: FloatTensor<H>,
}

type Pair<H> = (FloatTensor<H>, FloatTensor<H>);

impl<H: Host> Call<H> {
    pub(crate) fn new(
        queries: FloatTensor<H>,
        keys: FloatTensor<H>,
        labels: IntTensor<H>,
        key_labels: IntTensor<H>,
        plan: Plan,
    ) -> Self {
        let key_labels = if plan.exclusion.reads_key_labels() { H::integers(key_labels) } else { Vec::new() };
        let labels = H::integers(labels);
        Self { queries, keys, labels, key_labels, plan, rivals: Rivals::NONE, row_terms: None }
    }

    pub(crate) fn with_rivals(self, rivals: Rivals, row_terms: FloatTensor<H>) -> Self {
        Self { rivals, row_terms: Some(row_terms), ..self }
    }

    /// The output `[N, 2 or 3]`, and the kept scores.
    pub(crate) fn forward(&self) -> Pair<H> {
        match self.dtypes() {
            (DType::F32, DType::F32) => self.forward_as::<f32, f32>(),
            (DType::F64, DType::F64) => self.forward_as::<f64, f64>(),
            (DType::F32, DType::F16) => self.forward_as::<f32, f16>(),
            (DType::F32, DType::BF16) => self.forward_as::<f32, bf16>(),
            types => unreachable!("{types:?} were made to agree"),
        }
    }

    /// The gradients of queries and keys.
    pub(crate) fn backward(&self, results: &Results<H>, wanted: Wanted) -> Pair<H> {
        match self.dtypes() {
            (DType::F32, DType::F32) => self.backward_as::<f32, f32>(results, wanted),
            (DType::F64, DType::F64) => self.backward_as::<f64, f64>(results, wanted),
            (DType::F32, DType::F16) => self.backward_as::<f32, f16>(results, wanted),
            (DType::F32, DType::BF16) => self.backward_as::<f32, bf16>(results, wanted),
            types => unreachable!("{types:?} were made to agree"),
        }
    }

    fn dtypes(&self) -> (DType, DType) {
        (self.queries.dtype(), self.keys.dtype())
    }

    fn forward_as<T: Real + Key<T>, K: Key<T>>(&self) -> Pair<H> {
        let inputs = self.inputs::<T, K>();
        let (output, kept) = forward(&inputs);
        let kept_length = kept.len();
        (self.tensor(output, [inputs.batch, self.rivals.terms.columns()]), self.tensor(kept, [kept_length]))
    }

    fn backward_as<T: Real + Key<T>, K: Key<T>>(&self, results: &Results<H>, wanted: Wanted) -> Pair<H> {
        let inputs = self.inputs::<T, K>();
        let columns = self.rivals.terms.columns();
        let output = H::strided::<T>(&results.output).rows(inputs.batch, columns);
        let gradient = H::strided::<T>(&results.gradient).rows(inputs.batch, columns);
        let kept = results.kept.as_ref().map(|kept| H::strided::<T>(kept).numbers).unwrap_or_default();
        let (queries, keys) = backward(&inputs, &output, &kept, &gradient, wanted);
        let shape = |wanted: bool, of: &FloatTensor<H>| if wanted { of.shape() } else { Shape::from([1]) };
        (self.tensor(queries, shape(wanted.queries, &self.queries)), self.tensor(keys, shape(wanted.keys, &self.keys)))
    }

    fn inputs<T: Real + Key<T>, K: Key<T>>(&self) -> Inputs<'_, T, K> {
        let (shape, count) = (self.queries.shape(), self.keys.shape()[0]);
        let row_terms = self.row_terms.as_ref().map(|terms| H::strided::<T>(terms).columns(shape[0], 3));
        Inputs {
            queries: H::strided::<T>(&self.queries).rows(shape[0], shape[1]),
            batch: shape[0],
            dim: shape[1],
            keys: H::strided::<K>(&self.keys),
            count: count / self.rivals.sub_centers,
            labels: &self.labels,
            key_labels: &self.key_labels,
            plan: self.plan,
            rivals: self.rivals,
            row_terms: row_terms.unwrap_or_default(),
        }
    }

    fn tensor<E: Element>(&self, numbers: Vec<E>, shape: impl Into<Shape>) -> FloatTensor<H> {
        H::float_from_data(TensorData::new(numbers, shape.into()), &self.queries.device())
    }
}

/// The operation on a host backend.
macro_rules! on_host {
    ($backend:ty) => {
        impl LogSumExpOps for $backend {
            fn scores_forward(
                queries: FloatTensor<Self>,
                keys: FloatTensor<Self>,
                labels: IntTensor<Self>,
                key_labels: IntTensor<Self>,
                plan: Plan,
            ) -> (FloatTensor<Self>, FloatTensor<Self>) {
                Call::<Self>::new(queries, keys, labels, key_labels, plan).forward()
            }

            fn scores_backward(
                queries: FloatTensor<Self>,
                keys: FloatTensor<Self>,
                labels: IntTensor<Self>,
                key_labels: IntTensor<Self>,
                scores: FloatTensor<Self>,
                kept: FloatTensor<Self>,
                gradient: FloatTensor<Self>,
                plan: Plan,
                wanted: Wanted,
            ) -> (FloatTensor<Self>, FloatTensor<Self>) {
                let call = Call::<Self>::new(queries, keys, labels, key_labels, plan);
                call.backward(&Results { output: scores, kept: Some(kept), gradient }, wanted)
            }
        }
    };
}

#[cfg(feature = "flex")]
on_host!(burn::backend::Flex);
#[cfg(feature = "ndarray")]
#[expect(deprecated, reason = "Burn deprecates ndarray in favour of flex; this project supports both")]
mod on_ndarray {
    use super::*;
    on_host!(burn::backend::NdArray);
}
