use alloc::borrow::Cow;
use alloc::vec::Vec;

use burn::backend::Flex;
use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::tensor::{DType, Element};
use bytemuck::Pod;

use super::memory::{Host, Strided};

impl Host for Flex {
    fn strided<E: Element + Pod>(tensor: &FloatTensor<Self>) -> Strided<'_, E> {
        let layout = tensor.layout();
        let (row_stride, column_stride) = match *layout.strides() {
            [row, column] => (row, column),
            _ => (1, 1),
        };
        Strided {
            numbers: Cow::Borrowed(tensor.storage::<E>()),
            offset: layout.start_offset() as isize,
            row_stride,
            column_stride,
        }
    }

    fn changed<E: Element + Pod>(tensor: FloatTensor<Self>, change: impl FnOnce(&mut [E])) -> FloatTensor<Self> {
        let whole = tensor.layout().contiguous_offsets() == Some((0, tensor.storage::<E>().len()));
        let mut tensor = if whole { tensor } else { tensor.to_contiguous() };
        change(tensor.storage_mut());
        tensor
    }

    fn integers(tensor: IntTensor<Self>) -> Vec<i64> {
        let tensor = tensor.to_contiguous();
        match tensor.dtype() {
            DType::I32 => {
                tensor.as_slice::<i32>().expect("labels are contiguous").iter().map(|&label| label.into()).collect()
            }
            _ => tensor.as_slice::<i64>().expect("labels are I32 or I64").to_vec(),
        }
    }
}
