use alloc::vec::Vec;

use burn::config::Config;
use burn::module::Module;
use burn::tensor::{Tensor, assert_shape};
use burn_losses_kernels::math::{cast_to, widen};

use super::class_weights::{check_weights, weight_row};
use super::log_odds::surprise;
use crate::reduction::EmbeddingReduction;

const NAME: &str = "BinaryCrossEntropyLoss";

/// Settings of [`BinaryCrossEntropyLoss`].
#[derive(Config, Debug)]
pub struct BinaryCrossEntropyLossConfig {
    /// How much a positive target counts, one number per class in `[0, 1e6]`; `None` is 1 for all. With
    /// `negatives / positives` of a class both sides of it count the same.
    #[config(default = "None")]
    pub positive_weights: Option<Vec<f64>>,
}

impl BinaryCrossEntropyLossConfig {
    /// Builds the loss.
    ///
    /// # Panics
    ///
    /// If a field is out of its range.
    pub fn init(&self) -> BinaryCrossEntropyLoss {
        check_weights(NAME, "positive_weights", self.positive_weights.as_ref(), 1e6);
        BinaryCrossEntropyLoss { positive_weights: self.positive_weights.clone() }
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
/// # Source
///
/// The likelihood of logistic regression; the same as `binary_cross_entropy_with_logits` of PyTorch.
#[derive(Module, Debug)]
pub struct BinaryCrossEntropyLoss {
    #[module(skip)]
    positive_weights: Option<Vec<f64>>,
}

impl BinaryCrossEntropyLoss {
    /// The reduced loss; a mean is over rows and classes.
    ///
    /// # Shapes and panics
    ///
    /// As [`forward_no_reduction`](Self::forward_no_reduction); output `[1]`.
    pub fn forward(&self, logits: Tensor<2>, targets: Tensor<2>, reduction: EmbeddingReduction) -> Tensor<1> {
        let dtype = logits.dtype();
        cast_to(reduction.apply(self.forward_no_reduction(widen(logits), targets)), dtype)
    }

    /// The loss of every row and class.
    ///
    /// # Shapes
    ///
    /// - logits: `[batch, classes]`
    /// - targets: `[batch, classes]`, in `[0, 1]`
    /// - output: `[batch, classes]`
    ///
    /// # Panics
    ///
    /// If the shapes differ or there is not one weight per class.
    pub fn forward_no_reduction(&self, logits: Tensor<2>, targets: Tensor<2>) -> Tensor<2> {
        let [batch, classes] = logits.dims();
        assert_shape!(targets, [batch, classes]);
        if batch == 0 || classes == 0 {
            return logits;
        }
        let dtype = logits.dtype();
        let logits = widen(logits);
        let targets = cast_to(targets, logits.dtype());

        let absent = targets.clone().neg().add_scalar(1.0) * surprise(logits.clone().neg());
        let present = targets * surprise(logits.clone());
        let present = match &self.positive_weights {
            Some(weights) => present * weight_row(NAME, "positive_weights", weights, &logits),
            None => present,
        };
        cast_to(present + absent, dtype)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    #[test]
    fn only_the_positive_side_is_weighted() {
        let device = Device::flex();
        // p is 1/4 and 3/4.
        let logits = Tensor::<2>::from_data([[-(3.0_f32.ln()), 3.0_f32.ln()]], &device);
        let targets = Tensor::<2>::from_data([[1.0_f32, 0.0]], &device);
        let loss = BinaryCrossEntropyLossConfig::new().with_positive_weights(Some(alloc::vec![2.0, 5.0])).init();
        let losses = loss.forward_no_reduction(logits, targets).try_into_vec_as::<f32>().unwrap();

        // By hand: 2·ln 4 and ln 4.
        assert!((losses[0] - 2.0 * 4.0_f32.ln()).abs() < 1e-6, "{losses:?}");
        assert!((losses[1] - 4.0_f32.ln()).abs() < 1e-6, "{losses:?}");
    }

    #[test]
    #[should_panic(expected = "BinaryCrossEntropyLoss: positive_weights has 1 numbers for 2 classes")]
    fn a_missing_weight_is_named() {
        let zeros = || Tensor::<2>::zeros([1, 2], &Device::flex());
        let loss = BinaryCrossEntropyLossConfig::new().with_positive_weights(Some(alloc::vec![2.0])).init();
        loss.forward_no_reduction(zeros(), zeros());
    }
}
