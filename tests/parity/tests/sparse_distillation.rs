//! Distillation from a teacher's most likely classes beside the same of probabilities of all classes, with ordinary operations.

use burn::nn::LinearLayout;
use burn::nn::loss::Reduction;
use burn::tensor::{Int, Tensor, TensorData};
use burn_losses::classification::{CrossEntropyLossConfig, Divergence, OutputLayer, RestOfMass, SparseTargets};
use burn_losses::labels::{LabelPolicy, OnBadLabel};
use parity::{Backend, backends};
use support::close::{Tolerance, assert_close};
use support::table::host;

use super::linear_distillation::{config, tolerance};
use super::tokens::{
    CLASSES, DIM, IGNORED, TOKENS, assert_finite_step, assert_half_is_computed_in_single, assert_parts_are_the_whole,
    linear, step, tensor,
};

const K: usize = 4;

const DIVERGENCES: [Divergence; 3] = [Divergence::ForwardKl, Divergence::ReverseKl, Divergence::JensenShannon(0.3)];

/// Every fifth token is padding, and those after it have two classes.
fn class(token: usize, entry: usize) -> i64 {
    match token % 5 {
        4 => IGNORED,
        0 if entry >= 2 => IGNORED,
        _ => ((token * 29 + entry * 11) % CLASSES) as i64,
    }
}

/// Of four entries 1, 0.66 to 0.7 or more than that by rounding.
fn probability(token: usize, entry: usize) -> f64 {
    match token % 5 {
        1 => [0.5, 0.25, 0.125, 0.125][entry],
        2 => [0.4, 0.2, 0.06, 0.0][entry],
        _ => [0.35, 0.2, 0.1, 0.05][entry],
    }
}

fn sparse(backend: &Backend, rest: RestOfMass) -> SparseTargets<3> {
    let entries = || (0..TOKENS).flat_map(|token| (0..K).map(move |entry| (token, entry)));
    let classes: Vec<i64> = entries().map(|(token, entry)| class(token, entry)).collect();
    // What stands beside an entry that is none does not matter.
    let shares = entries().map(|(token, entry)| if class(token, entry) < 0 { 0.9 } else { probability(token, entry) });
    let shares = TensorData::new(shares.collect::<Vec<f64>>(), [3, 7, K]);
    SparseTargets::new(
        Tensor::<1, Int>::from_data(classes.as_slice(), &backend.device).reshape([3, 7, K]),
        Tensor::from_data(shares, (&backend.device, backend.dtype)),
        rest,
    )
}

/// The same as probabilities of all classes, `[tokens, classes]`, and which classes are listed.
fn dense(backend: &Backend) -> [Tensor<2>; 2] {
    let mut numbers = [vec![0.0; TOKENS * CLASSES], vec![0.0; TOKENS * CLASSES]];
    for token in 0..TOKENS {
        for entry in 0..K {
            if let Ok(class) = usize::try_from(class(token, entry)) {
                numbers[0][token * CLASSES + class] = probability(token, entry);
                numbers[1][token * CLASSES + class] = 1.0;
            }
        }
    }
    numbers
        .map(|numbers| Tensor::from_data(TensorData::new(numbers, [TOKENS, CLASSES]), (&backend.device, backend.dtype)))
}

fn counted(backend: &Backend) -> Tensor<1> {
    let counted: Vec<f64> = (0..TOKENS).map(|token| if token % 5 == 4 { 0.0 } else { 1.0 }).collect();
    Tensor::from_data(TensorData::from(counted.as_slice()), (&backend.device, backend.dtype))
}

/// `sum of p·log(p / q)`, where 0 has no part.
fn kl(p: &Tensor<2>, q: &Tensor<2>) -> Tensor<2> {
    let nothing = p.clone().equal_scalar(0.0);
    let terms = p.clone() * (p.clone().mask_fill(nothing.clone(), 1.0).log() - q.clone().mask_fill(nothing, 1.0).log());
    terms.sum_dim(1)
}

/// Losses of all tokens whose unlisted classes are one, of all logits.
fn lumped(backend: &Backend, divergence: Divergence, temperature: f64, logits: Tensor<3>) -> Tensor<1> {
    let [teacher, listed] = dense(backend);
    let student = logits.reshape([TOKENS, CLASSES]).mul_scalar(temperature.recip()).exp();
    let student = student.clone() / student.sum_dim(1);
    let rest = (student.clone() * (listed.clone().neg() + 1.0)).sum_dim(1);
    let student = Tensor::cat(vec![student * listed, rest], 1);
    let rest = (teacher.clone().sum_dim(1).neg() + 1.0).clamp_min(1e-30);
    let teacher = Tensor::cat(vec![teacher, rest], 1);
    let losses = match divergence {
        Divergence::ForwardKl => kl(&teacher, &student),
        Divergence::ReverseKl => kl_where_listed(&student, &teacher),
        Divergence::JensenShannon(beta) => {
            let mixture = teacher.clone().mul_scalar(beta) + student.clone().mul_scalar(1.0 - beta);
            kl(&teacher, &mixture).mul_scalar(beta) + kl(&student, &mixture).mul_scalar(1.0 - beta)
        }
    };
    losses.squeeze_dim::<1>(1).mul_scalar(temperature * temperature) * counted(backend)
}

/// `KL(student || teacher)`, where a listed class with a probability of 0 has one of 1e-30.
fn kl_where_listed(student: &Tensor<2>, teacher: &Tensor<2>) -> Tensor<2> {
    kl(student, &teacher.clone().clamp_min(1e-30))
}

/// All tokens at once, chunks of four, and of one.
fn chunks(backend: &Backend) -> &'static [usize] {
    let all = &[256 << 20, 4 * 8 * 8 * CLASSES, 0];
    if backend.is_gpu() { &all[..1] } else { all }
}

fn assert_same(
    backend: &Backend,
    (divergence, temperature): (Divergence, f64),
    rest: RestOfMass,
    losses: impl Fn(Tensor<3>) -> Tensor<1>,
) {
    for (biased, layout, reduction, divisor) in [
        (true, LinearLayout::Row, Reduction::Mean, 17.0),
        (false, LinearLayout::Col, Reduction::Sum, 1.0),
        (true, LinearLayout::Row, Reduction::BatchMean, 3.0),
    ] {
        let expected = step(backend, biased, layout, |hidden, layer| {
            losses(layer.forward(hidden)).sum().mul_scalar(1.0 / divisor)
        });
        for &bytes in chunks(backend) {
            let loss = config(divergence, temperature).with_chunk_bytes(bytes).init(&backend.device);
            let actual = step(backend, biased, layout, |hidden, layer| {
                loss.forward_sparse(hidden, layer, sparse(backend, rest), reduction.clone())
            });
            let what = format!("{divergence:?} {temperature} {rest:?} {reduction:?} {bytes} on {}", backend.name);
            for (actual, expected) in actual.iter().zip(&expected) {
                assert_eq!(actual.len(), expected.len(), "{what}");
                assert_close(&what, actual, expected, tolerance(backend));
            }
        }
    }
}

#[test]
fn a_lump_is_one_class_for_both() {
    for backend in backends() {
        for (divergence, temperature) in DIVERGENCES.into_iter().zip([1.0, 1.5, 0.5]) {
            assert_same(&backend, (divergence, temperature), RestOfMass::Lump, |logits| {
                lumped(&backend, divergence, temperature, logits)
            });
        }
    }
}

/// Soft targets of all classes, less their entropy.
#[test]
fn renormalised_targets_are_soft_targets() {
    for backend in backends() {
        for temperature in [1.0, 2.0] {
            assert_same(&backend, (Divergence::ForwardKl, temperature), RestOfMass::Renormalise, |logits| {
                let [teacher, _] = dense(&backend);
                let mass = teacher.clone().sum_dim(1);
                let none = mass.clone().equal_scalar(0.0);
                let teacher = teacher / mass.mask_fill(none, 1.0);
                let logits = logits.reshape([TOKENS, CLASSES]).mul_scalar(1.0 / temperature);
                let loss = CrossEntropyLossConfig::new().init(&backend.device);
                let crossed: Tensor<1> = loss.forward_soft_no_reduction(logits, teacher.clone());
                let entropy = kl(&teacher, &teacher.ones_like()).squeeze_dim::<1>(1);
                (crossed + entropy).mul_scalar(temperature * temperature)
            });
        }
    }
}

/// A teacher of which all classes are listed, in another order for every token.
#[test]
fn a_list_of_all_classes_is_the_teacher() {
    for backend in backends() {
        let (of_teacher, teacher) =
            (tensor::<3>(&backend, [3, 7, DIM], 4), linear(&backend, DIM, true, LinearLayout::Row, 5));
        for (divergence, rest) in [
            (Divergence::ForwardKl, RestOfMass::Lump),
            (Divergence::ForwardKl, RestOfMass::Renormalise),
            (Divergence::ReverseKl, RestOfMass::Lump),
            (Divergence::JensenShannon(0.4), RestOfMass::Lump),
        ] {
            let loss = config(divergence, 1.5).init(&backend.device);
            let expected = step(&backend, true, LinearLayout::Row, |hidden, layer| {
                let labels = None::<Tensor<2, Int>>;
                loss.forward(hidden, layer, of_teacher.clone(), &teacher, labels, Reduction::Mean)
            });
            let actual = step(&backend, true, LinearLayout::Row, |hidden, layer| {
                let logits = teacher.forward(of_teacher.clone()).detach().mul_scalar(1.0 / 1.5).exp();
                let shares = logits.clone() / logits.sum_dim(2);
                let order: Vec<i64> = (0..TOKENS * CLASSES)
                    .map(|place| ((place % CLASSES * 5 + place / CLASSES) % CLASSES) as i64)
                    .collect();
                let order = Tensor::<1, Int>::from_data(order.as_slice(), &backend.device).reshape([3, 7, CLASSES]);
                let targets = SparseTargets::new(order.clone(), shares.gather(2, order), rest);
                loss.forward_sparse(hidden, layer, targets, Reduction::Mean)
            });
            for (actual, expected) in actual.iter().zip(&expected) {
                assert_close(
                    &format!("{divergence:?} {rest:?} on {}", backend.name),
                    actual,
                    expected,
                    tolerance(&backend),
                );
            }
        }
    }
}

#[test]
fn losses_of_tokens_are_those_that_are_reduced() {
    for backend in backends() {
        let device = backend.device.clone().inner();
        let there = Backend { name: backend.name.clone(), device, ..backend };
        let (hidden, layer) = (tensor(&there, [3, 7, DIM], 1), linear(&there, DIM, true, LinearLayout::Row, 2));
        let loss = config(Divergence::ReverseKl, 2.0).init(&there.device);
        let targets = || sparse(&there, RestOfMass::Lump);
        let losses: Tensor<2> = loss.forward_sparse_no_reduction(hidden.clone(), &layer, targets());
        assert_eq!(losses.dims(), [3, 7]);
        let losses = host(losses);
        assert!(losses.iter().enumerate().all(|(token, &loss)| (token % 5 == 4) == (loss == 0.0)), "{losses:?}");
        let mean = host(loss.forward_sparse(hidden, &layer, targets(), Reduction::Mean));
        assert_close(&there.name, &mean, &[losses.iter().sum::<f64>() / 17.0], tolerance(&there));
    }
}

/// A share above 1 by rounding is 1, and one that is no number makes a loss that is none.
#[test]
fn a_mass_above_one_is_divided_out() {
    for backend in backends() {
        let loss = config(Divergence::ForwardKl, 1.0).init(&backend.device);
        let run = |shares: [f64; 2]| {
            let layer = OutputLayer::new(tensor::<2>(&backend, [CLASSES, DIM], 2), None);
            let classes = Tensor::<2, Int>::from_ints([[3, 30]], &backend.device);
            let shares = Tensor::<2>::from_data(TensorData::from([shares]), (&backend.device, backend.dtype));
            let targets = SparseTargets::new(classes, shares, RestOfMass::Lump);
            host(loss.forward_sparse(tensor(&backend, [1, DIM], 1), layer, targets, Reduction::Sum))
        };
        assert_close(&backend.name, &run([0.7525, 0.2508]), &run([0.75, 0.25]), Tolerance::new(1e-3, 1e-3));
        assert!(run([0.502, 0.502])[0] > run([0.5, 0.5])[0] - 1e-4);
        assert!(run([f64::NAN, 0.2])[0].is_nan());
    }
}

/// Probabilities of the student that are 0 and 1 to rounding.
#[test]
fn logits_far_apart_have_finite_losses_and_gradients() {
    for backend in backends() {
        for divergence in DIVERGENCES {
            for (size, temperature) in [(1e-20, 1.0), (1e4, 1.0), (1e6, 1.0), (1e4, 1e-3)] {
                let hidden = tensor::<3>(&backend, [3, 7, DIM], 1).mul_scalar(size).detach().require_grad();
                let weight = tensor::<2>(&backend, [CLASSES, DIM], 2).require_grad();
                let layer = OutputLayer::new(weight.clone(), None);
                let loss = config(divergence, temperature).init(&backend.device);
                let value =
                    loss.forward_sparse(hidden.clone(), layer, sparse(&backend, RestOfMass::Lump), Reduction::Mean);
                let what = format!("{divergence:?} {size:e} {temperature:e} on {}", backend.name);
                assert_finite_step(&what, value, &hidden, &weight);
            }
        }
    }
}

/// A token without a class is not looked at, and a batch of such has no loss.
#[test]
fn padding_is_not_read() {
    for backend in backends() {
        for tokens in [0, 3] {
            let hidden = Tensor::<2>::full([tokens, DIM], f64::NAN, (&backend.device, backend.dtype)).require_grad();
            let weight = tensor::<2>(&backend, [CLASSES, DIM], 2).require_grad();
            let targets = SparseTargets::new(
                Tensor::full([tokens, 2], IGNORED, &backend.device),
                Tensor::full([tokens, 2], 0.5, (&backend.device, backend.dtype)),
                RestOfMass::Lump,
            );
            let loss = config(Divergence::ForwardKl, 1.0).init(&backend.device);
            let layer = OutputLayer::new(weight.clone(), None);
            let value = loss.forward_sparse(hidden.clone(), layer, targets, Reduction::Mean);
            let gradients = value.backward();
            assert_eq!(host(value), [0.0], "{tokens} on {}", backend.name);
            for gradient in [hidden.grad(&gradients), weight.grad(&gradients)] {
                let slopes = host(gradient.expect("a gradient"));
                assert!(slopes.iter().all(|&slope| slope == 0.0), "{tokens} on {}", backend.name);
            }
        }
    }
}

#[test]
fn half_precision_is_computed_in_single() {
    assert_half_is_computed_in_single(|backend, hidden, layer| {
        let classes = Tensor::<2, Int>::from_ints([[3, 30], [0, 36], [IGNORED as i32; 2], [7, 8]], &backend.device);
        // Such as `bf16` has.
        let shares = Tensor::<2>::full([4, 2], 0.375, (&backend.device, hidden.dtype()));
        let loss = config(Divergence::ForwardKl, 2.0).init(&backend.device);
        loss.forward_sparse(hidden, layer, SparseTargets::new(classes, shares, RestOfMass::Lump), Reduction::Mean)
    });
}

/// And targets on another backend as well.
#[test]
fn a_vocabulary_in_parts_is_the_whole() {
    let config = config(Divergence::JensenShannon(0.4), 1.5).with_chunk_bytes(8 * 8 * CLASSES * 8);
    assert_parts_are_the_whole(tolerance, |[backend, other], hidden, layer| {
        let loss = config.init(&backend.device);
        let hidden = hidden.reshape([3, 7, DIM]);
        (loss.forward_sparse(hidden, layer, sparse(other, RestOfMass::Lump), Reduction::Mean), Vec::new())
    });
}

fn of_classes(policy: LabelPolicy, divergence: Divergence, rest: RestOfMass, classes: [i64; 4]) -> Vec<f64> {
    let backend = &backends()[0];
    let loss = config(divergence, 1.0).with_labels(policy).init(&backend.device);
    let layer = OutputLayer::new(tensor::<2>(backend, [CLASSES, DIM], 2), None);
    let classes = Tensor::<1, Int>::from_data(classes, &backend.device).reshape([2, 2]);
    let shares = Tensor::full([2, 2], 0.25, (&backend.device, backend.dtype));
    let targets = SparseTargets::new(classes, shares, rest);
    host(loss.forward_sparse(tensor(backend, [2, DIM], 1), layer, targets, Reduction::Sum))
}

#[test]
fn an_entry_that_is_no_class_is_left_out_where_that_is_wanted() {
    let of = |classes| {
        let policy = LabelPolicy::new().with_on_bad_label(OnBadLabel::Ignore);
        of_classes(policy, Divergence::ForwardKl, RestOfMass::Lump, classes)
    };
    assert_eq!(of([3, 37, 0, 9]), of([3, -1, 0, 9]));
    assert_ne!(of([3, 36, 0, 9]), of([3, -1, 0, 9]));
}

#[test]
#[cfg_attr(not(any(feature = "flex", feature = "ndarray")), ignore = "on a GPU a later call tells")]
#[should_panic(expected = "LinearDistillationLoss: labels[3] is 37, but there are 37 classes, 0-based (0 to 36)")]
fn an_entry_that_is_no_class_is_named() {
    of_classes(LabelPolicy::new(), Divergence::ForwardKl, RestOfMass::Lump, [3, 4, 0, 37]);
}

#[test]
#[cfg_attr(not(any(feature = "flex", feature = "ndarray")), ignore = "on a GPU a later call tells")]
#[should_panic(expected = "LinearDistillationLoss: the classes of token 1 must be different, but 9 is there twice")]
fn a_class_that_is_listed_twice_is_named() {
    of_classes(LabelPolicy::new(), Divergence::ForwardKl, RestOfMass::Lump, [3, 4, 9, 9]);
}

#[test]
#[should_panic(expected = "RestOfMass::Renormalise is for Divergence::ForwardKl, got ReverseKl; take RestOfMass::Lump")]
fn a_divergence_that_needs_all_classes_is_rejected() {
    of_classes(LabelPolicy::new(), Divergence::ReverseKl, RestOfMass::Renormalise, [3, 4, 0, 9]);
}
