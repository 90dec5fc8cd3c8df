use alloc::vec;
use alloc::vec::Vec;
use core::f64::consts::{FRAC_PI_2, PI};

use burn::config::Config;
use burn::module::Module;
use burn::tensor::{Device, Tensor};

use super::angle::{falling_shifted_cosine, shifted_cosine};
use super::{CentersConfig, GradientMode, Head, MarginRule, Target};
use crate::reduction::EmbeddingReduction;

/// What [`ArcFace`] does at large angles, where `angle + margin` would pass pi and its cosine would rise again.
#[derive(Config, Debug, Copy, PartialEq, Eq)]
pub enum LargeAngle {
    /// `cosine - margin·sin(margin)` where `angle + margin > pi`: keeps falling, with a step at pi. What InsightFace's
    /// first code and pytorch-metric-learning do.
    LinearFall,
    /// `-cos(angle + margin) - 2` where `angle + margin > pi`: keeps falling, without a step.
    Fold,
    /// The margin only where `cosine > 0`, else the plain cosine: gentle at the start of training, but the loss jumps
    /// down where the angle passes 90°, so a sample can gain by getting worse.
    EasyMargin,
}

impl LargeAngle {
    /// Up to this margin, in radians, the choice does what it says.
    fn largest_margin(self) -> f64 {
        match self {
            // Where cos(margin) + margin·sin(margin) = 1 the step at pi turns from down to up.
            Self::LinearFall => 2.33,
            Self::Fold => PI,
            // The margin is added to angles up to pi/2 and must not take them past pi.
            Self::EasyMargin => FRAC_PI_2,
        }
    }
}

/// Settings of [`ArcFace`].
#[derive(Config, Debug)]
pub struct ArcFaceConfig {
    /// How many classes; `>= 1`.
    pub classes: usize,
    /// The length of an embedding; `>= 1`.
    pub embedding_dim: usize,
    /// What is added to the target angle, in radians; `>= 0` and at most what `large_angle` allows:
    /// 2.33 for `LinearFall`, pi for `Fold`, pi/2 for `EasyMargin`.
    /// Default: `0.5`.
    #[config(default = 0.5)]
    pub margin: f64,
    /// What the cosines are multiplied with; in `[1e-6, 1e6]`. 64 is for tens of thousands of classes; use 16 to 32 for
    /// hundreds.
    /// Default: `64.0`.
    #[config(default = 64.0)]
    pub scale: f64,
    /// What happens where `angle + margin` would pass pi.
    /// Default: `LargeAngle::LinearFall`.
    #[config(default = "LargeAngle::LinearFall")]
    pub large_angle: LargeAngle,
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

impl ArcFaceConfig {
    /// Builds the head with random class centers on `device`.
    ///
    /// # Panics
    ///
    /// If a field is out of its range.
    #[track_caller]
    pub fn init(&self, device: &Device) -> ArcFace {
        let Self { margin, scale, large_angle, gradient, .. } = *self;
        let rule = ArcFaceRule { margin, scale, large_angle, gradient };
        let centers = self.centers.init("ArcFace", [self.classes, self.embedding_dim], device);

        Head::with_rule(centers, rule, self.reduction)
    }
}

/// Additive angular margin loss: the angle with the center of the label must be smaller by a margin.
///
/// ```text
/// margin(cosine) = cos(angle + margin) = cosine·cos(margin) - sin(angle)·sin(margin)
/// ```
///
/// The field's standard head. `large_angle` says what happens beyond pi, `gradient` whether the margin has a gradient
/// of its own. See [`Head`] for the loss.
///
/// # When to take it
///
/// Take it first for identities with many samples each. With few classes, lower the scale; where it does not begin to
/// learn, begin with a smaller margin, or take [`CosFace`](super::CosFace). For wrong labels there is
/// [`SubCenterArcFace`](super::SubCenterArcFace).
///
/// # Source
///
/// Deng, Guo, Xue, Zafeiriou: [ArcFace](https://arxiv.org/abs/1801.07698), 2019, section 2.2, equation 3.
///
/// # Example
///
/// ```
/// use burn::module::Param;
/// use burn::tensor::{Device, Int, Tensor};
/// use burn_losses::heads::ArcFaceConfig;
///
/// let device = Device::default();
/// let mut head = ArcFaceConfig::new(2, 2).with_margin(0.5).with_scale(2.0).init(&device);
/// head.centers.weight = Param::from_tensor(Tensor::from_data([[1.0, 0.0], [0.0, 1.0]], &device));
/// let embeddings = Tensor::<2>::from_data([[3.0, 4.0]], &device);
/// let labels = Tensor::<1, Int>::from_ints([0], &device);
/// // The cosines are 0.6 and 0.8. The margin goes on the angle of the first.
/// let logits = head.margin_logits(embeddings, labels).try_into_vec_as::<f32>().unwrap();
/// assert!((logits[0] - 2.0 * (0.6_f32.acos() + 0.5).cos()).abs() < 1e-5);
/// ```
pub type ArcFace = Head<ArcFaceRule>;

/// The rule of [`ArcFace`].
#[derive(Module, Debug)]
pub struct ArcFaceRule {
    /// What is added to the target angle, in radians.
    pub margin: f64,
    /// What the cosines are multiplied with.
    pub scale: f64,
    /// What happens where `angle + margin` would pass pi.
    #[module(skip)]
    pub large_angle: LargeAngle,
    /// Whether the gradient goes through the margin.
    #[module(skip)]
    pub gradient: GradientMode,
}

impl MarginRule for ArcFaceRule {
    fn name(&self) -> &'static str {
        "ArcFace"
    }

    fn check(&self) {
        let Self { margin, large_angle, .. } = *self;
        let largest = large_angle.largest_margin();
        assert!(
            (0.0..=largest).contains(&margin),
            "ArcFace: margin must be in [0, {largest:.2}] radians with {large_angle:?}, got {margin}"
        );
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
        let margin = self.margin;
        let cosine = target.cosine.clone();
        let shifted = match self.large_angle {
            LargeAngle::LinearFall => falling_shifted_cosine(cosine.clone(), margin),
            LargeAngle::Fold => {
                let beyond_pi = cosine.clone().lower_scalar(-libm::cos(margin));
                let shifted = shifted_cosine(cosine.clone(), margin);
                shifted.clone().mask_where(beyond_pi, shifted.neg().sub_scalar(2.0))
            }
            LargeAngle::EasyMargin => {
                let behind = cosine.clone().lower_equal_scalar(0.0);
                shifted_cosine(cosine.clone(), margin).mask_where(behind, cosine.clone())
            }
        };
        self.gradient.apply(shifted, cosine)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn margin(large_angle: LargeAngle, cosine: f32) -> f32 {
        let device = Device::flex();
        let head = ArcFaceConfig::new(2, 2).with_large_angle(large_angle).init(&device);
        head.rule.target(&Target::of_cosines(&[cosine], &device)).into_scalar::<f32>()
    }

    #[test]
    fn adds_the_margin_to_the_angle() {
        let angle = 1.0_f32;
        for large_angle in [LargeAngle::LinearFall, LargeAngle::Fold, LargeAngle::EasyMargin] {
            assert!((margin(large_angle, angle.cos()) - 1.5_f32.cos()).abs() < 1e-6);
        }
    }

    #[test]
    fn beyond_pi_each_choice_does_what_it_says() {
        let cosine = 3.0_f32.cos();

        assert!((margin(LargeAngle::LinearFall, cosine) - (cosine - 0.5 * 0.5_f32.sin())).abs() < 1e-6);
        assert!((margin(LargeAngle::Fold, cosine) - (-3.5_f32.cos() - 2.0)).abs() < 1e-6);
        assert_eq!(margin(LargeAngle::EasyMargin, cosine), cosine);
        // The margin is only for cosines above 0.
        assert_eq!(margin(LargeAngle::EasyMargin, 0.0), 0.0);
    }

    #[test]
    #[should_panic(expected = "ArcFace: margin must be in [0, 2.33] radians with LinearFall, got 28.6")]
    fn a_margin_in_degrees_is_rejected() {
        ArcFaceConfig::new(2, 2).with_margin(28.6).init(&Device::flex());
    }
}
