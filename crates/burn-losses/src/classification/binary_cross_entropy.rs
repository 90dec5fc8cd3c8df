use burn::config::Config;
use burn::module::Module;
use burn::nn::loss::Reduction;
use burn::tensor::{Device, Tensor};

use super::class_weights::{ClassWeight, ClassWeights};
use super::elements::{Answers, Elements, Weights, check_ignored};

const NAME: &str = "BinaryCrossEntropyLoss";

/// Settings of [`BinaryCrossEntropyLoss`].
#[derive(Config, Debug)]
pub struct BinaryCrossEntropyLossConfig {
    /// How much a positive target counts, in `[0, 1e6]`: one number for all classes, or one each. `None` is 1. With
    /// `negatives / positives` of a class both sides of it count the same.
    /// Default: `None`.
    #[config(default = "None")]
    pub positive_weights: Option<ClassWeight>,
    /// A target that does not count: its loss and gradient are 0, and it is in no mean. Outside `[0, 1]`, such as -1.
    /// Default: `None`.
    #[config(default = "None")]
    pub ignore_target: Option<f64>,
    /// Which axis is that of the classes, where each has a number; a negative one counts from the end.
    /// Default: `1`.
    #[config(default = 1)]
    pub class_dim: isize,
}

impl BinaryCrossEntropyLossConfig {
    /// Builds the loss.
    ///
    /// # Panics
    ///
    /// If a field is out of its range.
    #[track_caller]
    pub fn init(&self, _device: &Device) -> BinaryCrossEntropyLoss {
        let Self { positive_weights, ignore_target, class_dim } = self.clone();
        check_ignored(NAME, ignore_target);
        let positive_weights = ClassWeights::new(NAME, "positive_weights", positive_weights, 1e6);

        BinaryCrossEntropyLoss { positive_weights, ignore_target, class_dim }
    }
}

/// Cross-entropy of a yes or no per class, from logits.
///
/// ```text
/// p    = sigmoid(logits)
/// loss = -positive_weights[class]·targets·log(p) - (1 - targets)·log(1 - p)
/// ```
///
/// For classes that can be present together. Targets are probabilities, not only 0 and 1. Logits are finite.
///
/// # When to take it
///
/// For several yes-or-no questions per sample. Where nearly all answers are no, take [`AsymmetricLoss`](super::AsymmetricLoss) or
/// [`BinaryFocalLoss`](super::BinaryFocalLoss).
///
/// # Source
///
/// The likelihood of logistic regression; the same as `binary_cross_entropy_with_logits` of PyTorch.
///
/// # Example
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use burn_losses::classification::{BinaryCrossEntropyLossConfig, Reduction};
///
/// let device = Device::default();
/// let logits = Tensor::<2>::from_data([[0.0]], &device);
/// let targets = Tensor::<2>::from_data([[1.0]], &device);
/// let loss = BinaryCrossEntropyLossConfig::new().init(&device).forward(logits, targets, Reduction::Mean);
/// // A logit of 0 is a probability of 1/2.
/// assert!((loss.into_scalar::<f32>() - 2.0_f32.ln()).abs() < 1e-6);
/// ```
#[derive(Module, Debug)]
#[module(custom_display)]
pub struct BinaryCrossEntropyLoss {
    #[module(skip)]
    positive_weights: Option<ClassWeights>,
    #[module(skip)]
    ignore_target: Option<f64>,
    class_dim: isize,
}

impl BinaryCrossEntropyLoss {
    /// The reduced loss; a mean is over all targets that are not ignored, `BatchMean` divides the sum by the first axis.
    ///
    /// # Shapes and panics
    ///
    /// As [`forward_no_reduction`](Self::forward_no_reduction); output `[1]`.
    #[track_caller]
    pub fn forward<const D: usize>(&self, logits: Tensor<D>, targets: Tensor<D>, reduction: Reduction) -> Tensor<1> {
        let elements = Elements::new(NAME, self.ignore_target, logits, targets);
        let weights = self.weights(&elements.logits);
        elements.reduced(reduction, self.answers(), weights)
    }

    /// The loss of every target; 0 where it is ignored.
    ///
    /// # Shapes
    ///
    /// - logits: `[batch, classes]`, or any other
    /// - targets: as logits, in `[0, 1]`
    /// - output: as logits
    ///
    /// # Panics
    ///
    /// If the shapes differ, there is not one weight per class, or a target in host memory is neither in `[0, 1]` nor ignored.
    #[track_caller]
    pub fn forward_no_reduction<const D: usize>(&self, logits: Tensor<D>, targets: Tensor<D>) -> Tensor<D> {
        let elements = Elements::new(NAME, self.ignore_target, logits, targets);
        let weights = self.weights(&elements.logits);
        elements.each(self.answers(), weights)
    }

    fn answers(&self) -> Answers {
        Answers { gamma_present: 0.0, gamma_absent: 0.0, clip: 0.0 }
    }

    fn weights<const D: usize>(&self, logits: &Tensor<D>) -> Weights<D> {
        match &self.positive_weights {
            None => Weights::Same([1.0, 1.0]),
            Some(weights) => match weights.same() {
                Some(weight) => Weights::Same([weight, 1.0]),
                None => Weights::Each { present: weights.along(self.class_dim, logits), absent: None },
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_positive_side_is_weighted() {
        let device = Device::flex();
        // p is 1/4 and 3/4.
        let logits = Tensor::<2>::from_data([[-(3.0_f32.ln()), 3.0_f32.ln()]], &device);
        let targets = Tensor::<2>::from_data([[1.0_f32, 0.0]], &device);
        let loss = BinaryCrossEntropyLossConfig::new()
            .with_positive_weights(Some(alloc::vec![2.0, 5.0].into()))
            .init(&Device::flex());
        let losses = loss.forward_no_reduction(logits, targets).try_into_vec_as::<f32>().unwrap();

        // By hand: 2·ln 4 and ln 4.
        assert!((losses[0] - 2.0 * 4.0_f32.ln()).abs() < 1e-6, "{losses:?}");
        assert!((losses[1] - 4.0_f32.ln()).abs() < 1e-6, "{losses:?}");
    }

    #[test]
    #[should_panic(expected = "BinaryCrossEntropyLoss: positive_weights has 1 numbers for 2 classes")]
    fn a_missing_weight_is_named() {
        let zeros = || Tensor::<2>::zeros([1, 2], &Device::flex());
        let loss = BinaryCrossEntropyLossConfig::new()
            .with_positive_weights(Some(alloc::vec![2.0].into()))
            .init(&Device::flex());
        loss.forward_no_reduction(zeros(), zeros());
    }

    /// Burn divides gradients by a number in `f32`; a mean must not.
    #[test]
    fn the_gradient_of_a_mean_keeps_its_digits_in_f64() {
        let options = (&Device::flex().autodiff(), burn::tensor::DType::F64);
        let logits = Tensor::<1>::from_data([0.3_f64, -1.2, 2.5], options).require_grad();
        let targets = Tensor::<1>::from_data([1.0_f64, 0.0, 0.0], options);
        let loss = BinaryCrossEntropyLossConfig::new().init(&Device::flex());
        let gradients = loss.forward(logits.clone(), targets, Reduction::Mean).backward();
        let slopes = logits.grad(&gradients).unwrap().try_into_vec_as::<f64>().unwrap();

        for (slope, (x, y)) in slopes.into_iter().zip([(0.3_f64, 1.0), (-1.2, 0.0), (2.5, 0.0)]) {
            let expected = (1.0 / (1.0 + (-x).exp()) - y) / 3.0;
            assert!((slope - expected).abs() < 1e-15, "{slope} is not {expected}");
        }
    }

    #[test]
    fn an_ignored_target_is_one_in_the_precision_of_the_targets() {
        let loss = BinaryCrossEntropyLossConfig::new().with_ignore_target(Some(-0.3)).init(&Device::flex());
        let targets = Tensor::<1>::from_data([-0.3_f32, 1.0], &Device::flex());
        let losses = loss.forward_no_reduction(Tensor::zeros([2], &Device::flex()), targets);

        assert_eq!(losses.try_into_vec_as::<f32>().unwrap(), [0.0, core::f32::consts::LN_2]);
    }

    #[test]
    #[should_panic(expected = "targets[0] is 2, but must be in [0, 1] or ignore_target, -1")]
    fn a_message_names_the_ignored_target() {
        let loss = BinaryCrossEntropyLossConfig::new().with_ignore_target(Some(-1.0)).init(&Device::flex());
        loss.forward(
            Tensor::<1>::zeros([1], &Device::flex()),
            Tensor::full([1], 2.0, &Device::flex()),
            Reduction::Mean,
        );
    }
}
