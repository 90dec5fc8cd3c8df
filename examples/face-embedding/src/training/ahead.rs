//! Batches that are read while the one before is trained on.

use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::{self, JoinHandle};

use burn::data::dataloader::{DataLoader, DataLoaderIterator, Progress};
use burn::data::dataset::DatasetError;
use burn::tensor::Device;

/// Batches that wait to be taken, beside the one that is being read.
const WAITING: usize = 1;

/// The batches of another loader in their order, which a thread reads ahead. (Burn's loader with threads shares out the items of a
/// data set; here the order is that of a plan.)
pub(super) struct Ahead<O>(pub(super) Arc<dyn DataLoader<O>>);

impl<O: Send + 'static> DataLoader<O> for Ahead<O> {
    fn iter<'a>(&'a self) -> Box<dyn DataLoaderIterator<O> + 'a> {
        let (sender, receiver) = sync_channel(WAITING);
        let progress = Progress::new(0, self.num_items(), None);
        let batches = self.0.clone();
        let reader = thread::spawn(move || {
            let mut batches = batches.iter();
            while let Some(batch) = batches.next() {
                // Nobody takes them any more.
                if sender.send((batch, batches.progress())).is_err() {
                    break;
                }
            }
        });
        Box::new(Read { receiver: Some(receiver), reader: Some(reader), progress })
    }

    fn num_items(&self) -> usize {
        self.0.num_items()
    }

    fn to_device(&self, device: &Device) -> Arc<dyn DataLoader<O>> {
        Arc::new(Self(self.0.to_device(device)))
    }

    fn slice(&self, start: usize, end: usize) -> Arc<dyn DataLoader<O>> {
        Arc::new(Self(self.0.slice(start, end)))
    }
}

type Batch<O> = (Result<O, DatasetError>, Progress);

/// What the thread has read, and the thread.
struct Read<O> {
    receiver: Option<Receiver<Batch<O>>>,
    reader: Option<JoinHandle<()>>,
    progress: Progress,
}

impl<O> Iterator for Read<O> {
    type Item = Result<O, DatasetError>;

    fn next(&mut self) -> Option<Self::Item> {
        let Ok((batch, progress)) = self.receiver.as_ref()?.recv() else {
            // It has come to the end, or else to a panic, which must not look like one.
            self.reader.take()?.join().unwrap_or_else(|panic| resume_unwind(panic));
            return None;
        };
        self.progress = progress;
        Some(batch)
    }
}

impl<O> DataLoaderIterator<O> for Read<O> {
    fn progress(&self) -> Progress {
        self.progress.clone()
    }
}

impl<O> Drop for Read<O> {
    fn drop(&mut self) {
        // The thread waits for somebody to take its batch, and ends when there is nobody.
        self.receiver.take();
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::data::dataloader::DataLoaderBuilder;
    use burn::data::dataloader::batcher::Batcher;
    use burn::data::dataset::Dataset;

    use super::*;

    /// Numbers, of which one is missing, and one is worse.
    struct Numbers {
        missing: usize,
        worse: usize,
    }

    impl Dataset<usize> for Numbers {
        fn get(&self, number: usize) -> Result<usize, DatasetError> {
            assert!(number != self.worse, "it is worse");
            let missing = || DatasetError::new(std::io::Error::other(format!("{number} is missing")));
            if number == self.missing { Err(missing()) } else { Ok(number) }
        }

        fn len(&self) -> usize {
            9
        }
    }

    struct Keep;

    impl Batcher<usize, Vec<usize>> for Keep {
        fn batch(&self, items: Vec<usize>, _device: &Device) -> Vec<usize> {
            items
        }
    }

    fn ahead(missing: usize, worse: usize) -> Ahead<Vec<usize>> {
        let loader = DataLoaderBuilder::new(Keep).batch_size(2).set_device(Device::flex());
        Ahead(loader.build(Numbers { missing, worse }))
    }

    #[test]
    fn batches_come_in_their_order_with_their_progress() {
        let loader = ahead(99, 99);
        let mut batches = loader.iter();
        for begin in [0, 2, 4, 6] {
            assert_eq!(batches.next().expect("there are five").expect("none is missing"), [begin, begin + 1]);
            assert_eq!((batches.progress().items_processed, batches.progress().items_total), (begin + 2, 9));
        }
        assert_eq!(batches.next().expect("the last").expect("none is missing"), [8]);
        assert!(batches.next().is_none() && batches.next().is_none());
        // Another epoch, of which only one batch is taken.
        assert_eq!(loader.iter().next().expect("five again").expect("none is missing"), [0, 1]);
    }

    #[test]
    fn what_is_missing_comes_in_its_place() {
        let loader = ahead(5, 99);
        let mut batches = loader.iter();
        assert!(batches.next().is_some_and(|batch| batch.is_ok()) && batches.next().is_some_and(|batch| batch.is_ok()));
        assert_eq!(batches.next().expect("an error").expect_err("5 is in it").to_string(), "5 is missing");
    }

    #[test]
    #[should_panic(expected = "it is worse")]
    fn a_panic_does_not_look_like_the_end() {
        assert_eq!(ahead(99, 6).iter().count(), 5);
    }
}
