use core::f64::consts::{FRAC_1_SQRT_2, SQRT_2};

use burn::config::Config;
use burn::module::{Flag, Module, Param, RunningState};
use burn::tensor::{DType, Device, Int, Tensor};
use burn_losses_kernels::math::{NOTHING, cast_to, log_sum_exp};

use super::{Batch, CentersConfig, Head, MarginRule, Target};
use crate::reduction::EmbeddingReduction;

/// A measured scale stays within this: few classes that are far away would make it negative.
const SCALES: (f64, f64) = (0.5, 1e4);

/// How the scale of an [`AdaCos`] is found.
#[derive(Config, Debug, Copy, PartialEq, Eq)]
pub enum AdaCosScale {
    /// From the number of classes, once.
    Fixed,
    /// From every batch of the training.
    Dynamic,
}

/// Settings of [`AdaCos`].
#[derive(Config, Debug)]
pub struct AdaCosConfig {
    /// How many classes; `>= 3`.
    pub classes: usize,
    /// The length of an embedding; `>= 1`.
    pub embedding_dim: usize,
    /// How the scale is found.
    #[config(default = "AdaCosScale::Dynamic")]
    pub scale: AdaCosScale,
    /// How the class centers start, which labels count, and what a batch is compared with.
    #[config(default = "CentersConfig::new()")]
    pub centers: CentersConfig,
    /// How the losses of a batch become one number.
    #[config(default = "EmbeddingReduction::Mean")]
    pub reduction: EmbeddingReduction,
}

impl AdaCosConfig {
    /// Builds the head with random class centers on `device`.
    ///
    /// # Panics
    ///
    /// If a field is out of its range.
    pub fn init(&self, device: &Device) -> AdaCos {
        let classes = self.classes;
        assert!(classes >= 3, "AdaCos: classes must be >= 3, got {classes}");
        let measured = RunningState::new(Tensor::ones([1], (&device.clone().inner(), DType::F32)));
        let rule = AdaCosRule { measured, training: Param::from_bool(true), classes, kind: self.scale };
        let centers = self.centers.init("AdaCos", [classes, self.embedding_dim], device);

        Head::with_rule(centers, rule, self.reduction)
    }
}

/// NormFace that finds its own scale: no margin, and nothing to set.
///
/// ```text
/// fixed    = sqrt(2)·ln(classes - 1)
/// dynamic  = ln(mean over i of sum over j != labels[i] of exp(previous·cosine[i, j])) / max(cos(pi/4), median of target)
/// ```
///
/// The dynamic scale starts as the fixed one and falls as the angles do, so that the loss stays steep where the batch is. It
/// is state on the device: saved and loaded with the module, and measured anew, before it is used, in every forward on an
/// autodiff device; never in evaluation, nor when the module is frozen. It is a constant of the gradient, and stays in
/// `[0.5, 10000]`. Rows without a class, without a direction or with a number that is not finite do not count. Measuring is a
/// second comparison with all classes, without a gradient. Where the classes are sampled it is that of the sampled
/// classes, which is right for the softmax over them and lower than that of all classes. The median is the lower one, and its cosine is used, so no angle
/// is computed. See [`Head`] for the loss.
///
/// # Source
///
/// Zhang, Zhao, Qiao, Wang, Li: [AdaCos](https://arxiv.org/abs/1905.00292), 2019, section 4.
pub type AdaCos = Head<AdaCosRule>;

/// The rule of [`AdaCos`].
#[derive(Module, Debug)]
pub struct AdaCosRule {
    /// The measured scale as a multiple of the fixed one, `[1]`; so it starts at exactly 1 in any precision.
    measured: RunningState<Tensor<1>>,
    /// Whether a forward may measure; `freeze` turns it off.
    training: Param<Flag>,
    classes: usize,
    /// How the scale is found.
    #[module(skip)]
    pub kind: AdaCosScale,
}

impl AdaCosRule {
    /// The measured scale as a multiple of the fixed one, `[1]`.
    fn factor(&self) -> Tensor<1> {
        // What is read of a state may be in one backward only, unless it is detached.
        self.measured.value().detach()
    }
}

/// The cosine of the lower median of the angles of `count` rows; the cosines of the others are below -1.
fn lower_median_of_angles(cosine: Tensor<1>, count: Tensor<1>) -> Tensor<1> {
    let [batch] = cosine.dims();
    let shape = [batch, batch];
    let rows = cosine.clone().unsqueeze_dim::<2>(1).expand(shape);
    let columns = cosine.clone().unsqueeze_dim::<2>(0).expand(shape);
    let places = Tensor::<1, Int>::arange(0..batch as i64, &rows.device());
    let before = places.clone().unsqueeze_dim::<2>(0).expand(shape).lower(places.unsqueeze_dim::<2>(1).expand(shape));
    // How many angles are smaller, and before it among equals.
    let smaller = columns.clone().greater(rows.clone()).bool_or(columns.equal(rows).bool_and(before));
    let ones = cosine.ones_like().unsqueeze_dim::<2>(0).expand(shape);
    let rank = ones.mask_fill(smaller.bool_not(), 0.0).sum_dim(1).squeeze_dim::<1>(1);
    let middle = count.sub_scalar(1.0).mul_scalar(0.5).floor().expand([batch]);

    cosine.mask_fill(rank.not_equal(middle), 0.0).sum()
}

impl MarginRule for AdaCosRule {
    fn name(&self) -> &'static str {
        "AdaCos"
    }

    /// The fixed one.
    fn scale(&self) -> f64 {
        SQRT_2 * libm::log(self.classes as f64 - 1.0)
    }

    fn scale_factor(&self) -> Option<Tensor<1>> {
        match self.kind {
            AdaCosScale::Fixed => None,
            AdaCosScale::Dynamic => Some(self.factor()),
        }
    }

    fn target(&self, target: &Target) -> Tensor<1> {
        target.cosine.clone()
    }

    fn observe(&self, batch: &Batch<'_>) {
        if self.kind == AdaCosScale::Fixed || !self.training.is_enabled() {
            return;
        }
        let cosine = batch.target_cosine();
        let before = cast_to(self.factor().to_device(&cosine.device()), cosine.dtype()).mul_scalar(self.scale());
        let negatives = batch.negatives(before.clone());
        let left_out = batch.counted().bool_and(negatives.clone().is_finite()).bool_not();
        let count = cosine.ones_like().mask_fill(left_out.clone(), 0.0).sum();
        let sum = log_sum_exp(negatives.mask_fill(left_out.clone(), NOTHING).unsqueeze_dim::<2>(0));
        let mean = sum - count.clone().clamp_min(1.0).log();
        let median = lower_median_of_angles(cosine.mask_fill(left_out, -2.0), count.clone());
        let measured = mean / median.clamp_min(FRAC_1_SQRT_2);
        let measured = measured.clamp(SCALES.0, SCALES.1).mask_where(count.equal_scalar(0.0), before);

        self.measured.update(measured.mul_scalar(1.0 / self.scale()));
        // Without this the new scale would be queued, and this forward and a record saved now would have the old one.
        self.measured.value_sync();
    }

    fn for_classes(self, classes: usize) -> Self {
        Self { classes, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn_losses_kernels::scores::Scale;

    #[test]
    fn the_median_is_the_lower_one_of_the_angles_that_count() {
        let device = Device::flex();
        let median = |cosines: &[f32], count: f32| {
            let cosines = Tensor::<1>::from_data(cosines, &device);
            lower_median_of_angles(cosines, Tensor::from_data([count], &device)).into_scalar::<f32>()
        };
        // By hand: the lower median of the angles has the higher cosine of the two in the middle.
        assert_eq!(median(&[0.1, 0.9, 0.4, 0.7], 4.0), 0.7);
        assert_eq!(median(&[0.1, -2.0, 0.4, 0.7], 3.0), 0.4);
        assert_eq!(median(&[0.5, 0.5, 0.5], 3.0), 0.5);
        assert_eq!(median(&[-2.0], 0.0), 0.0);
    }

    #[test]
    fn the_fixed_scale_is_that_of_the_paper() {
        let head = AdaCosConfig::new(1001, 2).with_scale(AdaCosScale::Fixed).init(&Device::flex());
        let Scale::Constant(scale) = head.scale() else { panic!("the fixed scale is a number") };
        // By hand: sqrt(2)·ln(1000).
        assert!((scale - 9.769_041_2).abs() < 1e-6, "{scale}");
    }

    #[test]
    #[should_panic(expected = "AdaCos: classes must be >= 3, got 2")]
    fn too_few_classes_are_rejected() {
        AdaCosConfig::new(2, 2).init(&Device::flex());
    }
}
