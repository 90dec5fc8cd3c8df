use burn::config::Config;
use burn::module::Module;
use burn::nn::loss::Reduction;
use burn::tensor::{Device, Int, Tensor};
use burn_losses_kernels::log_odds::LogOdds;
use burn_losses_kernels::soft_targets::SoftRule;

use super::class_weights::{ClassWeight, ClassWeights};
use super::log_odds::negative_log_probability;
use super::samples::{Samples, SoftSamples};
use crate::labels::{ClassLabels, LabelPolicy};
use crate::reduction::Divisor;

const NAME: &str = "CrossEntropyLoss";

/// Settings of [`CrossEntropyLoss`].
#[derive(Config, Debug)]
pub struct CrossEntropyLossConfig {
    /// How much every class counts, in `[0, 1e6]`: one number for all, or one each. `None` is 1.
    /// Default: `None`.
    #[config(default = "None")]
    pub class_weights: Option<ClassWeight>,
    /// The share of the target that is spread over all classes; in `[0, 1]`.
    /// Default: `0.0`.
    #[config(default = 0.0)]
    pub label_smoothing: f64,
    /// Which labels mean "no class", and what is done about bad ones.
    /// Default: `LabelPolicy::new()`.
    #[config(default = "LabelPolicy::new()")]
    pub labels: LabelPolicy,
    /// Which axis of the logits is that of the classes; a negative number counts from the end. 1 is PyTorch's
    /// `[batch, classes, ...]`, -1 is `[..., classes]`.
    /// Default: `1`.
    #[config(default = 1)]
    pub class_dim: isize,
}

impl CrossEntropyLossConfig {
    /// Builds the loss.
    ///
    /// # Panics
    ///
    /// If a field is out of its range.
    #[track_caller]
    pub fn init(&self, _device: &Device) -> CrossEntropyLoss {
        let Self { class_weights, label_smoothing, labels, class_dim } = self.clone();
        assert!(
            (0.0..=1.0).contains(&label_smoothing),
            "{NAME}: label_smoothing must be in [0, 1], got {label_smoothing}"
        );
        let class_weights = ClassWeights::new(NAME, "class_weights", class_weights, 1e6);

        CrossEntropyLoss { class_weights, label_smoothing, labels: ClassLabels::new(NAME, &labels), class_dim }
    }
}

/// Softmax cross-entropy: the negative log-probability of the true class.
///
/// ```text
/// target[i, c] = (1 - label_smoothing)·(c == labels[i]) + label_smoothing / classes
/// loss[i]      = sum over c of class_weights[c]·target[i, c]·-log(softmax(logits[i])[c])
/// mean         = sum(loss) / sum over i of class_weights[labels[i]]
/// ```
///
/// With [`forward_soft`](Self::forward_soft) the probabilities stand where `c == labels[i]` does, and the mean is over
/// rows. Both means are PyTorch's. Logits of -infinity (classes that are masked out) are allowed where the target is 0,
/// as long as another logit of the row is finite; with label smoothing their loss is infinite.
///
/// # When to take it
///
/// The loss of classes. For classes with a long tail give it weights, or take [`FocalLoss`](super::FocalLoss); for wrong labels
/// [`GeneralizedCrossEntropyLoss`](super::GeneralizedCrossEntropyLoss).
///
/// # Source
///
/// Smoothing: Szegedy et al.: [Rethinking the Inception Architecture](https://arxiv.org/abs/1512.00567), 2015, section 7.
///
/// # Example
///
/// ```
/// use burn::tensor::{Device, Int, Tensor};
/// use burn_losses::classification::{CrossEntropyLossConfig, Reduction};
///
/// let device = Device::default();
/// // A softmax of 1/4 and 3/4.
/// let logits = Tensor::<2>::from_data([[0.0, 3.0_f64.ln()]], &device);
/// let labels = Tensor::<1, Int>::from_ints([1], &device);
/// let loss = CrossEntropyLossConfig::new().init(&device).forward(logits, labels, Reduction::Mean);
/// assert!((loss.into_scalar::<f32>() - -0.75_f32.ln()).abs() < 1e-5);
/// ```
#[derive(Module, Debug)]
#[module(custom_display)]
pub struct CrossEntropyLoss {
    #[module(skip)]
    class_weights: Option<ClassWeights>,
    label_smoothing: f64,
    #[module(skip)]
    labels: ClassLabels,
    class_dim: isize,
}

impl CrossEntropyLoss {
    /// The reduced loss; 0 when no row has a class. A mean is weighted by class, `BatchMean` divides the
    /// sum by the first axis.
    ///
    /// # Shapes and panics
    ///
    /// As [`forward_no_reduction`](Self::forward_no_reduction); output `[1]`.
    #[track_caller]
    pub fn forward<const D: usize, const L: usize>(
        &self,
        logits: Tensor<D>,
        labels: Tensor<L, Int>,
        reduction: Reduction,
    ) -> Tensor<1> {
        let samples = Samples::new(&self.labels, self.class_dim, logits, labels);
        let divisor = Divisor::Weights(self.weights(&samples));
        samples.reduced_by(reduction, divisor, |samples| self.losses(samples))
    }

    /// The loss of every label; 0 where it means no class.
    ///
    /// # Shapes
    ///
    /// - logits: `[batch, classes]`, or any other with the classes along `class_dim`
    /// - labels: `[batch]`; the shape of the logits without the axis of the classes, else it does not compile or panics
    /// - output: as labels
    ///
    /// # Panics
    ///
    /// If the shapes do not fit, there is not one weight per class, or by the [`LabelPolicy`].
    #[track_caller]
    pub fn forward_no_reduction<const D: usize, const L: usize>(
        &self,
        logits: Tensor<D>,
        labels: Tensor<L, Int>,
    ) -> Tensor<L> {
        let shape = labels.dims();
        Samples::new(&self.labels, self.class_dim, logits, labels).each(shape, |samples| self.losses(samples))
    }

    /// The reduced loss of targets that are probabilities; a mean is over samples.
    ///
    /// # Shapes and panics
    ///
    /// As [`forward_soft_no_reduction`](Self::forward_soft_no_reduction); output `[1]`.
    #[track_caller]
    pub fn forward_soft<const D: usize>(
        &self,
        logits: Tensor<D>,
        probabilities: Tensor<D>,
        reduction: Reduction,
    ) -> Tensor<1> {
        let samples = SoftSamples::new(NAME, self.class_dim, logits, probabilities);
        samples.reduced(reduction, self.class_weights.as_ref(), self.soft_rule())
    }

    /// The loss of every sample for targets that are probabilities.
    ///
    /// # Shapes
    ///
    /// - logits: `[batch, classes]`, or any other with the classes along `class_dim`
    /// - probabilities: as logits, in `[0, 1]`; a row need not sum to 1
    /// - output: `[batch]`, the shape of the logits without the axis of the classes; name its rank, as in
    ///   `let losses: Tensor<1> = loss.forward_soft_no_reduction(logits, probabilities)`
    ///
    /// # Panics
    ///
    /// If the shapes differ, there is not one weight per class, or a probability in host memory is not in `[0, 1]`.
    #[track_caller]
    pub fn forward_soft_no_reduction<const D: usize, const L: usize>(
        &self,
        logits: Tensor<D>,
        probabilities: Tensor<D>,
    ) -> Tensor<L> {
        let shape = logits.dims();
        let samples = SoftSamples::new(NAME, self.class_dim, logits, probabilities);
        samples.each(self.class_dim, shape, self.class_weights.as_ref(), self.soft_rule())
    }

    fn losses(&self, samples: &Samples) -> Tensor<1> {
        let (smoothing, [_, classes]) = (self.label_smoothing, samples.logits.dims());
        let of_all = || match &self.class_weights {
            Some(weights) => weights.of_classes(&samples.logits),
            None => Tensor::ones([classes], (&samples.logits.device(), samples.logits.dtype())),
        };
        let LogOdds { log_odds, spread } = samples.log_odds((smoothing > 0.0).then(of_all));
        let target = negative_log_probability(log_odds) * self.weights(samples);
        match spread {
            None => target,
            Some(spread) => target.mul_scalar(1.0 - smoothing) + spread.mul_scalar(smoothing / classes as f64),
        }
    }

    /// What every sample counts in a mean, `[rows]`; 0 without a class.
    fn weights(&self, samples: &Samples) -> Tensor<1> {
        let ([rows, classes], options) = (samples.logits.dims(), (&samples.logits.device(), samples.logits.dtype()));
        if rows == 0 || classes == 0 {
            return Tensor::zeros([rows], options);
        }
        match &self.class_weights {
            Some(weights) => samples.weight_of_target(weights.of_classes(&samples.logits)),
            None => Tensor::<1>::ones([rows], options).mask_fill(samples.valid.clone().bool_not(), 0.0),
        }
    }

    fn soft_rule(&self) -> SoftRule {
        SoftRule { smoothing: self.label_smoothing, gamma: 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn logits() -> Tensor<2> {
        // Softmax (1/4, 3/4) and (1/2, 1/2).
        Tensor::from_data([[0.0_f32, 3.0_f32.ln()], [5.0, 5.0]], &Device::flex())
    }

    fn labels(labels: [i64; 2]) -> Tensor<1, Int> {
        Tensor::from_data(labels, &Device::flex())
    }

    #[test]
    fn a_mean_is_weighted_by_class() {
        let loss =
            CrossEntropyLossConfig::new().with_class_weights(Some(alloc::vec![3.0, 1.0].into())).init(&Device::flex());
        let mean = loss.forward(logits(), labels([0, 1]), Reduction::Mean).into_scalar::<f32>();

        // By hand: (3·ln 4 + 1·ln 2) / (3 + 1) = 7/4·ln 2.
        assert!((mean - 1.75 * core::f32::consts::LN_2).abs() < 1e-6, "{mean}");
    }

    #[test]
    fn an_ignored_row_does_not_count() {
        let policy = LabelPolicy::new().with_ignore_label(Some(-100));
        let loss = CrossEntropyLossConfig::new().with_labels(policy).init(&Device::flex());
        let mean = loss.forward(logits(), labels([0, -100]), Reduction::Mean).into_scalar::<f32>();

        assert!((mean - 4.0_f32.ln()).abs() < 1e-6, "{mean}");
    }

    #[test]
    fn a_masked_class_that_is_not_wanted_costs_nothing() {
        let logits = Tensor::<2>::from_data([[1.0_f32, f32::NEG_INFINITY]], &Device::flex());
        let wanted = Tensor::<2>::from_data([[1.0_f32, 0.0]], &Device::flex());
        let loss = CrossEntropyLossConfig::new().init(&Device::flex());

        assert_eq!(loss.forward_soft(logits, wanted, Reduction::Sum).into_scalar::<f32>(), 0.0);
    }

    #[test]
    #[should_panic(expected = "CrossEntropyLoss: label_smoothing must be in [0, 1], got 1.5")]
    fn smoothing_beyond_one_is_rejected() {
        CrossEntropyLossConfig::new().with_label_smoothing(1.5).init(&Device::flex());
    }

    #[test]
    fn a_masked_class_that_weighs_nothing_costs_nothing_in_smoothing() {
        let logits = Tensor::<2>::from_data([[0.0_f32, 0.0, f32::NEG_INFINITY]], &Device::flex());
        let weights = Some(alloc::vec![1.0, 1.0, 0.0].into());
        let config = CrossEntropyLossConfig::new().with_class_weights(weights).with_label_smoothing(0.3);
        let loss = config.init(&Device::flex()).forward(logits, labels_of([0]), Reduction::Sum).into_scalar::<f32>();

        // By hand: both probabilities are 1/2; 0.7·ln 2 + 0.3/3·2·ln 2.
        assert!((loss - 0.9 * core::f32::consts::LN_2).abs() < 1e-6, "{loss}");
    }

    #[test]
    fn logits_of_no_classes_have_a_gradient_of_nothing() {
        let logits = Tensor::<2>::zeros([1, 0], &Device::flex().autodiff()).require_grad();
        let policy = LabelPolicy::new().with_on_bad_label(crate::labels::OnBadLabel::Ignore);
        let loss = CrossEntropyLossConfig::new().with_labels(policy).init(&Device::flex());
        let gradients = loss.forward(logits.clone(), labels_of([0]), Reduction::Sum).backward();

        assert_eq!(logits.grad(&gradients).unwrap().dims(), [1, 0]);
    }

    fn labels_of(labels: [i64; 1]) -> Tensor<1, Int> {
        Tensor::from_data(labels, &Device::flex())
    }
}
