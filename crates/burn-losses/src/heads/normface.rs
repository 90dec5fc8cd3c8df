use burn::config::Config;
use burn::module::Module;
use burn::tensor::{Device, Tensor};

use super::{CentersConfig, Head, MarginRule, Target};
use crate::reduction::EmbeddingReduction;

/// Settings of [`NormFace`].
#[derive(Config, Debug)]
pub struct NormFaceConfig {
    /// How many classes; `>= 1`.
    pub classes: usize,
    /// The length of an embedding; `>= 1`.
    pub embedding_dim: usize,
    /// What the cosines are multiplied with; in `[1e-6, 1e6]`. The paper uses 10 to 40; its bound for a loss that can come
    /// near 0 grows with the logarithm of the number of classes.
    /// Default: `30.0`.
    #[config(default = 30.0)]
    pub scale: f64,
    /// How the class centers start, which labels count, and what a batch is compared with.
    /// Default: `CentersConfig::new()`.
    #[config(default = "CentersConfig::new()")]
    pub centers: CentersConfig,
    /// How the losses of a batch become one number.
    /// Default: `EmbeddingReduction::Mean`.
    #[config(default = "EmbeddingReduction::Mean")]
    pub reduction: EmbeddingReduction,
}

impl NormFaceConfig {
    /// Builds the head with random class centers on `device`.
    ///
    /// # Panics
    ///
    /// If a field is out of its range.
    #[track_caller]
    pub fn init(&self, device: &Device) -> NormFace {
        let rule = NormFaceRule { scale: self.scale };
        let centers = self.centers.init("NormFace", [self.classes, self.embedding_dim], device);

        Head::with_rule(centers, rule, self.reduction)
    }
}

/// Normalised softmax: cross-entropy of scaled cosines, without a margin.
///
/// ```text
/// margin(cosine) = cosine
/// ```
///
/// The baseline of the family, and the loss to start with when a margin does not converge. `scale` is the reciprocal
/// of what others call the temperature. See [`Head`] for the loss.
///
/// # When to take it
///
/// As a baseline, and to warm up a head with a margin. It has no margin itself: to tell apart people who were not in
/// training, take [`CosFace`](super::CosFace) or [`ArcFace`](super::ArcFace).
///
/// # Source
///
/// Wang, Xiang, Cheng, Yuille: [NormFace](https://arxiv.org/abs/1704.06369), 2017, section 3.3.
///
/// # Example
///
/// ```
/// use burn::module::Param;
/// use burn::tensor::{Device, Int, Tensor};
/// use burn_losses::heads::NormFaceConfig;
///
/// let device = Device::default();
/// let mut head = NormFaceConfig::new(2, 2).with_scale(2.0).init(&device);
/// head.centers.weight = Param::from_tensor(Tensor::from_data([[1.0, 0.0], [0.0, 1.0]], &device));
/// let embeddings = Tensor::<2>::from_data([[3.0, 4.0]], &device);
/// let labels = Tensor::<1, Int>::from_ints([0], &device);
/// // The cosines are 0.6 and 0.8.
/// let logits = head.margin_logits(embeddings, labels).try_into_vec_as::<f32>().unwrap();
/// assert!((logits[0] - 2.0 * 0.6).abs() < 1e-5);
/// ```
pub type NormFace = Head<NormFaceRule>;

/// The rule of [`NormFace`].
#[derive(Module, Debug)]
pub struct NormFaceRule {
    /// What the cosines are multiplied with.
    pub scale: f64,
}

impl MarginRule for NormFaceRule {
    fn name(&self) -> &'static str {
        "NormFace"
    }

    fn scale(&self) -> f64 {
        self.scale
    }

    fn scale_mut(&mut self) -> Option<&mut f64> {
        Some(&mut self.scale)
    }

    fn target(&self, target: &Target) -> Tensor<1> {
        target.cosine.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::module::Param;
    use burn::tensor::Int;

    #[test]
    fn is_the_cross_entropy_of_scaled_cosines() {
        let device = Device::flex();
        let mut head = NormFaceConfig::new(2, 2).with_scale(2.0).init(&device);
        head.centers.weight = Param::from_tensor(Tensor::from_data([[5.0_f32, 0.0], [0.0, 0.1]], &device));

        let embeddings = Tensor::from_data([[3.0_f32, 4.0]], &device);
        let labels = Tensor::<1, Int>::from_ints([0], &device);
        let loss = head.forward(embeddings, labels).into_scalar::<f32>();

        // By hand: cosines 0.6 and 0.8, so log(1 + exp(2·0.8 - 2·0.6)).
        let expected = (0.4_f32).exp().ln_1p();
        assert!((loss - expected).abs() < 1e-6, "{loss} is not {expected}");
    }

    #[test]
    #[should_panic(expected = "NormFace: scale must be in [1e-6, 1e6], got NaN")]
    fn a_scale_that_is_not_a_number_is_rejected() {
        NormFaceConfig::new(2, 2).with_scale(f64::NAN).init(&Device::flex());
    }

    #[test]
    #[should_panic(expected = "NormFace: classes must be >= 1, got 0")]
    fn no_classes_are_rejected() {
        NormFaceConfig::new(0, 2).init(&Device::flex());
    }
}
