use alloc::collections::BTreeMap;
use alloc::vec;
use alloc::vec::Vec;

use burn::config::Config;
use burn::module::Module;
use burn::tensor::{Device, Int, Tensor};
use burn_losses_kernels::math::{cast_to, unit_rows, widen};

use super::angle::falling_shifted_cosine;
use super::comparison::cosines_with_targets;
use super::{CentersConfig, Head, MarginRule, Target};
use crate::labels::{SafeLabels, silence};
use crate::reduction::EmbeddingReduction;

/// Settings of [`SubCenterArcFace`].
#[derive(Config, Debug)]
pub struct SubCenterArcFaceConfig {
    /// How many classes; `>= 1`.
    pub classes: usize,
    /// The length of an embedding; `>= 1`.
    pub embedding_dim: usize,
    /// How many centers a class has; `>= 1`.
    /// Default: `3`.
    #[config(default = 3)]
    pub sub_centers: usize,
    /// What is added to the target angle, in radians; in `[0, 2.33]`.
    /// Default: `0.5`.
    #[config(default = 0.5)]
    pub margin: f64,
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

impl SubCenterArcFaceConfig {
    /// Builds the head with random class centers on `device`.
    ///
    /// # Panics
    ///
    /// If a field is out of its range.
    #[track_caller]
    pub fn init(&self, device: &Device) -> SubCenterArcFace {
        let rule = SubCenterArcFaceRule { margin: self.margin, scale: self.scale };
        let size = [self.classes, self.sub_centers, self.embedding_dim];
        let centers = self.centers.init_sub_centers("SubCenterArcFace", size, device);

        Head::with_rule(centers, rule, self.reduction)
    }
}

/// ArcFace with several centers per class: noisy and odd samples of a class gather at a center of their own.
///
/// ```text
/// cosine[i, j]   = largest over k of <x[i], w[j, k]>
/// margin(cosine) = cos(angle + margin), and cosine - margin·sin(margin) where angle + margin would pass pi
/// ```
///
/// The centers are `[classes·sub_centers, embedding_dim]`, those of class 0 first. Only the nearest center of a class
/// learns from a sample. After training, most samples of a class are at one of its centers, the dominant one; what is far
/// from it is mostly mislabelled: [`center_cosines`](Self::center_cosines) and [`outliers`] find it. Drop those samples
/// and train on with one center. With `sub_centers` of 1 it is `ArcFace`. See [`Head`] for the loss.
///
/// # When to take it
///
/// Take it where labels are wrong or a class has several looks: train with it, drop what [`outliers`] names, train
/// again with [`ArcFace`](super::ArcFace). With clean labels take that at once: this has several times its centers.
///
/// # Source
///
/// Deng, Guo, Liu, Gong, Zafeiriou: [Sub-center ArcFace](https://ibug.doc.ic.ac.uk/media/uploads/documents/eccv_1445.pdf),
/// 2020, section 3.
///
/// # Example
///
/// ```
/// use burn::module::Param;
/// use burn::tensor::{Device, Int, Tensor};
/// use burn_losses::heads::SubCenterArcFaceConfig;
///
/// let device = Device::default();
/// let mut head = SubCenterArcFaceConfig::new(2, 2).with_sub_centers(2).with_scale(2.0).init(&device);
/// let centers = [[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]];
/// head.centers.weight = Param::from_tensor(Tensor::from_data(centers, &device));
/// let embeddings = Tensor::<2>::from_data([[3.0, 4.0]], &device);
/// let labels = Tensor::<1, Int>::from_ints([0], &device);
/// // The centers of class 0 have the cosines 0.6 and 0.8. The margin goes on the angle with the nearer one.
/// let logits = head.margin_logits(embeddings, labels).try_into_vec_as::<f32>().unwrap();
/// assert!((logits[0] - 2.0 * (0.8_f32.acos() + 0.5).cos()).abs() < 1e-5);
/// ```
pub type SubCenterArcFace = Head<SubCenterArcFaceRule>;

/// The rule of [`SubCenterArcFace`].
#[derive(Module, Debug)]
pub struct SubCenterArcFaceRule {
    /// What is added to the target angle, in radians.
    pub margin: f64,
    /// What the cosines are multiplied with.
    pub scale: f64,
}

impl SubCenterArcFace {
    /// The cosine of every embedding with each center of its class: what [`outliers`] wants of all samples.
    ///
    /// # Shapes
    ///
    /// - embeddings: `[batch, embedding_dim]`
    /// - labels: `[batch]`
    /// - output: `[batch, sub_centers]`; 0 for rows without a class
    ///
    /// # Panics
    ///
    /// As [`forward`](Head::forward).
    pub fn center_cosines(&self, embeddings: Tensor<2>, labels: Tensor<1, Int>) -> Tensor<2> {
        let dtype = embeddings.dtype();
        let SafeLabels { index, valid } = self.centers.check(&embeddings, labels);
        let [batch] = valid.dims();
        if batch == 0 {
            return Tensor::zeros([0, self.centers.sub_centers()], (&embeddings.device(), dtype));
        }
        let unit = unit_rows(widen(silence(embeddings, valid)));
        let cosines = cosines_with_targets(unit, self.centers.weight.val(), index, self.centers.sub_centers());
        cast_to(cosines, dtype)
    }
}

impl MarginRule for SubCenterArcFaceRule {
    fn name(&self) -> &'static str {
        "SubCenterArcFace"
    }

    fn check(&self) {
        let margin = self.margin;
        assert!((0.0..=2.33).contains(&margin), "SubCenterArcFace: margin must be in [0, 2.33] radians, got {margin}");
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
}

/// A sample that is far from where its class is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Outlier {
    /// Which sample.
    pub sample: usize,
    /// Its class.
    pub label: usize,
    /// The angle between it and the dominant center of its class, in radians.
    pub angle: f64,
}

/// The samples that are far from the dominant center of their class: the one that most samples of the class are nearest
/// to, the first of them where several are.
///
/// - center_cosines: [`SubCenterArcFace::center_cosines`] of all samples, row by row, `labels.len()·sub_centers` numbers
/// - labels: the class of every sample; a sample with a negative one is not looked at
/// - largest_angle: in radians; the paper uses 75°, which is 1.309
///
/// # Panics
///
/// If the numbers do not divide into a row per label.
///
/// # Source
///
/// Deng et al. 2020, section 3.3.
///
/// ```
/// use burn_losses::heads::outliers;
///
/// // Three samples of class 0; the last is nearest to another center than most.
/// let cosines = [0.9, 0.1, 0.8, 0.2, -0.1, 0.7];
/// let found = outliers(&cosines, &[0, 0, 0], 1.309);
/// assert_eq!((found.len(), found[0].sample), (1, 2));
/// ```
#[track_caller]
pub fn outliers(center_cosines: &[f64], labels: &[i64], largest_angle: f64) -> Vec<Outlier> {
    if labels.is_empty() {
        return Vec::new();
    }
    let sub_centers = center_cosines.len() / labels.len();
    assert!(
        sub_centers >= 1 && sub_centers * labels.len() == center_cosines.len(),
        "outliers: {} cosines are not as many for each of {} labels",
        center_cosines.len(),
        labels.len()
    );
    let samples = || {
        let known = |&(_, &label): &(usize, &i64)| label >= 0;
        labels.iter().enumerate().filter(known).map(|(sample, &label)| (sample, label as usize))
    };
    let cosines_of = |sample: usize| &center_cosines[sample * sub_centers..(sample + 1) * sub_centers];
    // By class, and not by every number up to the largest label, which may be a hash.
    let mut at_center = BTreeMap::<usize, Vec<usize>>::new();
    for (sample, label) in samples() {
        let counts = at_center.entry(label).or_insert_with(|| alloc::vec![0; sub_centers]);
        counts[first_largest(cosines_of(sample).iter().copied())] += 1;
    }
    let mut found = Vec::new();
    for (sample, label) in samples() {
        let dominant = first_largest(at_center[&label].iter().map(|&count| count as f64));
        let angle = libm::acos(cosines_of(sample)[dominant].clamp(-1.0, 1.0));
        // A sample whose cosine is not a number is nowhere near.
        if angle > largest_angle || angle.is_nan() {
            found.push(Outlier { sample, label, angle });
        }
    }
    found
}

fn first_largest(numbers: impl Iterator<Item = f64>) -> usize {
    let mut largest = (0, f64::NEG_INFINITY);
    for (place, number) in numbers.enumerate() {
        if number > largest.1 {
            largest = (place, number);
        }
    }
    largest.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dominant_center_is_that_of_most_samples_of_the_class() {
        // Class 0 is mostly at its second center, class 2 at its first; class 1 has no sample, one sample no class.
        let cosines = [0.1, 0.9, 0.2, 0.8, 0.95, 0.0, 0.7, 0.3, 0.0, 0.0, f64::NAN, f64::NAN];
        let labels = [0, 0, 0, 2, -1, 2];
        let found = outliers(&cosines, &labels, 1.0);

        assert_eq!(found.iter().map(|outlier| outlier.sample).collect::<Vec<_>>(), [2, 5]);
        assert_eq!((found[0].label, found[0].angle), (0, core::f64::consts::FRAC_PI_2));
        assert!(outliers(&[], &[], 1.0).is_empty());
    }

    #[test]
    fn a_label_may_be_any_number() {
        let found = outliers(&[0.9, 0.1, 0.8, 0.2, -0.1, 0.7], &[1 << 34, 1 << 34, i64::MAX], 1.0);

        assert!(found.is_empty(), "{found:?}");
    }

    #[test]
    #[should_panic(expected = "outliers: 5 cosines are not as many for each of 2 labels")]
    fn cosines_that_do_not_divide_are_rejected() {
        outliers(&[0.0; 5], &[0, 1], 1.0);
    }

    #[test]
    #[should_panic(expected = "SubCenterArcFace: sub_centers must be >= 1, got 0")]
    fn a_class_without_a_center_is_rejected() {
        SubCenterArcFaceConfig::new(2, 2).with_sub_centers(0).init(&Device::flex());
    }
}
