//! Every loss on every backend of the features, against the numbers of other libraries.
//!
//! `cargo test -p parity` runs the tests; `cargo run -p parity` prints the matrix of `docs/parity.md`.

#![forbid(unsafe_code)]

mod backends;
mod matrix;

pub use backends::{Backend, Exactness, backends};
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
    /// Two to ten times what was measured (`docs/parity.md`), except for a real GPU, where WGSL's own bounds on `exp`,
    /// `log` and division count. A head multiplies the rounding error of a cosine with its scale. The absolute part
    /// for gradients is a share of the largest number in the gradient, because small numbers there are differences of
    /// large ones.
    pub fn of(row: &Row, case: &Case, backend: &Backend) -> Self {
        let (losses, gradients) = match (backend.exactness, row.has_scale) {
            (Exactness::Double, _) => ((5e-14, 5e-15), (5e-13, 5e-15)),
            (Exactness::Single, false) => ((1.3e-6, 1e-6), (4e-6, 4e-7)),
            (Exactness::Single, true) => ((1e-5, 1e-6), (4e-5, 8e-7)),
            (Exactness::SoftwareGpu, false) => ((2e-6, 2e-6), (3e-5, 6e-7)),
            (Exactness::SoftwareGpu, true) => ((3e-5, 6e-7), (3e-5, 1.2e-6)),
            (Exactness::Gpu, false) => ((1e-4, 1e-4), (1e-3, 1e-5)),
            (Exactness::Gpu, true) => ((5e-4, 5e-6), (1e-3, 1e-5)),
        };
        let scale = if row.has_scale { case.number("scale") } else { 1.0 };
        Self {
            losses: Tolerance::new(losses.0, losses.1 * scale),
            gradients: Tolerance::new(gradients.0, gradients.1 * scale.sqrt()),
        }
    }

    /// The tolerance for one gradient.
    pub fn of_gradient(&self, expected: &[f64]) -> Tolerance {
        let largest = expected.iter().fold(0.0_f64, |largest, number| largest.max(number.abs()));
        Tolerance::new(self.gradients.relative, self.gradients.absolute * largest.max(1.0))
    }
}
