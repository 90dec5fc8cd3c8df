//! Batches of pictures for Burn's training loop.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use burn::data::dataloader::{DataLoader, DataLoaderIterator, Progress};
use burn::data::dataset::DatasetError;
use burn::tensor::{Device, Int, Tensor, TensorData};

use crate::augment::Change;
use crate::data::random::random;
use crate::data::{Face, FaceSet};
use crate::model::FaceBatch;

/// Shuffled, changed batches of a training set; a short last batch is dropped.
///
/// Order and changes depend on the seed and the number of the epoch only, so a run that resumes
/// at epoch 5 sees what the fifth epoch of an uninterrupted run sees. (Burn's own loader starts
/// its random numbers anew and would repeat the first epoch.)
pub struct TrainBatches {
    faces: Arc<FaceSet>,
    batch_size: usize,
    seed: u64,
    // Shared with the copies that `to_device` makes, since Burn iterates over one of those.
    epochs_begun: Arc<AtomicUsize>,
    device: Device,
}

impl TrainBatches {
    /// Batches for the epochs after the first `epochs_done`.
    pub fn new(faces: Arc<FaceSet>, batch_size: usize, seed: u64, epochs_done: usize, device: &Device) -> Self {
        Self { faces, batch_size, seed, epochs_begun: Arc::new(AtomicUsize::new(epochs_done)), device: device.clone() }
    }

    /// Batches in one epoch.
    pub fn batches(&self) -> usize {
        self.faces.faces.len() / self.batch_size
    }
}

impl DataLoader<FaceBatch> for TrainBatches {
    fn iter<'a>(&'a self) -> Box<dyn DataLoaderIterator<FaceBatch> + 'a> {
        let epoch = self.epochs_begun.fetch_add(1, Ordering::SeqCst) + 1;
        let mut order: Vec<usize> = (0..self.faces.faces.len()).collect();
        order.sort_by_cached_key(|&picture| random(&[self.seed, epoch as u64, picture as u64]));
        Box::new(EpochBatches { batches: self, epoch, order, next: 0 })
    }

    fn num_items(&self) -> usize {
        self.batches() * self.batch_size
    }

    fn to_device(&self, device: &Device) -> Arc<dyn DataLoader<FaceBatch>> {
        Arc::new(Self {
            faces: self.faces.clone(),
            batch_size: self.batch_size,
            seed: self.seed,
            epochs_begun: self.epochs_begun.clone(),
            device: device.clone(),
        })
    }

    fn slice(&self, start: usize, end: usize) -> Arc<dyn DataLoader<FaceBatch>> {
        let faces = FaceSet {
            size: self.faces.size,
            people: self.faces.people.clone(),
            faces: self.faces.faces[start..end].to_vec(),
        };
        let epochs_done = self.epochs_begun.load(Ordering::SeqCst);
        Arc::new(Self::new(Arc::new(faces), self.batch_size, self.seed, epochs_done, &self.device))
    }
}

/// The batches of one epoch.
struct EpochBatches<'a> {
    batches: &'a TrainBatches,
    epoch: usize,
    order: Vec<usize>,
    next: usize,
}

impl Iterator for EpochBatches<'_> {
    type Item = Result<FaceBatch, DatasetError>;

    fn next(&mut self) -> Option<Self::Item> {
        let TrainBatches { faces, batch_size, seed, device, .. } = self.batches;
        let chosen = self.order.get(self.next..self.next + batch_size)?;
        self.next += batch_size;

        let changed =
            chosen.iter().map(|&picture| (&faces.faces[picture], Change::of(*seed, self.epoch, picture, faces.size)));
        let labels: Vec<i64> = chosen.iter().map(|&picture| faces.faces[picture].person as i64).collect();
        Some(Ok(FaceBatch {
            pictures: pictures(changed, faces.size, device),
            labels: Tensor::<1, Int>::from_data(TensorData::new(labels, [*batch_size]), device),
        }))
    }
}

impl DataLoaderIterator<FaceBatch> for EpochBatches<'_> {
    fn progress(&self) -> Progress {
        Progress::new(self.next, self.batches.num_items(), Some("pictures".to_string()))
    }
}

/// Pictures as one tensor `[pictures, 3, size, size]`, copied to the device at once.
pub(crate) fn pictures<'a>(
    faces: impl ExactSizeIterator<Item = (&'a Face, Change)>,
    size: usize,
    device: &Device,
) -> Tensor<4> {
    let count = faces.len();
    let mut values = Vec::with_capacity(count * 3 * size * size);
    for (face, change) in faces {
        change.append(face, size, &mut values);
    }
    Tensor::from_data(TensorData::new(values, [count, 3, size, size]), device)
}

/// The validation set that Burn asks for; it is empty, see
/// [`FaceModel`](crate::model::FaceModel).
pub struct NoBatches;

impl DataLoader<()> for NoBatches {
    fn iter<'a>(&'a self) -> Box<dyn DataLoaderIterator<()> + 'a> {
        Box::new(Self)
    }

    fn num_items(&self) -> usize {
        0
    }

    fn to_device(&self, _device: &Device) -> Arc<dyn DataLoader<()>> {
        Arc::new(Self)
    }

    fn slice(&self, _start: usize, _end: usize) -> Arc<dyn DataLoader<()>> {
        Arc::new(Self)
    }
}

impl Iterator for NoBatches {
    type Item = Result<(), DatasetError>;

    fn next(&mut self) -> Option<Self::Item> {
        None
    }
}

impl DataLoaderIterator<()> for NoBatches {
    fn progress(&self) -> Progress {
        Progress::new(0, 0, None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels_of_epoch(batches: &dyn DataLoader<FaceBatch>) -> Vec<Vec<i64>> {
        let mut labels = Vec::new();
        for batch in batches.iter() {
            let batch = batch.expect("pictures in memory can always be read");
            labels.push(batch.labels.into_data().iter::<i64>().collect());
        }
        labels
    }

    fn batches(epochs_done: usize) -> TrainBatches {
        let pixels: Arc<[u8]> = vec![128; 4 * 4 * 3].into();
        let faces = (0..7).map(|person| Face { person, pixels: pixels.clone(), file: None });
        let people = (0..7).map(|person| person.to_string()).collect();
        let faces = FaceSet { size: 4, people, faces: faces.collect() };
        TrainBatches::new(Arc::new(faces), 3, 1, epochs_done, &Device::flex())
    }

    #[test]
    fn a_short_batch_is_dropped() {
        let batches = batches(0);
        assert_eq!(batches.num_items(), 6);
        let labels = labels_of_epoch(&batches);
        assert_eq!(labels.iter().map(Vec::len).collect::<Vec<_>>(), [3, 3]);
    }

    #[test]
    fn a_resumed_run_sees_the_order_of_its_epoch() {
        let whole = batches(0);
        let first = labels_of_epoch(&whole);
        let second = labels_of_epoch(&*whole.to_device(&Device::flex()));
        assert_ne!(first, second);
        assert_eq!(labels_of_epoch(&batches(1)), second);
    }
}
