//! Rows that are shortened as a whole: the proximal step of the group lasso.
//!
//! It is a step of an optimizer and has no gradient. As ordinary operations it writes as many numbers as there are
//! several times; here they change where they lie.
//!
//! | file | what |
//! | --- | --- |
//! | `reference.rs` | ordinary tensor operations: the definition of correct, and what GPUs run |
//! | `host.rs` | the same on the memory of Flex and NdArray |

#[cfg(feature = "cpu-path")]
mod host;
mod reference;

use burn::tensor::Tensor;

/// Every row shortened by `threshold`, and exactly 0 if it is no longer than that.
///
/// ```text
/// row·max(0, 1 - threshold / length(row))
/// ```
///
/// A row with a number that is none, or with an infinite one, becomes NaN. Without a gradient. In host memory the numbers
/// are changed in place where no other tensor shares them.
///
/// # Shapes
///
/// - rows: `[rows, dim]`, in `f32` or `f64`, at least one number
/// - output: as rows
///
/// # Panics
///
/// If the threshold is negative or NaN, or there is no number.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use burn_losses_kernels::row_groups::shortened_rows;
///
/// let rows = Tensor::<2>::from_data([[3.0, -4.0], [0.3, 0.4]], &Device::default());
/// let shortened = shortened_rows(rows, 2.5).try_into_vec_as::<f32>().unwrap();
/// assert_eq!(shortened, [1.5, -2.0, 0.0, 0.0]);
/// ```
pub fn shortened_rows(rows: Tensor<2>, threshold: f64) -> Tensor<2> {
    check(&rows, threshold);
    #[cfg(feature = "cpu-path")]
    if crate::host::is_host(&rows.device()) {
        return host::shortened_rows(rows, threshold);
    }
    reference::shortened_rows(rows.detach(), threshold)
}

/// [`shortened_rows`] from ordinary tensor operations: the definition of correct.
pub fn shortened_rows_reference(rows: Tensor<2>, threshold: f64) -> Tensor<2> {
    check(&rows, threshold);
    reference::shortened_rows(rows.detach(), threshold)
}

fn check(rows: &Tensor<2>, threshold: f64) {
    assert!(!rows.dims().contains(&0), "shortened_rows: there must be a number, got {:?}", rows.dims());
    assert!(threshold >= 0.0, "shortened_rows: threshold must be >= 0, got {threshold}");
}
