//! The figures of batches added up: of an interval between two lines, and of an epoch.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};

use super::epoch_table::EpochRow;
use super::figures::Figure;
use super::stopwatch::Stopwatch;

/// Sums of the figures since some moment.
pub(super) struct Sums {
    stopwatch: Stopwatch,
    /// What the watch showed.
    began: f64,
    added: Added,
    /// The figures of the latest batch.
    latest: HashMap<Figure, f64>,
}

/// What was added, as the checkpoint of a place within an epoch holds it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Added {
    batches: usize,
    seconds: f64,
    /// What JSON has no number for is nothing.
    figures: BTreeMap<Figure, Option<f64>>,
}

impl Sums {
    /// Of nothing yet.
    pub(super) fn new(stopwatch: &Stopwatch) -> Self {
        Self::after(Added::default(), stopwatch)
    }

    /// Of what was added before, in another process.
    pub(super) fn after(added: Added, stopwatch: &Stopwatch) -> Self {
        let stopwatch = stopwatch.clone();
        Self { began: stopwatch.elapsed().as_secs_f64(), stopwatch, added, latest: HashMap::new() }
    }

    /// Adds a batch.
    pub(super) fn add(&mut self, figures: &HashMap<Figure, f64>) {
        self.added.batches += 1;
        for (&figure, value) in figures {
            let sum = self.added.figures.entry(figure).or_insert(Some(0.0));
            *sum = Some(sum.unwrap_or(f64::NAN) + value);
        }
        self.latest.clone_from(figures);
    }

    /// What was added until now.
    pub(super) fn added(&self) -> Added {
        Added { seconds: self.seconds(), ..self.added.clone() }
    }

    /// The same without the time since then.
    pub(super) fn added_before(&self) -> Added {
        self.added.clone()
    }

    pub(super) fn batches(&self) -> usize {
        self.added.batches
    }

    pub(super) fn sum(&self, figure: Figure) -> f64 {
        self.added.figures.get(&figure).copied().flatten().unwrap_or(f64::NAN)
    }

    pub(super) fn mean(&self, figure: Figure) -> f64 {
        self.sum(figure) / self.batches().max(1) as f64
    }

    /// A figure of the latest batch.
    pub(super) fn latest(&self, figure: Figure) -> f64 {
        self.latest.get(&figure).copied().unwrap_or(f64::NAN)
    }

    pub(super) fn seconds(&self) -> f64 {
        self.added.seconds + (self.stopwatch.elapsed().as_secs_f64() - self.began).max(0.0)
    }

    pub(super) fn batches_per_second(&self) -> f64 {
        self.batches() as f64 / self.seconds().max(1e-9)
    }

    /// The row of an epoch with these sums.
    pub(super) fn row(&self, epoch: usize, batch_size: usize) -> EpochRow {
        EpochRow {
            epoch,
            loss: self.mean(Figure::Loss),
            learning_rate: self.latest(Figure::LearningRate),
            head_learning_rate: self.latest(Figure::HeadLearningRate),
            images_per_second: self.batches_per_second() * batch_size as f64,
            mean_angle: self.mean(Figure::MeanAngle).to_radians(),
            nearest_other_angle: self.mean(Figure::NearestOtherAngle).to_radians(),
            embedding_length: self.mean(Figure::EmbeddingLength),
            direction_variance: self.mean(Figure::DirectionVariance),
            bad_labels: self.sum(Figure::BadLabels),
            seconds: self.seconds(),
            margin: None,
            validation_auc: None,
            validation_eer: None,
            cosine_margin: None,
            scale: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_go_on_in_another_process_bit_by_bit() {
        let figures = |value: f64| HashMap::from([(Figure::Loss, value), (Figure::LearningRate, 1.0 / value)]);
        let stopwatch = Stopwatch::start();
        let mut whole = Sums::new(&stopwatch);
        let mut first = Sums::new(&stopwatch);
        for value in [0.1, 0.7, 1.0 / 3.0] {
            whole.add(&figures(value));
            first.add(&figures(value));
        }
        let text = serde_json::to_string(&first.added()).expect("JSON");
        let mut second = Sums::after(serde_json::from_str(&text).expect("what was written"), &stopwatch);
        for value in [1e-9, 5.3] {
            whole.add(&figures(value));
            second.add(&figures(value));
        }
        assert_eq!(second.batches(), 5);
        assert_eq!(second.mean(Figure::Loss).to_bits(), whole.mean(Figure::Loss).to_bits());
        assert_eq!(second.latest(Figure::LearningRate), 1.0 / 5.3);
        assert!(second.seconds() >= first.added.seconds);
    }

    #[test]
    fn what_is_no_number_stays_none() {
        let mut sums = Sums::new(&Stopwatch::start());
        sums.add(&HashMap::from([(Figure::Loss, f64::NAN)]));
        let text = serde_json::to_string(&sums.added()).expect("JSON");
        let mut after = Sums::after(serde_json::from_str(&text).expect("what was written"), &Stopwatch::start());
        after.add(&HashMap::from([(Figure::Loss, 1.0)]));
        assert!(after.mean(Figure::Loss).is_nan());
    }

    /// Of two watches, one of which stands still while a checkpoint of 0.2 s is written.
    #[test]
    fn what_is_done_beside_the_training_takes_no_time_of_it() {
        let (stopwatch, other) = (Stopwatch::start(), Stopwatch::start());
        let (sums, all) = (Sums::new(&stopwatch), Sums::new(&other));
        let interval = Sums::new(&stopwatch);
        let done = stopwatch.stopped(|| {
            std::thread::sleep(std::time::Duration::from_millis(200));
            "written"
        });
        let beside = all.seconds() - sums.seconds();
        assert!(done == "written" && beside > 0.19, "{beside}");
        assert!(sums.added().seconds < all.seconds() - 0.19 && interval.seconds() < all.seconds() - 0.19);
    }
}
