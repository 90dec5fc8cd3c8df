use alloc::borrow::Cow;
use alloc::vec;
use alloc::vec::Vec;

use burn::backend::Backend;
use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::tensor::{Element, Shape, TensorData};
use bytemuck::Pod;
use half::{bf16, f16};

use super::Matrix;

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
    pub(crate) numbers: Cow<'a, [E]>,
    pub(super) offset: isize,
    pub(super) row_stride: isize,
    pub(super) column_stride: isize,
}

impl<E: Copy> Strided<'_, E> {
    #[inline(always)]
    pub(crate) fn copy_row<T>(&self, row: usize, into: &mut [T])
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

    /// Rows from `start` on, of `columns` numbers each, to where rows are `stride` apart.
    #[inline(always)]
    pub(crate) fn copy_rows<T>(&self, start: usize, columns: usize, into: &mut [T], stride: usize)
    where
        E: Key<T>,
    {
        /// Of a square that fits the first-level cache on both sides.
        const SIDE: usize = 16;
        if self.row_stride != 1 || self.column_stride == 1 {
            let rows = into.chunks_exact_mut(stride).enumerate();
            rows.for_each(|(row, into)| self.copy_row(start + row, &mut into[..columns]));
            return;
        }
        // Columns lie there one after the other, each in one piece.
        for (rows, into) in (start..).step_by(SIDE).zip(into.chunks_mut(SIDE * stride)) {
            let side = into.len() / stride;
            for column in 0..columns {
                let from = (self.offset + rows as isize + column as isize * self.column_stride) as usize;
                for (row, &number) in self.numbers[from..from + side].iter().enumerate() {
                    into[row * stride + column] = number.widen();
                }
            }
        }
    }

    /// The numbers of a row: as they lie there, or copied into `room` where there are gaps between them.
    #[inline(always)]
    pub(crate) fn row<'a>(&'a self, row: usize, columns: usize, room: &'a mut Vec<E>) -> &'a [E]
    where
        E: Key<E>,
    {
        if self.column_stride == 1 {
            let start = (self.offset + row as isize * self.row_stride) as usize;
            return &self.numbers[start..start + columns];
        }
        room.resize(columns, E::zeroed());
        self.copy_row(row, room);
        room
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
    pub(crate) fn columns(self, rows: usize, columns: usize) -> Vec<E>
    where
        E: Key<E>,
    {
        let (row_stride, column_stride) = (self.column_stride, self.row_stride);
        Self { row_stride, column_stride, ..self }.rows(columns, rows)
    }
}

impl<'a, E: Copy> Strided<'a, E> {
    /// The same, copied if rows or columns do not lie one after the other in memory, but backwards or in one place.
    pub(crate) fn onward(self, rows: usize, columns: usize) -> Self
    where
        E: Key<E>,
    {
        if self.row_stride > 0 && self.column_stride > 0 {
            return self;
        }
        let numbers = Cow::Owned(self.rows(rows, columns));
        Self { numbers, offset: 0, row_stride: columns as isize, column_stride: 1 }
    }

    /// Some rows of `columns` numbers each, where they lie, which is [`onward`](Self::onward).
    pub(crate) fn matrix(&self, start: usize, rows: usize, columns: usize) -> Matrix<'_, E> {
        let first = self.offset + start as isize * self.row_stride;
        Matrix::strided(&self.numbers, first, [rows, columns], (self.row_stride, self.column_stride))
    }

    /// The numbers of `rows` rows one after the other: as they lie there, or copied where they lie otherwise.
    pub(crate) fn whole(self, rows: usize, columns: usize) -> Cow<'a, [E]>
    where
        E: Key<E>,
    {
        let in_order = self.column_stride == 1 && self.row_stride == columns as isize;
        match self.numbers {
            Cow::Borrowed(numbers) if in_order => Cow::Borrowed(&numbers[self.offset as usize..][..rows * columns]),
            _ => Cow::Owned(self.rows(rows, columns)),
        }
    }
}

/// A backend whose tensors are memory of this process.
pub(crate) trait Host: Backend {
    /// The numbers of a matrix of type `E`. Of a vector, which must be whole and without gaps, only `numbers` has a meaning.
    fn strided<E: Element + Pod>(tensor: &FloatTensor<Self>) -> Strided<'_, E>;

    /// `change` on all numbers in their order: where they lie if nothing else holds them, else in a copy.
    fn changed<E: Element + Pod>(tensor: FloatTensor<Self>, change: impl FnOnce(&mut [E])) -> FloatTensor<Self>;

    fn integers(tensor: IntTensor<Self>) -> Vec<i64>;
}

/// Numbers as a tensor.
pub(crate) fn tensor<H: Host, E: Element>(
    numbers: Vec<E>,
    shape: impl Into<Shape>,
    device: &H::Device,
) -> FloatTensor<H> {
    H::float_from_data(TensorData::new(numbers, shape.into()), device)
}
