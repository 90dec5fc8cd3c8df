use core::f64::consts::{FRAC_PI_2, PI};

use burn::config::Config;
use burn::module::{Initializer, Module};
use burn::tensor::{Device, Tensor};
use burn_losses_kernels::logsumexp::{Scale, Streaming};

use super::angle::{falling_shifted_cosine, shifted_cosine};
use super::head::check_scale;
use super::{ClassCenters, GradientMode, MarginHead, OwnClass};
use crate::labels::LabelPolicy;

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
    /// What is added to the angle with the own class, in radians; `>= 0` and at most what `large_angle` allows:
    /// 2.33 for `LinearFall`, pi for `Fold`, pi/2 for `EasyMargin`.
    #[config(default = 0.5)]
    pub margin: f64,
    /// What the cosines are multiplied with; in `[1e-6, 1e6]`. 64 is for tens of thousands of classes; use 16 to 32 for
    /// hundreds.
    #[config(default = 64.0)]
    pub scale: f64,
    /// What happens where `angle + margin` would pass pi.
    #[config(default = "LargeAngle::LinearFall")]
    pub large_angle: LargeAngle,
    /// Whether the gradient goes through the margin.
    #[config(default = "GradientMode::Exact")]
    pub gradient: GradientMode,
    /// How the class centers start.
    #[config(default = "Initializer::Normal { mean: 0.0, std: 0.01 }")]
    pub initializer: Initializer,
    /// Which labels are ignored, and whether bad ones panic.
    #[config(default = "LabelPolicy::new()")]
    pub labels: LabelPolicy,
    /// How the comparison with all classes trades memory for time.
    #[config(default = "Streaming::new()")]
    pub streaming: Streaming,
}

impl ArcFaceConfig {
    /// Builds the head with random class centers on `device`.
    ///
    /// # Panics
    ///
    /// If a field is out of its range.
    pub fn init(&self, device: &Device) -> ArcFace {
        let (margin, scale) = (self.margin, self.scale);
        let (large_angle, largest) = (self.large_angle, self.large_angle.largest_margin());
        assert!(
            (0.0..=largest).contains(&margin),
            "ArcFace: margin must be in [0, {largest:.2}] radians with {large_angle:?}, got {margin}"
        );
        check_scale("ArcFace", scale);
        let size = [self.classes, self.embedding_dim];

        ArcFace {
            centers: ClassCenters::new("ArcFace", size, &self.initializer, &self.labels, device)
                .with_streaming(self.streaming),
            margin,
            scale,
            large_angle,
            gradient: self.gradient,
        }
    }
}

/// Additive angular margin loss: the angle with the own class must be smaller by a margin.
///
/// ```text
/// margin(cosine) = cos(angle + margin) = cosine·cos(margin) - sin(angle)·sin(margin)
/// ```
///
/// The field's standard head. `large_angle` says what happens beyond pi, `gradient` whether the margin has a gradient
/// of its own. See [`MarginHead`] for the loss.
///
/// # Source
///
/// Deng, Guo, Xue, Zafeiriou: [ArcFace](https://arxiv.org/abs/1801.07698), 2019, section 2.2, equation 3.
#[derive(Module, Debug)]
pub struct ArcFace {
    /// The trained class centers.
    pub centers: ClassCenters,
    margin: f64,
    scale: f64,
    #[module(skip)]
    large_angle: LargeAngle,
    #[module(skip)]
    gradient: GradientMode,
}

impl MarginHead for ArcFace {
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
        let margin = self.margin;
        let cosine = own.cosine.clone();
        let target = match self.large_angle {
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
        self.gradient.apply(target, cosine)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn margin(large_angle: LargeAngle, cosine: f32) -> f32 {
        let device = Device::flex();
        let head = ArcFaceConfig::new(2, 2).with_large_angle(large_angle).init(&device);
        head.margin(&OwnClass::of_cosines(&[cosine], &device)).into_scalar::<f32>()
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
    }

    #[test]
    #[should_panic(expected = "ArcFace: margin must be in [0, 2.33] radians with LinearFall, got 28.6")]
    fn a_margin_in_degrees_is_rejected() {
        ArcFaceConfig::new(2, 2).with_margin(28.6).init(&Device::flex());
    }
}
