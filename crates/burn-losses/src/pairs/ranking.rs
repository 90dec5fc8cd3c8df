use alloc::vec;
use alloc::vec::Vec;

use burn::config::Config;
use burn::module::Module;
use burn::tensor::{DType, Device, Int, Tensor};
use burn_losses_kernels::math::{cast_to, in_host_memory, log_sum_exp, signed, softplus, unit_rows, widen};
use burn_losses_kernels::scores::{Comparison, CosineSums, Counted, Scale, Sides, cosine_sums, scores};

use super::streamed::sum_of_picks;
use super::temperature::{Temperature, TemperatureMode, times};
use crate::labels::silence;
use crate::matryoshka::cut;
use crate::reduction::EmbeddingReduction;
use crate::shape::check_shape;

/// Which rows of a batch are negatives of a query and of its document.
#[derive(Config, Debug, Copy, PartialEq, Eq)]
pub enum RankingDirection {
    /// The other documents, of a query.
    QueryToDocument,
    /// The other queries, of a query.
    QueryToQuery,
    /// The other queries, of a document.
    DocumentToQuery,
    /// The other documents, of a document.
    DocumentToDocument,
}

/// Which negatives weigh the more the nearer they are, beyond what the softmax does.
#[derive(Config, Debug, Copy, PartialEq, Eq)]
pub enum HardnessScope {
    /// All of them.
    AllNegatives,
    /// The hard negatives that were given with the batch.
    HardNegatives,
}

/// Which negatives stand in one sum.
#[derive(Config, Debug, Copy, PartialEq, Eq)]
pub enum PartitionMode {
    /// Those of all directions, with the positive once.
    Joint,
    /// Those of each direction with a positive of their own; the loss is the mean of the two. The directions between queries and
    /// documents alone: in the others there is no positive.
    PerDirection,
}

/// Settings of [`MultipleNegativesRankingLoss`].
#[derive(Config, Debug)]
pub struct MultipleNegativesRankingLossConfig {
    /// What cosines are divided by; in `[1e-6, 1e6]`. A `scale` of 20 elsewhere.
    /// Default: `0.05`.
    #[config(default = 0.05)]
    pub temperature: f64,
    /// Whether the temperature is trained.
    /// Default: `TemperatureMode::Fixed`.
    #[config(default = "TemperatureMode::Fixed")]
    pub temperature_mode: TemperatureMode,
    /// Which rows are negatives; [`QueryToDocument`](RankingDirection::QueryToDocument) must be among them.
    /// Default: `alloc::vec![RankingDirection::QueryToDocument]`.
    #[config(default = "alloc::vec![RankingDirection::QueryToDocument]")]
    pub directions: Vec<RankingDirection>,
    /// Which of these stand in one sum.
    /// Default: `PartitionMode::Joint`.
    #[config(default = "PartitionMode::Joint")]
    pub partition_mode: PartitionMode,
    /// How much a negative gains by its own cosine, a constant of the gradient; `>= 0` and finite. LLaVE uses 9.
    /// Default: `0.0`.
    #[config(default = 0.0)]
    pub hardness: f64,
    /// Which negatives do.
    /// Default: `HardnessScope::AllNegatives`.
    #[config(default = "HardnessScope::AllNegatives")]
    pub hardness_scope: HardnessScope,
    /// How the losses become one number.
    /// Default: `EmbeddingReduction::Mean`.
    #[config(default = "EmbeddingReduction::Mean")]
    pub reduction: EmbeddingReduction,
}

impl MultipleNegativesRankingLossConfig {
    /// Builds the loss; a learned temperature is on `device`.
    ///
    /// # Panics
    ///
    /// If a field is out of its range, or [`PartitionMode::PerDirection`] meets a direction without a positive.
    #[track_caller]
    pub fn init(&self, device: &Device) -> MultipleNegativesRankingLoss {
        let Self { temperature, temperature_mode, directions, partition_mode, hardness, hardness_scope, reduction } =
            self.clone();
        assert!(
            directions.contains(&RankingDirection::QueryToDocument),
            "MultipleNegativesRankingLoss: directions must have QueryToDocument among them, got {directions:?}"
        );
        let has_positive = |way: &RankingDirection| {
            matches!(way, RankingDirection::QueryToDocument | RankingDirection::DocumentToQuery)
        };
        assert!(
            partition_mode == PartitionMode::Joint || directions.iter().all(has_positive),
            "MultipleNegativesRankingLoss: PerDirection is for QueryToDocument and DocumentToQuery, got {directions:?}"
        );
        assert!(
            hardness >= 0.0 && hardness.is_finite(),
            "MultipleNegativesRankingLoss: hardness must be >= 0 and finite, got {hardness}"
        );
        let temperature = Temperature::new("MultipleNegativesRankingLoss", temperature, temperature_mode, device);
        MultipleNegativesRankingLoss { temperature, directions, partition_mode, hardness, hardness_scope, reduction }
    }
}

/// Queries and their documents, and what else a query is told from: what [`MultipleNegativesRankingLoss`] takes.
#[derive(Clone, Debug)]
pub struct RankingBatch {
    queries: Tensor<2>,
    documents: Tensor<2>,
    hard_negatives: Vec<Tensor<2>>,
    identities: Option<Tensor<1, Int>>,
}

impl RankingBatch {
    /// Queries, each with its document.
    ///
    /// # Shapes
    ///
    /// - queries: `[batch, embedding_dim]`
    /// - documents: `[batch, embedding_dim]`; row `i` is the positive of query `i`
    ///
    /// # Panics
    ///
    /// If the shapes do not agree, or `embedding_dim` is 0.
    #[track_caller]
    pub fn new(queries: Tensor<2>, documents: Tensor<2>) -> Self {
        let dims @ [_, dim] = queries.dims();
        assert!(dim >= 1, "RankingBatch: queries must have at least one column");
        check_shape("RankingBatch", "documents", documents.dims(), dims);
        Self { queries, documents, hard_negatives: Vec::new(), identities: None }
    }

    /// And a document that was found to be close to each query and is wrong; may be called several times. All of them are
    /// negatives of all queries.
    ///
    /// # Shapes
    ///
    /// - documents: `[batch, embedding_dim]`
    ///
    /// # Panics
    ///
    /// If the shapes do not agree.
    #[track_caller]
    #[must_use]
    pub fn with_hard_negatives(mut self, documents: Tensor<2>) -> Self {
        check_shape("RankingBatch", "hard negatives", documents.dims(), self.queries.dims());
        self.hard_negatives.push(documents);
        self
    }

    /// And what each pair is about: rows of the same identity are not negatives of each other, a negative one leaves the
    /// whole row out, its hard negatives with it.
    ///
    /// # Shapes
    ///
    /// - identities: `[batch]`
    ///
    /// # Panics
    ///
    /// If the shapes do not agree.
    #[track_caller]
    #[must_use]
    pub fn with_identities(self, identities: Tensor<1, Int>) -> Self {
        check_shape("RankingBatch", "identities", identities.dims(), [self.queries.dims()[0]]);
        Self { identities: Some(signed(identities)), ..self }
    }

    /// How long the embeddings are, and what precision losses come back in.
    pub(crate) fn dim_and_precision(&self) -> (usize, DType) {
        (self.queries.dims()[1], self.queries.dtype())
    }

    /// The first numbers of every row.
    pub(crate) fn cut(&self, length: usize) -> Self {
        let [queries, documents] = [&self.queries, &self.documents].map(|rows| cut(rows, length));
        let hard_negatives = self.hard_negatives.iter().map(|rows| cut(rows, length)).collect();
        Self { queries, documents, hard_negatives, identities: self.identities.clone() }
    }
}

/// Ranks the document of a query before all others of the batch, and before hard negatives: the loss that embedding models
/// for search are trained with.
///
/// ```text
/// score[a, b]  = cosine(a, b) / temperature
/// negatives[i] = log(sum of exp(score + hardness·cosine) over the negatives of query i, of all directions)
/// loss[i]      = softplus(negatives[i] - score[query[i], document[i]])
/// ```
///
/// The hardness is a constant of the gradient. Negatives are, by [`RankingDirection`], the other documents of a query, and
/// with them all hard negatives; the other queries of a query; and of its document the other queries and the other
/// documents. All stand in one sum, where the positive is counted once; with [`PartitionMode::PerDirection`] a query has one sum and
/// its document another, and the loss is the mean of the two. With the first direction alone, no hard negatives
/// and no hardness it is [`InfoNceLoss`](super::InfoNceLoss) on [`Pairs::aligned`](super::Pairs::aligned); both ways
/// with a sum of their own it is that on [`Pairs::symmetric`](super::Pairs::symmetric).
///
/// Two questions with one answer, or a document twice in a batch, are negatives of each other that are none: give
/// [`identities`](RankingBatch::with_identities). Memory is `O(batch·dim)`, and up to 32 MiB of scores that are kept for each of up
/// to three sums. In host memory `forward` of queries that look for their documents alone, without hardness and identities, computes the
/// gradient of what is tracked, too, and holds it until the backward pass or the loss is gone: a loss that is only looked at belongs on
/// the model's `valid()`.
///
/// # When to take it
///
/// For search: queries and documents, questions and answers, with negatives that a search engine has found. For image and
/// text [`InfoNceLoss`](super::InfoNceLoss).
///
/// # Deviations
///
/// sentence-transformers has the positive in its joint sum once for each direction that goes between queries and
/// documents; here it is there once. A temperature that is learned does not fall below 0.01.
///
/// # Source
///
/// Henderson et al.: [Efficient Natural Language Response Suggestion for Smart
/// Reply](https://arxiv.org/abs/1705.00652), 2017, section 4.4; Li et al.: [Towards General Text Embeddings with Multi-stage
/// Contrastive Learning](https://arxiv.org/abs/2308.03281), 2023, section 3.3 (the directions); Lan et al.:
/// [LLaVE](https://arxiv.org/abs/2503.04812), 2025, equation 5 (the hardness).
///
/// # Example
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use burn_losses::pairs::{MultipleNegativesRankingLossConfig, RankingBatch};
///
/// let device = Device::default();
/// let rows = |rows: [[f32; 2]; 2]| Tensor::<2>::from_data(rows, &device);
/// let batch = RankingBatch::new(rows([[1.0, 0.0], [0.0, 1.0]]), rows([[2.0, 0.0], [0.0, 2.0]]))
///     .with_hard_negatives(rows([[-1.0, 0.0], [0.0, -1.0]]));
/// let loss = MultipleNegativesRankingLossConfig::new().with_temperature(1.0).init(&device).forward(&batch);
/// // Of three negatives two have cosine 0 and one -1; the own document has 1.
/// let expected = ((2.0 + (-1.0_f32).exp()) / 1.0_f32.exp()).ln_1p();
/// assert!((loss.into_scalar::<f32>() - expected).abs() < 1e-6);
/// ```
#[derive(Module, Debug)]
pub struct MultipleNegativesRankingLoss {
    /// What cosines are divided by.
    pub temperature: Temperature,
    #[module(skip)]
    directions: Vec<RankingDirection>,
    #[module(skip)]
    partition_mode: PartitionMode,
    hardness: f64,
    #[module(skip)]
    hardness_scope: HardnessScope,
    #[module(skip)]
    reduction: EmbeddingReduction,
}

impl MultipleNegativesRankingLoss {
    /// The loss of a batch; a mean is over the queries that have an identity, or over all.
    ///
    /// # Shapes
    ///
    /// - output: `[1]`
    #[track_caller]
    pub fn forward(&self, batch: &RankingBatch) -> Tensor<1> {
        if let Some(loss) = self.at_once(batch) {
            return loss;
        }
        let (dim, _) = batch.dim_and_precision();
        if self.is_both_ways()
            && let Some(mut losses) = self.together(batch, &[dim])
        {
            return losses.remove(0);
        }
        let losses = self.forward_no_reduction(batch);
        match &batch.identities {
            None => self.reduction.apply(losses),
            Some(identities) => self.reduction.apply_valid(losses, identities.clone().greater_equal_scalar(0)),
        }
    }

    /// The loss of the first numbers of each row, for each of the lengths, `[1]` each.
    #[track_caller]
    pub(crate) fn forward_of_lengths(&self, batch: &RankingBatch, lengths: &[usize]) -> Vec<Tensor<1>> {
        let shared = if lengths.len() > 1 { self.together(batch, lengths) } else { None };
        shared.unwrap_or_else(|| lengths.iter().map(|&length| self.forward(&batch.cut(length))).collect())
    }

    /// Whether queries and documents look for each other, with a sum for each direction.
    fn is_both_ways(&self) -> bool {
        let both = [RankingDirection::QueryToDocument, RankingDirection::DocumentToQuery];
        self.partition_mode == PartitionMode::PerDirection && both.iter().all(|way| self.directions.contains(way))
    }

    /// The same where lengths and directions share their products: where every row has one positive, and all rows of the other side
    /// as negatives, that weigh what they weigh.
    fn together(&self, batch: &RankingBatch, lengths: &[usize]) -> Option<Vec<Tensor<1>>> {
        let [count, _] = batch.queries.dims();
        let both = self.is_both_ways() && batch.hard_negatives.is_empty();
        let is_plain = both || self.directions == [RankingDirection::QueryToDocument];
        if !is_plain || self.hardness != 0.0 || batch.identities.is_some() || count == 0 {
            return None;
        }
        let first = widen(batch.queries.clone());
        let scale = self.temperature.scale(first.dtype());
        let documents = core::iter::once(&batch.documents).chain(&batch.hard_negatives);
        let documents: Vec<_> = documents.map(|rows| cast_to(widen(rows.clone()), first.dtype())).collect();
        // A hard negative is of a label of its own.
        let labels = [count, count * documents.len()].map(|rows| Tensor::arange(0..rows as i64, &first.device()));
        let sides = Sides { first, second: Tensor::cat(documents, 0), labels };
        let loss = |sums: CosineSums| {
            let own = times(sums.own, &scale);
            let mut losses = softplus(sums.first - own.clone());
            if let Some(second) = sums.second {
                losses = (losses + softplus(second - own)).mul_scalar(0.5);
            }
            cast_to(self.reduction.apply(losses), batch.queries.dtype())
        };
        Some(cosine_sums(sides, lengths, both, scale.clone()).into_iter().map(loss).collect())
    }

    /// The sum or the mean where all documents but its own are the negatives of a query, and weigh what they weigh; `None` where there
    /// is no one pass for it.
    fn at_once(&self, batch: &RankingBatch) -> Option<Tensor<1>> {
        let [count, _] = batch.queries.dims();
        let is_plain = self.directions == [RankingDirection::QueryToDocument] && self.hardness == 0.0;
        let is_plain = is_plain && batch.identities.is_none() && self.reduction != EmbeddingReduction::MeanNonZero;
        if !is_plain || count == 0 || !in_host_memory(&batch.queries.device()) {
            return None;
        }
        let queries = unit_rows(widen(batch.queries.clone()));
        let documents = core::iter::once(&batch.documents).chain(&batch.hard_negatives);
        let documents = documents.map(|rows| unit_rows(cast_to(widen(rows.clone()), queries.dtype()))).collect();
        let scale = self.temperature.scale(queries.dtype());
        let sum = sum_of_picks(queries, Tensor::cat(documents, 0), &scale)?;
        let share = if self.reduction == EmbeddingReduction::Mean { 1.0 / count as f64 } else { 1.0 };
        Some(cast_to(sum.mul_scalar(share), batch.queries.dtype()))
    }

    /// The loss of every query.
    ///
    /// # Shapes
    ///
    /// - output: `[batch]`
    #[track_caller]
    pub fn forward_no_reduction(&self, batch: &RankingBatch) -> Tensor<1> {
        let dtype = batch.queries.dtype();
        let [count, _] = batch.queries.dims();
        if count == 0 {
            return batch.queries.clone().reshape([0]);
        }
        let queries = widen(batch.queries.clone());
        let device = queries.device();
        let identities = match &batch.identities {
            Some(identities) => identities.clone(),
            None => signed(Tensor::arange(0..count as i64, &device)),
        };
        let known = identities.clone().greater_equal_scalar(0);
        let unit = |rows: Tensor<2>| {
            let rows = cast_to(widen(rows), queries.dtype());
            unit_rows(if batch.identities.is_some() { silence(rows, known.clone()) } else { rows })
        };
        let [queries, documents] = [queries.clone(), batch.documents.clone()].map(unit);
        let scale = self.temperature.scale(queries.dtype());
        let has = |direction| self.directions.contains(&direction);
        let keys = |of_documents: bool, of_queries: bool| {
            let rows = [(of_documents, &documents), (of_queries, &queries)];
            let rows: Vec<_> = rows.into_iter().filter(|(is_in, _)| *is_in).map(|(_, rows)| rows.clone()).collect();
            let labels = vec![identities.clone(); rows.len()];
            (!rows.is_empty()).then(|| (Tensor::cat(rows, 0), Tensor::cat(labels, 0)))
        };
        let hardness = if self.hardness_scope == HardnessScope::AllNegatives { self.hardness } else { 0.0 };
        let sum = |rows: &Tensor<2>, labels: &Tensor<1, Int>, keys: Option<(Tensor<2>, Tensor<1, Int>)>, hardness| {
            let (keys, of_keys) = keys?;
            Some(log_sum(rows.clone(), keys, labels.clone(), of_keys, &scale, hardness).unsqueeze_dim::<2>(1))
        };
        let of_query = sum(&queries, &identities, keys(true, has(RankingDirection::QueryToQuery)), hardness);
        let (to_documents, to_queries) =
            (has(RankingDirection::DocumentToDocument), has(RankingDirection::DocumentToQuery));
        let of_document = sum(&documents, &identities, keys(to_documents, to_queries), hardness);
        let of_hard = if batch.hard_negatives.is_empty() {
            None
        } else {
            let rows: Vec<_> = batch.hard_negatives.iter().cloned().map(unit).collect();
            let slots = identities.clone().clamp(-1, 0);
            let slots = Tensor::cat(vec![slots; rows.len()], 0);
            // A query with a negative label is compared with all of them.
            let nobody = identities.clone().full_like(-1);
            sum(&queries, &nobody, Some((Tensor::cat(rows, 0), slots)), self.hardness)
        };
        let own = times((queries * documents).sum_dim(1).squeeze_dim::<1>(1), &scale);
        let of_query = of_query.into_iter().chain(of_hard);
        let behind = |sums: Vec<Tensor<2>>| softplus(log_sum_exp(Tensor::cat(sums, 1)) - own.clone());
        let losses = match (self.partition_mode, of_document) {
            (PartitionMode::PerDirection, Some(of_document)) => {
                (behind(of_query.collect()) + behind(vec![of_document])).mul_scalar(0.5)
            }
            (_, of_document) => behind(of_query.chain(of_document).collect()),
        };

        cast_to(losses.mask_fill(known.bool_not(), 0.0), dtype)
    }
}

/// `log(sum over the keys of another label of exp((scale + hardness)·<row, key>))`, whose gradient is that without hardness
/// but for the weights of the terms, `[rows]`.
fn log_sum(
    rows: Tensor<2>,
    keys: Tensor<2>,
    labels: Tensor<1, Int>,
    of_keys: Tensor<1, Int>,
    scale: &Scale,
    hardness: f64,
) -> Tensor<1> {
    let sum = |rows: Tensor<2>, keys: Tensor<2>, scale: Scale| {
        let counted = Counted::OtherLabels(of_keys.clone());
        scores(rows, keys, labels.clone(), Comparison { counted, ..Comparison::new(scale) }).sum
    };
    if hardness == 0.0 {
        return sum(rows, keys, scale.clone());
    }
    // All terms have the slope of `scale + hardness` in a product, of which only that of `scale` is to be.
    match scale {
        Scale::Constant(scale) => {
            let sum = sum(rows, keys, Scale::Constant(scale + hardness));
            let share = scale / (scale + hardness);
            sum.clone().detach().mul_scalar(1.0 - share) + sum.mul_scalar(share)
        }
        Scale::Tensor(scale) => {
            let total = scale.clone().add_scalar(hardness);
            // What the scale itself has a gradient by.
            let of_scale = sum(rows.clone().detach(), keys.clone().detach(), Scale::Tensor(total.clone()));
            let nothing = of_scale.clone() - of_scale.detach();
            let total = total.detach();
            let sum = sum(rows, keys, Scale::Tensor(total.clone()));
            let share = (scale.clone().detach() / total).expand(sum.dims());
            let rest = share.clone().neg().add_scalar(1.0);
            sum.clone().detach() * rest + sum * share + nothing
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(rows: [[f32; 2]; 2]) -> Tensor<2> {
        Tensor::from_data(rows, &Device::flex())
    }

    fn batch() -> RankingBatch {
        RankingBatch::new(rows([[1.0, 0.0], [0.0, 2.0]]), rows([[0.6, 0.8], [0.0, 1.0]]))
    }

    fn close(actual: Tensor<1>, expected: &[f32]) {
        let actual = actual.try_into_vec_as::<f32>().unwrap();
        assert!(actual.iter().zip(expected).all(|(a, e)| (a - e).abs() < 1e-5), "{actual:?} {expected:?}");
        assert_eq!(actual.len(), expected.len());
    }

    fn config() -> MultipleNegativesRankingLossConfig {
        MultipleNegativesRankingLossConfig::new().with_temperature(1.0)
    }

    #[test]
    fn every_direction_brings_its_negatives() {
        use RankingDirection::{DocumentToDocument, DocumentToQuery, QueryToDocument, QueryToQuery};

        // By hand: own cosines 0.6 and 1; query to other document 0 and 0.8; queries 0; documents 0.8; document to other
        // query 0.8 and 0.
        let loss = |own: f32, negatives: &[f32]| (negatives.iter().map(|n| (n - own).exp()).sum::<f32>()).ln_1p();
        let run = |directions: &[RankingDirection]| {
            let loss = config().with_directions(directions.to_vec()).init(&Device::flex());
            loss.forward_no_reduction(&batch())
        };
        close(run(&[QueryToDocument]), &[loss(0.6, &[0.0]), loss(1.0, &[0.8])]);
        close(run(&[QueryToDocument, QueryToQuery]), &[loss(0.6, &[0.0, 0.0]), loss(1.0, &[0.8, 0.0])]);
        close(run(&[DocumentToQuery, QueryToDocument]), &[loss(0.6, &[0.0, 0.8]), loss(1.0, &[0.8, 0.0])]);
        close(
            run(&[QueryToDocument, QueryToQuery, DocumentToQuery, DocumentToDocument]),
            &[loss(0.6, &[0.0, 0.0, 0.8, 0.8]), loss(1.0, &[0.8, 0.0, 0.0, 0.8])],
        );
    }

    #[test]
    fn each_direction_may_have_a_sum_of_its_own() {
        use RankingDirection::{DocumentToQuery, QueryToDocument};

        let config = config().with_partition_mode(PartitionMode::PerDirection);
        // By hand: own cosines 0.6 and 1; query to other document 0 and 0.8; document to other query 0.8 and 0.
        let loss = |own: f32, negative: f32| (negative - own).exp().ln_1p();
        let both = config.clone().with_directions(vec![QueryToDocument, DocumentToQuery]).init(&Device::flex());
        let expected = [(loss(0.6, 0.0) + loss(0.6, 0.8)) / 2.0, (loss(1.0, 0.8) + loss(1.0, 0.0)) / 2.0];
        close(both.forward_no_reduction(&batch()), &expected);
        close(config.init(&Device::flex()).forward_no_reduction(&batch()), &[loss(0.6, 0.0), loss(1.0, 0.8)]);
    }

    #[test]
    #[should_panic(
        expected = "MultipleNegativesRankingLoss: PerDirection is for QueryToDocument and DocumentToQuery, got"
    )]
    fn a_direction_without_a_positive_has_no_sum_of_its_own() {
        let directions = vec![RankingDirection::QueryToDocument, RankingDirection::QueryToQuery];
        config().with_directions(directions).with_partition_mode(PartitionMode::PerDirection).init(&Device::flex());
    }

    #[test]
    fn hardness_raises_negatives_and_not_the_positive() {
        let hard = || batch().with_hard_negatives(rows([[1.0, 0.0], [3.0, 4.0]]));
        // By hand: the hard negatives have cosines 1 and 0.6 with the first query, 0 and 0.8 with the second.
        let all = config().with_hardness(2.0).init(&Device::flex());
        let loss = |own: f32, negatives: &[f32]| (negatives.iter().map(|n| (n - own).exp()).sum::<f32>()).ln_1p();
        close(all.forward_no_reduction(&hard()), &[loss(0.6, &[0.0, 3.0, 1.8]), loss(1.0, &[2.4, 0.0, 2.4])]);
        let given = config().with_hardness(2.0).with_hardness_scope(HardnessScope::HardNegatives).init(&Device::flex());
        close(given.forward_no_reduction(&hard()), &[loss(0.6, &[0.0, 3.0, 1.8]), loss(1.0, &[0.8, 0.0, 2.4])]);
    }

    #[test]
    #[should_panic(expected = "MultipleNegativesRankingLoss: directions must have QueryToDocument among them")]
    fn a_ranking_without_documents_is_rejected() {
        config().with_directions(vec![RankingDirection::QueryToQuery]).init(&Device::flex());
    }
}
