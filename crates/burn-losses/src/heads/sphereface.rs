use burn::config::Config;
use burn::module::{Initializer, Module};
use burn::tensor::{Device, Tensor};
use burn_losses_kernels::logsumexp::{Scale, Streaming};

use super::angle::{angle, folded_cosine};
use super::head::check_scale;
use super::{ClassCenters, GradientMode, MarginHead, OwnClass};
use crate::labels::LabelPolicy;

/// Settings of [`SphereFace`].
#[derive(Config, Debug)]
pub struct SphereFaceConfig {
    /// How many classes; `>= 1`.
    pub classes: usize,
    /// The length of an embedding; `>= 1`.
    pub embedding_dim: usize,
    /// What the angle with the own class is multiplied with, any real number in `[1, 1000]`; the first paper's 4 is a whole
    /// one and needs a schedule to train.
    #[config(default = 1.7)]
    pub multiplier: f64,
    /// What the cosines are multiplied with; in `[1e-6, 1e6]`. 64 is for tens of thousands of classes; use 16 to 32 for
    /// hundreds.
    #[config(default = 30.0)]
    pub scale: f64,
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

impl SphereFaceConfig {
    /// Builds the head with random class centers on `device`.
    ///
    /// # Panics
    ///
    /// If a field is out of its range.
    pub fn init(&self, device: &Device) -> SphereFace {
        let Self { multiplier, scale, .. } = *self;
        assert!((1.0..=1e3).contains(&multiplier), "SphereFace: multiplier must be in [1, 1000], got {multiplier}");
        check_scale("SphereFace", scale);
        let size = [self.classes, self.embedding_dim];

        SphereFace {
            centers: ClassCenters::new("SphereFace", size, &self.initializer, &self.labels, device)
                .with_streaming(self.streaming),
            multiplier,
            scale,
            gradient: self.gradient,
        }
    }
}

/// Multiplicative angular margin: the angle with the own class counts several times.
///
/// ```text
/// margin(cosine) = folded_cos(multiplier·angle)
/// folded_cos(a)  = (-1)^k·cos(a) - 2·k   with k = floor(a / pi)
/// ```
///
/// With the fixed scale of SphereFace-R in place of the first paper's lengths of embeddings, and with its straight-through
/// gradient as [`GradientMode::Detached`]. A `multiplier` of 1 is `NormFace`. See [`MarginHead`] for the loss.
///
/// # Source
///
/// Liu, Wen, Yu, Li, Raj, Song: [SphereFace](https://arxiv.org/abs/1704.08063), 2017, section 3.2; Liu, Wen, Raj, Singh,
/// Weller: [SphereFace Revived](https://arxiv.org/abs/2109.05565), 2021.
#[derive(Module, Debug)]
pub struct SphereFace {
    /// The trained class centers.
    pub centers: ClassCenters,
    multiplier: f64,
    scale: f64,
    #[module(skip)]
    gradient: GradientMode,
}

impl MarginHead for SphereFace {
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
        let cosine = own.cosine.clone();
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
        let targets = head.margin(&OwnClass::of_cosines(&cosines, &device)).try_into_vec_as::<f32>().unwrap();

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
