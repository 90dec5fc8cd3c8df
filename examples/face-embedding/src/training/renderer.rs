//! Prints one readable line per interval, on a terminal and in a log alike.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use burn::train::logger::{EvaluationProgressLogger, TrainingProgressLogger};
use burn::train::metric::{MetricDefinition, MetricId, NumericEntry};
use burn::train::renderer::{
    EvaluationName, MetricState, MetricsRenderer, MetricsRendererEvaluation, MetricsRendererTraining,
};
use burn::train::{Interrupter, LearnerSummary};
use burn_losses::diagnostics::{Collapse, Plateau};

use super::figures::Figure;
use super::place::Place;
use super::stopwatch::Stopwatch;
use super::sums::{Added, Sums};

/// Time between two lines within an epoch; the end of an epoch always prints one.
const INTERVAL: Duration = Duration::from_secs(5);

/// Burn's renderer for this example. (Burn's own prints a line per step, and no metric in it,
/// whenever the output is no terminal.)
pub struct LineRenderer {
    interrupter: Interrupter,
    epochs: usize,
    /// Batches of an epoch, and pictures in a batch.
    batches_per_epoch: usize,
    batch_size: usize,
    /// Where the run goes on, and where it is.
    begin: Place,
    place: Place,
    /// Which figure each of Burn's metrics is.
    figures: HashMap<MetricId, Figure>,
    /// Values of the step that is being reported; filled metric by metric, then summed.
    current: HashMap<Figure, f64>,
    interval: Sums,
    stopwatch: Stopwatch,
    /// The training loop makes the row of the table from it.
    whole_epoch: Arc<Mutex<Sums>>,
    run_began: Instant,
    bad_labels: f64,
    /// Where the loss stays if the model tells nobody apart; the first epoch may well be there.
    plateau: Option<Plateau>,
    /// What may help where the loss is no number any more.
    remedies: String,
}

impl LineRenderer {
    /// A renderer of a run that goes on at `begin`, in an epoch of which `whole_epoch` has what was added up before.
    ///
    /// The interrupter stops the training when there is nothing left to gain: the loss is no number any more.
    pub(super) fn new(
        interrupter: Interrupter,
        begin: Place,
        [epochs, batches_per_epoch, batch_size]: [usize; 3],
        plateau: Option<Plateau>,
        remedies: String,
        whole_epoch: Arc<Mutex<Sums>>,
        stopwatch: Stopwatch,
    ) -> Self {
        Self {
            interrupter,
            epochs,
            batches_per_epoch,
            batch_size,
            begin,
            place: begin,
            figures: HashMap::new(),
            current: HashMap::new(),
            interval: Sums::new(&stopwatch),
            stopwatch,
            whole_epoch,
            run_began: Instant::now(),
            bad_labels: 0.0,
            plateau,
            remedies,
        }
    }

    fn whole_epoch(&self) -> MutexGuard<'_, Sums> {
        self.whole_epoch.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn figure(&self, figure: Figure) -> f64 {
        self.current.get(&figure).copied().unwrap_or(f64::NAN)
    }

    fn time_left(&self) -> Duration {
        let number = |place: Place| place.number(self.batches_per_epoch);
        let left = number(Place::end_of(self.epochs)).saturating_sub(number(self.place));
        let here = (number(self.place) - number(self.begin)).max(1);
        self.run_began.elapsed().mul_f64(left as f64 / here as f64)
    }

    fn print(&self, sums: &Sums) {
        let learning_rate = self.figure(Figure::LearningRate);
        let head_learning_rate = self.figure(Figure::HeadLearningRate);
        say!(
            "epoch {:>2}/{} step {:>4}/{} | loss {:>7.4} | lr {learning_rate:.5} head {head_learning_rate:.5} \
             | {:>6.0} images/s | own class {:>5.1} deg, nearest other {:>5.1} | length {:>6.2} | {} left",
            self.place.epochs + 1,
            self.epochs,
            self.place.batches,
            self.batches_per_epoch,
            sums.mean(Figure::Loss),
            sums.batches_per_second() * self.batch_size as f64,
            sums.mean(Figure::MeanAngle),
            sums.mean(Figure::NearestOtherAngle),
            sums.mean(Figure::EmbeddingLength),
            readable(self.time_left()),
        );
    }

    fn end_batch(&mut self) {
        self.place.batches += 1;
        let loss = self.figure(Figure::Loss);
        self.interval.add(&self.current);
        self.whole_epoch().add(&self.current);

        let bad_labels = self.figure(Figure::BadLabels);
        if bad_labels > 0.0 && self.bad_labels == 0.0 {
            say!("warning: {bad_labels:.0} labels of this batch are no class; their pictures train nothing");
        }
        self.bad_labels += bad_labels;

        let Place { epochs, batches } = self.place;
        if !loss.is_finite() {
            self.interrupter.stop(Some(&format!(
                "the loss became {loss} in epoch {}, step {batches}; try {}",
                epochs + 1,
                self.remedies
            )));
        } else if self.interval.seconds() >= INTERVAL.as_secs_f64() && batches < self.batches_per_epoch {
            self.print(&self.interval);
            self.interval = Sums::new(&self.stopwatch);
        }
    }

    fn end_epoch(&self) {
        let sums = self.whole_epoch();
        // Nothing is said of an epoch that was broken off.
        if sums.batches() < self.batches_per_epoch {
            return;
        }
        self.print(&sums);
        // A batch of one picture has no spread.
        if self.batch_size > 1
            && let Some(collapse) = collapse(&sums, self.plateau.filter(|_| self.place.epochs > 0))
        {
            say!("warning: {collapse}");
        }
    }
}

impl MetricsRendererTraining for LineRenderer {
    fn update_train(&mut self, state: MetricState) {
        // The final value of an epoch is known from the sums.
        if let MetricState::Numeric(entry, Some(value)) = state
            && !matches!(value, NumericEntry::Final(_))
            && let Some(&figure) = self.figures.get(&entry.metric_id)
        {
            self.current.insert(figure, value.current());
        }
    }

    fn update_valid(&mut self, _state: MetricState) {}

    fn on_train_end(&mut self, _summary: Option<LearnerSummary>) -> Result<(), Box<dyn core::error::Error>> {
        if self.bad_labels > 0.0 {
            say!("warning: {:.0} labels in all were no class", self.bad_labels);
        }
        Ok(())
    }
}

impl TrainingProgressLogger for LineRenderer {
    // Burn takes the number of the checkpoint for that of an epoch.
    fn start(&mut self, _epochs: usize, _first_epoch: usize, _items: Option<usize>, _label: Option<&str>) {
        self.run_began = Instant::now();
    }

    fn start_split(&mut self, split: &str, _items: usize) {
        if split == TRAIN_SPLIT {
            self.interval = Sums::new(&self.stopwatch);
            let added = if self.place == self.begin { self.whole_epoch().added_before() } else { Added::default() };
            *self.whole_epoch() = Sums::after(added, &self.stopwatch);
        }
    }

    fn update_split(&mut self, _items_processed: usize) {
        self.end_batch();
    }

    fn end_split(&mut self) {}

    fn update_epoch(&mut self, epoch: usize) {
        self.end_epoch();
        self.place = Place::end_of(epoch);
    }

    fn end(&mut self) {}

    fn log_event_training(&mut self, _event: String) {}
}

fn collapse(sums: &Sums, plateau: Option<Plateau>) -> Option<Collapse> {
    Collapse::check(sums.mean(Figure::Loss), sums.mean(Figure::DirectionVariance), plateau)
}

/// What Burn calls the split that has the training pictures.
const TRAIN_SPLIT: &str = "train";

// Burn wants a renderer to serve its evaluator as well, which this example does not use: that one
// never computes a metric over all items, as verification needs.
impl MetricsRendererEvaluation for LineRenderer {
    fn update_test(&mut self, _name: EvaluationName, _state: MetricState) {}
}

impl EvaluationProgressLogger for LineRenderer {
    fn start_global_progress(&mut self, _tests: usize) {}
    fn start_test(&mut self, _name: &str, _items: usize) {}
    fn update_test_progress(&mut self, _items_processed: usize) {}
    fn end_test(&mut self) {}
    fn end_global_progress(&mut self) {}
    fn log_event_evaluation(&mut self, _event: String) {}
}

impl MetricsRenderer for LineRenderer {
    fn manual_close(&mut self) {}

    fn register_metric(&mut self, definition: MetricDefinition) {
        let figure = Figure::of_metric(&definition.name);
        self.figures.extend(figure.map(|figure| (definition.metric_id, figure)));
    }
}

/// A duration as people say it.
pub(crate) fn readable(duration: Duration) -> String {
    let seconds = duration.as_secs_f64().round() as u64;
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds} s"),
        (0, minutes, seconds) => format!("{minutes} min {seconds} s"),
        (hours, minutes, _) => format!("{hours} h {minutes} min"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_that_tells_nobody_apart_is_warned_of() {
        let of = |loss, variance, plateau| {
            let mut sums = Sums::new(&Stopwatch::start());
            for _ in 0..2 {
                sums.add(&HashMap::from([(Figure::Loss, loss), (Figure::DirectionVariance, variance)]));
            }
            collapse(&sums, plateau).map(|collapse| collapse.to_string())
        };
        // ln 200
        let warning = of(5.2983, 0.6, Some(Plateau::Classes(200))).expect("the loss is on the plateau");
        assert!(warning.contains("every class is as likely as every other"), "{warning}");
        assert!(of(5.2983, 1e-7, None).expect("no spread").contains("nearly the same direction"));
        assert_eq!(of(4.0, 0.6, Some(Plateau::Classes(200))), None);
    }

    #[test]
    fn durations_are_readable() {
        let of = |seconds| readable(Duration::from_secs_f64(seconds));
        assert_eq!(of(8.6), "9 s");
        assert_eq!(of(125.0), "2 min 5 s");
        assert_eq!(of(7320.0), "2 h 2 min");
    }
}
