//! Every loss on every backend of the features, against the numbers of other libraries.
//!
//! `cargo test -p parity` runs the tests; `cargo run -p parity` prints the matrix of `docs/parity.md`.

#![forbid(unsafe_code)]

mod backends;
mod matrix;

pub use backends::{Backend, backends};
pub use matrix::{Cell, golden_cells, markdown};

use support::close::Tolerance;
use support::golden::Case;
use support::table::Row;

/// What a case allows on a backend.
#[derive(Clone, Copy, Debug)]
pub struct Tolerances {
    /// For losses and other outputs.
    pub losses: Tolerance,
    /// For gradients, whose absolute part is multiplied with the largest number of the gradient.
    pub gradients: Tolerance,
}

impl Tolerances {
    /// Starts from what rounding explains: a head multiplies the rounding error of a cosine with its scale. The
    /// absolute part for gradients is a share of the largest number in the gradient, because small numbers there are
    /// differences of large ones.
    pub fn of(row: &Row, case: &Case, backend: &Backend) -> Self {
        let scale = if row.has_scale { case.number("scale") } else { 1.0 };
        let (losses, gradients) = match (backend.is_double(), backend.is_gpu, row.has_scale) {
            (true, _, _) => ((1e-12, 1e-13), (1e-11, 1e-13)),
            (false, false, false) => ((1.3e-6, 1e-6), (1e-5, 1e-6)),
            (false, false, true) => ((1e-5, 1e-6), (1e-4, 2e-6)),
            (false, true, false) => ((1e-5, 1e-5), (1e-4, 2e-6)),
            (false, true, true) => ((1e-4, 2e-6), (1e-4, 4e-6)),
        };
        Self {
            losses: Tolerance::new(losses.0, losses.1 * scale),
            gradients: Tolerance::new(
                gradients.0,
                gradients.1 * if row.has_scale { scale.max(1.0).sqrt() } else { 1.0 },
            ),
        }
    }

    /// The tolerance for one gradient.
    pub fn of_gradient(&self, expected: &[f64]) -> Tolerance {
        let largest = expected.iter().fold(0.0_f64, |largest, number| largest.max(number.abs()));
        Tolerance::new(self.gradients.relative, self.gradients.absolute * largest.max(1.0))
    }
}
