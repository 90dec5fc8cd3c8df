use burn::config::Config;
use burn::module::Module;
use burn::tensor::{Bool, Device, Int, Tensor};
use burn_losses_kernels::math::{NOTHING, cast_to, log_sum_exp, unit_rows, widen};

use super::masked::inside;
use super::temperature::check_temperature;
use crate::labels::silence;
use crate::reduction::EmbeddingReduction;
use crate::shape::check_shape;

/// Settings of [`MultiLabelSupConLoss`].
#[derive(Config, Debug)]
pub struct MultiLabelSupConLossConfig {
    /// What cosines are divided by; in `[1e-6, 1e6]`.
    /// Default: `0.1`.
    #[config(default = 0.1)]
    pub temperature: f64,
    /// How much two sets of labels must have in common to make a positive pair: the size of their intersection through that of
    /// their union, inclusive; in `(0, 1]`.
    /// Default: `0.5`.
    #[config(default = 0.5)]
    pub overlap: f64,
    /// How the losses become one number.
    /// Default: `EmbeddingReduction::Mean`.
    #[config(default = "EmbeddingReduction::Mean")]
    pub reduction: EmbeddingReduction,
}

impl MultiLabelSupConLossConfig {
    /// Builds the loss for embeddings on `device`.
    ///
    /// # Panics
    ///
    /// If a field is out of its range.
    #[track_caller]
    pub fn init(&self, _device: &Device) -> MultiLabelSupConLoss {
        let Self { temperature, overlap, reduction } = *self;
        check_temperature("MultiLabelSupConLoss", temperature);
        assert!(overlap > 0.0 && overlap <= 1.0, "MultiLabelSupConLoss: overlap must be in (0, 1], got {overlap}");
        MultiLabelSupConLoss { temperature, overlap, reduction }
    }
}

/// Supervised contrastive loss of samples with several labels each: they attract each other by how much they have in
/// common.
///
/// ```text
/// common[i, j] = |labels[i] and labels[j]| / |labels[i] or labels[j]|
/// all[i]       = log(sum over j != i of exp(score[i, j])),   score = cosine / temperature
/// loss[i]      = mean over the j with common[i, j] >= overlap of common[i, j]·(all[i] - score[i, j])
/// ```
///
/// A row without a single label is in no pair, like one with a negative label elsewhere. A row without a positive has loss 0
/// and no part in a mean. With one label each it is [`SupConLoss`](super::SupConLoss). Memory is a few matrices of
/// `[batch, batch]`.
///
/// # When to take it
///
/// For samples with several labels at once, such as tags of pictures or subjects of papers. With one label each take
/// [`SupConLoss`](super::SupConLoss), which holds no matrix.
///
/// # Deviations
///
/// pytorch-metric-learning 3 takes two rows without a label for equal; here they are in no pair.
///
/// # Source
///
/// Zhang, Wu: [Multi-Label Supervised Contrastive Learning](https://ojs.aaai.org/index.php/AAAI/article/view/29619), 2024,
/// and pytorch-metric-learning's `MultiSupConLoss`, whose formula this is.
///
/// # Example
///
/// ```
/// use burn::tensor::{Bool, Device, Tensor};
/// use burn_losses::pairs::MultiLabelSupConLossConfig;
///
/// let device = Device::default();
/// let embeddings = Tensor::<2>::from_data([[1.0, 0.0], [2.0, 0.0], [3.0, 0.0]], &device);
/// let labels = Tensor::<2, Bool>::from_data([[true, true], [true, false], [true, true]], &device);
/// let loss = MultiLabelSupConLossConfig::new().init(&device).forward_no_reduction(embeddings, labels);
/// let losses = loss.into_data().to_vec::<f32>().unwrap();
/// // All rows look the same. The first has half in common with the second, and all with the third.
/// assert!((losses[0] - 0.75 * 2.0_f32.ln()).abs() < 1e-5 && (losses[1] - 0.5 * 2.0_f32.ln()).abs() < 1e-5);
/// ```
#[derive(Module, Debug)]
pub struct MultiLabelSupConLoss {
    temperature: f64,
    overlap: f64,
    #[module(skip)]
    reduction: EmbeddingReduction,
}

impl MultiLabelSupConLoss {
    /// The loss of a batch; a mean is over the rows that have a positive.
    ///
    /// # Shapes
    ///
    /// - embeddings: `[batch, embedding_dim]`
    /// - labels: `[batch, labels]`, which of all labels a row has
    /// - output: `[1]`
    ///
    /// # Panics
    ///
    /// If the shapes do not agree.
    #[track_caller]
    pub fn forward(&self, embeddings: Tensor<2>, labels: Tensor<2, Bool>) -> Tensor<1> {
        if embeddings.dims()[0] == 0 {
            return embeddings.sum().add_scalar(0.0);
        }
        let dtype = embeddings.dtype();
        let (losses, counted) = self.losses(embeddings, labels);
        cast_to(self.reduction.apply_valid(losses, counted), dtype)
    }

    /// The loss of every row.
    ///
    /// # Shapes
    ///
    /// - embeddings: `[batch, embedding_dim]`
    /// - labels: `[batch, labels]`
    /// - output: `[batch]`
    ///
    /// # Panics
    ///
    /// As [`forward`](Self::forward).
    #[track_caller]
    pub fn forward_no_reduction(&self, embeddings: Tensor<2>, labels: Tensor<2, Bool>) -> Tensor<1> {
        if embeddings.dims()[0] == 0 {
            return embeddings.reshape([0]);
        }
        let dtype = embeddings.dtype();
        cast_to(self.losses(embeddings, labels).0, dtype)
    }

    fn losses(&self, embeddings: Tensor<2>, labels: Tensor<2, Bool>) -> (Tensor<1>, Tensor<1, Bool>) {
        let ([batch, _], [_, count]) = (embeddings.dims(), labels.dims());
        check_shape("MultiLabelSupConLoss", "labels", labels.dims(), [batch, count]);
        assert!(count >= 1, "MultiLabelSupConLoss: labels must have at least one column");
        let shape = [batch, batch];
        let known = labels.clone().any_dim(1);
        let rows = unit_rows(silence(widen(embeddings), known.clone().squeeze_dim(1)));
        let options = (&rows.device(), rows.dtype());
        let pairs = {
            let places = Tensor::<1, Int>::arange(0..batch as i64, &rows.device());
            let itself =
                places.clone().unsqueeze_dim::<2>(1).expand(shape).equal(places.unsqueeze_dim::<2>(0).expand(shape));
            let known = known.clone().expand(shape).bool_and(known.transpose().expand(shape));
            known.bool_and(itself.bool_not())
        };
        let has = Tensor::<2>::zeros([batch, count], options).mask_fill(labels, 1.0);
        let both = has.clone().matmul(has.clone().transpose());
        let size = has.sum_dim(1);
        let either = size.clone().expand(shape) + size.transpose().expand(shape) - both.clone();
        let common = both / either.clamp_min(1.0);
        // Whole numbers through whole numbers: one rounding, and the bound is rounded likewise.
        let positive = pairs.clone().bool_and(common.clone().greater_equal_scalar(self.overlap));
        let common = inside(positive.clone(), common, |common| common);

        let scores = rows.clone().matmul(rows.transpose()).mul_scalar(1.0 / self.temperature);
        let all = log_sum_exp(scores.clone().mask_fill(pairs.bool_not(), NOTHING)).unsqueeze_dim::<2>(1).expand(shape);
        let behind = inside(positive.clone(), all - scores, |behind| behind);
        let counts = common.zeros_like().mask_fill(positive.clone(), 1.0).sum_dim(1).squeeze_dim::<1>(1);
        let sums = (behind * common).sum_dim(1).squeeze_dim::<1>(1);

        (sums / counts.clone().clamp_min(1.0), counts.greater_scalar(0.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn losses(labels: [[bool; 3]; 3]) -> alloc::vec::Vec<f32> {
        let device = Device::flex();
        let embeddings = Tensor::<2>::from_data([[1.0_f32, 0.0], [3.0, 4.0], [0.0, 2.0]], &device);
        let loss = MultiLabelSupConLossConfig::new().with_temperature(0.5).init(&device);
        let losses = loss.forward_no_reduction(embeddings, Tensor::from_data(labels, &device));
        losses.try_into_vec_as().unwrap()
    }

    #[test]
    fn a_half_in_common_is_enough_and_counts_half() {
        // By hand: cosines 0.6 (rows 0 and 1), 0 (0 and 2), 0.8 (1 and 2); divided by 0.5. In common are 1/2, 0 and 1/3.
        let losses = losses([[true, false, false], [true, true, false], [false, true, true]]);
        let all = |a: f32, b: f32| (a.exp() + b.exp()).ln();
        assert!((losses[0] - 0.5 * (all(1.2, 0.0) - 1.2)).abs() < 1e-6, "{losses:?}");
        assert!((losses[1] - 0.5 * (all(1.2, 1.6) - 1.2)).abs() < 1e-6, "{losses:?}");
        assert_eq!(losses[2], 0.0);
    }

    #[test]
    fn a_row_without_a_label_is_nowhere() {
        let losses = losses([[true, false, false], [true, false, false], [false; 3]]);
        // Rows 0 and 1 have each other alone: the denominator is the positive.
        assert!(losses[..2].iter().all(|loss| loss.abs() < 1e-6), "{losses:?}");
        assert_eq!(losses[2], 0.0);
    }

    #[test]
    #[should_panic(expected = "MultiLabelSupConLoss: overlap must be in (0, 1], got 0")]
    fn an_overlap_of_nothing_is_rejected() {
        MultiLabelSupConLossConfig::new().with_overlap(0.0).init(&Device::flex());
    }
}
