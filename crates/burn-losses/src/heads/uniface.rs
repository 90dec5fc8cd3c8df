use alloc::vec;
use alloc::vec::Vec;

use burn::config::Config;
use burn::module::{Initializer, Module, Param};
use burn::tensor::{Device, Tensor};
use burn_losses_kernels::math::{softplus, widen};

use super::rule::check_margin;
use super::{Batch, CentersConfig, Curve, Head, MarginRule, Target, Terms};
use crate::reduction::EmbeddingReduction;

/// Settings of [`UniFace`].
#[derive(Config, Debug)]
pub struct UniFaceConfig {
    /// How many classes; `>= 1`.
    pub classes: usize,
    /// The length of an embedding; `>= 1`.
    pub embedding_dim: usize,
    /// What is taken off the target cosine; in `[-1000, 1000]`.
    /// Default: `0.4`.
    #[config(default = 0.4)]
    pub margin: f64,
    /// What the cosines are multiplied with; in `[1e-6, 1e6]`.
    /// Default: `64.0`.
    #[config(default = 64.0)]
    pub scale: f64,
    /// What the sum over the other classes is multiplied with; in `[0, 1e6]`.
    /// Default: `1.0`.
    #[config(default = 1.0)]
    pub balance: f64,
    /// How the class centers start, which labels count, and what a batch is compared with.
    /// Default: `CentersConfig::new()`.
    #[config(default = "CentersConfig::new()")]
    pub centers: CentersConfig,
    /// How the losses of a batch become one number.
    /// Default: `EmbeddingReduction::Mean`.
    #[config(default = "EmbeddingReduction::Mean")]
    pub reduction: EmbeddingReduction,
}

impl UniFaceConfig {
    /// Builds the head with random class centers on `device`. The bias starts at `ln(10·classes)`, as the authors' does.
    ///
    /// # Panics
    ///
    /// If a field is out of its range.
    #[track_caller]
    pub fn init(&self, device: &Device) -> UniFace {
        let Self { classes, margin, scale, balance, .. } = *self;
        let bias = Initializer::Constant { value: libm::log(10.0 * classes as f64) }.init([1], device);
        let rule = UniFaceRule { bias, margin, scale, balance };
        let centers = self.centers.init("UniFace", [classes, self.embedding_dim], device);

        Head::with_rule(centers, rule, self.reduction)
    }
}

/// One threshold for all: the target cosine of every sample must be above it, all others below, whichever sample they are of.
///
/// ```text
/// loss[i] = softplus(-(scale·(target[i] - margin) - bias))
///         + balance·sum over j != labels[i] of softplus(scale·cosine[i, j] - bias)
/// ```
///
/// The `bias` is trained with the centers: `bias / scale` is the threshold between the same and another person. As a
/// verification does, and a softmax does not, this compares all pairs with one number. See [`Head`] for
/// what is around it. Public code clamps the exponents, which stops the gradient of what is most wrong;
/// here it goes on.
///
/// # When to take it
///
/// Take it for verification at one threshold for all people, which its bias is trained to be. For ranking alone, where
/// no threshold is needed, take [`ArcFace`](super::ArcFace).
///
/// # Source
///
/// Zhou, Jia, Li, Shen, Duan: [UniFace: Unified Cross-Entropy Loss for Deep Face
/// Recognition](https://openaccess.thecvf.com/content/ICCV2023/papers/Zhou_UniFace_Unified_Cross-Entropy_Loss_for_Deep_Face_Recognition_ICCV_2023_paper.pdf),
/// 2023, section 3.
///
/// # Example
///
/// ```
/// use burn::module::Param;
/// use burn::tensor::{Device, Int, Tensor};
/// use burn_losses::heads::UniFaceConfig;
///
/// let device = Device::default();
/// let mut head = UniFaceConfig::new(2, 2).with_margin(0.4).with_scale(1.0).init(&device);
/// head.centers.weight = Param::from_tensor(Tensor::from_data([[1.0, 0.0], [0.0, 1.0]], &device));
/// let embeddings = Tensor::<2>::from_data([[5.0, 0.0]], &device);
/// let labels = Tensor::<1, Int>::from_ints([0], &device);
/// // The cosines are 1 and 0, and the bias starts at ln(10·2).
/// let loss = head.forward(embeddings, labels).into_scalar::<f32>();
/// let (own, other) = ((1.0 + 20.0 * (-0.6_f32).exp()).ln(), (1.0 + 1.0 / 20.0_f32).ln());
/// assert!((loss - (own + other)).abs() < 1e-5);
/// ```
pub type UniFace = Head<UniFaceRule>;

/// The rule of [`UniFace`].
#[derive(Module, Debug)]
pub struct UniFaceRule {
    /// The trained threshold, times the scale, `[1]`.
    pub bias: Param<Tensor<1>>,
    /// What is taken off the target cosine.
    pub margin: f64,
    /// What the cosines are multiplied with.
    pub scale: f64,
    /// What the sum over the other classes is multiplied with.
    pub balance: f64,
}

impl MarginRule for UniFaceRule {
    fn name(&self) -> &'static str {
        "UniFace"
    }

    fn check(&self) {
        let balance = self.balance;
        check_margin("UniFace", "margin", self.margin);
        assert!((0.0..=1e6).contains(&balance), "UniFace: balance must be in [0, 1e6], got {balance}");
    }

    fn scale(&self) -> f64 {
        self.scale
    }

    fn margins_mut(&mut self) -> Vec<&mut f64> {
        vec![&mut self.margin]
    }

    fn target(&self, target: &Target) -> Tensor<1> {
        target.cosine.clone().sub_scalar(self.margin)
    }

    fn offset(&self) -> Option<Tensor<1>> {
        Some(widen(self.bias.val()).neg())
    }

    fn negatives(&self, batch: &Batch<'_>) -> Terms {
        Terms::Softplus { offset: batch.offset(), curve: Curve::STRAIGHT }
    }

    fn loss(&self, negatives: Tensor<1>, target: Tensor<1>) -> Tensor<1> {
        softplus(target.neg()) + negatives.mul_scalar(self.balance)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_threshold_is_asked_of_every_class() {
        let device = Device::flex();
        let mut head = UniFaceConfig::new(2, 2).with_scale(2.0).with_margin(0.1).with_balance(3.0).init(&device);
        assert!((head.rule.bias.val().into_scalar::<f32>() - 20.0_f32.ln()).abs() < 1e-6);
        head.rule.bias = Param::from_tensor(Tensor::from_data([0.7_f32], &device));
        head.centers.weight = Param::from_tensor(Tensor::from_data([[2.0_f32, 0.0], [0.0, 1.0]], &device));
        let embedding = Tensor::<2>::from_data([[3.0_f32, 4.0]], &device);
        let loss = head.forward(embedding, Tensor::from_data([0], &device)).into_scalar::<f32>();

        // By hand: softplus(0.7 - 2·(0.6 - 0.1)) + 3·softplus(2·0.8 - 0.7).
        let expected = (-0.3_f32).exp().ln_1p() + 3.0 * 0.9_f32.exp().ln_1p();
        assert!((loss - expected).abs() < 1e-5, "{loss} is not {expected}");
    }

    #[test]
    #[should_panic(expected = "UniFace: balance must be in [0, 1e6], got -1")]
    fn a_negative_balance_is_rejected() {
        UniFaceConfig::new(2, 2).with_balance(-1.0).init(&Device::flex());
    }
}
