use burn::config::Config;
use burn::module::{Initializer, Module};
use burn::tensor::{Device, Int, Tensor};
use burn_losses_kernels::logsumexp::{Scale, Streaming};
use burn_losses_kernels::rivals::{Comparison, Reweighting, Rivals, rival_scores};

use super::angle::falling_shifted_cosine;
use super::head::check_scale;
use super::own_cosines::OwnCosines;
use super::{ClassCenters, ClassScores, MarginHead, OwnClass};
use crate::labels::LabelPolicy;

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
    #[config(default = "MvMargin::Cosine")]
    pub margin_kind: MvMargin,
    /// The margin; in `[-1000, 1000]`, or `[0, 2.33]` radians for an angle.
    #[config(default = 0.35)]
    pub margin: f64,
    /// How the cosine of a hard class is raised.
    #[config(default = "MvWeighting::Adaptive")]
    pub weighting: MvWeighting,
    /// By how much (the paper's t; public code often calls `1 + t` by this name); in `[0, 1000]`.
    #[config(default = 0.12)]
    pub weight: f64,
    /// What the cosines are multiplied with; in `[1e-6, 1e6]`.
    #[config(default = 32.0)]
    pub scale: f64,
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

impl MvSoftmaxConfig {
    /// Builds the head with random class centers on `device`.
    ///
    /// # Panics
    ///
    /// If a field is out of its range.
    pub fn init(&self, device: &Device) -> MvSoftmax {
        let Self { margin, weight, scale, margin_kind, .. } = *self;
        let range = match margin_kind {
            MvMargin::Cosine => -1000.0..=1000.0,
            MvMargin::Angle => 0.0..=2.33,
        };
        assert!(range.contains(&margin), "MvSoftmax: margin must be in {range:?} for {margin_kind:?}, got {margin}");
        assert!((0.0..=1e3).contains(&weight), "MvSoftmax: weight must be in [0, 1000], got {weight}");
        check_scale("MvSoftmax", scale);
        let size = [self.classes, self.embedding_dim];

        MvSoftmax {
            centers: ClassCenters::new("MvSoftmax", size, &self.initializer, &self.labels, device)
                .with_streaming(self.streaming),
            margin_kind,
            margin,
            weighting: self.weighting,
            weight,
            scale,
        }
    }
}

/// Classes that beat the own one weigh more: those a sample is mistaken for.
///
/// ```text
/// margin(cosine) = cosine - margin, or cos(angle + margin)
/// cosine[i, j]   > margin(own cosine):  cosine[i, j] + weight, or cosine[i, j] + weight·(cosine[i, j] + 1)
/// ```
///
/// Which classes are hard is a constant of the gradient. With a `weight` of 0 it is `CosFace` or `ArcFace`. Public code
/// leaves the margin out where the own cosine is below it; this follows the paper. See [`MarginHead`] for the loss.
///
/// # Source
///
/// Wang, Zhang, Wang, Fu, Shi, Mei: [Mis-classified Vector Guided Softmax Loss for Face
/// Recognition](https://arxiv.org/abs/1912.00833), 2020, section 3.
#[derive(Module, Debug)]
pub struct MvSoftmax {
    /// The trained class centers.
    pub centers: ClassCenters,
    #[module(skip)]
    margin_kind: MvMargin,
    margin: f64,
    #[module(skip)]
    weighting: MvWeighting,
    weight: f64,
    scale: f64,
}

impl MvSoftmax {
    fn target(&self, own_cosine: Tensor<1>) -> Tensor<1> {
        match self.margin_kind {
            MvMargin::Cosine => own_cosine.sub_scalar(self.margin),
            MvMargin::Angle => falling_shifted_cosine(own_cosine, self.margin),
        }
    }
}

impl MarginHead for MvSoftmax {
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
        self.target(own.cosine.clone())
    }

    fn refuses_shards(&self) -> Option<&'static str> {
        Some("MvSoftmax must know the own cosine of a row before it compares it with any class, on every device")
    }

    fn compare(
        &self,
        embeddings: Tensor<2>,
        weights: Tensor<2>,
        index: Tensor<1, Int>,
        used: Option<Tensor<1, Int>>,
    ) -> ClassScores {
        let own = OwnCosines::of(&embeddings, &weights, &index).cosine;
        let raised = own.ones_like();
        let (linear, constant) = match self.weighting {
            MvWeighting::Fixed => (1.0, self.weight),
            MvWeighting::Adaptive => (1.0 + self.weight, self.weight),
        };
        let reweighting = Reweighting {
            threshold: self.target(own),
            quadratic: 0.0,
            linear: raised.clone().mul_scalar(linear),
            constant: raised.mul_scalar(constant),
        };
        let comparison = Comparison { rivals: Rivals::Reweighted(reweighting), ..Comparison::default() };
        let streaming = self.centers.streaming;
        ClassScores::new(rival_scores(embeddings, weights, index, used, comparison, self.scale, streaming))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::module::Param;

    #[test]
    fn a_class_that_beats_the_own_one_is_raised() {
        let device = Device::flex();
        for (weighting, raised) in [(MvWeighting::Fixed, 0.8 + 0.5), (MvWeighting::Adaptive, 0.8 + 0.5 * 1.8)] {
            let config = MvSoftmaxConfig::new(2, 2).with_weighting(weighting).with_weight(0.5).with_scale(2.0);
            let mut head = config.with_margin(0.1).init(&device);
            head.centers.weight = Param::from_tensor(Tensor::from_data([[2.0_f32, 0.0], [0.0, 1.0]], &device));
            let embedding = Tensor::<2>::from_data([[3.0_f32, 4.0]], &device);
            let loss = head.forward(embedding, Tensor::from_data([0], &device)).into_scalar::<f32>();

            // By hand: the own cosine 0.6 counts as 0.5; the other, 0.8, is hard.
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
