//! Embeddings of past batches, to compare a batch with more than itself.

use burn::config::Config;
use burn::module::Module;
use burn::tensor::{DType, Device, IndexingUpdateOp, Int, Tensor};
use burn_losses_kernels::math::{cast_to, in_host_memory};

use crate::shape::check_shape;
use crate::state::{State, StateValue, TensorMapper};

/// Settings of [`CrossBatchMemory`].
#[derive(Config, Debug)]
pub struct CrossBatchMemoryConfig {
    /// How many rows are remembered; `>= 1`.
    /// Default: `1024`.
    #[config(default = 1024)]
    pub capacity: usize,
    /// The length of an embedding; `>= 1`.
    pub embedding_dim: usize,
}

impl CrossBatchMemoryConfig {
    /// Builds an empty memory on `device`.
    ///
    /// # Panics
    ///
    /// If a field is out of its range.
    #[track_caller]
    pub fn init(&self, device: &Device) -> CrossBatchMemory {
        let Self { capacity, embedding_dim } = *self;
        assert!(capacity >= 1, "CrossBatchMemory: capacity must be >= 1, got {capacity}");
        assert!(embedding_dim >= 1, "CrossBatchMemory: embedding_dim must be >= 1, got {embedding_dim}");
        let labels = Tensor::<1, Int>::full([capacity], -1, device);
        let labels = if in_host_memory(device) { labels.cast(DType::I64) } else { labels };
        let slots = Slots {
            embeddings: Tensor::zeros([capacity, embedding_dim], device),
            next: Tensor::zeros([1], (device, labels.dtype())),
            labels,
        };
        CrossBatchMemory { slots: State::new(slots) }
    }
}

/// The embeddings and labels of the last batches, as references for a pair loss: many negatives for a small batch.
///
/// ```text
/// pairs = Pairs::with_references(embeddings, labels, memory.references())
/// loss = pair_loss.forward(embeddings, labels) + pair_loss.forward_pairs(&pairs)
/// memory.enqueue(embeddings, labels)
/// ```
///
/// First in, first out: a new row takes the slot of the oldest. Embeddings are detached, and kept in the default
/// precision of the device; one of a few hundred steps ago is still about right if the model moves slowly, which in the
/// paper is after a warm-up. Labels keep 63 bits in host memory and 31 elsewhere.
///
/// A row is never a pair with itself: take the references before a batch is put in. Empty slots have label -1, so they
/// are in no pair from the first step on.
///
/// The memory is [`State`]: saved and loaded with the module, so that a resumed run goes on as if it had not stopped;
/// moved by `to_device`, shared by clones, not trained. [`enqueue`](Self::enqueue) writes on an autodiff device only,
/// never in evaluation (`valid()`), nor when the module is frozen. It takes time in proportion to the batch, whatever the
/// capacity, unless the references of a step are still held (by a loss whose backward is to come): then the memory is
/// copied once, so put a batch in after the backward. Threads may share a memory; a row is never mixed with another.
///
/// # When to take it
///
/// For losses of pairs whose batches are too small to hold enough negatives. Embeddings must move slowly: fill it after
/// some epochs. Where a batch can hold the negatives, a larger batch is simpler.
///
/// # Source
///
/// Wang et al.: [Cross-Batch Memory for Embedding Learning](https://arxiv.org/abs/1912.06798), 2020, section 3. The
/// paper puts a batch in before it is compared and so compares it with itself; here that is a loss of its own.
///
/// # Example
///
/// ```
/// use burn::tensor::{Device, Int, Tensor};
/// use burn_losses::memory::CrossBatchMemoryConfig;
/// use burn_losses::pairs::{InfoNceLossConfig, Pairs};
///
/// let device = Device::default().autodiff();
/// let memory = CrossBatchMemoryConfig::new(2).with_capacity(3).init(&device);
/// let loss = InfoNceLossConfig::new().init(&device);
/// let embeddings = Tensor::<2>::from_data([[1.0, 0.0], [0.0, 1.0]], &device).require_grad();
/// let labels = Tensor::<1, Int>::from_ints([7, 8], &device);
///
/// for _ in 0..2 {
///     let pairs = Pairs::with_references(embeddings.clone(), labels.clone(), memory.references());
///     let _ = loss.forward_pairs(&pairs);
///     memory.enqueue(embeddings.clone(), labels.clone());
/// }
/// // The fourth row has taken the slot of the first.
/// let (_, labels) = memory.references();
/// assert_eq!(labels.try_into_vec_as::<i64>().unwrap(), [8, 8, 7]);
/// ```
#[derive(Module, Debug)]
pub struct CrossBatchMemory {
    slots: State<Slots>,
}

/// The rows of the memory; a struct, so that no two threads can mix them.
#[derive(Clone)]
struct Slots {
    /// `[capacity, embedding_dim]`
    embeddings: Tensor<2>,
    /// `[capacity]`; -1 where a slot is empty.
    labels: Tensor<1, Int>,
    /// The slot of the oldest row, `[1]`. On the device, so that nothing waits for it.
    next: Tensor<1, Int>,
}

impl StateValue for Slots {
    fn map_tensors<M: TensorMapper>(self, mapper: &mut M) -> Self {
        Self {
            embeddings: mapper.tensor("embeddings", self.embeddings),
            labels: mapper.tensor("labels", self.labels),
            next: mapper.tensor("next", self.next),
        }
    }
}

impl CrossBatchMemory {
    /// Everything remembered, in the order of the slots: embeddings, and labels that are -1 where a slot is empty. What
    /// [`Pairs::with_references`](crate::pairs::Pairs::with_references) takes.
    ///
    /// # Shapes
    ///
    /// - embeddings: `[capacity, embedding_dim]`
    /// - labels: `[capacity]`
    pub fn references(&self) -> (Tensor<2>, Tensor<1, Int>) {
        let Slots { embeddings, labels, .. } = self.slots.value();
        (embeddings, labels)
    }

    /// How many rows can be remembered.
    pub fn capacity(&self) -> usize {
        self.slots.value().labels.dims()[0]
    }

    /// Puts a batch in, in training, in place of as many of the oldest rows. Of a batch larger than the memory the last
    /// rows stay. A row with a negative label or with a number that is not finite takes a slot and leaves it empty; on a
    /// device without host memory a label of more than 31 bits does too.
    ///
    /// # Shapes
    ///
    /// - embeddings: `[batch, embedding_dim]`
    /// - labels: `[batch]`
    ///
    /// # Panics
    ///
    /// If the shapes do not agree.
    #[track_caller]
    pub fn enqueue(&self, embeddings: Tensor<2>, labels: Tensor<1, Int>) {
        let [batch, _] = embeddings.dims();
        let (shape, device, dtype, integers) = {
            let slots = self.slots.value();
            (slots.embeddings.dims(), slots.labels.device(), slots.embeddings.dtype(), slots.labels.dtype())
        };
        let [capacity, embedding_dim] = shape;
        check_shape("CrossBatchMemory", "embeddings", embeddings.dims(), [batch, embedding_dim]);
        check_shape("CrossBatchMemory", "labels", labels.dims(), [batch]);
        if batch == 0 || !self.slots.moves_on(&embeddings.device()) {
            return;
        }
        let kept = batch.min(capacity);
        let embeddings = embeddings.without_autodiff().narrow(0, batch - kept, kept);
        let labels = labels.without_autodiff().narrow(0, batch - kept, kept);
        // Clones on other devices may have taken the shared slots along.
        let embeddings = cast_to(embeddings.to_device(&device), dtype);
        let labels = in_integers_of(labels.to_device(&device), integers);

        let known = embeddings
            .clone()
            .is_finite()
            .all_dim(1)
            .squeeze_dim::<1>(1)
            .bool_and(labels.clone().greater_equal_scalar(0));
        let empty = known.bool_not();
        let labels = labels.mask_fill(empty.clone(), -1);
        let embeddings = embeddings.mask_fill(empty.unsqueeze_dim::<2>(1).expand([kept, embedding_dim]), 0.0);
        let places = Tensor::<1, Int>::arange(0..kept as i64, (&device, integers));

        self.slots.update_in_place(|slots| {
            let places = (places + slots.next.clone().expand([kept])).remainder_scalar(capacity as i64);
            Slots {
                embeddings: slots.embeddings.select_assign(0, places.clone(), embeddings, IndexingUpdateOp::Assign),
                labels: slots.labels.select_assign(0, places, labels, IndexingUpdateOp::Assign),
                next: slots.next.add_scalar(kept as i64).remainder_scalar(capacity as i64),
            }
        });
    }
}

/// Labels as integers of `dtype`, a signed one; what it cannot hold becomes -1, and so does what is negative.
fn in_integers_of(labels: Tensor<1, Int>, dtype: DType) -> Tensor<1, Int> {
    let from = labels.dtype();
    if from == dtype {
        return labels;
    }
    if from.size() < dtype.size() {
        return labels.cast(dtype);
    }
    let largest = i64::MAX >> (64 - 8 * dtype.size());
    let lost = labels.clone().greater_scalar(largest).bool_or(labels.clone().lower_scalar(0));
    labels.mask_fill(lost.clone(), 0).cast(dtype).mask_fill(lost, -1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::TensorData;

    #[test]
    fn labels_of_every_width_are_kept_and_those_that_do_not_fit_are_none() {
        let labels = |numbers: TensorData, dtype| Tensor::<1, Int>::from_data(numbers, (&Device::flex(), dtype));
        let kept = |labels, dtype| in_integers_of(labels, dtype).try_into_vec_as::<i64>().unwrap();
        let wide = || TensorData::from([5, (1_i64 << 33) + 7, -(1_i64 << 32) + 3, i64::from(i32::MAX), -4]);
        assert_eq!(kept(labels(wide(), DType::I64), DType::I32), [5, -1, -1, 2_147_483_647, -1]);
        let unsigned = || TensorData::from([1_u32 << 31, u32::MAX, 9]);
        assert_eq!(kept(labels(unsigned(), DType::U32), DType::I64), [1 << 31, 4_294_967_295, 9]);
        assert_eq!(kept(labels(unsigned(), DType::U32), DType::I32), [-1, -1, 9]);
        let widest = TensorData::from([u64::MAX, 1 << 63, (1 << 63) - 1]);
        assert_eq!(kept(labels(widest, DType::U64), DType::I64), [-1, -1, i64::MAX]);
        assert_eq!(kept(labels(TensorData::from([200_u8, 3]), DType::U8), DType::I32), [200, 3]);
    }

    #[test]
    fn a_label_may_have_63_bits() {
        let device = Device::flex().autodiff();
        let memory = CrossBatchMemoryConfig::new(1).with_capacity(3).init(&device);
        let labels =
            Tensor::<1, Int>::from_data(TensorData::from([1_i64 << 33, (1 << 62) + 5, 5]), (&device, DType::I64));
        memory.enqueue(Tensor::ones([3, 1], &device), labels);

        let (_, labels) = memory.references();
        assert_eq!(labels.try_into_vec_as::<i64>().unwrap(), [1 << 33, (1 << 62) + 5, 5]);
    }

    /// Two losses with a backward each, and a state that is read again without a step between.
    #[test]
    fn references_can_be_in_several_backward_passes() {
        let device = Device::flex().autodiff();
        let memory = CrossBatchMemoryConfig::new(2).with_capacity(2).init(&device);
        memory.enqueue(Tensor::ones([2, 2], &device), Tensor::from_data([1, 2], &device));
        let (references, _) = memory.references();
        for references in [references.clone(), references, memory.references().0, memory.references().0] {
            let leaf = Tensor::<2>::ones([2, 2], &device).require_grad();
            let gradients = (leaf.clone() * references).sum().backward();
            assert!(leaf.grad(&gradients).is_some());
        }
    }

    #[test]
    #[should_panic(expected = "CrossBatchMemory: capacity must be >= 1, got 0")]
    fn a_memory_of_nothing_is_rejected() {
        CrossBatchMemoryConfig::new(2).with_capacity(0).init(&Device::flex());
    }
}
