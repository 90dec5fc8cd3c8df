use alloc::vec;
use alloc::vec::Vec;

use burn::config::Config;
use burn::module::Module;
use burn::tensor::{Device, Tensor};

use super::rule::check_margin;
use super::{CentersConfig, Head, MarginRule, Target};
use crate::reduction::EmbeddingReduction;

/// Settings of [`CosFace`].
#[derive(Config, Debug)]
pub struct CosFaceConfig {
    /// How many classes; `>= 1`.
    pub classes: usize,
    /// The length of an embedding; `>= 1`.
    pub embedding_dim: usize,
    /// What is taken off the target cosine; in `[-1000, 1000]`. The paper uses 0.35, InsightFace 0.4; for few-shot
    /// classification a negative one can be better ([Liu et al. 2020](https://arxiv.org/abs/2003.12060)).
    /// Default: `0.35`.
    #[config(default = 0.35)]
    pub margin: f64,
    /// What the cosines are multiplied with; in `[1e-6, 1e6]`. 64 is for tens of thousands of classes; use 16 to 32 for
    /// hundreds.
    /// Default: `64.0`.
    #[config(default = 64.0)]
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

impl CosFaceConfig {
    /// Builds the head with random class centers on `device`.
    ///
    /// # Panics
    ///
    /// If a field is out of its range.
    #[track_caller]
    pub fn init(&self, device: &Device) -> CosFace {
        let rule = CosFaceRule { margin: self.margin, scale: self.scale };
        let centers = self.centers.init("CosFace", [self.classes, self.embedding_dim], device);

        Head::with_rule(centers, rule, self.reduction)
    }
}

/// Large margin cosine loss: the target cosine must win by a margin.
///
/// ```text
/// margin(cosine) = cosine - margin
/// ```
///
/// Simple and robust; the margin has slope 1, so the exact and the detached gradient are the same. See [`Head`] for the
/// loss.
///
/// # When to take it
///
/// Take it where [`ArcFace`](super::ArcFace) does not begin to learn: its margin never bends the gradient. Where
/// pictures are of mixed quality, take [`AdaFace`](super::AdaFace).
///
/// # Source
///
/// Wang et al.: [CosFace](https://arxiv.org/abs/1801.09414), 2018, section 3.1, equation 4; the same as AM-Softmax,
/// [Wang et al. 2018](https://arxiv.org/abs/1801.05599).
///
/// # Example
///
/// ```
/// use burn::module::Param;
/// use burn::tensor::{Device, Int, Tensor};
/// use burn_losses::heads::CosFaceConfig;
///
/// let device = Device::default();
/// let mut head = CosFaceConfig::new(2, 2).with_margin(0.5).with_scale(2.0).init(&device);
/// head.centers.weight = Param::from_tensor(Tensor::from_data([[1.0, 0.0], [0.0, 1.0]], &device));
/// let embeddings = Tensor::<2>::from_data([[3.0, 4.0]], &device);
/// let labels = Tensor::<1, Int>::from_ints([0], &device);
/// // The cosines are 0.6 and 0.8. The margin comes off the first.
/// let logits = head.margin_logits(embeddings, labels).try_into_vec_as::<f32>().unwrap();
/// assert!((logits[0] - 2.0 * (0.6 - 0.5)).abs() < 1e-5);
/// ```
pub type CosFace = Head<CosFaceRule>;

/// The rule of [`CosFace`].
#[derive(Module, Debug)]
pub struct CosFaceRule {
    /// What is taken off the target cosine.
    pub margin: f64,
    /// What the cosines are multiplied with.
    pub scale: f64,
}

impl MarginRule for CosFaceRule {
    fn name(&self) -> &'static str {
        "CosFace"
    }

    fn check(&self) {
        check_margin("CosFace", "margin", self.margin);
    }

    fn scale(&self) -> f64 {
        self.scale
    }

    fn margins_mut(&mut self) -> Vec<&mut f64> {
        vec![&mut self.margin]
    }

    fn scale_mut(&mut self) -> Option<&mut f64> {
        Some(&mut self.scale)
    }

    fn target(&self, target: &Target) -> Tensor<1> {
        target.cosine.clone().sub_scalar(self.margin)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::module::Param;
    use burn::tensor::Int;

    #[test]
    fn the_margin_comes_off_the_target_cosine() {
        let device = Device::flex();
        let mut head = CosFaceConfig::new(2, 2).with_margin(0.5).with_scale(2.0).init(&device);
        head.centers.weight = Param::from_tensor(Tensor::from_data([[1.0_f32, 0.0], [0.0, 1.0]], &device));

        let embeddings = Tensor::from_data([[0.6_f32, 0.8]], &device);
        let labels = Tensor::<1, Int>::from_ints([0], &device);
        let logits = head.margin_logits(embeddings, labels).try_into_vec_as::<f32>().unwrap();

        // By hand: 2·(0.6 - 0.5) and 2·0.8.
        assert!((logits[0] - 0.2).abs() < 1e-6 && (logits[1] - 1.6).abs() < 1e-6, "{logits:?}");
    }

    #[test]
    #[should_panic(expected = "CosFace: margin must be in [-1000, 1000], got inf")]
    fn an_infinite_margin_is_rejected() {
        CosFaceConfig::new(2, 2).with_margin(f64::INFINITY).init(&Device::flex());
    }
}
