//! Which samples meet in a batch.
//!
//! A loss of pairs or triplets learns from positives, so a batch must hold several samples of a class; drawn blindly
//! from many classes it holds none. [`ClassBalanced`] puts `P` classes with `K` samples each into every batch,
//! [`Hierarchical`] classes that are hard to tell apart. Both are plans: lists of sample numbers, on the host, that
//! follow from the seed and the number of the epoch alone, so a run that is continued goes on as if it had not stopped.
//! With crate feature `data`, `SampledLoader` makes a data loader of Burn of them.

mod class_balanced;
mod error;
mod hierarchical;
#[cfg(feature = "data")]
mod loader;
mod shuffle;

pub use class_balanced::{ClassBalanced, ClassBalancedConfig};
pub use error::SamplingError;
pub use hierarchical::{Hierarchical, HierarchicalConfig, SamplesPerClass};
#[cfg(feature = "data")]
pub use loader::SampledLoader;

use alloc::vec::Vec;

use crate::module::inherent_epoch;

/// A plan of the batches of every epoch.
pub trait BatchPlan: Send + Sync {
    /// The batches of an epoch, as sample numbers; the same whenever it is asked for.
    fn epoch(&self, epoch: usize) -> Vec<Vec<usize>>;

    /// How many samples the plan is of; its numbers are below.
    fn samples(&self) -> usize;
}

inherent_epoch!(ClassBalanced, Hierarchical);
