use alloc::vec;
use alloc::vec::Vec;

use burn::config::Config;
use burn::module::Module;
use burn::tensor::{Device, Tensor};

use super::angle::falling_shifted_cosine;
use super::{Batch, CentersConfig, Head, MarginRule, Reweighting, Target, Terms};
use crate::reduction::EmbeddingReduction;

/// The margin that a [`MvSoftmax`] has and that decides which classes are hard.
#[derive(Config, Debug, Copy, PartialEq, Eq)]
pub enum MvMargin {
    /// `cosine - margin`, as in CosFace.
    Cosine,
    /// `cos(angle + margin)`, as in ArcFace, with its linear fall beyond pi; in radians.
    Angle,
}

/// How a [`MvSoftmax`] raises the cosine of a hard class.
#[derive(Config, Debug, Copy, PartialEq, Eq)]
pub enum MvWeighting {
    /// By `weight`.
    Fixed,
    /// By `weight·(cosine + 1)`: the harder, the more.
    Adaptive,
}

/// Settings of [`MvSoftmax`].
#[derive(Config, Debug)]
pub struct MvSoftmaxConfig {
    /// How many classes; `>= 1`.
    pub classes: usize,
    /// The length of an embedding; `>= 1`.
    pub embedding_dim: usize,
    /// Which margin it is.
    /// Default: `MvMargin::Cosine`.
    #[config(default = "MvMargin::Cosine")]
    pub margin_kind: MvMargin,
    /// The margin; in `[-1000, 1000]`, or `[0, 2.33]` radians for an angle.
    /// Default: `0.35`.
    #[config(default = 0.35)]
    pub margin: f64,
    /// How the cosine of a hard class is raised.
    /// Default: `MvWeighting::Adaptive`.
    #[config(default = "MvWeighting::Adaptive")]
    pub weighting: MvWeighting,
    /// By how much (the paper's t; public code often calls `1 + t` by this name); in `[0, 1000]`.
    /// Default: `0.12`.
    #[config(default = 0.12)]
    pub weight: f64,
    /// What the cosines are multiplied with; in `[1e-6, 1e6]`.
    /// Default: `32.0`.
    #[config(default = 32.0)]
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

impl MvSoftmaxConfig {
    /// Builds the head with random class centers on `device`.
    ///
    /// # Panics
    ///
    /// If a field is out of its range.
    #[track_caller]
    pub fn init(&self, device: &Device) -> MvSoftmax {
        let Self { margin_kind, margin, weighting, weight, scale, .. } = *self;
        let rule = MvSoftmaxRule { margin_kind, margin, weighting, weight, scale };
        let centers = self.centers.init("MvSoftmax", [self.classes, self.embedding_dim], device);

        Head::with_rule(centers, rule, self.reduction)
    }
}

/// Classes that beat that of the label weigh more: those a sample is mistaken for.
///
/// ```text
/// margin(cosine) = cosine - margin, or cos(angle + margin)
/// cosine[i, j]   > margin(target[i]):  cosine[i, j] + weight, or cosine[i, j] + weight·(cosine[i, j] + 1)
/// ```
///
/// Which classes are hard is a constant of the gradient. With a `weight` of 0 it is `CosFace` or `ArcFace`. Public code
/// leaves the margin out where the target cosine is below it; this follows the paper. See [`Head`] for the loss.
///
/// # When to take it
///
/// Where some classes are easily taken for each other. Labels should be clean, since a wrong one looks hard; else take
/// [`SubCenterArcFace`](super::SubCenterArcFace) first.
///
/// # Source
///
/// Wang, Zhang, Wang, Fu, Shi, Mei: [Mis-classified Vector Guided Softmax Loss for Face
/// Recognition](https://arxiv.org/abs/1912.00833), 2020, section 3.
///
/// # Example
///
/// ```
/// use burn::module::Param;
/// use burn::tensor::{Device, Int, Tensor};
/// use burn_losses::heads::MvSoftmaxConfig;
///
/// let device = Device::default();
/// let mut head = MvSoftmaxConfig::new(2, 2).with_margin(0.35).with_weight(0.12).with_scale(1.0).init(&device);
/// head.centers.weight = Param::from_tensor(Tensor::from_data([[1.0, 0.0], [0.0, 1.0]], &device));
/// let embeddings = Tensor::<2>::from_data([[3.0, 4.0]], &device);
/// let labels = Tensor::<1, Int>::from_ints([0], &device);
/// // The cosines are 0.6 and 0.8. The other class beats 0.6 - 0.35, so it is raised.
/// let loss = head.forward(embeddings, labels).into_scalar::<f32>();
/// let (target, hard) = (0.6_f32 - 0.35, 0.8 + 0.12 * (0.8 + 1.0));
/// assert!((loss - (hard - target).exp().ln_1p()).abs() < 1e-5);
/// ```
pub type MvSoftmax = Head<MvSoftmaxRule>;

/// The rule of [`MvSoftmax`].
#[derive(Module, Debug)]
pub struct MvSoftmaxRule {
    /// Which margin it is.
    #[module(skip)]
    pub margin_kind: MvMargin,
    /// The margin, of the cosine or in radians.
    pub margin: f64,
    /// How the cosine of a hard class is raised.
    #[module(skip)]
    pub weighting: MvWeighting,
    /// By how much.
    pub weight: f64,
    /// What the cosines are multiplied with.
    pub scale: f64,
}

impl MvSoftmaxRule {
    fn shifted(&self, cosine: Tensor<1>) -> Tensor<1> {
        match self.margin_kind {
            MvMargin::Cosine => cosine.sub_scalar(self.margin),
            MvMargin::Angle => falling_shifted_cosine(cosine, self.margin),
        }
    }
}

impl MarginRule for MvSoftmaxRule {
    fn name(&self) -> &'static str {
        "MvSoftmax"
    }

    fn check(&self) {
        let Self { margin_kind, margin, weight, .. } = *self;
        let range = match margin_kind {
            MvMargin::Cosine => -1000.0..=1000.0,
            MvMargin::Angle => 0.0..=2.33,
        };
        assert!(range.contains(&margin), "MvSoftmax: margin must be in {range:?} for {margin_kind:?}, got {margin}");
        assert!((0.0..=1e3).contains(&weight), "MvSoftmax: weight must be in [0, 1000], got {weight}");
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
        self.shifted(target.cosine.clone())
    }

    fn negatives(&self, batch: &Batch<'_>) -> Terms {
        let cosine = batch.target_cosine();
        let raised = cosine.ones_like();
        let (linear, constant) = match self.weighting {
            MvWeighting::Fixed => (1.0, self.weight),
            MvWeighting::Adaptive => (1.0 + self.weight, self.weight),
        };
        Terms::Reweighted(Reweighting {
            threshold: self.shifted(cosine),
            quadratic: 0.0,
            linear: raised.clone().mul_scalar(linear),
            constant: raised.mul_scalar(constant),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::module::Param;

    #[test]
    fn a_class_that_beats_the_target_is_raised() {
        let device = Device::flex();
        for (weighting, raised) in [(MvWeighting::Fixed, 0.8 + 0.5), (MvWeighting::Adaptive, 0.8 + 0.5 * 1.8)] {
            let config = MvSoftmaxConfig::new(2, 2).with_weighting(weighting).with_weight(0.5).with_scale(2.0);
            let mut head = config.with_margin(0.1).init(&device);
            head.centers.weight = Param::from_tensor(Tensor::from_data([[2.0_f32, 0.0], [0.0, 1.0]], &device));
            let embedding = Tensor::<2>::from_data([[3.0_f32, 4.0]], &device);
            let loss = head.forward(embedding, Tensor::from_data([0], &device)).into_scalar::<f32>();

            // By hand: the target cosine 0.6 counts as 0.5; the other, 0.8, is hard.
            let expected = (2.0_f32 * (raised - 0.5)).exp().ln_1p();
            assert!((loss - expected).abs() < 1e-5, "{weighting:?}: {loss} is not {expected}");
        }
    }

    #[test]
    #[should_panic(expected = "MvSoftmax: weight must be in [0, 1000], got -0.1")]
    fn a_negative_weight_is_rejected() {
        MvSoftmaxConfig::new(2, 2).with_weight(-0.1).init(&Device::flex());
    }
}
