//! Prints one readable line per interval, on a terminal and in a log alike.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use burn::train::logger::{EvaluationProgressLogger, TrainingProgressLogger};
use burn::train::metric::{MetricDefinition, MetricId, NumericEntry};
use burn::train::renderer::{
    EvaluationName, MetricState, MetricsRenderer, MetricsRendererEvaluation, MetricsRendererTraining,
};
use burn::train::{Interrupter, LearnerSummary};
use burn_losses::diagnostics::{Collapse, Plateau};

use super::epoch_table::{EpochRow, EpochTable};
use super::figures::Figure;

/// Time between two lines within an epoch; the end of an epoch always prints one.
const INTERVAL: Duration = Duration::from_secs(5);

/// Burn's renderer for this example. (Burn's own prints a line per step, and no metric in it,
/// whenever the output is no terminal.)
pub struct LineRenderer {
    table: EpochTable,
    interrupter: Interrupter,
    epochs: usize,
    epoch: usize,
    epochs_done_before: usize,
    steps_per_epoch: usize,
    batch_size: usize,
    step: usize,
    /// Which figure each of Burn's metrics is.
    figures: HashMap<MetricId, Figure>,
    /// Values of the step that is being reported; filled metric by metric, then summed.
    current: HashMap<Figure, f64>,
    interval: Sums,
    whole_epoch: Sums,
    run_began: Instant,
    bad_labels: f64,
    /// Where the loss stays if the model tells nobody apart; the first epoch may well be there.
    plateau: Option<Plateau>,
}

/// Sums of the figures since some moment.
struct Sums {
    began: Instant,
    steps: usize,
    figures: HashMap<Figure, f64>,
}

impl Sums {
    fn new() -> Self {
        Self { began: Instant::now(), steps: 0, figures: HashMap::new() }
    }

    fn add(&mut self, figures: &HashMap<Figure, f64>) {
        self.steps += 1;
        for (&figure, value) in figures {
            *self.figures.entry(figure).or_default() += value;
        }
    }

    fn sum(&self, figure: Figure) -> f64 {
        self.figures.get(&figure).copied().unwrap_or(f64::NAN)
    }

    fn mean(&self, figure: Figure) -> f64 {
        self.sum(figure) / self.steps.max(1) as f64
    }

    fn steps_per_second(&self) -> f64 {
        self.steps as f64 / self.began.elapsed().as_secs_f64().max(1e-9)
    }
}

impl LineRenderer {
    /// A renderer that also writes the rows of `table`.
    ///
    /// The interrupter stops the training when there is nothing left to gain: the loss is no
    /// number any more, or the table cannot be written.
    pub fn new(
        table: EpochTable,
        interrupter: Interrupter,
        steps_per_epoch: usize,
        batch_size: usize,
        plateau: Option<Plateau>,
    ) -> Self {
        Self {
            table,
            interrupter,
            epochs: 0,
            epoch: 0,
            epochs_done_before: 0,
            steps_per_epoch,
            batch_size,
            step: 0,
            figures: HashMap::new(),
            current: HashMap::new(),
            interval: Sums::new(),
            whole_epoch: Sums::new(),
            run_began: Instant::now(),
            bad_labels: 0.0,
            plateau,
        }
    }

    fn figure(&self, figure: Figure) -> f64 {
        self.current.get(&figure).copied().unwrap_or(f64::NAN)
    }

    fn time_left(&self) -> Duration {
        let steps_before = self.epochs_done_before * self.steps_per_epoch;
        let steps_done = (self.epoch - 1) * self.steps_per_epoch + self.step;
        let steps_left = self.epochs * self.steps_per_epoch - steps_done;
        let steps_here = (steps_done - steps_before).max(1);
        self.run_began.elapsed().mul_f64(steps_left as f64 / steps_here as f64)
    }

    fn print(&self, sums: &Sums) {
        let learning_rate = self.figure(Figure::LearningRate);
        let head_learning_rate = self.figure(Figure::HeadLearningRate);
        say!(
            "epoch {:>2}/{} step {:>4}/{} | loss {:>7.4} | lr {learning_rate:.5} head {head_learning_rate:.5} \
             | {:>6.0} images/s | own class {:>5.1} deg, nearest other {:>5.1} | length {:>6.2} | {} left",
            self.epoch,
            self.epochs,
            self.step,
            self.steps_per_epoch,
            sums.mean(Figure::Loss),
            sums.steps_per_second() * self.batch_size as f64,
            sums.mean(Figure::MeanAngle),
            sums.mean(Figure::NearestOtherAngle),
            sums.mean(Figure::EmbeddingLength),
            readable(self.time_left()),
        );
    }

    fn end_step(&mut self) {
        self.step += 1;
        let loss = self.figure(Figure::Loss);
        for sums in [&mut self.interval, &mut self.whole_epoch] {
            sums.add(&self.current);
        }

        let bad_labels = self.figure(Figure::BadLabels);
        if bad_labels > 0.0 && self.bad_labels == 0.0 {
            say!("warning: {bad_labels:.0} labels of this batch are no class; their pictures train nothing");
        }
        self.bad_labels += bad_labels;

        if !loss.is_finite() {
            self.interrupter.stop(Some(&format!(
                "the loss became {loss} in epoch {}, step {}; try a smaller --lr or --head-lr",
                self.epoch, self.step
            )));
        } else if self.interval.began.elapsed() >= INTERVAL && self.step < self.steps_per_epoch {
            self.print(&self.interval);
            self.interval = Sums::new();
        }
    }

    fn end_epoch(&mut self) {
        let sums = &self.whole_epoch;
        // An epoch that was broken off has no row.
        if sums.steps < self.steps_per_epoch {
            return;
        }
        self.print(sums);
        // A batch of one picture has no spread.
        if self.batch_size > 1
            && let Some(collapse) = collapse(sums, self.plateau.filter(|_| self.epoch > 1))
        {
            say!("warning: {collapse}");
        }
        let row = EpochRow {
            epoch: self.epoch,
            loss: sums.mean(Figure::Loss),
            learning_rate: self.figure(Figure::LearningRate),
            head_learning_rate: self.figure(Figure::HeadLearningRate),
            images_per_second: sums.steps_per_second() * self.batch_size as f64,
            mean_angle: sums.mean(Figure::MeanAngle).to_radians(),
            nearest_other_angle: sums.mean(Figure::NearestOtherAngle).to_radians(),
            embedding_length: sums.mean(Figure::EmbeddingLength),
            direction_variance: sums.mean(Figure::DirectionVariance),
            bad_labels: sums.sum(Figure::BadLabels),
            seconds: sums.began.elapsed().as_secs_f64(),
        };
        if let Err(error) = self.table.append(&row) {
            self.interrupter.stop(Some(&format!("{error:#}")));
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
    fn start(&mut self, epochs: usize, first_epoch: usize, _items: Option<usize>, _label: Option<&str>) {
        self.epochs = epochs;
        self.epoch = first_epoch;
        self.epochs_done_before = first_epoch - 1;
        self.run_began = Instant::now();
    }

    fn start_split(&mut self, split: &str, _items: usize) {
        if split == TRAIN_SPLIT {
            self.step = 0;
            self.interval = Sums::new();
            self.whole_epoch = Sums::new();
        }
    }

    fn update_split(&mut self, _items_processed: usize) {
        self.end_step();
    }

    fn end_split(&mut self) {}

    fn update_epoch(&mut self, epoch: usize) {
        self.end_epoch();
        self.epoch = epoch + 1;
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
            let mut sums = Sums::new();
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
