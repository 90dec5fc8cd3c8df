use alloc::boxed::Box;
use alloc::string::ToString;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Range;
use core::sync::atomic::{AtomicUsize, Ordering};

use burn::data::dataloader::batcher::Batcher;
use burn::data::dataloader::{DataLoader, DataLoaderIterator, Progress};
use burn::data::dataset::{Dataset, DatasetError};
use burn::tensor::Device;

use super::BatchPlan;

/// A data loader of Burn whose batches follow a [`BatchPlan`].
///
/// Every `iter` is the next epoch of the plan, beginning after `epochs_done`: give a continued run the number of its
/// last whole epoch, and it sees what an uninterrupted run sees. (Burn's own loader begins its random numbers anew.)
///
/// Copies by `to_device` count epochs together, as Burn iterates over one of them. A slice counts on its own from where
/// the whole is, and has the batches that begin in its range of the items of an epoch: slices that cover an epoch share
/// its batches out.
pub struct SampledLoader<I, O> {
    plan: Arc<dyn BatchPlan>,
    dataset: Arc<dyn Dataset<I>>,
    batcher: Arc<dyn Batcher<I, O>>,
    device: Device,
    epochs_begun: Arc<AtomicUsize>,
    /// Which items of an epoch, in the order of the plan.
    range: Range<usize>,
}

impl<I: 'static, O: 'static> SampledLoader<I, O> {
    /// The batches of `plan` out of `dataset`, after the first `epochs_done` epochs.
    ///
    /// # Panics
    ///
    /// If the plan is of another number of samples than the dataset has.
    #[track_caller]
    pub fn new(
        plan: impl BatchPlan + 'static,
        dataset: impl Dataset<I> + 'static,
        batcher: impl Batcher<I, O> + 'static,
        epochs_done: usize,
        device: &Device,
    ) -> Self {
        let (planned, found) = (plan.samples(), dataset.len());
        assert_eq!(planned, found, "SampledLoader: the plan must be of as many samples as the dataset has");

        Self {
            plan: Arc::new(plan),
            dataset: Arc::new(dataset),
            batcher: Arc::new(batcher),
            device: device.clone(),
            epochs_begun: Arc::new(AtomicUsize::new(epochs_done)),
            // All of them: epochs may be of several lengths.
            range: 0..usize::MAX,
        }
    }

    fn with(&self, device: &Device, epochs_begun: Arc<AtomicUsize>, range: Range<usize>) -> Self {
        Self {
            plan: self.plan.clone(),
            dataset: self.dataset.clone(),
            batcher: self.batcher.clone(),
            device: device.clone(),
            epochs_begun,
            range,
        }
    }

    /// The batches of an epoch that begin in the range.
    fn batches(&self, epoch: usize) -> Vec<Vec<usize>> {
        let mut place = 0;
        let begins_here = |batch: &Vec<usize>| {
            let begin = place;
            place += batch.len();
            self.range.contains(&begin)
        };
        self.plan.epoch(epoch).into_iter().filter(begins_here).collect()
    }
}

impl<I: 'static, O: 'static> DataLoader<O> for SampledLoader<I, O> {
    fn iter<'a>(&'a self) -> Box<dyn DataLoaderIterator<O> + 'a> {
        let batches = self.batches(self.epochs_begun.fetch_add(1, Ordering::SeqCst));
        let items = batches.iter().map(Vec::len).sum();
        Box::new(Epoch { loader: self, batches: batches.into_iter(), done: 0, items })
    }

    fn num_items(&self) -> usize {
        self.batches(self.epochs_begun.load(Ordering::SeqCst)).iter().map(Vec::len).sum()
    }

    fn to_device(&self, device: &Device) -> Arc<dyn DataLoader<O>> {
        Arc::new(self.with(device, self.epochs_begun.clone(), self.range.clone()))
    }

    fn slice(&self, start: usize, end: usize) -> Arc<dyn DataLoader<O>> {
        let begun = Arc::new(AtomicUsize::new(self.epochs_begun.load(Ordering::SeqCst)));
        let end = self.range.start.saturating_add(end).min(self.range.end);
        Arc::new(self.with(&self.device, begun, self.range.start + start..end))
    }
}

struct Epoch<'a, I, O> {
    loader: &'a SampledLoader<I, O>,
    batches: alloc::vec::IntoIter<Vec<usize>>,
    done: usize,
    items: usize,
}

impl<I, O> Iterator for Epoch<'_, I, O> {
    type Item = Result<O, DatasetError>;

    fn next(&mut self) -> Option<Self::Item> {
        let batch = self.batches.next()?;
        self.done += batch.len();
        let items = self.loader.dataset.get_many(batch);
        Some(items.map(|items| self.loader.batcher.batch(items, &self.loader.device)))
    }
}

impl<I, O> DataLoaderIterator<O> for Epoch<'_, I, O> {
    fn progress(&self) -> Progress {
        Progress::new(self.done, self.items, Some("samples".to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::super::{ClassBalanced, ClassBalancedConfig};
    use super::*;
    use burn::data::dataset::InMemDataset;

    #[derive(Clone)]
    struct Keep;

    impl Batcher<usize, Vec<usize>> for Keep {
        fn batch(&self, items: Vec<usize>, _device: &Device) -> Vec<usize> {
            items
        }
    }

    fn plan() -> ClassBalanced {
        let labels: Vec<i64> = (0..24).map(|sample| sample % 4).collect();
        ClassBalancedConfig::new(2, 2).with_seed(3).init(&labels).unwrap()
    }

    /// Items are their own numbers.
    fn loader(epochs_done: usize) -> SampledLoader<usize, Vec<usize>> {
        SampledLoader::new(plan(), InMemDataset::new((0..24).collect()), Keep, epochs_done, &Device::flex())
    }

    fn read(loader: &dyn DataLoader<Vec<usize>>) -> Vec<Vec<usize>> {
        loader.iter().map(|batch| batch.unwrap()).collect()
    }

    #[test]
    fn every_iteration_is_the_next_epoch_of_the_plan() {
        let loader = loader(0);
        assert_eq!(loader.num_items(), 24);
        assert_eq!(read(&loader), plan().epoch(0));
        // Burn iterates over a copy on the training device.
        assert_eq!(read(&*loader.to_device(&Device::flex())), plan().epoch(1));
        assert_eq!(read(&loader), plan().epoch(2));
        assert_ne!(plan().epoch(1), plan().epoch(2));
    }

    #[test]
    fn a_continued_run_sees_the_epochs_that_are_left() {
        assert_eq!(read(&loader(5)), plan().epoch(5));
    }

    /// Three batches, then six, then nine.
    struct Longer;

    impl BatchPlan for Longer {
        fn epoch(&self, epoch: usize) -> Vec<Vec<usize>> {
            (0..3 * (epoch + 1)).map(|batch| alloc::vec![batch, batch + 1]).collect()
        }

        fn samples(&self) -> usize {
            24
        }
    }

    #[test]
    fn epochs_may_be_of_several_lengths() {
        let loader = SampledLoader::new(Longer, InMemDataset::new((0..24).collect()), Keep, 0, &Device::flex());
        for batches in [3, 6, 9] {
            assert_eq!(loader.num_items(), 2 * batches);
            assert_eq!(read(&loader).len(), batches);
        }
    }

    #[test]
    fn slices_share_out_the_batches_of_an_epoch() {
        let loader = loader(2);
        let slices = [loader.slice(0, 9), loader.slice(9, 24)];
        let batches = slices.map(|slice| read(&*slice));
        assert_eq!(batches.concat(), plan().epoch(2));
        assert_eq!(batches[0].len(), 3);
    }

    #[test]
    fn progress_reaches_the_number_of_items() {
        let loader = loader(0);
        let mut epoch = loader.iter();
        while epoch.next().is_some() {}
        assert!(epoch.progress().is_completed());
        assert_eq!(epoch.progress().items_total, loader.num_items());
    }

    #[test]
    #[should_panic(expected = "SampledLoader: the plan must be of as many samples as the dataset has")]
    fn a_plan_of_other_samples_is_rejected() {
        SampledLoader::new(plan(), InMemDataset::new((0..23).collect()), Keep, 0, &Device::flex());
    }
}
