use burn::config::Config;
use burn::module::Module;
use burn::nn::loss::Reduction;
use burn::tensor::{Bool, DType, Device, Int, Tensor};
use burn_losses_kernels::math::{cast_to, comparable, soft_cap, softplus};
use burn_losses_kernels::scores::{LogitLoss, Streaming, logit_loss};

use super::class_weights::{ClassWeight, ClassWeights};
use super::output_layer::{Figures, OutputLayer, Part, widened};
use crate::class_sample::draw;
use crate::labels::{ClassLabels, LabelPolicy, SafeLabels, silence};
use crate::random::{Draws, first_draw};
use crate::reduction::{Divisor, factor, reduce};
use crate::shape::check_shape;

const NAME: &str = "LinearCrossEntropyLoss";

/// Settings of [`LinearCrossEntropyLoss`].
#[derive(Config, Debug)]
pub struct LinearCrossEntropyLossConfig {
    /// How much every class counts, in `[0, 1e6]`: one number for all, or one each. `None` is 1.
    /// Default: `None`.
    #[config(default = "None")]
    pub class_weights: Option<ClassWeight>,
    /// The share of the target that is spread over all classes; in `[0, 1]`.
    /// Default: `0.0`.
    #[config(default = 0.0)]
    pub label_smoothing: f64,
    /// Logits become `soft_cap·tanh(logit / soft_cap)`; in `[1e-3, 1e6]`. Gemma 2 has 30. `None` leaves them.
    /// Default: `None`.
    #[config(default = "None")]
    pub soft_cap: Option<f64>,
    /// What the square of the log-sum-exp counts, which keeps logits from drifting; in `[0, 1e6]`. PaLM has `1e-4`.
    /// Default: `0.0`.
    #[config(default = 0.0)]
    pub z_loss: f64,
    /// The share of the classes that tokens are compared with in training, besides those of their labels; in `(0, 1]`. Below 1
    /// it is a sampled softmax, see [`LinearCrossEntropyLoss`], without smoothing and soft cap.
    /// Default: `1.0`.
    #[config(default = 1.0)]
    pub sample_rate: f64,
    /// What the classes of a sample follow from, together with the number of draws before.
    /// Default: `0`.
    #[config(default = 0)]
    pub seed: u64,
    /// Which labels mean "no class", and what is done about bad ones.
    /// Default: `LabelPolicy::new()`.
    #[config(default = "LabelPolicy::new()")]
    pub labels: LabelPolicy,
    /// How memory is traded for time; changes no result.
    /// Default: `Streaming::new()`.
    #[config(default = "Streaming::new()")]
    pub streaming: Streaming,
}

impl LinearCrossEntropyLossConfig {
    /// Builds the loss; the draws of a sample are on `device`.
    ///
    /// # Panics
    ///
    /// If a field is out of its range, or `sample_rate` is below 1 with label smoothing or a soft cap.
    #[track_caller]
    pub fn init(&self, device: &Device) -> LinearCrossEntropyLoss {
        let Self { class_weights, label_smoothing, soft_cap, z_loss, sample_rate, seed, labels, streaming } =
            self.clone();
        assert!(
            (0.0..=1.0).contains(&label_smoothing),
            "{NAME}: label_smoothing must be in [0, 1], got {label_smoothing}"
        );
        if let Some(soft_cap) = soft_cap {
            assert!((1e-3..=1e6).contains(&soft_cap), "{NAME}: soft_cap must be in [1e-3, 1e6], got {soft_cap}");
        }
        assert!((0.0..=1e6).contains(&z_loss), "{NAME}: z_loss must be in [0, 1e6], got {z_loss}");
        assert!(sample_rate > 0.0 && sample_rate <= 1.0, "{NAME}: sample_rate must be in (0, 1], got {sample_rate}");
        if sample_rate < 1.0 {
            assert!(label_smoothing == 0.0, "{NAME}: label_smoothing is over all classes, so sample_rate must be 1");
            assert!(soft_cap.is_none(), "{NAME}: soft_cap would bend what corrects a sample, so sample_rate must be 1");
        }
        let draws = (sample_rate < 1.0).then(|| first_draw(seed, device));
        assert!(streaming.block != Some(0), "{NAME}: streaming.block must be >= 1, got 0");
        let class_weights = ClassWeights::new(NAME, "class_weights", class_weights, 1e6);
        let labels = ClassLabels::new(NAME, &labels);

        LinearCrossEntropyLoss {
            class_weights,
            label_smoothing,
            soft_cap,
            z_loss,
            sample_rate,
            draws,
            labels,
            streaming,
        }
    }
}

/// What the pass over the classes says of every token, `[tokens]` each, in the order of the labels.
#[derive(Clone, Debug)]
pub struct LinearCrossEntropyOutput {
    /// The loss of the token; 0 where its label means no class.
    pub losses: Tensor<1>,
    /// `log(sum over classes of exp(logit))`, with a gradient; 0 where the label means no class.
    pub log_sum_exp: Tensor<1>,
    /// The class of the largest logit, the first of equals; -1 where the label means no class.
    pub predictions: Tensor<1, Int>,
    /// Whether that is the label; false where the label means no class.
    pub correct: Tensor<1, Bool>,
}

/// Softmax cross-entropy of a linear layer, without its logits: layer and loss in one pass over blocks of classes.
///
/// ```text
/// logit[i, c] = <hidden[i], weight[c]> + bias[c], through soft_cap·tanh(logit / soft_cap) if there is a cap
/// lse[i]      = log(sum over c of exp(logit[i, c]))
/// target[i, c] = (1 - label_smoothing)·(c == labels[i]) + label_smoothing / classes
/// loss[i]     = sum over c of class_weights[c]·target[i, c]·(lse[i] - logit[i, c]) + z_loss·lse[i]²
/// mean        = sum(loss) / sum over i of class_weights[labels[i]]
/// ```
///
/// It is [`CrossEntropyLoss`](super::CrossEntropyLoss) of the layer's output, to rounding, and needs no `[tokens, classes]`
/// memory. Forward and backward compute the logits block by block; in host memory, [`forward`](Self::forward) of what is tracked
/// computes the gradient at once, a chunk of tokens after the other, and keeps it for the backward pass. So ask a loss that needs
/// no gradient of a model's `valid()`. Half precision is computed in `f32`, and a gradient is summed before it is rounded.
///
/// # A sample of the classes
///
/// With a [`sample_rate`](LinearCrossEntropyLossConfig::sample_rate) below 1 a batch in training is compared with a random sample of
/// the classes, each drawn with the same probability and none twice:
///
/// ```text
/// sample = the classes of the batch, and round_up(sample_rate·classes) drawn ones
/// lse[i] = log(sum over the classes of the batch of exp(logit[i, c])
///            + sum over the other drawn ones of exp(logit[i, c] + log(classes / round_up(sample_rate·classes))))
/// ```
///
/// What is added is minus the logarithm of how often a class is expected in the sample (logQ), so the sum of exponentials is that
/// of all classes in the mean over all draws; its logarithm is a little less. No other row of the layer has a gradient; the gradient
/// is dense. The draws are as in [`ClassCenters`](crate::heads::ClassCenters): state on the device, the same on every backend.
/// Without autodiff (`valid()`), in a frozen loss, where the sample would be no smaller, and in
/// [`forward_output`](Self::forward_output) all classes are compared with.
///
/// # When to take it
///
/// For a language model or a classifier of many classes, where the logits and their gradient are the largest tensors of the
/// step. For a thousand classes, or where you need the logits themselves, take `CrossEntropyLoss`.
///
/// # Source
///
/// Wijmans et al.: [Cut Your Losses in Large-Vocabulary Language Models](https://arxiv.org/abs/2411.09009), 2024, section 4.
/// z-loss: Chowdhery et al.: [PaLM](https://arxiv.org/abs/2204.02311), 2022, section 5. Cap: [Gemma
/// 2](https://arxiv.org/abs/2408.00118), 2024, section 2. Adjustment: Menon et al.: [Long-tail learning via logit
/// adjustment](https://arxiv.org/abs/2007.07314), 2020, equation 10. Sample: Bengio and Senécal: [Adaptive Importance Sampling to
/// Accelerate Training of a Neural Probabilistic Language Model](https://ieeexplore.ieee.org/document/4443871), 2008, section III;
/// Jean et al.: [On Using Very Large Target Vocabulary for Neural Machine Translation](https://arxiv.org/abs/1412.2007), 2015,
/// section 3.
///
/// # Example
///
/// ```
/// use burn::nn::LinearConfig;
/// use burn::tensor::{Device, Distribution, Int, Tensor};
/// use burn_losses::classification::{LinearCrossEntropyLossConfig, Reduction};
///
/// let device = Device::default();
/// // Two sequences of three tokens, and a vocabulary of 50.
/// let output = LinearConfig::new(8, 50).init(&device);
/// let hidden = Tensor::<3>::random([2, 3, 8], Distribution::Default, &device);
/// // The last token of the second sequence is padding.
/// let labels = Tensor::<2, Int>::from_ints([[4, 17, 3], [0, 49, -1]], &device);
/// let loss = LinearCrossEntropyLossConfig::new().init(&device);
/// let streamed = loss.forward(hidden.clone(), &output, labels.clone(), Reduction::Mean).into_scalar::<f32>();
///
/// // The same with all logits in memory.
/// # use burn_losses::classification::CrossEntropyLossConfig;
/// let cross_entropy = CrossEntropyLossConfig::new().with_class_dim(-1).init(&device);
/// let whole = cross_entropy.forward(output.forward(hidden), labels, Reduction::Mean).into_scalar::<f32>();
/// assert!((streamed - whole).abs() < 1e-5);
/// ```
#[derive(Module, Debug)]
#[module(custom_display)]
pub struct LinearCrossEntropyLoss {
    #[module(skip)]
    class_weights: Option<ClassWeights>,
    label_smoothing: f64,
    #[module(skip)]
    soft_cap: Option<f64>,
    z_loss: f64,
    sample_rate: f64,
    /// The two halves of the seed and the number of draws, `[3]`; nothing where all classes are compared with.
    draws: Option<Draws>,
    #[module(skip)]
    labels: ClassLabels,
    #[module(skip)]
    streaming: Streaming,
}

impl LinearCrossEntropyLoss {
    /// The reduced loss; 0 when no token has a class. A mean is weighted by class, `BatchMean` divides the sum by the first
    /// axis.
    ///
    /// # Shapes
    ///
    /// - hidden: `[tokens, dim]`, `[batch, length, dim]` or any other with the features last
    /// - layer: `&Linear`, `&Embedding` or an [`OutputLayer`]
    /// - labels: the shape of `hidden` without its last axis
    /// - output: `[1]`
    ///
    /// # Panics
    ///
    /// If the shapes do not fit, there is not one weight per class, or by the [`LabelPolicy`].
    #[track_caller]
    pub fn forward<const D: usize, const L: usize>(
        &self,
        hidden: Tensor<D>,
        layer: impl Into<OutputLayer>,
        labels: Tensor<L, Int>,
        reduction: Reduction,
    ) -> Tensor<1> {
        let tokens = Tokens::new(&self.labels, hidden, layer.into(), labels);
        let (batch, dtype) = (tokens.batch, tokens.dtype);
        let weights = self.weights(&tokens);
        if tokens.hidden.dims()[0] == 0 {
            return tokens.layer.zero(tokens.hidden);
        }
        let tokens = self.sampled(tokens);
        if let Some(loss) = self.in_one_pass(&tokens, &weights, reduction.clone()) {
            return cast_to(loss, dtype);
        }
        let losses = self.output(tokens, weights.clone()).losses;
        cast_to(reduce(reduction, losses, batch, Divisor::Weights(weights)), dtype)
    }

    /// The loss of every token, in the shape of the labels; 0 where a label means no class.
    ///
    /// # Shapes and panics
    ///
    /// As [`forward`](Self::forward); output as labels.
    #[track_caller]
    pub fn forward_no_reduction<const D: usize, const L: usize>(
        &self,
        hidden: Tensor<D>,
        layer: impl Into<OutputLayer>,
        labels: Tensor<L, Int>,
    ) -> Tensor<L> {
        let (shape, dtype) = (labels.dims(), hidden.dtype());
        let tokens = Tokens::new(&self.labels, hidden, layer.into(), labels);
        let weights = self.weights(&tokens);
        cast_to(self.output(self.sampled(tokens), weights).losses, dtype).reshape(shape)
    }

    /// The loss of every token and what else the same pass says: log-sum-exp, prediction, and whether that is right.
    ///
    /// # Shapes and panics
    ///
    /// As [`forward`](Self::forward); output `[tokens]` each, in `f32` where `hidden` is of half precision.
    #[track_caller]
    pub fn forward_output<const D: usize, const L: usize>(
        &self,
        hidden: Tensor<D>,
        layer: impl Into<OutputLayer>,
        labels: Tensor<L, Int>,
    ) -> LinearCrossEntropyOutput {
        let tokens = Tokens::new(&self.labels, hidden, layer.into(), labels);
        let weights = self.weights(&tokens);
        self.output(tokens, weights)
    }

    /// The same tokens with a layer of some of the classes, where these are sampled.
    fn sampled(&self, tokens: Tokens) -> Tokens {
        let Some(draws) = self.draws.as_ref().filter(|_| tokens.hidden.dims()[0] > 0) else { return tokens };
        let device = tokens.hidden.device();
        let labels = tokens.labels.index_or_none();
        let sampled =
            tokens.layer.sampled(&labels, |classes, labels| draw(draws, &device, self.sample_rate, classes, labels));
        let Some((layer, places)) = sampled else { return tokens };
        let index = places.mask_fill(tokens.labels.valid.clone().bool_not(), 0);
        Tokens { layer, labels: SafeLabels { index, ..tokens.labels }, ..tokens }
    }

    /// The reduced loss where what every token counts in it is known before its logits are: then the gradient can be computed
    /// while they are there.
    fn in_one_pass(&self, tokens: &Tokens, weights: &Tensor<1>, reduction: Reduction) -> Option<Tensor<1>> {
        let [part] = &tokens.layer.parts[..] else { return None };
        let (smoothing, classes) = (self.label_smoothing, part.classes());
        let factor = factor(reduction, weights.clone(), tokens.batch).expand(weights.dims());
        let counted = factor.clone().mask_fill(tokens.labels.valid.clone().bool_not(), 0.0);
        let loss = LogitLoss {
            bias: part.bias.clone(),
            cap: self.soft_cap,
            weights: (smoothing > 0.0).then(|| self.of_classes(classes, weights)),
            of_target: weights.clone().mul_scalar(1.0 - smoothing) * factor,
            of_all: counted.clone().mul_scalar(smoothing / classes.max(1) as f64),
            of_square: counted.mul_scalar(self.z_loss),
            streaming: self.streaming,
        };
        logit_loss(tokens.hidden.clone(), part.weight.clone(), tokens.labels.index_or_none(), loss)
    }

    fn output(&self, tokens: Tokens, weights: Tensor<1>) -> LinearCrossEntropyOutput {
        let (smoothing, classes) = (self.label_smoothing, tokens.layer.classes());
        let hidden = tokens.silenced();
        let Tokens { layer, labels, .. } = tokens;
        if hidden.dims()[0] == 0 {
            let losses = cast_to(hidden.reshape([0]), weights.dtype());
            let SafeLabels { index: predictions, valid: correct } = labels;
            return LinearCrossEntropyOutput { log_sum_exp: losses.clone(), losses, predictions, correct };
        }
        let no_class = labels.valid.clone().bool_not();
        let of_classes = (smoothing > 0.0).then(|| self.of_classes(classes, &weights));
        let total = of_classes.clone().map(Tensor::sum);
        let (place, mut start) = (labels.index_or_none(), 0);
        let of_part = |part: &Part| {
            let (first, count) = (start, part.classes());
            start += count;
            let of_classes = of_classes.clone().map(|weights| weights.narrow(0, first, count));
            (
                part.figures(
                    &hidden,
                    place.clone().sub_scalar(first as i64),
                    of_classes,
                    self.soft_cap,
                    self.streaming,
                ),
                first,
            )
        };
        let parts = layer.parts.iter().map(of_part);
        let figures = parts.reduce(|(sum, first), (part, before)| (sum.and(part, before), first));
        let (Figures { target, others, weighted, largest, largest_key }, _) = figures.expect("a layer has a part");
        let (index, largest_key) = comparable(labels.index, largest_key);

        let target = match self.soft_cap {
            Some(cap) => soft_cap(target, cap),
            None => target,
        };
        // -log(p) of the class, without a difference of large numbers where p is near 1.
        let surprise = softplus(others.clone() - target.clone());
        let log_sum_exp = (target.clone() + surprise.clone()).mask_fill(no_class.clone(), 0.0);
        let losses = surprise * weights;
        let losses = match (weighted, total) {
            (Some(weighted), Some(total)) => {
                let spread = log_sum_exp.clone() * total.expand(log_sum_exp.dims()) - weighted;
                losses.mul_scalar(1.0 - smoothing) + spread.mul_scalar(smoothing / classes.max(1) as f64)
            }
            _ => losses,
        };
        let losses =
            if self.z_loss > 0.0 { losses + log_sum_exp.clone().square().mul_scalar(self.z_loss) } else { losses };
        let target = target.detach();
        let is_first = index.clone().lower(largest_key.clone());
        let correct = target.clone().greater(largest.clone()).bool_or(target.equal(largest).bool_and(is_first));
        let correct = correct.bool_and(labels.valid);

        LinearCrossEntropyOutput {
            losses: losses.mask_fill(no_class.clone(), 0.0),
            log_sum_exp,
            predictions: largest_key.mask_where(correct.clone(), index).mask_fill(no_class, -1),
            correct,
        }
    }

    /// What every token counts in a mean, `[tokens]`; 0 without a class.
    fn weights(&self, tokens: &Tokens) -> Tensor<1> {
        let SafeLabels { index, valid } = tokens.labels.clone();
        let (count, dtype, classes) = (index.dims(), widened(tokens.dtype), tokens.layer.classes());
        let ones = Tensor::<1>::ones(count, (&index.device(), dtype));
        if count == [0] {
            return ones;
        }
        let weights = match &self.class_weights {
            Some(_) if classes > 0 => self.of_classes(classes, &ones).select(0, index),
            _ => ones,
        };
        weights.mask_fill(valid.bool_not(), 0.0)
    }

    /// The weights of all classes, `[classes]`, with the type and device of `like`.
    fn of_classes(&self, classes: usize, like: &Tensor<1>) -> Tensor<1> {
        let ones = Tensor::ones([1, classes], (&like.device(), like.dtype()));
        match &self.class_weights {
            Some(weights) => weights.of_classes(&ones),
            None => ones.squeeze_dim(0),
        }
    }
}

/// Hidden states in rows, with their labels and the layer they go through.
struct Tokens {
    /// `[tokens, dim]`.
    hidden: Tensor<2>,
    layer: OutputLayer,
    /// `[tokens]`.
    labels: SafeLabels,
    /// The length of the first axis.
    batch: usize,
    dtype: DType,
}

impl Tokens {
    #[track_caller]
    fn new<const D: usize, const L: usize>(
        checked: &ClassLabels,
        hidden: Tensor<D>,
        layer: OutputLayer,
        labels: Tensor<L, Int>,
    ) -> Self {
        const { assert!(D == L + 1, "labels must have one axis less than hidden: that of the features") }
        let (shape, classes, [_, dim]) = (hidden.dims(), layer.classes(), layer.parts[0].weight.dims());
        check_shape(NAME, "labels", labels.dims(), &shape[..L]);
        let mut expected = shape;
        expected[L] = dim;
        check_shape(NAME, "hidden", shape, expected);
        let tokens = shape[..L].iter().product();
        let labels = checked.check(labels.reshape([tokens]), classes);
        let (batch, dtype) = (shape[0], hidden.dtype());
        Self { hidden: hidden.reshape([tokens, dim]), layer, labels, batch, dtype }
    }

    /// The hidden states, 0 in rows without a class.
    fn silenced(&self) -> Tensor<2> {
        // Elementwise operations on nothing are not for every backend.
        let is_empty = self.hidden.dims()[0] == 0;
        if is_empty { self.hidden.clone() } else { silence(self.hidden.clone(), self.labels.valid.clone()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use alloc::vec::Vec;

    fn layer(device: &Device) -> OutputLayer {
        // The logits are the hidden states, and the bias makes them (x, y + ln 2).
        OutputLayer::new(
            Tensor::from_data([[1.0, 0.0], [0.0, 1.0]], device),
            Some(Tensor::from_data([0.0, 2.0_f64.ln()], device)),
        )
    }

    fn run(config: &LinearCrossEntropyLossConfig) -> LinearCrossEntropyOutput {
        let device = Device::flex();
        let hidden = Tensor::<2>::from_data([[0.0_f32, 0.0], [6.0_f32.ln(), 0.0], [1.0, 1.0]], &device);
        let labels = Tensor::<1, Int>::from_ints([0, 0, -1], &device);
        config.init(&device).forward_output(hidden, layer(&device), labels)
    }

    fn numbers(tensor: Tensor<1>) -> Vec<f32> {
        tensor.try_into_vec_as::<f32>().unwrap()
    }

    fn assert_near(found: &[f32], expected: &[f32]) {
        assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6), "{found:?} is not {expected:?}");
    }

    #[test]
    fn a_pass_says_all_it_sees() {
        let output = run(&LinearCrossEntropyLossConfig::new());

        // By hand: probabilities (1/3, 2/3) and (3/4, 1/4).
        assert_near(&numbers(output.losses), &[3.0_f32.ln(), (4.0_f32 / 3.0).ln(), 0.0]);
        assert_near(&numbers(output.log_sum_exp), &[3.0_f32.ln(), 8.0_f32.ln(), 0.0]);
        assert_eq!(output.predictions.try_into_vec_as::<i64>().unwrap(), [1, 0, -1]);
        assert_eq!(output.correct.try_into_vec_as::<bool>().unwrap(), [false, true, false]);
    }

    #[test]
    fn smoothing_weights_and_z_loss_add_up() {
        let config = LinearCrossEntropyLossConfig::new()
            .with_label_smoothing(0.5)
            .with_z_loss(2.0)
            .with_class_weights(Some(vec![3.0, 1.0].into()));
        let losses = numbers(run(&config).losses);

        // By hand for the first token: -log p is (ln 3, ln 1.5); 0.5·3·ln 3 + 0.5/2·(3·ln 3 + ln 1.5) + 2·(ln 3)².
        let (three, rest) = (3.0_f32.ln(), 1.5_f32.ln());
        assert_near(&losses[..1], &[1.5 * three + 0.25 * (3.0 * three + rest) + 2.0 * three * three]);
    }

    #[test]
    fn a_cap_bends_bias_and_all() {
        let losses = numbers(run(&LinearCrossEntropyLossConfig::new().with_soft_cap(Some(0.5))).losses);

        // By hand: logits 0 and 0.5·tanh(2·ln 2) = 0.5·15/17.
        assert_near(&losses[..1], &[(1.0 + (7.5_f32 / 17.0).exp()).ln()]);
    }

    #[test]
    #[should_panic(expected = "LinearCrossEntropyLoss: soft_cap must be in [1e-3, 1e6], got 0")]
    fn a_cap_of_nothing_is_rejected() {
        LinearCrossEntropyLossConfig::new().with_soft_cap(Some(0.0)).init(&Device::flex());
    }

    #[test]
    #[should_panic(expected = "LinearCrossEntropyLoss: label_smoothing is over all classes, so sample_rate must be 1")]
    fn a_sample_is_not_smoothed() {
        LinearCrossEntropyLossConfig::new().with_sample_rate(0.5).with_label_smoothing(0.1).init(&Device::flex());
    }

    #[test]
    #[should_panic(expected = "LinearCrossEntropyLoss: soft_cap would bend what corrects a sample")]
    fn a_sample_is_not_capped() {
        LinearCrossEntropyLossConfig::new().with_sample_rate(0.5).with_soft_cap(Some(2.0)).init(&Device::flex());
    }

    #[test]
    #[should_panic(expected = "LinearCrossEntropyLoss")]
    fn hidden_states_of_another_width_are_named() {
        let device = Device::flex();
        let loss = LinearCrossEntropyLossConfig::new().init(&device);
        let labels = Tensor::<1, Int>::from_ints([0], &device);
        loss.forward(Tensor::<2>::zeros([1, 3], &device), layer(&device), labels, Reduction::Mean);
    }
}
