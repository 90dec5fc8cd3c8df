//! The steps of a block on the memory of CPU backends, for what walks its blocks in tensor operations.

use alloc::vec;

use burn::backend::TensorMetadata;
use burn::backend::tensor::FloatTensor;
use burn::tensor::{DType, TensorData};
use pulp::Arch;
use rayon::iter::{IndexedParallelIterator, ParallelIterator};
use rayon::slice::{ParallelSlice, ParallelSliceMut};

use super::super::blocks::Blocks;
use super::block::{Normalise, Project};
use super::exponential::Real;
use super::memory::{Host, Key};

/// What a thread takes at a time.
const ROWS: usize = 64;

fn unit_block<H: Host, T: Real + Key<T>>(keys: &FloatTensor<H>) -> (FloatTensor<H>, FloatTensor<H>) {
    let (shape, device) = (keys.shape(), keys.device());
    let [rows, dim] = [shape[0], shape[1]];
    let mut unit = H::strided::<T>(keys).rows(rows, dim);
    let mut inverse_lengths = vec![T::zero(); rows];
    let parts = unit.par_chunks_mut(ROWS * dim).zip(inverse_lengths.par_chunks_mut(ROWS));
    parts.for_each(|(rows, inverse_lengths)| Arch::new().dispatch(Normalise { rows, inverse_lengths }));

    let unit = H::float_from_data(TensorData::new(unit, [rows, dim]), &device);
    (unit, H::float_from_data(TensorData::new(inverse_lengths, [rows, 1]), &device))
}

fn project<H: Host, T: Real + Key<T>>(
    unit_gradient: &FloatTensor<H>,
    unit: &FloatTensor<H>,
    inverse_length: &FloatTensor<H>,
) -> FloatTensor<H> {
    let (shape, device) = (unit.shape(), unit.device());
    let [rows, dim] = [shape[0], shape[1]];
    let mut gradients = H::strided::<T>(unit_gradient).rows(rows, dim);
    let unit = H::strided::<T>(unit).rows(rows, dim);
    let inverse_lengths = H::strided::<T>(inverse_length).rows(rows, 1);
    let parts =
        gradients.par_chunks_mut(ROWS * dim).zip(unit.par_chunks(ROWS * dim)).zip(inverse_lengths.par_chunks(ROWS));
    parts.for_each(|((gradients, unit), inverse_lengths)| {
        Arch::new().dispatch(Project { gradients, unit, inverse_lengths });
    });
    H::float_from_data(TensorData::new(gradients, [rows, dim]), &device)
}

macro_rules! on_host {
    ($backend:ty) => {
        impl Blocks for $backend {
            const ON_HOST: bool = true;

            fn unit_block(keys: FloatTensor<Self>) -> (FloatTensor<Self>, FloatTensor<Self>) {
                match keys.dtype() {
                    DType::F64 => unit_block::<Self, f64>(&keys),
                    _ => unit_block::<Self, f32>(&keys),
                }
            }

            fn project(
                unit_gradient: FloatTensor<Self>,
                unit: FloatTensor<Self>,
                inverse_length: FloatTensor<Self>,
            ) -> FloatTensor<Self> {
                match unit.dtype() {
                    DType::F64 => project::<Self, f64>(&unit_gradient, &unit, &inverse_length),
                    _ => project::<Self, f32>(&unit_gradient, &unit, &inverse_length),
                }
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
