//! The three matrix products of a step, on the processor.

use std::cell::RefCell;

use gemm::Parallelism;

/// The three products on the processor, with room for their results made beforehand: no step can be faster, short of
/// another library for products.
pub(crate) struct HostProducts {
    batch: usize,
    dim: usize,
    keys: usize,
    embeddings: Vec<f32>,
    weights: Vec<f32>,
    results: RefCell<[Vec<f32>; 3]>,
}

impl HostProducts {
    pub(crate) fn new(batch: usize, dim: usize, keys: usize) -> Self {
        // What the numbers are does not matter to a product, as long as none is tiny.
        let [embeddings, weights] = [batch * dim, keys * dim].map(|length| vec![0.5; length]);
        let results = RefCell::new([batch * keys, keys * dim, batch * dim].map(|length| vec![0.5; length]));
        Self { batch, dim, keys, embeddings, weights, results }
    }

    /// Computes them, and returns how many numbers the gradients have.
    pub(crate) fn step(&self) -> usize {
        let (batch, dim, keys) = (self.batch, self.dim, self.keys);
        let [scores, to_weights, to_embeddings] = &mut *self.results.borrow_mut();
        product([keys, dim, batch], &self.weights, false, &self.embeddings, true, scores);
        product([keys, batch, dim], scores, false, &self.embeddings, false, to_weights);
        product([batch, keys, dim], scores, true, &self.weights, false, to_embeddings);

        to_weights.len() + to_embeddings.len()
    }
}

/// `[rows, columns] = left [rows, inner] · right [inner, columns]`, each of the two factors stored row by row as it is or
/// transposed.
fn product(
    [rows, inner, columns]: [usize; 3],
    left: &[f32],
    left_transposed: bool,
    right: &[f32],
    right_transposed: bool,
    into: &mut [f32],
) {
    assert!(left.len() == rows * inner && right.len() == inner * columns && into.len() == rows * columns);
    // The distance of neighbours in a column and in a row.
    let strides = |rows: usize, columns: usize, transposed: bool| {
        if transposed { (1, rows as isize) } else { (columns as isize, 1) }
    };
    let (left_row, left_column) = strides(rows, inner, left_transposed);
    let (right_row, right_column) = strides(inner, columns, right_transposed);
    // SAFETY: the lengths are those of the matrices, and `into` overlaps nothing, since it is borrowed mutably.
    unsafe {
        gemm::gemm(
            rows,
            columns,
            inner,
            into.as_mut_ptr(),
            1,
            columns as isize,
            false,
            left.as_ptr(),
            left_column,
            left_row,
            right.as_ptr(),
            right_column,
            right_row,
            0.0,
            1.0,
            false,
            false,
            false,
            Parallelism::Rayon(0),
        );
    }
}
