use burn::config::Config;
use burn::module::{Module, Param};
use burn::tensor::{DType, Device, FloatDType, Tensor};
use burn_losses_kernels::math::{cast_to, in_host_memory, softplus};
use burn_losses_kernels::scores::sigmoid_loss;

use super::argument::Pairs;
use super::asked::Labelled;
use super::loss::{AnchorLosses, PairLoss};
use super::masked::inside;
use super::one_positive::OnePositive;
use super::temperature::{Temperature, TemperatureMode, times};
use crate::mining::PairMasks;
use crate::reduction::EmbeddingReduction;

/// Settings of [`SigLipLoss`].
#[derive(Config, Debug)]
pub struct SigLipLossConfig {
    /// What cosines are divided by, or at the start are; in `[1e-6, 1e6]`.
    /// Default: `0.1`.
    #[config(default = 0.1)]
    pub temperature: f64,
    /// What is added to scores, or at the start is: about minus the logarithm of the number of negatives per positive, so
    /// that the many negatives do not rule the first steps; finite.
    /// Default: `-10.0`.
    #[config(default = -10.0)]
    pub bias: f64,
    /// Whether temperature and bias are trained.
    /// Default: `TemperatureMode::Learned`.
    #[config(default = "TemperatureMode::Learned")]
    pub temperature_mode: TemperatureMode,
    /// How the losses become one number.
    /// Default: `EmbeddingReduction::Mean`.
    #[config(default = "EmbeddingReduction::Mean")]
    pub reduction: EmbeddingReduction,
}

impl SigLipLossConfig {
    /// Builds the loss; a learned temperature and its bias are on `device`.
    ///
    /// # Panics
    ///
    /// If a field is out of its range.
    #[track_caller]
    pub fn init(&self, device: &Device) -> SigLipLoss {
        let Self { temperature, bias, temperature_mode, reduction } = *self;
        assert!(bias.is_finite(), "SigLipLoss: bias must be finite, got {bias}");
        let learned_bias = match temperature_mode {
            TemperatureMode::Fixed => None,
            TemperatureMode::Learned => Some(Param::from_tensor(Tensor::from_data([bias], device))),
        };
        let temperature = Temperature::new("SigLipLoss", temperature, temperature_mode, device);
        SigLipLoss { temperature, bias, learned_bias, reduction }
    }
}

/// Asks of every pair by itself whether the two belong together: the sigmoid loss of SigLIP.
///
/// ```text
/// score[i, j] = cosine(anchor[i], reference[j]) / temperature + bias
/// loss[i]     = sum over the positives p of i of softplus(-score[i, p])
///             + sum over the negatives n of i of softplus(score[i, n])
/// ```
///
/// With [`Pairs::aligned`] the mean over the anchors is the paper's loss, whose sum over all pairs is divided by the number of
/// samples, not of pairs. The two directions are the same, so [`Pairs::symmetric`] has the same mean.
/// [`with_identities`](Pairs::with_identities) leaves out pairs of samples that are the same thing. Labels, views, a queue
/// and the pairs of a miner work too, and so do pairs that are given row by row: no question needs another one.
///
/// A row with negatives alone still has a loss. The loss of a pair is right to the last digit also where its score is large:
/// a positive is not taken out of a sum over all. Memory is `O((anchors + references)·dim)`; of a miner's pairs
/// `O(anchors·references)`. In host memory `forward_pairs` of aligned or symmetric rows that are tracked computes the gradient, too, and
/// holds it until the backward pass or the loss is gone: a loss that is only looked at belongs on the model's `valid()`.
///
/// Temperature and bias are trained, as `log(1 / temperature)` and as they are. The temperature has no bound here, unlike that
/// of [`InfoNceLoss`](super::InfoNceLoss): published models have ended above a scale of 100.
///
/// # When to take it
///
/// For image and text or query and document, where [`InfoNceLoss`](super::InfoNceLoss) is the other choice: the paper finds
/// this one ahead in smaller batches, and it does not mind several positives per row. Its bias matters: with 0 the first
/// steps do little but push everything apart.
///
/// # Source
///
/// Zhai et al.: [Sigmoid Loss for Language Image Pre-Training](https://arxiv.org/abs/2303.15343), 2023, equation 1 and
/// algorithm 1.
///
/// # Example
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use burn_losses::pairs::{Pairs, SigLipLossConfig};
///
/// let device = Device::default();
/// let images = Tensor::<2>::from_data([[1.0, 0.0], [0.0, 2.0]], &device);
/// let texts = Tensor::<2>::from_data([[3.0, 0.0], [0.0, 1.0]], &device);
/// let loss = SigLipLossConfig::new().init(&device).forward_pairs(&Pairs::aligned(images, texts));
/// // Each has its own text at cosine 1, whose score is 10 - 10, and the other one at cosine 0.
/// assert!((loss.into_scalar::<f32>() - (2.0_f32.ln() + (-10.0_f32).exp().ln_1p())).abs() < 1e-6);
/// ```
#[derive(Module, Debug)]
pub struct SigLipLoss {
    /// What cosines are divided by.
    pub temperature: Temperature,
    bias: f64,
    /// What is added to scores, `[1]`, where it is learned.
    pub learned_bias: Option<Param<Tensor<1>>>,
    #[module(skip)]
    reduction: EmbeddingReduction,
}

impl PairLoss for SigLipLoss {
    fn reduction(&self) -> EmbeddingReduction {
        self.reduction
    }

    fn anchor_losses(&self, pairs: &Pairs) -> AnchorLosses {
        let groups = pairs.one_positive();
        if !groups.is_empty() {
            return OnePositive::losses(groups, |rows| self.of_one_positive(rows.unit()));
        }
        match pairs.labelled() {
            Some(rows) => self.of_labels(&rows.unit()),
            None => self.of_chosen(pairs),
        }
    }

    fn forward_pairs(&self, pairs: &Pairs) -> Tensor<1> {
        let filled = pairs.filled().used_by(self.name());
        let loss = self.at_once(&filled);
        pairs.finish(loss.unwrap_or_else(|| self.anchor_losses(&filled).reduce(self.reduction)))
    }
}

impl SigLipLoss {
    /// The sum or the mean where every anchor has one positive at a known place, with its gradient in one pass; `None` where that is no
    /// way to compute it.
    fn at_once(&self, pairs: &Pairs) -> Option<Tensor<1>> {
        if self.reduction == EmbeddingReduction::MeanNonZero || !in_host_memory(&pairs.device()) {
            return None;
        }
        let (sides, (_, dtype)) = (pairs.facing()?, pairs.dim_and_precision());
        let paired = sides.labels[0].clone().greater_equal_scalar(0);
        let scale = self.temperature.unbounded_scale(dtype);
        let total = sigmoid_loss(sides, scale, self.bias(dtype, &pairs.device()))?;
        Some(match self.reduction {
            // Both directions ask the same questions.
            EmbeddingReduction::Sum if pairs.is_symmetric() => total.mul_scalar(2.0),
            EmbeddingReduction::Sum => total,
            _ => total / paired.cast(FloatDType::from(dtype)).sum().clamp_min(1.0),
        })
    }

    fn of_one_positive(&self, rows: OnePositive) -> Tensor<1> {
        let dtype = rows.anchors.dtype();
        let (scale, bias) = (self.temperature.unbounded_scale(dtype), self.bias(dtype, &rows.anchors.device()));
        let own = times(rows.scores(), &scale);
        let own = own.clone() + bias.clone().expand(own.dims());

        softplus(own.neg()) + rows.sums_of_softplus_of_negatives(bias, scale)
    }

    /// The losses of the pairs that labels make.
    fn of_labels(&self, rows: &Labelled) -> AnchorLosses {
        let dtype = rows.anchors.dtype();
        let (scale, bias) = (self.temperature.unbounded_scale(dtype), self.bias(dtype, &rows.anchors.device()));
        let (positives, _) = rows.sums_of_softplus(rows.anchors.clone().neg(), bias.clone().neg(), scale.clone());
        let known = rows.labels.clone().greater_equal_scalar(0);
        // A row without a label was compared with all references.
        let losses =
            (positives + rows.sums_of_softplus_of_negatives(bias, scale)).mask_fill(known.clone().bool_not(), 0.0);

        AnchorLosses::one_each(losses, known)
    }

    /// The losses of the pairs that a miner chose, or that are given.
    fn of_chosen(&self, pairs: &Pairs) -> AnchorLosses {
        let (cosines, PairMasks { positive, negative }) = (pairs.cosines(), pairs.masks());
        let dims = cosines.dims();
        let bias = self.bias(cosines.dtype(), &cosines.device()).unsqueeze_dim::<2>(1).expand(dims);
        let scores = times(cosines, &self.temperature.unbounded_scale(bias.dtype())) + bias;
        let paired = positive.clone().bool_or(negative.clone()).any_dim(1).squeeze_dim::<1>(1);
        let losses = inside(positive, scores.clone().neg(), softplus) + inside(negative, scores, softplus);

        AnchorLosses::one_each(losses.sum_dim(1).squeeze_dim(1), paired)
    }

    /// `[1]`, in the precision of the rows.
    fn bias(&self, dtype: DType, device: &Device) -> Tensor<1> {
        match &self.learned_bias {
            None => Tensor::from_data([self.bias], (device, dtype)),
            Some(bias) => cast_to(bias.val(), dtype),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::{Bool, Int};

    fn loss() -> SigLipLoss {
        SigLipLossConfig::new().with_temperature(0.5).with_bias(-1.0).init(&Device::flex())
    }

    fn rows(rows: [[f32; 2]; 2]) -> Tensor<2> {
        Tensor::from_data(rows, &Device::flex())
    }

    fn close(actual: Tensor<1>, expected: &[f32]) {
        let actual = actual.try_into_vec_as::<f32>().unwrap();
        assert!(actual.iter().zip(expected).all(|(a, e)| (a - e).abs() < 1e-6), "{actual:?} {expected:?}");
        assert_eq!(actual.len(), expected.len());
    }

    fn softplus(x: f32) -> f32 {
        x.exp().ln_1p()
    }

    #[test]
    fn every_pair_is_a_question_of_its_own() {
        let sides = || (rows([[1.0, 0.0], [0.0, 2.0]]), rows([[0.6, 0.8], [0.0, 1.0]]));

        // By hand, from the cosines 0.6 and 1 of partners and 0 and 0.8 of others, times 2 and less 1.
        let expected = [softplus(-0.2) + softplus(-1.0), softplus(-1.0) + softplus(0.6)];
        let (images, texts) = sides();
        close(loss().forward_pairs_no_reduction(&Pairs::aligned(images, texts)), &expected);
        let (images, texts) = sides();
        let other_way = [softplus(-0.2) + softplus(0.6), softplus(-1.0) + softplus(-1.0)];
        close(loss().forward_pairs_no_reduction(&Pairs::symmetric(images, texts)), &[expected, other_way].concat());
    }

    #[test]
    fn what_has_the_same_identity_is_no_negative() {
        let pairs = Pairs::aligned(rows([[1.0, 0.0], [0.0, 2.0]]), rows([[0.6, 0.8], [0.0, 1.0]]));
        let same = Tensor::<1, Int>::from_ints([7, 7], &Device::flex());
        close(
            loss().forward_pairs_no_reduction(&pairs.clone().with_identities(same)),
            &[softplus(-0.2), softplus(-1.0)],
        );
        let nobody = Tensor::<1, Int>::from_ints([7, -1], &Device::flex());
        close(loss().forward_pairs_no_reduction(&pairs.with_identities(nobody)), &[softplus(-0.2), 0.0]);
    }

    #[test]
    fn given_pairs_need_no_other() {
        let is_same = Tensor::<1, Bool>::from_data([true, false], &Device::flex());
        let pairs = Pairs::given(rows([[1.0, 0.0], [0.0, 2.0]]), rows([[0.6, 0.8], [0.0, 1.0]]), is_same);
        close(loss().forward_pairs_no_reduction(&pairs), &[softplus(-0.2), softplus(1.0)]);
    }

    #[test]
    #[should_panic(expected = "SigLipLoss: bias must be finite, got inf")]
    fn a_bias_without_end_is_rejected() {
        SigLipLossConfig::new().with_bias(f64::INFINITY).init(&Device::flex());
    }

    #[test]
    #[should_panic(expected = "Pairs: identities are for Pairs::aligned and Pairs::symmetric")]
    fn identities_of_views_are_rejected() {
        let views = Pairs::views(rows([[1.0, 0.0], [0.0, 2.0]]), rows([[0.6, 0.8], [0.0, 1.0]]));
        let _ = views.with_identities(Tensor::from_ints([7, 7], &Device::flex()));
    }
}
