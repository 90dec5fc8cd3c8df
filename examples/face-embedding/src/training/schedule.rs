//! The learning rate and the margin over the course of a run.

use burn::lr_scheduler::{LrScheduler, LrSchedulerRecord};

use crate::settings::loss::LossSettings;
use crate::settings::schedule::{ScheduleKind, ScheduleSettings};

/// Rises in a straight line to its peak, then falls along one of the curves.
///
/// ```text
/// rise:        peak · (step + 1) / warmup_steps
/// left       = 1 - (step - warmup_steps) / (total_steps - warmup_steps)
/// cosine:      peak · (1 + cos(pi · (1 - left))) / 2
/// polynomial:  peak · left^power
/// milestones:  peak · gamma^(number of milestones with round(milestone · total_steps) <= step)
/// ```
///
/// Burn's sequence of a linear rise and a fall refuses peaks above 1 and rises of one step, its cosine rises again after the
/// last step, its polynomial and its milestones are not there, and its parts keep their own counts, which are wrong once a
/// resumed run is prolonged.
///
/// # Source
///
/// The polynomial is that of InsightFace's arcface_torch, which counts from the end of the rise as well.
#[derive(Clone, Debug)]
pub struct Schedule {
    peak: f64,
    fall: ScheduleSettings,
    warmup_steps: usize,
    total_steps: usize,
    step: usize,
}

impl Schedule {
    /// A schedule that stands before its first step, of settings that are
    /// [resolved](crate::settings::schedule::ScheduleSettings::resolve).
    pub fn new(peak: f64, fall: &ScheduleSettings, warmup_steps: usize, total_steps: usize) -> Self {
        Self { peak, fall: fall.clone(), warmup_steps, total_steps, step: 0 }
    }

    /// What is left of the peak after the rise.
    fn share(&self, step: usize) -> f64 {
        let ScheduleSettings { schedule, power, milestones, gamma } = &self.fall;
        let fall_steps = self.total_steps.saturating_sub(self.warmup_steps).max(1);
        let fallen = ((step - self.warmup_steps) as f64 / fall_steps as f64).min(1.0);
        match schedule {
            ScheduleKind::Cosine => 0.5 * (1.0 + (std::f64::consts::PI * fallen).cos()),
            ScheduleKind::Polynomial => (1.0 - fallen).powf(power.unwrap_or(1.0)),
            ScheduleKind::Milestones => {
                let place = |milestone: &f64| (milestone * self.total_steps as f64).round() as usize;
                let passed = milestones.iter().flatten().filter(|milestone| place(milestone) <= step).count();
                gamma.unwrap_or(1.0).powi(passed as i32)
            }
        }
    }
}

impl LrScheduler for Schedule {
    fn step(&mut self) -> f64 {
        let step = self.step;
        self.step += 1;
        if step < self.warmup_steps {
            return self.peak * (step + 1) as f64 / self.warmup_steps as f64;
        }
        self.peak * self.share(step)
    }

    fn to_record(&self) -> LrSchedulerRecord {
        LrSchedulerRecord::new().with_scalar("step", self.step)
    }

    fn load_record(&mut self, record: LrSchedulerRecord) {
        // Only the place is loaded: peak and length belong to the configuration, which a resumed
        // run may have prolonged.
        if let Some(step) = record.scalar::<usize>("step") {
            self.step = step;
        }
    }
}

/// The margin of a loss over the course of a run: it goes in a straight line from 0, or another start, to its value, then stays.
///
/// ```text
/// share = min(1, step / warmup_steps)                                   from 0
/// share = (start + (margin - start)·min(1, step / warmup_steps)) / margin
/// ```
///
/// A function of the step alone, so a resumed run needs no more than to know where it is.
#[derive(Clone, Copy, Debug)]
pub struct MarginRise {
    margin: f64,
    /// The other one of `combinedmargin`, which rises with it.
    cosine_margin: Option<f64>,
    /// Of the margin that it starts from.
    start_share: f64,
    warmup_steps: usize,
}

impl MarginRise {
    /// Of the loss of a run of so many steps; none for a loss without such a margin.
    pub fn of(settings: &LossSettings, total_steps: usize) -> Option<Self> {
        let share = settings.margin_warmup_share.unwrap_or(0.0);
        let warmup_steps = (share * total_steps as f64).round() as usize;
        let start = settings.margin_start.unwrap_or(0.0);
        settings.margin.map(|margin| Self {
            margin,
            cosine_margin: settings.cosine_margin,
            start_share: if start > 0.0 { start / margin } else { 0.0 },
            warmup_steps,
        })
    }

    /// The share of its value that the margin has in a step.
    pub fn share(&self, step: usize) -> f64 {
        match risen(step, self.warmup_steps) {
            1.0 => 1.0,
            risen => self.start_share + (1.0 - self.start_share) * risen,
        }
    }

    /// The margin in a step, and that of the cosine where there are two.
    pub fn margins(&self, step: usize) -> (f64, Option<f64>) {
        let share = self.share(step);
        (self.margin * share, self.cosine_margin.map(|margin| margin * share))
    }
}

/// The scale of a head over the course of a run: it goes in a straight line from one to another, then stays.
///
/// ```text
/// scale = start + (scale - start)·min(1, step / warmup_steps)
/// ```
///
/// A small scale has gradients while the angles are still large, and a large one separates in the end: the training of
/// Keras_insightface steps from 16 over 32 to 64.
#[derive(Clone, Copy, Debug)]
pub struct ScaleRise {
    start: f64,
    scale: f64,
    warmup_steps: usize,
}

impl ScaleRise {
    /// Of the loss of a run of so many steps; none for a loss without a scale.
    pub fn of(settings: &LossSettings, total_steps: usize) -> Option<Self> {
        let scale = settings.scale?;
        let share = settings.scale_warmup_share.unwrap_or(0.0);
        let warmup_steps = (share * total_steps as f64).round() as usize;
        Some(Self { start: settings.scale_start.unwrap_or(scale), scale, warmup_steps })
    }

    /// The scale in a step.
    pub fn scale(&self, step: usize) -> f64 {
        match risen(step, self.warmup_steps) {
            1.0 => self.scale,
            share => self.start + (self.scale - self.start) * share,
        }
    }

    /// The share of its value that the scale has in a step.
    pub fn share(&self, step: usize) -> f64 {
        self.scale(step) / self.scale
    }
}

/// How much of a rise of so many steps is done.
fn risen(step: usize, steps: usize) -> f64 {
    if step < steps { step as f64 / steps as f64 } else { 1.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By hand: a quarter of the way from 16 to 48 in each of four steps.
    #[test]
    fn a_scale_rises_from_its_start_and_stays() {
        let settings = LossSettings {
            scale: Some(48.0),
            scale_start: Some(16.0),
            scale_warmup_share: Some(0.4),
            ..LossSettings::default()
        };
        let rise = ScaleRise::of(&settings, 10).expect("there is a scale");
        assert_eq!([0, 1, 3, 4, 9].map(|step| rise.scale(step)), [16.0, 24.0, 40.0, 48.0, 48.0]);
        assert_eq!([0, 1, 4].map(|step| rise.share(step)), [1.0 / 3.0, 0.5, 1.0]);
        let fixed = ScaleRise::of(&LossSettings { scale: Some(48.0), ..LossSettings::default() }, 10);
        assert_eq!(fixed.expect("there is a scale").share(0), 1.0);
        assert!(ScaleRise::of(&LossSettings::default(), 10).is_none());
    }

    /// By hand: four steps of a quarter each.
    #[test]
    fn a_margin_rises_from_zero_and_stays() {
        let settings = LossSettings { margin: Some(0.4), margin_warmup_share: Some(0.4), ..LossSettings::default() };
        let rise = MarginRise::of(&settings, 10).expect("there is a margin");
        assert_eq!([0, 1, 2, 3, 4, 9, 10].map(|step| rise.share(step)), [0.0, 0.25, 0.5, 0.75, 1.0, 1.0, 1.0]);
        assert_eq!((rise.margins(2), rise.margins(9)), ((0.2, None), (0.4, None)));
        let both = MarginRise::of(&LossSettings { cosine_margin: Some(0.1), ..settings }, 10).expect("there are two");
        assert_eq!((both.margins(2), both.margins(9)), ((0.2, Some(0.05)), (0.4, Some(0.1))));
        // By hand: from a quarter of it in four steps.
        let settings = LossSettings {
            margin: Some(0.4),
            margin_start: Some(0.1),
            margin_warmup_share: Some(0.4),
            ..LossSettings::default()
        };
        let rise = MarginRise::of(&settings, 10).expect("there is a margin");
        assert_eq!([0, 2, 4, 9].map(|step| rise.share(step)), [0.25, 0.625, 1.0, 1.0]);
        let settings = LossSettings { margin: Some(0.4), ..LossSettings::default() };
        assert_eq!(MarginRise::of(&settings, 10).expect("there is a margin").share(0), 1.0);
        assert!(MarginRise::of(&LossSettings::default(), 10).is_none());
    }

    fn schedule(kind: ScheduleKind, warmup_steps: usize, total_steps: usize) -> Schedule {
        let settings = ScheduleSettings { schedule: kind, ..ScheduleSettings::default() };
        Schedule::new(0.8, &settings.resolve().expect("defaults are in range"), warmup_steps, total_steps)
    }

    fn rates(kind: ScheduleKind, warmup_steps: usize, total_steps: usize) -> Vec<f64> {
        let mut schedule = schedule(kind, warmup_steps, total_steps);
        (0..total_steps + 2).map(|_| schedule.step()).collect()
    }

    fn assert_near(found: f64, expected: f64) {
        assert!((found - expected).abs() < 1e-12, "{found} for {expected}");
    }

    #[test]
    fn rises_to_the_peak_and_falls_to_zero() {
        let rates = rates(ScheduleKind::Cosine, 4, 12);
        // By hand: a quarter of the peak per step, then cos(pi·k/8).
        for (step, expected) in [(0, 0.2), (3, 0.8), (4, 0.8), (8, 0.4), (12, 0.0), (13, 0.0)] {
            assert_near(rates[step], expected);
        }
    }

    /// By hand: after the rise of 2 steps, the square of what is left of 8.
    #[test]
    fn a_polynomial_falls_by_the_power_of_what_is_left() {
        let rates = rates(ScheduleKind::Polynomial, 2, 10);
        for (step, expected) in [(0, 0.4), (1, 0.8), (2, 0.8), (4, 0.45), (6, 0.2), (9, 0.0125), (10, 0.0), (11, 0.0)] {
            assert_near(rates[step], expected);
        }
    }

    /// By hand: a tenth from step 5 on, a hundredth from round(7.5) on.
    #[test]
    fn milestones_step_down_at_shares_of_the_run() {
        let rates = rates(ScheduleKind::Milestones, 2, 10);
        for (step, expected) in [(0, 0.4), (1, 0.8), (4, 0.8), (5, 0.08), (7, 0.08), (8, 0.008), (11, 0.008)] {
            assert_near(rates[step], expected);
        }
    }

    #[test]
    fn a_loaded_record_continues_where_it_was_saved() {
        for kind in [ScheduleKind::Cosine, ScheduleKind::Polynomial, ScheduleKind::Milestones] {
            let mut begun = schedule(kind, 3, 20);
            for _ in 0..11 {
                begun.step();
            }
            let mut resumed = schedule(kind, 3, 20);
            resumed.load_record(begun.to_record());
            assert_eq!(resumed.step(), begun.step());
        }
    }
}
