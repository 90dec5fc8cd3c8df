//! A small language model with tied weights, trained twice: with `LinearCrossEntropyLoss`, and with Burn's cross-entropy of all
//! logits. The curves are the same; the memory of a step is not.
//!
//! ```sh
//! cargo run -p burn-losses --example language_model --features flex,optim
//! ```
//!
//! Its last line: `after 20 steps: loss 6.047 and 6.047; a step takes 4 and 30 MiB`

use std::fs;

use burn::module::Module;
use burn::nn::loss::CrossEntropyLossConfig;
use burn::nn::{Embedding, EmbeddingConfig, Linear, LinearConfig, Relu};
use burn::optim::{AdamConfig, GradientsParams};
use burn::tensor::{Device, Int, Tensor};
use burn_losses::classification::{LinearCrossEntropyLossConfig, Reduction};
use burn_losses::heads::Streaming;

/// What it learns to write: a text that stays as it is, and the numbers with it.
const TEXT: &str = include_str!("../LICENSE-APACHE");
/// A token is two characters, each one of these or the last.
const CHARACTERS: &str = " abcdefghijklmnopqrstuvwxyz0123456789.,:;!?'\"()[]{}<>=+-*/_&#|\n@";
const VOCABULARY: usize = 64 * 64;
const WIDTH: usize = 64;
/// Tokens it sees before the one it is asked for.
const CONTEXT: usize = 4;
const BATCH: usize = 1024;
const STEPS: usize = 20;

#[derive(Module, Debug)]
struct LanguageModel {
    tokens: Embedding,
    first: Linear,
    activation: Relu,
    second: Linear,
}

impl LanguageModel {
    fn new(device: &Device) -> Self {
        Self {
            tokens: EmbeddingConfig::new(VOCABULARY, WIDTH).init(device),
            first: LinearConfig::new(CONTEXT * WIDTH, 2 * WIDTH).init(device),
            activation: Relu::new(),
            second: LinearConfig::new(2 * WIDTH, WIDTH).init(device),
        }
    }

    /// `[batch, WIDTH]` from `[batch, CONTEXT]`; the embedding of the tokens is the output layer, too.
    fn hidden(&self, context: Tensor<2, Int>) -> Tensor<2> {
        let [batch, _] = context.dims();
        let seen = self.tokens.forward(context).reshape([batch, CONTEXT * WIDTH]);
        self.second.forward(self.activation.forward(self.first.forward(seen)))
    }
}

fn tokens() -> Vec<i64> {
    let last = CHARACTERS.len() as i64 - 1;
    let place = |letter: char| CHARACTERS.find(letter.to_ascii_lowercase()).map_or(last, |place| place as i64);
    let places: Vec<i64> = TEXT.chars().map(place).map(|place| place.min(63)).collect();
    places.chunks_exact(2).map(|pair| pair[0] * 64 + pair[1]).collect()
}

/// The contexts of a step, and what comes after them.
fn batch(tokens: &[i64], step: usize, device: &Device) -> (Tensor<2, Int>, Tensor<1, Int>) {
    let starts = (0..BATCH).map(|row| (step * BATCH + row) * 7919 % (tokens.len() - CONTEXT));
    let windows: Vec<&[i64]> = starts.map(|start| &tokens[start..=start + CONTEXT]).collect();
    let contexts: Vec<i64> = windows.iter().flat_map(|window| &window[..CONTEXT]).copied().collect();
    let next: Vec<i64> = windows.iter().map(|window| window[CONTEXT]).collect();
    let contexts = Tensor::<1, Int>::from_data(contexts.as_slice(), device).reshape([BATCH, CONTEXT]);
    (contexts, Tensor::from_data(next.as_slice(), device))
}

/// A figure of this process in MiB; 0 where Linux does not tell.
fn memory(field: &str) -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    line.and_then(|line| line.split_whitespace().nth(1)?.parse::<f64>().ok()).unwrap_or(0.0) / 1024.0
}

/// The losses of the steps, and what forward and backward of the last one took, in MiB.
fn train(loss: impl Fn(&LanguageModel, Tensor<2>, Tensor<1, Int>) -> Tensor<1>) -> (Vec<f32>, f64) {
    let device = Device::flex().autodiff();
    device.seed(42);
    let mut model = LanguageModel::new(&device);
    let mut optimizer = AdamConfig::new().init();
    let tokens = tokens();
    let (mut losses, mut taken) = (Vec::new(), 0.0);
    for step in 0..STEPS {
        let (context, next) = batch(&tokens, step, &device);
        // The peak so far is set back.
        fs::write("/proc/self/clear_refs", "5").ok();
        let before = memory("VmRSS");
        let value = loss(&model, model.hidden(context), next);
        losses.push(value.clone().into_scalar::<f32>());
        let gradients = value.backward();
        taken = memory("VmHWM") - before;
        model = optimizer.step(2e-3, model.clone(), GradientsParams::from_grads(gradients, &model));
    }
    (losses, taken)
}

fn main() {
    // No score is kept for the backward pass: the least memory.
    let streaming = Streaming::new().with_kept_bytes(0);
    let linear = LinearCrossEntropyLossConfig::new().with_streaming(streaming).init(&Device::flex());
    let (streamed, small) =
        train(move |model, hidden, next| linear.forward(hidden, &model.tokens, next, Reduction::Mean));
    let (whole, large) = train(|model, hidden, next| {
        let logits = hidden.matmul(model.tokens.weight.val().transpose());
        CrossEntropyLossConfig::new().init(&logits.device()).forward(logits, next)
    });

    for step in (0..STEPS).step_by(5) {
        println!("step {step:>2}: loss {:.4} streamed, {:.4} with all logits", streamed[step], whole[step]);
    }
    let farthest = streamed.iter().zip(&whole).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(farthest < 1e-3, "the curves are {farthest} apart");
    let [one, other] = [streamed[STEPS - 1], whole[STEPS - 1]];
    println!("after {STEPS} steps: loss {one:.3} and {other:.3}; a step takes {small:.0} and {large:.0} MiB");
}
