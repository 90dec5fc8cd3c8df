use gemm::Parallelism;

use super::Real;

/// A matrix that is read: rows of `columns` numbers, `row_stride` apart, or the transpose of that.
#[derive(Clone, Copy)]
pub(crate) struct Matrix<'a, T> {
    numbers: &'a [T],
    rows: usize,
    columns: usize,
    row_stride: isize,
    column_stride: isize,
}

impl<'a, T> Matrix<'a, T> {
    /// `rows` rows of `columns` numbers without gaps, from the start of `numbers`.
    pub(crate) fn rows(numbers: &'a [T], rows: usize, columns: usize) -> Self {
        assert!(rows * columns <= numbers.len(), "the rows lie inside their slice");
        Self { numbers, rows, columns, row_stride: columns as isize, column_stride: 1 }
    }

    /// `rows` rows of `columns` numbers, `stride` apart, from the start of `numbers`.
    pub(crate) fn apart(numbers: &'a [T], rows: usize, columns: usize, stride: usize) -> Self {
        let reach = rows.saturating_sub(1) * stride + columns;
        assert!(columns <= stride && reach <= numbers.len(), "the rows lie inside their slice");
        Self { numbers, rows, columns, row_stride: stride as isize, column_stride: 1 }
    }

    /// `columns` columns from `start` on, of rows of `all` numbers without gaps.
    pub(crate) fn some_columns(numbers: &'a [T], all: usize, (start, columns): (usize, usize)) -> Self {
        assert!(start + columns <= all, "the columns lie inside their rows");
        let rows = numbers.len() / all;
        Self { numbers: &numbers[start..], rows, columns, row_stride: all as isize, column_stride: 1 }
    }

    /// `rows` rows of `columns` numbers that lie as `strides` of rows and columns say, the first at `start`.
    pub(super) fn strided(
        numbers: &'a [T],
        start: isize,
        [rows, columns]: [usize; 2],
        (row_stride, column_stride): (isize, isize),
    ) -> Self {
        assert!(row_stride > 0 && column_stride > 0 && start >= 0, "the numbers lie onward");
        let reach = |length: usize, stride: isize| length.saturating_sub(1) * stride as usize;
        let last = start as usize + reach(rows, row_stride) + reach(columns, column_stride);
        assert!(last < numbers.len(), "the rows lie inside their slice");
        Self { numbers: &numbers[start as usize..], rows, columns, row_stride, column_stride }
    }

    pub(crate) fn transposed(self) -> Self {
        Self {
            rows: self.columns,
            columns: self.rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
            ..self
        }
    }
}

/// `into = left·right`, or `into += left·right`, without gaps.
pub(crate) fn product<T: Real>(
    left: Matrix<'_, T>,
    right: Matrix<'_, T>,
    add: bool,
    parallelism: Parallelism,
    into: &mut [T],
) {
    assert_eq!(left.rows * right.columns, into.len(), "the product fits");
    product_apart(left, right, add, parallelism, into, right.columns);
}

/// The same, where the rows of `into` are `stride` apart.
pub(crate) fn product_apart<T: Real>(
    left: Matrix<'_, T>,
    right: Matrix<'_, T>,
    add: bool,
    parallelism: Parallelism,
    into: &mut [T],
    stride: usize,
) {
    assert_eq!(left.columns, right.rows, "the shapes of a product agree");
    let reach = left.rows.saturating_sub(1) * stride + right.columns;
    assert!(right.columns <= stride && reach <= into.len(), "the product fits");
    // SAFETY: a `Matrix` lies inside its slice by the checks where it is made, and `into` is long enough by the one above. The
    // three do not overlap, since `into` is borrowed mutably. All numbers are initialised.
    unsafe {
        gemm::gemm(
            left.rows,
            right.columns,
            left.columns,
            into.as_mut_ptr(),
            1,
            stride as isize,
            add,
            left.numbers.as_ptr(),
            left.column_stride,
            left.row_stride,
            right.numbers.as_ptr(),
            right.column_stride,
            right.row_stride,
            T::one(),
            T::one(),
            false,
            false,
            false,
            parallelism,
        );
    }
}
