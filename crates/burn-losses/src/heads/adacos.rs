use core::f64::consts::{FRAC_1_SQRT_2, SQRT_2};

use burn::config::Config;
use burn::module::Module;
use burn::tensor::{DType, Device, Tensor};
use burn_losses_kernels::math::{NOTHING, cast_to, log_sum_exp};

use super::{Batch, CentersConfig, Head, MarginRule, Target};
use crate::order::ascending;
use crate::reduction::EmbeddingReduction;
use crate::state::State;

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
    /// Default: `AdaCosScale::Dynamic`.
    #[config(default = "AdaCosScale::Dynamic")]
    pub scale: AdaCosScale,
    /// How the class centers start, which labels count, and what a batch is compared with.
    /// Default: `CentersConfig::new()`.
    #[config(default = "CentersConfig::new()")]
    pub centers: CentersConfig,
    /// How the losses of a batch become one number.
    /// Default: `EmbeddingReduction::Mean`.
    #[config(default = "EmbeddingReduction::Mean")]
    pub reduction: EmbeddingReduction,
}

impl AdaCosConfig {
    /// Builds the head with random class centers on `device`.
    ///
    /// # Panics
    ///
    /// If a field is out of its range.
    #[track_caller]
    pub fn init(&self, device: &Device) -> AdaCos {
        let classes = self.classes;
        assert!(classes >= 3, "AdaCos: classes must be >= 3, got {classes}");
        let measured = State::new(Tensor::ones([1], (device, DType::F32)));
        let rule = AdaCosRule { measured, classes, scale: self.scale };
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
/// # When to take it
///
/// Take it when there is no time to search for a scale. It has no margin: to tell apart people who were not in training, take
/// [`ArcFace`](super::ArcFace).
///
/// # Source
///
/// Zhang, Zhao, Qiao, Wang, Li: [AdaCos](https://arxiv.org/abs/1905.00292), 2019, section 4.
///
/// # Example
///
/// ```
/// use burn::module::Param;
/// use burn::tensor::{Device, Tensor};
/// use burn_losses::heads::AdaCosConfig;
///
/// let device = Device::default();
/// let mut head = AdaCosConfig::new(3, 2).init(&device);
/// head.centers.weight = Param::from_tensor(Tensor::from_data([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]], &device));
/// // The scale starts at sqrt(2)·ln(3 - 1), and the first cosine is 0.6.
/// let logits = head.logits(Tensor::<2>::from_data([[3.0, 4.0]], &device)).try_into_vec_as::<f32>().unwrap();
/// assert!((logits[0] - 2.0_f32.sqrt() * 2.0_f32.ln() * 0.6).abs() < 1e-5);
/// ```
pub type AdaCos = Head<AdaCosRule>;

/// The rule of [`AdaCos`].
#[derive(Module, Debug)]
pub struct AdaCosRule {
    /// The measured scale as a multiple of the fixed one, `[1]`; so it starts at exactly 1 in any precision.
    measured: State<Tensor<1>>,
    classes: usize,
    /// How the scale is found.
    #[module(skip)]
    pub scale: AdaCosScale,
}

impl AdaCosRule {
    /// The measured scale as a multiple of the fixed one, `[1]`.
    fn factor(&self) -> Tensor<1> {
        self.measured.value()
    }
}

/// The cosine of the lower median of the angles of `count` rows, 0 if there is none; the cosines of the others are below
/// -1.
fn lower_median_of_angles(cosine: Tensor<1>, count: Tensor<1>) -> Tensor<1> {
    let cosine = cosine.without_autodiff();
    let nothing = count.clone().equal_scalar(0.0);
    let middle = count.sub_scalar(1.0).mul_scalar(0.5).floor().clamp_min(0.0).int();
    let row = ascending(cosine.clone().neg()).select(0, middle);

    cosine.select(0, row).mask_fill(nothing, 0.0)
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
        match self.scale {
            AdaCosScale::Fixed => None,
            AdaCosScale::Dynamic => Some(self.factor()),
        }
    }

    fn target(&self, target: &Target) -> Tensor<1> {
        target.cosine.clone()
    }

    fn observe(&self, batch: &Batch<'_>) {
        if self.scale == AdaCosScale::Fixed || self.measured.is_frozen() {
            return;
        }
        let cosine = batch.target_cosine();
        let before = cast_to(self.factor().to_device(&cosine.device()), cosine.dtype()).mul_scalar(self.scale());
        let negatives = batch.negatives(before);
        let left_out = batch.counted().bool_and(negatives.clone().is_finite()).bool_not();
        let count = cosine.ones_like().mask_fill(left_out.clone(), 0.0).sum();
        let sum = log_sum_exp(negatives.mask_fill(left_out.clone(), NOTHING).unsqueeze_dim::<2>(0));
        let mean = sum - count.clone().clamp_min(1.0).log();
        let median = lower_median_of_angles(cosine.mask_fill(left_out, -2.0), count.clone());
        let measured = mean / median.clamp_min(FRAC_1_SQRT_2);
        let measured = measured.clamp(SCALES.0, SCALES.1).mul_scalar(1.0 / self.scale());
        let nothing = count.equal_scalar(0.0);

        self.measured.update(|before| {
            let before = cast_to(before.to_device(&measured.device()), measured.dtype());
            measured.clone().mask_where(nothing.clone(), before)
        });
    }

    fn for_classes(self, classes: usize) -> Self {
        Self { classes, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::module::Param;
    use burn::tensor::Int;
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
    fn in_f64_a_measured_scale_is_not_rounded() {
        let device = Device::flex();
        let mut head = AdaCosConfig::new(1001, 2).init(&device);
        head.centers.weight = Param::from_tensor(Tensor::ones([1001, 2], (&device, DType::F64)));
        let Scale::Tensor(scale) = head.scale() else { panic!("the dynamic scale is measured") };

        // By hand: nothing is measured yet, so sqrt(2)·ln(1000).
        let scale = scale.into_scalar::<f64>();
        assert!((scale - 9.769_041_201_090_882).abs() < 1e-14, "{scale:.16}");
    }

    #[test]
    fn negatives_that_are_no_number_are_not_measured() {
        let device = Device::flex().autodiff();
        let mut head = AdaCosConfig::new(3, 2).init(&device);
        let centers = Tensor::from_data([[1.0_f32, 0.0], [0.0, 1.0], [f32::NAN, 0.0]], &device);
        head.centers.weight = Param::from_tensor(centers);
        let _ = head.forward(Tensor::from_data([[1.0_f32, 1.0]], &device), Tensor::<1, Int>::from_data([0], &device));

        assert_eq!(head.rule.factor().into_scalar::<f32>(), 1.0);
    }

    #[test]
    #[should_panic(expected = "AdaCos: classes must be >= 3, got 2")]
    fn too_few_classes_are_rejected() {
        AdaCosConfig::new(2, 2).init(&Device::flex());
    }
}
