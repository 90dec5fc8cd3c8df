use alloc::vec::Vec;

use burn::module::{Module, ModuleDisplay, Param};
use burn::store::{ModuleRecord, RecordError};
use burn::tensor::{Device, Int, Tensor};
use burn_losses_kernels::logsumexp::Scale;
use burn_losses_kernels::math::{cast_to, log_sum_exp, widen};

use super::head::{index_or_none, margin_losses};
use super::{ClassScores, MarginHead};
use crate::labels::{SafeLabels, silence};
use crate::reduction::{EmbeddingReduction, zero_of};

/// A head whose classes are spread over several devices, of any backends, also on other machines.
///
/// Each shard is a head of its own with a block of the classes; class 0 is the first of the first shard. The embeddings
/// go to every device, two numbers per sample come back and are put together:
///
/// ```text
/// own[i]    = sum over shards of own[shard, i]          (0 but on the shard of labels[i])
/// others[i] = log(sum over shards of exp(others[shard, i]))
/// ```
///
/// so the loss and its gradients are those of the unsharded head, and no device holds more than its block of the centers
/// and of their gradient. The results are on the device of the embeddings; the margin and the settings are those of the
/// first shard. A transfer between different backends goes through this machine's memory and waits for it.
///
/// Most heads can be a shard, a [`PartialFc`](super::PartialFc) too; those that must know all classes of a batch at once
/// say why they cannot ([`MarginHead::refuses_shards`]). The centers are ordinary parameters
/// (`shards.0.centers.weight`, ...) that stay on their device when an optimizer steps.
///
/// # What moves a sharded head
///
/// `Module::to_device` and `Module::fork` take every shard to the one device they are given, as they do with every
/// module: that device must hold all classes then, and the head is no longer spread. Spread it again with
/// [`reshard`](Self::reshard). So do not train it with a strategy that forks the model onto devices of its own
/// (burn-train's multi-device and distributed ones), and load a record into a head on the devices it should be on.
///
/// ```
/// use burn::tensor::{Device, Int, Tensor};
/// use burn_losses::heads::{ArcFaceConfig, MarginHead, ShardedHead};
///
/// let device = Device::default().autodiff();
/// let head = ArcFaceConfig::new(10, 4).init(&device);
/// let sharded = ShardedHead::new(head.clone(), &[device.clone(), device.clone()]);
///
/// let embeddings = Tensor::<2>::ones([2, 4], &device);
/// let labels = Tensor::<1, Int>::from_ints([0, 9], &device);
/// let whole = head.forward(embeddings.clone(), labels.clone()).into_scalar::<f32>();
/// let spread = sharded.forward(embeddings, labels).into_scalar::<f32>();
/// assert!((whole - spread).abs() < 1e-4);
/// ```
#[derive(Module, Debug)]
pub struct ShardedHead<H> {
    /// A head per block of classes, in the order of the classes, each on its own device.
    pub shards: Vec<H>,
}

impl<H: MarginHead + Module + ModuleDisplay> ShardedHead<H> {
    /// Spreads the classes of a head evenly over `devices`; the first ones get one class more where they do not divide.
    ///
    /// A device may be named several times. For training, name autodiff devices. The shards are new parameters: the state
    /// an optimizer keeps of the head's does not follow.
    ///
    /// # Panics
    ///
    /// If there are no devices, more devices than classes, or the head cannot be spread.
    pub fn new(head: H, devices: &[Device]) -> Self {
        assert_spreads(&head);
        let sizes = even_sizes(head.centers().classes(), devices.len());
        let weight = head.centers().weight.val().detach();
        let sub_centers = head.centers().sub_centers();
        let mut start = 0;
        let shards = sizes.into_iter().zip(devices).enumerate().map(|(number, (size, device))| {
            let block = weight.clone().narrow(0, start * sub_centers, size * sub_centers).to_device(device).detach();
            start += size;
            with_weight(head.clone(), block, number)
        });
        Self { shards: shards.collect() }
    }

    /// From heads that are on their devices already: so no device ever holds all classes. Give each
    /// [`PartialFc`](super::PartialFc) a seed of its own. The fixed scale of an [`AdaCos`](super::AdaCos) made here would be
    /// that of a shard's classes: spread one that has all of them instead.
    ///
    /// # Panics
    ///
    /// If there are none, they cannot be shards, or they differ in the length of an embedding, the number of centers per
    /// class or the scale.
    pub fn from_shards(shards: Vec<H>) -> Self {
        assert!(!shards.is_empty(), "ShardedHead: shards must not be empty");
        let first = shards[0].centers();
        for (number, shard) in shards.iter().enumerate() {
            assert_spreads(shard);
            let centers = shard.centers();
            let (dim, sub_centers) = (first.embedding_dim(), first.sub_centers());
            assert_eq!(
                centers.embedding_dim(),
                dim,
                "ShardedHead: shard {number} must have the embedding_dim of the first"
            );
            assert_eq!(
                centers.sub_centers(),
                sub_centers,
                "ShardedHead: shard {number} must have the sub_centers of the first"
            );
            let same_scale = match (shard.scale(), shards[0].scale()) {
                (Scale::Constant(scale), Scale::Constant(first)) => scale == first,
                _ => false,
            };
            assert!(same_scale, "ShardedHead: shard {number} must have the scale of the first");
        }
        Self { shards }
    }

    /// How many classes all shards have together.
    pub fn classes(&self) -> usize {
        self.shards.iter().map(|shard| shard.centers().classes()).sum()
    }

    /// All classes in one head, on `device`.
    pub fn unshard(&self, device: &Device) -> H {
        let blocks = self.shards.iter().map(|shard| shard.centers().weight.val().detach().to_device(device).detach());
        with_weight(self.shards[0].clone(), Tensor::cat(blocks.collect(), 0), 0)
    }

    /// The same classes spread over other devices, or another number of them. Goes through the first of them, which must
    /// hold all classes for a moment.
    ///
    /// # Panics
    ///
    /// If there are no devices, or more devices than classes.
    pub fn reshard(&self, devices: &[Device]) -> Self {
        assert!(!devices.is_empty(), "ShardedHead: devices must not be empty");
        Self::new(self.unshard(&devices[0]), devices)
    }

    /// Loads a record that was saved from any number of even shards of a head like `head`, and spreads it over
    /// `devices`.
    ///
    /// `head` says which head it is, and how many classes it has in all; its own centers are not looked at.
    ///
    /// # Errors
    ///
    /// If the record is not that of such shards.
    ///
    /// # Panics
    ///
    /// As [`new`](Self::new).
    pub fn from_record(head: H, record: ModuleRecord, devices: &[Device]) -> Result<Self, RecordError> {
        let (classes, dim) = (head.centers().classes(), head.centers().embedding_dim());
        even_sizes(classes, devices.len());
        // What one shard saves says how many there are.
        let sub_centers = head.centers().sub_centers();
        let first = with_weight(head.clone(), Tensor::zeros([sub_centers, dim], &devices[0]), 0);
        let (held, per_shard) = (record.len(), first.into_record().len().max(1));
        let count = held / per_shard;
        if count == 0 || held % per_shard != 0 || count > classes {
            let message = alloc::format!(
                "{held} tensors are not the shards of a head with {classes} classes, which save {per_shard} each"
            );
            return Err(RecordError::Validation(message));
        }
        let shards = even_sizes(classes, count).into_iter().enumerate().map(|(number, size)| {
            let device = &devices[number % devices.len()];
            with_weight(head.clone(), Tensor::zeros([size * sub_centers, dim], device), number)
        });
        let saved = Self { shards: shards.collect() }.try_load_record(record)?;

        Ok(if count == devices.len() { saved } else { saved.reshard(devices) })
    }

    /// The mean loss of the rows that have a class; 0 when none has. As [`MarginHead::forward`].
    ///
    /// # Shapes
    ///
    /// - embeddings: `[batch, embedding_dim]`
    /// - labels: `[batch]`, in `0..classes` of all shards together
    /// - output: `[1]`, on the device of the embeddings
    ///
    /// # Panics
    ///
    /// If the shapes do not agree, or by the [`LabelPolicy`](crate::labels::LabelPolicy) of the first shard.
    pub fn forward(&self, embeddings: Tensor<2>, labels: Tensor<1, Int>) -> Tensor<1> {
        let dtype = embeddings.dtype();
        let labels = self.check(&embeddings, labels);
        if labels.valid.dims() == [0] {
            let zero = |loss: Tensor<1>, shard: &H| loss + zero_of(embeddings.clone(), shard.centers().weight.val());
            return self.shards.iter().fold(embeddings.clone().sum(), zero);
        }
        let losses = self.losses(embeddings, labels.clone());

        cast_to(EmbeddingReduction::Mean.apply_valid(losses, labels.valid), dtype)
    }

    /// The loss of every row. As [`MarginHead::forward_no_reduction`].
    ///
    /// # Shapes
    ///
    /// - embeddings: `[batch, embedding_dim]`
    /// - labels: `[batch]`
    /// - output: `[batch]`, on the device of the embeddings
    ///
    /// # Panics
    ///
    /// As [`forward`](Self::forward).
    pub fn forward_no_reduction(&self, embeddings: Tensor<2>, labels: Tensor<1, Int>) -> Tensor<1> {
        let dtype = embeddings.dtype();
        let labels = self.check(&embeddings, labels);

        cast_to(self.losses(embeddings, labels), dtype)
    }

    /// Scaled cosines with all classes, without a margin. As [`MarginHead::logits`].
    ///
    /// # Shapes
    ///
    /// - embeddings: `[batch, embedding_dim]`
    /// - output: `[batch, classes]`, on the device of the embeddings
    pub fn logits(&self, embeddings: Tensor<2>) -> Tensor<2> {
        let (home, dtype) = (embeddings.device(), embeddings.dtype());
        // Not every device has the half precision of another.
        let embeddings = widen(embeddings);
        let of = |shard: &H| shard.logits(embeddings.clone().to_device(&device_of(shard))).to_device(&home);
        cast_to(Tensor::cat(self.shards.iter().map(of).collect(), 1), dtype)
    }

    fn check(&self, embeddings: &Tensor<2>, labels: Tensor<1, Int>) -> SafeLabels {
        self.shards[0].centers().check_among(self.classes(), embeddings, labels)
    }

    fn losses(&self, embeddings: Tensor<2>, labels: SafeLabels) -> Tensor<1> {
        let [batch, _] = embeddings.dims();
        if batch == 0 {
            return embeddings.reshape([0]);
        }
        let embeddings = silence(embeddings, labels.valid.clone());
        let scores = self.scores(embeddings.clone(), index_or_none(&labels));

        margin_losses(&self.shards[0], scores, embeddings, labels.valid)
    }

    fn scores(&self, embeddings: Tensor<2>, index: Tensor<1, Int>) -> ClassScores {
        let home = embeddings.device();
        let embeddings = widen(embeddings);
        let mut start = 0;
        let (mut own, mut others) = (Vec::new(), Vec::new());
        for shard in &self.shards {
            let device = device_of(shard);
            let classes = shard.centers().classes();
            // Where this is not in `0..classes`, the shard finds no own class.
            let index = index.clone().sub_scalar(start as i64).to_device(&device);
            let scores = shard.scores(embeddings.clone().to_device(&device), index);
            own.push(scores.own_cosine.to_device(&home).unsqueeze_dim::<2>(1));
            others.push(scores.others.to_device(&home).unsqueeze_dim::<2>(1));
            start += classes;
        }
        ClassScores {
            own_cosine: Tensor::cat(own, 1).sum_dim(1).squeeze_dim(1),
            others: log_sum_exp(Tensor::cat(others, 1)),
        }
    }
}

fn assert_spreads<H: MarginHead>(head: &H) {
    if let Some(reason) = head.refuses_shards() {
        panic!("ShardedHead: {reason}");
    }
}

fn device_of<H: MarginHead>(head: &H) -> Device {
    head.centers().weight.val().device()
}

/// The head as a shard with these centers, frozen if it was.
fn with_weight<H: MarginHead>(head: H, weight: Tensor<2>, number: usize) -> H {
    let trained = head.centers().weight.is_require_grad();
    let weight = Param::from_tensor(weight).set_require_grad(trained);
    let centers = head.centers().clone().with_weight(weight);
    head.shard(centers, number)
}

/// `classes` in `shards` blocks that differ by one at most.
fn even_sizes(classes: usize, shards: usize) -> Vec<usize> {
    assert!(shards >= 1, "ShardedHead: devices must not be empty");
    assert!(shards <= classes, "ShardedHead: devices must be <= classes, got {shards} for {classes} classes");
    (0..shards).map(|shard| classes / shards + usize::from(shard < classes % shards)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::heads::CosFaceConfig;

    #[test]
    fn classes_are_spread_evenly_and_come_back_in_order() {
        let device = Device::flex();
        let head = CosFaceConfig::new(7, 3).init(&device);
        let sharded = ShardedHead::new(head.clone(), &[device.clone(), device.clone(), device.clone()]);
        let sizes: Vec<usize> = sharded.shards.iter().map(|shard| shard.centers.classes()).collect();
        assert_eq!(sizes, [3, 2, 2]);

        let weight = |head: &crate::heads::CosFace| head.centers.weight.val().try_into_vec_as::<f32>().unwrap();
        assert_eq!(weight(&sharded.unshard(&device)), weight(&head));
        assert_eq!(weight(&sharded.reshard(&[device.clone(), device.clone()]).unshard(&device)), weight(&head));
    }

    #[test]
    #[should_panic(expected = "ShardedHead: devices must be <= classes, got 3 for 2 classes")]
    fn more_devices_than_classes_are_rejected() {
        let device = Device::flex();
        ShardedHead::new(CosFaceConfig::new(2, 2).init(&device), &[device.clone(), device.clone(), device]);
    }

    #[test]
    fn a_record_of_something_else_is_an_error() {
        let device = Device::flex();
        let head = CosFaceConfig::new(4, 2).init(&device);
        let other = CosFaceConfig::new(9, 2).init(&device);
        let record = ShardedHead::new(other, &[device.clone(), device.clone()]).into_record();

        assert!(ShardedHead::from_record(head, record, &[device]).is_err());
    }
}
