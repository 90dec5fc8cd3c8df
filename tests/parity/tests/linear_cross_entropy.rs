//! Cross-entropy of a layer beside cross-entropy of its logits: every setting with every kind of layer.

use burn::module::Param;
use burn::nn::loss::Reduction;
use burn::nn::{EmbeddingConfig, LinearLayout};
use burn::tensor::{Int, Tensor, TensorData};
use burn_losses::classification::{
    CrossEntropyLossConfig, LinearCrossEntropyLoss, LinearCrossEntropyLossConfig, LinearCrossEntropyOutput, OutputLayer,
};
use burn_losses::heads::Streaming;
use burn_losses::labels::LabelPolicy;
use burn_losses_kernels::scores::{LogitLoss, logit_loss};
use parity::{Backend, backends};
use support::close::{Tolerance, assert_close, assert_finite};
use support::table::host;

use super::tokens::{
    CLASSES, DIM, IGNORED, Outcome, TOKENS, assert_finite_step, assert_half_is_computed_in_single,
    assert_parts_are_the_whole, labels, step, tensor,
};

fn tolerance(backend: &Backend) -> Tolerance {
    if backend.is_double() { Tolerance::new(1e-12, 1e-12) } else { Tolerance::new(2e-5, 2e-5) }
}

fn policy() -> LabelPolicy {
    LabelPolicy::new().with_ignore_label(Some(IGNORED))
}

/// Blocks that the classes do not fill, and none and all scores kept.
fn streamings() -> [Streaming; 3] {
    [Streaming::new().with_kept_bytes(0).with_block(Some(10)), Streaming::new(), Streaming::new().with_kept_bytes(0)]
}

#[test]
fn it_is_the_cross_entropy_of_the_logits() {
    let weights: Vec<f64> = (0..CLASSES).map(|class| 0.25 * (class % 5) as f64).collect();
    for backend in backends() {
        let mut compared = 0;
        for (biased, layout) in [
            (true, LinearLayout::Row),
            (false, LinearLayout::Row),
            (true, LinearLayout::Col),
            (false, LinearLayout::Col),
        ] {
            for smoothing in [0.0, 0.15] {
                for class_weights in [None, Some(weights.clone().into())] {
                    for reduction in [Reduction::Mean, Reduction::Sum, Reduction::BatchMean] {
                        let whole = CrossEntropyLossConfig::new()
                            .with_class_dim(-1)
                            .with_label_smoothing(smoothing)
                            .with_class_weights(class_weights.clone())
                            .with_labels(policy())
                            .init(&backend.device);
                        let expected = step(&backend, biased, layout, |hidden, layer| {
                            whole.forward(layer.forward(hidden), labels(&backend), reduction.clone())
                        });
                        let config = LinearCrossEntropyLossConfig::new()
                            .with_label_smoothing(smoothing)
                            .with_class_weights(class_weights.clone())
                            .with_labels(policy());
                        let all = &streamings()[..if backend.is_gpu() { 1 } else { streamings().len() }];
                        for &streaming in all {
                            let loss = config.clone().with_streaming(streaming).init(&backend.device);
                            let actual = step(&backend, biased, layout, |hidden, layer| {
                                loss.forward(hidden, layer, labels(&backend), reduction.clone())
                            });
                            let what = format!(
                                "{biased} {layout:?} {smoothing} {} {reduction:?} {streaming:?} on {}",
                                class_weights.is_some(),
                                backend.name
                            );
                            for (actual, expected) in actual.iter().zip(&expected) {
                                assert_close(&what, actual, expected, tolerance(&backend));
                            }
                            compared += 1;
                        }
                    }
                }
            }
        }
        assert!(compared >= 48);
    }
}

/// Many tokens, which are more than one chunk, of which every fifth is padding or none.
struct Many {
    hidden: Tensor<2>,
    weight: Tensor<2>,
    bias: Option<Tensor<1>>,
    labels: Tensor<1, Int>,
}

const MANY: usize = 400;

impl Many {
    fn new(backend: &Backend, biased: bool, transposed: bool, padded: bool) -> Self {
        let label = |token: usize| if padded && token % 5 == 4 { IGNORED } else { (token * 29 % CLASSES) as i64 };
        let labels: Vec<i64> = (0..MANY).map(label).collect();
        let weight = tensor::<2>(backend, [CLASSES, DIM], 2);
        // The same numbers, as a layer of Burn has them.
        let weight = if transposed { weight.transpose().mul_scalar(1.0).transpose() } else { weight };
        Self {
            hidden: tensor::<2>(backend, [MANY, DIM], 1),
            weight,
            bias: biased.then(|| tensor::<1>(backend, [CLASSES], 3)),
            labels: Tensor::from_data(labels.as_slice(), &backend.device),
        }
    }

    /// The loss and the gradients of what is tracked, for a loss that is a part of a larger one.
    fn step(self, loss: &LinearCrossEntropyLoss, reduction: Reduction, [of_hidden, of_layer]: [bool; 2]) -> Outcome {
        let hidden = if of_hidden { self.hidden.require_grad() } else { self.hidden };
        let weight = if of_layer { self.weight.require_grad() } else { self.weight };
        let bias = self.bias.map(|bias| if of_layer { bias.require_grad() } else { bias });
        let layer = OutputLayer::new(weight.clone(), bias.clone());
        let loss = loss.forward(hidden.clone(), layer, self.labels, reduction);
        let gradients = loss.clone().mul_scalar(0.75).backward();
        let of_bias = bias.and_then(|bias| bias.grad(&gradients));
        let numbers = |gradient: Option<Tensor<2>>| gradient.map_or_else(Vec::new, host);
        let of_bias = of_bias.map_or_else(Vec::new, host);
        [host(loss), numbers(hidden.grad(&gradients)), numbers(weight.grad(&gradients)), of_bias]
    }
}

/// Gradients of the forward pass are those of a second look at the logits, for every setting.
#[test]
fn one_pass_says_what_two_say() {
    let weights: Vec<f64> = (0..CLASSES).map(|class| 0.25 * (class % 5) as f64).collect();
    for backend in backends().iter().filter(|backend| backend.is_double() && !backend.is_gpu()) {
        let mut compared = 0;
        for number in 0..3 * 64 {
            let is = |bit: usize| number >> bit & 1 == 1;
            let reduction = [Reduction::Mean, Reduction::Sum, Reduction::BatchMean][number / 64].clone();
            let config = LinearCrossEntropyLossConfig::new()
                .with_label_smoothing(if is(0) { 0.15 } else { 0.0 })
                .with_class_weights(is(1).then(|| weights.clone().into()))
                .with_soft_cap(is(2).then_some(1.5))
                .with_z_loss(if is(3) { 0.01 } else { 0.0 })
                .with_labels(policy());
            let (biased, padded) = (is(4), is(5));
            let run = |kept_bytes: usize, transposed: bool| {
                let streaming = Streaming::new().with_kept_bytes(kept_bytes);
                let loss = config.clone().with_streaming(streaming).init(&backend.device);
                Many::new(backend, biased, transposed, padded).step(&loss, reduction.clone(), [true; 2])
            };
            let twice = run(0, false);
            for transposed in [false, true] {
                let once = run(32 << 20, transposed);
                let what = format!("{number} {transposed} {reduction:?} on {}", backend.name);
                for (once, twice) in once.iter().zip(&twice) {
                    assert_eq!(once.is_empty(), twice.is_empty(), "{what}");
                    assert_close(&what, once, twice, Tolerance::new(1e-12, 1e-12));
                }
                compared += 1;
            }
            if number % 16 == 0 {
                assert_eq!(run(32 << 20, false), run(32 << 20, false), "{number}: not the same again");
            }
        }
        assert_eq!(compared, 384);
    }
}

/// What is not tracked has no gradient and changes no other; without any, the loss is the same.
#[test]
fn one_pass_computes_what_is_wanted() {
    for backend in backends().iter().filter(|backend| !backend.is_gpu()) {
        let loss = LinearCrossEntropyLossConfig::new().with_label_smoothing(0.1).with_labels(policy());
        let loss = loss.init(&backend.device);
        let run = |tracked: [bool; 2]| Many::new(backend, true, false, true).step(&loss, Reduction::Mean, tracked);
        let [value, of_hidden, of_weight, of_bias] = run([true, true]);
        let none = Vec::new();
        assert_eq!(run([true, false]), [value.clone(), of_hidden, none.clone(), none.clone()]);
        assert_eq!(run([false, true]), [value.clone(), none, of_weight, of_bias]);
        let Many { hidden, weight, bias, labels } = Many::new(backend, true, false, true);
        let untracked = loss.forward(hidden, OutputLayer::new(weight, bias), labels, Reduction::Mean);
        assert_close(&backend.name, &host(untracked), &value, tolerance(backend));
    }
}

/// A padded token is not looked at.
#[test]
fn one_pass_reads_no_padding() {
    for backend in backends().iter().filter(|backend| !backend.is_gpu()) {
        let loss = LinearCrossEntropyLossConfig::new().with_z_loss(0.1).with_labels(policy()).init(&backend.device);
        let run = |padding: f64| {
            let many = Many::new(backend, false, false, true);
            let is_padding = many.labels.clone().equal_scalar(IGNORED).unsqueeze_dim::<2>(1).expand([MANY, DIM]);
            let many = Many { hidden: many.hidden.clone().mask_fill(is_padding, padding).detach(), ..many };
            many.step(&loss, Reduction::Mean, [true; 2])
        };
        let nothing = run(0.0);
        assert_eq!(run(f64::NAN), nothing);
        assert_finite(&backend.name, &nothing[2]);
    }
}

/// The way is taken where it is meant to be, and not where its chunks would be too small.
#[test]
fn one_pass_is_taken_on_host_memory() {
    for backend in backends() {
        let taken = |kept_bytes: usize| {
            let Many { hidden, weight, labels, .. } = Many::new(&backend, false, false, false);
            let ones = || Tensor::<1>::ones([MANY], (&backend.device, backend.dtype));
            let loss = LogitLoss {
                bias: None,
                cap: None,
                weights: None,
                of_target: ones(),
                of_all: ones().mul_scalar(0.0),
                of_square: ones().mul_scalar(0.0),
                streaming: Streaming::new().with_kept_bytes(kept_bytes),
            };
            logit_loss(hidden, weight, labels, loss).is_some()
        };
        assert_eq!(taken(32 << 20), !backend.is_gpu(), "on {}", backend.name);
        assert!(!taken(0), "on {}", backend.name);
    }
}

fn output(loss: &LinearCrossEntropyLoss, backend: &Backend, layer: OutputLayer) -> LinearCrossEntropyOutput {
    loss.forward_output(tensor::<3>(backend, [3, 7, DIM], 1), layer, labels(backend))
}

/// A tied embedding is the transposed layer, and what is seen on the way is what the logits say.
#[test]
fn an_embedding_is_a_layer_and_the_pass_sees_its_logits() {
    for backend in backends() {
        let mut embedding = EmbeddingConfig::new(CLASSES, DIM).init(&backend.device);
        embedding.weight = Param::from_tensor(tensor(&backend, [CLASSES, DIM], 2));
        let cap = 1.5;
        let config = LinearCrossEntropyLossConfig::new().with_labels(policy()).with_soft_cap(Some(cap));
        for &streaming in &streamings()[..if backend.is_gpu() { 1 } else { 3 }] {
            let loss = config.clone().with_streaming(streaming).init(&backend.device);
            let LinearCrossEntropyOutput { log_sum_exp, predictions, correct, losses } =
                output(&loss, &backend, (&embedding).into());

            let logits = tensor::<3>(&backend, [3, 7, DIM], 1).reshape([TOKENS, DIM]);
            let logits = host(logits.matmul(embedding.weight.val().transpose()));
            let labels = host(labels(&backend).float());
            let (log_sum_exp, predictions, losses) = (host(log_sum_exp), host(predictions.float()), host(losses));
            let correct = correct.try_into_vec_as::<bool>().expect("numbers");
            for (token, logits) in logits.chunks(CLASSES).enumerate() {
                let logits: Vec<f64> = logits.iter().map(|logit| cap * (logit / cap).tanh()).collect();
                let largest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let best = logits.iter().position(|&logit| logit == largest).expect("one is the largest");
                let lse = logits.iter().map(|logit| logit.exp()).sum::<f64>().ln();
                let what = format!("token {token} {streaming:?} on {}", backend.name);
                if labels[token] < 0.0 {
                    assert_eq!([predictions[token], log_sum_exp[token], losses[token]], [-1.0, 0.0, 0.0], "{what}");
                    assert!(!correct[token], "{what}");
                    continue;
                }
                assert_eq!(predictions[token], best as f64, "{what}");
                assert_close(&what, &[log_sum_exp[token]], &[lse], tolerance(&backend));
                assert_eq!(correct[token], labels[token] == best as f64, "{what}");
                let expected = lse - logits[labels[token] as usize];
                assert_close(&what, &[losses[token]], &[expected], tolerance(&backend));
            }
            // A test of what is right must see both.
            assert!(correct.contains(&false));
        }
    }
}

/// By hand: a prior of 3 to 1 moves equal logits to probabilities 3/4 and 1/4.
#[test]
fn an_adjustment_is_added_to_the_logits() {
    for backend in backends() {
        let options = (&backend.device, backend.dtype);
        let layer = || OutputLayer::new(Tensor::zeros([2, 3], options), None);
        let prior = Tensor::<1>::from_data(TensorData::from([0.75_f64.ln(), 0.25_f64.ln()]), options);
        let loss = LinearCrossEntropyLossConfig::new().init(&backend.device);
        let labels = || Tensor::<1, Int>::from_ints([0, 1], &backend.device);
        let hidden = || Tensor::<2>::ones([2, 3], options);
        let losses = loss.forward_no_reduction(hidden(), layer().with_adjustment(prior.clone()), labels());
        assert_close(&backend.name, &host(losses), &[-0.75_f64.ln(), -0.25_f64.ln()], tolerance(&backend));
        // Beside a bias that undoes it.
        let biased = OutputLayer::new(Tensor::zeros([2, 3], options), Some(prior.clone().neg()));
        let losses = loss.forward_no_reduction(hidden(), biased.with_adjustment(prior), labels());
        assert_close(&backend.name, &host(losses), &[core::f64::consts::LN_2; 2], tolerance(&backend));
    }
}

/// Items of a batch as the classes of its queries: the in-batch softmax of Yi et al., 2019, equation 3, in plain loops.
#[test]
fn items_that_are_drawn_often_are_corrected() {
    for backend in backends() {
        let (queries, items) = (tensor::<2>(&backend, [4, DIM], 1), tensor::<2>(&backend, [4, DIM], 2).require_grad());
        let frequencies = [0.5_f64, 0.02, 0.3, 0.18];
        let correction = frequencies.map(|frequency| -frequency.ln());
        let correction = Tensor::<1>::from_data(TensorData::from(correction), (&backend.device, backend.dtype));
        let layer = OutputLayer::new(items.clone(), None).with_adjustment(correction);
        let labels = Tensor::<1, Int>::arange(0..4, &backend.device);
        let losses = LinearCrossEntropyLossConfig::new().init(&backend.device);
        let losses = losses.forward_no_reduction::<2, 1>(queries.clone(), layer, labels);
        let gradients = losses.clone().sum().backward();
        let slopes = host(items.grad(&gradients).expect("a gradient"));

        let (queries, items) = (host(queries), host(items));
        let (queries, items) = (queries.chunks(DIM).collect::<Vec<_>>(), items.chunks(DIM).collect::<Vec<_>>());
        let score = |query: usize, item: usize| {
            let product: f64 = queries[query].iter().zip(items[item]).map(|(a, b)| a * b).sum();
            (product - frequencies[item].ln()).exp()
        };
        let share = |query: usize, item: usize| score(query, item) / (0..4).map(|item| score(query, item)).sum::<f64>();
        let expected: Vec<f64> = (0..4).map(|query| -share(query, query).ln()).collect();
        assert_close(&backend.name, &host(losses), &expected, tolerance(&backend));
        let slope = |item: usize, column: usize| -> f64 {
            (0..4).map(|query| (share(query, item) - f64::from(query == item)) * queries[query][column]).sum()
        };
        let expected: Vec<f64> = (0..4 * DIM).map(|place| slope(place / DIM, place % DIM)).collect();
        assert_close(&backend.name, &slopes, &expected, tolerance(&backend));
    }
}

#[test]
fn half_precision_is_computed_in_single() {
    assert_half_is_computed_in_single(|backend, hidden, layer| {
        let labels = Tensor::<1, Int>::from_ints([3, 36, -1, 0], &backend.device);
        let loss = LinearCrossEntropyLossConfig::new().with_label_smoothing(0.1).init(&backend.device);
        loss.forward(hidden, layer, labels, Reduction::Mean)
    });
}

/// Hidden states and weights of any size: a cap keeps the logits, without one they are as large as they are.
#[test]
fn logits_far_apart_have_finite_losses_and_gradients() {
    for backend in backends() {
        for (size, cap) in [(1e-20, None), (1e4, None), (1e15, Some(30.0)), (1e-20, Some(1e-3)), (1e4, Some(1e6))] {
            let config = LinearCrossEntropyLossConfig::new().with_label_smoothing(0.1).with_z_loss(1e-4);
            let loss = config.with_soft_cap(cap).init(&backend.device);
            let hidden = tensor::<2>(&backend, [6, DIM], 1).mul_scalar(size).detach().require_grad();
            let weight = tensor::<2>(&backend, [CLASSES, DIM], 2).require_grad();
            let labels = Tensor::<1, Int>::from_ints([3, 36, -1, 0, 7, 7], &backend.device);
            let layer = OutputLayer::new(weight.clone(), None);
            let value = loss.forward(hidden.clone(), layer, labels, Reduction::Mean);
            let what = format!("{size:e} {cap:?} on {}", backend.name);
            assert_finite_step(&what, value, &hidden, &weight);
        }
    }
}

#[test]
fn a_vocabulary_in_parts_is_the_whole() {
    let weights: Vec<f64> = (0..CLASSES).map(|class| 0.5 + (class % 3) as f64).collect();
    let config = LinearCrossEntropyLossConfig::new()
        .with_labels(policy())
        .with_label_smoothing(0.1)
        .with_soft_cap(Some(2.0))
        .with_class_weights(Some(weights.into()));
    assert_parts_are_the_whole(tolerance, |[backend, _], hidden, layer| {
        let labels = labels(backend).reshape([TOKENS]);
        let output = config.init(&backend.device).forward_output(hidden, layer, labels);
        let LinearCrossEntropyOutput { losses, log_sum_exp, predictions, correct } = output;
        let value = losses.clone().sum() + log_sum_exp.clone().sum();
        (value, vec![losses, log_sum_exp, predictions.float(), correct.int().float()])
    });
}
