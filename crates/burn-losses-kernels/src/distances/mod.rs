//! The distance of every row to every other row, for distances that no matrix product gives.
//!
//! As tensor operations they hold all differences, `[first, second, dim]` numbers, and their graph. Here a pair of rows is read,
//! reduced and forgotten, in the forward pass and again in the backward pass.
//!
//! | file | what |
//! | --- | --- |
//! | `reference.rs` | ordinary tensor operations: the definition of correct, and what GPUs run |
//! | `backend.rs` | the two passes as Burn's backends see them, and their gradient |
//! | `products.rs` | Euclidean distances by a matrix product on that memory |
//! | `metrics.rs` | every distance of two rows, and its slope |
//! | `passes.rs` | the two passes on the memory of Flex and NdArray |

#[cfg(feature = "cpu-path")]
mod backend;
#[cfg(feature = "cpu-path")]
mod metrics;
#[cfg(feature = "cpu-path")]
mod passes;
#[cfg(feature = "cpu-path")]
mod products;
mod reference;

use burn::tensor::{Device, Tensor};

/// How far apart two rows `a` and `b` are, as a function of `d[k] = abs(a[k] - b[k])`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Metric {
    /// The smallest `d[k]`; the slope is that of the first of equal ones.
    Smallest,
    /// How many `d[k]` are not 0; the slope is 0.
    Different,
    /// The sum of all `d[k]`.
    Sum,
    /// `sqrt(sum over k of d[k]²)`, exact also where squares would overflow or vanish.
    Euclidean,
    /// `sum over k of d[k]²`
    SquaredEuclidean,
    /// The largest `d[k]`; the slope is that of the first of equal ones.
    Largest,
    /// `(sum over k of d[k]^p)^(1/p)`
    Power(f64),
}

/// All distances between rows of two matrices. Differentiable in both; where two numbers are equal the slope is 0.
///
/// # Shapes
///
/// - first: `[first, dim]`, in `f32` or `f64`, at least one number
/// - second: `[second, dim]`, in the same type, at least one number
/// - output: `[first, second]`
///
/// # Panics
///
/// If `dim` differs.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use burn_losses_kernels::distances::{Metric, distances};
///
/// let device = Device::default();
/// let first = Tensor::<2>::from_data([[1.0, 2.0], [0.0, 0.0]], &device);
/// let second = Tensor::<2>::from_data([[4.0, 4.0]], &device);
/// let sums = distances(first, second, Metric::Sum).try_into_vec_as::<f32>().unwrap();
/// assert_eq!(sums, [5.0, 8.0]);
/// ```
pub fn distances(first: Tensor<2>, second: Tensor<2>, metric: Metric) -> Tensor<2> {
    check(&first, &second);
    #[cfg(feature = "cpu-path")]
    if crate::host::is_host(&first.device()) {
        return backend::distances(first, second, metric);
    }
    reference::distances(first, second, metric)
}

/// Whether [`distances`] of tensors on a device hold no differences: it has host memory, and its feature is on in this crate.
pub fn hold_no_differences(device: &Device) -> bool {
    #[cfg(feature = "cpu-path")]
    return crate::host::is_host(device);
    #[cfg(not(feature = "cpu-path"))]
    return {
        let _ = device;
        false
    };
}

/// [`distances`] from ordinary tensor operations: the definition of correct.
pub fn distances_reference(first: Tensor<2>, second: Tensor<2>, metric: Metric) -> Tensor<2> {
    check(&first, &second);
    reference::distances(first, second, metric)
}

/// The distance of every row of differences from 0, from ordinary tensor operations, `[rows]`.
pub fn lengths(differences: Tensor<2>, metric: Metric) -> Tensor<1> {
    reference::lengths(differences, metric)
}

fn check(first: &Tensor<2>, second: &Tensor<2>) {
    let ([rows, dim], [columns, other]) = (first.dims(), second.dims());
    assert!(rows >= 1 && columns >= 1 && dim >= 1, "distances: there must be a number on both sides");
    assert!(dim == other, "distances: second must have {dim} columns, got {other}");
}
