//! The losses of embeddings and class weights.

use burn_losses::regularization::{
    CenterInvariantRegularizerConfig, RegularFaceRegularizerConfig, ZeroMeanRegularizerConfig,
};
use parity::backends;
use support::close::{Tolerance, assert_close};
use support::table::host;

use super::{matrix, numbers, slack};

#[test]
fn rows_of_one_length_and_sums_of_zero_cost_nothing() {
    for backend in backends() {
        let center_invariant = CenterInvariantRegularizerConfig::new().init(&backend.device);
        let same = matrix(&[3.0, 4.0, -5.0, 0.0, 4.0, -3.0], 2, &backend);
        assert_eq!(host(center_invariant.forward_no_reduction(same)), [0.0; 3], "{}", backend.name);
        let zero_mean = ZeroMeanRegularizerConfig::new().init(&backend.device);
        let balanced = matrix(&[3.0, -3.0, -0.5, 0.5], 2, &backend);
        assert_eq!(host(zero_mean.forward_no_reduction(balanced)), [0.0; 2], "{}", backend.name);
    }
}

/// More classes than one block of the search holds.
#[test]
fn regular_face_of_many_classes_equals_the_full_matrix() {
    const CLASSES: usize = 4200;
    for backend in backends().iter().filter(|backend| !backend.is_double()) {
        let weights = || matrix(&numbers(2 * CLASSES, 21), 2, backend);
        let losses = host(RegularFaceRegularizerConfig::new().init(&backend.device).forward_no_reduction(weights()));
        // Classes 0, 1000, ... against all, in plain loops.
        let rows = host(weights());
        let cosine = |a: &[f64], b: &[f64]| (a[0] * b[0] + a[1] * b[1]) / (a[0].hypot(a[1]) * b[0].hypot(b[1]));
        for own in (0..CLASSES).step_by(1000) {
            let row = &rows[2 * own..2 * own + 2];
            let others = rows.chunks(2).enumerate().filter(|(other, _)| *other != own);
            let expected = others.map(|(_, other)| cosine(row, other)).fold(f64::NEG_INFINITY, f64::max);
            assert_close(&backend.name, &[losses[own]], &[expected], Tolerance::new(slack(backend), 0.0));
        }
    }
}
