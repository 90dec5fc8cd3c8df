#![expect(deprecated, reason = "Burn deprecates ndarray in favour of flex; this project supports both")]

use alloc::borrow::Cow;
use alloc::vec::Vec;

use burn::backend::NdArray;
use burn::backend::ndarray::NdArrayTensor;
use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::tensor::Element;
use bytemuck::Pod;

use super::memory::{Host, Strided};

/// A storage of `$from`, which the caller knows to be `$to`. The type of a storage cannot be named outside of Burn.
macro_rules! strided {
    ($storage:ident, $from:ty, $to:ty) => {{
        assert_eq!(<$from>::dtype(), <$to>::dtype(), "the type was looked up before");
        let (rows, columns) = match *$storage.shape() {
            [rows, columns] => (rows as isize, columns as isize),
            _ => (1, 1),
        };
        let view = $storage.view();
        let (numbers, row_stride, column_stride) = if let Some(numbers) = view.to_slice() {
            (Cow::Borrowed(bytemuck::cast_slice::<$from, $to>(numbers)), columns, 1)
        } else if let Some(numbers) = view.clone().reversed_axes().to_slice() {
            (Cow::Borrowed(bytemuck::cast_slice::<$from, $to>(numbers)), 1, rows)
        } else {
            (Cow::Owned(view.iter().map(|&number| bytemuck::cast(number)).collect()), columns, 1)
        };
        Strided { numbers, offset: 0, row_stride, column_stride }
    }};
}

macro_rules! changed {
    ($storage:ident, $from:ty, $to:ty, $change:ident) => {{
        assert_eq!(<$from>::dtype(), <$to>::dtype(), "the type was looked up before");
        let array = $storage.ensure_owned();
        if !array.is_standard_layout() {
            *array = array.as_standard_layout().into_shared();
        }
        let numbers = array.as_slice_mut().expect("its numbers are in their order");
        $change(bytemuck::cast_slice_mut::<$from, $to>(numbers))
    }};
}

impl Host for NdArray {
    fn strided<E: Element + Pod>(tensor: &FloatTensor<Self>) -> Strided<'_, E> {
        match tensor {
            NdArrayTensor::F32(storage) => strided!(storage, f32, E),
            NdArrayTensor::F64(storage) => strided!(storage, f64, E),
            _ => unreachable!("ndarray has no other float types"),
        }
    }

    fn changed<E: Element + Pod>(mut tensor: FloatTensor<Self>, change: impl FnOnce(&mut [E])) -> FloatTensor<Self> {
        match &mut tensor {
            NdArrayTensor::F32(storage) => changed!(storage, f32, E, change),
            NdArrayTensor::F64(storage) => changed!(storage, f64, E, change),
            _ => unreachable!("ndarray has no other float types"),
        }
        tensor
    }

    fn integers(tensor: IntTensor<Self>) -> Vec<i64> {
        match tensor {
            NdArrayTensor::I32(storage) => storage.view().iter().map(|&label| label.into()).collect(),
            NdArrayTensor::I64(storage) => storage.view().iter().copied().collect(),
            _ => unreachable!("labels are I32 or I64"),
        }
    }
}
