use burn::config::Config;
use burn::module::{Initializer, Module, Param};
use burn::tensor::{Device, Int, Tensor};
use burn_losses_kernels::logsumexp::{Scale, Streaming};
use burn_losses_kernels::math::{cast_to, softplus};
use burn_losses_kernels::rivals::{Comparison, Curve, Rivals, rival_scores};

use super::head::{check_margin, check_scale};
use super::{ClassCenters, ClassScores, GradientMode, MarginHead, OwnClass};
use crate::labels::LabelPolicy;

/// Settings of [`SphereFace2`].
#[derive(Config, Debug)]
pub struct SphereFace2Config {
    /// How many classes; `>= 1`.
    pub classes: usize,
    /// The length of an embedding; `>= 1`.
    pub embedding_dim: usize,
    /// What is taken off the own similarity and added to the others; in `[-1000, 1000]`.
    #[config(default = 0.4)]
    pub margin: f64,
    /// What the cosines are multiplied with; in `[1e-6, 1e6]`. The paper's r.
    #[config(default = 40.0)]
    pub scale: f64,
    /// The share of the own class in the loss (the paper's lambda); in `(0, 1)`.
    #[config(default = 0.7)]
    pub balance: f64,
    /// How much cosines are bent into similarities (the paper's t); in `[1, 100]`, 1 leaves them straight.
    #[config(default = 3.0)]
    pub exponent: f64,
    /// Whether the gradient goes through the bend; the authors' code uses `Detached`.
    #[config(default = "GradientMode::Exact")]
    pub gradient: GradientMode,
    /// How the class centers start.
    #[config(default = "Initializer::Normal { mean: 0.0, std: 0.01 }")]
    pub initializer: Initializer,
    /// Which labels are ignored, and whether bad ones panic.
    #[config(default = "LabelPolicy::new()")]
    pub labels: LabelPolicy,
    /// How many classes are compared with at once.
    #[config(default = "Streaming::new()")]
    pub streaming: Streaming,
}

impl SphereFace2Config {
    /// Builds the head with random class centers on `device`. The bias starts where the own class and all others pull
    /// alike as long as every cosine is 0.
    ///
    /// # Panics
    ///
    /// If a field is out of its range.
    pub fn init(&self, device: &Device) -> SphereFace2 {
        let Self { classes, margin, scale, balance, exponent, .. } = *self;
        check_margin("SphereFace2", "margin", margin);
        check_scale("SphereFace2", scale);
        assert!(balance > 0.0 && balance < 1.0, "SphereFace2: balance must be in (0, 1), got {balance}");
        assert!((1.0..=100.0).contains(&exponent), "SphereFace2: exponent must be in [1, 100], got {exponent}");
        let size = [classes, self.embedding_dim];

        SphereFace2 {
            centers: ClassCenters::new("SphereFace2", size, &self.initializer, &self.labels, device)
                .with_streaming(self.streaming),
            bias: Initializer::Constant { value: self.balanced_bias() }.init([1], device),
            margin,
            scale,
            balance,
            exponent,
            gradient: self.gradient,
        }
    }

    /// The bias b that solves
    ///
    /// ```text
    /// balance·sigmoid(-(own + b)) = (1 - balance)·(classes - 1)·sigmoid(other + b)
    /// own   = scale·(similarity(0) - margin),  other = scale·(similarity(0) + margin)
    /// ```
    ///
    /// a quadratic equation in `exp(b)`; of the two forms of its root, the one that does not cancel.
    fn balanced_bias(&self) -> f64 {
        let others = self.classes.saturating_sub(1).max(1) as f64;
        let ratio = self.balance / ((1.0 - self.balance) * others);
        let other = self.scale * (2.0 * libm::pow(0.5, self.exponent) - 1.0 + self.margin);
        let apart = 2.0 * self.scale * self.margin;
        let rest = 1.0 - ratio;
        let root = libm::sqrt(rest * rest + 4.0 * ratio * libm::exp(-apart));
        if rest >= 0.0 {
            libm::log(2.0 * ratio) - other - libm::log(rest + root)
        } else {
            libm::log(0.5 * (root - rest)) - other + apart
        }
    }
}

/// One yes-or-no question per class instead of one choice among all: every class is compared with the same threshold.
///
/// ```text
/// similarity(cosine) = 2·((cosine + 1) / 2)^exponent - 1
/// loss[i] = balance/scale·softplus(-(scale·(similarity(own_cosine[i]) - margin) + bias))
///         + (1 - balance)/scale·sum over j != labels[i] of softplus(scale·(similarity(cosine[i, j]) + margin) + bias)
/// ```
///
/// The `bias` is trained with the centers. No class competes with another, so a wrong label disturbs less, and a sample
/// says something about every class. See [`MarginHead`] for what is around it. The public code multiplies the loss with a
/// number of its own on top; weigh it yourself.
///
/// # Source
///
/// Wen, Liu, Weller, Raj, Singh: [SphereFace2](https://arxiv.org/abs/2108.01513), 2022, section 3.
#[derive(Module, Debug)]
pub struct SphereFace2 {
    /// The trained class centers.
    pub centers: ClassCenters,
    /// What is added to every scaled similarity, trained, `[1]`.
    pub bias: Param<Tensor<1>>,
    margin: f64,
    scale: f64,
    balance: f64,
    exponent: f64,
    #[module(skip)]
    gradient: GradientMode,
}

impl SphereFace2 {
    fn similarity(&self, cosine: Tensor<1>) -> Tensor<1> {
        if self.exponent == 1.0 {
            return cosine;
        }
        // Where the base is 0 its logarithm is not; the power is 0 all the same.
        let base = cosine.clone().add_scalar(1.0).mul_scalar(0.5).clamp_min(1e-30);
        let bent = base.log().mul_scalar(self.exponent).exp().mul_scalar(2.0).sub_scalar(1.0);
        self.gradient.apply(bent, cosine)
    }
}

impl MarginHead for SphereFace2 {
    fn centers(&self) -> &ClassCenters {
        &self.centers
    }

    fn with_centers(self, centers: ClassCenters) -> Self {
        Self { centers, ..self }
    }

    fn scale(&self) -> Scale {
        self.scale.into()
    }

    fn margin(&self, own: &OwnClass) -> Tensor<1> {
        self.similarity(own.cosine.clone()).sub_scalar(self.margin)
    }

    fn row_losses(&self, others: Tensor<1>, own: &OwnClass) -> Tensor<1> {
        let [batch] = others.dims();
        let bias = cast_to(self.bias.val(), others.dtype()).expand([batch]);
        let own = softplus((self.margin(own).mul_scalar(self.scale) + bias).neg());
        own.mul_scalar(self.balance / self.scale) + others.mul_scalar((1.0 - self.balance) / self.scale)
    }

    fn refuses_shards(&self) -> Option<&'static str> {
        Some("SphereFace2 has one bias for all classes, and adds what they weigh; shards would train one each")
    }

    fn compare(
        &self,
        embeddings: Tensor<2>,
        weights: Tensor<2>,
        index: Tensor<1, Int>,
        used: Option<Tensor<1, Int>>,
    ) -> ClassScores {
        let curve = Curve { exponent: self.exponent, detached: self.gradient == GradientMode::Detached };
        // The operation takes its bias off.
        let bias = self.bias.val().neg().sub_scalar(self.scale * self.margin);
        let comparison = Comparison { rivals: Rivals::Softplus { bias, curve }, ..Comparison::default() };
        let streaming = self.centers.streaming;
        ClassScores::new(rival_scores(embeddings, weights, index, used, comparison, self.scale, streaming))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_the_start_the_own_class_and_all_others_pull_alike() {
        let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
        for (classes, balance, margin) in [(2, 0.7, 0.4), (2, 0.9, 0.1), (1000, 0.7, 0.4), (5, 0.2, -0.1)] {
            let config = SphereFace2Config::new(classes, 2).with_balance(balance).with_margin(margin).with_scale(10.0);
            let bias = config.balanced_bias();
            // similarity(0) = 2·0.5³ - 1 = -0.75.
            let own = balance * sigmoid(-(10.0 * (-0.75 - margin) + bias));
            let others = (1.0 - balance) * (classes as f64 - 1.0) * sigmoid(10.0 * (-0.75 + margin) + bias);
            assert!((own / others - 1.0).abs() < 1e-9, "{classes} {balance} {margin}: {own} and {others}");
        }
        let extreme = SphereFace2Config::new(2, 2).with_balance(0.9).with_margin(100.0).with_scale(1e4);
        assert!(extreme.balanced_bias().is_finite());
    }

    #[test]
    fn every_class_is_a_question_of_its_own() {
        let device = Device::flex();
        let config = SphereFace2Config::new(2, 2).with_scale(2.0).with_margin(0.1).with_balance(0.6);
        let mut head = config.with_exponent(2.0).init(&device);
        head.bias = Param::from_tensor(Tensor::from_data([0.7_f32], &device));
        head.centers.weight = Param::from_tensor(Tensor::from_data([[2.0_f32, 0.0], [0.0, 1.0]], &device));
        let embedding = Tensor::<2>::from_data([[3.0_f32, 4.0]], &device);
        let loss = head.forward(embedding, Tensor::from_data([0], &device)).into_scalar::<f32>();

        // By hand: the similarities are 2·0.8² - 1 = 0.28 and 2·0.9² - 1 = 0.62.
        let own = (-(2.0 * (0.28 - 0.1) + 0.7_f32)).exp().ln_1p();
        let other = (2.0 * (0.62 + 0.1) + 0.7_f32).exp().ln_1p();
        let expected = (0.6 * own + 0.4 * other) / 2.0;
        assert!((loss - expected).abs() < 1e-5, "{loss} is not {expected}");
    }

    #[test]
    #[should_panic(expected = "SphereFace2: balance must be in (0, 1), got 1")]
    fn a_balance_of_one_is_rejected() {
        SphereFace2Config::new(2, 2).with_balance(1.0).init(&Device::flex());
    }
}
