//! The learning rate over the course of a run.

use burn::lr_scheduler::{LrScheduler, LrSchedulerRecord};

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

#[cfg(test)]
mod tests {
    use super::*;

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
