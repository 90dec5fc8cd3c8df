//! The laws of the steps, on bare tensors.

use burn::optim::{AdamConfig, AdamWConfig, GradientsParams, ModuleOptimizer};
use burn::tensor::Tensor;
use burn_losses::regularization::{
    DecoupledL2Config, ProximalElasticNetConfig, ProximalL1Config, ProximalRowGroupsConfig, ShrinkageStep,
    soft_threshold,
};
use parity::backends;
use support::close::{Tolerance, assert_close};
use support::table::host;

use super::{RATE, matrix, numbers, proximal_steps, slack, two_layers};

/// The definition: a step lands where `rate·penalty(x) + 1/2·‖x - w‖²` is smallest. No point of a grid around the
/// weights is better, and the best of them is near.
#[test]
fn a_proximal_step_finds_the_minimum_of_a_grid() {
    for backend in backends() {
        for strength in [0.5, 4.0, 20.0] {
            for (name, step, penalty) in proximal_steps(strength, &backend) {
                for seed in 1..4 {
                    let weights = numbers(3, seed);
                    let value = |x: &[f64]| {
                        let squares: f64 = x.iter().zip(&weights).map(|(x, w)| 0.5 * (x - w) * (x - w)).sum();
                        RATE * penalty(x) + squares
                    };
                    let found = step(&weights);
                    let mut best = (f64::INFINITY, Vec::new());
                    const POINTS: i32 = 24;
                    let place = |k: i32, axis: usize| weights[axis] * f64::from(k) / f64::from(POINTS);
                    for a in -2..=POINTS + 2 {
                        for b in -2..=POINTS + 2 {
                            for c in -2..=POINTS + 2 {
                                let point = vec![place(a, 0), place(b, 1), place(c, 2)];
                                let at = value(&point);
                                if at < best.0 {
                                    best = (at, point);
                                }
                            }
                        }
                    }
                    let what = format!("{name} {strength} of {weights:?} on {}", backend.name);
                    assert!(value(&found) <= best.0 + slack(&backend), "{what}: {found:?} is worse than {:?}", best.1);
                    for (axis, (x, y)) in found.iter().zip(&best.1).enumerate() {
                        // The grid's own spacing.
                        let near = weights[axis].abs() / f64::from(POINTS) + slack(&backend);
                        assert!((x - y).abs() <= near, "{what}: {found:?} is far from {:?}", best.1);
                    }
                }
            }
        }
    }
}

/// `‖P(x) - P(y)‖² <= <P(x) - P(y), x - y>`, which a proximal step has and a wrong one has not.
#[test]
fn a_proximal_step_is_firmly_non_expansive() {
    for backend in backends() {
        for strength in [0.1, 2.0, 9.0] {
            for (name, step, _) in proximal_steps(strength, &backend) {
                for seed in 0..40 {
                    // Rows that are far apart, and rows on the two sides of the threshold that almost touch.
                    let (x, other) = (numbers(3, 2 * seed), numbers(3, 2 * seed + 1));
                    let near = if seed % 2 == 0 { 1.0 } else { 0.05 };
                    let y: Vec<f64> = x.iter().zip(&other).map(|(x, other)| x + near * (other - x)).collect();
                    let (from, to) = (step(&x), step(&y));
                    let moved: Vec<f64> = from.iter().zip(&to).map(|(a, b)| a - b).collect();
                    let square: f64 = moved.iter().map(|a| a * a).sum();
                    let product: f64 = moved.iter().zip(x.iter().zip(&y)).map(|(m, (x, y))| m * (x - y)).sum();
                    assert!(square <= product + slack(&backend), "{name} {strength}: {square} > {product}");
                }
            }
        }
    }
}

#[test]
fn a_step_of_strength_zero_or_learning_rate_zero_changes_no_bit() {
    let weights = [0.3, -1e-20, 0.0, 3e30, -7.0, 2e-38];
    for backend in backends() {
        let before = host(matrix(&weights, 3, &backend));
        for (name, step, _) in proximal_steps(0.0, &backend) {
            assert_eq!(step(&weights), before, "{name} on {}", backend.name);
        }
        let w = || matrix(&weights, 3, &backend);
        assert_eq!(
            host(DecoupledL2Config::new(0.0).init(&backend.device).shrink(0.5, w())),
            before,
            "{}",
            backend.name
        );
        assert_eq!(
            host(DecoupledL2Config::new(3.0).init(&backend.device).shrink(0.0, w())),
            before,
            "{}",
            backend.name
        );
        assert_eq!(host(ProximalL1Config::new(3.0).init(&backend.device).shrink(0.0, w())), before, "{}", backend.name);
        assert_eq!(
            host(ProximalRowGroupsConfig::new(3.0).init(&backend.device).shrink(0.0, w())),
            before,
            "{}",
            backend.name
        );
    }
}

#[test]
fn zeros_grow_with_the_strength_until_all_is_zero() {
    let weights = numbers(60, 5);
    for backend in backends() {
        for name in ["L1", "elastic net", "row groups"] {
            let mut before = vec![false; weights.len()];
            for strength in [0.0, 0.5, 1.0, 3.0, 5.0, 9.0, 25.0, 50.0] {
                let steps = proximal_steps(strength, &backend);
                let (_, step, _) = steps.iter().find(|(step, ..)| *step == name).expect("a step");
                let zeros: Vec<bool> = step(&weights).iter().map(|&number| number == 0.0).collect();
                let stays = before.iter().zip(&zeros).all(|(before, now)| !before || *now);
                assert!(stays, "{name} {strength}: a zero came back on {}", backend.name);
                before = zeros;
            }
            assert!(before.iter().all(|&zero| zero), "{name} on {}", backend.name);
        }
    }
}

#[test]
fn zeros_have_no_sign() {
    for backend in backends() {
        for (name, step, _) in proximal_steps(50.0, &backend).into_iter().filter(|(name, ..)| *name != "L2") {
            let shrunk = step(&[-0.5, 0.5, -0.0, -2.0, 1.0, 2.0]);
            assert!(shrunk.iter().all(|number| *number == 0.0 && number.is_sign_positive()), "{name}: {shrunk:?}");
        }
    }
}

#[test]
fn the_elastic_net_is_a_soft_threshold_and_then_a_division_and_its_ends_are_l1_and_l2() {
    let weights = numbers(30, 3);
    for backend in backends() {
        let w = || matrix(&weights, 3, &backend);
        let elastic = |share: f64| {
            host(ProximalElasticNetConfig::new(4.0).with_l1_ratio(share).init(&backend.device).shrink(RATE, w()))
        };
        let tolerance = Tolerance::new(10.0 * slack(&backend), slack(&backend));

        // rate·strength = 1.
        let thresholded = host(soft_threshold(w(), 0.3));
        let divided: Vec<f64> = thresholded.iter().map(|number| number / 1.7).collect();
        assert_close("the formula", &elastic(0.3), &divided, tolerance);
        assert_eq!(elastic(1.0), host(ProximalL1Config::new(4.0).init(&backend.device).shrink(RATE, w())));
        // The closed form of the step of strength/2·w².
        let halved: Vec<f64> = host(w()).iter().map(|number| number / 2.0).collect();
        assert_close("the L2 end", &elastic(0.0), &halved, tolerance);
    }
}

#[test]
fn a_group_of_one_number_is_an_l1_step() {
    let weights = numbers(30, 4);
    for backend in backends() {
        let w = || matrix(&weights, 1, &backend);
        let grouped = host(ProximalRowGroupsConfig::new(3.0).init(&backend.device).shrink(RATE, w()));
        let single = host(ProximalL1Config::new(3.0).init(&backend.device).shrink(RATE, w()));

        assert_close("groups of one", &grouped, &single, Tolerance::new(slack(&backend), slack(&backend)));
    }
}

#[test]
fn decoupled_l2_takes_the_same_share_of_every_weight() {
    let weights = numbers(30, 6);
    for backend in backends() {
        let shrunk =
            host(DecoupledL2Config::new(0.4).init(&backend.device).shrink(RATE, matrix(&weights, 3, &backend)));
        let expected: Vec<f64> = host(matrix(&weights, 3, &backend)).iter().map(|weight| 0.9 * weight).collect();

        assert_close("nine tenths", &shrunk, &expected, Tolerance::new(slack(&backend), 0.0));
    }
}

/// Burn's AdamW shrinks before its step and this one shrinks after it, so with the gradient 0 they are the same.
#[test]
fn decoupled_l2_is_the_weight_decay_of_adamw_where_the_gradient_is_zero() {
    for backend in backends() {
        let model = two_layers(&backend);
        let ones = Tensor::<2>::ones([1, 3], (&backend.device, backend.dtype));
        let gradients = || {
            let loss = model.forward(ones.clone()).sum().mul_scalar(0.0);
            GradientsParams::from_grads(loss.backward(), &model)
        };
        let mut adamw: ModuleOptimizer = AdamWConfig::new().with_weight_decay(0.5).init();
        let mut adam: ModuleOptimizer = AdamConfig::new().init();
        let decayed = adamw.step(0.1, model.clone(), gradients());
        let shrunk =
            DecoupledL2Config::new(0.5).init(&backend.device).step(0.1, adam.step(0.1, model.clone(), gradients()));

        let (decayed, shrunk) = (host(decayed.first.weight.val()), host(shrunk.first.weight.val()));
        assert_close("the decay", &shrunk, &decayed, Tolerance::new(1e-6, 1e-7));
    }
}
