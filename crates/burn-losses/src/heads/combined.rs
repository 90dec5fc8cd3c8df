use alloc::vec;
use alloc::vec::Vec;

use burn::config::Config;
use burn::module::Module;
use burn::tensor::{Device, Tensor};

use super::angle::{angle, folded_cosine};
use super::rule::check_margin;
use super::{CentersConfig, GradientMode, Head, MarginRule, Target};
use crate::reduction::EmbeddingReduction;

/// Settings of [`CombinedMargin`].
#[derive(Config, Debug)]
pub struct CombinedMarginConfig {
    /// How many classes; `>= 1`.
    pub classes: usize,
    /// The length of an embedding; `>= 1`.
    pub embedding_dim: usize,
    /// What the target angle is multiplied with (`m1`, SphereFace's margin); in `(0, 1000]`.
    /// Default: `1.0`.
    #[config(default = 1.0)]
    pub angle_factor: f64,
    /// What is then added to it, in radians (`m2`, ArcFace's margin); in `[-1000, 1000]`.
    /// Default: `0.3`.
    #[config(default = 0.3)]
    pub angle_margin: f64,
    /// What is taken off its cosine (`m3`, CosFace's margin); in `[-1000, 1000]`.
    /// Default: `0.2`.
    #[config(default = 0.2)]
    pub cosine_margin: f64,
    /// What the cosines are multiplied with; in `[1e-6, 1e6]`. 64 is for tens of thousands of classes; use 16 to 32 for
    /// hundreds.
    /// Default: `64.0`.
    #[config(default = 64.0)]
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

impl CombinedMarginConfig {
    /// Builds the head with random class centers on `device`.
    ///
    /// # Panics
    ///
    /// If a field is out of its range.
    #[track_caller]
    pub fn init(&self, device: &Device) -> CombinedMargin {
        let Self { angle_factor, angle_margin, cosine_margin, scale, gradient, .. } = *self;
        let rule = CombinedMarginRule { angle_factor, angle_margin, cosine_margin, scale, gradient };
        let centers = self.centers.init("CombinedMargin", [self.classes, self.embedding_dim], device);

        Head::with_rule(centers, rule, self.reduction)
    }
}

/// The margins of SphereFace, ArcFace and CosFace at once.
///
/// ```text
/// shifted        = angle_factor·angle + angle_margin
/// margin(cosine) = folded_cos(shifted) - cosine_margin
/// folded_cos(a)  = (-1)^k·cos(a) - 2·k   with k = floor(a / pi)
/// ```
///
/// The folded cosine equals the cosine in `[0, pi]` and falls everywhere, so that a larger angle is never rewarded, whatever
/// the margins are. (Public code either leaves the cosine unfolded or uses one of the margins and drops the others.) See
/// [`Head`] for the loss.
///
/// # When to take it
///
/// For margins between those of [`ArcFace`](super::ArcFace) and [`CosFace`](super::CosFace), as InsightFace's recipes
/// have them. It has three numbers to choose: begin with one of the two.
///
/// # Source
///
/// Deng, Guo, Xue, Zafeiriou: [ArcFace](https://arxiv.org/abs/1801.07698), 2019, section 2.3, equation 4; the fold is
/// that of Liu et al.: [SphereFace](https://arxiv.org/abs/1704.08063), 2017, section 3.2.
///
/// # Example
///
/// ```
/// use burn::module::Param;
/// use burn::tensor::{Device, Int, Tensor};
/// use burn_losses::heads::CombinedMarginConfig;
///
/// let device = Device::default();
/// let config = CombinedMarginConfig::new(2, 2).with_angle_margin(0.3).with_cosine_margin(0.2).with_scale(2.0);
/// let mut head = config.init(&device);
/// head.centers.weight = Param::from_tensor(Tensor::from_data([[1.0, 0.0], [0.0, 1.0]], &device));
/// let embeddings = Tensor::<2>::from_data([[3.0, 4.0]], &device);
/// let labels = Tensor::<1, Int>::from_ints([0], &device);
/// // The cosines are 0.6 and 0.8.
/// let logits = head.margin_logits(embeddings, labels).try_into_vec_as::<f32>().unwrap();
/// assert!((logits[0] - 2.0 * ((0.6_f32.acos() + 0.3).cos() - 0.2)).abs() < 1e-5);
/// ```
pub type CombinedMargin = Head<CombinedMarginRule>;

/// The rule of [`CombinedMargin`].
#[derive(Module, Debug)]
pub struct CombinedMarginRule {
    /// What the target angle is multiplied with.
    pub angle_factor: f64,
    /// What is then added to it, in radians.
    pub angle_margin: f64,
    /// What is taken off its cosine.
    pub cosine_margin: f64,
    /// What the cosines are multiplied with.
    pub scale: f64,
    /// Whether the gradient goes through the margin.
    #[module(skip)]
    pub gradient: GradientMode,
}

impl MarginRule for CombinedMarginRule {
    fn name(&self) -> &'static str {
        "CombinedMargin"
    }

    fn check(&self) {
        let Self { angle_factor, angle_margin, cosine_margin, .. } = *self;
        let in_range = angle_factor > 0.0 && angle_factor <= 1000.0;
        assert!(in_range, "CombinedMargin: angle_factor must be in (0, 1000], got {angle_factor}");
        check_margin("CombinedMargin", "angle_margin", angle_margin);
        check_margin("CombinedMargin", "cosine_margin", cosine_margin);
    }

    fn scale(&self) -> f64 {
        self.scale
    }

    fn margins_mut(&mut self) -> Vec<&mut f64> {
        vec![&mut self.angle_margin, &mut self.cosine_margin]
    }

    fn scale_mut(&mut self) -> Option<&mut f64> {
        Some(&mut self.scale)
    }

    fn target(&self, target: &Target) -> Tensor<1> {
        let shifted = angle(target.cosine.clone()).mul_scalar(self.angle_factor).add_scalar(self.angle_margin);
        let shifted = folded_cosine(shifted).sub_scalar(self.cosine_margin);

        self.gradient.apply(shifted, target.cosine.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_margin_falls_with_the_angle_whatever_the_three_margins_are() {
        let device = Device::flex();
        for (angle_factor, angle_margin) in [(1.0, 0.5), (4.0, 0.3), (1.7, -2.0)] {
            let head = CombinedMarginConfig::new(2, 2)
                .with_angle_factor(angle_factor)
                .with_angle_margin(angle_margin)
                .with_cosine_margin(0.1)
                .init(&device);
            let cosines: alloc::vec::Vec<f32> = (0..=300).map(|step| (0.01 * step as f32).cos()).collect();
            let targets = head.rule.target(&Target::of_cosines(&cosines, &device));
            let targets = targets.try_into_vec_as::<f32>().unwrap();

            // By hand at angle 1.
            let shifted: f64 = angle_factor + angle_margin;
            let turns = (shifted / core::f64::consts::PI).floor();
            let sign = if turns.rem_euclid(2.0) == 0.0 { 1.0 } else { -1.0 };
            let expected = sign * shifted.cos() - 2.0 * turns - 0.1;
            assert!((f64::from(targets[100]) - expected).abs() < 1e-5, "{} is not {expected}", targets[100]);
            assert!(targets.windows(2).all(|pair| pair[1] < pair[0] + 1e-6));
        }
    }

    #[test]
    #[should_panic(expected = "CombinedMargin: angle_margin must be in [-1000, 1000], got NaN")]
    fn a_margin_that_is_not_a_number_is_rejected() {
        CombinedMarginConfig::new(2, 2).with_angle_margin(f64::NAN).init(&Device::flex());
    }

    #[test]
    #[should_panic(expected = "CombinedMargin: angle_factor must be in (0, 1000], got 0")]
    fn a_factor_that_forgets_the_angle_is_rejected() {
        CombinedMarginConfig::new(2, 2).with_angle_factor(0.0).init(&Device::flex());
    }
}
