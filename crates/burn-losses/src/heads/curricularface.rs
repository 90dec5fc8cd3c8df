use alloc::vec;
use alloc::vec::Vec;

use burn::config::Config;
use burn::module::Module;
use burn::tensor::{DType, Device, Tensor};
use burn_losses_kernels::math::cast_to;

use super::angle::{falling_shifted_cosine, shifted_cosine};
use super::{Batch, CentersConfig, Head, MarginRule, Reweighting, Target, Terms};
use crate::reduction::EmbeddingReduction;
use crate::state::State;

/// Settings of [`CurricularFace`].
#[derive(Config, Debug)]
pub struct CurricularFaceConfig {
    /// How many classes; `>= 1`.
    pub classes: usize,
    /// The length of an embedding; `>= 1`.
    pub embedding_dim: usize,
    /// What is added to the target angle, in radians; in `[0, 2.33]`.
    /// Default: `0.5`.
    #[config(default = 0.5)]
    pub margin: f64,
    /// What the cosines are multiplied with; in `[1e-6, 1e6]`. 64 is for tens of thousands of classes; use 16 to 32 for
    /// hundreds.
    /// Default: `64.0`.
    #[config(default = 64.0)]
    pub scale: f64,
    /// How much of the average target cosine is that of the latest batch; in `[0, 1]`.
    /// Default: `0.01`.
    #[config(default = 0.01)]
    pub momentum: f64,
    /// How the class centers start, which labels count, and what a batch is compared with.
    /// Default: `CentersConfig::new()`.
    #[config(default = "CentersConfig::new()")]
    pub centers: CentersConfig,
    /// How the losses of a batch become one number.
    /// Default: `EmbeddingReduction::Mean`.
    #[config(default = "EmbeddingReduction::Mean")]
    pub reduction: EmbeddingReduction,
}

impl CurricularFaceConfig {
    /// Builds the head with random class centers on `device`.
    ///
    /// # Panics
    ///
    /// If a field is out of its range.
    #[track_caller]
    pub fn init(&self, device: &Device) -> CurricularFace {
        let Self { margin, scale, momentum, .. } = *self;
        let average_cosine = State::new(Tensor::zeros([1], (device, DType::F32)));
        let rule = CurricularFaceRule { average_cosine, margin, scale, momentum };
        let centers = self.centers.init("CurricularFace", [self.classes, self.embedding_dim], device);

        Head::with_rule(centers, rule, self.reduction)
    }
}

/// Easy classes first, hard ones later: classes that are harder than that of the label weigh the more, the better the training
/// already is.
///
/// ```text
/// margin(cosine) = cos(angle + margin), and cosine - margin·sin(margin) where angle + margin would pass pi
/// cosine[i, j]   > cos(target angle + margin):  cosine[i, j]·(average_cosine + cosine[i, j])
/// average_cosine = momentum·mean(target[i] of the batch) + (1 - momentum)·average_cosine
/// ```
///
/// The average starts at 0. It is state: saved and loaded with the module, and updated, before it is used, by every forward
/// on an autodiff device; never in evaluation, nor when the module is frozen (the authors' code updates it in evaluation
/// too). Which classes are hard, and the average, are constants of the gradient. Rows without a class, without a direction
/// or with a number that is not finite do not count in the average. See [`Head`] for the loss.
///
/// # When to take it
///
/// Where hard classes should count more as training goes on. Labels should be clean, since a wrong one looks hard; else
/// take [`SubCenterArcFace`](super::SubCenterArcFace) first.
///
/// # Source
///
/// Huang et al.: [CurricularFace](https://arxiv.org/abs/2004.00288), 2020, section 3.2.
///
/// # Example
///
/// ```
/// use burn::module::Param;
/// use burn::tensor::{Device, Int, Tensor};
/// use burn_losses::heads::CurricularFaceConfig;
///
/// let device = Device::default();
/// let mut head = CurricularFaceConfig::new(2, 2).with_margin(0.5).with_scale(1.0).init(&device);
/// head.centers.weight = Param::from_tensor(Tensor::from_data([[1.0, 0.0], [0.0, 1.0]], &device));
/// let embeddings = Tensor::<2>::from_data([[3.0, 4.0]], &device);
/// let labels = Tensor::<1, Int>::from_ints([0], &device);
/// // The cosines are 0.6 and 0.8. The other class is hard; before training the average is 0, so it counts as 0.8·0.8.
/// let loss = head.forward(embeddings, labels).into_scalar::<f32>();
/// let (target, hard) = ((0.6_f32.acos() + 0.5).cos(), 0.8 * 0.8);
/// assert!((loss - (hard - target).exp().ln_1p()).abs() < 1e-5);
/// ```
pub type CurricularFace = Head<CurricularFaceRule>;

/// The rule of [`CurricularFace`].
#[derive(Module, Debug)]
pub struct CurricularFaceRule {
    average_cosine: State<Tensor<1>>,
    /// What is added to the target angle, in radians.
    pub margin: f64,
    /// What the cosines are multiplied with.
    pub scale: f64,
    /// How much of the average is that of the latest batch.
    pub momentum: f64,
}

impl CurricularFaceRule {
    /// The average target cosine, `[1]`.
    pub fn average_cosine(&self) -> Tensor<1> {
        self.average_cosine.value()
    }
}

impl MarginRule for CurricularFaceRule {
    fn name(&self) -> &'static str {
        "CurricularFace"
    }

    fn check(&self) {
        let Self { margin, momentum, .. } = *self;
        assert!((0.0..=2.33).contains(&margin), "CurricularFace: margin must be in [0, 2.33] radians, got {margin}");
        assert!((0.0..=1.0).contains(&momentum), "CurricularFace: momentum must be in [0, 1], got {momentum}");
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
        falling_shifted_cosine(target.cosine.clone(), self.margin)
    }

    fn negatives(&self, batch: &Batch<'_>) -> Terms {
        let cosine = batch.target_cosine();
        let average = cast_to(self.average_cosine().to_device(&cosine.device()), cosine.dtype());
        Terms::Reweighted(Reweighting {
            threshold: shifted_cosine(cosine.clone(), self.margin),
            quadratic: 1.0,
            linear: average.expand(cosine.dims()),
            constant: cosine.zeros_like(),
        })
    }

    fn observe(&self, batch: &Batch<'_>) {
        let (cosine, left_out) = (batch.target_cosine(), batch.counted().bool_not());
        let count = cosine.ones_like().mask_fill(left_out.clone(), 0.0).sum();
        let mean = cosine.clone().mask_fill(left_out, 0.0).sum() / count.clone().clamp_min(1.0);
        let (latest, nothing) = (mean.mul_scalar(self.momentum), count.equal_scalar(0.0));

        self.average_cosine.update(|average| {
            let average = cast_to(average.to_device(&cosine.device()), cosine.dtype());
            let updated = latest.clone() + average.clone().mul_scalar(1.0 - self.momentum);
            updated.mask_where(nothing.clone(), average)
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Int;

    #[test]
    fn the_average_follows_the_target_cosines_of_rows_that_have_one() {
        let device = Device::flex().autodiff();
        let mut head = CurricularFaceConfig::new(2, 2).with_momentum(0.5).init(&device);
        head.centers.weight =
            burn::module::Param::from_tensor(Tensor::from_data([[2.0_f32, 0.0], [0.0, 1.0]], &device));
        let rows = [[3.0_f32, 4.0], [0.0, 0.0], [0.0, 7.0], [f32::NAN, 0.0], [1.0, 1.0]];
        let labels = Tensor::<1, Int>::from_data([0, 1, 1, 0, -1], &device);
        let _ = head.forward(Tensor::from_data(rows, &device), labels);

        // By hand: half of (0.6 + 1) / 2.
        assert!((head.rule.average_cosine().into_scalar::<f32>() - 0.4).abs() < 1e-6);

        // A batch without such a row leaves it where it is.
        let none = Tensor::<1, Int>::from_data([-1; 5], &device);
        let _ = head.forward(Tensor::from_data(rows, &device), none);
        assert!((head.rule.average_cosine().into_scalar::<f32>() - 0.4).abs() < 1e-6);
    }

    #[test]
    #[should_panic(expected = "CurricularFace: momentum must be in [0, 1], got 1.5")]
    fn a_momentum_above_one_is_rejected() {
        CurricularFaceConfig::new(2, 2).with_momentum(1.5).init(&Device::flex());
    }
}
