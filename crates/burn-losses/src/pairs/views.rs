//! The forms of [`InfoNceLoss`] where every row has one positive, at a known place: no matrix of pairs is made.

use burn::tensor::{Int, Tensor, assert_shape};
use burn_losses_kernels::logsumexp::{KeyLabels, Streaming, streamed_logsumexp};
use burn_losses_kernels::math::{cast_to, signed, softplus, unit_rows, widen};

use super::InfoNceLoss;
use super::temperature::times;
use crate::reduction::EmbeddingReduction;

impl InfoNceLoss {
    /// The reduced loss of two views of the same samples, in both directions: SimCLR's NT-Xent.
    ///
    /// # Shapes
    ///
    /// - first: `[batch, embedding_dim]`, of any length
    /// - second: `[batch, embedding_dim]`; row `i` is the other view of row `i`
    /// - output: `[1]`
    ///
    /// # Panics
    ///
    /// If the shapes do not agree.
    pub fn forward_views(&self, first: Tensor<2>, second: Tensor<2>, reduction: EmbeddingReduction) -> Tensor<1> {
        if first.dims()[0] == 0 {
            return self.nothing_of(first, second);
        }
        reduction.apply(self.forward_views_no_reduction(first, second))
    }

    /// The loss of every view: those of `first`, then those of `second`.
    ///
    /// # Shapes
    ///
    /// - first: `[batch, embedding_dim]`
    /// - second: `[batch, embedding_dim]`
    /// - output: `[2·batch]`
    ///
    /// # Panics
    ///
    /// As [`forward_views`](Self::forward_views).
    pub fn forward_views_no_reduction(&self, first: Tensor<2>, second: Tensor<2>) -> Tensor<1> {
        let dtype = first.dtype();
        let Some((first, second)) = unit(first.clone(), second) else { return first.reshape([0]) };
        let sample = samples(&first);
        let sample = Tensor::cat(alloc::vec![sample.clone(), sample], 0);
        let own = own(&first, &second);
        let own = Tensor::cat(alloc::vec![own.clone(), own], 0);
        let views = Tensor::cat(alloc::vec![first, second], 0);

        cast_to(self.losses(own, views.clone(), views, sample.clone(), KeyLabels::Tensor(sample)), dtype)
    }

    /// The reduced loss of picking each query's key out among all keys: one direction of CLIP, whose loss is the mean
    /// of this and of the same with queries and keys exchanged.
    ///
    /// # Shapes
    ///
    /// - queries: `[batch, embedding_dim]`, of any length
    /// - keys: `[batch, embedding_dim]`; row `i` is the positive of row `i`, the others are its negatives
    /// - output: `[1]`
    ///
    /// # Panics
    ///
    /// If the shapes do not agree.
    pub fn forward_aligned(&self, queries: Tensor<2>, keys: Tensor<2>, reduction: EmbeddingReduction) -> Tensor<1> {
        if queries.dims()[0] == 0 {
            return self.nothing_of(queries, keys);
        }
        reduction.apply(self.forward_aligned_no_reduction(queries, keys))
    }

    /// The loss of every query.
    ///
    /// # Shapes
    ///
    /// - queries: `[batch, embedding_dim]`
    /// - keys: `[batch, embedding_dim]`
    /// - output: `[batch]`
    ///
    /// # Panics
    ///
    /// As [`forward_aligned`](Self::forward_aligned).
    pub fn forward_aligned_no_reduction(&self, queries: Tensor<2>, keys: Tensor<2>) -> Tensor<1> {
        let dtype = queries.dtype();
        let Some((rows, keys)) = unit(queries.clone(), keys) else { return queries.reshape([0]) };
        let sample = samples(&rows);

        cast_to(self.losses(own(&rows, &keys), rows, keys, sample, KeyLabels::Position), dtype)
    }

    /// The reduced loss of picking each query's key out among a queue of older keys: MoCo's. The queue is a
    /// [`CrossBatchMemory`](crate::memory::CrossBatchMemory); keys and queue need no gradient.
    ///
    /// # Shapes
    ///
    /// - queries: `[batch, embedding_dim]`, of any length
    /// - keys: `[batch, embedding_dim]`; row `i` is the positive of row `i`
    /// - queue: `[queue, embedding_dim]`; its rows are the negatives of every query
    /// - queue_labels: `[queue]`; a row with a negative label is an empty slot, other labels are not looked at
    /// - output: `[1]`
    ///
    /// # Panics
    ///
    /// If the shapes do not agree.
    pub fn forward_queue(
        &self,
        queries: Tensor<2>,
        keys: Tensor<2>,
        queue: Tensor<2>,
        queue_labels: Tensor<1, Int>,
        reduction: EmbeddingReduction,
    ) -> Tensor<1> {
        if queries.dims()[0] == 0 {
            return self.nothing_of(queries, keys);
        }
        reduction.apply(self.forward_queue_no_reduction(queries, keys, queue, queue_labels))
    }

    /// The loss of every query.
    ///
    /// # Shapes
    ///
    /// - queries: `[batch, embedding_dim]`
    /// - keys: `[batch, embedding_dim]`
    /// - queue: `[queue, embedding_dim]`
    /// - queue_labels: `[queue]`
    /// - output: `[batch]`
    ///
    /// # Panics
    ///
    /// As [`forward_queue`](Self::forward_queue).
    pub fn forward_queue_no_reduction(
        &self,
        queries: Tensor<2>,
        keys: Tensor<2>,
        queue: Tensor<2>,
        queue_labels: Tensor<1, Int>,
    ) -> Tensor<1> {
        let dtype = queries.dtype();
        let ([_, dim], [count, _]) = (queries.dims(), queue.dims());
        assert_shape!(queue, [count, dim]);
        assert_shape!(queue_labels, [count]);
        let Some((rows, keys)) = unit(queries.clone(), keys) else { return queries.reshape([0]) };
        let queue_labels = signed(queue_labels);
        let queue = cast_to(widen(queue), rows.dtype());
        let queue = if count == 0 {
            queue
        } else {
            let empty = queue_labels.clone().lower_scalar(0).unsqueeze_dim::<2>(1).expand([count, dim]);
            unit_rows(queue.mask_fill(empty, 0.0))
        };
        // A query with a negative label leaves out no key.
        let [batch, _] = rows.dims();
        let nobody = Tensor::<1, Int>::full([batch], -1, (&rows.device(), queue_labels.dtype()));

        cast_to(self.losses(own(&rows, &keys), rows, queue, nobody, KeyLabels::Tensor(queue_labels)), dtype)
    }

    fn losses(
        &self,
        own: Tensor<1>,
        queries: Tensor<2>,
        keys: Tensor<2>,
        labels: Tensor<1, Int>,
        key_labels: KeyLabels,
    ) -> Tensor<1> {
        let scale = self.temperature.scale();
        let own = times(own, &scale);
        softplus(streamed_logsumexp(queries, keys, labels, key_labels, scale, Streaming::new()) - own)
    }

    /// The reduced loss of no rows, connected to them and to the temperature.
    fn nothing_of(&self, first: Tensor<2>, second: Tensor<2>) -> Tensor<1> {
        let dims = first.dims();
        assert_shape!(second, [dims[0], dims[1]]);
        self.temperature.connected(first.sum().add_scalar(0.0))
    }
}

/// Both divided by their lengths, if there are any.
fn unit(first: Tensor<2>, second: Tensor<2>) -> Option<(Tensor<2>, Tensor<2>)> {
    let [batch, dim] = first.dims();
    assert_shape!(second, [batch, dim]);
    let first = widen(first);
    let second = cast_to(widen(second), first.dtype());

    (batch > 0).then(|| (unit_rows(first), unit_rows(second)))
}

fn own(first: &Tensor<2>, second: &Tensor<2>) -> Tensor<1> {
    (first.clone() * second.clone()).sum_dim(1).squeeze_dim(1)
}

/// Which sample a row is.
fn samples(rows: &Tensor<2>) -> Tensor<1, Int> {
    Tensor::arange(0..rows.dims()[0] as i64, &rows.device())
}

#[cfg(test)]
mod tests {
    use crate::pairs::InfoNceLossConfig;
    use burn::tensor::{Device, Int, Tensor};

    fn close(actual: Tensor<1>, expected: &[f32]) {
        let actual = actual.try_into_vec_as::<f32>().unwrap();
        assert!(actual.iter().zip(expected).all(|(a, e)| (a - e).abs() < 1e-6), "{actual:?} {expected:?}");
        assert_eq!(actual.len(), expected.len());
    }

    fn rows(rows: [[f32; 2]; 2]) -> Tensor<2> {
        Tensor::from_data(rows, &Device::flex())
    }

    #[test]
    fn a_view_is_told_from_both_views_of_the_other_sample() {
        let loss = InfoNceLossConfig::new().with_temperature(1.0).init(&Device::flex());
        let (first, second) = (rows([[1.0, 0.0], [0.0, 2.0]]), rows([[0.6, 0.8], [0.0, 1.0]]));

        // By hand, from the cosines 0.6 (own of sample 0), 1 (own of sample 1), 0, 0, 0.8 and 0.8.
        let other = |own: f32, negatives: [f32; 2]| (1.0 + (negatives[0].exp() + negatives[1].exp()) / own.exp()).ln();
        let expected = [other(0.6, [0.0, 0.0]), other(1.0, [0.0, 0.8]), other(0.6, [0.8, 0.8]), other(1.0, [0.0, 0.8])];
        close(loss.forward_views_no_reduction(first, second), &expected);
    }

    #[test]
    fn a_query_is_told_from_the_other_keys_or_from_a_queue() {
        let loss = InfoNceLossConfig::new().with_temperature(1.0).init(&Device::flex());
        let (queries, keys) = (rows([[1.0, 0.0], [0.0, 2.0]]), rows([[0.6, 0.8], [0.0, 1.0]]));
        let queue = Tensor::<2>::from_data([[f32::NAN, 1.0], [-3.0, 0.0]], &Device::flex());
        let slots = Tensor::<1, Int>::from_ints([-1, 0], &Device::flex());

        // By hand: the second key of the first query has cosine 0, the first of the second 0.8.
        let expected = [(1.0 + (-0.6_f32).exp()).ln(), (1.0 + (0.8_f32 - 1.0).exp()).ln()];
        close(loss.forward_aligned_no_reduction(queries.clone(), keys.clone()), &expected);
        // One row of the queue is empty; the other has cosines -1 and 0.
        let expected = [(1.0 + (-1.6_f32).exp()).ln(), (1.0 + (-1.0_f32).exp()).ln()];
        close(loss.forward_queue_no_reduction(queries, keys, queue, slots), &expected);
    }
}
