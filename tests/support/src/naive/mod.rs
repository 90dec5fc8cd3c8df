//! Every loss as plain `f64` loops, written from the papers and sharing no code with the library.

pub mod adaptive_heads;
pub mod center;
pub mod classification;
pub mod distance;
pub mod margin;
pub mod pairwise;
pub mod proxy;
pub mod regression;
pub mod regularization;
pub mod rival_heads;
pub mod scores;
pub mod softmax_pairs;

/// The sum of products.
pub(crate) fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}
