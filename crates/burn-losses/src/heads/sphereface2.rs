use alloc::vec;
use alloc::vec::Vec;

use burn::config::Config;
use burn::module::{Initializer, Module, Param};
use burn::tensor::{Device, Tensor};
use burn_losses_kernels::math::softplus;

use super::rule::check_margin;
use super::{Batch, CentersConfig, Curve, GradientMode, Head, MarginRule, Target, Terms};
use crate::reduction::EmbeddingReduction;

/// Settings of [`SphereFace2`].
#[derive(Config, Debug)]
pub struct SphereFace2Config {
    /// How many classes; `>= 1`.
    pub classes: usize,
    /// The length of an embedding; `>= 1`.
    pub embedding_dim: usize,
    /// What is taken off the target similarity and added to those of the negatives; in `[-1000, 1000]`.
    /// Default: `0.4`.
    #[config(default = 0.4)]
    pub margin: f64,
    /// What the cosines are multiplied with; in `[1e-6, 1e6]`. The paper's r.
    /// Default: `40.0`.
    #[config(default = 40.0)]
    pub scale: f64,
    /// The share of the class of the label in the loss (the paper's lambda); in `(0, 1)`.
    /// Default: `0.7`.
    #[config(default = 0.7)]
    pub balance: f64,
    /// How much cosines are bent into similarities (the paper's t); in `[1, 100]`, 1 leaves them straight.
    /// Default: `3.0`.
    #[config(default = 3.0)]
    pub exponent: f64,
    /// Whether the gradient goes through the bend; the authors' code uses `Detached`.
    /// Default: `GradientMode::Exact`.
    #[config(default = "GradientMode::Exact")]
    pub gradient: GradientMode,
    /// How the class centers start, which labels count, and what a batch is compared with.
    /// Default: `CentersConfig::new()`.
    #[config(default = "CentersConfig::new()")]
    pub centers: CentersConfig,
    /// How the losses of a batch become one number.
    /// Default: `EmbeddingReduction::Mean`.
    #[config(default = "EmbeddingReduction::Mean")]
    pub reduction: EmbeddingReduction,
}

impl SphereFace2Config {
    /// Builds the head with random class centers on `device`. The bias starts where the class of the label and all
    /// others pull alike as long as every cosine is 0.
    ///
    /// # Panics
    ///
    /// If a field is out of its range.
    #[track_caller]
    pub fn init(&self, device: &Device) -> SphereFace2 {
        let Self { margin, scale, balance, exponent, gradient, .. } = *self;
        let bias = Initializer::Constant { value: self.balanced_bias() }.init([1], device);
        let rule = SphereFace2Rule { bias, margin, scale, balance, exponent, gradient };
        let centers = self.centers.init("SphereFace2", [self.classes, self.embedding_dim], device);

        Head::with_rule(centers, rule, self.reduction)
    }

    /// The bias b that solves
    ///
    /// ```text
    /// balance·sigmoid(-(target + b)) = (1 - balance)·(classes - 1)·sigmoid(negative + b)
    /// target = scale·(similarity(0) - margin),  negative = scale·(similarity(0) + margin)
    /// ```
    ///
    /// a quadratic equation in `exp(b)`; of the two forms of its root, the one that does not cancel.
    fn balanced_bias(&self) -> f64 {
        let negatives = self.classes.saturating_sub(1).max(1) as f64;
        let ratio = self.balance / ((1.0 - self.balance) * negatives);
        let negative = self.scale * (2.0 * libm::pow(0.5, self.exponent) - 1.0 + self.margin);
        let apart = 2.0 * self.scale * self.margin;
        let rest = 1.0 - ratio;
        let root = libm::sqrt(rest * rest + 4.0 * ratio * libm::exp(-apart));
        if rest >= 0.0 {
            libm::log(2.0 * ratio) - negative - libm::log(rest + root)
        } else {
            libm::log(0.5 * (root - rest)) - negative + apart
        }
    }
}

/// One yes-or-no question per class instead of one choice among all: every class is compared with the same threshold.
///
/// ```text
/// similarity(cosine) = 2·((cosine + 1) / 2)^exponent - 1
/// loss[i] = balance/scale·softplus(-(scale·(similarity(target[i]) - margin) + bias))
///         + (1 - balance)/scale·sum over j != labels[i] of softplus(scale·(similarity(cosine[i, j]) + margin) + bias)
/// ```
///
/// The `bias` is trained with the centers. No class competes with another, so a wrong label disturbs less, and a sample
/// says something about every class. See [`Head`] for what is around it. The public code multiplies the loss with a
/// number of its own on top; weigh it yourself.
///
/// # When to take it
///
/// Take it for verification, or where labels are noisy: classes do not compete in a softmax. To tell which class of
/// those in training a sample is of, take [`ArcFace`](super::ArcFace).
///
/// # Source
///
/// Wen, Liu, Weller, Raj, Singh: [SphereFace2](https://arxiv.org/abs/2108.01513), 2022, section 3.
///
/// # Example
///
/// ```
/// use burn::module::Param;
/// use burn::tensor::{Device, Int, Tensor};
/// use burn_losses::heads::SphereFace2Config;
///
/// let device = Device::default();
/// let mut head = SphereFace2Config::new(2, 2).with_exponent(1.0).with_scale(1.0).init(&device);
/// head.centers.weight = Param::from_tensor(Tensor::from_data([[1.0, 0.0], [0.0, 1.0]], &device));
/// let embeddings = Tensor::<2>::from_data([[5.0, 0.0]], &device);
/// let labels = Tensor::<1, Int>::from_ints([0], &device);
/// head.rule.bias = Param::from_tensor(Tensor::zeros([1], &device));
/// // The cosines are 1 and 0: the first should be above the margin of 0.4, the second below -0.4.
/// let loss = head.forward(embeddings, labels).into_scalar::<f32>();
/// let (own, other) = ((-0.6_f32).exp().ln_1p(), 0.4_f32.exp().ln_1p());
/// assert!((loss - (0.7 * own + 0.3 * other)).abs() < 1e-5);
/// ```
pub type SphereFace2 = Head<SphereFace2Rule>;

/// The rule of [`SphereFace2`].
#[derive(Module, Debug)]
pub struct SphereFace2Rule {
    /// What is added to every scaled similarity, trained, `[1]`.
    pub bias: Param<Tensor<1>>,
    /// What is taken off the target similarity and added to those of the negatives.
    pub margin: f64,
    /// What the cosines are multiplied with.
    pub scale: f64,
    /// The share of the class of the label in the loss.
    pub balance: f64,
    /// How much cosines are bent into similarities.
    pub exponent: f64,
    /// Whether the gradient goes through the bend.
    #[module(skip)]
    pub gradient: GradientMode,
}

impl SphereFace2Rule {
    fn similarity(&self) -> Curve {
        Curve { exponent: self.exponent, detached: self.gradient == GradientMode::Detached }
    }
}

impl MarginRule for SphereFace2Rule {
    fn name(&self) -> &'static str {
        "SphereFace2"
    }

    fn check(&self) {
        let Self { balance, exponent, .. } = *self;
        check_margin("SphereFace2", "margin", self.margin);
        assert!(balance > 0.0 && balance < 1.0, "SphereFace2: balance must be in (0, 1), got {balance}");
        assert!((1.0..=100.0).contains(&exponent), "SphereFace2: exponent must be in [1, 100], got {exponent}");
    }

    fn scale(&self) -> f64 {
        self.scale
    }

    fn margins_mut(&mut self) -> Vec<&mut f64> {
        vec![&mut self.margin]
    }

    fn target(&self, target: &Target) -> Tensor<1> {
        self.similarity().of(target.cosine.clone()).sub_scalar(self.margin)
    }

    fn loss(&self, negatives: Tensor<1>, target: Tensor<1>) -> Tensor<1> {
        let target = softplus(target.neg());
        target.mul_scalar(self.balance / self.scale) + negatives.mul_scalar((1.0 - self.balance) / self.scale)
    }

    fn offset(&self) -> Option<Tensor<1>> {
        Some(self.bias.val())
    }

    fn negatives(&self, batch: &Batch<'_>) -> Terms {
        let offset = batch.offset().add_scalar(self.scale * self.margin);
        Terms::Softplus { offset, curve: self.similarity() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_the_start_the_target_and_all_negatives_pull_alike() {
        let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
        for (classes, balance, margin) in [(2, 0.7, 0.4), (2, 0.9, 0.1), (1000, 0.7, 0.4), (5, 0.2, -0.1)] {
            let config = SphereFace2Config::new(classes, 2).with_balance(balance).with_margin(margin).with_scale(10.0);
            let bias = config.balanced_bias();
            // similarity(0) = 2·0.5³ - 1 = -0.75.
            let target = balance * sigmoid(-(10.0 * (-0.75 - margin) + bias));
            let negatives = (1.0 - balance) * (classes as f64 - 1.0) * sigmoid(10.0 * (-0.75 + margin) + bias);
            assert!((target / negatives - 1.0).abs() < 1e-9, "{classes} {balance} {margin}: {target} and {negatives}");
        }
        let extreme = SphereFace2Config::new(2, 2).with_balance(0.9).with_margin(100.0).with_scale(1e4);
        assert!(extreme.balanced_bias().is_finite());
    }

    #[test]
    fn every_class_is_asked_by_itself() {
        let device = Device::flex();
        let config = SphereFace2Config::new(2, 2).with_scale(2.0).with_margin(0.1).with_balance(0.6);
        let mut head = config.with_exponent(2.0).init(&device);
        head.rule.bias = Param::from_tensor(Tensor::from_data([0.7_f32], &device));
        head.centers.weight = Param::from_tensor(Tensor::from_data([[2.0_f32, 0.0], [0.0, 1.0]], &device));
        let embedding = Tensor::<2>::from_data([[3.0_f32, 4.0]], &device);
        let loss = head.forward(embedding, Tensor::from_data([0], &device)).into_scalar::<f32>();

        // By hand: the similarities are 2·0.8² - 1 = 0.28 and 2·0.9² - 1 = 0.62.
        let target = (-(2.0 * (0.28 - 0.1) + 0.7_f32)).exp().ln_1p();
        let negative = (2.0 * (0.62 + 0.1) + 0.7_f32).exp().ln_1p();
        let expected = (0.6 * target + 0.4 * negative) / 2.0;
        assert!((loss - expected).abs() < 1e-5, "{loss} is not {expected}");
    }

    #[test]
    #[should_panic(expected = "SphereFace2: balance must be in (0, 1), got 1")]
    fn a_balance_of_one_is_rejected() {
        SphereFace2Config::new(2, 2).with_balance(1.0).init(&Device::flex());
    }
}
