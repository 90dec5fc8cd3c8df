use burn::config::Config;
use burn::module::Module;
use burn::tensor::{Device, Tensor};

use super::angle::{angle, folded_cosine};
use super::{CentersConfig, GradientMode, Head, MarginRule, Target};
use crate::reduction::EmbeddingReduction;

/// Settings of [`SphereFace`].
#[derive(Config, Debug)]
pub struct SphereFaceConfig {
    /// How many classes; `>= 1`.
    pub classes: usize,
    /// The length of an embedding; `>= 1`.
    pub embedding_dim: usize,
    /// What the target angle is multiplied with, any real number in `[1, 1000]`; the first paper's 4 is a whole
    /// one and needs a schedule to train.
    /// Default: `1.7`.
    #[config(default = 1.7)]
    pub multiplier: f64,
    /// What the cosines are multiplied with; in `[1e-6, 1e6]`. 64 is for tens of thousands of classes; use 16 to 32 for
    /// hundreds.
    /// Default: `30.0`.
    #[config(default = 30.0)]
    pub scale: f64,
    /// Whether the gradient goes through the margin.
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

impl SphereFaceConfig {
    /// Builds the head with random class centers on `device`.
    ///
    /// # Panics
    ///
    /// If a field is out of its range.
    #[track_caller]
    pub fn init(&self, device: &Device) -> SphereFace {
        let Self { multiplier, scale, gradient, .. } = *self;
        let rule = SphereFaceRule { multiplier, scale, gradient };
        let centers = self.centers.init("SphereFace", [self.classes, self.embedding_dim], device);

        Head::with_rule(centers, rule, self.reduction)
    }
}

/// Multiplicative angular margin: the angle with the center of the label counts several times.
///
/// ```text
/// margin(cosine) = folded_cos(multiplier·angle)
/// folded_cos(a)  = (-1)^k·cos(a) - 2·k   with k = floor(a / pi)
/// ```
///
/// With the fixed scale of SphereFace-R in place of the first paper's lengths of embeddings, and with its straight-through
/// gradient as [`GradientMode::Detached`]. A `multiplier` of 1 is `NormFace`. See [`Head`] for the loss.
///
/// # When to take it
///
/// For comparison with older work; [`ArcFace`](super::ArcFace) has the same margin at every angle and is easier to train.
///
/// # Source
///
/// Liu, Wen, Yu, Li, Raj, Song: [SphereFace](https://arxiv.org/abs/1704.08063), 2017, section 3.2; Liu, Wen, Raj, Singh,
/// Weller: [SphereFace Revived](https://arxiv.org/abs/2109.05565), 2021.
///
/// # Example
///
/// ```
/// use burn::module::Param;
/// use burn::tensor::{Device, Int, Tensor};
/// use burn_losses::heads::SphereFaceConfig;
///
/// let device = Device::default();
/// let mut head = SphereFaceConfig::new(2, 2).with_multiplier(1.5).with_scale(2.0).init(&device);
/// head.centers.weight = Param::from_tensor(Tensor::from_data([[1.0, 0.0], [0.0, 1.0]], &device));
/// let embeddings = Tensor::<2>::from_data([[3.0, 4.0]], &device);
/// let labels = Tensor::<1, Int>::from_ints([0], &device);
/// // The cosines are 0.6 and 0.8. The angle of the first is multiplied.
/// let logits = head.margin_logits(embeddings, labels).try_into_vec_as::<f32>().unwrap();
/// assert!((logits[0] - 2.0 * (1.5 * 0.6_f32.acos()).cos()).abs() < 1e-5);
/// ```
pub type SphereFace = Head<SphereFaceRule>;

/// The rule of [`SphereFace`].
#[derive(Module, Debug)]
pub struct SphereFaceRule {
    /// What the target angle is multiplied with.
    pub multiplier: f64,
    /// What the cosines are multiplied with.
    pub scale: f64,
    /// Whether the gradient goes through the margin.
    #[module(skip)]
    pub gradient: GradientMode,
}

impl MarginRule for SphereFaceRule {
    fn name(&self) -> &'static str {
        "SphereFace"
    }

    fn check(&self) {
        let multiplier = self.multiplier;
        assert!((1.0..=1e3).contains(&multiplier), "SphereFace: multiplier must be in [1, 1000], got {multiplier}");
    }

    fn scale(&self) -> f64 {
        self.scale
    }

    fn scale_mut(&mut self) -> Option<&mut f64> {
        Some(&mut self.scale)
    }

    fn target(&self, target: &Target) -> Tensor<1> {
        let cosine = target.cosine.clone();
        self.gradient.apply(folded_cosine(angle(cosine.clone()).mul_scalar(self.multiplier)), cosine)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_angle_counts_several_times() {
        let device = Device::flex();
        let head = SphereFaceConfig::new(2, 2).with_multiplier(2.5).init(&device);
        let cosines = [1.0_f32.cos(), 2.0_f32.cos()];
        let targets = head.rule.target(&Target::of_cosines(&cosines, &device)).try_into_vec_as::<f32>().unwrap();

        // By hand: 2.5 is below pi; 5 is beyond it once.
        assert!((targets[0] - 2.5_f32.cos()).abs() < 1e-6, "{targets:?}");
        assert!((targets[1] - (-(5.0_f32.cos()) - 2.0)).abs() < 1e-5, "{targets:?}");
    }

    #[test]
    #[should_panic(expected = "SphereFace: multiplier must be in [1, 1000], got 0.5")]
    fn a_multiplier_below_one_is_rejected() {
        SphereFaceConfig::new(2, 2).with_multiplier(0.5).init(&Device::flex());
    }
}
