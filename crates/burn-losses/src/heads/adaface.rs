use alloc::vec;
use alloc::vec::Vec;

use burn::config::Config;
use burn::module::Module;
use burn::tensor::{DType, Device, Tensor};
use burn_losses_kernels::math::cast_to;

use super::angle::{angle, folded_cosine};
use super::{Batch, CentersConfig, Head, MarginRule, Target};
use crate::reduction::EmbeddingReduction;
use crate::state::State;

/// Lengths count as no shorter and no longer than this, as in the authors' code.
const LENGTHS: (f64, f64) = (1e-3, 100.0);

/// Added to the deviation of the lengths, as in the authors' code.
const DEVIATION_FLOOR: f64 = 1e-3;

/// Settings of [`AdaFace`].
#[derive(Config, Debug)]
pub struct AdaFaceConfig {
    /// How many classes; `>= 1`.
    pub classes: usize,
    /// The length of an embedding; `>= 1`.
    pub embedding_dim: usize,
    /// The size of the margin, in radians and of the cosine; in `[0, 1.5]`.
    /// Default: `0.4`.
    #[config(default = 0.4)]
    pub margin: f64,
    /// How many deviations from the average a length must be to count as the best or the worst: its reciprocal (the
    /// paper's h); in `[0, 1000]`. 0 leaves the length out: every row is of middling quality, which is CosFace.
    /// Default: `0.333`.
    #[config(default = 0.333)]
    pub concentration: f64,
    /// How much of the averages is that of the latest batch (the paper's alpha); in `[0, 1]`.
    /// Default: `0.01`.
    #[config(default = 0.01)]
    pub momentum: f64,
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

impl AdaFaceConfig {
    /// Builds the head with random class centers on `device`.
    ///
    /// # Panics
    ///
    /// If a field is out of its range.
    #[track_caller]
    pub fn init(&self, device: &Device) -> AdaFace {
        let Self { margin, concentration, momentum, scale, .. } = *self;
        // The authors' first averages.
        let lengths = Tensor::from_data([20.0, 100.0], (&device.clone().inner(), DType::F32));
        let rule = AdaFaceRule { lengths: State::new(lengths), margin, concentration, momentum, scale };
        let centers = self.centers.init("AdaFace", [self.classes, self.embedding_dim], device);

        Head::with_rule(centers, rule, self.reduction)
    }
}

/// A margin that depends on how good a picture is, of which the length of its embedding tells: hard samples count for good
/// pictures, and less for bad ones, which nobody could recognise.
///
/// ```text
/// quality        = clamp(concentration·(|embedding| - average) / (deviation + 0.001), -1, 1)
/// margin(cosine) = cos(max(angle - margin·quality, 0)) - margin·(1 + quality)
/// average        = momentum·mean(lengths of the batch) + (1 - momentum)·average;  deviation likewise
/// ```
///
/// A bad picture (`quality` -1) has the margin of ArcFace, a middling one (0) that of CosFace, and a good one (1) twice
/// that of CosFace with a negative one of the angle. The average and the deviation start at 20 and 100. They are state:
/// saved and loaded with the module, and updated, before they are used, by every forward on an autodiff device; never
/// in evaluation, nor when the module is frozen (the authors' code updates them in evaluation too). Lengths count as no
/// shorter than 0.001 and no longer than 100, and are constants of the gradient. Rows without a class or with a number
/// that is not finite do not count; a batch of one leaves the deviation as it is (the authors' becomes NaN for good).
/// Beyond pi the cosine goes on falling, folded as in SphereFace; the authors' stays flat. With a `margin` of 0 it is
/// `NormFace`. See [`Head`] for the loss.
///
/// # When to take it
///
/// Take it for pictures of mixed quality, such as faces from surveillance. Batches must be large enough for a mean
/// length, and the model must not divide embeddings by their length; otherwise take [`ArcFace`](super::ArcFace).
///
/// # Source
///
/// Kim, Jain, Liu: [AdaFace](https://arxiv.org/abs/2204.00964), 2022, section 3.
///
/// # Example
///
/// ```
/// use burn::module::Param;
/// use burn::tensor::{Device, Int, Tensor};
/// use burn_losses::heads::AdaFaceConfig;
///
/// let device = Device::default();
/// let mut head = AdaFaceConfig::new(2, 2).with_concentration(1000.0).with_scale(2.0).init(&device);
/// head.centers.weight = Param::from_tensor(Tensor::from_data([[1.0, 0.0], [0.0, 1.0]], &device));
/// let embeddings = Tensor::<2>::from_data([[60.0, 80.0], [0.6, 0.8]], &device);
/// let labels = Tensor::<1, Int>::from_ints([0, 0], &device);
/// // Both have the cosines 0.6 and 0.8. The average length starts at 20: the first counts as the best picture, and the
/// // second as the worst.
/// let logits = head.margin_logits(embeddings, labels).try_into_vec_as::<f32>().unwrap();
/// let angle = 0.6_f32.acos();
/// assert!((logits[0] - 2.0 * ((angle - 0.4).cos() - 0.8)).abs() < 1e-5);
/// assert!((logits[2] - 2.0 * (angle + 0.4).cos()).abs() < 1e-5);
/// ```
pub type AdaFace = Head<AdaFaceRule>;

/// The rule of [`AdaFace`].
#[derive(Module, Debug)]
pub struct AdaFaceRule {
    /// Average and deviation of the lengths, `[2]`.
    lengths: State<Tensor<1>>,
    /// The size of the margin, in radians and of the cosine.
    pub margin: f64,
    /// The reciprocal of how many deviations a length must be from the average to count as the best or the worst.
    pub concentration: f64,
    /// How much of the averages is that of the latest batch.
    pub momentum: f64,
    /// What the cosines are multiplied with.
    pub scale: f64,
}

impl AdaFaceRule {
    /// The average length of embeddings and its deviation, `[2]`.
    pub fn length_statistics(&self) -> Tensor<1> {
        self.lengths.value()
    }

    /// Average and deviation, `[1]` each, beside other numbers.
    fn beside(statistics: Tensor<1>, numbers: &Tensor<1>) -> [Tensor<1>; 2] {
        let statistics = cast_to(statistics.to_device(&numbers.device()), numbers.dtype());
        [0, 1].map(|place| statistics.clone().narrow(0, place, 1))
    }
}

impl MarginRule for AdaFaceRule {
    fn name(&self) -> &'static str {
        "AdaFace"
    }

    fn check(&self) {
        let Self { margin, concentration, momentum, .. } = *self;
        assert!((0.0..=1.5).contains(&margin), "AdaFace: margin must be in [0, 1.5], got {margin}");
        let in_range = (0.0..=1e3).contains(&concentration);
        assert!(in_range, "AdaFace: concentration must be in [0, 1000], got {concentration}");
        assert!((0.0..=1.0).contains(&momentum), "AdaFace: momentum must be in [0, 1], got {momentum}");
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
        let cosine = target.cosine.clone();
        let [batch] = cosine.dims();
        let lengths = target.length().detach().clamp(LENGTHS.0, LENGTHS.1);
        let [average, deviation] = Self::beside(self.length_statistics(), &lengths);
        let unit = deviation.add_scalar(DEVIATION_FLOOR).recip().mul_scalar(self.concentration);
        let quality = ((lengths - average.expand([batch])) * unit.expand([batch])).clamp(-1.0, 1.0);
        let by_angle = quality.clone().mul_scalar(-self.margin);
        let by_cosine = quality.mul_scalar(self.margin).add_scalar(self.margin);

        folded_cosine((angle(cosine) + by_angle).clamp_min(0.0)) - by_cosine
    }

    fn observe(&self, batch: &Batch<'_>) {
        let lengths = batch.length().clamp(LENGTHS.0, LENGTHS.1);
        let left_out = batch.valid().bool_and(lengths.clone().is_finite()).bool_not();
        let sum = |numbers: Tensor<1>| numbers.mask_fill(left_out.clone(), 0.0).sum();
        let count = sum(lengths.ones_like());
        let mean = sum(lengths.clone()) / count.clone().clamp_min(1.0);
        let [batch] = lengths.dims();
        let squares = sum((lengths.clone() - mean.clone().expand([batch])).square());
        // Of a sample, so divided by one less than its size.
        let spread = (squares / count.clone().sub_scalar(1.0).clamp_min(1.0)).sqrt();

        let blend = |latest: Tensor<1>, before: Tensor<1>, least: f64| {
            let blended = latest.mul_scalar(self.momentum) + before.clone().mul_scalar(1.0 - self.momentum);
            blended.mask_where(count.clone().lower_scalar(least), before)
        };
        self.lengths.update(|statistics| {
            let [average, deviation] = Self::beside(statistics, &lengths);
            Tensor::cat(alloc::vec![blend(mean.clone(), average, 1.0), blend(spread.clone(), deviation, 2.0)], 0)
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Int;

    fn target(rows: [[f32; 1]; 3], device: &Device) -> Target {
        let cosine = Tensor::from_data([0.5_f32; 3], device);
        let valid = Tensor::from_data([true, true, false], device);
        Target::new(cosine, valid, Tensor::from_data(rows, device))
    }

    #[test]
    fn the_averages_follow_the_lengths_of_rows_with_a_class_once_per_forward() {
        let device = Device::flex().autodiff();
        let head = AdaFaceConfig::new(2, 1).with_momentum(0.5).init(&device);
        let rows = || Tensor::<2>::from_data([[30.0_f32], [-50.0], [f32::NAN]], &device);
        let labels = || Tensor::<1, Int>::from_data([0, 1, -1], &device);
        let _ = head.forward(rows(), labels());
        let _ = head.margin_logits(rows(), labels());
        let statistics = head.rule.length_statistics().try_into_vec_as::<f32>().unwrap();

        // By hand: half of 40 and 20, half of sqrt(200) and 100.
        assert!((statistics[0] - 30.0).abs() < 1e-4, "{statistics:?}");
        assert!((statistics[1] - (50.0 + 0.5 * 200.0_f32.sqrt())).abs() < 1e-4, "{statistics:?}");
    }

    #[test]
    fn a_long_embedding_has_a_margin_of_the_cosine_and_a_short_one_of_the_angle() {
        let device = Device::flex();
        let head = AdaFaceConfig::new(2, 1).with_concentration(10.0).init(&device);
        let targets = head.rule.target(&target([[90.0], [1.0], [20.0]], &device)).try_into_vec_as::<f32>().unwrap();

        // By hand: qualities 1, -1 and 0 around the average 20.
        let third = core::f32::consts::FRAC_PI_3;
        let expected = [(third - 0.4).cos() - 0.8, (third + 0.4).cos(), 0.5 - 0.4];
        for (target, expected) in targets.into_iter().zip(expected) {
            assert!((target - expected).abs() < 1e-5, "{target} is not {expected}");
        }
    }

    #[test]
    #[should_panic(expected = "AdaFace: margin must be in [0, 1.5], got 28.6")]
    fn a_margin_in_degrees_is_rejected() {
        AdaFaceConfig::new(2, 2).with_margin(28.6).init(&Device::flex());
    }
}
