use alloc::vec::Vec;

use burn::config::Config;
use burn::module::Module;
use burn::nn::loss::Reduction;
use burn::tensor::{Bool, Device, Int, Tensor};
use burn_losses_kernels::math::{cast_to, widen};

use super::divergence::Divergence;
use super::log_probabilities::log_probabilities;
use super::output_layer::{OutputLayer, Part, widened};
use super::sparse_targets::{RestOfMass, SparseRows, SparseTargets};
use crate::labels::{ClassLabels, LabelPolicy, silence};
use crate::on_device::on;
use crate::reduction::{Divisor, factor, reduce};
use crate::shape::check_shape;

const NAME: &str = "LinearDistillationLoss";

/// How many numbers per token and class are there at once, with those that an operation makes of others.
const NUMBERS_PER_LOGIT: usize = 8;

/// Settings of [`LinearDistillationLoss`].
#[derive(Config, Debug)]
pub struct LinearDistillationLossConfig {
    /// In which way the student differs from its teacher.
    /// Default: `Divergence::ForwardKl`.
    #[config(default = "Divergence::ForwardKl")]
    pub divergence: Divergence,
    /// The logits of both are divided by it, and the loss is multiplied with its square; in `[1e-3, 1e3]`.
    /// Default: `1.0`.
    #[config(default = 1.0)]
    pub temperature: f64,
    /// Which labels mean "this token does not count", and what is done about bad ones.
    /// Default: `LabelPolicy::new()`.
    #[config(default = "LabelPolicy::new()")]
    pub labels: LabelPolicy,
    /// How many bytes the logits of a chunk of tokens, and what is computed of them, may take; a chunk is at least one token.
    /// Changes no result beyond rounding.
    /// Default: `256 << 20`.
    #[config(default = "256 << 20")]
    pub chunk_bytes: usize,
}

impl LinearDistillationLossConfig {
    /// Builds the loss.
    ///
    /// # Panics
    ///
    /// If a field is out of its range.
    #[track_caller]
    pub fn init(&self, _device: &Device) -> LinearDistillationLoss {
        let Self { divergence, temperature, labels, chunk_bytes } = self.clone();
        assert!((1e-3..=1e3).contains(&temperature), "{NAME}: temperature must be in [1e-3, 1e3], got {temperature}");
        let (divergence, labels) = (divergence.checked(NAME), ClassLabels::new(NAME, &labels));

        LinearDistillationLoss { divergence, temperature, labels, chunk_bytes }
    }
}

/// Distillation of a language model: how the student's distribution of the next token differs from its teacher's, of hidden
/// states and output layers, without `[tokens, vocabulary]` logits.
///
/// ```text
/// student[i] = softmax((<hidden[i], weight[c]> + bias[c]) / temperature over c), teacher[i] likewise of its own
/// loss[i]    = temperature²·divergence(teacher[i], student[i])
///   ForwardKl           sum over c of teacher[i, c]·log(teacher[i, c] / student[i, c])
///   ReverseKl           sum over c of student[i, c]·log(student[i, c] / teacher[i, c])
///   JensenShannon(beta) beta·KL(teacher || mixture) + (1 - beta)·KL(student || mixture),
///                       mixture = beta·teacher + (1 - beta)·student
/// mean       = sum(loss) / the number of tokens that count
/// ```
///
/// The gradient flows to the hidden states, weights and bias of the student; the teacher is a constant, whether it is tracked or
/// not. Loss and gradient are computed in the forward pass, one chunk of tokens after the other, and the gradient is kept for the
/// backward pass, so no more logits are there than those of a chunk. What is not tracked costs the forward pass alone. Half
/// precision is computed in `f32`, of copies of the weights in `f32`, and a gradient is summed before it is rounded.
///
/// As Hinton has it, the loss is multiplied with `temperature²`, so that a gradient keeps its size when the temperature changes and
/// a cross-entropy beside it its weight. TRL's GKD and Liger's JSD do not multiply: divide by `temperature²` for theirs.
///
/// [`forward_sparse`](Self::forward_sparse) takes a teacher of which the most likely classes of every token are kept, with their
/// probabilities. There, too, nothing is as large as the vocabulary but a chunk.
///
/// Logits must be finite: a class that is masked with minus infinity makes the loss NaN.
///
/// # When to take it
///
/// To train a student from a teacher of the same vocabulary, alone or beside a [`LinearCrossEntropyLoss`] of the same hidden
/// states, on texts that are given or that the student wrote (GKD). For logits that fit in memory, or a teacher of which only
/// probabilities of all classes are known, take [`KLDivLoss`](super::KLDivLoss).
///
/// # Source
///
/// Temperature: Hinton et al.: [Distilling the Knowledge in a Neural Network](https://arxiv.org/abs/1503.02531), 2015, section 2.
/// Reverse: Gu et al.: [MiniLLM](https://arxiv.org/abs/2306.08543), 2023, equation 1. Jensen-Shannon: Agarwal et al.: [On-Policy
/// Distillation of Language Models](https://arxiv.org/abs/2306.13649), 2023 (GKD), equation 1. In chunks with the gradient at once:
/// Hsu et al.: [Liger Kernel](https://arxiv.org/abs/2410.10989), 2024, section 3.2.
///
/// # Example
///
/// ```
/// use burn::nn::LinearConfig;
/// use burn::tensor::{Device, Distribution, Int, Tensor};
/// use burn_losses::classification::{Divergence, LinearDistillationLossConfig, Reduction};
///
/// let device = Device::default();
/// // A vocabulary of 50, and hidden states of two sequences of three tokens.
/// let (student, teacher) = (LinearConfig::new(8, 50).init(&device), LinearConfig::new(16, 50).init(&device));
/// let hidden = Tensor::<3>::random([2, 3, 8], Distribution::Default, &device);
/// let of_teacher = Tensor::<3>::random([2, 3, 16], Distribution::Default, &device);
/// // The last token of the second sequence is padding. Without labels all tokens count: `None::<Tensor<2, Int>>`.
/// let labels = Tensor::<2, Int>::from_ints([[4, 17, 3], [0, 49, -1]], &device);
///
/// let config = LinearDistillationLossConfig::new().with_divergence(Divergence::JensenShannon(0.5));
/// let loss = config.with_temperature(2.0).init(&device);
/// let value = loss.forward(hidden.clone(), &student, of_teacher, &teacher, Some(labels.clone()), Reduction::Mean);
/// assert!(value.into_scalar::<f32>() > 0.0);
/// // A student that is its teacher.
/// let value = loss.forward(hidden.clone(), &student, hidden, &student, Some(labels), Reduction::Mean);
/// assert_eq!(value.into_scalar::<f32>(), 0.0);
/// ```
///
/// [`LinearCrossEntropyLoss`]: super::LinearCrossEntropyLoss
#[derive(Module, Debug)]
#[module(custom_display)]
pub struct LinearDistillationLoss {
    #[module(skip)]
    divergence: Divergence,
    temperature: f64,
    #[module(skip)]
    labels: ClassLabels,
    chunk_bytes: usize,
}

impl LinearDistillationLoss {
    /// The reduced loss; 0 when no token counts. A mean is over the tokens that count, `BatchMean` divides the sum by the first
    /// axis.
    ///
    /// # Shapes
    ///
    /// - hidden: `[tokens, dim]`, `[batch, length, dim]` or any other with the features last
    /// - layer, teacher_layer: `&Linear`, `&Embedding` or an [`OutputLayer`], of the same classes
    /// - teacher_hidden: as hidden, with a `dim` of its own
    /// - labels: the shape of `hidden` without its last axis. Only whether a token has a class matters; `None` counts all, and
    ///   needs its type: `None::<Tensor<1, Int>>`
    /// - output: `[1]`
    ///
    /// # Panics
    ///
    /// If the shapes do not fit, the layers have different classes or none, or by the [`LabelPolicy`].
    #[track_caller]
    pub fn forward<const D: usize, const L: usize>(
        &self,
        hidden: Tensor<D>,
        layer: impl Into<OutputLayer>,
        teacher_hidden: Tensor<D>,
        teacher_layer: impl Into<OutputLayer>,
        labels: Option<Tensor<L, Int>>,
        reduction: Reduction,
    ) -> Tensor<1> {
        let (batch, dtype) = (hidden.dims()[0], hidden.dtype());
        let Task { student, teacher, valid } = self.task(hidden, layer, teacher_hidden, teacher_layer, labels);
        if student.hidden.dims()[0] == 0 {
            return student.layer.zero(student.hidden);
        }
        let teacher = self.teacher(&teacher, &valid, &student);
        cast_to(self.reduced(&student, teacher, &valid, batch, reduction), dtype)
    }

    /// The reduced loss of a teacher of which some classes of every token are known; 0 when no token counts. Reductions and
    /// gradient are those of [`forward`](Self::forward).
    ///
    /// ```text
    /// Lump        divergence of the listed classes and one more, of all others together
    /// Renormalise sum over the listed c of share[i, c]·log(share[i, c] / student[i, c]), share[i, c] = teacher[i, c] / their sum
    /// ```
    ///
    /// # Shapes
    ///
    /// - hidden: `[tokens, dim]`, `[batch, length, dim]` or any other with the features last
    /// - layer: `&Linear`, `&Embedding` or an [`OutputLayer`]
    /// - targets: the shape of `hidden` but for its last axis, which is that of the listed classes
    /// - output: `[1]`
    ///
    /// # Panics
    ///
    /// If the shapes do not fit, the layer has no classes, [`RestOfMass::Renormalise`] meets another divergence than `ForwardKl`, by
    /// the [`LabelPolicy`], whose message counts all listed classes through, and, where this lies in host memory, if a probability
    /// is not in `[0, 1]` or a class is listed twice for a token.
    #[track_caller]
    pub fn forward_sparse<const D: usize>(
        &self,
        hidden: Tensor<D>,
        layer: impl Into<OutputLayer>,
        targets: SparseTargets<D>,
        reduction: Reduction,
    ) -> Tensor<1> {
        let (batch, dtype) = (hidden.dims()[0], hidden.dtype());
        let (student, targets) = self.sparse_task(hidden, layer.into(), targets);
        let Some(targets) = targets else { return student.layer.zero(student.hidden) };
        let valid = Some(targets.counted.clone());
        let compare = |start, student| targets.compare(self.divergence, start, student);
        cast_to(self.reduced(&student, compare, &valid, batch, reduction), dtype)
    }

    /// The loss of every token as [`forward_sparse`](Self::forward_sparse) has it, in the shape of `hidden` without its last axis; 0
    /// where a token does not count. It has no gradient, as [`forward_no_reduction`](Self::forward_no_reduction).
    ///
    /// # Panics
    ///
    /// As `forward_sparse`, and if hidden states, weights or bias are tracked.
    #[track_caller]
    pub fn forward_sparse_no_reduction<const D: usize, const L: usize>(
        &self,
        hidden: Tensor<D>,
        layer: impl Into<OutputLayer>,
        targets: SparseTargets<D>,
    ) -> Tensor<L> {
        let (shape, dtype) = (without_last(hidden.dims()), hidden.dtype());
        let (student, targets) = self.sparse_task(hidden, layer.into(), targets);
        let Some(targets) = targets else { return student.hidden.reshape(shape) };
        let valid = Some(targets.counted.clone());
        let compare = |start, student| targets.compare(self.divergence, start, student);
        cast_to(self.each(&student, compare, &valid), dtype).reshape(shape)
    }

    /// The loss of every token, in the shape of `hidden` without its last axis; 0 where a token does not count. It has no
    /// gradient: what comes from above is not known when the logits are there.
    ///
    /// # Shapes
    ///
    /// As [`forward`](Self::forward).
    ///
    /// # Panics
    ///
    /// As [`forward`](Self::forward), and if hidden states, weights or bias of the student are tracked: a gradient would be
    /// lost in silence. Ask the model's `valid()`, or `detach()` them.
    #[track_caller]
    pub fn forward_no_reduction<const D: usize, const L: usize>(
        &self,
        hidden: Tensor<D>,
        layer: impl Into<OutputLayer>,
        teacher_hidden: Tensor<D>,
        teacher_layer: impl Into<OutputLayer>,
        labels: Option<Tensor<L, Int>>,
    ) -> Tensor<L> {
        let (shape, dtype) = (without_last(hidden.dims()), hidden.dtype());
        let Task { student, teacher, valid } = self.task(hidden, layer, teacher_hidden, teacher_layer, labels);
        if shape.contains(&0) {
            return student.hidden.reshape(shape);
        }
        let teacher = self.teacher(&teacher, &valid, &student);
        cast_to(self.each(&student, teacher, &valid), dtype).reshape(shape)
    }

    /// The reduced loss by a comparison of some tokens of the student, from a place on, with its gradient.
    fn reduced(
        &self,
        student: &Side,
        compare: impl Fn(usize, Tensor<2>) -> (Tensor<2>, Tensor<2>),
        valid: &Option<Tensor<1, Bool>>,
        batch: usize,
        reduction: Reduction,
    ) -> Tensor<1> {
        let weights = student.weights(valid);
        let factor = factor(reduction.clone(), weights.clone(), batch).expand(weights.dims()) * weights.clone();
        let (losses, gradient) = self.chunks(student, compare, valid, student.is_tracked().then_some(factor));
        let value = reduce(reduction, losses, batch, Divisor::Weights(weights));
        let value = if student.hidden.is_autodiff() { value.autodiff() } else { value };
        gradient.into_iter().fold(value, |value, gradient| value + gradient)
    }

    /// The losses of all tokens, `[tokens]`, likewise.
    #[track_caller]
    fn each(
        &self,
        student: &Side,
        compare: impl Fn(usize, Tensor<2>) -> (Tensor<2>, Tensor<2>),
        valid: &Option<Tensor<1, Bool>>,
    ) -> Tensor<1> {
        assert!(
            !student.is_tracked(),
            "{NAME}: forward_no_reduction has no gradient; ask it of the student's valid(), or detach its hidden states and layer"
        );
        let (losses, _) = self.chunks(student, compare, valid, None);
        if student.hidden.is_autodiff() { losses.autodiff() } else { losses }
    }

    /// The comparison with a teacher whose hidden states are known.
    fn teacher(
        &self,
        teacher: &Side,
        valid: &Option<Tensor<1, Bool>>,
        student: &Side,
    ) -> impl Fn(usize, Tensor<2>) -> (Tensor<2>, Tensor<2>) {
        let (divergence, temperature) = (self.divergence, self.temperature);
        let teacher = Fixed::new(teacher.silenced(valid), &teacher.layer);
        let home = student.hidden.device().inner();
        move |start, of_student| {
            let of_teacher = teacher.log_probabilities(start, of_student.dims()[0], temperature);
            let dtype = of_student.dtype();
            divergence.of(of_student, on(cast_to(of_teacher, dtype), &home))
        }
    }

    /// The student beside listed classes, `None` where there is no token.
    #[track_caller]
    fn sparse_task<const D: usize>(
        &self,
        hidden: Tensor<D>,
        layer: OutputLayer,
        targets: SparseTargets<D>,
    ) -> (Side, Option<SparseRows>) {
        assert!(
            targets.rest == RestOfMass::Lump || self.divergence == Divergence::ForwardKl,
            "{NAME}: RestOfMass::Renormalise is for Divergence::ForwardKl, got {:?}; take RestOfMass::Lump",
            self.divergence
        );
        let classes = layer.classes();
        assert!(classes > 0, "{NAME}: the layer must have a class or more, got none");
        let mut shape = hidden.dims();
        let student = Side::new(hidden, layer);
        shape[D - 1] = targets.classes.dims()[D - 1];
        check_shape(NAME, "the listed classes", targets.classes.dims(), shape);
        if student.hidden.dims()[0] == 0 {
            return (student, None);
        }
        let options = (&student.hidden.device(), widened(student.hidden.dtype()));
        let targets = SparseRows::new(NAME, targets, &self.labels, classes, options);
        (student, Some(targets))
    }

    /// Both sides, and which tokens count.
    #[track_caller]
    fn task<const D: usize, const L: usize>(
        &self,
        hidden: Tensor<D>,
        layer: impl Into<OutputLayer>,
        teacher_hidden: Tensor<D>,
        teacher_layer: impl Into<OutputLayer>,
        labels: Option<Tensor<L, Int>>,
    ) -> Task {
        let [shape, of_teacher] = [without_last::<D, L>(hidden.dims()), without_last(teacher_hidden.dims())];
        let student = Side::new(hidden, layer.into());
        let teacher = Side::new(teacher_hidden, teacher_layer.into());
        let classes = student.layer.classes();
        check_shape(NAME, "teacher_hidden without its last axis", of_teacher, shape);
        assert!(
            classes == teacher.layer.classes() && classes > 0,
            "{NAME}: both layers must have the same classes, one or more, got {classes} of the student and {} of the teacher",
            teacher.layer.classes()
        );
        let valid = labels.map(|labels| {
            check_shape(NAME, "labels", labels.dims(), shape);
            self.labels.check(labels.reshape([student.hidden.dims()[0]]), classes).valid
        });
        Task { student, teacher, valid }
    }

    /// The losses of all tokens, `[tokens]`, and, if what each counts is given, numbers that are 0 and have the gradient of all.
    fn chunks(
        &self,
        student: &Side,
        compare: impl Fn(usize, Tensor<2>) -> (Tensor<2>, Tensor<2>),
        valid: &Option<Tensor<1, Bool>>,
        counts: Option<Tensor<1>>,
    ) -> (Tensor<1>, Vec<Tensor<1>>) {
        let hidden = student.silenced(valid);
        let fixed = Fixed::new(hidden.clone(), &student.layer);
        let ([tokens, _], dtype) = (hidden.dims(), hidden.dtype());
        let bytes_per_token = NUMBERS_PER_LOGIT * dtype.size() * student.layer.classes();
        let chunk = (self.chunk_bytes / bytes_per_token).clamp(1, tokens);

        let mut losses = Vec::new();
        let mut gradient = counts.as_ref().map(|_| Gradient::nothing(student, &fixed));
        for start in (0..tokens).step_by(chunk) {
            let count = chunk.min(tokens - start);
            let (divergence, slope) = compare(start, fixed.log_probabilities(start, count, self.temperature));
            losses.push(divergence.squeeze_dim(1).mul_scalar(self.temperature.powi(2)));
            if let (Some(counts), Some(gradient)) = (&counts, &mut gradient) {
                // The slope is that of logits over the temperature.
                let counts = counts.clone().narrow(0, start, count).mul_scalar(self.temperature);
                gradient.add(&fixed, start, slope * counts.unsqueeze_dim::<2>(1));
            }
        }
        let losses = Tensor::cat(losses, 0);
        let losses = match valid {
            Some(valid) => losses.mask_fill(valid.clone().without_autodiff().bool_not(), 0.0),
            None => losses,
        };
        (losses, gradient.map_or_else(Vec::new, |gradient| gradient.zeros(hidden, &student.layer)))
    }
}

/// What is compared.
struct Task {
    student: Side,
    teacher: Side,
    /// Whether every token counts, `[tokens]`; `None` where all do.
    valid: Option<Tensor<1, Bool>>,
}

/// Hidden states in rows, and the layer they go through.
struct Side {
    /// `[tokens, dim]`.
    hidden: Tensor<2>,
    layer: OutputLayer,
}

/// The shape of hidden states without their last axis.
fn without_last<const D: usize, const L: usize>(shape: [usize; D]) -> [usize; L] {
    const { assert!(D == L + 1, "labels must have one axis less than hidden: that of the features") }
    shape[..L].try_into().expect("one axis less")
}

impl Side {
    #[track_caller]
    fn new<const D: usize>(hidden: Tensor<D>, layer: OutputLayer) -> Self {
        let (shape, [_, dim]) = (hidden.dims(), layer.parts[0].weight.dims());
        let mut expected = shape;
        expected[D - 1] = dim;
        check_shape(NAME, "hidden", shape, expected);
        let tokens = shape[..D - 1].iter().product();
        Self { hidden: hidden.reshape([tokens, dim]), layer }
    }

    fn is_tracked(&self) -> bool {
        let parts = &self.layer.parts;
        self.hidden.is_tracked() || parts.iter().any(|part| part.weight.is_tracked() || is_tracked(&part.bias))
    }

    /// What every token counts in a mean, `[tokens]`.
    fn weights(&self, valid: &Option<Tensor<1, Bool>>) -> Tensor<1> {
        let options = (&self.hidden.device().inner(), self.hidden.dtype());
        let ones = widen(Tensor::ones([self.hidden.dims()[0]], options));
        match valid {
            Some(valid) => ones.mask_fill(valid.clone().without_autodiff().bool_not(), 0.0),
            None => ones,
        }
    }

    /// The hidden states in a precision fit for sums, 0 in rows that do not count.
    fn silenced(&self, valid: &Option<Tensor<1, Bool>>) -> Tensor<2> {
        let hidden = widen(self.hidden.clone());
        match valid {
            Some(valid) => {
                let (valid, home) = (valid.clone(), hidden.device());
                let is_home = valid.device().inner() == home.clone().inner();
                silence(hidden, if is_home { valid } else { valid.to_device(&home) })
            }
            None => hidden,
        }
    }
}

/// A side as numbers, of which no operation is recorded: `detach` of a leaf would be another leaf.
struct Fixed {
    /// `[tokens, dim]`.
    hidden: Tensor<2>,
    parts: Vec<Part>,
}

impl Fixed {
    fn new(hidden: Tensor<2>, layer: &OutputLayer) -> Self {
        let dtype = hidden.dtype();
        let of_part = |part: &Part| Part {
            weight: cast_to(part.weight.clone().without_autodiff(), dtype),
            bias: part.bias.clone().map(|bias| cast_to(bias.without_autodiff(), dtype)),
        };
        Self { hidden: hidden.without_autodiff(), parts: layer.parts.iter().map(of_part).collect() }
    }

    /// Of some tokens, `[count, classes]`, on the device of the hidden states.
    fn log_probabilities(&self, start: usize, count: usize, temperature: f64) -> Tensor<2> {
        let (rows, home) = (self.hidden.clone().narrow(0, start, count), self.hidden.device());
        let of_part = |part: &Part| {
            let products = on(rows.clone(), &part.weight.device()).matmul(part.weight.clone().transpose());
            let logits = match &part.bias {
                Some(bias) => products + bias.clone().unsqueeze_dim::<2>(0),
                None => products,
            };
            on(logits, &home)
        };
        let logits: Vec<_> = self.parts.iter().filter(|part| part.classes() > 0).map(of_part).collect();
        log_probabilities(Tensor::cat(logits, 1).mul_scalar(temperature.recip()))
    }
}

/// The gradient of the loss by what of the student is tracked, as far as it is known.
struct Gradient {
    /// That of one chunk of tokens after the other.
    of_hidden: Option<Vec<Tensor<2>>>,
    of_parts: Vec<PartGradient>,
}

struct PartGradient {
    of_weight: Option<Tensor<2>>,
    of_bias: Option<Tensor<1>>,
}

impl Gradient {
    fn nothing(student: &Side, fixed: &Fixed) -> Self {
        let of_part = |(part, fixed): (&Part, &Part)| PartGradient {
            of_weight: part.weight.is_tracked().then(|| fixed.weight.zeros_like()),
            of_bias: fixed.bias.as_ref().filter(|_| is_tracked(&part.bias)).map(Tensor::zeros_like),
        };
        Self {
            of_hidden: student.hidden.is_tracked().then(Vec::new),
            of_parts: student.layer.parts.iter().zip(&fixed.parts).map(of_part).collect(),
        }
    }

    /// Adds that of some tokens, of the slope by their logits, `[count, classes]`.
    fn add(&mut self, student: &Fixed, start: usize, slope: Tensor<2>) {
        let ([count, _], home) = (slope.dims(), slope.device());
        let rows = student.hidden.clone().narrow(0, start, count);
        let (mut first, mut of_rows) = (0, None);
        for (part, sums) in student.parts.iter().zip(&mut self.of_parts) {
            let (classes, device) = (part.classes(), part.weight.device());
            if classes == 0 {
                continue;
            }
            let slope = on(slope.clone().narrow(1, first, classes), &device);
            first += classes;
            if self.of_hidden.is_some() {
                let of_part = on(slope.clone().matmul(part.weight.clone()), &home);
                of_rows = Some(of_rows.map_or(of_part.clone(), |sum: Tensor<2>| sum + of_part));
            }
            if let Some(sum) = sums.of_weight.take() {
                sums.of_weight = Some(sum + slope.clone().transpose().matmul(on(rows.clone(), &device)));
            }
            if let Some(sum) = sums.of_bias.take() {
                sums.of_bias = Some(sum + slope.sum_dim(0).squeeze_dim(0));
            }
        }
        if let (Some(of_hidden), Some(of_rows)) = (&mut self.of_hidden, of_rows) {
            of_hidden.push(of_rows);
        }
    }

    /// A 0 for everything tracked, `[1]` each, on the device of the hidden states, whose gradient is this one.
    fn zeros(self, hidden: Tensor<2>, layer: &OutputLayer) -> Vec<Tensor<1>> {
        let home = hidden.device();
        let mut zeros: Vec<_> =
            self.of_hidden.into_iter().map(|rows| zero_with(hidden.clone(), Tensor::cat(rows, 0))).collect();
        for (part, PartGradient { of_weight, of_bias }) in layer.parts.iter().zip(self.of_parts) {
            if part.classes() == 0 {
                continue;
            }
            zeros.extend(of_weight.map(|gradient| on(zero_with(part.weight.clone(), gradient), &home)));
            let of_bias = part.bias.clone().zip(of_bias);
            zeros.extend(of_bias.map(|(bias, gradient)| on(zero_with(bias, gradient), &home)));
        }
        zeros
    }
}

/// 0, `[1]`, with this gradient by the numbers of the tensor.
fn zero_with<const D: usize>(tensor: Tensor<D>, gradient: Tensor<D>) -> Tensor<1> {
    let tensor = cast_to(tensor, gradient.dtype());
    ((tensor.clone() - tensor.without_autodiff()) * gradient).sum()
}

fn is_tracked(bias: &Option<Tensor<1>>) -> bool {
    bias.as_ref().is_some_and(|bias| bias.is_tracked())
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::DType;

    /// Logits are the hidden states: the student says (1/2, 1/2), (1/4, 3/4) and nothing that counts, the teacher
    /// (1/4, 3/4), (1/4, 3/4) and something else.
    fn losses(divergence: Divergence, temperature: f64) -> Vec<f64> {
        let device = Device::flex();
        let layer = || OutputLayer::new(Tensor::from_data([[1.0, 0.0], [0.0, 1.0]], (&device, DType::F64)), None);
        let rows = |rows: [[f64; 2]; 3]| Tensor::<2>::from_data(rows, (&device, DType::F64)).mul_scalar(temperature);
        let three = 3.0_f64.ln();
        let (student, teacher) = (rows([[0.0, 0.0], [5.0, 5.0 + three], [1.0, 2.0]]), rows([[0.0, three]; 3]));
        let labels = Tensor::<1, Int>::from_ints([0, 1, -1], &device);
        let config = LinearDistillationLossConfig::new().with_divergence(divergence).with_temperature(temperature);
        let losses =
            config.init(&device).forward_no_reduction::<2, 1>(student, layer(), teacher, layer(), Some(labels));
        losses.try_into_vec_as::<f64>().unwrap()
    }

    fn assert_near(found: &[f64], expected: &[f64]) {
        assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-14), "{found:?} is not {expected:?}");
    }

    #[test]
    fn distributions_of_two_classes_differ_by_what_a_hand_finds() {
        let (two, three) = (2.0_f64.ln(), 3.0_f64.ln());
        // 1/4·log(1/2) + 3/4·log(3/2), and 1/2·log(2) + 1/2·log(2/3).
        let (forward, reverse) = (0.75 * three - two, two - 0.5 * three);
        assert_near(&losses(Divergence::ForwardKl, 1.0), &[forward, 0.0, 0.0]);
        assert_near(&losses(Divergence::ReverseKl, 1.0), &[reverse, 0.0, 0.0]);
        // The mixture of one quarter of the teacher and three of the student is (7/16, 9/16).
        let to_mixture = |p: f64| p * (p * 16.0 / 7.0).ln() + (1.0 - p) * ((1.0 - p) * 16.0 / 9.0).ln();
        let mixed = 0.25 * to_mixture(0.25) + 0.75 * to_mixture(0.5);
        assert_near(&losses(Divergence::JensenShannon(0.25), 1.0), &[mixed, 0.0, 0.0]);
        // The ends, and the square of the temperature over which the logits are.
        assert_near(&losses(Divergence::JensenShannon(0.0), 2.0), &[4.0 * forward, 0.0, 0.0]);
        assert_near(&losses(Divergence::JensenShannon(1.0), 0.5), &[0.25 * reverse, 0.0, 0.0]);
    }

    #[test]
    #[should_panic(expected = "the beta of JensenShannon must be 0, 1 or in [1e-6, 1 - 1e-6], got 1.5")]
    fn a_mixture_beyond_both_is_rejected() {
        losses(Divergence::JensenShannon(1.5), 1.0);
    }

    #[test]
    #[should_panic(expected = "LinearDistillationLoss: temperature must be in [1e-3, 1e3], got 0")]
    fn no_temperature_is_rejected() {
        losses(Divergence::ForwardKl, 0.0);
    }

    #[test]
    #[should_panic(
        expected = "both layers must have the same classes, one or more, got 2 of the student and 3 of the teacher"
    )]
    fn another_vocabulary_is_rejected() {
        let device = Device::flex();
        let layer = |classes: usize| OutputLayer::new(Tensor::zeros([classes, 4], &device), None);
        let hidden = || Tensor::<2>::zeros([1, 4], &device);
        let loss = LinearDistillationLossConfig::new().init(&device);
        loss.forward(hidden(), layer(2), hidden(), layer(3), None::<Tensor<1, Int>>, Reduction::Mean);
    }

    #[test]
    #[should_panic(expected = "forward_no_reduction has no gradient")]
    fn losses_of_tokens_lose_no_gradient_in_silence() {
        let device = Device::flex().autodiff();
        let layer = || OutputLayer::new(Tensor::zeros([3, 4], &device), None);
        let hidden = Tensor::<2>::zeros([1, 4], &device);
        let loss = LinearDistillationLossConfig::new().init(&device);
        let of_student = hidden.clone().require_grad();
        loss.forward_no_reduction::<2, 1>(of_student, layer(), hidden, layer(), None);
    }
}
