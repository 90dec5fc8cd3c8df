//! Embeddings of past batches, to compare a batch with more than itself.

use alloc::vec::Vec;

use burn::config::Config;
use burn::module::{Flag, Module, Param, RunningState};
use burn::tensor::{Bool, DType, Device, FloatDType, Int, Tensor, assert_shape};
use burn_losses_kernels::math::{cast_to, in_host_memory, signed};

/// A label is kept as this many numbers below 256: a running state holds floats, and such numbers are exact in all of
/// them, `bf16` too.
const DIGITS: usize = 8;

/// So many of them fit an integer of 32 bits, which is what devices without host memory have.
const DIGITS_OF_32_BITS: usize = 4;

/// Settings of [`CrossBatchMemory`].
#[derive(Config, Debug)]
pub struct CrossBatchMemoryConfig {
    /// How many rows are remembered; `>= 1`.
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
    pub fn init(&self, device: &Device) -> CrossBatchMemory {
        let Self { capacity, embedding_dim } = *self;
        assert!(capacity >= 1, "CrossBatchMemory: capacity must be >= 1, got {capacity}");
        assert!(embedding_dim >= 1, "CrossBatchMemory: embedding_dim must be >= 1, got {embedding_dim}");
        let embeddings = Tensor::<2>::zeros([capacity, embedding_dim], device);
        let labels = Tensor::<2>::full([capacity, DIGITS], -1.0, device);

        CrossBatchMemory {
            slots: RunningState::new(Tensor::cat(alloc::vec![embeddings, labels], 1)),
            training: Param::from_bool(true),
        }
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
/// First in, first out: the newest rows stand at the end, the oldest fall out at the start. Embeddings are detached, and
/// kept in the default precision of the device; one of a few hundred steps ago is still about right if the model moves
/// slowly, which in the paper is after a warm-up.
///
/// A row is never a pair with itself: take the references before a batch is put in. Empty slots have label -1, so they
/// are in no pair from the first step on.
///
/// The memory is state: saved and loaded with the module, so that a resumed run goes on as if it had not stopped; moved
/// by `to_device`; not trained. There is no cursor that could be lost. [`enqueue`](Self::enqueue) writes on an autodiff
/// device only, never in evaluation (`valid()`), nor when the module is frozen. Clones share their memory, as they
/// share every running state in Burn; `valid()` takes a copy. A step copies the memory once,
/// `capacity·embedding_dim` numbers.
///
/// # Source
///
/// Wang et al.: [Cross-Batch Memory for Embedding Learning](https://arxiv.org/abs/1912.06798), 2020, section 3. The
/// paper puts a batch in before it is compared and so compares it with itself; here that is a loss of its own.
///
/// ```
/// use burn::tensor::{Device, Int, Tensor};
/// use burn_losses::memory::CrossBatchMemoryConfig;
/// use burn_losses::pairs::{InfoNceLossConfig, PairLoss, Pairs};
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
/// // The first of the four rows has fallen out.
/// let (_, labels) = memory.references();
/// assert_eq!(labels.try_into_vec_as::<i64>().unwrap(), [8, 7, 8]);
/// ```
#[derive(Module, Debug)]
pub struct CrossBatchMemory {
    /// Embedding and label of every slot side by side, so that no two threads can mix them:
    /// `[capacity, embedding_dim + DIGITS]`.
    slots: RunningState<Tensor<2>>,
    /// Whether rows may be put in; `freeze` turns it off.
    training: Param<Flag>,
}

impl CrossBatchMemory {
    /// Everything remembered, oldest first: embeddings, and labels that are -1 where a slot is empty. What
    /// [`Pairs::with_references`](crate::pairs::Pairs::with_references) takes.
    ///
    /// # Shapes
    ///
    /// - embeddings: `[capacity, embedding_dim]`
    /// - labels: `[capacity]`
    pub fn references(&self) -> (Tensor<2>, Tensor<1, Int>) {
        // Every update is synced at once, so this is the latest.
        let slots = self.slots.value().detach();
        let dim = slots.dims()[1] - DIGITS;

        // What is computed from a state may be in one backward only, unless it is detached.
        (slots.clone().narrow(1, 0, dim).detach(), from_digits(slots.narrow(1, dim, DIGITS)))
    }

    /// How many rows can be remembered.
    pub fn capacity(&self) -> usize {
        self.slots.value().dims()[0]
    }

    /// Puts a batch in, in training; as many of the oldest rows fall out. Of a batch larger than the memory the last
    /// rows stay, as if they had been put in one by one. A row with a negative label or with a number that is not finite
    /// takes a slot and leaves it empty; on a device without host memory a label of more than 31 bits does too.
    ///
    /// # Shapes
    ///
    /// - embeddings: `[batch, embedding_dim]`
    /// - labels: `[batch]`
    ///
    /// # Panics
    ///
    /// If the shapes do not agree.
    pub fn enqueue(&self, embeddings: Tensor<2>, labels: Tensor<1, Int>) {
        let slots = self.slots.value();
        let [capacity, columns] = slots.dims();
        let [batch, _] = embeddings.dims();
        assert_shape!(embeddings, [batch, columns - DIGITS]);
        assert_shape!(labels, [batch]);
        if batch == 0 || !embeddings.device().is_autodiff() || !self.training.is_enabled() {
            return;
        }
        let kept = batch.min(capacity);
        let embeddings = cast_to(embeddings.detach().narrow(0, batch - kept, kept), slots.dtype());
        let labels = signed(labels).narrow(0, batch - kept, kept);
        // Clones on other devices may have taken the shared slots along.
        let slots = slots.to_device(&embeddings.device()).detach();
        let new = new_slots(embeddings, labels);
        let slots = if kept == capacity {
            new
        } else {
            Tensor::cat(alloc::vec![slots.narrow(0, kept, capacity - kept), new], 0)
        };
        self.slots.update(slots);
        // Without this the new rows would be queued, and a record saved now would hold the old ones.
        self.slots.value_sync();
    }
}

fn new_slots(embeddings: Tensor<2>, labels: Tensor<1, Int>) -> Tensor<2> {
    let dims @ [rows, _] = embeddings.dims();
    let finite = embeddings.clone().is_finite().all_dim(1).squeeze_dim::<1>(1);
    let mut known = finite.bool_and(labels.clone().greater_equal_scalar(0));
    let labels = if in_host_memory(&labels.device()) { labels.cast(DType::I64) } else { labels };
    if !in_host_memory(&labels.device()) && labels.dtype() == DType::I64 {
        known = known.bool_and(labels.clone().lower_equal_scalar(i64::from(i32::MAX)));
    }
    let empty = known.bool_not().unsqueeze_dim::<2>(1);
    let digits = to_digits(labels, embeddings.dtype()).mask_fill(empty.clone().expand([rows, DIGITS]), -1.0);

    Tensor::cat(alloc::vec![embeddings.mask_fill(empty.expand(dims), 0.0), digits], 1)
}

/// The bytes of every label, `[rows, DIGITS]`.
fn to_digits(labels: Tensor<1, Int>, dtype: DType) -> Tensor<2> {
    let used = digits_on(&labels.device());
    let digit = |place: usize| {
        let shifted = labels.clone().bitwise_right_shift_scalar(8 * place as i64).bitwise_and_scalar(255);
        shifted.unsqueeze_dim::<2>(1)
    };
    let mut digits: Vec<_> = (0..used).map(digit).collect();
    if used < DIGITS {
        digits.push(Tensor::zeros([labels.dims()[0], DIGITS - used], (&labels.device(), labels.dtype())));
    }
    Tensor::cat(digits, 1).cast(FloatDType::from(dtype))
}

/// A label that the device's integers cannot hold, from a record of another device, makes its slot empty.
fn from_digits(digits: Tensor<2>) -> Tensor<1, Int> {
    let used = digits_on(&digits.device());
    let column = |place: usize| {
        let digit = digits.clone().narrow(1, place, 1).squeeze_dim::<1>(1).int();
        if used == DIGITS { digit.cast(DType::I64) } else { digit }
    };
    let empty: Tensor<1, Bool> = column(0).lower_scalar(0);
    let empty = (used..DIGITS).fold(empty, |empty, place| empty.bool_or(column(place).greater_scalar(0)));
    let bytes =
        (1..used).fold(column(0), |label, place| label + column(place).bitwise_left_shift_scalar(8 * place as i64));

    bytes.mask_fill(empty, -1)
}

fn digits_on(device: &Device) -> usize {
    if in_host_memory(device) { DIGITS } else { DIGITS_OF_32_BITS }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::TensorData;

    #[test]
    fn labels_of_63_bits_survive_their_digits_in_bf16() {
        let labels = [0_i64, 1, 255, 256, 65_535, 16_777_217, 2_147_483_647, 1 << 31, (1 << 62) + 5, i64::MAX];
        let tensor = Tensor::<1, Int>::from_data(TensorData::from(labels.as_slice()), (&Device::flex(), DType::I64));
        let back = from_digits(to_digits(tensor, DType::BF16));

        assert_eq!(back.try_into_vec_as::<i64>().unwrap(), labels);
    }

    #[test]
    fn a_label_may_have_63_bits() {
        let device = Device::flex().autodiff();
        let memory = CrossBatchMemoryConfig::new(1).with_capacity(3).init(&device);
        let labels =
            Tensor::<1, Int>::from_data(TensorData::from([1_i64 << 33, (1 << 32) + 5, 5]), (&device, DType::I64));
        memory.enqueue(Tensor::ones([3, 1], &device), labels);

        let (_, labels) = memory.references();
        assert_eq!(labels.try_into_vec_as::<i64>().unwrap(), [1 << 33, (1 << 32) + 5, 5]);
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
