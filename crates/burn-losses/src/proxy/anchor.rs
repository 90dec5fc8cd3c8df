use burn::config::Config;
use burn::module::Module;
use burn::tensor::{Device, IndexingUpdateOp, Int, Tensor};
use burn_losses_kernels::math::{cast_to, log_sum_exp_where, softplus, unit_rows, widen};
use burn_losses_kernels::scores::{Comparison, Counted, scores};

use super::softmax::proxies;
use crate::EmbeddingLoss;
use crate::heads::{CentersConfig, ClassCenters};
use crate::identities::{first_match, from_the_start};
use crate::labels::{SafeLabels, silence};
use crate::mining::PairMasks;
use crate::reduction::{EmbeddingReduction, zero_of};

/// Settings of [`ProxyAnchorLoss`].
#[derive(Config, Debug)]
pub struct ProxyAnchorLossConfig {
    /// How many classes; `>= 1`.
    pub classes: usize,
    /// The length of an embedding; `>= 1`.
    pub embedding_dim: usize,
    /// How far a positive must be above and a negative below the cosine 0 (the paper's delta); in `[-1, 1]`.
    /// Default: `0.1`.
    #[config(default = 0.1)]
    pub margin: f64,
    /// What cosines are multiplied with; in `[1e-6, 1e6]`.
    /// Default: `32.0`.
    #[config(default = 32.0)]
    pub alpha: f64,
    /// How the losses become one number.
    /// Default: `EmbeddingReduction::Mean`.
    #[config(default = "EmbeddingReduction::Mean")]
    pub reduction: EmbeddingReduction,
    /// How the proxies start (drawn around 0 with deviation 0.1), which labels count, and what a batch is compared with.
    /// Default: `proxies()`.
    #[config(default = "proxies()")]
    pub centers: CentersConfig,
}

impl ProxyAnchorLossConfig {
    /// Builds the loss with random proxies on `device`.
    ///
    /// # Panics
    ///
    /// If a field is out of its range.
    #[track_caller]
    pub fn init(&self, device: &Device) -> ProxyAnchorLoss {
        let Self { margin, alpha, .. } = *self;
        assert!((-1.0..=1.0).contains(&margin), "ProxyAnchorLoss: margin must be in [-1, 1], got {margin}");
        assert!((1e-6..=1e6).contains(&alpha), "ProxyAnchorLoss: alpha must be in [1e-6, 1e6], got {alpha}");
        let rate = self.centers.sample_rate;
        assert!(rate == 1.0, "ProxyAnchorLoss: centers.sample_rate must be 1, got {rate}: each class has a loss");
        let size = [self.classes, self.embedding_dim];

        ProxyAnchorLoss {
            proxies: self.centers.init("ProxyAnchorLoss", size, device),
            margin,
            alpha,
            reduction: self.reduction,
        }
    }
}

/// Every proxy is an anchor that attracts the embeddings of its class and repels all others, the hardest the most.
///
/// ```text
/// far[c]  = log(1 + sum over i with labels[i] = c of exp(-alpha·(cosine(embedding[i], proxy[c]) - margin)))
/// near[c] = log(1 + sum over i with labels[i] != c of exp(alpha·(cosine(embedding[i], proxy[c]) + margin)))
/// loss    = sum of far / (number of classes in the batch) + sum of near / classes
/// ```
///
/// A loss per class, not per row: `forward_no_reduction` returns `[classes]`, and the mean over the classes of
/// `classes / (classes in the batch)·far[c] + near[c]` is the loss of the paper, [`EmbeddingReduction::Mean`].
///
/// Memory is `O((batch + classes)·dim + batch²)`: the cosines of a batch with all classes are streamed.
///
/// # When to take it
///
/// Take it first for retrieval with known classes. The authors' code gives the proxies a learning rate of a hundred times
/// that of the model. Where there are new classes all the time, take
/// [`MultiSimilarityLoss`](crate::pairs::MultiSimilarityLoss).
///
/// # Source
///
/// Kim et al.: [Proxy Anchor Loss for Deep Metric Learning](https://arxiv.org/abs/2003.13911), 2020, section 3.2,
/// equation 4.
///
/// # Example
///
/// ```
/// use burn::module::Param;
/// use burn::tensor::{Device, Int, Tensor};
/// use burn_losses::proxy::ProxyAnchorLossConfig;
///
/// let device = Device::default();
/// let mut loss = ProxyAnchorLossConfig::new(2, 2).with_alpha(1.0).with_margin(0.5).init(&device);
/// loss.proxies.weight = Param::from_tensor(Tensor::from_data([[1.0, 0.0], [-1.0, 0.0]], &device));
/// let embeddings = Tensor::<2>::from_data([[5.0, 0.0]], &device);
/// // A positive at a cosine of 1 from its proxy, and for the mean over two proxies one negative at -1.
/// let loss = loss.forward(embeddings, Tensor::<1, Int>::from_ints([0], &device)).into_scalar::<f32>();
/// assert!((loss - (-0.5_f32).exp().ln_1p() * 1.5).abs() < 1e-5, "{loss}");
/// ```
#[derive(Module, Debug)]
pub struct ProxyAnchorLoss {
    /// The trained proxies.
    pub proxies: ClassCenters,
    margin: f64,
    alpha: f64,
    #[module(skip)]
    reduction: EmbeddingReduction,
}

impl EmbeddingLoss for ProxyAnchorLoss {
    fn forward(&self, embeddings: Tensor<2>, labels: Tensor<1, Int>) -> Tensor<1> {
        let dtype = embeddings.dtype();
        let labels = self.proxies.check(&embeddings, labels);
        if labels.valid.dims() == [0] {
            return zero_of(embeddings, self.proxies.weight.val());
        }
        cast_to(self.reduction.apply(self.losses(embeddings, labels)), dtype)
    }

    fn forward_no_reduction(&self, embeddings: Tensor<2>, labels: Tensor<1, Int>) -> Tensor<1> {
        let dtype = embeddings.dtype();
        let labels = self.proxies.check(&embeddings, labels);
        if labels.valid.dims() == [0] {
            return zero_of(embeddings, self.proxies.weight.val()).expand([self.proxies.classes()]);
        }
        cast_to(self.losses(embeddings, labels), dtype)
    }
}

impl ProxyAnchorLoss {
    fn losses(&self, embeddings: Tensor<2>, SafeLabels { index, valid }: SafeLabels) -> Tensor<1> {
        let classes = self.proxies.classes();
        let rows = unit_rows(widen(silence(embeddings, valid.clone())));
        let proxies = unit_rows(cast_to(self.proxies.weight.val(), rows.dtype()));
        let labels = index.clone().mask_fill(valid.bool_not(), -1);

        let own = (rows.clone() * proxies.clone().select(0, index.clone())).sum_dim(1).squeeze_dim::<1>(1);
        let far = self.far(own, labels.clone(), index, classes);

        let every = Tensor::<1, Int>::arange(0..classes as i64, (&labels.device(), labels.dtype()));
        let streaming = self.proxies.streaming();
        let comparison = Comparison { counted: Counted::OtherLabels(labels), streaming, ..Comparison::new(self.alpha) };
        let near = scores(proxies, rows, every, comparison).sum;

        far + softplus(near.add_scalar(self.alpha * self.margin))
    }

    /// The positive part of every class, weighted so that its mean is over the classes in the batch.
    fn far(&self, own: Tensor<1>, labels: Tensor<1, Int>, index: Tensor<1, Int>, classes: usize) -> Tensor<1> {
        let [batch] = own.dims();
        let options = (&own.device(), own.dtype());
        let same = PairMasks::between(labels.clone(), labels.clone()).positive;
        let scores = own.sub_scalar(self.margin).mul_scalar(-self.alpha);
        let scores = scores.unsqueeze_dim::<2>(0).expand([batch, batch]);
        let of_class = softplus(log_sum_exp_where(scores, same));

        // Every row of a class knows the sum of its class; the first one tells it.
        let place = Tensor::<1, Int>::arange(0..batch as i64, (&labels.device(), labels.dtype()));
        let first = first_match(labels.clone(), labels.clone(), from_the_start(&labels)).equal(place);
        let silent = first.bool_and(labels.greater_equal_scalar(0)).bool_not();
        let present = Tensor::<1>::ones([batch], options).mask_fill(silent.clone(), 0.0).sum().clamp_min(1.0);
        let weight = present.recip().mul_scalar(classes as f64).expand([batch]);
        let of_class = (of_class * weight).mask_fill(silent, 0.0);

        Tensor::<1>::zeros([classes], options).select_assign(0, index, of_class, IndexingUpdateOp::Add)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::module::Param;
    use burn::tensor::TensorData;

    fn run(labels: &[i64]) -> alloc::vec::Vec<f32> {
        let device = Device::flex();
        let mut loss = ProxyAnchorLossConfig::new(3, 2).with_alpha(2.0).init(&device);
        let proxies = [[3.0_f32, 0.0], [0.0, 0.1], [0.0, -2.0]];
        loss.proxies.weight = Param::from_tensor(Tensor::from_data(proxies, &device));
        let embeddings = Tensor::<2>::from_data([[3.0_f32, 4.0], [2.0, 0.0]], &device);
        let labels = Tensor::from_data(TensorData::from(labels), &device);
        loss.forward_no_reduction(embeddings, labels).try_into_vec_as::<f32>().unwrap()
    }

    fn log_of_one_more(exponents: &[f32]) -> f32 {
        (1.0 + exponents.iter().map(|exponent| exponent.exp()).sum::<f32>()).ln()
    }

    #[test]
    fn every_class_attracts_its_own_and_repels_the_others() {
        // By hand: cosines with the proxies 0.6, 0.8, -0.8 and 1, 0, 0; 2·(0.1 -+ cosine).
        let losses = run(&[0, 0]);
        let expected =
            [3.0 * log_of_one_more(&[-1.0, -1.8]), log_of_one_more(&[1.8, 0.2]), log_of_one_more(&[-1.4, 0.2])];
        assert!(losses.iter().zip(expected).all(|(a, e)| (a - e).abs() < 1e-5), "{losses:?} {expected:?}");
    }

    #[test]
    fn a_row_without_a_class_is_in_no_sum() {
        let losses = run(&[-1, 0]);
        let expected = [3.0 * log_of_one_more(&[-1.8]), log_of_one_more(&[0.2]), log_of_one_more(&[0.2])];
        assert!(losses.iter().zip(expected).all(|(a, e)| (a - e).abs() < 1e-5), "{losses:?} {expected:?}");
        assert_eq!(run(&[-1, -1]), [0.0; 3]);
    }
}
