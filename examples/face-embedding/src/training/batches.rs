//! Batches of pictures for Burn's training loop.

use std::sync::Arc;

use anyhow::{Context, Result};
use burn::data::dataloader::batcher::Batcher;
use burn::data::dataloader::{DataLoader, DataLoaderBuilder};
use burn::data::dataset::{Dataset, DatasetError, InMemDataset};
use burn::tensor::{Device, Int, Tensor, TensorData};
use burn_losses::sampling::{BatchPlan, ClassBalanced, ClassBalancedConfig, SampledLoader};

use super::ahead::Ahead;
use super::place::Place;
use crate::data::augment::Change;
use crate::data::dropout::append_factors;
use crate::data::face_set::{Face, FaceSet, pixels};
use crate::data::random::random;
use crate::data::tensor::pictures;
use crate::model::face_model::FaceBatch;
use crate::model::spread::Part;
use crate::settings::augmentation::Augmentation;

/// How a training set is dealt out.
#[derive(Clone, Debug)]
pub struct TrainBatches {
    /// Pictures in a batch.
    pub batch_size: usize,
    /// People in a batch, and pictures of each; none shuffles pictures whoever is on them.
    pub balanced: Option<[usize; 2]>,
    /// Chooses order and changes.
    pub seed: u64,
    /// Epochs of the whole run.
    pub epochs: usize,
    /// Where the run goes on.
    pub begin: Place,
    /// How pictures are changed.
    pub augmentation: Augmentation,
    /// Which of their features are dropped.
    pub dropout: Dropout,
}

/// Dropout before the embedding layer.
#[derive(Clone, Copy, Debug)]
pub struct Dropout {
    /// Share of the features that are dropped.
    pub share: f64,
    /// Features of a picture.
    pub features: usize,
}

impl TrainBatches {
    /// The shuffled, changed batches that are left, read ahead of the training; a short last batch of an epoch is dropped. Each is cut
    /// into a part for each device, in order; the first ones have a picture more where they do not divide.
    ///
    /// Order and changes depend on the seed and the number of the epoch only, so a run that resumes in epoch 5 sees
    /// what an uninterrupted run sees of it from there on.
    ///
    /// # Errors
    ///
    /// If there are fewer people than are to be in a batch.
    ///
    /// # Panics
    ///
    /// If there are no devices.
    pub fn of(self, faces: FaceSet, devices: &[Device]) -> Result<Arc<dyn DataLoader<FaceBatch>>> {
        let Self { batch_size, balanced, seed, epochs, begin, augmentation, dropout } = self;
        let labels = || -> Vec<i64> { faces.faces.iter().map(|face| face.person as i64).collect() };
        let balanced = balanced
            .map(|[people, each]| ClassBalancedConfig::new(people, each).with_seed(seed).init(&labels()))
            .transpose()
            .context("people_per_batch")?;
        let plan = EpochPlan { pictures: faces.faces.len(), batch_size, balanced, epochs, seed, begin };
        let [home, others @ ..] = devices else { panic!("TrainBatches: devices must not be empty") };
        let to_tensors = ToTensors { size: faces.size, seed, dropout, others: others.to_vec() };
        let pictures = EveryEpoch { faces, epochs, seed, augmentation };
        Ok(Arc::new(Ahead(Arc::new(SampledLoader::new(plan, pictures, to_tensors, begin.epochs, home)))))
    }
}

/// How often a picture may be in an epoch.
const MOST_TIMES: usize = 1 << 16;

/// Every epoch is all pictures in an order of its own, or batches of several pictures of each of several people. A picture is
/// another sample in every epoch, see [`EveryEpoch`].
struct EpochPlan {
    pictures: usize,
    batch_size: usize,
    balanced: Option<ClassBalanced>,
    epochs: usize,
    seed: u64,
    begin: Place,
}

impl EpochPlan {
    /// The pictures of an epoch.
    fn batches(&self, epoch: usize) -> Vec<Vec<usize>> {
        if let Some(balanced) = &self.balanced {
            return balanced.epoch(epoch);
        }
        let mut order: Vec<usize> = (0..self.pictures).collect();
        order.sort_by_cached_key(|&picture| random(&[self.seed, from_one(epoch) as u64, picture as u64]));
        order.chunks_exact(self.batch_size).map(<[usize]>::to_vec).collect()
    }
}

impl BatchPlan for EpochPlan {
    fn epoch(&self, epoch: usize) -> Vec<Vec<usize>> {
        // A picture that is there again is another sample, changed in another way: in a pair of one picture there is
        // nothing to learn.
        let mut times = vec![0; self.pictures];
        let mut sample = |picture: usize| {
            let time = times[picture].min(MOST_TIMES - 1);
            times[picture] += 1;
            Sampled { epoch, picture, time }.number(self.pictures)
        };
        let batches = self.batches(epoch).into_iter();
        let all: Vec<Vec<usize>> = batches.map(|batch| batch.into_iter().map(&mut sample).collect()).collect();
        let done = if epoch == self.begin.epochs { self.begin.batches } else { 0 };
        all.into_iter().skip(done).collect()
    }

    fn samples(&self) -> usize {
        self.epochs * self.pictures * MOST_TIMES
    }
}

/// Which picture, and how it is changed: as in this epoch, for the first or another time in it.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Sampled {
    epoch: usize,
    picture: usize,
    time: usize,
}

impl Sampled {
    fn number(self, pictures: usize) -> usize {
        (self.epoch * pictures + self.picture) * MOST_TIMES + self.time
    }

    fn of_number(number: usize, pictures: usize) -> Self {
        let (place, time) = (number / MOST_TIMES, number % MOST_TIMES);
        Self { epoch: place / pictures, picture: place % pictures, time }
    }

    /// What its change and the features that it drops are drawn from.
    fn seed(self, seed: u64) -> u64 {
        if self.time == 0 { seed } else { random(&[seed, self.time as u64]) }
    }
}

/// Every picture as it is changed in every epoch: all those of the first epoch come first.
struct EveryEpoch {
    faces: FaceSet,
    epochs: usize,
    seed: u64,
    augmentation: Augmentation,
}

/// A picture in an epoch.
struct Sample {
    sampled: Sampled,
    person: usize,
    pixels: Arc<[u8]>,
    change: Change,
}

impl Dataset<Sample> for EveryEpoch {
    fn get(&self, number: usize) -> Result<Sample, DatasetError> {
        Ok(self.get_many(vec![number])?.remove(0))
    }

    fn get_many(&self, numbers: Vec<usize>) -> Result<Vec<Sample>, DatasetError> {
        let FaceSet { faces, size, .. } = &self.faces;
        let all: Vec<Sampled> = numbers.iter().map(|&number| Sampled::of_number(number, faces.len())).collect();
        let of_batch: Vec<&Face> = all.iter().map(|sampled| &faces[sampled.picture]).collect();
        let pixels = pixels(&of_batch).map_err(DatasetError::new)?;
        let sample = |((sampled, face), pixels): ((Sampled, &Face), _)| {
            let Sampled { epoch, picture, .. } = sampled;
            let change = Change::of(&self.augmentation, sampled.seed(self.seed), from_one(epoch), picture, *size);
            Sample { sampled, person: face.person, pixels, change }
        };
        Ok(all.into_iter().zip(of_batch).zip(pixels).map(sample).collect())
    }

    fn len(&self) -> usize {
        self.epochs * self.faces.faces.len() * MOST_TIMES
    }
}

/// The number by which people, and the random numbers, know an epoch.
fn from_one(epoch: usize) -> usize {
    epoch + 1
}

/// Brings the pictures of a batch to the devices, and which of their features are dropped.
struct ToTensors {
    size: usize,
    seed: u64,
    dropout: Dropout,
    /// The devices beside that of the labels.
    others: Vec<Device>,
}

impl ToTensors {
    fn factors(&self, samples: &[Sample], device: &Device) -> Option<Tensor<2>> {
        let Dropout { share, features } = self.dropout;
        if share == 0.0 {
            return None;
        }
        let mut factors = Vec::with_capacity(samples.len() * features);
        for Sample { sampled, .. } in samples {
            let Sampled { epoch, picture, .. } = *sampled;
            append_factors(share, sampled.seed(self.seed), from_one(epoch), picture, features, &mut factors);
        }
        Some(Tensor::from_data(TensorData::new(factors, [samples.len(), features]), device))
    }

    fn part(&self, samples: &[Sample], device: &Device) -> Part {
        let changed = samples.iter().map(|sample| (&*sample.pixels, sample.change));
        Part { pictures: pictures(changed, self.size, device), factors: self.factors(samples, device) }
    }
}

impl Batcher<Sample, FaceBatch> for ToTensors {
    fn batch(&self, samples: Vec<Sample>, device: &Device) -> FaceBatch {
        let labels: Vec<i64> = samples.iter().map(|sample| sample.person as i64).collect();
        let (count, devices) = (labels.len(), self.others.len() + 1);
        let mut rest = samples.as_slice();
        let part = |(number, device)| {
            let (part, others) = rest.split_at(count / devices + usize::from(number < count % devices));
            rest = others;
            self.part(part, device)
        };
        FaceBatch {
            parts: std::iter::once(device).chain(&self.others).enumerate().map(part).collect(),
            labels: Tensor::<1, Int>::from_data(TensorData::new(labels, [count]), device),
            margin_share: 1.0,
            scale_share: 1.0,
        }
    }
}

/// The validation set that Burn asks for; it is empty, see
/// [`FaceModel`](crate::model::face_model::FaceModel).
pub fn no_batches(device: &Device) -> Arc<dyn DataLoader<()>> {
    /// Never has anything to do.
    struct Nothing;

    impl Batcher<(), ()> for Nothing {
        fn batch(&self, _items: Vec<()>, _device: &Device) {}
    }
    DataLoaderBuilder::new(Nothing).set_device(device.clone()).build(InMemDataset::<()>::new(Vec::new()))
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

    fn batches(epochs_done: usize) -> Arc<dyn DataLoader<FaceBatch>> {
        batches_after(Place::end_of(epochs_done))
    }

    fn batches_after(begin: Place) -> Arc<dyn DataLoader<FaceBatch>> {
        batches_of(7, None, begin)
    }

    /// One picture of each of so many people, three in a batch; or two of each of seven, in balanced batches.
    fn batches_of(pictures: usize, balanced: Option<[usize; 2]>, begin: Place) -> Arc<dyn DataLoader<FaceBatch>> {
        batches_on(pictures, balanced, begin, &[Device::flex()])
    }

    fn batches_on(
        pictures: usize,
        balanced: Option<[usize; 2]>,
        begin: Place,
        devices: &[Device],
    ) -> Arc<dyn DataLoader<FaceBatch>> {
        let pixels: Arc<[u8]> = vec![128; 4 * 4 * 3].into();
        let faces = (0..pictures).map(|picture| Face::drawn(picture % 7, pixels.clone()));
        let people = (0..7).map(|person| person.to_string()).collect();
        let faces = FaceSet { size: 4, people, faces: faces.collect() };
        let augmentation = Augmentation::default().resolve(true).expect("defaults are in range");
        let dropout = Dropout { share: 0.5, features: 40 };
        let batch_size = balanced.map_or(3, |[people, each]| people * each);
        let batches = TrainBatches { batch_size, balanced, seed: 1, epochs: 2, begin, augmentation, dropout };
        batches.of(faces, devices).expect("enough people")
    }

    #[test]
    fn a_short_batch_is_dropped() {
        let batches = batches(0);
        assert_eq!(batches.num_items(), 6);
        let labels = labels_of_epoch(&*batches);
        assert_eq!(labels.iter().map(Vec::len).collect::<Vec<_>>(), [3, 3]);
    }

    /// Everybody has a gray of his own, and nothing is changed.
    #[test]
    fn every_picture_comes_with_its_person() {
        let faces = (0..14).map(|picture| Face::drawn(picture % 7, [30 * (picture % 7) as u8; 4 * 4 * 3])).collect();
        let people = (0..7).map(|person| person.to_string()).collect();
        let none =
            Augmentation { mirror: Some(false), shift: Some(0.0), brightness: Some(0.0), ..Augmentation::default() };
        let batches = TrainBatches {
            batch_size: 4,
            balanced: None,
            seed: 1,
            epochs: 1,
            begin: Place::default(),
            augmentation: none.resolve(false).expect("in range"),
            dropout: Dropout { share: 0.0, features: 0 },
        };
        let batches = batches.of(FaceSet { size: 4, people, faces }, &[Device::flex()]).expect("enough people");
        let mut seen = Vec::new();
        for batch in batches.iter().map(|batch| batch.expect("in memory")) {
            let values: Vec<f32> = batch.parts[0].pictures.to_data().iter::<f32>().collect();
            for (label, picture) in batch.labels.to_data().iter::<i64>().zip(values.chunks(4 * 4 * 3)) {
                let gray = 30.0 * label as f32 / 127.5 - 1.0;
                assert!(picture.iter().all(|value| (value - gray).abs() < 1e-6), "{label}: {picture:?}");
                seen.push(label as usize);
            }
        }
        let plan =
            EpochPlan { pictures: 14, batch_size: 4, balanced: None, epochs: 1, seed: 1, begin: Place::default() };
        let expected: Vec<usize> = plan.batches(0).concat().into_iter().map(|picture| picture % 7).collect();
        assert_eq!(seen, expected);
    }

    /// The batches of three pictures of [`batches`], as two and one.
    #[test]
    fn a_batch_is_cut_into_parts_in_order() {
        let of = |devices: &[Device]| -> Vec<FaceBatch> {
            let batches = batches_on(7, None, Place::default(), devices);
            batches.iter().map(|batch| batch.expect("in memory")).collect()
        };
        let (whole, cut) = (of(&[Device::flex()]), of(&[Device::flex(), Device::flex()]));
        assert_eq!(whole.len(), 2);
        let numbers = |tensor: &Tensor<4>| tensor.to_data().iter::<f32>().collect::<Vec<_>>();
        let dropped = |part: &Part| part.factors.as_ref().expect("a share").to_data().iter::<f32>().collect::<Vec<_>>();
        for (whole, cut) in whole.iter().zip(&cut) {
            assert_eq!(cut.parts.iter().map(|part| part.pictures.dims()[0]).collect::<Vec<_>>(), [2, 1]);
            let pictures = cut.parts.iter().flat_map(|part| numbers(&part.pictures)).collect::<Vec<_>>();
            assert_eq!(pictures, numbers(&whole.parts[0].pictures));
            assert_eq!(cut.parts.iter().flat_map(dropped).collect::<Vec<_>>(), dropped(&whole.parts[0]));
            assert_eq!(cut.labels.to_data(), whole.labels.to_data());
        }
    }

    #[test]
    fn a_resumed_run_sees_the_order_of_its_epoch() {
        let whole = batches(0);
        let first = labels_of_epoch(&*whole);
        let second = labels_of_epoch(&*whole.to_device(&Device::flex()));
        assert_ne!(first, second);
        assert_eq!(labels_of_epoch(&*batches(1)), second);
        let within = batches_after(Place { epochs: 0, batches: 1 });
        assert_eq!(labels_of_epoch(&*within), first[1..]);
        assert_eq!(labels_of_epoch(&*within), second);
    }

    #[test]
    fn a_balanced_batch_has_several_pictures_of_each_person() {
        let whole = batches_of(14, Some([3, 2]), Place::default());
        assert_eq!(whole.num_items(), 12);
        let (first, second) = (labels_of_epoch(&*whole), labels_of_epoch(&*whole));
        for batch in first.iter().chain(&second) {
            assert!(batch.chunks(2).all(|pair| pair[0] == pair[1]), "{batch:?}");
            let people: std::collections::HashSet<_> = batch.iter().collect();
            assert_eq!(people.len(), 3, "{batch:?}");
        }
        assert_ne!(first, second);
        let within = batches_of(14, Some([3, 2]), Place { epochs: 0, batches: 1 });
        assert_eq!(labels_of_epoch(&*within), first[1..]);
        assert_eq!(labels_of_epoch(&*within), second);
    }

    /// Seven people of one picture each, in batches of two of each.
    #[test]
    fn a_picture_that_is_in_a_batch_twice_is_changed_twice() {
        let rows = |tensor: Tensor<2>| -> Vec<Vec<f32>> {
            let [_, length] = tensor.dims();
            tensor.into_data().iter::<f32>().collect::<Vec<_>>().chunks(length).map(<[f32]>::to_vec).collect()
        };
        let dropped = |batches: &dyn DataLoader<FaceBatch>| -> Vec<Vec<f32>> {
            let factors = |batch: Result<FaceBatch, _>| {
                batch.expect("in memory").parts.remove(0).factors.expect("a share is dropped")
            };
            batches.iter().flat_map(|batch| rows(factors(batch))).collect()
        };
        let whole = batches_of(7, Some([3, 2]), Place::default());
        let first = dropped(&*whole);
        assert!(!first.is_empty() && first.chunks(2).all(|pair| pair[0] != pair[1]));
        // As it was, also from within the epoch.
        let within = dropped(&*batches_of(7, Some([3, 2]), Place { epochs: 0, batches: 1 }));
        assert_eq!(within, first[6..]);
    }

    #[test]
    fn a_resumed_run_drops_the_features_of_its_epoch() {
        let dropped = |batches: &dyn DataLoader<FaceBatch>| -> Vec<f32> {
            let factors = |batch: Result<FaceBatch, _>| {
                batch.expect("in memory").parts.remove(0).factors.expect("a share is dropped")
            };
            batches.iter().flat_map(|batch| factors(batch).into_data().iter::<f32>().collect::<Vec<_>>()).collect()
        };
        let whole = batches(0);
        let (first, second) = (dropped(&*whole), dropped(&*whole));
        // Two batches of three pictures.
        assert_eq!(first.len(), 6 * 40);
        // No picture drops in the second epoch what one dropped in the first.
        assert!(second.chunks(40).all(|row| first.chunks(40).all(|other| other != row)));
        assert_eq!(dropped(&*batches(1)), second);
    }
}
