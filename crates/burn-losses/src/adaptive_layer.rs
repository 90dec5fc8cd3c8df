//! One network that can be cut to several depths: a loss of each layer's embeddings, pulled to those of the last.

use burn::config::Config;
use burn::module::Module;
use burn::tensor::activation::log_softmax;
use burn::tensor::{Int, Tensor};
use burn_losses_kernels::math::{cast_to, widen};

use crate::embedding_loss::EmbeddingLoss;
use crate::pairs::{PairLoss, Pairs};
use crate::shape::check_shape;

/// How much a layer counts among those before the last, by its number.
#[derive(Config, Debug, Copy, PartialEq, Eq)]
pub enum LayerWeighting {
    /// As much as any other.
    Uniform,
    /// `1 / (1 + log(1 + number))`.
    Logarithmic,
    /// `1 / (1 + number)`.
    Linear,
}

impl LayerWeighting {
    fn weight(self, number: usize) -> f64 {
        let place = 1.0 + number as f64;
        match self {
            Self::Uniform => 1.0,
            Self::Logarithmic => 1.0 / (1.0 + libm::log(place)),
            Self::Linear => 1.0 / place,
        }
    }
}

/// Settings of [`AdaptiveLayerLoss`].
#[derive(Config, Debug)]
pub struct AdaptiveLayerLossConfig {
    /// How much the loss of the last layer counts; `>= 0` and finite.
    /// Default: `1.0`.
    #[config(default = 1.0)]
    pub last_layer_weight: f64,
    /// How much the mean of the losses of the layers before it counts; `>= 0` and finite.
    /// Default: `1.0`.
    #[config(default = 1.0)]
    pub prior_layers_weight: f64,
    /// How much each of them counts in that mean.
    /// Default: `LayerWeighting::Uniform`.
    #[config(default = "LayerWeighting::Uniform")]
    pub layer_weighting: LayerWeighting,
    /// How much it counts how far each of them is from the last layer; `>= 0` and finite, 0 leaves it out.
    /// Default: `1.0`.
    #[config(default = 1.0)]
    pub kl_div_weight: f64,
    /// What embeddings are divided by before that; in `[1e-3, 1e3]`.
    /// Default: `0.3`.
    #[config(default = 0.3)]
    pub kl_temperature: f64,
}

impl AdaptiveLayerLossConfig {
    /// Builds the loss from one that is the same for all layers: any loss of embeddings, a
    /// [`MatryoshkaLoss`](crate::matryoshka::MatryoshkaLoss) among them.
    ///
    /// # Panics
    ///
    /// If a field is out of its range.
    #[track_caller]
    pub fn init<L: Module>(&self, loss: L) -> AdaptiveLayerLoss<L> {
        let Self { last_layer_weight, prior_layers_weight, layer_weighting, kl_div_weight, kl_temperature } = *self;
        for (field, weight) in [
            ("last_layer_weight", last_layer_weight),
            ("prior_layers_weight", prior_layers_weight),
            ("kl_div_weight", kl_div_weight),
        ] {
            let fits = weight >= 0.0 && weight.is_finite();
            assert!(fits, "AdaptiveLayerLoss: {field} must be >= 0 and finite, got {weight}");
        }
        assert!(
            (1e-3..=1e3).contains(&kl_temperature),
            "AdaptiveLayerLoss: kl_temperature must be in [1e-3, 1e3], got {kl_temperature}"
        );
        AdaptiveLayerLoss {
            loss,
            last_layer_weight,
            prior_layers_weight,
            layer_weighting,
            kl_div_weight,
            kl_temperature,
        }
    }
}

/// Any loss of embeddings, of those of several layers of one network at once: a network that can be cut after training. Around a
/// [`MatryoshkaLoss`](crate::matryoshka::MatryoshkaLoss) it is 2D Matryoshka: any number of layers, and any length.
///
/// ```text
/// loss = last_layer_weight·loss of the last layer
///      + prior_layers_weight·mean over the given layers of weight[layer]·loss of the layer
///      + kl_div_weight·kl_temperature·sum over the given layers of mean over rows of KL(row of the last || row of the layer)
/// KL of the softmaxes of embeddings / kl_temperature, at their whole length; the last layer is a constant there
/// ```
///
/// What a layer's embeddings are is for the network to say: its hidden states, pooled as those of the last are. Give all layers, or
/// one that is drawn anew for every batch, as the paper does. Time is that of the losses.
///
/// # When to take it
///
/// When a search must be quick enough on small machines, and which depth is quick enough is not known before training. For a fixed
/// depth train the smaller network.
///
/// # Source
///
/// Li et al.: [2D Matryoshka Sentence Embeddings](https://arxiv.org/abs/2402.14776), 2024, section 3.2. Weights, temperature and
/// defaults are those of sentence-transformers 6.
///
/// # Example
///
/// ```
/// use burn::tensor::{Device, Int, Tensor};
/// use burn_losses::adaptive_layer::AdaptiveLayerLossConfig;
/// use burn_losses::matryoshka::MatryoshkaLossConfig;
/// use burn_losses::pairs::SupConLossConfig;
///
/// let device = Device::default();
/// let last = || Tensor::<2>::from_data([[1.0, 0.0, 3.0], [2.0, 1.0, 0.0], [0.0, 1.0, 1.0]], &device);
/// let fourth = Tensor::<2>::from_data([[0.5, 0.0, 1.0], [1.0, 1.0, 0.0], [1.0, 1.0, 1.0]], &device);
/// let labels = || Tensor::<1, Int>::from_ints([4, 4, 9], &device);
/// let by_length = MatryoshkaLossConfig::new(vec![2, 3]).init(SupConLossConfig::new().init(&device));
///
/// let loss = AdaptiveLayerLossConfig::new().with_kl_div_weight(0.0).init(by_length.clone());
/// let both = loss.forward(&[(4, fourth.clone())], last(), labels());
/// let apart = by_length.forward(fourth, labels()) + by_length.forward(last(), labels());
/// assert!((both - apart).abs().into_scalar::<f32>() < 1e-5);
/// // A layer that is the last one is not pulled anywhere.
/// let loss = AdaptiveLayerLossConfig::new().with_prior_layers_weight(0.0).init(by_length.clone());
/// let pulled = loss.forward(&[(4, last())], last(), labels()) - by_length.forward(last(), labels());
/// assert!(pulled.abs().into_scalar::<f32>() < 1e-5);
/// ```
#[derive(Module, Debug)]
pub struct AdaptiveLayerLoss<L: Module> {
    /// That of every layer.
    pub loss: L,
    last_layer_weight: f64,
    prior_layers_weight: f64,
    #[module(skip)]
    layer_weighting: LayerWeighting,
    kl_div_weight: f64,
    kl_temperature: f64,
}

impl<L: Module> AdaptiveLayerLoss<L> {
    /// The loss of all layers, of batches whose losses and rows are asked for.
    #[track_caller]
    fn sum<B>(
        &self,
        prior: &[(usize, B)],
        last: &B,
        loss: impl Fn(&L, &B) -> Tensor<1>,
        rows: impl Fn(&B) -> Tensor<2>,
    ) -> Tensor<1> {
        let wanted = rows(last);
        let mut sum = widen(loss(&self.loss, last)).mul_scalar(self.last_layer_weight);
        for (number, layer) in prior {
            let found = rows(layer);
            check_shape("AdaptiveLayerLoss", "a layer", found.dims(), wanted.dims());
            let weight = self.layer_weighting.weight(*number) / prior.len() as f64;
            sum = sum + widen(loss(&self.loss, layer)).mul_scalar(weight * self.prior_layers_weight);
            if self.kl_div_weight > 0.0 && wanted.dims()[0] > 0 {
                let pull = self.kl_div_weight * self.kl_temperature;
                sum = sum + self.divergence(&wanted, found).mul_scalar(pull);
            }
        }
        sum
    }

    /// How far the rows of a layer are from those of the last, in the mean, `[1]`.
    fn divergence(&self, last: &Tensor<2>, layer: Tensor<2>) -> Tensor<1> {
        let [count, _] = layer.dims();
        let log_shares = |rows: Tensor<2>| log_softmax(widen(rows).mul_scalar(1.0 / self.kl_temperature), 1);
        let (wanted, found) = (log_shares(last.clone().detach()), log_shares(layer));
        let divergence = (wanted.clone().exp() * (wanted - found)).sum_dim(1);
        divergence.sum().mul_scalar(1.0 / count as f64)
    }
}

impl<L: Module + EmbeddingLoss> AdaptiveLayerLoss<L> {
    /// The loss of a batch as one number.
    ///
    /// # Shapes
    ///
    /// - prior: the numbers of layers, from 0 for the first, and their embeddings, `[batch, embedding_dim]`
    /// - last: `[batch, embedding_dim]`
    /// - labels: `[batch]`
    /// - output: `[1]`
    ///
    /// # Panics
    ///
    /// If the shapes do not agree, and as the loss itself.
    #[track_caller]
    pub fn forward(&self, prior: &[(usize, Tensor<2>)], last: Tensor<2>, labels: Tensor<1, Int>) -> Tensor<1> {
        let dtype = last.dtype();
        let loss = |loss: &L, rows: &Tensor<2>| loss.forward(widen(rows.clone()), labels.clone());
        cast_to(self.sum(prior, &last, loss, Tensor::clone), dtype)
    }
}

impl<L: Module + PairLoss> AdaptiveLayerLoss<L> {
    /// The loss of the same pairs of all layers, as [`PairLoss::forward_pairs`] says.
    ///
    /// # Shapes
    ///
    /// - prior: the numbers of layers, from 0 for the first, and their pairs
    /// - last: the pairs of the last
    /// - output: `[1]`
    ///
    /// # Panics
    ///
    /// If the pairs are of precomputed distances, their shapes differ, and as the loss itself.
    #[track_caller]
    pub fn forward_pairs(&self, prior: &[(usize, Pairs)], last: &Pairs) -> Tensor<1> {
        let loss = |loss: &L, pairs: &Pairs| loss.forward_pairs(pairs);
        cast_to(self.sum(prior, last, loss, |pairs| pairs.all_rows("AdaptiveLayerLoss")), last.precision())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pairs::InfoNceLossConfig;
    use burn::tensor::{DType, Device};

    fn rows(rows: [[f32; 2]; 2]) -> Tensor<2> {
        Tensor::from_data(rows, &Device::flex())
    }

    fn value(config: &AdaptiveLayerLossConfig, prior: &[(usize, Tensor<2>)]) -> f32 {
        let loss = config.init(InfoNceLossConfig::new().init(&Device::flex()));
        // Two strangers have no loss of their own.
        let labels = Tensor::<1, Int>::from_ints([1, 2], &Device::flex());
        loss.forward(prior, rows([[0.0, 0.0], [3.0_f32.ln(), 0.0]]), labels).into_scalar::<f32>()
    }

    #[test]
    fn a_layer_is_pulled_to_the_last_one() {
        // By hand, at a temperature of 1/2: the last layer says (1/2, 1/2) and (9/10, 1/10), the first (1/2, 1/2) twice.
        let config = AdaptiveLayerLossConfig::new().with_kl_temperature(0.5).with_kl_div_weight(3.0);
        let divergence = 0.9 * (0.9_f32 / 0.5).ln() + 0.1 * (0.1_f32 / 0.5).ln();
        let expected = 3.0 * 0.5 * divergence / 2.0;
        let found = value(&config, &[(0, rows([[1.0, 1.0], [0.0, 0.0]]))]);
        assert!((found - expected).abs() < 1e-6, "{found} is not {expected}");
        assert_eq!(value(&config, &[]), 0.0);
        assert_eq!(value(&config.with_kl_div_weight(0.0), &[(0, rows([[1.0, 1.0], [0.0, 0.0]]))]), 0.0);
    }

    #[test]
    fn weights_of_layers_fall_with_their_number() {
        let weights = |weighting: LayerWeighting| [0, 3].map(|number| weighting.weight(number));
        assert_eq!(weights(LayerWeighting::Uniform), [1.0, 1.0]);
        assert_eq!(weights(LayerWeighting::Linear), [1.0, 0.25]);
        assert!((weights(LayerWeighting::Logarithmic)[1] - 1.0 / (1.0 + 4.0_f64.ln())).abs() < 1e-15);
    }

    #[test]
    fn pairs_of_all_layers_are_compared_and_pulled() {
        let plain = InfoNceLossConfig::new().init(&Device::flex());
        let loss = AdaptiveLayerLossConfig::new().with_layer_weighting(LayerWeighting::Linear).init(plain.clone());
        let pairs = |first, second| Pairs::aligned(rows(first), rows(second));
        let last = pairs([[1.0, 0.0], [0.0, 1.0]], [[2.0, 1.0], [1.0, 2.0]]);
        let first = pairs([[1.0, 0.5], [0.5, 1.0]], [[2.0, 1.0], [1.0, 2.0]]);
        let value = loss.forward_pairs(&[(1, first.clone())], &last).into_scalar::<f32>();
        // By hand: of four rows two differ, softmaxes of 0 and 1/0.3 and of 0.5 and 1 over 0.3.
        let (p, q) = (1.0 / (1.0 + (-1.0_f32 / 0.3).exp()), 1.0 / (1.0 + (-0.5_f32 / 0.3).exp()));
        let divergence = p * (p / q).ln() + (1.0 - p) * ((1.0 - p) / (1.0 - q)).ln();
        let of = |pairs| plain.forward_pairs(pairs).into_scalar::<f32>();
        let expected = of(&last) + 0.5 * of(&first) + 0.3 * divergence * 2.0 / 4.0;
        assert!((value - expected).abs() < 1e-5, "{value} is not {expected}");
    }

    #[test]
    fn half_precision_comes_back() {
        let loss = AdaptiveLayerLossConfig::new().init(InfoNceLossConfig::new().init(&Device::flex()));
        let half = |numbers| rows(numbers).cast(DType::F16);
        let labels = Tensor::<1, Int>::from_ints([1, 2], &Device::flex());
        let value = loss.forward(&[(0, half([[1.0, 0.0], [0.0, 1.0]]))], half([[1.0, 0.0], [0.0, 1.0]]), labels);
        assert_eq!(value.dtype(), DType::F16);
    }

    #[test]
    #[should_panic(expected = "AdaptiveLayerLoss: a layer must have the shape [2, 2], got [1, 2]")]
    fn a_layer_of_another_batch_is_rejected() {
        value(
            &AdaptiveLayerLossConfig::new().with_prior_layers_weight(0.0),
            &[(0, rows([[1.0, 0.0]; 2]).narrow(0, 0, 1))],
        );
    }

    #[test]
    #[should_panic(expected = "AdaptiveLayerLoss: kl_temperature must be in [1e-3, 1e3], got 0")]
    fn no_temperature_is_rejected() {
        value(&AdaptiveLayerLossConfig::new().with_kl_temperature(0.0), &[]);
    }
}
