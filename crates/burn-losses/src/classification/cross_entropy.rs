use alloc::vec::Vec;

use burn::config::Config;
use burn::module::Module;
use burn::tensor::{Int, Tensor, assert_shape};
use burn_losses_kernels::math::{cast_to, widen};

use super::class_weights::{check_weights, weight_row};
use super::log_probabilities::log_probabilities;
use super::samples::Samples;
use crate::labels::{ClassLabels, LabelPolicy};
use crate::reduction::EmbeddingReduction;

const NAME: &str = "CrossEntropyLoss";

/// Settings of [`CrossEntropyLoss`].
#[derive(Config, Debug)]
pub struct CrossEntropyLossConfig {
    /// How much every class counts, one number each in `[0, 1e6]`; `None` is 1 for all.
    #[config(default = "None")]
    pub class_weights: Option<Vec<f64>>,
    /// The share of the target that is spread over all classes; in `[0, 1]`.
    #[config(default = 0.0)]
    pub label_smoothing: f64,
    /// Which labels are ignored, and whether bad ones panic.
    #[config(default = "LabelPolicy::new()")]
    pub labels: LabelPolicy,
}

impl CrossEntropyLossConfig {
    /// Builds the loss.
    ///
    /// # Panics
    ///
    /// If a field is out of its range.
    pub fn init(&self) -> CrossEntropyLoss {
        let Self { class_weights, label_smoothing, labels } = self.clone();
        check_weights(NAME, "class_weights", class_weights.as_ref(), 1e6);
        assert!(
            (0.0..=1.0).contains(&label_smoothing),
            "{NAME}: label_smoothing must be in [0, 1], got {label_smoothing}"
        );

        CrossEntropyLoss { class_weights, label_smoothing, labels: ClassLabels::new(NAME, &labels) }
    }
}

/// Softmax cross-entropy: the surprise at the true class.
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
/// # Source
///
/// Smoothing: Szegedy et al.: [Rethinking the Inception Architecture](https://arxiv.org/abs/1512.00567), 2015, section 7.
#[derive(Module, Debug)]
pub struct CrossEntropyLoss {
    #[module(skip)]
    class_weights: Option<Vec<f64>>,
    label_smoothing: f64,
    #[module(skip)]
    labels: ClassLabels,
}

impl CrossEntropyLoss {
    /// The reduced loss; 0 when no row has a class. A mean is weighted by class.
    ///
    /// # Shapes and panics
    ///
    /// As [`forward_no_reduction`](Self::forward_no_reduction); output `[1]`.
    pub fn forward(&self, logits: Tensor<2>, labels: Tensor<1, Int>, reduction: EmbeddingReduction) -> Tensor<1> {
        let dtype = logits.dtype();
        let (losses, weights) = self.losses(widen(logits), labels);
        cast_to(reduction.apply_weighted(losses, weights), dtype)
    }

    /// The loss of every row; 0 for rows without a class.
    ///
    /// # Shapes
    ///
    /// - logits: `[batch, classes]`
    /// - labels: `[batch]`
    /// - output: `[batch]`
    ///
    /// # Panics
    ///
    /// If the shapes do not fit, there is not one weight per class, or by the policy for labels.
    pub fn forward_no_reduction(&self, logits: Tensor<2>, labels: Tensor<1, Int>) -> Tensor<1> {
        let dtype = logits.dtype();
        cast_to(self.losses(widen(logits), labels).0, dtype)
    }

    /// The reduced loss of targets that are probabilities; a mean is over rows.
    ///
    /// # Shapes and panics
    ///
    /// As [`forward_soft_no_reduction`](Self::forward_soft_no_reduction); output `[1]`.
    pub fn forward_soft(
        &self,
        logits: Tensor<2>,
        probabilities: Tensor<2>,
        reduction: EmbeddingReduction,
    ) -> Tensor<1> {
        let dtype = logits.dtype();
        let losses = self.forward_soft_no_reduction(widen(logits), probabilities);
        cast_to(reduction.apply(losses), dtype)
    }

    /// The loss of every row for targets that are probabilities.
    ///
    /// # Shapes
    ///
    /// - logits: `[batch, classes]`
    /// - probabilities: `[batch, classes]`; a row need not sum to 1
    /// - output: `[batch]`
    ///
    /// # Panics
    ///
    /// If the shapes differ or there is not one weight per class.
    pub fn forward_soft_no_reduction(&self, logits: Tensor<2>, probabilities: Tensor<2>) -> Tensor<1> {
        let [batch, classes] = logits.dims();
        assert_shape!(probabilities, [batch, classes]);
        if batch == 0 || classes == 0 {
            let probabilities = cast_to(probabilities, logits.dtype());
            return Tensor::zeros([batch], (&logits.device(), logits.dtype())) + logits.sum() + probabilities.sum();
        }
        let dtype = logits.dtype();
        let logits = widen(logits);
        let smoothing = self.label_smoothing;
        let targets = cast_to(probabilities, logits.dtype());
        let targets = targets.mul_scalar(1.0 - smoothing).add_scalar(smoothing / classes as f64);
        // 0 times infinity is 0 here: a class that is masked out and not wanted.
        let unwanted = logits.clone().equal_scalar(f64::NEG_INFINITY).bool_and(targets.clone().equal_scalar(0.0));
        let surprises = log_probabilities(logits).neg().mask_fill(unwanted, 0.0);
        let weighted = match &self.class_weights {
            Some(weights) => surprises.clone() * weight_row(NAME, "class_weights", weights, &surprises),
            None => surprises,
        };
        cast_to((weighted * targets).sum_dim(1).squeeze_dim(1), dtype)
    }

    /// The losses and the weight each has in a mean.
    fn losses(&self, logits: Tensor<2>, labels: Tensor<1, Int>) -> (Tensor<1>, Tensor<1>) {
        let samples = Samples::new(&self.labels, logits, labels);
        let [batch, classes] = samples.logits.dims();
        let row = match &self.class_weights {
            Some(weights) => weight_row(NAME, "class_weights", weights, &samples.logits),
            None => Tensor::ones([1, classes], (&samples.logits.device(), samples.logits.dtype())),
        };
        if batch == 0 || classes == 0 {
            let weights = Tensor::zeros([batch], (&row.device(), row.dtype()));
            return (samples.losses(|_| unreachable!("there are no losses")), weights);
        }
        let weights = samples.own_of_row(row.clone());
        let smoothing = self.label_smoothing;
        let of = |samples: &Samples| {
            let surprises = log_probabilities(samples.logits.clone()).neg();
            let own = samples.own(surprises.clone()) * weights.clone();
            if smoothing == 0.0 {
                return own;
            }
            let spread = (surprises * row).sum_dim(1).squeeze_dim(1);
            own.mul_scalar(1.0 - smoothing) + spread.mul_scalar(smoothing / classes as f64)
        };
        (samples.losses(of), weights)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    fn logits() -> Tensor<2> {
        // Softmax (1/4, 3/4) and (1/2, 1/2).
        Tensor::from_data([[0.0_f32, 3.0_f32.ln()], [5.0, 5.0]], &Device::flex())
    }

    fn labels(labels: [i64; 2]) -> Tensor<1, Int> {
        Tensor::from_data(labels, &Device::flex())
    }

    #[test]
    fn a_mean_is_weighted_by_class() {
        let loss = CrossEntropyLossConfig::new().with_class_weights(Some(alloc::vec![3.0, 1.0])).init();
        let mean = loss.forward(logits(), labels([0, 1]), EmbeddingReduction::Mean).into_scalar::<f32>();

        // By hand: (3·ln 4 + 1·ln 2) / (3 + 1) = 7/4·ln 2.
        assert!((mean - 1.75 * core::f32::consts::LN_2).abs() < 1e-6, "{mean}");
    }

    #[test]
    fn an_ignored_row_does_not_count() {
        let policy = LabelPolicy::new().with_ignore_label(Some(-100));
        let loss = CrossEntropyLossConfig::new().with_labels(policy).init();
        let mean = loss.forward(logits(), labels([0, -100]), EmbeddingReduction::Mean).into_scalar::<f32>();

        assert!((mean - 4.0_f32.ln()).abs() < 1e-6, "{mean}");
    }

    #[test]
    fn a_masked_class_that_is_not_wanted_costs_nothing() {
        let logits = Tensor::<2>::from_data([[1.0_f32, f32::NEG_INFINITY]], &Device::flex());
        let wanted = Tensor::<2>::from_data([[1.0_f32, 0.0]], &Device::flex());
        let loss = CrossEntropyLossConfig::new().init();

        assert_eq!(loss.forward_soft(logits, wanted, EmbeddingReduction::Sum).into_scalar::<f32>(), 0.0);
    }

    #[test]
    #[should_panic(expected = "CrossEntropyLoss: label_smoothing must be in [0, 1], got 1.5")]
    fn smoothing_beyond_one_is_rejected() {
        CrossEntropyLossConfig::new().with_label_smoothing(1.5).init();
    }
}
