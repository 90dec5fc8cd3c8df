//! Every loss on every backend of the features, against the numbers of other libraries.
//!
//! `cargo test -p parity` runs the tests; `cargo run -p parity` prints the matrix of `docs/parity.md`, and
//! `cargo run -p parity -- conformance` the table of `docs/conformance.md`.

#![forbid(unsafe_code)]

mod backends;
mod conformance;
mod elsewhere;
mod matrix;
mod sharded;

pub use backends::{Backend, Exactness, backends};
pub use conformance::conformance;
pub use elsewhere::assert_negatives_elsewhere_are_negatives_here;
pub use matrix::{Cell, golden_cells, markdown};
pub use sharded::assert_sharded_equals_whole;

use support::close::Tolerance;
use support::golden::Case;
use support::table::Row;

/// What a case allows on a backend.
#[derive(Clone, Copy, Debug)]
pub struct Tolerances {
    /// For losses and other outputs.
    pub losses: Tolerance,
    /// For gradients.
    pub gradients: Tolerance,
}

impl Tolerances {
    /// Two to ten times what was measured (`docs/parity.md`), except for a real GPU, where WGSL's own bounds on `exp`,
    /// `log` and division count. A head multiplies the rounding error of a cosine with its scale.
    pub fn of(row: &Row, case: &Case, backend: &Backend) -> Self {
        let (losses, gradients) = match (backend.exactness, row.scale(case).is_some()) {
            (Exactness::Double, _) => ((5e-14, 5e-15), (1e-12, 1e-14)),
            (Exactness::Single, false) => ((1.3e-6, 1e-6), (1e-5, 1e-6)),
            (Exactness::Single, true) => ((1e-5, 1e-6), (1e-4, 1e-6)),
            (Exactness::SoftwareGpu, false) => ((2e-6, 2e-6), (1e-4, 2e-6)),
            (Exactness::SoftwareGpu, true) => ((3e-5, 6e-7), (1e-4, 2e-6)),
            (Exactness::Gpu, false) => ((1e-4, 1e-4), (1e-3, 1e-5)),
            (Exactness::Gpu, true) => ((5e-4, 5e-6), (1e-3, 1e-5)),
        };
        let scale = row.scale(case).unwrap_or(1.0);
        Self {
            losses: Tolerance::new(losses.0, losses.1 * scale),
            gradients: Tolerance::new(gradients.0, gradients.1 * scale),
        }
    }

    /// For all numbers of one gradient: each is a sum of terms that may cancel, so that it is as exact as the largest.
    pub fn gradient_of(&self, expected: &[f64]) -> Tolerance {
        let largest = expected.iter().fold(1.0_f64, |largest, number| largest.max(number.abs()));
        Tolerance::new(self.gradients.relative, self.gradients.absolute * largest)
    }
}
