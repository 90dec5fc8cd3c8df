use alloc::vec;
use alloc::vec::Vec;

use burn::config::Config;
use burn::module::Module;
use burn::tensor::{Bool, DType, Device, IndexingUpdateOp, Tensor};
use burn_losses_kernels::math::NOTHING;

use super::angle::{angle, folded_cosine};
use super::rule::check_margin;
use super::{Batch, CentersConfig, Head, MarginRule, Target};
use crate::order::ascending;
use crate::random::{Draws, count_draw, first_draw, latest_draw};
use crate::reduction::EmbeddingReduction;

/// What the margin of an [`ElasticFace`] is of.
#[derive(Config, Debug, Copy, PartialEq, Eq)]
pub enum ElasticMargin {
    /// The angle, in radians: ElasticFace-Arc.
    Angle,
    /// The cosine: ElasticFace-Cos.
    Cosine,
}

/// Which of the drawn margins an [`ElasticFace`] gives to which row.
#[derive(Config, Debug, Copy, PartialEq, Eq)]
pub enum ElasticOrder {
    /// Any.
    Drawn,
    /// The largest to the row that is farthest from the center of its label, and so on: ElasticFace+.
    FarthestLargest,
}

/// Settings of [`ElasticFace`].
#[derive(Config, Debug)]
pub struct ElasticFaceConfig {
    /// How many classes; `>= 1`.
    pub classes: usize,
    /// The length of an embedding; `>= 1`.
    pub embedding_dim: usize,
    /// What the margin is of.
    /// Default: `ElasticMargin::Angle`.
    #[config(default = "ElasticMargin::Angle")]
    pub margin_kind: ElasticMargin,
    /// The mean margin; in `[-1000, 1000]`, or `[0, pi]` radians for an angle. The paper has 0.5 for angles and 0.35 for
    /// cosines.
    /// Default: `0.5`.
    #[config(default = 0.5)]
    pub margin: f64,
    /// The standard deviation of the margins; in `[0, 10]`. The paper has 0.05 for both, and 0.0175 and 0.02 with
    /// `FarthestLargest`.
    /// Default: `0.05`.
    #[config(default = 0.05)]
    pub deviation: f64,
    /// Which row gets which margin.
    /// Default: `ElasticOrder::Drawn`.
    #[config(default = "ElasticOrder::Drawn")]
    pub order: ElasticOrder,
    /// What the margins follow from, together with the number of draws before.
    /// Default: `0`.
    #[config(default = 0)]
    pub seed: u64,
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

impl ElasticFaceConfig {
    /// Builds the head with random class centers on `device`.
    ///
    /// # Panics
    ///
    /// If a field is out of its range.
    #[track_caller]
    pub fn init(&self, device: &Device) -> ElasticFace {
        let Self { margin_kind, margin, deviation, order, scale, seed, .. } = *self;
        let rule = ElasticFaceRule { draws: first_draw(seed, device), margin_kind, margin, deviation, order, scale };
        let centers = self.centers.init("ElasticFace", [self.classes, self.embedding_dim], device);

        Head::with_rule(centers, rule, self.reduction)
    }
}

/// ArcFace or CosFace with a random margin for every row, so that no class is pressed into one form.
///
/// ```text
/// margin[i]         drawn from a normal distribution of mean `margin` and standard deviation `deviation`
/// margin(cosine[i]) = folded_cos(angle[i] + margin[i]), or cosine[i] - margin[i]
/// ```
///
/// With [`ElasticOrder::FarthestLargest`] the drawn margins are dealt out by rank: the row with the smallest target cosine gets
/// the largest (the public code deals them out by a permutation where its inverse is meant).
///
/// Margins are drawn in training only; in evaluation, and when the module is frozen, all rows have the mean. What is drawn
/// follows from `seed` and the number of draws before, on every backend alike; both are state that is saved and loaded
/// with the module, and repeats after 2^24 draws. `margin_logits` has the margins of the latest forward. Margins of both signs can be drawn where the deviation is large. With a
/// `deviation` of 0 it is `ArcFace` with `LargeAngle::Fold`, or `CosFace`. See [`Head`] for the loss.
///
/// # When to take it
///
/// Where one fixed margin is too strict for some classes and too loose for others; it has the cost of
/// [`ArcFace`](super::ArcFace), and a noisier loss. Where one margin suits all classes, take that.
///
/// # Source
///
/// Boutros, Damer, Kirchbuchner, Kuijper: [ElasticFace](https://arxiv.org/abs/2109.09416), 2022, section 3.
///
/// # Example
///
/// ```
/// use burn::module::Param;
/// use burn::tensor::{Device, Int, Tensor};
/// use burn_losses::heads::ElasticFaceConfig;
///
/// let device = Device::default();
/// let mut head = ElasticFaceConfig::new(2, 2).with_margin(0.5).with_scale(2.0).init(&device);
/// head.centers.weight = Param::from_tensor(Tensor::from_data([[1.0, 0.0], [0.0, 1.0]], &device));
/// let embeddings = Tensor::<2>::from_data([[3.0, 4.0]], &device);
/// let labels = Tensor::<1, Int>::from_ints([0], &device);
/// // The cosines are 0.6 and 0.8. Not in training, all rows have the mean margin.
/// let logits = head.margin_logits(embeddings, labels).try_into_vec_as::<f32>().unwrap();
/// assert!((logits[0] - 2.0 * (0.6_f32.acos() + 0.5).cos()).abs() < 1e-5);
/// ```
pub type ElasticFace = Head<ElasticFaceRule>;

/// The rule of [`ElasticFace`].
#[derive(Module, Debug)]
pub struct ElasticFaceRule {
    /// The two halves of the seed and the number of draws, `[3]`.
    draws: Draws,
    /// What the margin is of.
    #[module(skip)]
    pub margin_kind: ElasticMargin,
    /// The mean margin.
    pub margin: f64,
    /// The standard deviation of the margins.
    pub deviation: f64,
    /// Which row gets which margin.
    #[module(skip)]
    pub order: ElasticOrder,
    /// What the cosines are multiplied with.
    pub scale: f64,
}

impl ElasticFaceRule {
    /// The margins of the latest batch.
    fn margins(&self, target: &Target) -> Tensor<1> {
        let cosine = &target.cosine;
        let [batch] = cosine.dims();
        let mean = cosine.clone().detach().ones_like().mul_scalar(self.margin);
        if self.deviation == 0.0 || !target.is_training() || self.draws.is_frozen() {
            return mean;
        }
        let device = cosine.device().inner();
        let mixer = latest_draw(&self.draws, &device, DType::I32);
        let normal = mixer.normal(batch, cosine.dtype()).to_device(&cosine.device());
        let margins = normal.mul_scalar(self.deviation) + mean.clone();
        match self.order {
            ElasticOrder::Drawn => margins,
            ElasticOrder::FarthestLargest => {
                let cosine = cosine.clone().detach();
                let left_out = target.valid.clone().bool_and(cosine.clone().is_finite()).bool_not();
                let dealt = dealt_by_rank(margins, cosine, left_out.clone());
                // What they keep there is no margin, and the way back from it no number.
                dealt.mask_where(left_out, mean)
            }
        }
    }
}

/// The margins, the largest where the cosine is smallest; what rows have that are left out means nothing.
fn dealt_by_rank(margins: Tensor<1>, cosine: Tensor<1>, left_out: Tensor<1, Bool>) -> Tensor<1> {
    let (margins, left_out) = (margins.without_autodiff(), left_out.without_autodiff());
    // They come last on both sides, in the same order.
    let far = ascending(cosine.without_autodiff().mask_fill(left_out.clone(), 2.0));
    let large = ascending(margins.clone().neg().mask_fill(left_out, -NOTHING));

    margins.zeros_like().select_assign(0, far, margins.select(0, large), IndexingUpdateOp::Add)
}

impl MarginRule for ElasticFaceRule {
    fn name(&self) -> &'static str {
        "ElasticFace"
    }

    fn check(&self) {
        let Self { margin_kind, margin, deviation, .. } = *self;
        check_margin("ElasticFace", "margin", margin);
        if margin_kind == ElasticMargin::Angle {
            let pi = core::f64::consts::PI;
            assert!((0.0..=pi).contains(&margin), "ElasticFace: margin must be in [0, pi] for Angle, got {margin}");
        }
        assert!((0.0..=10.0).contains(&deviation), "ElasticFace: deviation must be in [0, 10], got {deviation}");
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
        let margins = self.margins(target);
        match self.margin_kind {
            ElasticMargin::Angle => folded_cosine(angle(target.cosine.clone()) + margins),
            ElasticMargin::Cosine => target.cosine.clone() - margins,
        }
    }

    /// The next margins are drawn.
    fn observe(&self, _: &Batch<'_>) {
        if self.deviation != 0.0 {
            count_draw(&self.draws);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_margin_goes_to_the_smallest_cosine() {
        let device = Device::flex();
        let margins = Tensor::<1>::from_data([0.1_f32, 0.9, 0.5, 0.3, 0.2], &device);
        let cosines = Tensor::<1>::from_data([0.9_f32, -1.0, -0.2, 0.9, 0.4], &device);
        let left_out = Tensor::<1, Bool>::from_data([false, true, false, false, false], &device);
        let dealt = dealt_by_rank(margins, cosines, left_out).try_into_vec_as::<f32>().unwrap();

        // By hand; among equals the first is the smaller, and the row that is left out disturbs no other.
        assert_eq!([dealt[0], dealt[2], dealt[3], dealt[4]], [0.2, 0.5, 0.1, 0.3]);
    }

    #[test]
    fn margins_are_drawn_anew_in_training_and_fixed_in_evaluation() {
        let device = Device::flex().autodiff();
        let head = ElasticFaceConfig::new(2, 2).init(&device);
        let draw = |head: &ElasticFace, device: &Device| {
            head.rule.margins(&Target::of_cosines(&[0.0; 4000], device)).try_into_vec_as::<f32>().unwrap()
        };
        let step = || {
            let row = Tensor::<2>::ones([1, 2], &device);
            let _ = head.forward(row.clone(), Tensor::from_data([0], &device));
            let _ = head.margin_logits(row, Tensor::from_data([0], &device));
            draw(&head, &device)
        };
        let first = step();
        assert_eq!(draw(&head, &device), first);
        let second = step();
        assert_ne!(first, second);
        let mean = first.iter().sum::<f32>() / 4000.0;
        let square = first.iter().map(|margin| (margin - 0.5).powi(2)).sum::<f32>() / 4000.0;
        // Five standard errors: 0.05/sqrt(4000) and 0.05/sqrt(8000).
        assert!((mean - 0.5).abs() < 0.004 && (square.sqrt() - 0.05).abs() < 0.0028, "{mean} {square}");
        // A normal distribution has 4.55 % beyond two deviations; five standard errors are 1.65 %.
        let beyond = first.iter().filter(|margin| (*margin - 0.5).abs() > 0.1).count();
        assert!((116..=248).contains(&beyond), "{beyond}");

        assert_eq!(draw(&head.valid(), &Device::flex()), [0.5; 4000]);
    }

    #[test]
    #[should_panic(expected = "ElasticFace: deviation must be in [0, 10], got -1")]
    fn a_negative_deviation_is_rejected() {
        ElasticFaceConfig::new(2, 2).with_deviation(-1.0).init(&Device::flex());
    }
}
