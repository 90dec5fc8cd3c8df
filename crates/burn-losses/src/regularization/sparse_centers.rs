use alloc::vec::Vec;

use burn::config::Config;
use burn::module::Module;
use burn::tensor::{Device, Tensor};
use burn_losses_kernels::math::{cast_to, row_lengths, unit_rows, widen};

use crate::reduction::EmbeddingReduction;
use crate::shape::check_shape;

/// Settings of [`SparseCentersRegularizer`].
#[derive(Config, Debug)]
pub struct SparseCentersRegularizerConfig {
    /// How many classes; `>= 1`.
    pub classes: usize,
    /// How many centers a class has; `>= 2`.
    pub centers_per_class: usize,
    /// How the losses become one number.
    /// Default: `EmbeddingReduction::Mean`.
    #[config(default = "EmbeddingReduction::Mean")]
    pub reduction: EmbeddingReduction,
}

impl SparseCentersRegularizerConfig {
    /// Builds the loss.
    ///
    /// # Panics
    ///
    /// If a field is out of its range.
    #[track_caller]
    pub fn init(&self, _device: &Device) -> SparseCentersRegularizer {
        let Self { classes, centers_per_class, reduction } = *self;
        assert!(classes >= 1, "SparseCentersRegularizer: classes must be >= 1, got {classes}");
        let least = "SparseCentersRegularizer: centers_per_class must be >= 2";
        assert!(centers_per_class >= 2, "{least}, got {centers_per_class}");

        SparseCentersRegularizer { classes, centers_per_class, reduction }
    }
}

/// Draws the centers of one class together until those that are not needed fall on others.
///
/// ```text
/// loss[j, s < t] = 1/2·sqrt(2 - 2·cosine(weights[j, s], weights[j, t]))
/// ```
///
/// Half the distance of two directions, whose mean over all pairs is that of the paper. For losses with several centers
/// per class, such as SoftTripleLoss. Two equal centers have loss 0 and gradient 0; a zero row has loss 1/2 with every
/// direction.
///
/// # When to take it
///
/// On several centers per class, so that those that are not needed fall together. A
/// [`SoftTripleLoss`](crate::proxy::SoftTripleLoss) has it already: set its `regularizer_weight`.
///
/// # Source
///
/// Qian, Shang, Sun, Hu, Li, Jin: [SoftTripleLoss Loss](https://arxiv.org/abs/1909.05235), 2019, section 3.3.
///
/// # Example
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use burn_losses::regularization::SparseCentersRegularizerConfig;
///
/// let device = Device::default();
/// let centers = Tensor::<2>::from_data([[1.0, 0.0], [0.0, 2.0]], &device);
/// let loss = SparseCentersRegularizerConfig::new(1, 2).init(&device).forward(centers);
/// // Half the distance of their directions.
/// assert!((loss.into_scalar::<f32>() - 0.5 * 2.0_f32.sqrt()).abs() < 1e-5);
/// ```
#[derive(Module, Debug)]
#[module(custom_display)]
pub struct SparseCentersRegularizer {
    classes: usize,
    centers_per_class: usize,
    #[module(skip)]
    reduction: EmbeddingReduction,
}

impl SparseCentersRegularizer {
    /// One value for all pairs; see [`forward_no_reduction`](Self::forward_no_reduction).
    pub fn forward(&self, weights: Tensor<2>) -> Tensor<1> {
        self.reduction.apply(self.forward_no_reduction(weights))
    }

    /// One value per pair of centers of one class, class by class, in the order (0, 1), (0, 2), ..., (1, 2), ...
    ///
    /// # Shapes
    ///
    /// - weights: `[classes·centers_per_class, embedding_dim]`, the centers of a class one after the other
    /// - output: `[classes·centers_per_class·(centers_per_class - 1) / 2]`
    ///
    /// # Panics
    ///
    /// If the shapes do not agree.
    pub fn forward_no_reduction(&self, weights: Tensor<2>) -> Tensor<1> {
        let Self { classes, centers_per_class: centers, .. } = *self;
        let [_, dim] = weights.dims();
        check_shape("SparseCentersRegularizer", "weights", weights.dims(), [classes * centers, dim]);
        let dtype = weights.dtype();
        let pairs = centers * (centers - 1) / 2;
        if dim == 0 {
            return Tensor::zeros([classes * pairs], (&weights.device(), dtype));
        }
        let unit = unit_rows(widen(weights)).reshape([classes, centers, dim]);
        let to_later = |center: usize| {
            let later = centers - 1 - center;
            let own = unit.clone().narrow(1, center, 1).expand([classes, later, dim]);
            own - unit.clone().narrow(1, center + 1, later)
        };
        let differences: Vec<_> = (0..centers - 1).map(to_later).collect();
        let lengths = row_lengths(Tensor::cat(differences, 1).reshape([classes * pairs, dim]));

        cast_to(lengths.mul_scalar(0.5), dtype)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_centers_of_one_class_are_compared() {
        let weights = [[3.0_f32, 4.0], [6.0, 8.0], [1.0, 0.0], [-2.0, 0.0]];
        let weights = Tensor::<2>::from_data(weights, &Device::flex().autodiff()).require_grad();
        let loss = SparseCentersRegularizerConfig::new(2, 2).init(&Device::flex());
        let losses = loss.forward_no_reduction(weights.clone());
        let gradient = weights.grad(&losses.clone().sum().backward()).unwrap();

        assert_eq!(losses.try_into_vec_as::<f32>().unwrap(), [0.0, 1.0]);
        assert!(gradient.try_into_vec_as::<f32>().unwrap()[..4].iter().all(|&slope| slope == 0.0));
    }

    #[test]
    #[should_panic(expected = "SparseCentersRegularizer: centers_per_class must be >= 2, got 1")]
    fn one_center_per_class_has_no_pair() {
        SparseCentersRegularizerConfig::new(3, 1).init(&Device::flex());
    }
}
