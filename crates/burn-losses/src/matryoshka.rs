//! One embedding that can be cut to several lengths: a loss of each of them.

use alloc::vec;
use alloc::vec::Vec;

use burn::config::Config;
use burn::module::Module;
use burn::tensor::{Int, Tensor};
use burn_losses_kernels::math::{cast_to, widen};

use crate::embedding_loss::EmbeddingLoss;
use crate::pairs::{MultipleNegativesRankingLoss, PairLoss, Pairs, RankingBatch};

/// Settings of [`MatryoshkaLoss`].
#[derive(Config, Debug)]
pub struct MatryoshkaLossConfig {
    /// To how many of its first numbers an embedding may be cut; `>= 1` each. Name the whole length too, if it is to be
    /// trained.
    pub lengths: Vec<usize>,
    /// How much the loss of each length counts; `>= 0` and finite. Without them each counts 1, as in the paper.
    /// Default: `None`.
    #[config(default = "None")]
    pub weights: Option<Vec<f64>>,
}

impl MatryoshkaLossConfig {
    /// Builds the loss from one that is the same for all lengths, such as any loss of [pairs](crate::pairs).
    ///
    /// # Panics
    ///
    /// If a field is out of its range.
    #[track_caller]
    pub fn init<L: Module>(&self, loss: L) -> MatryoshkaLoss<L> {
        self.with_losses(vec![loss])
    }

    /// Builds it from a loss for each length, which the function is given: a [head](crate::heads) or a loss of
    /// [proxies](crate::proxy), whose centers are as long as the embeddings.
    ///
    /// # Panics
    ///
    /// If a field is out of its range.
    #[track_caller]
    pub fn init_each<L: Module>(&self, loss: impl Fn(usize) -> L) -> MatryoshkaLoss<L> {
        self.with_losses(self.lengths.iter().map(|&length| loss(length)).collect())
    }

    #[track_caller]
    fn with_losses<L: Module>(&self, losses: Vec<L>) -> MatryoshkaLoss<L> {
        let Self { lengths, weights } = self.clone();
        assert!(!lengths.is_empty(), "MatryoshkaLoss: lengths must name at least one");
        assert!(!lengths.contains(&0), "MatryoshkaLoss: lengths must be >= 1 each, got {lengths:?}");
        let weights = weights.unwrap_or_else(|| vec![1.0; lengths.len()]);
        assert!(
            weights.len() == lengths.len(),
            "MatryoshkaLoss: weights must be as many as lengths, {}, got {}",
            lengths.len(),
            weights.len()
        );
        assert!(
            weights.iter().all(|&weight| weight >= 0.0 && weight.is_finite()),
            "MatryoshkaLoss: weights must be >= 0 and finite, got {weights:?}"
        );
        MatryoshkaLoss { losses, lengths, weights }
    }
}

/// Any loss of embeddings, at several lengths of them at once: embeddings that can be cut after training.
///
/// ```text
/// loss = sum over the lengths m of weight[m]·loss of the first m numbers of each embedding
/// ```
///
/// Losses that divide rows by their length do so after the cut: the cosine of two short embeddings is that of the short
/// ones. Cut embeddings for a search likewise, and normalise them then.
///
/// With a loss of pairs all lengths have it in common, a learned temperature with it; with a head each length has one of its
/// own ([`init_each`](MatryoshkaLossConfig::init_each)). Time is that of the losses, which is little beside the network;
/// nothing is copied but what they copy. On a CPU an [`InfoNceLoss`](crate::pairs::InfoNceLoss) or a
/// [`DecoupledContrastiveLoss`](crate::pairs::DecoupledContrastiveLoss) of aligned or symmetric [`Pairs`], or a
/// [`MultipleNegativesRankingLoss`] without hardness and identities, computes the products of all
/// lengths as those of the longest, so that six lengths take 1.4 times the time of one; unless the first numbers of a row are all but 0
/// where others are not.
///
/// In two dimensions, of lengths and of layers, it is the loss in an
/// [`AdaptiveLayerLoss`](crate::adaptive_layer::AdaptiveLayerLoss).
///
/// # When to take it
///
/// When the same embeddings are to serve a quick search and an exact one, or when how long they must be is not known
/// before training. At the whole length it costs little or nothing of the quality, in the paper's experiments. Not where embeddings
/// are used at one length only: then it is time spent on the others.
///
/// # Source
///
/// Kusupati et al.: [Matryoshka Representation Learning](https://arxiv.org/abs/2205.13147), 2022, equation 1.
///
/// # Example
///
/// ```
/// use burn::tensor::{Device, Int, Tensor};
/// use burn_losses::heads::ArcFaceConfig;
/// use burn_losses::matryoshka::MatryoshkaLossConfig;
/// use burn_losses::pairs::SupConLossConfig;
///
/// let device = Device::default();
/// let embeddings = || Tensor::<2>::from_data([[1.0, 0.0, 3.0], [2.0, 1.0, 0.0], [0.0, 1.0, 1.0]], &device);
/// let labels = || Tensor::<1, Int>::from_ints([4, 4, 9], &device);
/// let plain = SupConLossConfig::new().init(&device);
/// let loss = MatryoshkaLossConfig::new(vec![2, 3]).init(plain.clone());
///
/// let both = loss.forward(embeddings(), labels());
/// let short = plain.forward(embeddings().narrow(1, 0, 2), labels());
/// assert!((both - short - plain.forward(embeddings(), labels())).abs().into_scalar::<f32>() < 1e-5);
///
/// // A head has centers of one length, so there is one for each.
/// let heads = MatryoshkaLossConfig::new(vec![2, 3]).init_each(|length| ArcFaceConfig::new(10, length).init(&device));
/// assert_eq!(heads.forward(embeddings(), labels()).dims(), [1]);
/// ```
#[derive(Module, Debug)]
pub struct MatryoshkaLoss<L: Module> {
    /// One for each length, or one for all.
    pub losses: Vec<L>,
    #[module(skip)]
    lengths: Vec<usize>,
    #[module(skip)]
    weights: Vec<f64>,
}

impl<L: Module> MatryoshkaLoss<L> {
    /// The sum of the losses of all lengths, which `losses` gives of several of them: those of embeddings of so many numbers, in the
    /// precision that they are computed in.
    #[track_caller]
    fn sum(&self, dim: usize, losses: impl Fn(&L, &[usize]) -> Vec<Tensor<1>>) -> Tensor<1> {
        let longest = self.lengths.iter().max().copied().unwrap_or_default();
        assert!(
            longest <= dim,
            "MatryoshkaLoss: lengths must be those of embeddings or shorter, got {longest} of {dim}"
        );
        let terms: Vec<Tensor<1>> = match &self.losses[..] {
            [loss] => losses(loss, &self.lengths),
            each => each.iter().zip(self.lengths.chunks(1)).flat_map(|(loss, length)| losses(loss, length)).collect(),
        };
        let terms = terms.into_iter().zip(&self.weights).map(|(term, &weight)| widen(term).mul_scalar(weight));
        terms.reduce(|sum, term| sum + term).expect("there is a length")
    }
}

impl<L: Module + EmbeddingLoss> MatryoshkaLoss<L> {
    /// The loss of a batch as one number, as [`EmbeddingLoss::forward`] says.
    #[track_caller]
    pub fn forward(&self, embeddings: Tensor<2>, labels: Tensor<1, Int>) -> Tensor<1> {
        let dtype = embeddings.dtype();
        let [_, dim] = embeddings.dims();
        let embeddings = widen(embeddings);
        let loss = |loss: &L, length| loss.forward(cut(&embeddings, length), labels.clone());
        let sum = self.sum(dim, |of, lengths| lengths.iter().map(|&length| loss(of, length)).collect());
        cast_to(sum, dtype)
    }

    /// The loss of every row, as [`EmbeddingLoss::forward_no_reduction`] says.
    #[track_caller]
    pub fn forward_no_reduction(&self, embeddings: Tensor<2>, labels: Tensor<1, Int>) -> Tensor<1> {
        let dtype = embeddings.dtype();
        let [_, dim] = embeddings.dims();
        let embeddings = widen(embeddings);
        let loss = |loss: &L, length| loss.forward_no_reduction(cut(&embeddings, length), labels.clone());
        let sum = self.sum(dim, |of, lengths| lengths.iter().map(|&length| loss(of, length)).collect());
        cast_to(sum, dtype)
    }
}

impl<L: Module + EmbeddingLoss> EmbeddingLoss for MatryoshkaLoss<L> {
    #[track_caller]
    fn forward(&self, embeddings: Tensor<2>, labels: Tensor<1, Int>) -> Tensor<1> {
        self.forward(embeddings, labels)
    }

    #[track_caller]
    fn forward_no_reduction(&self, embeddings: Tensor<2>, labels: Tensor<1, Int>) -> Tensor<1> {
        self.forward_no_reduction(embeddings, labels)
    }
}

impl<L: Module + PairLoss> MatryoshkaLoss<L> {
    /// The reduced loss of these pairs, as [`PairLoss::forward_pairs`] says.
    ///
    /// # Panics
    ///
    /// If the pairs are of precomputed distances, which cannot be cut, and as the loss itself.
    #[track_caller]
    pub fn forward_pairs(&self, pairs: &Pairs) -> Tensor<1> {
        let dim = pairs.embedding_dim("MatryoshkaLoss");
        cast_to(self.sum(dim, |loss, lengths| loss.forward_pairs_of_lengths(pairs, lengths)), pairs.precision())
    }

    /// The loss of every anchor, as [`PairLoss::forward_pairs_no_reduction`] says.
    ///
    /// # Panics
    ///
    /// As [`forward_pairs`](Self::forward_pairs).
    #[track_caller]
    pub fn forward_pairs_no_reduction(&self, pairs: &Pairs) -> Tensor<1> {
        let dim = pairs.embedding_dim("MatryoshkaLoss");
        let loss = |loss: &L, length| loss.forward_pairs_no_reduction(&pairs.cut(length));
        let sum = self.sum(dim, |of, lengths| lengths.iter().map(|&length| loss(of, length)).collect());
        cast_to(sum, pairs.precision())
    }
}

impl MatryoshkaLoss<MultipleNegativesRankingLoss> {
    /// The reduced loss of queries and their documents, as [`MultipleNegativesRankingLoss::forward`] says.
    ///
    /// # Shapes
    ///
    /// - output: `[1]`
    ///
    /// # Panics
    ///
    /// If a length is beyond the embeddings.
    ///
    /// ```
    /// use burn::tensor::{Device, Tensor};
    /// use burn_losses::matryoshka::MatryoshkaLossConfig;
    /// use burn_losses::pairs::{MultipleNegativesRankingLossConfig, RankingBatch};
    ///
    /// let device = Device::default();
    /// let queries = || Tensor::<2>::from_data([[1.0, 0.0, 0.2], [0.6, 0.8, 0.0]], &device);
    /// let documents = || Tensor::<2>::from_data([[0.8, 0.6, 0.1], [0.0, 1.0, 0.3]], &device);
    /// let plain = MultipleNegativesRankingLossConfig::new().init(&device);
    /// let loss = MatryoshkaLossConfig::new(vec![3, 2]).init(plain.clone());
    ///
    /// let both = loss.forward_ranking(&RankingBatch::new(queries(), documents()));
    /// let whole = plain.forward(&RankingBatch::new(queries(), documents()));
    /// let short = plain.forward(&RankingBatch::new(queries().narrow(1, 0, 2), documents().narrow(1, 0, 2)));
    /// assert!((both - whole - short).abs().into_scalar::<f32>() < 1e-5);
    /// ```
    #[track_caller]
    pub fn forward_ranking(&self, batch: &RankingBatch) -> Tensor<1> {
        let (dim, dtype) = batch.dim_and_precision();
        cast_to(self.sum(dim, |loss, lengths| loss.forward_of_lengths(batch, lengths)), dtype)
    }
}

/// The first numbers of every row.
pub(crate) fn cut(rows: &Tensor<2>, length: usize) -> Tensor<2> {
    if rows.dims()[1] == length { rows.clone() } else { rows.clone().narrow(1, 0, length) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pairs::{DecoupledContrastiveLossConfig, InfoNceLossConfig, TemperatureMode};
    use burn::tensor::{DType, Device};

    fn rows() -> Tensor<2> {
        Tensor::from_data([[1.0_f32, 0.0, 3.0], [3.0, 4.0, 0.0], [0.0, 2.0, 1.0]], &Device::flex())
    }

    fn labels() -> Tensor<1, Int> {
        Tensor::from_ints([1, 1, 2], &Device::flex())
    }

    #[test]
    fn rows_are_normalised_after_the_cut() {
        let plain = InfoNceLossConfig::new().with_temperature(0.5).init(&Device::flex());
        let loss = MatryoshkaLossConfig::new(vec![2]).with_weights(Some(vec![3.0])).init(plain);
        let losses = loss.forward_no_reduction(rows(), labels()).try_into_vec_as::<f32>().unwrap();

        // By hand, as in InfoNceLoss: the cosines of the first two numbers are 0.6 (rows 0 and 1), 0 and 0.8.
        let first = 3.0 * (1.0 + (0.0_f32 - 1.2).exp()).ln();
        let second = 3.0 * (1.0 + (1.6_f32 - 1.2).exp()).ln();
        assert!((losses[0] - first).abs() < 1e-5 && (losses[1] - second).abs() < 1e-5, "{losses:?}");
    }

    #[test]
    fn a_temperature_is_one_for_all_lengths_and_has_the_gradient_of_all() {
        let device = Device::flex().autodiff();
        let config = InfoNceLossConfig::new().with_temperature(0.5).with_temperature_mode(TemperatureMode::Learned);
        let plain = config.init(&device);
        let log_scale = plain.temperature.log_scale.as_ref().unwrap().val();
        let slope = |value: Tensor<1>| log_scale.grad(&value.backward()).unwrap().into_scalar::<f32>();
        let moved = |rows: Tensor<2>| Tensor::from_inner(rows);
        let labels = || Tensor::from_inner(labels());
        let apart = slope(plain.forward(moved(rows()), labels()))
            + slope(plain.forward(moved(rows().narrow(1, 0, 1)), labels()));

        let loss = MatryoshkaLossConfig::new(vec![3, 1]).init(plain.clone());
        let together = slope(loss.forward(moved(rows()), labels()));
        assert!((together - apart).abs() < 1e-5 && apart.abs() > 0.1, "{together} {apart}");
    }

    #[test]
    fn pairs_are_cut_and_come_back_in_their_precision() {
        let plain = InfoNceLossConfig::new().init(&Device::flex());
        let loss = MatryoshkaLossConfig::new(vec![1, 3]).init(plain.clone());
        let (first, second) = (rows(), rows().flip([0]));
        let value = loss.forward_pairs(&Pairs::symmetric(first.clone(), second.clone())).into_scalar::<f32>();
        let of = |length| {
            let pairs = Pairs::symmetric(cut(&first, length), cut(&second, length));
            plain.forward_pairs(&pairs).into_scalar::<f32>()
        };
        assert!((value - of(1) - of(3)).abs() < 1e-5);

        let half = loss.forward_pairs(&Pairs::aligned(first.cast(DType::F16), second.cast(DType::F16)));
        assert_eq!(half.dtype(), DType::F16);
    }

    #[test]
    fn lengths_that_share_their_products_have_the_losses_of_each_by_itself() {
        let device = Device::flex();
        let (first, second) = (rows(), rows().flip([0]) + 0.5);
        let identities = || Tensor::<1, Int>::from_ints([5, 7, 5], &device);
        let queue = (rows().neg(), labels());
        let forms = [
            Pairs::aligned(first.clone(), second.clone()),
            Pairs::symmetric(first.clone(), second.clone()),
            Pairs::aligned(first.clone(), second.clone()).with_identities(identities()),
            Pairs::symmetric(first.clone(), second.clone()).with_identities(identities()),
            Pairs::views(first.clone(), second.clone()),
            Pairs::queue(first.clone(), second.clone(), queue),
            Pairs::in_batch(first, labels()),
        ];
        let info_nce = InfoNceLossConfig::new().with_temperature(0.5).init(&device);
        let decoupled = DecoupledContrastiveLossConfig::new().with_weight_temperature(Some(0.5)).init(&device);
        let losses: [&dyn PairLoss; 2] = [&info_nce, &decoupled];
        for (place, pairs) in forms.into_iter().enumerate() {
            for loss in losses {
                let together = loss.forward_pairs_of_lengths(&pairs, &[3, 1, 2]);
                for (together, length) in together.into_iter().zip([3, 1, 2]) {
                    let alone = loss.forward_pairs(&pairs.cut(length)).into_scalar::<f32>();
                    let together = together.into_scalar::<f32>();
                    let name = loss.name();
                    assert!((together - alone).abs() < 1e-5, "{name}, form {place}, {length}: {together} {alone}");
                    assert!(alone != 0.0, "{name}, form {place}, {length}");
                }
            }
        }
    }

    #[test]
    #[should_panic(expected = "MatryoshkaLoss: lengths must be those of embeddings or shorter, got 4 of 3")]
    fn a_length_beyond_the_embedding_is_rejected() {
        let loss = MatryoshkaLossConfig::new(vec![2, 4]).init(InfoNceLossConfig::new().init(&Device::flex()));
        loss.forward(rows(), labels());
    }

    #[test]
    #[should_panic(expected = "MatryoshkaLoss: weights must be as many as lengths, 2, got 1")]
    fn a_weight_too_few_is_rejected() {
        let config = MatryoshkaLossConfig::new(vec![2, 3]).with_weights(Some(vec![1.0]));
        config.init(InfoNceLossConfig::new().init(&Device::flex()));
    }
}
