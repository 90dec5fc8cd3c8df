//! Cross-entropy of a layer of which some classes are drawn, beside that of all logits of the classes that have a gradient.

use burn::module::Module;
use burn::nn::loss::Reduction;
use burn::tensor::{Int, Tensor, TensorData};
use burn_losses::classification::{
    CrossEntropyLossConfig, LinearCrossEntropyLoss, LinearCrossEntropyLossConfig, OutputLayer,
};
use burn_losses::heads::Streaming;
use parity::{Backend, backends};
use support::close::{Tolerance, assert_close};
use support::table::host;

use super::tokens::{DIM, Outcome, tensor};

const VOCABULARY: usize = 90;
/// A class twice, and a token without one.
const LABELS: [i64; 6] = [3, 89, -1, 41, 3, 17];
const RATE: f64 = 0.2;
const Z_LOSS: f64 = 0.01;

fn tolerance(backend: &Backend) -> Tolerance {
    if backend.is_double() { Tolerance::new(1e-12, 1e-12) } else { Tolerance::new(2e-5, 2e-5) }
}

fn weight_of(class: usize) -> f64 {
    0.5 + (class % 4) as f64
}

fn config(rate: f64) -> LinearCrossEntropyLossConfig {
    let weights: Vec<f64> = (0..VOCABULARY).map(weight_of).collect();
    let config = LinearCrossEntropyLossConfig::new().with_class_weights(Some(weights.into())).with_z_loss(Z_LOSS);
    config.with_sample_rate(rate).with_seed(5)
}

fn labels(backend: &Backend) -> Tensor<1, Int> {
    Tensor::from_data(LABELS, &backend.device)
}

fn numbers(backend: &Backend, numbers: &[f64]) -> Tensor<1> {
    Tensor::from_data(TensorData::from(numbers), (&backend.device, backend.dtype))
}

fn step(backend: &Backend, run: impl FnOnce(Tensor<2>, Tensor<2>, Tensor<1>) -> Tensor<1>) -> Outcome {
    let hidden = tensor::<2>(backend, [LABELS.len(), DIM], 1).require_grad();
    let weight = tensor::<2>(backend, [VOCABULARY, DIM], 2).require_grad();
    let bias = tensor::<1>(backend, [VOCABULARY], 3).require_grad();
    let losses = run(hidden.clone(), weight.clone(), bias.clone());
    let gradients = losses.clone().mul_scalar(0.75).sum().backward();
    let of = |gradient: Option<Tensor<2>>| host(gradient.expect("a gradient"));
    let of_bias = host(bias.grad(&gradients).expect("a gradient"));
    [host(losses), of(hidden.grad(&gradients)), of(weight.grad(&gradients)), of_bias]
}

/// A layer in parts of these sizes.
fn layer(weight: &Tensor<2>, bias: &Tensor<1>, parts: &[usize]) -> OutputLayer {
    let mut start = 0;
    OutputLayer::sharded(parts.iter().map(|&count| {
        start += count;
        let first = start - count;
        OutputLayer::new(weight.clone().narrow(0, first, count), Some(bias.clone().narrow(0, first, count)))
    }))
}

/// By a loss: that of every token, or the reduced one.
fn run(loss: &LinearCrossEntropyLoss, backend: &Backend, parts: &[usize], reduction: Option<Reduction>) -> Outcome {
    step(backend, |hidden, weight, bias| match reduction {
        None => loss.forward_no_reduction(hidden, layer(&weight, &bias, parts), labels(backend)),
        Some(reduction) => loss.forward(hidden, layer(&weight, &bias, parts), labels(backend), reduction),
    })
}

/// The classes whose weights have a gradient.
fn moved([_, _, of_weight, _]: &Outcome) -> Vec<usize> {
    let rows = of_weight.chunks(DIM).enumerate();
    rows.filter(|(_, row)| row.iter().any(|&slope| slope != 0.0)).map(|(class, _)| class).collect()
}

/// With ordinary operations, of all logits of these classes, those of the batch and others that were drawn with a probability.
fn expected(
    backend: &Backend,
    members: &[usize],
    probability: impl Fn(usize) -> f64,
    reduction: Option<Reduction>,
) -> Outcome {
    let correction = |&class: &usize| if LABELS.contains(&(class as i64)) { 0.0 } else { -probability(class).ln() };
    let correction: Vec<f64> = members.iter().map(correction).collect();
    let picked: Vec<i64> = members.iter().map(|&class| class as i64).collect();
    let place = |label: i64| picked.iter().position(|&class| class == label).map_or(-1, |place| place as i64);
    let weights: Vec<f64> = members.iter().map(|&class| weight_of(class)).collect();
    let loss = CrossEntropyLossConfig::new().with_class_weights(Some(weights.into())).init(&backend.device);
    step(backend, |hidden, weight, bias| {
        let picked = Tensor::<1, Int>::from_data(picked.as_slice(), &backend.device);
        let bias = bias.select(0, picked.clone()) + numbers(backend, &correction);
        let logits = hidden.matmul(weight.select(0, picked).transpose()) + bias.unsqueeze_dim::<2>(0);
        let places = Tensor::<1, Int>::from_data(LABELS.map(place), &backend.device);
        let has_class = numbers(backend, &LABELS.map(|label| if label < 0 { 0.0 } else { Z_LOSS }));
        let square = logits.clone().exp().sum_dim(1).log().squeeze_dim::<1>(1).square() * has_class;
        match reduction {
            None => loss.forward_no_reduction(logits, places) + square,
            Some(reduction) => {
                let of_classes = LABELS.iter().filter(|&&label| label >= 0).map(|&label| weight_of(label as usize));
                loss.forward(logits, places, reduction) + square.sum().mul_scalar(of_classes.sum::<f64>().recip())
            }
        }
    })
}

fn assert_same(what: &str, actual: &Outcome, expected: &Outcome, tolerance: Tolerance) {
    for (actual, expected) in actual.iter().zip(expected) {
        assert_eq!(actual.len(), expected.len(), "{what}");
        assert_close(what, actual, expected, tolerance);
    }
}

/// For losses of tokens, for a mean in two passes and for one with its gradient at once.
#[test]
fn the_loss_is_that_of_the_sample_and_no_other_class_has_a_gradient() {
    for backend in backends() {
        for (reduction, kept_bytes) in [(None, 32 << 20), (Some(Reduction::Mean), 0), (Some(Reduction::Mean), 32 << 20)]
        {
            let streaming = Streaming::new().with_kept_bytes(kept_bytes);
            let loss = config(RATE).with_streaming(streaming).init(&backend.device);
            let mut samples = Vec::new();
            for _ in 0..3 {
                let actual = run(&loss, &backend, &[VOCABULARY], reduction.clone());
                let members = moved(&actual);
                // 18 are drawn, and the batch has 4 classes.
                assert!((18..=22).contains(&members.len()), "{members:?} on {}", backend.name);
                let what = format!("{reduction:?} {kept_bytes} on {}", backend.name);
                let expected = expected(&backend, &members, |_| 0.2, reduction.clone());
                assert_same(&what, &actual, &expected, tolerance(&backend));
                samples.push(members);
            }
            assert!(samples.windows(2).all(|pair| pair[0] != pair[1]), "every step draws anew");
        }
    }
}

/// 17 of 85 classes, and all of 5.
#[test]
fn parts_of_a_vocabulary_are_sampled_one_by_one() {
    for backend in backends() {
        let loss = config(RATE).init(&backend.device);
        let actual = run(&loss, &backend, &[85, 5], None);
        let members = moved(&actual);
        assert!((85..90).all(|class| members.contains(&class)), "{members:?}");
        assert!((17..=20).contains(&(members.len() - 5)), "{members:?}");
        let expected = expected(&backend, &members, |class| if class < 85 { 0.2 } else { 1.0 }, None);
        assert_same(&backend.name, &actual, &expected, tolerance(&backend));
    }
}

#[test]
fn the_same_seed_draws_the_same_classes_on_every_backend() {
    let drawn = |backend: &Backend, seed: u64| {
        let loss = config(RATE).with_seed(seed).init(&backend.device);
        [0, 1].map(|_| moved(&run(&loss, backend, &[VOCABULARY], None)))
    };
    let all = backends();
    let first = drawn(&all[0], 5);
    for backend in &all {
        assert_eq!(drawn(backend, 5), first, "{}", backend.name);
    }
    assert_ne!(drawn(&all[0], 6), first);
}

/// Where a sample would be no smaller, in a frozen loss, without autodiff, and in what is seen on the way.
#[test]
fn all_classes_are_compared_with_where_nothing_is_trained() {
    for backend in backends() {
        let whole = config(1.0).init(&backend.device);
        let sampled = config(RATE).init(&backend.device);
        let expected = run(&whole, &backend, &[VOCABULARY], None);
        for loss in [config(0.95).init(&backend.device), sampled.clone().freeze()] {
            assert_eq!(run(&loss, &backend, &[VOCABULARY], None), expected, "{}", backend.name);
        }
        assert_ne!(run(&sampled, &backend, &[VOCABULARY], None)[0], expected[0]);
        let seen = step(&backend, |hidden, weight, bias| {
            sampled.forward_output(hidden, layer(&weight, &bias, &[VOCABULARY]), labels(&backend)).losses
        });
        assert_eq!(seen, expected, "{}", backend.name);

        let beside = Backend { name: backend.name.clone(), device: backend.device.clone().inner(), ..backend };
        let (hidden, weight) = (tensor(&beside, [6, DIM], 1), tensor::<2>(&beside, [VOCABULARY, DIM], 2));
        let layer = OutputLayer::new(weight, Some(tensor(&beside, [VOCABULARY], 3)));
        let losses = sampled.forward_no_reduction::<2, 1>(hidden, layer, labels(&beside));
        assert_close(&beside.name, &host(losses), &expected[0], tolerance(&beside));
    }
}

#[test]
fn a_batch_without_a_token_or_a_class_has_no_loss() {
    for backend in backends() {
        for tokens in [0, 3] {
            let options = (&backend.device, backend.dtype);
            let hidden = Tensor::<2>::full([tokens, DIM], f64::NAN, options).require_grad();
            let weight = tensor::<2>(&backend, [VOCABULARY, DIM], 2).require_grad();
            let labels = Tensor::<1, Int>::full([tokens], -1, &backend.device);
            let loss = config(RATE).init(&backend.device);
            let layer = || OutputLayer::new(weight.clone(), None);
            assert_eq!(loss.forward_no_reduction::<2, 1>(hidden.clone(), layer(), labels.clone()).dims(), [tokens]);
            let value = loss.forward(hidden.clone(), layer(), labels, Reduction::Mean);
            let gradients = value.backward();
            assert_eq!(host(value), [0.0], "{tokens} on {}", backend.name);
            for gradient in [hidden.grad(&gradients), weight.grad(&gradients)] {
                let slopes = host(gradient.expect("a gradient"));
                assert!(slopes.iter().all(|&slope| slope == 0.0), "{tokens} on {}", backend.name);
            }
        }
    }
}
