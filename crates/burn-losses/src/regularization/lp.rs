use burn::config::Config;
use burn::module::Module;
use burn::tensor::{Device, Tensor};
use burn_losses_kernels::math::{cast_to, widen};

use super::empty::losses_of_nothing;
use crate::distance::Distance;
use crate::reduction::EmbeddingReduction;

/// Settings of [`LpRegularizer`].
#[derive(Config, Debug)]
pub struct LpRegularizerConfig {
    /// The norm, as the distance from the zero row: `Distance::lp(p)` for any p, or `SquaredEuclidean`; not `Cosine`.
    /// Default: `Distance::Euclidean`.
    #[config(default = "Distance::Euclidean")]
    pub norm: Distance,
    /// The power that the norm is raised to; in `[0.1, 100]`.
    /// Default: `1.0`.
    #[config(default = 1.0)]
    pub power: f64,
    /// How the losses become one number.
    /// Default: `EmbeddingReduction::Mean`.
    #[config(default = "EmbeddingReduction::Mean")]
    pub reduction: EmbeddingReduction,
}

impl LpRegularizerConfig {
    /// Builds the loss.
    ///
    /// # Panics
    ///
    /// If a field is out of its range.
    #[track_caller]
    pub fn init(&self, _device: &Device) -> LpRegularizer {
        self.norm.validate();
        let Self { norm, power, reduction } = *self;
        assert!(norm != Distance::Cosine, "LpRegularizer: norm must be the distance of an Lp norm, got Cosine");
        assert!((0.1..=100.0).contains(&power), "LpRegularizer: power must be in [0.1, 100], got {power}");

        LpRegularizer { norm, power, reduction }
    }
}

/// Keeps embeddings short.
///
/// ```text
/// loss[i] = (sum over k of abs(embeddings[i, k])^p)^(power/p)
/// ```
///
/// Beside a loss that compares dot products or distances, which embeddings can satisfy by growing. A zero row has loss 0
/// and gradient 0. With a power above 1, embeddings whose power overflows have an infinite loss.
///
/// # When to take it
///
/// Beside a loss that sees the length of embeddings, such as [`NPairsLoss`](crate::pairs::NPairsLoss), to keep them
/// short. One of cosines does not need it.
///
/// # Source
///
/// `LpRegularizer` of pytorch-metric-learning.
///
/// # Example
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use burn_losses::regularization::LpRegularizerConfig;
///
/// let device = Device::default();
/// let embeddings = Tensor::<2>::from_data([[3.0, 4.0]], &device);
/// let loss = LpRegularizerConfig::new().init(&device).forward(embeddings);
/// // Its length.
/// assert!((loss.into_scalar::<f32>() - 5.0).abs() < 1e-5);
/// ```
#[derive(Module, Debug)]
#[module(custom_display)]
pub struct LpRegularizer {
    #[module(skip)]
    norm: Distance,
    power: f64,
    #[module(skip)]
    reduction: EmbeddingReduction,
}

impl LpRegularizer {
    /// One value for the whole batch; see [`forward_no_reduction`](Self::forward_no_reduction).
    pub fn forward(&self, embeddings: Tensor<2>) -> Tensor<1> {
        self.reduction.apply(self.forward_no_reduction(embeddings))
    }

    /// One value per row.
    ///
    /// # Shapes
    ///
    /// - embeddings: `[batch, embedding_dim]`
    /// - output: `[batch]`
    pub fn forward_no_reduction(&self, embeddings: Tensor<2>) -> Tensor<1> {
        if let Some(nothing) = losses_of_nothing(&embeddings) {
            return nothing;
        }
        let dtype = embeddings.dtype();
        let embeddings = widen(embeddings);
        let zero = embeddings.clone().detach().zeros_like();
        let lengths = self.norm.rowwise(embeddings, zero);

        cast_to(raised(lengths, self.power), dtype)
    }
}

/// `lengths^power`, with gradient 0 at 0.
fn raised(lengths: Tensor<1>, power: f64) -> Tensor<1> {
    if power == 1.0 {
        return lengths;
    }
    if power == 2.0 {
        return lengths.square();
    }
    // Where a length is 0, the slope of its power may be infinite: it is replaced before the power and after it.
    let zero = lengths.clone().lower_scalar(1e-30);
    lengths.mask_fill(zero.clone(), 1.0).log().mul_scalar(power).exp().mask_fill(zero, 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn norms_and_powers_by_hand() {
        let embeddings = || Tensor::<2>::from_data([[3.0_f32, -4.0]], &Device::flex());
        let loss = |norm, power| {
            let loss = LpRegularizerConfig::new().with_norm(norm).with_power(power).init(&Device::flex());
            loss.forward(embeddings()).into_scalar::<f32>()
        };

        assert_eq!(loss(Distance::Euclidean, 1.0), 5.0);
        assert_eq!(loss(Distance::Manhattan, 1.0), 7.0);
        assert_eq!(loss(Distance::Chebyshev, 2.0), 16.0);
        assert!((loss(Distance::Euclidean, 3.0) / 125.0 - 1.0).abs() < 1e-6);
    }

    #[test]
    fn a_zero_row_has_gradient_zero_even_under_a_root() {
        let embeddings = Tensor::<2>::zeros([1, 3], &Device::flex().autodiff()).require_grad();
        let loss = LpRegularizerConfig::new().with_power(0.5).with_reduction(EmbeddingReduction::Sum);
        let loss = loss.init(&Device::flex()).forward(embeddings.clone());
        let gradient = embeddings.grad(&loss.clone().backward()).unwrap();

        assert_eq!(loss.into_scalar::<f32>(), 0.0);
        assert_eq!(gradient.try_into_vec_as::<f32>().unwrap(), [0.0; 3]);
    }

    #[test]
    #[should_panic(expected = "LpRegularizer: norm must be the distance of an Lp norm, got Cosine")]
    fn a_cosine_is_no_norm() {
        LpRegularizerConfig::new().with_norm(Distance::Cosine).init(&Device::flex());
    }
}
