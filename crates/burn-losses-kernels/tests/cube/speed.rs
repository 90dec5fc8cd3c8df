//! How long the passes take beside their references, for docs/measured.md:
//! `cargo test -p burn-losses-kernels --features wgpu,flex --test cube -- --ignored --nocapture speed`

use std::time::{Duration, Instant};

use burn::tensor::{Int, Tensor};
use burn_losses_kernels::elements::{Element, elements, elements_reference};
use burn_losses_kernels::log_odds::{log_odds, log_odds_reference};
use burn_losses_kernels::soft_targets::{SoftRule, soft_losses, soft_losses_reference};

use crate::{gpu, matrix, values};

/// The best of five, in turn, after one that compiles.
fn report(what: &str, passes: impl Fn(), reference: impl Fn()) {
    let time = |run: &dyn Fn()| {
        let start = Instant::now();
        run();
        start.elapsed()
    };
    let mut best = [Duration::MAX; 2];
    for round in 0..6 {
        for (best, time) in best.iter_mut().zip([time(&passes), time(&reference)]) {
            if round > 0 {
                *best = time.min(*best);
            }
        }
    }
    println!("{what}: {best:?}, {:.2} of the reference", best[0].as_secs_f64() / best[1].as_secs_f64());
}

/// Forward and backward, up to a number of the gradient that is read.
fn step<const D: usize>(leaf: &Tensor<2>, losses: Tensor<D>) {
    let gradient = leaf.grad(&losses.sum().backward()).expect("a gradient");
    values(gradient.narrow(0, 0, 1).narrow(1, 0, 1));
}

#[test]
#[ignore = "measures"]
fn passes_beside_their_references() {
    let answer = Element::Answer { present: 1.0, absent: 1.0, gamma_present: 0.0, gamma_absent: 4.0, clip: 0.05 };
    let leaf = matrix(1000, 1000, 1, &gpu()).require_grad();
    let targets = matrix(1000, 1000, 2, &gpu()).greater_scalar(0.0).float();
    report(
        "elements, asymmetric, 1000 x 1000",
        || step(&leaf, elements(leaf.clone(), targets.clone(), answer)),
        || step(&leaf, elements_reference(leaf.clone(), targets.clone(), answer)),
    );

    let (rows, classes) = (256, 50_000);
    let leaf = matrix(rows, classes, 1, &gpu()).require_grad();
    let labels = Tensor::<1, Int>::arange(0..rows as i64, &gpu());
    report(
        "log_odds, 256 x 50 000",
        || step(&leaf, log_odds(leaf.clone(), labels.clone(), None).log_odds),
        || step(&leaf, log_odds_reference(leaf.clone(), labels.clone(), None).log_odds),
    );

    let targets = Tensor::<2>::full([rows, classes], 1.0 / classes as f64, &gpu());
    let rule = SoftRule { smoothing: 0.1, gamma: 0.0 };
    report(
        "soft_losses, 256 x 50 000",
        || step(&leaf, soft_losses(leaf.clone(), targets.clone(), None, rule)),
        || step(&leaf, soft_losses_reference(leaf.clone(), targets.clone(), None, rule)),
    );
}
