use burn::config::Config;
use burn::module::Module;
use burn::tensor::{Bool, Device, Int, Tensor};
use burn_losses_kernels::math::{cast_to, softplus};

use super::softmax::{per_row, proxies, reduced, scores};
use crate::EmbeddingLoss;
use crate::heads::{CenterChoice, CentersConfig, ClassCenters};
use crate::labels::SafeLabels;
use crate::reduction::EmbeddingReduction;
use crate::regularization::SparseCentersRegularizerConfig;

/// Settings of [`SoftTripleLoss`].
#[derive(Config, Debug)]
pub struct SoftTripleLossConfig {
    /// How many classes; `>= 1`.
    pub classes: usize,
    /// The length of an embedding; `>= 1`.
    pub embedding_dim: usize,
    /// How many centers a class has (the paper's K); `>= 1`.
    /// Default: `10`.
    #[config(default = 10)]
    pub centers_per_class: usize,
    /// What similarities are multiplied with (the paper's lambda); in `[1e-6, 1e6]`.
    /// Default: `20.0`.
    #[config(default = 20.0)]
    pub scale: f64,
    /// How softly a class chooses among its centers (the paper's gamma); in `[1e-6, 1e6]`.
    /// Default: `0.1`.
    #[config(default = 0.1)]
    pub gamma: f64,
    /// What is taken off the similarity to the own class (the paper's delta); in `[-1, 1]`.
    /// Default: `0.01`.
    #[config(default = 0.01)]
    pub margin: f64,
    /// The weight of the center regularizer in `forward` (the paper's tau, which uses 0.2); in `[0, 1e6]`.
    /// Default: `0.0`.
    #[config(default = 0.0)]
    pub regularizer_weight: f64,
    /// How the losses become one number.
    /// Default: `EmbeddingReduction::Mean`.
    #[config(default = "EmbeddingReduction::Mean")]
    pub reduction: EmbeddingReduction,
    /// How the centers start, which labels count, and what a batch is compared with.
    /// Default: `proxies()`.
    #[config(default = "proxies()")]
    pub centers: CentersConfig,
}

impl SoftTripleLossConfig {
    /// Builds the loss with random centers on `device`.
    ///
    /// # Panics
    ///
    /// If a field is out of its range.
    #[track_caller]
    pub fn init(&self, device: &Device) -> SoftTripleLoss {
        let Self { classes, embedding_dim, centers_per_class, scale, gamma, margin, regularizer_weight, .. } = *self;
        let in_range = |value: f64| (1e-6..=1e6).contains(&value);
        assert!(classes >= 1, "SoftTripleLoss: classes must be >= 1, got {classes}");
        assert!(centers_per_class >= 1, "SoftTripleLoss: centers_per_class must be >= 1, got {centers_per_class}");
        assert!(in_range(scale), "SoftTripleLoss: scale must be in [1e-6, 1e6], got {scale}");
        assert!(in_range(gamma), "SoftTripleLoss: gamma must be in [1e-6, 1e6], got {gamma}");
        assert!((-1.0..=1.0).contains(&margin), "SoftTripleLoss: margin must be in [-1, 1], got {margin}");
        let fits = (0.0..=1e6).contains(&regularizer_weight);
        assert!(fits, "SoftTripleLoss: regularizer_weight must be in [0, 1e6], got {regularizer_weight}");
        let size = [classes, centers_per_class, embedding_dim];

        SoftTripleLoss {
            centers: self.centers.init_sub_centers("SoftTripleLoss", size, device),
            scale,
            gamma,
            margin,
            regularizer_weight,
            reduction: self.reduction,
        }
    }
}

/// Classification with several centers per class, among which an embedding chooses softly.
///
/// ```text
/// cosine[i, c, k] = cosine(embedding[i], centers[c·centers_per_class + k])
/// similarity[i, c] = sum over k of (softmax over k of cosine[i, c, k] / gamma)·cosine[i, c, k]
/// loss[i] = -log softmax over c of scale·similarity[i, c] at labels[i], with margin taken off the own similarity
/// ```
///
/// The classes are streamed: memory is `O((batch + classes·centers_per_class)·embedding_dim)`.
///
/// With many centers per class, [`center_regularizer`](Self::center_regularizer) merges those that are not needed.
///
/// # When to take it
///
/// Where classes have several kinds of samples. With one center it is a [`CosFace`](crate::heads::CosFace): take that
/// where classes are of one kind.
///
/// # Source
///
/// Qian et al.: [SoftTriple Loss: Deep Metric Learning Without Triplet Sampling](https://arxiv.org/abs/1909.05235),
/// 2019, section 3.
///
/// # Example
///
/// ```
/// use burn::module::Param;
/// use burn::tensor::{Device, Int, Tensor};
/// use burn_losses::proxy::SoftTripleLossConfig;
///
/// let device = Device::default();
/// let config = SoftTripleLossConfig::new(2, 2).with_centers_per_class(2).with_gamma(1.0).with_scale(1.0);
/// let mut loss = config.init(&device);
/// let centers = [[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [-1.0, 0.0]];
/// loss.centers.weight = Param::from_tensor(Tensor::from_data(centers, &device));
/// let embeddings = Tensor::<2>::from_data([[5.0, 0.0]], &device);
/// let loss = loss.forward(embeddings, Tensor::<1, Int>::from_ints([0], &device)).into_scalar::<f32>();
/// // Of the own cosines 1 and 0 the softmax chooses the first with e / (e + 1); a margin of 0.01 comes off. Those with the
/// // other class are -1.
/// let own = 1.0_f32.exp() / (1.0_f32.exp() + 1.0) - 0.01;
/// assert!((loss - (-1.0 - own).exp().ln_1p()).abs() < 1e-5, "{loss}");
/// ```
#[derive(Module, Debug)]
pub struct SoftTripleLoss {
    /// The trained centers, those of a class one after the other: `[classes·centers_per_class, embedding_dim]`.
    pub centers: ClassCenters,
    scale: f64,
    gamma: f64,
    margin: f64,
    regularizer_weight: f64,
    #[module(skip)]
    reduction: EmbeddingReduction,
}

impl EmbeddingLoss for SoftTripleLoss {
    fn forward(&self, embeddings: Tensor<2>, labels: Tensor<1, Int>) -> Tensor<1> {
        let labels = self.centers.check(&embeddings, labels);
        let dtype = embeddings.dtype();
        let loss = reduced(&self.centers, embeddings, labels, self.reduction, |rows, labels| self.losses(rows, labels));
        if self.regularizer_weight == 0.0 {
            return loss;
        }
        loss + cast_to(self.center_regularizer().mul_scalar(self.regularizer_weight), dtype)
    }

    fn forward_no_reduction(&self, embeddings: Tensor<2>, labels: Tensor<1, Int>) -> Tensor<1> {
        let labels = self.centers.check(&embeddings, labels);
        per_row(embeddings, labels, |rows, labels| self.losses(rows, labels))
    }
}

impl SoftTripleLoss {
    /// How far the centers of a class are apart: the mean, over the classes, of half the mean distance of two different
    /// unit centers. A small weight on it makes centers that are not needed fall together. 0 with one center per class.
    ///
    /// ```text
    /// sum over classes and pairs t < s of ‖w[t] - w[s]‖ / (classes·centers_per_class·(centers_per_class - 1))
    /// ```
    ///
    /// It is the mean of a [`SparseCentersRegularizer`](crate::regularization::SparseCentersRegularizer).
    ///
    /// # Shapes
    ///
    /// - output: `[1]`
    pub fn center_regularizer(&self) -> Tensor<1> {
        let weight = self.centers.weight.val();
        let (classes, centers_per_class) = (self.centers.classes(), self.centers.sub_centers());
        if centers_per_class == 1 {
            let nothing = Tensor::<2, Bool>::full(weight.dims(), true, &weight.device());
            return weight.mask_fill(nothing, 0.0).sum();
        }
        let regularizer = SparseCentersRegularizerConfig::new(classes, centers_per_class).init(&weight.device());
        regularizer.forward(weight)
    }

    fn losses(&self, embeddings: Tensor<2>, labels: &SafeLabels) -> Tensor<1> {
        let Self { scale, gamma, margin, .. } = *self;
        let scores = scores(&self.centers, embeddings, labels, CenterChoice::Soft { gamma }, scale);
        let target = scores.target_cosine.sub_scalar(margin).mul_scalar(scale);

        softplus(scores.negatives - target).mask_fill(labels.valid.clone().bool_not(), 0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::module::Param;

    fn loss(classes: usize, centers: usize) -> SoftTripleLoss {
        let device = Device::flex();
        let config = SoftTripleLossConfig::new(classes, 2).with_centers_per_class(centers).with_gamma(1.0);
        let mut loss = config.with_scale(2.0).with_margin(0.5).init(&device);
        let weights = [[3.0_f32, 0.0], [0.0, 0.1], [0.0, -2.0], [-1.0, 0.0]];
        loss.centers.weight = Param::from_tensor(Tensor::from_data(weights, &device));
        loss
    }

    #[test]
    fn a_class_is_as_similar_as_its_softly_chosen_center() {
        let device = Device::flex();
        let embeddings = Tensor::<2>::from_data([[3.0_f32, 4.0]], &device);
        let losses = loss(2, 2).forward_no_reduction(embeddings, Tensor::from_ints([0], &device));
        let value = losses.into_scalar::<f32>();

        // By hand: cosines 0.6, 0.8 of the first class, -0.8, -0.6 of the second.
        let chosen = |a: f32, b: f32| (a.exp() * a + b.exp() * b) / (a.exp() + b.exp());
        let behind = 2.0 * (chosen(-0.8, -0.6) - (chosen(0.6, 0.8) - 0.5));
        assert!((value - (1.0 + behind.exp()).ln()).abs() < 1e-6, "{value}");
    }

    #[test]
    fn the_regularizer_is_half_the_mean_distance_of_the_centers_of_a_class() {
        // By hand: both classes have two centers at a right angle, sqrt(2) apart.
        let value = loss(2, 2).center_regularizer().into_scalar::<f32>();
        assert!((value - 2.0_f32.sqrt() / 2.0).abs() < 1e-6, "{value}");
        assert_eq!(loss(4, 1).center_regularizer().into_scalar::<f32>(), 0.0);
    }
}
