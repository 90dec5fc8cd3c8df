//! Distillation of hidden states beside the same of all logits, written with ordinary operations and their gradients.

use burn::module::Param;
use burn::nn::loss::Reduction;
use burn::nn::{EmbeddingConfig, Linear, LinearLayout};
use burn::tensor::{Int, Tensor, TensorData};
use burn_losses::classification::{Divergence, LinearDistillationLoss, LinearDistillationLossConfig, OutputLayer};
use burn_losses::labels::LabelPolicy;
use parity::{Backend, backends};
use support::close::{Tolerance, assert_close, assert_finite};
use support::table::host;

use super::tokens::{
    CLASSES, DIM, IGNORED, TOKENS, assert_half_is_computed_in_single, assert_parts_are_the_whole, labels, linear,
    rounded, step, tensor,
};

const DIM_OF_TEACHER: usize = 7;

const DIVERGENCES: [Divergence; 6] = [
    Divergence::ForwardKl,
    Divergence::ReverseKl,
    Divergence::JensenShannon(0.5),
    Divergence::JensenShannon(0.1),
    Divergence::JensenShannon(0.0),
    Divergence::JensenShannon(1.0),
];

pub(crate) fn tolerance(backend: &Backend) -> Tolerance {
    if backend.is_double() { Tolerance::new(1e-12, 1e-12) } else { Tolerance::new(5e-5, 2e-5) }
}

pub(crate) fn config(divergence: Divergence, temperature: f64) -> LinearDistillationLossConfig {
    LinearDistillationLossConfig::new()
        .with_divergence(divergence)
        .with_temperature(temperature)
        .with_labels(LabelPolicy::new().with_ignore_label(Some(IGNORED)))
}

/// All tokens at once, chunks of four, of which the last is smaller, and of one. Every shape is a kernel to compile on a GPU.
fn chunks(backend: &Backend) -> &'static [usize] {
    let all = &[256 << 20, 4 * 8 * 8 * CLASSES, 0];
    if backend.is_gpu() { &all[..1] } else { all }
}

fn teacher(backend: &Backend, biased: bool, layout: LinearLayout) -> (Tensor<3>, Linear) {
    (tensor(backend, [3, 7, DIM_OF_TEACHER], 4), linear(backend, DIM_OF_TEACHER, biased, layout, 5))
}

/// `sum of p·(log(p) - log(q))` by row.
fn kl(of: Tensor<2>, other: Tensor<2>) -> Tensor<1> {
    (of.clone().exp() * (of - other)).sum_dim(1).squeeze_dim(1)
}

/// The losses of all tokens, of logits that are there at once.
fn whole(divergence: Divergence, temperature: f64, student: Tensor<3>, teacher: Tensor<3>) -> Tensor<1> {
    let log = |logits: Tensor<3>| {
        let logits = logits.reshape([TOKENS, CLASSES]).mul_scalar(temperature.recip());
        logits.clone() - logits.exp().sum_dim(1).log()
    };
    let (student, teacher) = (log(student), log(teacher.detach()));
    let losses = match divergence {
        Divergence::ForwardKl | Divergence::JensenShannon(0.0) => kl(teacher, student),
        Divergence::ReverseKl | Divergence::JensenShannon(1.0) => kl(student, teacher),
        Divergence::JensenShannon(beta) => {
            let mixture = (teacher.clone().exp().mul_scalar(beta) + student.clone().exp().mul_scalar(1.0 - beta)).log();
            kl(teacher, mixture.clone()).mul_scalar(beta) + kl(student, mixture).mul_scalar(1.0 - beta)
        }
    };
    losses.mul_scalar(temperature * temperature)
}

#[test]
fn it_is_the_divergence_of_the_logits() {
    for backend in backends() {
        let mut compared = 0;
        for (biased, layout) in [(true, LinearLayout::Row), (false, LinearLayout::Col)] {
            for (divergence, temperature) in DIVERGENCES.into_iter().zip([1.0, 1.0, 2.5, 0.5, 1.5, 2.0]) {
                for (reduction, masked) in [
                    (Reduction::Mean, true),
                    (Reduction::Mean, false),
                    (Reduction::Sum, true),
                    (Reduction::BatchMean, false),
                ] {
                    let labels = || masked.then(|| labels(&backend));
                    let expected = step(&backend, biased, layout, |hidden, layer| {
                        let (of_teacher, teacher) = teacher(&backend, biased, layout);
                        let (student, teacher) = (layer.forward(hidden), teacher.forward(of_teacher));
                        let losses = whole(divergence, temperature, student, teacher);
                        let ignored = labels().map(|labels| labels.reshape([TOKENS]).equal_scalar(IGNORED));
                        let counted = TOKENS - if masked { TOKENS / 5 } else { 0 };
                        let losses = match ignored {
                            Some(ignored) => losses.mask_fill(ignored, 0.0),
                            None => losses,
                        };
                        let divisor = match reduction {
                            Reduction::Sum => 1,
                            Reduction::BatchMean => 3,
                            Reduction::Mean | Reduction::Auto => counted,
                        };
                        losses.sum().mul_scalar((divisor as f64).recip())
                    });
                    for &bytes in chunks(&backend) {
                        let loss = config(divergence, temperature).with_chunk_bytes(bytes).init(&backend.device);
                        let actual = step(&backend, biased, layout, |hidden, layer| {
                            let (of_teacher, teacher) = teacher(&backend, biased, layout);
                            loss.forward(hidden, layer, of_teacher, &teacher, labels(), reduction.clone())
                        });
                        let what = format!(
                            "{divergence:?} {biased} {layout:?} {temperature} {reduction:?} {masked} {bytes} on {}",
                            backend.name
                        );
                        for (actual, expected) in actual.iter().zip(&expected) {
                            assert_eq!(actual.len(), expected.len(), "{what}");
                            assert_close(&what, actual, expected, tolerance(&backend));
                        }
                        compared += 1;
                    }
                }
            }
        }
        assert!(compared >= 48);
    }
}

/// What every token costs, without a gradient, and the mean of it.
#[test]
fn losses_of_tokens_are_those_that_are_reduced() {
    for backend in backends() {
        let device = backend.device.clone().inner();
        let there = Backend { name: backend.name.clone(), device, ..backend };
        let (of_teacher, teacher) = teacher(&there, true, LinearLayout::Row);
        let (hidden, layer) = (tensor(&there, [3, 7, DIM], 1), linear(&there, DIM, true, LinearLayout::Row, 2));
        let loss = config(Divergence::JensenShannon(0.3), 2.0).init(&there.device);
        let labels = Some(labels(&there));
        let losses = loss.forward_no_reduction(hidden.clone(), &layer, of_teacher.clone(), &teacher, labels.clone());
        assert_eq!(losses.dims(), [3, 7]);
        let losses = host(losses);
        assert!(losses.iter().enumerate().all(|(token, &loss)| (token % 5 == 4) == (loss == 0.0)), "{losses:?}");
        let mean = host(loss.forward(hidden, &layer, of_teacher, &teacher, labels, Reduction::Mean));
        assert_close(&there.name, &mean, &[losses.iter().sum::<f64>() / 17.0], tolerance(&there));
    }
}

/// What is not tracked has no gradient and changes no other; the teacher has none, whatever it is.
#[test]
fn gradients_are_those_of_what_is_tracked_of_the_student() {
    for backend in backends().iter().filter(|backend| !backend.is_gpu()) {
        let loss = config(Divergence::ReverseKl, 1.0).init(&backend.device);
        let run = |[of_hidden, of_weight, of_bias]: [bool; 3]| {
            let leaf = |tensor: Tensor<2>, tracked: bool| if tracked { tensor.require_grad() } else { tensor };
            let hidden = leaf(tensor(backend, [TOKENS, DIM], 1), of_hidden);
            let weight = leaf(tensor(backend, [CLASSES, DIM], 2), of_weight);
            let bias = leaf(tensor(backend, [1, CLASSES], 3), of_bias);
            let of_teacher = tensor::<2>(backend, [TOKENS, DIM], 4).require_grad();
            let weight_of_teacher = tensor::<2>(backend, [CLASSES, DIM], 5).require_grad();
            let layer = OutputLayer::new(weight.clone(), Some(bias.clone().squeeze_dim(0)));
            let teacher = OutputLayer::new(weight_of_teacher.clone(), None);
            let labels = None::<Tensor<1, Int>>;
            let value = loss.forward(hidden.clone(), layer, of_teacher.clone(), teacher, labels, Reduction::Mean);
            let mut found = vec![host(value.clone())];
            if value.is_tracked() {
                let gradients = value.backward();
                assert!(of_teacher.grad(&gradients).is_none() && weight_of_teacher.grad(&gradients).is_none());
                let of = |leaf: &Tensor<2>| leaf.grad(&gradients).map_or_else(Vec::new, host);
                found.extend([&hidden, &weight, &bias].map(of));
            }
            found
        };
        let all = run([true; 3]);
        assert!(all.iter().all(|numbers| numbers.iter().any(|&number| number != 0.0)), "{all:?}");
        for which in 1..8 {
            let tracked = [0, 1, 2].map(|bit| which >> bit & 1 == 1);
            let found = run(tracked);
            assert_eq!(found[0], all[0]);
            for (place, tracked) in tracked.into_iter().enumerate() {
                assert_eq!(
                    found[place + 1],
                    if tracked { all[place + 1].clone() } else { Vec::new() },
                    "{which} {place}"
                );
            }
        }
        assert_eq!(run([false; 3]), all[..1]);
    }
}

/// A student that is its teacher: exactly 0, without a gradient, also of a tied embedding.
#[test]
fn equals_do_not_differ() {
    for backend in backends() {
        for divergence in DIVERGENCES {
            let mut embedding = EmbeddingConfig::new(CLASSES, DIM).init(&backend.device);
            embedding.weight = Param::from_tensor(tensor(&backend, [CLASSES, DIM], 2));
            let hidden = tensor::<2>(&backend, [TOKENS, DIM], 1).require_grad();
            let loss = config(divergence, 2.0).init(&backend.device);
            let labels = None::<Tensor<1, Int>>;
            let value = loss.forward(hidden.clone(), &embedding, hidden.clone(), &embedding, labels, Reduction::Sum);
            let gradients = value.backward();
            let what = format!("{divergence:?} on {}", backend.name);
            assert_eq!(host(value), [0.0], "{what}");
            for gradient in [hidden.grad(&gradients), embedding.weight.val().grad(&gradients)] {
                assert!(host(gradient.expect("a gradient")).iter().all(|&slope| slope == 0.0), "{what}");
            }
        }
    }
}

fn sure(loss: &LinearDistillationLoss, backend: &Backend, size: f64) -> [Vec<f64>; 3] {
    let hidden = tensor::<2>(backend, [6, DIM], 1).mul_scalar(size).detach().require_grad();
    let weight = tensor::<2>(backend, [CLASSES, DIM], 2).require_grad();
    let of_teacher = tensor::<2>(backend, [6, DIM], 3).mul_scalar(size);
    let (layer, teacher) =
        (OutputLayer::new(weight.clone(), None), OutputLayer::new(tensor(backend, [CLASSES, DIM], 4), None));
    let value = loss.forward(hidden.clone(), layer, of_teacher, teacher, None::<Tensor<1, Int>>, Reduction::Mean);
    let gradients = value.backward();
    [host(value), host(hidden.grad(&gradients).expect("one")), host(weight.grad(&gradients).expect("one"))]
}

/// Probabilities that are 0 and 1 to rounding, and such that are all alike.
#[test]
fn logits_far_apart_have_finite_losses_and_gradients() {
    for backend in backends() {
        for divergence in DIVERGENCES.into_iter().chain([1e-6, 1.0 - 1e-6].map(Divergence::JensenShannon)) {
            for (size, temperature) in [(1e-20, 1.0), (1e4, 1.0), (1e6, 1.0), (1e4, 1e-3), (1e4, 1e3)] {
                let loss = config(divergence, temperature).init(&backend.device);
                let what = format!("{divergence:?} {size:e} {temperature:e} on {}", backend.name);
                for numbers in sure(&loss, &backend, size) {
                    assert_finite(&what, &numbers);
                }
            }
        }
    }
}

/// Never above the logarithm of two.
#[test]
fn a_jensen_shannon_divergence_ends_where_nothing_is_shared() {
    for backend in backends() {
        let options = (&backend.device, backend.dtype);
        let rows = |row: [f64; 2]| Tensor::<2>::from_data(TensorData::from([row]), options);
        let layer = || OutputLayer::new(Tensor::<2>::eye(2, &backend.device).cast(backend.dtype), None);
        let loss = config(Divergence::JensenShannon(0.5), 1.0).init(&backend.device);
        let labels = None::<Tensor<1, Int>>;
        let value = loss.forward(rows([1e4, 0.0]), layer(), rows([0.0, 1e4]), layer(), labels, Reduction::Mean);
        assert_close(&backend.name, &host(value), &[core::f64::consts::LN_2], tolerance(&backend));
    }
}

#[test]
fn a_batch_without_a_token_that_counts_has_no_loss() {
    for backend in backends() {
        for (tokens, label) in [(0, 0), (3, IGNORED)] {
            let hidden = Tensor::<2>::full([tokens, DIM], f64::NAN, (&backend.device, backend.dtype)).require_grad();
            let weight = tensor::<2>(&backend, [CLASSES, DIM], 2).require_grad();
            let teacher = Tensor::<2>::full([tokens, DIM], f64::INFINITY, (&backend.device, backend.dtype));
            let layer = || OutputLayer::new(weight.clone(), None);
            let labels = Tensor::<1, Int>::full([tokens], label, &backend.device);
            let loss = config(Divergence::ForwardKl, 1.0).init(&backend.device);
            let value = loss.forward(hidden.clone(), layer(), teacher, layer(), Some(labels), Reduction::Mean);
            let gradients = value.backward();
            assert_eq!(host(value), [0.0], "{tokens} on {}", backend.name);
            let of_weight = host(weight.grad(&gradients).expect("a gradient"));
            let of_hidden = host(hidden.grad(&gradients).expect("a gradient"));
            assert!(of_weight.iter().chain(&of_hidden).all(|&slope| slope == 0.0), "{tokens} on {}", backend.name);
        }
    }
}

#[test]
fn half_precision_is_computed_in_single() {
    assert_half_is_computed_in_single(|backend, hidden, layer| {
        let of_teacher = rounded(backend, [4, DIM], 3, hidden.dtype());
        let teacher = OutputLayer::new(rounded(backend, [CLASSES, DIM], 4, hidden.dtype()), None);
        let loss = config(Divergence::JensenShannon(0.5), 1.0).init(&backend.device);
        loss.forward(hidden, layer, of_teacher, teacher, None::<Tensor<1, Int>>, Reduction::Mean)
    });
}

/// And a teacher on another backend as well.
#[test]
fn a_vocabulary_in_parts_is_the_whole() {
    let config = config(Divergence::JensenShannon(0.4), 1.5).with_chunk_bytes(8 * 8 * CLASSES * 8);
    assert_parts_are_the_whole(tolerance, |[backend, other], hidden, layer| {
        let teacher = OutputLayer::new(tensor::<2>(other, [CLASSES, DIM], 5), None);
        let of_teacher = tensor::<2>(other, [TOKENS, DIM], 4);
        let labels = Some(labels(backend).reshape([TOKENS]));
        let loss = config.init(&backend.device);
        (loss.forward(hidden, layer, of_teacher, teacher, labels, Reduction::Mean), Vec::new())
    });
}
