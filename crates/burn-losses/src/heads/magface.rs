use burn::config::Config;
use burn::module::Module;
use burn::tensor::{Device, Tensor};

use super::angle::{angle, folded_cosine};
use super::{CentersConfig, Head, MarginRule, Target};
use crate::reduction::EmbeddingReduction;

/// Settings of [`MagFace`].
#[derive(Config, Debug)]
pub struct MagFaceConfig {
    /// How many classes; `>= 1`.
    pub classes: usize,
    /// The length of an embedding; `>= 1`.
    pub embedding_dim: usize,
    /// The length of an embedding that has the smallest margin; in `[1e-6, 1e6]`. Shorter ones count as this long.
    /// Default: `10.0`.
    #[config(default = 10.0)]
    pub shortest: f64,
    /// The length of an embedding that has the largest margin; above `shortest` and at most 1e6. Longer ones count as this long.
    /// Default: `110.0`.
    #[config(default = 110.0)]
    pub longest: f64,
    /// The margin at the shortest length, in radians; in `[0, pi]`.
    /// Default: `0.45`.
    #[config(default = 0.45)]
    pub smallest_margin: f64,
    /// The margin at the longest length, in radians; in `[smallest_margin, pi]`.
    /// Default: `0.8`.
    #[config(default = 0.8)]
    pub largest_margin: f64,
    /// What the penalty of short embeddings is multiplied with (the paper's lambda_g); at least
    /// `scale·slope·longest²·shortest² / (longest² - shortest²)` with `slope` that of the margin, 22.6 with the other
    /// defaults, and at most 1e9: below the least the loss has no best length.
    /// Default: `35.0`.
    #[config(default = 35.0)]
    pub length_weight: f64,
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

impl MagFaceConfig {
    /// Builds the head with random class centers on `device`.
    ///
    /// # Panics
    ///
    /// If a field is out of its range.
    #[track_caller]
    pub fn init(&self, device: &Device) -> MagFace {
        let Self { shortest, longest, smallest_margin, largest_margin, length_weight, scale, .. } = *self;
        let rule = MagFaceRule { shortest, longest, smallest_margin, largest_margin, length_weight, scale };
        let centers = self.centers.init("MagFace", [self.classes, self.embedding_dim], device);

        Head::with_rule(centers, rule, self.reduction)
    }
}

/// ArcFace whose margin grows with the length of the embedding, so that the length says how good a picture is.
///
/// ```text
/// length         = clamp(|embedding|, shortest, longest)
/// margin         = smallest_margin + slope·(length - shortest)
/// margin(cosine) = folded_cos(angle + margin)
/// penalty        = length_weight·(length / longest² + 1 / length)
/// ```
///
/// The gradient goes through the length, too. Easy samples gain by being long; after training a long embedding is one of a
/// good picture. The lengths must suit the trunk: watch them ([`diagnostics`](crate::diagnostics) give them), and choose `shortest`
/// and `longest` around what they are. The folded cosine goes on falling beyond pi; the authors' default leaves the margin
/// out beyond 90° instead. See [`Head`] for the loss.
///
/// # When to take it
///
/// Take it where the length of an embedding should tell how good a picture is; for recognition alone,
/// [`AdaFace`](super::AdaFace) needs no penalty on lengths.
///
/// # Source
///
/// Meng, Zhao, Huang, Zhou: [MagFace](https://arxiv.org/abs/2103.06627), 2021, section 3.
///
/// # Example
///
/// ```
/// use burn::module::Param;
/// use burn::tensor::{Device, Int, Tensor};
/// use burn_losses::heads::MagFaceConfig;
///
/// let device = Device::default();
/// let mut head = MagFaceConfig::new(2, 2).with_scale(2.0).init(&device);
/// head.centers.weight = Param::from_tensor(Tensor::from_data([[1.0, 0.0], [0.0, 1.0]], &device));
/// let embeddings = Tensor::<2>::from_data([[6.0, 8.0]], &device);
/// let labels = Tensor::<1, Int>::from_ints([0], &device);
/// // The cosines are 0.6 and 0.8, and the embedding is as long as the shortest, which has the smallest margin.
/// let logits = head.margin_logits(embeddings, labels).try_into_vec_as::<f32>().unwrap();
/// assert!((logits[0] - 2.0 * (0.6_f32.acos() + 0.45).cos()).abs() < 1e-5);
/// ```
pub type MagFace = Head<MagFaceRule>;

/// The rule of [`MagFace`].
#[derive(Module, Debug)]
pub struct MagFaceRule {
    /// Shorter embeddings count as this long.
    pub shortest: f64,
    /// Longer embeddings count as this long.
    pub longest: f64,
    /// The margin at the shortest length, in radians.
    pub smallest_margin: f64,
    /// The margin at the longest length, in radians.
    pub largest_margin: f64,
    /// What the penalty of short embeddings is multiplied with.
    pub length_weight: f64,
    /// What the cosines are multiplied with.
    pub scale: f64,
}

impl MagFaceRule {
    /// How much the margin grows with the length.
    fn slope(&self) -> f64 {
        (self.largest_margin - self.smallest_margin) / (self.longest - self.shortest)
    }

    /// Where the penalty outweighs what a longer embedding costs in margin, at every length (the paper's appendix).
    fn least_length_weight(&self) -> f64 {
        let (short, long) = (self.shortest * self.shortest, self.longest * self.longest);
        self.scale * self.slope() * long * short / (long - short)
    }

    fn length(&self, target: &Target) -> Tensor<1> {
        target.length().clamp(self.shortest, self.longest)
    }
}

impl MarginRule for MagFaceRule {
    fn name(&self) -> &'static str {
        "MagFace"
    }

    fn check(&self) {
        let Self { shortest, longest, smallest_margin, largest_margin, length_weight, .. } = *self;
        let pi = core::f64::consts::PI;
        assert!((1e-6..=1e6).contains(&shortest), "MagFace: shortest must be in [1e-6, 1e6], got {shortest}");
        assert!(longest > shortest && longest <= 1e6, "MagFace: longest must be in ({shortest}, 1e6], got {longest}");
        assert!(
            (0.0..=pi).contains(&smallest_margin),
            "MagFace: smallest_margin must be in [0, pi], got {smallest_margin}"
        );
        assert!(
            (smallest_margin..=pi).contains(&largest_margin),
            "MagFace: largest_margin must be in [{smallest_margin}, pi], got {largest_margin}"
        );
        let least = self.least_length_weight();
        assert!(
            length_weight >= least && length_weight <= 1e9,
            "MagFace: length_weight must be in [{least:.4}, 1e9] with this scale, these lengths and margins, got {length_weight}"
        );
    }

    fn scale(&self) -> f64 {
        self.scale
    }

    fn scale_mut(&mut self) -> Option<&mut f64> {
        Some(&mut self.scale)
    }

    fn target(&self, target: &Target) -> Tensor<1> {
        let beyond = self.length(target).sub_scalar(self.shortest);
        let margin = beyond.mul_scalar(self.slope()).add_scalar(self.smallest_margin);
        folded_cosine(angle(target.cosine.clone()) + margin)
    }

    fn penalty(&self, target: &Target) -> Option<Tensor<1>> {
        let length = self.length(target);
        let long = length.clone().mul_scalar(1.0 / (self.longest * self.longest));
        Some((long + length.recip()).mul_scalar(self.length_weight))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Tensor;

    #[test]
    fn a_longer_embedding_has_a_larger_margin_and_a_smaller_penalty() {
        let device = Device::flex();
        let head = MagFaceConfig::new(2, 2).init(&device);
        let rows = Tensor::<2>::from_data([[1.0_f32, 0.0], [0.0, 60.0], [300.0, 400.0]], &device);
        let cosine = Tensor::from_data([0.5_f32; 3], &device);
        let target = Target::new(cosine, Tensor::full([3], true, &device), rows);
        let targets = head.rule.target(&target).try_into_vec_as::<f32>().unwrap();
        let penalties = head.rule.penalty(&target).unwrap().try_into_vec_as::<f32>().unwrap();

        // By hand: the lengths count as 10, 60 and 110, the margins are 0.45, 0.625 and 0.8.
        let third = core::f32::consts::FRAC_PI_3;
        for (target, margin) in targets.into_iter().zip([0.45, 0.625, 0.8]) {
            assert!((target - (third + margin).cos()).abs() < 1e-6, "{target}");
        }
        for (penalty, length) in penalties.into_iter().zip([10.0_f32, 60.0, 110.0]) {
            assert!((penalty - 35.0 * (length / 12100.0 + 1.0 / length)).abs() < 1e-5, "{penalty}");
        }
    }

    #[test]
    fn the_least_length_weight_is_that_of_the_authors() {
        // The authors' own figure for their defaults is 22.5867.
        assert!((MagFaceConfig::new(2, 2).init(&Device::flex()).rule.least_length_weight() - 22.5867).abs() < 1e-4);
    }

    #[test]
    #[should_panic(expected = "MagFace: length_weight must be in [22.5867, 1e9] with this scale")]
    fn a_penalty_that_leaves_no_best_length_is_rejected() {
        MagFaceConfig::new(2, 2).with_length_weight(20.0).init(&Device::flex());
    }
}
