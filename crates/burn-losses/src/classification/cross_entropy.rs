use alloc::vec::Vec;

use burn::config::Config;
use burn::module::Module;
use burn::tensor::activation::log_softmax;
use burn::tensor::{Device, Int, Tensor, assert_shape};
use burn_losses_kernels::precision::{cast_to, widen};

use super::class_weights::ClassWeights;
use crate::labels::{LabelPolicy, SafeLabels, silence};
use crate::reduction::Reduction;

/// Settings of [`CrossEntropyLoss`].
#[derive(Config, Debug)]
pub struct CrossEntropyLossConfig {
    /// What the loss of each class is multiplied with, `>= 0` and one per class; `None` for 1.
    #[config(default = "None")]
    pub class_weights: Option<Vec<f64>>,
    /// How much of every target is spread evenly over all classes; in `[0, 1]`.
    #[config(default = 0.0)]
    pub smoothing: f64,
    /// Which labels are ignored, and whether bad ones panic.
    #[config(default = "LabelPolicy::new()")]
    pub labels: LabelPolicy,
}

impl CrossEntropyLossConfig {
    /// Builds the loss with its class weights on `device`.
    ///
    /// # Panics
    ///
    /// If a field is out of its range.
    pub fn init(&self, device: &Device) -> CrossEntropyLoss {
        let smoothing = self.smoothing;
        assert!((0.0..=1.0).contains(&smoothing), "CrossEntropyLoss: smoothing must be in [0, 1], got {smoothing}");
        self.labels.validate("CrossEntropyLoss");
        let weights = ClassWeights::new("CrossEntropyLoss", "class_weights", self.class_weights.as_ref(), device);

        CrossEntropyLoss { class_weights: weights, smoothing, labels: self.labels.clone() }
    }
}

/// Softmax and cross-entropy: minus the log-probability of the own class, or of a distribution over the classes.
///
/// ```text
/// log_p[i]  = log_softmax(logits[i])
/// target[i] = (1 - smoothing)·(1 at labels[i], or probabilities[i]) + smoothing / classes
/// loss[i]   = -sum over c of class_weights[c]·target[i, c]·log_p[i, c]
/// mean      = sum(loss) / sum(class_weights[labels])        for labels
///           = sum(loss) / batch                             for probabilities
/// ```
///
/// The means are PyTorch's. A logit of minus infinity (a class that is masked out) is fine where the target has no share of
/// it. Burn's own `CrossEntropyLoss` has neither an ignored label below 0 nor probabilities nor another reduction.
///
/// # Source
///
/// Szegedy et al.: [Rethinking the Inception Architecture](https://arxiv.org/abs/1512.00567), 2016, section 7, for the
/// smoothing; PyTorch's `cross_entropy` for the means.
///
/// ```
/// use burn::tensor::{Device, Int, Tensor};
/// use burn_losses::classification::CrossEntropyLossConfig;
/// use burn_losses::labels::LabelPolicy;
/// use burn_losses::reduction::Reduction;
///
/// let device = Device::default();
/// let labels = LabelPolicy::new().with_ignore_label(Some(-100));
/// let loss = CrossEntropyLossConfig::new().with_labels(labels).init(&device);
/// let logits = Tensor::<2>::zeros([2, 4], &device);
/// let value = loss.forward(logits, Tensor::<1, Int>::from_ints([3, -100], &device), Reduction::Mean);
/// assert!((value.into_scalar::<f32>() - 4.0_f32.ln()).abs() < 1e-6);
/// ```
#[derive(Module, Debug)]
pub struct CrossEntropyLoss {
    class_weights: ClassWeights,
    smoothing: f64,
    #[module(skip)]
    labels: LabelPolicy,
}

impl CrossEntropyLoss {
    /// One number for the batch, from classes; rows without a class do not count in a mean.
    ///
    /// # Shapes
    ///
    /// - logits: `[batch, classes]`
    /// - labels: `[batch]`
    /// - output: `[1]`
    ///
    /// # Panics
    ///
    /// If the shapes do not agree, by a strict [`LabelPolicy`], or if there are not as many class weights as classes.
    pub fn forward(&self, logits: Tensor<2>, labels: Tensor<1, Int>, reduction: Reduction) -> Tensor<1> {
        let dtype = logits.dtype();
        let labels = self.labels.of_rows(&logits, labels);
        let losses = self.losses(logits.clone(), labels.clone());
        let weights = self.class_weights.of_rows(&losses, logits.dims()[1], labels.index);
        let weights = weights.mask_fill(labels.valid.bool_not(), 0.0);
        cast_to(reduction.apply_weighted(losses, weights), dtype)
    }

    /// The loss of every row, from classes; 0 for one without a class.
    ///
    /// # Shapes
    ///
    /// - logits: `[batch, classes]`
    /// - labels: `[batch]`
    /// - output: `[batch]`
    ///
    /// # Panics
    ///
    /// As [`forward`](Self::forward).
    pub fn forward_no_reduction(&self, logits: Tensor<2>, labels: Tensor<1, Int>) -> Tensor<1> {
        let (dtype, labels) = (logits.dtype(), self.labels.of_rows(&logits, labels));
        cast_to(self.losses(logits, labels), dtype)
    }

    /// One number for the batch, from a distribution per row.
    ///
    /// # Shapes
    ///
    /// - logits: `[batch, classes]`
    /// - probabilities: `[batch, classes]`, `>= 0`; rows add up to 1, which is not checked
    /// - output: `[1]`
    ///
    /// # Panics
    ///
    /// If the shapes do not agree, or if there are not as many class weights as classes.
    pub fn forward_soft(&self, logits: Tensor<2>, probabilities: Tensor<2>, reduction: Reduction) -> Tensor<1> {
        reduction.apply(self.forward_soft_no_reduction(logits, probabilities))
    }

    /// The loss of every row, from a distribution per row.
    ///
    /// # Shapes
    ///
    /// - logits: `[batch, classes]`
    /// - probabilities: `[batch, classes]`
    /// - output: `[batch]`
    ///
    /// # Panics
    ///
    /// As [`forward_soft`](Self::forward_soft).
    pub fn forward_soft_no_reduction(&self, logits: Tensor<2>, probabilities: Tensor<2>) -> Tensor<1> {
        let (dtype, [batch, classes]) = (logits.dtype(), logits.dims());
        assert_shape!(probabilities, [batch, classes]);
        if batch == 0 {
            return logits.reshape([0]);
        }
        let logits = widen(logits);
        let targets = cast_to(probabilities, logits.dtype()).mul_scalar(1.0 - self.smoothing);
        cast_to(self.cross_entropy(logits, targets.add_scalar(self.smoothing / classes as f64)), dtype)
    }

    fn losses(&self, logits: Tensor<2>, SafeLabels { index, valid }: SafeLabels) -> Tensor<1> {
        let [batch, classes] = logits.dims();
        if batch == 0 {
            return logits.reshape([0]);
        }
        let logits = widen(silence(logits, valid.clone()));
        let log_p = log_softmax(logits.clone(), 1);
        let own = log_p.clone().gather(1, index.clone().unsqueeze_dim(1)).squeeze_dim::<1>(1).neg();
        let losses = own * self.class_weights.of_rows(&log_p, classes, index).mul_scalar(1.0 - self.smoothing);
        let losses = if self.smoothing == 0.0 {
            losses
        } else {
            let share = logits.clone().detach().ones_like().mul_scalar(self.smoothing / classes as f64);
            losses + self.cross_entropy(logits, share)
        };
        losses.mask_fill(valid.bool_not(), 0.0)
    }

    fn cross_entropy(&self, logits: Tensor<2>, targets: Tensor<2>) -> Tensor<1> {
        let shape = logits.dims();
        let targets = match self.class_weights.all(&logits, shape[1]) {
            Some(weights) => targets * weights.unsqueeze_dim::<2>(0).expand(shape),
            None => targets,
        };
        // A class that has no share of the target may have probability 0.
        let no_share = targets.clone().equal_scalar(0.0);
        let log_p = log_softmax(logits, 1).mask_fill(no_share, 0.0);
        (log_p * targets).sum_dim(1).squeeze_dim::<1>(1).neg()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    fn scalar(tensor: Tensor<1>) -> f32 {
        tensor.into_scalar::<f32>()
    }

    #[test]
    fn the_mean_is_by_the_weights_of_the_classes() {
        let device = Device::flex();
        let loss = CrossEntropyLossConfig::new().with_class_weights(Some(vec![1.0, 3.0])).init(&device);
        let logits = Tensor::<2>::from_data([[0.0_f32, 0.0], [0.0, 3.0_f32.ln()]], &device);
        let labels = Tensor::<1, Int>::from_data([0, 1], &device);

        // By hand: probabilities 1/2 and 3/4.
        let expected = (2.0_f32.ln() + 3.0 * (4.0_f32 / 3.0).ln()) / 4.0;
        assert!((scalar(loss.forward(logits, labels, Reduction::Mean)) - expected).abs() < 1e-6);
    }

    #[test]
    fn a_masked_class_without_a_share_counts_for_nothing() {
        let device = Device::flex().autodiff();
        let loss = CrossEntropyLossConfig::new().init(&device);
        let logits = Tensor::<2>::from_data([[1.0_f32, f32::NEG_INFINITY, 1.0]], &device).require_grad();
        let targets = Tensor::<2>::from_data([[0.5_f32, 0.0, 0.5]], &device);
        let value = loss.forward_soft(logits.clone(), targets, Reduction::Sum);
        let gradient = logits.grad(&value.backward()).unwrap().try_into_vec_as::<f32>().unwrap();

        assert!((scalar(value) - 2.0_f32.ln()).abs() < 1e-6);
        assert_eq!(gradient, [0.0; 3]);
    }

    #[test]
    #[should_panic(expected = "CrossEntropyLoss: smoothing must be in [0, 1], got 1.1")]
    fn a_smoothing_above_one_is_rejected() {
        CrossEntropyLossConfig::new().with_smoothing(1.1).init(&Device::flex());
    }

    #[test]
    #[should_panic(expected = "CrossEntropyLoss: class_weights must be >= 0, got -1 for class 1")]
    fn a_negative_weight_is_rejected() {
        CrossEntropyLossConfig::new().with_class_weights(Some(vec![1.0, -1.0])).init(&Device::flex());
    }
}
