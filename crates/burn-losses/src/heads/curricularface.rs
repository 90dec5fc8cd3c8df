use burn::config::Config;
use burn::module::{Flag, Initializer, Module, Param, RunningState};
use burn::tensor::{Bool, DType, Device, Int, Tensor};
use burn_losses_kernels::logsumexp::{Scale, Streaming};
use burn_losses_kernels::math::cast_to;
use burn_losses_kernels::rivals::{Comparison, Reweighting, Rivals, rival_scores};

use super::angle::{falling_shifted_cosine, shifted_cosine};
use super::head::check_scale;
use super::own_cosines::OwnCosines;
use super::{ClassCenters, ClassScores, MarginHead, OwnClass};
use crate::labels::LabelPolicy;

/// Settings of [`CurricularFace`].
#[derive(Config, Debug)]
pub struct CurricularFaceConfig {
    /// How many classes; `>= 1`.
    pub classes: usize,
    /// The length of an embedding; `>= 1`.
    pub embedding_dim: usize,
    /// What is added to the angle with the own class, in radians; in `[0, 2.33]`.
    #[config(default = 0.5)]
    pub margin: f64,
    /// What the cosines are multiplied with; in `[1e-6, 1e6]`. 64 is for tens of thousands of classes; use 16 to 32 for
    /// hundreds.
    #[config(default = 64.0)]
    pub scale: f64,
    /// How much of the average own cosine is that of the latest batch; in `[0, 1]`.
    #[config(default = 0.01)]
    pub momentum: f64,
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

impl CurricularFaceConfig {
    /// Builds the head with random class centers on `device`.
    ///
    /// # Panics
    ///
    /// If a field is out of its range.
    pub fn init(&self, device: &Device) -> CurricularFace {
        let Self { margin, scale, momentum, .. } = *self;
        assert!((0.0..=2.33).contains(&margin), "CurricularFace: margin must be in [0, 2.33] radians, got {margin}");
        assert!((0.0..=1.0).contains(&momentum), "CurricularFace: momentum must be in [0, 1], got {momentum}");
        check_scale("CurricularFace", scale);
        let size = [self.classes, self.embedding_dim];

        CurricularFace {
            centers: ClassCenters::new("CurricularFace", size, &self.initializer, &self.labels, device)
                .with_streaming(self.streaming),
            average_cosine: RunningState::new(Tensor::zeros([1], (&device.clone().inner(), DType::F32))),
            training: Param::from_bool(true),
            margin,
            scale,
            momentum,
        }
    }
}

/// Easy classes first, hard ones later: classes that are harder than the own one weigh the more, the better the training
/// already is.
///
/// ```text
/// margin(cosine) = cos(angle + margin), and cosine - margin·sin(margin) where angle + margin would pass pi
/// cosine[i, j]   > cos(angle[i] + margin):  cosine[i, j]·(average_cosine + cosine[i, j])
/// average_cosine = momentum·mean(own cosines of the batch) + (1 - momentum)·average_cosine
/// ```
///
/// The average starts at 0. It is state: saved and loaded with the module, and updated, before it is used, by every forward
/// on an autodiff device; never in evaluation, nor when the module is frozen (the authors' code updates it in evaluation
/// too). Which classes are hard, and the average, are constants of the gradient. Rows without a class, without a direction
/// or with a number that is not finite do not count in the average. See [`MarginHead`] for the loss.
///
/// # Source
///
/// Huang et al.: [CurricularFace](https://arxiv.org/abs/2004.00288), 2020, section 3.2.
#[derive(Module, Debug)]
pub struct CurricularFace {
    /// The trained class centers.
    pub centers: ClassCenters,
    average_cosine: RunningState<Tensor<1>>,
    /// Whether a forward may move the average; `freeze` turns it off.
    training: Param<Flag>,
    margin: f64,
    scale: f64,
    momentum: f64,
}

impl CurricularFace {
    /// The average cosine with the own class, `[1]`.
    pub fn average_cosine(&self) -> Tensor<1> {
        // What is read of a state may be in one backward only, unless it is detached.
        self.average_cosine.value().detach()
    }

    /// The average after the batch with these own cosines.
    fn updated_average(&self, own_cosine: Tensor<1>, counted: Tensor<1, Bool>) -> Tensor<1> {
        let average = self.average_cosine().to_device(&own_cosine.device());
        let average = cast_to(average, own_cosine.dtype());
        let left_out = counted.bool_and(own_cosine.clone().is_finite()).bool_not();
        let count = own_cosine.ones_like().mask_fill(left_out.clone(), 0.0).sum();
        let mean = own_cosine.mask_fill(left_out, 0.0).sum() / count.clone().clamp_min(1.0);
        let updated = mean.mul_scalar(self.momentum) + average.clone().mul_scalar(1.0 - self.momentum);
        let updated = updated.mask_where(count.equal_scalar(0.0), average);

        self.average_cosine.update(updated.clone());
        // Without this the new average would be queued, and a record saved now would hold the old one.
        self.average_cosine.value_sync();
        updated
    }
}

impl MarginHead for CurricularFace {
    fn centers(&self) -> &ClassCenters {
        &self.centers
    }

    fn with_centers(self, centers: ClassCenters) -> Self {
        Self { average_cosine: centers.copy_of(&self.average_cosine), centers, ..self }
    }

    fn scale(&self) -> Scale {
        self.scale.into()
    }

    fn margin(&self, own: &OwnClass) -> Tensor<1> {
        falling_shifted_cosine(own.cosine.clone(), self.margin)
    }

    fn refuses_shards(&self) -> Option<&'static str> {
        Some("CurricularFace must know the own cosine of a row before it compares it with any class, on every device")
    }

    fn compare(
        &self,
        embeddings: Tensor<2>,
        weights: Tensor<2>,
        index: Tensor<1, Int>,
        used: Option<Tensor<1, Int>>,
    ) -> ClassScores {
        let training = embeddings.device().is_autodiff() && self.training.is_enabled();
        let own = OwnCosines::of(&embeddings, &weights, &index);
        let average = if training {
            self.updated_average(own.cosine.clone(), own.counted)
        } else {
            cast_to(self.average_cosine().to_device(&own.cosine.device()), own.cosine.dtype())
        };
        let [batch] = index.dims();
        let reweighting = Reweighting {
            threshold: shifted_cosine(own.cosine.clone(), self.margin),
            quadratic: 1.0,
            linear: average.expand([batch]),
            constant: own.cosine.zeros_like(),
        };
        let comparison = Comparison { rivals: Rivals::Reweighted(reweighting), ..Comparison::default() };
        let streaming = self.centers.streaming;
        ClassScores::new(rival_scores(embeddings, weights, index, used, comparison, self.scale, streaming))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_average_follows_the_own_cosines_of_rows_that_have_one() {
        let device = Device::flex().autodiff();
        let mut head = CurricularFaceConfig::new(2, 2).with_momentum(0.5).init(&device);
        head.centers.weight = Param::from_tensor(Tensor::from_data([[2.0_f32, 0.0], [0.0, 1.0]], &device));
        let rows = [[3.0_f32, 4.0], [0.0, 0.0], [0.0, 7.0], [f32::NAN, 0.0], [1.0, 1.0]];
        let labels = Tensor::<1, Int>::from_data([0, 1, 1, 0, -1], &device);
        let _ = head.forward(Tensor::from_data(rows, &device), labels);

        // By hand: half of (0.6 + 1) / 2.
        assert!((head.average_cosine().into_scalar::<f32>() - 0.4).abs() < 1e-6);
    }

    #[test]
    #[should_panic(expected = "CurricularFace: momentum must be in [0, 1], got 1.5")]
    fn a_momentum_above_one_is_rejected() {
        CurricularFaceConfig::new(2, 2).with_momentum(1.5).init(&Device::flex());
    }
}
