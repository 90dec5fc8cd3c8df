use alloc::vec::Vec;

use burn::module::Module;
use burn::store::{ModuleRecord, RecordError};
use burn::tensor::Device;

use super::{Centers, ClassCenters, Head, MarginRule};

/// A head whose classes are spread over several devices, of any backends, also on other machines.
///
/// Each shard is a block of the classes on a device; class 0 is the first of the first shard. The embeddings go to every
/// device, two numbers per sample come back and are put together:
///
/// ```text
/// target[i]    = sum over shards of target[shard, i]          (0 but on the shard of labels[i])
/// negatives[i] = log(sum over shards of exp(negatives[shard, i])), or their sum in SphereFace2 and UniFace
/// ```
///
/// so the loss and its gradients are those of the head in one piece, and no device holds more than its block of the
/// centers and of their gradient. The results are on the device of the embeddings. A transfer between different backends
/// goes through this machine's memory and waits for it.
///
/// Every head can be spread, one that samples its classes too. There is one rule, with one state. The centers are
/// ordinary parameters (`centers.0.weight`, ...) that stay on their device when an optimizer steps.
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
/// use burn_losses::heads::{ArcFaceConfig, ShardedHead};
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
pub type ShardedHead<R> = Head<R, Vec<ClassCenters>>;

impl<R: MarginRule> Head<R, Vec<ClassCenters>> {
    /// Spreads the classes of a head evenly over `devices`; the first ones get one class more where they do not divide.
    ///
    /// A device may be named several times. For training, name autodiff devices. The shards are new parameters: the state
    /// an optimizer keeps of the head's does not follow. What the rule measures it goes on sharing with clones of the head.
    ///
    /// # Panics
    ///
    /// If there are no devices, or more devices than classes.
    #[track_caller]
    pub fn new(head: Head<R>, devices: &[Device]) -> Self {
        let Head { centers, rule, reduction } = head;
        let mut start = 0;
        let sizes = even_sizes(centers.classes(), devices.len());
        let blocks = sizes.into_iter().zip(devices).enumerate().map(|(number, (size, device))| {
            start += size;
            centers.block(start - size..start, device, number)
        });
        Self { centers: blocks.collect(), rule, reduction }
    }

    /// From heads that are on their devices already, so that no device ever holds all classes. The rule is that of the
    /// first, for all classes. Give each one that samples its classes a seed of its own.
    ///
    /// # Panics
    ///
    /// If there are none, or they differ in the length of an embedding, the number of centers per class or the scale.
    #[track_caller]
    pub fn from_shards(shards: Vec<Head<R>>) -> Self {
        let classes = shards.iter().map(|shard| shard.centers.classes()).sum();
        let first = shards.first().expect("ShardedHead: shards must not be empty");
        let of = |head: &Head<R>| (head.centers.embedding_dim(), head.centers.sub_centers());
        let ((dim, sub_centers), scale) = (of(first), first.rule.clone().for_classes(classes).scale());
        for (number, shard) in shards.iter().enumerate() {
            let must = |field: &str, same: bool| {
                assert!(same, "ShardedHead: shard {number} must have the {field} of the first");
            };
            let (shard_dim, shard_sub_centers) = of(shard);
            must("embedding_dim", shard_dim == dim);
            must("sub_centers", shard_sub_centers == sub_centers);
            must("scale", shard.rule.clone().for_classes(classes).scale() == scale);
        }
        let (rule, reduction) = (first.rule.clone().for_classes(classes), first.reduction);
        Self { centers: shards.into_iter().map(|shard| shard.centers).collect(), rule, reduction }
    }

    /// All classes in one head, on `device`.
    pub fn unshard(&self, device: &Device) -> Head<R> {
        let centers = ClassCenters::joined(&self.centers, device);
        Head { centers, rule: self.rule.clone(), reduction: self.reduction }
    }

    /// The same classes spread over other devices, or another number of them. Goes through the first of them, which must
    /// hold all classes for a moment.
    ///
    /// # Panics
    ///
    /// If there are no devices, or more devices than classes.
    #[track_caller]
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
    pub fn from_record(head: Head<R>, record: ModuleRecord, devices: &[Device]) -> Result<Self, RecordError> {
        let classes = head.centers.classes();
        even_sizes(classes, devices.len());
        // What the rule and one shard save says how many shards there are.
        let of_rule = head.rule.clone().into_record().len();
        let per_shard = head.centers.block(0..1, &devices[0], 0).into_record().len();
        let of_shards = record.len().saturating_sub(of_rule);
        let count = of_shards / per_shard;
        if count == 0 || !of_shards.is_multiple_of(per_shard) || count > classes {
            let message = alloc::format!(
                "{of_shards} tensors are not the shards of a head with {classes} classes, which save {per_shard} each"
            );
            return Err(RecordError::Validation(message));
        }
        let mut start = 0;
        let blocks = even_sizes(classes, count).into_iter().enumerate().map(|(number, size)| {
            start += size;
            head.centers.block(start - size..start, &devices[number % devices.len()], number)
        });
        let saved = Self { centers: blocks.collect(), rule: head.rule, reduction: head.reduction };
        let saved = saved.try_load_record(record)?;

        Ok(if count == devices.len() { saved } else { saved.reshard(devices) })
    }

    /// How many classes all shards have together.
    pub fn classes(&self) -> usize {
        self.centers.classes()
    }
}

/// `classes` in `shards` blocks that differ by one at most.
#[track_caller]
fn even_sizes(classes: usize, shards: usize) -> Vec<usize> {
    assert!(shards >= 1, "ShardedHead: devices must not be empty");
    assert!(shards <= classes, "ShardedHead: devices must be <= classes, got {shards} for {classes} classes");
    (0..shards).map(|shard| classes / shards + usize::from(shard < classes % shards)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::heads::{AdaCosConfig, AdaCosScale, CosFace, CosFaceConfig};

    #[test]
    fn classes_are_spread_evenly_and_come_back_in_order() {
        let device = Device::flex();
        let head = CosFaceConfig::new(7, 3).init(&device);
        let sharded = ShardedHead::new(head.clone(), &[device.clone(), device.clone(), device.clone()]);
        let sizes: Vec<usize> = sharded.centers.iter().map(ClassCenters::classes).collect();
        assert_eq!(sizes, [3, 2, 2]);

        let weight = |head: &CosFace| head.centers.weight.val().try_into_vec_as::<f32>().unwrap();
        assert_eq!(weight(&sharded.unshard(&device)), weight(&head));
        assert_eq!(weight(&sharded.reshard(&[device.clone(), device.clone()]).unshard(&device)), weight(&head));
    }

    #[test]
    fn a_scale_that_follows_from_the_number_of_classes_is_that_of_all() {
        let device = Device::flex();
        let shard = |classes| AdaCosConfig::new(classes, 2).with_scale(AdaCosScale::Fixed).init(&device);
        let sharded = ShardedHead::from_shards(alloc::vec![shard(4), shard(5), shard(3)]);

        assert_eq!(sharded.rule.scale(), shard(12).rule.scale());
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
